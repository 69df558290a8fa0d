"""Views of an HTML page: signed, magnitude and rank, a threshold, and targets that are pinned side by side."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_compare import three
from test_html import ANSWER, LOOK, ROOT, attribute, browser, capital, contrast, seen, show, target
from test_html_reading import PHONE, look
from test_sections import paired

from tokensal.drawing import PALETTES, Drawing
from tokensal.render import html
from tokensal.render.layout import lay_out, lay_out_comparison
from tokensal.render.layout.palette import page_palettes
from tokensal.results.attribution import Attribution
from tokensal.results.comparison import Comparison

__all__ = ["browser", "show"]  # fixtures, used by name


def document(result: Attribution | Comparison, **options: Any) -> str:
    drawing = Drawing(**options)
    if isinstance(result, Comparison):
        return html.draw_comparison(lay_out_comparison(result, drawing), drawing)
    return html.draw_heatmap(lay_out(result, drawing), drawing)


def four(**options: Any) -> Attribution:
    """Four sources of 1, −0.5, 0.1 and 0."""
    scores = torch.tensor([[1.0, -0.5, 0.1, 0.0]])
    return attribute(["a", " b", " c", " d"], [" x"], scores, special=(), sink=None, **options)


def shades(page: Any) -> list[tuple[float, bool]]:
    return [(alpha, dotted) for alpha, dotted, _ in seen(page)]


def threshold(page: Any, percent: int) -> None:
    page.locator("input[name=threshold]").fill(str(percent))


# --- views -------------------------------------------------------------------------------------------------------


def test_magnitudes_have_one_colour_no_sign_and_begin_at_zero(show: Any) -> None:
    page = show(document(four()))
    assert shades(page) == [(1, False), (0.5, True), (0.1, False), (0, False)]
    page.check("input[value=magnitude]")
    assert shades(page) == [(1, False), (0.5, False), (0.1, False), (0, False)]
    light = page_palettes("orange-blue")[0]
    assert look(page)[1] == pytest.approx(light.fill(0.5), abs=1)
    assert page.inner_text(".shades") == "Shades are linear in |score|, without its sign."
    assert (page.inner_text(".low"), page.inner_text(".high")) == ("0", "+1.00")
    assert not page.locator(".ends, [data-kind=negative]").filter(visible=True).count()
    assert page.locator(".top .number").all_inner_texts() == ["+1.00", "−0.50", "+0.10"], "numbers keep their signs"
    page.check("input[value=signed]")
    assert page.inner_text(".low") == "−1.00" and shades(page)[1] == (0.5, True)


def test_a_method_without_signs_has_no_signed_view(show: Any) -> None:
    page = show(document(four(signed=False)))
    assert page.get_by_role("radio").evaluate_all("es => es.map((e) => e.value)") == ["magnitude", "rank"]
    assert page.inner_text(".shades") == "Shades are linear in the score."


@pytest.mark.parametrize("view", ["signed", "magnitude", "rank"])
def test_the_view_stays_from_row_to_row_and_whatever_the_window_does(show: Any, view: str) -> None:
    page = show(document(capital()))
    page.check(f"input[value={view}]")
    threshold(page, 20)
    target(page, 2).click()
    page.focus("[data-target='2']")
    page.keyboard.press("p")
    before = [shades(page), page.inner_text(".shades"), page.inner_text("#pins")]
    page.set_viewport_size({"width": 390, "height": 700})
    page.set_viewport_size({"width": 1100, "height": 800})
    page.hover("h1")
    assert [shades(page), page.inner_text(".shades"), page.inner_text("#pins")] == before
    assert page.locator(f"input[value={view}]").is_checked()


def test_views_are_reached_by_keyboard_alone(show: Any) -> None:
    page = show(document(four()))
    page.focus("input[value=signed]")
    for view in ("magnitude", "rank", "signed"):
        page.keyboard.press("ArrowRight")
        assert page.locator(".page").get_attribute("data-view") == view
    page.focus("input[name=root]")
    page.keyboard.press(" ")
    assert page.inner_text(".shades").startswith("Shades are the root of the score.")
    page.focus("input[name=threshold]")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert page.inner_text(".shades").endswith("None is drawn below 3 % of the scale.")
    assert page.evaluate(f"{ROOT}.activeElement.name") == "threshold", "the arrows move the slider and no target"


# --- the threshold -----------------------------------------------------------------------------------------------


def test_shades_below_the_threshold_are_not_drawn_and_the_legend_says_so(show: Any) -> None:
    page = show(document(four()))
    slider = page.get_by_role("slider", name="hide below")
    for percent, expected in ((10, [1, 0.5, 0.1, 0]), (11, [1, 0.5, 0, 0]), (50, [1, 0.5, 0, 0]), (51, [1, 0, 0, 0])):
        threshold(page, percent)
        assert [alpha for alpha, _ in shades(page)] == expected
        assert slider.get_attribute("aria-valuetext") == f"{percent} % of the scale"
        assert f"None is drawn below {percent} % of the scale." in page.inner_text(".shades")
    assert shades(page)[1] == (0, False), "no underline of a shade that is not drawn"
    assert page.locator(".top .number").count() == 3
    threshold(page, 0)
    assert "below" not in page.inner_text(".shades")


@pytest.mark.parametrize("mode", ["input[value=rank]", "input[name=root]"])
def test_the_threshold_is_of_the_scale_in_every_view(show: Any, mode: str) -> None:
    page = show(document(four()))
    page.check(mode)
    threshold(page, 20)
    assert [alpha > 0 for alpha, _ in shades(page)] == [True, True, False, False]


def test_squares_follow_the_view_and_the_threshold(show: Any) -> None:
    page = show(document(capital()))
    page.check("input[value=magnitude]")
    threshold(page, 50)
    page.click("summary")
    matrix, heatmap = page.locator(".square"), lay_out(capital())
    limit = max(row.limit for row in heatmap.rows)
    values = [cell.value for row in heatmap.rows for cell in row.cells if cell.value is not None]
    expected = [min(1, abs(value) / limit) if abs(value) >= limit / 2 else 0 for value in values]
    alphas = matrix.evaluate_all("es => es.map((e) => Number(getComputedStyle(e).getPropertyValue('--s')))")
    assert alphas == pytest.approx(expected, abs=0.003) and 0 < sum(map(bool, alphas)) < len(alphas)
    assert not matrix.evaluate_all("es => es.filter((e) => e.classList.contains('negative'))")


# --- pins --------------------------------------------------------------------------------------------------------


def test_pinned_targets_stand_side_by_side_each_in_its_own_shades(show: Any) -> None:
    page = show(document(capital()))
    for index in (2, 0):
        target(page, index).click()
        page.click("#pin")
    page.keyboard.press("Escape")
    cards = page.get_by_role("article")
    assert cards.evaluate_all("es => es.map((e) => e.ariaLabel)") == ["pinned: France", "pinned: Paris"]
    first, second = (card.bounding_box() for card in cards.all())
    assert first["y"] == second["y"] and first["x"] + first["width"] <= second["x"]
    heatmap = lay_out(capital())
    shade = (
        "es => es.map((e) => [Number(getComputedStyle(e).getPropertyValue('--s')), e.classList.contains('negative')])"
    )
    for card, row in zip(cards.all(), (heatmap.rows[2], heatmap.rows[0]), strict=True):
        found = card.locator(".token").evaluate_all(shade)[: len(row.cells)]
        for (alpha, negative), cell in zip(found, row.cells, strict=True):
            assert alpha == pytest.approx(abs(cell.shade), abs=0.003) and negative == ((cell.value or 0) < 0)
        assert card.locator(".number").all_inner_texts() == [row.scale.write(cell.value) for cell in row.top(8)]
        assert f"{row.scale.low} … {row.scale.high}" in card.inner_text()
    assert page.inner_text("#shown").startswith("Mean share"), "pins outlast the selection"
    page.check("input[value=rank]")
    assert cards.first.locator(".token").evaluate_all(shade)[4][0] == 1.0


def test_a_pin_is_made_and_taken_back_by_keyboard_alone(show: Any) -> None:
    page = show(document(capital()))
    page.keyboard.press("Tab")
    page.keyboard.press("p")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("p")
    assert page.get_by_role("article").count() == 2
    assert page.inner_text("#readout") == ", is pinned; 2 of 4 pinned"
    assert page.get_by_role("button", name="pin ,", exact=True).get_attribute("aria-pressed") == "true"
    page.keyboard.press("p")
    assert page.get_by_role("article").count() == 1
    assert page.get_by_role("button", name="pin ,", exact=True).get_attribute("aria-pressed") == "false"
    page.get_by_role("button", name="unpin Paris").focus()
    page.keyboard.press("Enter")
    assert page.get_by_role("article").count() == 0 and page.locator("#pins").is_hidden()
    assert page.evaluate(f"{ROOT}.activeElement.id") == "pin", "the focus is not lost"


def test_without_a_target_there_is_nothing_to_pin(show: Any) -> None:
    page = show(document(capital()))
    button = page.get_by_role("button", name="pin: select a target first")
    assert button.get_attribute("aria-disabled") == "true"
    button.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("p")
    assert page.get_by_role("article").count() == 0


def test_keys_without_the_focus_pin_nothing(show: Any) -> None:
    """A key of one letter acts where the focus is inside alone (WCAG 2.1.4)."""
    page = show(document(capital()))
    target(page, 1).hover()
    page.keyboard.press("p")
    assert page.locator(".pin").count() == 0


def test_a_pin_of_a_comparison_has_a_copy_for_each_method(show: Any) -> None:
    page = show(document(three()))
    target(page, 1).first.click()
    page.click("#pin")
    [card] = page.locator(".pin").all()
    assert card.locator(".words").count() == card.locator("ol").count() == 3
    assert [text.split()[:2] for text in card.locator("p.note").all_inner_texts()] == [
        ["1", "one"], ["2", "two"], ["3", "three"],
    ]  # fmt: skip


@pytest.mark.parametrize("example", [capital(), paired(), three()], ids=["plain", "paired", "compared"])
def test_pins_fit_a_phone_and_paper(show: Any, example: Any) -> None:
    page = show(document(example), **PHONE)
    for index in (0, 1):
        target(page, index).first.tap()
        page.tap("#pin")
    assert page.locator(".pin").count() == 2
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.emulate_media(media="print")
    assert page.locator(".pin").first.is_visible()
    assert not page.get_by_role("button", name="unpin").filter(visible=True).count()
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_a_copy_repeats_nothing_to_a_screen_reader(show: Any) -> None:
    page = show(document(capital()))
    target(page, 2).click()
    page.click("#pin")
    assert page.get_by_role("img", name="the text in the shades of France").count() == 1
    assert page.get_by_role("list", name="strongest sources of France").count() == 1
    assert page.get_by_role("toolbar", name="generated").count() == 1
    assert page.locator(".pin [data-source], .pin [data-target], .pin [id]").count() == 0
    names = page.get_by_role("button").evaluate_all("es => es.map((e) => (e.ariaLabel ?? e.textContent).trim())")
    assert all(names) and {"unpin France", "pin France", "previous target", "next target", *map(str.strip, ANSWER)} <= {
        *names
    }


# --- contrast ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
@pytest.mark.parametrize("palette", PALETTES)
def test_text_is_readable_on_every_shade_of_every_palette(show: Any, palette: str, scheme: str) -> None:
    scores = torch.arange(-100, 101)[None] / 100
    example = attribute([f" w{index}" for index in range(201)], [" x"], scores, special=(), sink=None)
    page = show(document(example, palette=palette), color_scheme="light" if scheme == "light" else "dark")
    if scheme == "print":
        page.emulate_media(media="print", color_scheme="dark")
    for view in ("signed", "magnitude", "rank"):
        page.check(f"input[value={view}]", force=True) if scheme != "print" else None
        looks = page.evaluate(LOOK)
        assert len({tuple(each["back"]) for each in looks}) > 80
        assert min(contrast(each["back"], each["ink"]) for each in looks) >= 4.5


# --- strangers' text ---------------------------------------------------------------------------------------------

hostile = st.one_of(
    st.text(st.characters(), max_size=12),  # with controls, marks of direction and halves of surrogate pairs
    st.sampled_from(
        ["<img src=x onerror=owned()>", "</template>", "</script><script>owned()", "<!--", "]]>", "{{ x }}"]
    ),
    st.sampled_from(
        ["</div>", "\u202e", "\u2066", "\x00", "\ud800", "\u2028", "&lt;", "`${owned()}`", "-->", "<style>*{"]
    ),
)


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(hostile, min_size=1, max_size=8), st.lists(hostile, min_size=1, max_size=4))
def test_whatever_tokens_say_they_are_text(show: Any, prompt: list[str], answer: list[str]) -> None:
    example = attribute(prompt, answer, special=())
    heatmap, drawing = lay_out(example), Drawing(standalone=False)
    for text in (document(example), f"<!DOCTYPE html><meta charset=utf-8><p>{html.draw_heatmap(heatmap, drawing)}"):
        page = show(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
        shown = page.locator("[data-source]").evaluate_all("es => es.map((e) => e.textContent)")
        assert shown == [label.text.lstrip(" ") or label.text for label in heatmap.sources]
        target(page, 0).click()
        page.click("#pin")
        assert page.locator("img").count() == 0 and page.locator(".pin").count() == 1
        show.contexts.pop().close()
        show.requests.pop()


def test_a_token_of_ten_thousand_letters_breaks_nothing(show: Any) -> None:
    page = show(document(attribute(["<s>", "a" * 10_000, "ا" * 10_000], ["b" * 10_000, "c"])), **PHONE)
    target(page, 0).focus()
    page.keyboard.press("p")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert len(page.locator("[data-source='1']").text_content()) == 10_000
