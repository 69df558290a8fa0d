"""Credit through the answer: hand-made tables, every path written out, what published methods do, and what is shown."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import pytest
import torch
from builders import CONTINUATION, PROMPT, tiny
from test_cli import folder, sentence
from test_html import attribute, capital, document_of, parse, text_of
from test_terminal import text_page

import tokensal
from tokensal import Attribution, Comparison, compare
from tokensal.errors import FormatError, InputError
from tokensal.render.json import dumps, loads
from tokensal.render.layout import lay_out
from tokensal.types import Diagnostic, Role, Unit

__all__ = ["folder"]  # a fixture, used by name

NAN = math.nan


def made(table, prompt=2, **options):
    """An attribution of so many prompt tokens, and an answer with a row each."""
    answer = [f"g{row}" for row in range(len(table))]
    options = {"signed": False, "sink": None, **options}
    return attribute([f"p{index}" for index in range(prompt)], answer, torch.tensor(table), **options)


def random_table(seed, prompt=4, answer=5):
    return torch.randn(answer, prompt + answer - 1, generator=torch.Generator().manual_seed(seed)).tolist()


def assert_scores(result, expected, tolerance=1e-6):
    torch.testing.assert_close(
        result.scores, torch.tensor(expected), rtol=tolerance, atol=tolerance, equal_nan=True, check_dtype=False
    )


# Tables whose traced scores are known


def test_credit_of_the_answer_is_passed_on_in_the_shares_of_its_rows():
    direct = made([[6.0, 4.0, 0.0, 0.0], [5.0, 2.5, 2.5, 0.0], [1.0, 0.0, 2.0, 1.0]])
    traced = direct.traced()
    # the first word of the answer came from the prompt .6 and .4; the second .5 + .25 · .6 and .25 + .25 · .4
    assert_scores(traced, [[6.0, 4.0, NAN, NAN], [6.5, 3.5, NAN, NAN], [2.85, 1.15, NAN, NAN]])
    assert traced.diagnostics["through_the_answer"].values.tolist() == [0.0, 0.25, 0.75]
    assert traced.visible.equal(~traced.scores.isnan()) and traced.values.equal(direct.values)
    assert traced.sources == direct.sources and traced.targets == direct.targets


def test_a_chain_ends_where_it_begins():
    traced = made([[0.0, 3.0, 0.0, 0.0], [0.0, 0.0, 5.0, 0.0], [0.0, 0.0, 0.0, 7.0]]).traced()
    assert_scores(traced, [[0.0, 3.0, NAN, NAN], [0.0, 5.0, NAN, NAN], [0.0, 7.0, NAN, NAN]])


@pytest.mark.parametrize(("first", "second", "expected"), [(2, 3, 3), (-2, 3, -3), (2, -3, -3), (-2, -3, 3)])
def test_signs_multiply_along_a_path(first, second, expected):
    traced = made([[float(first), 0.0, 0.0], [0.0, 0.0, float(second)]], signed=True).traced()
    assert traced.signed and traced.scores[1, 0] == expected


@pytest.mark.parametrize("sink", [None, 1])
def test_rows_add_up_and_the_sink_keeps_what_it_has(sink):
    table = [[abs(score) for score in row] for row in random_table(1)]
    direct = made(table, prompt=4, sink=sink)
    traced = direct.traced()
    torch.testing.assert_close(traced.scores.nansum(1), direct.scores.nansum(1))
    assert traced.scores[:, :4].isfinite().all() and traced.scores[:, 4:].isnan().all()
    if sink is not None:
        torch.testing.assert_close(traced.scores[:, sink], direct.scores[:, sink])


def test_opposite_paths_cancel_and_magnitudes_never_grow():
    direct = made(random_table(2), prompt=4, signed=True)
    traced = direct.traced()
    sizes, before = traced.scores.abs().nansum(1), direct.scores.abs().nansum(1)
    assert (sizes <= before * (1 + 1e-6)).all() and (sizes[2:] < before[2:]).all()


def by_paths(direct, target, source, hops=None, *, sink=None):
    """Twin: every path from a target through tokens of the answer to a source, one after another."""
    prompt = len(direct.sources) - len(direct.targets) + 1
    scores = direct.scores.nan_to_num().double().tolist()

    def share(row, column):
        sizes = [abs(score) for index, score in enumerate(scores[row]) if index != sink]
        return scores[row][column] / sum(sizes)

    def reaching(row, left):
        """What one of credit to the token of that row brings the source."""
        if source == prompt + row and left == 0:
            return 1.0
        if source == sink or left == 0:
            return 0.0
        total = share(row, source) if source < prompt else 0.0
        return total + sum(share(row, prompt + next_row) * reaching(next_row, left - 1) for next_row in range(row))

    left = len(direct.targets) if hops is None else hops
    own = scores[target][source] if source < prompt else 0.0
    return own + sum(scores[target][prompt + row] * reaching(row, left) for row in range(target))


@pytest.mark.parametrize("sink", [None, 0])
@pytest.mark.parametrize("hops", [None, 1, 2, 9])
def test_agrees_with_every_path_written_out(hops, sink):
    direct = made(random_table(3), prompt=4, signed=True, sink=sink)
    traced = direct.traced(hops=hops)
    for target in range(5):
        for source in range(8):
            if direct.visible[target, source] and not traced.scores[target, source].isnan():
                expected = by_paths(direct, target, source, hops, sink=sink)
                assert traced.scores[target, source].item() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert traced.visible.equal(direct.visible) is (hops is not None)


def test_a_token_without_credit_of_its_own_keeps_what_it_was_credited():
    traced = made([[0.0, 0.0, 0.0], [1.0, 0.0, 3.0]]).traced()
    assert_scores(traced, [[0.0, 0.0, NAN], [1.0, 0.0, 3.0]])
    assert traced.diagnostics["through_the_answer"].values.tolist() == [0.0, 0.0]


# Published definitions


def test_without_negative_scores_it_is_the_graph_of_cage():
    """Walker and Ewetz 2025: rows that add up to 1, and from the last token back each passes on what it holds."""
    table = torch.tensor(random_table(4)).abs()
    direct = made(table.tolist(), prompt=4)
    rows = direct.scores.nan_to_num() / direct.scores.nansum(1, keepdim=True)
    for target in range(5):
        row = rows[target].clone()
        for token in reversed(range(target)):
            row = row + row[4 + token] * torch.where(torch.arange(8) == 4 + token, -1.0, rows[token])
        traced = direct.traced().scores[target]
        torch.testing.assert_close(traced[:4] / direct.scores[target].nansum(), row[:4], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_hops_are_those_of_flash_trace(hops):
    """Pan et al. 2026: the mass on what was written before is attributed again, and what reaches the prompt adds up."""
    direct = made([[abs(score) for score in row] for row in random_table(5)], prompt=4)
    rows = direct.scores.nan_to_num() / direct.scores.nansum(1, keepdim=True)
    observed, thinking, ratio = rows[-1, :4].clone(), rows[-1, 4:].clone(), 1.0
    for _ in range(hops):
        ratio, weights = ratio * thinking.sum(), thinking / thinking.sum()
        reached = weights @ rows[:4]  # the attribution of the span, each token by its weight
        observed, thinking = observed + ratio * reached[:4], reached[4:]
    traced = direct.traced(hops=hops).scores[-1] / direct.scores[-1].nansum()
    torch.testing.assert_close(traced[:4], observed, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(traced[4:], ratio * thinking, rtol=1e-5, atol=1e-6)


# Real answers


@pytest.mark.parametrize("name", ["Llama", "T5"])
@pytest.mark.parametrize("method", ["attention_grad_cam", "occlusion"])
def test_answers_of_models_are_traced(name, method):
    direct = tokensal.attribute(tiny(name), PROMPT, continuation=CONTINUATION, method=method)
    traced = direct.traced()
    start = len(direct.sources) - len(CONTINUATION) + 1
    assert traced.scores[:, start:].isnan().all() and traced.visible[:, :start].equal(direct.visible[:, :start])
    torch.testing.assert_close(traced.scores[0, :start], direct.scores[0, :start], equal_nan=True)
    if not direct.signed:
        torch.testing.assert_close(traced.scores.nansum(1), direct.scores.nansum(1))
    assert (traced.scores[-1, :start] - direct.scores[-1, :start]).nan_to_num().abs().max() > 1e-4
    assert (traced.provenance.credit, direct.provenance.credit) == ("through the answer", "direct")


def test_units_are_traced_where_they_are_targets():
    asked = {"continuation": " sat on the mat", "method": "attention_grad_cam"}
    direct = tokensal.attribute(tiny(), "The cat", unit="word", targets="word", **asked)
    traced = direct.traced()
    answer = torch.tensor([source.role is Role.GENERATED for source in direct.sources])
    assert traced.scores[:, answer].isnan().all() and traced.scores[:, ~answer][:, 1:].isfinite().all()
    torch.testing.assert_close(traced.scores.nansum(1), direct.scores.nansum(1), rtol=1e-5, atol=1e-6)


def test_a_linear_method_traces_the_whole_answer_to_the_sum_of_its_tokens():
    asked = {"continuation": CONTINUATION, "method": "input_x_gradient", "targets": ["token", "output"]}
    traced = tokensal.attribute(tiny(), PROMPT, **asked).traced()
    rows = traced.scores.nan_to_num()
    torch.testing.assert_close(rows[-1], rows[:-1].sum(0), rtol=1e-4, atol=1e-4)


def test_tokens_that_look_the_same_are_told_apart():
    pieces = [Unit((7,), "", 2, 3, Role.GENERATED)] * 2  # two bytes of one character
    direct = made([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    direct = replace(direct, sources=(*direct.sources[:2], *pieces), targets=(*pieces, direct.targets[2]))
    assert_scores(direct.traced(), [[1.0, 0.0, NAN, NAN], [0.0, 1.0, NAN, NAN], [0.0, 1.0, NAN, NAN]])


def test_one_token_alone_has_nothing_to_pass_on():
    direct = made([[1.0, 2.0]])
    assert_scores(direct.traced(), [[1.0, 2.0]])


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"targets": [3]}, "no target by itself"),
        ({"targets": "output"}, "no target by itself"),
        ({"unit": "word"}, "no target by itself"),
        ({"targets": "word"}, "no target by itself"),
        ({"explain": "prompt", "continuation": None}, "none is explained here"),
        ({"contrast": " ran"}, "leave the contrast out"),
        ({"sources": "prompt"}, "have no scores that could be passed on"),
    ],
)
def test_what_cannot_be_traced_is_said(asked, reason):
    asked = {"continuation": " sat unbelievably on the mat.", **asked}
    result = tokensal.attribute(tiny(), "The cat", method="input_x_gradient", **asked)
    with pytest.raises(InputError, match=reason):
        result.traced()


def test_slices_are_traced_where_their_rows_are_complete():
    direct = made(random_table(6), prompt=4, signed=True)
    first = direct[:3].traced()
    assert first.scores[:, :4].equal(direct.traced().scores[:3, :4])
    with pytest.raises(InputError, match="no target by itself"):
        direct[2:].traced()
    with pytest.raises(InputError, match="traced already"):
        direct.traced().traced()
    for hops in (0, -1, True, 1.5):
        with pytest.raises(InputError, match="hops is"):
            direct.traced(hops=hops)


# What is stored and shown


def measured():
    diagnostics = {
        "convergence_delta": Diagnostic(torch.tensor([0.1, 0.2, -0.3, 0.0]), torch.full((4,), 0.25)),
        "standard_error": Diagnostic(torch.full((4, 9), 0.5).masked_fill(capital().scores.isnan(), NAN)),
    }
    return replace(capital(), diagnostics=diagnostics)


def test_json_says_that_scores_are_traced_and_reads_back(tmp_path):
    traced, direct = measured().traced(hops=2), measured()
    traced.save(tmp_path / "t.json")
    assert Attribution.load(tmp_path / "t.json") == traced
    data = json.loads(dumps(traced))
    assert data["provenance"]["credit"] == "through the answer, 2 hops"
    assert "credit" not in json.loads(dumps(direct))["provenance"]
    names = [each["name"] for each in data["diagnostics"]]
    assert names == ["through_the_answer", "direct_convergence_delta", "direct_standard_error"]
    data["provenance"]["credit"] = 1
    with pytest.raises(FormatError, match="credit"):
        loads(json.dumps(data))
    both = Comparison.of_traced([direct])
    assert loads(dumps(both)) == both


def test_a_missed_tolerance_of_the_direct_scores_stays_said():
    caption = dict(lay_out(measured().traced()).caption)
    assert "⚠ tolerance missed by" in caption["direct convergence delta"]
    assert re.fullmatch("median .+ of a target's credit, at most .+", caption["passed on"])
    assert "standard error" not in caption and caption["direct standard error"] == "0.5"


@pytest.mark.parametrize("draw", [text_page, lambda result: text_of(parse(document_of(result)), "body")])
def test_every_format_says_what_is_shown(draw):
    text = " ".join(draw(capital().traced()).split()) if draw is text_page else document_of(capital().traced())
    assert "through the answer" in text and "passed their credit on to what they came from" in text
    plain = draw(capital()) if draw is text_page else document_of(capital())
    assert "through the answer" not in plain and "credit" not in plain.replace("credited", "")


def test_traced_and_direct_stand_beside_one_another():
    both = Comparison.of_traced([measured()])
    text = text_page(both)
    assert re.search(r"^1 gradient · through the answer$", text, re.MULTILINE)
    assert re.search(r"^2 gradient · direct$", text, re.MULTILINE)
    assert text.splitlines()[0] == "causal · logprob"
    titles = [" ".join("".join(title.itertext()).split()) for title in parse(document_of(both)).findall(".//h2")]
    method = "Gradient(reduce='dot')"
    assert [f"1 {method} · through the answer", f"2 {method} · direct"] == [
        title for title in titles if title != "pinned"
    ][:2]
    assert "1 gradient, through the answer" in text and "2 gradient, direct" in text


def test_a_comparison_of_methods_has_each_traced_before_it():
    found = compare(tiny(), PROMPT, continuation=CONTINUATION, methods=["input_x_gradient", "attention_grad_cam"])
    both = Comparison.of_traced(found.attributions)
    assert [(each.provenance.method, each.provenance.credit) for each in both.attributions] == [
        ("input_x_gradient", "through the answer"),
        ("input_x_gradient", "direct"),
        ("attention_grad_cam", "through the answer"),
        ("attention_grad_cam", "direct"),
    ]
    assert text_page(both)


# The command line


@pytest.mark.parametrize("command", ["attribute", "compare"])
def test_the_command_shows_both(folder, here, tmp_path, command):
    methods = ["--method", "input_x_gradient"] if command == "attribute" else ["--methods", "gradient,input_x_gradient"]
    (tmp_path / "c.toml").write_text(f"[{command}]\ntrace = true\n")
    for asked in (["--trace"], ["--config", tmp_path / "c.toml"]):
        done = here(command, "The cat", "--model", folder, "--max-new-tokens", 4, *methods, *asked,
                    "-o", tmp_path / "t.json", "-o", tmp_path / "t.html")  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "input_x_gradient · through the answer" in done.stdout and "input_x_gradient · direct" in done.stdout
        stored = Comparison.load(tmp_path / "t.json")
        assert len(stored.attributions) == (2 if command == "attribute" else 4)
        assert stored.attributions[0].provenance.config["trace"] is True


def test_a_stored_result_is_traced_when_it_is_shown(folder, here, tmp_path):
    here("attribute", "The cat", "--model", folder, "--max-new-tokens", 3, "-o", tmp_path / "r.json")
    done = here("show", tmp_path / "r.json", "--trace")
    assert done.returncode == 0 and "lrp · through the answer" in done.stdout


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (["--contrast", " ran"], "--contrast out"),
        (["--explain", "prompt"], "--explain prompt"),
        (["--targets", "output"], "add --targets token"),
        (["--unit", "word"], "add --targets word"),
        (["--unit", "word", "--targets", "token"], "add --targets word"),
    ],
)
def test_a_question_that_cannot_be_traced_is_refused_before_the_model_is_loaded(here, asked, reason):
    assert reason in sentence(here("attribute", "The cat", "--model", "/nowhere", "--trace", *asked))


def test_where_only_the_answer_shows_that_it_cannot_be_traced_the_direct_scores_are_shown(folder, here):
    done = here(
        "attribute", "The cat", "--model", folder, "--continuation", " sat on", "--sources", "prompt", "--trace"
    )
    assert done.returncode == 2 and "have no scores that could be passed on" in done.stderr
    assert "The" in done.stdout and "through the answer" not in done.stdout
