"""The tokenizer of a server, where it has endpoints for that: vLLM's /tokenize and /detokenize.

It does what the adapters ask of a tokenizer of transformers, each time by a request, so that reading a long prompt
takes hundreds of these. A local tokenizer is quicker, and knows which of its tokens are special.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tokensal.adapters.server.connection import Connection, Refused
from tokensal.errors import InputError, ServerError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SAMPLE = "The Größe of 日本 is 378,000 km²; naïve?\n\n  def f(x): return x**2"
UNFINISHED = "\ufffd"
GIVE_ONE = "give the model's tokenizer, a hub id or a folder, as tokenizer=… (--tokenizer)"


@dataclass(eq=False)
class ServerTokenizer:
    """See the module; `model` is the name of the model there."""

    connection: Connection
    model: str
    is_fast: bool = False
    chat_template: str = "that of the server"
    added_tokens_decoder: Mapping[int, Any] = field(default_factory=dict)
    bos_token: str | None = None
    eos_token_id: int | None = None
    pad_token_id: int | None = None
    unk_token_id: int | None = None
    _texts: dict[tuple[int, ...], str] = field(default_factory=dict, repr=False)

    def __call__(self, text: str, *, add_special_tokens: bool = True, verbose: bool = True) -> dict[str, list[int]]:
        """The ids of a text."""
        return {"input_ids": self._ids(prompt=text, add_special_tokens=add_special_tokens)}

    def decode(self, ids: Sequence[int], **options: Any) -> str:
        """The text of ids, special tokens included."""
        key = tuple(map(int, ids))
        if not key:
            return ""
        if key not in self._texts:
            text = self._ask("detokenize", {"tokens": list(key)}).get("prompt")
            if not isinstance(text, str):
                raise ServerError(f"The server at {self.connection.root} detokenizes to no text: {GIVE_ONE}.")
            self._texts[key] = text
        return self._texts[key]

    @cached_property
    def all_special_ids(self) -> list[int]:
        """Those that are put around a text; the server tells of no others."""
        bare = self._ids(prompt="a", add_special_tokens=False)
        return [id for id in self._ids(prompt="a", add_special_tokens=True) if id not in bare]

    @property
    def bos_token_id(self) -> int | None:
        return self.all_special_ids[0] if self.all_special_ids else None

    def get_chat_template(self, *arguments: Any) -> str:
        """Nothing: the server does not tell it."""
        return ""

    def apply_chat_template(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool,
        continue_final_message: bool,
        tokenize: bool,
        return_dict: bool,
    ) -> Any:
        """The chat as ids, or as text."""
        ids = self._ids(
            messages=list(messages),
            add_generation_prompt=add_generation_prompt,
            continue_final_message=continue_final_message,
        )
        return {"input_ids": ids} if tokenize else self.decode(ids)

    def _ids(self, **body: Any) -> list[int]:
        ids = self._ask("tokenize", body).get("tokens")
        if not isinstance(ids, list) or not all(type(id) is int for id in ids):
            raise ServerError(f"The server at {self.connection.root} tokenizes to no ids: {GIVE_ONE}.")
        return ids

    def _ask(self, endpoint: str, body: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return self.connection.post(f"{self.connection.root}/{endpoint}", {"model": self.model, **body})
        except Refused as error:
            if error.status not in (404, 405):
                raise InputError(f"The server's tokenizer refuses the text: {error.told}.") from None
            raise ServerError(
                f"The server at {self.connection.address} does not say how it tokenizes (no /{endpoint}): {GIVE_ONE}."
            ) from None


def require_same_tokens(tokenizer: PreTrainedTokenizerBase, theirs: ServerTokenizer) -> None:
    """Refuse a tokenizer that is not the server's, where the server tells how it tokenizes.

    Raises:
        InputError: both make different ids of one text.
    """
    try:
        served = theirs(SAMPLE, add_special_tokens=False)["input_ids"]
    except (InputError, ServerError):
        return  # it does not tell
    own = list(tokenizer(SAMPLE, add_special_tokens=False)["input_ids"])
    if own != served:
        raise InputError(
            f"The tokenizer is not that of the model {theirs.model!r}: it makes {len(own)} tokens {own[:3]}… of a text "
            f"of which the server makes {len(served)}, {served[:3]}…; {GIVE_ONE}, or leave it out."
        )


def require_same_texts(own: Sequence[str], theirs: Sequence[str], model: str) -> None:
    """Refuse a tokenizer whose tokens the server calls otherwise; what is white space, or half a character, may differ.

    Raises:
        InputError: most of the tokens have other texts.
    """
    pairs = [(ours.strip(), text.strip()) for ours, text in zip(own, theirs, strict=True)]
    told = [pair for pair in pairs if pair[1] and not any(UNFINISHED in text for text in pair)]
    different = [pair for pair in told if pair[0] != pair[1].lstrip("Ġ▁").strip()]
    if 2 * len(different) > len(told):
        raise InputError(
            f"The tokenizer is not that of the model {model!r}: a token that is {different[0][0]!r} here is "
            f"{different[0][1]!r} there; {GIVE_ONE}."
        )
