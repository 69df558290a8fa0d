"""The scores as a long table, whose columns are those of `tokensal.results.columns`: as arrays, and for pandas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tokensal.render.evaluation_table import COLUMNS as OF_EVALUATION
from tokensal.render.evaluation_table import columns_of_evaluation
from tokensal.render.extras import requiring
from tokensal.render.files import storable
from tokensal.render.summary_table import COLUMNS as OF_SUMMARY
from tokensal.render.summary_table import columns_of_summary
from tokensal.results.attribution import Attribution
from tokensal.results.columns import COLUMNS, OF_ROW
from tokensal.results.comparison import Comparison
from tokensal.results.evaluation import Evaluation
from tokensal.results.row import Row
from tokensal.results.summary import Summary
from tokensal.types import Unit

if TYPE_CHECKING:
    from pandas import DataFrame

Array = np.ndarray[Any, Any]
ARRAYS = {"str": object, "int64": np.int64, "Int64": object, "float32": np.float32, "bool": np.bool_}
DTYPES = {column.name: column.dtype for column in (*COLUMNS, *OF_EVALUATION, *OF_SUMMARY)}  # of arrays of objects
STANDARD_ERROR = "standard_error"


def attributions_of(result: Attribution | Comparison) -> tuple[Attribution, ...]:
    """All that are in a result."""
    return result.attributions if isinstance(result, Comparison) else (result,)


def columns_of(result: Attribution | Comparison | Evaluation | Summary) -> dict[str, Array]:
    """The columns by name, as arrays of one length; a number that is missing is None, or NaN."""
    if isinstance(result, Evaluation):
        return columns_of_evaluation(result)
    if isinstance(result, Summary):
        return columns_of_summary(result)
    parts = [_columns(number, attribution) for number, attribution in enumerate(attributions_of(result))]
    return {column.name: np.concatenate([part[column.name] for part in parts]) for column in COLUMNS}


def columns_of_row(row: Row) -> dict[str, Array]:
    """The columns of a row by name, as arrays of n."""
    sink = np.arange(len(row)) == (-1 if row.sink is None else row.sink)
    columns = {
        "source": np.array(row.numbers, dtype=np.int64),
        **_source_columns(row.sources),
        "sink": sink,
        "score": row.scores.numpy(force=True),
        "share": row.shares.numpy(force=True),
    }
    return {column.name: columns[column.name] for column in OF_ROW}


def _columns(number: int, attribution: Attribution) -> dict[str, Array]:
    target, source = (part.numpy(force=True) for part in attribution.visible.nonzero(as_tuple=True))
    provenance = attribution.provenance
    same = {
        "attribution": number,
        "model": storable(provenance.model),
        "method": storable(provenance.method),
        "method_repr": storable(provenance.method_repr),
        "credit": storable(provenance.credit),
        "explained": storable(provenance.score),
    }
    targets = _target_columns(attribution.targets) | {"value": attribution.values.numpy(force=True)}
    error = attribution.diagnostics.get(STANDARD_ERROR)
    errors = torch.full_like(attribution.scores, torch.nan) if error is None else error.values
    cells = {"score": attribution.scores, "share": attribution.shares, STANDARD_ERROR: errors}
    return {
        **{name: _array(name, [value] * len(target)) for name, value in same.items()},
        "target": target,
        **{name: values[target] for name, values in targets.items()},
        "source": source,
        **{name: values[source] for name, values in _source_columns(attribution.sources).items()},
        "sink": source == (-1 if attribution.sink is None else attribution.sink),
        "encoder": source < attribution.encoder,
        **{name: values.numpy(force=True)[target, source].astype(np.float32) for name, values in cells.items()},
    }


def _target_columns(targets: Sequence[Unit]) -> dict[str, Array]:
    columns = {f"target_{name}": values for name, values in _unit_columns(targets).items()}
    return columns | {"against": _array("against", [storable(target.against) for target in targets])}


def _source_columns(sources: Sequence[Unit]) -> dict[str, Array]:
    columns = {f"source_{name}": values for name, values in _unit_columns(sources).items()}
    return columns | {
        "source_message": _array("source_message", [source.message for source in sources]),
        "special": _array("special", [source.special for source in sources]),
    }


def _unit_columns(units: Sequence[Unit]) -> dict[str, Array]:
    return {
        "text": _array("source_text", [storable(unit.text) for unit in units]),
        "role": _array("source_role", [unit.role.value for unit in units]),
        "start": _array("source_start", [unit.start for unit in units]),
        "stop": _array("source_stop", [unit.stop for unit in units]),
    }


def _array(name: str, values: Iterable[Any]) -> Array:
    return np.array(list(values), dtype=ARRAYS[DTYPES[name]])


def frame(columns: Mapping[str, Array]) -> DataFrame:
    """The columns as pandas has them.

    Raises:
        InputError: pandas is not installed.
    """
    with requiring("data"):
        import pandas
    dtypes = {name: DTYPES[name] if values.dtype == object else values.dtype for name, values in columns.items()}
    return pandas.DataFrame({name: pandas.Series(values, dtype=dtypes[name]) for name, values in columns.items()})
