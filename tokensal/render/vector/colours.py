"""The colours of figures on white paper, until the palettes of the layout have them."""

from __future__ import annotations

from tokensal.render.layout.palette import Colour
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Paper:
    positive: Colour
    negative: Colour
    rule_of_sign: Colour

    def fill(self, shade: float) -> Colour:
        hue = self.negative if shade < 0 else self.positive
        red, green, blue = (round(255 + (each - 255) * abs(shade)) for each in hue)
        return red, green, blue


def paper_palette(name: str) -> Paper:
    return Paper((0xE4, 0x71, 0x0C), (0x64, 0x93, 0xC9), (0x1F, 0x4E, 0x86))
