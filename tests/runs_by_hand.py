"""What tests of runs share: a few examples, a method that costs little and fails on demand, the bytes of parts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from tokensal import Scores

RECORDS = [
    {"id": f"date {number}", "prompt": f"the {number}th of {month}, {year}"}
    for number, month, year in zip(
        range(4, 16),
        ["March", "May", "June", "July", "April", "August", "January", "October"] * 2,
        range(1960, 2020, 5),
        strict=False,
    )
]
ANSWERED = [{**record, "answer": "19"} for record in RECORDS]  # nothing is generated, which takes most of the time


@dataclass(frozen=True, kw_only=True)
class Recency:
    """The later a source, the higher its score; a text with "fail" in it fails, and one with "nan" is not a number."""

    name = "recency"
    summary = "the later, the better"
    paper = ""
    signed = False
    step: float = 1.0

    def __call__(self, example, engine):
        if "fail" in example.text:
            raise ValueError("the text says so")
        scores = self.step * torch.arange(len(example.units), dtype=torch.float32).expand(len(example.groups), -1)
        if "nan" in example.text:
            scores = scores * torch.nan
        return Scores(scores, torch.zeros(len(example.groups)))


def parts(folder) -> dict[str, bytes]:
    """The bytes of each part by its name; nothing else may be there but what is half written."""
    files = {path.name: path.read_bytes() for path in sorted((Path(folder) / "parts").iterdir())}
    return {name: content for name, content in files.items() if not name.endswith(".tmp")}


def half_written(folder) -> list[str]:
    """The names of files that nobody finished."""
    return [path.name for path in Path(folder).rglob("*.tmp")]
