"""One view of all targets: the sum of their scores, and the mean share.

In a plain sum, the targets that the model least expected have the largest scores, and may alone decide what is seen.
In the mean share each target weighs the same: its scores are divided by the sum of their magnitudes.

A heatmap opens with the mean share, by `tests/benchmarks/aggregation.py`. On 153 dates, whose three parts are said by
one word each, either has one of these words on top (sum 0.94–1.00, mean share 0.90–1.00); of the three words, the best
three sources are in the sum 0.70, 0.63, 0.94, 0.83 and 1.00, and in the mean share 0.98, 0.78, 1.00, 0.86 and 0.78
(gradient, input_x_gradient, lrp, attention_grad_cam, occlusion). So it is worse for occlusion alone, whose scores for
targets that depend on nothing are noise. On twelve prompts with two facts the two differ by chance, but for occlusion.
"""

from __future__ import annotations

from collections.abc import Sequence

Table = Sequence[Sequence[float | None]]  # K rows of J scores; None where a target does not see a source


def total(table: Table) -> list[float | None]:
    """(J,) the sum over the targets that see a source; None where none does."""
    columns = ([score for score in column if score is not None] for column in zip(*table, strict=True))
    return [sum(column) if column else None for column in columns]


def mean_share(table: Table, apart: int | None = None) -> list[float | None]:
    """(J,) the mean over all targets of a source's share of what their scores add up to in magnitude, in percent.

    A target that does not see a source gives it no share. What stands `apart`, the sink, is no part of the shares of
    the others; its own is of all of them and itself.
    """
    shares = total([_shares(row, apart) for row in table])
    return [None if share is None else share / len(table) for share in shares]


def _shares(row: Sequence[float | None], apart: int | None) -> list[float | None]:
    sizes = [0.0 if score is None else abs(score) for score in row]
    rest = sum(size for source, size in enumerate(sizes) if source != apart)
    magnitudes = (rest + size if source == apart else rest for source, size in enumerate(sizes))
    return [
        None if score is None else 100 * score / magnitude if magnitude else 0.0
        for score, magnitude in zip(row, magnitudes, strict=True)
    ]
