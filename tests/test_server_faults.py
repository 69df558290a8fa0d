"""Servers that fail: what is asked again, what is told, and that a key stays where it belongs."""

from __future__ import annotations

import json
import pickle
import re
import time

import pytest
import torch
from builders import tiny
from models import tokenizer
from serving import content, cut, late, other, serving, shifted, status

import tokensal
from tokensal.adapters import load
from tokensal.adapters.server import Completions, Connection
from tokensal.errors import InputError, ModelError, ServerError, TokensalError, UnsupportedModel

PROMPT, ANSWER, IDS = "The cat sat on", " the mat", (5, 40, 41, 7)
METHOD = tokensal.Occlusion(replacement="delete")
KEY = "sk-0123456789"


@pytest.fixture
def server(monkeypatch):
    for name in ("OPENAI_API_KEY", "TOKENSAL_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with serving(tiny()) as server:
        yield server


def completions(server, timeout=5.0, concurrency=4) -> Completions:
    return Completions(Connection(server.address, timeout, concurrency, pause=0.01), "tiny")


def attributed(model):
    return tokensal.attribute(model, PROMPT, continuation=ANSWER, method=METHOD)


def sentence(error: TokensalError) -> str:
    """What an error says: one line, and no more than a paragraph."""
    text = str(error)
    assert "\n" not in text and "Traceback" not in text and len(text) < 700
    return text


# Asked again


@pytest.mark.parametrize(
    "faults",
    [[status(500)], [status(429)], [status(503), status(502), status(500)], [cut], [late(0.6)], [cut, status(500)]],
    ids=["500", "429", "thrice", "cut", "late", "two kinds"],
)  # fmt: skip
def test_what_may_pass_is_asked_again(server, faults):
    [expected] = completions(server).scored([IDS])
    server.faults, before = list(faults), len(server.completions)
    [scored] = completions(server, timeout=0.3 if len(faults) == 1 else 5).scored([IDS])
    assert scored.logprobs[1:] == expected.logprobs[1:]
    assert len(server.completions) - before == len(faults) + 1


def test_of_many_requests_those_that_fail_are_asked_again(server):
    sequences = [(*IDS, id) for id in range(5, 25)]
    expected = completions(server).scored(sequences)
    server.faults = [None, status(500), None, cut, None, status(429), cut]
    for ours, theirs in zip(completions(server).scored(sequences), expected, strict=True):
        assert ours.logprobs[1:] == theirs.logprobs[1:]


def test_a_server_says_how_long_to_wait(server):
    server.faults = [status(429, Retry_After="0.4")]
    started = time.perf_counter()
    completions(server).scored([IDS])
    assert time.perf_counter() - started > 0.4


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (status(500), r"answered 500 \('out of order'\), 4 times"),
        (cut, "ended the connection .*, 4 times"),
        (late(0.5), r"did not answer within 0\.3 s, 4 times.*raise the timeout"),
    ],
    ids=["500", "cut", "late"],
)
def test_after_four_attempts_it_is_told(server, fault, message):
    server.faults = [fault] * 10
    with pytest.raises(ServerError, match=message) as told:
        completions(server, timeout=0.3).scored([IDS])
    assert len(server.completions) == 4 and server.address in sentence(told.value)


def test_one_failure_ends_the_others(server):
    """No more are sent than are under way, once one has failed."""
    asking = completions(server, concurrency=2)
    asking.scored([IDS])
    server.faults = [status(500)] * 100
    with pytest.raises(ServerError, match="answered 500"):
        asking.scored([(*IDS, id) for id in range(5, 105)])
    assert len(server.completions) < 20


def test_nobody_waits_for_another_attempt_once_one_is_refused(server):
    asking = Completions(Connection(server.address, concurrency=2, pause=8.0), "tiny")
    asking.scored([IDS])
    server.faults = [status(500), status(400)]
    started = time.perf_counter()
    with pytest.raises(ServerError, match="refuses a request"):
        asking.scored([(*IDS, 8), (*IDS, 9)][::-1])
    assert time.perf_counter() - started < 6


def test_nobody_answers():
    with serving(tiny()) as server:
        pass
    with pytest.raises(ServerError, match=r"cannot be reached.*, 4 times: check that it runs") as told:
        Connection(server.address, pause=0.01).get(f"{server.address}/models")
    sentence(told.value)


# Answers that cannot be used


def answer(**choice) -> str:
    return json.dumps({"choices": [choice], "usage": {"prompt_tokens": len(IDS)}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<html>It works!</html>", "no JSON object, but with '<html>It works!</html>'"),
        ("[1, 2]", "no JSON object"),
        ("{}", "answered without choices"),
        ('{"choices": [3]}', "answered without choices"),
        (answer(text="x", logprobs=None), "returns no log-probabilities of the prompt"),
        (answer(text="x", logprobs={"token_logprobs": [-1.0]}), "of 1 tokens where 4 were sent"),
        (answer(logprobs={"token_logprobs": [None, -1, "x", -1]}), "some are no numbers up to 0"),
        (answer(logprobs={"token_logprobs": [None, -1, None, -1]}), "some are no numbers up to 0"),
        (answer(logprobs={"token_logprobs": [None, -1, 3, -1]}), "some are no numbers up to 0"),
        (answer(logprobs={"token_logprobs": [None, -1, -2, -1], "tokens": ["a"]}), "log-probabilities of 4 tokens"),
        (answer(prompt_logprobs=[None, {}, {}, {}], logprobs={}), "returns no log-probabilities of the prompt"),
    ],
)
def test_what_is_no_answer_is_told(server, text, message):
    server.faults = [content(text)] * 3
    with pytest.raises((ServerError, UnsupportedModel), match=re.escape(message)) as told:
        completions(server).scored([IDS])
    assert server.address in sentence(told.value)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (shifted, "read 7 tokens where 5 were sent"),
        (other, "log-probabilities of other tokens than were sent"),
        (content(answer(text="", logprobs=None)), "read 4 tokens where 5 were sent"),
        (content('{"choices": [{"logprobs": null}]}'), "returns no log-probabilities of the prompt"),
        (status(400), "refuses a request: 400, 'out of order'"),
    ],
    ids=["shifted", "other", "of another", "none", "400"],
)
def test_an_answer_about_something_else_is_no_number(server, fault, message):
    """In the middle of the work, when others were answered rightly."""
    asking = completions(server)
    asking.scored([IDS])
    server.faults = [fault] * 3
    with pytest.raises(ServerError, match=re.escape(message)) as told:
        asking.scored([(*IDS, 8)])
    sentence(told.value)


@pytest.mark.parametrize("generates", [True, False])
def test_a_server_without_logprobs_of_the_prompt_is_refused(generates):
    """As llama.cpp's: those of generated tokens are no answer. And nothing is generated in vain."""
    with serving(tiny(), style="none") as server:
        model = load(server.address, tokenizer=tokenizer())
        with pytest.raises(UnsupportedModel, match=r"tokens? where \d+ were sent.* vLLM") as told:
            tokensal.attribute(model, PROMPT, method=METHOD, continuation=None if generates else ANSWER)
        sentence(told.value)
        assert all(body["max_tokens"] == 1 for body in server.completions)


def test_a_server_of_another_kind_is_told(server):
    with pytest.raises(ServerError, match=r"lists no models \(404, 'Not Found'\).*/v1\."):
        load(server.address.removesuffix("/v1"))
    server.names = ()
    with pytest.raises(ModelError, match="serves no model"):
        load(server.address)


# Addresses and keys


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://me:secret@127.0.0.1:1/v1", "OPENAI_API_KEY"),
        ("http://", "has no host"),
        ("http://127.0.0.1:x/v1", "has no host"),
        ("http://127.0.0.1:1/v1?key=secret", "should end before"),
    ],
)
def test_addresses(address, message):
    with pytest.raises(InputError, match=message):
        load(address)
    with pytest.raises(InputError) as told:
        load(address)
    assert "me:secret" not in str(told.value)


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "TOKENSAL_API_KEY"])
def test_the_key_is_sent_and_appears_nowhere(server, monkeypatch, name, tmp_path):
    server.key = KEY
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another")
    monkeypatch.setenv(name, KEY)
    model = load(server.address, tokenizer=tokenizer())
    result = attributed(model)
    result.save(tmp_path / "result.json")
    assert all(headers.get("Authorization") == f"Bearer {KEY}" for _, _, headers in server.requests)
    for text in ((tmp_path / "result.json").read_text(), repr(model), repr(model.completions), repr(result.provenance)):
        assert KEY not in text and "sk-of-another" not in text
    assert KEY.encode() not in pickle.dumps(model.completions.connection)


@pytest.mark.parametrize("key", [None, KEY])
def test_a_wrong_key_is_told_and_not_quoted(server, monkeypatch, key):
    server.key = "the right one"
    if key:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ServerError, match=r"refuses the key.*OPENAI_API_KEY") as told:
        attributed(load(server.address, tokenizer=tokenizer()))
    assert KEY not in sentence(told.value)


def test_without_a_key_none_is_sent(server):
    load(server.address, tokenizer=tokenizer())
    assert all("Authorization" not in headers for _, _, headers in server.requests)


def test_two_threads_may_use_one_model(server):
    from concurrent.futures import ThreadPoolExecutor

    model = load(server.address, tokenizer=tokenizer())
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: attributed(model), range(2))
    assert first == second and torch.isfinite(first.scores[first.visible]).any()
