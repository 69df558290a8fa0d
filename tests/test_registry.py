"""Methods of others: registered by hand, or offered by an installed package."""

from __future__ import annotations

import doctest
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from test_cli import run

import tokensal
from tokensal.errors import InputError
from tokensal.methods import METHODS, registry

ROOT = Path(__file__).resolve().parent.parent

MODULE = '''
from dataclasses import dataclass
from typing import ClassVar

import torch

import tokensal


@dataclass(frozen=True, kw_only=True)
class Lateness:
    """The later a source, the higher its score.

    Args:
        power: to which the number of the source is raised.
    """

    name: ClassVar[str] = "lateness"
    summary: ClassVar[str] = "the later, the better"
    paper: ClassVar[str] = "of nobody"
    signed: ClassVar[bool] = False

    power: int = 1

    def __call__(self, example, engine):
        places = torch.arange(len(example.units)).pow(self.power)
        return tokensal.Scores(places.expand(len(example.groups), -1), engine.original(example))
'''


@dataclass(frozen=True, kw_only=True)
class Constant:
    name: ClassVar[str] = "constant"
    summary: ClassVar[str] = "the same for all"
    paper: ClassVar[str] = ""
    signed: ClassVar[bool] = False

    value: float = 1.0

    def __call__(self, example, engine):
        shape = len(example.groups), len(example.units)
        return tokensal.Scores(torch.full(shape, self.value), engine.original(example))


@pytest.fixture(autouse=True)
def table():
    before = dict(METHODS)
    yield
    METHODS.clear()
    METHODS.update(before)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that offers methods: one, one that cannot be imported, and one of another name."""
    (tmp_path / "lateness_package.py").write_text(MODULE)
    (tmp_path / "broken_package.py").write_text("import nothing_of_this_name")
    info = tmp_path / "lateness-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lateness\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[tokensal.methods]\nlateness = lateness_package:Lateness\nbroken = broken_package:Broken\n"
        "misnamed = lateness_package:Lateness\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


def test_a_registered_method_is_called_by_its_name_and_options():
    assert tokensal.register(Constant) is Constant
    assert tokensal.Constant is Constant and "Constant" in tokensal.__all__
    result = tokensal.attribute("dates", "3 May 1999", method="constant")
    assert result.provenance.method == "constant" and (result.scores[result.visible] == 1).all()
    both = tokensal.compare("dates", "3 May 1999", methods=["constant", "gradient"])
    assert both.attributions[0].scores.nan_to_num().equal(result.scores.nan_to_num())
    assert tokensal.methods.build("constant", {"value": 3.0}) == Constant(value=3.0)
    tokensal.register(Constant)  # once more, as when a notebook's cell is run again


def test_the_example_in_its_docstring_runs():
    results = doctest.testmod(registry)
    assert results.attempted > 0 and results.failed == 0


class Nameless:
    summary, paper, signed = "", "", False


def test_what_is_no_method_or_has_a_name_in_use_is_refused():
    with pytest.raises(InputError, match=r"should be a class with name, summary.*has no name"):
        tokensal.register(Nameless)
    with pytest.raises(InputError, match="should be a class"):
        tokensal.register(Constant())
    with pytest.raises(InputError, match="There is a method 'gradient' already, Gradient: choose another name"):
        tokensal.register(type("Mine", (Constant,), {"name": "gradient"}))
    with pytest.raises(InputError, match="should be like 'my_method', but is 'My method'"):
        tokensal.register(type("Mine", (Constant,), {"name": "My method"}))


def test_the_method_of_an_installed_package_is_loaded_when_it_is_called_for(package):
    assert set(registry.installed()) == {"lateness", "broken", "misnamed"} and "lateness" not in METHODS
    result = tokensal.attribute("dates", "3 May 1999", method="Lateness", targets=[0])
    scores = result.scores[0][result.visible[0]]
    assert scores.equal(torch.arange(len(result.sources))[result.visible[0]].float())
    with pytest.raises(InputError, match=r"'broken' of the package 'lateness' cannot be loaded.*nothing_of_this_name"):
        tokensal.attribute("dates", "3 May 1999", method="broken")
    with pytest.raises(InputError, match="'lateness' offers a method 'misnamed', but"):
        tokensal.attribute("dates", "3 May 1999", method="misnamed")


def test_the_command_line_lists_describes_and_runs_it(package, tmp_path):
    def shown(*arguments, code=0):
        ended = run(*arguments, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
        assert ended.returncode == code and "Traceback" not in ended.stderr
        return ended.stdout if code == 0 else ended.stderr

    assert re.search(r"^lateness +of the package lateness$", shown("methods"), re.MULTILINE)
    description = shown("methods", "lateness")
    for part in ("The later a source, the higher its score.", "power = 1", "to which the number", "Paper: of nobody"):
        assert part in description
    command = ["attribute", "3 May 1999", "--model", "dates", "--method"]
    assert "lateness power=2" in shown(*command, "lateness", "--option", "power=2")
    assert "cannot be loaded" in shown(*command, "broken", code=2)
