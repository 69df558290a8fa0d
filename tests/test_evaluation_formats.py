"""How an evaluation is drawn: every format says what the layout says, and what is hostile stays text."""

from __future__ import annotations

import csv
import html
import io
import json
import math
import re
import subprocess
import unicodedata
from dataclasses import replace

import pytest
import torch
from evaluations import POINTS, evaluation, hostile
from test_html import browser, show  # noqa: F401
from test_latex import engine  # noqa: F401

from tokensal.drawing import Drawing
from tokensal.errors import InputError
from tokensal.render import encode
from tokensal.render.html.evaluation import BAR, bar, plot
from tokensal.render.layout.evaluation import MARK, NOTHING, lay_out_evaluation
from tokensal.render.layout.numbers import exact
from tokensal.render.terminal import draw_evaluation

TABLES = (".html", ".md", ".tex", ".txt")


def drawn(result, suffix, **options):
    return encode(result, f"e{suffix}", Drawing(**options)).decode()


def read(source, suffix):
    """The text that a reader sees, in one line, as far as escapes of a format are concerned."""
    if suffix == ".html":
        source = html.unescape(re.sub(r"<style>.*?</style>|<[^>]*>", " ", source, flags=re.DOTALL))
    if suffix == ".md":
        source = re.sub(r"\\([^\w\s])", r"\1", source).replace("`@`", "@")
    if suffix == ".tex":
        body = source.partition("\\begingroup")[2].partition("\\endgroup")[0]
        source = (
            re.sub(r"\$([^$]*)\$", r"\1", body.replace("$-$", "−"))
            .replace(r"\uparrow", "↑")
            .replace(r"\downarrow", "↓")
        )
        source = re.sub(r"\\shortstack\[r\]|\\footnotesize|\\scriptsize|\\rlap|\\text(bf|it)|[{}]", "", source)
        source = source.replace(r"\_", "_").replace(r"\\", " ").replace("&", " ")
    return " ".join(source.split())


# The layout


def test_the_best_and_those_that_are_tied_are_marked():
    tables = lay_out_evaluation(evaluation())
    [good, poor, chance] = tables.tables[0].rows
    assert all(cell.best and cell.mark == MARK for cell in good.cells)
    assert not any(cell.tied or cell.mark for row in (poor, chance) for cell in row.cells)
    few = lay_out_evaluation(evaluation(5, kinds=("",))).tables[0]
    assert all(cell.mark == MARK for row in few.rows for cell in row.cells)
    assert [cell.best for row in few.rows for cell in row.cells] == [True, True, False, False, False, False]
    assert few.notes[0].startswith("With 5 prompts no difference can be significant, so all are marked: at least 7")


def test_each_kind_has_a_table_where_there_are_several():
    assert [(table.title, table.count) for table in lay_out_evaluation(evaluation()).tables] == [
        ("all prompts", 12), ("facts", 6), ("needle", 6),
    ]  # fmt: skip
    assert len(lay_out_evaluation(evaluation(kinds=("",))).tables) == 1
    assert lay_out_evaluation(evaluation(kinds=("",))).subject.endswith("on 12 prompts, dates")
    assert lay_out_evaluation(evaluation()).subject.endswith("on 12 prompts (6 facts, 6 needle), dates")


def test_means_and_intervals_are_those_of_the_standings():
    result = evaluation()
    row = lay_out_evaluation(result).tables[1].rows[1]
    mean = result.standings("drop", kind="facts")[1].mean
    assert row.cells[1].value == mean.value and row.cells[1].span == (mean.low, mean.high)
    assert row.cells[1].mean == f"{mean.value:.2f}"
    assert row.cells[1].interval == f"[{mean.low:.2f}, {mean.high:.2f}]"
    assert lay_out_evaluation(result).tables[0].rows[0].cells[1].mean.startswith("−1.")
    assert [row.seconds for row in lay_out_evaluation(result).tables[0].rows] == ["0.50", "0.25", "0.01"]


def test_zero_has_as_many_decimals_as_the_others():
    result = evaluation()
    values = result.values.clone()
    values[:, 2, 0] = 0.0
    [*_, chance] = lay_out_evaluation(replace(result, values=values)).tables[0].rows
    assert (chance.cells[0].mean, chance.cells[0].interval) == ("0.00", "[0.00, 0.00]")


def test_what_is_missing_is_said():
    notes = lay_out_evaluation(evaluation()).tables[0].notes
    assert notes == ("Defined on 11 of 12 prompts: recall.", "poor lacks 1 prompt of every metric.")
    result = evaluation()
    values = result.values.clone()
    values[:, :, 0] = math.nan
    table = lay_out_evaluation(replace(result, values=values)).tables[0]
    assert "Defined on none of 12 prompts: recall." in table.notes
    assert {row.cells[0].mean for row in table.rows} == {NOTHING} and not any(row.cells[0].tied for row in table.rows)
    [failure] = lay_out_evaluation(result).failures
    assert failure == "poor could not explain 1 of 12 prompts: It takes too long: choose a shorter text."


def test_many_reasons_of_failures_are_counted():
    result = evaluation()
    failures = tuple(replace(result.failures[0], prompt=number, reason=f"Reason {number}.") for number in range(8))
    sentences = lay_out_evaluation(replace(result, failures=failures)).failures
    assert len(sentences) == 6 and sentences[-1].startswith("There were 3 further reasons")


def test_curves_are_means_over_the_prompts_that_have_one():
    result = evaluation()
    curves = lay_out_evaluation(result).curves
    assert [(each.name, each.prompts) for each in curves] == [("good", 12), ("poor", 11), ("random", 12)]
    assert curves[1].most_first == pytest.approx(result.curves[1, 1, 0].tolist())
    assert lay_out_evaluation(result).shares == (0, 0.25, 0.5, 0.75, 1)
    empty = replace(result, curves=torch.full_like(result.curves, math.nan))
    assert lay_out_evaluation(empty).curves == () and "<figure" not in drawn(empty, ".html")


def test_ticks_span_the_curves():
    result = evaluation()
    for factor, ticks in ((1, (0, 0.5, 1)), (3, (0, 0.5, 1, 1.5, 2, 2.5, 3)), (-2, (-2, -1.5, -1, -0.5, 0, 0.5, 1))):
        assert lay_out_evaluation(replace(result, curves=result.curves * factor)).ticks == ticks


# Formats


@pytest.mark.parametrize("suffix", TABLES)
def test_every_format_has_the_numbers_names_and_notes_of_the_layout(suffix):
    result, tables = evaluation(), lay_out_evaluation(evaluation())
    source = drawn(result, suffix)
    text = read(source, suffix)
    everything = " ".join(re.sub(r"^%", "", source, flags=re.MULTILINE).split()) if suffix == ".tex" else text
    for table in tables.tables:
        assert table.title.lower() in text.lower()
        for row in table.rows:
            for cell in row.cells:
                mean = f"**{cell.mean}**" if suffix == ".md" and cell.best else cell.mean
                mark = f"{mean} {MARK}" if suffix == ".html" and cell.mark else mean + cell.mark
                assert mark in text or f"{mean}{MARK}" in text
                assert cell.interval in text
            assert row.name in text and row.seconds in text
    heads = [f"{head.name} {head.arrow}" for head in tables.heads]
    assert all(head in text for head in heads)
    said = everything.replace(r"$\geq$", "≥").replace(r"\%", "%").replace("95~", "95 ").replace("\xa0", " ")
    for sentence in (*tables.notes, *tables.failures, *(note for table in tables.tables for note in table.notes)):
        assert " ".join(sentence.split()) in " ".join(said.split())
    assert all(name in everything and value in everything for name, value in tables.facts)
    if suffix != ".tex":
        assert all(head.summary in text and head.better in text for head in tables.heads)


@pytest.mark.parametrize("suffix", TABLES)
def test_baselines_are_set_apart(suffix):
    source = drawn(evaluation(), suffix)
    assert {
        ".html": 'class="baseline"><th scope="row" title="Random(seed=0)">random' in source,
        ".md": "| *random* |" in source,
        ".tex": "baselines" in source.partition("random &")[0],
        ".txt": bool(re.search(r"\n\nrandom  ", source)),
    }[suffix]


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_the_terminal_keeps_its_width(width):
    for result in (evaluation(), hostile()):
        lines = draw_evaluation(lay_out_evaluation(result), width=width).splitlines()
        widest = max(lines, key=len)
        assert len(widest) <= max(width, 44), widest  # one column with its interval takes as much
    assert draw_evaluation(lay_out_evaluation(evaluation()), width=200).count("\ngood") == 4  # 3 tables and the legend


@pytest.mark.parametrize("suffix", TABLES)
def test_nothing_hostile_is_markup_or_controls_a_terminal(suffix):
    source = drawn(hostile(), suffix)
    assert not {"\x1b", "\u202e", "\ud800"} & set(source)
    if suffix == ".html":
        assert "<b>x" not in source and source.count("<script") == 0 and "&lt;/script&gt;&lt;b&gt;x" in source
    if suffix == ".tex":
        body = "\n".join(line for line in source.splitlines() if not line.startswith("%"))
        assert "&amp;" not in body.replace(r"\&amp;", "") and r"\&amp;" in body
        assert r"\input{" not in body and r"\textbackslash{}input" in body
    if suffix == ".md":
        assert "](u)" not in re.sub(r"`[^`\n]*`", "", source).replace("\\]", "")
        rows = [line for line in source.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows if "absent" not in row}) <= 2


def test_csv_and_parquet_hold_every_number_exactly(tmp_path):
    import pandas

    result = hostile()
    result.save(tmp_path / "e.parquet")
    back = pandas.read_parquet(tmp_path / "e.parquet")
    pandas.testing.assert_frame_equal(back, result.to_pandas(), check_exact=True)
    lines = list(csv.reader(io.StringIO(drawn(result, ".csv"))))
    assert len(lines) == 1 + 12 * 3 * 2
    values = torch.tensor([float(line[-2] or "nan") for line in lines[1:]], dtype=torch.float64)
    expected = result.values.flatten()
    assert torch.equal(values.nan_to_num(7), expected.nan_to_num(7))
    import pyarrow.parquet

    schema = pyarrow.parquet.read_schema(tmp_path / "e.parquet")
    document = json.loads(schema.metadata[b"tokensal"])
    assert document["config"] == dict(result.config) and document["failures"][0]["prompt"] == 0
    assert all(field.metadata[b"description"] for field in schema)


def test_a_bar_holds_its_interval():
    table = lay_out_evaluation(evaluation()).tables[0]
    for column in range(2):
        places = [bar(row.cells[column], table.range(column)) for row in table.rows]
        for place, row in zip(places, table.rows, strict=True):
            assert 0 <= place["start"] <= place["mean"] <= place["start"] + place["length"] + 0.1 <= BAR + 0.1
            assert (place["mean"] < place["zero"]) == (row.cells[column].value < 0)


def test_points_of_a_curve_are_where_its_values_are():
    tables = lay_out_evaluation(evaluation())
    figure = plot(tables, tables.curves[0])
    left, top, right, bottom = figure["frame"]
    points = [tuple(map(float, pair.split(","))) for pair in figure["most"].split()]
    assert points[0] == (left, top) and points[-1] == (right, bottom) and len(points) == POINTS
    assert points[2][1] == pytest.approx(bottom + (top - bottom) * 0.25, abs=0.1)
    assert exact(0.25) in figure["said"] and exact(0.5**0.5) in figure["said"]
    assert figure["chance_most"] and not plot(tables, tables.chance)["chance_most"]


# Figures


def test_a_figure_has_the_curves_of_every_method_and_tells_them():
    from xml.etree import ElementTree

    tables = lay_out_evaluation(evaluation())
    root = ElementTree.fromstring(drawn(evaluation(), ".svg", width="page"))
    space = "{http://www.w3.org/2000/svg}"
    lines = [line.get("points").split() for line in root.iter(f"{space}polyline")]
    assert sorted(map(len, lines)) == [2] * 3 + [POINTS] * (2 * 3 + 2 * 2)  # the legend, and chance behind two methods
    first, second = lines[2], lines[3]  # of the first method, behind those of chance
    places = [tuple(map(float, point.split(","))) for point in first]
    heights = [y for _, y in places]
    share = (heights[-1] - heights[2]) / (heights[-1] - heights[0])
    assert share == pytest.approx(tables.curves[0].most_first[2], abs=1e-3) and first[0] == second[0]
    assert root.find(f"{space}title").text == tables.title
    assert all(each.described(2, 0.5) in root.find(f"{space}desc").text for each in tables.curves)
    texts = " ".join("".join(text.itertext()) for text in root.iter(f"{space}text"))
    assert all(word in texts for word in ("good", "poor", "random", "most relevant first", "100"))
    dashed = [line for line in root.iter(f"{space}polyline") if line.get("stroke-dasharray")]
    assert len(dashed) == 3 + 1  # told apart without colour, too


@pytest.mark.parametrize("suffix", [".svg", ".pdf", ".png"])
def test_figures_are_drawn_of_anything_and_are_the_same_twice(suffix):
    for result in (evaluation(), hostile()):
        content = encode(result, f"e{suffix}", Drawing())
        assert content == encode(result, f"e{suffix}", Drawing()) and len(content) > 2000
    empty = replace(evaluation(), curves=torch.full_like(evaluation().curves, math.nan))
    with pytest.raises(InputError, match="has no curves to draw: measure abpc, too"):
        encode(empty, f"e{suffix}", Drawing())


# In a browser


@pytest.mark.parametrize("result", [evaluation, hostile])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360])
def test_the_page_fits_its_window_and_is_accessible(show, result, scheme, width):  # noqa: F811
    page = show(drawn(result(), ".html"), viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("table").count() == 3 and page.locator("h1").count() == 1
    assert page.locator("thead th[scope=col]").count() == 3 * 4 and page.locator("tbody th[scope=row]").count() == 9
    figures = page.locator("figure svg[role=img]")
    assert figures.count() == 3
    for index in range(3):
        assert figures.nth(index).locator("title").text_content() and figures.nth(index).locator("desc").text_content()
        box = figures.nth(index).bounding_box()
        assert box["width"] > 150 and box["height"] > 80
    colours = page.evaluate(
        """() => ["h1", ".note", "figcaption"].map((each) => {
            const element = document.querySelector(each);
            const whole = element.closest(".tokensal-evaluation");
            return [getComputedStyle(element).color, getComputedStyle(whole).backgroundColor];
        })"""
    )
    assert all(contrast(*pair) >= 4.5 for pair in colours)


def contrast(ink: str, paper: str) -> float:
    """The contrast ratio of WCAG."""
    lights = []
    for colour in (ink, paper):
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def test_a_fragment_is_no_document_and_a_notebook_has_it():
    fragment = drawn(evaluation(), ".html", standalone=False)
    assert fragment.startswith('<div class="tokensal-evaluation">') and "<html" not in fragment
    assert evaluation()._repr_html_() == fragment


# Through TeX


@pytest.mark.parametrize("standalone", [True, False])
@pytest.mark.parametrize("result", [evaluation, hostile])
def test_every_engine_sets_the_table(engine, tmp_path, result, standalone):  # noqa: F811
    source = drawn(result(), ".tex", standalone=standalone)
    if not standalone:
        source = rf"\documentclass{{article}}\usepackage{{xcolor}}\begin{{document}}{source}\end{{document}}"
    (tmp_path / "e.tex").write_text(source, encoding="utf-8")
    command = [engine, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "e.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120)
    log = done.stdout.decode(errors="replace")
    assert done.returncode == 0, log[-2000:]
    if standalone:
        assert "(1 page" in log.replace("\n", "") and "Overfull \\hbox" not in log
    if result is evaluation:
        text = subprocess.run(["pdftotext", "-layout", "e.pdf", "-"], cwd=tmp_path, capture_output=True).stdout.decode()
        text = unicodedata.normalize("NFKC", text)
        for row in lay_out_evaluation(evaluation()).tables[0].rows:
            assert row.name in text and all(
                cell.interval.replace("−", "-") in text.replace("−", "-") for cell in row.cells
            )
