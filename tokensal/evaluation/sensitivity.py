"""How much an explanation changes where the input hardly does: the method explains noisy copies of the embeddings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from tokensal.engine.activations import raised
from tokensal.evaluation.metric import Trial
from tokensal.evaluation.rankings import player_scores
from tokensal.perturbations.draws import generator
from tokensal.results.attribution import Attribution
from tokensal.values import read_number, read_whole, store


@dataclass(frozen=True, kw_only=True)
class MaxSensitivity:
    """The largest change of a target's scores among noisy copies of the input, relative to them. Lower is better.

    max over ε of |φ(x + ε) − φ(x)|₂ / |φ(x)|₂, for draws of ε ~ N(0, deviation²) in each number of each embedding. Yeh
    et al. 2019, arXiv:1901.09392, take the supremum over a ball, and do not divide. captum's `sensitivity_max` divides,
    too, and draws uniformly from a cube. The noise is in units of SmoothGrad's: relative to the root mean square of the
    embeddings. All methods of a trial get the same noise.

    Sign, ties, sink: scores count with their sign; a unit without one counts as 0. The sink, special tokens and a
    chat's template get noise, but their own scores play no part.

    Cost: the method, once for each sample.

    Use: beside other metrics. A method that says the same whatever the input is has 0. The score changes, too, so even
    a method that is right has more than 0.

    NaN: all scores of a target are 0.

    Args:
        samples: how many noisy copies.
        noise: standard deviation, relative to the root mean square of the embeddings.
    """

    name: ClassVar[str] = "max_sensitivity"
    summary: ClassVar[str] = "largest relative change of the scores under small noise"
    paper: ClassVar[str] = "Yeh et al. 2019, arXiv:1901.09392"
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    needs_gold: ClassVar[bool] = False

    samples: int = 4
    noise: float = 0.02

    def __post_init__(self) -> None:
        store(
            self,
            samples=read_whole("samples", self.samples, least=1, most=65_536),
            noise=read_number("noise", self.noise, above=0),
        )

    def __call__(self, trial: Trial, attribution: Attribution) -> Tensor:
        method, engine = trial.method_of(attribution), trial.case.engine
        scores = _scores(trial, attribution)
        embeds = engine.embed(trial.case.example)
        deviation = self.noise * raised(embeds).square().mean().sqrt().cpu().double()
        largest = torch.zeros(len(scores), dtype=torch.float64)
        for sample in range(self.samples):
            drawn = torch.randn(embeds.shape, generator=generator(trial.seed, sample), dtype=torch.float64)
            noisy = replace(trial.case, engine=engine.with_shift(deviation * drawn))
            change = (_scores(trial, noisy.explain(method)) - scores).norm(dim=1)
            largest = torch.maximum(largest, change)
        norms = scores.norm(dim=1)
        return largest / torch.where(norms > 0, norms, torch.nan)


def _scores(trial: Trial, attribution: Attribution) -> Tensor:
    """(K, P) float64, 0 where there is none."""
    return player_scores(trial, attribution).nan_to_num(neginf=0)
