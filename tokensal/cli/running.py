"""`tokensal run`: a data set is explained, into a folder; or a plan says what that would take."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokensal.cli.delivery import print_lines, tell
from tokensal.cli.flags import read_flags, require_text
from tokensal.cli.loading import load_model
from tokensal.config import COMMANDS, Explained, resolve
from tokensal.errors import InputError
from tokensal.options import Generation, Loading, build
from tokensal.quantities import counted, duration, per_minute
from tokensal.questions.question import Question
from tokensal.run_options import Reading, Running

if TYPE_CHECKING:
    from tokensal import Run
    from tokensal.adapters import AnyAdapter
    from tokensal.cli.progress import Pace
    from tokensal.runs.source import Opened
    from tokensal.runs.task import Task

INTERRUPTED = 130
REASONS = 5  # that the summary lists

SourceName = Annotated[
    str, typer.Argument(help="A file, .jsonl, .csv, .parquet or .txt; or the name of a data set on the hub.")
]
ConfigFile = Annotated[Path | None, typer.Option(help="TOML file of settings; flags go before it.")]


def run(source: SourceName, config: ConfigFile = None, **flags: Any) -> None:
    """Explain the answers to the prompts of a data set, by one method or several, into a folder of Parquet files.

    The same command goes on where it stopped, also after a crash. An example that fails is a row with its error.
    Several processes may work on one folder: see --shard, or start them by `accelerate launch -m tokensal run …`.
    """
    require_text("The source", source)
    settings = resolve("run", read_flags(COMMANDS["run"], flags), config)
    running, loading = build(Running, settings), build(Loading, settings)
    try:
        task = _task(settings, running)
        opened = _opened(source, task)
        if running.plan:
            _plan(opened, task, running, loading)
        else:
            _explain(opened, task, running, loading)
    except KeyboardInterrupt:
        tell(
            "Interrupted: nothing was written."
            if running.plan
            else f"Interrupted: what is finished is in {running.output!r}, and the same command goes on there."
        )
        raise SystemExit(INTERRUPTED) from None


def _task(settings: dict[str, Any], running: Running) -> Task:
    """What is done with each example. What needs no torch is refused first."""
    question, generation = build(Question, settings), build(Generation, settings)
    reading, explained = build(Reading, settings), build(Explained, settings)
    from tokensal.runs.task import Task, methods_by_name

    methods = methods_by_name(explained.arguments()["methods"])
    return Task(methods, question, generation, reading, running.part_size)


def _opened(source: str, task: Task) -> Opened:
    from tokensal.runs.source import open_source

    return open_source(source, task.reading)


def _model(loading: Loading, quiet: bool) -> AnyAdapter:
    from tokensal.cli.progress import stages

    with stages(quiet=quiet) as stage:
        stage("loading the model")
        return load_model(loading, quiet)


def _plan(opened: Opened, task: Task, running: Running, loading: Loading) -> None:
    from tokensal.cli.progress import stages
    from tokensal.runs.plan import plan_of

    model = _model(loading, running.quiet)
    with stages(quiet=running.quiet) as stage:
        stage("explaining a few examples")
        plan = plan_of(model, opened, running.output, task, trials=running.trials, processes=running.processes)
    print_lines(str(plan))
    if plan.trials and len(plan.failures) == len(plan.trials):
        raise InputError(f"Not one of {len(plan.trials)} trials could be explained: {plan.failures[0].error}")


def _explain(opened: Opened, task: Task, running: Running, loading: Loading) -> None:
    from tokensal.cli.progress import Pace, following
    from tokensal.runs.running import explain_source

    assert running.output is not None  # else the options are refused
    first = is_first_process()
    quiet = running.quiet or not first
    model = _model(loading, quiet)
    pace = Pace()
    with following(pace, quiet=quiet) as step:
        result = explain_source(
            model,
            opened,
            running.output,
            task,
            retry=running.retry,
            watch=lambda done, total, rows: step(done, total, [each.row["error"] for each in rows]),
        )
    if first:
        _finish(result, pace, running)


def is_first_process() -> bool:
    """Whether this process is the one that talks, among those that a launcher started."""
    return os.environ.get("RANK", "0") == "0"


def _finish(result: Run, pace: Pace, running: Running) -> None:
    """Print the summary, and upload the folder."""
    outcome = Outcome.of(result)
    print_lines(outcome.text(running.output or "", pace))
    if outcome.examples and not outcome.rows:
        [(reason, _)] = outcome.reasons.most_common(1)
        raise InputError(f"Not one of {counted(outcome.examples, 'example')} could be explained: {reason}")
    if running.push_to_hub is not None:
        print_lines(f"Uploaded:  {result.push_to_hub(running.push_to_hub)}")


@dataclass(frozen=True)
class Outcome:
    """What is in the folder of a run.

    Attributes:
        examples: how many there are.
        failed: how many of these some method could not explain.
        rows: how many explanations there are.
        reasons: how many rows have each error.
        shown: the id of the first example that has scores.
    """

    examples: int
    failed: int
    rows: int
    reasons: Counter[str]
    shown: str | None

    @classmethod
    def of(cls, result: Run) -> Outcome:
        """Count the rows of a run."""
        examples, failed, rows, reasons, shown = 0, 0, 0, Counter[str](), None
        for _, group in groupby(result.rows(["number", "id", "error"]), key=lambda row: row["number"]):
            of_example = list(group)
            errors = [row["error"] for row in of_example if row["error"] is not None]
            examples, failed, rows = examples + 1, failed + bool(errors), rows + len(of_example) - len(errors)
            reasons.update(errors)
            if shown is None and len(errors) < len(of_example):
                shown = of_example[0]["id"]
        return cls(examples, failed, rows, reasons, shown)

    def text(self, folder: str, pace: Pace) -> str:
        """The summary of a run that took some time, and how to go on."""
        counts = f"{self.examples - self.failed:,} explained" + (f", {self.failed:,} failed" if self.failed else "")
        lines = [f"{counted(self.examples, 'example')} in {folder!r}: {counts}."]
        lines += [f"  {count:,} × {reason}" for reason, count in self.reasons.most_common(REASONS)]
        if len(self.reasons) > REASONS:
            lines.append(f"  … and {counted(len(self.reasons) - REASONS, 'other reason')}")
        if pace.explained:
            took = f"{duration(pace.seconds)}, {per_minute(pace.explained, pace.seconds)}"
            lines.append(f"This process explained {pace.explained:,} of them in {took}.")
        else:
            lines.append("All of them were finished before.")
        if self.shown is not None:
            place = shlex.quote(folder)
            lines.append(f"See one:  tokensal show {place} --id {shlex.quote(self.shown)}")
            lines.append(f"See all:  tokensal summarize {place}")
        return "\n".join(lines)
