"""Whether a change makes a method slower: two checkouts of this repository take turns.

    python tests/benchmarks/paired.py OLD_CHECKOUT [--prompt 60] [--answer 10] [--rounds 6] [--clock cpu]
    python tests/benchmarks/paired.py OLD_CHECKOUT --methods 'attention,smooth_grad samples=2'

1. Each checkout has a process of its own, whose PYTHONPATH it is, with SmolLM2-135M-Instruct in float32.
2. Method by method, the two explain the same text in turns. Of a method, the first round, in which a model is tried,
   does not count. Then the old one begins in one round, the new one in the next.
3. The least time of each counts, and *new ÷ old* is the ratio of these. *apart* is the largest difference of a score,
   as a share of the largest score.

The clock `cpu` counts the time of all threads, which other work disturbs little; `wall` needs a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

import tokensal
from tokensal.methods import METHODS, build

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from common import cut  # a folder of scripts, not a package
from run_tokensal import option_of

LEFT_OUT = ("shapley_values", "hierarchical")  # the first for its many units; the second is others, after another
FEWER = {  # samples than by default, where time is in proportion to them
    "smooth_grad": "samples=2",
    "var_grad": "samples=3",
    "integrated_gradients": "steps=8",
    "gradient_shap": "samples=4",
    "shapley_sampling": "samples=4",
    "kernel_shap": "samples=32",
    "owen_values": "samples=4",
    "lime": "samples=32",
    "context_cite": "samples=32",
    "rise": "samples=32",
    "extremal_perturbation": "steps=2",
}
CLOCKS = {"cpu": time.process_time, "wall": time.perf_counter}

Process = subprocess.Popen[str]


def answer_lines(options: argparse.Namespace) -> None:
    """Be the process of a checkout: for each line with a method, a line with seconds and scores."""
    torch.set_num_threads(options.threads)
    model = tokensal.load(dtype="float32", device="cpu", attention="sdpa")
    task, clock = cut(model.tokenizer, options.prompt, options.answer), CLOCKS[options.clock]
    for line in sys.stdin:
        name, *rest = line.split()
        method = build(name, dict(option_of(each) for each in rest))
        begin = clock()
        result = tokensal.attribute(model, task.prompt_ids, continuation=task.target_ids, method=method, progress=False)
        print(json.dumps([clock() - begin, result.scores.nan_to_num().tolist()]), flush=True)


def started(checkout: Path) -> Process:
    """The process of a checkout."""
    command = [sys.executable, __file__, *sys.argv[1:], "--answer-lines"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(checkout.resolve())}, **pipes)


def answered(process: Process, method: str) -> tuple[float, torch.Tensor]:
    """Seconds and scores of one more repetition."""
    assert process.stdin is not None and process.stdout is not None
    print(method, file=process.stdin, flush=True)
    if not (line := process.stdout.readline()):
        raise SystemExit(f"A checkout ended without an answer about {method!r}; what it wrote is above.")
    seconds, scores = json.loads(line)
    return seconds, torch.tensor(scores, dtype=torch.float64)


def row(old: Process, new: Process, method: str, rounds: int) -> str:
    """A row of the table: steps 2 and 3."""
    answers: dict[Process, list[tuple[float, torch.Tensor]]] = {old: [], new: []}
    for turn in range(rounds + 1):
        for process in (old, new) if turn % 2 else (new, old):
            answers[process].append(answered(process, method))
    before, after = (min(seconds for seconds, _ in answers[process][1:]) for process in (old, new))
    (_, expected), (_, scores) = answers[old][-1], answers[new][-1]
    apart = float((scores - expected).abs().max() / expected.abs().max())
    return f"| `{method}` | {before:.3f} | {after:.3f} | {after / before:.2f} | {apart:.0e} |"


def main() -> None:
    names = ",".join(f"{name} {FEWER.get(name, '')}".strip() for name in METHODS if name not in LEFT_OUT)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, metavar="OLD_CHECKOUT")
    parser.add_argument("--prompt", type=int, default=60)
    parser.add_argument("--answer", type=int, default=10)
    parser.add_argument("--methods", default=names, help="with options; by default all, with few samples")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--clock", choices=CLOCKS, default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--answer-lines", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answer_lines:
        answer_lines(options)
        return
    print("| method | old, s | new, s | new ÷ old | apart |\n|---|---:|---:|---:|---:|", flush=True)
    with started(options.old) as old, started(Path(__file__).parents[2]) as new:
        for method in options.methods.split(","):
            print(row(old, new, method, options.rounds), flush=True)


if __name__ == "__main__":
    main()
