"""LaTeX: what is written, and what three engines make of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_figure import figure, small
from test_layout import attribution_of
from test_sections import chat, contrasted, several

from tokensal.drawable import drawable
from tokensal.drawing import PALETTES, Drawing
from tokensal.render import encode
from tokensal.render.latex.characters import ASCII, comment, portable, tex
from tokensal.render.layout.rows import TENTH

ENGINES = ("pdflatex", "xelatex", "lualatex")
REQUIRED = "TOKENSAL_REQUIRE_TEX"
ROOT = Path(__file__).resolve().parent
DOCUMENT = r"""\documentclass[10pt,twocolumn]{article}
%s
\usepackage{xcolor,graphicx}
\begin{document}
%s
\end{document}
"""
T1 = r"\ifdefined\Umathchar\usepackage{fontspec}\else\usepackage[T1]{fontenc}\usepackage{lmodern}\fi"
HOSTILE = [
    r"\input{secret}", r" \write18{touch written}", r" \end{document}", " {", " }}", " $x$", " #1", " 100%", " a_b",
    " x&y", " ^^5c^^5cinput", " ~", r" \\", " -- --- <<a>> ,,z ?` !`", " 'a' it's ''", ' "q"', "\n", "\r", "\u2028",
    " \u202eevil\u202c", "\x00\x07\x1b[31m", " \ud800", " e\u0301", " x\u0302\u0302", " \u0301", " 😀",
    " 👩\u200d👩\u200d👧", " 漢字", "かな", " 한국", " Здравствуй", " αβγ", " سلام", "الكت", "اب", " שלום", " עולם",
    " हिन्दी", " ไทย", " café", " «þ»", " Đąęł", "   ", "\t",
    " a  b", " \u00a0", " |a|b|", " ½™µº₁⁻²", " \u3000", " ẞﬁ", " end.",
]  # fmt: skip


@pytest.fixture(params=ENGINES)
def engine(request):
    require(request.param)
    return request.param


def require(engine):
    """Skip a test where TeX is not installed, or fail it where that is required."""
    for program in (engine, "pdftotext"):
        if shutil.which(program) is None:
            assert not os.environ.get(REQUIRED), f"{program} is not installed, but {REQUIRED} is set"
            pytest.skip(f"{program} is not installed")


def drawn(result, **options):
    return encode(result, "figure.tex", Drawing(**options)).decode()


def lines_of(source):
    """The source without its comments."""
    return [line for line in source.splitlines() if not line.startswith("%")]


def compiled(engine, folder, documents):
    """The text of the PDF of each, and its log; a mistake of TeX is a failure."""
    texts = {}
    for name, source in documents.items():
        (folder / f"{name}.tex").write_text(source)
        command = [engine, "-halt-on-error", "-interaction=nonstopmode", f"{name}.tex"]
        done = subprocess.run(command, cwd=folder, capture_output=True, stdin=subprocess.DEVNULL, timeout=300)
        log = (folder / f"{name}.log").read_text(errors="replace")
        assert done.returncode == 0, log[-3000:]
        pdf = folder / f"{name}.pdf"
        text = subprocess.run(["pdftotext", pdf, "-"], capture_output=True, check=True).stdout.decode()
        texts[name] = text, log
    return texts


def figures(*sources):
    """Each in a figure of its own, as an author would put it, on a page of its own."""
    return "\n".join("\\begin{figure*}[p]\n" + source + "\\end{figure*}\\clearpage" for source in sources)


def squeezed(text):
    """Without spaces, and without what typography changes: apostrophes and ligatures."""
    return re.sub(r"\s", "", unicodedata.normalize("NFKC", text)).replace("’", "'").replace("⋅", "·").replace("∆", "Δ")


def overfull(log):
    """Points by which lines are too wide."""
    return [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log.replace("\n", ""))]


def plain_text(drawn_figure):
    return "".join(run.text for part in drawn_figure.passages for run in part.runs)


# What is written


def test_a_token_is_a_macro_with_its_shade_in_whole_percent():
    result = small(signed=True)
    source = drawn(result, row=2)
    runs = [run for part in figure(result, row=2).passages for run in part.runs]
    body = source.partition("\\raggedright")[2].partition("\\toklegend")[0]
    macros = re.findall(r"\\tok(for|against|plain)((?<=plain)|\{\d+\})\{([^\\{}]+)\}", body)
    expected = [
        (
            "plain" if not run.shade else "against" if run.shade < 0 else "for",
            f"{{{max(1, round(100 * abs(run.shade)))}}}" if run.shade else "",
            run.text,
        )
        for run in runs
        if run.text and "↵" not in run.text
    ]
    assert macros == expected and len(expected) >= 3


def test_the_preamble_is_short_stands_once_and_can_be_redefined():
    for result, options in (
        (small(), {}),
        (small(), {"matrix": True}),
        (chat(), {}),
        (several(small(), scores=small().scores * 3), {}),
    ):
        source = drawn(result, **options)
        preamble, _, body = "\n".join(lines_of(source)).partition("\n\\raggedright")
        assert len(preamble.splitlines()) <= 15 and "\\provide" not in body
        macros = set(re.findall(r"\\(tok(?:for|against|plain|cellfor|zero|row|legend|head))\b", body))
        assert macros and all(rf"\providecommand{{\{name}}}" in source for name in macros)
        names = re.findall(r"\\tok[a-z]+", source)
        defined = re.findall(r"\\(?:providecommand\{|def|let|edef)(\\tok[a-z]+)", source)
        assert set(names) - set(defined) <= {r"\tokend"}  # which only ends a list


def test_a_fragment_is_no_document_and_a_standalone_file_is():
    assert "documentclass" not in drawn(small()) and drawn(small(), standalone=True).count(r"\documentclass") == 1
    assert r"\end{document}" in drawn(small(), standalone=True)


def test_lengths_are_relative_to_the_font():
    for options in ({}, {"matrix": True}):
        source = "\n".join(lines_of(drawn(small(), **options)))
        lengths = set(re.findall(r"(?<![\w#])([\d.]+)\s*(pt|mm|cm|in|bp|pc|ex|em|sp)\b", source))
        assert {unit for number, unit in lengths if number not in ("0", "1")} == {"em"}
        assert ("0", "pt") in lengths and not {("1", "pt"), ("0", "em")} & lengths


@pytest.mark.parametrize(
    "result", [small(), contrasted(), chat(), several(contrasted(), scores=contrasted().scores * 3)]
)
@pytest.mark.parametrize("matrix", [None, True])
def test_all_facts_of_the_layout_are_in_the_file(result, matrix):
    drawing = {"matrix": matrix, "row": 0}
    sheet, source = figure(result, **drawing).sheet, drawn(result, **drawing)
    comments = " ".join(line.removeprefix("%").strip() for line in source.splitlines() if line.startswith("%"))
    for name, text in sheet.facts:
        assert f"{name}: {' '.join(text.split())}" in comments
    caption = comments.partition(r"\caption{")[2]
    for sentence in sheet.caption:
        assert portable(sentence) in caption
    for number in (sheet.ramp.low, sheet.ramp.high):
        assert (
            number.replace("−", "$-$").replace("\xa0", "~").replace("%", r"\%") in source.partition(r"\toklegend{")[2]
        )
    first = source.splitlines()[0]
    facts = dict(sheet.facts)
    assert first.startswith("% tokensal") and facts["method"] in first and facts["score"] in first


def test_the_foil_and_its_value_stand_behind_the_answer():
    source = drawn(contrasted(), row=0)
    expected = figure(contrasted(), row=0)
    assert expected.foil and rf"\tokfoil{{{tex(expected.foil)}}}" in source
    assert source.index(r"\tokhead{answer}") < source.index(r"\tokfoil{" + tex(expected.foil))


def test_what_is_explained_is_bold_the_sink_is_marked_and_weak_stretches_are_elided():
    source = drawn(small(), row=2)
    assert r"\toktarget{\tokplain{on}}" in source and r"\tokplain{The}\tokmark{\textdagger}" in source
    result = attribution_of(["a", *[" b"] * 9, " c", " d"], [[1.0, *[0.01] * 9, 2.0]], prompt=11, sink=None)
    assert r"\tokquiet{…~9~tokens~…}" in drawn(result, elide=4) and "tokens" not in lines_of(drawn(result))[-9]


def test_a_sentence_is_a_line_and_another_score_changes_that_line_alone():
    texts = ["One", " two", ".", " Three", " four", ".", " Five", " six", ".", " end"]
    scores = [1.0, -0.5, 0.25, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    before = drawn(attribution_of(texts, [scores], prompt=9, sink=None)).splitlines()
    after = drawn(attribution_of(texts, [[*scores[:4], 0.9, *scores[5:]]], prompt=9, sink=None)).splitlines()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert [old for old, _ in changed] == [r"\tokfor{10}{Three} \tokfor{20}{four}\tokfor{30}{.}"]
    assert before == drawn(attribution_of(texts, [scores], prompt=9, sink=None)).splitlines()  # byte-stable


def test_no_comment_can_be_left():
    result = attribution_of(["a", " b", " c\n\\input{x}\r\\input{y}\u2028\\input{z}\x85"], [[1.0, 2.0]], prompt=2)
    provenance = replace(result.provenance, model="m\n\\input{secret}\r\n^^M\\input{secret}", method_repr="A(\n'x')")
    source = drawn(replace(result, provenance=provenance))
    head = source.partition("\\begingroup")[0]
    assert all(line.startswith("%") for line in re.split("[\r\n\x0b\x0c\x85\u2028]", head) if line)
    tail = source.partition("\\endgroup%\n" if "\\endgroup%\n" in source else "\\endgroup\n")[2]
    assert tail.startswith("% \\caption{") and all(line.startswith("%") for line in tail.splitlines())
    assert "\r" not in source and r"\input{" not in "\n".join(lines_of(source))


def test_more_columns_than_numbers_leave_cells_empty():
    count = 45
    result = attribution_of(["x"] * count + ["y"], [list(range(1, count + 1))], sink=None, prompt=count)
    source = drawn(result, matrix=True)
    assert re.findall(r"\\tokcellfor\{100\}\{(.*?)\}", source)[0] == ""
    wide = drawn(attribution_of(["x", " z", "y"], [[-1.0, 2.0]], sink=None), matrix=True)
    assert r"\tokcellagainst{50}{$-$1.00}" in wide and r"\tokcellfor{100}{2.00}" in wide


def test_a_matrix_too_wide_for_its_labels_is_parted_into_bands():
    result = attribution_of(["x"] * 38 + ["y"], [list(range(1, 39))], sink=None, prompt=38)
    for width, bands, size in (("column", 2, 19), ("page", 1, 38)):
        source = drawn(result, matrix=True, width=width)
        rows = re.findall(r"\\tokrow\{y\}\{(.*)\}%", source)
        assert len(rows) == bands and rf"\tokmatrix{{{size}}}" in source
        assert sum(row.count(r"\tokcellfor") for row in rows) == 38 and source.count(r"\tokcolumn{x}") == 38


def meaning(source):
    """What is drawn by source of `tex` where no font has a glyph beyond those that all have; fails on any other."""
    back = {written: read for read, written in ASCII.items()}
    text, position = "", 0
    pattern = re.compile(
        r"\\tokuni\{\w+\}\{(?P<uni>[^{}]*)\}\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}|(?P<space>\\ )|(?P<apart>\\/)"
        r"|(?P<command>\\[A-Za-z]+\{\}|\\[^A-Za-z]|~)|(?P<plain>[^\\{}$&#%_^~])"
    )
    while position < len(source):
        match = pattern.match(source, position)
        assert match, source[position:]
        if match["uni"] is not None:
            text += re.sub(r"\\[a-z]+\{\}|\\.", lambda part: back[part[0]], match["uni"])
        elif match["command"]:
            text += back[match["command"]]
        else:
            text += " " if match["space"] else match["plain"] or ""
        position = match.end()
    return text


ANY = st.text(st.characters(), max_size=30) | st.text("\\{}$&#%_^~\"'`-<>,|!? ab\n\r", max_size=30)


@given(ANY | st.sampled_from(HOSTILE))
@settings(max_examples=400, deadline=None)
def test_no_text_is_a_command_and_no_character_is_lost(text):
    safe = drawable(unicodedata.normalize("NFC", text))
    assert meaning(tex(text)) == safe
    assert "\n" not in comment(text) and "\r" not in comment(text)
    braces = re.sub(r"\\[{}]", "", portable(text))
    assert braces.count("{") == braces.count("}") and r"\tok" not in braces


# What engines make of it


def hostile(texts=tuple(HOSTILE), **options):
    scores = [(-1) ** index * (index % 11) / 10 for index in range(len(texts) - 1)]
    return attribution_of(texts, [scores], prompt=len(texts) - 1, **options)


@pytest.mark.slow
def test_figures_in_a_paper_of_two_columns(engine, tmp_path):
    long = attribution_of(["The", *[" cat sat"] * 40, " on"], [[0.1 + index % 7 for index in range(41)]], prompt=41)
    cases = [
        (contrasted(), {"row": 0}),
        (small(), {"matrix": True}),
        (several(contrasted(), scores=contrasted().scores * 3), {}),
        (chat(), {}),
        (long, {"elide": 3, "palette": "PuOr"}),
    ]
    body = "\n".join(
        "\\begin{figure}[p]\n" + drawn(result, **options) + "\\caption{x}\\end{figure}\\clearpage"
        for result, options in cases
    )
    text, log = compiled(engine, tmp_path, {"paper": DOCUMENT % (T1, body)})["paper"]
    assert not [points for points in overfull(log) if points > 1] and "Missing character" not in log
    pages = [squeezed(page) for page in text.split("\f")]
    for page, (result, options) in zip(pages, cases, strict=False):
        expected = figure(result, **options)
        ramp = expected.sheet.ramp
        assert squeezed(ramp.quantity) in page and squeezed(ramp.low) in page and squeezed(ramp.high) in page
        for part in getattr(expected, "parts", ()):
            assert squeezed(part[0]) in page and squeezed(part[1].row.scale.span) in page
        if hasattr(expected, "passages"):
            for part in expected.passages:
                for run in part.runs:
                    assert squeezed(run.text).replace("↵", "") in page
            assert squeezed(expected.value) in page and squeezed(expected.foil) in page
        if hasattr(expected, "matrix"):
            assert all(target.name in page for target in expected.targets if target.name.isalpha())
            cells = [cell for row in expected.matrix.rows for cell in row if abs(cell.shade) >= TENTH]
            assert cells and all(squeezed(expected.matrix.scale.write(cell.value)).strip("+") in page for cell in cells)


@pytest.mark.slow
def test_hostile_tokens_are_text(engine, tmp_path):
    (tmp_path / "secret.tex").write_text("EXECUTED")
    caption = "\n".join(line[2:] for line in drawn(hostile()).partition("\\endgroup\n")[2].splitlines())
    fragments = [drawn(hostile()), drawn(hostile(), matrix=True)]
    body = figures(fragments[0] + caption + "\n", fragments[1])
    documents = {"paper": DOCUMENT % (T1, body), "old": DOCUMENT % ("", body)}
    documents["whole"] = drawn(hostile(), standalone=True)
    for name, (text, log) in compiled(engine, tmp_path, documents).items():
        assert "EXECUTED" not in text and not (tmp_path / "touch").exists() and "Missing character" not in log
        seen = squeezed(text)
        for label in [run.text for part in figure(hostile()).passages for run in part.runs]:
            if label.isascii() and not (name == "old" and set(label) & set('_^~"')):  # OT1 has no such glyphs
                assert squeezed(label) in seen, (name, label)
        assert "U+202E" in seen and "café" in seen
        for character in "漢한Зשह😀":
            assert character in seen or f"{ord(character):04X}" in seen, (name, character)
        if engine == "pdflatex":
            assert "05E9" in seen and "0633" in seen


@pytest.mark.slow
def test_a_document_can_define_its_own_macros_and_colours(engine, tmp_path):
    active = "".join(rf"\catcode`\{each}=\active \def{each}{{WRONG}}" for each in '"!:;?<>=')
    own = r"\newcommand{\tokfor}[2]{[#1:#2]}\definecolor{tokOrangeBlueAgainst}{RGB}{1,2,3}" + active
    texts = ['a!:;?<>="', " bé", " c", " d"]
    result = attribution_of(texts, [[1.0, -1.0, 0.5]], prompt=3, sink=None)
    body = own + figures(drawn(result), drawn(result, palette="PuOr"))
    uncompressed = (
        r"\ifdefined\pdfcompresslevel\pdfcompresslevel=0 \fi\ifdefined\pdfvariable\pdfvariable compresslevel=0 \fi"
    )
    text, _ = compiled(engine, tmp_path, {"own": DOCUMENT % (T1 + uncompressed, body)})["own"]
    assert '[100:a!:;?<>="]' in squeezed(text) and "[50:c]" in squeezed(text) and "WRONG" not in text
    if engine != "xelatex":  # which always compresses
        content = (tmp_path / "own.pdf").read_bytes()
        assert b"0.00392 0.00784 0.01176" in content.replace(b"0.00393", b"0.00392").replace(b"0.00784", b"0.00784")


@pytest.mark.slow
def test_words_from_right_to_left_keep_their_order_and_arabic_its_joined_forms(engine, tmp_path):
    result = hostile(["x", " שלום", " עולם", " الكت", "اب", " y"])
    source = drawn(result, standalone=True)
    assert r"\tokright{" in source and "\u200dاب" in source.replace("}{\u200d", "}{\u200d")
    text, log = compiled(engine, tmp_path, {"right": source})["right"]
    if engine == "pdflatex" or "DejaVu" not in log:
        assert engine != "pdflatex" or "05E9" in text
        return
    plain = unicodedata.normalize("NFKC", text)
    assert "שלום" in plain and "עולם" in plain


@pytest.mark.slow
@settings(max_examples=3, deadline=None)
@given(st.lists(ANY.filter(lambda text: text != ""), min_size=60, max_size=60))
def test_any_tokens_compile(texts):
    require("pdflatex")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "secret.tex").write_text("EXECUTED")
        fragment = drawn(hostile(texts), palette=PALETTES[0])
        text, _ = compiled("pdflatex", Path(folder), {"any": DOCUMENT % ("", figures(fragment))})["any"]
        assert "EXECUTED" not in text


@pytest.mark.slow
def test_ten_thousand_characters_are_parted(engine, tmp_path):
    texts = ["x" * 10_000, " " + "\\%" * 2000, " " + "漢字" * 500, " y"]
    source = drawn(hostile(texts))
    assert max(map(len, source.splitlines())) < 1000
    text, log = compiled(engine, tmp_path, {"long": DOCUMENT % (T1, source)})["long"]
    assert text.count("x") >= 10_000 and "\\%" * 2 in text and not [points for points in overfull(log) if points > 1]
