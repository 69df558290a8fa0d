"""Value zeroing: how much each position's state changes when one source's value vectors are nothing.

1. One forward without a graph gives the output of every layer.
2. Run the example once more for each source, many at a time. In every layer, the value vectors of that source are zero
   where attention multiplies them; the queries and keys stay, and so does who looks where. What changes is measured,
   and then undone: the next layer goes on with the original states, so that one forward measures all layers apart.
3. The change of position i when source j is zeroed is the cosine distance of its state after the layer from the
   original one. Divided by their sum, the changes of i say where its new state comes from.
4. Chain the layers (see `tokensal.methods.mixing`). The residual stream is part of a layer's output, and not added
   again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from tokensal.engine import Engine
from tokensal.methods.mixing import Mixing, MixingMethod, chained
from tokensal.perturbations.inputs import Unperturbed
from tokensal.transfers import sent
from tokensal.types import Edit, Example, HookPoint, LayerActivation, Part


@dataclass(frozen=True, kw_only=True)
class ValueZeroing(MixingMethod):
    """How much the states change when a source's value vectors are zeroed, chained through the layers. Never negative.

    Mohebbi, Zuidema, Chrupała, Alishahi 2023, arXiv:2301.12971. The row of a single target adds up to 1. As attention
    rollout, it says what the states are made of and nothing of the score. It needs no gradient, so it works with every
    quantised model.

    Cost: one forward and one for each source, and no backward.

    Error: none is measured.

    Use: to see how states mix. As an explanation of the answer it fails: copied evidence is never named first, and of
    an encoder–decoder model it does no better than chance.

    Args:
        layers: see `tokensal.methods.layers`; by default all.
    """

    name: ClassVar[str] = "value_zeroing"
    summary: ClassVar[str] = "how much the states change without each token's value vectors, chained (no sign)"
    quantity: ClassVar[str] = "share of the change of states, chained through the layers"
    paper: ClassVar[str] = "Mohebbi, Zuidema, Chrupała, Alishahi 2023, arXiv:2301.12971"

    def mixing(self, example: Example, engine: Engine, layers: Sequence[int]) -> Mixing:
        embeds = engine.embed(example)
        states = _states(example, engine, embeds, layers)
        zeroing = Zeroing(example, states)
        changes = engine.activations(
            example,
            Unperturbed(embeds, count=len(example.sources)),
            zeroing.changes,
            at=HookPoint.RESIDUAL,
            layers=layers,
            edit=Edit(frozenset({HookPoint.VALUES, HookPoint.RESIDUAL}), zeroing.write),
        )
        shares = _divided_by_their_sum(torch.cat(list(changes)).permute(1, 2, 0))  # positions × zeroed
        return Mixing(chained(example, shares))


def _states(example: Example, engine: Engine, embeds: Tensor, layers: Sequence[int]) -> list[Tensor]:
    """The output of each layer (S, H), zero for the sources that it does not read."""

    def read(outputs: Sequence[Tensor], index: Tensor) -> Tensor:
        return torch.stack([output[0] for output in outputs])

    [states] = engine.activations(example, Unperturbed(embeds), read, at=HookPoint.RESIDUAL, layers=layers)
    return list(states)


@dataclass(frozen=True, slots=True, eq=False)
class Zeroing:
    """The edits of a forward in which row r has the value vectors of source r zeroed.

    Attributes:
        example: the tokens.
        states: the original output of each layer, (S, H).
    """

    example: Example
    states: list[Tensor] = field(repr=False)

    def write(self, activation: LayerActivation, index: Tensor) -> Tensor:
        """Values without those of each row's source; and outputs as they were without that."""
        if activation.point is HookPoint.RESIDUAL:
            original = self.states[activation.layer][self._sources(activation.rows)]
            return original.to(activation.tensor).expand_as(activation.tensor)
        zeroed = index - self._sources(activation.rows).start
        inside = (zeroed >= 0) & (zeroed < activation.tensor.shape[-2])
        values = activation.tensor.clone()
        rows, columns = (sent(each, values.device) for each in (inside.nonzero()[:, 0], zeroed[inside]))
        values[rows, :, columns] = 0
        return values

    def changes(self, outputs: Sequence[Tensor], index: Tensor) -> Tensor:
        """(n, L, S) the cosine distance of each layer's output from the original, with each row's source zeroed."""
        return torch.stack([_distance(output, state) for output, state in zip(outputs, self.states, strict=True)], 1)

    def _sources(self, part: Part) -> slice:
        return slice(0, self.example.encoder) if part is Part.FIRST else slice(self.example.encoder, None)


def _distance(output: Tensor, state: Tensor) -> Tensor:
    """1 − cos of the angle between each row's states (n, S, H) and the originals (S, H); 0 where a layer has none."""
    similarity = torch.nn.functional.cosine_similarity(output, state.expand_as(output), dim=-1)
    return torch.where(state.any(-1), 1 - similarity, 0).clamp(min=0)


def _divided_by_their_sum(changes: Tensor) -> Tensor:
    """Rows that add up to 1; a position that nothing changes comes from itself."""
    total = changes.sum(-1, keepdim=True)
    identity = torch.eye(changes.shape[-1], dtype=changes.dtype, device=changes.device)
    return torch.where(total > 0, changes / total.clamp(min=torch.finfo(changes.dtype).tiny), identity)
