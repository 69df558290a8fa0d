"""tokensal: `attribute` on token ids. Explains log-probabilities; prompt and generated prefix are sources."""

from __future__ import annotations

from typing import Any

from common import Explained, Job, Run, Task, serve


def prepare(job: Job, tokenizer: Any) -> Run:
    import tokensal

    model = tokensal.load(job.model, dtype="float32", attention="sdpa", device="cpu")

    def run(task: Task) -> Explained:
        result = tokensal.attribute(model, task.prompt_ids, continuation=task.target_ids, method=job.method)
        ids = [id for source in result.sources for id in source.ids]
        same = ids == (task.prompt_ids + task.target_ids)[:-1]
        return Explained(result.scores.shape[0], result.scores.shape[1], same, certified(result.diagnostics))

    return run


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
