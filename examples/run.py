"""From a file of prompts to a summary: a plan, a run that can be stopped and started again, and what is in its folder.

    python examples/run.py [FOLDER]

The prompts are those of examples/data/facts.jsonl; the words in [[…]] are those that the answer rests on. On the
command line, the same is

    tokensal run examples/data/facts.jsonl -o maps/ --marks --methods lrp,input_x_gradient --max-new-tokens 4
    tokensal show maps/ --id tom
    tokensal summarize maps/
"""

from __future__ import annotations

import sys
from pathlib import Path

import tokensal

SOURCE = Path(__file__).resolve().parent / "data" / "facts.jsonl"


def main(folder: str = "maps") -> None:
    """Plan, explain, show one example, and tell what they have in common."""
    model = tokensal.load()
    settings = {"methods": ["lrp", "input_x_gradient"], "max_new_tokens": 4, "marks": True}
    print(tokensal.plan_run(model, SOURCE, folder, **settings), end="\n\n")

    run = tokensal.run(model, SOURCE, folder, **settings)  # the same call goes on where it stopped
    print(f"{len(run)} maps are in {folder}/, {run.failures().total()} examples failed.")
    next(iter(run)).show()


if __name__ == "__main__":
    main(*sys.argv[1:])
