"""The gallery holds what its script makes."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "examples" / "gallery"
PICTURE, TOTAL = 150_000, 1_500_000  # bytes
# When it ran and on what differs; nothing that is drawn does.
VARYING = re.compile(
    r"\b(time|device|tokensal|torch|transformers|python): [^\n<]*"
    r"|<div><dt>(time|device|tokensal|torch|transformers|python)</dt> <dd>[^<]*</dd></div>"
)


def script():
    spec = importlib.util.spec_from_file_location("make_gallery", FOLDER / "make.py")
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["make_gallery"] = module  # where dataclasses look for their module
    spec.loader.exec_module(module)
    return module


GALLERY = script()


def test_the_folder_holds_what_the_commands_write_and_no_more():
    written = [name for figure in GALLERY.FIGURES for name in figure.files]
    assert len(set(written)) == len(written)
    assert {path.name for path in FOLDER.iterdir() if path.is_file()} == {*written, "make.py", "README.md"}


def test_the_page_is_that_of_the_script():
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert page == GALLERY.page()
    for name in re.findall(r"\]\(([^)]+)\)", page):
        assert (FOLDER / name).is_file(), name
    commands = re.findall(r"```sh\n(.*?)\n```", page, re.DOTALL)
    assert [shlex.split(command) for command in commands] == [shlex.split(each.command) for each in GALLERY.FIGURES]


def test_pictures_are_small():
    sizes = {path.name: path.stat().st_size for path in FOLDER.iterdir() if path.is_file()}
    assert max(sizes.values()) <= PICTURE and sum(sizes.values()) <= TOTAL


def made(name, folder, monkeypatch):
    [figure] = [figure for figure in GALLERY.FIGURES if figure.name == name]
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", [])
    GALLERY.make(figure)
    return figure.files


def same(name, folder):
    before, after = ((place / name).read_text(encoding="utf-8") for place in (FOLDER, folder))
    return VARYING.sub("", before) == VARYING.sub("", after)


def test_what_the_small_model_says_is_drawn_as_before(tmp_path, monkeypatch):
    files = made("dates", tmp_path, monkeypatch)
    assert [name for name in files if name.endswith((".svg", ".html"))] == ["dates.svg", "dates.html"]
    for name in files:
        assert same(name, tmp_path), name


@pytest.mark.parametrize("name", ["puor", "rdbu", "sequential", "bins", "clip"])
def test_the_saved_result_is_drawn_as_before(name, tmp_path, monkeypatch):
    (tmp_path / "contrast.json").write_bytes((FOLDER / "contrast.json").read_bytes())
    [file] = made(name, tmp_path, monkeypatch)
    assert same(file, tmp_path)


def test_a_command_that_fails_fails(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where there is no contrast.json
    with pytest.raises(SystemExit):
        made("bins", tmp_path, monkeypatch)
