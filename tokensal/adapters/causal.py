"""Decoder-only HuggingFace models: prompt and generated prefix on one axis of sources.

A forward, step by step:

1. The embeddings of the perturbations enter as `inputs_embeds`, with explicit positions and attention mask.
2. At the head, the graph is cut, and all rows are dropped but those that predict targets (see `model.py`).

A forward whose first sources are unaltered starts from their cached keys and values instead, and perturbations that
alter their first sources alike from those of a forward that ends there. Keys and values are cached for all sources even
where a layer's attention has a window: the mask applies the window, so that any prefix can be reused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tokensal.adapters.model import ModelAdapter, predicted_before
from tokensal.adapters.prompting import Prompt, Text, continuation_ids, read_with_answer
from tokensal.errors import InputError
from tokensal.perturbations.inputs import PerturbedInputs
from tokensal.types import Example, Forward, Original, Role


@dataclass(frozen=True, slots=True, eq=False)
class States:
    """What a model remembers of the first n sources of some perturbations, the rows.

    Attributes:
        layers: keys and values of each layer, (rows, heads, n, width).
        keep: (rows, n) bool, which of these sources attention may see.
    """

    layers: list[tuple[Tensor, Tensor]]
    keep: Tensor

    def before(self, perturbed: PerturbedInputs) -> States:
        """What each perturbation goes on from: a row for each, of the sources before its first."""
        first, rows, parents = perturbed.first, len(perturbed), perturbed.parents

        def each(tensor: Tensor) -> Tensor:
            return tensor.expand(rows, *tensor.shape[1:]) if parents is None else tensor[parents.to(tensor.device)]

        layers = [(each(keys[:, :, :first]), each(values[:, :, :first])) for keys, values in self.layers]
        return States(layers, each(self.keep[:, :first]))


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
        predictors = tuple(range(first - 1, len(tokens) - 1))
        return Example(text, tokens[:-1], tokens[first:], predictors, sink=sink, slots=prompt.slots)

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
        perturbed = PerturbedInputs(self.embed(example)[None])
        cache = self._cache([]) if share else None
        forward = self._run(example, perturbed, cache=cache)
        return Original(forward, _states_in(cache, torch.ones_like(perturbed.embeds[..., 0], dtype=torch.bool)))

    def _states(self, example: Example, perturbed: PerturbedInputs, states: States | None) -> States | None:
        """As in `ModelAdapter`.

        A row whose sources are all masked sees all of them here: what comes out is masked later, but has to be numbers.
        """
        layers, earlier = [], _kept(perturbed)[:, :0]
        if perturbed.first and states is not None:
            before = states.before(perturbed)
            layers, earlier = before.layers, before.keep
        keep = torch.cat([earlier, _kept(perturbed)], dim=1)
        seen = keep | ~keep.any(1, keepdim=True)
        earlier, perturbed = seen[:, : perturbed.first], replace(perturbed, keep=seen[:, perturbed.first :])
        cache = self._cache(layers)
        self._run(example, perturbed, earlier, start=len(example.targets), cache=cache)
        return _states_in(cache, keep, _order(_staying(perturbed, earlier)).argsort(dim=1))

    def _forward(self, example: Example, perturbed: PerturbedInputs, states: States | None = None) -> Forward:
        """One pass over R perturbations, with logits (R, G, V) of the positions that predict targets."""
        if not perturbed.first:
            return self._run(example, perturbed)
        start = predicted_before(example, perturbed.first)
        if states is None:
            return self._run(example, self._completed(example, perturbed), start=start)
        before = states.before(perturbed)
        return self._run(example, perturbed, before.keep, start=start, cache=self._cache(before.layers))

    def _run(
        self,
        example: Example,
        perturbed: PerturbedInputs,
        earlier: Tensor | None = None,
        *,
        start: int = 0,
        cache: Any = None,
    ) -> Forward:
        """One pass from the states in the cache on, of sources of which attention may see those of `earlier`."""
        earlier = _kept(perturbed)[:, :0] if earlier is None else earlier
        embeds, keep, positions, predictors = _arrange(example, perturbed, earlier, start)
        inputs = {
            "inputs_embeds": embeds,
            "attention_mask": torch.cat([earlier, keep], dim=1).long(),
            "position_ids": positions,
            "past_key_values": cache,
            "use_cache": cache is not None,
        }
        return self._called(inputs, predictors, start)[0]

    def _cache(self, layers: list[tuple[Tensor, Tensor]]) -> Any:
        """A cache that begins with these keys and values; None where the model takes none."""
        from transformers import DynamicCache

        return DynamicCache(layers) if "past_key_values" in self._accepted else None


def _states_in(cache: Any, keep: Tensor, places: Tensor | None = None) -> States | None:
    """The states of the sources of which attention may see those of `keep` (rows, n); None where they are not cached.

    Args:
        cache: keys and values of n columns.
        keep: which of the sources attention may see.
        places: (rows, m) where the last m of them are among the last m columns; None where nothing was moved.
    """
    if cache is None or cache.get_seq_length() != keep.shape[1]:
        return None
    layers = [(layer.keys, layer.values) for layer in cache.layers]
    if places is not None and not places.equal(places.sort(dim=1).values):
        layers = [(_in_place(keys, places), _in_place(values, places)) for keys, values in layers]
    return States(layers, keep)


def _in_place(tensor: Tensor, places: Tensor) -> Tensor:
    """(rows, heads, n, width) with its last columns where they belong."""
    start = tensor.shape[2] - places.shape[1]
    index = places.to(tensor.device)[:, None, :, None].expand_as(tensor[:, :, start:])
    return torch.cat([tensor[:, :, :start], tensor[:, :, start:].gather(2, index)], dim=2)


def _kept(perturbed: PerturbedInputs) -> Tensor:
    """(R, n) bool, which of the sources from the first on attention may see, where the embeddings are."""
    if perturbed.keep is None:
        return torch.ones_like(perturbed.embeds[..., 0], dtype=torch.bool)
    return perturbed.keep.to(perturbed.embeds.device)


def _staying(perturbed: PerturbedInputs, earlier: Tensor) -> Tensor:
    """(R, n) bool, which sources stay in front: all, but masked ones where gaps are closed or none is kept before them.

    There they could attend to nothing themselves, so they are moved behind the others.
    """
    keep = _kept(perturbed)
    return keep if perturbed.closed else keep.cumsum(1).bool() | earlier.any(1, keepdim=True)


def _order(staying: Tensor) -> Tensor:
    """(R, n) which source each column holds."""
    return (~staying).to(torch.uint8).argsort(dim=1, stable=True)


def _arrange(
    example: Example, perturbed: PerturbedInputs, earlier: Tensor, start: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Embeddings, mask, positions and, for each row, the columns (R, G - start) that predict targets."""
    embeds, rows = perturbed.embeds, len(perturbed)
    predictors = torch.tensor(example.predictors[start:], dtype=torch.int64, device=embeds.device) - perturbed.first
    predictors = predictors.expand(rows, -1)
    columns = torch.arange(embeds.shape[1], device=embeds.device).expand(rows, -1)
    if perturbed.keep is None:
        return embeds, _kept(perturbed), columns + perturbed.first, predictors
    staying = _staying(perturbed, earlier)
    order, predictors = _order(staying), staying.cumsum(1).gather(1, predictors) - 1
    embeds = embeds.gather(1, order[..., None].expand_as(embeds))
    positions = columns if perturbed.closed else order
    return embeds, _kept(perturbed).gather(1, order), positions + perturbed.first, predictors
