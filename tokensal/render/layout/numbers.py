"""How numbers are written in every format: with a true minus, and never as -0.

exact    a number by itself, of four significant digits
Scale    numbers that are compared: the same decimals and the same power of ten for all
percent  a share
ordinal  a place, such as 99th
"""

from __future__ import annotations

import math
from dataclasses import dataclass

ROUNDING = 1e-9  # relative error of an interpolated percentile
MINUS, TIMES, PERCENT = "\u2212", "\u00d7", "\u00a0%"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def rounded(value: float) -> float:
    """`value` to four significant digits: short in JSON, and finer than any eye."""
    return float(f"{value:.4g}") + 0.0


def exact(value: float) -> str:
    """A number by itself, nothing for NaN; `exact` in the script of the HTML page is its twin."""
    if not math.isfinite(value):
        return ""
    mantissa, _, power = f"{rounded(value):.4g}".partition("e")
    return mantissa.replace("-", MINUS) + (_power_of_ten(int(power)) if power else "")


def _power_of_ten(power: int) -> str:
    return f"{TIMES}10{str(power).translate(SUPERSCRIPTS)}"


@dataclass(frozen=True, slots=True)
class Scale:
    """A scale that is symmetric about zero, or begins there where it is not signed.

    `limit` is the magnitude at its end, and decides how its numbers are written; `unit` follows each but 0. `end` says
    what that end is, where it is not the largest |score|. Colours are in so many steps on either side of zero
    (`bins`), or else continuous.
    """

    limit: float
    signed: bool
    unit: str = ""
    end: str = ""
    bins: int | None = None

    def write(self, value: float | None) -> str:
        """A number on the scale, with its sign on a signed one; nothing for None and for NaN."""
        if value is None or not math.isfinite(value):
            return ""
        if abs(value) > 1000 * self.limit > 0:  # as a sink may be: on a scale of its own
            return Scale(abs(value), self.signed, self.unit).write(value)
        power = math.floor(math.log10(self.limit)) if self.limit else 0
        far = not 1e-3 <= self.limit < 1e5 and power != 0
        decimals = 2 if far else max(0, 2 - power) if power >= 0 else max(2, 1 - power)
        digits = f"{value / 10.0**power if far else value:{'+' if self.signed else ''}.{decimals}f}"
        if float(digits) == 0:
            return "0"
        return digits.replace("-", MINUS) + (_power_of_ten(power) if far else "") + self.unit

    @property
    def low(self) -> str:
        """The number at its beginning."""
        return self.write(-self.limit) if self.signed else "0"

    @property
    def high(self) -> str:
        """The number at its end."""
        return self.write(self.limit)

    @property
    def span(self) -> str:
        """Both ends in one."""
        end = Scale(self.limit, False, self.unit).high
        return f"±{end}" if self.signed else f"0 … {end}"

    @property
    def span_and_end(self) -> str:
        """Both ends in one, and what they are."""
        return f"{self.span}, {self.end}" if self.end else self.span

    @property
    def colouring(self) -> str:
        """How a score becomes a colour: what follows "Colour is"."""
        if not self.bins:
            return "linear in the score"
        return f"in {self.bins} steps{' for each sign' * self.signed}, a score as the nearest"

    @property
    def steps(self) -> tuple[float, ...]:
        """Where colours are in steps, the shade of each, with the blank one about zero; else nothing."""
        bins = self.bins or 0
        return tuple(step / bins for step in range(-bins if self.signed else 0, bins + 1)) if bins else ()

    def relative(self, value: float) -> float:
        """The value over the limit, within [-1, 1]."""
        return max(-1.0, min(1.0, value / self.limit)) if self.limit else 0.0

    def shade(self, value: float) -> float:
        """The relative value, or the nearest step to it: where there are bins, one about zero is blank."""
        relative = self.relative(value)
        if self.bins is None:
            return relative
        return math.copysign(math.floor(abs(relative) * self.bins + 0.5) / self.bins, relative) + 0.0

    def is_beyond(self, value: float) -> bool:
        """Whether the value lies outside; what rounding adds to the limit does not count."""
        return self.limit > 0 and abs(value) > self.limit * (1 + ROUNDING)


def percent(share: float) -> str:
    """A share in two digits, such as 62 % and 8.0 %; the smallest are not told apart from one another."""
    if not math.isfinite(share):
        return "∞" + PERCENT
    text = f"{share:.0%}" if share >= 0.095 or share == 0 else f"{share:.1%}" if share >= 0.0005 else "<0.1%"
    return text.replace("%", PERCENT)


def ordinal(number: float) -> str:
    """A place in an order: 1st, 92nd, 99th, 99.5th."""
    digits = f"{number:.6g}"
    endings = {"1": "st", "2": "nd", "3": "rd"}
    regular = "." in digits or digits[-2:-1] == "1"
    return digits + ("th" if regular else endings.get(digits[-1], "th"))
