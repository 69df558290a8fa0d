"""The operations of a forward, intercepted: value vectors are edited, and backward rules applied.

A `TorchFunctionMode` sees every operation, whatever module it stands in, so that one table serves every architecture.
No class is patched; leaving the mode leaves nothing behind.

The rules (see `tokensal.types.Rules`) are written as operations with the same result and another gradient, by detaching
parts of it. Batched vector-Jacobian products work with them as with any other operation.

1. `rsqrt` and `layer_norm`: the scale is detached.
2. An activation function f: the gradient is f(x) / x. Those that transformers writes out are caught as modules.
3. A product of two tensors that both depend on the input: half of the gradient to each. (Weights never do: they are
   frozen.) Or the output of an activation function, a gate, is detached.
4. Attention: the weights are detached, or both matrix products are halved. In the fused kernel that is a quarter of the
   gradient to queries and keys and half to values, in eager attention one half for each product.
5. Softmax of a router, and every sigmoid: detached.

With `constants`, what does not depend on the input is multiplied by a leaf of one where it is added: biases and learned
positions. The gradient of that leaf is their share of the score.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # its usual name
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tokensal.adapters.frozen import in_this_thread
from tokensal.types import LayerActivation, Rules

Function = Callable[..., Any]
Handler = Callable[["RuleMode", Function, tuple[Any, ...], dict[str, Any]], Any]

SDPA = F.scaled_dot_product_attention
SDPA_ARGUMENTS = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
SOFTMAX = (F.softmax, torch.softmax, Tensor.softmax)
MATMUL = (torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm)
MULTIPLY = (torch.mul, torch.multiply, Tensor.mul, Tensor.multiply, Tensor.__mul__, Tensor.__rmul__, Tensor.__imul__)
IN_PLACE = (Tensor.add_, Tensor.__iadd__)
ADD = (torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__, *IN_PLACE)
SUBTRACT = (torch.sub, Tensor.sub, Tensor.__sub__)
SIGMOID = (torch.sigmoid, Tensor.sigmoid, F.sigmoid)
RSQRT = (torch.rsqrt, Tensor.rsqrt)
ACTIVATIONS = (
    *(F.silu, F.gelu, F.relu, F.relu6, F.leaky_relu, F.elu, F.selu, F.mish, F.hardswish),
    *(torch.relu, Tensor.relu, torch.tanh, Tensor.tanh, F.tanh),
)


class EditedValues(TorchFunctionMode):
    """Inside, attention multiplies what `write` makes of the value vectors of the attentions that are entered.

    Args:
        write: from value vectors (R, heads, S, width) to others.
        heads: how many; some models (Bloom) join them with the rows where they multiply.
    """

    def __init__(self, write: Callable[[LayerActivation], Tensor], heads: int) -> None:
        super().__init__()
        self.write = write
        self.heads = heads
        self.label: Callable[[Tensor], LayerActivation] | None = None
        self.weights: Tensor | None = None  # of eager attention, between the softmax and the product with the values
        self.count = 0  # of edits

    def entering(self, label: Callable[[Tensor], LayerActivation]) -> Callable[..., None]:
        """A hook for before the forward of an attention."""

        def enter(module: nn.Module, arguments: tuple[Any, ...]) -> None:
            self.label = label

        return enter

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Inside, no operation is one of the attention's."""
        label, self.label = self.label, None
        try:
            yield
        finally:
            self.label = label

    def leaving(self, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        """A hook for after it."""
        self.label = self.weights = None

    def _edited(self, values: Tensor) -> Tensor:
        assert self.label is not None
        self.count += 1
        if values.ndim == 3:
            apart = values.view(-1, self.heads, *values.shape[1:])
            return self.write(self.label(apart)).flatten(0, 1)
        return self.write(self.label(values))

    def __torch_function__(
        self, function: Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.label is None:  # outside of the attentions that are entered, nothing is followed
            return function(*args, **kwargs)
        if function is SDPA:
            named = _named(args, kwargs, *SDPA_ARGUMENTS)
            return function(**{**named, "value": self._edited(named["value"])})
        if function in MATMUL and args[0] is self.weights:
            return function(args[0], self._edited(args[1]), *args[2:], **kwargs)
        result = function(*args, **kwargs)
        if function in SOFTMAX or any(argument is self.weights for argument in args if isinstance(argument, Tensor)):
            self.weights = result if isinstance(result, Tensor) else self.weights  # also after dropout or a cast
        return result


class FixedScales(TorchFunctionMode):
    """Inside, the scales 1 / √… of norms are remembered; once they are `fixed`, those come again, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.fixed = False
        self.scales: deque[Tensor] = deque()

    def __torch_function__(
        self, function: Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function in RSQRT and self.fixed:
            return self.scales.popleft()
        result = function(*args, **(kwargs or {}))
        if function in RSQRT:
            self.scales.append(result)
        return result


class RuleMode(TorchFunctionMode):
    """Inside, a forward builds the graph of the rules. `counts` says how often each was applied.

    Args:
        rules: the rules.
        model: the model whose forwards run inside.
        constants: the leaf of one, a tensor (), by which constants are multiplied; None leaves them as they are.
    """

    def __init__(self, rules: Rules, model: nn.Module, constants: Tensor | None = None) -> None:
        super().__init__()
        self.rules = rules
        self.model = model
        self.constants = constants
        self.counts: Counter[str] = Counter()
        self._suspended = 0
        self._hooks = ExitStack()

    def __enter__(self) -> RuleMode:
        if self.rules.activation == "ratio":
            for module in self.model.modules():
                if type(module).__module__ == "transformers.activations":
                    self._hooks.enter_context(module.register_forward_pre_hook(in_this_thread(self._suspend)))
                    self._hooks.enter_context(
                        module.register_forward_hook(in_this_thread(self._activated), always_call=True)
                    )
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        self._hooks.close()
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_function__(
        self, function: Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        handler = None if self._suspended else HANDLERS.get(function)
        if handler is None:
            return function(*args, **(kwargs or {}))
        return handler(self, function, args, kwargs or {})

    def _suspend(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        self._suspended += 1

    def _activated(self, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
        self._suspended -= 1
        return self.by_ratio(arguments[0], output) if isinstance(output, Tensor) else output

    def by_ratio(self, x: Tensor, y: Tensor) -> Tensor:
        """The result y of an activation function, with y / x for its derivative."""
        if not y.requires_grad:
            return y
        self.counts["activation"] += 1
        ratio = (y / torch.where(x == 0, 1, x)).detach()
        result = y.detach() + (x - x.detach()) * ratio
        result._is_gate = True  # type: ignore[attr-defined]
        return result

    def scaled(self, constant: Tensor) -> Tensor:
        """A constant, times the leaf of one."""
        return constant if self.constants is None else constant * self.constants.to(constant)


def _half(tensor: Tensor) -> Tensor:
    """The same numbers, half of the gradient."""
    return tensor.detach().lerp(tensor, 0.5)


def _quarter(tensor: Tensor) -> Tensor:
    return tensor.detach().lerp(tensor, 0.25)


def _varies(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _named(args: tuple[Any, ...], kwargs: dict[str, Any], *names: str) -> dict[str, Any]:
    """The arguments as keywords; those without one have these names, in order."""
    return {**dict(zip(names, args, strict=False)), **kwargs}


def _rsqrt(mode: RuleMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if mode.rules.norm == "exact" or not _varies(args[0]):
        return function(*args, **kwargs)
    mode.counts["norm"] += 1
    return function(args[0].detach(), *args[1:], **kwargs)


def _layer_norm(mode: RuleMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    named = _named(args, kwargs, "input", "normalized_shape", "weight", "bias", "eps")
    x = named["input"]
    if mode.rules.norm == "exact" or not _varies(x):
        return function(**named)
    mode.counts["norm"] += 1
    dims = tuple(range(-len(named["normalized_shape"]), 0))
    centred = x - x.mean(dims, keepdim=True)
    scale = torch.rsqrt(centred.detach().pow(2).mean(dims, keepdim=True) + named.get("eps", 1e-5))
    result = centred * scale
    if named.get("weight") is not None:
        result = result * named["weight"]
    return result if named.get("bias") is None else result + mode.scaled(named["bias"])


def _rms_norm(mode: RuleMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    named = _named(args, kwargs, "input", "normalized_shape", "weight", "eps")
    x = named["input"]
    if mode.rules.norm == "exact" or not _varies(x):
        return function(**named)
    mode.counts["norm"] += 1
    dims = tuple(range(-len(named["normalized_shape"]), 0))
    eps = torch.finfo(x.dtype).eps if named.get("eps") is None else named["eps"]
    result = x * torch.rsqrt(x.detach().pow(2).mean(dims, keepdim=True) + eps)
    return result if named.get("weight") is None else result * named["weight"]


def _activation(mode: RuleMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if mode.rules.activation == "exact":
        return function(*args, **kwargs)
    x = args[0] if args else kwargs["input"]
    return mode.by_ratio(x, function(*args, **{**kwargs, **({"inplace": False} if "inplace" in kwargs else {})}))


def _sigmoid(mode: RuleMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = function(*args, **kwargs)
    if mode.rules.activation == "exact" or not _varies(result):
        return result
    mode.counts["sigmoid"] += 1
    return result.detach()


def _softmax(mode: RuleMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = function(*args, **kwargs)
    kind = "attention" if result.ndim == 4 else "router"  # (R, heads, S, S), or (tokens, experts)
    if not _varies(result) or getattr(mode.rules, kind) == "exact":
        return result
    mode.counts[kind] += 1
    return result.detach() if getattr(mode.rules, kind) == "constant" else result


def _multiply(mode: RuleMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    rule = mode.rules.product
    if rule == "exact" or len(args) < 2 or not (_varies(args[0]) and _varies(args[1])):
        return function(*args, **kwargs)
    mode.counts["product"] += 1
    gates = [getattr(factor, "_is_gate", False) for factor in args[:2]]
    if rule == "constant" and any(gates):
        factors = (factor.detach() if gate else factor for factor, gate in zip(args[:2], gates, strict=True))
        return torch.mul(*factors)
    first, second = args[:2]
    # the halves add up to the product to the last bit, and cost no pass of their own in the backward
    return (0.5 * first.detach()) * second + (0.5 * second.detach()) * first


def _matmul(mode: RuleMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = function(*args, **kwargs)
    if mode.rules.attention != "half" or len(args) < 2 or not (_varies(args[0]) and _varies(args[1])):
        return result
    mode.counts["product"] += 1
    return _half(result)


def _attention(mode: RuleMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    named = _named(args, kwargs, *SDPA_ARGUMENTS)
    if mode.rules.attention == "exact" or not _varies(named["value"]):
        return function(**named)
    mode.counts["attention"] += 1
    query, key, value = (named[name] for name in ("query", "key", "value"))
    if mode.rules.attention == "constant":
        mask = named.get("attn_mask")  # of T5, it holds a learned bias
        return function(**{**named, "query": query.detach(), "key": key.detach(), "attn_mask": _detached(mask)})
    return function(**{**named, "query": _quarter(query), "key": _quarter(key), "value": _half(value)})


def _detached(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach()


def _linear(mode: RuleMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    named = _named(args, kwargs, "input", "weight", "bias")
    if mode.constants is None or named.get("bias") is None or not _varies(named["input"]):
        return function(**named)
    return function(named["input"], named["weight"]) + mode.scaled(named["bias"])


def _addmm(mode: RuleMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if mode.constants is None or len(args) != 3 or kwargs or not _varies(args[1]):
        return function(*args, **kwargs)
    return torch.mm(args[1], args[2]) + mode.scaled(args[0])


def _add(mode: RuleMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    accumulates = function in IN_PLACE and not _varies(args[0])  # into a tensor that others hold, such as zeros
    if mode.constants is None or len(args) < 2 or accumulates or _varies(args[0]) == _varies(args[1]):
        return function(*args, **kwargs)
    terms = [mode.scaled(term) if _is_constant(term) else term for term in args[:2]]
    return function(*terms, *args[2:], **kwargs)


def _is_constant(term: Any) -> bool:
    """Whether a term is a share of the score: not a number such as an ε, and not a mask of attention (4-d)."""
    return isinstance(term, Tensor) and term.is_floating_point() and not term.requires_grad and 1 <= term.ndim <= 3


HANDLERS: Mapping[Function, Handler] = {
    **dict.fromkeys(RSQRT, _rsqrt),
    F.layer_norm: _layer_norm,
    torch.layer_norm: _layer_norm,
    F.rms_norm: _rms_norm,
    torch.rms_norm: _rms_norm,
    **dict.fromkeys(ACTIVATIONS, _activation),
    **dict.fromkeys(SIGMOID, _sigmoid),
    **dict.fromkeys(SOFTMAX, _softmax),
    **dict.fromkeys(MULTIPLY, _multiply),
    **dict.fromkeys(MATMUL, _matmul),
    SDPA: _attention,
    F.linear: _linear,
    torch.addmm: _addmm,
    **dict.fromkeys((*ADD, *SUBTRACT), _add),
}
