"""Architecture: imports run downward, documents tell the truth, files stay small, names say what they hold."""

from __future__ import annotations

import ast
import doctest
import graphlib
import importlib
import re
import tomllib
from pathlib import Path

import pytest
import typer
from models import ARCHITECTURES, ENCODER_DECODERS

import tokensal
from tokensal.cli.app import app
from tokensal.config import COMMANDS, resolve
from tokensal.methods import METHODS
from tokensal.options import options_of
from tokensal.scores import SCORES

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "tokensal"
FILES = sorted(PACKAGE.rglob("*.py"))
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))

# Which packages each may import besides itself. Renderers stand apart: pure functions of a result.
DATA = {
    "types",
    "chunks",
    "layer_call",
    "errors",
    "version",
    "options",
    "values",
    "drawable",
    "surroundings",
    "transfers",
    "drawing",
    "request",
    "ranks",
    "run_options",
    "quantities",
}
MODEL_FREE = DATA | {"scores", "questions", "perturbations"}
ONE_QUESTION = MODEL_FREE | {"adapters", "engine", "methods", "results"}
LAYERS = {
    "version": set(),
    "drawable": set(),
    "surroundings": set(),
    "transfers": set(),
    "errors": {"drawable"},
    "types": set(),
    "layer_call": {"types"},
    "chunks": {"errors", "drawable"},
    "values": {"errors"},
    "options": {"errors", "values"},
    "ranks": set(),
    "quantities": set(),
    "drawing": {"errors", "options", "values"},
    "run_options": {"errors", "options", "values"},
    "progress": {"errors", "types", "values"},
    "request": {"values"},
    "scores": DATA,
    "questions": DATA | {"scores"},
    "perturbations": DATA | {"questions"},
    "adapters": MODEL_FREE,
    "engine": MODEL_FREE,
    "methods": MODEL_FREE | {"engine"},
    "results": DATA,
    "case": ONE_QUESTION,
    "api": ONE_QUESTION | {"case", "evaluation", "progress"},
    "evaluation": ONE_QUESTION | {"case", "progress"},
    "render": DATA | {"results"},
    "runs": ONE_QUESTION | {"case", "progress", "evaluation", "render"},
    "integrations": {"errors", "values", "render", "runs"},
    "config": {"drawing", "errors", "options", "questions", "run_options"},
    "cli": {
        "drawable",
        "drawing",
        "errors",
        "options",
        "questions",
        "run_options",
        "quantities",
        "config",
        "progress",
        "tokensal",
    },
    "__init__": {"version"},
    "__main__": {"cli"},
}
# What each may import inside functions as well, because it is heavy.
LATE = {
    "config": {"methods", "api", "evaluation"},
    "cli": {"render", "methods", "adapters", "evaluation", "runs"},
    "__init__": {"methods"},
}
OUTSIDE = {
    "transformers": {"adapters", "case", "cli"},
    "rich": {"render", "cli", "progress"},
    "typer": {"cli"},
    "jinja2": {"render", "adapters"},
    "matplotlib": {"render"},
    "datatrove": {"integrations"},
    "ray": {"integrations"},
    "httpx2": {"adapters"},
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
    modules = []
    for node in ast.walk(tree):
        if id(node) in typing:
            continue
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        modules += [(name, id(node) not in inside) for name in names]
    return modules


def file_of(name: str) -> Path | None:
    """The file of a module of ours, or of the module that has something of that name."""
    parts = name.split(".")
    if parts[0] != "tokensal":
        return None
    for end in (len(parts), len(parts) - 1):
        path = PACKAGE.joinpath(*parts[1:end])
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return file
    raise AssertionError(f"there is no module {name}")


@every_file
def test_imports_run_downward(path):
    importer = package(path)
    for name, top in imports(path):
        if file := file_of(name):
            imported = "tokensal" if file.parent == PACKAGE and file.stem == "__init__" else package(file)
            allowed = LAYERS[importer] | {importer} | (set() if top else LATE.get(importer, set()))
            assert imported in allowed, f"{importer} may not import {imported}"
        for library, packages in OUTSIDE.items():
            assert name.split(".")[0] != library or importer in packages, f"{importer} may not use {library}"


def sort(graph: dict[object, set[object]]) -> None:
    """Fails where a graph has a circle, and shows it."""
    graphlib.TopologicalSorter(graph).prepare()


def test_no_module_imports_itself_through_others():
    """At the top of a file; inside functions a method may look up the table that it stands in."""
    sort({path: {file_of(name) for name, top in imports(path) if top} - {path, None} for path in FILES})


def test_no_folder_imports_itself_through_others():
    """Imports inside functions count too; a file that is in no folder stands for itself."""
    graph: dict[object, set[object]] = {}
    for path in FILES:
        files = {file_of(name) for name, _ in imports(path)} - {None}
        folders = {file if file.parent == PACKAGE else file.parent for file in (path, *files)}
        folder = path if path.parent == PACKAGE else path.parent
        graph.setdefault(folder, set()).update(folders - {folder})
    sort(graph)


def test_results_know_renderers_in_one_place():
    files = [path.name for path in FILES if package(path) == "results" and "tokensal.render" in path.read_text()]
    assert files == ["result.py"]


def test_every_package_is_in_the_table():
    assert {package(path) for path in FILES} == set(LAYERS)


@every_file
def test_no_file_is_too_large(path):
    assert len(path.read_text().splitlines()) <= 400
    assert ast.get_docstring(ast.parse(path.read_text())), "every file says what it is for"


SAY_NOTHING = {"found", "whole", "there", "given", "asked", "made", "chosen", "said"}


@every_file
def test_names_say_what_they_hold(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            name = node.name
        elif isinstance(node, ast.arg):
            name = node.arg
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            name = node.id if isinstance(node, ast.Name) else node.attr
        else:
            continue
        assert name not in SAY_NOTHING, f"line {node.lineno}: {name}"


def test_public_names_exist():
    assert {"attribute", "compare", "load", "Case", "Question", "Gradient"} < set(tokensal.__all__)
    for name in tokensal.__all__:
        assert getattr(tokensal, name).__doc__
    assert set(tokensal.__all__) <= set(dir(tokensal))
    assert callable(tokensal.attribute)
    importlib.import_module("tokensal.api")  # a submodule must not take the place of a function
    assert callable(tokensal.attribute)
    with pytest.raises(AttributeError, match="no attribute 'atribute'"):
        _ = tokensal.atribute
    with pytest.raises(AttributeError, match="no attribute 'Gradeint'"):
        _ = tokensal.Gradeint


def test_every_method_has_its_class_here():
    for method in METHODS.values():
        assert getattr(tokensal, method.__name__) is method


# Documents


README = (ROOT / "README.md").read_text()


def test_the_readme_lists_the_architectures_that_are_tested():
    [table] = re.findall(r"<!-- architectures -->\n(.*?)\n<!-- end -->", README, re.DOTALL)
    assert re.findall(r"\*\*(.+?)\*\*", table) == [*ARCHITECTURES, *ENCODER_DECODERS]


def test_the_readme_lists_the_methods_there_are():
    [table] = re.findall(r"<!-- methods -->\n(.*?)\n<!-- end -->", README, re.DOTALL)
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == list(METHODS)
    for method in METHODS.values():
        assert re.split("arXiv:|doi:", method.paper)[1] in table


def test_the_readme_names_the_scores_and_real_commands():
    assert all(f"`{name}`" in README for name in SCORES)
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make (\w+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    commands = typer.main.get_command(app).commands
    flags = {flag for name in COMMANDS for parameter in commands[name].params for flag in parameter.opts}
    assert set(re.findall(r"tokensal (?:attribute|compare)[^`\n]*?(--[a-z-]+)", README)) <= flags | {"--help"}


def test_files_that_documents_point_to_exist():
    for name in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\]\((?!http)([^)#]+)", (ROOT / name).read_text()):
            assert (ROOT / target).exists(), f"{name} points to {target}"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_example_configurations_name_every_setting_and_are_valid(command):
    path = ROOT / "configs" / f"{command}.toml"
    named = set(re.findall(r"^(?:# )?(\w+) = ", path.read_text(), re.MULTILINE))
    assert named == set(options_of(*COMMANDS[command]))
    resolve(command, {}, path)
    everything = re.sub(r"^# (\w+ = )", r"\1", path.read_text(), flags=re.MULTILINE)
    assert len(tomllib.loads(everything)[command]) == len(named)


@pytest.mark.parametrize(
    "name",
    [
        "tokensal",
        "tokensal.api",
        "tokensal.case",
        "tokensal.options",
        "tokensal.questions.question",
        "tokensal.results.attribution",
        "tokensal.runs.running",
        "tokensal.runs.stored",
        "tokensal.runs.summary",
    ],
)
def test_examples_in_docstrings_run(name):
    results = doctest.testmod(importlib.import_module(name))
    assert results.attempted > 0 and results.failed == 0
