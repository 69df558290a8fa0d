"""Log-probabilities of a prompt, and greedy answers, by POST …/completions with token ids.

No two servers return log-probabilities of a prompt alike, so the first request tries these forms, in this order, and
the first that works is kept:

1. `echo` with `logprobs`, as in OpenAI's legacy API, and tokens as ids (`return_tokens_as_token_ids`): vLLM. What the
   server read is compared to what was sent.
2. The same without extensions: servers that refuse parameters they do not know. SGLang ignores these; llama-cpp-python
   (with logits_all) returns texts of tokens too.
3. `prompt_logprobs`, vLLM's own, without `echo`.

One token is generated each time, and ignored: few servers take `max_tokens: 0`.
llama.cpp's own server refuses `echo`; Ollama, LM Studio and TGI return no log-probabilities of a prompt on this path.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokensal.adapters.server.connection import Connection, Refused, Table
from tokensal.errors import ServerError, UnsupportedModel

AS_IDS = {"return_tokens_as_token_ids": True}
ID = "token_id:"  # what the text of a token is then
REMEMBERED = 4096  # sequences
SERVERS = "vLLM, SGLang and llama-cpp-python do (/completions with echo and logprobs)"

Ids = tuple[int, ...]


class Unusable(Exception):
    """An answer without what is needed; its text is the end of a sentence that begins with the server."""


@dataclass(frozen=True, slots=True)
class Form:
    """A way to ask for log-probabilities of a prompt.

    Attributes:
        echo: by `echo` and `logprobs`; else by `prompt_logprobs`.
        as_ids: whether tokens are to come as ids.
    """

    echo: bool
    as_ids: bool = False

    def body(self, ids: Sequence[int], likeliest: int) -> Table:
        """What is sent, but for the name of the model; with so many of the likeliest tokens at each position."""
        # a temperature of 1, since some servers divide what they report by it
        body = {"prompt": list(ids), "max_tokens": 1, "temperature": 1.0}
        if not self.echo:
            return {**body, "prompt_logprobs": likeliest}
        return {**body, "echo": True, "logprobs": likeliest, **(AS_IDS if self.as_ids else {})}


FORMS = (Form(echo=True, as_ids=True), Form(echo=True), Form(echo=False))


@dataclass(frozen=True, slots=True)
class Scored:
    """What a server says of n tokens that it was sent.

    Attributes:
        logprobs: of each token, given those before it; the first has none, and NaN.
        texts: of each token; empty where the server says none.
        likeliest: for each position, log-probabilities by token id, of those that the server names; None where it does
            not name ids.
    """

    logprobs: tuple[float, ...]
    texts: tuple[str, ...] = ()
    likeliest: tuple[Mapping[int, float], ...] | None = None


@dataclass(eq=False)
class Completions:
    """The completions of one model of a server.

    Attributes:
        connection: the server.
        model: its name there.
        form: how log-probabilities are asked for; None as long as no form is known to work.
        sent: how many requests for log-probabilities were sent.
    """

    connection: Connection
    model: str
    form: Form | None = None
    sent: int = 0
    _remembered: OrderedDict[Ids, Scored] = field(default_factory=OrderedDict, repr=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def scored(self, sequences: Sequence[Ids]) -> list[Scored]:
        """What the server says of sequences; one that it was sent lately is not sent again.

        Raises:
            UnsupportedModel: it returns no log-probabilities of a prompt.
            ServerError: it fails, or what it returns is not about the tokens that it was sent.
        """
        with self._lock:
            known = {ids: self._remembered[ids] for ids in sequences if ids in self._remembered}
            new = [ids for ids in dict.fromkeys(sequences) if ids not in known]
            if new and self.form is None:
                known[new[0]] = self._negotiated(new[0])
                new = new[1:]
            known.update(zip(new, self._all(new, 1), strict=True))
            for ids in dict.fromkeys(sequences):
                self._remembered[ids] = known[ids]
                self._remembered.move_to_end(ids)
            while len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)
            return [known[ids] for ids in sequences]

    def likeliest(self, sequences: Sequence[Ids], count: int) -> list[Scored]:
        """The same, with as many of the likeliest tokens at each position; not remembered."""
        self.scored(sequences[:1])  # so that the form is known
        return self._all(sequences, count)

    def generated(self, ids: Sequence[int], limit: int) -> Table:
        """The choice that the server generates: the likeliest token each time, at most so many.

        Raises:
            Refused, ServerError: see `Connection.post`.
        """
        body = {"model": self.model, "prompt": list(ids), "max_tokens": limit, "temperature": 0.0, "logprobs": 1}
        if self.form is None or self.form.as_ids:
            body |= {**AS_IDS, "return_token_ids": True}
        return _choice(self.connection.post(self._url, body), self.connection)

    @property
    def _url(self) -> str:
        return f"{self.connection.address}/completions"

    def _all(self, sequences: Sequence[Ids], likeliest: int) -> list[Scored]:
        form = self.form
        if not sequences:
            return []
        assert form is not None
        bodies = [{"model": self.model, **form.body(ids, likeliest)} for ids in sequences]
        try:
            answers = self.connection.post_all(self._url, bodies)
            self.sent += len(bodies)
            return [_read(form, ids, self._choice(answer)) for ids, answer in zip(sequences, answers, strict=True)]
        except Unusable as error:
            raise ServerError(f"The server at {self.connection.address} {error}, as it did not before.") from None
        except Refused as error:
            raise ServerError(f"The server at {self.connection.address} refuses a request: {error.told}.") from None

    def _choice(self, answer: Table) -> Table:
        return _choice(answer, self.connection)

    def _negotiated(self, ids: Ids) -> Scored:
        """The first sequence, in the first form that works."""
        refusals, reasons = [], []
        for form in FORMS:
            self.sent += 1
            try:
                answer = self.connection.post(self._url, {"model": self.model, **form.body(ids, 1)})
                scored = _read(form, ids, self._choice(answer))
            except Refused as error:
                refusals.append(f"refuses the request ({error.told})")
            except Unusable as error:
                reasons.append(str(error))
            else:
                self.form = form
                return scored
        raise UnsupportedModel(
            f"The model behind {self.connection.address} cannot be attributed: its server "
            f"{(reasons + refusals)[0]}, and log-probabilities of the prompt are needed, as {SERVERS}."
        )


def _choice(answer: Table, connection: Connection) -> Table:
    """The first choice of an answer, with the usage that is told beside it."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise ServerError(
            f"The server at {connection.address} answered without choices, which /completions should return: give the "
            "base address of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1."
        )
    return {"usage": answer.get("usage"), **choices[0]}


def _read(form: Form, ids: Ids, choice: Table) -> Scored:
    """What a choice says of the tokens that were sent.

    Raises:
        Unusable: it has no log-probabilities of these tokens, or of others.
    """
    read = choice.get("usage")
    count = read.get("prompt_tokens") if isinstance(read, dict) else None
    if isinstance(count, int) and count != len(ids):
        raise Unusable(f"read {count} tokens where {len(ids)} were sent")
    return _echoed(ids, choice.get("logprobs")) if form.echo else _of_prompt(ids, choice.get("prompt_logprobs"))


def _echoed(ids: Ids, logprobs: Any) -> Scored:
    """Those of `echo`: of the tokens that were sent, and of the one that is generated, if there is one."""
    values = logprobs.get("token_logprobs") if isinstance(logprobs, dict) else None
    if not isinstance(values, list):
        raise Unusable("returns no log-probabilities of the prompt")
    texts = logprobs.get("tokens")
    if len(values) not in (len(ids), len(ids) + 1) or (isinstance(texts, list) and len(texts) != len(values)):
        raise Unusable(f"returns log-probabilities of {len(values)} tokens where {len(ids)} were sent")
    numbers = _numbers(values[: len(ids)])
    texts = [str(text) for text in texts[: len(ids)]] if isinstance(texts, list) else []
    if texts and all(text.startswith(ID) for text in texts):
        if [text.removeprefix(ID) for text in texts] != [str(id) for id in ids]:
            raise Unusable("returns log-probabilities of other tokens than were sent")
        return Scored(numbers, likeliest=_tables(logprobs.get("top_logprobs"), len(ids), ID))
    return Scored(numbers, tuple(texts))


def _of_prompt(ids: Ids, tables: Any) -> Scored:
    """Those of `prompt_logprobs`: for each position, a table of token ids."""
    if not isinstance(tables, list):
        raise Unusable("returns no log-probabilities of the prompt")
    if len(tables) != len(ids):
        raise Unusable(f"returns log-probabilities of {len(tables)} tokens where {len(ids)} were sent")
    plain = [
        {key: each.get("logprob") if isinstance(each, dict) else each for key, each in (table or {}).items()}
        for table in tables
    ]
    values = [None, *(table.get(str(id)) for id, table in zip(ids[1:], plain[1:], strict=True))]
    return Scored(_numbers(values), likeliest=_tables(plain, len(ids), ""))


def _numbers(values: Sequence[Any]) -> tuple[float, ...]:
    """Log-probabilities; NaN for the first token, which nothing predicts."""
    if not all(isinstance(value, int | float) and value <= 0.001 for value in values[1:]):
        raise Unusable("returns log-probabilities of which some are no numbers up to 0")
    return (math.nan, *map(float, values[1:]))


def _tables(tables: Any, count: int, prefix: str) -> tuple[Mapping[int, float], ...] | None:
    """For each position, log-probabilities by token id; None where they are not named by ids."""
    if not isinstance(tables, list) or len(tables) < count:
        return None
    read: list[Mapping[int, float]] = []
    for table in tables[:count]:
        names = [str(key).removeprefix(prefix) for key in table or {}]
        if not all(name.isdecimal() for name in names):
            return None
        read.append(dict(zip(map(int, names), map(float, (table or {}).values()), strict=True)))
    return tuple(read)
