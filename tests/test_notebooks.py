"""The notebooks run without an error, and what is kept of them is small and the same wherever they run."""

from __future__ import annotations

import importlib.util
import re
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).resolve().parent.parent / "examples" / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
LARGEST = 200_000  # bytes
every_notebook = pytest.mark.parametrize("name", NAMES)


def runner():
    """The script beside the notebooks, as a module."""
    spec = importlib.util.spec_from_file_location("run_notebooks", FOLDER / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def test_there_are_the_notebooks_that_the_readme_may_name():
    assert NAMES == [
        "1_quick_start", "2_chats_and_passages", "3_alignment", "4_why_not", "5_which_method", "6_figure_for_a_paper",
    ]  # fmt: skip


@every_notebook
def test_a_notebook_is_valid_small_and_has_been_run(name):
    path = FOLDER / f"{name}.ipynb"
    notebook = read(name)
    nbformat.validate(notebook)
    assert path.stat().st_size <= LARGEST
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert any(cell.outputs for cell in cells)


@every_notebook
def test_nothing_of_a_machine_or_of_a_run_is_kept(name):
    text = (FOLDER / f"{name}.ipynb").read_text()
    assert not re.search(r"/home/|/tmp/|/root/|site-packages|text/html", text)
    assert not re.search(r"\btime: [\d.]+ s|\btransformers: \d", text)
    assert not [cell for cell in read(name).cells if "execution" in cell.metadata]
    notebook = read(name)
    runner().strip(notebook)
    assert notebook == read(name), "run.py would change it"


@every_notebook
def test_every_figure_is_told_in_words_nearby(name):
    """No two code cells with a figure, and nothing said between them."""
    cells = read(name).cells
    for before, after in pairwise(cells):
        assert not (drawn(before) and drawn(after))
    assert cells[0].cell_type == "markdown" and cells[0].source.startswith("# ")


def drawn(cell):
    return any("image/svg+xml" in output.get("data", {}) for output in cell.get("outputs", []))


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the packages that talk to a kernel
@every_notebook
def test_a_notebook_runs(name):
    notebook = runner().run(name)
    kinds = [[output.output_type for output in cell.get("outputs", [])] for cell in notebook.cells]
    assert kinds == [[output.output_type for output in cell.get("outputs", [])] for cell in read(name).cells]
