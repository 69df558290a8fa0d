"""Encoder–decoder HuggingFace models: what the encoder reads and what the decoder reads, on one axis of sources.

The decoder's first input is its start token, and each of its inputs predicts the next one. Target g is therefore
influenced by all of the encoder's tokens, and by the decoder's inputs up to the one that predicts it.

A forward, step by step:

1. The perturbed embeddings are split in two: `inputs_embeds` and `decoder_inputs_embeds`, with a mask for each.
   The encoder's mask also holds for the cross-attention.
2. At the head, the graph is cut, and all rows are dropped but those that predict targets (see `model.py`).

Where a perturbation alters inputs of the decoder alone, the encoder is not run again.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from tokensal.adapters.batches import pad_embeddings
from tokensal.adapters.model import ModelAdapter, predicted_before, predictors_together
from tokensal.adapters.prompting import Prompt, Text, continuation_ids, read_with_answer, target_ids
from tokensal.adapters.tokens import read
from tokensal.errors import InputError
from tokensal.perturbations.inputs import PerturbedInputs
from tokensal.transfers import sent
from tokensal.types import Example, Forward, Original, Role


class Seq2SeqAdapter(ModelAdapter):
    """An encoder–decoder model and its tokenizer; see `ModelAdapter`.

    A continuation given as text is tokenized as a target: it includes the target language of a translation model, and
    the token that ends the text is not explained. A continuation given as token ids follows the decoder's start token.
    """

    def _with_continuation(self, prompt: Prompt, continuation: Text | None, explain: str) -> Example:
        _check_part(explain)
        if isinstance(continuation, str) and continuation:
            answer, appended = target_ids(self.tokenizer, continuation)
        else:
            answer, appended = continuation_ids(self.tokenizer, continuation or ()), []
        self._check_length(len(prompt.ids), len(self._in_vocabulary(answer)))
        # mBART's tokenizer appends a language after the end of the text: its decoder starts with it
        return self._pair(prompt, [appended[-1] if len(appended) > 1 else self._start_token, *answer])

    def _with_generation(
        self, prompt: Prompt, options: dict[str, Any], limit: int, seed: int | None, explain: str
    ) -> Example:
        _check_part(explain)
        forced = options.get("forced_bos_token_id", self.model.generation_config.forced_bos_token_id)
        return self._pair(prompt, self._generate(prompt.ids, options, limit, seed), forced)

    def _pair(self, prompt: Prompt, answer: list[int], forced: int | None = None) -> Example:
        """The example of what the encoder reads, and on the next line what the decoder starts with and writes."""
        encoder_text, encoder_tokens = read_with_answer(self.tokenizer, prompt, [])
        decoder_text, tokens = read(self.tokenizer, answer, [Role.GENERATED] * len(answer))
        shift = len(encoder_text) + 1
        start, first, *rest = (replace(token, start=token.start + shift, stop=token.stop + shift) for token in tokens)
        start, first = replace(start, special=True), replace(first, special=first.special or first.id == forced)
        encoder = len(encoder_tokens)
        return Example(
            text=f"{encoder_text}\n{decoder_text}",
            sources=(*encoder_tokens, start, first, *rest)[:-1],
            targets=(first, *rest),
            predictors=tuple(range(encoder, encoder + 1 + len(rest))),
            sink=encoder,
            encoder=encoder,
            slots=prompt.slots,
        )

    def _contrast_ids(self, example: Example, explained: range, contrast: Text) -> list[int]:
        if isinstance(contrast, str) and contrast and example.predictors[explained.start] == example.encoder:
            return target_ids(self.tokenizer, contrast)[0]  # it replaces the answer from its start, with its language
        return super()._contrast_ids(example, explained, contrast)

    @property
    def _start_token(self) -> int:
        config = self.model.generation_config
        start = config.bos_token_id if config.decoder_start_token_id is None else config.decoder_start_token_id
        if not isinstance(start, int):
            raise InputError(
                "The model does not know which token its decoder starts with: "
                "set decoder_start_token_id in its generation_config."
            )
        return start

    def _check_length(self, prompt: int, answer: int) -> None:
        limit = self._context
        if limit and prompt > limit:
            raise InputError(
                f"The prompt has {prompt} tokens, but the model's encoder holds {limit}: shorten the prompt."
            )
        if limit and answer > limit:
            raise InputError(
                f"An answer of {answer} tokens exceeds the {limit} that the model's decoder holds: "
                f"shorten it, or ask for at most {limit} new tokens."
            )

    def _original(self, example: Example, share: bool) -> Original:
        """The forward of the unaltered example, and the output of the encoder."""
        forward, output = self._run(example, PerturbedInputs(self.embed(example)[None]))
        return Original(forward, output.encoder_last_hidden_state.detach() if share else None)

    def _forward(self, example: Example, perturbed: PerturbedInputs, states: Tensor | None = None) -> Forward:
        """One pass over R perturbations, with logits (R, G, V) of the positions that predict targets."""
        completed = self._completed(example, perturbed) if perturbed.first else perturbed
        encoder_output = states if perturbed.first >= example.encoder else None
        return self._run(example, completed, encoder_output, predicted_before(example, perturbed.first))[0]

    def _forward_together(self, examples: Sequence[Example], embeds: Sequence[Tensor]) -> Forward:
        """As in `ModelAdapter`; the encoder's tokens all see one another, so what it reads of others is masked."""
        sizes = [each.encoder for each in examples]
        padded = pad_embeddings([row[:size] for row, size in zip(embeds, sizes, strict=True)])
        decoder = pad_embeddings([row[size:] for row, size in zip(embeds, sizes, strict=True)])
        keep = torch.arange(padded.shape[1]) < torch.tensor(sizes)[:, None]
        inputs = {
            "inputs_embeds": padded * self._scale,
            "attention_mask": sent(keep.long(), padded.device),
            "decoder_inputs_embeds": decoder,
            "decoder_attention_mask": torch.ones(decoder.shape[:2], dtype=torch.int64, device=decoder.device),
            "use_cache": False,
        }
        return self._called(inputs, predictors_together(examples), 0)[0]

    def _run(
        self, example: Example, perturbed: PerturbedInputs, states: Tensor | None = None, start: int = 0
    ) -> tuple[Forward, Any]:
        from transformers.modeling_outputs import BaseModelOutput

        (embeds, keep), (decoder_embeds, decoder_keep), predictors = _split_halves(example, perturbed, start)
        encoded = None if states is None else BaseModelOutput(states.expand(len(perturbed), -1, -1))
        inputs = {
            "inputs_embeds": embeds * self._scale if encoded is None else None,
            "encoder_outputs": encoded,
            "attention_mask": sent(keep.long(), embeds.device),
            "decoder_inputs_embeds": decoder_embeds,
            "decoder_attention_mask": sent(_causal_mask(decoder_keep, decoder_embeds.dtype), embeds.device),
            "use_cache": False,
        }
        return self._called(inputs, predictors, start)

    def prepared(self) -> AbstractContextManager[None]:
        """As in `ModelAdapter`."""
        _ = self._scale  # running the encoder tells it, and must not happen while that is recorded or ruled
        return super().prepared()

    @cached_property
    def _scale(self) -> float:
        """The factor by which the encoder multiplies the embeddings of `input_ids`, but not `inputs_embeds`.

        Marian and Pegasus have such a factor in the encoder alone. Running the encoder with both tells.
        """
        encoder, table = self.model.get_encoder(), self.model.get_input_embeddings()
        scale = float(getattr(encoder, "embed_scale", None) or 1.0)
        if scale == 1.0:
            return scale
        ids = torch.arange(4, device=self.device)[None]  # several, since the embedding of a padding token may be zero
        with super().prepared(), torch.no_grad():
            from_ids, from_embeds = encoder(input_ids=ids)[0], encoder(inputs_embeds=table(ids))[0]
        return 1.0 if torch.allclose(from_ids, from_embeds) else scale


def _check_part(explain: str) -> None:
    if explain != "answer":
        raise InputError(
            f"explain is {explain!r}, but an encoder–decoder model predicts no token of its prompt: explain the answer."
        )


Half = tuple[Tensor, Tensor]  # embeddings (R, n, D), and which of them attention may see (R, n)


def _split_halves(example: Example, perturbed: PerturbedInputs, start: int) -> tuple[Half, Half, Tensor]:
    """What the encoder reads, what the decoder reads, and the columns (R, G - start) there that predict targets.

    If gaps are closed, masked tokens are moved behind the others of their half. The decoder's start token always stays:
    without it nothing could predict the first target.

    Raises:
        InputError: a perturbation removes everything that the encoder reads.
    """
    embeds, size, rows = perturbed.embeds, example.encoder, len(perturbed)
    keep = torch.ones(embeds.shape[:2], dtype=torch.bool)  # on the CPU, where it can be read
    if perturbed.keep is not None:
        keep = perturbed.keep.cpu()
    if not keep[:, :size].any(1).all():
        raise InputError(
            "With these sources taken away, the encoder has nothing to read: "
            "use a replacement such as 'zero', a smaller window, or a prompt with special tokens, which are kept "
            "by default."
        )
    predictors = torch.tensor(example.predictors[start:]).expand(rows, -1) - size
    first, last = (embeds[:, :size], keep[:, :size]), (embeds[:, size:], keep[:, size:])
    if not perturbed.closed:
        return first, last, predictors
    staying = torch.cat([torch.ones_like(last[1][:, :1]), last[1][:, 1:]], dim=1)
    return _close_gaps(*first), _close_gaps(last[0], staying), staying.cumsum(1).gather(1, predictors) - 1


def _close_gaps(embeds: Tensor, keep: Tensor) -> Half:
    order = (~keep).to(torch.uint8).argsort(dim=1, stable=True)
    return embeds.gather(1, sent(order, embeds.device)[..., None].expand_as(embeds)), keep.gather(1, order)


def _causal_mask(keep: Tensor, dtype: torch.dtype) -> Tensor:
    """The decoder's mask (R, T); or (R, 1, T, T) to be added, in which a row that would see nothing sees itself.

    The second is needed where the start token is masked. Models add the causal mask themselves only to the first.
    """
    if keep[:, 0].all():
        return keep.long()
    seen = keep[:, None, :] & keep.new_ones(keep.shape[1], keep.shape[1]).tril()
    seen = seen | torch.diag_embed(~seen.any(-1))
    return torch.zeros_like(seen, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)[:, None]
