"""Which layers of a model are meant.

Layers are counted from the embeddings up: layer 0 is the lowest, layer -1 the one below the head. Of an
encoder–decoder model the encoder's layers come first, then the decoder's: with as many of both, "0.5:" is the decoder.
"""

from __future__ import annotations

import math
import re

from tokensal.errors import InputError

Layers = int | float | str  # an index, a depth between 0 and 1, a range "a:b" of either, or "all"


def check_layers(layers: Layers) -> None:
    """Refuse what cannot mean layers of any model.

    Raises:
        InputError: neither an index, nor a depth, nor a range, nor "all".
    """
    if isinstance(layers, str):
        sound = layers == "all" or _ends(layers) is not None
    elif isinstance(layers, float):
        sound = 0 < layers < 1
    else:
        sound = isinstance(layers, int) and not isinstance(layers, bool)
    if not sound:
        raise InputError(
            f"layers is {layers!r}, but should be an index such as 3 or -1, a depth between 0 and 1 such as 0.5, "
            "a range such as '4:8' or '0.5:', or 'all'."
        )


def select_layers(layers: Layers, count: int) -> tuple[int, ...]:
    """The layers that are meant in a model of `count` layers, from the lowest to the highest.

    Args:
        layers: an index, from the top where negative; a depth within (0, 1), on the way from the lowest layer to
            the highest, rounded down; a range "a:b", which as in Python leaves out b, and where either end may be
            missing, negative, or a depth (the upper half is "0.5:"; a layer that is cut belongs to both sides); or
            "all".
        count: how many layers there are.

    Raises:
        InputError: it cannot mean layers, or the model has no such layer.
    """
    check_layers(layers)
    first, last = _span(layers, count)
    if not 0 <= first < last <= count:
        raise InputError(
            f"layers is {layers!r}, but the model has {count} layers: choose from 0 to {count - 1}, "
            f"or from -{count} to -1; in a range 'a:b', a lies below b, and b is left out."
        )
    return tuple(range(first, last))


def _span(layers: Layers, count: int) -> tuple[int, int]:
    """The first layer and the one after the last, counted from the bottom; they may lie outside the model."""
    if isinstance(layers, str):
        start, stop = _ends(layers) or ("", "")
        return math.floor(_height(start, count, 0)), math.ceil(_height(stop, count, count))
    first = int(layers * (count - 1) if isinstance(layers, float) else _height(str(layers), count, 0))
    return first, first + 1


def _ends(text: str) -> tuple[str, str] | None:
    """Both ends of a range, empty where one is missing; None for what is no range."""
    match = re.fullmatch(r"(-?\d+|0\.\d+)?:(-?\d+|0\.\d+)?", text)
    return match and (match[1] or "", match[2] or "")


def _height(end: str, count: int, missing: int) -> float:
    """How many layers lie below an end of a range."""
    if not end:
        return missing
    if "." in end:
        return float(end) * count
    return int(end) + count if int(end) < 0 else int(end)
