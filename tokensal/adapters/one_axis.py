"""Examples of decoder-only models: prompt and answer on one axis of sources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tokensal.adapters.prompting import Prompt, read_with_answer
from tokensal.errors import InputError
from tokensal.types import Example, Role

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def on_one_axis(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, answer: Sequence[int], explain: str) -> Example:
    """The example of a prompt and its answer; targets are the answer, or all tokens but the first.

    Raises:
        InputError: nothing predicts anything.
    """
    text, tokens = read_with_answer(tokenizer, prompt, answer)
    first = len(prompt.ids) if explain == "answer" else 1
    if first == len(tokens):
        raise InputError("The prompt has one token, which nothing predicts: give it more to explain it.")
    sink = 0 if tokens[0].special or tokens[0].role is Role.TEMPLATE else None
    predictors = tuple(range(first - 1, len(tokens) - 1))
    return Example(text, tokens[:-1], tokens[first:], predictors, sink=sink, slots=prompt.slots)


def check_length(prompt: int, answer: int, limit: int | None) -> None:
    """Refuse a prompt and an answer of so many tokens if they exceed the context of the model.

    Raises:
        InputError: they do.
    """
    if limit and prompt >= limit:
        raise InputError(f"The prompt has {prompt} tokens, but the model's context holds {limit}: shorten the prompt.")
    if limit and prompt + answer > limit:
        raise InputError(
            f"The prompt's {prompt} tokens and {answer} new ones exceed the model's context of {limit}: "
            f"shorten the prompt, or ask for at most {limit - prompt} new tokens."
        )
