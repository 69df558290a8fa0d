"""How exact are the areas of curves with few steps? Default steps and even ones, against forty.

    python tests/benchmarks/curve_steps.py [--kinds facts,retrieval,reordering] [--count 4] [--seed 1]

1. Draw prompts that SmolLM2 answers from the evidence, and explain them by the methods that `tokensal evaluate` takes,
   and by its baselines.
2. Score the curves of each at forty even steps, among which are those of all others that are compared.
3. Compare the areas: of each method the mean of (area − area by forty steps) over all prompts, of which the worst
   counts as bias; and the root mean square over prompts and methods. `tokens` are those of all prompts that the
   curves, and `comprehensiveness` and `sufficiency` beside them, let the model read: present units, without what
   shared prefixes save.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence

import torch
from localisation import names  # a folder of scripts, no package
from torch import Tensor

import tokensal
from tokensal.evaluation.building import named_methods, named_metrics
from tokensal.evaluation.curves import ABPC, CurveMetric, Deletion, Insertion
from tokensal.evaluation.metric import Trial, trial_of
from tokensal.evaluation.removal import score_together
from tokensal.evaluation.suites import suite
from tokensal.options import EVALUATED
from tokensal.results.attribution import Attribution

FINE = 40
COMPARED = (None, 5, 10, 20, FINE)
AREAS = (Deletion, Insertion, ABPC)


def tokens(trial: Trial, attributions: Sequence[Attribution], metric: CurveMetric) -> int:
    """How many units are present in the coalitions that are distinct, of curves and what is measured beside them."""
    beside = named_metrics(["comprehensiveness", "sufficiency"], ["mask"]).values()
    tables = [each.coalitions(trial, one) for each in (metric, *beside) for one in attributions]  # type: ignore[attr-defined]
    return int(torch.unique(torch.cat(tables), dim=0).sum())


def areas(trial: Trial, attributions: Sequence[Attribution], steps: int | None) -> Tensor:
    """(methods, metrics) means over the targets."""
    return torch.tensor(
        [[float(area(steps=steps)(trial, each).nanmean()) for area in AREAS] for each in attributions],
        dtype=torch.float64,
    )


def row(label: str, values: Sequence[Tensor], exact: Sequence[Tensor], work: int, most: int) -> str:
    """A row of the table, in Markdown."""
    errors = torch.stack(list(values)) - torch.stack(list(exact))
    bias, spread = errors.nanmean(0).abs().amax(0), errors.square().nanmean((0, 1)).sqrt()
    cells = [f"{float(one):.3f} ({float(other):.3f})" for one, other in zip(bias, spread, strict=True)]
    return f"| {label} | {' | '.join(cells)} | {work / most:.2f} |"


def table(measured: Mapping[int | None, Sequence[Tensor]], work: Mapping[int | None, int]) -> None:
    """Print Markdown: of each number of steps the worst bias and the root mean square of each area."""
    print(f"| steps | {' | '.join(f'{area.name}: bias (rms)' for area in AREAS)} | tokens |")
    print("|---|---:|---:|---:|---:|")
    for steps, values in measured.items():
        print(row(str(steps or "default"), values, measured[FINE], work[steps], work[10]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", type=names, default=["facts", "retrieval", "reordering"])
    parser.add_argument("--count", type=int, default=4, help="prompts of each kind")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    model, methods = tokensal.load(), named_methods(EVALUATED)
    prompts = [
        prompt
        for kind in options.kinds
        for sample in suite(kind, model, options.count, options.seed)
        for prompt in sample.prompts
    ]
    measured: dict[int | None, list[Tensor]] = {steps: [] for steps in COMPARED}
    work = dict.fromkeys(COMPARED, 0)
    for prompt in prompts:
        trial = trial_of(prompt, model)
        attributions = [trial.explain(method) for method in methods.values()]
        score_together(trial, attributions, [ABPC(steps=FINE)])
        for steps in COMPARED:
            measured[steps].append(areas(trial, attributions, steps))
            work[steps] += tokens(trial, attributions, ABPC(steps=steps))
        print(prompt.id, file=sys.stderr, flush=True)
    print(f"{len(measured[FINE])} prompts of {', '.join(options.kinds)}, seed {options.seed}\n")
    table(measured, work)


if __name__ == "__main__":
    main()
