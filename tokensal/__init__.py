"""tokensal tells which words a language model's answer came from.

    >>> import tokensal
    >>> model = tokensal.load()  # doctest: +SKIP
    >>> result = tokensal.attribute(model, "The capital of France is", method="input_x_gradient")  # doctest: +SKIP
    >>> result.show()  # doctest: +SKIP

Names are imported when first used, so that `import tokensal` is instant and loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokensal.adapters import CausalAdapter, Seq2SeqAdapter, adapt, load
    from tokensal.api import attribute, compare
    from tokensal.engine import Budget
    from tokensal.errors import TokensalError
    from tokensal.methods import (
        METHODS,
        AttentionGradCAM,
        GradCAM,
        Gradient,
        GradientRollout,
        InputXGradient,
        IntegratedGradients,
        Occlusion,
    )
    from tokensal.results.attribution import Attribution
    from tokensal.results.comparison import Comparison

__version__ = "0.1.0"

_HOMES = {
    "AttentionGradCAM": "tokensal.methods",
    "Attribution": "tokensal.results.attribution",
    "Budget": "tokensal.engine",
    "CausalAdapter": "tokensal.adapters",
    "Comparison": "tokensal.results.comparison",
    "GradCAM": "tokensal.methods",
    "Gradient": "tokensal.methods",
    "GradientRollout": "tokensal.methods",
    "InputXGradient": "tokensal.methods",
    "IntegratedGradients": "tokensal.methods",
    "METHODS": "tokensal.methods",
    "Occlusion": "tokensal.methods",
    "Seq2SeqAdapter": "tokensal.adapters",
    "TokensalError": "tokensal.errors",
    "adapt": "tokensal.adapters",
    "attribute": "tokensal.api",
    "compare": "tokensal.api",
    "load": "tokensal.adapters",
}

__all__ = [
    "METHODS",
    "AttentionGradCAM",
    "Attribution",
    "Budget",
    "CausalAdapter",
    "Comparison",
    "GradCAM",
    "Gradient",
    "GradientRollout",
    "InputXGradient",
    "IntegratedGradients",
    "Occlusion",
    "Seq2SeqAdapter",
    "TokensalError",
    "adapt",
    "attribute",
    "compare",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tokensal' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
