"""An `Attribution`: the scores of one method, what they are about, and where they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from tokensal.results.result import Result
from tokensal.types import Diagnostics, Unit


@dataclass(frozen=True, slots=True)
class Provenance:
    """Everything needed to say where the numbers came from, and to compute them again.

    `question` holds what differs from the default question: units, selected targets and sources, a contrast; `options`
    what differs from the default options of the method, while `method_repr` has all of them.
    `seconds` is the time the method took, without loading the model and generating the answer.
    """

    model: str
    revision: str | None
    architecture: str
    dtype: str
    device: str
    attention: str
    method: str
    method_repr: str
    score: str
    seed: int | None = None
    question: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    versions: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token that the model considered, and its probability."""

    id: int
    text: str
    probability: float


@dataclass(frozen=True, slots=True, eq=False)
class Attribution(Result):
    """How much each source contributed to each target. A source, or a target, is a token or a unit of several.

    Attributes:
        text: the shown text, prompt and continuation; offsets refer to it.
        sources: J units of what the model reads: the prompt (what an encoder reads, if there is one), then what
            the decoder has read of the answer.
        targets: K groups of tokens being explained.
        scores: (K, J) float32, in units of the explained score (natural-log units for `logprob`; for a gradient
            norm, per unit of embedding). NaN where `visible` is False.
        visible: (K, J) bool, what causality allows, of the selected sources.
        values: (K,) float32, the explained score of each target on the unaltered input.
        signed: whether negative scores mean "spoke against"; False for norms.
        sink: index of the sink, a special or template token that the decoder reads first; None where that is content.
        provenance: model, method, versions, seed.
        diagnostics: what the method measured about its own error, by name (see `tokensal.types.Diagnostic`).
        encoder: how many sources, the first ones, an encoder reads; 0 without one.
        alternatives: for each target, the tokens that the model held most likely where it begins; none by default.
    """

    text: str
    sources: tuple[Unit, ...]
    targets: tuple[Unit, ...]
    scores: Tensor
    visible: Tensor
    values: Tensor
    signed: bool
    sink: int | None
    provenance: Provenance
    diagnostics: Diagnostics = field(default_factory=dict)
    encoder: int = 0
    alternatives: tuple[tuple[Alternative, ...], ...] = ()

    def __repr__(self) -> str:
        provenance = self.provenance
        shape = f"{len(self.targets)} targets × {len(self.sources)} sources"
        return f"Attribution({provenance.method_repr} of {provenance.score}, {shape}, {provenance.model})"
