"""Attention by the model's own eager function, in blocks of rows, so that weights (heads, S, S) never exist.

1. A model's configuration names the attention function that the library calls, and the masks that it builds. While
   weights are read, that is the function of this module, with the masks of eager attention.
2. It calls the eager function that the model comes with, which has its soft cap, its sinks and its scale, with a block
   of rows of the queries at a time, and the same rows of the mask, of a position bias, and of the columns that rows
   choose. Columns after the last that one of these rows sees are left out: their weights are 0.
3. With a graph, a block keeps none. When its backward comes, it is computed once more. Texts of no more than a block
   of `ON_GRAPH` rows stay on the graph as they are.
4. What a recorded attention was called with is kept without a graph, so that the weights of any rows can be had. Those
   of at most `ON_GRAPH` rows and columns are recorded as they are computed, and not computed again.

Attention that is code of the model's own is in `attending_modules.py`. A model that calls it with tensors that are not
known here keeps its weights as one tensor: a trial tells (see `trials.py`).
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # its usual name
from torch import Tensor, nn

from tokensal.chunks import in_chunks
from tokensal.errors import UnsupportedModel
from tokensal.layer_call import AttentionCall, BlockSize
from tokensal.transfers import sent
from tokensal.types import LayerActivation

NAME = "tokensal"
ON_GRAPH = 128
# Tensors that an attention may be called with besides queries, keys, values and mask: those that do not belong to rows,
# or that eager attention does not read; and the bias, of which each block has its own rows.
KNOWN = {"position_ids", "cache_position", "s_aux"}
BIAS = "position_bias"
INDICES = "indices"  # (R, rows, n) of DeepSeek, the columns that each row sees; eager attention has them in its mask
EAGER = "eager_attention_forward"
MASK_ROWS = 256  # of which the last column is looked up at once

Rows = slice | Tensor
Read = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor | None]]  # see `AttentionCall`
Each = Callable[[Tensor], Tensor]


@dataclass(slots=True, eq=False)
class Attending:
    """The forward of a model whose attention runs in blocks.

    Attributes:
        size: how many rows go at once.
        graph: whether what is recorded is differentiated.
        each: what is read of weights (R, heads, r, c) in place of themselves.
        activations: to which each attention that is entered is added.
        about: the layer, and the sources, of the attention that runs, as `LayerActivation` names them; None where it is
            not recorded.
        ends: of each mask that was seen, how many columns each row needs; with the mask, so that its id stays its own.
    """

    size: BlockSize
    graph: bool
    each: Each | None
    activations: list[LayerActivation]
    about: Mapping[str, Any] | None = None
    ends: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def entering(self, about: Mapping[str, Any]) -> Callable[..., None]:
        """A hook for before the forward of an attention."""

        def enter(module: nn.Module, arguments: tuple[Any, ...]) -> None:
            self.about = about

        return enter

    def leaving(self, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        """A hook for after it."""
        self.about = None

    def record(self, weights: Tensor) -> None:
        """Add the weights (R, heads, rows, columns) of the attention that runs, where it is recorded."""
        if self.about is not None:
            weights = weights if self.each is None else self.each(weights)
            self.activations.append(LayerActivation(tensor=weights, **self.about))

    def record_call(self, result: Tensor, read: Read, width: int) -> None:
        """Add what reads the weights of the attention that runs, from what it returns; see `AttentionCall`."""
        if self.about is not None:
            kept = result if self.graph else result.new_empty(0)
            self.activations.append(AttentionCall(tensor=kept, read=read, width=width, **self.about))

    def ends_of(self, mask: Tensor, rows: int, columns: int) -> Tensor:
        """(rows,) how many of the first columns each row needs; see `_ends`."""
        known = self.ends.get(id(mask))
        if known is None:
            known = self.ends[id(mask)] = mask, _ends(mask, columns).expand(rows)
        return known[1]


_RUNNING = threading.local()


def running_mode() -> Attending | None:
    """The mode of the forward that runs in this thread."""
    return getattr(_RUNNING, "mode", None)


@contextmanager
def attending(mode: Attending) -> Iterator[None]:
    """Inside, forwards of this thread run attention by the mode, of models that are configured for it."""
    before = running_mode()
    _RUNNING.mode = mode
    try:
        yield
    finally:
        _RUNNING.mode = before


@cache
def register() -> None:
    """Make the function and its masks known to the library, under their name."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, eager_mask)


def attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **named: Any
) -> tuple[Tensor, Tensor | None]:
    """What the library calls with queries (R, heads, rows, width), keys and values; returns (R, rows, heads, width)."""
    function, mode = _eager_function(module), running_mode()
    if mode is None:  # another thread runs the model meanwhile
        output: tuple[Tensor, Tensor | None] = function(module, query, key, value, attention_mask, **named)
        return output
    (rows, heads, length, _), columns = query.shape, key.shape[2]
    _require_known(named, length)
    ends = None if attention_mask is None else mode.ends_of(attention_mask, length, columns)
    call = Call(partial(function, module), attention_mask, named, ends)
    result, weights = _in_blocks(query, key, value, call, mode.size)
    if weights is not None and columns <= ON_GRAPH:
        mode.record(weights)
    else:
        read = partial(_read_rows, query.detach(), key.detach(), value.detach(), call, mode.each)
        mode.record_call(result, read, rows * heads * columns)
    return result, None


def fits_at_once(length: int, block: int) -> bool:
    """Whether so many rows are no more than a block, and so few that their weights stay on the graph."""
    return length <= min(ON_GRAPH, block)


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """How the eager function of a model is called, but for queries, keys and values.

    Attributes:
        function: the function, and the module that it reads.
        mask: (R, 1, rows, columns), or with a single row for all, or None.
        named: its other arguments.
        ends: (rows,) how many columns each row needs; None for all.
    """

    function: Callable[..., tuple[Tensor, Tensor]]
    mask: Tensor | None
    named: dict[str, Any]
    ends: Tensor | None

    def columns(self, rows: Rows, key: Tensor) -> int:
        """How many of the first columns these rows need."""
        if self.ends is None:
            return key.shape[2]
        return int(self.ends[rows if isinstance(rows, slice) else rows.cpu()].max())

    def of(self, rows: Rows, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """The output (R, r, heads, width) and weights (R, heads, r, c) of the rows that these queries belong to."""
        mask, named, stop = self.mask, self.named, self.columns(rows, key)
        if mask is not None:
            mask = cut(mask, rows, stop)
        if mask is not None and named.get(INDICES) is not None:
            mask = _restricted(mask, named[INDICES][:, rows if isinstance(rows, slice) else sent(rows, mask.device)])
        if named.get(BIAS) is not None:
            named = {**named, BIAS: cut(named[BIAS], rows, stop)}
        return self.function(query, key[:, :, :stop], value[:, :, :stop], mask, **named)


def _in_blocks(query: Tensor, key: Tensor, value: Tensor, call: Call, size: BlockSize) -> tuple[Tensor, Tensor | None]:
    """The outputs of all rows, (R, rows, heads, width), and their weights where they are computed at once."""
    rows, heads, length, _ = query.shape
    block = size(length, rows * heads * key.shape[2])
    if fits_at_once(length, block):
        return call.of(slice(0, length), query, key, value)
    result: Tensor = _InBlocks.apply(query, key, value, call, block)  # type: ignore[no-untyped-call]
    return result, None


def _read_rows(
    query: Tensor, key: Tensor, value: Tensor, call: Call, each: Each | None, rows: Tensor, gradient: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """`AttentionCall.read`."""
    block = query[:, :, sent(rows, query.device)]
    if gradient is None:
        _, weights = call.of(rows, block, key, value)
        return weights if each is None else each(weights), None
    with torch.enable_grad():
        output, weights = call.of(rows, block.requires_grad_(), key, value)
    return weights.detach(), gradients_of_weights(output, weights, gradient[:, :, sent(rows, gradient.device)])


def gradients_of_weights(output: Tensor, weights: Tensor, cotangents: Tensor) -> Tensor:
    """(k, R, heads, r, c) of weights (R, heads, r, c), from k cotangents of what they make of the values."""
    [gradients] = torch.autograd.grad(output, weights, cotangents, is_grads_batched=True)
    return gradients


class _InBlocks(torch.autograd.Function):
    """The outputs of all rows, (R, rows, heads, width); of a graph, queries, keys and values are all that is kept."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, call: Call, size: int) -> Tensor:
        ctx.save_for_backward(query, key, value)
        ctx.call, ctx.size = call, size

        def block(rows: slice) -> Tensor:
            return call.of(rows, query[:, :, rows], key, value)[0]

        return torch.cat([*in_chunks(query.shape[2], size, block)], dim=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        # several cotangents may be behind what looks like one (`is_grads_batched`), where nothing works in place
        query, key, value = (tensor.detach() for tensor in ctx.saved_tensors)

        def block(rows: slice) -> tuple[Tensor, ...]:
            with torch.enable_grad():
                leaves = [each.requires_grad_() for each in (query[:, :, rows], key.detach(), value.detach())]
                output, _ = ctx.call.of(rows, *leaves)
            return torch.autograd.grad(output, leaves, gradient[:, rows])

        parts, totals = [], None
        for part, *sums in in_chunks(query.shape[2], ctx.size, block):
            parts.append(part)
            totals = sums if totals is None else [total + each for total, each in zip(totals, sums, strict=True)]
        assert totals is not None
        return torch.cat(parts, dim=2), *totals, None, None


def _ends(mask: Tensor, columns: int) -> Tensor:
    """How many of the first columns each row (or all, where a mask has one) needs, on the CPU: up to the last it sees.

    A row that sees none looks at all alike.
    """
    nothing = torch.finfo(mask.dtype).min / 2
    numbers = torch.arange(1, columns + 1, device=mask.device)
    ends = []
    for rows in torch.split(mask[..., :columns], MASK_ROWS, dim=-2):
        last = (numbers * (rows > nothing)).amax(-1)
        ends.append(last.masked_fill(last == 0, columns).amax((0, 1)))
    return torch.cat(ends).cpu()


def stacked(blocks: Sequence[Tensor], columns: int) -> Tensor:
    """Blocks (…, r, c) below each other, of so many columns; those of fewer end with zeros."""
    return torch.cat([F.pad(block, (0, columns - block.shape[-1])) for block in blocks], dim=-2)


def cut(tensor: Tensor, rows: Rows, stop: int) -> Tensor:
    """Some rows and the first columns of (…, rows, columns); where there is one row for all, that."""
    if tensor.shape[-2] > 1:
        tensor = tensor[..., rows if isinstance(rows, slice) else sent(rows, tensor.device), :]
    return tensor[..., :stop]


def _restricted(mask: Tensor, indices: Tensor) -> Tensor:
    """A mask (R, 1, r, c) with which rows see no columns but those of the indices (R, r, n), which may be cut off."""
    stop = mask.shape[-1]
    shut = torch.ones(*indices.shape[:2], stop + 1, dtype=torch.bool, device=mask.device)
    shut = shut.scatter(-1, indices.long().clamp(max=stop), False)[:, None, :, :stop]
    return mask.masked_fill(shut, torch.finfo(mask.dtype).min)


def _require_known(named: dict[str, Any], length: int) -> None:
    """Refuse a call with tensors of which a block of rows may need its part."""
    unknown = {name for name, value in named.items() if isinstance(value, Tensor)} - KNOWN - {BIAS, INDICES}
    if unknown or (isinstance(named.get(BIAS), Tensor) and named[BIAS].shape[-2] not in (1, length)):
        raise UnsupportedModel(f"The attention of this model cannot be run in blocks: it reads {sorted(unknown)}.")


def has_eager_function(module: nn.Module) -> bool:
    """Whether a module calls attention by the library's interface, as every file with an eager function of it does."""
    return EAGER in inspect.unwrap(type(module).forward).__globals__


def _eager_function(module: nn.Module) -> Callable[..., tuple[Tensor, Tensor]]:
    """The eager attention of the file that a module is from: what the library would call otherwise.

    Raises:
        UnsupportedModel: it has none.
    """
    function = inspect.unwrap(type(module).forward).__globals__.get(EAGER)
    if function is None:
        raise UnsupportedModel(f"{type(module).__name__} has no eager attention that can be run in blocks.")
    return function
