"""What is drawn, before how."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from tokensal.drawing import Drawing
from tokensal.render.layout import lay_out, lay_out_matrix
from tokensal.results.attribution import Attribution, Provenance
from tokensal.types import Diagnostic, Role, Unit

NAN = math.nan


def attribution_of(texts, scores, *, sink=0, signed=True, prompt=2):
    """An attribution with those token texts; the last token is a target only."""
    tokens, position = [], 0
    for index, text in enumerate(texts):
        role = Role.PROMPT if index < prompt else Role.GENERATED
        tokens.append(Unit((index,), text, position, position + len(text), role))
        position += len(text)
    table = torch.tensor(scores)
    return Attribution(
        text="".join(texts),
        sources=tuple(tokens[:-1]),
        targets=tuple(tokens[prompt:]),
        scores=table,
        visible=~table.isnan(),
        values=torch.zeros(len(table)),
        signed=signed,
        sink=sink,
        provenance=Provenance(
            "m", None, "A", "float32", "cpu", "sdpa", "x", "X()", "logprob", versions={"tokensal": "9"}
        ),
    )


TEXTS = ["The", " cat", " sat", " on"]
SCORES = [[9.0, -2.0, NAN], [5.0, 1.0, -4.0]]


def test_the_sink_stands_apart_and_both_limits_are_kept():
    heatmap = lay_out(attribution_of(TEXTS, SCORES))
    first, second = heatmap.rows
    assert (first.limit, first.full_scale.limit) == (2.0, 9.0)
    assert [cell.shade for cell in first.cells] == [1.0, -1.0, 0.0]
    assert [cell.clipped for cell in first.cells] == [True, False, False]
    assert [cell.source for cell in second.top(5)] == [2, 1]
    assert lay_out_matrix(heatmap).scale.limit == 4.0


def test_the_sink_counts_where_asked_for():
    heatmap = lay_out(attribution_of(TEXTS, SCORES), Drawing(sink=True))
    assert heatmap.rows[0].limit == heatmap.rows[0].full_scale.limit == 9.0
    assert [cell.source for cell in heatmap.rows[1].top(2)] == [0, 2]
    assert not any(cell.clipped for cell in heatmap.rows[0].cells)


def test_an_invisible_cell_is_blank_and_never_zero():
    heatmap = lay_out(attribution_of(TEXTS, SCORES))
    assert heatmap.rows[0].cells[2].value is None
    assert heatmap.rows[0].top(9) and all(cell.value is not None for cell in heatmap.rows[0].top(9))


def test_the_sum_is_of_what_is_visible():
    heatmap = lay_out(attribution_of(TEXTS, SCORES))
    total = heatmap.overviews[1]
    assert [cell.value for cell in total.cells] == [14.0, -1.0, -4.0]
    assert total.target is None and total.limit == heatmap.scale.limit == 4.0
    assert total.title.lead == "Sum over all generated tokens"


def test_a_heatmap_opens_with_the_mean_share_in_which_each_target_weighs_the_same():
    overview = lay_out(attribution_of(TEXTS, SCORES)).overview
    assert [cell.value for cell in overview.cells] == pytest.approx(
        [100 * (9 / 11 + 5 / 10) / 2, 100 * (-2 / 2 + 1 / 5) / 2, 100 * (-4 / 5) / 2]
    )
    assert overview.scale.write(overview.cells[1].value) == "−40.0\u00a0%"
    assert overview.title.lead == "Mean share over all generated tokens"
    counted = lay_out(attribution_of(TEXTS, SCORES), Drawing(sink=True)).overview
    assert [cell.value for cell in counted.cells] == pytest.approx(
        [100 * (9 / 11 + 5 / 10) / 2, 100 * (-2 / 11 + 1 / 10) / 2, 100 * (-4 / 10) / 2]
    )
    assert counted.limit == pytest.approx(lay_out(attribution_of(TEXTS, SCORES)).overview.full_scale.limit)


def test_a_target_without_a_score_other_than_zero_has_no_shares():
    overview = lay_out(attribution_of(TEXTS, [[0.0, 0.0, NAN], [0.0, 1.0, 1.0]])).overview
    assert [cell.value for cell in overview.cells] == [0.0, 25.0, 25.0]


def test_the_only_target_needs_no_aggregation():
    heatmap = lay_out(attribution_of(TEXTS[:3], [[9.0, -2.0]]))
    [overview], [row] = heatmap.overviews, heatmap.rows
    assert overview.cells == row.cells and overview.title == row.title


def test_the_heading_is_short_and_a_contrast_is_told_as_a_question():
    result = attribution_of(TEXTS, SCORES)
    assert lay_out(result).heading == (("method", "x"), ("model", "m"), ("score", "logprob"))
    provenance = replace(result.provenance, model="hub/tiny", options={"norm": "l1", "layers": "all"})
    targets = tuple(replace(target, against=" in" if index else " ran") for index, target in enumerate(result.targets))
    heatmap = lay_out(replace(result, provenance=provenance, targets=targets))
    assert [text for _, text in heatmap.heading] == [
        "x norm=l1 layers=all", "tiny", "Δ logprob", "why sat on, not ran in",
    ]  # fmt: skip
    assert (heatmap.rows[0].title.subject, heatmap.score) == ("why sat, not ran", "Δ logprob")
    assert heatmap.rows[0].title.detail == "token 1 of 2 · Δ logprob 0"
    assert "hub/tiny" in dict(heatmap.caption).values()


def test_what_is_explained_is_marked_among_the_sources():
    result = attribution_of(TEXTS, SCORES)
    heatmap = lay_out(result)
    assert [label.explained for label in heatmap.sources] == [False, False, True]
    assert all(label.explained for label in heatmap.sections[-1].rest)


def test_a_heatmap_of_nothing_but_the_sink_still_has_a_scale():
    row = lay_out(attribution_of(["The", " cat"], [[3.0]], prompt=1)).rows[0]
    assert row.limit == 3.0 and row.cells[0].shade == 1.0
    assert lay_out(attribution_of(["The", " cat"], [[0.0]], prompt=1)).rows[0].cells[0].shade == 0.0


@pytest.mark.parametrize(
    ("text", "drawn", "name", "lines"),
    [
        (" cat", " cat", "cat", 0),
        ("  ", "  ", "␣␣", 0),
        ("\n\n", "↵↵", "↵↵", 2),
        ("a\nb", "a↵b", "a↵b", 0),
        ("\t", "⇥", "⇥", 0),
        ("\x1b[31m", "␛[31m", "␛[31m", 0),
        ("\u202eevil", "⟨U+202E⟩evil", "⟨U+202E⟩evil", 0),
        ("\u0301", "◌\u0301", "◌\u0301", 0),
        ("👩‍👩‍👧", "👩‍👩‍👧", "👩‍👩‍👧", 0),
        ("", "∅", "∅", 0),
    ],
)
def test_labels_are_safe_to_draw(text, drawn, name, lines):
    label = lay_out(attribution_of([text, "x"], [[1.0]], prompt=1)).sources[0]
    assert (label.text, label.name, label.lines) == (drawn, name, lines)


def test_a_further_piece_of_a_character_is_marked():
    result = attribution_of(["🙂", "", "x"], [[1.0, 1.0]])
    pieces = (result.sources[0], Unit((1,), "", 0, 1, Role.PROMPT))
    shared = Attribution(**{**{name: getattr(result, name) for name in result.__slots__}, "sources": pieces})
    assert [label.text for label in lay_out(shared).sources] == ["🙂", "‿"]


def test_the_caption_says_where_the_numbers_came_from():
    caption = dict(lay_out(attribution_of(TEXTS, SCORES)).caption)
    assert caption == {
        "model": "m", "method": "X()", "score": "logprob", "dtype": "float32", "device": "cpu", "tokensal": "9"
    }  # fmt: skip


# Diagnostics


PROVENANCE = ("model", "method", "score", "dtype", "device", "tokensal")


def facts(**diagnostics):
    """The facts of the caption about those diagnostics, of two targets and three sources, the sink first."""
    result = replace(attribution_of(TEXTS, SCORES), diagnostics=diagnostics)
    caption = dict(lay_out(result).caption)
    return {name: text for name, text in caption.items() if name not in PROVENANCE}


def numbers(*values, allowed=None):
    return Diagnostic(torch.tensor(values), None if allowed is None else torch.tensor(allowed))


TOTAL = numbers(2.0, -4.0)


def test_a_convergence_delta_is_a_share_of_the_total():
    delta, sentence = numbers(0.02, 0.2), "unexplained: median 3.0\u00a0%, at most 5.0\u00a0%"
    assert facts(total=TOTAL, convergence_delta=delta) == {"certificate": sentence}
    assert facts(total=TOTAL, convergence_delta=delta, gradients=numbers(9, 12)) == {
        "certificate": f"{sentence}; 9–12 gradients a target"
    }
    assert facts(total=numbers(0.0, 1.0), convergence_delta=delta)["certificate"].endswith("at most ∞\u00a0%")
    assert facts(total=numbers(0.0, 0.0), convergence_delta=numbers(0.0, 0.0))["certificate"] == (
        "unexplained: median 0\u00a0%, at most 0\u00a0%"
    )


def test_a_missed_tolerance_is_named_and_none_is_missed_without_one():
    [text] = facts(total=TOTAL, convergence_delta=numbers(0.02, 0.2, allowed=[0.1, 0.1])).values()
    assert text.endswith("; ⚠ tolerance missed by on (5.0\u00a0%)")
    [text] = facts(total=TOTAL, convergence_delta=numbers(0.02, 9.0)).values()
    assert "missed" not in text


def test_constants_are_named_where_there_are_any():
    constants = numbers(1.0, 0.0)
    assert facts(total=TOTAL, constants=constants) == {
        "constants": "median 25\u00a0% of the score (biases and learned positions)"
    }
    assert facts(total=TOTAL, constants=numbers(0.0, 0.0)) == {}


def test_a_standard_error_is_a_share_of_the_largest_score_without_the_sink():
    error = Diagnostic(torch.tensor([[7.0, 0.2, NAN], [7.0, 0.4, 0.04]]))  # scores of 2 and of 4
    assert facts(standard_error=error) == {"standard error": "median 10\u00a0% of the largest score, at most 10\u00a0%"}


def test_other_diagnostics_are_shown_by_their_range():
    assert facts(fit_quality=numbers(0.5, 1.0)) == {"fit quality": "median 0.75, from 0.5 to 1"}
    assert facts(samples=numbers(64, 64), convergence_delta=numbers(-1.0, 2.0)) == {
        "samples": "64",
        "convergence delta": "median 0.5, from −1 to 2",
    }
    assert facts(fit_quality=numbers(NAN, NAN)) == {}
    assert facts(convergence_delta=numbers(0.5, 2.0, allowed=[1.0, 1.0]))["convergence delta"] == (
        "median 1.25, from 0.5 to 2; ⚠ tolerance missed by on"
    )
    assert lay_out(replace(attribution_of(TEXTS, SCORES), diagnostics={})).caption


def test_a_fit_says_what_it_was_measured_on():
    sentence = "R² median 0.75, from 0.5 to 1, rank correlation 0.5, on coalitions that it was not fitted to"
    assert facts(fit=numbers(0.5, 1.0), rank_fit=numbers(0.5, NAN)) == {"fit": sentence}
    assert facts(fit=numbers(NAN, NAN), rank_fit=numbers(NAN, NAN)) == {}


def test_the_legend_has_the_entries_that_occur_in_one_order():
    scores = [[9.0, -2.0, NAN, NAN], [5.0, 1.0, -4.0, NAN], [1.0, 1.0, 1.0, 1.0]]
    entries = lay_out(attribution_of(["<s>", " cat", "\n", " cat", " on"], scores)).legend.entries
    assert [(str(entry.kind), entry.sample) for entry in entries] == [
        ("negative", "abc"), ("blank", "abc"), ("unseen", "abc"), ("generated", "›"), ("clipped", "‡"),
        ("picture", "↵"), ("ordinal", "₁ ₂"),
    ]  # fmt: skip
    labels = lay_out(attribution_of([" cat", " a", " cat", " on"], SCORES)).sources
    assert [label.ordinal for label in labels] == ["₁", "", "₂"]
