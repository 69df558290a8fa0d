"""Durations, rates and sizes of memory as people read them."""

from __future__ import annotations

from itertools import pairwise

UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))  # of durations


def duration(seconds: float) -> str:
    """Such as "0.4 s", "45 s", "3 min 20 s", "2 h 5 min" or "3 d 4 h": two units at most.

    >>> [duration(seconds) for seconds in (0.42, 45.2, 200, 7500, 7199.9, 273_600)]
    ['0.4 s', '45 s', '3 min 20 s', '2 h 5 min', '2 h', '3 d 4 h']
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    for (size, unit), (smaller, name) in pairwise(UNITS):
        rest = round(seconds / smaller) * smaller
        if rest >= size:
            first, second = rest // size, rest % size // smaller
            return f"{first} {unit}" + (f" {second} {name}" if second else "")
    return f"{seconds:.0f} s"


def per_minute(count: float, seconds: float) -> str:
    """Such as "34 a minute", or "0.2 a minute" of what is slow.

    >>> per_minute(17, 30), per_minute(1, 240)
    ('34 a minute', '0.2 a minute')
    """
    rate = 60 * count / max(seconds, 1e-9)
    return f"{rate:,.0f} a minute" if rate >= 9.5 else f"{rate:.1f} a minute"


def gibibytes(size: int) -> str:
    """Such as "1.4 GiB", or "350 MiB" of what is small.

    >>> gibibytes(1_503_238_554), gibibytes(367_001_600)
    ('1.4 GiB', '350 MiB')
    """
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def counted(number: int, noun: str) -> str:
    """Such as "1 example" or "1,200 examples".

    >>> counted(1, "example"), counted(1200, "example")
    ('1 example', '1,200 examples')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
