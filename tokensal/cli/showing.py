"""`tokensal show` and `tokensal render`: saved results, and examples of a run, drawn again without a model."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokensal.cli.delivery import deliver, require_places, require_reader
from tokensal.cli.flags import complete_methods, read_flags, require_text
from tokensal.config import Output
from tokensal.drawing import Drawing
from tokensal.errors import InputError
from tokensal.options import build

if TYPE_CHECKING:
    from tokensal import Attribution, Comparison, Evaluation, Summary

LISTED = 5  # ids in an error

Saved = Annotated[
    Path, typer.Argument(help="A saved result, FILE.json; '-': read from standard input; or the folder of a run.")
]
Id = Annotated[str | None, typer.Option("--id", help="Of the folder of a run: the example.", metavar="ID")]
Method = Annotated[
    str | None,
    typer.Option(help="Of the folder of a run: one of its methods; all if left out.", autocompletion=complete_methods),
]


def show(file: Saved, id: Id = None, method: Method = None, **flags: Any) -> None:
    """Show a saved result, or an example of a run, again, and write it in other formats."""
    _draw_again(file, id, method, flags, shown=True)


def render(file: Saved, id: Id = None, method: Method = None, **flags: Any) -> None:
    """Write a saved result, or an example of a run, in other formats, without a model."""
    _draw_again(file, id, method, flags, shown=False)


def _draw_again(file: Path, id: str | None, method: str | None, flags: Mapping[str, Any], *, shown: bool) -> None:
    settings = {name: value for name, value in read_flags([Output, Drawing], flags).items() if value is not None}
    output, drawing = build(Output, settings), build(Drawing, settings)
    for name, value in (("--id", id), ("--method", method)):
        require_text(f"The value of {name}", value)
    if not shown and not output.output:
        raise InputError("There is no output to write: name a file, such as '-o paris.html', or '-o -'.")
    require_reader(output)
    require_places(output)
    deliver(load_result(file, id, method), output, drawing, shown=shown)


def load_result(
    file: Path, id: str | None = None, method: str | None = None
) -> Attribution | Comparison | Evaluation | Summary:
    """A saved result, or that of an example in the folder of a run.

    Raises:
        InputError: an example or a method of what is no folder, or a folder without the name of an example.
        FormatError: neither a result nor a run is saved there.
    """
    if file.is_dir():
        return _example_of_run(file, id, method)
    if id is not None or method is not None:
        raise InputError(
            f"--id and --method are for the folder of a run, and {str(file)!r} is none: leave them out, or name one."
        )
    from tokensal.render import load

    result: Attribution | Comparison | Evaluation | Summary = load(sys.stdin.buffer if str(file) == "-" else file)
    return result


def _example_of_run(folder: Path, id: str | None, method: str | None) -> Attribution | Comparison:
    from tokensal.runs.stored import load_run

    run = load_run(folder)
    if id is None:
        ids = list(islice(dict.fromkeys(row["id"] for row in run.rows(["id"])), LISTED))
        names = (
            f"name one by --id, such as {', '.join(map(repr, ids))}" if ids else "it has no examples yet: go on with it"
        )
        raise InputError(f"{str(folder)!r} is the folder of a run: {names}.")
    return run.example(id, method)
