"""Units of text over tokens: they partition the tokens, follow Unicode, and never part what a token holds together."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tokensal.questions.units import UNITS, lines, marked, messages, sentences, tokens, words
from tokensal.types import Role, Token

P, G = Role.PROMPT, Role.GENERATED


def run(*pieces, role=P):
    """Tokens of these texts; a piece that is not a text is (text, role), or (text, role, special)."""
    made, position = [], 0
    for id, piece in enumerate(pieces):
        text, *rest = (piece, role) if isinstance(piece, str) else piece
        made.append(Token(id, text, position, position + len(text), *rest))
        position += len(text)
    return made


def split(*pieces):
    """Tokens of these texts, where a number makes that many tokens of the character before it."""
    made = []
    for piece in pieces:
        if isinstance(piece, int):
            shared = made[-1]
            made += [Token(0, "", shared.start, shared.stop, shared.role)] * (piece - 1)
        else:
            start = made[-1].stop if made else 0
            made.append(Token(0, piece, start, start + len(piece), P))
    return made


def texts(run, spans):
    """What the spans say, once they are seen to be a partition."""
    assert [start for start, _ in spans] == [0, *(stop for _, stop in spans[:-1])] if spans else not run
    assert not spans or spans[-1][1] == len(run)
    assert all(start < stop for start, stop in spans)
    return ["".join(token.text for token in run[start:stop]) for start, stop in spans]


def divided(unit, run):
    return texts(run, unit(run))


def characters(text):
    return run(*text)


# Words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't pay 3.14, ok?", ["Don't", " pay", " 3.14", ",", " ok", "?"]),
        ("  two\t\tapart ", ["  two", "\t\tapart "]),
        ("a\n\nb\n", ["a", "\n\nb\n"]),
        (" \n ", [" \n "]),
        ("我喜欢猫。", ["我", "喜", "欢", "猫", "。"]),
        ("東京タワーへ", ["東", "京", "タワー", "へ"]),
        ("ไทย ดี", ["ไ", "ท", "ย", " ดี"]),
        ("قال: نعم.", ["قال", ":", " نعم", "."]),
        ('שלום צה"ל', ["שלום", ' צה"ל']),
        ("👩‍👩‍👧 🇩🇪🇫🇷👍🏽", ["👩‍👩‍👧", " 🇩🇪", "🇫🇷", "👍🏽"]),
        ("cafe\u0301 nai\u0308ve", ["cafe\u0301", " nai\u0308ve"]),
        ("snake_case x-y", ["snake_case", " x", "-", "y"]),
        ("", []),
    ],
)  # fmt: skip
def test_words_are_those_of_unicode(text, expected):
    assert divided(words, characters(text)) == expected


def test_a_token_that_holds_several_words_joins_them():
    assert divided(words, run("Hel", "lo,wor", "ld", "!")) == ["Hello,world", "!"]
    assert divided(words, run("a b c", " d", " e")) == ["a b c", " d", " e"]


def test_white_space_goes_with_the_word_after_it_unless_its_token_holds_a_word():
    assert divided(words, run("The", " ", "cat", "\n", "\n", "sat", " ")) == ["The", " cat", "\n\nsat "]
    assert divided(words, run("The ", "cat ", "sat")) == ["The ", "cat ", "sat"]
    assert divided(words, run("The ", " cat", "\nsat")) == ["The ", " cat", "\nsat"]


# Sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is 3.14. He said “No!” Then he left.", ["It is 3.14. ", "He said “No!” ", "Then he left."]),
        ("我喜欢猫。你呢？", ["我喜欢猫。", "你呢？"]),
        ("東京へ行く。楽しい！", ["東京へ行く。", "楽しい！"]),
        ("هل أنت هنا؟ نعم.", ["هل أنت هنا؟ ", "نعم."]),
        ("שלום. מה שלומך?", ["שלום. ", "מה שלומך?"]),
        ("A title\n\n  A text. ", ["A title\n\n", "  A text. "]),
        ("\n\nBegin.", ["\n\nBegin."]),
        ("ฉันรักแมว", ["ฉันรักแมว"]),
        (" ", [" "]),
    ],
)  # fmt: skip
def test_sentences_are_those_of_unicode(text, expected):
    assert divided(sentences, characters(text)) == expected


def test_a_sentence_begins_with_the_token_of_its_first_character():
    assert divided(sentences, run("One", ".", " Two", ".")) == ["One.", " Two."]
    assert divided(sentences, run("One", ".", " ", "Two")) == ["One. ", "Two"]
    assert divided(sentences, run("One", ". T", "wo", ".", "\n\n", "Three")) == ["One. Two.\n\n", "Three"]


# Lines


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\nb", ["a\n", "b"]),
        ("a\n\n\t\n b\n", ["a\n\n\t\n", " b\n"]),
        ("\n \na\nb", ["\n \na\n", "b"]),
        ("a. b\r\nc\u2028d", ["a. b\r\n", "c\u2028d"]),
        ("\n\n", ["\n\n"]),
    ],
)
def test_lines_end_in_line_breaks(text, expected):
    assert divided(lines, characters(text)) == expected


def test_a_token_with_a_line_break_in_it_joins_or_parts_lines():
    assert divided(lines, run("a", "\n\n  ", "b", "\nc", "\n")) == ["a\n\n  ", "b", "\nc\n"]
    assert divided(lines, run("a\nb", "c\n", "d")) == ["a\nbc\n", "d"]


# Messages


CHAT = run(
    ("<|s|>", Role.TEMPLATE, True), ("user", Role.TEMPLATE), ("\n", Role.TEMPLATE), ("Hi", Role.USER), (".", Role.USER),
    (" You", Role.USER), ("<|e|>", Role.TEMPLATE, True), ("<|s|>", Role.TEMPLATE, True), ("Ok", G), (".", G),
    ("<|e|>", G, True),
)  # fmt: skip


def test_messages_are_stretches_of_one_role():
    assert texts(CHAT, messages(CHAT)) == ["<|s|>", "user\n", "Hi. You", "<|e|>", "<|s|>", "Ok.", "<|e|>"]


@pytest.mark.parametrize("unit", ["word", "sentence", "line"])
def test_no_unit_is_larger_than_a_message(unit):
    starts = {start for start, _ in UNITS[unit](CHAT)}
    assert {start for start, _ in messages(CHAT)} <= starts
    made = run("Hel", "lo", ("you", G), (" all", G), ("<end>", G, True), ("x", G))
    assert {2, 4, 5} <= {start for start, _ in UNITS[unit](made)}


# Split characters


@pytest.mark.parametrize("unit", ["word", "sentence", "line", "message"])
def test_tokens_that_split_a_character_stay_together(unit):
    made = split("a", " 🙂", 4, "東", 3, "京", 2, "\n", "é", 2, "b")
    for start, _ in UNITS[unit](made)[1:]:
        assert made[start].text
    texts(made, UNITS[unit](made))


def test_split_characters_are_words_like_others():
    assert words(split("東", 3, "京", 2, " ", "é", 2, "t")) == [(0, 3), (3, 5), (5, 9)]


def test_a_character_that_prompt_and_answer_share_is_in_two():
    made = [Token(1, "🙂", 0, 1, P), Token(2, "", 0, 1, P), Token(3, "", 0, 1, G), Token(4, "a", 1, 2, G)]
    assert words(made) == messages(made) == [(0, 2), (2, 4)]


def test_tokens_without_text_make_no_unit_of_their_own():
    assert words(run("", "The", "", " cat", "")) == [(0, 3), (3, 5)]
    assert words(run("", "")) == [(0, 2)]


# Marks


def test_marked_segments_are_spans_and_so_is_what_stands_between_them():
    made = run("a", " b", " c", " d", " e", " f")
    assert marked(made, [None, 0, 0, 1, None, None]) == [(0, 1), (1, 3), (3, 4), (4, 6)]
    assert marked(made, [1, 1, 0, None, 2, None]) == [(0, 2), (2, 3), (3, 4), (4, 5), (5, 6)]
    assert marked(made, [None] * 6) == [(0, 6)]
    assert marked([], []) == []


def test_what_is_not_marked_parts_at_roles_and_special_tokens_but_a_mark_does_not():
    nothing = [None] * len(CHAT)
    assert marked(CHAT, nothing) == messages(CHAT)
    assert marked(CHAT, [*nothing[:4], 0, *nothing[5:]]) == [
        (0, 1), (1, 3), (3, 4), (4, 5), (5, 6), (6, 7), (7, 8), (8, 10), (10, 11),
    ]  # fmt: skip
    assert marked(CHAT, [*nothing[:4], 0, 0, 0, 0, *nothing[8:]])[3] == (4, 8)


def test_there_is_a_mark_for_each_token():
    with pytest.raises(ValueError, match="argument"):
        marked(CHAT, [None])


# Properties, on random texts and random tokens


ALPHABET = [
    *"abcXYZ 0123  \n\t.,;!?'’\"()-_“”", "\r\n", "我", "。", "東", "タ", "ー", "ด", "ี", "ไ", "ق", "؟", "ש", "״",
    "e\u0301", "🙂", "👩‍👧", "🇩🇪", "\u200d", "\u0301", "\u00a0", "\u3000", "\u200b", "\u2028",
]  # fmt: skip


def random_run(generator, *, roles=(P, Role.USER), special=0.05):
    """A random text in random tokens, of which some share a character."""
    made, position, role = [], 0, P
    for id in range(generator.randrange(30)):
        role = generator.choice(roles) if generator.random() < 0.1 else role
        text = "".join(generator.choice(ALPHABET) for _ in range(generator.choice([1, 1, 1, 2, 3, 8])))
        copies = generator.choice([1] * 8 + [2, 4])
        marked_special = generator.random() < special
        first = Token(id, text, position, position + len(text), role, marked_special)
        made += [first, *([] if marked_special else [replace(first, text="")] * (copies - 1))]
        position += len(text)
    return made


RUNS = [random_run(random.Random(seed)) for seed in range(400)]


@pytest.mark.parametrize("unit", UNITS)
def test_units_partition_any_tokens(unit):
    for made in RUNS:
        texts(made, UNITS[unit](made))


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit != "token"])
def test_units_keep_roles_special_tokens_and_characters_apart_and_together(unit):
    for made in RUNS:
        for start, stop in UNITS[unit](made):
            assert len({token.role for token in made[start:stop]}) == 1
            assert stop - start == 1 or not any(token.special for token in made[start:stop])
            before, first = (made[start - 1] if start else None), made[start]
            same = before and not first.text and (before.start, before.role) == (first.start, first.role)
            assert not same, "a split character is parted"


def starts(spans):
    return {start for start, _ in spans}


def test_units_are_nested():
    for made in RUNS:
        assert starts(messages(made)) <= starts(lines(made)) <= starts(tokens(made))
        assert starts(messages(made)) <= starts(words(made))
        if not any("\u2028" in token.text for token in made):  # ends a sentence of Unicode, but not a line here
            assert starts(lines(made)) <= starts(sentences(made))


def test_words_are_within_sentences_but_for_white_space():
    # white space between two sentences belongs to the first of them, but to the first word of the second; and Unicode
    # knows abbreviations, so that a word such as "a.ש" can be in two sentences
    generator = random.Random(0)
    for _ in range(300):
        pieces = generator.choices(
            ["ab", " cd", "Ef", "3", ".", "!", ",", "\n", "我", "。", "?", " Gh", "“", "”"], k=15
        )
        made = run(*pieces)
        blank = {index for index, token in enumerate(made) if token.text.isspace()}
        for start in starts(sentences(made)):
            while start - 1 in blank:
                start -= 1
            assert start in starts(words(made)) or start in blank | {0}, pieces


def test_the_units_of_single_characters_are_those_of_the_text():
    from uniseg.sentencebreak import sentences as unicode_sentences
    from uniseg.wordbreak import words as unicode_words

    generator = random.Random(1)
    for _ in range(200):
        text = "".join(generator.choice(ALPHABET) for _ in range(25))
        made = characters(text)
        found = [word.strip() for word in texts(made, words(made))]
        assert [word for word in found if word] == [
            stripped for word in unicode_words(text) if (stripped := word.strip())
        ]
        found = [sentence.strip() for sentence in texts(made, sentences(made))]
        assert [sentence for sentence in found if sentence] == [
            stripped for sentence in unicode_sentences(text) if (stripped := sentence.strip())
        ]
