"""From a prompt to an example: what adapters have in common, whether their model is loaded or served."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tokensal.adapters.branches import with_contrast
from tokensal.adapters.generating import most_new_tokens
from tokensal.adapters.prompting import Messages, Prompt, Text, continuation_ids, read_prompt
from tokensal.adapters.tokens import decode, read
from tokensal.errors import InputError, require_known
from tokensal.options import Generation, flattened
from tokensal.questions.question import PARTS
from tokensal.types import Example, Role

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class PromptAdapter(ABC):
    """A model that is known by its tokenizer and a name; see `ModelAdapter` and `ServedAdapter`.

    Attributes:
        tokenizer: that of the model.
        name: what results call the model.
        revision: the revision it was loaded from; None if unknown.
        request: the arguments of `load` that load it again; None if unknown.
    """

    tokenizer: PreTrainedTokenizerBase
    name: str
    revision: str | None
    request: Mapping[str, Any] | None

    @flattened(generation=Generation)
    def example(
        self,
        prompt: Text | None = None,
        *,
        messages: Messages | None = None,
        template: Mapping[str, Any] | None = None,
        generation: Generation,
        explain: str = "answer",
        marked: bool | Sequence[tuple[int, int]] = False,
    ) -> Example:
        """Tokenize a prompt or a chat, and take or generate its continuation.

        Args:
            prompt: Text, or token ids.
            messages: A chat instead ({"role": …, "content": …}), put through the model's chat template.
            template: Further arguments of the chat template, such as tools or enable_thinking.
            {generation}
            explain: The targets: "answer", "prompt" (its own tokens, but the first; nothing is generated), or "all".
            marked: True if passages are marked as [[…]] in the prompt, perhaps with fillers as in [[Dave|Sarah]]; or
                the characters (start, stop) of each.

        Raises:
            InputError: an empty prompt or continuation, or one longer than the model's context.
        """
        require_known("part to explain:", explain, PARTS)
        tokenized = self._read(prompt, messages, template, marked)
        options = dict(generation.generation or {})
        if explain == "prompt":
            if generation.continuation is not None or generation.max_new_tokens is not None or options:
                raise InputError(
                    "Where the prompt is explained, nothing follows it: leave out what is about an answer."
                )
            return self._with_continuation(tokenized, None, explain)
        if generation.continuation is not None:
            return self._with_continuation(tokenized, generation.continuation, explain)
        return self._with_generation(
            tokenized, options, self._most_tokens(tokenized, generation), generation.seed, explain
        )

    @flattened(generation=Generation)
    def unanswered(
        self,
        prompt: Text | None = None,
        *,
        messages: Messages | None = None,
        template: Mapping[str, Any] | None = None,
        generation: Generation,
        marked: bool | Sequence[tuple[int, int]] = False,
    ) -> tuple[tuple[int, ...], int]:
        """The ids of a prompt or a chat, and how many tokens may follow; with the arguments and errors of `example`."""
        tokenized = self._read(prompt, messages, template, marked)
        return tokenized.ids, self._most_tokens(tokenized, generation)

    def _read(
        self,
        prompt: Text | None,
        messages: Messages | None,
        template: Mapping[str, Any] | None,
        marked: bool | Sequence[tuple[int, int]],
    ) -> Prompt:
        self._check_template(template)
        tokenized = read_prompt(self.tokenizer, prompt, messages, marked, template)
        self._in_vocabulary([*tokenized.ids, *(id for slot in tokenized.slots for ids in slot.fillers for id in ids)])
        return tokenized

    def _most_tokens(self, prompt: Prompt, generation: Generation) -> int:
        """How many tokens may be generated, of which the model's context has room for all."""
        limit = most_new_tokens(generation, self._before_answer(prompt))
        self._check_length(len(prompt.ids), limit)
        return limit

    @abstractmethod
    def _with_continuation(self, prompt: Prompt, continuation: Text | None, explain: str) -> Example:
        """The example of a prompt and a continuation, or of a prompt alone."""

    @abstractmethod
    def _with_generation(
        self, prompt: Prompt, options: dict[str, Any], limit: int, seed: int | None, explain: str
    ) -> Example:
        """The example of a prompt and the continuation that the model generates, of at most so many tokens."""

    def _before_answer(self, prompt: Prompt) -> int:
        """How many tokens of the sequence that holds the answer stand before it."""
        return len(prompt.ids)

    def contrasted(self, example: Example, explained: range, contrast: Text) -> Example:
        """The example with two continuations: some of its targets, and another text in their place.

        Each is explained in its own context. If both have equally many tokens, each target is explained against the
        token at its position; else the sum of the targets against the sum of the contrast.

        Args:
            example: the tokens.
            explained: which of its targets, consecutive ones.
            contrast: text or token ids; a text gets a leading space if the text that it replaces has one.

        Raises:
            InputError: the contrast is empty, or equal to the targets.
        """
        ids = self._in_vocabulary(self._contrast_ids(example, explained, contrast))
        if ids == [token.id for token in example.targets[explained.start : explained.stop]]:
            raise InputError("The contrast is what was written: give another text, to explain why it was not that.")
        first = example.predictors[explained.start]
        before = [token.id for token in example.sources[example.encoder : first + 1]]
        _, tokens = read(self.tokenizer, [*before, *ids], [Role.CONTRAST] * (len(before) + len(ids)))
        return with_contrast(example, explained, tokens[len(before) :])

    def _contrast_ids(self, example: Example, explained: range, contrast: Text) -> list[int]:
        replaced = example.targets[explained.start].text
        if isinstance(contrast, str) and contrast and replaced[:1].isspace() and not contrast[:1].isspace():
            contrast = replaced[: len(replaced) - len(replaced.lstrip())] + contrast
        return continuation_ids(self.tokenizer, contrast)

    def spelled(self, id: int) -> str:
        """One token as text."""
        return decode(self.tokenizer, [id])

    def _check_template(self, template: Mapping[str, Any] | None) -> None:
        """Refuse arguments of the chat template that cannot be passed on."""
        return

    @abstractmethod
    def _check_length(self, prompt: int, answer: int) -> None:
        """Refuse a prompt and an answer of so many tokens if they exceed the context of the model."""

    @property
    @abstractmethod
    def vocabulary(self) -> int:
        """How many tokens the model knows."""

    def _in_vocabulary(self, ids: Sequence[int]) -> list[int]:
        if unknown_ids := [id for id in ids if not 0 <= id < self.vocabulary]:
            raise InputError(
                f"Token id {unknown_ids[0]} is outside the model's vocabulary, which goes from 0 to "
                f"{self.vocabulary - 1}: use the model's own tokenizer."
            )
        return list(ids)
