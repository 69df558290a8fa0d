"""tokensal tells which words a language model's answer came from.

    >>> import tokensal
    >>> model = tokensal.load("dates")
    >>> result = tokensal.attribute(model, "the 3rd of March, 1987", method="input_x_gradient")
    >>> result.show()  # doctest: +SKIP

Names are imported when first used, so that `import tokensal` is instant and loads no torch. Besides those below, each
method has its class here: see `tokensal.METHODS`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tokensal.version import __version__ as __version__

if TYPE_CHECKING:
    from tokensal.adapters import CausalAdapter as CausalAdapter
    from tokensal.adapters import Seq2SeqAdapter as Seq2SeqAdapter
    from tokensal.adapters import ServedAdapter as ServedAdapter
    from tokensal.adapters import adapt as adapt
    from tokensal.adapters import load as load
    from tokensal.api import attribute as attribute
    from tokensal.api import compare as compare
    from tokensal.case import Case as Case
    from tokensal.engine import Budget as Budget
    from tokensal.errors import TokensalError as TokensalError
    from tokensal.evaluation.measuring import evaluate as evaluate
    from tokensal.methods import *  # noqa: F403
    from tokensal.methods.method import GradientMethod as GradientMethod
    from tokensal.methods.registry import register as register
    from tokensal.methods.removal import RemovalMethod as RemovalMethod
    from tokensal.options import Generation as Generation
    from tokensal.questions.question import Question as Question
    from tokensal.results.attribution import Attribution as Attribution
    from tokensal.results.comparison import Comparison as Comparison
    from tokensal.results.evaluation import Evaluation as Evaluation
    from tokensal.results.summary import Summary as Summary
    from tokensal.runs.evaluating import evaluate_run as evaluate_run
    from tokensal.runs.plan import Plan as Plan
    from tokensal.runs.plan import plan_run as plan_run
    from tokensal.runs.running import run as run
    from tokensal.runs.stored import Run as Run
    from tokensal.runs.stored import load_run as load_run
    from tokensal.runs.summary import summarize as summarize
    from tokensal.types import Diagnostic as Diagnostic
    from tokensal.types import Scores as Scores

_MODULES = {
    "METHODS": "tokensal.methods",
    "Attribution": "tokensal.results.attribution",
    "Budget": "tokensal.engine",
    "Case": "tokensal.case",
    "CausalAdapter": "tokensal.adapters",
    "Comparison": "tokensal.results.comparison",
    "Diagnostic": "tokensal.types",
    "Evaluation": "tokensal.results.evaluation",
    "Generation": "tokensal.options",
    "GradientMethod": "tokensal.methods.method",
    "Plan": "tokensal.runs.plan",
    "Question": "tokensal.questions.question",
    "RemovalMethod": "tokensal.methods.removal",
    "Run": "tokensal.runs.stored",
    "Scores": "tokensal.types",
    "Seq2SeqAdapter": "tokensal.adapters",
    "ServedAdapter": "tokensal.adapters",
    "Summary": "tokensal.results.summary",
    "TokensalError": "tokensal.errors",
    "adapt": "tokensal.adapters",
    "attribute": "tokensal.api",
    "compare": "tokensal.api",
    "evaluate": "tokensal.evaluation.measuring",
    "evaluate_run": "tokensal.runs.evaluating",
    "load": "tokensal.adapters",
    "load_run": "tokensal.runs.stored",
    "plan_run": "tokensal.runs.plan",
    "register": "tokensal.methods.registry",
    "run": "tokensal.runs.running",
    "summarize": "tokensal.runs.summary",
}


def _method_classes() -> dict[str, Any]:
    from tokensal.methods import METHODS

    return {method.__name__: method for method in METHODS.values()}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    if name == "__all__":
        return sorted([*_MODULES, *_method_classes()])
    if name[0].isupper() and name in (classes := _method_classes()):  # submodules begin with a small letter
        return classes[name]
    raise AttributeError(f"module 'tokensal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES, *_method_classes()])
