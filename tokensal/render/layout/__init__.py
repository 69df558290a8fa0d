"""The layout: everything that formats show, decided once, from results alone; a format draws it and decides nothing.

`lay_out` turns an attribution into a `Heatmap`, `lay_out_comparison` a comparison into a `HeatmapComparison`, and
`lay_out_matrix` a heatmap into the table of all its scores.
"""

from tokensal.render.layout.comparison import HeatmapComparison, lay_out_comparison
from tokensal.render.layout.heatmap import Facts, Heatmap, lay_out
from tokensal.render.layout.legend import CLIPPED, GENERATED, SINK, UNWRITTEN, Entry, Kind, Legend
from tokensal.render.layout.matrix import Column, Matrix, lay_out_matrix
from tokensal.render.layout.rows import Cell, Row

__all__ = [
    "CLIPPED",
    "GENERATED",
    "SINK",
    "UNWRITTEN",
    "Cell",
    "Column",
    "Entry",
    "Facts",
    "Heatmap",
    "HeatmapComparison",
    "Kind",
    "Legend",
    "Matrix",
    "Row",
    "lay_out",
    "lay_out_comparison",
    "lay_out_matrix",
]
