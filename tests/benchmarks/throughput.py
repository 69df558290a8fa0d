"""Examples a minute of a data set: `tokensal run`, a loop over `tokensal.attribute`, and Inseq's `attribute-dataset`.

    python tests/benchmarks/throughput.py [--prompts 200] [--tools run,loop,inseq] [--new-tokens 12]

1. The prompts are those of the kind *facts*, as they are drawn; each answer is generated greedily, so many tokens.
2. Each tool writes the scores of all of them by input × gradient in a process of its own, from the same converted
   model, float32: first of one prompt, which is what starting costs, then of all. The difference counts.
3. What is not the same: Inseq (0.7.1) explains probabilities and writes one JSON file. It is handed the answers that
   tokensal generates, and generates none itself: its own batch of prompts of unequal length ends in an error, since it
   takes the padding for text. The loop over `attribute` generates and explains one prompt after another, and keeps no
   results.

The virtual environment of Inseq is the one that `speed.py` makes under `.benchmarks/`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import tokensal
from tokensal.adapters import embedded
from tokensal.case import Case
from tokensal.evaluation.suites import KINDS
from tokensal.evaluation.suites.kind import candidates
from tokensal.options import Generation

ROOT = Path(__file__).resolve().parents[2]
INSEQ = ROOT / ".benchmarks" / "inseq" / "bin" / "inseq"
LOOP = """
import json, sys, tokensal
model = tokensal.load()
for line in open(sys.argv[1]):
    tokensal.attribute(
        model, json.loads(line)["prompt"], method="input_x_gradient", max_new_tokens=int(sys.argv[2]), progress=False
    )
"""

Command = Callable[[Path, Path, int], Sequence[str]]  # of a file of prompts, a folder to write into, and new tokens


def run(prompts: Path, folder: Path, tokens: int) -> Sequence[str]:
    """`tokensal run`."""
    options = ("--methods", "input_x_gradient", "--max-new-tokens", str(tokens), "--quiet")
    return [sys.executable, "-m", "tokensal", "run", str(prompts), "-o", str(folder / "run"), *options]


def loop(prompts: Path, folder: Path, tokens: int) -> Sequence[str]:
    """A loop over `attribute`."""
    return [sys.executable, "-c", LOOP, str(prompts), str(tokens)]


def inseq(prompts: Path, folder: Path, tokens: int) -> Sequence[str]:
    """Inseq's command for data sets."""
    gguf = embedded.packaged_gguf()
    model = None if gguf is None else embedded.converted(gguf)
    options = {
        "model_name_or_path": str(model),
        "attribution_method": "input_x_gradient",
        "dataset_name": "json",
        "dataset_files": str(prompts),
        "dataset_split": "train",
        "input_text_field": "prompt",
        "generated_text_field": "text",
        "model_kwargs": json.dumps({"attn_implementation": "sdpa"}),
        "save_path": str(folder / "inseq.json"),
        "hide_attributions": "True",
    }
    return [
        str(INSEQ),
        "attribute-dataset",
        *(word for name, value in options.items() for word in (f"--{name}", value)),
    ]


TOOLS: dict[str, Command] = {"run": run, "loop": loop, "inseq": inseq}


def answered(texts: Sequence[str], tokens: int) -> list[dict[str, str]]:
    """The prompts, each with its text and what the model answers."""
    model, generation = tokensal.load(), Generation(max_new_tokens=tokens)
    return [{"prompt": text, "text": Case.of(model, text, generation=generation).example.text} for text in texts]


def seconds(command: Command, records: Sequence[dict[str, str]], tokens: int) -> float:
    """What a tool takes for these prompts, with starting and loading."""
    with tempfile.TemporaryDirectory() as folder:
        prompts = Path(folder) / "prompts.jsonl"
        prompts.write_text("".join(json.dumps(record) + "\n" for record in records))
        started = time.perf_counter()
        done = subprocess.run(command(prompts, Path(folder), tokens), capture_output=True, text=True, cwd=ROOT)
        if done.returncode:
            raise SystemExit(f"{command.__name__} failed: {done.stderr[-2000:]}")
        return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--tools", default=",".join(TOOLS))
    parser.add_argument("--new-tokens", type=int, default=12)
    options = parser.parse_args()
    texts = [prompt.prompt or "" for prompt in islice(candidates(KINDS["facts"], 1), options.prompts)]
    records = answered(texts, options.new_tokens)
    print(f"{len(texts)} prompts\n\n| tool | start, s | examples a minute |\n|---|---:|---:|")
    for name in options.tools.split(","):
        start = seconds(TOOLS[name], records[:1], options.new_tokens)
        rest = seconds(TOOLS[name], records, options.new_tokens) - start
        print(f"| {name} | {start:.0f} | {60 * (len(texts) - 1) / rest:.1f} |", flush=True)


if __name__ == "__main__":
    main()
