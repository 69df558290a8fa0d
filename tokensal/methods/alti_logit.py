"""ALTI-Logit: what each attention adds to the logit, source by source, traced back to the tokens.

1. One forward gives the direction in which each target's score reads the highest layer's output, with the scale of the
   last norm constant. The score is then linear in all that the layers add to the residual stream.
2. A second forward, without a graph, takes each attention apart: the vector T_ij = Σ_heads A_ij · v_j W_O that source j
   adds to position i (see `tokensal.engine.contributions`). Its product with the direction is what it adds to the
   logit, at the position that predicts.
3. The state of source j below that attention is itself made of others. Its shares are those of ALTI: by the proximity
   of T_ij to the sum (see `tokensal.methods.shares`), with the residual stream as part of T_ii, and chained.
4. Multiply what each attention adds by the shares below it, and add up over the attentions.
5. What the embedding of the predicting position, the MLPs and biases add to the logit is not traced to sources. It is
   stated apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from tokensal.engine import Engine
from tokensal.engine.activations import raised
from tokensal.engine.contributions import over_contributions
from tokensal.errors import InputError, UnsupportedModel
from tokensal.methods.layers import Layers, check_layers, select_layers
from tokensal.methods.shares import completed, divided, own_parts, proximity
from tokensal.questions.masks import branch_sources, group_weights, pool_to_units, predictor_places
from tokensal.types import AttentionParts, Diagnostic, Example, Part, Scores


@dataclass(frozen=True, kw_only=True)
class ALTILogit:
    """What attention adds to the logit, source by source, traced through the layers below. Signed, in units of logits.

    The score of a source s is Σ_layers Σ_j ⟨u, T_ij⟩ · M_js: T_ij is what position j adds to the predicting position i,
    u the direction in which the score reads it, and M_js the share that s has in the state of j, by ALTI. Ferrando,
    Gállego, Tsiamas, Costa-jussà 2023, arXiv:2305.12535; the shares: Ferrando, Gállego, Costa-jussà 2022,
    arXiv:2203.04212. No layer needs a gradient, so it works with quantised models.

    Cost: two forwards, one of them under eager attention, and a backward through the head and the norm below it; apart
    from that (S² × H) numbers for each layer, a few rows at a time.

    Error: that the parts of each attention add up to what it adds is verified while it runs; the largest error is the
    diagnostic `decomposition_error`. The scores of a target add up to `total`, its logit, less what is
    `untraced`: what its own embedding, the MLPs and biases add, often the larger part. For another score, the
    logit is replaced by ⟨∂y/∂logits, logits⟩.

    Use: points at the evidence without a backward through the layers, and says what speaks against: copied evidence
    comes first in .97 of forty prompts with facts and in .95 of forty with a fact hidden in prose. With all layers,
    as published, in .55 of the former. It is blind to what attention decides by (queries and keys), and to what MLPs
    add.

    Args:
        layers: whose attention is credited, and traced down to the lowest of them; see `tokensal.methods.layers`. By
            default the upper half; "all" as published.
    """

    name: ClassVar[str] = "alti_logit"
    summary: ClassVar[str] = "what attention adds to the logit, traced to the tokens by their shares (signed)"
    quantity: ClassVar[str] = "contribution of attention to the logit"
    paper: ClassVar[str] = "Ferrando, Gállego, Tsiamas, Costa-jussà 2023, arXiv:2305.12535"
    signed: ClassVar[bool] = True

    layers: Layers = "0.5:"

    def __post_init__(self) -> None:
        check_layers(self.layers)

    def __call__(self, example: Example, engine: Engine) -> Scores:
        directions, totals = engine.directions(example)
        measurement = Measurement(example, engine, directions)
        layers = select_layers(self.layers, engine.adapter.layer_count)
        steps = engine.decomposed(example, measurement.shares, layers=layers)
        if not measurement.predicts:
            raise InputError(
                f"layers is {self.layers!r}, of the encoder alone, but the decoder predicts: choose the last layers."
            )
        below = torch.eye(len(example.sources), dtype=directions.dtype, device=directions.device)
        scores = torch.zeros(len(totals), len(below), dtype=below.dtype, device=below.device)
        for step, shares in enumerate(steps):
            scores = scores + measurement.added[step] @ below
            below = completed(shares.to(below)) @ below
        weights = group_weights(example).to(scores)
        matrix, total = weights @ scores, weights @ totals.to(scores)
        diagnostics = {
            "total": Diagnostic(total),
            "untraced": Diagnostic(total - matrix.sum(1)),
            "decomposition_error": Diagnostic(torch.full_like(total, measurement.error)),
        }
        return Scores(pool_to_units(matrix, example), engine.original(example), diagnostics)


@dataclass(slots=True, eq=False)
class Measurement:
    """What is read of each attention in a forward.

    Attributes:
        example: the tokens.
        engine: for its budget.
        directions: (G, H), see `Engine.directions`.
        added: for each attention, what it adds to each target's score, (G, S) by source.
        error: the largest of all attentions, see `over_contributions`.
        branch: the continuation that runs.
        predicts: whether there was an attention of positions that predict.
    """

    example: Example
    engine: Engine
    directions: Tensor = field(repr=False)
    added: list[Tensor] = field(default_factory=list, repr=False)
    error: float = 0.0
    branch: int = -1  # none yet
    predicts: bool = False

    def shares(self, parts: AttentionParts) -> Tensor:
        """(rows, columns) the shares by ALTI; what the attention adds to the scores is kept."""
        self.branch += parts.step == 0
        if self.branch == 0:
            self.added.append(self.directions.new_zeros(len(self.directions), len(self.example.sources)))
        total, own, targets = raised(parts.after), own_parts(parts).sum(0), self._targets(parts)
        sources = self._sources(parts.columns).to(self.directions.device)

        def read(vectors: Tensor, rows: slice) -> Tensor:
            vectors = vectors[:, 0]  # (r, columns, H): there are no heads
            for target, row in targets:
                if rows.start <= row < rows.stop:
                    added = vectors[row - rows.start] @ self.directions[target].to(vectors)
                    self.added[parts.step][target, sources[: len(added)]] = added.to(self.directions)
            if parts.rows is parts.columns:
                places = torch.arange(rows.start, rows.stop, device=vectors.device)
                vectors[places - rows.start, places] += own[rows]
            return proximity(vectors, total[rows, None])[None]

        table, error = over_contributions(parts, read, self.engine.budget, heads=False)
        self.error = max(self.error, error)
        if parts.rows is parts.columns:
            return divided(table[0])
        return divided(torch.cat([table[0], proximity(own, total)[:, None]], 1))[:, :-1]

    def _targets(self, parts: AttentionParts) -> list[tuple[int, int]]:
        """The targets that the rows of an attention predict, with the row of each."""
        if parts.rows is Part.FIRST:
            return []
        self.predicts = True
        if not parts.additive:
            raise UnsupportedModel(
                "What attention adds to the logit cannot be read off this model: its layers norm the sum of the "
                "residual stream and what they add to it. Choose another method, such as 'lrp'."
            )
        places = enumerate(predictor_places(self.example))
        return [(target, row) for target, (branch, row) in places if branch == self.branch]

    def _sources(self, part: Part) -> Tensor:
        """Which sources the columns of an attention are."""
        axis = branch_sources(self.example)[self.branch]
        return axis[: self.example.encoder] if part is Part.FIRST else axis[self.example.encoder :]
