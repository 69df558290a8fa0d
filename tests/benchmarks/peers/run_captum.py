"""captum: `LLMGradientAttribution` and `LLMAttribution`, its routes for LLMs.

* `LayerGradientXActivation` on the embedding layer: one forward and one backward for each target.
* `LayerIntegratedGradients` on the embedding layer: all steps of a target in one batch, its default.
* `FeatureAblation`: token 0 stands in for a prompt token; one forward scores all targets (`forward_in_tokens=False`).
  Its default decodes the targets one after another from a cache, which is slower, and gives other scores than the
  same without the cache.
* `KernelShap` and `Lime`: likewise, for 256 coalitions of 20 pieces of the prompt. A space stands in for an absent
  piece, since an empty prompt is an error there. They give one score for the whole continuation.

It explains log-probabilities and gives scores of prompt tokens only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from captum.attr import (
    FeatureAblation,
    KernelShap,
    LayerGradientXActivation,
    LayerIntegratedGradients,
    Lime,
    LLMAttribution,
    LLMGradientAttribution,
    TextTemplateInput,
    TextTokenInput,
)
from common import COALITIONS, UNITS, Explained, Job, Run, Task, load_model, pieces, serve

FITTED = {"kernel_shap": KernelShap, "lime": Lime}


def prepare(job: Job, tokenizer: Any) -> Run:
    if job.method in FITTED:
        return prepare_fitted(job, tokenizer)
    explain, note = explainer(job, tokenizer)

    def run(task: Task) -> Explained:
        source = TextTokenInput(task.prompt, tokenizer)
        result = explain(source, target=torch.tensor(task.target_ids))
        same = source.inp_tensor[0].tolist() == task.prompt_ids
        return Explained(*result.token_attr.shape, same, note)

    return run


def prepare_fitted(job: Job, tokenizer: Any) -> Run:
    attribution = LLMAttribution(FITTED[job.method](load_model(job)), tokenizer)

    def run(task: Task) -> Explained:
        source = TextTemplateInput(lambda *texts: "".join(texts), pieces(tokenizer, task), baselines=[" "] * UNITS)
        target = torch.tensor(task.target_ids)
        result = attribution.attribute(source, target=target, n_samples=COALITIONS, forward_in_tokens=False)
        note = f"{COALITIONS} coalitions, prompt sources only, one score for all targets"
        return Explained(len(task.target_ids), result.seq_attr.numel(), True, note)

    return run


def explainer(job: Job, tokenizer: Any) -> tuple[Callable[..., Any], str]:
    """What explains a prompt and its targets, and a note on it."""
    model, note = load_model(job), "prompt sources only"
    embeddings = model.get_input_embeddings()
    if job.method == "feature_ablation":
        return partial(LLMAttribution(FeatureAblation(model), tokenizer).attribute, forward_in_tokens=False), note
    if job.method == "layer_integrated_gradients":
        explain = LLMGradientAttribution(LayerIntegratedGradients(model, embeddings), tokenizer).attribute
        return partial(explain, n_steps=job.steps), f"{note}, {job.steps} steps"
    return LLMGradientAttribution(LayerGradientXActivation(model, embeddings), tokenizer).attribute, note


if __name__ == "__main__":
    serve(prepare)
