"""tokensal: `attribute` on token ids. Explains log-probabilities; prompt and generated prefix are sources.

Methods that are fitted to random coalitions get the text and remove pieces of the prompt alone, as their peers do.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

from common import Explained, Job, Run, Task, pieces, serve

FITTED = ("kernel_shap", "lime")  # to coalitions of pieces


def prepare(job: Job, tokenizer: Any) -> Run:
    import tokensal
    from tokensal.methods import build

    model = tokensal.load(job.model, dtype="float32", attention="sdpa", device="cpu")
    name, *options = job.method.split()
    method = build(name, dict(option_of(each) for each in options))

    def run(task: Task) -> Explained:
        asked: dict[str, Any] = {"prompt": task.prompt_ids}
        if name in FITTED:
            ends = list(itertools.accumulate(map(len, pieces(tokenizer, task)), initial=0))
            asked = {"prompt": task.prompt, "unit": list(itertools.pairwise(ends)), "sources": ["prompt"]}
        result = tokensal.attribute(model, continuation=task.target_ids, method=method, **asked)
        ids = [id for source in result.sources for id in source.ids]
        same = ids == (task.prompt_ids + task.target_ids)[:-1]
        return Explained(result.scores.shape[0], result.scores.shape[1], same, certified(result.diagnostics))

    return run


def option_of(text: str) -> tuple[str, Any]:
    """`samples=16` as a name and a number, `rule=attn` as a name and a text."""
    name, value = text.split("=")
    return name, json.loads(value) if value[0].isdigit() else value


def certified(diagnostics: Any) -> str:
    """How many nodes the targets took, and which share of the change of its score the scores of a target miss."""
    if "convergence_delta" not in diagnostics:
        return ""
    missed = (diagnostics["convergence_delta"].values / diagnostics["total"].values).abs()
    residual = f"residual median {missed.median():.1%} max {missed.max():.1%}"
    if "gradients" not in diagnostics:
        return residual
    nodes = diagnostics["gradients"].values
    return f"{nodes.min()}–{nodes.max()} nodes, {residual}"


if __name__ == "__main__":
    serve(prepare)
