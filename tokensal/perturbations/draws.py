"""Random numbers that are pure by number: draw n is the same whatever others are drawn, in whatever order."""

from __future__ import annotations

import torch


def generator(seed: int, number: int) -> torch.Generator:
    """The random numbers of the draw of that number, below 2**20; on the CPU, so that every device sees the same."""
    return torch.Generator().manual_seed((seed << 20) + number)
