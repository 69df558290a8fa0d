"""Interpreto: `Saliency(...).explain(prompt, continuation)` for every token.

It explains logits (its default), one forward in all and one backward for each target. It takes text, which it
tokenizes again, and its scores are unsigned: the mean of |gradient| or of |input × gradient| over D.
"""

from __future__ import annotations

from typing import Any

from common import Explained, Job, Run, Task, load_model, serve
from interpreto import Granularity, Saliency


def prepare(job: Job, tokenizer: Any) -> Run:
    explainer = Saliency(
        load_model(job),
        tokenizer,
        batch_size=1,  # one text: there is nothing to batch
        granularity=Granularity.ALL_TOKENS,
        input_x_gradient=job.method == "input_x_gradient",
    )

    def run(task: Task) -> Explained:
        (result,) = explainer.explain(task.prompt, task.continuation)
        ids = result.model_inputs_to_explain["input_ids"][0].tolist()
        targets, sources = result.attributions.shape
        return Explained(targets, sources - 1, ids == task.prompt_ids + task.target_ids, "unsigned")

    return run


if __name__ == "__main__":
    serve(prepare)
