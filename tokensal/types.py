"""The data that travels through the layers: tokens, examples, forwards, scores. Frozen, and without behaviour.

Letters used in every shape, here and elsewhere:

    S  source tokens: everything that can be credited (prompt, then generated prefix; of an encoder–decoder model the
       encoder's tokens, then the decoder's inputs)
    G  target tokens: the tokens being explained
    K  groups of targets, each explained as one sum (by default each target is its own group, K = G)
    J  units of sources, each credited as one (by default each source is its own unit, J = S)
    R  perturbations: altered copies of the source embeddings
    D  width of an embedding     H  width of the hidden state that the head reads     V  vocabulary
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor

Progress = Callable[[int, int], None]  # (pieces done, pieces in all)


class Role(StrEnum):
    """Where a token came from."""

    PROMPT = "prompt"
    SYSTEM = "system"  # the messages of a chat …
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"
    TEMPLATE = "template"  # … and what its template puts around them
    GENERATED = "generated"
    CONTRAST = "contrast"  # of the text that was not written


class HookPoint(StrEnum):
    """A place inside a model that is read, differentiated or edited."""

    EMBEDDINGS = "embeddings"  # (S, D), what the layers read
    ATTENTION_OUTPUT = "attention_output"  # (S, H), what the self-attention adds to the residual stream
    ATTENTION_WEIGHTS = "attention_weights"  # (heads, S, S), rows attend to columns, in self- and cross-attention
    VALUES = "values"  # (heads, S, width of a head), the value vectors, in self- and cross-attention
    RESIDUAL = "residual"  # (S, H), what a layer returns


class Part(StrEnum):
    """Which sources a stack of layers reads."""

    FIRST = "first"  # an encoder's
    LAST = "last"  # a decoder's inputs; without an encoder all sources


@dataclass(frozen=True, slots=True)
class Token:
    """One token, as the model sees it (`id`) and as a person sees it (`text`).

    `start` and `stop` are character offsets into the shown text of the example it belongs to. Tokens that
    split one character between them share its span: the first carries the character, the others an empty text.
    `mark` is the number of the unit that a person marked in the prompt, where the token is in one. `in_prompt` are its
    characters (start, stop) in the user's own prompt, or of a chat in the content of the message of that number; None
    where it has none there, or the prompt was passed as ids.
    """

    id: int
    text: str
    start: int
    stop: int
    role: Role
    special: bool = False
    mark: int | None = None
    in_prompt: tuple[int, int] | None = None
    message: int | None = None


@dataclass(frozen=True, slots=True)
class Unit:
    """One or more neighbouring tokens that are credited, or explained, as one.

    `start` and `stop` are characters of the shown text. `in_prompt` are its characters (start, stop) in the user's own
    prompt, or of a chat in the content of the message of that number; None where it is not from there.
    `against` is the text that it is explained against, where it is a contrast. `fillers` are texts that may stand in
    its place where a method takes it away, if it has any.
    """

    ids: tuple[int, ...]
    text: str
    start: int
    stop: int
    role: Role
    special: bool = False
    against: str = ""
    in_prompt: tuple[int, int] | None = None
    message: int | None = None
    fillers: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Targets that are explained as one sum of scores, less the sum of those `against` which they are explained."""

    targets: tuple[int, ...]
    against: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Slot:
    """Sources from `start` to `stop` that have fillers: texts of at most as many tokens that may stand in their place.

    `fillers` are the token ids of each, and `texts` what they say.
    """

    start: int
    stop: int
    fillers: tuple[tuple[int, ...], ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """Where an example goes on in a second way: the first source, and the first target, that belong to that."""

    source: int
    target: int


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One teacher-forced example: the tokens that can be credited, those to explain, and what is asked about them.

    Attributes:
        text: the shown text, prompt and continuation, that the offsets of the tokens refer to.
        sources: the S tokens the model reads.
        targets: the G tokens it is asked about.
        predictors: for each target, the index of the source whose output predicts it. Target g is influenced
            by sources up to and including `predictors[g]`, and by no later one.
        sink: the first token that the decoder reads, where attention collects for want of a better place; None where
            that is content (neither a special token nor one of a chat's template), which a reader wants to see ranked.
        encoder: how many sources, the first ones, an encoder reads: they all see one another. 0 without an encoder.
        groups: K groups of targets; by default each target by itself.
        units: J spans (start, stop) of sources, in order and without gaps; by default each source by itself.
        credited: for each unit, whether anybody asks what it contributed; by default all.
        branch: of an example with two continuations, each of which goes on from the first predictor and does not see
            the other.
        slots: units of the prompt that fillers stand in for where they are absent. The last sources of one may be
            missing, where no target needs them.
    """

    text: str
    sources: tuple[Token, ...]
    targets: tuple[Token, ...]
    predictors: tuple[int, ...]
    sink: int | None = None
    encoder: int = 0
    groups: tuple[Group, ...] = ()
    units: tuple[tuple[int, int], ...] = ()
    credited: tuple[bool, ...] = ()
    branch: Branch | None = None
    slots: tuple[Slot, ...] = ()

    def __post_init__(self) -> None:
        if not self.groups:
            object.__setattr__(self, "groups", tuple(Group((target,)) for target in range(len(self.targets))))
        if not self.units:
            object.__setattr__(self, "units", tuple((index, index + 1) for index in range(len(self.sources))))
        if not self.credited:
            object.__setattr__(self, "credited", (True,) * len(self.units))


@dataclass(frozen=True, slots=True, eq=False)
class Forward:
    """What one forward pass gives the engine, cut in two where the hidden states enter the head.

    The cut lets the head be differentiated once for all targets, and the body once for each group.

    Attributes:
        hidden: (R, G, H) at the positions that predict the targets, on the graph of the embeddings.
        leaves: the same numbers cut loose from that graph, (R, G, H) in all: one part for each continuation. The
            logits hang on them.
        logits: (R, G, V).
        start: the first target that these positions predict; what predicts an earlier one was not altered.
    """

    hidden: Tensor
    leaves: tuple[Tensor, ...]
    logits: Tensor
    start: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Original:
    """An example run as it is.

    Attributes:
        forward: one row, every target.
        states: what the adapter remembers of the sources, so that perturbations can share it; None where it cannot.
    """

    forward: Forward
    states: Any


@dataclass(frozen=True, slots=True, eq=False)
class LayerActivation:
    """What a layer computed in a forward, and which sources it is about.

    Attributes:
        point: what it is.
        layer: the layer it belongs to, as a number among the selected layers, from the lowest.
        tensor: (R, rows, H), or for weights (R, heads, rows, columns), or for values (R, heads, rows, width).
        rows: which sources the rows are.
        columns: which sources the columns are; None without columns.
    """

    point: HookPoint
    layer: int
    tensor: Tensor
    rows: Part
    columns: Part | None = None


@dataclass(frozen=True, slots=True, eq=False)
class AttentionParts:
    """What one attention adds to the residual stream of an example, as the parts that it consists of.

    The attention adds Σ_heads Σ_columns weight × projected value, times `scale`; and `bias`.

    Attributes:
        step: its number among the attentions of the selected layers, in the order in which they run.
        rows: which sources look.
        columns: which sources they look at.
        weights: (heads, rows, columns).
        values: (heads, columns, width).
        project: the linear map from values, (…, heads × width) beside each other, to (…, H), without bias.
        scale: (rows, H), by which what is projected is multiplied before it is added: that of a norm, or 1.
        bias: (rows, H), what the attention adds whatever it looks at.
        output: (rows, H), all that it adds, as the model computed it.
        before: (rows, H), the residual stream that this is added to.
        beside: (rows, H), what the same sum adds of the position alone: an MLP that runs beside the attention; or None.
        after: (rows, H), the sum.
        additive: whether the layer adds to the residual stream and nothing else: it does not norm the sum.
        tolerance: how far the parts may be from what they should add up to, relative to the largest number of a row.
    """

    step: int
    rows: Part
    columns: Part
    weights: Tensor
    values: Tensor
    project: Callable[[Tensor], Tensor]
    scale: Tensor
    bias: Tensor
    output: Tensor
    before: Tensor
    beside: Tensor | None
    after: Tensor
    additive: bool
    tolerance: float


@dataclass(frozen=True, slots=True, eq=False)
class Edit:
    """A change of activations in the middle of a forward.

    Attributes:
        points: where `write` is called.
        write: from an activation, and the numbers (R,) of the perturbations that are its rows, to what the model goes
            on with instead.
    """

    points: frozenset[HookPoint]
    write: Callable[[LayerActivation, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Other backward rules for the operations of a forward; the forward keeps its numbers.

    Attributes:
        norm: "constant" takes the scale of a normalisation for a constant.
        activation: "ratio" replaces the derivative of an activation function f by f(x) / x. Of the gradient at its
            output, "positive" hands on the positive part as it is, and "guided" that part times the derivative where
            x > 0.
        product: of two tensors that depend on the input, "half" gives each half of the gradient; "constant" takes the
            output of an activation function (a gate) for a constant, and halves other products.
        attention: "constant" takes the attention weights for constants; "half" halves the gradient in both of the
            attention's matrix products.
        temperature: where the attention is "half", the derivative of its softmax is that at scores / temperature.
        router: "constant" takes the weights of a router of experts for constants.
        epsilon: of linear layers, what keeps the sum of contributions away from zero that relevance is divided by.
        gamma: of linear layers, how much more those contributions weigh that have the sign of their sum.
    """

    norm: Literal["exact", "constant"] = "exact"
    activation: Literal["exact", "ratio", "positive", "guided"] = "exact"
    product: Literal["exact", "half", "constant"] = "exact"
    attention: Literal["exact", "constant", "half"] = "exact"
    temperature: float = 1.0
    router: Literal["exact", "constant"] = "exact"
    epsilon: float = 0.0
    gamma: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Secants:
    """How the change of a product between a reference and the input is shared between its factors.

    Attributes:
        norm: of what a norm multiplies by its scale, "mean" credits each factor with the mean of the other; "input"
            credits the input with the scale as it is, and the scale with the reference of the input.
        attention: of attention weights and values, "mean" does the same; "values" credits the values with the weights
            as they are, and the weights with the reference of the values.
    """

    norm: Literal["mean", "input"] = "mean"
    attention: Literal["mean", "values"] = "mean"


@dataclass(frozen=True, slots=True, eq=False)
class Diagnostic:
    """What a method measures about its own scores, by target or by target and source.

    Methods use these names:

        total               (K,) what the scores of a complete method should add up to
        convergence_delta   (K,) what they add up to, minus that total
        constants           (K,) the share of the total that belongs to no source: biases and learned positions
        untraced            (K,) the share of the total that a method does not trace to sources
        decomposition_error (K,) what the parts into which layers are taken apart miss of what they add, relatively
        gradients           (K,) int64, how many gradients the scores are made of
        standard_error      (K, J) of scores that are estimated from random samples; NaN or 0 where there is none
        coalitions          (K,) int64, how many coalitions the scores are estimated from
        fit                 (K,) R² of a surrogate's predictions for coalitions that it was not fitted to
        rank_fit            (K,) Spearman's rank correlation of the same (the "linear datamodeling score")
        deletion, insertion (K,) the areas under the score as the best units are masked first, and put back first
        better_than_chance  (K,) the share of random rankings that the map does better than
        random_target       (K,) how alike the map is to that of another target, as a rank correlation
        unopened            (K,) the share of the |credit| in passages that a hierarchy did not open
        through_the_answer  (K,) of traced scores, the share of the |credit| that tokens of the answer passed on

    Attributes:
        values: (K,) or (K, J).
        allowed: (K,) the largest magnitude that the tolerance accepts; None without a tolerance.
    """

    values: Tensor
    allowed: Tensor | None = None

    @property
    def reached(self) -> Tensor:
        """(K,) bool, whether the values are within the tolerance, of a target all of them; True without one."""
        import torch

        if self.allowed is None:
            return torch.ones(len(self.values), dtype=torch.bool, device=self.values.device)
        magnitudes = self.values.abs().nan_to_num()
        return (magnitudes if magnitudes.ndim == 1 else magnitudes.amax(1)) <= self.allowed


Diagnostics = Mapping[str, Diagnostic]


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What a method finds.

    Attributes:
        matrix: (K, J) the contribution of each unit to each group; cells that causality forbids hold anything.
        values: (K,) the explained score itself, unaltered input.
        diagnostics: what the method measured about its own error, by name.
        scored: (J,) bool, the units that the method looked at; None for all. The others hold anything.
    """

    matrix: Tensor
    values: Tensor
    diagnostics: Diagnostics = field(default_factory=dict)
    scored: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Footprint:
    """How many bytes a model works with, estimated from its widths.

    Attributes:
        kept: for each token of each perturbation, what a forward keeps for its backward.
        moved: for each token, perturbation and cotangent, what a forward or a backward has in hand at a time.
        head: for each target and perturbation, what its logits take.
        states: for each token of each perturbation, what is remembered so that others can go on from there.
        inputs, input: for each token of each perturbation, what all layers read, and what one reads.
    """

    kept: int
    moved: int
    head: int = 0
    states: int = 0
    inputs: int = 0
    input: int = 0
