"""Sanity checks: a map that stays the same with other weights, or when other tokens are explained, explains neither.

1. The map of the case as it is, by the method.
2. `Randomisation`: parts of the model get random weights, the head first, then the layers from the top down, then the
   embeddings; with each step the parts before stay random (cascading), or only one part is random at a time. The method
   explains the same tokens of the same text again.
3. `RandomTarget`: the same model explains other tokens in the place of the targets, drawn from its vocabulary.
4. Each map is compared with that of step 1, target by target: rank correlations, and how many of the best are the same.

Oracle: guided backpropagation hardly changes where the gradient does (Adebayo et al. 2018).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from tokensal.adapters.randomised import parts_of, randomised
from tokensal.case import Case
from tokensal.engine import engine_of
from tokensal.errors import NonFiniteScores, require_known
from tokensal.evaluation.metric import Trial
from tokensal.evaluation.similarity import Similarity, similarity
from tokensal.methods import Method
from tokensal.results.attribution import Attribution
from tokensal.types import Example
from tokensal.values import read_whole, store

ORDERS = ("cascading", "independent")


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """The parts that are random, the last one named first, and how alike the map is then."""

    name: str
    similarity: Similarity


@dataclass(frozen=True, kw_only=True)
class Randomisation:
    """How alike a map stays while the weights of the model are drawn at random, from the head down; lower is better.

    Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim 2018, arXiv:1810.03292: the model parameter randomisation test. The
    value is Spearman's rank correlation of |score| before and after, averaged over the steps. A method whose value
    stays near 1 shows the text, not what the model learned.

    Signs: |score| is ranked, since some methods have none; `similarities` has that of signed scores and the overlap of
    the best tenth, too. Ties share the average of their ranks. The sink, special tokens and a chat's template are left
    out: they rank first in most maps, and would make all look alike. A target with fewer than 3 units, or with equal
    scores everywhere, has none. It differs from published code in that weights are drawn with the mean and the standard
    deviation of each tensor, not by an initialiser (see `tokensal.adapters.randomised`), and in that maps are compared
    on tokens, not pixels.

    Cost: an explanation for each step.

    Args:
        order: "cascading", where the parts above stay random, or "independent", where one part is random at a time.
        steps: how many parts, evenly spread from the head to the embeddings; None for all.
    """

    name: ClassVar[str] = "randomisation"
    summary: ClassVar[str] = "how alike the map stays when the weights are random, from the top down"
    paper: ClassVar[str] = "Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim 2018, arXiv:1810.03292"
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    needs_gold: ClassVar[bool] = False

    order: str = "cascading"
    steps: int | None = 6

    def __post_init__(self) -> None:
        require_known("order", self.order, ORDERS)
        store(self, steps=read_whole("steps", self.steps, least=1, optional=True))

    def __call__(self, trial: Trial, attribution: Attribution) -> Tensor:
        """(K,) the mean over the steps."""
        similarities = [step.similarity.magnitudes for step in self.similarities(trial, attribution)]
        return torch.stack(similarities).nanmean(0)

    def similarities(self, trial: Trial, attribution: Attribution) -> Iterator[Step]:
        """How alike the map is after each step, from the head down.

        Raises:
            UnsupportedModel: weights that cannot be drawn, or layers that cannot be told apart.
        """
        model = trial.case.engine.adapter.model  # type: ignore[attr-defined]
        names = list(parts_of(model))
        method, players = trial.method_of(attribution), trial.game().players
        for name in _spread(names, self.steps):
            last = names.index(name)
            random = names[: last + 1] if self.order == "cascading" else [name]
            with randomised(model, random, trial.seed):
                other = _scores(with_new_engine(trial.case), method, attribution)
            yield Step(name, similarity(attribution.scores[:, players], other[:, players]))


@dataclass(frozen=True, kw_only=True)
class RandomTarget:
    """How alike a map stays when other tokens are explained in the place of the targets; lower is better.

    After the data randomisation test of Adebayo et al. 2018, arXiv:1810.03292: the model is not trained on random
    labels; it is asked about tokens that are drawn from its vocabulary, while the text that it reads stays the same. A
    method whose value stays near 1 says what the model looks at, not what speaks for a token.

    Signs, ties and the sink: as for `Randomisation`.

    Cost: an explanation for each draw.

    Args:
        draws: how many other tokens; their mean counts.
    """

    name: ClassVar[str] = "random_target"
    summary: ClassVar[str] = "how alike the map stays when other tokens are explained"
    paper: ClassVar[str] = "after Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim 2018, arXiv:1810.03292"
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    needs_gold: ClassVar[bool] = False

    draws: int = 2

    def __post_init__(self) -> None:
        store(self, draws=read_whole("draws", self.draws, least=1))

    def __call__(self, trial: Trial, attribution: Attribution) -> Tensor:
        """(K,) the mean over the draws."""
        method, players, values = trial.method_of(attribution), trial.game().players, []
        for draw in range(self.draws):
            case = with_new_engine(trial.case, _other_targets(trial, draw))
            other = _scores(case, method, attribution)
            values.append(similarity(attribution.scores[:, players], other[:, players]).magnitudes)
        return torch.stack(values).nanmean(0)


def _spread(names: Sequence[str], count: int | None) -> list[str]:
    """So many of the names, evenly spread, with the first and the last."""
    if count is None or count >= len(names):
        return list(names)
    if count == 1:
        return [names[-1]]
    return [names[round(index * (len(names) - 1) / (count - 1))] for index in range(count)]


def with_new_engine(case: Case, example: Example | None = None) -> Case:
    """The case with an engine that remembers nothing of the weights, or of the targets, as they were."""
    engine = engine_of(case.engine.adapter, case.engine.score, budget=case.engine.budget)
    return replace(case, engine=engine, example=replace(example or case.example))


def _scores(case: Case, method: Method, attribution: Attribution) -> Tensor:
    """(K, J) the scores of a case; NaN, where a model with random weights has none that are finite."""
    try:
        return case.explain(method).scores
    except NonFiniteScores:
        return torch.full_like(attribution.scores, torch.nan)


def _other_targets(trial: Trial, draw: int) -> Example:
    """The example with tokens in the place of its targets that are not these."""
    example, generator = trial.case.example, trial.generator(draw)
    size = trial.case.engine.vocabulary(example)
    shifts = torch.randint(1, size, (len(example.targets),), generator=generator).tolist()
    pairs = zip(example.targets, shifts, strict=True)
    return replace(example, targets=tuple(replace(token, id=(token.id + shift) % size) for token, shift in pairs))
