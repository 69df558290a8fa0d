"""A prompt whose answer rests on known words: what methods are measured on where the right attribution is known.

1. The words that the answer rests on, the gold, are characters of the prompt: they are the same for every model.
2. `Prompt.swapped` writes other words in their place, and says what the answer should be then. A model that gives both
   answers takes them from there.
3. `case_of` puts the prompt to a model. A unit is gold if one of its tokens is, and a token is if one of its
   characters is, white space apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tokensal.adapters import AnyAdapter
from tokensal.case import Case
from tokensal.errors import InputError
from tokensal.options import Generation
from tokensal.questions.masks import unit_membership
from tokensal.questions.question import Question
from tokensal.types import Example, Token


@dataclass(frozen=True, slots=True)
class Span:
    """Characters [start, stop) of a prompt or, in a chat, of the content of the message of that number."""

    start: int
    stop: int
    message: int | None = None


@dataclass(frozen=True, slots=True)
class Gold(Span):
    """Characters that the answer rests on; of one target alone where `target` is its number."""

    target: int | None = None


@dataclass(frozen=True, slots=True)
class Edit(Span):
    """Another text in the place of these characters; "" removes them."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class Swap:
    """What is written elsewise, and what the answer should be then.

    Attributes:
        edits: do not overlap.
        continuation: the answer to the edited prompt; that of the prompt itself where it should not change.
        contrast: what that answer is explained against, if anything.
    """

    edits: tuple[Edit, ...]
    continuation: str
    contrast: str | None = None


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A prompt or a chat, its answer, and the words that the answer rests on.

    Attributes:
        id: a name that no other prompt of a data set has.
        kind: of which kind it is, such as "facts"; see `tokensal.evaluation.suites`.
        prompt: a text; None for a chat.
        messages: of a chat; empty for a text. Each has a role and a content, which is a text.
        continuation: the answer as it continues the prompt, mostly with a leading space; None to generate one.
        contrast: a text in the place of the answer, against which it is explained; None to explain it by itself.
        targets: what of the answer is explained: as `Question.targets`, such as "word", or the numbers of tokens. With
            a contrast, the answer as a whole, or for (0,) its first token against the first one of the contrast.
        gold: the characters that the answer rests on, or one of its targets.
        swaps: how the evidence is proved; see `Swap`.
        passages: sentences, documents and the like that the prompt consists of, where it does.
    """

    id: str
    kind: str = ""
    prompt: str | None = None
    messages: tuple[Mapping[str, str], ...] = ()
    continuation: str | None = None
    contrast: str | None = None
    targets: str | tuple[int, ...] = "token"
    gold: tuple[Gold, ...] = ()
    swaps: tuple[Swap, ...] = ()
    passages: tuple[Span, ...] = ()

    def __post_init__(self) -> None:
        for span in (*self.gold, *self.passages, *(edit for swap in self.swaps for edit in swap.edits)):
            _require_within(self, span)
        for gold in self.gold:
            if not self.text_of(gold).strip():
                raise InputError(f"The gold of prompt {self.id!r} has a span of white space alone: let it hold words.")

    def content(self, message: int | None) -> str:
        """The text that spans of that message refer to: of None, the prompt."""
        return (self.prompt or "") if message is None else self.messages[message]["content"]

    def text_of(self, span: Span) -> str:
        """The characters of a span."""
        return self.content(span.message)[span.start : span.stop]

    def swapped(self, number: int = 0) -> Prompt:
        """The prompt with the edits of that swap, and the answer that it should have.

        Gold moves with the text around it, and what is written in its place is gold; what is removed as part of
        something larger is not. The one swap of the result turns it back.
        """
        swap = self.swaps[number]
        texts = {message: _edited(self.content(message), _of_message(swap.edits, message)) for message in self._places}
        back = Swap(
            tuple(_inverse(self, swap.edits, edit) for edit in swap.edits), self.continuation or "", self.contrast
        )
        return replace(
            self,
            prompt=None if self.prompt is None else texts[None],
            messages=tuple({**each, "content": texts[index]} for index, each in enumerate(self.messages)),
            continuation=swap.continuation,
            contrast=swap.contrast,
            gold=_moved(self.gold, swap.edits),
            swaps=(back,),
            passages=_moved(self.passages, swap.edits),
        )

    @property
    def _places(self) -> Sequence[int | None]:
        return [None] if self.prompt is not None else range(len(self.messages))


def _require_within(prompt: Prompt, span: Span) -> None:
    if (prompt.prompt is None) == (span.message is None) or (span.message or 0) >= max(1, len(prompt.messages)):
        raise InputError(
            f"Prompt {prompt.id!r} has a span in message {span.message}, but has "
            f"{len(prompt.messages) or 'no'} messages: name the message of a chat, and none of a text."
        )
    length = len(prompt.content(span.message))
    if not 0 <= span.start <= span.stop <= length or (span.start == span.stop and not isinstance(span, Edit)):
        raise InputError(
            f"Prompt {prompt.id!r} has the span {span.start, span.stop}, but its text has {length} characters: give "
            "0 ≤ start < stop within it."
        )


# Edits


def _of_message(edits: Sequence[Edit], message: int | None) -> list[Edit]:
    """The edits there, in order."""
    return sorted((edit for edit in edits if edit.message == message), key=lambda edit: edit.start)


def _edited(text: str, edits: Sequence[Edit]) -> str:
    for edit in reversed(edits):
        text = text[: edit.start] + edit.text + text[edit.stop :]
    return text


def _shift(edits: Sequence[Edit], place: Span) -> int:
    """How far edits that end before a place move it."""
    before = (edit for edit in edits if edit.message == place.message and edit.stop <= place.start and edit != place)
    return sum(len(edit.text) - (edit.stop - edit.start) for edit in before)


def _inverse(prompt: Prompt, edits: Sequence[Edit], edit: Edit) -> Edit:
    """What turns an edit back, in the edited text."""
    start = edit.start + _shift(edits, edit)
    return Edit(start, start + len(edit.text), edit.message, prompt.text_of(edit))


def _moved(spans: Sequence[Any], edits: Sequence[Edit]) -> tuple[Any, ...]:
    """Where spans are in the edited text, without those that are removed, or replaced as part of something larger."""
    moved = []
    for span in spans:
        inside = [edit for edit in edits if edit.message == span.message and _overlap(edit, span)]
        if any((edit.start, edit.stop) != (span.start, span.stop) and not _holds(span, edit) for edit in inside):
            continue
        start = span.start + _shift(edits, span)
        length = span.stop - span.start + sum(len(edit.text) - (edit.stop - edit.start) for edit in inside)
        if length:
            moved.append(replace(span, start=start, stop=start + length))
    return tuple(moved)


def _overlap(one: Span, other: Span) -> bool:
    return one.start < other.stop and other.start < one.stop


def _holds(outer: Span, inner: Span) -> bool:
    return outer.start <= inner.start and inner.stop <= outer.stop


# To a model


def case_of(prompt: Prompt, model: AnyAdapter | str, *, question: Question | None = None, **options: Any) -> Case:
    """The case of a prompt, put to a model.

    Args:
        prompt: the prompt.
        model: as for `tokensal.attribute`.
        question: the unit, the score and the sources; targets and contrast are those of the prompt.
        options: as for `Case.of`.

    Raises:
        TokensalError: one sentence about what to put right; see `tokensal.errors`.
    """
    question, targets = question or Question(), prompt.targets
    answer: str | list[int] | None = prompt.continuation
    contrast: str | list[int] | None = prompt.contrast
    text: dict[str, Any] = {"prompt": prompt.prompt, "messages": prompt.messages or None}
    if contrast is not None and targets == (0,):
        pair = (Case.of(model, **text, generation=Generation(continuation=each)) for each in (answer, contrast))
        answer, contrast = ([case.example.targets[0].id] for case in pair)
    return Case.of(
        model,
        **text,
        question=replace(question, targets=targets if isinstance(targets, str) else list(targets), contrast=contrast),
        generation=Generation(continuation=answer),
        **options,
    )


def gold_units(prompt: Prompt, example: Example, *, passages: bool = False) -> Tensor:
    """Which units are gold: (J,) bool, or (K, J) where gold is of single targets.

    Args:
        prompt: the prompt.
        example: the same, tokenized.
        passages: count everything as gold that is in a passage with gold.

    Raises:
        InputError: no token holds a span of gold, or gold of a target that the example does not have.
    """
    rows = [_tokens_of(prompt, example, _passage_of(prompt, gold) if passages else gold) for gold in prompt.gold]
    tokens = torch.stack(rows)
    units = (tokens.float() @ unit_membership(example).float().T) > 0
    owners = [gold.target for gold in prompt.gold]
    if owners == [None] * len(owners):
        return units.any(0)
    for target in owners:
        if target is not None and not 0 <= target < len(example.groups):
            raise InputError(
                f"Prompt {prompt.id!r} has gold of target {target}, but {len(example.groups)} targets, from 0 on."
            )
    wanted = [[owner is None or owner == target for owner in owners] for target in range(len(example.groups))]
    return (torch.tensor(wanted).float() @ units.float()) > 0


def _passage_of(prompt: Prompt, gold: Gold) -> Span:
    holding = (each for each in prompt.passages if each.message == gold.message and _holds(each, gold))
    return next(holding, gold)


def _tokens_of(prompt: Prompt, example: Example, span: Span) -> Tensor:
    """(S,) bool, the sources that hold a character of a span, white space apart."""
    text = prompt.content(span.message)

    def within(token: Token) -> bool:
        if token.in_prompt is None or token.message != span.message:
            return False
        start, stop = max(token.in_prompt[0], span.start), min(token.in_prompt[1], span.stop)
        return bool(text[start:stop].strip()) if start < stop else False

    tokens = torch.tensor([within(token) for token in example.sources])
    if not tokens.any():
        raise InputError(
            f"No source of prompt {prompt.id!r} holds {prompt.text_of(span)!r}, which is gold: the tokenizer or the "
            "chat template does not say where the characters went, or the target stands before it."
        )
    return tokens
