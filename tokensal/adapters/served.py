"""A model behind an OpenAI-compatible server, known by the log-probabilities that it returns of token ids.

1. Prompt and answer become token ids by a local tokenizer or by that of the server. Ids are what is sent.
2. The "embedding" of a token is its id. So a perturbation takes tokens away, or puts others in their place; what is no
   token, such as a mean of embeddings, is refused.
3. A perturbation with the targets it does not touch is one sequence. A target that is itself taken away as a source
   ends a sequence of its own. A sequence with which another one begins is not sent: the longer one tells of both.
4. What no server tells is refused: gradients, what layers compute, logits, a mask over single tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor

from tokensal.adapters.branches import split_branches, split_inputs
from tokensal.adapters.one_axis import check_length, on_one_axis
from tokensal.adapters.prompted import PromptAdapter
from tokensal.adapters.prompting import Prompt, Text, baseline_ids, continuation_ids
from tokensal.adapters.quiet import quiet_libraries
from tokensal.adapters.server import Completions, Connection, Refused, ServerTokenizer, require_same_tokens
from tokensal.adapters.server.completions import ID, Ids, Scored
from tokensal.adapters.server.tokenizer import GIVE_ONE, require_same_texts
from tokensal.adapters.tokens import decode
from tokensal.drawable import drawable
from tokensal.errors import InputError, ModelError, ServerError, UnsupportedModel, foreign, unknown
from tokensal.options import Loading
from tokensal.perturbations.inputs import PerturbedInputs
from tokensal.request import differing, request_of
from tokensal.types import Example

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

UNKNOWN = "unknown"
CPU = torch.device("cpu")
LARGEST_ID = 2**24  # float32 has each whole number up to here
REMEDY = "give the answer as a continuation instead"


class ServedAdapter(PromptAdapter):
    """A model behind a server, ready to be attributed by methods that take text away; `tokensal.load` makes one.

    Args:
        completions: the model at its server.
        tokenizer: its tokenizer, or the server's.
        context: how many tokens the server takes, one that it generates included; None if it does not say.
    """

    def __init__(
        self,
        completions: Completions,
        tokenizer: PreTrainedTokenizerBase | ServerTokenizer,
        *,
        context: int | None = None,
    ) -> None:
        self.completions = completions
        self.tokenizer = tokenizer  # all that is used of one
        self.name = completions.model
        self.revision = None
        self.request: Mapping[str, Any] | None = None
        self._limit = None if context is None else context - 1  # the server generates a token each time
        self._same_texts = isinstance(tokenizer, ServerTokenizer)  # else not known yet

    def __repr__(self) -> str:
        return drawable(f"ServedAdapter({self.name} at {self.completions.connection.address})")

    # From a prompt to an example

    def _with_continuation(self, prompt: Prompt, continuation: Text | None, explain: str) -> Example:
        answer = [] if continuation is None else self._in_vocabulary(continuation_ids(self.tokenizer, continuation))
        self._check_length(len(prompt.ids), len(answer))
        return on_one_axis(self.tokenizer, prompt, answer, explain)

    def _with_generation(
        self, prompt: Prompt, options: dict[str, Any], limit: int, seed: int | None, explain: str
    ) -> Example:
        options = {name: value for name, value in options.items() if (name, value) != ("do_sample", False)}
        if names := [name for name in options if name != "max_length"]:
            raise InputError(
                f"A served model takes the likeliest token each time, so the generation option {names[0]!r} has no "
                f"effect: leave it out, or {REMEDY}."
            )
        self._scored([prompt.ids])  # a server that cannot be attributed is refused before it generates
        return on_one_axis(self.tokenizer, prompt, self._generated(prompt.ids, limit), explain)

    def _generated(self, ids: Ids, limit: int) -> list[int]:
        """The ids of the answer: as the server tells them, or those of its text if these are as many tokens."""
        address = self.completions.connection.address
        try:
            choice = self.completions.generated(ids, limit)
        except Refused as error:
            raise InputError(f"The server at {address} refuses to generate: {error.told}; {REMEDY}.") from None
        logprobs = choice.get("logprobs")
        texts = logprobs.get("tokens") if isinstance(logprobs, dict) else None
        answer = choice.get("token_ids")
        if not _are_ids(answer) and isinstance(texts, list) and all(str(text).startswith(ID) for text in texts):
            answer = [int(text.removeprefix(ID)) for text in texts]
        if not _are_ids(answer):
            answer = self._tokenized_answer(choice, texts)
        if not answer:
            raise InputError(f"The server at {address} generates no token after this prompt: {REMEDY}.")
        return list(answer)

    def _tokenized_answer(self, choice: Mapping[str, Any], texts: Any) -> list[int]:
        """The ids of an answer that comes as text."""
        text = choice.get("text")
        if not isinstance(text, str) or not text:
            return []
        answer = continuation_ids(self.tokenizer, text)
        usage = choice.get("usage")
        count = len(texts) if isinstance(texts, list) else (usage or {}).get("completion_tokens")
        if count is not None and len(answer) not in (count, count - 1):  # without the token that ends an answer
            raise InputError(
                f"The server tells the text {text!r} of its answer and not its tokens, and this text becomes "
                f"{len(answer)} tokens where the server generated {count}: {REMEDY}."
            )
        return answer

    def _check_template(self, template: Mapping[str, Any] | None) -> None:
        if template and isinstance(self.tokenizer, ServerTokenizer):
            raise InputError(f"Arguments of the chat template need its tokenizer here: {GIVE_ONE}.")

    def _check_length(self, prompt: int, answer: int) -> None:
        check_length(prompt, answer, self._limit)

    @property
    def vocabulary(self) -> int:
        """How many tokens the tokenizer knows.

        Raises:
            InputError: it is the server's, which does not tell.
        """
        if isinstance(self.tokenizer, ServerTokenizer):
            raise InputError(f"How many tokens the model knows cannot be learned from its server: {GIVE_ONE}.")
        return len(self.tokenizer)

    def _in_vocabulary(self, ids: Sequence[int]) -> list[int]:
        if not isinstance(self.tokenizer, ServerTokenizer):
            return super()._in_vocabulary(ids)
        if unknown_ids := [id for id in ids if not 0 <= id < LARGEST_ID]:
            raise InputError(f"{unknown_ids[0]} is no token id: give whole numbers from 0.")
        return list(ids)

    # What an engine of a served model needs

    device = CPU

    def prepared(self) -> AbstractContextManager[None]:
        """Nothing needs to be prepared."""
        return nullcontext()

    def embed(self, example: Example) -> Tensor:
        """The ids of the sources as numbers, (S, 1)."""
        return torch.tensor([[float(token.id)] for token in example.sources])

    def baseline(self, name: str, length: int) -> Tensor:
        """The ids (length, 1) of named tokens, repeated to the length.

        Raises:
            InputError: it is no token of this tokenizer.
        """
        if name in ("zero", "mean"):
            raise InputError(
                f"A served model reads tokens, and no embeddings such as {name!r}: use a method that takes text away, "
                "such as 'occlusion', with replacement='delete' or a token such as 'space'."
            )
        ids = torch.tensor(self._in_vocabulary(baseline_ids(self.tokenizer, name)))
        return ids[torch.arange(length) % len(ids), None].float()

    def logprobs(self, example: Example, perturbed: PerturbedInputs) -> Tensor:
        """The log-probability of each target in each perturbation: (R, G) float64.

        Raises:
            InputError: attention is to be masked, or nothing is left before a target.
            UnsupportedModel, ServerError: see `Completions.scored`.
        """
        rows = [*self._sequences(example, perturbed)]
        own = [*self._sequences(example, PerturbedInputs(self.embed(example)[None]))]
        holders = _holders({ids for row in [*rows, *own] for ids in row})
        needed = [*dict.fromkeys(holders[ids] for row in rows for ids in row)]
        known = dict(zip(needed, self._scored(needed), strict=True))
        values = [[known[holders[ids]].logprobs[len(ids) - 1] for ids in row] for row in rows]
        return torch.tensor(values, dtype=torch.float64)

    def likeliest(self, example: Example, count: int) -> tuple[Tensor, Tensor]:
        """The likeliest tokens in the place of each target: ids and probabilities (G, count).

        Raises:
            InputError: the server does not tell so many, or their ids.
        """
        [row] = self._sequences(example, PerturbedInputs(self.embed(example)[None]))
        holders = _holders(set(row))
        needed = [*dict.fromkeys(holders[ids] for ids in row)]
        known = dict(zip(needed, self.completions.likeliest(needed, count), strict=True))
        best = [_best(known[holders[ids]], len(ids) - 1, count) for ids in row]
        return (
            torch.tensor([[id for id, _ in each] for each in best]),
            torch.tensor([[math.exp(value) for _, value in each] for each in best]),
        )

    def _sequences(self, example: Example, perturbed: PerturbedInputs) -> Iterator[list[Ids]]:
        """For each perturbation and each target, the tokens that the target is read after, and the target."""
        if example.branch is None:
            return self._of_branch(example, perturbed)
        parts = zip(split_branches(example), split_inputs(example, perturbed), strict=True)
        both = zip(*(self._of_branch(branch, part) for branch, part in parts), strict=True)
        return ([*first, *second] for first, second in both)

    def _of_branch(self, example: Example, perturbed: PerturbedInputs) -> Iterator[list[Ids]]:
        keep = torch.ones(perturbed.embeds.shape[:2], dtype=torch.bool) if perturbed.keep is None else perturbed.keep
        if not perturbed.closed and not keep.all():
            raise InputError(
                "A server cannot mask single tokens, as replacement='mask' would: ask for replacement='delete', or for "
                "a token in their place, such as 'space' (on the command line, '--option replacement=delete')."
            )
        before = torch.nn.functional.pad(keep.cumsum(1), (1, 0))[:, [each + 1 for each in example.predictors]]
        ids = perturbed.embeds[:, :, 0].round().long().tolist()
        targets = [token.id for token in example.targets]
        for row, seen, counts in zip(ids, keep.tolist(), before.tolist(), strict=True):
            kept = tuple(id for id, is_seen in zip(row, seen, strict=True) if is_seen)
            yield [(*kept[:count], target) for count, target in zip(counts, targets, strict=True)]

    def _scored(self, sequences: Sequence[Ids]) -> list[Scored]:
        scored = self.completions.scored(sequences)
        if not self._same_texts and scored:
            if texts := scored[0].texts:
                own = [decode(self.tokenizer, [id]) for id in sequences[0]]
                require_same_texts(own, texts, self.name)
            self._same_texts = True
        return scored

    # What a server does not tell

    @property
    def model(self) -> NoReturn:
        """Refused."""
        self.refuse()

    @property
    def layer_count(self) -> NoReturn:
        """Refused."""
        self.refuse()

    def refuse(self) -> NoReturn:
        """Say that the model cannot be looked into.

        Raises:
            UnsupportedModel: always.
        """
        raise UnsupportedModel(
            f"The model {self.name!r} is served, and no server tells of its weights, gradients, logits or attention: "
            "use a method that takes text away, such as 'occlusion' or 'context_cite' with replacement='delete', or "
            "load the model itself."
        )

    def describe(self) -> dict[str, Any]:
        """As of `ModelAdapter`; what the server does not tell is unknown."""
        return {
            "model": self.name,
            "revision": None,
            "architecture": UNKNOWN,
            "dtype": UNKNOWN,
            "device": "server",
            "attention": UNKNOWN,
        }


def connect(address: str, loading: Loading) -> ServedAdapter:
    """The model of a server, at the base address that it is called at.

    Raises:
        ModelError: the server has no such model, or its tokenizer cannot be loaded.
        ServerError: it cannot be reached, or does not answer as an OpenAI-compatible server.
        InputError: an address that cannot be used, or a tokenizer that is not the server's.
    """
    connection = Connection(address, timeout=loading.timeout, concurrency=loading.concurrency)
    served = _model_of(connection, loading.served_model)
    completions = Completions(connection, str(served["id"]))
    theirs = ServerTokenizer(connection, completions.model)
    tokenizer: Any = theirs
    if loading.tokenizer is None:
        theirs.decode(theirs("a")["input_ids"])  # a server without these endpoints is told of now
    else:
        tokenizer = _loaded(loading) if isinstance(loading.tokenizer, str) else loading.tokenizer
        require_same_tokens(tokenizer, theirs)
    context = served.get("max_model_len")
    adapter = ServedAdapter(completions, tokenizer, context=context if isinstance(context, int) else None)
    adapter.request = request_of({**differing(loading), "model": connection.address})
    return adapter


def _model_of(connection: Connection, name: str | None) -> Mapping[str, Any]:
    """What the server says of the model of that name, or of its only one."""
    try:
        listed = connection.get(f"{connection.address}/models").get("data")
    except Refused as error:
        hint = "" if connection.address.endswith("/v1") else f", which may be {connection.address}/v1"
        raise ServerError(
            f"{connection.address} lists no models ({error.told}): give the base address of an OpenAI-compatible "
            f"server{hint}."
        ) from None
    entries = listed if isinstance(listed, list) else []
    models = {str(each["id"]): each for each in entries if isinstance(each, dict) and "id" in each}
    if not models:
        raise ModelError(f"The server at {connection.address} serves no model: load one there.")
    if name is None and len(models) > 1:
        raise InputError(
            f"The server at {connection.address} serves {len(models)} models, {', '.join(models)}: say which as "
            "served_model=… (--served-model)."
        )
    if name is not None and name not in models:
        raise unknown("served model", name, models)
    entry: Mapping[str, Any] = models[next(iter(models)) if name is None else name]
    return entry


def _loaded(loading: Loading) -> PreTrainedTokenizerBase:
    with quiet_libraries():
        from transformers import AutoTokenizer

    with quiet_libraries(), foreign(ModelError, f"Could not load the tokenizer {loading.tokenizer!r}"):
        return AutoTokenizer.from_pretrained(loading.tokenizer, trust_remote_code=loading.trust_remote_code)


def _holders(sequences: set[Ids]) -> dict[Ids, Ids]:
    """For each sequence, one of the longest that begin with it; where sorted, those follow it."""
    holders: dict[Ids, Ids] = {}
    following: Ids = ()
    for ids in sorted(sequences, reverse=True):
        following = holders[following] if following[: len(ids)] == ids else ids
        holders[ids] = following
        following = ids
    return holders


def _best(scored: Scored, position: int, count: int) -> list[tuple[int, float]]:
    table = None if scored.likeliest is None else scored.likeliest[position]
    if table is None:
        raise InputError(
            "The server does not tell the ids of the likeliest tokens, as vLLM does: ask for no alternatives."
        )
    if len(table) < count:
        raise InputError(f"The server tells {len(table)} alternatives to a token, and not {count}: ask for fewer.")
    return sorted(table.items(), key=lambda pair: -pair[1])[:count]


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(id) is int for id in value)
