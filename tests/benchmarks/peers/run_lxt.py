"""LXT: AttnLRP by patched modules, one forward, and one backward for each target, as its examples have it.

It explains logits. Its patches are of the modules of one family of models; here Llama's. Version 2.1 was written for an
older transformers; what it misses in later ones is put in its place below.
"""

from __future__ import annotations

import sys
from typing import Any
from unittest.mock import MagicMock

import torch
import transformers.pytorch_utils
from common import Explained, Job, Run, Task, load_model, serve
from transformers.models.llama import modeling_llama

VISION = ("torchvision", "torchvision.models", "torchvision.models.vision_transformer", "open_clip", "PIL")


class Functions(dict):
    """The attention functions that LXT leaves behind, with what later versions of transformers ask of them."""

    def get_interface(self, name: str, default: Any) -> Any:
        return self.get(name, default)


def prepare(job: Job, tokenizer: Any) -> Run:
    # LXT also patches vision models and an old BERT, of which nothing is needed here
    sys.modules.update({name: MagicMock() for name in VISION})
    transformers.pytorch_utils.find_pruneable_heads_and_indices = None
    from lxt.efficient import monkey_patch

    monkey_patch(modeling_llama, verbose=False)
    modeling_llama.ALL_ATTENTION_FUNCTIONS = Functions(modeling_llama.ALL_ATTENTION_FUNCTIONS)
    model = load_model(job)
    for parameter in model.parameters():
        parameter.requires_grad = False

    def run(task: Task) -> Explained:
        ids = torch.tensor([(task.prompt_ids + task.target_ids)[:-1]])
        embeds = model.get_input_embeddings()(ids).requires_grad_()
        logits = model(inputs_embeds=embeds, use_cache=False).logits[0, len(task.prompt_ids) - 1 :]
        relevance = []
        for row, target in zip(logits, task.target_ids, strict=True):
            (gradient,) = torch.autograd.grad(row[target], embeds, retain_graph=True)
            relevance.append((gradient * embeds).float().sum(-1)[0].detach())
        return Explained(len(relevance), len(relevance[0]), True)

    return run


if __name__ == "__main__":
    serve(prepare)
