"""Markdown: what a parser of CommonMark makes of it, whatever the tokens and the settings say."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from test_html import HOSTILE, attribute, capital
from test_layout import TEXTS, attribution_of

from tokensal.drawing import Drawing
from tokensal.render import encode
from tokensal.render.layout import lay_out, lay_out_comparison
from tokensal.render.markdown import draw_comparison, draw_heatmap
from tokensal.render.markdown.writing import code, fence, text
from tokensal.results.attribution import Alternative
from tokensal.results.comparison import Comparison
from tokensal.types import Diagnostic

MARKUP = [
    "|", "a|b", "`", "```", "~~~", "<script>alert(1)</script>", "<!-- x", "![x](http://evil.example/a.png)",
    "[x](javascript:alert(1))", "[x]: http://evil.example", "<http://evil.example>", "http://evil.example",
    "www.evil.example", "me@evil.example", "&lt;b&gt;", "&#60;", "*a*", "__b__", "***", "---", "===", "# h", "> q",
    "- item", "+ item", "1. one", "2) two", "\\", "\\*", "a\\", "~~x~~", "$x$", "\n", "a\n\nb", "\n    code", "\t",
    "\u202e", "\u2028", "\x1b[31m", "\u200b", "<", "&amp;", "{{x}}", "]]>", "^", ":tada:", "\n- x\n# y\n",
]  # fmt: skip
INLINE = {"text", "strong_open", "strong_close", "em_open", "em_close", "code_inline", "softbreak", "hardbreak"}
BLOCKS = {
    "heading_open", "heading_close", "paragraph_open", "paragraph_close", "inline", "blockquote_open",
    "blockquote_close", "bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close", "fence",
    *(f"{part}_{end}" for part in ("table", "thead", "tbody", "tr", "th", "td") for end in ("open", "close")),
}  # fmt: skip


def parsed(document):
    """The tokens of a parser that knows HTML, links and tables; with nothing among them but what we write."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(document)
    assert {token.type for token in tokens} <= BLOCKS
    inline = {child.type for token in tokens for child in token.children or ()}
    assert inline <= INLINE | {"text_special"}
    return tokens


def shown(token):
    """The text of an inline token as it is read."""
    return "".join("\n" if "break" in child.type else child.content for child in token.children)


def inlines(tokens, kind):
    """What is in each element of a kind."""
    return [after for before, after in pairwise(tokens) if before.type == f"{kind}_open"]


def tables(tokens):
    """The rows of each table."""
    found = []
    for index, token in enumerate(tokens):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type in ("th_open", "td_open"):
            found[-1][-1].append(shown(tokens[index + 1]))
    return found


def quotations(tokens):
    """The texts that are quoted: prompt, answer …"""
    depth, parts = 0, []
    for token in tokens:
        if token.type == "blockquote_open":
            depth += 1
            parts.append([])
        elif token.type == "blockquote_close":
            depth -= 1
        elif depth and token.type == "inline":
            parts[-1].append(token)
    return parts


def markdown_of(result, **drawing):
    return encode(result, "x.md", Drawing(**drawing)).decode()


def test_a_heatmap_says_what_its_layout_says():
    result = replace(capital(), alternatives=tuple((Alternative(1, " Rome", 0.25),) for _ in range(4)))
    tokens, heatmap = parsed(markdown_of(result)), lay_out(result)
    headings = [shown(token) for token in inlines(tokens, "heading")]
    assert headings == [
        "What the answer rests on", "Text and strongest sources", "Each token", "Settings", "How to make this again",
    ]  # fmt: skip
    ranking, targets = tables(tokens)
    assert ranking[0] == ["", "token", "place", "mean share", "sum"]
    assert [row[1:4] for row in ranking[1:]] == [
        [
            heatmap.sources[cell.source].name + heatmap.sources[cell.source].ordinal,
            str(cell.source),
            heatmap.overview.scale.write(cell.value),
        ]
        for cell in heatmap.overview.top(10)
    ]
    assert [row[0] for row in targets[1:]] == [label.name for label in heatmap.targets]
    assert targets[1][2] == "France₁ +2.00 · capital +1.00 · of −0.50"
    assert targets[1][3] == "Rome 25\u00a0%"
    prompt, answer = quotations(tokens)
    assert re.sub("[⁻⁰¹²³⁴-⁹†]", "", shown(prompt[0])) == "<s>The capital of France is"
    assert re.sub("[⁻⁰¹²³⁴-⁹]", "", shown(answer[0])) == "Paris, France."
    assert "abc123" in markdown_of(result)


def test_the_strongest_sources_are_numbered_and_marked_by_their_sign():
    tokens = parsed(markdown_of(capital(), row=0))
    [[prompt], _] = quotations(tokens)
    assert shown(prompt) == "<s>†The⁴ capital² of⁻³ France¹ is"
    strong = [after.content for before, after in pairwise(prompt.children)
              if before.type == "strong_open"]  # fmt: skip
    italic = [after.content for before, after in pairwise(prompt.children)
              if before.type == "em_open"]  # fmt: skip
    assert (strong, italic) == (["The", "capital", "France"], ["of"])


@pytest.mark.parametrize("texts", [MARKUP, HOSTILE, *([each, "b", each, each] for each in MARKUP)], ids=repr)
def test_hostile_tokens_stay_text(texts):
    texts = [*texts, *["x"] * (4 - len(texts))]
    count = len(texts)
    scores = torch.arange(2.0 * (count - 1)).reshape(2, -1) - 3
    scores[0, -1] = math.nan
    example = attribution_of(texts, scores.tolist(), prompt=count - 2, sink=None)
    document = markdown_of(replace(example, alternatives=((Alternative(1, texts[0], 0.5),),) * 2), matrix=True)
    tokens = parsed(document)
    heatmap = lay_out(example)
    for row in tables(tokens)[0][1:]:
        assert row[1] == (heatmap.sources[int(row[2])].name + heatmap.sources[int(row[2])].ordinal).strip()
    assert [row[0] for row in tables(tokens)[1][1:]] == [label.name.strip() for label in heatmap.targets]
    seen = "".join(shown(token) for part in quotations(tokens) for token in part)
    wanted = "".join(label.text for label in heatmap.sources) + heatmap.targets[-1].text
    assert [each for each in seen if each in "|<>[]`\\!&"] == [each for each in wanted if each in "|<>[]`\\!&"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.text(st.sampled_from("ab |`*_[]()<>!&\\#-+=~\n1.):/@$wh"), min_size=1, max_size=8), min_size=4, max_size=4
    )
)
def test_any_tokens_stay_text(texts):
    parsed(draw_heatmap(lay_out(attribution_of(texts, [[1.0, -2.0, math.nan], [3.0, 1.0, -1.0]], sink=None))))


@given(st.text(st.sampled_from("ab`|\\ <&*"), max_size=12))
def test_code_shows_what_it_is_given(words):
    [token] = [each for each in MarkdownIt("commonmark").parse(f"a {code(words)} b") if each.type == "inline"]
    assert shown(token) == f"a {words} b".replace("  b", "  b") if words.strip() else True


@given(st.text(st.sampled_from("ab`~\n "), max_size=30))
def test_a_fence_shows_what_it_is_given(words):
    [token] = MarkdownIt("commonmark").parse(fence(words, "sh"))
    assert (token.type, token.content) == ("fence", f"{words}\n")


def test_addresses_are_not_linked_where_a_reader_links_them():
    assert text("http://a.example www.b.example c@d.example") == "http\\://a.example www\\.b.example c`@`d.example"


def test_settings_of_a_stranger_stay_text():
    example = capital()
    example = replace(example, provenance=replace(example.provenance, method="<b>|`x`", method_repr="``|`<i>[x](y)",
                      model="![m](http://x)", versions={"<img>": "|"}, question={"targets": "`|a\n# b"}))  # fmt: skip
    document = markdown_of(example)
    parsed(document)
    parsed(markdown_of(Comparison((example, capital()))))
    facts = [shown(token) for token in inlines(parsed(document), "paragraph")]
    assert "method: ``|`<i>[x](y)" in facts and "<img>: |" in facts


def test_a_comparison_has_the_table_of_agreement():
    comparison = Comparison((capital(), attribute(signed=False)))
    tokens, layout = parsed(markdown_of(comparison)), lay_out_comparison(comparison)
    table = tables(tokens)[-1]
    assert [row[1:] for row in table[1:]] == [
        [layout.names[row], *(layout.agreement_text(row, column) for column in range(2))] for row in range(2)
    ]
    assert len(tables(tokens)) == 2 * 2 + 1
    assert draw_comparison(layout) == markdown_of(comparison)


def test_the_matrix_is_drawn_where_it_is_wanted_and_no_score_is_blank():
    table = tables(parsed(markdown_of(capital(), matrix=True)))[-1]
    assert (len(table), len(table[0])) == (5, 10)
    assert table[1][-3:] == ["", "", ""] and table[4][1] == "+1.00"
    assert len(tables(parsed(markdown_of(capital())))) == 2


def test_what_is_measured_is_told():
    missed = Diagnostic(torch.full((4,), 0.5), torch.full((4,), 0.1))
    example = replace(
        capital(),
        diagnostics={"total": Diagnostic(torch.ones(4)), "convergence_delta": missed},
    )  # fmt: skip
    document = markdown_of(example)
    assert "## How exact the numbers are" in document and "tolerance missed by" in document
    assert document.count("unexplained: median") == 1


def test_a_fragment_has_no_title():
    assert not re.search("^# ", markdown_of(capital(), standalone=False), re.MULTILINE)


def test_lines_stay_lines():
    example = attribute(["a\n", "b", "\n\n", "c"], ["d", "\n"], special=(), sink=None)
    [prompt, _] = quotations(parsed(markdown_of(example)))
    assert [re.sub("[⁻⁰¹²³⁴-⁹↵]", "", shown(token)) for token in prompt] == ["a\nb", "c"]


def test_the_pictures_of_the_text_are_explained():
    example = attribution_of(["a\tb", *TEXTS[1:]], [[9.0, -2.0, math.nan], [5.0, 1.0, -4.0]])
    assert "⇥ tab" in markdown_of(example)
    assert "In the text" not in markdown_of(attribution_of(TEXTS, [[9.0, -2.0, math.nan], [5.0, 1.0, -4.0]]))
