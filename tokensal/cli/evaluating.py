"""What `tokensal evaluate` refuses before a model is loaded, and the prompts that it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tokensal
from tokensal.cli.loading import load_model, silence_libraries
from tokensal.config import Evaluated, Output, Settings
from tokensal.errors import InputError
from tokensal.options import Loading, Measuring, build, options_of, values_of
from tokensal.questions.question import Question

if TYPE_CHECKING:
    from tokensal import Evaluation
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


def evaluate_prompts(file: Path | None, settings: Settings, loading: Loading, measuring: Measuring) -> Evaluation:
    """Measure methods on the prompts of a file, or of a suite."""
    output, arguments = build(Output, settings), build(Evaluated, settings).arguments()
    records = records_of(file, measuring)
    from tokensal.cli.progress import stages

    with stages(quiet=output.quiet) as stage:
        stage("loading the model")
        model = load_model(loading, output.quiet)
        stage("drawing prompts" if measuring.suite else "evaluating")
        return tokensal.evaluate(
            model,
            records,
            **arguments,
            **values_of(measuring),
            progress=lambda done, total: stage("evaluating", done, total),
            config=settings,
        )


def require_only_of_runs(settings: Mapping[str, Any], loading: Loading, measuring: Measuring) -> None:
    """Refuse what the folder of a run decides: its methods, its prompts, what was asked of them, and how it was loaded.

    Raises:
        InputError: one of these is named; the sentence says which.
    """
    defaults = {name: (each.default, settings.get(name)) for name, each in options_of(Evaluated, Measuring).items()}
    decided = ("methods", "options", "suite", "count", "unit", "sources", "score")
    named = [name for name in decided if _differs(*defaults[name])]
    named += [name for name in ("dtype", "attention", "revision") if getattr(loading, name) and not loading.model]
    if named:
        raise InputError(
            f"The folder of a run decides what is measured, so {', '.join(named)} cannot be named, too: leave "
            f"{'it' if len(named) == 1 else 'them'} out, or name a file of prompts."
        )


def _differs(default: object, value: object) -> bool:
    plain = list(value) if isinstance(value, list | tuple) else value
    return (plain or None) != ((list(default) if isinstance(default, list | tuple) else default) or None)


def evaluate_folder(folder: Path, settings: Settings, loading: Loading, measuring: Measuring) -> Evaluation:
    """Measure the stored explanations of a run."""
    output, arguments = build(Output, settings), build(Evaluated, settings).arguments()
    require_only_of_runs(settings, loading, measuring)
    from tokensal.cli.progress import stages
    from tokensal.runs.evaluating import evaluate_run
    from tokensal.runs.stored import load_run

    run = load_run(folder)
    with stages(quiet=output.quiet) as stage:
        stage("loading the model")
        silence_libraries(output.quiet)
        model = load_model(loading, output.quiet) if loading.model is not None else None
        return evaluate_run(
            run,
            model=model,
            metrics=arguments["metrics"],
            seed=measuring.seed,
            journal=measuring.journal,
            progress=lambda done, total: stage("evaluating", done, total),
            config=settings,
        )
