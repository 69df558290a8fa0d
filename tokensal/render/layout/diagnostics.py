"""What a method measured about its own error, in sentences for the caption of every format."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import median

from tokensal.render.layout.labels import Label
from tokensal.render.layout.numbers import MINUS, exact, percent
from tokensal.render.layout.rows import Row
from tokensal.types import Diagnostic, Diagnostics

WARNING = "⚠"
IN_SENTENCES = {
    "total",
    "convergence_delta",
    "constants",
    "gradients",
    "standard_error",
    "fit",
    "rank_fit",
    "unopened",
    "through_the_answer",
    "deletion",
    "insertion",
    "better_than_chance",
    "random_target",
}


def facts(diagnostics: Diagnostics, targets: Sequence[Label], rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """A name and a sentence for each diagnostic, or for those that belong together.

    Args:
        diagnostics: by name, as in `tokensal.types.Diagnostic`.
        targets: the labels of the K targets.
        rows: the K rows, for the scale and the visible sources of each.
    """
    if not rows:
        return
    total, delta = (diagnostics.get(name) for name in ("total", "convergence_delta"))
    if delta and total:
        yield "certificate", _certificate(delta, total, diagnostics.get("gradients"), targets)
    constants = diagnostics.get("constants")
    if constants and total and constants.values.any():
        shares = _shares(constants, total)
        yield "constants", f"median {percent(median(shares))} of the score (biases and learned positions)"
    if through := diagnostics.get("through_the_answer"):
        shares = through.values.tolist()
        yield (
            "passed on",
            f"median {percent(median(shares))} of a target's credit, at most {percent(max(shares))}",
        )
    if unopened := diagnostics.get("unopened"):
        shares = unopened.values.tolist()
        yield (
            "not opened",
            f"median {percent(median(shares))} of a target's credit, at most {percent(max(shares))}, is of passages as "
            "one, and shared equally in them",
        )
    if error := diagnostics.get("standard_error"):
        names = [target.name for target in targets]
        yield "standard error", _standard_error(error.values.tolist(), rows) + _warning(error, names)
    if fit := diagnostics.get("fit"):
        yield "fit", _fit(fit, diagnostics.get("rank_fit"))
    if sentence := _scorecard(diagnostics):
        yield "check", sentence
    for name, diagnostic in diagnostics.items():
        if name not in IN_SENTENCES or (total is None and name == "convergence_delta"):
            yield (
                name.replace("_", " "),
                _summary(diagnostic) + _warning(diagnostic, [target.name for target in targets]),
            )


def _scorecard(diagnostics: Diagnostics) -> str:
    """How the map did on cheap metrics, see `tokensal.evaluation.scorecard`; nothing where that was not measured."""
    names = ("deletion", "insertion", "better_than_chance", "random_target")
    if not all(name in diagnostics for name in names):
        return ""
    deletion, insertion, better, alike = (float(diagnostics[name].values.double().nanmean()) for name in names)
    parts = [
        f"deletion {deletion:.2f}, insertion {insertion:.2f}, better than {percent(better)} of random rankings"
        if math.isfinite(deletion)
        else "the score does not change when all units are removed"
    ]
    if math.isfinite(alike):
        parts.append(f"rank correlation with the map of another target {alike:.2f}")
    return "; ".join(parts).replace("-", MINUS)


def _certificate(delta: Diagnostic, total: Diagnostic, gradients: Diagnostic | None, targets: Sequence[Label]) -> str:
    """How far the scores are from adding up, at what cost, and which targets missed their tolerance."""
    shares = _shares(delta, total)
    parts = [f"unexplained: median {percent(median(shares))}, at most {percent(max(shares))}"]
    if gradients is not None:
        fewest, most = (int(count) for count in (gradients.values.min(), gradients.values.max()))
        parts.append(f"{fewest if fewest == most else f'{fewest}–{most}'} gradients a target")
    names = [f"{target.name} ({percent(share)})" for target, share in zip(targets, shares, strict=True)]
    return "; ".join(parts) + _warning(delta, names)


def _warning(diagnostic: Diagnostic, names: Sequence[str]) -> str:
    """Which targets missed the tolerance, if there is one."""
    missed = [name for name, reached in zip(names, diagnostic.reached.tolist(), strict=True) if not reached]
    return f"; {WARNING} tolerance missed by {', '.join(missed)}" if missed else ""


def _standard_error(errors: list[list[float]], rows: Sequence[Row]) -> str:
    """The errors of the visible scores as shares of the largest score of their row, which the sink is no part of."""
    shares = [
        _share(errors[index][cell.source], row.limit)
        for index, row in enumerate(rows)
        for cell in row.cells
        if cell.value is not None and not cell.apart
    ]
    return f"median {percent(median(shares))} of the largest score, at most {percent(max(shares))}" if shares else ""


def _fit(fit: Diagnostic, rank_fit: Diagnostic | None) -> str:
    """How well a surrogate predicts coalitions that it was not fitted to; nothing where that is unknown."""
    pairs = (("R²", fit), ("rank correlation", rank_fit))
    parts = [f"{name} {text}" for name, each in pairs if each and (text := _summary(each))]
    return f"{', '.join(parts)}, on coalitions that it was not fitted to" if parts else ""


def _summary(diagnostic: Diagnostic) -> str:
    values = [value for value in diagnostic.values.flatten().tolist() if math.isfinite(value)]
    if not values:
        return ""
    if min(values) == max(values):
        return exact(values[0])
    return f"median {exact(median(values))}, from {exact(min(values))} to {exact(max(values))}"


def _shares(part: Diagnostic, total: Diagnostic) -> list[float]:
    """(K,) the magnitudes as shares of the totals'."""
    return [_share(*pair) for pair in zip(part.values.tolist(), total.values.tolist(), strict=True)]


def _share(part: float, of: float) -> float:
    return abs(part / of) if of else math.inf if part else 0.0
