"""An evaluation as a long table: a line for each prompt, each method and each metric, in their order."""

from __future__ import annotations

from typing import Any

import numpy as np

from tokensal.render.files import storable
from tokensal.results.columns import Column
from tokensal.results.evaluation import Evaluation

Array = np.ndarray[Any, Any]
COLUMNS = (
    Column("prompt", "str", "the id of the prompt"),
    Column("kind", "str", "its kind; empty where it has none"),
    Column("targets", "int64", "how many targets it has"),
    Column("method", "str", "what tables call the method"),
    Column("method_repr", "str", "the method with all its options"),
    Column("baseline", "bool", "whether it is a baseline"),
    Column("metric", "str", "what tables call the metric"),
    Column("metric_repr", "str", "the metric with all its options"),
    Column("better", "str", "which values are better: higher or lower"),
    Column("value", "float64", "the mean over the targets; missing where the metric is not defined"),
    Column("seconds", "float64", "how long the method took for the prompt, the same for all metrics"),
)


def columns_of_evaluation(evaluation: Evaluation) -> dict[str, Array]:
    """The columns by name, as arrays of N · M · Q."""
    prompts, methods, metrics = evaluation.values.shape
    per_method = methods * metrics
    columns: dict[str, Array] = {}
    for name, field in (("prompt", "id"), ("kind", "kind"), ("targets", "targets")):
        columns[name] = np.repeat([getattr(each, field) for each in evaluation.prompts], per_method)
    for name, field in (("method", "name"), ("method_repr", "method_repr"), ("baseline", "baseline")):
        columns[name] = np.tile(np.repeat([getattr(each, field) for each in evaluation.methods], metrics), prompts)
    for name, field in (("metric", "name"), ("metric_repr", "metric_repr"), ("better", "better")):
        columns[name] = np.tile([getattr(each, field) for each in evaluation.metrics], prompts * methods)
    columns["value"] = evaluation.values.flatten().numpy()
    columns["seconds"] = np.repeat(evaluation.seconds.flatten().numpy(), metrics)
    return {column.name: _typed(columns[column.name], column.dtype) for column in COLUMNS}


def _typed(values: Array, dtype: str) -> Array:
    if dtype != "str":
        return values.astype(dtype)
    return np.array([storable(str(value)) for value in values], dtype=object)
