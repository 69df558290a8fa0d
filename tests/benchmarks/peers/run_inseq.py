"""Inseq: `load_model(...).attribute(prompt, generated_texts=prompt + continuation)`, summed over D by `aggregate`.

It explains probabilities (its default), one target after another, and takes text. For each target:

* saliency, input_x_gradient: one forward and one backward;
* integrated_gradients: all steps in one batch, its default;
* occlusion: one forward for each source, whose embedding becomes that of the unknown token; unsigned.
"""

from __future__ import annotations

from typing import Any

import inseq
import torch
from common import Explained, Job, Run, Task, serve


def prepare(job: Job, tokenizer: Any) -> Run:
    # sdpa is the faster choice here; Inseq's default is eager attention
    options = {"dtype": torch.float32, "attn_implementation": "sdpa"}
    model = inseq.load_model(job.model, job.method, device="cpu", model_kwargs=options)
    settings = {"n_steps": job.steps} if job.method == "integrated_gradients" else {}
    note = {"integrated_gradients": f"{job.steps} steps", "occlusion": "unsigned"}.get(job.method, "")

    def run(task: Task) -> Explained:
        texts = {"input_texts": task.prompt, "generated_texts": task.prompt + task.continuation}
        result = model.attribute(**texts, **settings, show_progress=False, pretty_progress=False).aggregate()
        (found,) = result.sequence_attributions
        ids = [token.id for token in found.target]
        scores = found.target_attributions  # (sources and last target, targets)
        return Explained(scores.shape[1], scores.shape[0] - 1, ids == task.prompt_ids + task.target_ids, note)

    return run


if __name__ == "__main__":
    serve(prepare)
