"""The source distribution holds what the README and the Makefile use."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
INCLUDED = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]


def used_files():
    """What the documents name: links, and the files of commands. pyproject.toml is always included."""
    text = "".join((ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md", "Makefile"))
    links = re.findall(r"\]\((?!http)([^)#]+)", text)
    files = {*links, *re.findall(r"(?:python|-c) ([\w/]+\.\w+)", text), "Makefile", "README.md", "LICENSE"}
    return files - {"pyproject.toml"}


def test_what_documents_use_is_included():
    assert {"constraints.txt", "examples/demo.py", "tests/benchmarks/speed.py"} <= used_files()
    tops = {name.strip("/") for name in INCLUDED}
    assert {name.split("/")[0] for name in used_files()} <= tops
    assert all((ROOT / name).exists() for name in tops)


def test_the_source_distribution_lists_them():
    sdist = pytest.importorskip("hatchling.builders.sdist", reason="needs hatchling, which builds the package")
    listed = {file.relative_path for file in sdist.SdistBuilder(str(ROOT)).recurse_included_files()}
    files = {name for name in used_files() if (ROOT / name).is_file()}
    assert files | {"configs/attribute.toml", "tests/golden/comparison.v3.json", "tests/conftest.py"} <= listed
    assert not [name for name in listed if name.split("/")[0] not in {top.strip("/") for top in INCLUDED}]


def test_the_lowest_versions_are_the_bounds_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    bounds = dict(
        line.split(">=") for line in project["dependencies"] + extras["peft"] + extras["test"] if ">=" in line
    )
    lines = (ROOT / "tests" / "lowest.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    assert {*project["dependencies"]} <= {f"{name}>={bounds[name]}" for name in pins}
    for name, pin in pins.items():
        assert Version(pin) == Version(bounds[name])
