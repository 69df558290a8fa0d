"""Which sources a method leaves as they are, of those that alter some."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from tokensal.asking import members
from tokensal.errors import InputError, unknown
from tokensal.types import Example, Role

KEEPS: Mapping[str, Callable[[Example, int], bool]] = {
    "sink": lambda example, index: index == example.sink,
    "special": lambda example, index: example.sources[index].special,
    "template": lambda example, index: example.sources[index].role is Role.TEMPLATE,
    "generated": lambda example, index: example.sources[index].role is Role.GENERATED,
}


def check(keep: str | Sequence[str]) -> None:
    """Refuse what names no kind of sources.

    Raises:
        InputError: an unknown name.
    """
    for name in _names(keep):
        if name not in KEEPS:
            raise unknown("kind of sources to keep:", name, KEEPS)


def untouched(example: Example, keep: str | Sequence[str]) -> Tensor:
    """The sources of these kinds, and those that nobody asks about: (S,) bool.

    Raises:
        InputError: these are all.
    """
    kinds = [KEEPS[name] for name in _names(keep)]
    kept = torch.tensor([any(kind(example, index) for kind in kinds) for index in range(len(example.sources))])
    kept |= members(example)[~torch.tensor(example.credited)].any(0)
    if kept.all():
        raise InputError(
            f"Every source is kept as it is, so nothing is left to attribute: keep fewer than {_names(keep)!r}, or "
            "ask about other sources."
        )
    return kept


def _names(keep: str | Sequence[str]) -> list[str]:
    return [keep] if isinstance(keep, str) else list(keep)
