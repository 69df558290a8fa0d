"""What a method is: a frozen value that turns an example and an engine into scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Protocol

from tokensal.engine import Engine
from tokensal.engine.reductions import Reduction
from tokensal.perturbations.inputs import Unperturbed
from tokensal.questions.masks import first_credited
from tokensal.types import Example, HookPoint, Scores


class Method(Protocol):
    """A frozen dataclass of options (its repr is its provenance) that is called once for each example.

    Attributes:
        name: how commands and configurations call it.
        summary: what its scores say, in a line.
        quantity: what one of its scores is, for the legend of a figure; {score} stands for what is explained.
        paper: where it comes from.
        signed: whether a negative score means "spoke against"; norms have no sign. It may depend on options.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    quantity: ClassVar[str] = "contribution to {score}"
    paper: ClassVar[str]

    @property
    def signed(self) -> bool: ...

    def __call__(self, example: Example, engine: Engine) -> Scores: ...


def first_on_the_graph(example: Example) -> int:
    """The first source whose gradient is taken: that of the first credited unit, where this spares work."""
    first = first_credited(example)
    # to run what comes before once more, without a graph, can cost more than it spares
    return first if first * len(example.groups) > len(example.sources) else 0


class GradientMethod(ABC):
    """A method that takes one gradient of each score and reduces it; others can average it (see `SmoothGrad`).

    Attributes:
        at: where the gradient is taken.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    quantity: ClassVar[str] = "contribution to {score}"
    paper: ClassVar[str]
    at: ClassVar[HookPoint] = HookPoint.EMBEDDINGS

    @property
    @abstractmethod
    def signed(self) -> bool:
        """Whether a negative score means "spoke against"."""

    @abstractmethod
    def reduction(self) -> Reduction:
        """How a gradient becomes a number for each source."""

    def selected_layers(self, engine: Engine) -> Sequence[int]:
        """The layers where it is taken, ascending; none at the embeddings."""
        return ()

    def prepared(self, engine: Engine) -> Engine:
        """The engine whose gradients are taken: another one where the method has backward rules."""
        return engine

    def __call__(self, example: Example, engine: Engine) -> Scores:
        [gradients] = self.prepared(engine).gradients(
            example,
            Unperturbed(engine.embed(example)),
            self.reduction(),
            at=self.at,
            layers=self.selected_layers(engine),
            first=first_on_the_graph(example),
        )
        return Scores(gradients.reduced[0], gradients.values[0])
