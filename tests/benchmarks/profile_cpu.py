"""Where the time goes on a CPU: the share of each class of operation, and the floor of the matrix products that ran.

    python tests/benchmarks/profile_cpu.py [--sizes 60x10] [--methods gradient,lrp] [--threads 2]

1. SmolLM2-135M-Instruct in float32 explains a short continuation to warm up, and then the tokens of a text, once as it
   is and once under PyTorch's profiler, which makes it slower: shares are of the profiled time.
2. An operation is of the class that its name says; a matrix product with the vocabulary among its sizes is the head's.
   What is of no operation is Python, autograd and the library: *between*.
3. The FLOPs of the matrix products that ran, at the rate of `peers/run_floor.py`, are the floor; attention kernels,
   which count no FLOPs here, are not in it. The last column is the time as it is to that floor.

Nothing here fails on timing; other work on the machine makes the seconds longer, and hardly moves the shares.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

import tokensal
from tokensal.engine.budget import CPU_ROWS

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from common import SENTENCES, THREADS  # a folder of scripts, not a package
from run_floor import body, rate

TRIES = 3
METHODS = ("gradient", "lrp", "integrated_gradients", "occlusion", "attention_grad_cam")
CLASSES = {
    "products": ("mm", "addmm", "bmm", "baddbmm", "linear", "matmul", "einsum"),
    "attention": ("scaled_dot_product",),
    "copies": (
        "copy_",
        "clone",
        "cat",
        "stack",
        "contiguous",
        "gather",
        "index",
        "scatter",
        "fill_",
        "zero_",
        "select",
    ),
}
HEADINGS = ("products", "head", "attention", "copies", "elementwise", "between")


def class_of(name: str, shapes: Iterable[Any], vocabulary: int) -> str:
    """What an operation of the profiler is; those that are no operation of PyTorch are between others."""
    if not name.startswith("aten::"):
        return "between"
    name = name.removeprefix("aten::").removeprefix("_")
    for kind, names in CLASSES.items():
        if any(name == each or (kind != "products" and name.startswith(each)) for each in names):
            of_the_head = kind == "products" and any(vocabulary in shape for shape in shapes if shape)
            return "head" if of_the_head else kind
    return "elementwise"


def seconds_of(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def fastest(model: Any, sources: int) -> float:
    """FLOP/s of matrix products, the best of a few tries."""
    with torch.no_grad():
        return max(rate(body(model.model), rows) for rows in (sources, CPU_ROWS) for _ in range(TRIES))


def measured(model: Any, method: str, prompt: list[int], answer: list[int]) -> str:
    """A row of the table."""

    def explain() -> None:
        tokensal.attribute(model, prompt, continuation=answer, method=method)

    tokensal.attribute(model, prompt, continuation=answer[:2], method=method)
    plain = seconds_of(explain)
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True, with_flops=True) as profiler:
        profiled = seconds_of(explain)
    events = profiler.key_averages(group_by_input_shape=True)
    vocabulary, times = model.vocabulary, Counter[str]()
    for event in events:
        times[class_of(event.key, event.input_shapes, vocabulary)] += event.self_cpu_time_total / 1e6
    times["between"] = profiled - sum(taken for kind, taken in times.items() if kind != "between")
    flops = sum(event.flops for event in events if event.key.removeprefix("aten::") in CLASSES["products"])
    floor = flops / fastest(model, len(prompt) + len(answer))
    shares = " | ".join(f"{times[kind] / profiled:.0%}" for kind in HEADINGS)
    return (
        f"| {len(prompt)} + {len(answer)} | {method} | {plain:.2f} | {profiled:.2f} | {shares} "
        f"| {flops / 1e9:.0f} | {floor:.2f} | {plain / floor:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="60x10")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--threads", type=int, default=THREADS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = tokensal.load(dtype="float32", device="cpu", attention="sdpa")
    passage = itertools.cycle(model.tokenizer(" ".join(SENTENCES))["input_ids"])
    print(f"| size | method | seconds | profiled | {' | '.join(HEADINGS)} | GFLOPs | floor, s | ÷ floor |")
    print(f"|---|---|{'---:|' * (5 + len(HEADINGS))}", flush=True)
    for size in options.sizes.split(","):
        prompt, answer = map(int, size.split("x"))
        ids = list(itertools.islice(passage, prompt + answer))
        for method in options.methods.split(","):
            print(measured(model, method, ids[:prompt], ids[prompt:]), flush=True)


if __name__ == "__main__":
    main()
