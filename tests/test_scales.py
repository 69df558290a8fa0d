"""Colours in steps, and scales that end at a percentile: in the layout, and in every format that draws it."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from itertools import pairwise

import numpy
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rich.console import Console
from test_html import browser, marks, parse, seen, show, target, text_of
from test_layout import NAN, attribution_of

from tokensal.drawing import Drawing
from tokensal.render import html, terminal
from tokensal.render.html.page import STEPS
from tokensal.render.layout import lay_out, lay_out_comparison, lay_out_matrix
from tokensal.render.layout.figure import lay_out_figure
from tokensal.render.layout.numbers import Scale, ordinal
from tokensal.render.layout.palette import page_palettes
from tokensal.render.layout.rows import scale_of
from tokensal.render.terminal.colours import Colours, shading
from tokensal.results.comparison import Comparison

__all__ = ["browser", "show"]  # fixtures, used by name

CLIPPED = """() => [...document.querySelector(".tokensal").shadowRoot.querySelectorAll("[data-source].clipped")]
    .map((element) => Number(element.dataset.source))"""
TEXTS = ["The", " cat", " sat", " on", " it"]
SCORES = [[9.0, -2.0, 0.3, NAN], [50.0, 1.0, -4.0, 0.0]]
sizes = st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=40)


def small(scores=SCORES, **options):
    return attribution_of(TEXTS, scores, prompt=3, **options)


def long(scores, **options):
    """One target that sees so many sources; none is the sink."""
    texts = [f" w{index}" for index in range(len(scores))] + [" x"]
    return attribution_of(texts, [scores], prompt=len(scores), sink=None, **options)


# --- steps -------------------------------------------------------------------------------------------------------


@given(st.floats(-1, 1), st.integers(1, 100))
def test_a_shade_is_the_nearest_step_and_keeps_the_sign(value, bins):
    shade = Scale(1.0, True, bins=bins).shade(value)
    assert shade * bins == pytest.approx(round(shade * bins), abs=1e-9)
    assert abs(shade - value) <= 0.5 / bins + 1e-9
    assert shade * value >= 0 and str(Scale(1.0, True, bins=bins).shade(-0.0)) == "0.0"


@pytest.mark.parametrize("bins", [1, 2, 3, 7, 100])
def test_nothing_stays_nothing_and_the_end_is_the_strongest(bins):
    scale = Scale(4.0, True, bins=bins)
    assert (scale.shade(0.0), scale.shade(4.0), scale.shade(-4.0), scale.shade(-9.0)) == (0, 1, -1, -1)
    assert {scale.shade(4 * step / 1000) for step in range(1001)} == {step / bins for step in range(bins + 1)}


def test_every_cell_has_a_shade_of_the_legend():
    for bins, signed in ((1, True), (3, True), (4, False)):
        scores = [[abs(score) for score in row] for row in SCORES] if not signed else SCORES
        drawing = Drawing(bins=bins, row=1)
        heatmap = lay_out(small(scores, signed=signed), drawing)
        figure = lay_out_figure(heatmap, drawing)
        steps = set(figure.sheet.ramp.steps)
        assert len(steps) == len(figure.sheet.ramp.steps) == (2 * bins + 1 if signed else bins + 1)
        assert {run.shade for part in figure.passages for run in part.runs} <= steps
        assert {cell.shade for row in (*heatmap.rows, *heatmap.overviews) for cell in row.cells} <= steps
        matrix = lay_out_figure(heatmap, Drawing(bins=bins, matrix=True))
        assert {cell.shade for row in matrix.matrix.rows for cell in row} <= set(matrix.sheet.ramp.steps) == steps


def test_steps_change_no_number_no_ranking_and_nothing_that_is_blank():
    plain, stepped = lay_out(small()), lay_out(small(), Drawing(bins=2))
    for before, after in zip(plain.rows, stepped.rows, strict=True):
        assert [cell.value for cell in before.cells] == [cell.value for cell in after.cells]
        assert [cell.relative for cell in before.cells] == [cell.relative for cell in after.cells]
        assert [cell.source for cell in before.top(9)] == [cell.source for cell in after.top(9)]
        assert before.limit == after.limit and before.kinds == after.kinds
    assert [cell.shade for cell in stepped.rows[0].cells] == [1.0, -1.0, 0.0, 0.0]
    assert stepped.rows[0].cells[3].value is None
    assert [cell.shade for cell in stepped.rows[1].cells] == [1.0, 0.5, -1.0, 0.0]


def test_a_weak_score_is_weak_by_its_size_and_not_by_its_step():
    """What is elided has less than a tenth of the scale, though half of it has no colour."""
    scores = [10.0, 4.0, 2.0, 0.5, 0.4]
    runs = lay_out_figure(lay_out(long(scores), Drawing(bins=1)), Drawing(bins=1, elide=2)).passages[0].runs
    assert [(run.text, run.elided) for run in runs] == [("w0", 0), ("w1", 0), ("w2", 0), ("… 2 tokens …", 2)]
    assert [run.shade for run in runs] == [1.0, 0.0, 0.0, 0.0]


def test_a_figure_says_that_colours_are_in_steps():
    caption = " ".join(lay_out_figure(lay_out(small(), Drawing(bins=3)), Drawing(bins=3, row=1)).sheet.caption)
    assert "Colour is in 3 steps for each sign, a score as the nearest, and ends at ±4.00." in caption
    unsigned = lay_out(small([[1.0, 2.0, 3.0, NAN], [1.0] * 4], signed=False), Drawing(bins=3))
    assert "Colour is in 3 steps, a score as the nearest, and" in " ".join(
        lay_out_figure(unsigned, Drawing(row=1)).sheet.caption
    )
    matrix = lay_out_figure(lay_out(small(), Drawing(bins=3)), Drawing(matrix=True))
    assert "Colour is in 3 steps for each sign, a score as the nearest, and ends at ±4.00." in matrix.sheet.caption
    comparison = lay_out_comparison(Comparison((small(), small())), Drawing(bins=3))
    assert "Colour is in 3 steps for each sign, a score as the nearest, each method on its own scale." in (
        lay_out_figure(comparison, Drawing()).sheet.caption
    )
    assert "linear in the score" in " ".join(lay_out_figure(lay_out(small()), Drawing(row=1)).sheet.caption)


# --- percentiles -------------------------------------------------------------------------------------------------


@given(sizes, st.floats(0.5, 100))
def test_a_scale_ends_at_the_percentile_that_numpy_finds(magnitudes, clip):
    scale = scale_of(magnitudes, signed=True, clip=clip)
    expected = float(numpy.percentile(numpy.array(magnitudes), clip))
    assume(expected > 0)
    assert scale.limit == pytest.approx(expected, rel=1e-9)
    beyond = [size for size in magnitudes if scale.is_beyond(size)]
    assert all(size > expected for size in beyond)
    assert len(beyond) <= len(magnitudes) * (1 - clip / 100) + 1


def test_a_row_ends_at_the_percentile_of_its_own_scores_without_the_sink():
    heatmap = lay_out(small(), Drawing(clip=50))
    first, second = heatmap.rows
    assert (first.limit, second.limit) == (pytest.approx(1.15), 1.0)  # of 2 and 0.3; of 1, 4 and 0
    assert first.full_scale.limit == 2.0  # of 9, 2 and 0.3
    assert [cell.clipped for cell in first.cells] == [True, True, False, False]
    assert [cell.clipped for cell in second.cells] == [True, False, True, False]
    assert [cell.shade for cell in second.cells] == [1.0, 1.0, -1.0, 0.0]
    assert first.sink_note.endswith("with it, the scale would reach ±2.00")
    counted = lay_out(small(), Drawing(clip=50, sink=True)).rows[0]
    assert counted.limit == 2.0 and [cell.clipped for cell in counted.cells] == [True, False, False, False]


def test_the_matrix_ends_at_the_percentile_of_all_scores():
    matrix = lay_out_matrix(lay_out(small(), Drawing(clip=50)))
    values = [2.0, 0.3, 1.0, 4.0, 0.0]  # of both rows, without the sink and what is not visible
    assert matrix.scale.limit == pytest.approx(numpy.percentile(values, 50)) == 1.0
    assert [[cell.clipped for cell in row] for row in matrix.rows] == [
        [True, True, False, False], [True, False, True, False],
    ]  # fmt: skip
    assert "one scale, ±1.00, the 50th percentile of |scores|; blank" in matrix.note()


@pytest.mark.parametrize("clip", [1, 7, 29, 50, 57, 90, 99, 99.5, 100])
def test_a_score_at_the_very_end_is_not_clipped(clip):
    """Of 201 scores, each percentile here is one of them, and binary fractions miss some."""
    row = lay_out(long([score / 7 for score in range(201)]), Drawing(clip=clip)).rows[0]
    assert [cell.clipped for cell in row.cells] == [index > 2 * clip for index in range(201)]
    assert abs(row.cells[int(2 * clip)].shade) == pytest.approx(1)


@pytest.mark.parametrize("drawing", [Drawing(clip=99), Drawing(clip=50, bins=3), Drawing(clip=0.1)])
def test_equal_scores_and_zeros_are_not_clipped(drawing):
    for scores in ([0.1] * 7, [-0.1, 0.1, 0.1], [3.0]):
        [row] = lay_out(long(scores), drawing).rows
        assert row.limit == pytest.approx(max(map(abs, scores))) and not any(cell.clipped for cell in row.cells)
        assert all(abs(cell.shade) == pytest.approx(1) for cell in row.cells)
    heatmap = lay_out(long([0.0, 0.0]), drawing)
    for row in (*heatmap.rows, *heatmap.overviews):
        assert row.limit == 0 and [(cell.shade, cell.clipped) for cell in row.cells] == [(0, False)] * 2
    assert lay_out_matrix(heatmap).scale.limit == 0
    lay_out_figure(heatmap, drawing), lay_out_figure(heatmap, replace(drawing, matrix=True))


def test_where_most_scores_are_zero_the_scale_ends_at_the_largest_and_says_so():
    drawing = Drawing(clip=50)
    heatmap = lay_out(long([0.0, 0.0, 0.0, 2.0, 1.0]), drawing)
    assert heatmap.overview.limit == 2.0 and not any(cell.clipped for cell in heatmap.overview.cells)
    said = "ends at ±2.00, the largest |score|, since the 50th percentile is 0"
    assert said in " ".join(lay_out_figure(heatmap, drawing).sheet.caption)
    assert said.removeprefix("ends at ") in lay_out_matrix(heatmap).note()
    assert "±2.00, the largest |score|, since" in " ".join(terminal.draw_heatmap(heatmap, drawing).split())


def test_where_all_but_the_sink_is_zero_the_scale_is_that_of_the_sink():
    row = lay_out(attribution_of(["a", " b", " c"], [[3.0, 0.0]], prompt=2), Drawing(clip=90)).rows[0]
    assert row.limit == pytest.approx(2.7) and row.cells[1].shade == 0


def test_a_figure_marks_what_is_beyond_and_says_what_the_end_is():
    drawing = Drawing(clip=50, row=1)
    figure = lay_out_figure(lay_out(small(), drawing), drawing)
    assert [run.clipped for part in figure.passages for run in part.runs] == [False, False, True, False, False]
    assert "‡ Beyond the end of the scale, which is the 50th percentile." in figure.sheet.notes
    assert "Colour is linear in the score and ends at ±1.00, the 50th percentile of |scores|." in figure.sheet.caption
    assert (figure.sheet.ramp.low, figure.sheet.ramp.high) == ("−1.00", "+1.00")
    matrix = lay_out_figure(lay_out(small(), drawing), replace(drawing, matrix=True))
    assert "‡ Beyond the end of the scale, which is the 50th percentile." in matrix.sheet.notes
    assert "Colour is linear in the score and ends at ±1.00, the 50th percentile of |scores|." in matrix.sheet.caption
    comparison = lay_out_comparison(Comparison((small(), small())), drawing)
    assert "‡ Beyond the end of the scale, which is the 50th percentile." in (
        lay_out_figure(comparison, drawing).sheet.notes
    )
    [entry] = [entry for entry in comparison.entries if entry.kind == "clipped"]
    assert entry.meaning == "beyond the end of the scale, which is the 50th percentile"


def test_without_the_option_nothing_but_the_sink_is_clipped():
    heatmap = lay_out(small())
    assert [cell.clipped for row in heatmap.rows for cell in row.cells] == [True, False, False, False] * 2
    [entry] = [entry for entry in heatmap.legend.entries if entry.kind == "clipped"]
    assert entry.meaning == "beyond the end of the scale" and "percentile" not in lay_out_matrix(heatmap).note()


@pytest.mark.parametrize(
    ("number", "text"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (13, "13th"), (21, "21st"),
     (92, "92nd"), (93, "93rd"), (99, "99th"), (99.5, "99.5th"), (99.9, "99.9th"), (0.1, "0.1th"), (100, "100th")],
)  # fmt: skip
def test_places_are_written_as_in_print(number, text):
    assert ordinal(number) == text


# --- the terminal ------------------------------------------------------------------------------------------------


def printed(result, **options):
    drawing = Drawing(theme="dark", **options)
    console = Console(file=io.StringIO(), width=100, color_system="truecolor", force_terminal=True)
    layout = (lay_out_comparison if isinstance(result, Comparison) else lay_out)(result, drawing)
    terminal.show(layout, drawing, console=console)
    return console.file.getvalue()


def backgrounds(text):
    return set(re.findall(r"48;2;(\d+;\d+;\d+)", text))


def steps_of(bins):
    styles = [shading(Colours("truecolor"), sign * step / bins) for sign in (1, -1) for step in range(1, bins + 1)]
    return {";".join(map(str, style.bgcolor.triplet)) for style in styles}


@pytest.mark.parametrize("bins", [1, 2, 5, 12])
def test_a_terminal_has_the_colours_of_the_steps_and_no_others(bins):
    result = long([step / 23 - 0.47 for step in range(24)])
    assert backgrounds(printed(result, bins=bins, matrix=True)) == steps_of(bins)
    assert len(backgrounds(printed(result, matrix=True))) > len(steps_of(bins))


def test_a_terminal_with_many_steps_shows_a_few_in_its_legend():
    assert 10 <= len(backgrounds(printed(long([1.0, -1.0]), bins=100))) <= 12 < len(steps_of(12))


def test_bars_in_a_terminal_are_as_long_as_their_scores():
    result = long([1.0, 0.5, 0.25, 0.12])
    bars = re.findall("[█▌▍▎▏▊▉▋]+", printed(result, bins=1).split("token")[1].split("\n\n")[0])
    assert bars == re.findall("[█▌▍▎▏▊▉▋]+", printed(result).split("token")[1].split("\n\n")[0])
    assert all(len(one) >= len(two) for one, two in pairwise(bars)) and len(bars) == 4


def test_a_terminal_says_what_its_scale_is():
    plain = " ".join(terminal.draw_heatmap(lay_out(small(), Drawing(clip=50, bins=2)), Drawing()).split())
    assert re.search(r"in tenths of ±[0-9.]+ %, the 50th percentile of .scores., in 2 steps\.", plain)
    assert "‡ beyond the end of the scale, which is the 50th percentile" in plain
    assert "[−10]" in plain and not re.search(r"\[[+−][1-46-9]\]", plain)
    coloured = re.sub(r"\x1b\[[\d;]*m", "", printed(small(), clip=50, matrix=True))
    assert "; the scale ends at the 50th percentile of |scores|" in " ".join(coloured.split())
    assert "one scale, ±1.00, the 50th percentile" in " ".join(coloured.split()) and "‡−4.00" in coloured
    both = " ".join(re.sub(r"\x1b\[[\d;]*m", "", printed(Comparison((small(), small())), clip=50)).split())
    assert both.count("the scale ends at the 50th percentile") == 2


# --- pages -------------------------------------------------------------------------------------------------------


def document(result, **options):
    drawing = Drawing(**options)
    if isinstance(result, Comparison):
        return html.draw_comparison(lay_out_comparison(result, drawing), drawing)
    return html.draw_heatmap(lay_out(result, drawing), drawing)


def shade_of(element):
    """What its class of shade stands for; None where it has none."""
    classes = [name for name in element.get("class").split() if re.fullmatch(r"s\d+", name)]
    return int(classes[0][1:]) / STEPS if classes else None


@pytest.mark.parametrize("options", [{"bins": 2}, {"clip": 50}, {"bins": 3, "clip": 60}])
def test_a_page_is_written_with_the_shades_of_the_layout(options):
    heatmap = lay_out(small(), Drawing(**options))
    tree = parse(document(small(), **options))
    cells = heatmap.overview.cells
    for mark in marks(tree):
        cell = cells[int(mark.get("data-source"))]
        if cell.value is not None:
            assert shade_of(mark) == pytest.approx(abs(cell.shade), abs=0.0026)
        assert ("clipped" in mark.get("class").split()) == cell.clipped
    matrix = lay_out_matrix(heatmap)
    shades = [abs(cell.shade) for row in matrix.rows for cell in row if cell.value is not None]
    squares = [each for each in tree.iter("td") if "square" in each.get("class", "").split()]
    assert [shade_of(each) for each in squares if shade_of(each) is not None] == pytest.approx(shades, abs=0.0026)


def test_a_page_says_what_its_scale_is():
    tree = parse(document(small(), bins=2, clip=50))
    assert text_of(tree, "shades") == "Shades are linear in the score, in 2 steps for each sign."
    assert text_of(tree, "end") == "The scale ends at the 50th percentile of |scores|."
    assert "beyond the end of the scale, which is the 50th percentile" in text_of(tree, "marks")
    assert "one scale, ±1.00, the 50th percentile of |scores|" in "".join(tree.itertext())
    plain = parse(document(small()))
    assert text_of(plain, "shades") == "Shades are linear in the score."
    assert not [each for each in plain.iter() if each.get("class") == "note end"]
    both = document(Comparison((small(), small())), clip=50)
    assert both.count('<p class="note end">The scale ends at the 50th percentile') == 2


@pytest.mark.parametrize(("name", "words"), [
    ("orange-blue", "orange speaks for it, blue against it"), ("PuOr", "orange speaks for it, purple against it"),
    ("RdBu", "red speaks for it, blue against it"), ("sequential", "teal speaks for it, underlined against it"),
])  # fmt: skip
def test_a_page_has_the_colours_of_its_palette_and_names_them(name, words):
    page = document(small(), palette=name)
    for palette in page_palettes(name):
        for role in ("positive", "negative"):
            assert f"--{role}: {' '.join(map(str, getattr(palette, role)))};" in page
    assert words in " ".join(text_of(parse(page), "guide").split())
    output = html.notebook(lay_out(small()), Drawing(palette=name))
    light = page_palettes(name)[0]
    assert f"rgb{light.fill(0.4)}" in output and words in " ".join("".join(parse_part(output)).split())


def parse_part(source):
    return re.sub("<[^>]*>", "", source.split('<div class="tokensal-static">')[1])


def test_the_ramp_of_a_page_has_the_steps():
    [bar] = [each for each in parse(document(small(), bins=2)).iter() if each.get("class") == "bar"]
    stops = re.findall(r"--(\w+)\) / ([\d.]+)\) ([\d.]+)% ([\d.]+)%", bar.get("style").partition(";")[0])
    assert [(role, float(shade)) for role, shade, *_ in stops] == [
        ("negative", 1), ("negative", 0.5), ("positive", 0), ("positive", 0.5), ("positive", 1),
    ]  # fmt: skip
    assert [float(end) for *_, end in stops] == [20, 40, 60, 80, 100]
    [bar] = [each for each in parse(document(small())).iter() if each.get("class") == "bar"]
    assert bar.get("style") is None


@pytest.mark.parametrize("options", [{"bins": 2}, {"clip": 50}, {"bins": 3, "clip": 60}])
def test_a_browser_shows_each_row_with_the_shades_of_the_layout(show, options):
    result = small()
    heatmap = lay_out(result, Drawing(**options))
    page = show(document(result, **options))
    for row in (None, 0, 1):
        if row is not None:
            target(page, row).hover()
        cells = (heatmap.overview if row is None else heatmap.rows[row]).cells
        assert [alpha for alpha, *_ in seen(page)] == pytest.approx([abs(cell.shade) for cell in cells], abs=0.003)
        beyond = page.evaluate(CLIPPED)
        assert beyond == [cell.source for cell in cells if cell.clipped]
        end = page.locator(".end")
        assert end.count() == ("clip" in options) and (not end.count() or "percentile" in end.inner_text())
    said = page.inner_text(".shades")
    assert said == text_of(parse(document(result, **options)), "shades") and ("steps" in said) == ("bins" in options)
