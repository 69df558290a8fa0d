"""What a figure shows, before a format draws it: running text, matrix and comparison with one legend and caption."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from test_layout import attribution_of, numbers
from test_sections import chat, contrasted, paired, several

from tokensal.drawing import Drawing
from tokensal.errors import InputError
from tokensal.render.layout import ComparisonFigure, MatrixFigure, TextFigure, lay_out, lay_out_comparison
from tokensal.render.layout.figure import MOST_COLUMNS, lay_out_figure, row_of
from tokensal.render.layout.passages import passages, undrawn
from tokensal.types import Role

TEXTS = ["The", " cat", " sat", "\n", " on"]
SCORES = [[9.0, -2.0, float("nan"), float("nan")], [5.0, 1.0, -0.05, 4.0]]


def figure(result, **options):
    drawing = Drawing(**options)
    lay = lay_out_comparison if hasattr(result, "attributions") else lay_out
    return lay_out_figure(lay(result, drawing), drawing)


def small(**options):
    return attribution_of(TEXTS, [[9.0, -2.0, float("nan"), float("nan")]] * 2 + [SCORES[1]], prompt=2, **options)


def text_of(passage):
    return "".join(run.gap + run.text + "\n" * run.breaks for run in passage.runs)


def test_prompt_and_answer_are_passages_and_what_is_explained_is_bold():
    drawn = figure(small(), row=2)
    assert isinstance(drawn, TextFigure) and [part.name for part in drawn.passages] == ["prompt", "answer"]
    assert [text_of(part) for part in drawn.passages] == ["The cat", " sat↵\n on"]
    runs = [run for part in drawn.passages for run in part.runs]
    assert [run.bold for run in runs] == [False, False, False, False, True]  # the row is about the last target alone
    assert [run.bold for part in figure(small()).passages for run in part.runs] == [False, False, True, True, True]
    assert [run.source for run in runs] == [0, 1, 2, 3, None]
    assert [run.sink for run in runs] == [True, False, False, False, False]


def test_a_shade_that_no_eye_sees_is_none_and_a_weak_line_break_is_not_drawn():
    runs = [run for part in figure(small(), row=2).passages for run in part.runs]
    assert [round(run.shade, 2) for run in runs] == [0.0, 0.25, 0.0, 1.0, 0.0]  # the sink and 0.0125 of the scale
    weak = figure(attribution_of(TEXTS, [SCORES[0], SCORES[0], [5.0, 1.0, -0.05, 0.09]]), row=2)
    assert text_of(weak.passages[1]) == " sat\n on"


def test_the_legend_has_both_ends_the_quantity_and_as_many_steps_as_bins():
    ramp = figure(small(), row=2).sheet.ramp
    assert (ramp.low, ramp.high, ramp.against, ramp.towards) == ("−4.00", "+4.00", ("against", ""), ("for", "on"))
    assert ramp.quantity == "score of x for log p, nats" and len(ramp.steps) == 20
    assert ramp.steps == tuple(-step for step in reversed(ramp.steps)) and ramp.steps[-1] == 1
    assert figure(small(), bins=3, row=2).sheet.ramp.steps == pytest.approx((-1, -2 / 3, -1 / 3, 0, 1 / 3, 2 / 3, 1))
    unsigned = figure(small(signed=False), row=0).sheet.ramp
    assert unsigned.low == "0" and unsigned.against is None and min(unsigned.steps) > 0


@pytest.mark.parametrize(
    ("quantity", "score", "signed", "words"),
    [
        ("drop of {score} without it", "logprob", True, "drop of log p without it, nats"),
        ("drop of {score} without it", "logit", True, "drop of the logit without it"),
        ("size of the gradient of {score}", "logprob", False, "size of the gradient of log p"),
        ("attention weight", "logprob", True, "attention weight"),
        ("drop of {score} without it", "margin", True, "drop of margin without it"),
        ("{0} {score.__class__}", "logprob", False, "{0} {score.__class__}"),
    ],
)
def test_a_method_says_what_one_of_its_scores_is(quantity, score, signed, words):
    result = small(signed=signed)
    provenance = replace(result.provenance, quantity=quantity, score=score)
    assert lay_out(replace(result, provenance=provenance)).quantity == words


def test_rows_are_named_by_number_text_share_and_sum():
    heatmap = lay_out(small())
    assert row_of(heatmap, None) is row_of(heatmap, "share") is heatmap.overviews[0]
    assert row_of(heatmap, "sum") is heatmap.overviews[1]
    assert row_of(heatmap, 2) is row_of(heatmap, "2") is row_of(heatmap, "on") is row_of(heatmap, " on")
    for wanted in ("Paris", 3, "3", "-1"):
        with pytest.raises(InputError, match="there is no such row; name one of 0 sat, 1 ↵, 2 on, share or sum"):
            row_of(heatmap, wanted)
    twice = lay_out(attribution_of(["a", " b", " b"], [[1.0, float("nan")], [1.0, 1.0]], prompt=1))
    with pytest.raises(InputError, match="2 targets are called so"):
        row_of(twice, "b")
    number = lay_out(attribution_of(["a", " 1", " 0"], [[1.0, float("nan")], [1.0, 1.0]], prompt=1))
    assert row_of(number, "0") is number.rows[1]  # a text goes before a number
    assert row_of(number, 0) is number.rows[0]


def test_a_contrast_names_both_ends_and_the_foil():
    drawn = figure(contrasted())
    assert drawn.foil == "London and a" and drawn.sheet.ramp.against == ("for", "London and a")
    assert [part.name for part in drawn.passages] == ["prompt", "answer", "instead"]
    assert text_of(drawn.passages[2]) == " London and a"
    assert [run.source for run in drawn.passages[2].runs] == [5, 6, None]  # its last token is no source
    assert any("Underlined: speaks for London and a." in note for note in drawn.sheet.notes)
    assert drawn.value == "" and figure(contrasted(), row=0).value.startswith("Δ log p = −0.1")


def test_a_chat_has_its_messages_and_no_template_without_a_score():
    template = [index for index, source in enumerate(chat().sources) if source.role is Role.TEMPLATE]
    drawn = figure(chat(hidden=template))
    assert [part.name for part in drawn.passages] == ["system", "user", "answer"]
    assert [text_of(part) for part in drawn.passages] == ["Be brief.", "Who am I?", "Tom."]
    heatmap = lay_out(chat(hidden=template))
    assert undrawn(heatmap, heatmap.overview) == len(template)
    assert any(note.startswith(f"{len(template)} special tokens") for note in drawn.sheet.notes)
    scored = figure(chat())
    assert "<|start|>" in text_of(scored.passages[0]) and scored.passages[0].runs[0].quiet


def test_long_stretches_of_weak_sources_are_elided_on_request():
    texts = ["The", *(f" w{index}" for index in range(6)), " x", " y", " z"]
    scores = [[0.0, *[0.01] * 6, 1.0, 0.05]]
    drawn = figure(attribution_of(texts, scores, prompt=9), elide=6)
    assert [text_of(part) for part in drawn.passages] == ["The … 6 tokens … x y", " z"]
    assert next(run for run in drawn.passages[0].runs if run.elided).elided == 6
    assert any("none reaches a tenth" in note for note in drawn.sheet.notes)
    assert "…" not in text_of(figure(attribution_of(texts, scores, prompt=9), elide=7).passages[0])
    assert "…" not in text_of(figure(attribution_of(texts, scores, prompt=9)).passages[0])


def test_lines_break_at_spaces_and_beside_ideographs_and_not_inside_words():
    result = attribution_of(["The", " un", "believable", "日", "本", "。", " x"], [[1.0] * 6], prompt=6)
    runs = passages(lay_out(result), lay_out(result).overview)[0].runs
    assert [(run.gap + run.text, run.breakable) for run in runs] == [
        ("The", True), (" un", True), ("believable", False), ("日", True), ("本", True), ("。", False),
    ]  # fmt: skip


def test_an_encoder_decoder_model_shows_its_matrix_unless_told_otherwise():
    assert isinstance(figure(paired()), MatrixFigure) and isinstance(figure(paired(), matrix=False), TextFigure)
    assert isinstance(figure(small()), TextFigure) and isinstance(figure(small(), matrix=True), MatrixFigure)
    assert [part.name for part in figure(paired(), matrix=False).passages] == ["source text", "answer"]
    drawn = figure(paired())
    assert drawn.numbered and not drawn.others and [label.name for label in drawn.targets] == ["Le", "chat"]
    assert "No square: not visible to it." in drawn.sheet.notes


def test_of_a_wide_matrix_the_strongest_columns_are_drawn_in_their_order():
    count = MOST_COLUMNS + 37
    scores = torch.arange(1.0, count + 1) % 101
    result = attribution_of(["x"] * count + ["y"], [scores.tolist()], sink=None, prompt=count)
    drawn = figure(result, matrix=True)
    kept = [column.source for column in drawn.matrix.columns]
    assert (len(kept), drawn.others, drawn.numbered) == (MOST_COLUMNS, 37, False)
    assert kept == sorted(kept) and min(scores[kept]) >= max(
        score for index, score in enumerate(scores) if index not in kept
    )
    assert any("37 others are left out" in note for note in drawn.sheet.notes)


def test_a_comparison_has_the_text_of_each_method_on_its_own_scale():
    drawn = figure(several(contrasted(), scores=contrasted().scores * 3), row=0)
    assert isinstance(drawn, ComparisonFigure) and [name for name, _ in drawn.parts] == ["x", "y"]
    first, second = (part for _, part in drawn.parts)
    assert [run.text for run in first.passages[0].runs] == [run.text for run in second.passages[0].runs]
    assert first.sheet.ramp.high != second.sheet.ramp.high and drawn.sheet.ramp.high == "max"
    assert any("Rank agreement (Spearman): y and x" in sentence for sentence in drawn.sheet.caption)


def test_caption_and_description_hold_the_facts():
    sheet = figure(replace(small(), diagnostics={"fit": numbers(0.5, 0.5, 0.5)}), row=2).sheet
    assert sheet.caption[0] == "Sources of on in the answer of m, by x: score of x for log p, nats."
    assert "†" in sheet.caption[-1] or any("†" in note for note in sheet.notes)
    assert sheet.description == "Sources of on; strongest tokens: ↵ +4.00, cat +1.00, sat −0.05."
    assert dict(sheet.facts)["method"] == "X()"
    assert not re.search(r"\bNone\b", " ".join((*sheet.caption, *sheet.notes, sheet.title)))
