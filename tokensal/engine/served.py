"""The engine of a model that only tells log-probabilities of tokens: scores, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NoReturn, Protocol, TypeGuard, cast

import torch
from torch import Tensor

from tokensal.engine.adapter import Adapter
from tokensal.engine.budget import Budget
from tokensal.engine.engine import Engine
from tokensal.engine.forwards import Tally
from tokensal.errors import InputError, NonFiniteScores
from tokensal.perturbations.inputs import Perturbations, PerturbedInputs, Unperturbed
from tokensal.questions.masks import group_weights
from tokensal.scores import Score, logprob, name_of, prob
from tokensal.types import Example, Progress

FROM_LOGPROBS: dict[Score, Callable[[Tensor], Tensor]] = {logprob: lambda values: values, prob: torch.exp}
ROWS = 64  # perturbations that are asked for together, between two reports of progress


class Served(Protocol):
    """What this engine needs of a model beside what `Adapter` says of `embed`, `baseline` and `prepared`."""

    def logprobs(self, example: Example, perturbed: PerturbedInputs) -> Tensor:
        """The log-probability of each target in each perturbation: (R, G)."""
        ...

    def likeliest(self, example: Example, count: int) -> tuple[Tensor, Tensor]:
        """The likeliest tokens in the place of each target: ids and probabilities (G, count)."""
        ...

    @property
    def vocabulary(self) -> int:
        """How many tokens the model tells apart."""
        ...

    def refuse(self) -> NoReturn:
        """Say that the model cannot be looked into. Raises UnsupportedModel."""
        ...


class ServedEngine(Engine):
    """Scores of one served model; gradients, activations and other inputs than tokens are refused.

    Args:
        served: the model.
        score: `logprob` or `prob`.
        budget: takes no part; the server has its own memory.
        progress: called with (done, total) as perturbations are scored.

    Raises:
        InputError: another score.
    """

    removal: ClassVar[str] = "delete"

    def __init__(
        self,
        served: Served,
        score: Score = logprob,
        *,
        budget: Budget | None = None,
        progress: Progress | None = None,
    ) -> None:
        if score not in FROM_LOGPROBS:
            raise InputError(
                f"The score {name_of(score)} needs logits, and a server tells log-probabilities of single tokens: ask "
                "for 'logprob' or 'prob'."
            )
        super().__init__(cast(Adapter, served), score, budget=budget, progress=progress)
        self.served = served

    def baseline(self, example: Example, baseline: str | Tensor) -> Tensor:
        """Tokens that can stand in for absent sources, (S, 1); see `ServedAdapter.baseline`."""
        if isinstance(baseline, Tensor):
            raise InputError("A served model reads tokens, and no embeddings: name a token as the baseline.")
        return self.adapter.baseline(baseline, len(example.sources))

    def scores(self, example: Example, perturbations: Perturbations, tally: Tally | None = None) -> Tensor:
        """The score of each group for each perturbation: (R, K); see `Engine.scores`."""
        tally = tally or Tally(self.progress, len(perturbations))
        pieces = []
        for start in range(0, len(perturbations), ROWS):
            rows = torch.arange(start, min(start + ROWS, len(perturbations)))
            pieces.append(self._values(example, perturbations.rows(rows, 0)))
            tally.add(len(rows))
        values = torch.cat(pieces)
        return values @ group_weights(example).to(values).T

    def remembered(self, example: Example) -> tuple[Tensor, Any]:
        """The scores (G,) of the example as it is, and no states."""
        if self._latest is None or self._latest[0] is not example:
            [values] = self._values(example, Unperturbed(self.embed(example)).rows(torch.zeros(1).long(), 0))
            self._latest = example, values, None
        return self._latest[1:]

    def likeliest(self, example: Example, count: int) -> tuple[Tensor, Tensor]:
        """See `Engine.likeliest`."""
        return self.served.likeliest(example, count)

    def vocabulary(self, example: Example) -> int:
        """How many tokens the model tells apart."""
        return self.served.vocabulary

    def _values(self, example: Example, perturbed: PerturbedInputs) -> Tensor:
        """(n, G)."""
        values = FROM_LOGPROBS[self.score](self.served.logprobs(example, perturbed))
        if not values.isfinite().all():
            target = int((~values.isfinite()).nonzero()[0, 1])
            raise NonFiniteScores(
                f"The score of target {target} ({example.targets[target].text!r}) is not a finite number; the server "
                "returns such log-probabilities: explain other targets, or the score 'prob'."
            )
        return values

    # What a server does not tell

    def _refused(self, *arguments: Any, **options: Any) -> NoReturn:
        """Refused. Raises UnsupportedModel."""
        self.served.refuse()

    gradients = activations = decomposed = directions = _refused
    with_rules = with_reference = with_shift = _refused


def engine_of(
    adapter: Adapter | Served,
    score: Score = logprob,
    *,
    budget: Budget | None = None,
    progress: Progress | None = None,
) -> Engine:
    """The engine of a model that is loaded, or served.

    Raises:
        InputError: a score that a server cannot tell.
    """
    kind: Callable[..., Engine] = ServedEngine if _is_served(adapter) else Engine
    return kind(adapter, score, budget=budget, progress=progress)


def _is_served(adapter: Adapter | Served) -> TypeGuard[Served]:
    # not by isinstance, which reads properties, of which some are refused
    return hasattr(adapter, "logprobs")
