"""tokensal beside captum, Inseq and Interpreto on one machine, in one run: prints a Markdown table.

    python tests/benchmarks/speed.py [--sizes 60x10,200x40] [--repeats 3] [--methods gradient,input_x_gradient]
    python tests/benchmarks/speed.py --methods integrated_gradients --repeats 1 [--peer-targets 3] [--equal-steps 128]
    python tests/benchmarks/speed.py --alone --methods input_x_gradient,lrp,attention_rollout

1. Make one virtual environment for each tool under `.benchmarks/`, or reuse it.
2. For one size at a time, start one process for each tool and method. It loads SmolLM2-135M-Instruct in float32,
   limits itself to 2 threads, and explains a short continuation to warm up.
3. Let the processes take turns (A B C D, A B C D, …), one repetition each, so that a drift of the machine hits all.
   A repetition in which other work took the cores away is tried again.
4. Report medians, what tokensal's time is to the floor of its matrix products, and whether the targets are met.

Some peers take minutes for each target of `occlusion` or `integrated_gradients`. These explain only the first few
targets (`--peer-targets`), and what is compared are seconds per target. That favours the peers: later targets see
longer texts. A peer whose targets share their work explains them all, since fewer would make each of them dearer.

Peers integrate with 20 steps, far from converged, and tokensal until its residual is within the tolerance. With
`--equal-steps N`, the peers' times are extrapolated in proportion to the N steps they would need for that.

Nothing here fails on timing. See `peers/` for how each tool is called.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from peers.tools import ENVIRONMENTS, FLOORS, OURS, PEERS, ROOT, Call, Floor, Tool

HERE = Path(__file__).resolve().parent
CONSTRAINTS = ROOT / "constraints.txt"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "TOKENIZERS_PARALLELISM": "false"}

STEPS = 20  # of the peers' integrated gradients
FEW = {"occlusion": (10, 2), "integrated_gradients": (3, 3)}  # targets of slow peers, in short texts and in long ones
LONG = 100  # tokens
DISTURBED = 100  # involuntary context switches a second: some thirty on a quiet machine, hundreds when cores are shared
TRIES = 3

Process = subprocess.Popen[str]
Answer = dict[str, Any]  # of a runner: see `serve` in `peers/common.py`


@dataclass(frozen=True)
class Size:
    """How many prompt tokens, and how many generated ones to explain."""

    prompt: int
    generated: int

    def __str__(self) -> str:
        return f"{self.prompt} + {self.generated}"


@dataclass(frozen=True)
class Measured:
    """The repetitions of one tool and method at one size."""

    tool: Tool
    method: str
    answers: list[Answer]

    @property
    def call(self) -> Call:
        return self.tool.calls[self.method]

    @property
    def last(self) -> Answer:
        return self.answers[-1]

    @property
    def seconds(self) -> float:
        return median(answer["seconds"] for answer in self.answers)

    @property
    def per_target(self) -> float:
        return self.seconds / self.last["targets"]

    @property
    def peak(self) -> float:
        return self.last["peak_mib"]


# Environments


def install(tool: Tool) -> None:
    """Make the tool's environment, unless it was made before for the same requirements."""
    stamp = ENVIRONMENTS / tool.name / "installed.json"
    wanted = json.dumps([*tool.installs, CONSTRAINTS.read_text()])
    if stamp.exists() and stamp.read_text() == wanted:
        return
    say(f"Installing {tool.name} into {stamp.parent} …")
    venv.create(stamp.parent, clear=True, with_pip=True)
    for arguments in tool.installs:
        command = [tool.python, "-m", "pip", "install", "--quiet", "-c", CONSTRAINTS, *arguments]
        subprocess.run(command, check=True, stdout=sys.stderr)
    stamp.write_text(wanted)


def model_folder() -> str:
    """The folder of the converted default model, which every tool loads."""
    code = "from tokensal.adapters import embedded; print(embedded.converted(embedded.packaged_gguf()))"
    return subprocess.run([OURS.python, "-c", code], check=True, capture_output=True, text=True).stdout.split("\n")[-2]


# Turns


@contextmanager
def runner(tool: Tool, script: str, job: dict[str, Any]) -> Iterator[Process]:
    """One process of a tool, loaded and warmed up, that answers a line with a repetition."""
    command = [tool.python, HERE / "peers" / script, json.dumps(job)]
    log = ENVIRONMENTS / f"{Path(script).stem}-{job['method']}.log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=ENVIRONMENT
        ) as process,
    ):
        try:
            if heard(process) != "ready":
                raise SystemExit(f"{script} said something else than that it is ready; see {log}.")
            yield process
        finally:
            process.stdin.close()  # the end of its input is the end of the runner


def heard(process: Process) -> str:
    """The next line a runner says."""
    line = process.stdout.readline().strip()
    if not line:
        raise SystemExit(f"{process.args[1].name} ended without an answer; see the logs in {ENVIRONMENTS}.")
    return line


def repetition(process: Process) -> Answer:
    """One more repetition; another where other work disturbed it, and the calmest after some tries."""
    tries: list[Answer] = []
    while len(tries) < TRIES:
        process.stdin.write("again\n")
        process.stdin.flush()
        tries.append(json.loads(heard(process)))
        if tries[-1]["disturbance"] <= DISTURBED:
            break
    return min(tries, key=lambda answer: answer["disturbance"])


def measure(size: Size, options: argparse.Namespace, model: str) -> tuple[list[Measured], dict[Floor, list[Answer]]]:
    """Every tool and method at one size, in turns, and the floors."""
    entries = [(tool, method) for tool in options.tools for method in options.methods if method in tool.calls]
    floors = list(dict.fromkeys(FLOORS[method] for method in options.methods if method in FLOORS))

    def job(name: str, targets: int) -> dict[str, Any]:
        task = {"prompt": size.prompt, "generated": size.generated, "targets": targets}
        return {"model": model, "method": name, "steps": STEPS, **task}

    runners = [
        runner(tool, f"run_{tool.name}.py", job(tool.calls[method].name, how_many(tool, method, size, options)))
        for tool, method in entries
    ]
    runners += [runner(OURS, "run_floor.py", job(floor.name, size.generated)) for floor in floors]
    answers = in_turns(runners, options.repeats, str(size))
    measured = [Measured(tool, method, given) for (tool, method), given in zip(entries, answers, strict=False)]
    return measured, dict(zip(floors, answers[len(entries) :], strict=True))


def how_many(tool: Tool, method: str, size: Size, options: argparse.Namespace) -> int:
    """How many targets a tool explains: all, or the first few if it is slow."""
    if not tool.calls[method].slow:
        return size.generated
    short, long = FEW[method]
    few = long if size.prompt + size.generated > LONG else short
    return min(size.generated, options.peer_targets or few)


def in_turns(runners: list[AbstractContextManager[Process]], repeats: int, name: str) -> list[list[Answer]]:
    """The repetitions of each runner, when they take turns."""
    with ExitStack() as stack:
        processes = [stack.enter_context(each) for each in runners]
        answers: list[list[Answer]] = [[] for _ in processes]
        for turn in range(repeats):
            for process, given in zip(processes, answers, strict=True):
                given.append(repetition(process))
            say(f"{name}: repetition {turn + 1} of {repeats}, load {load()}")
    return answers


# The report


def report(size: Size, measured: list[Measured], floors: dict[Floor, list[Answer]], steps: int | None) -> str:
    """One size: the table, the floors, and each target with its answer."""
    lines = [f"## {size} tokens", "", *table(measured), ""]
    lines += [*described(floors), *against_the_floor(measured, floors), *verdicts(measured, steps)]
    return "\n".join(lines) + "\n"


def table(measured: list[Measured]) -> list[str]:
    """Rows of Markdown, one for each tool and method."""
    ours = {entry.method: entry for entry in measured if entry.tool is OURS}
    lines = [
        "| tool | method | explains | targets × sources | seconds | per target | ÷ tokensal | peak MiB | notes |",
        "|---|---|---|---|---:|---:|---:|---:|---|",
    ]
    for entry in measured:
        ratio = entry.per_target / ours[entry.method].per_target
        last = entry.last
        remarks = (last["note"], "" if last["same_ids"] else "other token ids", disturbed(entry))
        notes = [remark for remark in remarks if remark]
        lines.append(
            f"| {entry.tool.name} | {entry.call.name} | {entry.tool.score} "
            f"| {last['targets']} × {last['sources']} | {spread(entry)} | {entry.per_target:.3f} | {ratio:.2f} "
            f"| {entry.peak:.0f} | {', '.join(notes)} |"
        )
    return lines


def spread(entry: Measured) -> str:
    """The median, and the extremes beside it."""
    all_seconds = [answer["seconds"] for answer in entry.answers]
    return f"{entry.seconds:.2f} ({min(all_seconds):.2f}–{max(all_seconds):.2f})"


def disturbed(entry: Measured) -> str:
    """How many repetitions were disturbed by other work whatever we tried."""
    count = sum(answer["disturbance"] > DISTURBED for answer in entry.answers)
    return f"{count} of {len(entry.answers)} disturbed" if count else ""


def described(floors: dict[Floor, list[Answer]]) -> list[str]:
    """The seconds of each floor, and what they come from."""
    lines = [
        f"Floor of {floor.name}: {median(answer['floor'] for answer in answers):.2f} s; "
        f"last rate: {answers[-1]['note']}."
        for floor, answers in floors.items()
    ]
    return [*lines, ""] if lines else []


def against_the_floor(measured: list[Measured], floors: dict[Floor, list[Answer]]) -> list[str]:
    """tokensal's seconds ÷ those of its matrix products, each at the same repetition, and the median of that."""
    lines = []
    for entry in measured:
        if entry.tool is OURS and entry.method in FLOORS:
            floor = FLOORS[entry.method]
            pairs = zip(entry.answers, floors[floor], strict=True)
            ratio = median(ours["seconds"] / machine["floor"] for ours, machine in pairs)
            lines.append(verdict(f"{entry.method}: {ratio:.2f} × the floor (≤ {floor.limit})", ratio <= floor.limit))
    return lines


def verdicts(measured: list[Measured], steps: int | None) -> list[str]:
    """The targets against each peer, for time per target and for memory."""
    ours = {entry.method: entry for entry in measured if entry.tool is OURS}
    peers = [entry for entry in measured if entry.tool is not OURS]
    lines = []
    for entry in peers:
        if entry.call.stepped and steps is None:
            continue  # so few steps are no equal of ours
        scale, how = (steps / STEPS, f", extrapolated to {steps} steps") if entry.call.stepped else (1, "")
        ratio, aim = scale * entry.per_target / ours[entry.method].per_target, entry.call.faster
        text = f"{entry.method}: {ratio:.2f} × faster per target than {entry.tool.name}{how} (≥ {aim:g})"
        lines.append(verdict(text, ratio >= aim))
    if not peers:
        return lines
    leanest = min(peers, key=lambda entry: entry.peak)
    for method, entry in ours.items():
        text = f"{method}: peak {entry.peak:.0f} MiB, leanest peer {leanest.tool.name} {leanest.peak:.0f} MiB"
        lines.append(verdict(text, entry.peak <= leanest.peak))
    return lines


def verdict(text: str, met: bool) -> str:
    """One target and whether it is met, in words."""
    return f"- {text}: {'met' if met else 'NOT met'}"


def load() -> str:
    """How busy the machine is, where it says so."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def say(text: str) -> None:
    """Talk goes to standard error; the table alone goes to standard output."""
    print(text, file=sys.stderr, flush=True)


def sizes(text: str) -> list[Size]:
    """`60x10,200x40` as sizes."""
    return [Size(*map(int, part.split("x"))) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=sizes, default=sizes("60x10,200x40"), help="prompt x generated tokens")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--methods", type=lambda text: text.split(","), default=["gradient", "input_x_gradient"])
    parser.add_argument("--peer-targets", type=int, help="how many targets slow peers explain (by method and size)")
    parser.add_argument("--equal-steps", type=int, help="extrapolate the peers' integrated gradients to so many steps")
    parser.add_argument("--alone", action="store_true", help="tokensal alone, without peers")
    options = parser.parse_args()
    options.tools = (OURS,) if options.alone else (OURS, *PEERS)
    for tool in options.tools:
        install(tool)
    model = model_folder()
    say(f"Load at the start: {load()}. On a busy machine the numbers mean little.")
    for size in options.sizes:
        print(report(size, *measure(size, options, model), options.equal_steps), flush=True)


if __name__ == "__main__":
    main()
