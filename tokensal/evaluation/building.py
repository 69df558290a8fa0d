"""Which methods and which metrics are measured, by the names that tables call them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from tokensal.errors import InputError, require_known, unknown
from tokensal.evaluation import METRICS
from tokensal.evaluation.baselines import BASELINES
from tokensal.evaluation.metric import Metric
from tokensal.evaluation.removal import RemovalMetric
from tokensal.methods import Method, build, label_of
from tokensal.values import described


def build_metric(name: str, options: Mapping[str, Any] | None = None) -> Metric:
    """Make the metric of that name with those options: `build_metric("abpc", {"steps": 10})`.

    Raises:
        InputError: an unknown metric or option (the nearest one is offered), or a value it does not take.
    """
    [name] = require_known("metric", name, METRICS)
    known = list(inspect.signature(METRICS[name]).parameters)
    for option in options or {}:
        if not known:
            raise InputError(f"Metric {name!r} takes no options, but got {option!r}; leave it out.")
        if option not in known:
            raise unknown(f"option of metric {name!r}:", option, known)
    metric: Metric = METRICS[name](**(options or {}))
    return metric


def build_metrics(
    names: Iterable[str], options: Mapping[str, Mapping[str, Any]], replacements: Sequence[str] = ("mask",)
) -> list[Metric]:
    """Metrics by name, each with its own options; of one that takes units away, one for each replacement.

    Args:
        names: of the metrics.
        options: by the name of the metric that they are of; a replacement among them goes before the others.
        replacements: what "absent" means.

    Raises:
        InputError: as `build_metric`, or no replacement.
    """
    if isinstance(replacements, str) or not list(replacements):
        raise InputError(f"The replacements are {described(replacements)}, but should be a list, as in ['mask'].")
    return [metric for name in names for metric in _replaced(name, options.get(name, {}), replacements)]


def _replaced(name: str, options: Mapping[str, Any], replacements: Sequence[str]) -> Iterator[Metric]:
    [name] = require_known("metric", name, METRICS)
    if not issubclass(METRICS[name], RemovalMetric) or "replacement" in options:
        yield build_metric(name, options)
        return
    for replacement in replacements:
        yield build_metric(name, {**options, "replacement": replacement})


def named_methods(methods: Iterable[str | Method | type[Method]]) -> dict[str, Method]:
    """The methods by name, then the baselines, of which none needs to be named.

    Raises:
        InputError: no method, an unknown one, or the same one twice.
    """
    named: dict[str, Method] = {}
    for method in map(build, _listed("methods", methods, "lrp")):
        name = label_of(method)
        if name in named:
            raise InputError(f"Method {method} is given twice: give it once, or with other options.")
        named[name] = method
    if not named:
        raise InputError("There are no methods to evaluate: name one, such as 'lrp'.")
    own = {name: method for name, method in named.items() if name not in BASELINES}
    return own | {name: build(method) for name, method in BASELINES.items()}


def named_metrics(metrics: Iterable[str | Metric], replacements: Sequence[str]) -> dict[str, Metric]:
    """The metrics by name; of one that is given by name and takes units away, one for each replacement.

    Raises:
        InputError: no metric, an unknown one, or the same one twice.
    """
    named: dict[str, Metric] = {}
    for metric in _listed("metrics", metrics, "abpc"):
        for each in build_metrics([metric], {}, replacements) if isinstance(metric, str) else [_metric(metric)]:
            options = " ".join(f"{name}={value}" for name, value in _differences(each).items())
            name = f"{each.name} {options}".strip()
            if name in named:
                raise InputError(f"Metric {each} is given twice: give it once, or with other options.")
            named[name] = each
    if not named:
        raise InputError("There are no metrics to measure: name one, such as 'abpc'.")
    return named


def _listed(kind: str, values: Any, example: str) -> list[Any]:
    if isinstance(values, str):
        return [values]
    if not isinstance(values, Iterable):
        raise InputError(f"The {kind} should be a list, as in [{example!r}, …], but are {described(values)}.")
    return list(values)


def _metric(metric: Any) -> Metric:
    if inspect.isclass(metric) or not callable(metric) or not hasattr(metric, "needs_gold"):
        raise InputError(
            f"A metric should be a name such as 'abpc', or a value such as ABPC(steps=10), but is {described(metric)}."
        )
    built: Metric = metric
    return built


def _differences(metric: Any) -> dict[str, Any]:
    """Which options of a metric differ from the defaults."""
    declared = fields(metric) if hasattr(metric, "__dataclass_fields__") else ()
    values = ((each.name, getattr(metric, each.name), each.default) for each in declared)
    return {name: value for name, value, default in values if value != default}
