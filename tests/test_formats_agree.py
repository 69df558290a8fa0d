"""All formats say the same of one result: its text, the ends of the scale, what a score is, the provenance."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from dataclasses import replace

import html5lib
import pytest
from pypdf import PdfReader
from test_sections import chat, contrasted, paired, several

from tokensal.drawing import Drawing
from tokensal.render import encode
from tokensal.render.layout import lay_out, lay_out_comparison, lay_out_figure
from tokensal.render.renderers import RENDERERS

FIGURES = (".svg", ".pdf", ".tex")
PAGES = (".html", ".md", ".txt")
NO_TEXT = (".png",)  # drawn from the same shapes as .pdf


def measured(result):
    """The result of a method that says what its scores are."""
    return replace(result, provenance=replace(result.provenance, quantity="drop of {score} without it"))


RESULTS = {
    "prompt": (measured(contrasted()), {}),
    "unsigned": (measured(chat(signed=False)), {}),
    "chat": (measured(chat(sink=0, hidden=[1, 2, 8])), {}),
    "matrix": (measured(paired()), {}),
    "text of a matrix": (measured(paired()), {"matrix": False}),
    "target": (measured(chat()), {"row": 0}),
    "bins": (measured(chat()), {"bins": 3}),
    "clip": (measured(chat(sink=0)), {"clip": 80}),
    "comparison": (several(measured(contrasted())), {}),
}


def test_every_format_is_tested_here():
    assert {*FIGURES, *PAGES, *NO_TEXT} == {*RENDERERS}


def text_of(result, suffix, drawing, folder):
    """What a reader of the file sees, or copies from it; of .tex, from what TeX makes of it."""
    document = encode(result, f"x{suffix}", drawing)
    if suffix in (".md", ".txt"):
        return re.sub(r"\\(.)", r"\1", document.decode()) if suffix == ".md" else document.decode()
    if suffix == ".pdf":
        return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(document)).pages)
    if suffix == ".tex":
        return typeset(encode(result, "x.tex", replace(drawing, standalone=True)), folder)
    body = html5lib.parse(document.decode(), treebuilder="etree", namespaceHTMLElements=False)
    hidden = {id(each) for kind in ("script", "style") for node in body.iter(kind) for each in node.iter()}
    return "".join(piece for node in body.iter() if id(node) not in hidden for piece in (node.text, node.tail) if piece)


def typeset(source, folder):
    if shutil.which("lualatex") is None:
        pytest.skip("lualatex is not installed")
    (folder / "x.tex").write_bytes(source)
    command = ["lualatex", "-interaction=nonstopmode", "-halt-on-error", "x.tex"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
    return "\n".join(page.extract_text() for page in PdfReader(folder / "x.pdf").pages)


def plain(text):
    """Letters and digits without spaces, marks and the difference between signs of minus."""
    text = (
        text.replace("−", "-")
        .replace("–", "-")
        .replace("′", "'")
        .replace("ﬁ", "fi")
        .replace("ﬀ", "ff")
        .replace("∆", "Δ")
    )
    return re.sub(r"[\s\u00a0\u200b\u2066-\u2069*_|▏▎▍▌▋▊▉█━]", "", text)


def laid_out(result, drawing):
    return (lay_out_comparison if hasattr(result, "attributions") else lay_out)(result, drawing)


def scales(result, drawing):
    """Both ends of each scale, and how they are written in one."""
    figure = lay_out_figure(laid_out(result, drawing), drawing)
    for part in [part for _, part in figure.parts] if hasattr(figure, "parts") else [figure]:
        scale = part.row.scale if hasattr(part, "row") else part.matrix.scale
        assert (scale.low, scale.high) == (part.sheet.ramp.low, part.sheet.ramp.high)
        yield (scale.low, scale.high), scale.span


@pytest.mark.slow
@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.parametrize("suffix", [*FIGURES, *PAGES])
def test_each_format_has_the_text_and_the_scale(name, suffix, tmp_path):
    result, options = RESULTS[name]
    if suffix in PAGES and "row" in options:
        pytest.skip("pages show all rows")
    drawing = Drawing(**options, width="page")
    text = plain(text_of(result, suffix, drawing, tmp_path))
    # .md has no matrix
    for ends, span in scales(result, replace(drawing, matrix=False) if suffix == ".md" else drawing):
        assert plain(span) in text or all(plain(end) in text for end in ends), f"{span} is not in the {suffix}"
    first = result.attributions[0] if hasattr(result, "attributions") else result
    names = [*first.sources, *first.targets] if name == "matrix" else first.sources
    for unit in names:
        if not unit.special and unit.role.value != "template":
            assert plain(unit.text) in text, f"{unit.text!r} is not in the {suffix}"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["prompt", "chat", "matrix"])
@pytest.mark.parametrize("suffix", [*FIGURES, *PAGES])
def test_each_format_says_what_a_score_is(name, suffix, tmp_path):
    result, _ = RESULTS[name]
    drawing = Drawing(row=0, width="page") if suffix in FIGURES else Drawing()
    quantity = lay_out(result).quantity
    assert quantity.endswith("log p without it, nats")
    assert plain(quantity) in plain(text_of(result, suffix, drawing, tmp_path))


@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.parametrize("suffix", PAGES)
def test_each_page_has_all_facts_of_the_caption(name, suffix, tmp_path):
    result, options = RESULTS[name]
    layout = laid_out(result, Drawing(**options))
    text = plain(text_of(result, suffix, Drawing(**options), tmp_path))
    caption = (
        [*layout.shared, *(fact for own in layout.own for fact in own)] if hasattr(layout, "own") else layout.caption
    )
    for label, fact in caption:
        assert plain(label) in text and plain(fact) in text, f"{label} {fact!r} is not in the {suffix}"


@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.parametrize("suffix", [".svg", ".pdf", ".png", ".tex"])
def test_each_figure_carries_its_provenance(name, suffix):
    result, options = RESULTS[name]
    document = encode(result, f"x{suffix}", Drawing(**options))
    if suffix == ".pdf":
        document = str(PdfReader(io.BytesIO(document)).metadata).encode()
    provenance = (result.attributions[0] if hasattr(result, "attributions") else result).provenance
    for fact in (provenance.model, provenance.method_repr, "float32"):
        assert fact.encode() in document, f"{fact!r} is not in the {suffix}"
