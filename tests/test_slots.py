"""Slots, [[Dave|Sarah|Tom]]: what is read, the ids of fillers, and scores against the plain model that reads them."""

from __future__ import annotations

import json
import math
import random
from itertools import product

import pytest
import torch
from builders import every_architecture, tiny, tokenizer_of
from models import tokenizer
from test_prompting import CHAT, STRIPPING, chat, tokenizer_with

from tokensal import Attribution, Case, Generation, Question, attribute
from tokensal.adapters.marks import place_among, read_marks
from tokensal.adapters.prompting import read_prompt
from tokensal.errors import InputError
from tokensal.render.json import dumps

PROMPT = "The [[cat|dog|mat]] sat on the [[log|cat]], and the [[dog]] saw"
ANSWER = " the cat"
READ = "The cat sat on the log, and the dog saw"


# From text to fillers


@pytest.mark.parametrize(
    ("text", "read", "fillers"),
    [
        ("a [[b|c]] d", "a b d", [("c",)]),
        ("a [[b|c|de]][[f]]", "a bf", [("c", "de"), ()]),
        (r"[[a\|b|c\|d]]", "a|b", [("c|d",)]),
        (r"[[a\\|b]]", r"a\|b", [()]),
        (r"a | b \| [[c\d|e]]", r"a | b \| c\d", [("e",)]),  # outside of passages a bar is a bar
        ("[[x[0]|y[1]]]", "x[0]", [("y[1]",)]),
        ("[[ | ]]", " ", [(" ",)]),
    ],
)
def test_what_bars_mean(text, read, fillers):
    marks = read_marks(text)
    assert marks.text == read
    assert list(marks.fillers) == fillers
    assert "".join(text[index] for index in marks.kept) == read


def test_whatever_is_marked_is_read_back():
    generator = random.Random(0)

    def text() -> str:
        return "".join(generator.choices("ab |/é🙂\n", k=generator.randrange(1, 6)))

    for _ in range(300):
        parts = [(text(), [text() for _ in range(generator.randrange(1, 4))]) for _ in range(generator.randrange(1, 4))]
        assert_read_back(parts)


def assert_read_back(parts):
    passages = [texts for _, texts in parts]
    bars = [[text.replace("|", r"\|") for text in texts] for texts in passages]
    written = "".join(f"{before}[[{'|'.join(texts)}]]" for (before, _), texts in zip(parts, bars, strict=True))
    marks = read_marks(written)
    assert marks.text == "".join(before + texts[0] for before, texts in parts)
    assert [marks.text[start:stop] for start, stop in marks.passages] == [texts[0] for texts in passages]
    assert [list(fillers) for fillers in marks.fillers] == [texts[1:] for texts in passages]
    for start, stop in marks.passages:
        own = slice(*place_among(marks.kept, (start, stop)))
        assert written[own].replace(r"\|", "|") == marks.text[start:stop]


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ("a [[b|]] c", r"A filler is empty, at '\[\[b\|\]\] c': put text behind each bar"),
        ("a [[b||c]]", r"A filler is empty.*write \\\| for a bar"),
        ("a [[|b]]", r"A marked passage is empty, at '\[\[\|b\]\]'"),
        ("The [[cat|dog the log]] sat", r"'dog the log' has \d tokens, but 'cat', in whose place it stands, has 1"),
        ("Th[[e cat|x]] sat", r"The filler 'x' changes the tokens around 'e cat', so it cannot stand in its place"),
    ],
)
def test_fillers_that_cannot_be_had(prompt, sentence):
    with pytest.raises(InputError, match=sentence):
        read_prompt(tokenizer(), prompt, None, True)


def test_a_bar_is_a_bar_where_brackets_are_not_read():
    ids = list(tokenizer()("a [[b|c]]")["input_ids"])
    assert list(read_prompt(tokenizer(), "a [[b|c]]", None).ids) == ids
    prompt = read_prompt(tokenizer(), "a [[b|c]]", None, [(2, 9)])
    assert list(prompt.ids) == ids and prompt.slots == ()


@pytest.mark.parametrize("template", [CHAT, STRIPPING], ids=["plain", "stripping"])
def test_fillers_in_a_chat_have_the_ids_of_the_chat_that_says_them(template):
    coder = tokenizer_with(template)

    def ids(first, second):
        return read_prompt(coder, None, chat(f"The {first} sat", f"on the {second}.", first="system")).ids

    prompt = read_prompt(coder, None, chat("The [[cat|dog]] sat", "on the [[log|cat|dog]].", first="system"), True)
    assert prompt.ids == ids("cat", "log")
    assert [slot.texts for slot in prompt.slots] == [("dog",), ("cat", "dog")]
    for slot, fillers in zip(prompt.slots, ([("dog", "log")], [("cat", "cat"), ("cat", "dog")]), strict=True):
        for filler, words in zip(slot.fillers, fillers, strict=True):
            assert (*prompt.ids[: slot.start], *filler, *prompt.ids[slot.stop :]) == ids(*words)


# Scores, against the plain model with the texts in place


def plain_scores(name, rows, masks=None):
    """Log-probabilities of the answer after each text: (R, G); `masks` are the places that attention does not see."""
    model, coder = tiny(name), tokenizer_of(name)
    values = []
    for number, text in enumerate(rows):
        ids = [*coder(text)["input_ids"]]
        example = model.example(READ, continuation=ANSWER)
        answer = [token.id for token in example.targets]
        mask = torch.ones(1, len(ids), dtype=torch.long)
        mask[0, masks[number] if masks else []] = 0
        if example.encoder:
            decoder = torch.tensor([[token.id for token in example.sources[example.encoder :]]])
            inputs = {"input_ids": torch.tensor([ids]), "attention_mask": mask, "decoder_input_ids": decoder}
            logits = model.model(**inputs).logits[0]
        else:
            both = torch.tensor([[*ids, *answer[:-1]]])
            mask = torch.cat([mask, torch.ones(1, len(answer) - 1, dtype=torch.long)], dim=1)
            places = torch.arange(both.shape[1])[None]
            output = model.model(input_ids=both, attention_mask=mask, position_ids=places, use_cache=False)
            logits = output.logits[0, len(ids) - 1 :]
        values.append(logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None])[:, 0])
    return torch.stack(values).detach()


def case_of(name="Llama", prompt=PROMPT, **question):
    generation = Generation(continuation=ANSWER)
    return Case.of(tiny(name), prompt, question=Question(unit="marked", **question), generation=generation)


def reading(first, second):
    return f"The {first} sat on the {second}, and the dog saw"


def unit(case, text):
    texts = ["".join(token.text for token in case.example.sources[start:stop]) for start, stop in case.example.units]
    return texts.index(text)


@every_architecture
def test_occlusion_puts_each_filler_in_place(name):
    case = case_of(name)
    drops = case.explain("occlusion").scores.double()
    as_it_is = plain_scores(name, [READ])[0]
    for text, fillers in ((" cat", [("dog", "log"), ("mat", "log")]), (" log", [("cat", "cat")])):
        expected = as_it_is - plain_scores(name, [reading(*words) for words in fillers]).mean(0)
        assert expected.abs().max() > 1e-3
        torch.testing.assert_close(drops[:, unit(case, text)], expected, rtol=1e-5, atol=1e-5)
    place = case.example.units[unit(case, " dog")][0]  # without fillers: masked
    expected = as_it_is - plain_scores(name, [READ], [[place]])[0]
    torch.testing.assert_close(drops[:, unit(case, " dog")], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["Llama", "Mistral", "T5"])
def test_coalitions_go_through_the_fillers_together(name):
    case = case_of(name)
    cat, log, dog = (unit(case, text) for text in (" cat", " log", " dog"))
    place = case.example.units[dog][0]
    for gone in product([False, True], repeat=3):
        present = torch.ones(1, len(case.example.units), dtype=torch.bool)
        present[0, [cat, log, dog]] = ~torch.tensor(gone)
        rounds = [(["dog", "mat"][r % 2] if gone[0] else "cat", "cat" if gone[1] else "log") for r in range(2)]
        masks = [[place] if gone[2] else []] * 2
        expected = plain_scores(name, [reading(*words) for words in rounds], masks).mean(0)
        torch.testing.assert_close(case.scores(present)[0], expected, rtol=1e-8, atol=1e-8)


def test_slots_with_other_numbers_of_fillers_go_through_all_equally_often():
    prompt = "The [[cat|dog|mat]] sat on the [[log|cat|dog|mat]], and the dog saw"
    case = case_of(prompt=prompt)
    present = torch.ones(1, len(case.example.units), dtype=torch.bool)
    present[0, [unit(case, " cat"), unit(case, " log")]] = False
    rounds = [(["dog", "mat"][r % 2], ["cat", "dog", "mat"][r % 3]) for r in range(math.lcm(2, 3))]
    expected = plain_scores("Llama", [reading(*words) for words in rounds]).mean(0)
    torch.testing.assert_close(case.scores(present)[0], expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("replacement", ["mask", "delete", "pad"])
def test_a_shorter_filler_stands_next_to_what_follows(replacement):
    """Where it is shorter, attention does not see the first places of the slot; or they are gone."""
    case = case_of(prompt="The [[cat sat|dog]] on the log, and the dog saw")
    present = torch.ones(1, len(case.example.units), dtype=torch.bool)
    present[0, 1] = False
    start, stop = case.example.units[1]
    assert stop - start == 2
    text, masks = ("The dog on the log, and the dog saw", None)
    if replacement != "delete":
        text, masks = "The the dog on the log, and the dog saw", [[start]]
    expected = plain_scores("Llama", [text], masks)[0]
    torch.testing.assert_close(case.scores(present, replacement=replacement)[0], expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("replacement", ["delete", "pad"])
def test_units_without_fillers_are_absent_as_the_replacement_says(replacement):
    case = case_of()
    present = torch.ones(1, len(case.example.units), dtype=torch.bool)
    present[0, [unit(case, " log"), unit(case, " dog")]] = False
    text = "The cat sat on the cat, and the saw"
    if replacement == "pad":
        text = "The cat sat on the cat, and the<pad> saw"
    expected = plain_scores("Llama", [text])[0]
    torch.testing.assert_close(case.scores(present, replacement=replacement)[0], expected, rtol=1e-8, atol=1e-8)


def test_a_contrast_reads_the_fillers_in_both_continuations():
    case = case_of(contrast=" a dog")
    present = torch.ones(2, len(case.example.units), dtype=torch.bool)
    present[1, unit(case, " log")] = False
    plain = [
        Case.of(tiny(), text, question=Question(contrast=" a dog"), generation=Generation(continuation=ANSWER))
        for text in (READ, reading("cat", "cat"))
    ]
    expected = torch.stack([each.engine.original(each.example) for each in plain])
    torch.testing.assert_close(case.scores(present), expected, rtol=1e-8, atol=1e-8)


def test_a_slot_whose_end_no_target_needs():
    """Of a prompt that is explained, the last source predicts the last token and may be in the middle of a slot."""
    question = Question(explain="prompt", unit="marked", targets="text:sat")
    case = Case.of(tiny(), "The [[dog|cat]] [[cat sat|dog log]] the", question=question)
    result = case.explain("occlusion")
    assert case.example.slots[1].stop > len(case.example.sources)
    ids = [token.id for token in case.example.sources]
    changed = [*ids[:2], *case.example.slots[1].fillers[0][:1]]
    with torch.no_grad():
        before, after = (
            case.engine.adapter.model(input_ids=torch.tensor([row])).logits[0, -1].log_softmax(-1)
            for row in (ids, changed)
        )
    target = case.example.targets[0].id
    torch.testing.assert_close(result.scores[0, 2].double(), (before - after)[target], rtol=1e-5, atol=1e-5)


def test_gradients_ignore_fillers():
    slots = attribute(tiny(), PROMPT, continuation=ANSWER, unit="marked", method="input_x_gradient")
    bare = PROMPT.replace("|dog|mat", "").replace("|cat", "")
    plain = attribute(tiny(), bare, continuation=ANSWER, unit="marked", method="input_x_gradient")
    torch.testing.assert_close(slots.scores, plain.scores, equal_nan=True)


def test_too_many_combinations_are_refused():
    words = ["|".join(["cat", "dog", "mat", "log", "sat", "saw", "The", "cat"][:size]) for size in (4, 5, 6, 8)]
    case = case_of(prompt="".join(f" [[{word}]]" for word in words) + " saw")
    with pytest.raises(InputError, match=r"Slots of 3, 4, 5, 7 fillers go through 420 combinations.*as many fillers"):
        case.scores(torch.zeros(1, len(case.example.units), dtype=torch.bool), replacement="zero")


# Results


def test_results_say_what_was_read_and_what_stood_in_its_place(tmp_path):
    result = case_of().explain("occlusion")
    assert result.text == READ + ANSWER
    [cat] = [source for source in result.sources if source.text == " cat" and source.fillers]
    assert cat.fillers == ("dog", "mat")
    assert PROMPT[slice(*cat.in_prompt)] == " [[cat"
    stored = json.loads(dumps(result))["sources"]
    assert [unit["fillers"] for unit in stored if "fillers" in unit] == [["dog", "mat"], ["cat"]]
    result.save(tmp_path / "slots.json")
    assert Attribution.load(tmp_path / "slots.json").sources == result.sources


def test_positions_in_a_chat_count_what_was_written():
    messages = [{"role": "user", "content": ["The [[cat|dog]] sat ", r"on [[the\|log|cat]] mat"]}]
    result = attribute(tiny(), messages=messages, continuation=ANSWER, unit="marked", method="occlusion")
    written = "".join(messages[0]["content"])
    own = [written[slice(*source.in_prompt)] for source in result.sources if source.fillers]
    assert own == [" [[cat", r" [[the\|log"]
