"""Colours for scores in a terminal: one hue speaks for, one against, and nothing stands where the score is near 0.

Both hues grow equally bright (on a dark terminal; equally dark on a light one), so that greyscale readers see the
size of a score; what speaks against is underlined, so that they see its sign too. Four systems: truecolor, 256
colours and 16 colours with explicit buckets, and none. The hues are those of a palette in truecolor and 256 colours;
of the 16, which a user has set, every palette takes yellow and cyan, and the sequential one cyan alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

from rich.color import Color
from rich.color_triplet import ColorTriplet
from rich.console import Console
from rich.style import Style

from tokensal.drawing import SEQUENTIAL
from tokensal.options import theme_of
from tokensal.render.layout.palette import page_palettes
from tokensal.render.terminal.background import is_dark
from tokensal.render.terminal.lines import PLAIN

FAINTEST = {"none": math.inf, "truecolor": 0.03, "256": 0.08, "16": 0.1}  # below this |shade| no colour is laid down

BLACK, WHITE = ColorTriplet(0, 0, 0), ColorTriplet(255, 255, 255)

DEFAULT = "orange-blue"
FAINT = {True: ColorTriplet(42, 40, 38), False: ColorTriplet(245, 244, 242)}  # near 0, on a dark background or a light
# At full strength, for and against: a terminal is looked at from further away than a page. Others are those of pages.
ENDS = {
    True: (ColorTriplet(255, 160, 50), ColorTriplet(104, 182, 255)),
    False: (ColorTriplet(204, 92, 0), ColorTriplet(24, 110, 190)),
}
ORANGE = {True: (94, 130, 172, 208, 214), False: (223, 215, 208, 166, 130)}
BLUE = {True: (24, 25, 32, 39, 75), False: (153, 111, 74, 32, 25)}
PURPLE = {True: (60, 97, 104, 141, 183), False: (189, 147, 141, 99, 61)}
RED = {True: (95, 131, 167, 203, 210), False: (224, 217, 210, 167, 160)}
TEAL = {True: (23, 30, 37, 43, 79), False: (158, 115, 72, 30, 23)}
OF_256 = {DEFAULT: (ORANGE, BLUE), "PuOr": (ORANGE, PURPLE), "RdBu": (RED, BLUE), SEQUENTIAL: (TEAL, TEAL)}
# Cyan stands in for blue: the palettes of common terminals disagree about blue, and black text is unreadable on some.
OF_16 = (("yellow", "bright_yellow"), ("cyan", "bright_cyan"))


@dataclass(frozen=True, slots=True)
class Colours:
    """The colours that a terminal can show, of a palette: `system` is truecolor, 256, 16 or none; `dark` is its
    background."""

    system: str = "none"
    dark: bool = True
    palette: str = DEFAULT

    @property
    def available(self) -> bool:
        return self.system != "none"


def colours_of(console: Console, theme: str = "auto", palette: str = DEFAULT) -> Colours:
    """The colours of a palette on a console of that theme; none for pipes, dumb terminals and NO_COLOR.

    Raises:
        InputError: an unknown theme.
    """
    theme = theme_of(theme)
    system = "none" if console.no_color else console.color_system or "none"
    if system == "none":
        return Colours()
    names = {"standard": "16", "windows": "16"}
    if theme == "auto":  # a notebook is on paper, unless somebody says otherwise
        theme = "dark" if not console.is_jupyter and is_dark(console.file) else "light"
    return Colours(names.get(system, system), dark=theme == "dark", palette=palette)


def shading(colours: Colours, shade: float) -> Style:
    """The style of a text whose score is `shade`, in [-1, 1], of its scale; scores near 0 have none."""
    return _shading(colours, round(shade, 2))


@cache  # a matrix has many cells and few colours
def _shading(colours: Colours, shade: float) -> Style:
    if abs(shade) < FAINTEST[colours.system]:
        return PLAIN
    if colours.system == "16":
        return _bucket_of_16(colours, shade)
    background = (_bucket_of_256 if colours.system == "256" else _blend)(colours, shade)
    return Style(color=_readable_on(background, colours), bgcolor=background, underline=shade < 0 or None)


def bar_style(colours: Colours, against: bool) -> Style:
    """The style of a bar: the strongest colour of its sign."""
    strongest = shading(colours, -1.0 if against else 1.0).bgcolor
    return Style(color=_of_16(colours, against)[0] if colours.system == "16" else strongest)


def attribute(colours: Colours, definition: str) -> Style:
    """A style without colour, such as "dim" or "bold"; none where there are no colours."""
    return Style.parse(definition) if colours.available else PLAIN


def contrast(first: ColorTriplet, second: ColorTriplet) -> float:
    """The contrast ratio of two colours, from 1 to 21, as WCAG 2 defines it."""
    darker, lighter = sorted((_luminance(first), _luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def _blend(colours: Colours, shade: float) -> Color:
    if colours.palette == DEFAULT:
        end: tuple[int, int, int] = ENDS[colours.dark][shade < 0]
    else:
        page = page_palettes(colours.palette)[colours.dark]
        end = page.negative if shade < 0 else page.positive
    mixed = (round(a + (b - a) * abs(shade)) for a, b in zip(FAINT[colours.dark], end, strict=True))
    return Color.from_triplet(ColorTriplet(*mixed))


def _bucket_of_256(colours: Colours, shade: float) -> Color:
    ramp = OF_256[colours.palette][shade < 0][colours.dark]
    return Color.from_ansi(ramp[min(int(abs(shade) * len(ramp)), len(ramp) - 1)])


def _bucket_of_16(colours: Colours, shade: float) -> Style:
    background = _of_16(colours, shade < 0)[abs(shade) >= 0.4]
    return Style(color="black", bgcolor=background, bold=abs(shade) >= 0.75 or None, underline=shade < 0 or None)


def _of_16(colours: Colours, against: bool) -> tuple[str, str]:
    return OF_16[against or colours.palette == SEQUENTIAL]


def _readable_on(background: Color, colours: Colours) -> Color:
    triplet = background.get_truecolor()
    best = max((BLACK, WHITE), key=lambda text: contrast(text, triplet))
    if colours.system == "256":  # the corners of the colour cube; 0 and 15 belong to the terminal's own palette
        return Color.from_ansi(16 if best == BLACK else 231)
    return Color.from_triplet(best)


def _luminance(colour: ColorTriplet) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour.normalized]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
