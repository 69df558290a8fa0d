"""What prompts say of methods: means with intervals, and which differences are more than chance.

1. The unit is the prompt. Its number is the mean over its targets, of those that are not NaN.
2. An interval is that of the bootstrap over prompts, bias-corrected and accelerated (BCa; Efron 1987): resample the
   prompts, take the mean, and read off quantiles that are shifted by how far the means are off the centre, and by how
   skewed the prompts are.
3. The best method is that with the best mean. The others are compared to it in pairs: the bootstrap is of the
   differences prompt by prompt, so what makes a prompt hard for all methods cancels.
4. The p-value of a difference is that of the interval: 1 less the level at which the interval reaches 0; but at least
   2^(1−n), since no test of n signs can go below. With Holm's correction, all differences of a table together are
   wrongly called significant with at most the stated probability, without it each one by itself.
5. Where a method has no number (NaN), the prompt is left out of its mean, and out of each pair that it is in. How many
   were left out is stated.

All is deterministic: the seed decides which prompts are resampled, and neither the order of the prompts nor which other
methods there are plays a part. The best of many methods was selected on the same prompts, so its lead over the others
is on average smaller on new ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from tokensal.errors import InputError, require_known
from tokensal.values import read_number, read_whole

RESAMPLES = 9999
AT_ONCE = 2**22  # numbers of resamples that are in memory
ROUNDING = 1e-12  # means that differ by less, relative to the largest number, are equal
CORRECTIONS = ("holm", "none")

Name = TypeVar("Name", str, tuple[str, ...])


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over prompts and its interval.

    Attributes:
        value: the mean; NaN without a prompt.
        low: the lower end of the interval; NaN where there are fewer than two prompts.
        high: the upper end.
        prompts: how many it is over.
        missing: how many were left out, since a number was NaN.
    """

    value: float
    low: float
    high: float
    prompts: int
    missing: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How a method stands among others.

    Attributes:
        name: of the method.
        mean: of its numbers.
        difference: the mean of its numbers less those of the best method, in pairs; None of the best one itself, and
            where one of the two has no numbers.
        p_value: how probable so large a difference would be by chance, corrected as was asked for; None likewise.
        tied: whether it is the best, or the difference to the best is not significant.
    """

    name: str
    mean: Mean
    difference: Mean | None
    p_value: float | None
    tied: bool


def mean_over_targets(values: Tensor) -> float:
    """The number of a prompt: the mean of a metric (K,) over targets, of those that are not NaN; else NaN."""
    return float(values.double().nanmean())


def stand(
    values: Mapping[str, Sequence[float]],
    better: Literal["higher", "lower"],
    *,
    level: float = 0.95,
    correction: Literal["holm", "none"] = "holm",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[Standing]:
    """Compare methods on the same prompts.

    Args:
        values: for each method, a number for each prompt, in the same order; NaN where there is none.
        better: whether "higher" or "lower" numbers are better.
        level: of the intervals; a difference is significant if its p-value is below 1 − level.
        correction: of p-values for the number of methods: "holm", or "none".
        resamples: how many, of the bootstrap.
        seed: of the resamples.

    Returns:
        A standing for each method, in the order of `values`.

    Raises:
        InputError: methods with different numbers of prompts, a number that is infinite, or an option out of bounds.
    """
    table = _read(values)
    level, resamples = _read_options(level, resamples)
    require_known("correction", correction, CORRECTIONS)
    require_known("value of better", better, ("higher", "lower"))
    means = {name: mean_of(row, level=level, resamples=resamples, seed=seed) for name, row in table.items()}
    sign = 1 if better == "higher" else -1
    defined = [name for name, mean in means.items() if mean.prompts]
    best = min(defined, key=lambda name: (-sign * means[name].value, -means[name].prompts, name), default=None)
    differences = {name: table[name] - table[best] for name in defined if name != best} if best else {}
    differences = {name: row for name, row in differences.items() if not row.isnan().all()}
    p_values = {name: p_value(row, resamples, seed) for name, row in differences.items()}
    if correction == "holm":
        p_values = holm(p_values)
    return [
        Standing(
            name,
            means[name],
            mean_of(differences[name], level=level, resamples=resamples, seed=seed) if name in differences else None,
            p_values.get(name),
            name == best or p_values.get(name, 0) >= 1 - level,
        )
        for name in table
    ]


def mean_of(
    values: Sequence[float] | Tensor, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Mean:
    """The mean over prompts (N,), and its BCa interval. NaN is left out, and counted.

    Raises:
        InputError: an option out of bounds.
    """
    level, resamples = _read_options(level, resamples)
    row = torch.as_tensor(values, dtype=torch.float64)
    numbers = _defined(row)
    count, missing = len(numbers), len(row) - len(numbers)
    if count < 2:
        return Mean(float(numbers.mean()), torch.nan, torch.nan, count, missing)
    if numbers[0] == numbers[-1]:
        same = float(numbers[0])
        return Mean(same, same, same, count, missing)
    low, high = bca_interval(numbers, resampled_means(numbers, resamples, seed), level)
    return Mean(float(numbers.mean()), low, high, count, missing)


def resampled_means(values: Tensor, resamples: int, seed: int) -> Tensor:
    """(resamples,) the means of as many values, drawn with replacement from values (n,)."""
    random, count = torch.Generator().manual_seed(seed << 20), len(values)
    size = max(1, AT_ONCE // count)
    parts = [min(size, resamples - start) for start in range(0, resamples, size)]
    return torch.cat([values[torch.randint(count, (part, count), generator=random)].mean(1) for part in parts])


def bca_interval(values: Tensor, means: Tensor, level: float) -> tuple[float, float]:
    """The interval of the mean of values (n,), of which not all are equal, from means of resamples."""
    return corrected_interval(means, *_corrections(values, means), level)


def corrected_interval(means: Tensor, shift: Tensor, acceleration: Tensor, level: float) -> tuple[float, float]:
    """The interval that the BCa bootstrap reads off the means of resamples: how far they are off the centre, and how
    skewed the values are, decide by which quantiles it ends."""
    tails = torch.special.ndtri(torch.tensor([1 - level, 1 + level], dtype=torch.float64) / 2)
    stretch = 1 - acceleration * (shift + tails)
    ends = shift + torch.where(stretch > 0, (shift + tails) / stretch, tails.sign() * torch.inf)
    low, high = means.quantile(torch.special.ndtr(ends)).tolist()
    return low, high


def p_value(differences: Tensor, resamples: int = RESAMPLES, seed: int = 0) -> float:
    """How probable so large a mean of differences in pairs (N,) would be by chance; NaN is left out.

    1 less the level at which the BCa interval of the mean reaches 0; at least 2^(1−n).
    """
    numbers = _defined(differences)
    least = 2.0 ** (1 - len(numbers))
    if len(numbers) < 2 or (numbers == 0).all():
        return 1.0
    if numbers[0] == numbers[-1]:
        return least
    means = resampled_means(numbers, resamples, seed).sort().values
    shift, acceleration = _corrections(numbers, means)
    above, below = (_level_of(means, end, numbers) for end in (-1.0, 1.0))  # of the equal means, all on that side
    return min(1.0, max(least, 2 * min(_tail(below, shift, acceleration), 1 - _tail(above, shift, acceleration))))


def _level_of(means: Tensor, side: float, values: Tensor) -> Tensor:
    """The quantile of the ascending means that 0 is; where several are 0, of the last or the first of them."""
    levels = torch.linspace(0, 1, len(means), dtype=torch.float64)
    zero = side * ROUNDING * values.abs().max()
    level = torch.from_numpy(np.interp(zero.numpy()[None], means.numpy(), levels.numpy()))[0]
    return level.clamp(1 / (len(means) + 1), 1 - 1 / (len(means) + 1))


def _tail(level: Tensor, shift: Tensor, acceleration: Tensor) -> float:
    """The probability that the end of a BCa interval leaves out, from the quantile of the means that is its end."""
    distance = torch.special.ndtri(level) - shift
    stretch = 1 + acceleration * distance
    corrected = torch.where(stretch > 0, distance / stretch, distance.sign() * torch.inf) - shift
    return float(torch.special.ndtr(corrected))


def _corrections(values: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
    """How far the means of resamples are off the centre, and how skewed the values are: both as in Efron 1987."""
    shift = torch.special.ndtri(share_below(means, float(values.mean()), float(values.abs().max())))
    influences = values - values.mean()
    return shift, influences.pow(3).sum() / (6 * influences.square().sum().pow(1.5))


def share_below(means: Tensor, point: float, largest: float) -> Tensor:
    """The share of means below a point; of those that are equal to it, half. Neither 0 nor 1.

    `largest` is the largest magnitude of what they are means of, which decides what is equal.
    """
    rounding = ROUNDING * largest
    below, equal = (means < point - rounding).sum(), ((means - point).abs() <= rounding).sum()
    share = (below + equal.double() / 2) / len(means)
    return share.clamp(1 / (len(means) + 1), 1 - 1 / (len(means) + 1))


def holm(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """Each p-value times the number of those that are not smaller, and none below that of a smaller one (Holm 1979)."""
    corrected: dict[Name, float] = {}
    least = 0.0
    for place, (name, p_value) in enumerate(sorted(p_values.items(), key=lambda item: (item[1], item[0]))):
        least = corrected[name] = max(least, min(1.0, (len(p_values) - place) * p_value))
    return corrected


def _defined(row: Tensor) -> Tensor:
    """The numbers that are not NaN, ascending, so that their order plays no part."""
    return row[~row.isnan()].sort().values


def _read(values: Mapping[str, Sequence[float]]) -> dict[str, Tensor]:
    table = {name: torch.as_tensor(row, dtype=torch.float64) for name, row in values.items()}
    sizes = {name: len(row) for name, row in table.items()}
    if not table or len(set(sizes.values())) > 1:
        raise InputError(f"Methods are compared on the same prompts, but they have numbers of {sizes or 'none'}.")
    if any(row.isinf().any() for row in table.values()):
        raise InputError("Numbers of a metric should be finite, or NaN where there is none, but one is infinite.")
    return table


def _read_options(level: float, resamples: int) -> tuple[float, int]:
    level = read_number("level", level, above=0)
    if level >= 1:
        raise InputError(f"level is {level}, but should be less than 1, such as 0.95.")
    return level, int(read_whole("resamples", resamples, least=99))
