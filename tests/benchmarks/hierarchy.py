"""Does a hierarchy point where the method alone does, at a fraction of the forwards? Prompts of twenty passages.

    python tests/benchmarks/hierarchy.py [--prompts 40] [--seed 1] [--opened 1,2,3] [--methods '*lime*']

1. Draw prompts as those of `tokensal.evaluation.suites.retrieval`, with twenty passages, a line each, and a question to
   one of them. Two passages tell of what is asked, of different villages, and the others of other things: where all
   twenty are alike, SmolLM2 answers few prompts rightly. Keep those whose answer is right and follows a swap.
2. Leave out each word, one at a time: 'occlusion' of words. Its best passage is that with the largest sum of scores,
   its best word that with the largest score. Words of the question and of the beginning of the answer take part.
3. Explain the same prompts by hierarchies around several methods, and by two of these without one. Count distinct
   coalitions, which are forwards.

* forwards: the mean of their number, and of its share of leave-one-out's.
* passage, word: how often the best passage and the best word are leave-one-out's, with a bootstrap 95 % interval.
* gold: how often the best word is one that the answer is copied from; of leave-one-out, in its own row.
* where words differ: in how many prompts the best word is another than leave-one-out's, and in how many of these it is
  gold, and leave-one-out's is.
"""

from __future__ import annotations

import argparse
import random
import sys
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

PASSAGES, ALIKE = 20, 2
MORE_VILLAGES = ("Ashby", "Burwell", "Cawthorne", "Dalby", "Egham", "Fenwick", "Hadley", "Ketton", "Lydford", "Morland")
KEPT = ("sink", "special", "template")
ALONE = Occlusion(keep=KEPT)


def draw(rng: random.Random, depth: float, id: str) -> Prompt:
    """Passages about villages, with the relevant one at that depth."""
    villages = rng.sample([*VILLAGES, *MORE_VILLAGES], PASSAGES)
    relevant, asked_for = int(depth * PASSAGES), rng.choice(TOPICS)
    alike = {relevant, *rng.sample([number for number in range(PASSAGES) if number != relevant], ALIKE - 1)}
    value, other, *rest = rng.sample(asked_for.values, len(asked_for.values))
    beside = [topic for topic in TOPICS if topic is not asked_for]
    text = Text(separator="\n")
    for number, village in enumerate(villages):
        topic = asked_for if number in alike else rng.choice(beside)
        told = value if number == relevant else rng.choice(rest if topic is asked_for else topic.values)
        text.add(f"[{number + 1}] {topic.sentence}", **{f"village {number}": village, f"value {number}": told})
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
    """Hierarchies by name, and what samples without one, as often as a hierarchy of two levels does."""
    inner = {
        "occlusion": ALONE,
        "lime 20": LIME(samples=20),
        "context_cite 20": ContextCite(samples=20),
        "kernel_shap 256": KernelSHAP(samples=256),
    }
    hierarchies = {
        f"hierarchical {name}, opened {count}": Hierarchical(method=method, opened=count)
        for name, method in inner.items()
        for count in opened
    }
    return {**hierarchies, "lime 40": LIME(samples=40), "context_cite 40": ContextCite(samples=40)}


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
    apart = [(one.gold, other.gold) for one, other in pairs if one.word != other.word]
    cells = [
        name,
        f"{fmean(one.forwards for one in readings):.0f}",
        f"{fmean(shares):.2f}, at most {max(shares):.2f}",
        *(f"{fmean(hits):.2f} ({interval(hits)})" for hits in same),
        f"{fmean(one.gold for one in readings):.2f}",
        f"{len(apart)}: {sum(one for one, _ in apart)}, {sum(other for _, other in apart)}",
        f"{fmean(one.seconds for one in readings):.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def readings_of(prompt: Prompt, model: tokensal.CausalAdapter, compared: Mapping[str, Method]) -> dict[str, Reading]:
    """What each method says of a prompt, leave-one-out first."""
    trial = trial_of(prompt, model, question=tokensal.Question(unit="word"))
    passages = passages_of(prompt, trial)
    return {name: read(trial, method, passages) for name, method in {"leave-one-out": ALONE, **compared}.items()}


def measure(
    model: tokensal.CausalAdapter, compared: Mapping[str, Method], prompts: Sequence[Prompt]
) -> list[dict[str, Reading]]:
    """A prompt after another; Ctrl-C ends it with those that are complete."""
    measured: list[dict[str, Reading]] = []
    try:
        for prompt in prompts:
            measured.append(readings_of(prompt, model, compared))
            print(f"{len(measured)} of {len(prompts)}", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print(f"Interrupted after {len(measured)} prompts.", file=sys.stderr)
    return measured


def table(measured: Sequence[Mapping[str, Reading]]) -> None:
    """Print Markdown."""
    print("| method | forwards | share | same passage | same word | gold | where words differ | s |")
    print("|---|---:|---:|---|---|---:|---|---:|")
    alone = [readings["leave-one-out"] for readings in measured]
    for name in measured[0] if measured else ():
        print(row(name, [readings[name] for readings in measured], alone))


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
    measured = measure(model, compared, drawn.prompts)
    print(f"{len(measured)} prompts of {drawn.tried} drawn for {len(drawn.prompts)}, seed {options.seed}\n")
    table(measured)


if __name__ == "__main__":
    main()
