"""How many examples should have their gradients taken together? Seconds of an example against examples in a forward.

    python tests/benchmarks/together.py [--sizes 20+1,40+4,60+10] [--counts 1,2,4,8,16] [--repeats 3] [--device cpu]

For each size, in tokens of a prompt and of its answer, input × gradient explains so many examples in one forward: the
answer as one, and each token of it. One example is what `attribute` does. Counts take turns, and the table has the
least seconds of an example, what that gains, and how many rows (tokens × examples) of a forward it is. `CPU_TOGETHER`
in `tokensal/engine/budget.py` bounds these. On a CPU, the seconds are those that one thread computes, which
other processes hardly disturb.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

import tokensal
from tokensal.engine import Engine
from tokensal.engine.reductions import dot
from tokensal.engine.together import gradients_together
from tokensal.perturbations.inputs import Unperturbed
from tokensal.types import Example, Group, HookPoint

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from common import cut  # a folder of scripts, not a package


def explain(adapter: tokensal.CausalAdapter, examples: Sequence[Example]) -> None:
    """The gradients of one example, or of several together."""
    engine = Engine(adapter)
    if len(examples) == 1:
        list(engine.gradients(examples[0], Unperturbed(engine.embed(examples[0])), dot))
    else:
        gradients_together(engine, examples, dot, at=HookPoint.EMBEDDINGS, layers=())


def clock_of(device: str) -> Callable[[], float]:
    """The seconds that this process has computed; on an accelerator, those that have passed until it is done."""
    if device == "cpu":
        return time.process_time

    def passed() -> float:
        torch.accelerator.synchronize()
        return time.perf_counter()

    return passed


def least(adapter: tokensal.CausalAdapter, example: Example, counts: Sequence[int], repeats: int) -> dict[int, float]:
    """For each count, the least seconds of an example."""
    clock, times = clock_of(adapter.device.type), dict.fromkeys(counts, float("inf"))
    explain(adapter, [example])  # to warm up
    for _ in range(repeats):
        for count in counts:
            started = clock()
            explain(adapter, [example] * count)
            times[count] = min(times[count], (clock() - started) / count)
    return times


def table(adapter: tokensal.CausalAdapter, sizes: Sequence[str], counts: Sequence[int], repeats: int) -> None:
    """Print Markdown, one row for each size as it is measured."""
    print("| prompt + answer, targets | one, s | " + " | ".join(f"{count} together" for count in counts[1:]) + " |")
    print("|---|---:|" + "---:|" * len(counts[1:]))
    for size in sizes:
        prompt, answer = map(int, size.split("+"))
        task = cut(adapter.tokenizer, prompt, answer)
        example = adapter.example(task.prompt_ids, continuation=task.target_ids)
        whole = replace(example, groups=(Group(tuple(range(answer))),))
        for name, each in [("output", whole), ("tokens", example)][: 1 + (answer > 1)]:
            times = least(adapter, each, counts, repeats)
            cells = [f"× {times[1] / times[count]:.2f} ({count * len(each.sources)})" for count in counts[1:]]
            print(f"| {size}, {name} | {times[1]:.3f} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="20+1,40+4,60+10")
    parser.add_argument("--counts", default="1,2,4,8,16")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    adapter = tokensal.load(dtype="float32", device=options.device)
    table(adapter, options.sizes.split(","), list(map(int, options.counts.split(","))), options.repeats)


if __name__ == "__main__":
    main()
