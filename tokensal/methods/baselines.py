"""What "absent" means to methods that compare an example with a baseline: one, or several that are averaged over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tokensal.errors import InputError
from tokensal.perturbations.removals import check_replacement

Baseline = str | Tensor | Sequence[str | Tensor]


def read_baseline(baseline: Any) -> Baseline:
    """A name, embeddings (D,) or (S, D), or a list of these.

    Raises:
        InputError: none, an unknown name, or embeddings that are not finite numbers.
    """
    if isinstance(baseline, np.ndarray):
        baseline = torch.from_numpy(baseline)
    elif not isinstance(baseline, str | Tensor):
        baseline = list(baseline) if isinstance(baseline, Iterable) else [baseline]
    read: Baseline = baseline
    if not len(baselines_of(read)):
        raise InputError("There is no baseline; give one, such as 'zero'.")
    for each in baselines_of(read):
        check_replacement("baseline", each)
    return read


def baselines_of(baseline: Baseline) -> Sequence[str | Tensor]:
    """One or several as a list."""
    return [baseline] if isinstance(baseline, str | Tensor) else baseline


def shown_options(method: Any) -> str:
    """The repr of a method as provenance shows it: tensors by their shape alone."""
    options = (f"{entry.name}={_shown(getattr(method, entry.name))}" for entry in fields(method))
    return f"{type(method).__name__}({', '.join(options)})"


def _shown(value: object) -> str:
    if isinstance(value, Tensor):
        return f"embeddings{tuple(value.shape)}"
    return f"[{', '.join(map(_shown, value))}]" if isinstance(value, list) else repr(value)
