"""What a reader of the HTML page is told and can reach: on paper, on phones, in notebooks, without scripts."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from test_compare import three
from test_html import (
    HOSTILE,
    LOOK,
    ROOT,
    attribute,
    browser,
    capital,
    contrast,
    document_of,
    marks,
    parse,
    seen,
    show,
    target,
    text_of,
)
from test_sections import chat, contrasted, paired

from tokensal.render import html
from tokensal.render.html.page import CELLS
from tokensal.render.layout import lay_out, lay_out_comparison, lay_out_matrix
from tokensal.render.layout.numbers import exact
from tokensal.render.layout.palette import DARK, LIGHT
from tokensal.results.attribution import Attribution
from tokensal.types import Role

__all__ = ["browser", "show"]  # fixtures, used by name

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 800}, "is_mobile": True, "has_touch": True}
MODES = {"root": "input[name=root]", "rank": "input[value=rank]"}
SPLIT = ["<s>", "The", " un", "forget", "table", " light", "house", " kee", "per"]


def title(document: str) -> str:
    return str(parse(document).find(".//title").text)


def test_the_title_tells_pages_apart():
    assert title(document_of(capital())) == "gradient · The capital of France is · causal"
    assert title(document_of(three())) == "one, two, three · The capital of France is · causal"
    assert title(document_of(chat())) == "x · Who am I? · tiny", "what the user says, not the system or the template"
    assert title(document_of(paired())) == "x · The cat sat · tiny"
    assert title(document_of(attribute(["a\n", "b" * 99, " c"], ["d"]))).startswith(f"gradient · a {'b' * 37}… · ")
    assert title(document_of(attribute(["</title>"], ["d"]))) == "gradient · </title> · causal"


@pytest.mark.parametrize(
    ("example", "words"),
    [
        (capital(), "influenced what the model wrote: orange speaks for it, blue against it, and the stronger"),
        (capital(signed=False), "the model wrote: the stronger the orange, the larger the score."),
        (contrasted(), "orange speaks for the answer, blue for the contrast, and the stronger"),
        (attribute(explained=slice(1, 3)), "influenced the explained words: orange"),
        (three(), "orange speaks for it, blue against it"),
    ],
)
def test_a_sentence_says_what_colours_mean(example, words):
    assert words in " ".join(text_of(parse(document_of(example)), "guide").split())
    layout = lay_out_comparison(example) if example.__class__.__name__ == "Comparison" else lay_out(example)
    assert words in " ".join("".join(static(html.notebook(layout)).itertext()).split())


def test_the_colours_of_plain_html_are_those_of_the_page():
    for palette in (LIGHT, DARK):
        assert (palette.fill(0), palette.fill(1), palette.fill(-1)) == (
            palette.background, palette.positive, palette.negative,
        )  # fmt: skip
        for shade in range(-1000, 1001):
            assert contrast(palette.fill(shade / 1000), palette.ink(shade / 1000)) >= 4.5, (palette, shade)
        assert min(contrast(palette.fill(end), palette.background) for end in (1, -1)) >= 4.5


# ── numbers and shades ──────────────────────────────────────────────────────────────────────────────────────────────


def look(page: Any) -> list[tuple[int, int, int]]:
    return [tuple(each["back"]) for each in page.evaluate(LOOK)]


def numbers(page: Any) -> list[str]:
    return page.locator(".low, .high, .number, .top bdi").all_inner_texts()


def test_weak_scores_show_on_request_and_numbers_stay(show):
    scores = torch.tensor([[1.0, 0.04, -0.01, 0.0]])
    page = show(document_of(attribute(["a", " b", " c", " d"], [" x"], scores, special=(), sink=None)))
    linear, said = look(page), numbers(page)
    assert page.inner_text(".shades") == "Shades are linear in the score."
    page.check("input[name=root]")
    for back, shade in zip(look(page), [1, 0.2, -0.1, 0], strict=True):
        assert back == pytest.approx(LIGHT.fill(shade), abs=1)
    assert page.inner_text(".shades").startswith("Shades are the root of the score.")
    page.check("input[value=rank]")
    for back, shade in zip(look(page), [1, 2 / 3, -1 / 3, 0], strict=True):
        assert back == pytest.approx(LIGHT.fill(shade), abs=1)
    assert page.inner_text(".shades").startswith("Shades are the rank of |score|.")
    target(page, 0).hover()
    assert look(page)[1] == pytest.approx(LIGHT.fill(2 / 3), abs=1)
    assert numbers(page) == said
    page.check("input[value=signed]")
    page.uncheck("input[name=root]")
    assert look(page) == linear


def test_the_squares_are_shaded_like_the_text_and_the_scale_like_them(show):
    scores = torch.tensor([[1.0, 0.04], [0.25, -0.01]]).repeat_interleave(2, 1)[:, :3]
    page = show(document_of(attribute(["a", " b"], [" x", " y"], scores, special=(), sink=None)))
    page.click("summary")
    back = "es => es.map((e) => getComputedStyle(e).backgroundColor.match(/[0-9.]+/g).at(3) ?? '1')"
    bar = page.locator(".bar").evaluate("e => getComputedStyle(e).backgroundImage")
    for mode, alphas in {"root": [1, 1, 0.5, 0.5, 0.1], "rank": [1, 1, 2 / 3, 2 / 3, 1 / 3]}.items():
        page.check(MODES[mode])
        assert [float(a) for a in page.locator(".square").evaluate_all(back)] == pytest.approx(alphas, abs=0.005)
        assert (page.locator(".bar").evaluate("e => getComputedStyle(e).backgroundImage") == bar) == (mode == "rank")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("mode", ["root", "rank"])
def test_text_is_readable_however_it_is_shaded(show, scheme, mode):
    shades = torch.arange(-40, 41) / 40
    page = show(
        document_of(attribute([f" w{i}" for i in range(81)], [" x"], shades[None], special=(), sink=None)),
        color_scheme=scheme,
    )
    page.check(MODES[mode])
    looks = page.evaluate(LOOK)
    assert len({tuple(each["back"]) for each in looks}) > 60
    assert min(contrast(each["back"], each["ink"]) for each in looks) >= 4.5


def test_print_shows_the_view_on_the_screen_says_which_and_has_no_controls(show):
    page = show(document_of(capital()))
    linear = look(page)
    page.check("input[name=root]")
    rooted = look(page)
    assert rooted != linear
    page.emulate_media(media="print")
    assert page.inner_text(".shades").startswith("Shades are the root of the score.")
    assert seen(page) and not page.locator("#shading, #steps, #hint").filter(visible=True).count()
    paper = f"getComputedStyle({ROOT}.querySelector('[data-source=\"2\"]')).backgroundColor"
    alpha = float(page.evaluate(paper).removesuffix(")").rpartition(" ")[2])
    assert alpha == pytest.approx(lay_out(capital()).overview.cells[2].shade ** 0.5, abs=0.005)  # a step, in 8 bits


def test_a_square_is_read_out_and_its_source_outlined(show):
    page = show(document_of(paired()))
    cell = lay_out(paired()).rows[1].cells[2]
    square = page.locator("[data-row='1'] td").nth(2)
    square.hover()
    assert page.inner_text("#readout") == f"sat → chat: {exact(cell.value)}"
    assert "pointed" in page.locator("[data-source='2']").get_attribute("class").split()
    page.hover("h1")
    assert page.inner_text("#readout") == "" and not page.locator(".pointed").count()


def test_the_arrow_keys_go_from_square_to_square(show):
    page = show(document_of(paired()))
    rows = lay_out(paired()).rows
    page.focus(".sheet")
    steps = {"ArrowRight": (0, 0), "ArrowDown": (1, 0), "ArrowLeft": (1, 0), "ArrowUp": (0, 0)}
    for key, (row, source) in steps.items():
        page.keyboard.press(key)
        words = ("Le", "chat")
        assert page.inner_text("#readout") == f"The → {words[row]}: {exact(rows[row].cells[source].value)}"
        assert f"token {row + 1} of 2" in page.inner_text("#shown")
    for _ in range(9):
        page.keyboard.press("ArrowRight")
    assert page.inner_text("#readout").endswith("→ Le: no score"), "the last column, which the first target cannot see"


def test_small_matrices_are_printed_with_their_numbers_though_closed(show):
    page = show(document_of(chat()))
    assert not page.locator(".square").first.is_visible()
    page.emulate_media(media="print")
    texts = page.locator(".square").all_inner_texts()
    scale = lay_out_matrix(lay_out(chat())).scale
    values = [cell.value for row in lay_out(chat()).rows for cell in row.cells if cell.value is not None]
    assert texts == [scale.write(value) for value in values]
    size = "e => e.checkVisibility() && parseFloat(getComputedStyle(e).fontSize)"
    assert page.locator(".square").first.evaluate(size) > 8


def test_a_wide_matrix_is_printed_as_a_list_for_each_row(show):
    words = [f" word{index}" for index in range(40)]
    page = show(document_of(attribute(words, [" x", " y"], special=())), viewport={"width": 660, "height": 900})
    page.emulate_media(media="print")
    name = page.locator(".square").first.evaluate("e => getComputedStyle(e, '::before').content")
    assert name == '"word0 "'
    assert page.evaluate("document.documentElement.scrollWidth") <= 660
    right = page.locator(".square").evaluate_all("es => Math.max(...es.map((e) => e.getBoundingClientRect().right))")
    assert right <= 660


def test_a_large_matrix_keeps_the_page_small():
    words = [f" word{index}" for index in range(241)]
    document = document_of(attribute(words, [f" gen{index}" for index in range(60)], special=()))
    assert document.count("data-row=") == 60 <= CELLS / 300
    assert len(document) < 2_000_000


# ── fingers and small windows ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("options", [{}, PHONE], ids=["desktop", "phone"])
def test_controls_are_large_enough(show, options):
    page = show(document_of(attribute(["<s>", "a", "b"], ["1", "."], signed=True)), **options)
    page.click("summary")
    controls = page.locator("button:visible, summary, label, [data-row] th, .square")
    for index in range(controls.count()):
        box = controls.nth(index).bounding_box()
        assert min(box["width"], box["height"]) >= 24, controls.nth(index).inner_text()
    assert all(target(page, index).bounding_box()["height"] >= 24 for index in range(2))


def test_buttons_reach_every_target(show):
    """A full stop is a small target: WCAG 2.5.8 asks for a larger control that does the same."""
    page = show(document_of(capital()), **PHONE)
    back, share, total, forth, _ = page.locator("#steps button").all()
    pressed = "es => es.map((e) => e.getAttribute('aria-pressed'))"
    for row in (0, 1, 2, 3, 3):
        forth.tap()
        assert f"token {row + 1} of 4" in page.inner_text("#shown")
    back.tap()
    assert "token 3 of 4" in page.inner_text("#shown")
    assert page.locator("#steps button").evaluate_all(pressed) == [None, "false", "false", None, "false"]
    for button, row in zip((total, share), reversed(lay_out(capital()).overviews), strict=True):
        button.tap()
        assert row.title.lead in page.inner_text("#shown") and page.inner_text(".high") == row.scale.high
        assert button.get_attribute("aria-pressed") == "true"


@pytest.mark.parametrize("example", [capital(), chat(), three(), paired()], ids=["plain", "chat", "compared", "paired"])
def test_on_a_phone_what_is_shown_stays_in_view(show, example):
    page = show(document_of(example), **PHONE)
    inside = "e => { const { top, bottom } = e.getBoundingClientRect(); return top >= 0 && bottom <= innerHeight + 1; }"
    for place in ("0", "document.body.scrollHeight"):
        page.evaluate(f"scrollTo(0, {place})")
        assert page.locator(".status").evaluate(inside)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    footer, status = page.locator("footer").bounding_box(), page.locator(".status").bounding_box()
    assert footer["y"] + footer["height"] <= status["y"], "nothing is hidden for good"


def test_a_finger_reads_a_source_and_a_square(show):
    page = show(document_of(capital()), **PHONE)
    page.tap("[data-source='4']")
    assert page.inner_text("#readout") == f"France: {exact(lay_out(capital()).overview.cells[4].value)}\u00a0%"
    page.tap("summary")
    page.locator("[data-row='0'] td").nth(4).tap()
    assert page.inner_text("#readout") == "France → Paris: 2"
    assert "token 1 of 4" in page.inner_text("#shown")


def test_words_of_several_tokens_are_found_in_the_text(show):
    page = show(document_of(attribute(SPLIT, [" un", "believ", "able"])))
    for words in ("unforgettable lighthouse keeper", "unbelievable", "The unforgettable"):
        assert page.evaluate("words => { getSelection().removeAllRanges(); return find(words); }", words), words
    assert "The unforgettable lighthouse keeper" in page.inner_text(".before")


# ── notebooks, and where something is dropped ───────────────────────────────────────────────────────────────────────


def static(output: str) -> Any:
    return parse(f"<!DOCTYPE html><title></title>{output}").find(".//div[@class='tokensal-static']")


def sanitised(output: str, dropped: str = "script|style|iframe") -> str:
    return re.sub(rf"(?s)<({dropped})\b.*?</\1>", "", output)


def host(output: str, attributes: str = "") -> str:
    return f"<!DOCTYPE html><meta charset=utf-8><title>host</title><body {attributes}>{output}"


@pytest.mark.parametrize("dropped", ["iframe", "script|iframe", "script|style|iframe"])
def test_a_page_without_frames_styles_and_scripts_shows_the_text(show, dropped):
    page = show(host(sanitised(html.notebook(lay_out(capital())), dropped)))
    text, overview = page.inner_text("body"), lay_out(capital()).overview
    ranked = " · ".join(
        f"{lay_out(capital()).sources[cell.source].name} {overview.scale.write(cell.value)}" for cell in overview.top(3)
    )
    for part in ("The capital of France is", "Paris, France.", "Colour shows", ranked, "tiny/causal"):
        assert part in text
    france = page.get_by_text("France", exact=True).first.evaluate("e => getComputedStyle(e).backgroundColor")
    assert france == f"rgb{LIGHT.fill(overview.cells[4].shade)}"
    page = show(host(re.sub(r' (style|class)="[^"]*"', "", sanitised(html.notebook(lay_out(capital()))))))
    assert ranked in page.inner_text("body"), "without colours, there are numbers"


def test_what_remains_of_a_hostile_text_is_text():
    output = html.notebook(lay_out(attribute(HOSTILE, HOSTILE)))
    rest = static(output)
    text = "".join(rest.itertext())
    assert "".join(HOSTILE) in text
    assert {element.tag for element in rest.iter()} <= {"div", "p", "b", "i", "span", "small", "br"}


def test_the_frame_hides_what_stands_in_for_it(show):
    page = show(host(html.notebook(lay_out(capital()))))
    show.requests[:] = [url for url in show.requests if url != "about:srcdoc"]
    assert page.locator("iframe").is_visible() and not page.locator(".tokensal-static").is_visible()


def test_the_frame_is_as_high_as_its_page(show):
    page = show(host(html.notebook(lay_out(paired())) + html.notebook(lay_out_comparison(three()))))
    show.requests[:] = [url for url in show.requests if url != "about:srcdoc"]
    low, high = page.locator("iframe").all()
    inner = page.frames[1].evaluate("document.body.offsetHeight")
    page.wait_for_function("document.querySelector('iframe').style.height !== '680px'")
    assert low.bounding_box()["height"] == inner != high.bounding_box()["height"] <= 1200
    for more in (100, 0):
        page.frames[1].evaluate(f"{ROOT}.querySelector('main').style.paddingBottom = '{more}px'")
        page.wait_for_function(f"document.querySelector('iframe').offsetHeight === {inner + more}")


def themed(page: Any, theme: str) -> None:
    """Wait until the frame has that theme."""
    page.frame_locator("iframe").locator(f":root[data-theme={theme}]").wait_for(state="attached")


@pytest.mark.parametrize(
    ("attributes", "dark"),
    [
        ('data-jp-theme-light="false"', True),
        ('data-jp-theme-light="true" style="color: white"', False),
        ('class="vscode-dark" data-vscode-theme-kind="vscode-dark"', True),
        ('data-vscode-theme-kind="vscode-high-contrast"', True),
        ('data-vscode-theme-kind="vscode-high-contrast-light"', False),
        ('style="background: #111; color: #eee"', True),
        ("", False),
    ],
)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_frame_has_the_theme_of_the_notebook(show, attributes, dark, scheme):
    page = show(host(html.notebook(lay_out(capital())), attributes), color_scheme=scheme)
    show.requests[:] = [url for url in show.requests if url != "about:srcdoc"]
    themed(page, "dark" if dark else "light")
    paper = page.frames[1].evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert paper == f"rgb{(DARK if dark else LIGHT).background}"


def test_the_frame_follows_a_change_of_theme(show):
    page = show(host(html.notebook(lay_out(capital())), 'data-jp-theme-light="true"'))
    show.requests[:] = [url for url in show.requests if url != "about:srcdoc"]
    themed(page, "light")
    page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    themed(page, "dark")


# ── a text is drawn once ────────────────────────────────────────────────────────────────────────────────────────────


def in_words(example: Attribution, *lengths: int) -> Attribution:
    """The same with targets of so many tokens."""
    tokens, targets = list(example.targets), []
    for length in lengths:
        part, tokens = tokens[:length], tokens[length:]
        targets.append(replace(part[0], text="".join(token.text for token in part), stop=part[-1].stop,
                               ids=tuple(token.ids[0] for token in part)))  # fmt: skip
    rows = [sum(lengths[:index]) for index in range(len(lengths))]
    return replace(
        example, targets=tuple(targets), scores=example.scores[rows], visible=example.visible[rows],
        values=example.values[rows],
    )  # fmt: skip


@pytest.mark.parametrize("lengths", [(3, 2), (1, 4), (2, 1, 2), (5,)])
def test_targets_of_several_tokens_are_drawn_once(lengths):
    tree = parse(document_of(in_words(attribute(SPLIT, [" un", "believ", "able", " tal", "es"]), *lengths)))
    assert text_of(tree, "before").split(maxsplit=2)[:2] == ["prompt", str(len(SPLIT))]
    assert [int(mark.get("data-source")) for mark in marks(tree)] == list(range(len(SPLIT) + 4))
    assert len(marks(tree, "data-target")) == len(lengths)
    assert text_of(tree, "targets").strip() == "unbelievable tales"
    plain = "".join(static(html.notebook(lay_out(in_words(attribute(SPLIT, [" un", "a"]), 2)))).itertext())
    assert plain.count("forgettable") == plain.count(" una") == 1


def test_a_prompt_that_is_explained_is_drawn_once():
    example = attribute(SPLIT, [" said"])
    sources = example.sources
    visible = torch.ones(8, 8).tril().bool()
    prompt = replace(example, targets=sources[1:], sources=sources[:-1], scores=torch.zeros(8, 8), visible=visible,
                     values=torch.zeros(8))  # fmt: skip
    tree = parse(document_of(prompt))
    assert text_of(tree, "before").split() == ["sources", "1", "<s>"]
    assert text_of(tree, "targets") == "The unforgettable lighthouse keeper"
    assert "explained tokens" in text_of(tree, "lead") and "generated" not in text_of(tree, "guide")


def test_what_is_no_row_of_targets_is_drawn_with_all_sources_before_it():
    turned, both = in_words(attribute(), 2, 2), attribute()
    prompt = replace(both.targets[0], role=Role.PROMPT)
    for example in (
        attribute(explained=slice(0, 3, 2)),
        replace(turned, targets=turned.targets[::-1]),
        replace(both, targets=(prompt, *both.targets[1:])),  # the prompt and the answer
    ):
        tree = parse(document_of(example))
        assert text_of(tree, "before").split()[0] == "sources"
        assert len(marks(tree)) == len(example.sources)
        assert not tree.findall(".//section[@class='after']//*[@data-source]")


def test_a_word_is_pointed_at_as_one_and_its_tokens_are_read(show):
    page = show(document_of(in_words(attribute(SPLIT, [" un", "believ", "able", " tal", "es"]), 3, 2)))
    target(page, 1).hover()
    assert "Sources of tales" in page.inner_text("#shown")
    page.hover("[data-source='10']")
    assert "Sources of unbelievable" in page.inner_text("#shown")
    assert page.inner_text("#readout").startswith("believ: ")
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("button", name="unbelievable", exact=True).get_attribute("tabindex") == "0"
