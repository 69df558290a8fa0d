"""An `Attribution`: the scores of one method, what they are about, and where they came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, SupportsIndex, overload

import numpy as np
import torch
from torch import Tensor

from tokensal.drawable import drawable
from tokensal.errors import InputError
from tokensal.results.result import Result, array_of
from tokensal.results.row import Row, Scored, contains, shares_of
from tokensal.results.selecting import is_single, position_of, positions_of
from tokensal.results.tracing import name_of_credit, passed_on, rows_of_answer
from tokensal.types import Diagnostic, Diagnostics, Unit
from tokensal.values import is_whole, read_whole

DIRECT = "direct"  # credit that is not passed on


@dataclass(frozen=True, slots=True)
class Provenance:
    """Everything needed to say where the numbers came from, and to compute them again.

    `question` holds what differs from the default question: units, selected targets and sources, a contrast; `options`
    what differs from the default options of the method, while `method_repr` has all of them.
    `quantity` is what one score is, where {score} stands for what is explained; empty where the method does not say.
    `credit` says whether the scores are the method's own, "direct", or traced (see `Attribution.traced`).
    `request` holds the arguments of `tokensal.load` and `tokensal.attribute` that differ from their defaults (see
    `tokensal.request`), from which the result can be made again; it is empty where that is not known. The same may be
    asked in several ways, so that it counts for no comparison.
    `seconds` is the time the method took, without loading the model and generating the answer; it counts for no
    comparison.
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
    seconds: float = field(default=0.0, compare=False)
    versions: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    credit: str = DIRECT
    quantity: str = ""
    request: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token that the model considered, and its probability."""

    id: int
    text: str
    probability: float


@dataclass(frozen=True, slots=True, eq=False)
class Attribution(Result):
    """How much each source contributed to each target. A source, or a target, is a token or a unit of several.

    It is also the sequence of its K rows: `result[0]` is the `Row` of the first target, `result["Paris"]` that of the
    only target of this text, where white space around does not count. A slice, a mask or a list gives the attribution
    of those targets, and `result["Paris", "Rome"]` the score of a target and a source. `select` takes sources by role,
    text or number. Attributions are equal if they say the same, NaN included, however long they took.

        >>> import tokensal
        >>> result = tokensal.attribute("dates", "the 3rd of March, 1987", method="occlusion")
        >>> [(source.text, round(score, 1)) for source, score in result[0].top(1)]
        [(' 1987', 8.6)]
        >>> round(result["1987", "1987"], 1), round(result[0]["1987"], 1)
        (8.6, 8.6)
        >>> result[:2].target_texts, result.select(sources=["March", "3rd"])[2].source_texts
        (('1987', '-'), (' 3rd', ' March'))

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

    def __len__(self) -> int:
        return len(self.targets)

    def __iter__(self) -> Iterator[Row]:
        return (self[index] for index in range(len(self)))

    def __contains__(self, target: object) -> bool:
        return contains(self.targets, target)

    @overload
    def __getitem__(self, index: SupportsIndex | str | Unit) -> Row: ...
    @overload
    def __getitem__(self, index: slice | list[Any]) -> Attribution: ...
    @overload
    def __getitem__(self, index: Tensor | np.ndarray[Any, Any] | tuple[Any, Any]) -> Any: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, tuple):
            return self._pairs(*index) if len(index) == 2 else self._pairs(index)
        if not is_single(index):
            return self._of_targets(positions_of(index, self.targets, "target"))
        number = position_of(index, self.targets, "target")
        return self._row([number], self.targets[number])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return array_of(self.scores, dtype, copy)

    @property
    def source_texts(self) -> tuple[str, ...]:
        """(J,) the texts of the sources."""
        return tuple(source.text for source in self.sources)

    @property
    def target_texts(self) -> tuple[str, ...]:
        """(K,) the texts of the targets."""
        return tuple(target.text for target in self.targets)

    @property
    def shares(self) -> Tensor:
        """(K, J) float32, each score over the sum of all |scores| of its target, from -1 to 1; NaN where `scores` are.

        The sink is no part of the shares of the others; its own is of all of them and itself. Where all scores of a
        target are 0, so are the shares. Their mean over the targets is the mean share that a heatmap opens with.
        """
        return shares_of(self.scores, self.sink)

    def select(self, *, targets: Any = None, sources: Any = None) -> Attribution:
        """The attribution of some targets, and of some sources.

        Sources that are left out stay in their places, so that the text can still be read where it is shown; they are
        no longer `visible`, and their scores are NaN. So it is where a question selects sources, except that here they
        have been part of what the method computed; a convergence delta is still about all of them.

        Args:
            targets: a number, a slice, a text, a compiled pattern, a mask (K,) of bools, or a list of these; all if
                left out.
            sources: the same, a mask being (J,); or a role, such as "user" or "special", before which a text goes that
                is written "text:user".

        Raises:
            InputError: nothing is selected, or no target or source is of that text or role.
            IndexError: no target or source has that number.
        """
        selected = self if targets is None else self._of_targets(positions_of(targets, self.targets, "target"))
        if sources is None:
            return selected
        numbers = positions_of(sources, self.sources, "source", roles=True)
        if not numbers:
            raise InputError(f"The selection has no sources: the attribution has {len(self.sources)}, from 0 on.")
        return selected._of_sources(numbers)

    def total(self) -> Row:
        """What all targets come from: the scores of each source added up over the targets that see it."""
        return self._row(range(len(self)), None)

    def by_role(self, *, target: int | str | None = None, sink: bool = False) -> dict[str, float]:
        """The sum of the scores of the sources of each role, such as {"system": 0.2, "user": 5.1}.

        Args:
            target: the number or the text of the target; None adds up the scores of all of them.
            sink: count the sink in.

        Raises:
            InputError: there is no such target.
            IndexError: there is no such target.
        """
        return (self.total() if target is None else self[target]).by_role(sink=sink)

    def top(self, k: int = 10, *, target: int | str | None = None, sink: bool = False) -> list[Scored]:
        """The k most important sources, as (source, score) pairs, largest magnitude first.

        Args:
            k: how many at most; sources with a score of 0 are left out.
            target: the number or the text of the target; None adds up the scores of all of them.
            sink: count the sink in.

        Raises:
            InputError: k is no whole number from 0 on, or no target has this text.
            IndexError: no target has this number.
        """
        return (self.total() if target is None else self[target]).top(k, sink=sink)

    def traced(self, *, hops: int | None = None) -> Attribution:
        """Credit through the answer: what the tokens of the answer were credited is passed on to what they came from.

        In the scores of a late token of an answer, earlier tokens of the answer take much of the credit. Here each
        passes its credit on, in the shares that its own row gives, until all of it rests on the prompt. So the sources
        of the prompt hold what they were credited directly, and what was passed on to them; those of the answer are
        blank. Signs multiply on the way. Traced scores are only as good as the rows in between: a token that depends
        little on the prompt passes its credit on all the same. The steps are those of `tokensal.results.tracing`.

        The diagnostics have `through_the_answer`, the share of a target's |credit| that was passed on; what the method
        measured of its direct scores is there as `direct_…`, the largest magnitude of a target where it had several.

        Args:
            hops: pass credit on so many times at most; what is still on its way stays with the tokens that it reached.

        Raises:
            InputError: the scores are traced already, nothing was generated, the answer is contrasted, its tokens have
                no score, or one of them is no target by itself.
        """
        hops = read_whole("hops", hops, least=1, optional=True)
        if self.provenance.credit != DIRECT:
            raise InputError("These scores are traced already: trace the direct ones.")
        rows = rows_of_answer(self.sources, self.targets, self.visible, sink=self.sink, encoder=self.encoder)
        scores, through = passed_on(self.scores, rows, sink=self.sink, hops=hops)
        return replace(
            self,
            scores=scores,
            visible=~scores.isnan(),
            provenance=replace(self.provenance, credit=name_of_credit(hops)),
            diagnostics={
                "through_the_answer": Diagnostic(through),
                **{f"direct_{name}": _by_target(each) for name, each in self.diagnostics.items()},
            },
        )

    def _row(self, numbers: Sequence[int], target: Unit | None) -> Row:
        numbers = list(numbers)
        scored = self.visible[numbers].any(0).nonzero()[:, 0].tolist()
        return Row(
            target,
            float(self.values[numbers].sum()),
            tuple(self.sources[index] for index in scored),
            self.scores[numbers].nansum(0)[scored],
            scored.index(self.sink) if self.sink in scored else None,
            tuple(scored),
        )

    def _pairs(self, *index: Any) -> float | Row | Attribution:
        """What a subscript in two parts, of targets and of sources, selects."""
        if len(index) != 2:
            raise InputError(
                "A selection in parts is result[targets, sources]; of several targets, give a list: result[[0, 1, 2]]."
            )
        targets, sources = index
        if is_single(targets) and is_single(sources):
            if not is_whole(sources):  # a text is that of a source which the target sees
                row: Row = self[targets]
                return row[sources]
            number = position_of(targets, self.targets, "target")
            return float(self.scores[number, position_of(sources, self.sources, "source")])
        selected = self.select(targets=targets, sources=sources)
        return selected[0] if is_single(targets) else selected

    def _of_sources(self, numbers: Sequence[int]) -> Attribution:
        kept = torch.zeros(len(self.sources), dtype=torch.bool, device=self.visible.device)
        kept[list(numbers)] = True
        diagnostics = {
            name: replace(each, values=each.values.masked_fill(~kept, torch.nan))
            if each.values.ndim == 2 and each.values.is_floating_point()
            else each
            for name, each in self.diagnostics.items()
        }
        return replace(
            self,
            scores=self.scores.masked_fill(~kept, torch.nan),
            visible=self.visible & kept,
            diagnostics=diagnostics,
        )

    def _of_targets(self, rows: list[int]) -> Attribution:
        if not rows:
            raise InputError(f"The selection has no targets: the attribution has {len(self)}, from 0 on.")
        diagnostics = {
            name: Diagnostic(each.values[rows], None if each.allowed is None else each.allowed[rows])
            for name, each in self.diagnostics.items()
        }
        return replace(
            self,
            targets=tuple(self.targets[row] for row in rows),
            scores=self.scores[rows],
            visible=self.visible[rows],
            values=self.values[rows],
            diagnostics=diagnostics,
            provenance=_of_rows(self.provenance, rows),
            alternatives=tuple(self.alternatives[row] for row in rows) if self.alternatives else (),
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Attribution):
            return NotImplemented
        return all(_says_the_same(getattr(self, each.name), getattr(other, each.name)) for each in fields(self))

    def __hash__(self) -> int:
        return hash((self.text, self.targets, self.provenance.method_repr))

    def __repr__(self) -> str:
        provenance = self.provenance
        shape = f"{len(self.targets)} targets × {len(self.sources)} sources"
        return drawable(f"Attribution({provenance.method_repr} of {provenance.score}, {shape}, {provenance.model})")


def _of_rows(provenance: Provenance, rows: list[int]) -> Provenance:
    """The provenance of some rows of what was asked for."""
    request = provenance.request
    if not request:
        return provenance
    before = request.get("rows")
    return replace(provenance, request={**request, "rows": [before[row] for row in rows] if before else rows})


def _by_target(diagnostic: Diagnostic) -> Diagnostic:
    """The same, (K,): of several values of a target the largest magnitude."""
    values = diagnostic.values
    return diagnostic if values.ndim == 1 else replace(diagnostic, values=values.abs().nan_to_num().amax(1))


def _says_the_same(value: object, other: object) -> bool:
    """Whether two values are equal; tensors by dtype, shape and content, where NaN equals NaN."""
    if isinstance(value, Tensor) and isinstance(other, Tensor):
        if value.dtype != other.dtype or value.shape != other.shape:
            return False
        return bool(((value == other) | (value.isnan() & other.isnan())).all())
    if isinstance(value, Diagnostic) and isinstance(other, Diagnostic):
        return _says_the_same(value.values, other.values) and _says_the_same(value.allowed, other.allowed)
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        return value.keys() == other.keys() and all(_says_the_same(value[name], other[name]) for name in value)
    return value == other
