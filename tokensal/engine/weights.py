"""The attention weights of a layer on the axis of all sources, a block of rows at a time.

1. What is recorded of a layer are calls of attentions, whose weights can be had for any rows, or weights as one tensor:
   one, or a second for the encoder that a decoder's layer attends to, and as many again for a second continuation.
2. Rows that the same of them are about are read together. Columns of a decoder's inputs follow those of the encoder.
   Where both continuations have a row, its weights are those of the first, and gradients add up.
3. The gradients of the weights of a call follow from those of what it makes of the values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from tokensal.chunks import in_chunks
from tokensal.engine.activations import raised
from tokensal.layer_call import AttentionCall, BlockSize
from tokensal.questions.masks import branch_sources
from tokensal.transfers import sent
from tokensal.types import Example, LayerActivation, Part

T = TypeVar("T")
Read = Callable[[Tensor], tuple[Tensor, Tensor | None]]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Some rows of attention weights.

    Attributes:
        rows: (r,) int64, which sources look.
        columns: (c,) int64, which sources they look at; at no other.
        weights: (n, heads, r, c).
        gradients: (k, n, heads, r, c); empty where there are none.
    """

    rows: Tensor
    columns: Tensor
    weights: Tensor
    gradients: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Attended:
    """What is recorded of one attention.

    Attributes:
        rows: (R,) int64, ascending, which sources its rows are; on the CPU.
        columns: (C,) int64, which sources its columns are; on the CPU.
        part: the part of the sources that its columns are.
        read: from the places (r,) of some rows to their weights, (n, heads, r, c) of the first c columns, and the
            gradients of these, (k, n, heads, r, c).
        width: how many numbers the weights of a row, and their gradients, are.
    """

    rows: Tensor
    columns: Tensor
    part: Part | None
    read: Read
    width: int


@dataclass(frozen=True, slots=True, eq=False)
class LayerWeights:
    """The attention weights of a layer, and their gradients.

    Attributes:
        attended: what is recorded of its attentions.
        sources: how many sources there are.
        device: where what is read of them is.
        size: how many rows go at once.
    """

    attended: Sequence[Attended]
    sources: int
    device: torch.device
    size: BlockSize

    @property
    def rows(self) -> Tensor:
        """(S,) bool, which sources look in this layer."""
        return self._having.any(0)

    def over(self, wanted: Tensor, work: Callable[[Block], T]) -> Iterator[T]:
        """What `work` makes of the rows that are wanted, (S,) bool, a block after another; others are not computed."""
        having = self._having & wanted.cpu()
        for column in torch.unique(having[:, having.any(0)], dim=1).T:
            rows = (having == column[:, None]).all(0).nonzero()[:, 0]
            attended = [each for each, has in zip(self.attended, column.tolist(), strict=True) if has]
            size = self.size(len(rows), sum(each.width for each in attended))
            yield from in_chunks(len(rows), size, partial(self._worked, work, attended, rows))

    @property
    def _having(self) -> Tensor:
        """(attentions, S) bool, which rows each of them has."""
        having = torch.zeros(len(self.attended), self.sources, dtype=torch.bool)
        for row, each in zip(having, self.attended, strict=True):
            row[each.rows] = True
        return having

    def _worked(self, work: Callable[[Block], T], attended: Sequence[Attended], rows: Tensor, chunk: slice) -> T:
        return work(self._block(attended, rows[chunk]))

    def _block(self, attended: Sequence[Attended], rows: Tensor) -> Block:
        parts: dict[Part | None, tuple[Tensor, Tensor, Tensor]] = {}
        for each in attended:
            weights, gradients = each.read(torch.searchsorted(each.rows, rows))
            read = raised(weights.to(self.device))
            slopes = read.new_empty(0, *read.shape) if gradients is None else raised(gradients.to(self.device))
            columns = each.columns[: read.shape[-1]]
            parts[each.part] = (
                _added(parts[each.part], columns, slopes) if each.part in parts else (columns, read, slopes)
            )
        places, *tensors = (torch.cat(several, -1) for several in zip(*parts.values(), strict=True))
        return Block(sent(rows, self.device), sent(places, self.device), *tensors)


def _added(before: tuple[Tensor, Tensor, Tensor], columns: Tensor, gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of both continuations; they look at nothing but what both have read."""
    ours, weights, others = before
    common = min(len(ours), len(columns))
    common = int((ours[:common] == columns[:common]).cumprod(0).sum())
    return ours[:common], weights[..., :common], others[..., :common] + gradients[..., :common]


def looked_at(layer: LayerWeights, looking: Tensor, cells: Callable[[Block], Tensor]) -> Tensor:
    """Σ_rows looking × cells, (…, S): of rows in which some of `looking` (…, S) is not 0; others are not computed.

    Args:
        layer: the weights.
        looking: how much each row counts.
        cells: what is made of a block of rows, (…, r, c).
    """

    def piece(block: Block) -> tuple[Tensor, Tensor]:
        return block.columns, torch.einsum("...r,...rc->...c", looking[..., block.rows], cells(block))

    total = torch.zeros_like(looking)
    for columns, added in layer.over(looking.reshape(-1, layer.sources).any(0), piece):
        total[..., columns] += added
    return total


def weights_of(
    example: Example,
    recorded: Sequence[LayerActivation],
    gradients: Sequence[Tensor] | None,
    device: torch.device,
    size: BlockSize,
) -> LayerWeights:
    """The weights of one layer.

    Args:
        example: the tokens.
        recorded: what is recorded of the layer: of each continuation as much.
        gradients: those of the recorded tensors, (k, …); None without.
        device: where what is read of them is.
        size: how many rows go at once.
    """
    axes, attended = branch_sources(example), []
    for number, activation in enumerate(recorded):
        axis = axes[number * len(axes) // len(recorded)]
        parts = {Part.FIRST: axis[: example.encoder], Part.LAST: axis[example.encoder :]}
        rows, columns = parts[activation.rows], parts[activation.columns or Part.LAST]
        gradient = None if gradients is None else gradients[number]
        read, width = _reader(activation, gradient)
        attended.append(Attended(rows, columns, activation.columns, read, width))
    return LayerWeights(attended, len(example.sources), device, size)


def placed_weights(weights: Tensor, gradients: Tensor, size: BlockSize) -> LayerWeights:
    """Weights (n, heads, S, S) and gradients (k, n, heads, S, S) that are in memory; some rows may look at nothing."""
    sources, width = torch.arange(weights.shape[-1]), weights[..., 0, :].numel() * (1 + len(gradients))
    rows = sources[weights.any(-1).flatten(0, 1).any(0).cpu()]

    def read(places: Tensor) -> tuple[Tensor, Tensor]:
        index = sent(rows[places], weights.device)
        return weights[..., index, :], gradients[..., index, :]

    return LayerWeights([Attended(rows, sources, None, read, width)], len(sources), weights.device, size)


def place_weights(layer: LayerWeights) -> tuple[Tensor, Tensor]:
    """The weights (n, heads, S, S) of a layer as one tensor, and their gradients (k, n, heads, S, S)."""
    blocks = list(layer.over(layer.rows, lambda block: block))
    tables = []
    for tensors in ([block.weights for block in blocks], [block.gradients for block in blocks]):
        shape = *tensors[0].shape[:-2], layer.sources, layer.sources
        table = tensors[0].new_zeros(shape)
        for block, tensor in zip(blocks, tensors, strict=True):
            table[..., block.rows[:, None], block.columns] = tensor
        tables.append(table)
    return tables[0], tables[1]


def _reader(activation: LayerActivation, gradient: Tensor | None) -> tuple[Read, int]:
    """What reads some rows of a recorded attention, and the `Attended.width`."""
    copies = 1 if gradient is None else 1 + len(gradient)
    if isinstance(activation, AttentionCall):
        return lambda rows: activation.read(rows, gradient), activation.width * copies
    weights = activation.tensor.detach()
    return partial(_rows_of, weights, gradient), weights[..., 0, :].numel() * copies


def _rows_of(weights: Tensor, gradients: Tensor | None, rows: Tensor) -> tuple[Tensor, Tensor | None]:
    if len(rows) == weights.shape[-2]:  # all, which need no copy
        return weights, gradients
    rows = sent(rows, weights.device)
    return weights[..., rows, :], None if gradients is None else gradients[..., rows, :]
