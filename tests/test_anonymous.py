"""Results for double-blind review: in no format is there a path, or the name of a user, a host or an organisation."""

from __future__ import annotations

import io
import logging
import re
from contextlib import redirect_stdout
from dataclasses import replace

import pyarrow.parquet as parquet
import pypdf
import pytest
from PIL import Image
from test_layout import SCORES, TEXTS, attribution_of

from tokensal.drawing import Drawing
from tokensal.render import encode, load, show
from tokensal.render.renderers import RENDERERS, STORES
from tokensal.results.anonymity import anonymous
from tokensal.results.comparison import Comparison

SECRETS = (
    "mallory", "lab-gpu7", "alice", "bob", "carol", "acme", "example.edu", "hub.example.org", "/home", "/data",
    "Users", "C:", "file:", "https:", "figures-of-mallory", "secret-project", "~/", "srv",
)  # fmt: skip
CONFIG = {
    "model": "/home/alice/models/tuned-llama",
    "output": ["/home/mallory/secret-project/figures-of-mallory.html", "paper/acme.json"],
    "messages": "/data/bob/secret-project/chat.json",
    "notes": "run by Mallory on lab-gpu7.example.edu, in ~/secret-project/run",
    "cache": "C:\\Users\\carol\\cache",
    "tracker": "https://hub.example.org/acme/runs?id=3",
    "weights": "file:///data/acme/weights.gguf",
    "share": "\\\\srv\\acme\\share",
    "nested": {"/home/alice/key": [{"deep": "~alice/x"}, "home of mallory: /home/mallory"]},
    "score": "logprob",
    "seed": 3,
    "max_new_tokens": 4,
}


@pytest.fixture(autouse=True)
def _somebody(monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: "mallory")
    monkeypatch.setattr("socket.gethostname", lambda: "lab-gpu7.example.edu")
    monkeypatch.setenv("HOME", "/home/mallory")


def hostile(model="/home/alice/models/tuned-llama", method="Gradient", text=TEXTS, **changes):
    example = attribution_of(text, SCORES)
    facts = {
        "model": model,
        "revision": "alice-experiments",
        "method_repr": f"{method}(path='/home/alice/m.bin', text='C:\\\\Users\\\\bob\\\\x', note='of mallory')",
        "options": {"path": "/home/alice/m.bin", "note": "of mallory"},
        "question": {"targets": "text:/home/alice/x", "unit": "word"},
        "config": CONFIG,
        "request": {**CONFIG, "prompt": "The cat", "model": model, "revision": "alice-experiments"},
        "seconds": 1.25,
        **changes,
    }
    return replace(example, provenance=replace(example.provenance, **facts))


RESULTS = {
    "folder": hostile(),
    "hub": hostile("acme/tuned-llama"),
    "url": hostile("https://hub.example.org/acme/tuned-llama"),
    "Windows": hostile("D:\\data\\bob\\tuned-llama"),
    "network": hostile("\\\\srv\\acme\\tuned-llama"),
    "comparison": Comparison((hostile(), hostile(method="Other"))),
}


def everything(content, suffix):
    """What a file says, in its text and in its metadata."""
    if suffix == ".pdf":
        reader = pypdf.PdfReader(io.BytesIO(content))
        words = [page.extract_text() for page in reader.pages] + [str(reader.metadata), str(reader.xmp_metadata)]
        return " ".join(words).casefold()
    if suffix == ".png":
        return str(Image.open(io.BytesIO(content)).info).casefold()
    if suffix == ".parquet":
        table = parquet.read_table(io.BytesIO(content))
        return f"{table.to_pylist()} {table.schema.metadata} {table.schema}".casefold()
    return content.decode("utf-8").casefold()


@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS)
@pytest.mark.parametrize("suffix", [*RENDERERS, *STORES])
def test_no_file_says_whose_it_is(suffix, result):
    plain = everything(encode(result, f"x{suffix}"), suffix)
    content = everything(encode(result, f"x{suffix}", Drawing(anonymous=True)), suffix)
    for secret in SECRETS:
        # a style sheet has colons and slashes of its own
        if suffix == ".html" and secret in ("C:", "~/"):
            continue
        assert secret.casefold() not in content, secret
    assert "alice" in plain or "acme" in plain or "bob" in plain
    assert "tuned-llama" in content


@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS)
def test_the_terminal_does_not_say_it_either(result):
    with redirect_stdout(io.StringIO()) as stream:
        show(result, Drawing(anonymous=True))
    assert not [secret for secret in SECRETS if secret.casefold() in stream.getvalue().casefold()]


def test_what_is_no_name_stays():
    result = hostile(device="cuda:1", versions={"torch": "2.13.0+cpu"})
    hidden = result.anonymous()
    assert hidden.scores.equal(result.scores) or hidden.scores.isnan().equal(result.scores.isnan())
    assert (hidden.text, hidden.sources, hidden.targets) == (result.text, result.sources, result.targets)
    provenance = hidden.provenance
    assert (provenance.device, provenance.seconds, provenance.versions) == ("cuda:1", 1.25, {"torch": "2.13.0+cpu"})
    assert provenance.config["seed"] == 3 and provenance.config["score"] == "logprob"
    assert "output" not in provenance.config
    assert provenance.config["messages"] == "chat.json"
    assert provenance.config["cache"] == "cache"
    assert provenance.config["nested"] == {"key": [{"deep": "x"}, "home of [user]: [home]"]}


def test_an_organisation_is_left_out_wherever_it_is_named():
    config = {"note": "the Acme-7b of acme", "model": "acme/tuned-llama"}
    provenance = hostile("acme/tuned-llama", config=config).anonymous().provenance
    assert (provenance.model, provenance.config["model"]) == ("tuned-llama", "tuned-llama")
    assert provenance.config["note"] == "the [organisation]-7b of [organisation]"
    assert provenance.request["model"] == "FOLDER/tuned-llama"
    assert hostile("llama/llama-7b", config={"note": "llama"}).anonymous().provenance.config == {"note": "llama"}


def test_another_user_is_left_out_wherever_a_home_folder_gives_a_name_away():
    provenance = hostile(config={"cache": "/home/dave/cache", "note": "asked by Dave"}).anonymous().provenance
    assert provenance.config == {"cache": "cache", "note": "asked by [user]"}


def test_a_path_in_the_options_of_a_method_may_have_spaces():
    provenance = hostile(method_repr="M(path='/data/Erin Smith/m.bin', n=1)").anonymous().provenance
    assert provenance.method_repr == "M(path='m.bin', n=1)"


@pytest.mark.parametrize(
    ("revision", "kept"),
    [
        ("0123456789abcdef0123456789abcdef01234567", True),
        ("SmolLM2-135M-Instruct.Q4_1-b179c9523d0e", True),
        ("main", True),
        ("alice-experiments", False),
        ("v2-of-the-authors", False),
        (None, True),
    ],
)
def test_a_revision_stays_where_it_is_a_hash(revision, kept):
    assert hostile(revision=revision).anonymous().provenance.revision == (revision if kept else None)


@pytest.mark.parametrize("value", ["1/2 cup", "km/h", "</s>", r"regex:\d+/\d+", "~ 5"])
def test_a_slash_in_a_question_is_text(value):
    assert hostile(question={"targets": value}).anonymous().provenance.question == {"targets": value}


def test_what_the_user_wrote_stays_and_is_warned_about(caplog):
    with caplog.at_level(logging.WARNING, "tokensal"):
        hidden = hostile(text=["Mallory", " cat", " sat", " on"], request={"prompt": "Mallory cat"}).anonymous()
    assert hidden.text == "Mallory cat sat on" and hidden.provenance.request == {"prompt": "Mallory cat"}
    assert re.search("holds a path, or the name of a user", caplog.text)
    caplog.clear()
    hostile().anonymous()
    assert caplog.text == ""


def test_a_result_stays_as_it_is_and_is_anonymous_only_once():
    result = hostile()
    hidden = anonymous(result)
    assert result.provenance.model == "/home/alice/models/tuned-llama"
    assert anonymous(hidden) == hidden


def test_the_json_is_read_back(tmp_path):
    result = hostile()
    result.save(tmp_path / "x.json", anonymous=True)
    assert load(tmp_path / "x.json") == result.anonymous() != result
    assert load(tmp_path / "x.json").provenance.request == result.anonymous().provenance.request


def test_nobody_in_particular_is_no_name(monkeypatch):
    """A name that everybody has, or that cannot be told, changes no word."""

    def fail():
        raise KeyError("no such user")

    for user in (lambda: "root", fail, lambda: "x"):
        monkeypatch.setattr("getpass.getuser", user)
        monkeypatch.setenv("HOME", "/root")
        monkeypatch.setattr("socket.gethostname", lambda: "localhost")
        provenance = hostile(config={"note": "root mean square x"}).anonymous().provenance
        assert provenance.config == {"note": "root mean square x"}
