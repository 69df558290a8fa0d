"""What the scripts that train small models share: a tokenizer of words, the loop of training, and word dropout."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedModel, PreTrainedTokenizerFast


def vocabulary(special: Sequence[str], words: Iterable[str]) -> list[str]:
    """Special tokens, bytes, and each word as it stands at a beginning and after a space, spelled in byte letters."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    return [*special, *letters, *sorted({space + word for word in words for space in ("", "Ġ")} - {*letters})]


def word_tokenizer(tokens: Sequence[str], pieces: str, template: str, **special: str) -> PreTrainedTokenizerFast:
    """The words of a vocabulary are tokens, all others are spelled in bytes; nothing is lost.

    Args:
        tokens: see `vocabulary`.
        pieces: a regular expression for the pieces of a text that are looked up.
        template: a text with its special tokens, such as "$A </s>".
        special: which of them is which, such as pad_token="<pad>".
    """
    ids = {token: id for id, token in enumerate(tokens)}
    backend = Tokenizer(models.BPE(ids, merges=[], ignore_merges=True))  # whole words or single bytes, nothing between
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pieces), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    around = [token for token in template.split() if token != "$A"]
    backend.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[(token, ids[token]) for token in around]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, clean_up_tokenization_spaces=False, **special)


def optimise(model: PreTrainedModel, loss_of_batch: Callable[[], torch.Tensor], steps: int, rate: float) -> None:
    """AdamW with a fresh batch for each step; the learning rate rises for a tenth of the steps, then falls to nothing.

    The loss is printed every 200 steps.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    started = time.perf_counter()
    model.train()
    for step in range(1, steps + 1):
        loss = loss_of_batch()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 200 == 0 or step == steps:
            print(f"step {step}: loss {loss.item():.5f}, {time.perf_counter() - started:.0f} s", flush=True)
    model.eval()


def dropped(model: PreTrainedModel, ids: torch.Tensor, rates: torch.Tensor, special: int) -> torch.Tensor:
    """Embeddings (B, n, D) of ids (B, n), of which that share (B, 1) of each text is zero.

    Word dropout (Iyyer et al. 2015; Gal & Ghahramani 2016, arXiv:1512.05287). Ids below `special` are kept.
    """
    seen = (torch.rand(ids.shape) >= rates) | (ids < special)
    return model.get_input_embeddings()(ids) * seen[..., None]
