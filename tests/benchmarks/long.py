"""Long contexts: peak memory above the model, and seconds, of the plain graph and of one that is rebuilt by layers.

    python tests/benchmarks/long.py [--lengths 3019,8191] [--targets 20] [--methods gradient,lrp] [--graphs plain,auto]
    python tests/benchmarks/long.py --targets 2 --graphs auto --methods attention_rollout,attention_grad_cam
    python tests/benchmarks/long.py --targets 2 --graphs auto --methods attention_rollout --model gpt-j

Each row is a process of its own, which loads SmolLM2-135M-Instruct in float32, or builds a GPT-J of its width and of
random weights, whose attention is code of its own. It limits itself to 2 threads (--threads), explains a short
continuation to warm up, and then the last `--targets` tokens of a text of so many sources. Memory is the most that was
resident during that, less what was resident before. Nothing here fails on timing or memory.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import torch
from transformers import AutoModelForCausalLM, GPTJConfig

import tokensal

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from common import SENTENCES, THREADS, interruptions, peak_mib  # a folder of scripts, not a package

GRAPHS = {"plain": False, "rebuilt": True, "auto": "auto"}
MIB = 2**20


def loaded(name: str) -> tokensal.CausalAdapter:
    """The model of that name."""
    model = tokensal.load(dtype="float32", device="cpu", attention="sdpa")
    if name == "smollm2":
        return model
    torch.manual_seed(0)
    width, sizes = model.model.config.hidden_size, {"n_layer": 12, "n_head": 9, "rotary_dim": 32, "n_positions": 8192}
    special = {"bos_token_id": None, "eos_token_id": None}
    config = GPTJConfig(vocab_size=len(model.tokenizer), n_embd=width, **sizes, **special)
    return tokensal.adapt(AutoModelForCausalLM.from_config(config).eval(), model.tokenizer)


def measured(name: str, length: int, targets: int, method: str, graph: str) -> dict[str, float]:
    """One attribution: seconds, MiB above those before it, and involuntary context switches a second."""
    model = loaded(name)
    passage = model.tokenizer(" ".join(SENTENCES))["input_ids"]
    ids = list(itertools.islice(itertools.cycle(passage), length + 1))
    budget = tokensal.Budget(rebuild=GRAPHS[graph])
    tokensal.attribute(model, ids[:60], continuation=ids[60:62], method=method, budget=budget)
    before, started, switches = psutil.Process().memory_info().rss / MIB, time.perf_counter(), interruptions()
    _reset_peak()
    result = tokensal.attribute(model, ids[:-targets], continuation=ids[-targets:], method=method, budget=budget)
    seconds = time.perf_counter() - started
    assert result.scores.shape == (targets, length)
    return {
        "seconds": seconds,
        "mib": peak_mib() - before,
        "interrupted": (interruptions() - switches) / seconds,
        "sum": float(result.scores.nansum()),
    }


def _reset_peak() -> None:
    """Where Linux allows it, the peak begins anew: loading the model may have taken more."""
    path = Path("/proc/self/clear_refs")
    if path.exists():
        path.write_text("5")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("smollm2", "gpt-j"), default="smollm2")
    parser.add_argument("--lengths", type=lambda text: [int(part) for part in text.split(",")], default=[3019, 8191])
    parser.add_argument("--targets", type=int, default=20)
    parser.add_argument("--methods", type=lambda text: text.split(","), default=["gradient", "lrp"])
    parser.add_argument(
        "--graphs", type=lambda text: text.split(","), default=["plain", "rebuilt"], help=str([*GRAPHS])
    )
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.row:
        length, method, graph = json.loads(options.row)
        print(json.dumps(measured(options.model, length, options.targets, method, graph)))
        return
    print(
        "| sources | targets | method | graph | MiB above the model | seconds | interrupted a second | sum of scores |"
    )
    print("|---:|---:|---|---|---:|---:|---:|---:|", flush=True)
    for row in itertools.product(options.lengths, options.methods, options.graphs):
        command = [sys.executable, __file__, "--row", json.dumps(row)]
        command += ["--targets", str(options.targets), "--threads", str(options.threads), "--model", options.model]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout
        length, method, graph = row
        if not output:  # killed for its memory, or refused
            print(f"| {length} | {options.targets} | {method} | {graph} | failed | | | |", flush=True)
            continue
        answer = json.loads(output.splitlines()[-1])
        print(
            f"| {length} | {options.targets} | {method} | {graph} | {answer['mib']:.0f} | {answer['seconds']:.1f} "
            f"| {answer['interrupted']:.0f} | {answer['sum']:.5g} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
