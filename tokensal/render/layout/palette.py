"""The colours of formats that have a background of their own: what speaks for, what against, and the text on them.

A shade is an opacity over the background, exactly linear in the score; the text is readable on all of them, and both
hues grow equally strong, so that a greyscale reader sees the size of a score. A format shows its sign in a second way.
A terminal has a background of its user's, and colours of its own (see `terminal.colours`).
"""

from __future__ import annotations

from dataclasses import dataclass

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours as red, green and blue, from 0 to 255. `quiet` is for text of less weight, `rule` for lines."""

    background: Colour
    text: Colour
    quiet: Colour
    rule: Colour
    positive: Colour
    negative: Colour


LIGHT = Palette((255, 254, 251), (29, 27, 24), (105, 101, 94), (222, 218, 210), (238, 136, 44), (90, 150, 216))
DARK = Palette((24, 24, 26), (233, 230, 224), (160, 156, 149), (58, 57, 55), (160, 74, 8), (38, 97, 170))
