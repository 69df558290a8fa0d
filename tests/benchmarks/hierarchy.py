"""Does a hierarchy point where the method alone does, at a fraction of the forwards? Prompts of twenty passages.

    python tests/benchmarks/hierarchy.py [--prompts 40] [--seed 1] [--opened 1,2,3] [--methods '*lime*']

1. Draw prompts as those of `tokensal.evaluation.suites.retrieval`, with twenty passages of three sentences, a line
   each, and a question to one of them. Keep those that the model answers rightly, and whose answer follows a swap of
   the value.
2. Leave out each word, one at a time: 'occlusion' of words. Its best passage is that with the largest sum of scores,
   its best word that with the largest score. Words of the question and of the beginning of the answer take part.
3. Explain the same prompts by hierarchies around several methods, and count distinct coalitions, which are forwards.

* forwards: the mean of their number, and of its share of leave-one-out's.
* passage, word: how often the best passage and the best word are leave-one-out's, with a bootstrap 95 % interval.
* gold: how often the best word is one that the answer is copied from; of leave-one-out, in its own row.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean

import torch
from localisation import interval, matching, names  # a folder of scripts, no package
from torch import Tensor

import tokensal
from tokensal.evaluation.metric import Trial, trial_of
from tokensal.evaluation.prompts.prompt import Prompt, Swap
from tokensal.evaluation.suites.acceptance import answers_rightly, sample
from tokensal.evaluation.suites.kind import Kind, Text
from tokensal.evaluation.suites.retrieval import TOPICS, VILLAGES
from tokensal.methods import LIME, ContextCite, Hierarchical, KernelSHAP, Method, Occlusion

PASSAGES, SENTENCES = 20, 3
MORE_VILLAGES = ("Ashby", "Burwell", "Cawthorne", "Dalby", "Egham", "Fenwick", "Hadley", "Ketton", "Lydford", "Morland")
KEPT = ("sink", "special", "template")
ALONE = Occlusion(keep=KEPT)


def draw(rng: random.Random, depth: float, id: str) -> Prompt:
    """Passages about villages, with the relevant one at that depth. Values may repeat, but not the one asked for."""
    villages = rng.sample([*VILLAGES, *MORE_VILLAGES], PASSAGES)
    relevant, topics = int(depth * PASSAGES), rng.sample(TOPICS, SENTENCES)
    asked_for = topics[0]
    value, other, *rest = rng.sample(asked_for.values, len(asked_for.values))
    told = rng.sample(topics, SENTENCES)
    text = Text(separator="\n")
    for number, village in enumerate(villages):
        pieces: dict[str, str] = {}
        for topic in told:
            values = topic.values if topic is not asked_for else [value] if number == relevant else rest
            key = f"{number} {told.index(topic)}" if topic is not asked_for else f"{number}"
            pieces |= {f"village {key}": village, f"value {key}": rng.choice(values)}
        text.add(f"[{number + 1}] " + " ".join(topic.sentence for topic in told), **pieces)
    question, lead = (part.replace("{}", villages[relevant]) for part in (asked_for.question, asked_for.lead))
    text.add(f"Question: {question}\nAnswer: {lead}")
    return Prompt(
        id=id,
        kind="passages",
        prompt=text.text,
        continuation=f" {value}",
        targets=(0,),
        gold=text.gold(f"value {relevant}"),
        swaps=(Swap((text.edit(f"value {relevant}", other),), f" {other}"),),
        passages=tuple(text.passages),
    )


KIND = Kind("passages", "a question to twenty passages of which one is relevant; gold is the value in it", draw)


def methods(opened: Sequence[int]) -> dict[str, Method]:
    """Hierarchies by name."""
    inner = {
        "occlusion": ALONE,
        "lime 32": LIME(samples=32),
        "context_cite 32": ContextCite(samples=32),
        "kernel_shap 256": KernelSHAP(samples=256),
    }
    return {
        f"hierarchical {name}, opened {count}": Hierarchical(method=method, opened=count)
        for name, method in inner.items()
        for count in opened
    }


# How it is measured


@dataclass(frozen=True, slots=True)
class Reading:
    """One method on one prompt.

    Attributes:
        forwards: how many coalitions were scored.
        passage: which one is best.
        word: which unit is best.
        gold: whether that is gold.
        seconds: what it took.
    """

    forwards: int
    passage: int
    word: int
    gold: bool
    seconds: float


def read(trial: Trial, method: Method, passages: Tensor) -> Reading:
    """Explain the answer; passages are the number of each unit's (J,)."""
    started = time.perf_counter()
    scores = method(trial.case.example, trial.case.engine)
    seconds = time.perf_counter() - started
    assert scores.scored is not None and trial.gold is not None
    values = scores.matrix[0].where(scores.scored, -torch.inf)
    sums = torch.zeros(int(passages.max()) + 1, dtype=values.dtype).index_add(
        0, passages, values.where(scores.scored, 0)
    )
    counted = scores.diagnostics.get("coalitions")
    forwards = int(counted.values[0]) if counted else int(scores.scored.sum())
    best = int(values.argmax())
    return Reading(forwards, int(sums.argmax()), best, bool(trial.gold[..., best].any()), seconds)


def passages_of(prompt: Prompt, trial: Trial) -> Tensor:
    """(J,) the number of the passage that each unit stands in: the last that begins before it ends."""
    example = trial.case.example
    numbers = []
    for _, stop in example.units:
        place = example.sources[stop - 1].in_prompt
        ends = place[1] if place else 0
        numbers.append(sum(span.start < ends for span in prompt.passages))
    return torch.tensor(numbers)


def row(name: str, readings: Sequence[Reading], alone: Sequence[Reading]) -> str:
    """A row of the table, in Markdown."""
    pairs = list(zip(readings, alone, strict=True))
    shares = [one.forwards / other.forwards for one, other in pairs]
    same = [
        [float(one.passage == other.passage) for one, other in pairs],
        [float(one.word == other.word) for one, other in pairs],
    ]
    cells = [
        name,
        f"{fmean(one.forwards for one in readings):.0f}",
        f"{fmean(shares):.2f}, at most {max(shares):.2f}",
        *(f"{fmean(hits):.2f} ({interval(hits)})" for hits in same),
        f"{fmean(one.gold for one in readings):.2f}",
        f"{fmean(one.seconds for one in readings):.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def table(model: tokensal.CausalAdapter, compared: Mapping[str, Method], prompts: Sequence[Prompt]) -> None:
    """Print Markdown, the row of a method as soon as it is complete."""
    trials = [trial_of(prompt, model, question=tokensal.Question(unit="word")) for prompt in prompts]
    passages = [passages_of(prompt, trial) for prompt, trial in zip(prompts, trials, strict=True)]
    print("| method | forwards | share | same passage | same word | gold | s |")
    print("|---|---:|---:|---|---|---:|---:|", flush=True)
    alone = [read(trial, ALONE, each) for trial, each in zip(trials, passages, strict=True)]
    print(row("leave-one-out", alone, alone), flush=True)
    for name, method in compared.items():
        rows = [read(trial, method, each) for trial, each in zip(trials, passages, strict=True)]
        print(row(name, rows, alone), flush=True)


def numbers(text: str) -> list[int]:
    """`1,2` as a list."""
    return [int(each) for each in names(text)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=40, help="accepted prompts")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--opened", type=numbers, default=[1, 2, 3], help="passages that are opened on each level")
    parser.add_argument("--methods", type=names, default=["*"], help="patterns of names, such as '*lime*'")
    parser.add_argument("--model", help="another than the default one")
    options = parser.parse_args()
    compared = matching(methods(options.opened), options.methods)
    model = tokensal.load(*([options.model] if options.model else []), dtype="float32")
    drawn = sample(KIND, partial(answers_rightly, model), options.prompts, options.seed)
    print(f"{len(drawn.prompts)} prompts of {drawn.tried} drawn, seed {options.seed}\n")
    table(model, compared, drawn.prompts)


if __name__ == "__main__":
    main()
