"""Slopes of secants, (f(x) − f(x₀)) / (x − x₀), of functions of one number; without a difference where there is a form.

The secants of exp and log are logarithmic means, m(u, v) = (u − v) / (log u − log v): that of exp at s is m(eˢ, eˢ⁰),
and that of L with respect to s_j is m(e^s_j, e^s₀_j) / m(e^L, e^L₀), which lies between the two probabilities of j. So
nothing overflows, wherever scores moved together. As exp and reciprocal, softmax would have slopes like e^(L − L₀).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def smooth_slope(function: Callable[[Tensor], Tensor], x: Tensor, x0: Tensor) -> Tensor:
    """Of a smooth function. Where the ends nearly meet, they are moved apart, so that rounding does not decide."""
    middle, gap = (x + x0) / 2, x - x0
    width = torch.finfo(x.dtype).eps ** (1 / 3) * middle.abs().clamp(min=1)
    near = gap.abs() < width
    high, low = torch.where(near, middle + width / 2, x), torch.where(near, middle - width / 2, x0)
    return (function(high) - function(low)) / (high - low)


def kinked_slope(function: Callable[[Tensor], Tensor], x: Tensor, x0: Tensor) -> Tensor:
    """Of a function that is linear but for kinks: the ends are moved apart only where they meet."""
    high = torch.where(x == x0, x + x.abs().clamp(min=1) * torch.finfo(x.dtype).eps ** 0.5, x)
    return (function(high) - function(x0)) / (high - x0)


def rsqrt_slope(x: Tensor, x0: Tensor) -> Tensor:
    """(1/√x − 1/√x₀) / (x − x₀), without a difference."""
    r, r0 = x.rsqrt(), x0.rsqrt()
    return -((r * r0) ** 2) / (r + r0)


def power_slope(exponent: float, x: Tensor, x0: Tensor) -> Tensor:
    """(xᵖ − x₀ᵖ) / (x − x₀), without a difference for the powers in use."""
    if exponent == 2:
        return x + x0
    if exponent == 3:
        return x * x + x * x0 + x0 * x0
    if exponent == 0.5:
        return 1 / (x.sqrt() + x0.sqrt())
    if exponent == -0.5:
        return rsqrt_slope(x, x0)
    return smooth_slope(lambda x: x**exponent, x, x0)


def logarithmic_mean(log: Tensor, log0: Tensor) -> Tensor:
    """Between u and v, from their logarithms: (u − v) / (log u − log v)."""
    return torch.maximum(log, log0).exp() * _shrinking(log, log0)


def mean_of_exp(s: Tensor, s0: Tensor, total: Tensor, total0: Tensor) -> Tensor:
    """The logarithmic mean of eˢ and eˢ⁰, over that of their totals."""
    ratio = (torch.maximum(s, s0) - torch.maximum(total, total0)).exp()
    return ratio * _shrinking(s, s0) / _shrinking(total, total0)


def _shrinking(log: Tensor, log0: Tensor) -> Tensor:
    """(1 − e⁻ᵈ) / d, where d is how far two logarithms are apart; also where both are -inf."""
    apart = torch.where(log == log0, 0, (log - log0).abs())
    return torch.where(apart == 0, 1, -torch.expm1(-apart) / torch.where(apart == 0, 1, apart))
