"""What a run says as a whole: `summarize`.

1. Examples are read one after another, so that memory does not grow with their number.
2. Each attribution is broken down to one row of numbers (see `breaking_down`), and so is one that credits all sources
   alike; of each pair of methods it is told how far they agree.
3. Of these numbers the means over the examples are kept, with what their intervals need (see
   `tokensal.results.resampling`); of each method the most important source of each target is counted by its text.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tokensal.progress import reporting
from tokensal.results.attribution import Attribution
from tokensal.results.comparison import Comparison
from tokensal.results.resampling import Tally
from tokensal.results.statistics import Mean, mean_over_targets
from tokensal.results.summary import (
    Agreement,
    Breakdown,
    Category,
    FailedRows,
    Spread,
    SummarizedMethod,
    Summary,
    TopSource,
)
from tokensal.runs.breaking_down import COLUMNS, DIVISIONS, break_down, equal_sizes_of, sizes_of
from tokensal.runs.stored import Run, StoredExample, load_run
from tokensal.types import Progress
from tokensal.values import read_whole

TOP = 5  # most important sources that methods may have in common
LISTED = 10  # of the most frequent top sources
SECONDS, SINK, OWN = COLUMNS, COLUMNS + 1, COLUMNS + 2  # numbers of a method behind its breakdowns, and all of them
TEXTS = 100_000  # that are counted at once
REASONS = 1000  # of failures that are told apart


def summarize(run: Run | str | PathLike[str], *, top: int = LISTED, progress: Progress | bool | None = None) -> Summary:
    """What the explanations of a run have in common.

        >>> import tempfile, tokensal
        >>> records = ["the 3rd of March, 1987", "3 May 1999", "the 21st of June, 2004"]
        >>> run = tokensal.run("dates", records, tempfile.mkdtemp(), methods=["occlusion", "input_x_gradient"])
        >>> summary = tokensal.summarize(run)
        >>> {name: round(share, 2) for name, share in summary.shares("class", "occlusion").items()}
        {'words': 0.21, 'digits': 0.55, 'punctuation': 0.24, 'special': 0.0}

    Args:
        run: what `tokensal.run` or `tokensal.load_run` returns, or the folder; it need not be finished.
        top: how many of the most frequent top sources are listed for each method.
        progress: as for `tokensal.attribute`; it counts examples.

    Returns:
        The summary; see `tokensal.results.summary.Summary`.

    Raises:
        InputError: a number that is not a whole one, or pyarrow is not installed.
        FormatError: it is no folder of a run, or a part is damaged.
    """
    top = int(read_whole("top", top, least=0))
    run = run if isinstance(run, Run) else load_run(run)
    counts = Counts(run.methods)
    with reporting(progress) as report:
        total = len({row["number"] for row in run.rows(["number"])}) if report is not None else 0
        for done, example in enumerate(run.examples()):
            if report is not None:
                report(done, total)
            counts.add(example)
        if report is not None:
            report(total, total)
    return counts.summary(run, top)


class Counts:
    """What is kept of the examples that were added.

    Args:
        methods: M names, in the order of the run.
    """

    def __init__(self, methods: Sequence[str]) -> None:
        self.methods, self.pairs = tuple(methods), tuple(combinations(range(len(methods)), 2))
        self.examples = 0
        self.tally = Tally(COLUMNS + OWN * len(methods) + 2 * len(self.pairs))
        self.unexplained = [array("d") for _ in methods]
        self.explained: Counter[str] = Counter()
        self.targets: Counter[str] = Counter()
        self.tops = [TopTexts() for _ in methods]
        self.failures: Counter[tuple[str, str]] = Counter()

    def add(self, example: StoredExample) -> None:
        """Add an example."""
        self.examples += 1
        self.failures.update(
            (name, reason if len(self.failures) < REASONS else "another reason")
            for name, reason in example.errors.items()
        )
        attributions = example.attributions
        if not attributions:
            return
        several = list(attributions.values())
        parts = [break_down(several[0], equal_sizes_of(several))]
        for name, unexplained, tops in zip(self.methods, self.unexplained, self.tops, strict=True):
            parts.append(_numbers(attributions.get(name)))
            if name in attributions:
                self.explained[name] += 1
                self.targets[name] += len(attributions[name].targets)
                unexplained.extend(_unexplained(attributions[name]))
                tops.add(attributions[name])
        parts += self._agreement(attributions)
        self.tally.add(example.number, torch.cat(parts))

    def _agreement(self, attributions: Mapping[str, Attribution]) -> Iterator[Tensor]:
        """(pairs,) the correlation, and (pairs,) the overlap of each pair; NaN where one of both failed."""
        table = torch.full((2, len(self.methods), len(self.methods)), torch.nan, dtype=torch.float64)
        present = [number for number, name in enumerate(self.methods) if name in attributions]
        if len(present) > 1:
            comparison = Comparison(tuple(attributions[self.methods[number]] for number in present))
            rows, columns = np.ix_(present, present)
            table[0, rows, columns] = comparison.agreement()
            table[1, rows, columns] = comparison.overlap(TOP)
        for measured in table:
            yield torch.stack([measured[pair] for pair in self.pairs]) if self.pairs else measured[:0, 0]

    def summary(self, run: Run, top: int) -> Summary:
        """What the examples say, of which the run tells where they came from."""
        means = self.tally.means()
        equal, behind = means[:COLUMNS], means[COLUMNS:]
        own = [behind[OWN * number : OWN * (number + 1)] for number in range(len(self.methods))]
        agreement = behind[OWN * len(self.methods) :]
        settings = run.folder.settings
        return Summary(
            examples=self.examples,
            methods=tuple(
                SummarizedMethod(
                    name=name,
                    method_repr=settings["methods"][name],
                    examples=self.explained[name],
                    targets=self.targets[name],
                    seconds=own[number][SECONDS],
                    sink=own[number][SINK],
                    unexplained=_spread(self.unexplained[number]),
                )
                for number, name in enumerate(self.methods)
            ),
            breakdowns=tuple(_breakdowns(equal, own)),
            agreements=tuple(
                Agreement(self.methods[one], self.methods[two], correlation, overlap)
                for (one, two), correlation, overlap in zip(
                    self.pairs, agreement[: len(self.pairs)], agreement[len(self.pairs) :], strict=True
                )
            ),
            top_sources=tuple(
                each for name, tops in zip(self.methods, self.tops, strict=True) for each in tops.most(name, top)
            ),
            failures=tuple(FailedRows(*key, count) for key, count in self.failures.most_common()),
            top=TOP,
            facts=facts_of(settings),
        )


class TopTexts:
    """How often each text is the most important source. Of more than `TEXTS` the rarest half is forgotten."""

    def __init__(self) -> None:
        self.counts: dict[str, tuple[int, int, float]] = {}

    def add(self, attribution: Attribution) -> None:
        """Count the most important source of each target; of equal ones the first."""
        sizes = sizes_of(attribution)
        seen: set[str] = set()
        for row in sizes[~sizes.isnan().any(1)]:
            number = int(row.argmax())
            text = attribution.sources[number].text
            text = text.strip() or text
            targets, examples, share = self.counts.get(text, (0, 0, 0.0))
            self.counts[text] = targets + 1, examples + (text not in seen), share + float(row[number])
            seen.add(text)
        if len(self.counts) > TEXTS:
            self.counts = dict(sorted(self.counts.items(), key=_frequency)[: TEXTS // 2])

    def most(self, method: str, count: int) -> Iterator[TopSource]:
        """The most frequent ones."""
        for text, (targets, examples, share) in sorted(self.counts.items(), key=_frequency)[:count]:
            yield TopSource(method, text, targets, examples, share / targets)


def _frequency(item: tuple[str, tuple[int, int, float]]) -> tuple[float, ...]:
    targets, examples, share = item[1]
    return -targets, -examples, -share


def _numbers(attribution: Attribution | None) -> Tensor:
    """(OWN,) all that a tally keeps of a method in an example; NaN where it failed."""
    if attribution is None:
        return torch.full((OWN,), torch.nan, dtype=torch.float64)
    sink = torch.nan
    if attribution.sink is not None:
        sink = mean_over_targets(attribution.shares[:, attribution.sink].abs())
    seconds = attribution.provenance.seconds or torch.nan  # the log does not tell
    own = torch.tensor([seconds, sink], dtype=torch.float64)
    return torch.cat([break_down(attribution, sizes_of(attribution)), own])


def _unexplained(attribution: Attribution) -> list[float]:
    """The share of the total that the scores miss, if the method tells."""
    delta, total = (attribution.diagnostics.get(name) for name in ("convergence_delta", "total"))
    if delta is None or total is None:
        return []
    missed, sizes = (float(each.values.double().abs().nansum()) for each in (delta, total))
    return [missed / sizes] if sizes else []


def _spread(numbers: array[float]) -> Spread:
    if not numbers:
        return Spread(torch.nan, torch.nan, 0)
    median, ninety = np.quantile(np.array(numbers), [0.5, 0.9]).tolist()
    return Spread(median, ninety, len(numbers))


def _breakdowns(equal: Sequence[Mean], own: Sequence[Sequence[Mean]]) -> Iterator[Breakdown]:
    """The breakdowns, with the categories that have sources."""
    column = 0
    for division in DIVISIONS:
        categories = []
        for name in division.categories:
            if equal[column].prompts and equal[column].value > 0:
                categories.append(Category(name, equal[column].value, tuple(each[column] for each in own)))
            column += 1
        yield Breakdown(division.name, division.meaning, tuple(categories))


def facts_of(settings: Mapping[str, Any]) -> dict[str, str]:
    """Where the numbers of a run came from: the model, the question and the versions of its settings."""
    model = {name: text for name, text in settings["model"].items() if text not in ("None", "", "{}")}
    return {name: str(value) for name, value in {**model, **settings["question"], **settings["versions"]}.items()}
