"""Which aggregation over the targets points at the evidence: the sum of the scores, or the mean share?

    python tests/benchmarks/aggregation.py [--prompts 16] [--seed 0] [--methods 'gradient,lrp']

A heatmap opens with one view of all targets. The sum adds up their scores, so that the least expected target can
dominate it. The mean share divides the scores of each target by the sum of their magnitudes first.

1. dates: the embedded model writes year, month and day (`dates.py`); the evidence is the three words that say them.
2. key_value and needle: the default model copies a word (`prompts.py`) and goes on, TOKENS tokens in all; the evidence
   is that word.

Sources of the prompt are ranked by magnitude, as a heatmap ranks them, the first token of the decoder left out.
top: whether the best source is evidence. recall: how much of the evidence is among the best three.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

import tokensal
from tokensal.types import Role

sys.path.insert(0, str(Path(__file__).parent))
import dates  # a folder of scripts, not a package
import prompts
from localisation import interval, names, top_count

TOKENS = 8  # of an answer that begins with the evidence
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
        yield name, top_count(values, wanted, 1), top_count(values, wanted, best) / min(best, int(wanted.sum()))


def of_dates(method: str, count: int, seed: int) -> Iterator[Example]:
    model = tokensal.load("dates", device="cpu")
    written, _ = dates.accepted(model, dates.held_out(count, seed), seed)
    for date in written:
        result = tokensal.attribute(model, date.text, continuation=date.iso, method=method)
        yield result, torch.stack([dates.evidence(result, date, part) for part in dates.PARTS]).any(0)


def of_prompts(model: tokensal.CausalAdapter, method: str, questions: Sequence[prompts.Question]) -> Iterator[Example]:
    for question in questions:
        result = tokensal.attribute(model, question.prompt, max_new_tokens=TOKENS, method=method)
        yield result, prompts.evidence(question, result.sources)


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
    parser.add_argument("--prompts", type=int, default=16, help="of each kind; dates are ten times as many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", type=names, default=METHODS)
    parser.add_argument("--kinds", type=names, default=["dates", *prompts.SIZES])
    options = parser.parse_args()
    print("| prompts | method | n | sum: top | recall | mean share: top | recall |\n|---|---|---:|---|---:|---|---:|")
    if "dates" in options.kinds:
        for method in options.methods:
            print(row("dates", method, of_dates(method, 10 * options.prompts, options.seed)), flush=True)
    model = tokensal.load(dtype="float32") if options.kinds != ["dates"] else None
    for kind in options.kinds:
        if kind in prompts.SIZES:
            questions = prompts.accepted(model, kind, options.prompts, options.seed)
            for method in options.methods:
                print(row(kind, method, of_prompts(model, method, questions)), flush=True)


if __name__ == "__main__":
    main()
