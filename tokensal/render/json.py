"""JSON, schema version 3: everything an `Attribution` holds, readable by any language, and read back exactly.

    {
      "schema": "tokensal/attribution", "version": 3,
      "text": str,                              the shown text; start and stop count its characters
      "sources": [unit, …],                     J of them: {"ids", "text", "start", "stop", "role", "special",
                                                "against"}, and where it stands in the user's own prompt or message,
                                                "in_prompt": [start, stop] and "message": int, and the texts that
                                                may stand in its place, "fillers": [str, …]
      "targets": [unit, …],                     K of them; "against" is the text of a contrast, or empty
      "scores": [[number | null, …], …],        K rows of J; null where visible is false
      "visible": [[bool, …], …],                K rows of J
      "values": [number, …],                    K explained scores
      "signed": bool, "sink": int | null,
      "encoder": int,                           how many sources an encoder reads, the first ones
      "alternatives": [[{"id", "text", "probability"}, …], …],    for each target, or none at all
      "provenance": {"model", "revision", "architecture", "dtype", "device", "attention", "method",
                     "method_repr", "score", "seed", "question", "seconds", "versions", "config",
                     "options", "credit", "quantity", "request"},     options only where some differ from the
                                               defaults, credit where it is not "direct", what one score is, where
                                               known, and the arguments that make it again (see `tokensal.request`)
      "diagnostics": [{
        "name": str,                            see `tokensal.types.Diagnostic`
        "dtype": "float32" | "int64",
        "values": [number | null, …] | [[number | null, …], …],     K of them, or K rows of J; null for NaN
        "allowed": [number, …] | null           K tolerances, if there are any
      }, …]
    }

A `Comparison` is {"schema": "tokensal/comparison", "version": 3, "attributions": [as above, …]}, two or more.

An `Evaluation` of N prompts, M methods and Q metrics is

    {
      "schema": "tokensal/evaluation", "version": 1,
      "methods": [{"name", "method_repr", "signed", "baseline"}, …],
      "metrics": [{"name", "metric_repr", "summary", "better": "higher" | "lower"}, …],
      "prompts": [{"id", "kind", "text", "targets"}, …],
      "values": N tables of M rows of Q numbers; null for NaN, here and below
      "seconds": N rows of M numbers,
      "curves": N tables of M pairs of F numbers: with the most relevant units absent, and with the least relevant ones
      "failures": [{"prompt", "method", "reason"}, …],
      "facts": {name: text, …}, "config": {…}
    }

whose numbers are float64, written such that they are read back exactly.

A `Summary` of N examples and M methods is

    {
      "schema": "tokensal/summary", "version": 1,
      "examples": N,
      "methods": [{"name", "method_repr", "examples", "targets", "seconds": mean, "sink": mean,
                   "unexplained": {"median", "ninety", "examples"}}, …],
      "breakdowns": [{"name", "meaning", "categories": [{"name", "sources": number, "means": [mean, …]}, …]}, …],
      "agreements": [{"first", "second", "correlation": mean, "overlap": mean}, …],
      "top_sources": [{"method", "text", "targets", "examples", "share"}, …],
      "failures": [{"method", "reason", "count"}, …],
      "top": int, "facts": {name: text, …}, "config": {…}
    }

where a mean is {"value", "low", "high", "prompts", "missing"}: over how many examples it is, and how many have no
number. These are float64, too; null for NaN.

Numbers are float32, written with nine significant digits, which is enough to read back the same float32. In "config",
what JSON has not (infinity, a dtype, …) is a string. What is read must be of these types exactly (see `stored`).

Version 2 is read, too: instead of diagnostics it has a "certificate", null or {"change", "residual", "allowed",
"nodes"} of K numbers each: the diagnostics `total`, `convergence_delta` with its tolerances, and `gradients`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import torch

from tokensal.errors import FormatError
from tokensal.results.attribution import DIRECT, Attribution, Provenance
from tokensal.results.comparison import Comparison
from tokensal.results.evaluation import Evaluation
from tokensal.results.summary import Summary
from tokensal.types import Diagnostic, Unit

ATTRIBUTION, COMPARISON, EVALUATION = "tokensal/attribution", "tokensal/comparison", "tokensal/evaluation"
SUMMARY = "tokensal/summary"
VERSION, EVALUATION_VERSION, SUMMARY_VERSION = 3, 1, 1
READABLE = {ATTRIBUTION: (2, 3), COMPARISON: (2, 3), EVALUATION: (1,), SUMMARY: (1,)}

AnyResult = Attribution | Comparison | Evaluation | Summary
Result = TypeVar("Result", Attribution, Comparison, Evaluation, Summary)


def dumps(result: AnyResult) -> str:
    """The result as a JSON document."""
    return json.dumps(_document(result), ensure_ascii=False, allow_nan=False) + "\n"


def _document(result: AnyResult) -> dict[str, Any]:
    if isinstance(result, Evaluation):
        return evaluation_document(result)
    if isinstance(result, Summary):
        return summary_document(result)
    return attribution_document(result) if isinstance(result, Attribution) else _from_comparison(result)


def evaluation_document(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation as JSON has it."""
    return {
        "schema": EVALUATION,
        "version": EVALUATION_VERSION,
        "methods": list(map(asdict, evaluation.methods)),
        "metrics": list(map(asdict, evaluation.metrics)),
        "prompts": list(map(asdict, evaluation.prompts)),
        "values": _exact(evaluation.values.tolist()),
        "seconds": _exact(evaluation.seconds.tolist()),
        "curves": _exact(evaluation.curves.tolist()),
        "failures": list(map(asdict, evaluation.failures)),
        "facts": dict(evaluation.facts),
        "config": _plain(evaluation.config),
    }


def summary_document(summary: Summary) -> dict[str, Any]:
    """A summary as JSON has it."""
    document = {**asdict(summary), "facts": dict(summary.facts), "config": _plain(summary.config)}
    return {"schema": SUMMARY, "version": SUMMARY_VERSION, **_finite_only(document)}


def _finite_only(value: Any) -> Any:
    """Plain data in any nesting, null for NaN."""
    if isinstance(value, dict):
        return {name: _finite_only(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_finite_only, value))
    return None if isinstance(value, float) and math.isnan(value) else value


def _exact(numbers: Any) -> Any:
    """Numbers of float64 in any nesting, null for NaN."""
    if isinstance(numbers, list):
        return list(map(_exact, numbers))
    return None if math.isnan(numbers) else numbers


def _from_comparison(comparison: Comparison) -> dict[str, Any]:
    attributions = [attribution_document(attribution) for attribution in comparison.attributions]
    return {"schema": COMPARISON, "version": VERSION, "attributions": attributions}


def attribution_document(attribution: Attribution) -> dict[str, Any]:
    """An attribution as JSON has it."""
    return {
        "schema": ATTRIBUTION,
        "version": VERSION,
        "text": attribution.text,
        "sources": list(map(_from_unit, attribution.sources)),
        "targets": list(map(_from_unit, attribution.targets)),
        "scores": _nested(attribution.scores),
        "visible": attribution.visible.tolist(),
        "values": _nested(attribution.values),
        "signed": attribution.signed,
        "sink": attribution.sink,
        "encoder": attribution.encoder,
        "alternatives": [[asdict(alternative) for alternative in row] for row in attribution.alternatives],
        "provenance": provenance_document(attribution.provenance),
        "diagnostics": [_from_diagnostic(*item) for item in attribution.diagnostics.items()],
    }


def _from_unit(unit: Unit) -> dict[str, Any]:
    """A unit; where it stands in the user's own prompt is left out if it stands nowhere there."""
    return {name: value for name, value in asdict(unit).items() if value is not None}


def provenance_document(provenance: Provenance) -> dict[str, Any]:
    """Without what says no more than the defaults, as in files of before there was such."""
    values = {each.name: _plain(getattr(provenance, each.name)) for each in fields(Provenance)}
    left_out = {"options": {}, "credit": DIRECT, "quantity": "", "request": {}}
    return {name: value for name, value in values.items() if name not in left_out or value != left_out[name]}


def _plain(value: Any) -> Any:
    """A value as JSON has it; one that JSON has not, such as infinity or a dtype, as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | None) else str(value)


def _from_diagnostic(name: str, diagnostic: Diagnostic) -> dict[str, Any]:
    values, allowed = diagnostic.values, diagnostic.allowed
    return {
        "name": name,
        "dtype": "float32" if values.is_floating_point() else "int64",
        "values": _nested(values),
        "allowed": None if allowed is None else _nested(allowed),
    }


def _nested(tensor: torch.Tensor) -> list[Any]:
    if tensor.ndim > 1:
        return [_nested(row) for row in tensor]
    return _numbers(tensor.tolist()) if tensor.is_floating_point() else tensor.tolist()


def _numbers(row: list[float]) -> list[float | None]:
    return [float(f"{number:.9g}") if math.isfinite(number) else None for number in row]


def read(source: str | PathLike[str] | BinaryIO, kind: type[Result] | None = None) -> Result:
    """Read the result in a file, or from a stream.

    Raises:
        FormatError: a missing or damaged file, one of another kind, or a schema version this tokensal does not know.
    """
    if isinstance(source, str | PathLike):
        place, read_bytes = str(source), Path(source).read_bytes
    else:
        place, read_bytes = getattr(source, "name", "stream"), source.read
    name = f"{kind.__name__.lower() if kind else 'result'} {place!r}"
    try:
        result = loads(read_bytes())
    except OSError as error:
        raise FormatError(f"Cannot read {name}: {error.strerror}.") from error
    except (FormatError, ValueError) as error:  # ValueError: a name that no file can have
        raise FormatError(f"Cannot read {name}: {error}") from error
    if kind and not isinstance(result, kind):
        stored = type(result).__name__
        article = "an" if stored[0] in "AE" else "a"
        raise FormatError(
            f"Cannot read {name}: its schema is that of {article} {stored}; read it with `{stored}.load`."
        )
    return cast(Result, result)


def loads(document: str | bytes) -> AnyResult:
    """Read a result from a JSON document.

    Raises:
        FormatError: a damaged document, or a schema version this tokensal does not know.
    """
    from tokensal.render.stored import result_of

    try:
        text = document if isinstance(document, str) else document.decode("utf-8")
        data = json.loads(text, object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"it is not JSON ({error}); save it again with `save('….json')`.") from error
    schema = data.get("schema") if isinstance(data, dict) else None
    if not isinstance(schema, str) or schema not in READABLE:
        names = ", ".join(map(repr, READABLE))
        raise FormatError(f"its schema is not one of {names}; only files written by `save('….json')` can be read.")
    version = data.get("version")
    if type(version) is not int or version not in READABLE[schema]:
        known = " and ".join(map(str, READABLE[schema]))
        raise FormatError(
            f"its schema has version {version!r}, but this tokensal reads version{'s' * (len(READABLE[schema]) > 1)} "
            f"{known}; read it with the tokensal that wrote it (see its provenance), or upgrade."
        )
    return result_of(data)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(table := dict(pairs)) < len(pairs):
        raise ValueError("an object has a key twice")
    return table


def _finite(literal: str) -> float:
    if not math.isfinite(number := float(literal)):
        raise ValueError(f"{literal[:20]} is no finite number")
    return number
