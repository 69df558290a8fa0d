"""Backward rules by operation (see `tokensal.types.Rules`): the forward keeps its numbers, and gets other gradients.

The rules are written as operations with the same result and another gradient, by detaching parts of it. Batched
vector-Jacobian products work with them as with any other operation.

1. `rsqrt` and `layer_norm`: the scale is detached.
2. An activation function f: the gradient is f(x) / x; or only its positive part flows back ("positive", "guided").
   Those that are written out are caught as modules, and x · σ(c·x) as a product.
3. A product of two tensors that both depend on the input: half of the gradient to each. (Weights never do: they are
   frozen.) Or the output of an activation function, a gate, is detached.
4. Attention: the weights are detached, or both matrix products are halved. In the fused kernel that is a quarter of the
   gradient to queries and keys and half to values, in eager attention one half for each product.
5. A temperature T of the softmax: its derivative is taken at scores / T. The fused kernel is called a second time, with
   its scale divided by T, and the gradient of queries and keys goes through that call alone.
6. Softmax of a router, and under "ratio" every sigmoid: detached.
7. Linear layers, and constants that are added: see `linear_rules.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tokensal.adapters import operations as ops
from tokensal.adapters.layers import layers_of
from tokensal.adapters.linear_rules import add, addmm, grouped, linear, multiplied_by_a_constant, scaled
from tokensal.adapters.operations import Function, OperationMode, by_activation, named_arguments, varies
from tokensal.errors import UnsupportedModel
from tokensal.types import Rules

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@contextmanager
def ruled(model: PreTrainedModel, rules: Rules, constants: Tensor | None, *, again: bool = False) -> Iterator[None]:
    """Inside, a forward of the model builds the graph of the rules; or one of its layers, where that is run again.

    Raises:
        UnsupportedModel: the rules met fewer operations than the model has, so they do not hold.
    """
    with RuleMode(rules, model, constants) as mode:
        yield
    if not again:
        _require_rules_met(rules, mode.counts, model)


class RuleMode(OperationMode):
    """Inside, a forward builds the graph of the rules.

    Args:
        rules: the rules.
        model: the model whose forwards run inside.
        constants: the leaf of one, a tensor (), by which constants are multiplied; or of ones (N,), for each of several
            examples. None leaves them as they are.
    """

    def __init__(self, rules: Rules, model: nn.Module, constants: Tensor | None = None) -> None:
        super().__init__(model)
        self.rules = rules
        self.constants = constants

    def activated(self, function: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
        """The value y of an activation function at x, with the rule for its derivative."""
        rule = self.rules.activation
        if rule == "exact" or not varies(y):
            return y
        self.counts["activation"] += 1
        if rule == "guided":
            result = torch.where(x > 0, y, y.detach())
        else:
            ratio = (y / torch.where(x == 0, 1, x)).detach() if rule == "ratio" else 1
            result = y.detach() + (x - x.detach()) * ratio
        if rule != "ratio":
            result.register_hook(_positive_part)  # type: ignore[no-untyped-call]
        result._is_gate = True  # type: ignore[attr-defined]
        return result


def half(tensor: Tensor) -> Tensor:
    """The same numbers, half of the gradient."""
    return tensor.detach().lerp(tensor, 0.5)


def _positive_part(gradient: Tensor) -> Tensor:
    return gradient.clamp(min=0)


def _rsqrt(mode: RuleMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if mode.rules.norm == "exact" or not varies(args[0]):
        return function(*args, **kwargs)
    mode.counts["norm"] += 1
    return function(args[0].detach(), *args[1:], **kwargs)


def _layer_norm(mode: RuleMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    named = named_arguments(args, kwargs, "input", "normalized_shape", "weight", "bias", "eps")
    x = named["input"]
    if mode.rules.norm == "exact" or not varies(x):
        return function(**named)
    mode.counts["norm"] += 1
    dims = tuple(range(-len(named["normalized_shape"]), 0))
    centred = x - x.mean(dims, keepdim=True)
    scale = torch.rsqrt(centred.detach().pow(2).mean(dims, keepdim=True) + named.get("eps", 1e-5))
    result = centred * scale
    if named.get("weight") is not None:
        result = result * named["weight"]
    return result if named.get("bias") is None else result + scaled(mode, named["bias"], result)


def _rms_norm(mode: RuleMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    named = named_arguments(args, kwargs, "input", "normalized_shape", "weight", "eps")
    x = named["input"]
    if mode.rules.norm == "exact" or not varies(x):
        return function(**named)
    mode.counts["norm"] += 1
    dims = tuple(range(-len(named["normalized_shape"]), 0))
    eps = torch.finfo(x.dtype).eps if named.get("eps") is None else named["eps"]
    result = x * torch.rsqrt(x.detach().pow(2).mean(dims, keepdim=True) + eps)
    return result if named.get("weight") is None else result * named["weight"]


def _tanh(mode: RuleMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A soft cap, which is no rectifier: of its gradient, no part is positive evidence."""
    if mode.rules.activation == "ratio":
        return by_activation(mode, function, args, kwargs)
    return function(*args, **kwargs)


def _sigmoid(mode: RuleMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = function(*args, **kwargs)
    if not varies(result):
        return result
    if mode.rules.activation == "ratio":
        mode.counts["sigmoid"] += 1
        return result.detach()
    x = args[0] if args else kwargs["input"]
    result._of = getattr(x, "_multiple_of", x)
    return result


def _softmax(mode: RuleMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = function(*args, **kwargs)
    kind = "attention" if result.ndim == 4 else "router"  # (R, heads, S, S), or (tokens, experts)
    if not varies(result) or getattr(mode.rules, kind) == "exact":
        return result
    mode.counts[kind] += 1
    if getattr(mode.rules, kind) == "constant":
        return result.detach()
    temperature = mode.rules.temperature
    if temperature == 1:
        return result
    warmer = function(args[0] / temperature, *args[1:], **kwargs)  # its derivative is that at scores / T, divided by T
    return result.detach() + temperature * (warmer - warmer.detach())


def _multiply(mode: RuleMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = None
    if len(args) > 1 and varies(args[0]) and varies(args[1]):
        result = _product(mode, args[0], args[1])
    elif len(args) > 1 and varies(args[0]) and not isinstance(args[1], Tensor):
        result = function(*args, **kwargs)
        result._multiple_of = args[0]
    return function(*args, **kwargs) if result is None else result


def _product(mode: RuleMode, first: Tensor, second: Tensor) -> Tensor | None:
    """A product of two tensors that depend on the input, by its rule; None where it has none."""
    for x, gate in ((first, second), (second, first)):
        if getattr(gate, "_of", None) is x:  # x · σ(c·x) is an activation function, and no product
            return mode.activated(lambda x: x, x, torch.mul(first, second))
    rule = mode.rules.product
    if rule == "exact":
        return None
    mode.counts["product"] += 1
    gates = [getattr(factor, "_is_gate", False) for factor in (first, second)]
    if rule == "constant" and any(gates):
        factors = (factor.detach() if gate else factor for factor, gate in zip((first, second), gates, strict=True))
        return torch.mul(*factors)
    # the halves add up to the product to the last bit, and cost no pass of their own in the backward
    return (0.5 * first.detach()) * second + (0.5 * second.detach()) * first


def _matmul(mode: RuleMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if len(args) == 2 and not kwargs and varies(args[0]) != varies(args[1]):
        return multiplied_by_a_constant(mode, function, *args)
    result = function(*args, **kwargs)
    if mode.rules.attention != "half" or len(args) < 2 or not (varies(args[0]) and varies(args[1])):
        return result
    mode.counts["product"] += 1
    return half(result)


def _baddbmm(mode: RuleMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    named = named_arguments(args, kwargs, "input", "batch1", "batch2")
    result = function(*args, **kwargs)
    both = varies(named["batch1"]) and varies(named["batch2"])
    if mode.rules.attention != "half" or not both or varies(named["input"]):
        return result
    mode.counts["product"] += 1
    return half(result)


def _attention(mode: RuleMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    named = named_arguments(args, kwargs, *ops.SDPA_ARGUMENTS)
    if mode.rules.attention == "exact" or not varies(named["value"]):
        return function(**named)
    mode.counts["attention"] += 1
    query, key, value, mask = named["query"], named["key"], named["value"], named.get("attn_mask")
    still = {**named, "query": query.detach(), "key": key.detach()}
    if mode.rules.attention == "constant":
        # of T5, the mask holds a learned bias
        return function(**{**still, "attn_mask": None if mask is None else mask.detach()})
    moving = {"query": query.detach().lerp(query, 0.25), "key": key.detach().lerp(key, 0.25)}
    temperature = mode.rules.temperature
    if temperature == 1:
        return function(**{**named, **moving, "value": half(value)})
    scale = named.get("scale") or query.shape[-1] ** -0.5
    mask_at = mask if mask is None or mask.dtype == torch.bool else mask / temperature
    warmer = {**moving, "value": value.detach(), "scale": scale / temperature, "attn_mask": mask_at}
    through_scores = function(**{**named, **warmer})
    through_values = function(**{**still, "value": half(value)})
    return through_values + temperature * (through_scores - through_scores.detach())


def _require_rules_met(rules: Rules, counts: Mapping[str, int], model: PreTrainedModel) -> None:
    layers = layers_of(model)
    expected = {
        "attention": sum(1 if layer.cross is None else 2 for layer in layers) if rules.attention != "exact" else 0,
        "norm": len(layers) if rules.norm != "exact" else 0,
        "activation": len(layers) if rules.activation in ("positive", "guided") else 0,
    }
    for kind, least in expected.items():
        if counts[kind] < least:
            raise UnsupportedModel(
                f"The backward rules cannot be applied to the {model.config.model_type!r} model: they met "
                f"{counts[kind]} of at least {least} operations of the kind {kind!r}. Load the model with "
                "attention='sdpa' or 'eager', or choose a method without rules, such as 'input_x_gradient'."
            )
    if (rules.epsilon or rules.gamma) and counts["packed"]:
        raise UnsupportedModel(
            f"The rules epsilon and gamma cannot be applied to the {model.config.model_type!r} model, which packs the "
            "weights of its experts. Load it with experts_implementation='eager', or choose epsilon=0 and gamma=0."
        )


RuleMode.handlers = {
    **dict.fromkeys(ops.RSQRT, _rsqrt),
    **dict.fromkeys(ops.LAYER_NORM, _layer_norm),
    **dict.fromkeys(ops.RMS_NORM, _rms_norm),
    **dict.fromkeys(ops.RECTIFIERS, by_activation),
    **dict.fromkeys(ops.TANH, _tanh),
    **dict.fromkeys(ops.SIGMOID, _sigmoid),
    **dict.fromkeys(ops.SOFTMAX, _softmax),
    **dict.fromkeys(ops.MULTIPLY, _multiply),
    **dict.fromkeys(ops.MATMUL, _matmul),
    **dict.fromkeys(ops.BADDBMM, _baddbmm),
    ops.SDPA: _attention,
    torch.nn.functional.linear: linear,
    torch.addmm: addmm,
    **dict.fromkeys(ops.GROUPED, grouped),
    **dict.fromkeys((*ops.ADD, *ops.SUBTRACT), add),
}
