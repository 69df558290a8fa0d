"""Several methods on one example: what is shared, how agreement is counted, and what is drawn of it."""

from __future__ import annotations

import inspect
import io
import json
import math
import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from counting import CountingAdapter
from models import adapter
from rich.cells import cell_len
from rich.console import Console
from test_html import (
    ACTIVE,
    ANSWER,
    HOSTILE,
    LOOK,
    SCORES,
    attribute,
    browser,
    capital,
    document_of,
    parse,
    show,
    target,
)
from test_terminal import printed, text_page

import tokensal
from tokensal import Attribution, Comparison, GradCAM, Gradient, Occlusion, compare
from tokensal.config import resolve
from tokensal.drawing import Drawing
from tokensal.errors import FormatError, InputError
from tokensal.render import terminal
from tokensal.render.layout import lay_out, lay_out_comparison
from tokensal.render.layout.numbers import exact

__all__ = ["browser", "show"]  # fixtures, used by name


def named(attribution: Attribution, method: str, seconds: float = 1.5) -> Attribution:
    made = replace(attribution.provenance, method=method.lower(), method_repr=f"{method}()", seconds=seconds)
    return replace(attribution, provenance=made)


def three() -> Comparison:
    """Two signed methods that turn each other's order round, and an unsigned one."""
    turned = attribute(scores=SCORES.flip(1))
    return Comparison((named(capital(), "One"), named(turned, "Two"), named(capital(signed=False), "Three", 12.0)))


@pytest.fixture(scope="module")
def model():
    return adapter("Llama", dtype=torch.float32)


# ── the entry point ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_example_is_made_once_and_shared(model, monkeypatch):
    examples, example = [], model.example
    monkeypatch.setattr(model, "example", lambda **options: examples.append(example(**options)) or examples[-1])
    sampled = {"generation": {"do_sample": True}, "max_new_tokens": 4, "seed": 3}
    found = compare(model, "The cat", methods=["gradient", GradCAM(layers="all"), "occlusion"], **sampled)
    assert len(examples) == 1
    for each in found.attributions:
        assert [source.ids for source in each.sources] == [(token.id,) for token in examples[0].sources]
        assert [target.ids for target in each.targets] == [(token.id,) for token in examples[0].targets]
    assert [each.provenance.method for each in found.attributions] == ["gradient", "grad_cam", "occlusion"]
    assert {each.provenance.seed for each in found.attributions} == {3}
    assert repr(found).startswith("Comparison(Gradient(norm='l2'), GradCAM(")


def test_each_is_what_attribute_says(model):
    found = compare(model, "The cat", continuation=" sat on", methods=["input_x_gradient", Gradient(norm="l1")])
    for each, method in zip(found.attributions, ["input_x_gradient", Gradient(norm="l1")], strict=True):
        alone = tokensal.attribute(model, "The cat", continuation=" sat on", method=method)
        assert torch.equal(each.scores.nan_to_num(7), alone.scores.nan_to_num(7))
        assert each.provenance.method_repr == alone.provenance.method_repr


def test_the_same_arguments_as_attribute_and_the_same_defaults():
    one, several = (dict(inspect.signature(call).parameters) for call in (tokensal.attribute, compare))
    methods = several.pop("methods").default
    del one["method"]
    assert {name: each.default for name, each in one.items()} == {name: each.default for name, each in several.items()}
    assert list(methods) == resolve("compare", {})["methods"]


def test_methods_share_one_engine_and_its_forwards(model):
    methods = ["gradient", "input_x_gradient", "occlusion"]
    options = {"continuation": " sat on", "alternatives": 2}
    counting = CountingAdapter(model)
    compare(counting, "The cat", methods=methods, **options)
    shared = counting.forwards
    counting = CountingAdapter(model)
    for method in methods:
        tokensal.attribute(counting, "The cat", method=method, **options)
    assert shared <= counting.forwards - 2  # the example as it is runs once, for the alternatives and for all methods


def test_a_seed_is_drawn_once_for_all(model):
    found = compare(model, "The cat", methods=["gradient", "grad_cam"], generation={"do_sample": True})
    [seed] = {each.provenance.seed for each in found.attributions}
    assert seed is not None


def test_seconds_are_those_of_the_method(model, monkeypatch):
    clock = iter([0.0, 1.0, 10.0, 13.0])
    monkeypatch.setattr("tokensal.case.time.perf_counter", lambda: next(clock))
    found = compare(model, "The cat", continuation=" sat", methods=["gradient", "grad_cam"])
    assert [each.provenance.seconds for each in found.attributions] == [1.0, 3.0]


def test_progress_runs_once_from_nothing_to_all(model):
    told: list[float] = []
    compare(model, "The cat", continuation=" sat", methods=["gradient", "occlusion", "grad_cam"],
            progress=lambda done, total: told.append(done / total))  # fmt: skip
    assert told == sorted(told) and told[-1] == 1.0
    assert {round(share, 9) for share in told} >= {round(1 / 3, 9), round(2 / 3, 9)}


@pytest.mark.parametrize(
    ("methods", "sentence"),
    [
        (["gradient"], "at least two methods, but got 1"),
        ([], "at least two methods, but got 0"),
        ("gradient", "should be a list"),
        (["gradient", "gradeint"], "did you mean 'gradient'"),
        (["gradient", Gradient()], r"Gradient\(norm='l2'\) is given 2 times"),
    ],
)
def test_what_cannot_be_compared_is_said_before_the_work(methods, sentence):
    with pytest.raises(InputError, match=sentence):
        compare(None, "The cat", methods=methods)


def test_attributions_of_other_tokens_are_refused():
    with pytest.raises(InputError, match=r"same tokens.*Two\(\).*One\(\)"):
        Comparison((named(capital(), "One"), named(attribute(answer=[" Oslo"]), "Two")))
    with pytest.raises(InputError, match="at least two"):
        Comparison((capital(),))


# ── agreement ───────────────────────────────────────────────────────────────────────────────────────────────────────


def ranks(values: list[float]) -> list[float]:
    """One plus the number of smaller ones, and half of the equal ones."""
    return [sum(o < v for o in values) + (sum(o == v for o in values) + 1) / 2 for v in values]


def slow_agreement(comparison: Comparison, one: int, other: int, sink: bool) -> float:
    """Twin: Pearson's correlation of the ranks, a loop for everything."""
    a, b = comparison.attributions[one], comparison.attributions[other]
    found = []
    for row in range(len(a.targets)):
        seen = [s for s in range(len(a.sources)) if a.visible[row, s] and (sink or s != a.sink)]
        x, y = (ranks([abs(each.scores[row, s].item()) for s in seen]) for each in (a, b))
        if len(seen) < 3 or len(set(x)) == 1 or len(set(y)) == 1:
            continue
        mean = (len(seen) + 1) / 2
        top = sum((p - mean) * (q - mean) for p, q in zip(x, y, strict=True))
        found.append(top / math.sqrt(sum((p - mean) ** 2 for p in x) * sum((q - mean) ** 2 for q in y)))
    return sum(found) / len(found) if found else math.nan


@pytest.mark.parametrize("sink", [False, True])
@pytest.mark.parametrize("rounded", [True, False], ids=["ties", "no ties"])
def test_agreement_agrees_with_its_slow_twin(sink, rounded):
    generator = torch.Generator().manual_seed(1)
    tables = [torch.randn(4, 9, generator=generator) * 2 for _ in range(4)]
    found = Comparison(tuple(attribute(scores=table.round() if rounded else table) for table in tables))
    table = found.agreement(sink=sink)
    assert table.shape == (4, 4) and table.dtype == torch.float64
    for one in range(4):
        for other in range(4):
            assert table[one, other].item() == pytest.approx(slow_agreement(found, one, other, sink), abs=1e-12)


def pair(first: list[list[float]], second: list[list[float]], **options: Any) -> float:
    tokens = {"prompt": list("abcd"), "answer": list("xy"[: len(first)]), "special": (), **options}
    made = (attribute(scores=torch.tensor(table), **tokens) for table in (first, second))
    return Comparison(tuple(made)).agreement()[0, 1].item()


def test_agreement_by_hand():
    assert pair([[1.0, 2, 3, 4]], [[10.0, 20, 30, 90]], sink=None) == pytest.approx(1)
    assert pair([[1.0, 2, 3, 4]], [[-4.0, 3, -2, 1]], sink=None) == pytest.approx(-1)  # the size counts, not the sign
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5.
    assert pair([[1.0, 2, 2, 3]], [[1.0, 2, 3, 4]], sink=None) == pytest.approx(math.sqrt(0.9))
    assert pair([[9.0, 1, 2, 3]], [[0.0, 1, 2, 3]], sink=0) == pytest.approx(1)  # the sink is left out


def test_targets_that_say_nothing_are_skipped():
    flat = [[5.0, 5, 5, 5, 0], [1.0, 2, 3, 4, 5]]
    assert pair(flat, [[1.0, 2, 3, 4, 0], [1.0, 2, 3, 4, 5]], sink=None) == pytest.approx(1)
    assert math.isnan(pair([[5.0, 5, 5, 5]], [[1.0, 2, 3, 4]], sink=None))
    assert math.isnan(pair([[1.0, 2, 3]], [[1.0, 2, 3]], prompt=list("abc"), sink=0))  # two are too few


# ── JSON ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_json_reads_back_exactly(tmp_path):
    three().save(tmp_path / "c.json")
    data = json.loads((tmp_path / "c.json").read_text())
    assert (data["schema"], data["version"]) == ("tokensal/comparison", 3)
    assert {each["schema"] for each in data["attributions"]} == {"tokensal/attribution"}
    back = Comparison.load(tmp_path / "c.json")
    back.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "c.json").read_bytes()
    assert torch.equal(back.agreement(), three().agreement())


def test_files_of_the_other_kind_and_damaged_ones_are_said_to_be_so(tmp_path):
    three().save(tmp_path / "c.json")
    capital().save(tmp_path / "a.json")
    with pytest.raises(FormatError, match=r"read it with `Comparison\.load`"):
        Attribution.load(tmp_path / "c.json")
    with pytest.raises(FormatError, match=r"read it with `Attribution\.load`"):
        Comparison.load(tmp_path / "a.json")
    data = json.loads((tmp_path / "c.json").read_text())
    (tmp_path / "c.json").write_text(json.dumps({**data, "attributions": data["attributions"][:1]}))
    with pytest.raises(FormatError, match=r"damaged.*at least two"):
        Comparison.load(tmp_path / "c.json")


# ── layout and terminal ─────────────────────────────────────────────────────────────────────────────────────────────


def test_facts_are_said_once_where_they_hold_for_all():
    layout = lay_out_comparison(three())
    assert [name for name, _ in layout.shared] == ["model", "score", "dtype", "device", "tokensal"]
    assert layout.own[2] == (("method", "Three()"), ("time", "12.00 s"))
    assert layout.heatmaps[0] == lay_out(three().attributions[0])
    assert layout.agreement[0][0] == 1.0 and layout.agreement[0][2] == 1.0
    assert "the sink left out" in layout.meaning
    assert "the sink left out" not in lay_out_comparison(three(), Drawing(sink=True)).meaning


GOLDEN = """\
causal · logprob

1 one
<s>†‡[+10]The[+2] capital[+8] of[−6] France[+10] is[−3] ›Paris,[+1] France.

In the text: mean share over all generated tokens, in tenths of ±25.8 %.
† attention sink, +53.5 %, left out of scale and ranking; with it, the scale would reach ±53.5 %
method One() · time 1.50 s
"""


def test_a_page_of_text():
    page = text_page(three(), width=100)
    assert page.startswith(GOLDEN)
    assert re.search(r"Rank agreement\n +1 +2 +3\n1 one +· +−?0\.\d\d +1\.00\n2 two", page)
    assert "Magnitudes are ranked" in page
    assert page.count("In the text: ") == 3
    assert page.splitlines()[-3] == "› written by the model   ‡ beyond the end of the scale   <s> special token"
    assert page.splitlines()[-1] == "model tiny/causal @ abc123 · dtype float32 · device cpu · tokensal 0.0.1"


@pytest.mark.parametrize("system", [None, "truecolor"])
def test_no_line_is_wider_than_the_page(system):
    many = Comparison(tuple(named(capital(), f"Method{index}") for index in range(7)))
    for width in (20, 27, 40, 80, 120):
        page = re.sub(r"\x1b\[[0-9;]*m", "", printed(many, width, system))
        assert max(map(cell_len, page.splitlines())) <= width
        assert page.count("1.00") == 42  # however narrow, no pair is missing


def test_no_escape_codes_without_colour(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    console = Console(file=io.StringIO(), width=100, color_system="truecolor", force_terminal=True)
    terminal.show(lay_out_comparison(three()), console=console)
    assert console.file.getvalue() == text_page(three(), width=100)


def test_the_matrix_of_each_method_is_printed_where_it_is_asked_for():
    assert printed(three(), 100, matrix=True).count("one scale") == 3
    assert "one scale" not in printed(three(), 100)


def test_what_has_no_agreement_is_said_to_have_none():
    flat = Comparison((attribute(scores=torch.zeros(4, 9)), capital()))
    assert re.search(r"1 gradient +· none", text_page(flat))
    assert document_of(flat).count("<td>none</td>") == 2


# ── HTML ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def hostile() -> Comparison:
    example = attribute(HOSTILE, HOSTILE)
    return Comparison((named(example, "<b>&"), named(example, "{{x}}</script>")))


@pytest.mark.parametrize("example", [three(), hostile()], ids=["three", "hostile"])
def test_page_is_valid_html_that_asks_for_nothing_outside_itself(example):
    document = document_of(example)
    tree = parse(document)
    assert not re.search(r"https?://|url\(|@import", document)
    assert len(tree.findall(".//script")) == 3 and not tree.findall(".//img")
    identifiers = [element.get("id") for element in tree.iter() if element.get("id")]
    assert len(identifiers) == len(set(identifiers))
    shown = ["".join(title.itertext()) for title in tree.findall(".//article//h2")]
    methods = [each.provenance.method_repr for each in example.attributions]
    assert shown == [f"{number} {method}" for number, method in enumerate(methods, 1)]


def test_notebook_frames_the_page():
    assert 'sandbox="allow-scripts"' in three()._repr_html_()


def shades(page: Any) -> list[list[tuple[float, bool]]]:
    looks = [(look["alpha"], look["dotted"]) for look in page.evaluate(LOOK)]
    return [looks[:9], looks[9:18], looks[18:]]


def assert_rows(page: Any, row: int | None) -> None:
    """Every panel shows `row`, in its own colours, on its own scale."""
    for view, heatmap in zip(shades(page), lay_out_comparison(three()).heatmaps, strict=True):
        cells = (heatmap.overview if row is None else heatmap.rows[row]).cells
        for (alpha, dotted), cell in zip(view, cells, strict=True):
            assert alpha == pytest.approx(abs(cell.shade), abs=0.0051)
            assert dotted == ((cell.value or 0) < 0)
    panels = [json.loads(page.text_content("#data"))["views"][view] for view in range(3)]
    wanted = [panel["overview"] if row is None else panel["rows"][row] for panel in panels]
    assert page.locator(".high").all_inner_texts() == [panel["high"] for panel in wanted]
    assert page.locator(".number").all_inner_texts() == [rank["number"] for panel in wanted for rank in panel["top"]]


def test_a_target_pointed_at_in_one_panel_is_shown_in_all(show):
    page = show(document_of(three()))
    assert_rows(page, None)
    target(page, 2).nth(1).hover()
    assert_rows(page, 2)
    assert "token 3 of 4" in page.inner_text("#shown")
    target(page, 1).nth(2).click()
    page.hover("h1")
    assert_rows(page, 1)
    assert page.locator("[data-target='1'][aria-pressed='true']").count() == 3
    page.keyboard.press("Escape")
    assert_rows(page, None)


def test_arrow_keys_stay_in_their_panel(show):
    page = show(document_of(three()))
    page.keyboard.press("ArrowRight")
    assert_rows(page, 0)
    target(page, 0).nth(1).focus()
    page.keyboard.press("ArrowRight")
    assert_rows(page, 1)
    focused = f"{ACTIVE}.closest('article').getAttribute('aria-labelledby')"
    assert page.evaluate(focused) == "method-2"
    names = [f"generated, {name}()" for name in ("One", "Two", "Three")]
    for name in names:
        bar = page.get_by_role("toolbar", name=name)
        assert bar.get_by_role("button").all_inner_texts() == [token.strip() for token in ANSWER]


def test_a_source_pointed_at_is_read_in_every_panel(show):
    page = show(document_of(three()))
    page.locator("[data-source='4']").nth(0).hover()
    overviews = [lay_out(each).overview for each in three().attributions]
    numbers = [f"{exact(overview.cells[4].value)}\u00a0%" for overview in overviews]
    assert page.inner_text("#readout") == f"France: 1 one {numbers[0]} · 2 two {numbers[1]} · 3 three {numbers[2]}"


def test_without_javascript_the_sums_show(show):
    page = show(document_of(three()), java_script_enabled=False)
    overviews = [lay_out(each).overview for each in three().attributions]
    shade = "es => es.map(e => Number(getComputedStyle(e).getPropertyValue('--s')))"
    shown = page.locator("[data-source='4']").evaluate_all(shade)
    assert shown == pytest.approx([abs(overview.cells[4].shade) for overview in overviews], abs=0.0025)
    assert page.locator("table .token").count() == 6
    assert page.locator("#hint").is_hidden()


@pytest.mark.parametrize("width", [360, 1200])
def test_windows_do_not_scroll_sideways(show, width):
    many = Comparison(tuple(named(attribute(["x" * 200], ["y" * 200, "z"]), "Method" * 9) for _ in range(7)))
    page = show(document_of(many), viewport={"width": width, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_methods_with_options_stay_methods(model):
    found = compare(model, "The cat sat", continuation=" on", methods=[Occlusion(), Occlusion(window=2)])
    assert len(set(lay_out_comparison(found).own)) == 2
