"""The operations of a forward, intercepted: which there are, and the modes that see them.

A `TorchFunctionMode` sees every operation, whatever module it stands in, so that one table serves every architecture.
No class is patched; leaving the mode leaves nothing behind.

* `EditedValues` edits value vectors where attention multiplies them.
* `OperationMode` is what backward rules stand on: those of `rules.py`, and the secants of `secants.py`.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F  # noqa: N812  # its usual name
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tokensal.adapters.frozen import in_this_thread
from tokensal.types import LayerActivation

Function = Callable[..., Any]
Handler = Callable[[Any, Function, tuple[Any, ...], dict[str, Any]], Any]  # from a mode, and how it was called

SDPA = F.scaled_dot_product_attention
SDPA_ARGUMENTS = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
SOFTMAX = (F.softmax, torch.softmax, Tensor.softmax)
MATMUL = (torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm)
BADDBMM = (torch.baddbmm, Tensor.baddbmm)
GROUPED = tuple(
    getattr(place, name) for place, name in ((F, "grouped_mm"), (torch, "_grouped_mm")) if hasattr(place, name)
)
MULTIPLY = (
    torch.mul,
    torch.multiply,
    Tensor.mul,
    Tensor.multiply,
    Tensor.__mul__,
    Tensor.__rmul__,
    Tensor.__imul__,
    Tensor.mul_,
)
DIVIDE = (
    *(torch.div, torch.divide, torch.true_divide, Tensor.div, Tensor.divide, Tensor.__truediv__, Tensor.__rtruediv__),
    *(Tensor.div_, Tensor.__itruediv__),
)
IN_PLACE_PRODUCTS = (Tensor.__imul__, Tensor.mul_, Tensor.div_, Tensor.__itruediv__)
IN_PLACE = (Tensor.add_, Tensor.__iadd__)
ADD = (torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__, *IN_PLACE)
SUBTRACT = (torch.sub, Tensor.sub, Tensor.__sub__, Tensor.__rsub__)
SIGMOID = (torch.sigmoid, Tensor.sigmoid, F.sigmoid)
TANH = (torch.tanh, Tensor.tanh, F.tanh)
SMOOTH = (F.softplus, F.logsigmoid, torch.erf, Tensor.erf)
EXP = (torch.exp, Tensor.exp)
LOG = (torch.log, Tensor.log)
POWER = (torch.pow, Tensor.pow, Tensor.__pow__, torch.square, Tensor.square)
SQRT = (torch.sqrt, Tensor.sqrt)
CLAMP = (torch.clamp, Tensor.clamp, torch.clip, Tensor.clip, torch.abs, Tensor.abs, Tensor.__abs__)
LOG_SOFTMAX = (F.log_softmax, torch.log_softmax, Tensor.log_softmax)
LOG_SUM_EXP = (torch.logsumexp, Tensor.logsumexp)
CHOICES = (torch.topk, Tensor.topk, torch.argmax, Tensor.argmax, torch.max, Tensor.max, torch.sort, Tensor.sort)
CASTS = (
    *(Tensor.to, Tensor.float, Tensor.type, Tensor.type_as, Tensor.view, Tensor.reshape),
    *(F.dropout, Tensor.contiguous, Tensor.expand),
)
RSQRT = (torch.rsqrt, Tensor.rsqrt)
LAYER_NORM = (F.layer_norm, torch.layer_norm)
RMS_NORM = (F.rms_norm, torch.rms_norm)
RECTIFIERS = (
    *(F.silu, F.gelu, F.relu, F.relu6, F.leaky_relu, F.elu, F.selu, F.mish, F.hardswish),
    *(torch.relu, Tensor.relu),
)
# Modules that write an activation function out in operations: those of transformers, and Bloom's own
WRITTEN_OUT = re.compile("gelu|silu|swish|relu", re.IGNORECASE)


def named_arguments(args: tuple[Any, ...], kwargs: dict[str, Any], *names: str) -> dict[str, Any]:
    """The arguments as keywords; those without one have these names, in order."""
    return {**dict(zip(names, args, strict=False)), **kwargs}


def varies(value: Any) -> bool:
    """Whether a value is a tensor that depends on the input. Weights never do: they are frozen."""
    return isinstance(value, Tensor) and value.requires_grad


class OperationMode(TorchFunctionMode):
    """Inside, operations in the table `handlers` are done by their handlers, and activation functions by `activated`.

    Args:
        model: the model whose forwards run inside.

    Attributes:
        counts: how often a rule of each kind was applied.
    """

    handlers: ClassVar[Mapping[Function, Handler]] = {}

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.counts: Counter[str] = Counter()
        self._suspended = 0
        self._hooks = ExitStack()

    @abstractmethod
    def activated(self, function: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
        """The value y of an activation function at x, with the rule for its derivative."""

    def __enter__(self) -> Self:
        for module in filter(_is_activation, self.model.modules()):
            self._hooks.enter_context(module.register_forward_pre_hook(in_this_thread(self._suspend)))
            self._hooks.enter_context(module.register_forward_hook(in_this_thread(self._leave), always_call=True))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        self._hooks.close()
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_function__(
        self, function: Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        handler = None if self._suspended else self.handlers.get(function)
        if handler is None:
            return function(*args, **(kwargs or {}))
        return handler(self, function, args, kwargs or {})

    def _suspend(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        self._suspended += 1

    def _leave(self, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
        try:
            return self.activated(module.forward, arguments[0], output) if isinstance(output, Tensor) else output
        finally:
            self._suspended -= 1


def by_activation(mode: OperationMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The handler of an activation function."""
    options = {**kwargs, **({"inplace": False} if "inplace" in kwargs else {})}
    x = args[0] if args else options.pop("input")
    return mode.activated(lambda x: function(x, *args[1:], **options), x, function(x, *args[1:], **options))


def _is_activation(module: nn.Module) -> bool:
    """Whether a module is an activation function that is written out: no mode could tell its products from others."""
    kind = type(module)
    by_name = WRITTEN_OUT.search(kind.__name__) and not any(True for _ in module.children())
    return kind.__module__ == "transformers.activations" or bool(
        by_name and not any(True for _ in module.parameters()) and not kind.__module__.startswith("torch.")
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
            named = named_arguments(args, kwargs, *SDPA_ARGUMENTS)
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
