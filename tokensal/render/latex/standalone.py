r"""A whole document around a fragment, as wide as asked for."""

from __future__ import annotations

from collections.abc import Sequence

from tokensal.drawing import Drawing
from tokensal.render.latex.characters import tex

MARGIN = 18.0  # points around the figure
HEIGHT = 842.0  # points of the page


def document(fragment: Sequence[str], caption: Sequence[str], packages: Sequence[str], drawing: Drawing) -> list[str]:
    """The lines of a document that any of the three engines compiles."""
    width = drawing.points + 2 * MARGIN
    font = [rf"\ifdefined\Umathchar\setmainfont{{{tex(drawing.font)}}}\fi"] if drawing.font else []
    return [
        r"\documentclass{article}",
        rf"\usepackage[paperwidth={width:g}bp,paperheight={HEIGHT:g}bp,margin={MARGIN:g}bp]{{geometry}}",
        r"\ifdefined\Umathchar\usepackage{fontspec}\else\usepackage[T1]{fontenc}\usepackage{lmodern}\fi",
        rf"\usepackage{{{','.join(packages)}}}",
        *font,
        r"\pagestyle{empty}",
        r"\begin{document}",
        r"\makeatletter\def\@captype{figure}\makeatother",
        rf"\fontsize{{{drawing.font_size:g}bp}}{{{drawing.font_size * 1.2:g}bp}}\selectfont",
        *fragment,
        r"\caption{" + "\n  ".join(caption) + "}",
        r"\end{document}",
    ]
