"""Results as Python values: rows, slices, the most important sources, equality; and the bar while they are computed."""

from __future__ import annotations

import io
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import tiny

from tokensal import Attribution, Comparison, attribute, compare, progress
from tokensal.errors import InputError

PROMPT, ANSWER = [5, 40, 41, 7], [40, 3, 200]


@pytest.fixture(scope="module")
def result():
    return explained()


def explained():
    """An attribution whose first source is taken for the sink."""
    result = attribute(tiny(), PROMPT, continuation=ANSWER, method="input_x_gradient", alternatives=2)
    return replace(result, sink=0)


def test_rows_are_the_targets_in_their_order(result):
    assert len(result) == len(list(result)) == 3
    for number, row in enumerate(result):
        assert row.target is result.targets[number] and row.value == result.values[number]
        visible = result.visible[number]
        assert torch.equal(row.scores, result.scores[number][visible]) and len(row) == int(visible.sum())
        assert list(row) == list(zip(row.sources, row.scores.tolist(), strict=True))
        assert row.sources == result.sources[: len(PROMPT) + number]
    assert result[-1].target is result.targets[-1] and result[np.int64(1)].target is result.targets[1]
    strongest = ", ".join(f"{source.text!r} {score:+.3g}" for source, score in result[0].top(3))
    assert repr(result[0]) == f"Row({result.targets[0].text!r}, 4 sources, {strongest}, …)"
    assert repr(result.total()).startswith("Row(all targets, 6 sources, ")


@pytest.mark.parametrize(("index", "error"), [(3, IndexError), (-4, IndexError), (1.0, InputError), (None, InputError)])
def test_what_is_no_row(result, index, error):
    with pytest.raises(error):
        _ = result[index]


@pytest.mark.parametrize("part", [slice(0, 2), slice(1, None), slice(None, None, -1), slice(-1, None)])
def test_a_slice_is_the_attribution_of_those_targets(result, part, tmp_path):
    sliced = result[part]
    assert sliced.targets == result.targets[part] and sliced.alternatives == result.alternatives[part]
    rows = list(range(3))[part]
    assert torch.equal(sliced.values, result.values[rows])
    assert [row.top(3) for row in sliced] == [result[row].top(3) for row in rows]
    sliced.save(tmp_path / "part.json")
    assert Attribution.load(tmp_path / "part.json") == sliced
    sliced.save(tmp_path / "part.html")


def test_diagnostics_are_sliced_with_their_targets():
    full = attribute(tiny(), PROMPT, continuation=ANSWER, method="lrp")
    last = full[-1:].diagnostics["convergence_delta"]
    assert torch.equal(last.values, full.diagnostics["convergence_delta"].values[-1:])
    assert torch.equal(last.allowed, full.diagnostics["convergence_delta"].allowed[-1:])
    assert full[:] == full and full[:2] != full


def test_a_slice_of_nothing_is_refused(result):
    with pytest.raises(InputError, match="no targets: the attribution has 3"):
        _ = result[3:]


def test_the_most_important_sources(result):
    sums = result.scores.nansum(0)
    sums[result.sink] = 0
    order = sums.abs().argsort(descending=True, stable=True).tolist()
    assert result.top(3) == [(result.sources[index], float(sums[index])) for index in order[:3]]
    assert len(result.top(99)) == len(result.sources) - 1  # all but the sink
    with_sink = [unit for unit, _ in result.top(99, sink=True)]
    assert result.sources[result.sink] in with_sink and result.sources[result.sink] not in dict(result.top(99))
    assert result.top(2, target=1) == result[1].top(2)
    sizes = [abs(score) for _, score in result.top(99)]
    assert sizes == sorted(sizes, reverse=True)
    assert result.top(0) == []
    for k in (-1, True, 1.5, "2"):
        with pytest.raises(InputError, match="k is"):
            result.top(k)
    with pytest.raises(IndexError):
        result.top(1, target=3)


# Equality


def test_results_that_say_the_same_are_equal(result):
    again = explained()
    assert result.scores.isnan().any() and again.provenance.seconds >= 0
    assert result == again == replace(again, provenance=replace(again.provenance, seconds=99.0))
    assert hash(result) == hash(again) and {result: 1}[again] == 1


@pytest.mark.parametrize("name", ["scores", "values", "visible", "text", "sources", "sink", "diagnostics", "dtype"])
def test_results_that_differ_anywhere_are_not_equal(result, name):
    changes = {
        "scores": {"scores": result.scores + 1e-6},
        "values": {"values": result.values.double()},
        "visible": {"visible": ~result.visible},
        "text": {"text": "other"},
        "sources": {"sources": result.sources[::-1]},
        "sink": {"sink": None},
        "diagnostics": {"diagnostics": attribute(tiny(), PROMPT, continuation=ANSWER, method="lrp").diagnostics},
        "dtype": {"provenance": replace(result.provenance, dtype="float16")},
    }
    assert result != replace(result, **changes[name])
    assert result != "a text" and result != None  # noqa: E711


def test_comparisons_are_equal_by_their_attributions():
    first, second = (compare(tiny(), PROMPT, continuation=ANSWER, methods=["gradient", "occlusion"]) for _ in range(2))
    assert first == second and hash(first) == hash(second)
    assert first != Comparison(first.attributions[::-1])


# Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "option", "drawn"),
    [
        (Terminal, None, True), (Terminal, True, True), (Terminal, False, False),
        (io.StringIO, None, False), (io.StringIO, False, False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("function", [attribute, compare])
def test_a_bar_is_drawn_where_somebody_looks(monkeypatch, function, stream, option, drawn):
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", stream())
    function(tiny(), PROMPT, continuation=ANSWER, progress=option)
    text = sys.stderr.getvalue()
    assert ("attributing" in text) is drawn and bool(text) is drawn
    if drawn:
        assert text.endswith("\x1b[2K")  # the line of the bar is erased


def test_quick_work_draws_no_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    attribute(tiny(), PROMPT, continuation=ANSWER)
    assert "attributing" not in sys.stderr.getvalue()


def test_a_function_is_called_and_no_bar_drawn(monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setattr(sys, "stderr", Terminal())
    steps = []
    attribute(tiny(), PROMPT, continuation=ANSWER, progress=lambda done, total: steps.append((done, total)))
    assert steps[-1] == (3, 3) and not sys.stderr.getvalue()


def test_a_notebook_gets_a_line_that_is_written_again_without_codes(monkeypatch):
    """A notebook shows the codes by which a terminal erases a line; with `ipywidgets` there is a widget instead."""
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    attribute(tiny(), PROMPT, continuation=ANSWER)
    text = sys.stderr.getvalue()
    assert "attributing" in text and "\x1b" not in text
    assert text.endswith("\r") and not text.split("\r")[-2].strip()  # of which nothing remains
