"""Decoder-only HuggingFace models: prompt and generated prefix on one axis of sources.

A forward, step by step:

1. The embeddings of the perturbations enter as `inputs_embeds`, with explicit positions and attention mask.
2. At the head, the graph is cut, and all rows are dropped but those that predict targets (see `model.py`).

A forward whose first sources are unaltered starts from their cached keys and values instead, and perturbations that
alter their first sources alike from those of a forward that ends there. Keys and values are cached for all sources even
where a layer's attention has a window: the mask applies the window, so that any prefix can be reused.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tokensal.adapters.batches import pad_embeddings
from tokensal.adapters.layers import smallest_window, unscaled_length
from tokensal.adapters.model import ModelAdapter, predicted_before, predictors_together
from tokensal.adapters.one_axis import check_length, on_one_axis
from tokensal.adapters.prompting import Prompt, Text, continuation_ids
from tokensal.perturbations.inputs import PerturbedInputs
from tokensal.transfers import sent
from tokensal.types import Example, Forward, Original


@dataclass(frozen=True, slots=True, eq=False)
class States:
    """What a model remembers of the first sources of some perturbations, the rows.

    Attributes:
        layers: keys and values of each layer, (rows, heads, columns, width).
        keep: (rows, columns) bool, on the CPU, where attention may look. Without it, a column may be of no source.
    """

    layers: list[tuple[Tensor, ...]]
    keep: Tensor

    def before(self, perturbed: PerturbedInputs) -> States:
        """What each perturbation goes on from, a row for each: its parent, or the sources before its first."""
        first, rows, parents = perturbed.first, len(perturbed), perturbed.parents
        if parents is not None:
            on = functools.cache(functools.partial(sent, parents))  # sent once to each device
            layers = [tuple(part[on(part.device)] for part in layer) for layer in self.layers]
            return States(layers, self.keep[parents])
        layers = [tuple(part[:, :, :first].expand(rows, -1, -1, -1) for part in layer) for layer in self.layers]
        return States(layers, self.keep[:, :first].expand(rows, -1))


class CausalAdapter(ModelAdapter):
    """A decoder-only model and its tokenizer; see `ModelAdapter`."""

    def _with_continuation(self, prompt: Prompt, continuation: Text | None, explain: str) -> Example:
        answer = [] if continuation is None else self._in_vocabulary(continuation_ids(self.tokenizer, continuation))
        self._check_length(len(prompt.ids), len(answer))
        return on_one_axis(self.tokenizer, prompt, answer, explain)

    def _with_generation(
        self, prompt: Prompt, options: dict[str, Any], limit: int, seed: int | None, explain: str
    ) -> Example:
        sequence = self._generate(prompt.ids, options, limit, seed)
        return on_one_axis(self.tokenizer, prompt, sequence[len(prompt.ids) :], explain)

    def _check_length(self, prompt: int, answer: int) -> None:
        check_length(prompt, answer, self._context)

    def _original(self, example: Example, share: bool) -> Original:
        """The forward of the unaltered example, and the keys and values of every layer."""
        perturbed = PerturbedInputs(self.embed(example)[None])
        cache = self._cache([]) if share else None
        forward = self._run(example, perturbed, cache=cache)
        return Original(forward, _states_in(cache, _kept(perturbed)))

    def _states(self, example: Example, perturbed: PerturbedInputs, states: States | None) -> States | None:
        """As in `ModelAdapter`.

        A row of which attention sees nothing sees its last source here: what comes out is not seen later, but has to be
        numbers.
        """
        before = States([], _kept(perturbed)[:, :0])
        if perturbed.first and states is not None:
            before = states.before(perturbed)
        keep = _kept(perturbed)
        seen = keep.clone()
        seen[:, -1] |= ~(before.keep.any(1) | keep.any(1))
        cache, running = self._cache(before.layers), replace(perturbed, keep=seen)
        self._run(example, running, before.keep, start=len(example.targets), cache=cache)
        order, _ = _order(running, before.keep, torch.zeros_like(keep))
        if perturbed.skip:
            return _states_in(cache, torch.cat([before.keep, keep.gather(1, order)], dim=1))
        return _states_in(cache, torch.cat([before.keep, keep], dim=1), order.argsort(dim=1))

    def _forward(self, example: Example, perturbed: PerturbedInputs, states: States | None = None) -> Forward:
        """One pass over R perturbations, with logits (R, G, V) of the positions that predict targets."""
        if not perturbed.first:
            return self._run(example, perturbed)
        start = predicted_before(example, perturbed.first)
        if states is None:
            return self._run(example, self._completed(example, perturbed), start=start)
        before = states.before(perturbed)
        return self._run(example, perturbed, before.keep, start=start, cache=self._cache(before.layers))

    def _forward_together(self, examples: Sequence[Example], embeds: Sequence[Tensor]) -> Forward:
        padded = pad_embeddings(embeds)
        rows, length = padded.shape[:2]
        inputs = {
            "inputs_embeds": padded,
            "attention_mask": torch.ones(rows, length, dtype=torch.int64, device=padded.device),
            "position_ids": torch.arange(length, device=padded.device).expand(rows, -1),
            "past_key_values": None,
            "use_cache": False,
        }
        return self._called(inputs, predictors_together(examples), 0)[0]

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
            "attention_mask": sent(torch.cat([earlier, keep], dim=1).long(), embeds.device),
            "position_ids": sent(positions, embeds.device),
            "past_key_values": cache,
            "use_cache": cache is not None,
        }
        return self._called(inputs, predictors, start)[0]

    def continues(self, example: Example) -> bool:
        """As in `ModelAdapter`; positions must not be scaled by how long a text is, as some are beyond a length."""
        return self._findings.continues and len(example.sources) <= unscaled_length(self.model.config.get_text_config())

    def skips(self, example: Example) -> bool:
        """As in `ModelAdapter`; no window of a layer may end inside of the example, since it counts what is skipped."""
        return self._findings.skips and len(example.sources) <= smallest_window(self.model.config.get_text_config())

    def _cache(self, layers: list[tuple[Tensor, ...]]) -> Any:
        """A cache that begins with these keys and values; None where the model takes none."""
        from transformers import DynamicCache

        return DynamicCache(layers) if "past_key_values" in self._accepted else None


def _states_in(cache: Any, keep: Tensor, places: Tensor | None = None) -> States | None:
    """The states in a cache, of columns where attention may look as `keep` says; None where they are not cached.

    Args:
        cache: keys and values.
        keep: (rows, columns) bool.
        places: (rows, n) where the last n columns of `keep` are among those of the cache; None where they are.
    """
    if cache is None or cache.get_seq_length() != keep.shape[1]:
        return None
    layers: list[tuple[Tensor, ...]] = [(layer.keys, layer.values) for layer in cache.layers]
    if places is not None and not places.equal(places.sort(dim=1).values):
        layers = [tuple(_in_place(part, places) for part in layer) for layer in layers]
    return States(layers, keep)


def _in_place(tensor: Tensor, places: Tensor) -> Tensor:
    """(rows, heads, n, width) with its last columns where they belong."""
    start = tensor.shape[2] - places.shape[1]
    index = sent(places, tensor.device)[:, None, :, None].expand_as(tensor[:, :, start:])
    return torch.cat([tensor[:, :, :start], tensor[:, :, start:].gather(2, index)], dim=2)


def _kept(perturbed: PerturbedInputs) -> Tensor:
    """(R, n) bool, which of the sources from the first on attention may see. On the CPU, where it can be read."""
    if perturbed.keep is None:
        return torch.ones(perturbed.embeds.shape[:2], dtype=torch.bool)
    return perturbed.keep.cpu()


def _order(perturbed: PerturbedInputs, earlier: Tensor, predicting: Tensor) -> tuple[Tensor, Tensor]:
    """Which source each column holds (R, columns), and which sources stay in front (R, n) bool.

    Those that attention does not see stay in their columns, but for those before the first that it sees, which could
    see nothing themselves: they are moved behind the others. Where gaps are closed, or such sources are skipped, all of
    them are moved, and columns end with the longest row. What predicts is not skipped.
    """
    keep = _kept(perturbed)
    if not perturbed.closed and not perturbed.skip:
        staying = keep.cumsum(1).bool() | earlier.any(1, keepdim=True)
        return _front(staying), staying
    staying = keep if perturbed.closed else keep | predicting
    return _front(staying)[:, : max(1, int(staying.sum(1).max()))], staying


def _front(staying: Tensor) -> Tensor:
    return (~staying).to(torch.uint8).argsort(dim=1, stable=True)


def _arrange(
    example: Example, perturbed: PerturbedInputs, earlier: Tensor, start: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Embeddings; on the CPU mask, positions and, for each row, the columns (R, G - start) that predict targets."""
    embeds, rows = perturbed.embeds, len(perturbed)
    predictors = torch.tensor(example.predictors[start:], dtype=torch.int64) - perturbed.first
    predictors = predictors.expand(rows, -1)
    columns = torch.arange(embeds.shape[1]).expand(rows, -1)
    if perturbed.keep is None:
        return embeds, _kept(perturbed), columns + perturbed.first, predictors
    order, staying = _order(
        perturbed, earlier, torch.zeros_like(columns, dtype=torch.bool).scatter(1, predictors, True)
    )
    predictors = staying.cumsum(1).gather(1, predictors) - 1
    embeds = embeds.gather(1, sent(order, embeds.device)[..., None].expand(-1, -1, embeds.shape[2]))
    positions = columns[:, : order.shape[1]] if perturbed.closed else order
    return embeds, _kept(perturbed).gather(1, order), positions + perturbed.first, predictors
