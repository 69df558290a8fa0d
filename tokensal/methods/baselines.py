"""Methods that follow the score from a baseline, or several, to the input: what they share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tokensal.engine import Engine
from tokensal.errors import InputError
from tokensal.perturbations.protection import check_keep, protected_sources
from tokensal.perturbations.removals import check_replacement
from tokensal.types import Example
from tokensal.values import store


@dataclass(frozen=True, kw_only=True)
class BaselineMethod:
    """A method that needs one baseline or more. (A subclass is a dataclass with `repr=False`, to keep this one's.)

    Args:
        baseline: what "absent" means: "zero", "mean" (of all embeddings), "pad", "eos", "bos", "unk", "space", any
            text as "text:…", embeddings of your own (D,) or (S, D), or several of these in a list.
        keep: which sources are the same at both ends of the path, and so get 0: any of "sink", "special", "template",
            "generated". So are those that nobody asks about.
    """

    baseline: str | Tensor | Sequence[str | Tensor] = "zero"
    keep: Sequence[str] = ("sink", "special", "template")

    def __post_init__(self) -> None:
        baseline: Any = self.baseline
        if isinstance(baseline, np.ndarray):
            store(self, baseline=torch.from_numpy(baseline))
        elif not isinstance(baseline, str | Tensor):
            store(self, baseline=list(baseline) if isinstance(baseline, Iterable) else [baseline])
        if not self.baselines:
            raise InputError("There is no baseline; give one, such as 'zero'.")
        for baseline in self.baselines:
            check_replacement("baseline", baseline)
        store(self, keep=check_keep(self.keep))

    def __repr__(self) -> str:
        shown = (f"{entry.name}={_shown(getattr(self, entry.name))}" for entry in fields(self))
        return f"{type(self).__name__}({', '.join(shown)})"

    @property
    def baselines(self) -> Sequence[str | Tensor]:
        """All of them, in a list."""
        return [self.baseline] if isinstance(self.baseline, str | Tensor) else self.baseline

    def ends(self, example: Example, engine: Engine) -> tuple[Tensor, Tensor, Tensor]:
        """Where each path starts, (B, S, D), and where all of them end, (S, D); and what they do not alter, (S,)."""
        kept, embeds = protected_sources(example, self.keep), engine.embed(example)
        same = kept[:, None].to(embeds.device)
        starts = [torch.where(same, embeds, engine.baseline(example, baseline)) for baseline in self.baselines]
        return torch.stack(starts), embeds, kept


def _shown(value: object) -> str:
    """A value as provenance shows it: tensors by their shape alone."""
    if isinstance(value, Tensor):
        return f"embeddings{tuple(value.shape)}"
    return f"[{', '.join(map(_shown, value))}]" if isinstance(value, list) else repr(value)
