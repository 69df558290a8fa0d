"""What a metric is: a number for each target, from a case, an attribution of it, and what is known of the right answer.

Numbers of one name differ between papers and codes. The documentation of each metric therefore has its formula, its
source, what it does with signs, ties and the sink, and how it differs from published code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor

from tokensal.adapters import AnyAdapter
from tokensal.case import Case
from tokensal.errors import InputError
from tokensal.evaluation.prompts.prompt import Prompt, case_of, gold_units
from tokensal.methods import Method, build
from tokensal.methods.removal import Game, game_of
from tokensal.perturbations.draws import generator
from tokensal.results.attribution import Attribution

KEPT = ("sink", "special", "template")  # sources that no metric takes away


@dataclass(frozen=True, eq=False)
class Trial:
    """One case that all methods are measured on. What is computed for one of them serves the others, too.

    Attributes:
        case: the example, and the engine that scores it.
        gold: (J,) bool, the units that the answer rests on, or (K, J) where targets rest on different ones; None where
            that is not known.
        seed: of all that is drawn, such as coalitions and the order of equal scores.
        games: what each way to take sources away gives, as far as it is known; see `game`.
        explained: attributions and the methods that they are of, by the identity of the attribution; see `explain`.
        stored: what was explained before, by the repr of the method: the attribution, or why there is none.
    """

    case: Case
    gold: Tensor | None = None
    seed: int = 0
    games: dict[str, Game] = field(default_factory=dict, repr=False)
    explained: dict[int, tuple[Attribution, Method]] = field(default_factory=dict, repr=False)
    stored: Mapping[str, Attribution | str] = field(default_factory=dict, repr=False)

    def explain(self, method: str | Method | type[Method]) -> Attribution:
        """What a method says of the case, or said of it before, where that is stored; metrics that let it explain
        something else, too, find it by `method_of`.

        Raises:
            TokensalError: it has no explanation; the sentence says why.
        """
        built = build(method)
        attribution = self.stored.get(repr(built))
        if isinstance(attribution, str):
            raise InputError(attribution)
        if attribution is None:
            attribution = self.case.explain(built)
        self.explained[id(attribution)] = attribution, built
        return attribution

    def method_of(self, attribution: Attribution) -> Method:
        """The method that an attribution is of.

        Raises:
            InputError: it was not made by `explain`.
        """
        if id(attribution) not in self.explained:
            raise InputError(
                f"A metric lets the method explain again, but the trial does not know which one "
                f"{attribution.provenance.method!r} is: make the attribution with trial.explain(method)."
            )
        return self.explained[id(attribution)][1]

    def game(self, replacement: str = "mask") -> Game:
        """The scores of coalitions where absent units are masked, deleted or replaced; each is computed once.

        Players are the units that anybody asks about, without the sink, special tokens and a chat's template.
        """
        if replacement not in self.games:
            self.games[replacement] = game_of(self.case.example, self.case.engine, replacement, KEPT)
        return self.games[replacement]

    def generator(self, number: int = 0) -> torch.Generator:
        """A generator for the draw of that number."""
        return generator(self.seed, number)


def trial_of(prompt: Prompt, model: AnyAdapter | str, *, seed: int = 0, **options: Any) -> Trial:
    """The trial of a prompt: its case, and which units are gold. Options are those of `case_of`.

    Raises:
        TokensalError: one sentence about what to put right; see `tokensal.errors`.
    """
    case = case_of(prompt, model, **options)
    return Trial(case, gold_units(prompt, case.example) if prompt.gold else None, seed)


class Metric(Protocol):
    """A frozen dataclass of options that is called once for each attribution.

    Attributes:
        name: how commands and tables call it.
        summary: what it measures, in a line.
        paper: where its definition comes from.
        better: whether "higher" or "lower" values are better.
        needs_gold: whether it needs to know the units that the answer rests on.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    paper: ClassVar[str]
    better: ClassVar[Literal["higher", "lower"]]
    needs_gold: ClassVar[bool]

    def __call__(self, trial: Trial, attribution: Attribution) -> Tensor:
        """(K,) float64, one number for each target; NaN where it is not defined."""
        ...
