"""Secants by operation: a forward whose backward tells how the input differs from a reference (DeepLIFT).

1. The reference runs first, without a graph. What each operation that is not linear reads is put on a tape.
2. The input runs through the same operations, in the same order. Its gradients are such that for each operation
   Δy = Σ (gradient · Δx), with Δ for input minus reference:

       f(x), of one number      the slope of the secant, (f(x) − f(x₀)) / (x − x₀)
       a · b, also of matrices  Δa · (b + b₀)/2 + Δb · (a + a₀)/2; or one-sided, Δa · b + Δb · a₀
       softmax                  exp(s − L), where L = log Σ exp(s): by the secants of exp and log (see `slopes.py`)

3. By the chain rule, the change of the score is the sum of (gradient · Δx) over the embeddings.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812  # its usual name
from torch import Tensor, nn

from tokensal.adapters import operations as ops
from tokensal.adapters.operations import Function, OperationMode, by_activation, named_arguments, varies
from tokensal.adapters.slopes import (
    kinked_slope,
    logarithmic_mean,
    mean_of_exp,
    power_slope,
    rsqrt_slope,
    smooth_slope,
)
from tokensal.errors import UnsupportedModel
from tokensal.types import Secants

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Tape = deque[tuple[tuple[Tensor, int], ...]]  # the tensors that each operation read, and their versions
Slope = Callable[[Tensor, Tensor], Tensor]  # of a secant, from both ends
REVERSED_DIVISION: Any = Tensor.__rtruediv__
OTHERS = "Choose another method, such as 'lrp' or 'integrated_gradients'."
KINKED = (F.relu, torch.relu, Tensor.relu, F.relu6, F.leaky_relu, F.hardswish)


@contextmanager
def compared(model: PreTrainedModel, secants: Secants, run_reference: Callable[[], Any]) -> Iterator[Any]:
    """Inside, a forward of the model builds the graph of secants.

    Args:
        model: the model.
        secants: how products are shared.
        run_reference: a forward of the reference, or of one layer of it, run first.

    Yields:
        What it returned.

    Raises:
        UnsupportedModel: the two forwards differ in their operations.
    """
    with SecantMode(secants, model) as mode:
        with torch.no_grad():
            result = run_reference()
        mode.compare()
        yield result
        mode.finish()


class SecantMode(OperationMode):
    """Inside, the first forward is that of the reference, and after `compare` that of the input.

    Args:
        secants: how products are shared.
        model: the model whose forwards run inside.
    """

    def __init__(self, secants: Secants, model: nn.Module) -> None:
        super().__init__(model)
        self.secants = secants
        self._tape: Tape = deque()
        self._recording = True

    def compare(self) -> None:
        """From now on, what runs is compared to what has run."""
        self._recording = False

    def finish(self) -> None:
        """Refuse a model in which the reference ran further operations."""
        if self._tape:
            self.refuse()

    def reference(self, *tensors: Tensor) -> tuple[Tensor, ...] | None:
        """What the reference had in the place of these tensors; None while it runs itself.

        Raises:
            UnsupportedModel: the reference had something else there.
        """
        if self._recording:
            self._tape.append(tuple((tensor.detach(), tensor._version) for tensor in tensors))
            return None
        entry = self._tape.popleft() if self._tape else ()
        if [tensor.shape for tensor, _ in entry] != [tensor.shape for tensor in tensors]:
            self.refuse()
        if any(tensor._version != version for tensor, version in entry):
            raise UnsupportedModel(f"{self._sentence}: it alters in place what it has computed. {OTHERS}")
        return tuple(tensor for tensor, _ in entry)

    def refuse(self) -> None:
        """Refuse a model in which input and reference cannot be compared operation by operation."""
        raise UnsupportedModel(
            f"{self._sentence}: the input and the reference do not take the same way through it, such as to the same "
            f"experts. {OTHERS}"
        )

    @property
    def _sentence(self) -> str:
        kind = getattr(getattr(self.model, "config", None), "model_type", "")
        return f"Secants cannot be applied to the {kind!r} model"

    def activated(self, function: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
        """The value y of a smooth function at x, on the secant from the reference."""
        return self.of_one_number(lambda x, x0: smooth_slope(function, x, x0), x, y)

    def of_one_number(self, slope: Slope, x: Tensor, y: Tensor) -> Tensor:
        """The value y of a function at x, on the secant from the reference."""
        before = self.reference(x)
        if before is None or not varies(x):
            return y
        return y.detach() + (x - x.detach()) * slope(x.detach(), before[0])

    def of_product(
        self, multiply: Callable[[Tensor, Tensor], Tensor], first: Tensor, second: Tensor, y: Tensor, one_sided: bool
    ) -> Tensor:
        """The value y of a product. If one-sided, the second factor is credited with the first as it was."""
        before = self.reference(first, second)
        if before is None or not (varies(first) or varies(second)):
            return y
        a, b, (a0, b0) = first.detach(), second.detach(), before
        with_first, with_second = (b, a0) if one_sided else ((b + b0) / 2, (a + a0) / 2)
        parts = [multiply(first - a, with_first)] if varies(first) else []
        parts += [multiply(with_second, second - b)] if varies(second) else []
        return y.detach() + sum(parts)

    def log_sum(self, s: Tensor, dim: int, *, keepdim: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        """log Σ exp(s) as (…, 1) or (…), on secants; s as it moves from its own value; and the reference of s."""
        value = s.detach().logsumexp(dim, keepdim=True)
        before = self.reference(s)
        moved = torch.where(s.isfinite(), s, 0)
        moved = moved - moved.detach()
        if before is not None and varies(s):
            weights = mean_of_exp(s.detach(), before[0], value, before[0].logsumexp(dim, keepdim=True))
            value = value + (moved * weights).sum(dim, keepdim=True)
        return value if keepdim else value.squeeze(dim), moved, None if before is None else before[0]

    def softmax(self, s: Tensor, dim: int) -> Tensor:
        """Softmax on secants."""
        total, moved, s0 = self.log_sum(s, dim, keepdim=True)
        result = (s - total).detach().exp()
        if s0 is None or not varies(s):
            return result
        log, log0 = (s - total).detach(), s0 - s0.logsumexp(dim, keepdim=True)
        return result + logarithmic_mean(log, log0) * (moved - (total - total.detach()))


# Handlers


def _kinked(mode: SecantMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    options = {**kwargs, **({"inplace": False} if "inplace" in kwargs else {})}
    x = args[0] if args else options.pop("input")

    def apply(x: Tensor) -> Tensor:
        result: Tensor = function(x, *args[1:], **options)
        return result

    return mode.of_one_number(lambda x, x0: kinked_slope(apply, x, x0), x, apply(x))


def _with_slope(slope: Slope) -> ops.Handler:
    """The handler of a function of one number whose slope is known."""

    def handle(mode: SecantMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return mode.of_one_number(slope, args[0], function(*args, **kwargs))

    return handle


def _rsqrt(mode: SecantMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return _as_scale(mode.of_one_number(rsqrt_slope, args[0], function(*args, **kwargs)))


def _power(mode: SecantMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    y = function(*args, **kwargs)
    exponent = args[1] if len(args) > 1 else kwargs.get("exponent", 2)  # of `square`, 2
    if not isinstance(args[0], Tensor) or isinstance(exponent, Tensor):
        return y
    return mode.of_one_number(lambda x, x0: power_slope(exponent, x, x0), args[0], y)


def _as_scale(tensor: Tensor) -> Tensor:
    tensor._is_scale = True  # type: ignore[attr-defined]
    return tensor


def _multiply(mode: SecantMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if len(args) < 2 or not all(_is_state(factor) for factor in args[:2]):
        return function(*args, **kwargs)
    if function in ops.IN_PLACE_PRODUCTS:
        return args[0].copy_(_times(mode, args[0].clone(), args[1]))
    return _times(mode, args[0], args[1])


def _divide(mode: SecantMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if kwargs or len(args) != 2:
        return function(*args, **kwargs)
    numerator, denominator = args[::-1] if function is REVERSED_DIVISION else args
    if not _is_state(denominator):
        return function(*args, **kwargs)
    inverse = mode.of_one_number(lambda x, x0: -1 / (x * x0), denominator, denominator.reciprocal())
    if not isinstance(numerator, Tensor):
        return numerator * inverse
    result = _times(mode, numerator.clone() if function in ops.IN_PLACE_PRODUCTS else numerator, inverse)
    return numerator.copy_(result) if function in ops.IN_PLACE_PRODUCTS else result


def _is_state(value: Any) -> bool:
    """Whether a value may depend on the input: a tensor that is no weight. Both runs must tell the same."""
    return isinstance(value, Tensor) and not isinstance(value, nn.Parameter)


def _times(mode: SecantMode, first: Tensor, second: Tensor) -> Tensor:
    if getattr(first, "_is_scale", False):
        first, second = second, first
    one_sided = mode.secants.norm == "input" and getattr(second, "_is_scale", False)
    return mode.of_product(torch.mul, first, second, torch.mul(first, second), one_sided)


def _matmul(mode: SecantMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if len(args) < 2 or not all(_is_state(factor) for factor in args[:2]):
        return function(*args, **kwargs)
    return _matrix_product(mode, function, args[0], args[1])


def _matrix_product(mode: SecantMode, multiply: Callable[..., Tensor], first: Tensor, second: Tensor) -> Tensor:
    y = multiply(first, second)
    if mode.secants.attention == "values" and getattr(first, "_is_attention", False):
        return mode.of_product(lambda v, a: multiply(a, v), second, first, y, True)
    return mode.of_product(multiply, first, second, y, False)


def _baddbmm(mode: SecantMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    named = named_arguments(args, kwargs, "input", "batch1", "batch2")
    alpha, first, second = named.get("alpha", 1), named["batch1"], named["batch2"]
    return mode.of_product(lambda a, b: alpha * torch.bmm(a, b), first, second, function(*args, **kwargs), False)


def _einsum(mode: SecantMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if len(args) != 3 or not all(_is_state(factor) for factor in args[1:]):
        return function(*args, **kwargs)
    return _matrix_product(mode, lambda a, b: function(args[0], a, b), args[1], args[2])


def _softmax(mode: SecantMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    named = named_arguments(args, kwargs, "input", "dim")
    s = named["input"] if named.get("dtype") is None else named["input"].to(named["dtype"])
    dim = named["dim"] if named.get("dim") is not None else -1
    if function in ops.LOG_SOFTMAX:
        return s - mode.log_sum(s, dim, keepdim=True)[0]
    result = mode.softmax(s, dim)
    result._is_attention = result.ndim >= 3  # type: ignore[attr-defined]
    return result


def _log_sum_exp(mode: SecantMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    named = named_arguments(args, kwargs, "input", "dim", "keepdim")
    return mode.log_sum(named["input"], named["dim"], keepdim=named.get("keepdim", False))[0]


def _attention(mode: SecantMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The fused kernel written out: its gradient has no secants."""
    named = named_arguments(args, kwargs, *ops.SDPA_ARGUMENTS)
    query, key, value = (named[name] for name in ("query", "key", "value"))
    mask: Tensor | None = named.get("attn_mask")
    if named.get("enable_gqa") and key.shape[-3] != query.shape[-3]:
        key, value = (part.repeat_interleave(query.shape[-3] // part.shape[-3], -3) for part in (key, value))
    scale = named.get("scale") or query.shape[-1] ** -0.5
    transposed = key.transpose(-2, -1)
    scores = scale * mode.of_product(torch.matmul, query, transposed, torch.matmul(query, transposed), False)
    if named.get("is_causal"):
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    weights = mode.softmax(scores, -1)
    weights._is_attention = True  # type: ignore[attr-defined]
    mode.counts["attention"] += 1
    return _matrix_product(mode, torch.matmul, weights, value)


def _layer_norm(mode: SecantMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    named = named_arguments(args, kwargs, "input", "normalized_shape", "weight", "bias", "eps")
    dims = tuple(range(-len(named["normalized_shape"]), 0))
    x = named["input"]
    result = _normed(mode, x - x.mean(dims, keepdim=True), dims, named.get("eps", 1e-5))
    if named.get("weight") is not None:
        result = result * named["weight"]
    return result if named.get("bias") is None else result + named["bias"]


def _rms_norm(mode: SecantMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    named = named_arguments(args, kwargs, "input", "normalized_shape", "weight", "eps")
    dims = tuple(range(-len(named["normalized_shape"]), 0))
    eps = torch.finfo(named["input"].dtype).eps if named.get("eps") is None else named["eps"]
    result = _normed(mode, named["input"], dims, eps)
    return result if named.get("weight") is None else result * named["weight"]


def _normed(mode: SecantMode, x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    square = mode.of_one_number(lambda x, x0: x + x0, x, x.pow(2)).mean(dims, keepdim=True) + eps
    return _times(mode, x, _as_scale(mode.of_one_number(rsqrt_slope, square, square.rsqrt())))


def _choice(mode: SecantMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What picks some numbers, such as experts: it must pick the same of the reference."""
    result = function(*args, **kwargs)
    index: Tensor = result if isinstance(result, Tensor) else result.indices
    before = mode.reference(index) if not index.is_floating_point() else None
    if before is not None and not torch.equal(index, before[0]):
        mode.refuse()
    return result


def _passed_on(mode: SecantMode, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A cast or another shape of attention weights and scales: they still are that."""
    result = function(*args, **kwargs)
    for name in ("_is_attention", "_is_scale"):
        if getattr(args[0] if args else None, name, False):
            setattr(result, name, True)
    return result


HANDLERS: Mapping[Function, ops.Handler] = {
    **dict.fromkeys((*ops.RECTIFIERS, *ops.TANH, *ops.SIGMOID, *ops.SMOOTH), by_activation),
    **dict.fromkeys(ops.EXP, _with_slope(logarithmic_mean)),
    **dict.fromkeys(ops.LOG, _with_slope(lambda x, x0: 1 / logarithmic_mean(x.log(), x0.log()))),
    **dict.fromkeys(ops.SQRT, _with_slope(lambda x, x0: power_slope(0.5, x, x0))),
    **dict.fromkeys((*KINKED, *ops.CLAMP), _kinked),
    **dict.fromkeys(ops.RSQRT, _rsqrt),
    **dict.fromkeys(ops.POWER, _power),
    **dict.fromkeys(ops.MULTIPLY, _multiply),
    **dict.fromkeys(ops.DIVIDE, _divide),
    **dict.fromkeys(ops.MATMUL, _matmul),
    **dict.fromkeys(ops.BADDBMM, _baddbmm),
    torch.einsum: _einsum,
    **dict.fromkeys((*ops.SOFTMAX, *ops.LOG_SOFTMAX), _softmax),
    **dict.fromkeys(ops.LOG_SUM_EXP, _log_sum_exp),
    ops.SDPA: _attention,
    **dict.fromkeys(ops.LAYER_NORM, _layer_norm),
    **dict.fromkeys(ops.RMS_NORM, _rms_norm),
    **dict.fromkeys(ops.CHOICES, _choice),
    **dict.fromkeys(ops.CASTS, _passed_on),
}
SecantMode.handlers = HANDLERS
