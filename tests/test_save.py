"""JSON that reads back exactly, and files that are never half written."""

from __future__ import annotations

import json
import os

import pytest
import torch
from models import adapter

from tokensal import Attribution, attribute
from tokensal.errors import FormatError, OutputError
from tokensal.render import check_output
from tokensal.render.json import dumps, loads


@pytest.fixture(scope="module")
def result():
    return attribute(
        adapter("Llama", dtype=torch.float32),
        "a🙂 cat",
        continuation=" sat\n",
        method="input_x_gradient",
        config={"model": None, "nested": {"list": [1, "two"]}},
    )


def test_json_reads_back_exactly(result, tmp_path):
    result.save(tmp_path / "r.json")
    back = Attribution.load(tmp_path / "r.json")
    assert torch.equal(back.scores.nan_to_num(7), result.scores.nan_to_num(7))
    assert torch.equal(back.visible, result.visible)
    assert torch.equal(back.values, result.values)
    for name in ("text", "sources", "targets", "signed", "sink", "encoder", "alternatives", "provenance"):
        assert getattr(back, name) == getattr(result, name)
    assert dumps(back) == dumps(result)


def test_json_is_plain_for_other_languages(result):
    data = json.loads(dumps(result), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert data["schema"] == "tokensal/attribution" and data["version"] == 3
    assert data["scores"][0][-1] is None and data["visible"][0][-1] is False
    assert set(data["sources"][0]) == {"ids", "text", "start", "stop", "role", "special", "against"}
    assert data["provenance"]["method_repr"] == "InputXGradient()"
    assert data["provenance"]["versions"]["torch"] == torch.__version__
    assert "".join(data["text"][t["start"] : t["stop"]] for t in data["sources"] if t["text"]) in data["text"]


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda text: text[: len(text) // 2], "not JSON"),
        (lambda text: "[]", "schema"),
        (lambda text: text.replace('"version": 3', '"version": 99', 1), "version 99.*reads versions 2 and 3"),
        (lambda text: text.replace('"sources"', '"sauces"', 1), "damaged.*sources"),
        (lambda text: text.replace('"role": "prompt"', '"role": "extra"', 1), "damaged.*extra"),
        (lambda text: text.replace("[[true", "[[false", 1), "damaged.*visible"),
        (lambda text: text.replace('"scores": [[', '"scores": [[1.0, ', 1), "damaged.*table"),
    ],
)
def test_a_damaged_file_is_said_to_be_so(result, tmp_path, damage, sentence):
    path = tmp_path / "r.json"
    path.write_text(damage(dumps(result)), encoding="utf-8")
    with pytest.raises(FormatError, match=sentence) as error:
        Attribution.load(path)
    assert "r.json" in str(error.value)


def test_a_missing_or_binary_file_is_said_to_be_so(tmp_path):
    with pytest.raises(FormatError, match="No such file"):
        Attribution.load(tmp_path / "none.json")
    (tmp_path / "b.json").write_bytes(b"\xff\xfe")
    with pytest.raises(FormatError, match=r"b\.json"):
        Attribution.load(tmp_path / "b.json")


def test_loading_runs_no_code(result):
    with pytest.raises(FormatError):
        loads('{"schema": "tokensal/attribution", "version": 2, "provenance": {"__class__": "os.system"}}')


def test_outputs_are_checked(tmp_path):
    with pytest.raises(OutputError, match=r"suffix.*\.html, \.json, \.txt"):
        check_output(tmp_path / "r.pdf")
    with pytest.raises(OutputError, match="does not exist"):
        check_output(tmp_path / "no" / "r.json")
    (tmp_path / "d.html").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        check_output(tmp_path / "d.html")


def test_a_place_without_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(OutputError, match="No permission"):
        check_output(tmp_path / "r.json")


def test_a_failed_save_keeps_the_old_file_and_leaves_no_litter(result, tmp_path, monkeypatch):
    path = tmp_path / "r.json"
    path.write_text("old")
    monkeypatch.setattr(os, "replace", lambda *names: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OutputError, match="No space left"):
        result.save(path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["r.json"]


@pytest.mark.parametrize("suffix", ["html", "json", "txt"])
def test_every_format_is_written_readable_to_others(result, tmp_path, suffix):
    path = tmp_path / f"r.{suffix}"
    result.save(path)
    assert path.stat().st_size > 300
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask
