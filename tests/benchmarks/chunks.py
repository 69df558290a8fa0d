"""How many cotangents should go through the body at once on a CPU? Seconds per target against cotangents per chunk.

    python tests/benchmarks/chunks.py [--lengths 70,240,600] [--chunks 1,2,3,4,6,8,12,24] [--repeats 3]

For each length, every chunk size does the vector-Jacobian products of the same 24 targets, in turns; the table has
the median seconds per target, and how many rows (tokens × cotangents) that is. `CPU_ROWS` in
`tokensal/engine/budget.py` is chosen from it. The forward and the head are not counted.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

import tokensal
from tokensal.engine import Budget, Engine
from tokensal.engine.reductions import dot
from tokensal.perturbations.inputs import PerturbedInputs
from tokensal.types import Example, Forward

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from common import THREADS, cut  # a folder of scripts, not a package

TARGETS = 24


class Stopwatch:
    """An adapter that notes when its forward was done; everything else is the adapter it wraps."""

    def __init__(self, adapter: tokensal.CausalAdapter) -> None:
        self.adapter = adapter
        self.forwarded = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.adapter, name)

    def forward(self, example: Example, perturbed: PerturbedInputs, states: Any = None) -> Forward:
        forward = self.adapter.forward(example, perturbed, states)
        self.forwarded = time.perf_counter()
        return forward


def seconds_per_target(adapter: Stopwatch, example: Example, chunk: int) -> float:
    """One run of all targets, `chunk` cotangents at a time."""
    engine = Engine(adapter, budget=Budget(rows=chunk * len(example.sources)))
    list(engine.gradients(example, PerturbedInputs(engine.embed(example)[None]), dot))
    return (time.perf_counter() - adapter.forwarded) / len(example.targets)


def medians(adapter: Stopwatch, length: int, chunks: list[int], repeats: int) -> dict[int, float]:
    """For each chunk size, the median over repetitions taken in turns."""
    task = cut(adapter.tokenizer, length - TARGETS + 1, TARGETS)
    example = adapter.example(task.prompt_ids, continuation=task.target_ids)
    seconds_per_target(adapter, example, chunks[0])  # to warm up
    times: dict[int, list[float]] = {chunk: [] for chunk in chunks}
    for _ in range(repeats):
        for chunk in chunks:
            times[chunk].append(seconds_per_target(adapter, example, chunk))
    return {chunk: median(found) for chunk, found in times.items()}


def table(adapter: Stopwatch, lengths: list[int], chunks: list[int], repeats: int) -> None:
    """Print Markdown, one row for each length as it is measured; the best of a row is bold."""
    print("| sources | " + " | ".join(f"{chunk} at once" for chunk in chunks) + " | rows of the best |")
    print("|---:|" + "---:|" * (len(chunks) + 1))
    for length in lengths:
        found = medians(adapter, length, chunks, repeats)
        best = min(found, key=lambda chunk: found[chunk])
        cells = [f"**{value:.4f}**" if chunk == best else f"{value:.4f}" for chunk, value in found.items()]
        print(f"| {length} | " + " | ".join(cells) + f" | {best * length} |", flush=True)


def numbers(text: str) -> list[int]:
    """`1,2,4` as numbers."""
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=numbers, default=[70, 240, 600])
    parser.add_argument("--chunks", type=numbers, default=[1, 2, 3, 4, 6, 8, 12, 24])
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    adapter = Stopwatch(tokensal.load(dtype="float32", device="cpu"))
    table(adapter, options.lengths, options.chunks, options.repeats)


if __name__ == "__main__":
    main()
