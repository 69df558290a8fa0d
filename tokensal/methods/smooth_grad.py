"""SmoothGrad: the gradient averaged over noisy copies of the input, around any method that takes one gradient.

1. Make n copies of the embeddings with Gaussian noise, whose deviation is a share of their root mean square.
2. Average the gradients over the copies, as vectors, and only then reduce them: the norm of a mean is not the mean of
   norms. What the embeddings are multiplied by is the input itself; what layers compute is averaged like the gradient.
3. The standard error of each score is that of the jackknife: leave out one batch of copies at a time, reduce the mean
   of the others, and see how much the scores vary. It holds for any reduction.
"""

from __future__ import annotations

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
from tokensal.perturbations.noise import Noise
from tokensal.perturbations.protection import check_keep, protected_sources
from tokensal.types import Diagnostic, Example, HookPoint, Scores
from tokensal.values import read_number, read_whole, store

BATCHES = 8  # of the jackknife, at most
MOST_SAMPLES = 65_536


@dataclass(frozen=True, kw_only=True)
class SmoothGrad:
    """The mean gradient over noisy copies of the input, reduced as another method does. Signed if that method is.

    Smilkov, Thorat, Kim, Viégas, Wattenberg 2017, arXiv:1706.03825. Unit: that of the other method. The standard error
    of each score is among the diagnostics; it falls with the square root of `samples`.

    Cost: `samples` times that of the other method.

    Error: the standard error of each score, from the copies.

    Use: where one gradient is noisy. On copied evidence it points as well as the method that it averages, and no
    better.

    Args:
        method: a gradient method, or the name of one: "gradient", "input_x_gradient", "grad_cam", "lrp" …
        samples: how many noisy copies.
        noise: standard deviation of the noise, relative to the root mean square of the embeddings.
        seed: of the noise.
        keep: which sources get no noise: any of "sink", "special", "template", "generated".
    """

    name: ClassVar[str] = "smooth_grad"
    summary: ClassVar[str] = "a gradient method, its gradient averaged over noisy copies of the input"
    paper: ClassVar[str] = "Smilkov, Thorat, Kim, Viégas, Wattenberg 2017, arXiv:1706.03825"

    method: str | GradientMethod = "gradient"
    samples: int = 16
    noise: float = 0.1
    seed: int = 0
    keep: Sequence[str] = ()

    def __post_init__(self) -> None:
        store(
            self,
            method=_gradient_method(self.method),
            keep=check_keep(self.keep),
            samples=read_whole("samples", self.samples, least=2, most=MOST_SAMPLES),
            noise=read_number("noise", self.noise, least=0),
            seed=read_whole("seed", self.seed, most=2**32 - 1),
        )

    @property
    def signed(self) -> bool:
        return self._base.signed

    @property
    def _base(self) -> GradientMethod:
        assert isinstance(self.method, GradientMethod)
        return self.method

    def __call__(self, example: Example, engine: Engine) -> Scores:
        embeds = engine.embed(example)
        noisy = ~protected_sources(example, self.keep)
        deviation = self.noise * float(raised(embeds).pow(2).mean().sqrt())
        base = self._base
        [means] = base.prepared(engine).gradients(
            example,
            Noise(embeds, noisy, deviation, self.samples, self.seed),
            _of_the_input(base.reduction(), embeds) if base.at is HookPoint.EMBEDDINGS else base.reduction(),
            at=base.at,
            layers=base.selected_layers(engine),
            average=_weights(self.samples),
        )
        matrix, *left_out = means.reduced
        diagnostics = {"standard_error": Diagnostic(_jackknife_error(torch.stack(left_out)))}
        return Scores(matrix, engine.original(example), diagnostics)


def _gradient_method(method: str | GradientMethod) -> GradientMethod:
    from tokensal.methods import METHODS, build

    built = build(method)
    if not isinstance(built, GradientMethod):
        names = ", ".join(name for name, member in METHODS.items() if issubclass(member, GradientMethod))
        raise InputError(f"smooth_grad averages one gradient, which {method!r} does not take: choose one of {names}.")
    return built


def _of_the_input(reduce: Reduction, embeds: Tensor) -> Reduction:
    """The reduction of mean gradients at the embeddings that multiplies by the input, and not by the mean of copies."""

    def reduce_with_the_input(activations: Sequence[Tensor], gradients: Sequence[Tensor], rows: Rows) -> Tensor:
        return reduce([embeds[rows.first :].to(gradients[0]).expand_as(activations[0])], gradients, rows)

    return reduce_with_the_input


def _weights(samples: int) -> Tensor:
    """The weights of the means, (1 + B, R): of all samples, and of all but those of each batch."""
    batches = min(BATCHES, samples)
    batch = torch.arange(samples) % batches
    others = (batch != torch.arange(batches)[:, None]).double()
    return torch.cat([torch.full((1, samples), 1 / samples, dtype=torch.float64), others / others.sum(1, keepdim=True)])


def _jackknife_error(left_out: Tensor) -> Tensor:
    """(K, J) from the scores without each batch (B, K, J)."""
    count = len(left_out)
    return ((count - 1) / count * (left_out - left_out.mean(0)).pow(2).sum(0)).sqrt()
