"""The methods, one small file a family, and the table that names them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tokensal.errors import InputError, unknown
from tokensal.methods.grad_cam import AttentionGradCAM, GradCAM, GradientRollout
from tokensal.methods.gradient import Gradient, InputXGradient
from tokensal.methods.integrated_gradients import IntegratedGradients
from tokensal.methods.method import Method
from tokensal.methods.occlusion import Occlusion

__all__ = [
    "METHODS",
    "AttentionGradCAM",
    "Entry",
    "GradCAM",
    "Gradient",
    "GradientRollout",
    "InputXGradient",
    "IntegratedGradients",
    "Method",
    "Occlusion",
    "build",
]


@dataclass(frozen=True, slots=True)
class Entry:
    """A method as the table shows it: what it does in a line, and the paper it comes from."""

    method: Callable[..., Method]
    line: str
    paper: str


METHODS: Mapping[str, Entry] = {
    "gradient": Entry(
        Gradient,
        "how strongly the score reacts to a small change of each token's embedding (a norm: no sign)",
        "Simonyan, Vedaldi, Zisserman 2014, arXiv:1312.6034",
    ),
    "input_x_gradient": Entry(
        InputXGradient,
        "first-order estimate of what each token's embedding adds to the score (signed)",
        "Shrikumar, Greenside, Shcherbina, Kundaje 2016, arXiv:1605.01713",
    ),
    "integrated_gradients": Entry(
        IntegratedGradients,
        "what each token adds to the score on the way from a baseline, with a certificate of its error (signed)",
        "Sundararajan, Taly, Yan 2017, arXiv:1703.01365",
    ),
    "grad_cam": Entry(
        GradCAM,
        "attention outputs at chosen layers times their gradients: what speaks for the score there (no sign)",
        "Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra 2017, arXiv:1610.02391",
    ),
    "attention_grad_cam": Entry(
        AttentionGradCAM,
        "attention weights times their gradients: what the score gains from looking at each token (no sign)",
        "Barkan, Hauon, Caciularu, Katz, Malkiel, Armstrong, Koenigstein 2021, arXiv:2204.11073",
    ),
    "gradient_rollout": Entry(
        GradientRollout,
        "attention weights times their gradients, chained through the layers (no sign)",
        "Chefer, Gur, Wolf 2021, arXiv:2103.15679",
    ),
    "occlusion": Entry(
        Occlusion,
        "how much the score drops when each token is taken away (signed)",
        "Zeiler, Fergus 2014, arXiv:1311.2901",
    ),
}


def build(name: str, options: Mapping[str, Any] | None = None) -> Method:
    """Make the method of that name with those options: `build("gradient", {"norm": "l1"})`.

    Raises:
        InputError: an unknown method or option (the nearest one is offered), or a value it does not take.
    """
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    method = METHODS[name].method
    known = list(inspect.signature(method).parameters)
    for option in options or {}:
        if not known:
            raise InputError(f"Method {name!r} takes no options, but got {option!r}; leave it out.")
        if option not in known:
            raise unknown(f"option of method {name!r}:", option, known)
    return method(**(options or {}))


def name_of(method: Method) -> str:
    """The name a method has in the table, or that of its class for a method of the user's own."""
    return next((name for name, entry in METHODS.items() if entry.method is type(method)), type(method).__name__)
