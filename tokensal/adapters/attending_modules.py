"""Attention that a model computes in code of its own, which the library's interface does not reach, in blocks of rows.

1. While weights are read, an attention module is called with a block of rows of what it is called with, and with a
   cache of the keys and values of the rows before, as a model that generates calls it. So a block is the module's own
   computation, whatever its scale, its positions and its masks are.
2. With a graph, a block keeps none. The backward goes from the last block to the first, each of which is computed once
   more: gradients of the keys and values of earlier rows add up until the block comes that these belong to.
3. Rows whose weights are read later are computed in the same way, from keys and values, which are kept without a graph.

Texts of no more than a block of rows are computed as they are. A module that is called in a way that is not known here
is refused; a trial tells whether the numbers are the model's (see `trials.py`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor, nn

from tokensal.adapters.attending import (
    Each,
    cut,
    fits_at_once,
    gradients_of_weights,
    has_eager_function,
    running_mode,
    stacked,
)
from tokensal.adapters.operations import varies
from tokensal.chunks import in_chunks
from tokensal.errors import UnsupportedModel

# What attentions are called with: tensors of rows, and the dimension that these are; tensors of rows and columns;
# biases of which the module takes its part by itself; and caches
OF_ROWS = {"hidden_states": -2, "residual": -2, "position_embeddings": -2, "position_ids": -1}
OF_CELLS = {"attention_mask", "alibi"}
WHOLE = {"position_bias"}
CACHES = {"layer_past", "past_key_values"}

KeysAndValues = tuple[Tensor, Tensor]  # (R, heads, columns, width)
AttentionForward = Callable[..., tuple[Tensor, Tensor]]


@contextmanager
def modules_in_blocks(modules: Sequence[nn.Module], heads: int) -> Iterator[None]:
    """Inside, those attentions of so many heads run in blocks that do not call the library's interface."""
    own = [module for module in modules if not has_eager_function(module)]
    before = [vars(module).get("forward") for module in own]  # accelerate sets it
    try:
        for module in own:
            module.forward = _in_blocks(module, heads)
        yield
    finally:
        for module, forward in zip(own, before, strict=True):
            vars(module).pop("forward", None)
            if forward is not None:
                module.forward = forward


def _in_blocks(module: nn.Module, heads: int) -> Callable[..., tuple[Tensor, Tensor | None]]:
    """The forward of an attention, in blocks of rows where this thread reads weights."""
    forward, signature = module.forward, inspect.signature(type(module).forward)

    @wraps(forward)
    def run(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        mode = running_mode()
        if mode is None:  # another thread runs the model meanwhile
            plain: tuple[Tensor, Tensor] = forward(*args, **kwargs)
            return plain
        call = ModuleCall.of(forward, signature.bind(module, *args, **kwargs))
        width = call.hidden.shape[0] * heads * call.length
        size = mode.size(call.length, width)
        if fits_at_once(call.length, size):
            output, weights = call.run(slice(0, call.length), call.inputs, BlockCache())
            mode.record(weights)
            return output, None
        cache = BlockCache()
        result: Tensor = _InBlocks.apply(call, cache, size, *call.inputs)  # type: ignore[no-untyped-call]
        mode.record_call(result, partial(_read_rows, call.detached(), cache, mode.each), width)
        return result, None

    return run


@dataclass(slots=True, eq=False)
class BlockCache:
    """What a module takes for a cache: it has the keys and values of earlier rows, and is told those of the block.

    Attributes:
        before: of the earlier rows; None where there are none.
        own: of the block, once they are computed.
        all: of both.
    """

    before: KeysAndValues | None = None
    own: KeysAndValues | None = None
    all: KeysAndValues | None = None

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> KeysAndValues:
        """As transformers' caches: takes those of the block, returns all."""
        self.own = self.all = keys, values
        if self.before is not None:
            self.all = torch.cat([self.before[0], keys], dim=2), torch.cat([self.before[1], values], dim=2)
        return self.all

    def get_seq_length(self, *_: Any) -> int:
        """As transformers' caches."""
        return sum(each[0].shape[2] for each in (self.before, self.own) if each is not None)

    def until(self, row: int) -> KeysAndValues | None:
        """Of the earlier rows, those before one."""
        assert self.before is not None
        keys, values = self.before
        return (keys[:, :, :row], values[:, :, :row]) if row else None


@dataclass(frozen=True, slots=True, eq=False)
class ModuleCall:
    """How an attention module is called.

    Attributes:
        forward: its forward.
        named: the arguments, but for a cache.
        cache: the name of that.
        varying: which of the arguments are on a graph.
    """

    forward: AttentionForward
    named: dict[str, Any]
    cache: str
    varying: tuple[str, ...]

    @classmethod
    def of(cls, forward: AttentionForward, bound: inspect.BoundArguments) -> ModuleCall:
        """From the arguments of a forward.

        Raises:
            UnsupportedModel: there is a tensor of which a block of rows may need its part, or no place for a cache.
        """
        _, *arguments = bound.arguments.items()  # the module itself is the first
        named = {name: value for each in arguments for name, value in _by_name(bound.signature, *each)}
        if "output_attentions" in bound.signature.parameters:  # read later, when the configuration asks for others
            named["output_attentions"] = True
        caches = [name for name in bound.signature.parameters if name in CACHES]
        filled = [name for name in caches if named.pop(name, None) is not None]
        varying = tuple(name for name, value in named.items() if varies(value))
        unknown = [name for name, value in named.items() if not _is_known(name, value, named["hidden_states"])]
        if unknown or filled or not caches:
            reads = f"it reads {sorted([*unknown, *filled])}" if unknown or filled else "it takes no cache"
            raise UnsupportedModel(f"The attention of this model cannot be run in blocks: {reads}.")
        return cls(forward, named, caches[0], varying)

    @property
    def hidden(self) -> Tensor:
        """(R, rows, H)."""
        hidden: Tensor = self.named["hidden_states"]
        return hidden

    @property
    def length(self) -> int:
        """How many rows there are."""
        return self.hidden.shape[-2]

    @property
    def inputs(self) -> list[Tensor]:
        """The arguments that are on a graph, (R, rows, H) each."""
        return [self.named[name] for name in self.varying]

    def detached(self) -> ModuleCall:
        """With arguments that are on no graph."""
        tensors = {name: self.named[name].detach() for name in self.varying}
        return replace(self, named={**self.named, **tensors})

    def run(self, rows: slice, inputs: Sequence[Tensor], cache: BlockCache) -> tuple[Tensor, Tensor]:
        """The output (R, r, H) and weights (R, heads, r, columns up to the last row) of some rows.

        Args:
            rows: which.
            inputs: those rows of `inputs`.
            cache: of the rows before.
        """
        parts = {name: _part(name, value, rows) for name, value in self.named.items()}
        output, weights = self.forward(**{**parts, **dict(zip(self.varying, inputs, strict=True)), self.cache: cache})
        return output, weights


class _InBlocks(torch.autograd.Function):
    """The output of all rows, (R, rows, H), of a graph that keeps what the module was called with, keys and values."""

    @staticmethod
    def forward(ctx: Any, call: ModuleCall, cache: BlockCache, size: int, *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*inputs)
        ctx.call, ctx.cache, ctx.size = call.detached(), cache, size

        def block(rows: slice) -> tuple[Tensor, KeysAndValues | None]:
            further = BlockCache(cache.before)
            output, _ = call.run(rows, _rows_of(inputs, rows), further)
            return output, further.all

        outputs = []
        for output, cache.before in in_chunks(call.length, size, block):
            outputs.append(output)
        return torch.cat(outputs, dim=-2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        # several cotangents may be behind what looks like one (`is_grads_batched`), where nothing works in place
        call, cache, inputs = ctx.call, ctx.cache, ctx.saved_tensors
        length, later = call.length, [torch.zeros_like(each) for each in cache.before]

        def block(chunk: slice) -> tuple[Tensor, ...]:
            rows = slice(length - chunk.stop, length - chunk.start)
            with torch.enable_grad():
                leaves = [each.detach().requires_grad_() for each in _rows_of(inputs, rows)]
                earlier = [each.detach().requires_grad_() for each in cache.until(rows.start) or ()]
                further = BlockCache(tuple(earlier) or None)
                output, _ = call.run(rows, leaves, further)
            own = further.own or ()
            return torch.autograd.grad([output, *own], [*leaves, *earlier], _rows_of([gradient, *later], rows))

        parts = []
        for gradients in in_chunks(length, ctx.size, block):
            parts.append(gradients[: len(inputs)])
            earlier = gradients[len(inputs) :]
            later = [each.narrow(-2, 0, more.shape[-2]) + more for each, more in zip(later, earlier, strict=False)]
        return None, None, None, *(torch.cat(part[::-1], dim=-2) for part in zip(*parts, strict=True))


def _read_rows(
    call: ModuleCall, cache: BlockCache, each: Each | None, rows: Tensor, gradient: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """`AttentionCall.read`: neighbours are computed together, since no cache has gaps."""
    several, slopes = [], []
    for span in _neighbours(rows.tolist()):
        with torch.set_grad_enabled(gradient is not None):
            inputs = [part.requires_grad_(gradient is not None) for part in _rows_of(call.inputs, span)]
            output, weights = call.run(span, inputs, BlockCache(cache.until(span.start)))
        if gradient is not None:
            slopes.append(gradients_of_weights(output, weights, gradient[..., span, :]))
        several.append(weights.detach() if each is None else each(weights))
    columns = several[-1].shape[-1]  # the last row sees the most
    return stacked(several, columns), stacked(slopes, columns) if slopes else None


def _neighbours(rows: Sequence[int]) -> Iterator[slice]:
    """Ascending numbers as ranges without gaps."""
    starts = [place for place, row in enumerate(rows) if not place or row != rows[place - 1] + 1]
    for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
        yield slice(rows[start], rows[stop - 1] + 1)


def _rows_of(tensors: Sequence[Tensor], rows: slice) -> list[Tensor]:
    """Some rows of tensors (…, rows, width)."""
    # an index of all rows is an alias, which batched gradients do not know
    return [each.narrow(-2, rows.start, rows.stop - rows.start) for each in tensors]


def _part(name: str, value: Any, rows: slice) -> Any:
    """What a block of rows is called with in the place of an argument."""
    if name in OF_CELLS and value is not None:
        return cut(value, rows, rows.stop)
    if name not in OF_ROWS:
        return value
    if isinstance(value, tuple):
        return tuple(_part(name, each, rows) for each in value)
    if value is None or value.shape[OF_ROWS[name]] == 1:
        return value
    return value.narrow(OF_ROWS[name], rows.start, rows.stop - rows.start)


def _by_name(signature: inspect.Signature, name: str, value: Any) -> list[tuple[str, Any]]:
    """An argument, or those that a signature collects, with their names."""
    collects = signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
    return [*value.items()] if collects else [(name, value)]


def _is_known(name: str, value: Any, hidden: Tensor) -> bool:
    """Whether it is known which part of an argument a block of rows reads."""
    length = hidden.shape[-2]
    if isinstance(value, tuple | list):
        return all(_is_known(name, each, hidden) for each in value)
    if not isinstance(value, Tensor) or name in WHOLE:
        return not varies(value)
    if name in OF_CELLS:
        return not varies(value) and value.shape[-1] == length and value.shape[-2] in (1, length)
    rows = value.shape[OF_ROWS[name]] if name in OF_ROWS else 0
    return rows == length if varies(value) else rows in (1, length)
