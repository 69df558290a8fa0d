"""Where a running text is parted: messages, what an encoder and a decoder read, contrasts; units of several words."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from test_html import ROOT, browser, contrast, data, document_of, marks, parse, show, target, text_of
from test_terminal import bare as without_codes
from test_terminal import printed, text_page

from tokensal.render.layout import lay_out, lay_out_matrix
from tokensal.render.layout.labels import labels, shortened
from tokensal.render.layout.sections import sections
from tokensal.results.attribution import Alternative, Attribution, Provenance
from tokensal.results.comparison import Comparison
from tokensal.types import Role, Unit

__all__ = ["browser", "show"]  # fixtures, used by name

T, S, U, A, G = Role.TEMPLATE, Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.GENERATED
P, C = Role.PROMPT, Role.CONTRAST

Piece = tuple[str, Role]
CHAT: list[Piece] = [
    *[("<|start|>", T), ("system", T), ("\n", T), ("Be", S), (" brief", S), (".", S), ("<|end|>", T), ("\n", T)],
    *[("<|start|>", T), ("user", T), ("\n", T), ("Who", U), (" am", U), (" I", U), ("?", U), ("<|end|>", T)],
    *[("\n", T), ("<|start|>", T), ("assistant", T), ("\n", T), ("Tom", G), (".", G)],
]
PAIRED: list[Piece] = [("The", P), (" cat", P), (" sat", P), ("</s>", P), ("<pad>", G), ("Le", G), (" chat", G)]
PLAIN: list[Piece] = [("The", P), (" capital", P), (" is", P), (" Paris", G), (",", G), (" of", G)]
SENTENCES: list[Piece] = [("The cat sat. ", P), ("It saw\nthe dog. ", P), ("Who?", P), (" Tom", G), (".", G)]


def units(pieces: Sequence[Piece], start: int = 0) -> list[Unit]:
    result = []
    for index, (text, role) in enumerate(pieces):
        special = text.startswith("<") and text.endswith(">")
        result.append(Unit((index,), text, start, start + len(text), role, special))
        start += len(text)
    return result


def attribution_of(
    pieces: Sequence[Piece],
    *,
    encoder: int = 0,
    sink: int | None = None,
    hidden: Sequence[int] = (),
    against: Sequence[str] = (),
    considered: Sequence[tuple[str, float]] = (),
    signed: bool = True,
) -> Attribution:
    """An attribution of the generated pieces; `hidden` sources are left out, `against` is what was not written."""
    everything = units(pieces)
    text = "".join(unit.text for unit in everything)
    first = next(index for index, (_, role) in enumerate(pieces) if role is G) + bool(encoder)
    targets, sources = everything[first:], everything[:-1]
    if against:
        targets = [replace(target, against=text) for target, text in zip(targets, against, strict=True)]
        sources += units([(other, C) for other in against], len(text) + 1)[:-1]
        text += "\n" + "".join(against)
    visible = torch.ones(len(targets), len(sources), dtype=torch.bool)
    for row in range(len(targets)):
        visible[row, first + row : len(everything) - 1] = False
        visible[row, len(everything) - 1 + row :] = False
    visible[:, list(hidden)] = False
    scores = torch.randn(visible.shape, generator=torch.Generator().manual_seed(0))
    scores = (scores if signed else scores.abs()).masked_fill(~visible, math.nan)
    return Attribution(
        text=text,
        sources=tuple(sources),
        targets=tuple(targets),
        scores=scores,
        visible=visible,
        values=torch.linspace(-0.1, -2, len(targets)),
        signed=signed,
        sink=sink,
        provenance=Provenance("tiny", None, "A", "float32", "cpu", "sdpa", "x", "X()", "logprob"),
        encoder=encoder,
        alternatives=(tuple(Alternative(0, *option) for option in considered),) * len(targets) if considered else (),
    )


def chat(**options: Any) -> Attribution:
    return attribution_of(CHAT, **options)


def paired(**options: Any) -> Attribution:
    return attribution_of(PAIRED, encoder=4, sink=4, **options)


def contrasted(**options: Any) -> Attribution:
    return attribution_of(PLAIN, against=[" London", " and", " a"], **options)


def several(first: Attribution, **options: Any) -> Comparison:
    """The same by two methods, the second with other options."""
    other = replace(first.provenance, method="y", method_repr="Y()")
    return Comparison((first, replace(first, provenance=other, **options)))


def split_inputs(pieces: Sequence[Piece], encoder: int = 0, rest: Sequence[Piece] = ()) -> list[tuple[str, str]]:
    """The name and the text of each section."""
    parts = sections(labels(units(pieces)), encoder, labels(units(rest)), ())
    assert [section.start for section in parts] == [0, *(section.stop for section in parts[:-1])]
    assert parts[-1].stop == len(pieces)
    texts = ["".join(text for text, _ in pieces[section.start : section.stop]) for section in parts]
    ends = ["".join(label.text for label in section.rest) for section in parts]
    return [(section.name, text + end) for section, text, end in zip(parts, texts, ends, strict=True)]


# ── layout ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_plain_prompt_is_one_passage_without_a_name():
    assert split_inputs(PLAIN) == [("", "The capital is Paris, of")]


def test_each_message_has_the_template_around_it():
    assert split_inputs(CHAT) == [
        ("system", "<|start|>system\nBe brief.<|end|>\n"),
        ("user", "<|start|>user\nWho am I?<|end|>\n"),
        ("assistant", "<|start|>assistant\nTom."),
    ]


@pytest.mark.parametrize(
    ("pieces", "names"),
    [
        ([("<s>", T), ("[INST]", T), ("Hi", U), ("[/INST]", T), ("Ho", G)], ["<s>[INST]Hi", "[/INST]Ho"]),
        ([("<s>", T), ("<i>", T), ("Hi", U), ("</i>", T), ("Ho", G)], ["<s><i>Hi</i>", "Ho"]),
        ([("Hi", U), ("</e>", T), ("<h>", T), ("ai", T), ("</h>", T), ("Ho", G)], ["Hi</e>", "<h>ai</h>Ho"]),
        ([("User: ", T), ("Hi", U), ("\n", T), ("Bot: ", T), ("Ho", G)], ["User: Hi\n", "Bot: Ho"]),
        ([("Hi", U), ("Ho", A), (" ha", G)], ["Hi", "Ho ha"]),
        ([("Hi", U), ("</e>", T), ("Ho", U)], ["Hi</e>", "Ho"]),
        ([("<s>", T), ("Hi", U), (" you", U), ("</s>", T), ("\n", T)], ["<s>Hi you</s>\n"]),
        ([("<s>", T), ("I am a bot.", T), ("\n", T), ("<u>", T), ("Hi", U)], ["<s>I am a bot.\n", "<u>Hi"]),
        ([("<s>", T), ("only", T)], ["<s>only"]),
    ],
)
def test_templates_of_many_kinds_are_parted_between_messages(pieces, names):
    assert [text for _, text in split_inputs(pieces)] == names


def test_a_message_that_is_only_a_target_begins_a_passage_too():
    assert split_inputs(CHAT[:16], rest=[("Yes", G)]) == [
        *split_inputs(CHAT)[:1],
        ("user", "<|start|>user\nWho am I?<|end|>"),
        ("assistant", "Yes"),
    ]


def test_what_an_encoder_reads_and_its_answer_are_two_passages():
    assert split_inputs(PAIRED[:-1], encoder=4, rest=PAIRED[-1:]) == [
        ("source text", "The cat sat</s>"),
        ("answer", "<pad>Le chat"),
    ]


def test_what_was_not_written_stands_apart_and_whole():
    *text, instead = lay_out(contrasted()).sections
    assert [section.name for section in text] == [""]
    assert [label.text for label in text[0].rest] == [" of"]
    assert (instead.name, instead.stop - instead.start) == ("instead", 2)
    assert [label.text for label in instead.rest] == [" a"]
    assert [label.name for label in lay_out(contrasted()).targets] == ["Paris, not London", ",, not and", "of, not a"]
    heatmap = lay_out(attribution_of(PLAIN[:4], against=[" London"]))
    assert [label.text for label in heatmap.sections[-1].rest] == [" London"]


def test_a_unit_keeps_its_lines():
    first, second, third, *_ = lay_out(attribution_of(SENTENCES)).sources
    assert (first.unit, second.unit, third.unit) == (True, True, False)
    assert second.pieces == ("It saw↵", "the dog. ") and second.text == "It saw↵the dog. "
    assert (second.name, second.lines) == ("It saw↵the dog.", 0)


def test_sources_that_are_left_out_have_no_score():
    assert lay_out(chat(hidden=[0, 1, 2])).scored == tuple(range(3, 21))


@pytest.mark.parametrize(
    ("probability", "share"), [(1.0, "100 %"), (0.62, "62 %"), (0.0949, "9.5 %"), (0.08, "8.0 %"), (1e-5, "<0.1 %")]
)
def test_shares_have_two_digits(probability, share):
    [option] = lay_out(chat(considered=[(" Oslo", probability)])).considered[0]
    assert option == ("Oslo", share.replace(" ", "\u00a0"))


def test_long_names_keep_their_beginning_and_their_end():
    assert shortened("The museum opened in 1891 and closed.", 20) == "The museum … closed."
    assert shortened("The museum opened in 1891 and closed.", 11) == "The museum…"
    assert shortened("short", 5) == "short"
    assert shortened("incomprehensibilities", 8) == "incompr…"


# ── terminal ────────────────────────────────────────────────────────────────────────────────────────────────────────


def bare(page: str) -> str:
    return re.sub(r"\[[+−]?\d+]", "", without_codes(page))


def test_a_chat_in_the_terminal():
    assert bare(printed(chat(), 72)).split("\n\n")[1].splitlines() == [
        "── system ──",
        "<|start|>system↵",
        "Be brief.<|end|>↵",
        "── user ──",
        "<|start|>user↵",
        "Who am I?<|end|>↵",
        "── assistant ──",
        "<|start|>assistant↵",
        "›Tom.",
    ]


def test_template_tokens_are_dim():
    page = printed(chat(hidden=range(20)), 72, system="truecolor")
    assert "\x1b[2m<|start|>" in page and "\x1b[2muser" in page and "\x1b[2m── user ──" in page
    assert "\x1b[2mWho" not in page


def test_an_alignment_is_shown_where_it_fits():
    page = bare(printed(paired(), 72))
    head = next(line for line in page.splitlines() if "</s>" in line and "›<pad>†" in line)
    assert head.split() == ["The", "cat", "sat", "</s>", "│", "›<pad>†", "›Le"]
    assert "a row for each target" in page
    assert [line.split()[0] for line in page.splitlines() if "│" in line] == ["The", "Le", "chat"]
    narrow = bare(printed(paired(), 40))
    assert "a row for each source" in narrow
    assert re.search(r"\n</s> .*\n\n›<pad>†", narrow)
    long = [*PAIRED[:4], *(("<pad>" if index == 0 else f" mot{index}", G) for index in range(20))]
    assert "one scale" not in printed(attribution_of(long, encoder=4, sink=4), 72)
    assert "one scale" not in printed(chat(), 72)


def test_a_contrast_in_the_terminal():
    page = bare(text_page(contrasted(), width=72))
    assert "The capital is ›Paris, of\n── instead ──\n London and a\n" in page
    assert "≠London" in page and "≠ the contrast, not written" in page
    assert "Positive speaks for the answer rather than the contrast" in page.replace("\n", " ")
    assert "Positive" not in text_page(contrasted(signed=False)) + text_page(attribution_of(PLAIN))


def test_units_in_the_terminal():
    page = bare(printed(attribution_of(SENTENCES), 72))
    assert "⟦The cat sat.⟧ ⟦It saw↵\nthe dog.⟧ Who? ›Tom." in page
    assert "⟦ ⟧ credited as one" in page
    for width in range(20, 60):
        words = re.findall(r"\w+", bare(printed(attribution_of(SENTENCES), width)).split("\n\n")[1])
        assert words == ["The", "cat", "sat", "It", "saw", "the", "dog", "Who", "Tom"]


def test_sources_that_are_left_out_are_counted_in_the_legend():
    page = printed(chat(hidden=[0, 1, 2], sink=0), 72)
    assert "3 of 21 sources have no score" in page
    assert "† attention sink, without a score" in page.replace("\n", " ")
    assert "have no score" not in printed(chat(), 72)
    assert "<|start|>†system" in page.splitlines()[3]


@pytest.mark.parametrize("width", [72, 24])
def test_what_was_considered_stands_below_each_target(width):
    page = printed(chat(considered=[(" Tom", 0.62), ("\n", 0.08)]), width)
    assert page.count("considered  Tom 62\u00a0%  ↵ 8.0\u00a0%") == (2 if width == 72 else 0)
    assert len(re.findall(r"considered\s+Tom\s+62\u00a0%\s+↵\s+8.0\u00a0%", page)) == 2
    assert "considered" not in printed(chat(), width)


def test_a_comparison_in_the_terminal():
    visible = torch.ones(2, 21, dtype=torch.bool) & chat().visible
    visible[:, 0] = False
    example = chat(considered=[(" Tom", 0.62)])
    compared = several(example, visible=visible, scores=example.scores.masked_fill(~visible, math.nan))
    page = text_page(compared)
    assert page.count("── user ──") == 2
    assert page.count("considered  Tom") == 2  # for two targets, not for each method
    assert page.count("1 of 21 sources have no score") == 1


# ── HTML ────────────────────────────────────────────────────────────────────────────────────────────────────────────

EXAMPLES = {
    "chat": chat(considered=[(" Tom", 0.62), ("</script>", 0.1)]),
    "left out": chat(hidden=[0, 1, 2], sink=0),
    "paired": paired(),
    "contrasted": contrasted(),
    "one contrast": attribution_of(PLAIN[:4], against=["<b>"]),
    "units": attribution_of(SENTENCES),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_pages_are_valid_and_hold_every_source_in_order(name):
    example = EXAMPLES[name]
    for document in (document_of(example), document_of(several(example))):
        tree = parse(document)
        views = tree.findall(".//*[@class='view']") or tree.findall(".//main")
        for view in views:
            assert [int(mark.get("data-source")) for mark in marks(view)] == list(range(len(example.sources)))
            assert len(marks(view, "data-target")) == len(example.targets)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_terminal_and_a_page_say_the_same(name):
    example = replace(EXAMPLES[name], sink=0 if EXAMPLES[name].sink is None else EXAMPLES[name].sink)
    heatmap, tree = lay_out(example), parse(document_of(example))
    text = " ".join(text_page(example, width=500).split())
    [*entries] = [
        (entry.sample, entry.meaning) for entry in heatmap.legend.entries if entry.kind not in ("generated", "ordinal")
    ]
    legend = [
        ("".join(row.find("dt").itertext()), row.find("dd").text) for row in tree.findall(".//dl[@id='marks']/div")
    ]
    assert legend == [*entries, ("†", heatmap.overview.sink_note)]
    drawn = [entry for entry in heatmap.legend.entries if entry.kind in ("generated", "special", "ordinal", "unit")]
    for sentence in (f"† {heatmap.overview.sink_note}", *(entry.meaning for entry in drawn)):
        assert " ".join(sentence.split()) in text, sentence
    assert heatmap.legend.left_out_note in text and heatmap.legend.sign_note in text
    note = lay_out_matrix(heatmap).note()
    assert note in text_of(tree, "matrix") and (note in text or lay_out_matrix(heatmap).note(turned=True) in text)


def groups(tree: Any) -> list[tuple[str, str]]:
    """The name of each block, as it is heard, and its text."""
    blocks = tree.findall(".//*[@role='group']")
    assert [block.find("h3").text for block in blocks] == [block.get("aria-label") for block in blocks]
    return [(block.get("aria-label"), "".join(block.find("div").itertext()).strip("\n")) for block in blocks]


def test_messages_of_a_chat_are_blocks():
    tree = parse(document_of(chat()))
    assert groups(tree) == [
        ("system", "<|start|>system↵Be brief.<|end|>↵"),
        ("user", "<|start|>user↵Who am I?<|end|>↵"),
        ("assistant", "<|start|>assistant↵"),
    ]
    kinds = [{"special", "template"} & set(mark.get("class").split()) for mark in marks(tree)[:4]]
    assert kinds == [{"special"}, {"template"}, {"template"}, set()]
    assert text_of(tree, "targets").strip() == "Tom."
    assert groups(parse(document_of(attribution_of(PLAIN)))) == []


def test_the_decoders_start_belongs_to_the_answer():
    tree = parse(document_of(paired()))
    before, after = (tree.find(f".//section[@class='{name}']") for name in ("before", "after"))
    assert [mark.get("data-source") for mark in marks(before)] == ["0", "1", "2", "3"]
    assert [mark.get("data-source") for mark in marks(after)] == ["4", "5"]
    assert (before.get("aria-label"), after.get("aria-label")) == ("source text", "answer")
    assert [mark.text for mark in marks(after, "data-target")] == ["Le", "chat"]


def test_some_of_an_answer_leaves_what_the_decoder_read_among_the_sources():
    complete = paired()
    some = replace(complete, targets=complete.targets[1:], scores=complete.scores[1:], visible=complete.visible[1:])
    tree = parse(document_of(some))
    assert groups(tree) == [("source text", "The cat sat</s>"), ("answer", "<pad>Le")]
    assert text_of(tree, "targets").strip() == "chat"


def test_a_contrast_stands_behind_the_answer():
    tree = parse(document_of(contrasted()))
    assert groups(tree) == [("instead", " London and a")]
    assert text_of(tree, "ends") == "for the contrastfor the answer"
    assert "speaks for the contrast" in text_of(tree, "marks")
    assert data(tree)["rows"][0]["name"] == "Paris, not London"


def test_left_out_sources_are_told_from_unseen_ones():
    tree = parse(document_of(chat(hidden=[0, 1, 2])))
    assert all("blank" in mark.get("class").split() and "style" not in mark.attrib for mark in marks(tree)[:3])
    assert "left_out" in data(tree)["rows"][1]["kinds"] and "left_out" in data(tree)["overview"]["kinds"]
    assert tree.find(".//*[@data-kind='left_out']").get("hidden") is None
    assert parse(document_of(chat())).find(".//*[@data-kind='left_out']") is None


def test_a_unit_is_one_element_with_one_title():
    tree = parse(document_of(attribution_of(SENTENCES)))
    unit = marks(tree)[1]
    assert "unit" in unit.get("class").split() and len(unit.findall("br")) == 1
    assert re.fullmatch(r"It saw↵the dog.: −?[\d.]+\u00a0%", unit.get("title"))
    assert "credited as one" in text_of(tree, "marks")


def test_several_tokens_are_not_called_a_token():
    example = attribution_of(PLAIN)
    unit = replace(example.targets[0], ids=(3, 4, 5), text=" Paris, of", stop=example.targets[-1].stop)
    united = replace(example, targets=(unit,), scores=example.scores[2:], visible=example.visible[2:])
    tree = parse(document_of(united))
    assert (text_of(tree, "lead"), text_of(tree, "detail")) == ("Sources of", "target 1 of 1 · logprob −0.1")
    assert "\ntarget " in text_page(united)


# ── in a browser ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_was_considered_is_said_of_the_selected_target(show):
    page = show(document_of(EXAMPLES["chat"]))
    options = page.locator("#considered")
    assert options.inner_text() == ""
    target(page, 1).hover()
    assert options.inner_text() == "considered Tom 62\u00a0% · </script> 10\u00a0%"
    page.hover("h1")
    assert options.inner_text() == ""
    both = show(document_of(several(EXAMPLES["chat"])))
    target(both, 0).nth(1).hover()
    assert both.locator("#considered").all_inner_texts() == ["considered Tom 62\u00a0% · </script> 10\u00a0%"]


# The paper and the ink of an element, or of what is before it, as painted on a canvas.
PIXELS = """(e, pseudo) => {
    const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const paint = (colour) => { context.fillStyle = colour; context.fillRect(0, 0, 1, 1); };
    const read = () => [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
    paint(getComputedStyle(document.documentElement).backgroundColor);
    paint(getComputedStyle(e).backgroundColor);
    const paper = read();
    paint(getComputedStyle(e, pseudo).color);
    return [paper, read()];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_template_tokens_are_faint_but_readable_on_every_shade(show, scheme):
    page = show(document_of(chat()), color_scheme=scheme)
    token = page.locator(".template").first
    contrasts = []
    for step in range(21):
        token.evaluate("(e, shade) => e.style.setProperty('--s', shade)", step / 20)
        contrasts.append(contrast(*token.evaluate(PIXELS, "")))
    assert min(contrasts) >= 4.5
    assert contrasts[0] < contrast(*page.locator("[data-source='3']").evaluate(PIXELS, ""))


def test_a_screen_reader_hears_who_speaks(show):
    page = show(document_of(chat()))
    assert "Who am I?" in page.get_by_role("group", name="user").inner_text()
    assert page.get_by_role("region", name="prompt").get_by_role("group").count() == 3


@pytest.mark.parametrize("name", EXAMPLES)
def test_narrow_windows_do_not_scroll_sideways(show, name):
    page = show(document_of(EXAMPLES[name]), viewport={"width": 360, "height": 700})
    page.evaluate(f"{ROOT}.querySelectorAll('details').forEach((each) => (each.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
