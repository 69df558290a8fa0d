"""Quadrature: nodes and weights on [0, 1], by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

Rule = Callable[[int], tuple[Tensor, Tensor]]


def gauss_legendre(steps: int) -> tuple[Tensor, Tensor]:
    """Exact for polynomials up to degree 2·steps − 1. Returns nodes and weights, (steps,) float64 each."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2)


def riemann(steps: int) -> tuple[Tensor, Tensor]:
    """The middles of equal cells."""
    nodes = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
    return nodes, torch.full_like(nodes, 1 / steps)


def trapezoid(steps: int) -> tuple[Tensor, Tensor]:
    """The ends of equal cells; the first and the last node count half. One step is the end itself."""
    if steps == 1:
        return torch.ones(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    nodes = torch.linspace(0, 1, steps, dtype=torch.float64)
    weights = torch.full_like(nodes, 1 / (steps - 1))
    weights[[0, -1]] /= 2
    return nodes, weights


RULES: Mapping[str, Rule] = {"gauss_legendre": gauss_legendre, "riemann": riemann, "trapezoid": trapezoid}
