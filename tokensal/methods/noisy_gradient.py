"""Methods around another gradient method, whose gradient they take at noisy copies of the input: what they share.

1. Make n copies of the embeddings with Gaussian noise, whose deviation is a share of their root mean square.
2. Take a statistic of the gradients over the copies, number by number: their mean, or their variance.
3. Reduce that to a number for each source, as the other method reduces its gradient. What the embeddings are multiplied
   by is the input itself; what layers compute is averaged over the copies.
4. The standard error of each score is that of the jackknife: leave out one batch of copies at a time, make the score
   from the others, and see how much it varies. It holds for any statistic and any reduction.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tokensal.engine import Engine
from tokensal.engine.activations import raised
from tokensal.engine.reductions import Reduction, Rows
from tokensal.errors import InputError
from tokensal.methods.method import GradientMethod
from tokensal.methods.sampling import jackknife_error
from tokensal.perturbations.noise import Noise
from tokensal.perturbations.protection import check_keep, protected_sources
from tokensal.types import Diagnostic, Example, HookPoint, Scores
from tokensal.values import read_number, read_whole, store

BATCHES = 8  # of the jackknife, at most
MOST_SAMPLES = 65_536


@dataclass(frozen=True, kw_only=True)
class NoisyGradientMethod(ABC):
    """A statistic of a method's gradient over noisy copies of the input.

    Attributes:
        variance: whether the statistic is the variance, else the mean.
        fewest: how many copies it needs, so that a batch can be left out.

    Args:
        method: a gradient method, or the name of one: "gradient", "input_x_gradient", "grad_cam", "lrp" …
        samples: how many noisy copies.
        noise: standard deviation of the noise, relative to the root mean square of the embeddings.
        seed: of the noise.
        keep: which sources get no noise: any of "sink", "special", "template", "generated".
    """

    name: ClassVar[str]
    variance: ClassVar[bool] = False
    fewest: ClassVar[int] = 2

    method: str | GradientMethod = "gradient"
    samples: int = 16
    noise: float = 0.1
    seed: int = 0
    keep: Sequence[str] = ()

    def __post_init__(self) -> None:
        store(
            self,
            method=self._gradient_method(),
            keep=check_keep(self.keep),
            samples=read_whole("samples", self.samples, least=self.fewest, most=MOST_SAMPLES),
            noise=read_number("noise", self.noise, least=0),
            seed=read_whole("seed", self.seed, most=2**32 - 1),
        )

    @abstractmethod
    def reduction(self) -> Reduction:
        """How the statistic of the gradient becomes a number for each source."""

    @property
    def base(self) -> GradientMethod:
        """The method whose gradient it is."""
        assert isinstance(self.method, GradientMethod)
        return self.method

    def __call__(self, example: Example, engine: Engine) -> Scores:
        embeds = engine.embed(example)
        noisy = ~protected_sources(example, self.keep)
        deviation = self.noise * float(raised(embeds).pow(2).mean().sqrt())
        base, reduce = self.base, self.reduction()
        [statistics] = base.prepared(engine).gradients(
            example,
            Noise(embeds, noisy, deviation, self.samples, self.seed),
            _of_the_input(reduce, embeds) if base.at is HookPoint.EMBEDDINGS else reduce,
            at=base.at,
            layers=base.selected_layers(engine),
            average=_weights(self.samples),
            variance=self.variance,
        )
        matrix, *left_out = statistics.reduced
        diagnostics = {"standard_error": Diagnostic(jackknife_error(torch.stack(left_out)))}
        return Scores(matrix, engine.original(example), diagnostics)

    def _gradient_method(self) -> GradientMethod:
        from tokensal.methods import METHODS, build

        built = build(self.method)
        if not isinstance(built, GradientMethod):
            names = ", ".join(name for name, member in METHODS.items() if issubclass(member, GradientMethod))
            raise InputError(
                f"{self.name} is around one gradient, which {self.method!r} does not take: choose one of {names}."
            )
        return built


def _of_the_input(reduce: Reduction, embeds: Tensor) -> Reduction:
    """The reduction of a statistic at the embeddings that multiplies by the input, and not by the mean of copies."""

    def reduce_with_the_input(activations: Sequence[Tensor], gradients: Sequence[Tensor], rows: Rows) -> Tensor:
        return reduce([embeds[rows.first :].to(gradients[0]).expand_as(activations[0])], gradients, rows)

    return reduce_with_the_input


def _weights(samples: int) -> Tensor:
    """The weights of the averages, (1 + B, R): of all samples, and of all but those of each batch."""
    batches = min(BATCHES, samples)
    batch = torch.arange(samples) % batches
    others = (batch != torch.arange(batches)[:, None]).double()
    return torch.cat([torch.full((1, samples), 1 / samples, dtype=torch.float64), others / others.sum(1, keepdim=True)])
