"""How often methods point at the year, month and day: a table on the embedded model `dates`, whose alignment is known.

    python tests/benchmarks/dates.py [--dates 200] [--seed 1] [--methods 'occl*'] [--sweep grad_cam]

1. Draw days that the model was not trained on, and write them in random wordings (`examples/written_dates.py`).
2. Leave out those in which a number stands twice, those that the model misreads, and those whose evidence is not
   proved: with another year, month or day written in the same place, that part of the answer must follow, and no other.
3. Explain the answer by each method. For each part, rank the tokens that the encoder reads, without special tokens;
   the decoder's own are left out, too. Signed methods are ranked by their scores, and once more by magnitude: |…|.
4. top-1, the pointing game: whether the best token is the one that says this part. Intervals are bootstrap ones of
   95 %, in which a date is drawn with all of its parts.

`random` is exact, since ties count by their expected value.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

import tokensal
from tokensal.methods import Method
from tokensal.types import Diagnostics, Role

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from localisation import AS_IS, MAGNITUDE, SWEEPS, Random, interval, matching, names, top_count
from written_dates import PARTS, Written, held_out, swapped  # folders of scripts, not packages

# Only the text is explained; the part of the answer that is already written is held constant.
KEPT = ("sink", "special", "template", "generated")
METHODS: Mapping[str, Method] = {
    **{name: method() for name, method in tokensal.METHODS.items() if name != "shapley_values"},  # of 12 units at most
    "kernel_shap": tokensal.KernelSHAP(samples=128, keep=KEPT),
    "shapley_sampling": tokensal.ShapleySampling(samples=10, keep=KEPT),
    "owen_values": tokensal.OwenValues(samples=10, keep=KEPT),
    "integrated_gradients with the answer kept": tokensal.IntegratedGradients(keep=KEPT),
    "integrated_gradients from the mean with the answer kept": tokensal.IntegratedGradients(keep=KEPT, baseline="mean"),
    "random": Random(),
}
TARGETS = {part: 2 * index for index, part in enumerate(PARTS)}  # year, mark, month, mark, day


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One method on one date.

    Attributes:
        hits: for each ranking (by score and, where signed, by magnitude), whether it points at year, month and day:
            from 0 to 1.
        seconds: how long the method took for the whole answer.
        diagnostics: what the method measured about its own error.
    """

    hits: Mapping[str, tuple[float, ...]]
    seconds: float
    diagnostics: Diagnostics


# Which dates count


def verdict(model: tokensal.Seq2SeqAdapter, written: Written, rng: random.Random) -> str:
    """Whether the evidence of a date is proved: "accepted", or why not."""
    if written.ambiguous:
        return "ambiguous"
    if not right(model, written):
        return "misread"
    proved = all(right(model, swapped(written, part, rng)) for part in PARTS)
    return "accepted" if proved else "unproved"


def right(model: tokensal.Seq2SeqAdapter, written: Written) -> bool:
    """Whether the model, greedily, writes the date, and then ends."""
    *answer, end = model.example(written.text).targets
    return "".join(token.text for token in answer) == written.iso and end.special


def accepted(
    model: tokensal.Seq2SeqAdapter, written: Sequence[Written], seed: int
) -> tuple[list[Written], Counter[str]]:
    """The dates whose evidence is proved, and how many there are of each verdict."""
    rng = random.Random(f"swaps {seed}")
    verdicts = [verdict(model, date, rng) for date in written]
    return [date for date, result in zip(written, verdicts, strict=True) if result == "accepted"], Counter(verdicts)


# How it is measured


def read(model: tokensal.Seq2SeqAdapter, method: Method, written: Written) -> Reading:
    """Explain the five tokens of the answer, which was generated or would be."""
    result = tokensal.attribute(model, written.text, continuation=written.iso, method=method)
    pointed = [hits(result, written, part) for part in PARTS]
    rankings = {name: tuple(hit[name] for hit in pointed) for name in pointed[0]}
    return Reading(rankings, result.provenance.seconds, result.diagnostics)


def hits(result: tokensal.Attribution, written: Written, part: str) -> dict[str, float]:
    """Whether each ranking points at that part; of equals, what chance gives."""
    ranked = torch.tensor([source.role is Role.PROMPT and not source.special for source in result.sources])
    scores, relevant = result.scores[TARGETS[part]][ranked], evidence(result, written, part)[ranked]
    rankings = {AS_IS: scores, MAGNITUDE: scores.abs()} if result.signed else {AS_IS: scores}
    return {name: top_count(ranking, relevant, 1) for name, ranking in rankings.items()}


def evidence(result: tokensal.Attribution, written: Written, part: str) -> Tensor:
    """Which sources say that part of the date: (S,) bool."""
    start, stop = written.spans[part]
    return torch.tensor([source.start < stop and source.stop > start for source in result.sources])


# The report


def rows(name: str, readings: Sequence[Reading]) -> Iterator[str]:
    """Markdown rows of one method: one, or two where it is signed."""
    for ranking in readings[0].hits:
        hits_by_date = [reading.hits[ranking] for reading in readings]
        cells = [
            ranking.format(f"`{name}`" if ranking == AS_IS else name),
            *(share(part) for part in zip(*hits_by_date, strict=True)),
            share([fmean(parts) for parts in hits_by_date]),
            f"{fmean(reading.seconds for reading in readings):.2f}",
            certified([reading.diagnostics for reading in readings if "convergence_delta" in reading.diagnostics]),
        ]
        yield f"| {' | '.join(cells)} |"


def share(values: Sequence[float]) -> str:
    """The mean of what is between 0 and 1 for each date, and its interval."""
    return f"{fmean(values):.2f} ({interval(values)})"


def certified(diagnostics: Sequence[Diagnostics]) -> str:
    """How much of the change of a target's score is missed, in the median, and how often that is tolerated."""
    if not diagnostics:
        return ""
    missed = torch.cat(
        [entry["convergence_delta"].values.abs() / entry["total"].values.abs() for entry in diagnostics]
    ).median()
    reached = torch.cat([entry["convergence_delta"].reached for entry in diagnostics]).float().mean()
    return f"{missed:.1%}, {reached:.0%} reached"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dates", type=int, default=200, help="how many are drawn")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--methods", type=names, default=["*"], help="patterns of names, such as grad*")
    parser.add_argument("--sweep", choices=SWEEPS, help="options of a method instead")
    options = parser.parse_args()
    methods = matching(SWEEPS[options.sweep] if options.sweep else METHODS, options.methods)
    model = tokensal.load("dates", device="cpu")
    written, verdicts = accepted(model, held_out(options.dates, options.seed), options.seed)
    print(f"{options.dates} dates, seed {options.seed}: {', '.join(f'{n} {why}' for why, n in verdicts.items())}\n")
    print("| method | year | month | day | all | s | residual |\n|---|---|---|---|---|---:|---|")
    for name, method in methods.items():
        print(*rows(name, [read(model, method, date) for date in written]), sep="\n", flush=True)


if __name__ == "__main__":
    main()
