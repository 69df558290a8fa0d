"""Architecture: imports run downward, documents tell the truth, files stay small."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from models import ARCHITECTURES, ENCODER_DECODERS

import tokensal
from tokensal.config import AttributeSettings, CompareSettings, resolve
from tokensal.methods import METHODS
from tokensal.scores import SCORES

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "tokensal"
FILES = sorted(PACKAGE.rglob("*.py"))

# Which packages each may import. Renderers stand apart: pure functions of a result.
DATA = {"types", "errors", "version"}
PURE = DATA | {"scores", "questions", "perturbations"}
LAYERS = {
    "version": set(),
    "types": DATA,
    "errors": set(),
    "scores": DATA,
    "questions": PURE,
    "perturbations": PURE,
    "adapters": PURE | {"adapters"},
    "engine": PURE | {"engine"},
    "methods": PURE | {"engine", "methods"},
    "results": DATA | {"results"},
    "api": PURE | {"adapters", "engine", "methods", "results"},
    "render": DATA | {"results", "render"},
    "config": {"errors"},
    "cli": {"errors", "tokensal", "cli"},
    "__init__": {"version"},
    "__main__": {"cli"},
}
# Imports inside functions, which are heavy, or the one door from results to renderers.
LATE = {
    "results": {"render"},
    "config": {"methods", "scores", "api", "questions"},
    "cli": {"render", "config", "methods", "adapters"},
    "api": {"tokensal"},
}
OUTSIDE = {
    "transformers": {"adapters", "api", "cli"},
    "rich": {"render", "cli"},
    "typer": {"cli"},
    "jinja2": {"render", "adapters"},
}


def package(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[str, bool]]:
    """(module, at the top of the file) for every import that runs; those for type checkers alone do not."""
    tree = ast.parse(path.read_text())
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If)]
    typing = {id(node) for block in blocks if "TYPE_CHECKING" in ast.unparse(block.test) for node in ast.walk(block)}
    inside = {
        id(node) for function in ast.walk(tree) if isinstance(function, ast.FunctionDef) for node in ast.walk(function)
    }
    found = []
    for node in ast.walk(tree):
        if id(node) in typing:
            continue
        if isinstance(node, ast.ImportFrom):
            names = [f"tokensal.{alias.name}" for alias in node.names] if node.module == "tokensal" else [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found += [(name, id(node) not in inside) for name in names]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downward(path):
    here = package(path)
    for name, top in imports(path):
        if name.split(".")[0] == "tokensal":
            there = [*name.split("."), "tokensal"][1]
            allowed = LAYERS[here] | (set() if top else LATE.get(here, set()))
            assert there in allowed or there == here, f"{here} may not import {there}"
        for library, rooms in OUTSIDE.items():
            assert name.split(".")[0] != library or here in rooms, f"{here} may not use {library}"


def test_every_package_is_in_the_table():
    assert {package(path) for path in FILES} == set(LAYERS) - {"version"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_is_too_large(path):
    assert len(path.read_text().splitlines()) <= 400
    assert ast.get_docstring(ast.parse(path.read_text())), "every file says what it is for"


def test_public_names_exist():
    for name in tokensal.__all__:
        assert getattr(tokensal, name).__doc__
    assert callable(tokensal.attribute)
    importlib.import_module("tokensal.api")  # a submodule must not take the place of a function
    assert callable(tokensal.attribute)
    with pytest.raises(AttributeError, match="no attribute 'atribute'"):
        _ = tokensal.atribute


# Documents


README = (ROOT / "README.md").read_text()


def test_the_readme_lists_the_architectures_that_are_tested():
    [table] = re.findall(r"<!-- architectures -->\n(.*?)\n<!-- end -->", README, re.DOTALL)
    assert re.findall(r"\*\*(.+?)\*\*", table) == [*ARCHITECTURES, *ENCODER_DECODERS]


def test_the_readme_lists_the_methods_there_are():
    [table] = re.findall(r"<!-- methods -->\n(.*?)\n<!-- end -->", README, re.DOTALL)
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == list(METHODS)
    for entry in METHODS.values():
        assert entry.paper.split("arXiv:")[1] in table


def test_the_readme_names_the_scores_and_real_commands():
    assert all(f"`{name}`" in README for name in SCORES)
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make (\w+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for flag in set(re.findall(r"tokensal (?:attribute|compare)[^`\n]*?(--[a-z-]+)", README)):
        source = (PACKAGE / "cli" / "app.py").read_text()
        assert flag in source or flag.removeprefix("--").replace("-", "_") in source, flag


def test_files_that_documents_point_to_exist():
    for name in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\]\((?!http)([^)#]+)", (ROOT / name).read_text()):
            assert (ROOT / target).exists(), f"{name} points to {target}"


@pytest.mark.parametrize("kind", [AttributeSettings, CompareSettings])
def test_the_example_configurations_name_every_setting_and_are_valid(kind):
    path = ROOT / "configs" / f"{kind.TABLE}.toml"
    named = set(re.findall(r"^(?:# )?(\w+) = ", path.read_text(), re.MULTILINE))
    assert named == {entry.name for entry in fields(kind)}
    resolve(kind, {}, path)
    everything = re.sub(r"^# (\w+ = )", r"\1", path.read_text(), flags=re.MULTILINE)
    assert len(tomllib.loads(everything)[kind.TABLE]) == len(named)


@pytest.mark.parametrize("name", ["tokensal", "tokensal.api"])
def test_examples_in_docstrings_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
