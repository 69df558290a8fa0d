"""Interpreto: `Saliency(...).explain(prompt, continuation)`, and its other classes likewise, for every token.

It explains logits (its default), and takes text, which it tokenizes again.

* Saliency: one forward in all and one backward for each target.
* IntegratedGradients: one forward for each step, and one backward for each step and target.
* Occlusion: a mask token stands in for a source; one forward for each source scores all targets.
* KernelShap, Lime: a mask token stands in for the words of a coalition; one forward of each scores all targets.

Gradients are unsigned: the mean of |gradient| or of |input × gradient| over D, at each step of the integral too.
"""

from __future__ import annotations

from typing import Any

from common import COALITIONS, Explained, Job, Run, Task, load_model, serve
from interpreto import Granularity, IntegratedGradients, KernelShap, Lime, Occlusion, Saliency

FITTED = {"kernel_shap": KernelShap, "lime": Lime}
ROWS = 1024  # tokens × perturbations in one batch: whole sentences at a time, and its logits still fit the memory


def prepare(job: Job, tokenizer: Any) -> Run:
    explainer, note = chosen(job, tokenizer)

    def run(task: Task) -> Explained:
        (result,) = explainer.explain(task.prompt, task.continuation)
        ids = result.model_inputs_to_explain["input_ids"][0].tolist()
        targets, sources = result.attributions.shape
        return Explained(targets, sources - 1, ids == task.prompt_ids + task.target_ids, note)

    return run


def chosen(job: Job, tokenizer: Any) -> tuple[Any, str]:
    """The explainer of a method, and a note on it."""
    model, granularity = load_model(job), Granularity.ALL_TOKENS
    batch = max(1, ROWS // (job.prompt + job.targets))
    if job.method == "occlusion":
        return Occlusion(model, tokenizer, batch, granularity), f"batches of {batch}"
    if job.method in FITTED:
        fitted = FITTED[job.method](model, tokenizer, batch, Granularity.WORD, n_perturbations=COALITIONS)
        return fitted, f"{COALITIONS} coalitions of words, batches of {batch}"
    if job.method == "integrated_gradients":
        note = f"unsigned, {job.steps} steps, batches of {batch}"
        return IntegratedGradients(model, tokenizer, batch, granularity, n_perturbations=job.steps), note
    inputs = {"input_x_gradient": job.method == "input_x_gradient"}
    # one text: there is nothing to batch
    return Saliency(model, tokenizer, batch_size=1, granularity=granularity, **inputs), "unsigned"


if __name__ == "__main__":
    serve(prepare)
