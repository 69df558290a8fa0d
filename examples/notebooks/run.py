"""Run the notebooks beside this file, and keep their outputs without what differs from run to run.

    python examples/notebooks/run.py               all of them, a few minutes
    python examples/notebooks/run.py 3_alignment   those that are called so

Needs the extra `test`, and the default model.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
NOTEBOOKS = tuple(path.stem for path in sorted(HERE.glob("*.ipynb")))
SECONDS = 600  # for one cell
VARYING = re.compile(r"^(time|device|tokensal|torch|transformers|python): .*\n", re.MULTILINE)


def run(name: str) -> nbformat.NotebookNode:
    """The notebook with new outputs, run in a folder of its own.

    Raises:
        CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(HERE / f"{name}.ipynb", as_version=4)
    with TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": folder}}
        )
        client.execute()
    strip(notebook)
    nbformat.validate(notebook)
    return notebook


def strip(notebook: nbformat.NotebookNode) -> None:
    """Take out when it ran, and what of a drawing's metadata is of this machine."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        outputs = [output for output in cell.get("outputs", []) if output.get("name") != "stderr"]
        for output in outputs:
            data = output.get("data", {})
            data.pop("text/html", None)
            if "image/svg+xml" in data:
                data.pop("text/plain", None)
                data["image/svg+xml"] = VARYING.sub("", data["image/svg+xml"])
            if "text" in output:
                output["text"] = re.sub(r"^% (time|torch|transformers|python): .*\n", "", output["text"], flags=re.M)
        if "outputs" in cell:
            cell["outputs"] = outputs


def main() -> None:
    """Run the notebooks that the arguments name, or all."""
    for name in sys.argv[1:] or NOTEBOOKS:
        nbformat.write(run(name), HERE / f"{name}.ipynb")
        print(name)


if __name__ == "__main__":
    main()
