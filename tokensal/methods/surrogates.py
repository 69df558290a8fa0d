"""Linear surrogates of the score, fitted to random coalitions, and judged by coalitions that they were not fitted to.

1. Score random coalitions. A target's surrogate has a coefficient for each player that the target sees, and for no
   other; so do its weights.
2. Put the coalitions into folds. Those in which a target sees the same players go into one fold, so that none of them
   is predicted by a surrogate that was fitted to its double.
3. Fit each surrogate to all coalitions, which are the scores, and once more without each fold.
4. Predict each fold by the fit without it: R², weighted as the fit is, and the correlation of the ranks.
5. The standard error of each score is that of the jackknife: how much it varies when one fold is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tokensal.methods.removal import RemovalMethod
from tokensal.perturbations.coalitions import Sampler
from tokensal.ranks import rank_correlations
from tokensal.types import Diagnostic, Diagnostics
from tokensal.values import read_number, read_whole, store

FOLDS = 8
MOST_SAMPLES = 65_536
STEPS = 10  # of a LASSO's path for each coalition, at most
ROUNDING = 1e-12  # what is nearer to 0 is 0
CONSTANT = 1e-6  # a player whose presence deviates less is present, or absent, in all coalitions of a fit

# From coalitions (n, P) as 0 and 1, values (n, Q), weights (n, Q) and what is seen (Q, P) bool to the coefficients
# (Q, P) and intercepts (Q,) of Q surrogates
Fit = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True)
class SurrogateMethod(RemovalMethod):
    """A method that fits a linear surrogate to random coalitions.

    Args:
        samples: how many coalitions.
        seed: of the coalitions.
    """

    samples: int
    regularization: float
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        store(
            self,
            samples=read_whole("samples", self.samples, least=FOLDS, most=MOST_SAMPLES),
            regularization=read_number("regularization", self.regularization, least=0),
            seed=read_whole("seed", self.seed, most=2**32 - 1),
        )

    def drawn(self, sampler: Sampler, count: int) -> Tensor:
        """(n, P) bool, the first so many coalitions of a sampler."""
        return torch.cat([sampler.block(number) for number in range(count)])


def fit_surrogates(
    fit: Fit, present: Tensor, values: Tensor, weights: Tensor, seen: Tensor
) -> tuple[Tensor, Diagnostics]:
    """The coefficients (K, P), 0 for players that a target does not see, and what is known of their error.

    Args:
        fit: how a surrogate is fitted.
        present: (n, P) bool, the coalitions.
        values: (n, K) what is predicted, float64.
        weights: (n, K) of the coalitions.
        seen: (K, P) bool.
    """
    n, targets = values.shape
    players = present.to(values)
    folds = torch.stack([_folds(present[:, row]) for row in seen], dim=1)  # (n, K)
    used = torch.stack([torch.ones_like(folds), *(folds != fold for fold in range(FOLDS))]).bool()  # (1 + F, n, K)
    everything = (used * weights).movedim(0, 1).reshape(n, -1)
    coefficients, intercepts = fit(players, values.repeat(1, 1 + FOLDS), everything, seen.repeat(1 + FOLDS, 1))
    coefficients, intercepts = coefficients.view(1 + FOLDS, targets, -1), intercepts.view(1 + FOLDS, targets)
    parts = torch.einsum("np,fkp->fnk", players, coefficients[1:]).gather(0, folds[None])[0]
    predicted = parts + intercepts[1:].gather(0, folds)
    total = (values - _mean(values, weights)).square()
    ranks = [rank_correlation(*pair) for pair in zip(parts.T, values.T, strict=True)]
    return coefficients[0], {
        "standard_error": Diagnostic(_jackknife_error(coefficients[1:], folds)),
        "coalitions": Diagnostic(torch.full((targets,), n)),
        "fit": Diagnostic(1 - (weights * (values - predicted).square()).sum(0) / (weights * total).sum(0)),
        "rank_fit": Diagnostic(torch.stack(ranks)),  # of the predictions without their intercepts, which vary by fold
    }


def _folds(coalitions: Tensor) -> Tensor:
    """(n,) the fold of each coalition: different ones take turns, in the order in which they are first met."""
    turns: dict[bytes, int] = {}
    keys = [row.numpy().tobytes() for row in coalitions]
    return torch.tensor([turns.setdefault(key, len(turns)) % FOLDS for key in keys])


def _jackknife_error(left_out: Tensor, folds: Tensor) -> Tensor:
    """(K, P) from the coefficients without each fold (F, K, P) and the folds that there are, of (n, K)."""
    count = (folds.amax(0) + 1)[:, None]  # folds of a target
    filled = torch.arange(len(left_out))[:, None, None] < count
    mean = (filled * left_out).sum(0) / count
    return ((count - 1) / count * (filled * (left_out - mean).square()).sum(0)).sqrt()


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (weights * values).sum(0) / weights.sum(0)


def rank_correlation(predicted: Tensor, values: Tensor) -> Tensor:
    """Spearman's; NaN where one of them is the same everywhere."""
    return rank_correlations(torch.stack([predicted, values]))[0, 1]


def ridge(regularization: float) -> Fit:
    """Minimises Σ w (y − b − x·β)² + regularization · |β|²: weighted least squares, as scikit-learn's Ridge."""

    def fit(present: Tensor, values: Tensor, weights: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        coefficients = values.new_zeros(seen.shape)
        for row, columns, value, weight in zip(coefficients, seen, values.T, weights.T, strict=True):
            x = present[:, columns]
            weighted = weight[:, None] * (x - weight @ x / weight.sum())
            matrix = weighted.T @ x + regularization * torch.eye(x.shape[1], dtype=x.dtype)
            row[columns] = _solve(matrix, weighted.T @ value)
        return coefficients, _mean(values - present @ coefficients.T, weights)

    return fit


def lasso(regularization: float) -> Fit:
    """Minimises Σ w (y − b − z·γ)² / 2 Σ w + regularization · |γ|₁, where z are the players, standardised.

    The coefficients are those of the players as they are, γ / σ.
    """

    def fit(present: Tensor, values: Tensor, weights: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        coefficients = values.new_zeros(seen.shape)
        for row, columns, value, weight in zip(coefficients, seen, values.T, weights.T, strict=True):
            share = weight / weight.sum()
            mean = share @ present
            deviation = (mean * (1 - mean)).clamp(min=0).sqrt()
            varied = columns & (deviation > CONSTANT)
            standardised = (present - mean)[:, varied] / deviation[varied]
            root = share.sqrt()
            path = _lasso_path(root[:, None] * standardised, root * (value - share @ value), regularization)
            row[varied] = path / deviation[varied]
        return coefficients, _mean(values - present @ coefficients.T, weights)

    return fit


def _lasso_path(x: Tensor, y: Tensor, penalty: float) -> Tensor:
    """What minimises |y − x·γ|² / 2 + penalty · |γ|₁, exactly: by homotopy (Osborne et al. 2000, Efron et al. 2004).

    From the penalty at which all coefficients are 0 down to the one wanted, they change linearly, until one more
    joins those that are not 0, or one of these returns to 0.
    """
    products, coefficients = x.T @ x, x.new_zeros(x.shape[1])
    slopes = start = x.T @ y
    level = float(slopes.abs().max()) if len(slopes) else 0.0
    active: list[int] = [int(slopes.abs().argmax())] if level > penalty else []
    left = -1  # the one that has just returned to 0
    for _ in range(STEPS * len(x)):
        if not active:
            break
        columns = products[:, active]
        direction = _solve(columns[active], slopes[active].sign())
        rates = columns @ direction
        joins = torch.stack([_step(level - slopes, 1 - rates), _step(level + slopes, 1 + rates)]).amin(0)
        joins[[*active, *([left] if left >= 0 else [])]] = torch.inf
        returns = _step(-coefficients[active], direction)
        step = min(float(joins.min()), float(returns.min()), level - penalty)
        coefficients[active] += step * direction
        if step == level - penalty:
            break
        level -= step
        left = -1
        if float(returns.min()) == step:
            left = active.pop(int(returns.argmin()))
            coefficients[left] = 0
        else:
            active.append(int(joins.argmin()))
        slopes = start - products @ coefficients
    return coefficients


def _step(distance: Tensor, speed: Tensor) -> Tensor:
    """How far to go until a distance is 0; infinitely where it does not become smaller."""
    return torch.where((speed.abs() > ROUNDING) & (distance / speed > ROUNDING), distance / speed, torch.inf)


def _solve(matrix: Tensor, values: Tensor) -> Tensor:
    """The shortest of the vectors that solve a system best, so that it may be singular."""
    solution: Tensor = torch.linalg.lstsq(matrix, values[:, None], driver="gelsy").solution[:, 0]
    return solution
