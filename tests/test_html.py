"""The HTML page: what its source says, and what a real browser shows of it."""

from __future__ import annotations

import base64
import html as escapes
import json
import math
import os
import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import html5lib
import pytest
import torch
from torch import Tensor

from tokensal.drawing import Drawing
from tokensal.errors import NonFiniteScores
from tokensal.render import html
from tokensal.render.html.panels import LISTED
from tokensal.render.layout import lay_out, lay_out_comparison
from tokensal.render.layout.labels import shortened
from tokensal.results.attribution import Attribution, Provenance
from tokensal.results.comparison import Comparison
from tokensal.types import Role, Unit

HOSTILE = ["</script>", '"><img src=x onerror=owned()>', "{{x}}", "{% x %}", "&amp;", "'", "<!--", "]]>", "\\u003c"]
PROMPT = ["<s>", "The", " capital", " of", " France", " is"]
ANSWER = [" Paris", ",", " France", "."]
SCORES = torch.tensor(
    [
        [9.0, 0.25, 1.0, -0.5, 2.0, 0.0, 7.0, 7.0, 7.0],
        [0.5, -0.25, 0.5, 0.1, 0.0, -1.0, 0.75, 7.0, 7.0],
        [3.0, 0.2, 0.4, 0.1, 4.0, 0.3, -2.0, 1.0, 7.0],
        [1.0, 1e-6, 2e-6, -3e-6, 0.0, 0.0, 0.0, 0.0, 0.0],
    ]
)


def attribute(
    prompt: Sequence[str] = PROMPT,
    answer: Sequence[str] = ANSWER,
    scores: Tensor | None = None,
    *,
    signed: bool = True,
    sink: int | None = 0,
    special: Sequence[str] = ("<s>",),
    explained: slice = slice(None),
) -> Attribution:
    """An attribution made by hand: causal, with NaN in every cell that causality forbids."""
    tokens, start = [], 0
    for index, text in enumerate([*prompt, *answer]):
        role = Role.PROMPT if index < len(prompt) else Role.GENERATED
        tokens.append(Unit((index,), text, start, start + len(text), role, text in special))
        start += len(text)
    positions = range(len(prompt), len(tokens))[explained]
    sources = tokens[: positions[-1]]
    visible = torch.arange(len(sources)) < torch.tensor(positions)[:, None]
    if scores is None:
        scores = torch.randn(visible.shape, generator=torch.Generator().manual_seed(0))
    scores = (scores if signed else scores.abs()).masked_fill(~visible, math.nan)
    provenance = Provenance(
        model="tiny/causal",
        revision="abc123",
        architecture="tiny",
        dtype="float32",
        device="cpu",
        attention="eager",
        method="gradient",
        method_repr="Gradient(reduce='dot')",
        score="logprob",
        versions={"tokensal": "0.0.1"},
    )
    targets = tuple(tokens[position] for position in positions)
    values = torch.linspace(-2.0, -0.5, len(targets))
    text = "".join(token.text for token in tokens)
    return Attribution(text, tuple(sources), targets, scores, visible, values, signed, sink, provenance)


def document_of(result: Attribution | Comparison, *, sink: bool = False) -> str:
    """The result as an HTML document."""
    if isinstance(result, Comparison):
        return html.draw_comparison(lay_out_comparison(result, Drawing(sink=sink)))
    return html.draw_heatmap(lay_out(result, Drawing(sink=sink)))


def capital(**options: Any) -> Attribution:
    return attribute(scores=SCORES, **options)


def parse(document: str) -> Any:
    """The document as an element tree; a parse error is an exception."""
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(document)


def marks(tree: Any, attribute: str = "data-source") -> list[Any]:
    return tree.findall(f".//*[@{attribute}]")


def data(tree: Any) -> dict[str, Any]:
    """What the page says of its heatmap, and the names of the sources; scores are numbers, None where there is none."""
    everything = json.loads(tree.find(".//script[@id='data']").text)
    [view] = everything["views"]
    rows = [{**row, "scores": unpacked(row["scores"], "f")} for row in view["rows"]]
    overview = {**view["overview"], "scores": unpacked(view["overview"]["scores"], "d")}
    return {**view, "overview": overview, "rows": rows, "names": everything["names"]}


def unpacked(scores: str, kind: str) -> list[float | None]:
    numbers = struct.iter_unpack(f"<{kind}", base64.b64decode(scores))
    return [None if math.isnan(number) else float(f"{number:.6g}") for (number,) in numbers]


def step_of(mark: Any) -> int | None:
    """The step of the shade of an element."""
    [*steps] = [int(name[1:]) for name in mark.get("class").split() if re.fullmatch(r"s\d+", name)]
    return steps[0] if len(steps) == 1 else None


def text_of(tree: Any, name: str) -> str:
    """The text of the first element of that id or class."""
    elements = (e for e in tree.iter() if name == e.get("id") or name in e.get("class", "").split())
    return "".join(next(elements).itertext())


# ── the source of the page ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "example",
    [
        capital(),
        capital(signed=False, sink=None),
        attribute(HOSTILE, HOSTILE),
        attribute(["\x00", "\ud800", "\u202e", "", "\r\n", "\u2028", "مرحبا", "東京", "👩‍👩‍👧"], ["\x1b", " "]),
        attribute(explained=slice(1, 3)),
        attribute(answer=[" Paris"]),
        attribute(scores=torch.zeros(4, 9)),
    ],
    ids=["signed", "unsigned", "hostile", "unicode", "some explained", "one target", "all zero"],
)
def test_page_is_valid_html_and_shows_no_nan(example: Attribution) -> None:
    document = document_of(example)
    parse(document)
    text = re.sub(r"(?s)<(style|script)>.*?</\1>|<meta.*?>", "", document)
    assert not re.search(r"\b(nan|none|undefined|infinity)\b", text, re.I)


def test_same_attribution_gives_same_bytes() -> None:
    assert document_of(capital()).encode() == document_of(capital()).encode()
    assert document_of(capital()) != document_of(attribute())


def test_page_asks_for_nothing_outside_itself() -> None:
    document = document_of(capital())
    assert "default-src 'none'" in document
    assert not re.search(r"https?://|url\(|@import|<link(?! rel=\"icon\" href=\"data:,\")", document)


def test_hostile_tokens_stay_text() -> None:
    tree = parse(document_of(attribute(HOSTILE, HOSTILE, special=HOSTILE[:2])))
    assert [mark.text for mark in marks(tree)] == (HOSTILE + HOSTILE)[:-1]
    assert marks(tree, "data-target")[-1].text == HOSTILE[-1]
    assert data(tree)["names"] == (HOSTILE + HOSTILE)[:-1]
    assert len(tree.findall(".//script")) == 3
    assert not tree.findall(".//img")
    assert not [element for element in tree.iter() if any(name.startswith("on") for name in element.attrib)]


def test_generated_tokens_are_drawn_once_as_targets_and_as_sources() -> None:
    tree = parse(document_of(capital()))
    parts = [(mark.get("data-target"), mark.get("data-source")) for mark in marks(tree, "data-target")]
    assert parts == [("0", "6"), ("1", "7"), ("2", "8"), ("3", None)]
    assert [int(mark.get("data-source")) for mark in marks(tree)] == list(range(9))
    assert text_of(tree, "targets") == "".join(ANSWER)


@pytest.mark.parametrize(
    ("explained", "parts"),
    [(slice(1, 3), ["7", None]), (slice(0, 3, 2), [None, None]), (slice(0, 3), ["6", "7", None])],
)
def test_some_tokens_may_be_explained(explained: slice, parts: list[str | None]) -> None:
    tree = parse(document_of(attribute(explained=explained)))
    assert [mark.get("data-source") for mark in marks(tree, "data-target")] == parts
    assert [mark.text for mark in marks(tree)] == [token.strip() for token in PROMPT + ANSWER[:2]]
    complete = explained == slice(0, 3)
    assert text_of(tree, "before").split()[0] == ("prompt" if complete else "sources")
    assert text_of(tree, "lead") == f"Mean share over all {'generated' if complete else 'explained'} tokens"


def test_overview_is_drawn_by_the_server() -> None:
    tree = parse(document_of(capital(sink=None)))
    france = marks(tree)[4]
    total = marks(tree)[0]
    assert (step_of(france), france.get("title")) == (49, "France: 13.01\u00a0%")  # of 200: 0.243
    assert (step_of(total), total.get("title")) == (200, "<s>: 53.5\u00a0%")
    assert "negative" in marks(tree)[5].get("class").split()
    assert "negative" not in france.get("class").split()
    assert (text_of(tree, "low"), text_of(tree, "high")) == ("−53.5\u00a0%", "+53.5\u00a0%")


def test_invisible_cells_are_blank_and_never_zero() -> None:
    tree = parse(document_of(capital()))
    assert [row["scores"].count(None) for row in data(tree)["rows"]] == [3, 2, 1, 0]
    assert data(tree)["rows"][0]["scores"][6:] == [None, None, None]
    last = marks(tree, "data-target")[-1]
    assert "blank" in last.get("class").split()
    assert step_of(last) is None and step_of(marks(tree)[1]) is not None
    assert data(tree)["rows"][0]["kinds"] == ["negative", "clipped", "blank"]


def test_sink_is_marked_and_both_limits_are_stated() -> None:
    tree = parse(document_of(capital()))
    assert set(marks(tree)[0].get("class").split()) >= {"sink", "clipped", "special"}
    first, second = data(tree)["rows"][:2]
    assert first["sink"] == "attention sink, +9.00, left out of scale and ranking; with it, the scale would reach ±9.00"
    assert (first["low"], first["high"]) == ("−2.00", "+2.00")
    assert second["sink"] == "attention sink, +0.50, left out of scale and ranking"
    assert 0 not in [rank["source"] for rank in first["top"]]


def test_sink_can_be_counted_in() -> None:
    tree = parse(document_of(capital(), sink=True))
    first = data(tree)["rows"][0]
    assert first["sink"] == "attention sink, +9.00, counted in"
    assert first["high"] == "+9.00"
    assert first["top"][0] == {"source": 0, "name": "<s>", "shade": 1.0, "number": "+9.00"}
    assert "clipped" not in first["kinds"]


def test_unsigned_scale_starts_at_zero() -> None:
    tree = parse(document_of(capital(signed=False)))
    assert (text_of(tree, "low"), text_of(tree, "high")) == ("0", "25.8\u00a0%")
    assert tree.find(".//main").get("class") == "view unsigned"
    assert not any("negative" in row["kinds"] for row in data(tree)["rows"])
    assert not re.search(r"[+−]\d", text_of(tree, "top"))


def test_ranking_is_signed_aligned_and_by_size() -> None:
    third = data(parse(document_of(capital())))["rows"][2]
    assert [(rank["source"], rank["number"]) for rank in third["top"]] == [
        (4, "+4.00"),
        (6, "−2.00"),
        (7, "+1.00"),
        (2, "+0.40"),
        (5, "+0.30"),
        (1, "+0.20"),
        (3, "+0.10"),
    ]
    assert [rank["shade"] for rank in third["top"]][:2] == [1.0, -0.5]


def test_tiny_scores_share_a_power_of_ten() -> None:
    last = data(parse(document_of(capital())))["rows"][3]
    assert [rank["number"] for rank in last["top"]] == ["−3.00×10⁻⁶", "+2.00×10⁻⁶", "+1.00×10⁻⁶"]
    assert last["high"] == "+3.00×10⁻⁶"


def test_caption_states_the_provenance() -> None:
    footer = "".join(parse(document_of(capital())).find(".//footer").itertext())
    for fact in ("tiny/causal @ abc123", "Gradient(reduce='dot')", "logprob", "float32", "0.0.1"):
        assert fact in footer


def test_numbers_have_four_digits_and_no_negative_zero() -> None:
    example = attribute(["a", "b"], ["c"], torch.tensor([[1 / 3, -0.0]]), sink=None)
    document = document_of(example)
    assert data(parse(document))["rows"][0]["scores"] == [0.3333, 0.0]
    assert "-0.0" not in document


def test_lines_break_after_tokens_that_end_them() -> None:
    tree = parse(document_of(attribute(["a\n\n", "b", "\n"], ["c", "\n", "d"])))
    assert len(tree.findall(".//*[@class='before']//br")) == 3
    assert len(tree.findall(".//*[@class='after']//br")) == 1


def test_scores_that_are_not_finite_are_refused() -> None:
    scores = SCORES.clone()
    scores[1, 2] = math.inf
    with pytest.raises(NonFiniteScores, match="not a finite number"):
        document_of(attribute(scores=scores))


def test_long_prompts_add_no_elements_for_each_cell() -> None:
    example = attribute([f" w{index}" for index in range(2000)], [f" g{index}" for index in range(60)], special=())
    document = document_of(example)
    elements = len(re.findall(r"<[a-z]", document))
    assert 2060 < elements < 2060 + 200
    assert len(document) < 2_000_000


def test_notebook_frames_the_page_in_a_sandbox() -> None:
    frame = parse(f"<!DOCTYPE html><title></title>{html.notebook(lay_out(capital()))}").find(".//iframe")
    assert (frame.get("sandbox"), frame.get("title")) == (
        "allow-scripts", "gradient · The capital of France is · causal",
    )  # fmt: skip
    assert frame.get("srcdoc") == document_of(capital())


# ── in a browser ────────────────────────────────────────────────────────────────────────────────────────────────────

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync"
)

ROOT = "document.querySelector('.tokensal').shadowRoot"
ACTIVE = f"{ROOT}.activeElement"
# What the reader sees of each source token; colours as painted on a canvas, over the colour of the paper.
LOOK = """() => {
    const root = document.querySelector(".tokensal").shadowRoot;
    const pixel = (...colours) => {
        const context = document.createElement("canvas").getContext("2d");
        for (const colour of colours) { context.fillStyle = colour; context.fillRect(0, 0, 1, 1); }
        return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const paper = getComputedStyle(document.documentElement).backgroundColor;
    return [...root.querySelectorAll("[data-source]")].map((element) => {
        const style = getComputedStyle(element);
        return {
            alpha: Number(style.getPropertyValue("--s")),
            back: pixel(paper, style.backgroundColor),
            ink: pixel(style.color),
            dotted: style.textDecorationLine === "underline" && style.textDecorationStyle === "dotted",
            blank: element.classList.contains("blank"),
            mark: getComputedStyle(element, "::after").content,
            box: JSON.stringify(element.getBoundingClientRect()),
        };
    });
}"""


def unavailable(reason: str) -> None:
    if os.environ.get("TOKENSAL_REQUIRE_BROWSER") == "1":
        pytest.fail(f"TOKENSAL_REQUIRE_BROWSER=1, but {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM.exists():
        unavailable(f"{CHROMIUM} is missing")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        unavailable("playwright is not installed")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS.split())
        yield running
        running.close()


class Watched:
    """Opens documents in the browser, and holds every console message, error and request of theirs."""

    def __init__(self, browser: Any, folder: Path) -> None:
        self.browser, self.folder = browser, folder
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.contexts: list[Any] = []

    def __call__(self, document: str, **options: Any) -> Any:
        context = self.browser.new_context(**{"viewport": {"width": 1100, "height": 800}, **options})
        self.contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        path = self.folder / "page.html"
        path.write_text(document, encoding="utf-8")
        page.goto(path.as_uri())
        return page


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Watched]:
    watched = Watched(browser, tmp_path)
    yield watched
    for context in watched.contexts:
        context.close()
    assert watched.complaints == []
    assert [url for url in watched.requests if not url.startswith("file:///")] == []
    assert len(watched.requests) == len(watched.contexts)


def target(page: Any, index: int) -> Any:
    return page.locator(f"[data-target='{index}']")


def shown(page: Any) -> str:
    return " ".join(page.locator("#shown").inner_text().split())


def expected(example: Attribution, row: int | None) -> list[tuple[float, bool, bool]]:
    """(alpha, dotted, blank) of each source, straight from the layout."""
    heatmap = lay_out(example)
    cells = heatmap.overview.cells if row is None else heatmap.rows[row].cells
    return [(abs(cell.shade), (cell.value or 0) < 0, cell.value is None) for cell in cells]


def seen(page: Any) -> list[tuple[float, bool, bool]]:
    return [(look["alpha"], look["dotted"], look["blank"]) for look in page.evaluate(LOOK)]


def assert_row(page: Any, row: int | None, example: Attribution | None = None) -> None:
    """The page shows `row` in everything it says: colours, sentence, scale and ranking."""
    example = example or capital()
    heatmap = lay_out(example)
    cells = heatmap.overview if row is None else heatmap.rows[row]
    for (alpha, *look), (wanted, *wanted_look) in zip(seen(page), expected(example, row), strict=True):
        assert alpha == pytest.approx(wanted, abs=0.0051)
        assert look == wanted_look
    sentence = "Mean share over all generated tokens" if row is None else f"token {row + 1} of {len(heatmap.targets)}"
    assert sentence in shown(page)
    panel = data(parse(document_of(example)))
    panel = panel["overview"] if row is None else panel["rows"][row]
    assert page.inner_text(".high") == panel["high"]
    assert page.inner_text(".low") == panel["low"]
    assert page.locator(".top .number").all_inner_texts() == [rank["number"] for rank in panel["top"]]
    assert page.locator(".top small").all_inner_texts() == [str(cell.source) for cell in cells.top(8)]


def pressed(page: Any) -> list[int]:
    return [index for index in range(4) if target(page, index).get_attribute("aria-pressed") == "true"]


def test_hover_shows_a_row_and_leaving_returns_to_the_overview(show: Watched) -> None:
    page = show(document_of(capital()))
    assert_row(page, None)
    for row in (2, 0, 3):
        target(page, row).hover()
        assert_row(page, row)
        assert pressed(page) == []
    page.hover("h1")
    assert_row(page, None)


def test_click_pins_and_hover_elsewhere_returns_to_the_pinned(show: Watched) -> None:
    page = show(document_of(capital()))
    target(page, 1).click()
    page.hover("h1")
    assert_row(page, 1)
    assert pressed(page) == [1]
    target(page, 2).hover()
    assert_row(page, 2)
    page.hover("h1")
    assert_row(page, 1)
    target(page, 1).click()
    assert_row(page, None)
    assert pressed(page) == []


def test_escape_unpins_even_under_the_pointer(show: Watched) -> None:
    page = show(document_of(capital()))
    target(page, 1).click()
    assert_row(page, 1)
    page.keyboard.press("Escape")
    assert_row(page, None)
    assert pressed(page) == []


def test_arrow_keys_move_between_targets_and_stop_at_the_ends(show: Watched) -> None:
    page = show(document_of(capital()))
    steps = ["ArrowRight", "ArrowRight", "ArrowLeft", "ArrowLeft", "End", "ArrowRight", "Home"]
    for key, row in zip(steps, [0, 1, 0, 0, 3, 3, 0], strict=True):
        page.keyboard.press(key)
        assert_row(page, row)
        assert page.evaluate(f"{ACTIVE}.dataset.target") == str(row)
    page.keyboard.press("Escape")
    assert_row(page, None)


def test_arrow_keys_take_the_pin_along(show: Watched) -> None:
    page = show(document_of(capital()))
    target(page, 1).click()
    page.keyboard.press("ArrowRight")
    page.hover("h1")
    assert_row(page, 2)
    assert pressed(page) == [2]


def test_keyboard_alone_reaches_one_tab_stop_and_pins(show: Watched) -> None:
    page = show(document_of(capital()))
    page.keyboard.press("Tab")
    assert page.evaluate(f"{ACTIVE}.dataset.target") == "0"
    assert_row(page, 0)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert pressed(page) == [1]
    page.keyboard.press("Tab")
    assert page.evaluate(f"{ACTIVE}.tagName") == "SUMMARY"
    stops = [*["#steps"] * 5, *["#shading"] * 3, ".top"]  # radio buttons are one stop
    for stop in stops:
        page.keyboard.press("Tab")
        assert page.evaluate(f"{ACTIVE}.closest('{stop}') !== null")
        assert_row(page, 1)
    for _ in range(len(stops) + 1):
        page.keyboard.press("Shift+Tab")
    assert page.evaluate(f"{ACTIVE}.dataset.target") == "1"
    page.keyboard.press(" ")
    assert_row(page, None)


def test_roles_and_live_region(show: Watched) -> None:
    page = show(document_of(capital()))
    toolbar = page.get_by_role("toolbar", name="generated")
    assert toolbar.get_by_role("button").all_inner_texts() == [token.strip() for token in ANSWER]
    target(page, 2).hover()
    status = page.get_by_role("status")
    assert status.get_attribute("aria-live") == "polite"
    assert status.inner_text().split() == ["Sources", "of", "France", "token", "3", "of", "4", "·", "logprob", "−1"]


def test_the_sum_is_a_button_away_and_stays(show: Watched) -> None:
    page = show(document_of(capital()))
    share, total = (page.get_by_role("button", name=name) for name in ("mean share", "sum"))
    total.click()
    assert shown(page).startswith("Sum over all generated tokens")
    assert page.inner_text(".high") == "+6.00"
    target(page, 2).hover()
    assert_row(page, 2)
    page.hover("h1")
    assert shown(page).startswith("Sum over all generated tokens")
    assert (share.get_attribute("aria-pressed"), total.get_attribute("aria-pressed")) == ("false", "true")
    share.click()
    assert_row(page, None)
    assert show(document_of(attribute(answer=[" Paris"]))).get_by_role("button", name="sum").count() == 0


def test_what_is_explained_is_in_the_strongest_ink(show: Watched) -> None:
    page = show(document_of(capital()))
    ink = "element => getComputedStyle(element).color + getComputedStyle(element).fontWeight"
    target(page, 1).hover()  # which does not see itself
    assert target(page, 1).evaluate(ink) == "rgb(29, 27, 24)700"


def test_numbers_that_count_equal_names_are_explained_beside_the_matrix(show: Watched) -> None:
    tree = parse(document_of(capital()))
    assert "₁" not in text_of(tree, "marks")
    assert "₁ ₂ count tokens that look the same" in text_of(tree, "matrix")
    assert "₁ ₂" not in document_of(attribute(["a", " b"], [" c"]))


def test_without_javascript_the_overview_shows_with_its_legend(show: Watched) -> None:
    page = show(document_of(capital()), java_script_enabled=False)
    assert page.locator("#hint").is_hidden()
    assert page.locator(".high").inner_text() == "+25.8\u00a0%"
    assert page.locator(".top li").count() == 7
    assert page.locator("#marks [data-kind='unseen']").is_visible()
    assert page.locator("#marks [data-kind='blank']").is_hidden()
    assert page.get_by_role("button").count() == 0
    france, is_ = page.locator("[data-source='4']"), page.locator("[data-source='5']")
    background = "element => getComputedStyle(element).backgroundColor"
    assert france.evaluate(background) == "rgb(190, 70, 0)"
    assert is_.evaluate(background).startswith("rgba(30, 108, 198, 0.")


def test_returning_to_the_overview_restores_what_the_server_drew(show: Watched) -> None:
    names = "e.className.split(' ').sort().join(' ')"
    drawn = f"[...{ROOT}.querySelectorAll('.token')].map(e => [{names}, e.title])"
    page = show(document_of(capital()), java_script_enabled=False)
    server, looks = page.evaluate(drawn), page.evaluate(LOOK)
    page = show(document_of(capital()))
    target(page, 3).click()
    assert page.evaluate(LOOK) != looks
    page.keyboard.press("Escape")
    page.hover("h1")
    for source in (3, 5, 0):
        page.hover(f"[data-source='{source}']")
    page.hover("h1")
    assert page.evaluate(drawn) == server
    assert [look["back"] for look in page.evaluate(LOOK)] == [look["back"] for look in looks]


def test_no_text_moves_when_the_row_changes(show: Watched) -> None:
    page = show(document_of(capital()))
    boxes = []
    for row in range(4):
        target(page, row).hover()
        boxes.append([look["box"] for look in page.evaluate(LOOK)])
    assert boxes == [boxes[0]] * 4


def test_exact_numbers_are_readable_of_sources_in_the_pinned_row(show: Watched) -> None:
    page = show(document_of(capital()))
    target(page, 3).click()
    page.hover("[data-source='3']")
    assert page.locator("[data-source='3']").get_attribute("title") == "of: −3×10⁻⁶"
    assert page.inner_text("#readout") == "of: −3×10⁻⁶"
    target(page, 2).click()
    target(page, 0).hover()
    assert target(page, 0).get_attribute("title") == "Paris: −2"
    target(page, 2).hover()
    assert target(page, 2).get_attribute("title") == "France: no score"


def test_ranked_source_is_found_in_a_long_text(show: Watched) -> None:
    words = [f" word{index}" for index in range(1500)]
    scores = torch.zeros(2, 1501)
    scores[:, 1400], scores[:, 700] = 1.0, -0.5
    page = show(document_of(attribute(words, ["x", "y"], scores, sink=None)))
    inside = "e => { const { top, bottom } = e.getBoundingClientRect(); return top >= 0 && bottom <= innerHeight; }"
    assert not page.locator("[data-source='1400']").evaluate(inside)
    assert target(page, 0).evaluate(inside), "the generated tokens stay in reach"
    page.click(".top button >> nth=0")
    assert page.locator("[data-source='1400']").evaluate(inside)
    assert "pointed" in page.locator("[data-source='1400']").get_attribute("class").split()


def test_hostile_tokens_do_nothing(show: Watched) -> None:
    page = show(document_of(attribute(HOSTILE, HOSTILE)))
    for index in range(len(HOSTILE)):
        target(page, index).hover()
        assert page.locator("#name").inner_text() == HOSTILE[index]
    assert page.locator("img").count() == 0
    ranked = page.locator(".top bdi").all_inner_texts()
    assert ranked
    assert set(ranked) <= {shortened(name, LISTED) for name in HOSTILE}


def luminance(colour: Sequence[int]) -> float:
    parts = [part / 255 for part in colour]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: Sequence[int], second: Sequence[int]) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.fixture
def ramp() -> Attribution:
    """Every shade from -1 to 1, and blanks."""
    shades = torch.arange(-40, 41) / 40
    return attribute([f" w{i}" for i in range(80)], [" x", " y"], torch.stack([shades, shades]), special=(), sink=None)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_on_every_shade(show: Watched, ramp: Attribution, scheme: str) -> None:
    page = show(document_of(ramp), color_scheme=scheme)
    style = f"getComputedStyle({ROOT}.querySelector('.page'))"
    variable = f"name => {style}.getPropertyValue(name).split(' ').map(Number)"
    background, quiet = page.evaluate(variable, "--background"), page.evaluate(variable, "--quiet")
    target(page, 0).hover()
    looks = page.evaluate(LOOK)
    assert len({tuple(look["back"]) for look in looks}) > 60
    assert looks[-1]["back"] == background
    assert min(contrast(look["back"], look["ink"]) for look in looks) >= 4.5
    assert min(contrast(looks[end]["back"], background) for end in (0, 79)) >= 4.5
    assert contrast(background, quiet) >= 4.5
    assert (luminance(background) < 0.1) == (scheme == "dark")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_scale_is_symmetric_and_sign_survives_greyscale(show: Watched, ramp: Attribution, scheme: str) -> None:
    page = show(document_of(ramp), color_scheme=scheme)
    target(page, 0).hover()
    looks = page.evaluate(LOOK)[:80]
    grey = [luminance(look["back"]) for look in looks]
    for step in range(1, 40):  # further from zero is further from the paper, on both sides
        assert (grey[40 - step] < grey[41 - step]) == (scheme == "light")
    assert [look["dotted"] for look in looks] == [True] * 40 + [False] * 40
    assert [look["alpha"] for look in looks[39:0:-1]] == [look["alpha"] for look in looks[41:]]
    blue, orange = looks[0]["back"], looks[79]["back"]
    assert blue[2] > blue[0]
    assert orange[0] > orange[2]


def test_marks_are_drawn_and_explained(show: Watched) -> None:
    page = show(document_of(capital()))
    target(page, 0).hover()
    assert page.evaluate(LOOK)[0]["mark"] == '"†‡"'
    for mark, visible in {"negative": True, "blank": True, "clipped": True, "unseen": False}.items():
        assert page.locator(f"[data-kind='{mark}']").is_visible() == visible
    assert "with it, the scale would reach ±9.00" in page.inner_text("#marks")
    assert "special token" in page.inner_text("#marks")
    target(page, 1).hover()
    assert page.evaluate(LOOK)[0]["mark"] == '"†"'
    assert page.locator("[data-kind='clipped']").is_hidden()


def test_dark_pages_print_on_white(show: Watched) -> None:
    page = show(document_of(capital()), color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    looks = page.evaluate(LOOK)
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    assert min(contrast(look["back"], look["ink"]) for look in looks) >= 4.5
    assert page.locator("#hint").is_hidden()


def test_narrow_windows_do_not_scroll_sideways(show: Watched) -> None:
    example = attribute(["<s>", "x" * 300, " مرحبا", "東京" * 40], ["y" * 200, " z"])
    page = show(document_of(example), viewport={"width": 360, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    target(page, 0).click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_arabic_reads_from_the_right_and_digits_from_the_left(show: Watched) -> None:
    page = show(document_of(attribute(["Translate", ":\n", "مرحبا", " بك", " 12", "34", "<s>"], ["x"])))
    left = [page.locator(f"[data-source='{index}']").bounding_box()["x"] for index in range(7)]
    assert left[0] < left[1] < left[6], "each line has the direction of its own first word"
    assert left[2] > left[3] > left[5] > left[4] > left[6]


def test_notebook_frame_works_in_a_host_page(show: Watched) -> None:
    host = "<!DOCTYPE html><style>* { color: red; background: lime }</style><p id=host>host</p>"
    page = show(host + html.notebook(lay_out(capital())))
    show.requests[:] = [url for url in show.requests if url != "about:srcdoc"]
    frame = page.frame_locator("iframe")
    frame.locator("[data-target='2']").hover()
    assert "token 3 of 4" in frame.locator("#shown").inner_text()
    back = frame.locator("[data-source='4']").evaluate("e => getComputedStyle(e).backgroundColor")
    assert back == "rgb(190, 70, 0)"
    box = page.locator("iframe").bounding_box()
    assert box["height"] >= 400
    assert box["width"] > 1000
    assert page.locator("#host").evaluate("e => getComputedStyle(e).color") == "rgb(255, 0, 0)"


def test_notebook_source_is_escaped_once() -> None:
    source = re.search(r'srcdoc="([^"]*)"', html.notebook(lay_out(attribute(HOSTILE, HOSTILE))))
    assert source is not None
    assert escapes.unescape(source[1]) == document_of(attribute(HOSTILE, HOSTILE))
