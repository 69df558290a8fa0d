"""What `tokensal evaluate` refuses before a model is loaded, and the prompts that it reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokensal.config import Output
from tokensal.errors import InputError
from tokensal.options import Measuring
from tokensal.questions.question import Question

if TYPE_CHECKING:
    from tokensal.evaluation.metric import Metric


FIGURES = ("svg", "pdf", "png")  # formats that draw curves


def require_curves(output: Output, metrics: Sequence[Metric]) -> None:
    """Refuse figures of curves where none are measured.

    Raises:
        InputError: a figure, and abpc is not among the metrics.
    """
    formats = [output.format or Path(path).suffix[1:] for path in output.output]
    for format in formats:
        if format.lower() in FIGURES and not any(metric.name == "abpc" for metric in metrics):
            raise InputError(f"Format {format!r} draws curves, which are those of abpc: add it to --metrics.")


def records_of(file: Path | None, measuring: Measuring) -> Any:
    """The prompts of a file; of a suite, None.

    Raises:
        TokensalError: neither or both, an unknown suite, records or a journal that cannot be used, or a question that
            cannot be put.
    """
    if (file is None) == (measuring.suite is None):
        raise InputError("Give either a file of prompts or --suite, such as --suite copy, and not both.")
    from tokensal.evaluation.prompts.records import read_prompts
    from tokensal.evaluation.suites import require_suite
    from tokensal.render.files import writable_place

    Question(unit=measuring.unit, sources=measuring.sources, score=measuring.score)
    if measuring.journal is not None:
        writable_place(Path(measuring.journal))
    if measuring.suite is not None:
        require_suite(measuring.suite)
    return None if file is None else read_prompts(file)
