"""The main job: a real prompt, a real model's answer, and which words it came from.

Run it with `make demo`. Prints a terminal heatmap, and writes demo.html and demo.json beside the README.
"""

from __future__ import annotations

from pathlib import Path

import tokensal
from tokensal.cli.progress import stages

HERE = Path(__file__).resolve().parent.parent
QUESTION = "Anna lives in Lisbon. Tom lives in Oslo. Where does Tom live?"


def main() -> None:
    """Ask the default model, explain its answer, show it and save it."""
    with stages() as stage:
        stage("loading the model")
        model = tokensal.load()
        stage("generating")
        result = tokensal.attribute(
            model,
            messages=[{"role": "user", "content": QUESTION}],
            max_new_tokens=16,
            progress=lambda done, total: stage("attributing", done, total),
        )
    for name in ("demo.html", "demo.json"):
        result.save(HERE / name)
    result.show()
    print(f"\nOpen {HERE / 'demo.html'} in a browser; the numbers are in {HERE / 'demo.json'}.")


if __name__ == "__main__":
    main()
