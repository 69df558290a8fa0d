"""From what was seen of a layer in a forward to the parts of its attentions (see `decomposed.py`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from tokensal.types import AttentionParts, Part

SMALLEST_MULTIPLE = 1e-3  # of a part in a sum: what has less of it does not have it


@dataclass(slots=True, eq=False)
class Trace:
    """What is seen of one attention in a forward.

    Attributes:
        step: its number.
        rows: which sources look.
        columns: which sources they look at.
        weights: (heads, rows, columns), once they are multiplied.
        values: (heads, columns, width).
        projection: the module that reads their product, once it is entered.
        output: what that returned, and what modules after it made of it.
        factors: (rows, H) what these multiplied it by.
    """

    step: int
    rows: Part
    columns: Part
    weights: Tensor | None = None
    values: Tensor | None = None
    projection: nn.Module | None = None
    output: Tensor | None = None
    factors: list[Tensor] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class LayerTrace:
    """What is seen of one layer in a forward.

    Attributes:
        before: what the layer reads.
        attentions: those that have run, or run.
        seen: what each of its modules read and returned, (rows, H); None for what has another shape.
        current: the attention that runs.
        measured: whether modules are run to measure, and not to be seen.
    """

    before: Tensor | None = None
    attentions: list[Trace] = field(default_factory=list)
    seen: list[tuple[Tensor | None, Tensor | None]] = field(default_factory=list)
    current: Trace | None = None
    measured: bool = False

    def as_rows(self, tensor: Tensor | None) -> Tensor | None:
        """(rows, H), of a single example, if it is of the shape of what the layer reads, or flattened as in OPT."""
        before = self.before
        if tensor is None or before is None or (tensor.numel(), tensor.shape[-1]) != (before.numel(), before.shape[-1]):
            return None
        return tensor.reshape(-1, tensor.shape[-1])


class Unseen(Exception):
    """What a layer does not show, as the reason why it cannot be read in parts."""


@dataclass(frozen=True, slots=True, eq=False)
class Sum:
    """A stream plus a multiple of a part, as tensors (rows, H), and how far a total of the model is from it."""

    stream: Tensor
    multiple: float
    total: Tensor
    error: float


def parts_of(trace: LayerTrace, output: Tensor | None, tolerance: float) -> list[AttentionParts]:
    """The parts of each attention of a layer, from the first to the last.

    Args:
        trace: what was seen of the layer.
        output: what it returned, (rows, H).
        tolerance: see `AttentionParts`.

    Raises:
        Unseen: something that the parts need was not seen.
    """
    stream = trace.as_rows(trace.before)
    if stream is None or output is None or not trace.attentions:
        raise Unseen("they do not take and return their hidden states as others do")
    parts: list[AttentionParts] = []
    streams = [stream.to(output.device)]  # accelerate brings it there after it was seen
    for attention in trace.attentions:
        parts.append(_parts(attention, trace, streams, output, tolerance))
        after = parts[-1].after
        normed = [
            returned
            for read, returned in trace.seen
            if read is not None and returned is not None and _apart(read, after) <= tolerance
        ]
        streams = [after, *normed]  # where a norm follows the sum, the next attention is added to what that returns
    chained = all(upper.before is lower.after for lower, upper in pairwise(parts))
    added = parts[-1].beside is not None or any(
        sum.error <= tolerance for sum in _sums([parts[-1].after], _returned(trace), [output], tolerance)
    )
    return [replace(each, additive=chained and added) for each in parts]


def _parts(
    trace: Trace, layer: LayerTrace, streams: Sequence[Tensor], output: Tensor, tolerance: float
) -> AttentionParts:
    attention = layer.as_rows(trace.output)
    if trace.weights is None or trace.values is None or trace.projection is None or attention is None:
        raise Unseen("what its attention multiplies and projects cannot be seen")
    totals = [read for read, _ in layer.seen if read is not None]
    nearest = min(_sums(streams, [attention], totals, tolerance), key=lambda sum: sum.error, default=None)
    beside = None
    if nearest is None or nearest.error > tolerance:
        beside = output - streams[0] - attention
        error = min((_apart(streams[0] + attention + mlp, output) for mlp in _returned(layer)), default=1.0)
        nearest = Sum(streams[0], 1.0, output, error)
        if error > tolerance:
            raise Unseen(
                f"no sum of the residual stream and what its attention adds can be seen; the nearest is {error:.2g} of "
                f"the largest number apart, and should be {tolerance:.2g} at most"
            )
    scale = torch.full_like(output, nearest.multiple)
    for factor in trace.factors:
        scale = scale * factor
    heads, _, width = trace.values.shape
    constant = trace.projection(trace.values.new_zeros(1, 1, heads * width)).reshape(-1)
    return AttentionParts(
        step=trace.step,
        rows=trace.rows,
        columns=trace.columns,
        weights=trace.weights,
        values=trace.values,
        project=partial(_projected, trace.projection),
        scale=scale,
        bias=scale * constant,
        output=nearest.multiple * attention,
        before=nearest.stream,
        beside=beside,
        after=nearest.total,
        additive=False,
        tolerance=tolerance,
    )


def _sums(
    streams: Sequence[Tensor], parts: Sequence[Tensor], totals: Sequence[Tensor], tolerance: float
) -> Iterator[Sum]:
    """For each total, how it may be a stream plus a multiple of a part: 1, or if that is too far off, the nearest."""
    for stream in streams:
        for total in totals:
            if total.equal(stream):  # in half precision, a small part would hardly be missed
                continue
            for part in parts:
                error = _apart(stream + part, total)
                if error <= tolerance:
                    yield Sum(stream, 1.0, total, error)
                    continue
                nearest = _multiple(part, total - stream)
                if abs(nearest) > SMALLEST_MULTIPLE:
                    yield Sum(stream, nearest, total, _apart(stream + nearest * part, total))


def _returned(layer: LayerTrace) -> list[Tensor]:
    return [returned for _, returned in layer.seen if returned is not None]


def _projected(projection: nn.Module, values: Tensor) -> Tensor:
    """(…, heads × width) to (…, H), without the bias."""
    rows = values.reshape(1, -1, values.shape[-1])
    [result] = projection(rows) - projection(torch.zeros_like(rows[:, :1]))
    projected: Tensor = result.reshape(*values.shape[:-1], -1)
    return projected


def _multiple(part: Tensor, total: Tensor) -> float:
    """By how much to multiply a part to come nearest to a total."""
    return float((total * part).sum() / (part * part).sum().clamp(min=torch.finfo(part.dtype).tiny))


def _apart(tensor: Tensor, other: Tensor) -> float:
    """The largest difference of two tensors (rows, H), relative to the largest number of its row."""
    largest = other.abs().amax(-1).clamp(min=torch.finfo(other.dtype).tiny)
    return float(((tensor - other).abs().amax(-1) / largest).max())
