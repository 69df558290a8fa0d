"""Files are never half written, and a place that cannot be written is told in a sentence."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from tokensal import Attribution
from tokensal.errors import InputError, OutputError
from tokensal.render import check_output, encode, save
from tokensal.render.files import write

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def result():
    return Attribution.load(GOLDEN / "diagnostics.v3.json")


def fail_with(error):
    def fail(*arguments, **keywords):
        raise error

    return fail


def test_a_file_that_is_replaced_passes_its_permissions_on(tmp_path):
    path = tmp_path / "r.txt"
    path.write_bytes(b"old")
    path.chmod(0o640)
    write(path, b"new")
    assert path.read_bytes() == b"new" and path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["r.txt"]


def test_a_link_stays_and_what_it_points_to_is_written(result, tmp_path):
    (tmp_path / "far").mkdir()
    target, link = tmp_path / "far" / "target.json", tmp_path / "link.json"
    link.symlink_to(target)
    for _ in range(2):  # it does not exist, and then it does
        assert save(result, link) == target
        assert link.is_symlink() and Attribution.load(target).text == result.text
    assert os.listdir(tmp_path / "far") == ["target.json"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("function", ["replace", "chmod"])
def test_whatever_fails_leaves_the_old_file_alone(tmp_path, monkeypatch, error, function):
    path = tmp_path / "r.json"
    path.write_text("old")
    if function == "replace":
        monkeypatch.setattr(os, "replace", fail_with(error))
    else:
        monkeypatch.setattr(Path, "chmod", fail_with(error))
    with pytest.raises(OutputError if isinstance(error, OSError) else type(error)):
        write(path, b"new")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["r.json"]


def test_two_writers_at_once_do_not_meet(tmp_path, monkeypatch):
    names, replace = [], os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: (names.append(old), replace(old, new)))
    for content in (b"1", b"2"):
        write(tmp_path / "r.json", content)
    assert len({*names}) == 2 and all(name.parent == tmp_path for name in names)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("a" * 300 + ".html", "File name too long"),
        ("a\0b.html", "null byte|null character"),
        ("file/r.html", "Not a directory|does not exist"),
        ("loop.html", "Too many levels of symbolic links"),
        ("pipe.html", "a device or a pipe"),
        ("folder.html", "is a folder"),
        ("dangling.html", "does not exist"),
    ],
)
def test_a_place_that_cannot_be_written_is_told(tmp_path, name, sentence):
    (tmp_path / "file").write_text("")
    (tmp_path / "loop.html").symlink_to("loop.html")
    (tmp_path / "dangling.html").symlink_to("nowhere/r.html")
    (tmp_path / "folder.html").mkdir()
    os.mkfifo(tmp_path / "pipe.html")
    with pytest.raises(OutputError, match=sentence):
        check_output(tmp_path / name)


def test_the_longest_name_can_be_written(result, tmp_path):
    save(result, tmp_path / f"{'a' * 250}.json")


@pytest.mark.parametrize("format", ["html", "json", "txt", "JSON"])
def test_a_format_goes_before_the_suffix(result, tmp_path, format):
    save(result, tmp_path / "r.docx", format=format)
    assert (tmp_path / "r.docx").read_bytes() == encode(result, f"r.{format.lower()}")


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(InputError, match="'jsno': did you mean 'json'"):
        check_output(tmp_path / "r.json", "jsno")


def test_halves_of_surrogate_pairs_are_replaced(result, tmp_path):
    config = {"output": ["\udcff.html"]}  # how Python reads a name that is not UTF-8
    odd = dataclasses.replace(result, provenance=dataclasses.replace(result.provenance, config=config))
    save(odd, tmp_path / "r.json")
    assert Attribution.load(tmp_path / "r.json").provenance.config == {"output": ["\ufffd.html"]}
