"""The data that travels through the house: tokens, examples, variants, forwards. Frozen, and without behaviour.

Letters used in every shape, here and elsewhere:

    S  source tokens: everything that can be credited (prompt, then generated prefix; of an encoder–decoder model the
       encoder's tokens, then the decoder's inputs)
    G  target tokens: the tokens being explained
    K  groups of targets, each explained as one sum (by default each target is its own group, K = G)
    R  variants: altered copies of the source embeddings
    D  width of an embedding     H  width of the hidden state that the head reads     V  vocabulary
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

from torch import Tensor


class Role(StrEnum):
    """Where a token came from."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"
    TEMPLATE = "template"
    PROMPT = "prompt"
    GENERATED = "generated"


class Part(StrEnum):
    """Which sources a stack of layers reads."""

    FIRST = "first"  # an encoder's
    LAST = "last"  # a decoder's inputs; without an encoder all sources


@dataclass(frozen=True, slots=True)
class Token:
    """One token, as the model sees it (`id`) and as a person sees it (`text`).

    `start` and `stop` are character offsets into the shown text of the example it belongs to. Tokens that
    split one character between them share its span: the first carries the character, the others an empty text.
    """

    id: int
    text: str
    start: int
    stop: int
    role: Role
    special: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One teacher-forced example: the tokens that can be credited, and those to explain.

    Attributes:
        text: the shown text, prompt and continuation, that the offsets of the tokens refer to.
        sources: the S tokens the model reads.
        targets: the G tokens it is asked about.
        predictors: for each target, the index of the source whose output predicts it. Target g is influenced
            by sources up to and including `predictors[g]`, and by no later one.
        sink: the source where attention collects for want of a better place (the first token that most decoders
            read), or None.
        encoder: how many sources, the first ones, an encoder reads: they all see one another. 0 without an encoder.
    """

    text: str
    sources: tuple[Token, ...]
    targets: tuple[Token, ...]
    predictors: tuple[int, ...]
    sink: int | None = None
    encoder: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Variants:
    """R altered copies of an example's source embeddings: path points, occlusions, noisy copies, mask samples.

    Attributes:
        embeds: (R, S - first, D) of the sources from `first` on.
        keep: (R, S - first) bool, False where attention may not look; None keeps every source.
        first: all sources before this one are the example's own, so that the work on them can be shared.
        closed: sources that are not kept leave no gap: the later ones move up, as if those had never been there.
    """

    embeds: Tensor
    keep: Tensor | None = None
    first: int = 0
    closed: bool = False

    def __len__(self) -> int:
        return self.embeds.shape[0]

    def __getitem__(self, rows: slice) -> Variants:
        return replace(self, embeds=self.embeds[rows], keep=None if self.keep is None else self.keep[rows])

    def shared(self, row: int) -> int:
        return self.first


class Alterations(Protocol):
    """Variants that need not all exist at once: a chunk of them is made when it is asked for."""

    def __len__(self) -> int:
        """How many variants there are."""
        ...

    def __getitem__(self, rows: slice) -> Variants:
        """The variants of those rows."""
        ...

    def shared(self, row: int) -> int:
        """How many sources are unaltered at the beginning of this row and of all later ones."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Forward:
    """What one forward pass gives the engine, cut in two where the hidden states enter the head.

    The cut lets the head be differentiated once for all targets, and the body once for each group.

    Attributes:
        hidden: (R, G, H) at the positions that predict the targets, on the graph of the embeddings.
        leaf: (R, G, H) the same numbers cut loose from that graph; the logits hang on it.
        logits: (R, G, V).
        start: the first target that these positions predict; what predicts an earlier one was not altered.
    """

    hidden: Tensor
    leaf: Tensor
    logits: Tensor
    start: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Original:
    """An example run as it is.

    Attributes:
        forward: one row, every target.
        states: what the adapter remembers of the sources, so that variants can share it; None where it cannot.
    """

    forward: Forward
    states: Any


@dataclass(frozen=True, slots=True, eq=False)
class Tap:
    """What an attention returned in a forward, and which sources it is about.

    Attributes:
        layer: the layer it belongs to, counted from the lowest that is tapped.
        tensor: (R, rows, H) outputs or (R, heads, rows, columns) weights, on the graph.
        rows: the part of the sources that look.
        columns: the part of the sources that are looked at; None for outputs.
    """

    layer: int
    tensor: Tensor
    rows: Part
    columns: Part | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """How far the scores of a method that should be complete are from it, measured for each target.

    Attributes:
        change: (K,) by how much the explained score differs from that of the baseline: what the scores should add to.
        residual: (K,) the sum of the scores, minus that change.
        nodes: (K,) int64, how many gradients the scores are made of.
        allowed: (K,) how large a residual the tolerance allows.
    """

    change: Tensor
    residual: Tensor
    nodes: Tensor
    allowed: Tensor

    @property
    def reached(self) -> Tensor:
        """(K,) bool, whether the residual is within what the tolerance allows."""
        return self.residual.abs() <= self.allowed


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What a method finds.

    Attributes:
        matrix: (K, S) the contribution of each source to each group; cells that causality forbids hold anything.
        values: (K,) the explained score itself, unaltered input.
        certificate: of methods that can measure their own error.
    """

    matrix: Tensor
    values: Tensor
    certificate: Certificate | None = None


@dataclass(frozen=True, slots=True)
class Footprint:
    """How many bytes a model works with, estimated from its widths, for the memory budget.

    Attributes:
        kept: for each token of each variant, what a forward keeps for its backward.
        moved: for each token, variant and cotangent, what a forward or a backward has in hand at a time.
        head: for each target and variant, what its logits take.
    """

    kept: int
    moved: int
    head: int = 0
