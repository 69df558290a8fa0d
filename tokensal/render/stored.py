"""What a JSON result may hold, type by type, and the results that are made of it (see `tokensal.render.json`).

Every key is required but a unit's place in the prompt, a method's options and quantity, credit that is direct, and the
request; no other is accepted, and nothing is converted: true is no number, and 1.0 no index.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, ValidationError

from tokensal.errors import FormatError, InputError
from tokensal.render.json import ATTRIBUTION, COMPARISON, EVALUATION, SUMMARY
from tokensal.render.stored_parts import LARGEST as LARGEST
from tokensal.render.stored_parts import Cell, Exact, Index, Integer, Number, Stored
from tokensal.render.stored_summary import SummaryVersion1, summary_of
from tokensal.results.attribution import DIRECT, Alternative, Attribution, Provenance
from tokensal.results.comparison import Comparison
from tokensal.results.evaluation import EvaluatedMethod, EvaluatedMetric, EvaluatedPrompt, Evaluation, Failure
from tokensal.results.summary import Summary
from tokensal.types import Diagnostic, Role, Unit

DEEPEST = 50  # levels of a configuration; to write more of them again, Python's stack may not suffice


class StoredUnit(Stored):
    ids: list[Index]
    text: str
    start: Index
    stop: Index
    role: Annotated[Role, Field(strict=False)]
    special: bool
    against: str
    in_prompt: Annotated[list[Index], Field(min_length=2, max_length=2)] | None = None
    message: Index | None = None
    fillers: Annotated[list[str], Field(min_length=1)] | None = None


class StoredAlternative(Stored):
    id: Index
    text: str
    probability: Annotated[Number, Field(ge=0)]


class StoredProvenance(Stored):
    model: str
    revision: str | None
    architecture: str
    dtype: str
    device: str
    attention: str
    method: str
    method_repr: str
    score: str
    seed: Annotated[int, Field(ge=-(2**63), le=2**64 - 1)] | None
    question: dict[str, str]
    seconds: Annotated[Number, Field(ge=0)]
    versions: dict[str, str]
    config: dict[str, Any]
    options: dict[str, str] = Field(default_factory=dict)
    credit: str = DIRECT
    quantity: str = ""
    request: dict[str, Any] = Field(default_factory=dict)


class StoredDiagnostic(Stored):
    name: str
    dtype: Literal["float32", "int64"]
    values: list[Cell] | list[list[Cell]]
    allowed: list[Number] | None


class Certificate(Stored):
    """What version 2 has in place of diagnostics."""

    change: list[Number]
    residual: list[Number]
    allowed: list[Number]
    nodes: list[Integer]


class StoredAttribution(Stored):
    """What both versions have."""

    kind: Literal["tokensal/attribution"] = Field(alias="schema")
    text: str
    sources: Annotated[list[StoredUnit], Field(min_length=1)]
    targets: Annotated[list[StoredUnit], Field(min_length=1)]
    scores: list[list[Number | None]]
    visible: list[list[bool]]
    values: list[Number | None]
    signed: bool
    sink: Index | None
    encoder: Index
    alternatives: list[list[StoredAlternative]]
    provenance: StoredProvenance


class AttributionVersion2(StoredAttribution):
    version: Literal[2]
    certificate: Certificate | None


class AttributionVersion3(StoredAttribution):
    version: Literal[3]
    diagnostics: list[StoredDiagnostic]


class ComparisonVersion2(Stored):
    kind: Literal["tokensal/comparison"] = Field(alias="schema")
    version: Literal[2]
    attributions: list[AttributionVersion2]


class ComparisonVersion3(Stored):
    kind: Literal["tokensal/comparison"] = Field(alias="schema")
    version: Literal[3]
    attributions: list[AttributionVersion3]


class StoredMethod(Stored):
    name: str
    method_repr: str
    signed: bool
    baseline: bool


class StoredMetric(Stored):
    name: str
    metric_repr: str
    summary: str
    better: Literal["higher", "lower"]


class StoredPrompt(Stored):
    id: str
    kind: str
    text: str
    targets: Index


class StoredFailure(Stored):
    prompt: Index
    method: Index
    reason: str


class EvaluationVersion1(Stored):
    kind: Literal["tokensal/evaluation"] = Field(alias="schema")
    version: Literal[1]
    methods: Annotated[list[StoredMethod], Field(min_length=1)]
    metrics: Annotated[list[StoredMetric], Field(min_length=1)]
    prompts: Annotated[list[StoredPrompt], Field(min_length=1)]
    values: list[list[list[Exact | None]]]
    seconds: list[list[Exact | None]]
    curves: list[list[Annotated[list[list[Exact | None]], Field(min_length=2, max_length=2)]]]
    failures: list[StoredFailure]
    facts: dict[str, str]
    config: dict[str, Any]


MODELS: Mapping[tuple[str, int], type[Stored]] = {
    (ATTRIBUTION, 2): AttributionVersion2,
    (ATTRIBUTION, 3): AttributionVersion3,
    (COMPARISON, 2): ComparisonVersion2,
    (COMPARISON, 3): ComparisonVersion3,
    (EVALUATION, 1): EvaluationVersion1,
    (SUMMARY, 1): SummaryVersion1,
}


def result_of(data: dict[str, Any]) -> Attribution | Comparison | Evaluation | Summary:
    """The result that a JSON document of a known schema and version holds.

    Raises:
        FormatError: it holds anything but what one has.
    """
    try:
        stored = MODELS[data["schema"], data["version"]].model_validate(data)
        if isinstance(stored, ComparisonVersion2 | ComparisonVersion3):
            return Comparison(tuple(map(_attribution, stored.attributions)))
        if isinstance(stored, EvaluationVersion1):
            return _evaluation(stored)
        if isinstance(stored, SummaryVersion1):
            _require_shallow(stored.config)
            return summary_of(stored)
        assert isinstance(stored, AttributionVersion2 | AttributionVersion3)
        return _attribution(stored)
    except ValidationError as error:
        raise _damaged(_first(error)) from error
    except (ValueError, InputError) as error:
        raise _damaged(str(error)) from error


def _first(error: ValidationError) -> str:
    """What is wrong first, and where."""
    details = error.errors(include_url=False)[0]
    place, value = ".".join(map(str, details["loc"])), _shortened(details["input"])
    return f"{place}: {details['msg']}, but got {value}"


def _shortened(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer that is too long to be written
        return "a very long integer"
    return text if len(text) <= 40 else f"{text[:40]}…"


def _damaged(reason: str) -> FormatError:
    return FormatError(f"it is damaged ({reason}); save it again.")


def _evaluation(stored: EvaluationVersion1) -> Evaluation:
    _require_shallow(stored.config)
    shape = (len(stored.prompts), len(stored.methods))
    points = len(stored.curves[0][0][0]) if stored.curves and stored.curves[0] else 0
    return Evaluation(
        methods=tuple(EvaluatedMethod(**_keywords(each)) for each in stored.methods),
        metrics=tuple(EvaluatedMetric(**_keywords(each)) for each in stored.metrics),
        prompts=tuple(EvaluatedPrompt(**_keywords(each)) for each in stored.prompts),
        values=_tensor_of(stored.values, (*shape, len(stored.metrics))),
        seconds=_tensor_of(stored.seconds, shape),
        curves=_tensor_of(stored.curves, (*shape, 2, points)),
        failures=tuple(Failure(**_keywords(each)) for each in stored.failures),
        facts=stored.facts,
        config=stored.config,
    )


def _tensor_of(table: Any, shape: tuple[int, ...]) -> torch.Tensor:
    """(…) float64 the numbers of nested lists; null is NaN."""
    rows = [table]
    for size in shape:
        if any(len(row) != size for row in rows):
            raise ValueError(f"a table should be {' × '.join(map(str, shape))}")
        rows = [each for row in rows for each in row]
    numbers = [math.nan if number is None else number for number in rows]
    return torch.tensor(numbers, dtype=torch.float64, device="cpu").reshape(shape)


def _attribution(stored: AttributionVersion2 | AttributionVersion3) -> Attribution:
    shape = (len(stored.targets), len(stored.sources))
    config, request = stored.provenance.config, stored.provenance.request
    _require_indices(stored)
    _require_shallow(config)
    _require_shallow(request)
    visible = _tensor(stored.visible, shape, torch.bool)
    scores = _tensor(stored.scores, shape)
    if not torch.equal(scores.isnan(), ~visible):
        raise ValueError("scores are null where they are visible, or numbers where they are not")
    if stored.alternatives and len(stored.alternatives) != len(stored.targets):
        raise ValueError(f"alternatives should be those of {len(stored.targets)} targets, or none")
    return Attribution(
        text=stored.text,
        sources=tuple(map(_unit, stored.sources)),
        targets=tuple(map(_unit, stored.targets)),
        scores=scores,
        visible=visible,
        values=_tensor(stored.values, shape[:1]),
        signed=stored.signed,
        sink=stored.sink,
        provenance=Provenance(**_keywords(stored.provenance)),
        diagnostics=_diagnostics(stored, shape),
        encoder=stored.encoder,
        alternatives=tuple(tuple(Alternative(**_keywords(each)) for each in row) for row in stored.alternatives),
    )


def _unit(stored: StoredUnit) -> Unit:
    in_prompt = None if stored.in_prompt is None else (stored.in_prompt[0], stored.in_prompt[1])
    fillers = None if stored.fillers is None else tuple(stored.fillers)
    return Unit(**_keywords(stored) | {"ids": tuple(stored.ids), "in_prompt": in_prompt, "fillers": fillers})


def _keywords(stored: Stored) -> dict[str, Any]:
    return {name: getattr(stored, name) for name in stored.model_fields_set}


def _require_indices(stored: StoredAttribution) -> None:
    count = len(stored.sources)
    if stored.sink is not None and stored.sink >= count:
        raise ValueError(f"the sink is source {stored.sink}, but there are {count}, from 0 on")
    if stored.encoder > count:
        raise ValueError(f"an encoder reads {stored.encoder} sources, but there are {count}")
    for unit in (*stored.sources, *stored.targets):
        if not unit.start <= unit.stop <= len(stored.text):
            raise ValueError(
                f"a unit should be in the text, whose length is {len(stored.text)}, but is at {unit.start}:{unit.stop}"
            )


def _require_shallow(config: Any) -> None:
    level = [config]
    for _ in range(DEEPEST):
        level = [child for node in level for child in _children(node)]
    if level:
        raise ValueError(f"its configuration has more than {DEEPEST} levels")


def _children(node: Any) -> Sequence[Any]:
    return list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else ()


def _diagnostics(stored: AttributionVersion2 | AttributionVersion3, shape: tuple[int, int]) -> dict[str, Diagnostic]:
    if isinstance(stored, AttributionVersion3):
        diagnostics = {each.name: _diagnostic(each, shape) for each in stored.diagnostics}
        if len(diagnostics) < len(stored.diagnostics):
            raise ValueError("two diagnostics have one name")
        return diagnostics
    certificate = stored.certificate
    if certificate is None:
        return {}
    allowed = _tensor(certificate.allowed, shape[:1])
    return {
        "total": Diagnostic(_tensor(certificate.change, shape[:1])),
        "convergence_delta": Diagnostic(_tensor(certificate.residual, shape[:1]), allowed),
        "gradients": Diagnostic(_tensor(certificate.nodes, shape[:1], torch.int64)),
    }


def _diagnostic(stored: StoredDiagnostic, shape: tuple[int, int]) -> Diagnostic:
    of_cells = isinstance(stored.values[0], list) if stored.values else False
    values = _tensor(stored.values, shape if of_cells else shape[:1], getattr(torch, stored.dtype))
    return Diagnostic(values, None if stored.allowed is None else _tensor(stored.allowed, shape[:1]))


def _tensor(table: Sequence[Any], shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """The numbers of a list, or of a list of lists, on the CPU; null is NaN where there is one."""
    rows = table if len(shape) > 1 else [table]
    if len(table) != shape[0] or any(len(row) != shape[-1] for row in rows):
        raise ValueError(f"a table should be {' × '.join(map(str, shape))}")
    if dtype == torch.int64 and not all(type(number) is int for row in rows for number in row):
        raise ValueError("a table of int64 should hold integers only")
    numbers = [[math.nan if number is None else number for number in row] for row in rows]
    return torch.tensor(numbers, dtype=dtype, device="cpu").reshape(shape)
