"""The report: one page about what an answer rests on, in HTML as a browser shows it and in Markdown."""

from __future__ import annotations

import re
import sys
from dataclasses import replace

import pytest
import torch
from test_html import ANSWER, HOSTILE, Watched, attribute, browser, capital, parse  # noqa: F401
from test_markdown import MARKUP, inlines, parsed, tables
from test_markdown import shown as words
from test_reproduction import run, without_config

import tokensal
from tokensal.cli import app as cli
from tokensal.drawing import Drawing
from tokensal.errors import OutputError
from tokensal.render import encode_report, load
from tokensal.render.layout.report import STRONG, lay_out_report
from tokensal.results.attribution import Alternative
from tokensal.results.comparison import Comparison
from tokensal.types import Diagnostic

DATE = "the 3rd of March, 1987"
OPTIONS = tuple((Alternative(1, f" other{index}", 0.25), Alternative(2, "x", 0.125)) for index in range(4))
MEASURED = {"total": Diagnostic(torch.ones(4)), "convergence_delta": Diagnostic(torch.full((4,), 0.03))}


def several(**changes):
    """Three methods about one answer."""
    first = replace(capital(), alternatives=OPTIONS, diagnostics=MEASURED, **changes)
    others = (replace(attribute(), alternatives=OPTIONS), replace(attribute(signed=False), alternatives=OPTIONS))
    named = [first]
    for number, other in enumerate(others):
        provenance = replace(first.provenance, method=f"method_{number}", method_repr=f"Method{number}()")
        named.append(replace(other, provenance=provenance, **changes))
    return Comparison(tuple(named))


def html_of(result, **drawing):
    return encode_report(result, "x.html", Drawing(**drawing)).decode()


def markdown_of(result, **drawing):
    return encode_report(result, "x.md", Drawing(**drawing)).decode()


@pytest.fixture(scope="module")
def dates():
    return tokensal.compare("dates", DATE, methods=["lrp", "gim", "occlusion"], alternatives=3)


# What is laid out


def test_the_strongest_are_those_that_most_methods_rank_high():
    report = lay_out_report(several())
    assert report.strongest[0].named == max(each.named for each in report.strongest)
    assert [each.named for each in report.strongest] == sorted((each.named for each in report.strongest), reverse=True)
    for each in report.strongest:
        for rank, heatmap in zip(each.ranks, report.heatmaps, strict=True):
            assert rank is None or heatmap.overview.top(rank)[-1].source == each.source
    top = {cell.source for heatmap in report.heatmaps for cell in heatmap.overview.top(STRONG)}
    assert {each.source for each in report.strongest} <= top


def test_the_credit_through_the_answer_is_that_of_the_first_method(dates):
    report = lay_out_report(dates)
    wanted = dates.attributions[0].traced()
    assert [cell.value for cell in report.traced.rows[1].cells[:5]] == pytest.approx(wanted.scores[1, :5].tolist())
    assert report.untraced == ""


def test_where_nothing_can_be_traced_the_reason_is_told():
    one = lay_out_report(attribute(answer=[" Paris"]))
    assert one.traced is None and "nothing to pass on" in one.untraced
    some = lay_out_report(attribute(explained=slice(0, 4, 3)))
    assert some.traced is None and some.untraced
    for document in (html_of(attribute(answer=[" Paris"])), markdown_of(attribute(answer=[" Paris"]))):
        assert "nothing to pass on" in document


def test_traced_scores_of_a_result_are_left_out_of_its_methods(dates):
    both = Comparison.of_traced(dates.attributions)
    assert lay_out_report(both).names == lay_out_report(dates).names
    assert html_of(both) == html_of(dates)


# Both formats


@pytest.mark.parametrize("write", [html_of, markdown_of])
def test_a_report_says_everything(write, dates):
    document = write(dates)
    for part in (
        "What the answer rests on", "What mattered most", "Through the answer", "certificate", "lrp", "gim",
        "occlusion", "torch", "tokensal report", "-o report.html", "tokensal.compare(", "the answer is true", "1974",
    ):  # fmt: skip
        assert part in document, part


def test_the_markdown_has_the_parts_of_the_page(dates):
    tokens = parsed(markdown_of(dates))
    headings = [words(token) for token in inlines(tokens, "heading")]
    page = parse(re.sub(r"(?s)<template.*?</template>", "", html_of(dates)))
    assert [each.text for each in page.findall(".//h2")] == [
        each for each in headings[1:] if each not in ("Marks", "How far the methods agree") and "(" not in each
    ]
    ranks = tables(tokens)[0]
    report = lay_out_report(dates)
    assert ranks[0] == ["token", "place", *report.names]
    assert [[int(cell) for cell in row[1:] if cell] for row in ranks[1:]] == [
        [each.source, *(rank for rank in each.ranks if rank is not None)] for each in report.strongest
    ]


@pytest.mark.parametrize("result", [capital(), several(), capital()[1:2]], ids=["one", "three", "one target"])
@pytest.mark.parametrize("write", [html_of, markdown_of])
def test_results_of_all_kinds(write, result):
    document = write(result)
    assert document == write(result)
    text = re.sub(r"(?s)<(style|script|template)>.*?</\1>|<meta.*?>", "", document)
    assert not re.search(r"\b(nan|undefined|infinity)\b", text, re.I)
    parse(document) if write is html_of else parsed(document)


def test_hostile_tokens_stay_text():
    markup = [each for each in MARKUP if each]
    hostile = attribute([*HOSTILE, *markup], [*HOSTILE[:2], *markup[:9]], special=HOSTILE[:1])
    tree = parse(html_of(hostile))
    assert not tree.findall(".//img") and not [
        each for each in tree.iter() if str(each.tag) == "a" and each.text == "x"
    ]
    assert not [each for each in tree.iter() if any(name.startswith("on") for name in each.attrib)]
    parsed(markdown_of(hostile))


def test_a_report_without_alternatives_or_errors_says_nothing_of_them():
    document = html_of(capital())
    assert "considered, with" not in document and "considered, with" in html_of(several())
    assert "How exact" not in document and "How exact" in html_of(several())


def test_an_anonymous_report_says_nobodys_name(monkeypatch):
    result = several()
    named = tuple(replace(each, provenance=replace(each.provenance, model="acme/secret", config={"output": ["a/b"]}))
                  for each in result.attributions)  # fmt: skip
    for write in (html_of, markdown_of):
        assert "acme" in write(Comparison(named))
        assert "acme" not in write(Comparison(named), anonymous=True)


def test_python_writes_reports(dates, tmp_path):
    dates.report(tmp_path / "r.html")
    dates.attributions[0].report(tmp_path / "r.md")
    assert (tmp_path / "r.html").read_text() == html_of(dates)
    assert (tmp_path / "r.md").read_text().startswith("# What the answer rests on")
    with pytest.raises(OutputError, match="no reports in format 'svg'"):
        dates.report(tmp_path / "r.svg")
    dates.report(tmp_path / "r.json")
    assert load(tmp_path / "r.json") == dates


# The command line


@pytest.fixture
def here(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run_here(*arguments):
        monkeypatch.setattr(sys, "argv", ["tokensal", "report", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, *capsys.readouterr()

    return run_here


def test_one_command_from_a_prompt_to_a_report_and_again_from_the_result(here, tmp_path):
    code, out, err = here(DATE, "--model", "dates", "-o", "r.html", "-o", "r.md", "-o", "r.json")
    assert (code, out) == (0, ""), err
    assert re.findall("Wrote .*", err) == ["Wrote r.html", "Wrote r.md", "Wrote r.json"]
    result = load(tmp_path / "r.json")
    assert [each.provenance.method for each in result.attributions] == [
        "lrp", "gim", "attention_grad_cam", "occlusion",
    ]  # fmt: skip
    assert len(result.attributions[0].alternatives[0]) == 3
    assert here("--from", "r.json", "-o", "again.html", "-o", "again.md", "-q") == (0, "", "")
    for suffix in ("html", "md"):
        assert (tmp_path / f"again.{suffix}").read_bytes() == (tmp_path / f"r.{suffix}").read_bytes()


def test_flags_and_files_go_before_the_defaults_of_a_report(here, tmp_path):
    (tmp_path / "c.toml").write_text('[compare]\nmethods = ["gradient", "lrp"]\nalternatives = 2\n')
    assert here(DATE, "--model", "dates", "--config", "c.toml", "-o", "a.json", "-q")[0] == 0
    assert len(load(tmp_path / "a.json").attributions[0].alternatives[0]) == 2
    assert (
        here(DATE, "--model", "dates", "--config", "c.toml", "--methods", "gradient,gim", "-o", "a.json", "-q")[0] == 0
    )
    assert [each.provenance.method for each in load(tmp_path / "a.json").attributions] == ["gradient", "gim"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["x"], "There is no output to write"),
        (["x", "-o", "r.svg"], "There are no reports in format 'svg'"),
        (["x", "-o", "r.doc"], "Cannot tell the format"),
        (["--from", "none.json", "-o", "r.html"], "Cannot read result 'none.json'"),
        (["--from", "x.json", "--unit", "word", "-o", "r.html"], "explains nothing: leave out unit, or --from"),
        (["x", "--from", "x.json", "-o", "r.html"], "explains nothing: leave out prompt, or --from"),
        (["x", "-o", "nowhere/r.html"], "nowhere"),
        (["x", "-o", "-"], "has no suffix"),
        (["x", "--methods", "lrp", "-o", "r.html"], "at least two methods"),
    ],
    ids=repr,
)
def test_what_cannot_be_reported_ends_in_a_sentence(arguments, sentence, here):
    code, out, err = here(*arguments)
    assert (code, out) == (2, "") and err.startswith("tokensal: ") and sentence in err and err.count("\n") == 1


def test_a_report_on_standard_output(here, tmp_path, dates):
    dates.save(tmp_path / "r.json")
    code, out, err = here("--from", "r.json", "-o", "-", "--format", "md")
    assert (code, err) == (0, "") and out.startswith("# What the answer rests on")


def test_the_command_of_a_report_makes_its_result(dates, tmp_path):
    command = lay_out_report(dates).recipe.command
    assert command == f"tokensal report '{DATE}' --model dates --methods lrp,gim,occlusion -o report.html"
    assert without_config(run(command.replace("-o report.html", ""), tmp_path)) == list(dates.attributions)


# In a browser


@pytest.fixture
def show(browser, tmp_path):  # noqa: F811
    watched = Watched(browser, tmp_path)
    yield watched
    for context in watched.contexts:
        context.close()
    assert watched.complaints == []
    assert [url for url in watched.requests if not url.startswith("file:///")] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1000, 390])
def test_the_page_fits_its_window(show, width, scheme):
    page = show(html_of(several()), viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    dark = page.evaluate("getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g)[0] < 128")
    assert dark == (scheme == "dark")


def test_headings_are_reached_from_the_contents_and_by_keys(show):
    page = show(html_of(several()))
    names = page.locator("nav a").all_inner_texts()
    assert names == page.evaluate("[...document.querySelectorAll('h2')].map((each) => each.textContent)")
    assert len(names) == 8
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == names[0]
    page.locator("nav a").nth(len(names) - 1).click()
    assert page.evaluate("scrollY") > 500


def test_heatmaps_in_a_report_answer_to_the_pointer(show):
    page = show(html_of(several()))
    fragment = page.locator(".tokensal").first
    target = fragment.locator("[data-target='2']").first
    target.scroll_into_view_if_needed()
    target.hover()
    assert "token 3 of 4" in fragment.locator("#shown").inner_text().replace("\n", " ")
    assert page.locator(".tokensal").count() == 2


def test_the_page_works_without_a_script_and_on_paper(show):
    page = show(html_of(several()), java_script_enabled=False)
    text = page.inner_text("main")
    assert all(token.strip() in text for token in ANSWER) and "What mattered most" in text
    page.emulate_media(media="print")
    assert page.locator("nav").is_hidden()
    assert len(page.pdf()) > 10_000


def test_nothing_of_a_heatmap_is_cut_off_on_paper(show):
    page = show(html_of(several()), viewport={"width": 700, "height": 800})
    page.emulate_media(media="print")
    edge = page.evaluate("document.querySelector('h1').getBoundingClientRect().left")
    assert page.evaluate("document.querySelector('.tokensal').getBoundingClientRect().left") >= edge


def test_the_text_by_itself_has_no_marks():
    example = attribute(["<s>", "a\n", "b", "c", "d", "e"], scores=capital().scores)
    document = html_of(example)
    plain = re.search("(?s)<blockquote.*?</blockquote>", document)[0]
    assert "↵" not in plain and "†" not in plain and "a\nb" in plain
