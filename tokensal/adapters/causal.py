"""Decoder-only HuggingFace models: prompt and generated prefix on one axis of sources.

A forward, step by step:

1. The embeddings of the variants enter as `inputs_embeds`, with explicit positions and attention mask.
2. Where the hidden states reach the head, a scoped hook keeps only the rows that predict targets, so that logits
   of other positions are never computed, and cuts the graph there (see `tokensal.types.Forward`).
3. Whatever the model does after its head (soft caps, scales) happens to those rows too.

A forward whose first sources are the example's own starts from their remembered keys and values instead. They are
remembered in full, whatever window a layer looks through: the mask sees to the window, and any beginning can be cut.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tokensal.adapters.frozen import frozen
from tokensal.adapters.prompting import Messages, Text, continuation_ids, prompt_ids, reference_ids
from tokensal.adapters.support import check_model
from tokensal.adapters.taps import blocks, tapped
from tokensal.adapters.tokens import read
from tokensal.errors import InputError, UnsupportedModel
from tokensal.sites import Site
from tokensal.types import Example, Footprint, Forward, Original, Variants

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MAX_NEW_TOKENS = 20


class CausalAdapter:
    """A decoder-only model and its tokenizer, ready to be attributed. Neither is changed in any way.

    Make one with `tokensal.load` or `tokensal.adapt`.

    Args:
        model: a HuggingFace causal language model.
        tokenizer: its tokenizer.
        name: what to call the model in results.
        revision: the revision it was loaded from, where known.

    Raises:
        UnsupportedModel: its architecture cannot be attributed; the message says why.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str | None = None,
        revision: str | None = None,
    ) -> None:
        check_model(model)
        self.model = model
        self.tokenizer = tokenizer
        self.name = name or model.name_or_path or type(model).__name__
        self.revision = revision

    def __repr__(self) -> str:
        return f"CausalAdapter({self.name}, {type(self.model).__name__}, {self._dtype} on {self.device})"

    # What the user gives becomes an example

    def example(
        self,
        prompt: Text | None = None,
        *,
        messages: Messages | None = None,
        continuation: Text | None = None,
        max_new_tokens: int | None = None,
        generation: Mapping[str, Any] | None = None,
        seed: int | None = None,
    ) -> Example:
        """Tokenize a prompt or a chat, and take or generate its continuation.

        Args:
            prompt: text, or token ids.
            messages: a chat ({"role": …, "content": …}) instead, put through the model's chat template.
            continuation: text or token ids to explain; None lets the model generate.
            max_new_tokens: how many tokens to generate at most; 20 by default.
            generation: further options of HuggingFace's `generate`, such as `{"do_sample": True, "top_p": 0.9}`.
            seed: for sampling; None samples from where the global generator stands, and leaves it there.

        Raises:
            InputError: an empty prompt or continuation, or one longer than the model's context.
        """
        ids = self._known(prompt_ids(self.tokenizer, prompt, messages))
        if continuation is not None:
            if max_new_tokens is not None or generation:
                raise InputError(
                    "A continuation is given, so there is nothing to generate: leave out the options for it."
                )
            answer = self._known(continuation_ids(self.tokenizer, continuation))
            self._check_length(len(ids), len(answer))
        else:
            wanted = _wanted(max_new_tokens, generation)
            self._check_length(len(ids), wanted)
            answer = self._generate(ids, {**(generation or {}), "max_new_tokens": wanted}, seed)
        text, tokens = read(self.tokenizer, ids + answer, len(ids))
        predictors = tuple(range(len(ids) - 1, len(tokens) - 1))
        return Example(text, tokens[:-1], tokens[len(ids) :], predictors, sink=0)

    def _check_length(self, prompt: int, answer: int) -> None:
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if limit and prompt >= limit:
            raise InputError(
                f"The prompt has {prompt} tokens, but the model's context holds {limit}: shorten the prompt."
            )
        if limit and prompt + answer > limit:
            raise InputError(
                f"The prompt's {prompt} tokens and {answer} new ones exceed the model's context of {limit}: "
                f"shorten the prompt, or ask for at most {limit - prompt} new tokens."
            )

    def _known(self, ids: list[int]) -> list[int]:
        size = self.model.get_input_embeddings().num_embeddings
        if strangers := [id for id in ids if not 0 <= id < size]:
            raise InputError(
                f"Token id {strangers[0]} is outside the model's vocabulary, which goes from 0 to {size - 1}: "
                "use the model's own tokenizer."
            )
        return ids

    def _generate(self, ids: list[int], options: dict[str, Any], seed: int | None) -> list[int]:
        prompt = torch.tensor([ids], device=self.device)
        options = {"do_sample": False, "attention_mask": torch.ones_like(prompt), **options}
        if self.model.generation_config.pad_token_id is None:
            options.setdefault("pad_token_id", self.tokenizer.pad_token_id or 0)  # one sequence: it is never used
        try:
            with _seeded(seed, self.device), frozen(self.model), torch.no_grad():
                output = self.model.generate(prompt, **options)
        except (ValueError, TypeError) as error:
            raise InputError(f"The model cannot generate with these options: {str(error).strip()}") from error
        sequences = output if isinstance(output, Tensor) else output.sequences
        if len(sequences) != 1:
            raise InputError(
                f"Generation returned {len(sequences)} sequences, but one is explained at a time: ask for one."
            )
        return sequences[0, len(ids) :].tolist()

    # What the engine asks for

    @property
    def device(self) -> torch.device:
        """Where the embeddings live (with accelerate's offloading: where they are computed)."""
        embedding = self.model.get_input_embeddings()
        hook = getattr(embedding, "_hf_hook", None)
        return torch.device(getattr(hook, "execution_device", None) or embedding.weight.device)

    def embed(self, example: Example) -> Tensor:
        """The embeddings of the sources, (S, D)."""
        ids = torch.tensor([[token.id for token in example.sources]], device=self.device)
        with torch.no_grad():
            return self.model.get_input_embeddings()(ids)[0]

    def reference(self, name: str, length: int) -> Tensor:
        """Embeddings (length, D) of a reference: the mean of all tokens, or named tokens, repeated to the length."""
        table = self.model.get_input_embeddings()
        with torch.no_grad():
            if name == "mean":
                everything = torch.arange(table.num_embeddings, device=self.device)
                return table(everything).mean(0).expand(length, -1)
            ids = torch.tensor(self._known(reference_ids(self.tokenizer, name)), device=self.device)
            return table(ids[torch.arange(length, device=self.device) % len(ids)])

    def original(self, example: Example) -> Original:
        """The example as it is, and the keys and values of every layer."""
        from transformers import DynamicCache

        states = DynamicCache() if "past_key_values" in self._accepted else None
        forward = self._run(example, Variants(self.embed(example)[None]), states)
        if states is None or states.get_seq_length() != len(example.sources):
            return Original(forward, None)
        return Original(forward, [(layer.keys, layer.values) for layer in states.layers])

    def forward(
        self, example: Example, variants: Variants, states: list[tuple[Tensor, Tensor]] | None = None
    ) -> Forward:
        """One pass over R variants, with logits (R, G, V) of the positions that predict targets."""
        from transformers import DynamicCache

        if not variants.first:
            return self._run(example, variants)
        if states is None:
            return self._run(example, self._completed(example, variants), start=_start(example, variants.first))
        first, rows = variants.first, len(variants)
        begun = [tuple(part[..., :first, :].expand(rows, -1, -1, -1) for part in layer) for layer in states]
        return self._run(example, variants, DynamicCache(begun), start=_start(example, first))

    def _completed(self, example: Example, variants: Variants) -> Variants:
        """The same variants with the unaltered sources before them."""
        before = self.embed(example)[: variants.first].expand(len(variants), -1, -1)
        keep = variants.keep
        if keep is not None:
            keep = torch.cat([keep.new_ones(len(variants), variants.first), keep], dim=1)
        return Variants(torch.cat([before, variants.embeds], dim=1), keep, 0, variants.closed)

    def _run(self, example: Example, variants: Variants, states: Any = None, start: int = 0) -> Forward:
        embeds, keep, positions, predictors = _gathered(example, variants, start)
        before = keep.new_ones(len(variants), variants.first)
        inputs = {
            "inputs_embeds": embeds,
            "attention_mask": torch.cat([before, keep], dim=1).long(),
            "position_ids": positions,
            "past_key_values": states,
            "use_cache": states is not None,
        }
        with self._cut_at_the_head(predictors) as cut:
            logits = self.model(**{name: value for name, value in inputs.items() if name in self._accepted}).logits
        if not cut:
            raise UnsupportedModel(
                f"The {self.model.config.model_type!r} model cannot be attributed: it bypasses its head."
            )
        hidden, leaf = cut
        return Forward(hidden, leaf, logits, start)

    @property
    def _accepted(self) -> Mapping[str, inspect.Parameter]:
        return inspect.signature(self.model.forward).parameters

    @contextmanager
    def _cut_at_the_head(self, predictors: Tensor) -> Iterator[list[Tensor]]:
        cut: list[Tensor] = []

        def at_the_head(head: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            rows = torch.arange(len(predictors), device=inputs[0].device)[:, None]
            hidden = inputs[0][rows, predictors.to(inputs[0].device)]
            leaf = hidden.detach().requires_grad_(hidden.requires_grad)
            cut[:] = hidden, leaf
            return leaf, *inputs[1:]

        hook = self.model.get_output_embeddings().register_forward_pre_hook(at_the_head)
        try:
            yield cut
        finally:
            hook.remove()

    @property
    def layer_count(self) -> int:
        """How many layers `tapped` can choose from."""
        return len(blocks(self.model))

    def tapped(self, site: Site, layers: Sequence[int]) -> AbstractContextManager[list[Tensor]]:
        """Inside, a forward fills the list with what the layers return; see `tokensal.adapters.taps`."""
        return tapped(self.model, site, layers)

    def prepared(self) -> AbstractContextManager[None]:
        """Parameters frozen, dropout off; everything as it was on leaving."""
        return frozen(self.model)

    def footprint(self, sources: int) -> Footprint:
        """Estimated from the model's widths: what a layer keeps for its backward, times the layers."""
        config = self.model.config.get_text_config()
        hidden, heads = config.hidden_size, config.num_attention_heads
        wide = getattr(config, "intermediate_size", None) or getattr(config, "ffn_dim", None) or 4 * hidden
        attention = heads * sources if config._attn_implementation == "eager" else 0
        layer = 10 * hidden + 4 * wide + 2 * attention
        size = torch.finfo(self.model.dtype).bits // 8
        head = 3 * max(size, 4) * config.vocab_size  # scores are computed in float32 at least
        return Footprint(kept=size * layer * config.num_hidden_layers, moved=size * layer, head=head)

    # What a result says about the model

    def describe(self) -> dict[str, Any]:
        """Name, revision, architecture, dtype, device and attention implementation, for the provenance."""
        return {
            "model": self.name,
            "revision": self.revision,
            "architecture": type(self.model).__name__,
            "dtype": self._dtype,
            "device": str(self.device),
            "attention": self.model.config._attn_implementation,
        }

    @property
    def _dtype(self) -> str:
        return str(self.model.dtype).removeprefix("torch.")


def _start(example: Example, first: int) -> int:
    """The first target that is predicted at or after the source `first`."""
    return sum(predictor < first for predictor in example.predictors)


def _gathered(example: Example, variants: Variants, start: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Embeddings, mask, positions and, for each row, the places (R, G - start) that predict targets from `start` on.

    Sources that are not kept stay in their places, unseen. But where gaps are closed, and at the very beginning, where
    they would have nothing to look at themselves, they are moved behind the others.
    """
    embeds, rows = variants.embeds, len(variants)
    places = torch.arange(embeds.shape[1], device=embeds.device).expand(rows, -1)
    predictors = torch.tensor(example.predictors[start:], device=embeds.device).expand(rows, -1) - variants.first
    if variants.keep is None:
        return embeds, torch.ones_like(places, dtype=torch.bool), places + variants.first, predictors
    keep = variants.keep.to(embeds.device)
    staying = keep if variants.closed else keep.cumsum(1).bool() | (variants.first > 0)
    order = (~staying).to(torch.uint8).argsort(dim=1, stable=True)
    moved = staying.cumsum(1).gather(1, predictors) - 1
    embeds = embeds.gather(1, order[..., None].expand_as(embeds))
    positions = places if variants.closed else order
    return embeds, keep.gather(1, order), positions + variants.first, moved


def _wanted(max_new_tokens: int | None, generation: Mapping[str, Any] | None) -> int:
    wanted = max_new_tokens or (generation or {}).get("max_new_tokens") or MAX_NEW_TOKENS
    if max_new_tokens is not None and max_new_tokens < 1:
        raise InputError(f"max_new_tokens is {max_new_tokens}, but at least 1 token must be generated to be explained.")
    return int(wanted)


@contextmanager
def _seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    # The caller's generators are left where they were, with or without a seed.
    devices, kind = ([], "cuda") if device.type == "cpu" else ([device], device.type)
    with torch.random.fork_rng(devices, device_type=kind):
        if seed is not None:
            torch.manual_seed(seed)
        yield
