"""Decoder-only HuggingFace models: prompt and generated prefix on one axis of sources.

A forward, step by step:

1. The embeddings of the perturbations enter as `inputs_embeds`, with explicit positions and attention mask.
2. At the head, the graph is cut, and all rows are dropped but those that predict targets (see `model.py`).

A forward whose first sources are unaltered starts from their cached keys and values instead. These are cached for all
sources even where a layer's attention has a window: the mask applies the window, so that any prefix can be reused.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tokensal.adapters.model import ModelAdapter, predicted_before
from tokensal.adapters.prompting import Prompt, Text, continuation_ids, read_with_answer
from tokensal.errors import InputError
from tokensal.perturbations.inputs import PerturbedInputs
from tokensal.types import Example, Forward, Original, Role


class CausalAdapter(ModelAdapter):
    """A decoder-only model and its tokenizer; see `ModelAdapter`."""

    def _with_continuation(self, prompt: Prompt, continuation: Text | None, explain: str) -> Example:
        answer = [] if continuation is None else self._in_vocabulary(continuation_ids(self.tokenizer, continuation))
        self._check_length(len(prompt.ids), len(answer))
        return self._on_one_axis(prompt, answer, explain)

    def _with_generation(self, prompt: Prompt, options: dict[str, Any], seed: int | None, explain: str) -> Example:
        return self._on_one_axis(prompt, self._generate(prompt.ids, options, seed)[len(prompt.ids) :], explain)

    def _on_one_axis(self, prompt: Prompt, answer: list[int], explain: str) -> Example:
        text, tokens = read_with_answer(self.tokenizer, prompt, answer)
        first = len(prompt.ids) if explain == "answer" else 1
        if first == len(tokens):
            raise InputError("The prompt has one token, which nothing predicts: give it more to explain it.")
        sink = 0 if tokens[0].special or tokens[0].role is Role.TEMPLATE else None
        return Example(text, tokens[:-1], tokens[first:], tuple(range(first - 1, len(tokens) - 1)), sink=sink)

    def _check_length(self, prompt: int, answer: int) -> None:
        limit = self._context
        if limit and prompt >= limit:
            raise InputError(
                f"The prompt has {prompt} tokens, but the model's context holds {limit}: shorten the prompt."
            )
        if limit and prompt + answer > limit:
            raise InputError(
                f"The prompt's {prompt} tokens and {answer} new ones exceed the model's context of {limit}: "
                f"shorten the prompt, or ask for at most {limit - prompt} new tokens."
            )

    def _original(self, example: Example, share: bool) -> Original:
        """The forward of the unaltered example, and the keys and values of every layer."""
        from transformers import DynamicCache

        states = DynamicCache() if share and "past_key_values" in self._accepted else None
        forward = self._run(example, PerturbedInputs(self.embed(example)[None]), states)
        if states is None or states.get_seq_length() != len(example.sources):
            return Original(forward, None)
        return Original(forward, [(layer.keys, layer.values) for layer in states.layers])

    def _forward(
        self, example: Example, perturbed: PerturbedInputs, states: list[tuple[Tensor, Tensor]] | None = None
    ) -> Forward:
        """One pass over R perturbations, with logits (R, G, V) of the positions that predict targets."""
        from transformers import DynamicCache

        if not perturbed.first:
            return self._run(example, perturbed)
        start = predicted_before(example, perturbed.first)
        if states is None:
            return self._run(example, self._completed(example, perturbed), start=start)
        first, rows = perturbed.first, len(perturbed)
        prefix = [tuple(part[..., :first, :].expand(rows, -1, -1, -1) for part in layer) for layer in states]
        return self._run(example, perturbed, DynamicCache(prefix), start=start)

    def _run(self, example: Example, perturbed: PerturbedInputs, states: Any = None, start: int = 0) -> Forward:
        embeds, keep, positions, predictors = _arrange(example, perturbed, start)
        before = keep.new_ones(len(perturbed), perturbed.first)
        inputs = {
            "inputs_embeds": embeds,
            "attention_mask": torch.cat([before, keep], dim=1).long(),
            "position_ids": positions,
            "past_key_values": states,
            "use_cache": states is not None,
        }
        return self._called(inputs, predictors, start)[0]


def _arrange(example: Example, perturbed: PerturbedInputs, start: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Embeddings, mask, positions and, for each row, the columns (R, G - start) that predict targets from `start` on.

    Masked sources stay in their columns. They are moved behind the others if gaps are closed, and before the first kept
    source, where they could attend to nothing themselves.
    """
    embeds, rows = perturbed.embeds, len(perturbed)
    columns = torch.arange(embeds.shape[1], device=embeds.device).expand(rows, -1)
    predictors = torch.tensor(example.predictors[start:], device=embeds.device).expand(rows, -1) - perturbed.first
    if perturbed.keep is None:
        return embeds, torch.ones_like(columns, dtype=torch.bool), columns + perturbed.first, predictors
    keep = perturbed.keep.to(embeds.device)
    staying = keep if perturbed.closed else keep.cumsum(1).bool() | (perturbed.first > 0)
    order = (~staying).to(torch.uint8).argsort(dim=1, stable=True)
    predictors = staying.cumsum(1).gather(1, predictors) - 1
    embeds = embeds.gather(1, order[..., None].expand_as(embeds))
    positions = columns if perturbed.closed else order
    return embeds, keep.gather(1, order), positions + perturbed.first, predictors
