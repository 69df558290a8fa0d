"""captum: `LLMGradientAttribution` over `LayerGradientXActivation` on the embedding layer, its route for LLMs.

It explains log-probabilities, one forward and one backward for each target, and gives scores of prompt tokens only.
"""

from __future__ import annotations

from typing import Any

import torch
from captum.attr import LayerGradientXActivation, LLMGradientAttribution, TextTokenInput
from common import Explained, Job, Run, Task, load_model, serve


def prepare(job: Job, tokenizer: Any) -> Run:
    model = load_model(job)
    explainer = LLMGradientAttribution(LayerGradientXActivation(model, model.get_input_embeddings()), tokenizer)

    def run(task: Task) -> Explained:
        source = TextTokenInput(task.prompt, tokenizer)
        result = explainer.attribute(source, target=torch.tensor(task.target_ids))
        same = source.inp_tensor[0].tolist() == task.prompt_ids
        return Explained(*result.token_attr.shape, same, "prompt sources only")

    return run


if __name__ == "__main__":
    serve(prepare)
