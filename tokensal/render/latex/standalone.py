r"""A whole document around a fragment, as wide as asked for."""

from __future__ import annotations

from collections.abc import Sequence

from tokensal.drawing import Drawing
from tokensal.render.latex.characters import tex

MARGIN = 18.0  # points around the figure
HEIGHT = 842.0  # points of the page


def document(
    fragment: Sequence[str],
    caption: Sequence[str],
    packages: Sequence[str],
    drawing: Drawing,
    *,
    kind: str = "figure",
    size: tuple[float, float] | None = None,
) -> list[str]:
    """The lines of a document that any of the three engines compiles.

    Args:
        fragment: what is in it.
        caption: what is said below, sentence by sentence.
        packages: that the fragment needs.
        drawing: its font and width.
        kind: what the caption calls it: a "figure" or a "table".
        size: width and height of the text in points, in place of that of the drawing and of a page.
    """
    points, height = size or (drawing.points, HEIGHT - 2 * MARGIN)
    width, height = points + 2 * MARGIN, height + 2 * MARGIN
    font = [rf"\ifdefined\Umathchar\setmainfont{{{tex(drawing.font)}}}\fi"] if drawing.font else []
    return [
        r"\documentclass{article}",
        rf"\usepackage[paperwidth={width:g}bp,paperheight={height:g}bp,margin={MARGIN:g}bp]{{geometry}}",
        r"\ifdefined\Umathchar\usepackage{fontspec}\else\usepackage[T1]{fontenc}\usepackage{lmodern}\fi",
        rf"\usepackage{{{','.join(packages)}}}",
        *font,
        r"\pagestyle{empty}",
        r"\begin{document}",
        rf"\makeatletter\def\@captype{{{kind}}}\makeatother",
        rf"\fontsize{{{drawing.font_size:g}bp}}{{{drawing.font_size * 1.2:g}bp}}\selectfont",
        *fragment,
        r"\caption{" + "\n  ".join(caption) + "}",
        r"\end{document}",
    ]
