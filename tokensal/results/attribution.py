"""The result: an `Attribution` is data, and three doors to the rooms that draw and store it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from torch import Tensor

from tokensal.types import Diagnostics, Unit


@dataclass(frozen=True, slots=True)
class Provenance:
    """Everything needed to say where the numbers came from, and to compute them again.

    `question` says what was asked, where it is not the plain question: units, chosen targets and sources, a contrast.
    `seconds` is the time the method took, once the model was loaded and the answer there.
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


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token that the model considered, and its probability."""

    id: int
    text: str
    probability: float


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """How much each source contributed to each target. A source, or a target, is a token or a unit of several.

    Attributes:
        text: the shown text, prompt and continuation; offsets refer to it.
        sources: J units of what the model reads: the prompt (what an encoder reads, if there is one), then what
            the decoder has read of the answer.
        targets: K groups of tokens being explained.
        scores: (K, J) float32, in units of the explained score (natural-log units for `logprob`; for a gradient
            norm, per unit of embedding). NaN where `visible` is False.
        visible: (K, J) bool, what causality allows, of the sources that were asked about.
        values: (K,) float32, the explained score of each target on the unaltered input.
        signed: whether negative scores mean "spoke against"; False for norms.
        sink: index of the source where attention collects, or None.
        provenance: model, method, versions, seed.
        diagnostics: what the method measured about its own error, by name (see `tokensal.types.Diagnostic`).
        encoder: how many sources, the first ones, an encoder reads; 0 without one.
        alternatives: for each target, the tokens that the model held most likely where it begins; none if not asked.
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

    def show(self, *, matrix: bool = False, sink: bool = False) -> None:
        """Print the heatmap to the terminal.

        Args:
            matrix: the full table of sources and targets as well, where it fits.
            sink: count the sink token into scales and rankings too.
        """
        from tokensal.render.terminal import heatmap as terminal

        terminal.show(self, matrix=matrix, sink=sink)

    def save(self, path: str | PathLike[str], *, sink: bool = False) -> None:
        """Write the attribution to `path`; the suffix chooses the format (.html, .json or .txt).

        The file is written aside and renamed, so that an existing one is never half overwritten.

        Raises:
            OutputError: unknown suffix, or a place that cannot be written.
        """
        from tokensal.render import save

        save(self, path, sink=sink)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Attribution:
        """Read what `save("….json")` wrote.

        Raises:
            FormatError: a missing or damaged file, or a schema version this tokensal does not know.
        """
        from tokensal.render import load

        return load(path)

    def _repr_html_(self) -> str:
        from tokensal.render.html import heatmap as html

        return html.notebook(self)

    def __repr__(self) -> str:
        made = self.provenance
        shape = f"{len(self.targets)} targets × {len(self.sources)} sources"
        return f"Attribution({made.method_repr} of {made.score}, {shape}, {made.model})"
