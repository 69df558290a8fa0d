"""One view of all targets: the sum of their scores, and the mean share.

In a plain sum, the targets that the model least expected have the largest scores, and may alone decide what is seen.
In the mean share each target weighs the same: its scores are divided by the sum of their magnitudes.

A heatmap opens with the mean share, by `tests/benchmarks/aggregation.py`. In 153 dates, one word each says year, month
and day. The best source is one of these words about as often (sum 0.94–1.00, mean share 0.90–1.00), but more of the
three are among the best three sources (sum → mean share): gradient 0.70 → 0.98, input_x_gradient 0.63 → 0.78, lrp
0.94 → 1.00, attention_grad_cam 0.83 → 0.86. Of occlusion alone it is fewer, 1.00 → 0.78: where a target depends on
nothing else, its scores are noise. Twelve prompts with two facts are too few to tell, but say the same of occlusion.
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
