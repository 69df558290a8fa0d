"""Gradients at layers: what the attention did, weighted by how the score reacts to it.

1. Choose layers. One forward, recorded there, gives their activations; the engine differentiates every target at all
   of them together, and goes no lower than the lowest.
2. Multiply each activation by its gradient: number by number, or after an average of the gradient, as published.
3. Keep what speaks for the score (ReLU), and make a number for each source of it: the sum of the layers' maps
   (`GradCAM`, `AttentionGradCAM`), or the layers' attentions chained (`GradientRollout`).

What a decoder does to these methods, which were published for encoders and images: the score of a target reads one
position. In the highest layer, therefore, only that position has a gradient, and `GradCAM` there credits nothing
else; the gradient reaches earlier positions through the layers above a lower one. An average of the gradient over
positions, as published, is over a majority that carry little or none of it.

In an encoder–decoder model, a layer of the encoder credits what the encoder reads. A layer of the decoder credits its
own inputs by its self-attention and, where weights are looked at, the encoder's tokens by its cross-attention.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from tokensal.engine import Engine
from tokensal.engine.reductions import FromTheTop, Reduction, Rows
from tokensal.errors import require_known
from tokensal.methods.layers import Layers, check_layers, select_layers
from tokensal.methods.method import GradientMethod
from tokensal.types import HookPoint

# From an activation (n, …), its gradient (k, n, …), and what they are about, to a map of each
Rule = Callable[[Tensor, Tensor, Rows], Tensor]


class LayerGradientMethod(GradientMethod):
    """A method that reduces the gradients at chosen layers."""

    @property
    @abstractmethod
    def layers(self) -> Layers:
        """Which layers."""

    def selected_layers(self, engine: Engine) -> Sequence[int]:
        return select_layers(self.layers, engine.adapter.layer_count)


@dataclass(frozen=True, kw_only=True)
class GradCAM(LayerGradientMethod):
    """Grad-CAM on what the attention adds to the residual stream at each position. Never negative.

    Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra 2017, arXiv:1610.02391; element by element it is HiResCAM of
    Draelos and Carin 2020, arXiv:2011.08891. With h (S, H) the attention's output and g (S, H) the gradient there,
    the score of a source is Σ_layers ReLU(Σ_h g·h); unit: that of the explained score.

    In a causal model the highest layer's output has a gradient at the predicting position alone, and says nothing of
    the others; and the published channel mean averages over positions of which most carry no gradient.

    Cost: one forward, and one backward for each target as far down as the lowest of the layers.

    Error: none is measured. The scores add up to nothing in particular.

    Use: what the attention of some layers contributes at each position. It names copied evidence first in most
    prompts of a causal model (.7 to .9), and points badly in an encoder–decoder.

    Args:
        layers: see `tokensal.methods.layers`; by default the lower six tenths, which find a copied word best (see
            tests/benchmarks/localisation.py).
        rule: "elementwise", or "channel_mean" for the published rule: the gradient is first replaced by its mean
            over the positions up to the predicting one.
    """

    name: ClassVar[str] = "grad_cam"
    summary: ClassVar[str] = (
        "attention outputs at chosen layers times their gradients: what speaks for the score there (no sign)"
    )
    quantity: ClassVar[str] = "activation × gradient of {score}"
    paper: ClassVar[str] = "Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra 2017, arXiv:1610.02391"
    signed: ClassVar[bool] = False
    at: ClassVar[HookPoint] = HookPoint.ATTENTION_OUTPUT

    layers: Layers = ":0.6"
    rule: Literal["elementwise", "channel_mean"] = "elementwise"

    def __post_init__(self) -> None:
        check_layers(self.layers)
        require_known("rule", [self.rule], OUTPUT_RULES)

    def reduction(self) -> Reduction:
        return FromTheTop(_AddedOutputs(OUTPUT_RULES[self.rule]))


@dataclass(frozen=True, kw_only=True)
class AttentionGradCAM(LayerGradientMethod):
    """Grad-CAM on attention weights: how much the score gains from looking at each source. Never negative.

    The rules of Selvaraju et al. 2017, arXiv:1610.02391, with heads in the place of channels and the attention matrix
    A (S, S) in the place of the image; element by element, it is the product that Barkan et al. 2021
    (arXiv:2204.11073) name Grad-SAM. Maps are summed over layers; unit: that of the explained score.

    In a causal model the highest layer has a gradient in the predicting row alone.

    Cost: one forward, and one backward for each target as far down as the lowest of the layers; attention is eager.

    Error: none is measured. The scores add up to nothing in particular.

    Use: the quickest way to see where the answer is read from: it names copied evidence first on every prompt tried,
    by its weight alone, without a sign.

    Args:
        layers: see `tokensal.methods.layers`; by default the upper half, which finds a copied word best (see
            tests/benchmarks/localisation.py).
        rule: "elementwise" for Σ_heads ReLU(∂y/∂A · A), or "head_mean" for the published rule, ReLU(Σ_heads w · A),
            where w is the mean of ∂y/∂A over the cells that causality allows, up to the predicting row.
        rows: whose looking counts: that of the "predictor" alone, or of "all" positions, summed, among which many look
            at the sink.
    """

    name: ClassVar[str] = "attention_grad_cam"
    summary: ClassVar[str] = (
        "attention weights times their gradients: what the score gains from looking at each token (no sign)"
    )
    quantity: ClassVar[str] = "attention × gradient of {score}"
    paper: ClassVar[str] = "Barkan, Hauon, Caciularu, Katz, Malkiel, Armstrong, Koenigstein 2021, arXiv:2204.11073"
    signed: ClassVar[bool] = False
    at: ClassVar[HookPoint] = HookPoint.ATTENTION_WEIGHTS

    layers: Layers = "0.5:"
    rule: Literal["elementwise", "head_mean"] = "elementwise"
    rows: Literal["all", "predictor"] = "predictor"

    def __post_init__(self) -> None:
        check_layers(self.layers)
        require_known("rule", [self.rule], WEIGHT_RULES)
        require_known("rows", [self.rows], ROWS)

    def reduction(self) -> Reduction:
        return FromTheTop(_AddedWeights(WEIGHT_RULES[self.rule], ROWS[self.rows]))


@dataclass(frozen=True, kw_only=True)
class GradientRollout(LayerGradientMethod):
    """Attention relevance chained through the layers, each weighted by its gradient. Never negative.

    Chefer, Gur, Wolf 2021, arXiv:2103.15679, the rule for self-attention: Ā = mean over heads of ReLU(∂y/∂A · A), and
    R ← R + Ā·R from the lowest layer to the highest, beginning with the identity. The scores of a target are the row
    of R where it is predicted, less the one that the identity put there. They have no unit.

    Cost: one forward, and one backward for each target as far down as the lowest of the layers; attention is eager.

    Error: none is measured. The scores have no unit.

    Use: as `attention_grad_cam`, and besides what the positions that are read have read themselves. It names copied
    evidence first on every prompt tried.

    Args:
        layers: see `tokensal.methods.layers`; by default the upper half, which finds a copied word as well as "all",
            the published choice, and lets the sink take less (see tests/benchmarks/localisation.py).
    """

    name: ClassVar[str] = "gradient_rollout"
    summary: ClassVar[str] = "attention weights times their gradients, chained through the layers (no sign)"
    quantity: ClassVar[str] = "attention × gradient of {score}, chained through the layers"
    paper: ClassVar[str] = "Chefer, Gur, Wolf 2021, arXiv:2103.15679"
    signed: ClassVar[bool] = False
    at: ClassVar[HookPoint] = HookPoint.ATTENTION_WEIGHTS

    layers: Layers = "0.5:"

    def __post_init__(self) -> None:
        check_layers(self.layers)

    def reduction(self) -> Reduction:
        return FromTheTop(_chained)


@dataclass(frozen=True, slots=True)
class _AddedOutputs:
    """A step that adds the map of a layer: what a rule makes of its output and gradient, where that is positive."""

    rule: Rule

    def __call__(self, total: Tensor, output: Tensor, gradient: Tensor, rows: Rows) -> Tensor:
        return total + self.rule(output, gradient, rows).relu() * rows.visible


@dataclass(frozen=True, slots=True)
class _AddedWeights:
    """A step that adds the map of a layer: what a rule makes of its weights and gradient, in the rows that count."""

    rule: Rule
    read: Callable[[Tensor, Rows], Tensor]

    def __call__(self, total: Tensor, weight: Tensor, gradient: Tensor, rows: Rows) -> Tensor:
        return total + self.read(self.rule(weight, gradient, rows), rows)


def _chained(total: Tensor, weight: Tensor, gradient: Tensor, rows: Rows) -> Tensor:
    """Some rows of the product (I + Ā_top) … (I + Ā), less the identity's, added up: (k, n, S)."""
    own = rows.predictors.to(weight)  # the rows of the identity
    attention = (gradient * weight).relu().mean(-3)  # (k, n, S, S)
    return total + torch.einsum("knr,knrs->kns", total + own, attention)


def _elementwise_outputs(output: Tensor, gradient: Tensor, rows: Rows) -> Tensor:
    return (gradient * output).sum(-1)  # (k, n, S)


def _channel_mean(output: Tensor, gradient: Tensor, rows: Rows) -> Tensor:
    # positions after the last predictor add nothing; of an encoder–decoder model, a layer has some of the positions
    positions = (rows.visible & output.any(-1)).sum(-1)  # (k, n)
    return torch.einsum("knh,nsh->kns", gradient.sum(-2) / positions[..., None], output)


def _elementwise_weights(weight: Tensor, gradient: Tensor, rows: Rows) -> Tensor:
    return (gradient * weight).relu().sum(-3)  # (k, n, S, S)


def _head_mean(weight: Tensor, gradient: Tensor, rows: Rows) -> Tensor:
    # A cell that causality forbids holds no attention, yet has a gradient: it must not enter the mean.
    looking = rows.visible & (weight.sum((1, -1)) > 0)  # (k, n, S); rows of another part do not look
    cells = (rows.attention_mask & looking[..., None]).to(weight)  # (k, n, S, S)
    mean = (gradient * cells[:, :, None]).sum((-2, -1)) / cells.sum((-2, -1))[..., None]  # (k, n, heads)
    return torch.einsum("knh,nhrs->knrs", mean, weight).relu() * cells


def _all_rows(cells: Tensor, rows: Rows) -> Tensor:
    return cells.sum(-2)


def _predictor_rows(cells: Tensor, rows: Rows) -> Tensor:
    return torch.einsum("knr,knrs->kns", rows.predictors.to(cells), cells)


OUTPUT_RULES: Mapping[str, Rule] = {"elementwise": _elementwise_outputs, "channel_mean": _channel_mean}
WEIGHT_RULES: Mapping[str, Rule] = {"elementwise": _elementwise_weights, "head_mean": _head_mean}
ROWS: Mapping[str, Callable[[Tensor, Rows], Tensor]] = {"all": _all_rows, "predictor": _predictor_rows}
