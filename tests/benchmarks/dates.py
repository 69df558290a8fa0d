"""How often methods point at the year, month and day: a table on the embedded model `dates`, whose alignment is known.

    python tests/benchmarks/dates.py [--dates 200] [--seed 1] [--methods 'occl*'] [--sweep grad_cam]

1. Draw days that the model was not trained on, and write them in random wordings (`tokensal.evaluation.suites.dates`);
   those in which a number stands twice are not drawn.
2. Leave out those that the model misreads, and those whose evidence is not proved: with another year, month or day
   written in the same place, that part of the answer must follow, and no other.
3. Explain the answer by each method. For each part, rank the tokens that the encoder reads, without special tokens;
   the decoder's own are left out, too. Signed methods are ranked by their scores, and once more by magnitude: |…|.
4. top-1, the pointing game: whether the best token is the one that says this part. Intervals are bootstrap ones of
   95 %, in which a date is drawn with all of its parts.

`random` is exact, since ties count by their expected value.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from localisation import AS_IS, MAGNITUDE, SWEEPS, Random, interval, matching, names  # a folder of scripts, no package

import tokensal
from tokensal.evaluation.localisation import PointingGame
from tokensal.evaluation.metric import trial_of
from tokensal.evaluation.prompts.prompt import Prompt
from tokensal.evaluation.suites import suite
from tokensal.methods import Method
from tokensal.types import Diagnostics

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


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One method on one date.

    Attributes:
        hits: for each ranking (by score and, where signed, by magnitude), whether it points at year, month and day:
            from 0 to 1.
        seconds: how long the method took for the three.
        diagnostics: what the method measured about its own error.
    """

    hits: Mapping[str, tuple[float, ...]]
    seconds: float
    diagnostics: Diagnostics


# How it is measured


def read(model: tokensal.Seq2SeqAdapter, method: Method, prompt: Prompt) -> Reading:
    """Explain year, month and day, of the answer which was generated or would be."""
    trial = trial_of(prompt, model)
    result = trial.case.explain(method)
    rankings = {AS_IS: False, MAGNITUDE: True} if result.signed else {AS_IS: False}
    pointed = {
        name: tuple(PointingGame(magnitude=magnitude)(trial, result).tolist()) for name, magnitude in rankings.items()
    }
    return Reading(pointed, result.provenance.seconds, result.diagnostics)


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
    parser.add_argument("--dates", type=int, default=200, help="how many count")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--methods", type=names, default=["*"], help="patterns of names, such as grad*")
    parser.add_argument("--sweep", choices=SWEEPS, help="options of a method instead")
    options = parser.parse_args()
    methods = matching(SWEEPS[options.sweep] if options.sweep else METHODS, options.methods)
    model = tokensal.load("dates", device="cpu")
    [sample] = suite("dates", model, options.dates, options.seed)
    print(f"{sample.tried} dates, seed {options.seed}: {sample.misread} misread, {sample.unproved} unproved\n")
    print("| method | year | month | day | all | s | residual |\n|---|---|---|---|---|---:|---|")
    for name, method in methods.items():
        print(*rows(name, [read(model, method, prompt) for prompt in sample.prompts]), sep="\n", flush=True)


if __name__ == "__main__":
    main()
