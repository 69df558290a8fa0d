"""Train a small decoder-only model that answers from its prompt: GPT-2, or GPT-NeoX, from random weights.

    python examples/train_recall.py FOLDER [--family gpt2] [--steps 3000] [--seed 0]

It answers the prompts that ship with tokensal (`tokensal.evaluation.suites`): facts, passages, words in another order.
Names and values are combined afresh in every prompt, so the answer must be read there, and which words say it is known.
That makes the models of two further families on which attributions are measured, and needs no download.

1. Draw prompts of every kind but chats, of seeds that are not used elsewhere; and at first, to learn from fewer texts,
   exercises, which ask for every value that they tell.
2. A token for every word, with the space before it, and for every digit; what is unknown is spelled in bytes, so that
   any text is read, and shown as it was written. A special token begins a text, and another one ends an answer.
3. Train on the answers and, with a smaller weight, on the prompts: names and values that are told again are copied
   there, too. Within a step texts of like lengths are padded together. The learning rate rises, then falls to nothing.
4. Word dropout, as in `train_dates`: in some of the texts a random share of the tokens has an embedding of zero. So the
   model knows what it means that a word is absent. Without it, what it says of half a text is arbitrary.
5. Say how many prompts of an unused seed are answered rightly, and how many follow every swap of their evidence, too;
   and save configuration, weights and tokenizer.

Positions begin as sinusoids (Vaswani et al. 2017) in GPT-2, where they are learned: from random ones, what stands some
words before or after a name is learned late. The seed fixes all that is drawn. The last bits of the weights depend on
torch and the number of threads, too.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from training import dropped, optimise, vocabulary, word_tokenizer
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from tokensal.evaluation.prompts.prompt import Prompt
from tokensal.evaluation.suites import KINDS
from tokensal.evaluation.suites.facts import draw_relation
from tokensal.evaluation.suites.kind import Text, candidates, draw_distinct
from tokensal.evaluation.suites.reordering import LINE
from tokensal.evaluation.suites.retrieval import TOPICS, VILLAGES
from tokensal.evaluation.suites.vocabulary import NAMES, RELATIONS

Part = tuple[str, bool]  # of a text, and whether it is an answer

SPECIAL = ("<pad>", "<s>", "</s>")
PIECES = r"\d| ?\p{L}+| ?->| ?[^\s\p{L}\d]|\s"  # words take their space along; digits do not: answers begin with them
SHARES = {
    "facts": 6,
    "redundant": 3,
    "retrieval": 6,
    "reordering": 4,
    "needle": 1,
    "agreement": 2,
    "negation": 1,
}  # how often a kind is drawn
TRAINING_SEED, WORDS_SEED = 1000, 999  # of prompts, from here on
BATCH, GROUP, RATE, PROMPT_WEIGHT = 32, 16, 2e-3, 0.2
DROPPED = 4  # one in so many texts has words dropped
EXERCISED = 0.7  # the share of the steps that have exercises: fewer and fewer of them
LONGEST = 256


def tokenizer() -> PreTrainedTokenizerFast:
    """Every word of the prompts is a token."""
    texts = [text for name in SHARES for text in _texts(islice(candidates(KINDS[name], WORDS_SEED), 1000))]
    words = set(re.findall(r"[^\W\d_]+|->|[^\w\s]", " ".join(texts)))
    return word_tokenizer(
        vocabulary(SPECIAL, words), PIECES, "<s> $A", pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


def _texts(prompts: Iterator[Prompt]) -> Iterator[str]:
    for prompt in prompts:
        yield f"{prompt.prompt}{prompt.continuation}{prompt.contrast or ''}"


def gpt2(size: int, width: int, layers: int) -> GPT2LMHeadModel:
    """Layer norms, learned positions, biases."""
    config = GPT2Config(
        vocab_size=size,
        n_positions=LONGEST,
        n_embd=width,
        n_layer=layers,
        n_head=max(1, width // 32),
        activation_function="gelu_pytorch_tanh",  # the same function as its own, and faster
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        initializer_range=0.05,
        **_special(),
    )
    model = GPT2LMHeadModel(config)
    places = torch.arange(LONGEST)[:, None] / 10000 ** (torch.arange(0, width, 2) / width)
    with torch.no_grad():
        model.transformer.wpe.weight.copy_(0.05 * torch.cat([places.sin(), places.cos()], 1))
    return model


def gpt_neox(size: int, width: int, layers: int) -> GPTNeoXForCausalLM:
    """Rotary positions; attention and feed-forward network side by side."""
    config = GPTNeoXConfig(
        vocab_size=size,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // 32),
        max_position_embeddings=LONGEST,
        initializer_range=0.05,
        tie_word_embeddings=True,
        **_special(),
    )
    return GPTNeoXForCausalLM(config)


def _special() -> Mapping[str, int]:
    return {f"{name}_token_id": id for id, name in enumerate(("pad", "bos", "eos"))}


FAMILIES: Mapping[str, Callable[[int, int, int], PreTrainedModel]] = {"gpt2": gpt2, "gpt_neox": gpt_neox}


def train(model: PreTrainedModel, coder: PreTrainedTokenizerFast, steps: int, seed: int) -> None:
    """Texts that are drawn afresh for every step: exercises, and more and more prompts."""
    rng = random.Random(seed)
    prompts = {name: candidates(KINDS[name], TRAINING_SEED + seed) for name in SHARES}
    drawn = 0

    def loss_of_batch() -> torch.Tensor:
        nonlocal drawn
        drawn += 1
        exercises = round(BATCH * min(0.75, max(0.0, 1.5 * (1 - drawn / (EXERCISED * steps)))))
        names = rng.choices(list(SHARES), list(SHARES.values()), k=BATCH - exercises)
        texts = [rng.choice(EXERCISES)(rng) for _ in range(exercises)] + [parts(next(prompts[name])) for name in names]
        return loss(model, [encode(coder, text) for text in texts])

    optimise(model, loss_of_batch, steps, RATE)


def parts(prompt: Prompt) -> list[Part]:
    """A prompt and its answer."""
    return [(prompt.prompt, False), (prompt.continuation, True)]


def _facts(rng: random.Random) -> list[Part]:
    """A text with facts about two to five people, and a question about each."""
    drawn, text = draw_relation(rng), Text()
    people = [(drawn.name, drawn.value), *drawn.others][: rng.randint(2, 5)]
    for name, value in people:
        text.add(rng.choice((drawn.relation.fact, drawn.relation.again)), name=name, value=value)
    told = [(text.text, False)]
    for name, value in rng.sample(people, len(people)):
        person, question = replace(drawn, name=name, value=value), Text()
        person.ask(question)
        told += [(f" {question.text}", False), (person.answer(value), True)]
    return told


def _pairs(rng: random.Random) -> list[Part]:
    """Names with a word each, and again in another order: the least that asks for the word of a name."""
    count = rng.randint(3, 8)
    values = rng.sample(rng.choice([*(relation.values for relation in RELATIONS), LINE]), count)
    pairs = list(zip(rng.sample([*NAMES, *VILLAGES], count), values, strict=True))
    told = [(" ".join(f"{name} {value}" for name, value in pairs) + ".", False)]
    return told + [
        part for name, value in rng.sample(pairs, count) for part in ((f" {name}", False), (f" {value}", True))
    ]


def _again(rng: random.Random) -> list[Part]:
    """Facts about people, and the same ones in another order."""
    drawn = draw_relation(rng)
    people = [(drawn.name, drawn.value), *drawn.others][: rng.randint(2, 6)]
    before, middle, after = drawn.relation.fact.split("{}")
    told = [(" ".join(f"{before}{name}{middle}{value}{after}" for name, value in people), False)]
    for name, value in rng.sample(people, len(people)):
        space = middle.endswith(" ")
        told += [(f" {before}{name}{middle[: -1 if space else None]}", False), (f" {value}", True), (after, False)]
    return told[:-1]


def _documents(rng: random.Random) -> list[Part]:
    """Two or three documents, each about one village, and a question about each sentence."""
    villages, topics = rng.sample(VILLAGES, rng.randint(2, 3)), rng.sample(TOPICS, 2)
    values = {topic.sentence: draw_distinct(topic.values, rng) for topic in topics}
    text, questions = Text(separator="\n"), []
    for number, village in enumerate(villages):
        told = [(topic, values[topic.sentence][number]) for topic in topics]
        text.add(f"[{number + 1}] " + " ".join(topic.sentence.format(village, value) for topic, value in told))
        questions += [
            (f"\nQuestion: {topic.question}\nAnswer: {topic.lead}".replace("{}", village), f" {value}")
            for topic, value in told
        ]
    order = rng.sample(questions, len(questions))
    return [(text.text, False), *(part for question, value in order for part in ((question, False), (value, True)))]


def _lines(rng: random.Random) -> list[Part]:
    """Lines of words, with each right side an answer: the first of them cannot be known, but it is short."""
    text = next(candidates(KINDS["reordering"], rng.randrange(TRAINING_SEED, 10**9)))
    pieces = re.split(r"(?<=->)( .*)", f"{text.prompt}{text.continuation}")
    return [(piece, index % 2 == 1) for index, piece in enumerate(pieces) if piece]


EXERCISES = (_pairs, _pairs, _again, _again, _facts, _documents, _lines)  # each as often as it stands here


def encode(coder: PreTrainedTokenizerFast, text: Sequence[Part]) -> tuple[list[int], list[int]]:
    """The ids of a text, with one for its end; and which of them answer: 1, or else 0."""
    ids, answers = [coder.bos_token_id], [0]
    for part, answer in text:
        each = coder(part, add_special_tokens=False).input_ids
        ids, answers = ids + each, answers + [int(answer)] * len(each)
    return [*ids, coder.eos_token_id], [*answers, 1]


def padded(texts: Sequence[tuple[list[int], list[int]]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids (B, n), and which of them answer (B, n): 1, or 0 of a prompt, or -1 of what fills up."""
    length = max(len(ids) for ids, _ in texts)
    ids, part = torch.zeros(len(texts), length, dtype=torch.long), torch.full((len(texts), length), -1)
    for row, (each, answers) in enumerate(texts):
        ids[row, : len(each)], part[row, : len(each)] = torch.tensor(each), torch.tensor(answers)
    return ids, part


def loss(model: PreTrainedModel, batch: Sequence[tuple[list[int], list[int]]]) -> torch.Tensor:
    """What the model misses, in nats a token of the answers, plus a share of what it misses a token of the prompts."""
    batch, losses = sorted(batch, key=lambda text: len(text[0])), []
    marks = []
    for start in range(0, len(batch), GROUP):
        ids, part = padded(batch[start : start + GROUP])
        rates = torch.rand(len(ids), 1) * (torch.arange(len(ids)) % DROPPED == 0)[:, None]
        logits = model(inputs_embeds=dropped(model, ids, rates, len(SPECIAL))).logits  # what fills up stands behind
        losses.append(cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none"))
        marks.append(part[:, 1:].flatten())
    missed, part = torch.cat(losses), torch.cat(marks)
    return missed[part == 1].mean() + PROMPT_WEIGHT * missed[part == 0].mean()


@torch.no_grad()
def answers_rightly(model: PreTrainedModel, coder: PreTrainedTokenizerFast, prompts: Sequence[Prompt]) -> list[bool]:
    """Of each prompt, whether every token of its answer is the likeliest, or likelier than the one of a contrast."""
    right = []
    for start in range(0, len(prompts), GROUP):
        group = prompts[start : start + GROUP]
        ids, part = padded([encode(coder, parts(prompt)) for prompt in group])
        logits = model(ids).logits[:, :-1]
        counted = (part[:, 1:] == 1) & (ids[:, 1:] != coder.eos_token_id)
        hits = (logits.argmax(-1) == ids[:, 1:]) | ~counted
        for row, prompt in enumerate(group):
            if prompt.contrast is not None:
                [other] = coder(prompt.contrast, add_special_tokens=False).input_ids
                own = logits[row].gather(-1, ids[row, 1:, None])[:, 0]
                hits[row] = (own > logits[row, :, other]) | ~counted[row]
        right += hits.all(-1).tolist()
    return right


def report(model: PreTrainedModel, coder: PreTrainedTokenizerFast, count: int = 200) -> None:
    """Print how many prompts of each kind are answered rightly, and how many follow their swaps, too."""
    for name in SHARES:
        prompts = list(islice(candidates(KINDS[name], WORDS_SEED), count))
        variants = [[prompt, *map(prompt.swapped, range(len(prompt.swaps)))] for prompt in prompts]
        verdicts = iter(answers_rightly(model, coder, [each for group in variants for each in group]))
        right = [list(islice(verdicts, len(group))) for group in variants]
        first, every = sum(group[0] for group in right) / count, sum(map(all, right)) / count
        print(f"{name}: {first:.0%} of {count} prompts are answered rightly, {every:.0%} and follow every swap")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--family", choices=list(FAMILIES), default="gpt2")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=3)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    coder = tokenizer()
    model = FAMILIES[options.family](len(coder), options.width, options.layers)
    print(f"{sum(weights.numel() for weights in model.parameters()):,} weights, {len(coder)} tokens")
    train(model, coder, options.steps, options.seed)
    report(model, coder)
    model.save_pretrained(options.folder)
    coder.save_pretrained(options.folder)


if __name__ == "__main__":
    main()
