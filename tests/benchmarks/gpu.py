"""tokensal on a graphics card, beside captum and Inseq: prints a Markdown table, and writes JSON.

    python tests/benchmarks/gpu.py [--shapes qwen-1.7b,llama-8b] [--sizes 512x64,4096x128] [--json gpu.json]
    python tests/benchmarks/gpu.py --device cpu --shapes tiny --sizes 24x4 --dtype float32 --repeats 1

1. Start a process for each shape of model and each tool (`peers/run_on_device.py`), one after another, so that each has
   the card to itself. It creates a model with random weights on the card.
2. Time every method at every size. Peers explain the first few targets (`--peer-targets`); what is compared are
   seconds per target. Methods of many forwards are left out of long texts, unless `--long` asks for them.
3. Count the floating-point operations that the matrix products alone need (`peers/run_floor.py`), and divide them by
   the time: the share of the rate that the card reaches in one large product.
4. Say which targets are met: ten times as fast as Inseq per target; half of the card's rate in the backward; no wait
   for the card between two chunks of a backward.

A peer that is importable here runs here; else in its environment of `speed.py`, where that exists. Nothing fails on
timing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from statistics import median

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))
import tools
from run_floor import Costs, costs, gradients, removals
from run_on_device import STEPS, DeviceJob, Record
from shapes import SHAPES, build

HERE = Path(__file__).resolve().parent
METHODS = ("gradient", "input_x_gradient", "lrp", "occlusion", "integrated_gradients")
PEERS = {  # the methods that each knows
    "captum": ("input_x_gradient", "occlusion", "integrated_gradients"),
    "inseq": ("gradient", "input_x_gradient", "occlusion", "integrated_gradients"),
}
MANY_FORWARDS = ("occlusion", "integrated_gradients")
LONG = 1024  # tokens: longer texts are left out of these, unless asked for
FASTER = 10  # times as fast as Inseq, per target
SHARE = 0.5  # of the card's rate, in the backward
BACKWARD_WAITS = 1  # the check that the scores are finite


# Processes


def job(tool: str, shape: str, options: argparse.Namespace) -> DeviceJob:
    """What one tool measures of one shape."""
    known = METHODS if tool == "tokensal" else PEERS[tool]
    wanted = [method for method in options.methods if method in known]
    methods = [
        [method for method in wanted if method not in MANY_FORWARDS or sum(size) <= LONG or options.long]
        for size in options.sizes
    ]
    targets = None if tool == "tokensal" else options.peer_targets
    repeats = options.repeats if tool == "tokensal" else 1
    return DeviceJob(tool, shape, options.sizes, methods, options.device, options.dtype, repeats, targets)


def python_of(tool: str) -> str | None:
    """Which Python runs a tool: this one where it is importable, else that of its environment; None without either."""
    if importlib.util.find_spec(tool):
        return sys.executable
    peers = {peer.name: peer.python for peer in tools.PEERS}
    return str(peers[tool]) if tool in peers and peers[tool].exists() else None


def measured(options: argparse.Namespace) -> Iterator[Record]:
    """The records of all tools and shapes."""
    for shape in options.shapes:
        for tool in options.tools:
            python, work = python_of(tool), job(tool, shape, options)
            if python is None:
                say(f"{tool} is not installed: pip install {tool}, or run speed.py, which makes its environment.")
                continue
            yield from run(python, work)


def run(python: str, work: DeviceJob) -> Iterator[Record]:
    """The records of one process, as they come."""
    command = [python, str(HERE / "peers" / "run_on_device.py"), json.dumps(asdict(work))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith('{"tool"'):  # libraries print as well
                record = Record(**json.loads(line))
                say(f"{described(record)}: {record.error or f'{median(record.seconds):.3f} s'}")
                yield record
    if process.returncode:
        say(f"{work.tool} with {work.shape} ended with {process.returncode}, and what it had not measured is missing.")


def described(record: Record) -> str:
    return f"{record.shape}, {record.prompt} + {record.generated}, {record.tool}, {record.method}"


# Operations


@cache
def costs_of(shape: str) -> Costs:
    """FLOPs of a shape's parts, from a model without memory."""
    return costs(build(shape, "meta", torch.float32))


def operations(record: Record) -> float:
    """FLOPs of the matrix products that a method needs, with nothing computed twice."""
    cost, sources = costs_of(record.shape), record.prompt + record.targets - 1
    if record.method == "occlusion":
        return removals(cost, sources, record.targets)
    return gradients(cost, sources, record.targets) * (STEPS if record.method == "integrated_gradients" else 1)


def backward_operations(record: Record) -> float:
    """Those after the forward: the vector-Jacobian products of the body."""
    cost, sources = costs_of(record.shape), record.prompt + record.targets - 1
    return record.targets * (sources * cost.body + sources**2 * cost.key)


# The report


def report(records: list[Record]) -> str:
    """The table, and each target with its answer."""
    lines = [
        "| model | tokens | tool | method | targets | seconds | targets a second | ÷ tokensal | share of the rate "
        "| in the backward | peak GiB | waits | notes |",
        "|---|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---|",
        *(row(record, records) for record in records),
    ]
    return "\n".join([*lines, "", *rates(records), *verdicts(records)]) + "\n"


def row(record: Record, records: list[Record]) -> str:
    start = f"| {record.shape} | {record.prompt} + {record.generated} | {record.tool} | {record.method} "
    if record.error:
        return start + "| " * 8 + f"| {record.error} |"
    seconds, ours = median(record.seconds), counterpart(record, records)
    ratio = f"{per_target(record) / per_target(ours):.2f}" if ours else ""
    spread = f"{seconds:.3f} ({min(record.seconds):.3f}–{max(record.seconds):.3f})"
    share = f"{operations(record) / seconds / record.rate:.0%}" if record.tool == "tokensal" else ""
    return (
        f"{start}| {record.targets} | {spread} | {record.targets / seconds:.2f} | {ratio} | {share} "
        f"| {backward_share(record)} | {record.peak / 2**30:.2f} | {sum((record.waits or {}).values())} "
        f"| {record.note} |"
    )


def backward_share(record: Record) -> str:
    return f"{backward_operations(record) / record.backward / record.rate:.0%}" if record.backward else ""


def per_target(record: Record) -> float:
    return median(record.seconds) / record.targets


def counterpart(record: Record, records: list[Record]) -> Record | None:
    """tokensal's record of the same shape, size and method."""
    same = (record.shape, record.prompt, record.generated, record.method)
    ours = [each for each in records if each.tool == "tokensal" and not each.error]
    return next((each for each in ours if (each.shape, each.prompt, each.generated, each.method) == same), None)


def rates(records: list[Record]) -> list[str]:
    """What a large matrix product reached, in the dtype of the models."""
    best = {record.shape: record.rate for record in records}
    return [f"Rate of a large product ({shape}): {rate / 1e12:.2f} TFLOP/s." for shape, rate in best.items()] + [""]


def verdicts(records: list[Record]) -> list[str]:
    """The targets and whether they are met, in words."""
    lines = []
    for record in (record for record in records if not record.error):
        ours = counterpart(record, records)
        if record.tool == "inseq" and ours:
            ratio = per_target(record) / per_target(ours)
            lines.append(verdict(f"{described(ours)}: {ratio:.1f} × Inseq per target (≥ {FASTER})", ratio >= FASTER))
        if record.backward:
            share = backward_operations(record) / record.backward / record.rate
            text = f"{described(record)}: {share:.0%} of the rate in the backward (≥ {SHARE:.0%})"
            lines.append(verdict(text, share >= SHARE))
        if record.backward_waits is not None:
            text = f"{described(record)}: {record.backward_waits} waits after the forward (≤ {BACKWARD_WAITS})"
            lines.append(verdict(text, record.backward_waits <= BACKWARD_WAITS))
    return lines


def verdict(text: str, met: bool) -> str:
    return f"- {text}: {'met' if met else 'NOT met'}"


def machine(device: str) -> dict[str, str]:
    """What was measured on."""
    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    return {"device": name, "torch": torch.__version__, "python": platform.python_version()}


def say(text: str) -> None:
    """Talk goes to standard error; the table alone goes to standard output."""
    print(text, file=sys.stderr, flush=True)


def names(known: tuple[str, ...]):
    """A reader of names that are separated by commas."""

    def read(text: str) -> list[str]:
        if unknown := set(text.split(",")) - set(known):
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known are {', '.join(known)}")
        return text.split(",")

    return read


def sizes(text: str) -> list[list[int]]:
    """`512x64,4096x128` as pairs."""
    return [[int(number) for number in part.split("x")] for part in text.split(",")]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--shapes", type=names(tuple(SHAPES)), default=["qwen-1.7b", "llama-8b"])
    parser.add_argument("--sizes", type=sizes, default=sizes("512x64,4096x128"), help="prompt x generated tokens")
    parser.add_argument("--methods", type=names(METHODS), default=list(METHODS))
    parser.add_argument("--tools", type=names(("tokensal", *PEERS)), default=["tokensal", *PEERS])
    parser.add_argument("--dtype", choices=["bfloat16", "float16", "float32"], default="bfloat16")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer-targets", type=int, default=2, help="how many targets peers explain")
    parser.add_argument("--long", action="store_true", help="occlusion and integrated gradients also of long texts")
    parser.add_argument("--json", type=Path, help="where all numbers are stored")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("There is no graphics card here: give --device cpu --shapes tiny to try the script.")
    records = list(measured(options))
    print(report(records), flush=True)
    if options.json:
        everything = {"machine": machine(options.device), "records": [asdict(record) for record in records]}
        options.json.write_text(json.dumps(everything, indent=1))


if __name__ == "__main__":
    main()
