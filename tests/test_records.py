"""Records of the user's own: what is read from a list and from files, and what is refused in which words."""

from __future__ import annotations

import doctest
import json

import pytest

from tokensal.errors import InputError
from tokensal.evaluation.prompts import records
from tokensal.evaluation.prompts.prompt import Gold
from tokensal.evaluation.prompts.records import read_prompts


def test_the_example_runs():
    results = doctest.testmod(records)
    assert results.attempted > 0 and results.failed == 0


def test_gold_is_marked_or_given_as_characters():
    marked, spans, one, text, none = read_prompts(
        [
            {"prompt": "[[Tom]] lives in [[Paris]]. Tom lives in", "answer": " Paris", "id": "a", "kind": "b"},
            {"prompt": "Tom lives in Paris.", "gold": [[0, 3], [13, 18]], "id": 7},
            {"prompt": "a [[ b", "gold": [0, 1], "contrast": "x"},
            "a [[b]]",
            {"prompt": "a", "answer": None, "note": "left alone"},
        ]
    )
    assert marked.prompt == "Tom lives in Paris. Tom lives in" and marked.continuation == " Paris"
    assert marked.gold == spans.gold == (Gold(0, 3), Gold(13, 18))
    assert (marked.id, marked.kind, spans.id, one.id) == ("a", "b", "7", "2")
    assert one.prompt == "a [[ b" and one.gold == (Gold(0, 1),) and one.contrast == "x"
    assert text.prompt == "a b" and text.gold == (Gold(2, 3),)
    assert none.gold == () and none.continuation is None


def test_of_a_chat_gold_names_its_message():
    chat = [{"role": "system", "content": "Say [[A]]."}, {"role": "user", "content": "[[What]]?"}]
    plain = [{"role": "system", "content": "Say A."}, {"role": "user", "content": "What?"}]
    marked, spans, one = read_prompts(
        [
            {"messages": chat},
            {"messages": plain, "gold": [[0, 4, 5], [1, 0, 4]]},
            {"messages": plain, "gold": [0, 4, 5]},
        ]
    )
    assert marked.messages == spans.messages == tuple(plain) and marked.prompt is None
    assert marked.gold == spans.gold == (Gold(4, 5, 0), Gold(0, 4, 1)) and one.gold == (Gold(4, 5, 0),)
    assert chat[0]["content"] == "Say [[A]].", "what the user passed is not changed"


def test_a_file_of_lines(tmp_path):
    path = tmp_path / "cases.jsonl"
    path.write_text('\ufeff{"prompt": "a\u2028b", "answer": "é"}\n\n{"prompt": "c", "gold": [[0, 1]]}\n', "utf-8")
    first, second = read_prompts(path)
    assert (first.prompt, first.continuation, first.id) == ("a\u2028b", "é", "1")
    assert (second.prompt, second.gold, second.id) == ("c", (Gold(0, 1),), "3")


def test_a_table(tmp_path):
    path = tmp_path / "cases.csv"
    path.write_text('prompt,answer,gold,note\n"Tom, who lives in\nParis, is", here,0:3 18:23,x\n"say ""a""\u2028",,,\n')
    first, second = read_prompts(str(path))
    assert first.prompt == "Tom, who lives in\nParis, is" and first.continuation == " here"
    assert first.gold == (Gold(0, 3), Gold(18, 23))
    assert second.prompt == 'say "a"\u2028' and second.continuation is None and second.gold == ()
    assert (first.id, second.id) == ("3", "4")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (3, "Record 1: a record is 3, but should be a table"),
        ({"promt": "a"}, "Record 1: unknown field 'promt': did you mean 'prompt'?"),
        ({"Answer": " b", "prompt": "a"}, "unknown field 'Answer': did you mean 'answer'?"),
        ({"answer": " b"}, "Record 1: give either a field 'prompt' or a field 'messages'"),
        ({"prompt": "a", "messages": []}, "and not both"),
        ({"prompt": ""}, "field 'prompt' is empty"),
        ({"prompt": 3}, "field 'prompt' is 3, but should be a text"),
        ({"prompt": "a", "answer": 3}, "field 'answer' is 3, but should be a text"),
        ({"prompt": "a", "answer": ""}, "field 'answer' is empty"),
        ({"prompt": "a", "contrast": ""}, "field 'contrast' is empty"),
        ({"prompt": "a\ud800"}, "field 'prompt' holds bytes that are no UTF-8"),
        ({"prompt": "a", "kind": 3}, "field 'kind' is 3"),
        ({"prompt": "a", "id": 1.5}, "field 'id' is 1.5"),
        ({"prompt": "b", "id": 0}, "field 'id' is '0', as in Record 0"),
        ({"prompt": "a [[ b"}, "Record 1: field 'prompt': a marked passage never ends"),
        ({"prompt": "[[a|b]]"}, "has fillers behind a bar"),
        ({"prompt": "abc", "gold": [2, 1]}, r"field 'gold' is \[2, 1\] .*characters \[start, stop\] of the prompt"),
        ({"prompt": "abc", "gold": [[0, 1, 2]]}, "characters .start, stop. of the prompt"),
        ({"prompt": "abc", "gold": []}, "field 'gold' is"),
        ({"prompt": "abc", "gold": "b"}, "field 'gold' is 'b'"),
        ({"prompt": "abc", "gold": [True, 2]}, "field 'gold' is"),
        ({"prompt": "abc", "gold": [[2, 4]]}, "field 'gold': .* but its text has 3 characters"),
        ({"prompt": "a c", "gold": "1:2"}, "field 'gold': .*white space alone"),
        ({"messages": "hello"}, "field 'messages': the messages are 'hello'"),
        ({"messages": [{"role": "user", "content": "a [["}]}, "message 0 of field 'messages': a marked passage"),
        ({"messages": [{"role": "user", "content": ["a"]}]}, "the content of message 0 is .* but should be a text"),
        ({"messages": [{"role": "user", "content": "abc"}], "gold": [0, 1]}, r"\[message, start, stop\]"),
        ({"messages": [{"role": "user", "content": "abc"}], "gold": [1, 0, 1]}, "field 'gold': .*in message 1"),
    ],
)
def test_a_bad_record_is_told_by_its_number_and_field(record, message):
    with pytest.raises(InputError, match=message) as caught:
        read_prompts(["fine", record])
    assert str(caught.value).startswith("Record 1: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"prompt": "a"}\n{"prompt": }\n', "^Line 2 of a.jsonl is no JSON"),
        ("a.jsonl", '{"prompt": "a"}\n\n{"prompt": 3}\n', "^Line 3 of a.jsonl: field 'prompt' is 3"),
        ("a.jsonl", "", "There are no records"),
        ("a.csv", "prompt,answer\na,b,c\n", "^Line 2 of a.csv has 3 cells, but the first line has 2 names"),
        ("a.csv", 'prompt,answer\na,"b\n', "^Line 2 of a.csv is no CSV"),
        ("a.csv", "prompt,prompt\na,b\n", "^Line 1 of a.csv has the name 'prompt' twice"),
        ("a.csv", "promt\na\n", "^Line 2 of a.csv: unknown field 'promt'"),
        ("a.csv", "prompt,gold\nabc,1:9\n", "^Line 2 of a.csv: field 'gold'"),
        ("a.csv", "prompt\n", "There are no records"),
        ("a.txt", "a", "read from .jsonl and .csv files, but got"),
    ],
)
def test_a_bad_file_is_told_by_its_line(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_prompts(path)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"Could not read .*none\.jsonl"):
        read_prompts(tmp_path / "none.jsonl")
    (tmp_path / "bytes.csv").write_bytes(b"prompt\n\xff\n")
    with pytest.raises(InputError, match=r"bytes.csv.*file of records in UTF-8"):
        read_prompts(tmp_path / "bytes.csv")


@pytest.mark.parametrize("table", [{"prompt": "a"}, 3, None])
def test_what_is_no_list_of_records(table):
    with pytest.raises(InputError, match="but should be a list such as"):
        read_prompts(table)


def test_a_record_reads_back_as_it_was_written(tmp_path):
    [prompt] = read_prompts([{"prompt": "a [[b]] c", "answer": " d", "contrast": " e", "id": "x"}])
    row = {"prompt": prompt.prompt, "answer": prompt.continuation, "contrast": prompt.contrast, "id": prompt.id}
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({**row, "gold": [[gold.start, gold.stop] for gold in prompt.gold]}))
    assert read_prompts(path) == [prompt]
