"""Where a rendering shows its texts, against templates written in Python."""

from __future__ import annotations

import random

import pytest

from tokensal.adapters.probes import Rendering, TextNotLocated, TextSpan, locate

ALPHABET = "ab <>|\n"


def locate_texts(render, texts, parts=None):
    """What the rendering of the texts shows of each span, where, and how many renderings that took."""
    calls = []

    def render_counting(texts):
        calls.append(texts)
        return render(texts)

    rendered = render(texts)
    parts = [TextSpan(number, 0, len(text)) for number, text in enumerate(texts)] if parts is None else parts
    spans = locate(Rendering(render_counting, texts, rendered), parts)
    return [rendered[start:stop] for start, stop in spans], spans, len(calls)


def random_texts(generator, count=3):
    return ["".join(generator.choices(ALPHABET, k=generator.randrange(1, 200))) for _ in range(count)]


def test_what_is_shown_as_it_is_takes_one_rendering():
    generator = random.Random(0)
    for _ in range(50):
        texts = random_texts(generator)
        shown, spans, calls = locate_texts("<a>".join, texts)
        assert shown == texts and calls == 1
        lengths = [len(text) for text in texts]
        assert spans[2][0] == lengths[0] + lengths[1] + 6


@pytest.mark.parametrize(
    "shown",
    [str.strip, str.lstrip, lambda text: text.split("|")[-1], lambda text: text.split("|")[-1].strip(),
     lambda text: text.split("|")[0].strip("\n"), lambda text: text.rstrip("\n")],
)  # fmt: skip
def test_what_is_stripped_or_cut_is_located_to_the_character(shown):
    generator = random.Random(1)
    for _ in range(100):
        texts = random_texts(generator)
        located, spans, calls = locate_texts(lambda texts: "".join(f"<{shown(text)}>" for text in texts), texts)
        assert located == [shown(text) for text in texts]
        assert spans[0][0] == 1 or not located[0]
        assert calls <= 150


def test_parts_of_a_text_are_located():
    text = "  why|  The cat  sat "
    parts = [TextSpan(0, text.index(word), text.index(word) + len(word)) for word in ("The", "cat ", "  The", "sat ")]
    shown, spans, _ = locate_texts(lambda texts: f"cat:{texts[0].split('|')[1].strip()}.", [text], parts)
    assert shown == ["The", "cat ", "The", "sat"]
    assert spans[1] == (8, 12)


def test_texts_may_be_left_out_or_shown_in_another_order():
    assert locate_texts(lambda texts: f"{texts[2]}-{texts[0]}", ["a", "a", "a"])[1] == [(2, 3), (0, 0), (0, 1)]


def test_a_template_may_refuse_probes():
    def refuse_some(texts):
        return f"<{texts[0]}>" if texts[0].startswith("ab") else None

    assert locate_texts(refuse_some, ["abc"])[0] == ["c"]  # no probe inside "ab" is accepted


@pytest.mark.parametrize(
    "render",
    [
        lambda texts: texts[0] * 2,
        lambda texts: f"{len(texts[0])}{texts[0]}",
        lambda texts: texts[0][::-1],
        lambda texts: texts[0][:2],
    ],
)
def test_what_is_altered_otherwise_is_not_located(render):
    with pytest.raises(TextNotLocated):
        locate_texts(render, ["abcd"])


def test_texts_may_hold_the_characters_that_probes_are_made_of():
    assert locate_texts(lambda texts: "\U000f0000".join(texts), ["\U000f0001", "a"])[1] == [(0, 1), (2, 3)]
