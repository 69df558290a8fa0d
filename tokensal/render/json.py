"""JSON, schema version 3: everything an `Attribution` holds, readable by any language, and read back exactly.

    {
      "schema": "tokensal/attribution", "version": 3,
      "text": str,                              the shown text; start and stop count its characters
      "sources": [unit, …],                     J of them: {"ids", "text", "start", "stop", "role", "special",
                                                "against"}
      "targets": [unit, …],                     K of them; "against" is the text of a contrast, or empty
      "scores": [[number | null, …], …],        K rows of J; null where visible is false
      "visible": [[bool, …], …],                K rows of J
      "values": [number, …],                    K explained scores
      "signed": bool, "sink": int | null,
      "encoder": int,                           how many sources an encoder reads, the first ones
      "alternatives": [[{"id", "text", "probability"}, …], …],    for each target, or none at all
      "provenance": {"model", "revision", "architecture", "dtype", "device", "attention", "method",
                     "method_repr", "score", "seed", "question", "seconds", "versions", "config",
                     "options"},               options only where some differ from the defaults
      "diagnostics": [{
        "name": str,                            see `tokensal.types.Diagnostic`
        "dtype": "float32" | "int64",
        "values": [number | null, …] | [[number | null, …], …],     K of them, or K rows of J; null for NaN
        "allowed": [number, …] | null           K tolerances, if there are any
      }, …]
    }

A `Comparison` is {"schema": "tokensal/comparison", "version": 3, "attributions": [as above, …]}, two or more.

Numbers are float32, written with nine significant digits, which is enough to read back the same float32.

Version 2 is read, too: instead of diagnostics it has a "certificate", null or {"change", "residual", "allowed",
"nodes"} of K numbers each: the diagnostics `total`, `convergence_delta` with its tolerances, and `gradients`.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import torch

from tokensal.errors import FormatError, InputError
from tokensal.results.attribution import Alternative, Attribution, Provenance
from tokensal.results.comparison import Comparison
from tokensal.types import Diagnostic, Role, Unit

ATTRIBUTION, COMPARISON = "tokensal/attribution", "tokensal/comparison"
VERSION = 3
READABLE = (2, 3)

Result = TypeVar("Result", Attribution, Comparison)


def dumps(result: Attribution | Comparison) -> str:
    """The attribution or comparison as a JSON document."""
    document = _from_attribution(result) if isinstance(result, Attribution) else _from_comparison(result)
    return json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n"


def _from_comparison(comparison: Comparison) -> dict[str, Any]:
    attributions = [_from_attribution(attribution) for attribution in comparison.attributions]
    return {"schema": COMPARISON, "version": VERSION, "attributions": attributions}


def _from_attribution(attribution: Attribution) -> dict[str, Any]:
    return {
        "schema": ATTRIBUTION,
        "version": VERSION,
        "text": attribution.text,
        "sources": [asdict(unit) for unit in attribution.sources],
        "targets": [asdict(unit) for unit in attribution.targets],
        "scores": _nested(attribution.scores),
        "visible": attribution.visible.tolist(),
        "values": _nested(attribution.values),
        "signed": attribution.signed,
        "sink": attribution.sink,
        "encoder": attribution.encoder,
        "alternatives": [[asdict(alternative) for alternative in row] for row in attribution.alternatives],
        "provenance": _from_provenance(attribution.provenance),
        "diagnostics": [_from_diagnostic(*item) for item in attribution.diagnostics.items()],
    }


def _from_provenance(provenance: Provenance) -> dict[str, Any]:
    """Without options where all are the defaults, as in files of before there were options."""
    return {name: value for name, value in asdict(provenance).items() if name != "options" or value}


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


def read(path: str | PathLike[str], kind: type[Result]) -> Result:
    """Read the attribution or comparison in a file.

    Raises:
        FormatError: a missing or damaged file, one of the other kind, or a schema version this tokensal does not know.
    """
    name = f"{kind.__name__.lower()} {str(path)!r}"
    try:
        result = loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise FormatError(f"Cannot read {name}: {error.strerror}.") from error
    except (FormatError, UnicodeDecodeError) as error:
        raise FormatError(f"Cannot read {name}: {error}") from error
    if not isinstance(result, kind):
        stored = type(result).__name__
        raise FormatError(f"Cannot read {name}: its schema is that of a {stored}; read it with `{stored}.load`.")
    return result


def loads(document: str) -> Attribution | Comparison:
    """Read an attribution or comparison from a JSON document.

    Raises:
        FormatError: a damaged document, or a schema version this tokensal does not know.
    """
    try:
        data = json.loads(document)
    except ValueError as error:
        raise FormatError(f"it is not JSON ({error}); save it again with `save('….json')`.") from error
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema not in (ATTRIBUTION, COMPARISON):
        raise FormatError(
            f"its schema is not {ATTRIBUTION!r} or {COMPARISON!r}; only files written by `save('….json')` can be read."
        )
    if data.get("version") not in READABLE:
        raise FormatError(
            f"its schema has version {data.get('version')!r}, but this tokensal reads versions 2 and 3; "
            "read it with the tokensal that wrote it (see its provenance), or upgrade."
        )
    try:
        return _comparison(data) if schema == COMPARISON else _attribution(data)
    except (KeyError, TypeError, ValueError, AttributeError, InputError) as error:
        raise FormatError(f"it is damaged ({type(error).__name__}: {error}); save it again.") from error


def _comparison(data: dict[str, Any]) -> Comparison:
    return Comparison(tuple(map(_attribution, data["attributions"])))


def _attribution(data: dict[str, Any]) -> Attribution:
    sources, targets = _units(data["sources"]), _units(data["targets"])
    shape = (len(targets), len(sources))
    attribution = Attribution(
        text=data["text"],
        sources=sources,
        targets=targets,
        scores=_tensor(data["scores"], shape),
        visible=torch.tensor(data["visible"], dtype=torch.bool).reshape(shape),
        values=_tensor(data["values"], (len(targets),)),
        signed=bool(data["signed"]),
        sink=data["sink"],
        provenance=Provenance(**data["provenance"]),
        diagnostics=_diagnostics(data, shape),
        encoder=data["encoder"],
        alternatives=tuple(tuple(Alternative(**option) for option in row) for row in data["alternatives"]),
    )
    if not torch.equal(attribution.scores.isnan(), ~attribution.visible):
        raise ValueError("scores are null where they are visible, or numbers where they are not")
    return attribution


def _units(rows: list[dict[str, Any]]) -> tuple[Unit, ...]:
    return tuple(Unit(**{**row, "ids": tuple(row["ids"]), "role": Role(row["role"])}) for row in rows)


def _diagnostics(data: dict[str, Any], shape: tuple[int, int]) -> dict[str, Diagnostic]:
    if data["version"] == 2:
        return _of_version_2(data["certificate"], shape)
    return {row["name"]: _diagnostic(row, shape) for row in data["diagnostics"]}


def _diagnostic(row: dict[str, Any], shape: tuple[int, int]) -> Diagnostic:
    values, dtype = row["values"], row["dtype"]
    if dtype not in ("int64", "float32"):
        raise ValueError(f"a diagnostic should be int64 or float32, not {dtype!r}")
    of_cells = bool(values) and isinstance(values[0], list)
    return Diagnostic(
        _tensor(values, shape if of_cells else shape[:1], getattr(torch, dtype)),
        None if row["allowed"] is None else _tensor(row["allowed"], shape[:1]),
    )


def _of_version_2(certificate: dict[str, Any] | None, shape: tuple[int, int]) -> dict[str, Diagnostic]:
    if certificate is None:
        return {}
    change, residual, allowed = (_tensor(certificate[name], shape[:1]) for name in ("change", "residual", "allowed"))
    nodes = _tensor(certificate["nodes"], shape[:1], torch.int64)
    return {
        "total": Diagnostic(change),
        "convergence_delta": Diagnostic(residual, allowed),
        "gradients": Diagnostic(nodes),
    }


def _tensor(table: list[Any], shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """The numbers of a list, or of a list of lists; null is NaN where there is one."""
    rows = table if len(shape) > 1 else [table]
    if len(table) != shape[0] or any(len(row) != shape[-1] for row in rows):
        raise ValueError(f"a table should be {' × '.join(map(str, shape))}")
    if dtype == torch.int64 and not all(type(number) is int for row in rows for number in row):
        raise ValueError("a table of int64 should hold integers only")
    numbers = [[math.nan if number is None else number for number in row] for row in rows]
    return torch.tensor(numbers, dtype=dtype).reshape(shape)
