"""A data set becomes a folder of rows, and the rows become attributions again."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import datasets
import numpy as np
import pandas
import pyarrow.parquet
import pytest
from builders import tiny
from runs_by_hand import RECORDS, Recency, parts

import tokensal
from tokensal import Attribution, Comparison, Occlusion
from tokensal.errors import FormatError, InputError, OutputError
from tokensal.evaluation.prompts.prompt import Prompt
from tokensal.render.json import read as load
from tokensal.run_options import Shard
from tokensal.runs.folder import digest_of
from tokensal.runs.rows import COLUMNS, OF_UNIT, attribution_of, error_row, row_of
from tokensal.runs.source import Entry

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def dates():
    return tokensal.load("dates")


@pytest.fixture(scope="module")
def run(dates, tmp_path_factory):
    """Five examples in parts of two, one of which one method cannot explain."""
    records = [*RECORDS[:4], {"id": "bad", "prompt": "fail", "answer": "1"}]
    methods = [Occlusion(), Recency()]
    return tokensal.run(dates, records, tmp_path_factory.mktemp("run"), methods=methods, part_size=2, targets="output")


def test_rows_are_what_attribute_returns(run, dates):
    assert [row["number"] for row in run.rows()] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert [row["method"] for row in run.rows()] == ["occlusion", "recency"] * 5
    for number in (0, 3):
        prompt = RECORDS[number]["prompt"]
        expected = tokensal.attribute(dates, prompt, method="occlusion", targets="output")
        stored = run.example(RECORDS[number]["id"], method="occlusion")
        assert stored.scores.numpy().tobytes() == expected.scores.numpy().tobytes()
        assert stored.sources == expected.sources and stored.targets == expected.targets
        assert stored.values.equal(expected.values) and stored.visible.equal(expected.visible)
        assert stored == expected


CHAT = {"messages": [{"role": "system", "content": "The dog"}, {"role": "user", "content": "The cat sat on"}]}


@pytest.mark.parametrize(("name", "prompt"), [("Llama", CHAT), ("T5", {"prompt": "The cat sat on"})])
def test_every_field_of_an_attribution_comes_back(name, prompt, tmp_path):
    """Diagnostics, alternatives, messages, a contrast, and what an encoder reads."""
    explained = {"alternatives": 2, "contrast": " mat"}
    answered = {**prompt, "answer": " log"}
    run = tokensal.run(tiny(name), [answered], tmp_path, methods=["integrated_gradients"], **explained)
    expected = tokensal.attribute(tiny(name), **prompt, continuation=" log", method="integrated_gradients", **explained)
    [stored] = run
    assert stored == expected
    assert stored.diagnostics and stored.alternatives and stored.targets[0].against == " mat"
    assert (stored.encoder > 0) == (name == "T5")
    assert {source.message for source in stored.sources} == ({None} if name == "T5" else {None, 0, 1})


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.v3.json")), ids=lambda path: path.name)
def test_what_json_stores_a_row_stores(path, tmp_path):
    from tokensal.runs.parquet import encoded, read_rows

    result = load(path)
    attributions = result.attributions if isinstance(result, Comparison) else [result]
    entry = Entry(0, "a", None)
    (tmp_path / "rows.parquet").write_bytes(encoded(row_of(entry, "m", each) for each in attributions))
    again = [attribution_of(row) for row in read_rows(tmp_path / "rows.parquet")]
    devices = [replace(each, provenance=replace(each.provenance, device="cpu")) for each in attributions]
    assert again == devices and devices


def test_halves_of_characters_become_what_a_file_can_hold():
    from tokensal.runs.parquet import encoded

    result = load(GOLDEN / "diagnostics.v3.json")
    unit = replace(result.sources[0], text="\ud800", fillers=("\udfff",))
    broken = replace(result, text="\ud800" + result.text[1:], sources=(unit, *result.sources[1:]))
    prompt = Prompt(id="\ud800", prompt="a \udc00")
    entry = Entry(0, "\ud800", prompt)
    assert encoded([row_of(entry, "m", broken), error_row(entry, "m", "\ud800")])
    assert attribution_of(row_of(entry, "m", broken)).sources[0].text == "\ufffd"


def test_a_row_says_what_its_columns_hold(run):
    schema = pyarrow.parquet.read_schema(next((run.path / "parts").iterdir()))
    assert json.loads(schema.metadata[b"tokensal"]) == {"schema": "tokensal/rows", "version": 1}
    assert schema.names == [column.name for column in COLUMNS]
    for column in COLUMNS:
        assert schema.field(column.name).metadata[b"description"].decode() == column.meaning
    unit = schema.field("sources").type.value_type
    assert [(field.name, field.metadata[b"description"].decode()) for field in unit] == [
        (column.name, column.meaning) for column in OF_UNIT
    ]


def test_a_row_has_no_time_and_no_name_of_a_machine(run):
    """Seconds stand in the log, and are joined when the rows are read."""
    rows = [row for row in run.rows() if row["error"] is None]
    assert all(json.loads(row["provenance"])["seconds"] == 0 for row in rows)
    assert all(
        attribution.provenance.seconds > 0 for attribution in run if attribution.provenance.method == "occlusion"
    )
    shutil.copytree(run.path, copy := run.path.parent / "without-log")
    shutil.rmtree(copy / "log")
    assert all(attribution.provenance.seconds == 0 for attribution in tokensal.load_run(copy))


def test_a_run_is_a_collection_of_attributions(run):
    loaded = tokensal.load_run(run.path)
    assert len(loaded) == len(list(loaded)) == 9 and loaded.methods == ("occlusion", "recency")
    assert repr(loaded) == f"Run({str(run.path)!r}: 5 examples × 2 methods, 1 error)"
    assert all(isinstance(each, Attribution) for each in loaded)
    both = loaded.example("date 5")
    assert isinstance(both, Comparison) and both.methods == ("occlusion", "recency")
    assert isinstance(loaded.example("date 5", "recency"), Attribution)
    assert loaded.example("bad").provenance.method == "occlusion"  # the other one failed
    with pytest.raises(InputError, match="no scores: ValueError: the text says so"):
        loaded.example("bad", "recency")
    with pytest.raises(InputError, match="no example 'date 55': name one that it has, such as 'date 5'"):
        loaded.example("date 55")
    with pytest.raises(InputError, match="Unknown method of this run: 'recencyy': did you mean 'recency'"):
        loaded.example("date 5", "recencyy")
    with pytest.raises(InputError, match="Unknown column of rows: 'eror': did you mean 'error'"):
        loaded.rows(["eror"])


def test_pandas_reads_it(run):
    table = run.to_pandas()
    first = run.example("date 4", "occlusion").to_pandas()
    lines = table[(table["id"] == "date 4") & (table["method"] == "occlusion")].drop(columns=["number", "id"])
    pandas.testing.assert_frame_equal(lines.reset_index(drop=True), first)
    assert set(table["attribution"]) == {0, 1} and set(table["number"]) == {0, 1, 2, 3, 4}
    rows = pandas.read_parquet(run.path / "parts")
    assert list(rows["id"]) == [row["id"] for row in run.rows(["id"])]
    [scores] = rows[(rows["id"] == "date 4") & (rows["method"] == "occlusion")]["scores"]
    assert np.array_equal(scores, run.example("date 4", "occlusion").scores.flatten().numpy(), equal_nan=True)


def test_a_run_without_scores_has_an_empty_table(dates, tmp_path):
    with pytest.raises(InputError, match="No example could be explained"):
        tokensal.run(dates, [{"prompt": "fail", "answer": "1"}], tmp_path, methods=[Recency()])
    table = tokensal.load_run(tmp_path).to_pandas()
    assert len(table) == 0 and {"number", "id", "score"} < set(table.columns)


@pytest.mark.slow
def test_datasets_reads_it(run, tmp_path):
    """The folder itself, whose README says where the rows are, and the parts."""
    files = {"data_files": str(run.path / "parts" / "*.parquet")}
    for name, options in ((str(run.path), {}), ("parquet", files)):
        loaded = datasets.load_dataset(name, split="train", cache_dir=str(tmp_path), **options)
        assert loaded["id"] == [row["id"] for row in run.rows(["id"])]
        assert loaded.column_names == [column.name for column in COLUMNS]
        expected = next(run.rows())
        assert np.array_equal(loaded[0]["scores"], expected["scores"], equal_nan=True)
        assert loaded[0]["sources"] == expected["sources"]
    streamed = next(iter(datasets.load_dataset(str(run.path), split="train", streaming=True)))
    assert streamed["id"] == "date 4"


def test_pyarrow_reads_it_as_one_table(run):
    table = run.dataset().to_table(columns=["id", "method"])
    assert table.to_pylist() == [{"id": row["id"], "method": row["method"]} for row in run.rows()]


@pytest.mark.parametrize(("size", "files"), [(1, 5), (2, 3), (5, 1), (16, 1)])
def test_the_size_of_parts_changes_no_row(run, dates, size, files, tmp_path):
    records = [*RECORDS[:4], {"id": "bad", "prompt": "fail", "answer": "1"}]
    other = tokensal.run(
        dates, records, tmp_path, methods=[Occlusion(), Recency()], part_size=size, targets="output", progress=False
    )
    assert len(parts(tmp_path)) == files
    assert str(list(other.rows())) == str(list(run.rows()))


def test_progress_counts_examples(dates, tmp_path):
    seen = []
    for _ in range(2):
        tokensal.run(
            dates, RECORDS[:5], tmp_path, methods=[Recency()], part_size=2, progress=lambda *each: seen.append(each)
        )
    assert seen == [(number, 5) for number in (1, 2, 3, 4, 5)] * 2
    seen.clear()
    tokensal.run(
        dates,
        RECORDS[:5],
        tmp_path / "share",
        methods=[Recency()],
        part_size=2,
        shard="0/2",
        progress=lambda *each: seen.append(each),
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]  # parts 0 and 2 hold examples 0, 1 and 4


@pytest.mark.parametrize(("total", "size", "shards"), [(0, 2, 3), (5, 2, 2), (7, 3, 4), (16, 16, 1), (33, 4, 5)])
def test_shares_are_a_division(total, size, shards):
    examples = [sum(number // size % shards == shard for number in range(total)) for shard in range(shards)]
    assert [Shard(shard, shards).share(total, size) for shard in range(shards)] == examples


def test_settings_have_a_digest(run):
    settings = json.loads((run.path / "run.json").read_text())
    digest = settings.pop("digest")
    assert digest == digest_of(settings) and len(digest) == 64
    assert digest != digest_of({**settings, "part_size": 3})


def test_it_is_uploaded_as_a_data_set(run, monkeypatch):
    """At the boundary to the hub: what is uploaded, and where; the log, with names of machines, is not."""
    import huggingface_hub

    calls = []
    monkeypatch.setattr(
        huggingface_hub.HfApi,
        "create_repo",
        lambda api, repo_id, **options: (
            calls.append((api.token, repo_id, options))
            or huggingface_hub.RepoUrl(f"https://huggingface.co/datasets/me/{repo_id}")
        ),
    )
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", lambda api, **options: calls.append(options))
    assert run.push_to_hub("maps", private=True, token="secret") == "https://huggingface.co/datasets/me/maps"
    [(token, name, created), uploaded] = calls
    assert (token, name) == ("secret", "maps")
    assert created == {"repo_type": "dataset", "private": True, "exist_ok": True}
    assert uploaded["repo_id"] == "me/maps" and uploaded["repo_type"] == "dataset"
    names = [str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()]
    kept = list(huggingface_hub.utils.filter_repo_objects(names, allow_patterns=uploaded["allow_patterns"]))
    assert sorted(kept) == ["README.md", *(f"parts/part-0000000{number}.parquet" for number in range(3)), "run.json"]


def test_a_hub_that_cannot_be_reached_is_told(run):
    with pytest.raises(OutputError, match=r"Cannot upload '.*' to 'maps': .*\. Log in by `hf auth login`"):
        run.push_to_hub("maps")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "No such file"),
        ("{", "Expecting"),
        ("[]", "not those of a run"),
        ('{"schema": "x"}', "not those of a run"),
    ],
)
def test_a_folder_of_something_else_is_no_run(content, sentence, tmp_path):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(FormatError, match=rf"is no folder of a run \(.*{sentence}.*\): name one"):
        tokensal.load_run(tmp_path)


def test_without_pyarrow_one_sentence_tells_the_remedy(run, dates, monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name.split(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "tokensal.runs.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"needs the package 'pyarrow'.*pip install 'tokensal\[data\]'"):
        tokensal.run(dates, RECORDS, tmp_path / "new", methods=[Recency()])
    assert not (tmp_path / "new").exists()
    for read in (run.dataset, run.to_pandas, lambda: list(run), lambda: run.example("date 4")):
        with pytest.raises(InputError, match="pyarrow"):
            read()
    assert import_module("tokensal").run is tokensal.run  # names are there without it
