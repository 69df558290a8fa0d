"""How the HTML page writes numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

MINUS, TIMES = "\u2212", "\u00d7"
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def rounded(value: float) -> float:
    """`value` to 4 significant digits, and never -0: short in JSON, and finer than any eye."""
    return float(f"{value:.4g}") + 0.0


def exact(value: float) -> str:
    """A number of 4 significant digits with a true minus sign, as in tooltips; `exact` in the script is its twin."""
    mantissa, _, power = f"{value:.4g}".partition("e")
    return (f"{mantissa}e{int(power)}" if power else mantissa).replace("-", MINUS)


def aligned(limit: float, signed: bool) -> Callable[[float], str]:
    """How the numbers of one scale are written: three digits for its limit, and decimals that align."""
    power = math.floor(math.log10(rounded(limit))) if limit else 0
    inside = -4 <= power <= 4
    unit = 1.0 if inside else 10.0**power
    decimals = max(0, 2 - power) if inside else 2
    times = "" if inside else f"{TIMES}10{str(power).translate(SUPERSCRIPT)}"
    sign = "+" if signed else ""
    return lambda value: f"{value / unit:{sign}.{decimals}f}{times}".replace("-", MINUS)
