"""What a method is: a frozen value that turns an example and an engine into scores."""

from __future__ import annotations

from typing import ClassVar, Protocol

from tokensal.engine import Engine
from tokensal.types import Example, Scores


class Method(Protocol):
    """A frozen dataclass of options (its repr is its provenance) that is called once for each example.

    `signed` says whether a negative score means "spoke against"; a method built on norms sets it False.
    """

    signed: ClassVar[bool]

    def __call__(self, example: Example, engine: Engine) -> Scores: ...
