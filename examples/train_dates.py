"""Train the encoder–decoder model that comes with tokensal as `dates`: a small T5 that reads written dates.

    python examples/train_dates.py [FOLDER] [--steps 6000] [--seed 0]

It turns "the 3rd of March, 1987" into 1987-03-03. Its truth is known: year, month and day of the answer are each said
in one place of the text, and nowhere else. That makes it a test of what attributions say, besides an example of an
encoder–decoder model that needs no download. FOLDER is the package's own by default.

1. Write random dates in random wordings (`tokensal.evaluation.suites.written_dates`), but none of the days that are
   held out.
2. A token for every word and number, with the space before it; what is unknown is spelled in bytes, so that any text
   is read, and shown as it was written. The answer has five tokens: year, mark, month, mark, day.
3. Teacher forcing from random weights, minutes on two cores; the learning rate rises, then falls to nothing.
4. Word dropout (Iyyer et al. 2015; Gal & Ghahramani 2016, arXiv:1512.05287): in half of the texts a random share of the
   tokens has an embedding of zero. So the model knows what it means that a word is absent, and falls back on how often
   dates are such. Without it, what it says of half a text is arbitrary, and so is all that is compared with that.
5. Say how many held-out dates are read without a mistake, and save configuration, weights and tokenizer.

What a head makes of distances begins large (`untrained`): else months and days in numbers are taken for one another.
The seed fixes all that is drawn. The last bits of the weights depend on torch and the number of threads, too.
"""

from __future__ import annotations

import argparse
import calendar
import random
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from training import dropped, optimise, vocabulary, word_tokenizer
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from tokensal.adapters import embedded
from tokensal.evaluation.suites.written_dates import (
    FORMS,
    NUMBERS,
    SENTENCES,
    WORDS,
    YEARS,
    Written,
    days,
    draw,
    held_out,
    ordinal,
)

SPECIAL = ("<pad>", "</s>")
PIECES = r" ?\d+(?:st|nd|rd|th)?| ?\p{L}+| ?[^\s\p{L}\d]|\s+(?!\S)|\s"  # words and numbers take their space along
BATCH, RATE = 64, 3e-3


def tokenizer() -> PreTrainedTokenizerFast:
    """Words and numbers of `words` are tokens, all others are spelled in bytes; nothing is lost."""
    return word_tokenizer(vocabulary(SPECIAL, words()), PIECES, "$A </s>", pad_token="<pad>", eos_token="</s>")


def words() -> set[str]:
    """The words and numbers of dates and of the sentences around them."""
    names = [*calendar.month_name[1:], *calendar.month_abbr[1:]]
    tokens = {case(name) for name in names for case in (str.title, str.lower, str.upper)} | {*calendar.day_name}
    tokens |= {str(number) for number in (*YEARS, *NUMBERS)} | {f"{number:02}" for number in range(1, 10)}
    tokens |= {ordinal(day) for day in range(1, 32)} | {*WORDS} | {word.title() for word in WORDS}
    tokens |= set(re.findall(r"\w+", re.sub(r"{\w+}", "", " ".join([*FORMS, *SENTENCES]))))
    return tokens


def untrained(size: int) -> T5ForConditionalGeneration:
    """A T5 of some 300 thousand random weights, for a vocabulary of that size."""
    config = T5Config(
        vocab_size=size,
        d_model=64,
        d_kv=16,
        d_ff=128,
        num_layers=2,
        num_heads=4,
        relative_attention_num_buckets=32,
        relative_attention_max_distance=32,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        decoder_start_token_id=SPECIAL.index("<pad>"),
        pad_token_id=SPECIAL.index("<pad>"),
        eos_token_id=SPECIAL.index("</s>"),
    )
    model = T5ForConditionalGeneration(config)
    near = model.encoder.block[0].layer[0].SelfAttention.relative_attention_bias
    torch.nn.init.normal_(near.weight, std=4.0)  # at T5's 0.1 the order of two numbers is not learned in this time
    return model


def train(model: T5ForConditionalGeneration, coder: PreTrainedTokenizerFast, steps: int, seed: int) -> None:
    """Teacher forcing on dates that are written afresh for every step."""
    rng, training_days = random.Random(seed), days()[0]
    optimise(
        model, lambda: _loss(model, coder, [draw(rng.choice(training_days), rng) for _ in range(BATCH)]), steps, RATE
    )


def _loss(model: T5ForConditionalGeneration, coder: PreTrainedTokenizerFast, batch: Sequence[Written]) -> torch.Tensor:
    """What the model misses of the answers, in nats a token, when words of half of the batch are dropped."""
    texts = coder([date.text for date in batch], padding=True, return_tensors="pt")
    answers = coder([date.iso for date in batch], padding=True, return_tensors="pt")
    labels = answers.input_ids.masked_fill(answers.attention_mask == 0, -100)
    rates = torch.rand(len(batch), 1) * (torch.arange(len(batch)) % 2)[:, None]
    return model(
        inputs_embeds=dropped(model, texts.input_ids, rates, len(SPECIAL)),
        attention_mask=texts.attention_mask,
        decoder_inputs_embeds=dropped(model, model.prepare_decoder_input_ids_from_labels(labels), rates, len(SPECIAL)),
        labels=labels,
    ).loss


@torch.no_grad()
def readings(
    model: T5ForConditionalGeneration, coder: PreTrainedTokenizerFast, written: Sequence[Written]
) -> list[str]:
    """What the model makes of each text, greedily."""
    texts = coder([date.text for date in written], padding=True, return_tensors="pt")
    answers = model.generate(texts.input_ids, attention_mask=texts.attention_mask, max_new_tokens=8, do_sample=False)
    return coder.batch_decode(answers, skip_special_tokens=True)


def report(model: T5ForConditionalGeneration, coder: PreTrainedTokenizerFast, count: int = 5000) -> None:
    """Print how many held-out dates are read rightly, and some that are not."""
    written = held_out(count, seed=1)
    answers = [text for start in range(0, count, 500) for text in readings(model, coder, written[start : start + 500])]
    wrong = [(date.text, answer) for date, answer in zip(written, answers, strict=True) if answer != date.iso]
    print(f"{1 - len(wrong) / count:.2%} of {count} held-out dates are read rightly")
    for text, misread in wrong[:10]:
        print(f"  {text!r} was read as {misread!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=embedded.DATES_FOLDER)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    coder = tokenizer()
    model = untrained(len(coder))
    print(f"{sum(weights.numel() for weights in model.parameters()):,} weights, {len(coder)} tokens")
    train(model, coder, options.steps, options.seed)
    report(model, coder)
    model.save_pretrained(options.folder)
    coder.save_pretrained(options.folder)


if __name__ == "__main__":
    main()
