"""How a result is made again: what is written is really run, and gives the same result."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import tokensal
from tokensal.adapters.loading import _request
from tokensal.cli import app as cli
from tokensal.config import COMMANDS
from tokensal.options import Loading, options_of
from tokensal.render.json import dumps, loads
from tokensal.results.reproduction import ASKED, LOADING, PROMPTS, recipe_of
from tokensal.results.shell import OTHER_FLAGS, Inexpressible, quoted, setting

DATE = "the 3rd of March, 1987"
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def dates():
    return tokensal.load("dates")


TELL = """#!/bin/sh
for word in "$@"; do printf '%s\\0' "$word"; done > words
case "$*" in *--messages*) cat > input;; *) [ -t 0 ] || cat > input;; esac
"""


def run(command, folder):
    """What a command of a recipe makes: a real shell reads it, and the command line runs in this process."""
    script = folder / "tokensal"
    script.write_text(TELL)
    script.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-c", command], cwd=folder, check=True, timeout=60, stdin=subprocess.DEVNULL, env=environment)
    words = (folder / "words").read_bytes().decode().split("\0")[:-1]
    words = [str(folder / "input") if word == "/dev/stdin" else word for word in words]
    place = words.index("--") if "--" in words else len(words)
    arguments = [*words[:place], "-q", "-o", str(folder / "again.json"), *words[place:]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["tokensal", *arguments])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((folder / "input").read_bytes()), encoding="utf-8"))
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert not ended.value.code, arguments
    return loads((folder / "again.json").read_text())


def without_config(result):
    attributions = result.attributions if isinstance(result, tokensal.Comparison) else [result]
    return [replace(each, provenance=replace(each.provenance, config={})) for each in attributions]


def execute(python):
    """What the lines of Python of a recipe make."""
    names = {}
    exec(python, names)
    return names["result"]


def load_again(result):
    """As it is read from a file: what a recipe knows is stored."""
    return loads(dumps(result))


CASES = {
    "plain": {"method": "occlusion"},
    "options": {"method": tokensal.Occlusion(keep=(), replacement="zero", window=2), "unit": "word"},
    "targets": {"targets": ["word", "regex:19|03", 2], "alternatives": 3, "method": "lrp"},
    "contrast": {"targets": "text:1987", "contrast": "1988", "method": "gradient", "score": "logit"},
    "continuation": {"continuation": "1987-03-04", "method": "input_x_gradient"},
    "sampling": {"generation": {"do_sample": True, "temperature": 1.5, "top_k": 20}, "max_new_tokens": 9},
    "roles": {"sources": ["prompt"], "explain": "answer", "targets": "output"},
}


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_the_command_and_the_lines_give_the_same_result(options, dates, tmp_path):
    result = tokensal.attribute(dates, DATE, **options)
    recipe = recipe_of(load_again(result))
    assert recipe.notes == ()
    assert without_config(run(recipe.command, tmp_path)) == [result]
    assert execute(recipe.python) == result


PROMPTS_TO_QUOTE = [
    "-", "-x 3 March", "it's \"3\" $HOME `ls` \\n %s\n4 March\n", "3\tMarch\n\n",
    "a\u202eb \x1b[1m", "3 \\x; rm | *", "“3” März", "-\u200b", "[[x|y]] \\|", "3\r4",
]  # fmt: skip


@pytest.mark.parametrize("prompt", PROMPTS_TO_QUOTE, ids=ascii)
def test_any_prompt_survives_the_shell(prompt, dates, tmp_path):
    result = tokensal.attribute(dates, prompt, continuation="1987")
    recipe = recipe_of(load_again(result))
    assert without_config(run(recipe.command, tmp_path)) == [result]
    assert execute(recipe.python) == result
    assert recipe.command.isprintable() or "\n" in prompt or "\t" in prompt


def test_a_comparison_and_what_is_traced(dates, tmp_path):
    comparison = tokensal.compare(dates, DATE, methods=["lrp", tokensal.Gradient(norm="l1")])
    recipe = recipe_of(load_again(comparison))
    assert recipe.command == f"tokensal compare '{DATE}' --model dates --methods lrp,gradient --option gradient.norm=l1"
    assert without_config(run(recipe.command, tmp_path)) == list(comparison.attributions)
    assert execute(recipe.python) == comparison
    traced = tokensal.Comparison.of_traced(comparison.attributions)
    recipe = recipe_of(traced)
    assert recipe.command.endswith(" --trace")
    assert without_config(run(recipe.command, tmp_path)) == list(traced.attributions)
    assert execute(recipe.python) == traced


def test_one_traced_attribution(dates):
    direct = tokensal.attribute(dates, DATE, method="lrp")
    assert execute(recipe_of(direct.traced()).python) == direct.traced()
    hops = recipe_of(direct.traced(hops=2))
    assert execute(hops.python) == direct.traced(hops=2)
    assert hops.command == "" and "hops" in hops.notes[0]


def test_a_result_of_the_command_line_is_made_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tokensal", "attribute", DATE, "--model", "dates", "-o", "first.json", "-q",
                                      "--method", "gradient", "--option", "norm=l1",
                                      "--generation", "num_beams=2"])  # fmt: skip
    with pytest.raises(SystemExit):
        cli.main()
    first = loads((tmp_path / "first.json").read_text())
    recipe = recipe_of(first)
    assert recipe.command == (
        f"tokensal attribute '{DATE}' --model dates --generation num_beams=2 --method gradient --option norm=l1"
    )
    assert without_config(run(recipe.command, tmp_path)) == without_config(first)
    assert first.provenance.request["prompt"] == DATE and "continuation" not in first.provenance.request


def test_what_a_command_line_cannot_say_is_told(dates):
    ids = recipe_of(tokensal.attribute(dates, [50, 35], continuation=[28]))
    assert ids.command == "" and "token ids" in ids.notes[0]
    assert execute(ids.python) == tokensal.attribute(dates, [50, 35], continuation=[28])
    spans = tokensal.attribute(dates, DATE, unit=[(0, 7), (8, 22)])
    assert recipe_of(spans).command == "" and execute(recipe_of(load_again(spans)).python) == spans
    nested = tokensal.attribute(dates, DATE, method=tokensal.SmoothGrad(method=tokensal.Gradient(norm="l1"), samples=4))
    assert recipe_of(nested).command == "" and execute(recipe_of(nested).python) == nested


def test_a_compiled_pattern_is_written_as_the_command_line_writes_it(dates):
    start = tokensal.attribute(dates, DATE).targets[2].start
    result = tokensal.attribute(dates, DATE, targets=[re.compile("19|03"), (start, start + 2)])
    recipe = recipe_of(result)
    assert f"--targets 'regex:19|03' --targets {start}:{start + 2}" in recipe.command
    torch.testing.assert_close(execute(recipe.python).scores, result.scores, equal_nan=True)
    assert recipe_of(tokensal.attribute(dates, DATE, targets=re.compile("1987", re.I))).command == ""


def test_what_is_not_stored_is_named(dates):
    recipe = recipe_of(tokensal.attribute(dates, DATE, score=lambda logits: logits[..., 0], targets="output"))
    assert recipe.command == ""
    assert recipe.notes[0] == "Not held in the result, and to be put in: score." and "score=score" in recipe.python
    own = recipe_of(tokensal.attribute(tokensal.adapt(dates.model, dates.tokenizer), DATE))
    assert own.command == "" and "tokensal.adapt(model, tokenizer)" in own.python


def test_rows_of_a_result_say_which_they_are(dates):
    result = tokensal.attribute(dates, DATE)[1:][1:]
    assert "rows 2, 3, 4" in recipe_of(result).notes[0]


def test_a_result_without_a_request_guesses_nothing(dates):
    result = tokensal.attribute(dates, DATE)
    old = replace(result, provenance=replace(result.provenance, request={}))
    assert recipe_of(old) == recipe_of(load_again(old))
    assert (recipe_of(old).command, recipe_of(old).python) == ("", "") and "cannot be told" in recipe_of(old).notes[0]
    other = tokensal.attribute(dates, DATE, method="lrp", seed=3)
    assert recipe_of(tokensal.Comparison((result, other))).command == ""


HOSTILE = [
    {"prompt": 5}, {"prompt": None, "messages": "x"}, {"prompt": "x", "unrecorded": 3}, {"messages": [3]},
    {"prompt": "x", "unrecorded": ["x); import os"]}, {"prompt": "x", "rows": {"a": 1}}, {"prompt": {}},
    {"prompt": "x", "targets": {"a": [1]}, "sources": 3, "generation": [None], "device_map": {"a b": {"c": None}}},
    {"messages": [{"role": "user", "content": None}], "template": [1]}, {"x": 1}, {"prompt": "x", "template": 3},
]  # fmt: skip


@pytest.mark.parametrize("request_", HOSTILE, ids=repr)
def test_a_damaged_request_ends_in_a_note_and_no_code_of_a_stranger(request_, dates):
    result = tokensal.attribute(dates, DATE)
    provenance = replace(result.provenance, request=request_, options={"a": "b"}, method_repr="X(a=__import__('os'))")
    recipe = recipe_of(replace(result, provenance=provenance))
    assert recipe.command == "" and recipe.notes
    assert "import os" not in recipe.python and "__import__" not in recipe.python


CHATS = [
    [{"role": "user", "content": "Hi"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "It's [[x]]"}],
    [{"role": "user", "content": "-"}],
    [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b's \n\\ %"},
        {"role": "user", "content": "ü"},
    ],
]


@pytest.mark.parametrize("messages", CHATS, ids=repr)
def test_chats(messages, dates, tmp_path):
    """The command line reads the very messages: they are refused by a model without a template, or stored."""
    from models import model, tokenizer

    folder = tmp_path / "llama"
    model("Llama", dtype=torch.float32).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    result = tokensal.attribute(str(folder), messages=messages, continuation=" yes")
    recipe = recipe_of(load_again(result))
    assert without_config(run(recipe.command, tmp_path)) == [result]
    assert execute(recipe.python) == result
    assert ("--chat" in recipe.command) == (len(messages) < 3 and messages[0]["content"] != "-")


# Words of a command line


@pytest.mark.parametrize("option", [*LOADING, *ASKED, *PROMPTS[2:]])
def test_flags_are_those_of_the_command_line(option):
    known = options_of(*COMMANDS["attribute"], Loading)[option]
    flag = OTHER_FLAGS.get(option, f"--{option.replace('_', '-')}")
    assert (known.flag or f"--{option.replace('_', '-')}").split()[0] == flag


def test_every_option_that_makes_a_result_is_written():
    from tokensal.options import Generation
    from tokensal.questions.question import Question

    assert {*options_of(Loading, Question, Generation), "check"} == {*LOADING, *ASKED}


@pytest.mark.parametrize(
    "value",
    ["l1", "true", "1", "1.5", "inf", "a b", 'a"b', "it's", "", "[x]", "1979-05-27", 3, 0.1, 1e-30, True, False, [],
     ["a", "b c"], (1, 2), {"a": {"b c": [1, "x"]}}, "a\nb", float("inf"), "0x1f", "é", "text:x y"],
    ids=repr,
)  # fmt: skip
def test_settings_are_read_back(value):
    from tokensal.cli.flags import _table

    back = _table([setting("key", value)])["key"]
    wanted = list(value) if isinstance(value, tuple) else value
    assert (back, type(back)) == (wanted, type(wanted))


@pytest.mark.parametrize(
    ("key", "value"), [("a=b", 1), ("a b", 1), ("a.b", 1), ("key", None), ("key", [None]), ("key", "\x7f")]
)
def test_settings_that_cannot_be_written_are_refused(key, value):
    with pytest.raises(Inexpressible):
        setting(key, value)


@pytest.mark.parametrize("text", ["a\0", "\u202e\n"])
def test_texts_that_no_shell_passes_on_are_refused(text):
    with pytest.raises(Inexpressible):
        quoted(text)


# What is stored


def test_a_model_of_the_hub_is_pinned_to_its_commit():
    loading = Loading(dtype="float32", device="cpu")
    request = _request("org/name", "org/name", loading, "0123abc")
    assert request == {"model": "org/name", "revision": "0123abc", "dtype": "float32", "device": "cpu"}
    assert _request(None, "SmolLM2-135M-Instruct", Loading(), None) == {}
    assert _request(None, "HuggingFaceTB/SmolLM2-135M-Instruct", Loading(), "9") == {
        "model": "HuggingFaceTB/SmolLM2-135M-Instruct", "revision": "9",
    }  # fmt: skip
    assert _request(Path("dates"), "dates", Loading(), None) == {"model": "./dates"}
