"""Figures as SVG, PDF and PNG: what they hold, where it stands, and that a browser and a PDF reader agree."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pypdf import PdfReader
from test_layout import attribution_of
from test_sections import contrasted, paired, several

from tokensal.drawing import Drawing
from tokensal.errors import InputError, OutputError
from tokensal.render import encode
from tokensal.render.layout import lay_out, lay_out_comparison
from tokensal.render.layout.figure import lay_out_figure
from tokensal.render.vector import bidi, fonts
from tokensal.render.vector.fonts import BOLD, ITALIC, default_settings, typeface
from tokensal.render.vector.geometry import place
from tokensal.render.vector.lines import Item, broken
from tokensal.render.vector.shapes import Box, Frames, Rule, Text

SVG = "{http://www.w3.org/2000/svg}"
TEXTS = ["The", " cat", " sat", ".", "\n", "And", " then", " it", " left"]
SCORES = [9.0, -2.0, 1.5, 4.0, 0.1, 2.0, -0.05, -4.0]
HOSTILE = [
    "</text>", "<script>alert(1)</script>", "&amp;", "]]>", '"', "'", "$x^2$", "\\", "\x00", "\x1b[31m", "\u202e",
    "\ud800", "\u0301", "e\u0301\u0323", "中文", "😀", "👩\u200d👩", "\ufe0f", "السلام", " عليكم", "שלום", "\t", "\n\n",
    "  ", "a\nb",
    "\u2028", "\xa0", "ﷺ", "‎", "fi", "x" * 200, "lorem ipsum " * 30, "", "ab\rc", "\U0010ffff",
]  # fmt: skip


def sentence(**options):
    return attribution_of(TEXTS, [SCORES], prompt=8, **options)


def alignment():
    """Six targets of which each sees what is before it."""
    nan = float("nan")
    rows = [[5.0, 1.0, -3.0, 0.01, 2.0] + [float(after) if after < target else nan for after in range(6)]
            for target in range(7)]  # fmt: skip
    return attribution_of([" a", " b", " c", " d", " e", *(f" t{each}" for each in range(7))], rows, prompt=5)


KINDS = {
    "text": (sentence, {}),
    "contrast": (contrasted, {}),
    "matrix": (alignment, {"matrix": True}),
    "encoder": (paired, {}),
    "comparison": (lambda: several(contrasted(), scores=contrasted().scores * 3), {"row": 0}),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def drawn(kind, suffix=".svg", **options):
    build, own = KINDS[kind]
    return encode(build(), f"x{suffix}", Drawing(**{**own, **options}))


def figure(kind, **options):
    build, own = KINDS[kind]
    result, drawing = build(), Drawing(**{**own, **options})
    lay = lay_out_comparison if hasattr(result, "attributions") else lay_out
    return lay_out_figure(lay(result, drawing), drawing)


def plate_of(result, *, embedded=True, **options):
    drawing = Drawing(**options)
    with default_settings():
        return place(lay_out(result, drawing), drawing, embedded=embedded)


def root_of(svg):
    return ElementTree.fromstring(svg.decode())


def strings(value):
    """All texts of a layout's value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from strings(each)


def read(element):
    """What a reader of the figure reads: without the titles of tokens and the marks behind them."""
    if element.tag in (f"{SVG}title", f"{SVG}desc", f"{SVG}metadata"):
        return ""
    own = element.text or "" if element.tag in (f"{SVG}text", f"{SVG}tspan") else ""
    return re.sub("[†‡]", "", own + "".join(read(each) + (each.tail or "") for each in element))


def words(text):
    return " ".join(text.split())


# Facts


@every_kind
def test_all_facts_of_the_layout_are_in_the_text_of_the_svg(kind):
    layout, root = figure(kind), root_of(drawn(kind))
    seen = words(f"{''.join(root.itertext())} {read(root)}")
    ramp = layout.sheet.ramp
    facts = [layout.sheet.title, layout.sheet.description, *layout.sheet.notes, ramp.low, ramp.high, ramp.quantity]
    facts += [*(ramp.against or ()), *ramp.towards, *strings(layout.sheet.facts), *layout.sheet.caption]
    parts = [part for _, part in layout.parts] if hasattr(layout, "parts") else [layout]
    facts += [name for name, _ in getattr(layout, "parts", ())]
    for part in parts:
        if hasattr(part, "passages"):
            facts += [passage.name.upper() for passage in part.passages]
            facts += [part.value, part.foil]
            facts += ["".join(run.gap + run.text + "\n" * run.breaks for run in each.runs) for each in part.passages]
        else:
            columns = part.matrix.columns
            facts += [column.label.name + column.label.ordinal for column in columns]
            facts += [label.name + label.ordinal for label in part.targets]
            facts += [
                part.matrix.scale.write(cell.value)
                for row in part.matrix.rows
                for cell in row
                if abs(cell.shade) >= 0.02
            ]
    missing = [fact for fact in map(words, facts) if fact not in seen]
    assert not missing


def test_each_token_is_one_group_with_its_score_its_fill_and_its_text():
    root = root_of(drawn("text"))
    groups = list(root.iter(f"{SVG}g"))
    assert [group.get("data-source") for group in groups] == [str(source) for source in (0, 1, 2, 3, 5, 6, 7)]
    texts = ["".join(text.text for text in group.iter(f"{SVG}text")) for group in groups]
    assert texts == ["The†", "cat", "sat", ".", "And", "then", "it"]
    assert [group.find(f"{SVG}title").text for group in groups] == [
        "+9.00", "−2.00", "+1.50", "+4.00", "+2.00", "−0.05", "−4.00",
    ]  # fmt: skip
    # none on the sink, none below .02; a negative has a rule besides
    assert [len(list(group.iter(f"{SVG}rect"))) + len(list(group.iter(f"{SVG}path"))) for group in groups] == [
        0, 2, 1, 1, 1, 0, 2,
    ]  # fmt: skip


def test_fills_grow_with_the_score_and_a_rule_marks_a_negative():
    shapes = plate_of(sentence()).shapes
    fills = {shape.source: shape for shape in shapes if isinstance(shape, Box) and shape.source is not None}
    assert fills[3].fill == (228, 113, 12) and fills[7].fill == (100, 147, 201)
    assert fills[1].fill == tuple(round(255 + (end - 255) / 2) for end in (100, 147, 201))
    rules = {shape.source: shape for shape in shapes if isinstance(shape, Rule) and shape.source is not None}
    assert set(rules) == {1, 7} and rules[7].colour == (31, 78, 134)
    assert rules[7].length == fills[7].width and rules[7].y > fills[7].y + fills[7].height
    purple = plate_of(sentence(), palette="PuOr").shapes
    assert (148, 132, 220) in {shape.fill for shape in purple if isinstance(shape, Box)}


def test_fills_that_meet_do_not_overlap_and_others_reach_beyond_their_text():
    shapes = plate_of(sentence()).shapes
    fills = {shape.source: shape for shape in shapes if isinstance(shape, Box) and shape.source is not None}
    texts = {shape.source: shape for shape in shapes if isinstance(shape, Text) and shape.source is not None}
    sat, stop = fills[2], fills[3]
    assert sat.x + sat.width <= stop.x and (sat.left, sat.right, stop.left) == (True, False, False)
    assert sat.x == pytest.approx(texts[2].x - 0.54)
    assert stop.x + stop.width == pytest.approx(texts[3].x + texts[3].width + 0.54)


@every_kind
@pytest.mark.parametrize("width", ["column", "page", "80mm", "3.25in", "140pt"])
def test_everything_lies_within_the_width_that_was_set(kind, width):
    points = {"column": 234, "page": 486, "80mm": 80 / 25.4 * 72, "3.25in": 234, "140pt": 140}[width]
    root = root_of(drawn(kind, width=width))
    assert float(root.get("width").removesuffix("pt")) == pytest.approx(points, abs=1e-3)
    assert root.get("viewBox").split()[2:] == [root.get(side).removesuffix("pt") for side in ("width", "height")]
    for text in root.iter(f"{SVG}text"):
        if "transform" not in text.attrib and text.get("direction") is None:
            assert 0 <= float(text.get("x")) <= points - float(text.get("textLength")) + 1e-3, text.text


@every_kind
def test_no_text_is_smaller_than_5_points_and_a_half(kind):
    for size in (5.5, 9, 12):
        root = root_of(drawn(kind, font_size=size))
        assert min(float(text.get("font-size")) for text in root.iter(f"{SVG}text")) >= 5.5


def test_a_larger_font_makes_a_larger_figure():
    small, large = (plate_of(sentence(), font_size=size) for size in (7, 14))
    assert large.height > 1.8 * small.height and large.width == small.width
    assert {text.size for text in large.shapes if isinstance(text, Text) and text.text == "cat"} == {14.0}


# The matrix


def test_a_matrix_frames_what_is_visible_and_writes_what_reaches_a_tenth():
    result = alignment()
    shapes = plate_of(result, matrix=True).shapes
    frames = [box for shape in shapes if isinstance(shape, Frames) for box in shape.boxes]
    assert len(frames) == int(result.visible.sum())
    numbers = [shape for shape in shapes if isinstance(shape, Text) and "←" in shape.about]
    layout = figure("matrix")
    cells = [cell for row in layout.matrix.rows for cell in row if abs(cell.shade) >= 0.1]
    assert [text.text.replace("−", "-").rstrip("‡") for text in numbers] == [f"{cell.value:.2f}" for cell in cells]
    for text in numbers:
        assert any(x <= text.x and text.x + text.width <= x + width and y < text.y < y + height
                   for x, y, width, height in frames)  # fmt: skip


def test_many_columns_are_drawn_in_panels_that_keep_labels_apart():
    count = 90
    result = attribution_of([f" word{each}" for each in range(count)] + [" y"], [list(range(count))], prompt=count)
    shapes = plate_of(result, matrix=True).shapes
    labels = [shape for shape in shapes if isinstance(shape, Text) and shape.angle and shape.text.startswith("word")]
    assert len(labels) == 80 and {label.angle for label in labels} == {90.0}
    lines = sorted({round(label.y) for label in labels})
    assert len(lines) > 1
    for line in lines:
        places = sorted(label.x for label in labels if round(label.y) == line)
        assert min(after - before for before, after in pairwise(places)) >= 0.9 * 7.0
    wide = plate_of(result, matrix=True, width="30in").shapes
    assert {shape.angle for shape in wide if isinstance(shape, Text) and shape.text.startswith("word")} == {55.0}


# Lines


def measure(text, item):
    return float(len(text))


def laid(items, width, first=0.0):
    return ["".join(atom.gap + atom.text for atom in line) for line in broken(items, measure, width, first)]


def test_a_line_ends_at_spaces_and_before_what_is_free():
    items = [Item("ab", 1), Item("cd", 1, " "), Item(".", 1, free=False), Item("efg", 1, " ", breaks=1), Item("h", 1)]
    assert laid(items, 5) == ["ab", "cd.", "efg", "h"]
    assert laid(items, 6) == ["ab cd.", "efg", "h"]
    assert laid(items, 9, first=4) == ["ab", "cd. efg", "h"]
    assert laid([Item("one two three", 1)], 7) == ["one two", "three"]
    assert laid([Item("def f():", 1, breaks=2), Item("return", 1, "    ")], 20) == ["def f():", "", "    return"]


def test_what_is_wider_than_a_line_is_parted_between_items_then_characters():
    assert laid([Item("abc", 1), Item("def", 1, free=False)], 4) == ["abc", "def"]
    assert laid([Item("a", 1), Item("bcdefghij", 1, " ")], 4) == ["a", "bcde", "fghi", "j"]
    assert laid([Item("e\u0301" * 3, 1)], 2) == ["e\u0301"] * 3
    assert laid([Item("⟨U+4E2D⟩⟨U+6587⟩", 1)], 10) == ["⟨U+4E2D⟩", "⟨U+6587⟩"]


def test_words_that_are_read_from_the_right_run_to_the_left():
    def seen(texts):
        backwards = bidi.is_backwards(texts)
        return [(part.start, part.stop, part.backwards) for part in bidi.stretches(texts, backwards=backwards)]

    assert seen(["The", "שלום", "12", "עולם", "!"]) == [(0, 1, False), (1, 4, True), (4, 5, False)]
    assert seen(["שלום", "cat", "!"]) == [(2, 3, True), (1, 2, False), (0, 1, True)]
    assert seen(["a", "."]) == [(0, 2, False)]


def test_arabic_is_one_text_whose_tokens_have_their_fills_from_right_to_left():
    result = attribution_of(
        ["See", " مر", "حبا", " بكم", " now", "x"], [[1.0, 2.0, 3.0, 4.0, 5.0]], sink=None, prompt=5
    )
    shapes = plate_of(result).shapes
    [text] = [shape for shape in shapes if isinstance(shape, Text) and shape.pieces]
    assert text.text == "مرحبا بكم" and text.pieces == ((1, "مر"), (2, "حبا"), (3, " بكم"))
    fills = {shape.source: shape for shape in shapes if isinstance(shape, Box) and shape.source is not None}
    assert fills[0].x < fills[3].x < fills[2].x < fills[1].x < fills[4].x
    assert fills[0].x + fills[0].width < fills[3].x and fills[1].x + fills[1].width < fills[4].x
    assert fills[3].x == pytest.approx(text.x - 0.54)
    assert fills[1].x + fills[1].width == pytest.approx(text.x + text.width + 0.54)
    assert fills[2].x + fills[2].width == pytest.approx(fills[1].x - 0.24)  # two tokens of one word meet
    [element] = [each for each in root_of(encode(result, "x.svg")).iter(f"{SVG}text") if each.get("direction")]
    assert [(each.get("data-source"), each.text) for each in element] == [("1", "مر"), ("2", "حبا"), ("3", " بكم")]


# Fonts


def test_a_character_that_no_font_has_is_a_code_in_what_embeds_fonts_and_itself_in_svg(monkeypatch):
    monkeypatch.setattr(fonts, "_family_with", lambda character: None)  # as where no font is installed
    face = typeface(None, "a中é", embedded=True)
    assert (face.written("a中é"), face.missing) == ("a⟨U+4E2D⟩é", {"中"})
    assert typeface(None, "a中", embedded=False).written("a中") == "a中"
    assert face.width("W", 10) == pytest.approx(9.44, abs=0.01) and face.width("", 10) == 0
    assert face.width("a b", 10) > face.width("ab", 10)
    assert face.width("a中", 10) == face.width("a", 10) + 10


def test_a_character_that_the_first_fonts_lack_comes_from_any_installed_one():
    face = typeface("cmr10", "aы", embedded=True)
    assert face.families == ("cmr10", "STIXGeneral", "DejaVu Serif", "DejaVu Sans") and not face.missing
    assert fonts._family_with("\u2a7d") and typeface(None, "\u2a7d", embedded=True).missing == frozenset()


def test_a_style_that_lacks_a_character_gives_way_to_the_plain_one():
    face = typeface(None, "abcمرحبا", embedded=True)
    assert face.missing == frozenset() and face.properties("مرحبا", 9, ITALIC).get_style() == "normal"
    assert face.properties("abc", 9, ITALIC).get_style() == "italic"
    assert face.properties("abc", 9, BOLD).get_weight() == "bold"


def test_an_unknown_font_is_told_in_a_sentence_with_the_nearest_one():
    with pytest.raises(InputError, match=r"Font 'DejaVu Sanz' is not installed; the nearest one is 'DejaVu Sans'"):
        drawn("text", font="DejaVu Sanz")
    assert "'DejaVu Serif'" in root_of(drawn("text", font="dejavu serif")).get("font-family").split(",")[0]


def test_fonts_that_cannot_be_embedded_are_told_or_drawn_as_paths(monkeypatch):
    assert fonts._is_truetype("STIXGeneral")
    result = attribution_of(["See", " مرحبا", " now"], [[1.0, 2.0]], sink=None, prompt=2)
    monkeypatch.setattr(fonts, "_is_truetype", lambda family: family != "DejaVu Sans")
    [page] = PdfReader(BytesIO(encode(result, "x.pdf"))).pages
    assert not any("DejaVuSans" in font.get_object()["/BaseFont"] for font in page["/Resources"]["/Font"].values())
    with pytest.raises(InputError, match=r"Font 'DejaVu Sans' has PostScript outlines, and only TrueType ones"):
        encode(result, "x.pdf", Drawing(font="DejaVu Sans"))
    assert encode(result, "x.png", Drawing(font="DejaVu Sans"))


def test_text_that_is_too_large_or_pixels_that_are_too_many_are_told_in_a_sentence():
    with pytest.raises(InputError, match=r"font_size is 40, but a figure 72pt wide holds text of at most 5.143pt"):
        drawn("text", width="1in", font_size=40)
    with pytest.raises(InputError, match=r"At 2400 dpi the figure has 480,000 pixels"):
        encode(sentence(), "x.png", Drawing(width="200in", dpi=2400))


def test_the_settings_of_matplotlib_are_the_users_and_do_not_matter():
    import matplotlib

    before = {suffix: drawn("contrast", suffix) for suffix in (".svg", ".pdf", ".png")}
    own = {"font.size": 30, "pdf.fonttype": 3, "text.hinting": "default", "savefig.dpi": 20, "text.usetex": True}
    with matplotlib.rc_context(own):
        assert {suffix: drawn("contrast", suffix) for suffix in before} == before
        assert {name: matplotlib.rcParams[name] for name in own} == own


# Files


@every_kind
def test_fonts_are_embedded_as_truetype_and_text_is_copied_in_order(kind):
    reader = PdfReader(BytesIO(drawn(kind, ".pdf")))
    [page] = reader.pages
    for reference in page["/Resources"]["/Font"].values():
        font = reference.get_object()
        [descendant] = font["/DescendantFonts"]
        assert (font["/Subtype"], descendant.get_object()["/Subtype"]) == ("/Type0", "/CIDFontType2")
        assert descendant.get_object()["/FontDescriptor"]["/FontFile2"].get_data()
    if kind == "text":
        text = words(page.extract_text())
        assert text.startswith("PROMPT The† cat sat. And then it ANSWER left log p = 0 score of x for log p, nats")
    sheet = figure(kind).sheet
    assert sheet.notes == () or sheet.notes[0].rstrip(".") in words(page.extract_text())
    assert (reader.metadata.title, reader.metadata.subject) == (sheet.title, sheet.description)
    assert "method: " in reader.metadata["/Keywords"] and reader.metadata.creator.startswith("tokensal ")
    assert "/CreationDate" not in reader.metadata and "/ModDate" not in reader.metadata
    width, height = map(float, page.mediabox[2:])
    assert (width, height) == (pytest.approx(234), pytest.approx(float(root_of(drawn(kind)).get("height")[:-2]), 0.01))


@pytest.mark.parametrize("dpi", [72, 300, 600])
def test_a_png_has_its_resolution_and_its_provenance_and_is_white_or_transparent(dpi):
    image = Image.open(BytesIO(drawn("text", ".png", dpi=dpi)))
    assert image.width == round(234 * dpi / 72) and image.info["dpi"][0] == pytest.approx(dpi, abs=0.1)
    assert image.convert("RGBA").getpixel((image.width - 1, 0)) == (255, 255, 255, 255)
    facts = dict(map(tuple, json.loads(image.info["tokensal"])))
    assert facts == dict(figure("text").sheet.facts)
    assert json.loads(f'"{image.info["Title"]}"') == figure("text").sheet.title
    clear = Image.open(BytesIO(drawn("text", ".png", dpi=dpi, transparent=True)))
    assert clear.convert("RGBA").getpixel((image.width - 1, 0))[3] == 0


def test_outlines_need_no_font_and_draw_the_same_places():
    root = root_of(drawn("contrast", outlines=True))
    assert not list(root.iter(f"{SVG}text")) and root.find(f"{SVG}desc").text
    assert len(list(root.iter(f"{SVG}path"))) > 10
    assert root.get("viewBox") == root_of(drawn("contrast")).get("viewBox")


SCRIPT = """
import hashlib, sys
sys.path.insert(0, "tests")
from test_vector import KINDS, drawn
print(*(hashlib.sha256(drawn(kind, suffix)).hexdigest() for kind in KINDS for suffix in (".svg", ".pdf", ".png")))
assert "matplotlib.pyplot" not in sys.modules  # whose windows and figures are the user's
"""


def test_the_same_result_gives_the_same_bytes_in_every_process():
    here = [hashlib.sha256(drawn(kind, suffix)).hexdigest() for kind in KINDS for suffix in (".svg", ".pdf", ".png")]
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "SOURCE_DATE_EPOCH": "1"}
    there = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=environment,
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
    )
    assert there.returncode == 0 and there.stdout.split() == here, there.stderr


def test_help_and_html_do_not_import_matplotlib():
    code = "import sys, tokensal.cli.app, tokensal.render.html; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)


# Any text


hostile = st.lists(st.sampled_from(HOSTILE) | st.text(max_size=12), min_size=2, max_size=12)


@given(
    texts=hostile,
    matrix=st.booleans(),
    unit=st.sampled_from([".svg", ".png", ".pdf"]),
    width=st.sampled_from(["1.1in", "80mm", "page"]),
)
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
def test_no_text_breaks_a_figure(texts, matrix, unit, width):
    scores = [(-1) ** index * (index + 1.0) for index in range(len(texts) - 1)]
    result = attribution_of(texts, [scores], sink=None, prompt=len(texts) - 1)
    result = replace(result, text="".join(texts))
    drawing = Drawing(matrix=matrix, dpi=72, width=width, font_size=5.5)
    document = encode(result, f"x{unit}", drawing)
    if unit != ".svg":
        return
    root = root_of(document)
    assert not list(root.iter(f"{SVG}script"))
    heatmap = lay_out(result, drawing)
    layout = lay_out_figure(heatmap, drawing)
    seen = re.sub(r"\s", "", "".join("".join(text.itertext()) for text in root.iter(f"{SVG}text")))
    if not matrix:
        for passage in layout.passages:
            assert re.sub(r"\s", "", "".join(run.text for run in passage.runs)) in seen
    for shape in plate_of(result, embedded=False, matrix=matrix, width=width, font_size=5.5).shapes:
        if isinstance(shape, Text) and not shape.angle:
            assert shape.x >= -0.01 and shape.x + shape.width <= drawing.points + 0.01


@pytest.mark.parametrize("text", ["x" * 10_000, "ab " * 3333, "ب" * 3000])
def test_a_token_that_is_longer_than_a_line_goes_on_below(text):
    result = attribution_of(["Hi", f" {text}", " end"], [[1.0, -0.5]], sink=None, prompt=2)
    plate = plate_of(result)
    pieces = [shape for shape in plate.shapes if isinstance(shape, Text) and (shape.source == 1 or shape.pieces)]
    fills = [shape for shape in plate.shapes if isinstance(shape, Box) and shape.source == 1]
    assert "".join(piece.text for piece in pieces).replace(" ", "") == text.replace(" ", "")
    assert len(fills) == len(pieces) > 20 and max(piece.x + piece.width for piece in pieces) <= 234
    assert len({piece.y for piece in pieces}) == len(pieces) and pieces[-1].y < plate.height


# In a browser


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    path = next((path for path in ("/usr/bin/chromium", "/usr/bin/google-chrome") if Path(path).exists()), None)
    with playwright.sync_playwright() as engine:
        chromium = engine.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


EXTENTS = """() => {
  const box = each => each.getBoundingClientRect();
  const tokens = [...document.querySelectorAll('g[data-source] > text:not([transform])')];
  return {
    view: [document.documentElement.getBoundingClientRect()].map(each => [each.width, each.height])[0],
    texts: [...document.querySelectorAll('text')].map(each => [each.textContent, box(each).left, box(each).top,
      box(each).right, box(each).bottom]),
    tokens: tokens.map(each => [each.textContent, each.getStartPositionOfChar(0).x,
      each.getEndPositionOfChar(each.getNumberOfChars() - 1).x, Number(each.getAttribute('y'))]),
  };
}"""


@every_kind
@pytest.mark.parametrize("width", ["column", "page"])
def test_a_browser_shows_every_text_within_the_figure_and_none_over_another(kind, width, browser, tmp_path):
    path = tmp_path / "figure.svg"
    path.write_bytes(drawn(kind, width=width))
    page, told = browser.new_page(), []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: told.append(request.url))
    page.goto(path.as_uri())
    extents = page.evaluate(EXTENTS)
    page.close()
    assert told == [path.as_uri()]
    across, down = extents["view"]
    slack = 1.5  # pixels: antialiasing, and the ascent of fonts above their letters
    for text, left, top, right, bottom in extents["texts"]:
        assert left >= -slack and right <= across + slack, text
        assert top >= -6 and bottom <= down + 6, text
    for one in extents["tokens"]:
        for other in extents["tokens"]:
            if one[3] == other[3] and one[1] < other[1]:
                assert one[2] <= other[1] + 0.01, (one, other)


def test_unknown_widths_and_formats_are_told_in_a_sentence():
    with pytest.raises(InputError, match="width is '3 miles'"):
        drawn("text", width="3 miles")
    with pytest.raises(OutputError, match="suffix"):
        drawn("text", ".eps")
