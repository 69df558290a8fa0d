"""What `tokensal evaluate` refuses before a model is loaded, and the prompts that it reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokensal.errors import InputError
from tokensal.options import Measuring
from tokensal.questions.question import Question


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
