"""The matrix of an HTML page: every score on one scale, with JavaScript and without it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from test_html import ROOT, attribute, browser, contrast, document_of, parse, show, step_of, target
from test_sections import EXAMPLES, PIXELS, chat, contrasted, paired, several

from tokensal.render.html.page import CELLS
from tokensal.render.layout import lay_out, lay_out_matrix

__all__ = ["browser", "show"]  # fixtures, used by name


def test_every_score_has_a_cell_on_one_scale():
    heatmap = lay_out(paired())
    matrix, limit = lay_out_matrix(heatmap), max(row.limit for row in heatmap.rows)
    lines = parse(document_of(paired())).findall(".//details//tbody/tr")
    assert matrix.scale.limit == limit
    for row, cells, line in zip(heatmap.rows, matrix.rows, lines, strict=True):
        for score, cell, square in zip(row.cells, cells, line.findall("td"), strict=True):
            assert (cell.source, cell.value) == (score.source, score.value)
            if cell.value is None:
                assert square.text is None and "title" not in square.attrib and "square" not in square.get("class", "")
                continue
            assert square.text == matrix.scale.write(cell.value)
            assert cell.shade == pytest.approx(max(-1, min(1, cell.value / limit)))
            assert step_of(square) / 200 == pytest.approx(abs(cell.shade), abs=0.00251)
            assert cell.clipped == (abs(cell.value) > limit) == ("clipped" in square.get("class").split())
            assert ("negative" in square.get("class").split()) == (cell.value < 0)
    assert max(abs(cell.shade) for row in matrix.rows for cell in row) == 1


def test_what_the_decoder_reads_stands_behind_a_gap():
    matrix = lay_out_matrix(lay_out(paired()))
    assert matrix.name == "alignment matrix" and matrix.sections == (("source text", 4), ("answer", 2))
    assert [column.begins for column in matrix.columns] == [False] * 4 + [True, False]
    assert [column.label.sink for column in matrix.columns] == [False] * 4 + [True, False]
    assert lay_out_matrix(lay_out(contrasted())).sections == (("", 5), ("instead", 2))
    assert [count for _, count in lay_out_matrix(lay_out(chat())).sections] == [8, 9, 4]


def test_sources_without_a_score_have_no_column():
    matrix = lay_out_matrix(lay_out(chat(hidden=[0, 1, 2, 8])))
    assert (len(matrix.columns), matrix.left_out, len(matrix.rows)) == (17, 4, 2)
    assert {len(row) for row in matrix.rows} == {17}
    assert matrix.columns[0].label.name == "Be" and not matrix.columns[0].begins
    assert [column.label.name for column in matrix.columns if column.begins] == ["user", "<|start|>"]
    assert "4 sources without a score have no column" in document_of(chat(hidden=[0, 1, 2, 8]))
    assert "1 source without a score has no row" in lay_out_matrix(lay_out(chat(hidden=[0]))).note(turned=True)


def test_it_is_open_where_it_aligns_two_texts():
    details = [parse(document_of(each)).find(".//details") for each in (paired(), chat())]
    assert [each.get("open") is not None for each in details] == [True, False]
    compared = parse(document_of(several(paired()))).findall(".//details")
    assert [each.get("open") for each in compared] == [None, None]


def test_the_table_names_its_rows_and_columns():
    table = parse(document_of(EXAMPLES["chat"])).find(".//details//table")
    rows = table.findall("tbody/tr")
    assert [row.find("th").get("title") for row in rows] == [
        f"{name} · considered Tom 62\u00a0% · </script> 10\u00a0%" for name in ("Tom", ".")
    ]
    heads = table.findall("thead/tr[1]/th")
    assert [(head.get("scope"), head.get("colspan"), "".join(head.itertext())) for head in heads] == [
        ("colgroup", "8", "system"), ("colgroup", "9", "user"), ("colgroup", "4", "assistant"),
    ]  # fmt: skip
    assert {len(row.findall("td")) for row in rows} == {21} == {len(table.findall("thead/tr[2]/th"))}
    assert all(head.get("scope") == "col" for head in table.findall("thead/tr[2]/th"))


def test_a_huge_matrix_is_left_out_and_the_page_says_so():
    words = CELLS // 60 + 1
    large = attribute([f" w{index}" for index in range(words)], [f" g{index}" for index in range(60)], special=())
    document = document_of(large)
    assert "<details" not in document and "is too large for this page" in document and "JSON" in document
    fits = attribute([f" w{index}" for index in range(CELLS // 60 - 59)], large.text.split()[-60:], special=())
    assert "<details" in document_of(fits)
    assert "<details" not in document_of(several(fits))  # the page holds as many, not each method


# ── in a browser ────────────────────────────────────────────────────────────────────────────────────────────────────

ROWS = f"[...{ROOT}.querySelectorAll('[data-row]')].map((row) => row.classList.contains('shown-target'))"
PAINT = "e => [getComputedStyle(e).backgroundColor, getComputedStyle(e, '::before').content]"


def test_selecting_a_target_highlights_its_row_and_the_other_way_round(show):
    page = show(document_of(paired()))
    assert page.evaluate(ROWS) == [False, False]
    target(page, 1).hover()
    assert page.evaluate(ROWS) == [False, True]
    page.hover("h1")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(ROWS) == [True, False]
    page.hover("[data-row='1'] th")
    assert page.evaluate(ROWS) == [False, True] and "token 2 of 2" in page.inner_text("#shown")
    page.click("[data-row='1'] th")
    page.hover("h1")
    assert target(page, 1).get_attribute("aria-pressed") == "true"
    page.keyboard.press("Escape")
    page.hover("h1")
    assert page.evaluate(ROWS) == [False, False]


def test_no_row_moves_when_another_is_shown(show):
    words = [f" word{index}" for index in range(12)]
    scores = torch.zeros(6, 17)
    scores[2, :9], scores[4, 3] = -torch.arange(1.0, 10.0), 1.0  # lists of nine, of one, and of none
    page = show(document_of(attribute(words, [f" w{index}" for index in range(6)], scores, special=(), sink=None)))
    page.click("summary")
    places = []
    for row in range(6):
        page.hover(f"[data-row='{row}'] th")
        places.append([page.locator(f"[data-row='{each}'] th").bounding_box()["y"] for each in range(6)])
    assert places == [places[0]] * 6


def test_it_works_without_javascript(show):
    page = show(document_of(paired()), java_script_enabled=False)
    heatmap = lay_out(paired())
    squares, scale = page.locator(".square"), lay_out_matrix(heatmap).scale
    values = [cell.value for row in heatmap.rows for cell in row.cells if cell.value is not None]
    assert squares.count() == len(values)
    for index, value in enumerate(values):
        paper, mark = squares.nth(index).evaluate(PAINT)
        assert paper.startswith("rgb")
        assert mark == "none"  # the number has its sign
        assert squares.nth(index).inner_text() == scale.write(value)


def test_a_wide_matrix_scrolls_in_a_box_of_its_own_and_keeps_its_names(show):
    words = [f" word{index}" for index in range(80)]
    page = show(document_of(attribute(words, [" x", " y"], special=())), viewport={"width": 800, "height": 700})
    page.click("summary")
    box = page.locator(".sheet")
    assert page.evaluate("document.documentElement.scrollWidth") <= 800
    assert box.evaluate("e => e.scrollWidth > e.clientWidth")
    name = page.locator("[data-row='0'] th")
    before = name.bounding_box()["x"]
    box.evaluate("e => (e.scrollLeft = 600)")
    assert name.bounding_box()["x"] == pytest.approx(before, abs=1)
    assert page.get_by_role("region", name="matrix").get_attribute("tabindex") == "0"


def test_names_of_columns_do_not_collide(show):
    long = attribute(["incomprehensibilities " * 3, " a", " internationalisation"], [" x", " y"], special=())
    page = show(document_of(long))
    page.click("summary")
    boxes = [page.locator("thead th[scope='col'] span").nth(index).bounding_box() for index in range(4)]
    for left, right in pairwise(boxes):
        assert left["x"] + left["width"] <= right["x"] + 1
    assert max(box["height"] for box in boxes) < 220
    squares = page.locator("[data-row='0'] td").nth(0).bounding_box()
    assert boxes[0]["y"] + boxes[0]["height"] <= squares["y"] + 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_marks_on_squares_are_readable(show, scheme):
    shades = torch.linspace(-1, 1, 41)
    page = show(
        document_of(
            attribute([f" w{i}" for i in range(40)], [" x", " y"], torch.stack([shades, shades]), special=(), sink=None)
        ),
        color_scheme=scheme,
    )
    page.click("summary")
    strong = [page.locator("[data-row='0'] .square").nth(index).evaluate(PIXELS, "::before") for index in range(8)]
    assert min(contrast(paper, ink) for paper, ink in strong) >= 4.5


def test_the_clipped_sink_is_marked(show):
    scores = torch.tensor([[9.0, 1.0, -0.5]])
    example = attribute(["<s>", " a", " b"], [" x"], scores)
    page = show(document_of(replace(example, encoder=0)))
    page.click("summary")
    assert page.locator(".square.clipped").count() == 1
    assert page.locator("thead th[scope='col']").first.inner_text().endswith("†")
