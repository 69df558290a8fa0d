"""Sources of runs: all kinds are read alike, bad examples are entries, wrong columns are told at once."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
import os
import pickle
import subprocess
import sys
import tracemalloc
from itertools import islice

import datasets
import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest
from hub_server import COMMIT, serving

from tokensal.errors import InputError
from tokensal.evaluation.prompts.prompt import Gold, Prompt
from tokensal.run_options import Reading
from tokensal.runs.source import PEEKED, Entry, open_source

ROWS = [
    {"prompt": "Tom lives in", "answer": " Paris", "id": "a"},
    {"prompt": 'Say "x, y"\tand\u2028z', "answer": " é", "id": "b"},
    {"prompt": "C:\\new [[x]]", "answer": None, "id": "c"},
]
EXPECTED = [
    Entry(0, "a", Prompt(id="a", prompt="Tom lives in", continuation=" Paris")),
    Entry(1, "b", Prompt(id="b", prompt='Say "x, y"\tand\u2028z', continuation=" é")),
    Entry(2, "c", Prompt(id="c", prompt="C:\\new x", gold=(Gold(7, 8),))),
]


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def entries(source, **options):
    return list(open_source(source, Reading(**{"marks": True, **options})).entries)


def error(source, **options):
    with pytest.raises(InputError) as caught:
        open_source(source, Reading(**options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def lines(records):
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def write(path, records=ROWS):
    """A file of the format that its name tells."""
    opened = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(path.suffix, open)
    form = path.suffixes[0]
    if form == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)
        return path
    with opened(path, "wt", encoding="utf-8", newline="") as file:
        if form in (".csv", ".tsv"):
            table = csv.DictWriter(file, records[0], delimiter="," if form == ".csv" else "\t")
            table.writeheader()
            table.writerows(records)
        else:
            file.write(json.dumps(records) if form == ".json" else lines(records))
    return path


# Each kind of source


NAMES = ["a.jsonl", "a.json", "a.csv", "a.tsv", "a.parquet", "a.jsonl.gz", "a.csv.bz2", "a.json.xz"]


@pytest.mark.parametrize("name", NAMES)
def test_files_of_each_format_are_read_alike(tmp_path, name):
    opened = open_source(str(write(tmp_path / name)), Reading(marks=True))
    assert opened.total == 3 and list(opened.entries) == EXPECTED


def test_a_file_named_json_may_hold_lines(tmp_path):
    write(tmp_path / "a.jsonl").rename(tmp_path / "a.json")
    assert entries(tmp_path / "a.json") == EXPECTED


def test_a_file_of_text_has_a_prompt_a_line(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffOne\\n\r\n\n  two\u2028 \n\ufeffthree".encode())
    opened = open_source(tmp_path / "a.txt", Reading(marks=True))
    assert opened.total == 3 and [each.prompt.prompt for each in opened.entries] == [
        "One\\n",
        "  two\u2028 ",
        "\ufeffthree",
    ]


def test_files_of_a_pattern_follow_one_another(tmp_path):
    write(tmp_path / "b.jsonl", [{"prompt": "third"}])
    write(tmp_path / "a.csv", [{"prompt": "first"}, {"prompt": "second"}])
    opened = open_source(str(tmp_path / "*.*"), Reading(marks=True))
    assert opened.total == 3
    assert [(each.number, each.prompt.prompt) for each in opened.entries] == [(0, "first"), (1, "second"), (2, "third")]
    assert open_source(str(tmp_path / "*.*"), Reading(limit=1)).total == 1


TABLES = {
    "pandas": lambda rows: pandas.DataFrame(rows, index=[7, 8, 9]),
    "pyarrow": pyarrow.Table.from_pylist,
    "datasets": datasets.Dataset.from_list,
    "formatted": lambda rows: datasets.Dataset.from_list(rows).with_format("pandas"),
    "list": list,
    "dict": lambda rows: datasets.DatasetDict(train=datasets.Dataset.from_list(rows)),
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_and_data_sets_are_read_alike(kind):
    split = "train" if kind == "dict" else None
    opened = open_source(TABLES[kind](ROWS), Reading(split=split, marks=True))
    assert opened.total == 3 and list(opened.entries) == EXPECTED


def test_streams_are_read_alike():
    stream = datasets.Dataset.from_list(ROWS).to_iterable_dataset()
    opened = open_source(stream, Reading(marks=True))
    assert opened.total is None and list(opened.entries) == EXPECTED
    assert entries(datasets.IterableDataset.from_generator(lambda: iter(ROWS))) == EXPECTED


def test_folders_with_data_sets_are_read_by_split(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    write(folder / "train.jsonl")
    write(folder / "test.jsonl", ROWS[:1])
    assert entries(folder) == EXPECTED and entries(str(folder), split="test") == EXPECTED[:1]
    assert error(folder, split="tes") == "Unknown split 'tes': did you mean 'test'? Known: test, train."
    identity = open_source(folder, Reading(split="test")).identity
    write(folder / "train.jsonl", ROWS[1:])
    assert open_source(folder, Reading(split="test")).identity == identity
    write(folder / "test.jsonl", ROWS[1:])
    assert open_source(folder, Reading(split="test")).identity != identity


@pytest.mark.parametrize("several", [False, True])
def test_folders_that_were_saved_to_disk(tmp_path, several):
    saved = datasets.Dataset.from_list(ROWS)
    (datasets.DatasetDict(train=saved) if several else saved).save_to_disk(tmp_path / "saved")
    first, again = (open_source(tmp_path / "saved", Reading(marks=True)) for _ in range(2))
    assert list(first.entries) == EXPECTED and first.identity == again.identity


READ_FROM_HUB = """
import json, sys
from tokensal.errors import InputError
from tokensal.run_options import Reading
from tokensal.runs.source import open_source

for name, split in json.load(sys.stdin):
    try:
        opened = open_source(name, Reading(split=split, columns={"prompt": "q"}))
        print(json.dumps([opened.identity, [entry.prompt.prompt for entry in opened.entries]]))
    except InputError as error:
        print(json.dumps([str(error), []]))
"""


@pytest.mark.slow
def test_a_data_set_on_a_hub_is_known_by_its_commit(tmp_path):
    """In a process of its own, because the library reads the hub's address when it is imported."""
    files = {"README.md": b"", "train.jsonl": lines([{"q": "a"}, {"q": "b"}]).encode(), "test.jsonl": b'{"q": "c"}\n'}
    sources = [("me/set", None), (f"me/set@{COMMIT}", "test"), ("me/set", "tes"), ("me/none", None)]
    with serving("me/set", files) as address:
        own = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0", "no_proxy": "127.0.0.1"}
        command = [sys.executable, "-W", "error", "-c", READ_FROM_HUB]
        told = subprocess.run(
            command, input=json.dumps(sources), env=os.environ | own, capture_output=True, text=True, timeout=300
        )
    assert told.returncode == 0, told.stderr
    train, test, slip, none = map(json.loads, told.stdout.splitlines())
    name = {"name": "me/set", "subset": "default", "revision": COMMIT}
    assert train == [{**name, "split": "train"}, ["a", "b"]] and test == [{**name, "split": "test"}, ["c"]]
    assert slip == ["Unknown split 'tes': did you mean 'test'? Known: test, train.", []]
    assert none[0].startswith("Cannot read the data set 'me/none': Dataset 'me/none' doesn't exist on the Hub")


def test_an_iterable_may_hold_texts_chats_pairs_and_prompts():
    chat = [{"role": "user", "content": "Hi"}]
    prompt = Prompt(id="own", prompt="a")
    records = ["text", chat, ("text", " answer"), (chat, " answer"), ["text", " answer"], prompt, {"messages": chat}]
    read = [each.prompt for each in entries(iter(records))]
    assert [each.prompt for each in read] == ["text", None, "text", None, "text", "a", None]
    assert [list(each.messages) for each in read] == [[], chat, [], chat, [], [], chat]
    assert [each.continuation for each in read] == [None, None, " answer", " answer", " answer", None, None]
    assert [each.id for each in read] == ["0", "1", "2", "3", "4", "own", "6"]


def test_chats_of_tables_have_no_nulls_and_those_of_sharegpt_have_roles(tmp_path):
    chat = [{"role": "user", "content": "Hi", "name": None}, {"role": "assistant", "content": "Ho", "name": "x"}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"messages": chat}]), tmp_path / "a.parquet")
    [entry] = entries(tmp_path / "a.parquet")
    assert entry.prompt.messages == ({"role": "user", "content": "Hi"}, chat[1])
    shared = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}, {"from": "system", "value": "x"}]
    [entry] = entries([{"conversations": shared}], columns={"messages": "conversations"})
    assert [each["role"] for each in entry.prompt.messages] == ["user", "assistant", "system"]
    assert [each["content"] for each in entry.prompt.messages] == ["Hi", "Ho", "x"]


# Columns


SQUAD = [
    {"question": "Who?", "context": "Tom {did}.", "answers": {"text": ["Tom", "he"], "start": [0, 4]}, "idx": 3},
    {"question": "What?", "context": "It.", "answers": {"text": [], "start": []}, "idx": 4},
    {"question": None, "context": "It.", "answers": {"text": ["It"], "start": [0]}, "idx": 5},
]


def test_fields_are_read_from_columns_paths_and_texts(tmp_path):
    columns = {
        "prompt": "{{{context}}} {idx}: {question}",
        "answer": " {answers.text.0}",
        "id": "idx",
        "kind": "question",
    }
    write(tmp_path / "a.parquet", SQUAD), write(tmp_path / "a.jsonl", SQUAD)
    first, second, third = entries(SQUAD, columns=columns)
    assert first == Entry(0, "3", Prompt(id="3", kind="Who?", prompt="{Tom {did}.} 3: Who?", continuation=" Tom"))
    assert (second.id, second.prompt, second.error) == (
        "4",
        None,
        "Column 'answers.text' has 0 entries, so none of the number 0.",
    )
    assert (third.id, third.error) == ("5", "Column 'question' is empty, but stands in a text.")
    for name in ("a.parquet", "a.jsonl"):
        assert entries(tmp_path / name, columns=columns) == [first, second, third]
    path = {"prompt": "context", "answer": "answers.text.0"}
    assert [each.prompt and each.prompt.continuation for each in entries(SQUAD, columns=path)] == ["Tom", None, "It"]


def test_a_column_may_have_a_dot_in_its_name():
    [entry] = entries([{"a.b": "dotted", "a": {"b": "nested"}}], columns={"prompt": "{a.b} {a.b}"})
    assert entry.prompt.prompt == "dotted dotted"


def test_a_field_that_is_named_empty_is_not_read():
    assert [each.prompt.continuation for each in entries(ROWS, columns={"answer": ""})] == [None] * 3


def test_a_named_prompt_takes_the_place_of_messages():
    row = {"prompt": "text", "messages": [{"role": "user", "content": "chat"}]}
    assert "both a column 'prompt' and a column 'messages'" in error([row])
    [named], [chat] = entries([row], columns={"prompt": "prompt"}), entries([row], columns={"messages": "messages"})
    assert named.prompt.prompt == "text" and chat.prompt.messages == tuple(row["messages"])
    assert [each.error for each in entries([row, "text"])][1] == ""


def test_a_column_of_nearly_the_name_of_a_field_may_stand_beside_that_field():
    [entry] = entries([{"prompt": "a", "answer": " b", "answer_a": " c", "idx": 1}])
    assert entry.prompt.continuation == " b"
    message = "The column ' Answer' has nearly the name of the field 'answer': say --column answer= Answer to read it"
    assert message in error([{"prompt": "a", " Answer": " b"}])


def test_marks_are_text_unless_they_are_asked_for():
    assert not Reading().marks
    [entry] = entries(["if [[ -f x ]]; a[[b"], marks=False)
    assert entry.prompt.prompt == "if [[ -f x ]]; a[[b" and entry.prompt.gold == ()
    [entry] = entries([{"prompt": "a [[b]]", "gold": [0, 1]}], marks=False)
    assert entry.prompt.gold == (Gold(0, 1),)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"prompt": "qestion"}, "Unknown column 'qestion': did you mean 'question'? Known: answers, context, idx, "),
        ({"prompt": "{question} {contxt}"}, "Unknown column 'contxt': did you mean 'context'?"),
        ({"prompt": "{question}", "answer": "answers.txt.0"}, "Unknown part of column 'answers': 'txt': did you mean "),
        ({"prompt": "{question} {answers}"}, "should be a text or a number: name a part of it, such as 'answers.text'"),
        ({"prompt": "{question} {answers.text}", "answer": ""}, "name a part of it, such as 'answers.text.0'"),
        ({"prompt": "context.x", "answer": ""}, "so it has no part 'x'"),
        ({"prompt": "question", "answer": "answers.text.first"}, "is a list: name an entry of it by its number"),
        ({"prompt": "{question"}, "The column of 'prompt' has a { without the other brace"),
        ({"prompt": "question}"}, "or }} for a brace that is part of the text"),
        ({"prompt": "{}{question}"}, "has a { without the other brace"),
        ({"prompt": "question"}, "say --column answer=answers to read it, or --column answer= to leave it"),
        ({"answer": ""}, "There is no column 'prompt' or 'messages', but 'question', 'context', 'answers', 'idx': name "
         "the one to read, as in --column prompt=question."),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["list", "file", "set"])
def test_wrong_columns_are_told_when_the_source_is_opened(tmp_path, form, columns, message):
    source = {
        "list": lambda: SQUAD,
        "file": lambda: write(tmp_path / "a.parquet", SQUAD),
        "set": lambda: datasets.Dataset.from_list(SQUAD),
    }[form]()
    assert message in error(source, columns=columns)


# Entries with errors


def test_a_bad_line_is_an_entry_with_its_error(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(
        b'{"prompt": "fine"}\n{"prompt": \n\n3\n{"prompt": "\xff"}\n{"prompt": 3, "id": "x"}\n{"prompt": ""}\n'
        b'{"prompt": "\\ud800"}\n{"prompt": "a [[ b"}\n{"answer": "b"}\n["a"]\n'
        b'{"messages": [{"role": "user"}]}\n{"messages": [{"content": "a"}]}\n"text"\n'
        b'{"prompt": "a", "id": "\\ud800"}\n' + b"[" * 10**5 + b"\n" + b'["pair", " b"]'
    )
    read = entries(tmp_path / "a.jsonl")
    assert [each.number for each in read] == list(range(16))
    assert [each.number for each in read if each.prompt] == [0, 12, 15]
    assert read[4].id == "x" and read[13].id == "13"
    for number, message in {
        1: "The line is no JSON (Expecting value): write one record a line",
        2: "A record is 3, but should be a table",
        3: "The line is no JSON ('utf-8' codec",
        4: "Field 'prompt' is 3, but should be a text.",
        5: "Field 'prompt' is empty",
        6: "holds bytes that are no UTF-8 text, or half a character",
        7: "Field 'prompt': a marked passage never ends",
        8: "Give either a field 'prompt' or a field 'messages'",
        9: "A record is ['a']",
        10: "Field 'messages': the prompt is empty",
        11: "should be a table with a role",
        13: "Field 'id'",
        14: "The line is no JSON (maximum recursion depth",
    }.items():
        assert message in read[number].error, read[number]


def test_a_bad_row_of_a_table_is_an_entry_with_its_error(tmp_path):
    (tmp_path / "a.csv").write_bytes(b'prompt,answer\nfine,\na,b,c\n"a"b,c\n\n\xff,d\nlast,e\n"never,f\n')
    read = entries(tmp_path / "a.csv")
    assert [bool(each.prompt) for each in read] == [True, False, False, False, True, False]
    assert read[1].error.startswith("The line has 3 cells, but the first line has 2 names")
    assert read[2].error.startswith("The line is no CSV: ") and read[5].error.startswith("The line is no CSV: ")
    assert "no UTF-8" in read[3].error


def test_messages_that_cannot_be_written_are_an_entry_with_an_error():
    chat = [{"role": "user", "content": "a", "date": np.datetime64("2020-01-01")}]
    [entry, half, fine] = entries([chat, [{"role": "\ud800", "content": "a"}], "fine"])
    assert "A message holds what is no JSON" in entry.error and "half a character" in half.error and fine.prompt


def test_columns_that_a_single_example_lacks_are_its_own_error():
    rows = [{"q": "a", "r": "b"}, {"q": "c"}, {"q": ["d"]}, {"q": "e", 3: "f"}]
    first, second, third, fourth = entries(rows, columns={"prompt": "{q}", "answer": "r"})
    assert first.prompt.continuation == "b" and second.prompt.continuation is None
    assert "should be a text or a number" in third.error and "The name of a column is 3" in fourth.error


def test_an_id_may_occur_twice():
    assert [each.id for each in entries([{"prompt": "a", "id": 1}, {"prompt": "b", "id": "1"}])] == ["1", "1"]


# What cannot be opened


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("none.jsonl", "there is no file 'none.jsonl'"),
        ("none/*.csv", "no file fits the pattern 'none/*.csv'"),
        ("./none", "there is no file './none'"),
        ("no/such", "Cannot read the data set 'no/such'"),
        (1000 * "Who? ", "no file fits the pattern 'Who?"),
        ("a\0b", "there is no file"),
        (3, "The source is 3, but should be a file"),
        ({"prompt": "a"}, "but should be a file, a data set, or a list"),
        (b"a", "but should be a file"),
        (None, "but should be a file"),
        ([], "The source has no examples"),
        (iter(()), "The source has no examples"),
        (datasets.DatasetDict(a=datasets.Dataset.from_list(ROWS)), "Unknown split '': Known: a."),
    ],
)
def test_what_is_no_source(monkeypatch, tmp_path, source, message):
    monkeypatch.chdir(tmp_path)
    assert message in error(source)


def test_files_that_cannot_be_read(tmp_path):
    write(tmp_path / "a.jsonl").rename(tmp_path / "a.parquet")
    assert "Could not read" in error(tmp_path / "a.parquet")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines(ROWS).encode())[:-20])
    assert "Could not read" in error(tmp_path / "a.jsonl.gz")
    (tmp_path / "a.doc").write_text("a")
    assert "ends in .jsonl, .json, .csv, .tsv, .parquet, .txt; or in one of these and .gz" in error(tmp_path / "a.doc")
    (tmp_path / "a.csv").write_text("prompt,prompt\na,b\n")
    assert "Line 1 of a.csv has the name 'prompt' twice" in error(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text('"prompt"x\na\n')
    assert "Line 1 of b.csv is no CSV" in error(tmp_path / "b.csv")
    (tmp_path / "a.txt").write_text("\n")
    assert "no examples" in error(tmp_path / "a.txt")
    (tmp_path / "a.json").write_text("[1, 2")
    assert "Could not read" in error(tmp_path / "a.json")


def test_splits_are_of_data_sets_alone(tmp_path):
    assert "have a split: leave out split" in error(ROWS, split="test")
    assert "have a subset" in error(write(tmp_path / "a.jsonl"), subset="x")
    assert "one split of one configuration" in error(datasets.Dataset.from_list(ROWS), split="test")


def test_a_source_that_fails_in_the_middle_says_so():
    def failing():
        yield from ["a"] * PEEKED
        raise OSError("the wire is cut")

    opened = open_source(failing(), Reading(marks=True)).entries
    assert len(list(islice(opened, PEEKED))) == PEEKED
    with pytest.raises(InputError, match=r"The source cannot be read on: .*the wire is cut"):
        next(opened)


# Laziness, order, identity


def test_a_generator_is_read_a_little_ahead_and_no_further():
    pulled = []

    def generate():
        for number in range(10_000):
            pulled.append(number)
            yield {"prompt": str(number)}

    opened = open_source(generate(), Reading(marks=True))
    assert opened.total is None and len(pulled) == PEEKED
    assert [each.prompt.prompt for each in islice(opened.entries, 20)] == list(map(str, range(20)))
    assert len(pulled) == 20
    assert len(list(open_source(generate(), Reading(limit=3)).entries)) == 3
    assert open_source(["a", "b"], Reading(limit=1)).total == 1


def test_an_example_is_read_only_when_it_is_needed_and_elsewhere():
    raw_entries = list(open_source(["fine", "a [[ b"], Reading(marks=True)).raw_entries)
    first, second = pickle.loads(pickle.dumps(raw_entries))
    assert first.read() == Entry(0, "0", Prompt(id="0", prompt="fine")) and "never ends" in second.read().error


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_memory_does_not_grow_with_the_number_of_examples(tmp_path, name):
    for count in (1, 10_000):  # the first one imports
        path = write(tmp_path / name, [{"prompt": f"{number} " + 1000 * "x"} for number in range(count)])
        tracemalloc.start()
        opened = open_source(path, Reading(marks=True))
        for raw in opened.raw_entries:
            assert raw.number % 100 or raw.read().prompt is not None
        assert raw.number + 1 == opened.total == count
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 1_000_000, "a tenth of the texts"


def test_numbers_are_the_same_whenever_a_source_is_read(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"prompt": str(number)} for number in range(50)])
    (tmp_path / "a.jsonl").write_text("\n{bad\n" + path.read_text())
    limited, every = entries(path, limit=20), entries(path)
    assert limited == every[:20] and every[0].error and every[1].prompt.prompt == "0"
    assert open_source(path, Reading(limit=20)).total == 20 and open_source(path, Reading(marks=True)).total == 51


def test_another_content_is_another_source(tmp_path):
    def identities(rows):
        files = [write(tmp_path / name, rows) for name in ("a.jsonl", "a.parquet")]
        stream = datasets.Dataset.from_list(rows).to_iterable_dataset()
        sources = [*files, pandas.DataFrame(rows), datasets.Dataset.from_list(rows), rows, iter(rows), stream]
        return [json.dumps(open_source(source, Reading(marks=True)).identity) for source in sources]

    first, again, other = identities(ROWS), identities(ROWS), identities(ROWS[::-1])
    assert first == again
    assert [one == another for one, another in zip(first, other, strict=True)] == [False] * 4 + [True] * 3
