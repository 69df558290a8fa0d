"""Trials of hand-made games, and attributions of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from hand_made import HandMade, Value
from torch import Tensor

from tokensal.case import Case
from tokensal.evaluation.metric import Trial
from tokensal.questions.question import Question
from tokensal.results.attribution import Attribution
from tokensal.types import Scores

FACTS = {
    "model": "hand-made", "revision": None, "architecture": "", "dtype": "float64", "device": "cpu", "attention": "",
    "score": "logprob",
}  # fmt: skip


class Ready:
    """A method whose scores (K, P) of the players are ready; NaN for those that it leaves out."""

    name, signed = "ready", True

    def __init__(self, scores: Tensor) -> None:
        self.scores = scores

    def __call__(self, example, engine) -> Scores:
        matrix = torch.cat([torch.zeros(len(self.scores), 1), self.scores.nan_to_num()], 1)
        scored = torch.cat([torch.tensor([True]), ~self.scores.isnan().any(0)])
        return Scores(matrix, torch.zeros(len(matrix)), scored=scored)


class Engine(HandMade):
    """With what a case looks at."""

    adapter = type("adapter", (), {"device": torch.device("cpu")})()
    score = None  # none of those with a name


def trial_of(value: Value, players: int, seen: Sequence[int] = (), seed: int = 0) -> Trial:
    """A trial of a game of players, of which each target sees so many."""
    engine = Engine(value, players, seen)
    return Trial(Case(Question(), engine.example(), engine, (), FACTS), seed=seed)


def ranked(trial: Trial, scores: Sequence[float] | Tensor) -> Attribution:
    """An attribution with those scores of the players: (P,) for a single target, or (K, P)."""
    table = torch.as_tensor(scores, dtype=torch.float64)
    return trial.case.explain(Ready(table if table.ndim == 2 else table[None]))


def linear(weights: Sequence[float] | Tensor, constant: float = 0.0) -> Value:
    """constant + Σ weights of the present players."""
    row = torch.as_tensor(weights, dtype=torch.float64)
    return lambda present: (present @ row + constant)[:, None]
