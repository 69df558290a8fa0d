"""How a result is drawn: options that are written once, and taken by Python, by configuration files and by flags.

A format draws by those that it has the means for, and leaves the others alone: a terminal has no fonts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tokensal.errors import InputError, require_known
from tokensal.options import option, theme_of
from tokensal.values import described, read_number, read_whole, store

# The suffixes of `render`, as help texts list them; a test compares them.
FORMATS = (".html", ".md", ".tex", ".svg", ".pdf", ".png", ".txt", ".json", ".csv", ".parquet")
SEQUENTIAL = "sequential"  # one hue for both signs
PALETTES = ("orange-blue", "PuOr", "RdBu", SEQUENTIAL)
WIDTHS = {"column": 234.0, "page": 486.0}  # points: a column and a page of most conferences
POINTS = {"pt": 1.0, "in": 72.0, "mm": 72 / 25.4, "cm": 72 / 2.54}  # those of PDF and SVG, 72 to the inch
NARROWEST, WIDEST = 72.0, 14_400.0  # points; the latter is the most that PDF allows


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How a result is drawn.

    Raises:
        InputError: an unknown palette, theme or width, or a number that is out of bounds.
    """

    matrix: bool | None = option(
        None, "Draw the matrix of all scores: in a figure in place of the text, in the terminal beside it. A figure of "
        "an encoder-decoder model shows it unless told otherwise, and a comparison never does in a figure.",
        kind=bool, flag="--matrix/--text",
    )  # fmt: skip
    row: str | int | None = option(
        None, "Which row of the heatmap a figure of running text shows: the number of a target (0 is the first), its "
        "text, share (the mean share of all) or sum; by default the one it opens with.", metavar="ROW",
    )  # fmt: skip
    sink: bool = option(False, "Count the sink, a special or template token that comes first, into scale and ranking.")
    palette: str = option(
        "orange-blue", "The colours of for and against: orange-blue, PuOr, RdBu, or sequential (one hue, of which "
        "negative scores are told by their underline).", metavar="NAME",
    )  # fmt: skip
    bins: int | None = option(
        None, "Draw so many steps of colour on either side of zero in place of a continuous scale.", kind=int
    )
    clip: float | None = option(
        None, "End the scale at this percentile of all |scores|, such as 99; what is beyond is marked as clipped.",
        kind=float,
    )  # fmt: skip
    elide: int | None = option(
        None, "Write stretches of at least so many sources without a visible shade as '… 214 tokens …'.", kind=int
    )
    anonymous: bool = option(
        False, "For double-blind review: leave out folders, organisations, and names of users and hosts."
    )
    standalone: bool | None = option(
        None, "A whole document (what .html is by default), or a fragment to put into one (what .tex is).",
        kind=bool, flag="--standalone/--fragment",
    )  # fmt: skip
    width: str = option(
        "column", "The width of a figure: column (3.25in), page (6.75in), or a length in in, mm, cm or pt.",
        metavar="LENGTH",
    )  # fmt: skip
    font: str | None = option(None, "The font of a figure that inherits none: the name of an installed one.")
    font_size: float = option(9.0, "The size of a figure's text, in points.")
    dpi: int = option(300, "The resolution of a .png figure.")
    outlines: bool = option(False, "Draw the text of an .svg figure as outlines, which need no font.")
    transparent: bool = option(False, "Leave the background of a .png figure transparent.")
    theme: str = option(
        "auto", "The background of the terminal: light, dark, or auto, which asks TOKENSAL_THEME, then the terminal.",
        metavar="THEME",
    )  # fmt: skip

    def __post_init__(self) -> None:
        [palette] = require_known("palette", self.palette, PALETTES)
        clip = None if self.clip is None else read_number("clip", self.clip, above=0)
        if clip is not None and clip > 100:
            raise InputError(f"clip is {described(self.clip)}, but should be a percentile, at most 100.")
        if isinstance(self.row, bool) or not isinstance(self.row, str | int | None):
            raise InputError(f"row is {described(self.row)}, but should be a number or a text.")
        store(
            self,
            palette=palette,
            clip=clip,
            bins=read_whole("bins", self.bins, least=1, most=100, optional=True),
            elide=read_whole("elide", self.elide, least=2, optional=True),
            font_size=read_number("font_size", self.font_size, least=5.5),
            dpi=read_whole("dpi", self.dpi, least=36, most=2400),
        )
        points_of(self.width)
        theme_of(self.theme)

    @property
    def points(self) -> float:
        """The width of a figure in points, 72 to the inch."""
        return points_of(self.width)


def points_of(width: str) -> float:
    """A width such as "column", "3.25in" or "80mm", in points.

    Raises:
        InputError: anything else, or a width that no page has.
    """
    length = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)\s*(in|mm|cm|pt)", width) if isinstance(width, str) else None
    points = WIDTHS.get(width) if isinstance(width, str) else None
    if points is None and length is not None:
        points = float(length[1]) * POINTS[length[2]]
    if points is None or not NARROWEST <= points <= WIDEST:
        raise InputError(
            f"width is {described(width)}, but should be column, page, or a length between 1in and 200in, such as "
            "3.25in, 80mm, 8cm or 230pt."
        )
    return points
