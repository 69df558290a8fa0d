"""`tokensal summarize`: what the explanations of a run have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tokensal.cli.delivery import SUMMARY_NOT_TRACED, deliver, require_places, require_reader
from tokensal.cli.flags import read_flags
from tokensal.config import STDOUT, Output
from tokensal.drawing import Drawing
from tokensal.errors import InputError
from tokensal.options import build

Folder = Annotated[Path, typer.Argument(help="The folder of a run, finished or not.")]
Top = Annotated[int, typer.Option(min=0, help="How many of the most frequent top sources are listed for each method.")]


def summarize(folder: Folder, top: Top = 10, **flags: Any) -> None:
    """Sum up a run: where credit goes, by role, position, distance and class of token; how far methods agree; what
    failed. No model is needed."""
    settings = {name: value for name, value in read_flags([Output, Drawing], flags).items() if value is not None}
    output, drawing = build(Output, settings), build(Drawing, settings)
    if output.trace:
        raise InputError(SUMMARY_NOT_TRACED)
    require_reader(output)
    require_places(output)
    from tokensal.cli.progress import stages
    from tokensal.render import require_tables, suffix_of
    from tokensal.runs.stored import load_run
    from tokensal.runs.summary import summarize as summary_of

    for path in output.output:
        require_tables(suffix_of("" if path == STDOUT else path, output.format))
    run = load_run(folder)
    with stages(quiet=output.quiet) as stage:
        stage("reading")
        summary = summary_of(run, top=top, progress=lambda done, total: stage("reading", done, total))
    deliver(summary, output, drawing)
