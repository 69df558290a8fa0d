"""The colours of formats that have a background of their own: what speaks for, what against, and the text on them.

A shade is an opacity over the background, exactly linear in the score. Both hues grow equally strong, so that a
greyscale reader sees the size of a score; a format shows its sign in a second way. The strongest shade has a contrast
of 4.5 to the background, and so has the text to every shade: it is black on the brighter ones and white on the darker.
A terminal has a background of its user's, and colours of its own (see `terminal.colours`).
"""

from __future__ import annotations

from dataclasses import dataclass

Colour = tuple[int, int, int]
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours as red, green and blue, from 0 to 255. `quiet` is for text of less weight, `rule` for lines.

    Text on shades up to `turn` is `weak_ink`, on stronger ones `strong_ink`.
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

    def fill(self, shade: float) -> Colour:
        """The colour of a shade within [-1, 1], as it is seen."""
        hue = self.negative if shade < 0 else self.positive
        red, green, blue = (
            round(low + (high - low) * abs(shade)) for low, high in zip(self.background, hue, strict=True)
        )
        return red, green, blue

    def ink(self, shade: float) -> Colour:
        """The colour of text on that shade."""
        return self.strong_ink if abs(shade) > self.turn else self.weak_ink


LIGHT = Palette(
    background=(255, 254, 251), text=(29, 27, 24), quiet=(105, 101, 94), rule=(222, 218, 210),
    positive=(190, 70, 0), negative=(30, 108, 198), turn=0.926, weak_ink=BLACK, strong_ink=WHITE,
)  # fmt: skip
DARK = Palette(
    background=(24, 24, 26), text=(233, 230, 224), quiet=(160, 156, 149), rule=(58, 57, 55),
    positive=(238, 136, 44), negative=(100, 166, 242), turn=0.68, weak_ink=WHITE, strong_ink=BLACK,
)  # fmt: skip
