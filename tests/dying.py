"""A run whose process of rank 1 is killed in its second part, once: `python -m dying OUT RECORDS.json`."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import tokensal


def die_once() -> None:
    """Kill this process, as a machine does that runs out of memory; but not where the file exists that says it was."""
    try:
        Path(os.environ["TOKENSAL_TEST_MARKER"]).touch(exist_ok=False)  # of two processes at once, one does it
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    out, records = sys.argv[1:]

    def progress(done: int, total: int) -> None:
        if os.environ.get("RANK") == "1" and done == 3:  # of the second part, of two examples, the first one
            die_once()

    model, prompts = tokensal.load("dates"), json.loads(Path(records).read_text())
    tokensal.run(model, prompts, out, methods=["input_x_gradient"], part_size=2, progress=progress)


if __name__ == "__main__":
    main()
