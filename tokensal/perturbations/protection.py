"""Which sources a method leaves as they are, of those that alter some."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from tokensal.errors import InputError, require_known
from tokensal.questions.masks import unit_membership
from tokensal.types import Example, Role

# The first token that the decoder reads is kept as "sink" where it is content, too: attention collects there anyway, so
# that altering it alters how the model reads everything else. `Example.sink` is what a reader does without.
KEEPS: Mapping[str, Callable[[Example, int], bool]] = {
    "sink": lambda example, index: index == example.encoder,
    "special": lambda example, index: example.sources[index].special,
    "template": lambda example, index: example.sources[index].role is Role.TEMPLATE,
    "generated": lambda example, index: example.sources[index].role is Role.GENERATED,
}


def check_keep(keep: str | Sequence[str]) -> tuple[str, ...]:
    """The names of the kinds.

    Raises:
        InputError: an unknown name.
    """
    return tuple(require_known("kind of sources to keep:", keep, KEEPS))


def protected_sources(example: Example, keep: str | Sequence[str]) -> Tensor:
    """The sources of these kinds, and those that nobody asks about: (S,) bool.

    Raises:
        InputError: these are all.
    """
    names = check_keep(keep)
    kinds = [KEEPS[name] for name in names]
    kept = torch.tensor([any(kind(example, index) for kind in kinds) for index in range(len(example.sources))])
    kept |= unit_membership(example)[~torch.tensor(example.credited)].any(0)
    if kept.all():
        raise InputError(
            f"Every source is kept as it is, so nothing is left to attribute: keep fewer than {names!r}, or "
            "ask about other sources."
        )
    return kept
