"""How much goes at once: sizes chosen from the free memory (see `tokensal.chunks` for what proves too large)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tokensal.engine.memory import free_memory
from tokensal.errors import InputError, MemoryShortage
from tokensal.layer_call import BlockSize
from tokensal.types import Footprint
from tokensal.values import read_whole, store

# Numbers of the contributions that are taken apart at once on a CPU: about what its cache holds.
CPU_CONTRIBUTIONS = 2**19

# Rows (tokens × perturbations × cotangents) of one backward on a CPU. Measured by tests/benchmarks/chunks.py: fewer
# rows leave the matrix products too thin, more fall out of the cache and are slower again.
CPU_ROWS = 1024

# Rows (tokens × perturbations) of one forward whose graph is kept on a CPU. More are no quicker, but take memory.
CPU_KEPT = 256

# Rows (tokens × examples) of one forward of several examples whose gradients are taken together. On a CPU, more gain
# little, as tests/benchmarks/together.py measures; so an example of more than half as many is explained by itself.
# Elsewhere it is not measured yet.
CPU_TOGETHER = 512
TOGETHER = 4096

# What examples that are shorter, or have fewer groups, than others of their forward may add to the work by padding.
PADDING = 0.25

# Rows of attention weights that are computed at once on a CPU: fewer leave the matrix products too thin, and more fall
# out of the cache. Of free memory, a block takes a share, since much else is at hand with it.
CPU_BLOCK = 128
BLOCK_SHARE = 8

# What a further forward costs however short it is, in tokens. Of SmolLM2, one token takes as long as twenty in a batch.
CPU_FIXED = 24
FIXED = 2048  # elsewhere

# A backward takes along all perturbations of a graph, also those that want no more gradients. On a CPU, that may add so
# much to the work; other devices need many rows at once.
CPU_WASTE = 0.25


@dataclass(frozen=True, slots=True)
class Budget:
    """Bounds on one piece of work.

    Attributes:
        memory: bytes that activations may take; None takes half of what the device has free at that moment.
        rows: the most rows (tokens × perturbations × cotangents) in one backward; None leaves it to the device:
            1024 on a CPU (256 in a forward before it), as many as the memory holds elsewhere.
        rebuild: whether the graph of a layer is built anew when its backward comes, for which the inputs of layers are
            kept in place of all that they compute: the same gradients in less memory, for one more forward. "auto" does
            so where the graph of one perturbation does not fit the memory.

    Raises:
        InputError: memory or rows is no whole number, or rebuild is something else.
    """

    memory: int | None = None
    rows: int | None = None
    rebuild: Literal["auto"] | bool = "auto"

    def __post_init__(self) -> None:
        store(
            self,
            memory=read_whole("budget.memory", self.memory, optional=True),
            rows=read_whole("budget.rows", self.rows, optional=True),
        )
        if self.rebuild != "auto" and not isinstance(self.rebuild, bool):
            raise InputError(f"budget.rebuild is {self.rebuild!r}, but should be true, false or 'auto'.")

    def rebuilds(self, rows: int, footprint: Footprint, device: torch.device) -> bool:
        """Whether the graph over `rows` tokens of one perturbation is built layer by layer."""
        if self.rebuild == "auto":
            return rows * footprint.kept > self._bytes(device)
        return self.rebuild

    def perturbations(self, wanted: Tensor, sources: int, footprint: Footprint, device: torch.device) -> int:
        """How many perturbations go into one forward whose graph is kept.

        Args:
            wanted: (R,) how many gradients each is asked for, int64.
            sources: tokens of a perturbation.
            footprint: bytes for each of them.
            device: where.
        """
        fitting = self._bytes(device) // (sources * (footprint.kept + footprint.moved))
        most = _within(len(wanted), fitting, self._rows(device, CPU_KEPT) // sources)
        if device.type != "cpu":
            return most
        taken = wanted[:most].cummax(0).values * torch.arange(1, most + 1)
        worthwhile = taken <= (1 + CPU_WASTE) * wanted[:most].cumsum(0)
        return int(worthwhile.long().cumprod(0).sum())

    def together(self, lengths: Tensor, groups: Tensor, device: torch.device) -> int:
        """How many examples, from the first on, have their gradients taken together.

        Lengths and groups alone decide, and no free memory: so whoever explains them does it in the same way.

        Args:
            lengths: (N,) the sources of each, int64.
            groups: (N,) how many gradients each is asked for, int64.
            device: where.
        """
        if self.rebuild is True:
            return 1
        most = self.rows or (CPU_TOGETHER if device.type == "cpu" else TOGETHER)
        rows = lengths.cummax(0).values * torch.arange(1, len(lengths) + 1)
        padded = rows * groups.cummax(0).values
        fitting = (rows <= most) & (padded <= (1 + PADDING) * (lengths * groups).cumsum(0))
        return max(1, int(fitting.long().cumprod(0).sum()))

    def require_together(self, rows: int, footprint: Footprint, device: torch.device) -> None:
        """Refuse a graph over `rows` tokens of several examples where it does not fit: by themselves they may.

        Raises:
            MemoryShortage: what the forward keeps, and a backward moves, is more than activations may take.
        """
        if rows * (footprint.kept + footprint.moved) > self._bytes(device):
            raise MemoryShortage(f"The gradients of {rows} tokens of several examples do not fit the memory together.")

    def averages(self, total: int, numbers: int, device: torch.device) -> int:
        """How many of `total` groups have their gradients averaged at once, of so many numbers each."""
        return _within(total, self._bytes(device) // (8 * numbers))

    def pieces(self, total: int, numbers: int, device: torch.device) -> int:
        """How many of `total` rows have their contributions taken apart at once, of so many numbers each."""
        most = CPU_CONTRIBUTIONS if device.type == "cpu" else 2**31
        return _within(total, self._bytes(device) // (16 * numbers), most // numbers, self._rows(device))

    def rows_at_once(
        self, total: int, sources: int, targets: int, footprint: Footprint, device: torch.device, *, held: int = 0
    ) -> int:
        """How many of `total` perturbations, `sources` tokens each, go into one forward without a graph.

        Each has the states of `held` tokens at hand.
        """
        row = sources * footprint.moved + targets * footprint.head + held * footprint.states
        fitting = self._bytes(device) // row
        return _within(total, fitting, self._rows(device) // sources)

    def blocks(self, device: torch.device, *, cotangents: int = 0) -> BlockSize:
        """How many rows of attention weights go at once, with the gradients of so many cotangents."""
        numbers = self._bytes(device) // (16 * BLOCK_SHARE * (1 + cotangents))
        most = self._rows(device, CPU_BLOCK)
        return lambda total, width: _within(total, numbers // width, most)

    def padded_alike(self, begins: Tensor, ends: Tensor, device: torch.device) -> int:
        """How many perturbations, from the first on, go into one forward before padding costs more than another one.

        Args:
            begins: (n,) where the tokens of each begin: they are run from where the first of all begin.
            ends: (n,) where they end: they are padded to where the last of all end.
            device: where.
        """
        longest = ends.cummax(0).values - begins.cummin(0).values
        padding = longest * torch.arange(1, len(ends) + 1) - (ends - begins).cumsum(0)
        return int((padding <= self.fixed(device)).long().cumprod(0).sum())

    def fixed(self, device: torch.device) -> int:
        """What a further forward costs however short it is, in tokens."""
        return CPU_FIXED if device.type == "cpu" else FIXED

    def cotangents(self, total: int, rows: int, footprint: Footprint, device: torch.device) -> int:
        """How many of `total` cotangents go into one backward through `rows` tokens (perturbations × sources)."""
        fitting = (self._bytes(device) - rows * footprint.kept) // (rows * footprint.moved)
        return _within(total, fitting, self._rows(device) // rows)

    def carried(self, total: int, rows: int, footprint: Footprint, device: torch.device) -> int:
        """How many of `total` cotangents are at hand while they go through one layer after another, a few at a time."""
        free = self._bytes(device) - rows * (footprint.kept + footprint.moved)
        return _within(total, free // (2 * rows * footprint.input))  # above a layer, and below it

    def require_graph(self, rows: int, footprint: Footprint, device: torch.device) -> None:
        """Refuse a graph over `rows` tokens that the device cannot hold: a CPU would end the process, and say nothing.

        Raises:
            MemoryShortage: what a forward keeps is more than all of the free memory.
        """
        needed, free = rows * footprint.kept, free_memory(device)
        if self.memory is None and needed > free:
            raise MemoryShortage(
                f"The gradients of {rows} tokens need about {needed / 2**30:.1f} GiB, but {free / 2**30:.1f} are free: "
                "shorten the prompt, limit the sources to its end, load the model with a smaller dtype, or choose "
                "'occlusion', which needs no graph."
            )

    def _bytes(self, device: torch.device) -> int:
        if self.memory is not None:
            return self.memory
        return free_memory(device) // 2

    def _rows(self, device: torch.device, on_cpu: int = CPU_ROWS) -> int:
        if self.rows is not None:
            return self.rows
        return on_cpu if device.type == "cpu" else 2**31


def _within(total: int, *bounds: int) -> int:
    return max(1, min(total, *bounds))
