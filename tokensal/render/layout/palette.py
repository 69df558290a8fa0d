"""The colours of formats that have a background of their own: what speaks for, what against, and the text on them.

A shade is an opacity over the background, exactly linear in the score. Both hues are equally light and grow equally
strong, so that a greyscale reader sees the size of a score; a format shows its sign in a second way.

Pages are light or dark. Their strongest shade has a contrast of 4.5 to the background, and so has the text to every
shade: it is black on the brighter ones and white on the darker. Paper is white and its text black on every shade, so
that the strongest is lighter, with a contrast of 3 to the paper. Names are those of `drawing.PALETTES`: in "sequential"
one hue serves both signs, and the second way alone tells them apart.

A terminal has a background of its user's, and colours of its own (see `terminal.colours`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

Colour = tuple[int, int, int]
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of a page, as red, green and blue, from 0 to 255. `quiet` is for text of less weight, `rule` for lines.

    Text on shades up to `turn` is `weak_ink`, on stronger ones `strong_ink`. `hues` are what `positive` and `negative`
    are called in a sentence.
    """

    background: Colour
    text: Colour
    quiet: Colour
    rule: Colour
    positive: Colour
    negative: Colour
    turn: float
    weak_ink: Colour
    strong_ink: Colour
    hues: tuple[str, str]

    def fill(self, shade: float) -> Colour:
        """The colour of a shade within [-1, 1], as it is seen."""
        return mixed(self.background, self.negative if shade < 0 else self.positive, abs(shade))

    def ink(self, shade: float) -> Colour:
        """The colour of text on that shade."""
        return self.strong_ink if abs(shade) > self.turn else self.weak_ink


@dataclass(frozen=True, slots=True)
class Paper:
    """Colours on white paper, where text is black on every shade; `rule_of_sign` is the line that marks a negative."""

    positive: Colour
    negative: Colour
    rule_of_sign: Colour

    def fill(self, shade: float) -> Colour:
        """The colour of a shade within [-1, 1], as it is seen."""
        return mixed(WHITE, self.negative if shade < 0 else self.positive, abs(shade))


LIGHT = Palette(
    background=(255, 254, 251), text=(29, 27, 24), quiet=(105, 101, 94), rule=(222, 218, 210),
    positive=(190, 70, 0), negative=(30, 108, 198), turn=0.926, weak_ink=BLACK, strong_ink=WHITE,
    hues=("orange", "blue"),
)  # fmt: skip
DARK = Palette(
    background=(24, 24, 26), text=(233, 230, 224), quiet=(160, 156, 149), rule=(58, 57, 55),
    positive=(238, 136, 44), negative=(100, 166, 242), turn=0.68, weak_ink=WHITE, strong_ink=BLACK,
    hues=("orange", "blue"),
)  # fmt: skip


def paper_palette(name: str) -> Paper:
    """The colours of a name on white paper."""
    return _PAPERS[name]


def page_palettes(name: str) -> tuple[Palette, Palette]:
    """The colours of a name on a light page, and on a dark one."""
    return _PAGES[name]


def mixed(background: Colour, hue: Colour, opacity: float) -> Colour:
    """A hue of that opacity over the background, as it is seen."""
    red, green, blue = (round(low + (high - low) * opacity) for low, high in zip(background, hue, strict=True))
    return red, green, blue


def _pages(hues: tuple[str, str], light: tuple[Colour, Colour, float], dark: tuple[Colour, Colour, float]) -> Pages:
    """Both pages; for each what speaks for, what against, and the shade at which the ink turns."""
    pages = ((LIGHT, *light), (DARK, *dark))
    at_light, at_dark = (
        replace(page, positive=positive, negative=negative, turn=turn, hues=hues)
        for page, positive, negative, turn in pages
    )
    return at_light, at_dark


Pages = tuple[Palette, Palette]
_PAPERS = {
    "orange-blue": Paper((228, 113, 12), (100, 147, 201), (31, 78, 134)),
    "PuOr": Paper((212, 123, 16), (148, 132, 220), (75, 42, 134)),
    "RdBu": Paper((232, 104, 107), (54, 152, 215), (18, 73, 138)),
    "sequential": Paper((49, 161, 141), (49, 161, 141), (11, 90, 80)),
}
_PAGES: dict[str, Pages] = {
    "orange-blue": (LIGHT, DARK),
    "PuOr": _pages(
        ("orange", "purple"),
        light=((165, 89, 3), (111, 94, 192), 0.935),
        dark=((233, 140, 39), (167, 150, 240), 0.677),
    ),
    "RdBu": _pages(
        ("red", "blue"),
        light=((198, 57, 69), (29, 114, 168), 0.929),
        dark=((253, 122, 123), (79, 170, 234), 0.68),
    ),
    "sequential": _pages(
        ("teal", "teal"),
        light=((23, 122, 110), (23, 122, 110), 0.934),
        dark=((71, 179, 159), (71, 179, 159), 0.679),
    ),
}
