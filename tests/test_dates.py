"""The embedded model `dates`: a trained model with a known alignment, its texts, and what methods return for it."""

from __future__ import annotations

import logging
import random
import re
import sys
from pathlib import Path
from statistics import fmean

import pytest
import torch

import tokensal
from tokensal import IntegratedGradients, Occlusion, load
from tokensal.adapters import Seq2SeqAdapter, embedded
from tokensal.errors import InputError, ModelError
from tokensal.evaluation.suites import suite, written_dates
from tokensal.evaluation.suites.written_dates import PARTS, held_out, swapped

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
import dates
import train_dates

ROOT = Path(__file__).resolve().parent.parent
PROMPT = "the 3rd of March, 1987"


@pytest.fixture(scope="module")
def model():
    return load("dates", device="cpu")


# The texts


@pytest.fixture(scope="module")
def texts():
    return held_out(500)


def part_text(written, part):
    start, stop = written.spans[part]
    return written.text[start:stop]


def test_the_evidence_is_remembered(texts):
    for written in texts:
        year, month, day = (part_text(written, part) for part in PARTS)
        assert year == str(written.date.year)
        assert re.match(r"\d+", day)[0].lstrip("0") == str(written.date.day)
        assert month.lower()[:3] == f"{written.date:%b}".lower() or int(month) == written.date.month


@pytest.mark.parametrize("part", PARTS)
def test_a_swap_alters_one_part_and_nothing_else(texts, part):
    rng = random.Random(0)
    for written in texts:
        other = swapped(written, part, rng)
        differing = [name for name in PARTS if getattr(other.date, name) != getattr(written.date, name)]
        assert differing == [part]
        start, stop = written.spans[part]
        assert other.text == written.text[:start] + part_text(other, part) + written.text[stop:]


def test_every_form_is_drawn_and_repeated_numbers_are_ambiguous(texts):
    assert {written.wording.form for written in texts} == set(written_dates.FORMS)
    assert 0 < sum(written.ambiguous for written in texts) < len(texts) / 4
    date = texts[0].date.replace(month=4, day=4)
    for form, ambiguous in (
        ("{day}.{number}.{year}", True),
        ("{dd}/{mm}/{year}", True),
        ("{nth} {month} {year}", False),
    ):
        assert written_dates.write(date, written_dates.Wording(form, "{date}", "")).ambiguous is ambiguous


def test_held_out_days_are_never_trained_on_and_always_the_same():
    training_days, held_out_days = map(set, written_dates.days())
    assert not training_days & held_out_days
    assert len(held_out_days) == pytest.approx(len(training_days | held_out_days) / 10, rel=1e-3)
    assert {written.date for written in held_out(300)} <= held_out_days
    assert held_out(20) == held_out(20) != held_out(20, seed=1)


# Training, and what it wrote


@pytest.mark.slow
def test_training_learns_and_a_seed_repeats_it(capsys):
    coder = train_dates.tokenizer()

    def trained():
        torch.manual_seed(0)
        network = train_dates.untrained(len(coder))
        train_dates.train(network, coder, steps=3, seed=0)
        return network.state_dict()

    first, second = trained(), trained()
    assert all(first[name].equal(second[name]) for name in first)
    torch.manual_seed(0)
    fresh = train_dates.untrained(len(coder)).state_dict()
    assert not any(first[name].equal(fresh[name]) for name in first if "SelfAttention.q" in name)
    assert "step 3: loss" in capsys.readouterr().out


def test_the_weights_are_small_and_fit_the_script(model):
    assert (embedded.DATES_FOLDER / "model.safetensors").stat().st_size < 3e6
    coder = train_dates.tokenizer()
    assert model.tokenizer.backend_tokenizer.get_vocab() == coder.get_vocab()
    expected = train_dates.untrained(len(coder)).state_dict()
    assert {name: weights.shape for name, weights in model.model.state_dict().items()} == {
        name: weights.shape for name, weights in expected.items()
    }
    assert {weights.dtype for weights in expected.values()} == {torch.float32} == {model.model.dtype}


@pytest.mark.parametrize("text", [PROMPT, "  Märzen\t3,\n1850 🙂 東京 it's the 300th (of May)!", "3.4.1987 "])
def test_any_text_is_shown_as_it_was_written(model, text):
    example = model.example(text, continuation="1987-03-03")
    *read, end = example.sources[: example.encoder]
    assert "".join(token.text for token in read) == text
    assert end.text == "</s>" and end.special
    assert "".join(token.text for token in example.targets) == "1987-03-03" and len(example.targets) == 5


def test_each_part_is_one_token_of_the_text_and_one_of_the_answer(model, texts):
    for written in texts[:100]:
        result = model.example(written.text, continuation=written.iso)
        assert "".join(token.text for token in result.sources[: result.encoder - 1]) == written.text
        assert [token.text for token in result.targets] == re.split(r"(-)", written.iso)
        for part in PARTS:
            start, stop = written.spans[part]
            [token] = [source for source in result.sources if source.start < stop and source.stop > start]
            assert token.text.strip() == part_text(written, part)


@pytest.mark.slow
def test_it_reads_dates_that_it_was_not_trained_on(model):
    written = held_out(1000, seed=2)
    answers = train_dates.readings(model.model, model.tokenizer, written)
    assert fmean(text == date.iso for text, date in zip(answers, written, strict=True)) >= 0.95


def test_days_or_months_come_first_as_the_mark_between_them_says(model):
    texts = {"3.4.1987": "1987-04-03", "3/4/1987": "1987-03-04", "1987/3/4": "1987-03-04", PROMPT: "1987-03-03"}
    for text, expected in texts.items():
        assert "".join(token.text for token in model.example(text).targets) == f"{expected}</s>"


# Its name


def test_it_is_named_and_its_revision_says_which_weights(model):
    assert isinstance(model, Seq2SeqAdapter)
    result = tokensal.attribute(model, PROMPT)
    assert result.provenance.model == "dates"
    assert re.fullmatch(r"dates-[0-9a-f]{12}", result.provenance.revision)


def test_a_revision_is_refused():
    with pytest.raises(InputError, match="has no revision 'main'"):
        load("dates", revision="main")


def test_a_folder_of_that_name_needs_a_path_and_is_pointed_out(model, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dates").mkdir()
    load("dates")
    assert not caplog.text  # a folder of something else
    (tmp_path / "dates" / "config.json").write_text("{}")
    with caplog.at_level(logging.WARNING, logger="tokensal"):
        assert load("dates").revision == model.revision
    assert "'./dates'" in caplog.text
    for path in ("./dates", Path("dates")):
        with pytest.raises(ModelError, match="Could not load"):
            load(path)


# What methods return for it


@pytest.fixture(scope="module")
def sample(model):
    [sample] = suite("dates", model, 36, seed=3)
    return sample


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", [Occlusion(), IntegratedGradients(keep=dates.KEPT)], ids=["occlusion", "integrated_gradients"]
)
def test_year_month_and_day_point_at_their_words(model, sample, method):
    assert len(sample.prompts) == 36 and sample.acceptance > 0.7
    readings = [dates.read(model, method, prompt) for prompt in sample.prompts]
    assert fmean(fmean(reading.hits[dates.AS_IS]) for reading in readings) >= 0.95
    assert all(reading.diagnostics["convergence_delta"].reached.all() for reading in readings if reading.diagnostics)


def test_the_table_of_the_benchmarks_has_a_row_for_every_method():
    text = (ROOT / "tests" / "benchmarks" / "README.md").read_text()
    [table] = re.findall(r"<!-- localisation -->\n(.*?)\n<!-- end -->", text, re.DOTALL)
    rows = re.findall(r"^\| `(\w+)`[ *]*\|", table, re.MULTILINE)
    assert set(rows) == set(tokensal.METHODS) - {"shapley_values"} and len(rows) == len(set(rows))
