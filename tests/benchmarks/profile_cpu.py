"""Where the time of a method goes on a CPU: shares of kinds of operations, and what is above the matrix products.

    python tests/benchmarks/profile_cpu.py [--size 60x10] [--methods gradient,lrp] [--threads 2]

1. Each method explains the same text once, to warm up; then several times without a profiler (the seconds are the
   least of them); then once under torch.profiler, which slows what it watches: it tells shares.
2. The time of an operation is its own, without that of operations inside it. What no operation accounts for is Python
   and the bookkeeping of autograd.
3. The matrix products are those that the method really runs, counted by the profiler. Their floor is the time that they
   take at the rate of the body's own weights, measured right before, as in `peers/run_floor.py`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

import tokensal

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from common import THREADS, cut  # a folder of scripts, not a package
from run_floor import body, rate

METHODS = (
    "gradient,lrp,attention_grad_cam,attention_rollout,occlusion,integrated_gradients,smooth_grad,shapley_sampling"
)
REPEATS = 3
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "linear", "matmul")
KINDS = {  # of operations, by parts of their names; the first that fits counts
    "attention kernel": ("scaled_dot_product", "flash_attention"),
    "copies": ("copy", "cat", "clone", "contiguous", "index", "gather", "scatter", "select_backward", "slice_backward"),
    "elementwise, norms, softmax": ("",),
}
COLUMNS = ("products", *KINDS, "Python and autograd")


def kind_of(operation: str) -> str:
    """Which column an operation counts in."""
    name = operation.removeprefix("aten::")
    if name in PRODUCTS:
        return "products"
    return next(kind for kind, parts in KINDS.items() if any(part in name for part in parts))


def explain(model: tokensal.CausalAdapter, task: Any, method: str) -> float:
    """Seconds of one attribution."""
    started = time.perf_counter()
    tokensal.attribute(model, task.prompt_ids, continuation=task.target_ids, method=method)
    return time.perf_counter() - started


def profiled(model: tokensal.CausalAdapter, task: Any, method: str) -> tuple[dict[str, float], float]:
    """The share of each column, and the FLOPs of the matrix products."""
    with profile(activities=[ProfilerActivity.CPU], with_flops=True) as watched:
        seconds = explain(model, task, method)
    microseconds: Counter[str] = Counter()
    flops = 0.0
    for event in watched.key_averages():
        if event.key.startswith("aten::"):
            microseconds[kind_of(event.key)] += event.self_cpu_time_total
            flops += event.flops if kind_of(event.key) == "products" else 0
    shares = {kind: microseconds[kind] / 1e6 / seconds for kind in ("products", *KINDS)}
    return {**shares, "Python and autograd": 1 - sum(shares.values())}, flops


def best_rate(model: tokensal.CausalAdapter, sources: int) -> float:
    """FLOP/s of the body's matrix products, the best of a few tries at one forward's rows and at many."""
    layers = body(model.model)
    return max(rate(layers, rows) for rows in (sources, 1024) for _ in range(3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="60x10", help="prompt x generated tokens")
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--threads", type=int, default=THREADS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    prompt, generated = map(int, options.size.split("x"))
    model = tokensal.load(dtype="float32", device="cpu", attention="sdpa")
    model.model.requires_grad_(False)
    task = cut(model.tokenizer, prompt, generated)
    print(f"| method | seconds | {' | '.join(COLUMNS)} | GFLOP of products | floor, s | ÷ floor |")
    print(f"|---|---:|{'---:|' * len(COLUMNS)}---:|---:|---:|", flush=True)
    for method in options.methods.split(","):
        explain(model, task, method)
        seconds = min(explain(model, task, method) for _ in range(REPEATS))
        shares, flops = profiled(model, task, method)
        floor = flops / best_rate(model, prompt + generated - 1)
        cells = [f"{shares[column]:.0%}" for column in COLUMNS]
        print(
            f"| `{method}` | {seconds:.2f} | {' | '.join(cells)} | {flops / 1e9:.0f} | {floor:.2f} "
            f"| {seconds / floor:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
