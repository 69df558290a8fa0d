"""The heatmap as text: golden pages, and what holds at every width, in every colour system."""

from __future__ import annotations

import io
import math
import re
import time

import pytest
import torch
from rich.cells import cell_len
from rich.color import Color
from rich.color_triplet import ColorTriplet
from rich.console import Console

from tokensal.drawing import Drawing
from tokensal.render import terminal
from tokensal.render.layout import lay_out, lay_out_comparison
from tokensal.render.layout.labels import cut
from tokensal.render.layout.numbers import Scale, exact
from tokensal.render.terminal import lines
from tokensal.render.terminal.colours import Colours, contrast, shading
from tokensal.results.attribution import Attribution, Provenance
from tokensal.results.comparison import Comparison
from tokensal.types import Role, Unit

NAN = math.nan
SCORES = [
    [3.0, 0.1, 0.4, -0.02, 0.9, NAN, NAN],
    [2.0, 0.3, -0.6, 0.0, 0.2, 0.5, NAN],
    [1.0, 0.0, 0.0005, -0.25, 0.0, -0.1, 0.2],
]
TEXTS = ["<s>", "The", " capital", " of", " France", " is", " Paris", ","]
PROMPT = 5  # the rest is written by the model


def attribution_of(texts=TEXTS, scores=None, *, prompt=PROMPT, sink=0, signed=True, special=(0,), values=None):
    """An attribution with those token texts; without scores, targets find their sources at random."""
    tokens, position = [], 0
    for index, text in enumerate(texts):
        role = Role.PROMPT if index < prompt else Role.GENERATED
        tokens.append(Unit((index,), text, position, position + max(len(text), 1), role, index in special))
        position += len(text)
    targets = len(texts) - prompt
    table = torch.tensor(scores) if scores else random_scores(targets, len(texts) - 1, prompt)
    return Attribution(
        text="".join(texts),
        sources=tuple(tokens[:-1]),
        targets=tuple(tokens[prompt:]),
        scores=table if signed else table.abs(),
        visible=~table.isnan(),
        values=torch.tensor(values) if values else torch.linspace(-0.2, -2, targets),
        signed=signed,
        sink=sink,
        provenance=Provenance("tiny", None, "A", "float32", "cpu", "sdpa", "x", "Gradient()", "logprob"),
    )


def random_scores(targets, sources, prompt):
    table = torch.randn(targets, sources, generator=torch.Generator().manual_seed(0)) ** 3
    hidden = torch.arange(sources) >= prompt + torch.arange(targets)[:, None]
    return table.masked_fill(hidden, NAN)


def small(**options):
    return attribution_of(scores=SCORES, **options)


FAMILY = " 👨\u200d👩\u200d👧"
WIDE = ["日本", "の首都", FAMILY, "cafe\u0301", " שלום", " عالم", "‿", "", "\t", " [bold]", "x[/red]", "न", "\u0301n"]
MIXED = attribution_of(["<s>", "user", "\n", *WIDE, " fin\n\n", " 東京", " שלום", FAMILY, "ok", "."], prompt=17)


def laid_out(result, drawing):
    return lay_out_comparison(result, drawing) if isinstance(result, Comparison) else lay_out(result, drawing)


def printed(result, width=80, system=None, **options):
    """What a terminal shows of the result."""
    console = Console(file=io.StringIO(), width=width, color_system=system, force_terminal=True, no_color=False)
    drawing = Drawing(**options)
    terminal.show(laid_out(result, drawing), drawing, console=console)
    return console.file.getvalue()


def text_page(result, *, sink=False, width=100):
    """The result as a .txt file."""
    draw = terminal.draw_comparison if isinstance(result, Comparison) else terminal.draw_heatmap
    return draw(laid_out(result, Drawing(sink=sink)), width=width)


def bare(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


GOLDEN = """\
x · tiny · logprob

<s>†‡[+10]The[+3] capital[−1] of[−6] France[+10] ›is[+2] Paris[+5],

token        logprob   top sources
mean share             France  +25.3 % ████   of      −15.6 % ━━╸
sum                    France   +1.10  ████   The      +0.40  █▌
is           −0.20     France   +0.90  ████   capital  +0.40  █▊
Paris        −1.10     capital  −0.60  ━━━━   ›is      +0.50  ███▍
,            −2.00     of       −0.25  ━━━━   ›Paris   +0.20  ███▎

logprob: a row for each target, a column for each source; one scale,
±0.90; blank: not visible to it

        <s>†   The capital    of France   ›is ›Paris
is    ‡+3.00 +0.10   +0.40 −0.02  +0.90
Paris ‡+2.00 +0.30   −0.60     0  +0.20 +0.50
,     ‡+1.00     0       0 −0.25      0 −0.10  +0.20

In the text: mean share over all generated tokens, in tenths of ±25.3 %.
█ for   ━ against, a full bar is the largest of its line
› written by the model   ‡ beyond the end of the scale
<s> special token
† attention sink, +62.6 %, left out of scale and ranking; with it, the
scale would reach ±62.6 %

method Gradient() · dtype float32 · device cpu
"""

NARROW = """\
x · tiny · logprob

<s>†[10]The
capital[1] of
France[1] ›is[1]
Paris,

mean share
  <s>†   62.6 % ████
  France  8.6 % ▌
  capit…  8.6 % ▌
sum
  <s>†    6.00  ████
  France  1.10  ▊
  capit…  1.00  ▋
is         −0.20
  <s>†    3.00  ████
  France  0.90  █▎
  capit…  0.40  ▌
Paris      −1.10
  <s>†    2.00  ████
  capit…  0.60  █▎
  ›is     0.50  █
,          −2.00
  <s>†    1.00  ████
  of      0.25  █
  ›Paris  0.20  ▊

In the text: mean
share over all
generated tokens, in
tenths of 0 …
62.6 %.
█ a full bar is the
largest of its line
› written by the
model
<s> special token
† attention sink,
62.6 %, counted in

method Gradient() ·
dtype float32 ·
device cpu
"""


def test_a_whole_page():
    assert text_page(small(), width=72) == GOLDEN


def test_a_narrow_page_of_an_unsigned_method_with_the_sink_counted_in():
    assert text_page(small(signed=False), width=20, sink=True) == NARROW


@pytest.mark.parametrize("attribution", [small(), MIXED], ids=["small", "mixed"])
@pytest.mark.parametrize("system", [None, "truecolor"])
def test_no_line_is_wider_than_the_page_and_no_source_is_missing(attribution, system):
    for width in range(20, 121):
        page = bare(printed(attribution, width, system, matrix=True))
        assert max(map(cell_len, page.splitlines())) <= width
        flat = re.sub(r"\n|\[[+−]?\d+]", "", page.split("\n\ntoken ")[0] if "\ntoken " in page else page)
        for token in attribution.sources:
            shown = token.text.strip(" \n\t\u0301")
            assert shown.replace(" ", "") in flat.replace(" ", ""), (width, shown)


def test_lines_break_between_words_and_where_a_token_ends_in_a_line_break():
    texts = ["I", "mpossib", "le", ".", " Now", " then", "\n", "x", "\n\n\n\n", " y", " z", "."]
    page = attribution_of(texts, [[0.0] * 11], prompt=11, sink=None, special=())
    text = text_page(page, width=20).split("\n\n", 1)[1]
    assert text.splitlines()[:5] == ["Impossible. Now", "then↵", "x↵↵↵↵", "", " y z›."]


def test_ideographs_break_anywhere_but_not_before_punctuation():
    texts = ["日本", "の首都", "は東京", "です", "。", "次", "a"]
    page = attribution_of(texts, [[0.0] * 6], prompt=6, special=(), sink=None)
    assert text_page(page, width=20).splitlines()[2:4] == ["日本の首都は東京", "です。次›a"]


def test_columns_are_aligned_under_any_script():
    page = printed(MIXED, 80)
    table = page.split("token ")[1].split("\n\n")[0].splitlines()[3:]  # below those of all targets
    places = {tuple(cell_len(line[: number.start()]) for number in re.finditer(r"\.\d", line)) for line in table}
    assert len(places) == 1, table
    assert len(places.pop()) >= 3
    assert all(line.count("\u2068") == line.count("\u2069") for line in page.splitlines())
    assert "\u2068שלום\u2069₁" in page  # the source in a list: its number stands outside
    assert re.search("שלום\u2068\\[[+−]\\d]\u2069", page)  # the token in the running text: its mark stands for itself


def test_matrix_columns_are_aligned_under_any_script():
    panel = printed(MIXED, 60, matrix=True).split("one scale")[1].split("\n\n")[1].splitlines()
    widths = [cell_len(line) for line in panel[1:]]
    assert set(widths) == {cell_len(panel[0])}, panel


def test_an_invisible_cell_is_blank_and_nan_is_never_printed():
    page = text_page(small(values=[NAN, -1.0, -1.0]), width=90)
    first = next(line for line in page.splitlines() if line.startswith("is    ‡"))
    assert first.split() == ["is", "‡+3.00", "+0.10", "+0.40", "−0.02", "+0.90"]
    assert "nan" not in page.lower()


def test_markup_is_drawn_literally():
    assert "[bold]" in printed(MIXED, 80)
    assert "[/red]" in printed(MIXED, 80, "truecolor")


def test_a_large_matrix_is_dealt_out_to_panels_and_left_out_of_plain_text():
    large = attribution_of([f"w{index}" for index in range(60)], prompt=30, sink=None, special=())
    page = printed(large, 60, matrix=True)
    heads = re.findall(r"(?m)^ +(w\d+.*)$", page.split("one scale")[1])
    assert [name for head in heads for name in head.split()] == [f"w{index}" for index in range(30, 60)]
    assert len(heads) > 2
    assert "one scale" not in text_page(large, width=60)
    assert "one scale" in text_page(large, width=300)


def test_the_sink_has_a_column_of_its_own_where_there_is_room():
    share, total, line, *_ = printed(small(), 100).split("token ")[1].splitlines()[1:]
    assert line.split()[:3] == ["is", "−0.20", "+3.00"]
    assert share.split()[:3] == ["mean", "share", "+62.6"] and total.split()[:2] == ["sum", "+6.00"]
    assert "sink†" not in printed(small(), 100, sink=True)


def test_sources_that_look_the_same_are_counted():
    page = printed(attribution_of(["the", " cat", " the", " end"], [[0.5, 0.1, 1.0]], prompt=3, special=(), sink=None))
    assert re.search(r"the₂ \+1\.00.*the₁ \+0\.50", page)
    assert "₁ ₂ count tokens that look the same" in page


def test_a_long_name_is_cut_and_keeps_its_marks():
    long = " inter" * 6
    page = printed(attribution_of([long, long, " end"], [[0.5, NAN], [0.5, 1.0]], prompt=1, special=(), sink=None), 60)
    assert "inter … inter₁ " in page
    assert "›inter … inter₂  +1.00" in page


def test_a_terminal_too_narrow_to_read_is_treated_as_wider():
    assert text_page(small(), width=3) == text_page(small(), width=20)


def test_wide_names_leave_less_room_for_the_columns_of_a_matrix():
    wide = attribution_of(["東京都" * 3, *[f"w{index}" for index in range(60)]], prompt=30, sink=None, special=())
    for width in range(40, 60):
        panels = printed(wide, width, matrix=True).split("one scale")[1].split("In the text")[0]
        assert max(map(cell_len, panels.splitlines())) <= width


def test_a_special_token_without_brackets_gets_some():
    assert "⟨EOS⟩" in printed(attribution_of(["EOS", "a", "b"], [[1.0, 2.0]], prompt=2, sink=None))
    assert "⟨" not in printed(small())


def test_nothing_is_explained_that_does_not_occur():
    page = printed(attribution_of(["a", " b", " c"], [[1.0, 2.0]], prompt=2, sink=None, special=()))
    assert page.rstrip().splitlines()[-4:] == [
        "In the text: sources of c, in tenths of ±2.00.",
        "█ a full bar is the largest of its line   › written by the model",
        "",
        "method Gradient() · dtype float32 · device cpu",
    ]


def test_scores_of_zero_everywhere():
    page = printed(attribution_of(["a", " b", " c"], [[0.0, 0.0]], prompt=2, sink=None, special=()), matrix=True)
    assert "\nIn the text: sources of c, 0 everywhere.\n" in page
    page = printed(attribution_of(["a", " b", " c"], [[0.0, NAN], [0.0, 0.0]], prompt=1, sink=None, special=()))
    assert "\nIn the text: mean share over all generated tokens, 0 everywhere.\n" in page
    assert "█" not in page


# --- colours -----------------------------------------------------------------------------------------------------

ORANGE = {"truecolor": "48;2;255;160;50", "256": "48;5;214", "standard": "103"}
BLUE = {"truecolor": "48;2;104;182;255", "256": "48;5;75", "standard": "106"}


@pytest.fixture(autouse=True)
def _dark_terminal_without_wishes(monkeypatch):
    for name in ("COLORFGBG", "TOKENSAL_THEME", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


def codes_before(page, text):
    return re.search(r"\x1b\[([\d;]*)m" + re.escape(text), page)[1]


@pytest.mark.parametrize("system", ORANGE)
def test_orange_speaks_for_and_underlined_blue_against(system):
    page = printed(attribution_of(["a", " b", " c"], [[2.0, -2.0]], prompt=2, sink=None, special=()), 80, system)
    row = page.split("token")[1]
    assert codes_before(row, "a").endswith(ORANGE[system])
    against = codes_before(row, "b\x1b[0m −2.00")
    assert against.endswith(BLUE[system])
    assert "4" in against.split(";")[:2]
    assert "[+" not in row


def test_equal_scores_have_equal_colours_in_all_rows_and_small_ones_none():
    scores = [[15.0, 0.02, NAN], [0.02, 0.0, 7.5]]
    page = printed(attribution_of(["a", " b", " c", " d"], scores, prompt=2, sink=None, special=()), 80, "truecolor")
    _, total, first, second, *_ = page.split("token")[1].split("\n")[1:]
    assert ORANGE["truecolor"] in codes_before(first, "a")
    assert codes_before(total, "›c") == codes_before(second, "›c") != codes_before(first, "a")
    assert "48;2" not in second.split("›c")[1]  # 0.02 has no colour beside 15
    assert "in the lists: logprob, on one scale" in bare(page)


def test_the_only_target_is_on_the_scale_of_the_text():
    page = printed(attribution_of(["a", " b", " c"], [[2.0, 1.0]], prompt=2, sink=None, special=()), 80, "truecolor")
    text, table = page.split("token")
    assert codes_before(text, " b") == codes_before(table, "b")
    assert "in the lists" not in page and "mean share" not in page


def test_what_is_explained_is_the_strongest_ink():
    scores = [[1.0, 0.5, NAN], [1.0, 0.5, 0.0]]
    texts = ["a", " b", "<s>", "</s>"]
    page = printed(attribution_of(texts, scores, prompt=2, sink=None, special=(2, 3)), 80, "truecolor")
    text = page.split("token")[0]
    for token in ("›<s>", "</s>"):  # though special tokens are dim
        assert codes_before(text, token).split(";")[0] == "1" and "2" not in codes_before(text, token).split(";")[:2]
    assert not codes_before(text, " b").startswith("1;")


def test_colours_are_lighter_on_a_light_terminal(monkeypatch):
    monkeypatch.setenv("COLORFGBG", "0;15")
    assert "48;2;204;92;0" in printed(small(), 80, "truecolor")
    assert ORANGE["truecolor"] in printed(small(), 80, "truecolor", theme="dark")


def test_no_escape_codes_without_colour(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    console = Console(file=io.StringIO(), width=72, color_system="truecolor", force_terminal=True)
    terminal.show(lay_out(small()), Drawing(matrix=True), console=console)
    assert "\x1b" not in console.file.getvalue()
    assert console.file.getvalue() == GOLDEN
    plain = io.StringIO()
    terminal.show(lay_out(small()), file=plain)
    assert "\x1b" not in plain.getvalue()
    assert "France[+10]" in plain.getvalue()


def test_spaces_before_a_word_are_shaded_but_not_underlined():
    page = printed(small(), 80, "truecolor").split("token")[0]
    assert re.search(r"\x1b\[38;2;[\d;]*48;2;[\d;]*m \x1b\[0m\x1b\[4;38;2;[\d;]*mcapital", page)


def test_generated_sources_are_italic():
    page = printed(small(), 80, "truecolor")
    assert codes_before(page, " ›is").startswith("1;3;")
    assert not codes_before(page, " France").startswith("3;")


SIXTEEN = {  # what black text meets on the four papers used: yellow, cyan, bright yellow, bright cyan
    "xterm": ["#cdcd00", "#00cdcd", "#ffff00", "#00ffff"],
    "tango": ["#c4a000", "#06989a", "#fce94f", "#34e2e2"],
    "windows": ["#c19c00", "#3a96dd", "#f9f1a5", "#61d6d6"],
    "macos": ["#999900", "#00a6b2", "#e6e600", "#00e6e6"],
}
PAPERS = ["yellow", "cyan", "bright_yellow", "bright_cyan"]


@pytest.mark.parametrize("dark", [True, False])
@pytest.mark.parametrize("system", ["truecolor", "256"])
def test_text_on_every_colour_has_contrast(system, dark):
    for step in range(-100, 101):
        style = shading(Colours(system, dark), step / 100)
        if style.bgcolor:
            assert contrast(style.color.get_truecolor(), style.bgcolor.get_truecolor()) >= 4.5, step


@pytest.mark.parametrize("terminal_name", SIXTEEN)
def test_text_on_the_sixteen_colours_has_contrast(terminal_name):
    palette = dict(zip(PAPERS, SIXTEEN[terminal_name], strict=True))
    for step in range(-100, 101):
        style = shading(Colours("16"), step / 100)
        if style.bgcolor:
            assert style.color.name == "black"
            paper = Color.parse(palette[style.bgcolor.name]).triplet
            assert contrast(ColorTriplet(0, 0, 0), paper) >= 4.5, style


@pytest.mark.parametrize("dark", [True, False])
@pytest.mark.parametrize("system", ["truecolor", "256"])
@pytest.mark.parametrize("sign", [1, -1])
def test_greyscale_readers_see_larger_scores_stand_out_more(system, dark, sign):
    papers = [shading(Colours(system, dark), sign * step / 20).bgcolor for step in range(2, 21)]
    page = ColorTriplet(0, 0, 0) if dark else ColorTriplet(255, 255, 255)
    distances = [contrast(paper.get_truecolor(), page) for paper in papers]
    assert distances == sorted(distances)
    assert distances[-1] > 2 * distances[0]


# --- the pieces --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "signed", "limit", "expected"),
    [
        (0.314, True, 0.314, "+0.31"),
        (-0.0523, True, 0.0523, "−0.052"),
        (0.00421, False, 0.00421, "0.0042"),
        (-0.00042, True, 0.00042, "−4.20×10⁻⁴"),
        (123456.0, True, 123456.0, "+1.23×10⁵"),
        (12.34, True, 12.34, "+12.3"),
        (456.7, False, 456.7, "457"),
        (0.0004, True, 0.9, "0"),
        (12.0, True, 0.9, "+12.00"),
        (-0.0, True, 0.0, "0"),
        (9.0, True, 3e-6, "+9.00"),
        (NAN, True, 1.0, ""),
        (math.inf, True, 1.0, ""),
        (None, True, 1.0, ""),
    ],
)
def test_numbers_have_the_decimals_their_scale_asks_for(value, signed, limit, expected):
    assert Scale(limit, signed).write(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (-2.0, "−2"),
        (1 / 3, "0.3333"),
        (-3e-6, "−3×10⁻⁶"),
        (12340.0, "1.234×10⁴"),
        (9.99999, "10"),
        (NAN, ""),
    ],
)
def test_a_number_by_itself_has_four_digits(value, expected):
    assert exact(value) == expected


def test_a_text_is_cut_between_characters_not_inside():
    assert cut("日本語", 5) == "日本…"
    assert cut("日本語", 4) == "日…"
    assert cut("日本語", 6) == "日本語"
    assert cut("cafe\u0301s", 5) == "cafe\u0301s"
    assert cut("ab", 1) == "…"
    assert cut("ab", 0) == ""


def test_a_text_never_joins_its_neighbours_nor_vanishes():
    assert lines.standing_alone("◌\u200d👩") == "◌👩"
    assert lines.standing_alone("👨\u200d") == "👨"
    assert lines.standing_alone("\u1161") == "◌\u1161"
    assert lines.standing_alone("می\u200cخواهم") == "می\u200cخواهم"


def test_tokens_that_split_an_emoji_are_drawn_apart():
    page = printed(attribution_of(["👨\u200d", "👩", " end"], [[1.0, 0.5]], prompt=2, special=(), sink=None))
    assert "\u200d" not in page
    assert "👨[+10]👩[+5]" in page


def test_a_token_of_spaces_is_kept_where_a_line_is_broken():
    filled = lines.fill([lines.Word([lines.Run("aaaa")]), lines.Word([lines.Run("   ")])], 6)
    assert [[run.text for run in line] for line in filled] == [["aaaa"], ["   "]]


def test_a_word_longer_than_a_line_breaks_between_its_tokens_first():
    word = lines.Word([lines.Run("aaaa"), lines.Run("bbbb"), lines.Run("cccccccccc")])
    filled = ["".join(run.text for run in line) for line in lines.fill([word], 6)]
    assert filled == ["aaaa", "bbbb", "cccccc", "cccc"]


def test_a_terminal_that_cannot_write_unicode_gets_question_marks():
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    terminal.show(lay_out(small()), file=file)
    file.flush()
    assert b"<s>??[+10]The[+3]" in file.buffer.getvalue()
    assert b"France  +25.3 %" in file.buffer.getvalue()
    assert b"capital  -0.60" in file.buffer.getvalue()  # but no sign is lost


def test_work_grows_with_the_number_of_cells_and_not_faster():
    def seconds(sources):
        attribution = attribution_of([f" w{index % 700}" for index in range(sources + 20)], prompt=sources)
        begun = time.process_time()
        printed(attribution, 120, "truecolor")
        return time.process_time() - begun

    seconds(100)
    assert seconds(2000) < 40 * max(seconds(200), 0.005)
