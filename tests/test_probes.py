"""Where a rendering shows its texts, against templates in Python that say it themselves."""

from __future__ import annotations

import random

import pytest

from tokensal.adapters.probes import Rendering, TextNotLocated, TextSpan, locate

ALPHABET = "ab <>|\n"


def asked(render, texts, parts=None):
    """What the rendering of the texts shows of each part, and how often it took to render them."""
    calls = []

    def counted(said):
        calls.append(said)
        return render(said)

    whole = render(texts)
    parts = [TextSpan(number, 0, len(text)) for number, text in enumerate(texts)] if parts is None else parts
    spans = locate(Rendering(counted, texts, whole), parts)
    return [whole[start:stop] for start, stop in spans], spans, len(calls)


def random_texts(generator, count=3):
    return ["".join(generator.choices(ALPHABET, k=generator.randrange(1, 200))) for _ in range(count)]


def test_what_is_shown_as_it_is_takes_one_rendering():
    generator = random.Random(0)
    for _ in range(50):
        texts = random_texts(generator)
        shown, spans, calls = asked("<a>".join, texts)
        assert shown == texts and calls == 1
        lengths = [len(text) for text in texts]
        assert spans[2][0] == lengths[0] + lengths[1] + 6


@pytest.mark.parametrize(
    "shown",
    [str.strip, str.lstrip, lambda text: text.split("|")[-1], lambda text: text.split("|")[-1].strip(),
     lambda text: text.split("|")[0].strip("\n"), lambda text: text.rstrip("\n")],
)  # fmt: skip
def test_what_is_stripped_or_cut_is_found_to_the_character(shown):
    generator = random.Random(1)
    for _ in range(100):
        texts = random_texts(generator)
        said, spans, calls = asked(lambda said: "".join(f"<{shown(one)}>" for one in said), texts)
        assert said == [shown(text) for text in texts]
        assert spans[0][0] == 1 or not said[0]
        assert calls <= 150


def test_parts_of_a_text_are_found_where_they_stand():
    text = "  why|  The cat  sat "
    parts = [TextSpan(0, text.index(word), text.index(word) + len(word)) for word in ("The", "cat ", "  The", "sat ")]
    shown, spans, _ = asked(lambda said: f"cat:{said[0].split('|')[1].strip()}.", [text], parts)
    assert shown == ["The", "cat ", "The", "sat"]
    assert spans[1] == (8, 12)


def test_texts_may_be_left_out_or_shown_in_another_order():
    assert asked(lambda said: f"{said[2]}-{said[0]}", ["a", "a", "a"])[1] == [(2, 3), (0, 0), (0, 1)]


def test_a_template_may_refuse_probes():
    def choosy(said):
        return f"<{said[0]}>" if said[0].startswith("ab") else None

    assert asked(choosy, ["abc"])[0] == ["c"]  # nowhere in "ab" can it be asked


@pytest.mark.parametrize(
    "render",
    [
        lambda said: said[0] * 2,
        lambda said: f"{len(said[0])}{said[0]}",
        lambda said: said[0][::-1],
        lambda said: said[0][:2],
    ],
)
def test_what_is_altered_otherwise_cannot_be_told(render):
    with pytest.raises(TextNotLocated):
        asked(render, ["abcd"])


def test_texts_may_hold_the_characters_that_probes_are_made_of():
    assert asked(lambda said: "\U000f0000".join(said), ["\U000f0001", "a"])[1] == [(0, 1), (2, 3)]
