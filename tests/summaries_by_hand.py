"""Attributions and runs of which every share is known, for tests of summaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from evaluations import HOSTILE

from tokensal.evaluation.prompts.prompt import Prompt
from tokensal.results.attribution import Attribution, Provenance
from tokensal.results.statistics import Mean
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
from tokensal.runs.explaining import Explained
from tokensal.runs.folder import Folder
from tokensal.runs.rows import error_row, row_of
from tokensal.runs.source import Entry
from tokensal.types import Diagnostic, Role, Unit

NAN = float("nan")
SOURCES = (
    ("<s>", Role.PROMPT),
    (" The", Role.PROMPT),
    (" 42", Role.PROMPT),
    (",", Role.PROMPT),
    (" a", Role.GENERATED),
)
SETTINGS = {
    "schema": "tokensal/run", "version": 1, "model": {"model": "hand-made", "dtype": "float32", "revision": "None"},
    "question": {"score": "logprob"}, "generation": {}, "reading": {}, "source": {}, "part_size": 2, "versions": {},
}  # fmt: skip


def attribution(scores: Sequence[Sequence[float]], method: str = "one", seconds: float = 0.5) -> Attribution:
    """Two targets of the four sources of a prompt, whose first one is the sink; the second target sees the first."""
    units, start = [], 0
    for number, (text, role) in enumerate((*SOURCES, (" b", Role.GENERATED))):
        units.append(Unit((number,), text, start, start + len(text), role, special=number == 0))
        start += len(text)
    table = torch.tensor(scores, dtype=torch.float32)
    return Attribution(
        text="".join(unit.text for unit in units),
        sources=tuple(units[:5]),
        targets=tuple(units[4:]),
        scores=table,
        visible=~table.isnan(),
        values=torch.tensor([-1.0, -2.0]),
        signed=True,
        sink=0,
        provenance=Provenance(
            "hand-made", None, "", "float32", "cpu", "sdpa", method, f"{method.title()}()", "logprob", seconds=seconds
        ),
        diagnostics={
            "total": Diagnostic(torch.tensor([4.0, -4.0])),
            "convergence_delta": Diagnostic(torch.tensor([0.2, -0.6])),
        },
    )


ONE = [[8.0, 1.0, -2.0, 1.0, NAN], [9.0, 0.0, 1.0, 0.0, 3.0]]
OTHER = [[8.0, 2.0, 1.0, -1.0, NAN], [9.0, 1.0, -1.0, 4.0, 4.0]]


def written(
    folder: Path,
    examples: Sequence[Mapping[str, Attribution | str]],
    methods: Sequence[str] = ("one", "two"),
    part_size: int = 2,
) -> Path:
    """The folder of a run of those examples: for each method an attribution, or why there is none."""
    settings = {**SETTINGS, "part_size": part_size, "methods": {name: f"{name.title()}()" for name in methods}}
    begun = Folder.begin(folder, settings)
    for start in range(0, len(examples), part_size):
        rows = []
        for number, example in enumerate(examples[start : start + part_size], start):
            entry = Entry(number, f"id {number}", Prompt(id=f"id {number}", prompt="x"))
            for name in methods:
                made = example[name]
                row = error_row(entry, name, made) if isinstance(made, str) else row_of(entry, name, made)
                rows.append(Explained(row, 1.0, 0.0 if isinstance(made, str) else made.provenance.seconds))
        begun.write(start // part_size, rows)
    return folder


def summary() -> Summary:
    """A summary of two methods with one breakdown."""
    mean, other, none = Mean(0.25, 0.2, 0.3125, 9, 1), Mean(0.75, 0.7, 0.8, 10, 0), Mean(NAN, NAN, NAN, 0, 10)
    return Summary(
        examples=10,
        methods=(
            SummarizedMethod("one", "One()", 9, 18, mean, none, Spread(0.01, 0.123, 9)),
            SummarizedMethod("two", "Two(rule='x')", 10, 20, Mean(2.5, 2.0, 3.0, 10, 0), other, Spread(NAN, NAN, 0)),
        ),
        breakdowns=(
            Breakdown("role", "where", (Category("user", 0.6, (mean, other)), Category("system", 0.4, (other, mean)))),
        ),
        agreements=(Agreement("one", "two", Mean(-0.5, -0.6, -0.4, 9, 1), other),),
        top_sources=(TopSource("one", "Paris", 6, 5, 0.5), TopSource("two", "Rome", 3, 3, 0.875)),
        failures=(FailedRows("one", "The text says so.", 1),),
        top=5,
        facts={"model": "hand-made", "score": "logprob"},
        config={"x": 1},
    )


def hostile() -> Summary:
    """Names, texts and reasons that no format may take for its own."""
    plain = summary()
    first, second, third, fourth = HOSTILE
    renamed = (replace(plain.methods[0], name=first, method_repr=second), *plain.methods[1:])
    category = replace(plain.breakdowns[0].categories[0], name=third)
    return replace(
        plain,
        methods=renamed,
        breakdowns=(replace(plain.breakdowns[0], name=second, categories=(category,)),),
        agreements=(replace(plain.agreements[0], first=fourth),),
        top_sources=tuple(TopSource(first, text, 1, 1, 0.5) for text in HOSTILE),
        failures=(FailedRows(third, fourth, 2),),
        facts={first: second, third: fourth},
    )
