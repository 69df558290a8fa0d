"""`Question`: everything that is asked about an answer, in one value that checks itself before a model is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from re import UNICODE, Pattern
from typing import TYPE_CHECKING, Any

from tokensal.errors import InputError, require_known
from tokensal.options import option
from tokensal.questions.selection import SOURCES, UNITS, Targets, is_characters, parse_targets
from tokensal.questions.units import Span
from tokensal.scores import resolve_score
from tokensal.values import plain, read_spans, read_text_or_ids, read_whole, store

if TYPE_CHECKING:
    from torch import Tensor

PARTS = ("answer", "prompt", "all")  # of a text
MOST_ALTERNATIVES = 1000


@dataclass(frozen=True, kw_only=True)
class Question:
    """Everything that is asked about an answer: which targets, which sources, and which score of them.

        >>> Question(targets="word", unit="word")
        Question(score='logprob', explain='answer', targets='word', contrast=None, unit='word', sources=None, \
alternatives=0)

    Raises:
        InputError: an unknown name (the nearest one is offered), a broken pattern, an empty contrast, fewer than 0
            alternatives, or a value of the wrong type.
    """

    score: str | Callable[..., Tensor] = option(
        "logprob", "What is explained of each target: logprob, logit, prob or entropy.",
        python="Or a function of the logits (…, G, V), and perhaps of the target ids (G,), to (…, G).",
    )  # fmt: skip
    explain: str = option(
        "answer", "Which part of the text is explained: the answer, the prompt (why did the model expect these words? "
        "nothing is generated then), or all.",
    )  # fmt: skip
    targets: Targets | Sequence[Targets] = option(
        "token", "What is explained as one: each token, word or sentence of that part, the whole output, the token "
        "of a number (0 is the first), every occurrence of a text (text:Paris) or a pattern (regex:[0-9]+), or the "
        "characters start:stop of the shown text.",
        python="Or an int, a compiled pattern, a tuple (start, stop), or a list of several of all these.", kind=list,
    )  # fmt: skip
    contrast: str | Sequence[int] | None = option(
        None, "Explain why this text was not written: the score of the answer, or of the one passage that targets "
        "names, less the score of this text in its place; token against token where both have as many, else sum "
        "against sum.",
        python="Or token ids.",
    )  # fmt: skip
    unit: str | Sequence[Span] = option(
        "token", "What is credited as one: each token, word, sentence, line or message, or the passages marked [[…]] "
        "in the prompt (marked). A passage may have fillers: [[Dave|Sarah|Tom]] is read as Dave, and methods that take "
        "units away put Sarah and Tom in its place and take the mean; others ignore them. A bar of the text is "
        "written \\|.",
        python="Or the characters (start, stop) of such passages. Methods that alter their input alter a unit as a "
        "whole; others add up the scores of its tokens.",
    )  # fmt: skip
    sources: str | Sequence[str] | None = option(
        None, "What may be credited, or altered, by role: system, user, assistant, tool or template of a chat, prompt "
        "of a plain one, generated, contrast, or special tokens; all if left out.",
        kind=list, metavar="ROLE,…", commas=True,
    )  # fmt: skip
    alternatives: int = option(
        0, "How many of the tokens that the model held most likely to state for each target.",
        flag="--top-k-alternatives", metavar="K",
    )  # fmt: skip

    def __post_init__(self) -> None:
        resolve_score(self.score)
        require_known("part to explain:", [self.explain], PARTS)
        targets = plain(self.targets)
        store(self, targets=list(targets) if isinstance(targets, Iterator) else targets)
        parse_targets(self.targets)
        if self.contrast is not None:
            store(self, contrast=read_text_or_ids("contrast", self.contrast))
            if not self.contrast:
                raise InputError("The contrast is empty: give at least one token, or leave it out.")
        if isinstance(self.unit, str) or not isinstance(self.unit, Iterable):
            require_known("unit", [self.unit], UNITS)
        else:
            store(self, unit=read_spans("unit", self.unit))
        if self.sources is not None:
            sources = require_known("kind of sources:", self.sources, SOURCES)
            if not sources:
                raise InputError("The sources are empty: name at least one role, or leave them out to credit all.")
            store(self, sources=sources)
        store(self, alternatives=read_whole("alternatives", self.alternatives, most=MOST_ALTERNATIVES))

    def differences(self) -> dict[str, str]:
        """What differs from explaining each token of the answer by every token, as text; the score stands apart."""
        values = {each.name: (getattr(self, each.name), each.default) for each in fields(self)}
        return {
            name: _text(value)
            for name, (value, default) in values.items()
            if name not in ("score", "alternatives") and _text(value) != _text(default)
        }

    def arguments(self) -> dict[str, Any]:
        """What differs from the default question, as keyword arguments; targets as the texts that name them."""
        values = {each.name: (getattr(self, each.name), each.default) for each in fields(self)}
        different = {name: value for name, (value, default) in values.items() if value != default}
        if "targets" in different:
            targets = different["targets"]
            several = isinstance(targets, list | tuple) and not is_characters(targets)
            different["targets"] = [_named(target) for target in (targets if several else [targets])]
        return {name: value for name, value in different.items() if (name, value) != ("targets", ["token"])}


def _named(target: Any) -> Any:
    """The text by which a target is named on the command line, where it has one."""
    if isinstance(target, Pattern):
        return f"regex:{target.pattern}" if target.flags == UNICODE else target
    return f"{target[0]}:{target[1]}" if is_characters(target) else str(target)


def _text(value: object) -> str:
    if isinstance(value, list | tuple) and not all(isinstance(part, int) for part in value):
        return ", ".join(map(_text, value))
    return str(getattr(value, "pattern", value))
