"""Fragments of HTML: one element for any page, which neither changes what is around it nor is changed by it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from test_compare import three
from test_html import HOSTILE, attribute, browser, capital, parse, show
from test_sections import chat, paired

from tokensal.drawing import Drawing
from tokensal.render import html, save
from tokensal.render.layout import lay_out, lay_out_comparison
from tokensal.render.layout.palette import DARK, LIGHT
from tokensal.results.attribution import Attribution
from tokensal.results.comparison import Comparison

__all__ = ["browser", "show"]  # fixtures, used by name

# What pages do to all that is in them: resets, frameworks of styles, and rules that mean well.
HOST_STYLE = """
html { font-size: 62.5%; letter-spacing: .3em; text-transform: uppercase; line-height: 3; direction: rtl; }
*, ::before, ::after { box-sizing: content-box; border: 3px solid lime; margin: 7px; color: red; background: lime; }
table, td { display: block !important; width: 100% !important; padding: 2rem !important; }
span, bdi, i { display: block; float: right; font: 40px fantasy; } p, h2, dl { font-size: 50px !important; }
div { letter-spacing: .2em; text-transform: uppercase; text-align: right; text-indent: 3em; white-space: nowrap; }
button { all: unset; } .token { background: url(x.png); } .text { display: none; }
[hidden] { display: block !important; }
:root { --s: 1; --r: 1; --text: 255 0 0; --background: 0 255 0; --positive: 0 255 0; }
"""


def fragment_of(result: Attribution | Comparison) -> str:
    if isinstance(result, Comparison):
        return html.fragment(lay_out_comparison(result))
    return html.fragment(lay_out(result))


def host(*parts: str, style: str = "", attributes: str = "") -> str:
    """A page that holds fragments, and paragraphs between them."""
    body = "<p class=host>between</p>".join(parts)
    return f"<!DOCTYPE html><meta charset=utf-8><title>host</title><style>{style}</style><body {attributes}>{body}"


# The place, font and colours of everything that a fragment draws, relative to its own corner.
LOOKS = """e => {
    const { left, top } = e.shadowRoot.querySelector(".column").getBoundingClientRect();
    const drawn = [...e.shadowRoot.querySelectorAll(".column *")].filter((each) => each.checkVisibility());
    return drawn.map((each) => {
        const box = each.getBoundingClientRect(), style = getComputedStyle(each);
        const place = [box.left - left, box.top - top, box.width, box.height].map(Math.round);
        return [each.tagName, each.className, ...place, style.color, style.backgroundColor, style.fontFamily,
                style.fontSize, style.display, style.textTransform];
    });
}"""


@pytest.mark.parametrize("example", [capital(), chat(), paired(), three()], ids=["plain", "chat", "paired", "compared"])
def test_a_fragment_looks_the_same_whatever_is_around_it(show: Any, example: Any) -> None:
    options = {"viewport": {"width": 1000, "height": 800}}
    frame = "<div style='all: initial; display: block; width: 900px; color: blue'>"
    plain = show(host(f"{frame}{fragment_of(example)}</div>"), **options)
    styled = show(host(f"{frame}{fragment_of(example)}</div>", style=HOST_STYLE), **options)
    looks = plain.locator(".tokensal").evaluate(LOOKS)
    assert len(looks) > 80
    assert styled.locator(".tokensal").evaluate(LOOKS) == looks


def test_a_fragment_leaves_the_page_as_it_was(show: Any) -> None:
    looks = """() => [...document.querySelectorAll("html, body, .host *, .host")].map((each) => {
        const style = getComputedStyle(each);
        return [...style].filter((name) => !/height|block-size|origin/.test(name)).map((name) => style[name]).join();
    })"""
    own = "<div class=host><h1>a</h1><h2>b</h2><table><tr><td>c</table><ol><li>d</ol><label>e<input></label></div>"
    without = show(host(own, "")).evaluate(looks)
    page = show(host(own, fragment_of(capital())))
    assert page.evaluate(looks) == without
    assert page.evaluate("Object.keys(window).filter((name) => /token|sal/i.test(name))") == []
    assert page.locator("#data").count() == 1 and page.evaluate("document.getElementById('data')") is None


def test_equal_fragments_on_one_page_are_each_by_itself(show: Any) -> None:
    page = show(host(*[fragment_of(capital())] * 2, fragment_of(three())))
    first, second, compared = page.locator(".tokensal").all()
    assert page.evaluate("document.querySelectorAll('[id]').length") == 0
    first.locator("[data-target='2']").click()
    assert "token 3 of 4" in first.locator("#shown").inner_text()
    first.locator("input[value=rank]").check()
    for other in (second, compared):
        assert other.locator("#shown").inner_text().startswith("Mean share")
        assert other.locator("[aria-pressed=true][data-target]").count() == 0
        assert other.locator("input:checked").first.get_attribute("value") == "signed"
    second.locator("[data-target='0']").focus()
    page.keyboard.press("ArrowRight")
    assert "token 2 of 4" in second.locator("#shown").inner_text()
    assert "token 3 of 4" in first.locator("#shown").inner_text()


def test_keys_outside_a_fragment_are_those_of_the_page(show: Any) -> None:
    page = show(host("<input id=own value=abc>", fragment_of(capital())))
    page.evaluate("addEventListener('keydown', (event) => (window.prevented = event.defaultPrevented))")
    page.focus("#own")
    for key in ("ArrowRight", "ArrowLeft", "Escape", "p"):
        page.keyboard.press(key)
        assert page.evaluate("prevented") is False
    assert page.locator("#shown").inner_text().startswith("Mean share")


def test_a_fragment_that_a_script_puts_into_a_page_works(show: Any) -> None:
    """As in notebooks: innerHTML makes no shadow root and runs no script; the notebook runs the scripts anew."""
    page = show(host("<div id=output></div>"))
    page.evaluate(
        """text => {
            const output = document.getElementById("output");
            output.innerHTML = text;
            for (const old of output.querySelectorAll("script")) {
                const script = document.createElement("script");
                script.textContent = old.textContent;
                old.replaceWith(script);
            }
        }""",
        fragment_of(capital()),
    )
    page.locator("[data-target='1']").hover()
    assert "token 2 of 4" in page.locator("#shown").inner_text()
    assert_warned(show)


def test_a_script_that_runs_elsewhere_starts_every_fragment_once(show: Any) -> None:
    page = show(host("<div id=output></div>"))
    page.evaluate(
        """text => {
            const output = document.getElementById("output");
            output.innerHTML = text;
            for (const each of output.querySelectorAll("script")) {
                const script = document.createElement("script");
                script.textContent = each.textContent;
                document.head.append(script);
            }
        }""",
        fragment_of(capital()) * 2,
    )
    assert page.locator(".tokensal").count() == 2
    for each in page.locator(".tokensal").all():
        assert each.locator(".column").count() == 1
        each.locator("[data-target='1']").hover()
        assert "token 2 of 4" in each.locator("#shown").inner_text()
        each.locator("[data-target='1']").focus()
        page.keyboard.press("p")
        assert each.locator(".pin").count() == 1, "a second start would take it back"
    assert_warned(show)


def assert_warned(show: Any) -> None:
    """Chromium tells every page that innerHTML makes no shadow root; nothing else is said."""
    assert all("declarative Shadow DOM is not being parsed" in complaint for complaint in show.complaints)
    show.complaints.clear()


@pytest.mark.parametrize("example", [capital(), three()], ids=["plain", "compared"])
def test_where_templates_and_scripts_are_dropped_the_text_shows_in_colour(show: Any, example: Any) -> None:
    kept = re.sub(r"(?s)<(template|script)\b.*?</\1>(?!</script>)", "", fragment_of(example))
    kept = re.sub(r"(?s)<script\b.*?</script>", "", kept)
    page = show(host(kept))
    assert "The capital of France is" in page.inner_text("body")
    assert (
        page.get_by_text("France", exact=True).first.evaluate("e => getComputedStyle(e).backgroundColor")[:4] == "rgb("
    )
    whole = show(host(fragment_of(example)))
    assert whole.locator(".tokensal > p").first.is_visible() is False, "the plain text shows in its place alone"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("theme", [None, "light", "dark"])
def test_a_fragment_follows_the_system_or_what_its_element_says(show: Any, scheme: str, theme: str | None) -> None:
    page = show(host(fragment_of(capital())), color_scheme=scheme)
    if theme:
        page.locator(".tokensal").evaluate("(e, theme) => (e.dataset.theme = theme)", theme)
    palette = DARK if (theme or scheme) == "dark" else LIGHT
    paper = "e => getComputedStyle(e).backgroundColor"
    assert page.locator(".page").evaluate(paper) == f"rgb{palette.background}"
    assert page.locator("[data-source='4']").evaluate(paper) == f"rgb{palette.positive}"


@pytest.mark.parametrize("width", [300, 390, 700])
def test_a_fragment_fits_its_place_and_not_the_window(show: Any, width: int) -> None:
    example = attribute(["<s>", "x" * 200, " مرحبا", "東京" * 40], ["y" * 200, " z"])
    page = show(host(f"<div style='width: {width}px'>{fragment_of(example)}</div>"))
    wide = (
        "e => [...e.shadowRoot.querySelectorAll('.column *')].every((each) => each.getBoundingClientRect().right <= {})"
    )
    left = page.locator(".tokensal").bounding_box()["x"]
    assert page.locator(".tokensal").evaluate(wide.format(left + width + 1))
    assert page.locator(".column").evaluate("e => getComputedStyle(e).display") == "flex", "as on a phone"


def test_the_controls_of_a_narrow_fragment_stay_inside_it(show: Any) -> None:
    before = "<p style='height: 2000px'>before</p>"
    page = show(host(before, fragment_of(capital()), before), viewport={"width": 390, "height": 700})
    box, status = page.locator(".tokensal").bounding_box(), page.locator(".status").bounding_box()
    assert box["y"] <= status["y"] and status["y"] + status["height"] <= box["y"] + box["height"]


def test_a_fragment_names_itself_and_leaves_the_landmarks_to_the_page(show: Any) -> None:
    page = show(host(fragment_of(capital())))
    name = "Token attribution: gradient · The capital of France is · causal"
    assert page.get_by_role("region", name=name, exact=True).count() == 1
    for role in ("main", "banner", "contentinfo"):
        assert page.get_by_role(role).count() == 0
    assert page.get_by_role("heading", level=1).count() == 0


def test_drawing_asks_for_a_fragment(tmp_path: Any) -> None:
    for example in (capital(), three()):
        path = save(example, tmp_path / "a.html", Drawing(standalone=False))
        assert path.read_text(encoding="utf-8") == fragment_of(example)
        assert fragment_of(example).startswith('<div class="tokensal"')
        for drawing in (Drawing(), Drawing(standalone=True)):
            assert save(example, tmp_path / "b.html", drawing).read_text().startswith("<!DOCTYPE html>")


def test_a_document_holds_the_same_fragment_without_what_stands_in_for_it() -> None:
    document = html.draw_heatmap(lay_out(capital()))
    [inside] = re.findall(r"(?s)<dl class=\"marks\".*?</dl>", document)
    assert inside in fragment_of(capital())
    assert document.count('class="tokensal"') == 1


@pytest.mark.parametrize(
    "example", [capital(), attribute(HOSTILE, HOSTILE), attribute(["a\n\n\nb"], ["\n", "c"]), three()]
)
def test_markdown_takes_a_fragment_as_one_block_of_html(example: Any) -> None:
    text = fragment_of(example)
    assert not re.search(r"\n[ \t]*\n", text)
    assert text == fragment_of(example)
    parse(f"<!DOCTYPE html><title></title>{text}")


def test_hostile_tokens_do_nothing_in_a_fragment(show: Any) -> None:
    page = show(host(fragment_of(attribute(HOSTILE, HOSTILE))))
    assert page.locator("img").count() == 0
    texts = page.locator("[data-source]").all_inner_texts()
    assert texts == (HOSTILE + HOSTILE)[:-1]
