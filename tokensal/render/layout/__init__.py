"""The layout: everything that formats show, decided once, from results alone; a format draws it and decides nothing.

`lay_out` turns an attribution into a `Heatmap`, `lay_out_comparison` a comparison into a `HeatmapComparison`,
`lay_out_matrix` a heatmap into the table of all its scores, `lay_out_evaluation` an evaluation into tables and
curves, and `lay_out_summary` a summary into tables. `lay_out_figure` turns a heatmap or a comparison into a figure for
a paper.
"""

from tokensal.render.layout.comparison import HeatmapComparison, lay_out_comparison
from tokensal.render.layout.evaluation import EvaluationTables, lay_out_evaluation
from tokensal.render.layout.figure import ComparisonFigure, MatrixFigure, TextFigure, lay_out_figure
from tokensal.render.layout.heatmap import Heatmap, lay_out
from tokensal.render.layout.matrix import lay_out_matrix
from tokensal.render.layout.summary import SummaryTables, lay_out_summary

__all__ = [
    "ComparisonFigure",
    "EvaluationTables",
    "Heatmap",
    "HeatmapComparison",
    "MatrixFigure",
    "SummaryTables",
    "TextFigure",
    "lay_out",
    "lay_out_comparison",
    "lay_out_evaluation",
    "lay_out_figure",
    "lay_out_matrix",
    "lay_out_summary",
]
