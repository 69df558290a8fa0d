"""Summaries of runs: shares against closed forms, intervals against those of the statistics, every format the same."""

from __future__ import annotations

import csv
import io
import math
import re
import tracemalloc
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch
from evaluations import HOSTILE
from summaries_by_hand import NAN, ONE, OTHER, attribution, hostile, summary, written

import tokensal
from tokensal import Comparison, Summary
from tokensal.errors import FormatError, InputError, OutputError
from tokensal.render import encode
from tokensal.render.layout import lay_out_summary
from tokensal.render.terminal import draw_summary
from tokensal.render.terminal.summary import bar
from tokensal.results.resampling import Tally
from tokensal.results.statistics import mean_of
from tokensal.runs.breaking_down import bins, classes_of, named
from tokensal.runs.summary import TEXTS, TopTexts
from tokensal.types import Role, Unit


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three examples, of which method two fails on the last; the second has larger scores, of the same shares."""
    one, other = attribution(ONE), attribution(OTHER, "two", seconds=2.0)
    larger = replace(one, scores=one.scores * 3)
    out = tmp_path_factory.mktemp("run") / "out"
    return written(out, [{"one": one, "two": other}, {"one": larger, "two": other}, {"one": one, "two": "No room."}])


@pytest.fixture(scope="module")
def summed(folder):
    return tokensal.summarize(folder)


def rounded(shares):
    return {name: round(share, 6) for name, share in shares.items()}


# Shares: of method one, target a has The 1/4, 42 1/2, "," 1/4, and target b has 42 1/4, a 3/4; the sink is left out.


def test_shares_by_role(summed):
    assert rounded(summed.shares("role", "one")) == {"prompt": 0.625, "generated": 0.375}
    # target a: The 1/2, 42 1/4, "," 1/4; target b: 1/10, 1/10, 4/10, and a 4/10
    assert rounded(summed.shares("role", "two")) == {"prompt": 0.8, "generated": 0.2}
    assert rounded(summed.shares("role")) == {
        "prompt": 0.875,
        "generated": 0.125,
    }  # b has four sources, a none of these


def test_shares_by_class(summed):
    assert rounded(summed.shares("class", "one")) == {
        "words": 0.5, "digits": 0.375, "punctuation": 0.125,
    }  # fmt: skip
    assert rounded(summed.shares("class")) == {
        "words": round((1 / 3 + 2 / 4) / 2, 6), "digits": round((1 / 3 + 1 / 4) / 2, 6),
        "punctuation": round((1 / 3 + 1 / 4) / 2, 6),
    }  # fmt: skip


def test_shares_by_distance(summed):
    # a: "," is 1 before it, 42 is 2, The is 3; b: a is 1, "," 2, 42 3, The 4
    assert rounded(summed.shares("distance", "one")) == {
        "1": (0.25 + 0.75) / 2, "2": (0.5 + 0) / 2, "3–4": (0.25 + 0.25) / 2,
    }  # fmt: skip


def test_shares_by_position(summed):
    """Four sources of a prompt: each covers two and a half tenths; the first is the sink, and covers its own."""
    shares = summed.shares("position", "one")
    the, number, comma = (0.25 + 0) / 2, (0.5 + 0.25) / 2, (0.25 + 0) / 2
    wanted = {
        "20–30 %": the / 5, "30–40 %": the * 2 / 5, "40–50 %": the * 2 / 5, "50–60 %": number * 2 / 5,
        "60–70 %": number * 2 / 5, "70–80 %": number / 5 + comma / 5, "80–90 %": comma * 2 / 5,
        "90–100 %": comma * 2 / 5, "answer": 0.375,
    }  # fmt: skip
    assert shares == pytest.approx(wanted)
    assert sum(shares.values()) == pytest.approx(1)


def test_shares_by_length(summed):
    assert rounded(summed.shares("length: prompt", "one")) == {"1–8": 0.625}
    assert rounded(summed.shares("length: strongest", "one")) == {"1–8": 0.625}  # 1/2 and 3/4


def test_what_is_said_of_a_method(summed):
    one, two = summed.methods
    assert (one.examples, one.targets, two.examples, two.targets) == (3, 6, 2, 4)
    assert (one.seconds.value, two.seconds.value) == (0.5, 2.0)
    assert one.sink.value == pytest.approx((8 / 12 + 9 / 13) / 2)
    assert one.unexplained.median == one.unexplained.ninety == pytest.approx(0.8 / 8)
    assert summed.examples == 3
    assert [(each.method, each.reason, each.count) for each in summed.failures] == [("two", "No room.", 1)]


def test_the_agreement_is_that_of_comparisons(summed):
    comparison = Comparison((attribution(ONE), attribution(OTHER, "two")))
    [agreement] = summed.agreements
    assert agreement.correlation.value == pytest.approx(float(comparison.agreement()[0, 1]))
    assert agreement.correlation.prompts == 2 and agreement.correlation.missing == 1
    assert math.isnan(agreement.overlap.value)  # no target has more than five sources


def test_the_overlap_of_the_most_important_sources():
    """Of target a the two strongest are 42 and The, by the other The and 42; of b a and 42, and "," and a."""
    comparison = Comparison((attribution(ONE), attribution(OTHER, "two")))
    assert comparison.overlap(2).tolist() == [[1, 0.75], [0.75, 1]]
    assert comparison.overlap(1)[0, 1] == 0.0
    assert comparison.overlap(2, sink=True)[0, 1] == 0.5  # the sink comes first in both, and the second differs
    assert comparison.overlap(5).isnan().all()
    with pytest.raises(InputError, match="k is 0"):
        comparison.overlap(0)


def test_the_most_frequent_top_sources(summed):
    one = [each for each in summed.top_sources if each.method == "one"]
    assert [(each.text, each.targets, each.examples, each.share) for each in one] == [
        ("a", 3, 3, 0.75),
        ("42", 3, 3, 0.5),
    ]


def test_a_target_without_any_score_is_left_out(tmp_path):
    one = attribution([[1.0, 0.0, 0.0, 0.0, NAN], ONE[1]])
    summed = tokensal.summarize(written(tmp_path / "out", [{"one": one}], ["one"]))
    assert rounded(summed.shares("role", "one")) == {"prompt": 0.25, "generated": 0.75}
    nothing = attribution([[1.0, 0.0, 0.0, 0.0, NAN], [1.0, 0.0, 0.0, 0.0, 0.0]])
    summed = tokensal.summarize(written(tmp_path / "other", [{"one": nothing}], ["one"]))
    assert all(math.isnan(share) for share in summed.shares("role", "one").values())
    summed.show()


def test_what_a_method_does_not_score_has_none_of_its_credit(tmp_path):
    """Sources are those that any method scores."""
    left_out = attribution([[NAN, 1.0, -2.0, NAN, NAN], [NAN, 0.0, 1.0, NAN, 3.0]])
    both = written(tmp_path / "out", [{"one": left_out, "two": attribution(OTHER, "two")}])
    summed = tokensal.summarize(both)
    assert summed.shares("class", "one")["punctuation"] == 0
    assert summed.shares("class")["punctuation"] == pytest.approx((1 / 3 + 1 / 4) / 2)


def test_a_run_of_which_everything_failed_has_a_summary(tmp_path, capsys):
    summed = tokensal.summarize(written(tmp_path / "out", [{"one": "No.", "two": "No."}] * 3))
    assert summed.examples == 3 and all(not each.categories for each in summed.breakdowns)
    summed.show()
    assert "one could not explain 3 examples: No." in capsys.readouterr().out
    assert tokensal.summarize(written(tmp_path / "empty", [])).examples == 0


def test_categories():
    assert named(bins(1, 4)) == ("1", "2", "3–4", "5 or more")
    assert named(bins(8, 16)) == ("1–8", "9–16", "17 or more")
    texts = ["3rd", "1,000", "½", " …", "\n", "", "न", "ि", "<s>"]
    units = [Unit((0,), text, 0, 1, Role.PROMPT, special=text == "<s>") for text in texts]
    assert classes_of(units) == [
        "words", "digits", "digits", "punctuation", "white space", "white space", "words", "words", "special",
    ]  # fmt: skip


def test_an_encoder_is_another_text(tmp_path):
    one = replace(attribution(ONE), encoder=4, sink=None)
    summed = tokensal.summarize(written(tmp_path / "out", [{"one": one}], ["one"]))
    distances = summed.shares("distance", "one")
    assert set(distances) == {"1", "another text"}
    assert distances["1"] == pytest.approx(3 / 13 / 2)


# Intervals


def test_intervals_are_those_of_the_bootstrap():
    """Poisson weights draw nearly as often as drawing with replacement does, so the ends are near."""
    random = torch.Generator().manual_seed(0)
    rows = torch.rand(200, 3, generator=random, dtype=torch.float64) ** torch.tensor([1.0, 4.0, 8.0])
    rows[:50, 2] = torch.nan
    tally, backwards = Tally(3, resamples=4000), Tally(3, resamples=4000)
    for number, row in enumerate(rows):
        tally.add(number, row)
    for number in reversed(range(len(rows))):
        backwards.add(number, rows[number])
    for column, (mean, other) in enumerate(zip(tally.means(), backwards.means(), strict=True)):
        wanted = mean_of(rows[:, column])
        assert mean.value == pytest.approx(wanted.value, rel=1e-12)
        assert (mean.prompts, mean.missing) == (wanted.prompts, wanted.missing)
        width = wanted.high - wanted.low
        assert abs(mean.low - wanted.low) < 0.06 * width and abs(mean.high - wanted.high) < 0.06 * width
        assert (mean.low, mean.high) == pytest.approx((other.low, other.high), rel=1e-9)


def test_means_of_few_or_equal_numbers():
    tally = Tally(3)
    tally.add(0, torch.tensor([0.5, torch.nan, 1.0]))
    first, second, _ = tally.means()
    assert first.value == 0.5 and math.isnan(first.low) and math.isnan(second.value) and second.missing == 1
    tally.add(1, torch.tensor([0.5, torch.nan, 2.0]))
    first, _, third = tally.means()
    assert (first.value, first.low, first.high) == (0.5, 0.5, 0.5)
    assert third.value == 1.5 and 1.0 <= third.low < 1.5 < third.high <= 2.0


def test_memory_does_not_grow_with_the_number_of_examples(tmp_path):
    """But for the names of the parts, and two numbers of an example; to keep attributions takes over 20 kB each."""
    example = {"one": attribution(ONE), "two": attribution(OTHER, "two")}

    def peak(count):
        folder = written(tmp_path / str(count), [example] * count, part_size=10)
        tokensal.summarize(folder)  # imports, caches
        tracemalloc.start()
        tokensal.summarize(folder)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(200) - peak(30) < 170 * 1000


def test_rare_texts_are_forgotten_before_there_are_too_many(monkeypatch):
    monkeypatch.setattr("tokensal.runs.summary.TEXTS", 4)
    tops, one = TopTexts(), attribution(ONE)
    for number in range(9):
        texts = replace(one.sources[2], text=f"{number}"), *one.sources[3:]
        tops.add(replace(one, sources=(*one.sources[:2], *texts)))
    assert len(tops.counts) <= 4 and TEXTS > 4
    assert next(tops.most("one", 1)).text == "a"


# Formats


def numbers_of(text: str) -> list[str]:
    return re.findall(r"−?\d+\.\d+", text)


class Cells(HTMLParser):
    """The texts of a page, without styles."""

    def __init__(self) -> None:
        super().__init__()
        self.texts, self.tags, self.hidden = [], [], False

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.hidden = tag == "style"

    def handle_endtag(self, tag):
        self.hidden = False

    def handle_data(self, data):
        if not self.hidden:
            self.texts.append(data)


def test_every_format_shows_the_same_numbers():
    result = summary()
    tables = lay_out_summary(result)
    wanted = [
        number
        for table in tables.tables
        for line in table.lines
        for entry in line.entries
        for number in numbers_of(f"{entry.text} {entry.interval}")
    ]
    assert len(wanted) > 30 and "−0.50" in wanted
    page = Cells()
    page.feed(encode(result, "x.html").decode())
    shown = {
        "html": " ".join(page.texts),
        "md": encode(result, "x.md").decode(),
        "txt": draw_summary(tables, width=400),
        "tex": "\n".join(
            line
            for line in encode(result, "x.tex").decode().replace(r"\ensuremath{-}", "−").splitlines()
            if "&" in line
        ),
    }
    for name, text in shown.items():
        ordered = numbers_of(text.replace(r"$-$", "−").replace(r"\textminus{}", "−"))
        assert ordered[: len(wanted)] == wanted, name


def test_a_long_table_has_all_numbers(tmp_path):
    result = summary()
    rows = list(csv.DictReader(io.StringIO(encode(result, "x.csv").decode())))
    found = {(row["table"], row["category"], row["method"], row["measure"]): row for row in rows}
    row = found["role", "user", "one", "share"]
    assert (row["value"], row["low"], row["high"], row["examples"]) == ("0.25", "0.2", "0.3125", "9")
    assert found["role", "user", "sources", "share"]["value"] == "0.6"
    assert found["agreement", "", "one", "rank correlation"]["other"] == "two"
    assert found["top sources", "Paris", "one", "targets"]["value"] == "6.0"
    assert found["failures", "The text says so.", "one", "count"]["value"] == "1.0"
    pandas = pytest.importorskip("pandas")
    frame = result.to_pandas()
    assert len(frame) == len(rows) and frame["value"].dtype == "float64"
    result.save(tmp_path / "x.parquet")
    pandas.testing.assert_frame_equal(pandas.read_parquet(tmp_path / "x.parquet"), frame)


def test_json_is_read_back(tmp_path):
    for number, result in enumerate((summary(), hostile())):
        result.save(path := tmp_path / f"{number}.json")
        again = Summary.load(path)
        assert repr(again) == repr(result) and encode(again, "x.json") == encode(result, "x.json")
    damaged = (tmp_path / "0.json").read_text().replace('"examples": 10, "methods"', '"examples": -1, "methods"')
    (tmp_path / "damaged.json").write_text(damaged)
    with pytest.raises(FormatError, match="examples"):
        Summary.load(tmp_path / "damaged.json")
    with pytest.raises(FormatError, match=r"Summary\.load"):
        tokensal.Attribution.load(tmp_path / "0.json")


def test_no_text_becomes_markup():
    first, second, *_ = HOSTILE
    page = Cells()
    page.feed(encode(hostile(), "x.html").decode())
    assert page.tags.count("b") == 0 and page.tags.count("style") == 2 and page.tags.count("script") == 0
    assert any(first in text for text in page.texts)
    assert r"\input{secret}" not in "".join(
        line for line in encode(hostile(), "x.tex").decode().splitlines() if not line.startswith("%")
    )
    assert "<b>" not in encode(hostile(), "x.md").decode().replace(r"\<b\>", "")
    assert "\u202e" not in draw_summary(lay_out_summary(hostile()), width=80)
    assert second


@pytest.mark.parametrize("width", [40, 80, 120])
def test_lines_fit_the_terminal(summed, width):
    from rich.cells import cell_len

    for result in (summed, summary(), hostile()):
        text = draw_summary(lay_out_summary(result), width=width)
        assert max(map(cell_len, text.splitlines())) <= width


def test_bars():
    assert bar(1.0) == "█" * 10 and bar(0.0) == " " * 10
    assert bar(0.45) == "████▌     "


def test_what_has_no_figure_is_refused(tmp_path):
    with pytest.raises(OutputError, match="no figure"):
        summary().save(tmp_path / "x.svg")
    with pytest.raises(InputError, match="this is a summary"):
        summary().report(tmp_path / "x.html")


def test_an_anonymous_summary_names_nobody(tmp_path):
    named = replace(summary(), facts={"model": "/home/jane_doe/models/tiny"}, failures=())
    text = encode(named.anonymous(), "x.json").decode()
    assert "jane_doe" not in text and "tiny" in text


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: summary().shares("roles"), "did you mean 'role'"),
        (lambda: summary().shares("role", "three"), "method"),
        (lambda: replace(summary(), methods=summary().methods[:1]), "for each of its 1 methods"),
        (lambda: replace(summary(), methods=()), "different names"),
        (lambda: tokensal.summarize("no folder"), "no folder of a run"),
        (lambda: tokensal.summarize("no folder", top=-1), "top is -1"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises((InputError, FormatError), match=message):
        call()


# The command


def test_the_command(command, folder, tmp_path):
    code, shown, errors = command("summarize", str(folder), "-o", "s.html", "-o", "s.json", "--top", "1")
    assert code == 0 and "by role" in shown and errors.count("Wrote") == 2
    assert "Summary of a run" in (tmp_path / "s.html").read_text()
    assert len(Summary.load(tmp_path / "s.json").top_sources) == 2
    assert command("show", "s.json")[1] == shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-o", "x.svg"), "no figure"),
        (("-o", "x.doc"), "suffix"),
        (("--trace",), "a summary has none"),
    ],
)
def test_what_the_command_refuses(command, folder, arguments, message):
    code, shown, errors = command("summarize", str(folder), *arguments)
    assert code == 2 and message in errors and not shown
    assert command("summarize", "nothing")[0] == 2
