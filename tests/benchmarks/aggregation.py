"""Which aggregation over the targets points at the evidence: the sum of the scores, or the mean share?

    python tests/benchmarks/aggregation.py [--prompts 12] [--seed 0] [--methods 'gradient,lrp']

A heatmap opens with one view of all targets. The sum adds up their scores, so that the least expected target can
dominate it. The mean share divides the scores of each target by the sum of their magnitudes first.

1. dates: the embedded model writes year, month and day (`tokensal.evaluation.suites.dates`); the evidence is the three
   words that say them.
2. facts: after facts about several people, the default model reads two of them once more, in one sentence. The evidence
   is the two values in the facts; the model must expect each less when other values stand there.

Sources of the prompt are ranked by magnitude, as a heatmap ranks them, the first token of the decoder left out.
top: whether the best source is evidence. recall: how much of the evidence is among the best three.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

import tokensal
from tokensal.engine import Engine
from tokensal.scores import logprob
from tokensal.types import Role

sys.path.insert(0, str(Path(__file__).parent))
from localisation import interval, names  # a folder of scripts, not a package

from tokensal.evaluation.localisation import gold_among_best
from tokensal.evaluation.metric import trial_of
from tokensal.evaluation.suites import suite
from tokensal.evaluation.suites.kind import draw_distinct
from tokensal.evaluation.suites.vocabulary import NAMES, RELATIONS, Relation

FACTS = (3, 5)  # in a prompt, two of which are read once more
LOSS = 1.0  # nats that a value must lose without its evidence
METHODS = ("gradient", "input_x_gradient", "lrp", "attention_grad_cam", "occlusion")

Example = tuple[tokensal.Attribution, Tensor]  # with which sources are evidence: (S,) bool


def aggregations(scores: Tensor) -> dict[str, Tensor]:
    """(K, S) → (S,) for each aggregation; what a target does not see is NaN, and adds nothing."""
    scores = scores.nan_to_num()
    shares = scores / scores.abs().sum(1, keepdim=True).clamp_min(torch.finfo(scores.dtype).tiny)
    return {"sum": scores.sum(0), "mean share": shares.mean(0)}


def hits(result: tokensal.Attribution, relevant: Tensor) -> Iterator[tuple[str, float, float]]:
    """For each aggregation, whether it points at the evidence, and how much of that is among the best three."""
    others = torch.arange(len(relevant)) != result.encoder  # which is the first token that the decoder reads
    ranked = torch.tensor([source.role is Role.PROMPT and not source.special for source in result.sources])
    ranked, seen = ranked[others], result.scores[:, others]
    for name, values in aggregations(seen).items():
        values, wanted = values[ranked].abs(), relevant[others][ranked]
        best = min(3, len(values))
        among = (gold_among_best(values, wanted, places) for places in (1, best))
        yield name, next(among), next(among) / min(best, int(wanted.sum()))


def of_dates(method: str, count: int, seed: int) -> Iterator[Example]:
    model = tokensal.load("dates", device="cpu")
    [sample] = suite("dates", model, count, seed)
    for prompt in sample.prompts:
        trial = trial_of(
            replace(prompt, targets="token", gold=tuple(replace(each, target=None) for each in prompt.gold)), model
        )
        yield trial.case.explain(method), trial.gold


@dataclass(frozen=True)
class Facts:
    """Facts about people, two of which are read once more, and the values of these."""

    relation: Relation
    people: tuple[tuple[str, str], ...]
    pair: tuple[int, int]

    @property
    def sentences(self) -> list[str]:
        return [self.relation.fact.format(name, value) for name, value in self.people]

    @property
    def prompt(self) -> str:
        return f"{' '.join(self.sentences)} In other words:"

    @property
    def continuation(self) -> str:
        return f" {' and '.join(self.sentences[each].removesuffix('.') for each in self.pair)}."

    def with_other_values(self) -> Facts:
        """The same about the same people, but for the values of the two, which then stand nowhere."""
        known = {value for _, value in self.people}
        others = (value for value in self.relation.values if value not in known)
        people = [
            (name, next(others) if each in self.pair else value) for each, (name, value) in enumerate(self.people)
        ]
        return Facts(self.relation, tuple(people), self.pair)

    def values(self, text: str) -> list[tuple[int, int]]:
        """Where the two values stand in a text, the first time."""
        values = [self.people[each][1] for each in self.pair]
        return [(text.index(value), text.index(value) + len(value)) for value in values]


def draw(rng: random.Random) -> Facts:
    relation = rng.choice([each for each in RELATIONS if each.fact.endswith("{}.")])
    count = rng.randint(*FACTS)
    people = zip(rng.sample(NAMES, count), draw_distinct(relation.values, rng), strict=False)
    return Facts(relation, tuple(people), tuple(rng.sample(range(count), 2)))


def proved(model: tokensal.CausalAdapter, facts: Facts) -> bool:
    """Whether the first tokens of both values become less likely when others stand in their place in the facts."""
    engine = Engine(model, logprob)
    example, other = (
        model.example(prompt, continuation=facts.continuation)
        for prompt in (facts.prompt, facts.with_other_values().prompt)
    )
    loss = (engine.original(example) - engine.original(other)).flatten()
    starts = [len(facts.prompt) + start for start, _ in facts.values(facts.continuation)]
    firsts = [next(place for place, token in enumerate(example.targets) if token.stop > start) for start in starts]
    return bool((loss[firsts] > LOSS).all())


def accepted(model: tokensal.CausalAdapter, count: int, seed: int) -> list[Facts]:
    rng, facts = random.Random(seed), []
    while len(facts) < count:
        each = draw(rng)
        if proved(model, each):
            facts.append(each)
    return facts


def of_facts(model: tokensal.CausalAdapter, method: str, questions: Sequence[Facts]) -> Iterator[Example]:
    for each in questions:
        result = tokensal.attribute(model, each.prompt, continuation=each.continuation, method=method)
        spans = each.values(each.prompt)
        relevant = [any(unit.start < stop and unit.stop > start for start, stop in spans) for unit in result.sources]
        yield result, torch.tensor(relevant)


def row(kind: str, method: str, examples: Iterator[Example]) -> str:
    """A row for each aggregation."""
    readings = [list(hits(*example)) for example in examples]
    cells = [f"{kind} | {method} | {len(readings)}"]
    for column in zip(*readings, strict=True):
        _, tops, recalls = zip(*column, strict=True)
        cells.append(f"{fmean(tops):.2f} ({interval(tops)}) | {fmean(recalls):.2f}")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=12, help="of each kind; dates are ten times as many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", type=names, default=METHODS)
    parser.add_argument("--kinds", type=names, default=["dates", "facts"])
    options = parser.parse_args()
    print("| prompts | method | n | sum: top | recall | mean share: top | recall |\n|---|---|---:|---|---:|---|---:|")
    if "dates" in options.kinds:
        for method in options.methods:
            print(row("dates", method, of_dates(method, 10 * options.prompts, options.seed)), flush=True)
    if "facts" in options.kinds:
        model = tokensal.load(dtype="float32")
        questions = accepted(model, options.prompts, options.seed)
        for method in options.methods:
            print(row("facts", method, of_facts(model, method, questions)), flush=True)


if __name__ == "__main__":
    main()
