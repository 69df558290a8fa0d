"""Tables: one line for each visible pair, as pandas, CSV and Parquet have it, and whatever the tokens say."""

from __future__ import annotations

import builtins
import csv
import io
import json
import math
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_layout import attribution_of

import tokensal
from tokensal import Attribution, Comparison
from tokensal.errors import InputError
from tokensal.render import check_output, encode, load
from tokensal.render.layout import lay_out
from tokensal.results.columns import COLUMNS
from tokensal.types import Diagnostic, Role

GOLDEN = Path(__file__).parent / "golden"
NAN = math.nan
TEXTS, SCORES = ["The", " cat", " sat", " on"], [[9.0, -2.0, NAN], [5.0, 1.0, -4.0]]
NAMES = [column.name for column in COLUMNS]


@pytest.fixture(scope="module")
def result():
    return attribution_of(TEXTS, SCORES)


def read_csv(data, **options):
    """As the documentation of `save` says."""
    missing = {"standard_error": [""], "source_message": [""]}
    return pandas.read_csv(io.BytesIO(data), keep_default_na=False, na_values=missing, **options)


def read_parquet(data):
    return pandas.read_parquet(io.BytesIO(data))


def test_a_line_for_each_visible_pair(result):
    frame = result.to_pandas()
    pairs = [
        (target, source) for target, row in enumerate(SCORES) for source, score in enumerate(row) if score == score
    ]
    assert list(zip(frame["target"], frame["source"], strict=True)) == pairs and list(frame.columns) == NAMES
    for line in frame.itertuples():
        source, target = result.sources[line.source], result.targets[line.target]
        assert line.score == SCORES[line.target][line.source] and line.value == result.values[line.target]
        assert (line.source_text, line.source_role, line.source_start, line.source_stop) == (
            source.text, source.role.value, source.start, source.stop,
        )  # fmt: skip
        assert (line.target_text, line.target_start, line.target_stop) == (target.text, target.start, target.stop)
        assert line.sink == (line.source == 0) and not line.special and not line.encoder
        assert line.method == "x" and line.explained == "logprob" and line.credit == "direct" and line.against == ""
    assert frame["standard_error"].isna().all() and frame["source_message"].isna().all()
    assert frame.pivot(index="target", columns="source", values="score").isna().to_numpy().sum() == 1


def test_the_types_of_the_columns_are_those_that_are_documented(result):
    frame = result.to_pandas()
    for column in COLUMNS:
        expected = pandas.Series(["a"]).dtype if column.dtype == "str" else column.dtype
        assert frame[column.name].dtype == expected, column.name
        pattern = rf"\n +{column.name} +{column.dtype} +{column.meaning.split()[0]}"
        assert len(re.findall(pattern, Attribution.to_pandas.__doc__)) == 1
    assert list(Attribution.load(GOLDEN / "encoder_decoder.v2.json").to_pandas().dtypes) == list(frame.dtypes)


def test_shares_are_of_all_but_the_sink_and_their_mean_is_that_of_the_heatmap(result):
    frame = result.to_pandas()
    assert frame["share"].tolist() == pytest.approx([9 / 11, -1, 5 / 10, 1 / 5, -4 / 5])
    shares = result.shares
    assert shares.isnan().equal(~result.visible) and shares.dtype == torch.float32
    means = shares.nansum(0) / len(result)
    drawn = [cell.value / 100 for cell in lay_out(result).overview.cells]
    assert means.tolist() == pytest.approx(drawn, rel=1e-6)
    zeros = attribution_of(TEXTS, [[0.0, 0.0, NAN], [5.0, 0.0, 0.0]])
    assert zeros.to_pandas()["share"].tolist() == [0.0, 0.0, 1.0, 0.0, 0.0]
    assert attribution_of(TEXTS, SCORES, sink=None).shares[1].tolist() == pytest.approx([0.5, 0.1, -0.4])


def test_a_comparison_has_the_lines_of_each_method(result):
    other = replace(result, scores=-result.scores, provenance=replace(result.provenance, method="y"))
    frame = Comparison((result, other)).to_pandas()
    assert frame["attribution"].tolist() == [0] * 5 + [1] * 5 and frame["method"].tolist() == ["x"] * 5 + ["y"] * 5
    assert (frame["score"][:5].to_numpy() == -frame["score"][5:].to_numpy()).all()
    pandas.testing.assert_frame_equal(frame[:5], result.to_pandas())


def test_what_a_method_knows_of_its_error_and_a_chat_of_its_messages(result):
    errors = torch.tensor([[0.5, 0.25, NAN], [NAN, 2.0, 1.0]])
    message = replace(result.sources[1], message=3, role=Role.USER, special=True)
    odd = replace(
        result,
        sources=(result.sources[0], message, result.sources[2]),
        diagnostics={"standard_error": Diagnostic(errors)},
        encoder=2,
    )
    frame = odd.to_pandas()
    assert frame["standard_error"].tolist() == pytest.approx([0.5, 0.25, NAN, 2.0, 1.0], nan_ok=True)
    assert frame["source_message"].to_list() == [pandas.NA, 3, pandas.NA, 3, pandas.NA]
    assert frame["source_role"].tolist() == ["prompt", "user", "prompt", "user", "generated"]
    assert frame["special"].tolist() == [False, True] * 2 + [False]
    assert frame["encoder"].tolist() == [True, True, True, True, False]
    pandas.testing.assert_frame_equal(read_parquet(encode(odd, "r.parquet")), frame)
    assert read_csv(encode(odd, "r.csv"), dtype={"source_message": "Int64"})["source_message"].equals(
        frame["source_message"]
    )


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.glob("*.json")))
def test_parquet_and_csv_say_what_pandas_does(name, tmp_path):
    stored = load(GOLDEN / name)
    frame = stored.to_pandas()
    stored.save(tmp_path / "r.parquet")
    stored.save(tmp_path / "r.csv")
    pandas.testing.assert_frame_equal(pandas.read_parquet(tmp_path / "r.parquet"), frame)
    dtypes = {column.name: column.dtype for column in COLUMNS}
    pandas.testing.assert_frame_equal(read_csv((tmp_path / "r.csv").read_bytes(), dtype=dtypes), frame)
    for suffix in ("r.csv", "r.parquet"):
        assert encode(stored, suffix) == encode(load(GOLDEN / name), suffix) == (tmp_path / suffix).read_bytes()


def test_a_parquet_file_tells_where_its_numbers_came_from(result):
    comparison = Comparison.load(GOLDEN / "comparison.v3.json")
    schema = pyarrow.parquet.read_schema(io.BytesIO(encode(comparison, "r.parquet")))
    told = json.loads(schema.metadata[b"tokensal"])
    document = json.loads((GOLDEN / "comparison.v3.json").read_text("utf-8"))
    assert (told["schema"], told["version"]) == ("tokensal/table", 1)
    assert told["text"] == document["attributions"][0]["text"]
    assert [each["provenance"] for each in told["attributions"]] == [
        each["provenance"] for each in document["attributions"]
    ]
    assert {field.name: field.metadata[b"description"].decode() for field in schema} == {
        column.name: column.meaning for column in COLUMNS
    }


def test_datasets_read_both(result, tmp_path):
    datasets = pytest.importorskip("datasets")
    for format in ("parquet", "csv"):
        result.save(tmp_path / f"r.{format}")
        options = {"data_files": str(tmp_path / f"r.{format}"), "cache_dir": str(tmp_path), "split": "train"}
        table = datasets.load_dataset(format, **options)
        assert table["source_text"][:] == result.to_pandas()["source_text"].tolist()
        assert table["score"][:] == result.to_pandas()["score"].tolist()


# Texts


HOSTILE = [
    "=cmd|'/c calc'!A1",
    "+1",
    "-1",
    "@x",
    "a,b;c\td",
    'say "no"',
    "a\nb",
    "a\r\nb",
    "\r",
    "null",
    "NaN",
    "NA",
    "",
]
HOSTILE += [
    "\x00",
    "\ufeff",
    "\u2028",
    "\x85",
    "\ud800",
    "a\udfffb",
    "🙂",
    "\u202e",
    "True",
    "1e5",
    " ",
    "'",
    "\\",
    "\x1a",
]
texts = st.text(st.characters(), max_size=8) | st.sampled_from(HOSTILE)


def as_stored(text):
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def assert_says(stored, sources, targets):
    assert list(stored["source_text"]) == [sources[0], sources[1], *sources]
    assert list(stored["target_text"]) == [targets[0], targets[0], *[targets[1]] * 3]


@pytest.mark.parametrize("text", HOSTILE)
def test_every_text_is_what_the_result_says(text):
    check_texts([text] * 4, text)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(texts, min_size=4, max_size=4), texts)
def test_any_text_is_what_the_result_says(words, model):
    check_texts(words, model)


def check_texts(words, model):
    result = attribution_of(words, SCORES)
    result = replace(result, provenance=replace(result.provenance, model=model, method_repr=model))
    sources, targets = [as_stored(word) for word in words[:3]], [as_stored(word) for word in words[2:]]
    frame, parquet, comma = result.to_pandas(), encode(result, "r.parquet"), encode(result, "r.csv")
    assert_says(frame, sources, targets)
    assert_says(read_parquet(parquet), sources, targets)
    comma.decode()
    lines = list(csv.DictReader(io.StringIO(comma.decode(), newline="")))
    assert_says({name: [line[name] for line in lines] for name in NAMES}, sources, targets)
    assert {line["model"] for line in lines} == {as_stored(model)}
    if "\0" not in "".join([*words, model]):  # where its parser ends a text
        read = read_csv(comma, dtype=dict.fromkeys(("source_text", "target_text"), str))
        assert_says(read, sources, targets)
    told = json.loads(pyarrow.parquet.read_schema(io.BytesIO(parquet)).metadata[b"tokensal"])
    assert told["text"] == as_stored("".join(words))


def test_numbers_are_read_back_to_the_last_bit():
    scores = torch.randn(2, 3).pow(9) * torch.tensor([1e-30, 1.0, 1e30])
    result = attribution_of(TEXTS, scores.tolist())
    for read in (
        read_csv(encode(result, "r.csv"), dtype={"score": "float64"}),
        read_parquet(encode(result, "r.parquet")),
    ):
        assert np.array_equal(read["score"].to_numpy().astype(np.float32), result.scores.flatten().numpy())
    assert b"nan" not in encode(result, "r.csv") and b"inf" not in encode(result, "r.csv")


# Where packages are missing


@pytest.mark.parametrize(
    ("missing", "suffix", "extra"),
    [("pandas", "parquet", "data"), ("pyarrow", "parquet", "data"), ("matplotlib", "pdf", "figures"),
     ("matplotlib", "png", "figures"), ("matplotlib", "svg", "figures")],
)  # fmt: skip
def test_a_missing_package_is_told_before_any_work(monkeypatch, tmp_path, result, missing, suffix, extra):
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.split(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)
        return real(name, *arguments, **keywords)

    for name in [
        name for name in sys.modules if name.startswith(("tokensal.render.parquet", "tokensal.render.vector"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    sentence = rf"needs the package '{missing}', .*pip install 'tokensal\[{extra}\]'"
    with pytest.raises(InputError, match=sentence):
        check_output(tmp_path / f"r.{suffix}")
    if missing == "pandas":
        for call in (result.to_pandas, result[0].to_pandas):
            with pytest.raises(InputError, match=sentence):
                call()
    result.save(tmp_path / "r.csv")  # needs none of them
    assert (tmp_path / "r.csv").read_bytes().count(b"\n") == 6


def test_the_command_line_writes_them(tmp_path, monkeypatch, capsysbinary):
    from tokensal.cli import app

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["tokensal", "render", str(GOLDEN / "comparison.v3.json"), *arguments])
        with pytest.raises(SystemExit) as ended:
            app.main()
        assert not ended.value.code
        return capsysbinary.readouterr()

    comparison = tokensal.Comparison.load(GOLDEN / "comparison.v3.json")
    run("-o", str(tmp_path / "r.csv"), "-o", str(tmp_path / "r.parquet"))
    assert (tmp_path / "r.csv").read_bytes() == encode(comparison, "r.csv")
    assert (tmp_path / "r.parquet").read_bytes() == encode(comparison, "r.parquet")
    assert run("-o", "-", "--format", "csv").out == encode(comparison, "r.csv")
