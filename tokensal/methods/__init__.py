"""The methods, one small file a family, and the table that names them.

A method is its file and one line here: the table is made of the classes that are imported. Methods of others join it
by `register`, or by an entry point (see `tokensal.methods.registry`).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

from tokensal.errors import InputError, resolve_name, unknown
from tokensal.methods.method import Method as Method
from tokensal.methods.registry import METHODS as METHODS
from tokensal.methods.registry import installed, load_installed
from tokensal.methods.registry import register as register
from tokensal.values import described

# In the order of the table.
# isort: off
from tokensal.methods.gradient import Gradient as Gradient, InputXGradient as InputXGradient
from tokensal.methods.smooth_grad import SmoothGrad as SmoothGrad
from tokensal.methods.var_grad import VarGrad as VarGrad
from tokensal.methods.rectified_gradients import GuidedBackprop as GuidedBackprop, Deconvnet as Deconvnet
from tokensal.methods.lrp import LRP as LRP
from tokensal.methods.gim import GIM as GIM
from tokensal.methods.deep_lift import DeepLift as DeepLift
from tokensal.methods.integrated_gradients import IntegratedGradients as IntegratedGradients
from tokensal.methods.gradient_shap import GradientSHAP as GradientSHAP
from tokensal.methods.grad_cam import GradCAM as GradCAM, AttentionGradCAM as AttentionGradCAM
from tokensal.methods.grad_cam import GradientRollout as GradientRollout
from tokensal.methods.value_x_gradient import ValueXGradient as ValueXGradient
from tokensal.methods.attention import Attention as Attention
from tokensal.methods.attention_rollout import AttentionRollout as AttentionRollout
from tokensal.methods.value_zeroing import ValueZeroing as ValueZeroing
from tokensal.methods.information_flow import InformationFlowRoutes as InformationFlowRoutes
from tokensal.methods.alti_logit import ALTILogit as ALTILogit
from tokensal.methods.occlusion import Occlusion as Occlusion
from tokensal.methods.hierarchical_occlusion import HierarchicalOcclusion as HierarchicalOcclusion
from tokensal.methods.shapley_values import ShapleyValues as ShapleyValues
from tokensal.methods.shapley_sampling import ShapleySampling as ShapleySampling
from tokensal.methods.kernel_shap import KernelSHAP as KernelSHAP
from tokensal.methods.owen_values import OwenValues as OwenValues
from tokensal.methods.lime import LIME as LIME
from tokensal.methods.context_cite import ContextCite as ContextCite
from tokensal.methods.rise import RISE as RISE
from tokensal.methods.hierarchical import Hierarchical as Hierarchical
from tokensal.methods.extremal_perturbation import ExtremalPerturbation as ExtremalPerturbation
# isort: on

_CLASSES: list[Any] = [member for member in list(globals().values()) if inspect.isclass(member)]
METHODS.update({member.name: member for member in _CLASSES if hasattr(member, "paper")})

# Other names in use, without their hyphens and underscores: those of captum, Inseq, and papers.
ALIASES = {
    "ig": "integrated_gradients",
    "saliency": "gradient",
    "gradients": "gradient",
    "vanillagradient": "gradient",
    "ixg": "input_x_gradient",
    "gxi": "input_x_gradient",
    "inputtimesgradient": "input_x_gradient",
    "gradientxinput": "input_x_gradient",
    "gradienttimesinput": "input_x_gradient",
    "smoothgradient": "smooth_grad",
    "expectedgradients": "gradient_shap",
    "layerwiserelevancepropagation": "lrp",
    "guided": "guided_backprop",
    "guidedbackpropagation": "guided_backprop",
    "deconvolution": "deconvnet",
    "gradientinteractionmodifications": "gim",
    "valuetimesgradient": "value_x_gradient",
    "rollout": "attention_rollout",
    "ifr": "information_flow_routes",
    "alti": "alti_logit",
    "erasure": "occlusion",
    "ablation": "occlusion",
    "featureablation": "occlusion",
    "leaveoneout": "occlusion",
    "shapley": "shapley_values",
    "shapleyvaluesampling": "shapley_sampling",
    "permutationsampling": "shapley_sampling",
    "shap": "kernel_shap",
    "owen": "owen_values",
    "partitionshap": "owen_values",
}


def canonical_name(name: str) -> str:
    """The name in `METHODS` of the method that is meant: `canonical_name("ig")` is "integrated_gradients".

    Raises:
        InputError: an unknown method; the nearest one is offered. Or one of a package that cannot be loaded.
    """
    resolved = resolve_name("method", name, [*METHODS, *installed()], ALIASES)
    load_installed(resolved)
    return resolved


def build(name: str | Method | type[Method], options: Mapping[str, Any] | None = None) -> Method:
    """Make the method of that name, or alias, with those options: `build("gradient", {"norm": "l1"})`.

    A method is returned as it is, and a class of methods is built with its defaults.

    Raises:
        InputError: an unknown method or option (the nearest one is offered), or a value it does not take.
    """
    if not isinstance(name, str):
        return _built(name)
    name = canonical_name(name)
    method = METHODS[name]
    known = list(inspect.signature(method).parameters)
    for option in options or {}:
        if not known:
            raise InputError(f"Method {name!r} takes no options, but got {option!r}; leave it out.")
        if option not in known:
            raise unknown(f"option of method {name!r}:", option, known)
    return method(**(options or {}))


def _built(method: Any) -> Method:
    """A method, or one of a class with its defaults."""
    built: Any = method
    if inspect.isclass(method) and not inspect.isabstract(method):
        with suppress(TypeError):  # it is no method that can be built without options
            built = method()
    if inspect.isclass(built) or not callable(built) or not hasattr(built, "signed"):
        raise InputError(
            f"A method should be a name such as 'gradient', or a value such as tokensal.Gradient(norm='l1'), but is "
            f"{described(method)}."
        )
    return cast(Method, built)


def name_of(method: Method) -> str:
    """The name of a method, or that of its class for one of the user's own that has none."""
    return getattr(method, "name", type(method).__name__)


def label_of(method: Method) -> str:
    """The name of a method with the options that differ from the defaults: "lrp rule=attn"."""
    options = " ".join(f"{name}={value}" for name, value in differences(method).items())
    return f"{name_of(method)} {options}".strip()


def differences(method: Method) -> dict[str, str]:
    """Which options of a method differ from the defaults, as text; none of one without declared options."""
    declared = getattr(method, "__dataclass_fields__", {}).values()
    values = ((each.name, getattr(method, each.name), each.default) for each in declared)
    return {name: str(value) for name, value, default in values if repr(value) != repr(default)}
