"""Integrated gradients: slow twins, captum, closed forms, and a certificate that is checked from outside."""

from __future__ import annotations

import math

import pytest
import slow_twins
import torch
from builders import CONTINUATION, PROMPT, every_attention, tiny
from builders import every_decoder as every_architecture
from counting import CountingAdapter
from models import adapter
from test_engine import LinearModel
from test_gradients import ROUGH

from tokensal import Attribution, Budget, InputXGradient, IntegratedGradients, attribute
from tokensal.engine import Engine
from tokensal.errors import InputError
from tokensal.methods.quadrature import RULES, gauss_legendre
from tokensal.scores import logit, logprob, prob

ZERO = torch.zeros(32, dtype=torch.float64)


def exact(model, method, score=logprob, **options):
    """Scores in float64: a result is stored in float32, so the engine is asked itself."""
    example = model.example(PROMPT, continuation=CONTINUATION)
    return method(example, Engine(model, score, **options))


@every_architecture
@every_attention
def test_a_fixed_rule_agrees_with_its_slow_twin(name, attention):
    model = tiny(name, attention)
    width = model.model.get_input_embeddings().weight.shape[1]
    nodes, weights = gauss_legendre(4)
    zero = torch.zeros(width, dtype=torch.float64)
    expected = slow_twins.integrated_gradients(
        model.model, PROMPT, CONTINUATION, zero, {0, 5}, nodes, weights, "logprob"
    )
    found = exact(model, IntegratedGradients(steps=4, keep=("sink",)), budget=Budget(rows=50)).matrix
    again = slow_twins.integrated_gradients(model.model, PROMPT, CONTINUATION, zero, {0}, nodes, weights, "logprob")
    seen = ~again.isnan()
    tolerance = 1e-8 if attention == "sdpa" else 1e-5
    torch.testing.assert_close(found[seen], again[seen], rtol=tolerance, atol=tolerance)
    assert (found[seen] - expected[seen]).abs().max() > 1e-4  # what is kept makes a difference
    assert found[:, 0].abs().max() == 0


@pytest.mark.parametrize("baseline", ["pad", "mean", "text: cat"])
def test_other_baselines_agree_with_their_slow_twin(baseline):
    model = tiny("Qwen 3")
    start = model.baseline(baseline, 1)[0]
    rule = gauss_legendre(3)
    expected = slow_twins.integrated_gradients(model.model, PROMPT, CONTINUATION, start, {0}, *rule, "prob")
    found = exact(model, IntegratedGradients(baseline=baseline, steps=3), score=prob).matrix
    seen = ~expected.isnan()
    torch.testing.assert_close(found[seen], expected[seen], rtol=1e-8, atol=1e-10)


def test_a_baseline_of_ones_own_is_taken_as_it_is():
    model = tiny("Llama")
    pad = model.baseline("pad", 1)[0]
    named = exact(model, IntegratedGradients(baseline="pad", steps=3)).matrix
    own = IntegratedGradients(baseline=pad, steps=3)
    assert exact(model, own).matrix.equal(named)
    assert repr(own).startswith("IntegratedGradients(baseline=embeddings(32,), keep=")
    assert exact(model, IntegratedGradients(baseline=pad.expand(11, 32), steps=3)).matrix.equal(named)
    mixed = IntegratedGradients(baseline=["zero", pad], steps=3)
    assert "baseline=['zero', embeddings(32,)]" in repr(mixed)
    assert exact(model, mixed).diagnostics["gradients"].values.tolist() == [6] * 5
    with pytest.raises(InputError, match=r"shape \(3, 32\), but should have \(11, 32\), or \(32,\)"):
        exact(model, IntegratedGradients(baseline=torch.zeros(3, 32), steps=3))


def test_several_baselines_are_averaged():
    model = tiny("Llama")
    each = [exact(model, IntegratedGradients(baseline=name, steps=3)) for name in ("zero", "pad")]
    both = exact(model, IntegratedGradients(baseline=["zero", "pad"], steps=3))
    torch.testing.assert_close(both.matrix, (each[0].matrix + each[1].matrix) / 2)
    change = (each[0].diagnostics["total"].values + each[1].diagnostics["total"].values) / 2
    torch.testing.assert_close(both.diagnostics["total"].values, change)
    assert both.diagnostics["gradients"].values.tolist() == [6] * 5


def test_a_fixed_rule_is_captums():
    captum = pytest.importorskip("captum.attr", reason="captum comes with the test extra")
    model = tiny("Llama")
    for rule, theirs in (("gauss_legendre", "gausslegendre"), ("riemann", "riemann_middle")):
        found = exact(model, IntegratedGradients(steps=8, rule=rule, keep=())).matrix
        for row, target in enumerate(CONTINUATION):
            before = torch.tensor([PROMPT + CONTINUATION[:row]])
            method = captum.IntegratedGradients(
                lambda embeds, target=target: model.model(inputs_embeds=embeds).logits[:, -1].log_softmax(-1)[:, target]
            )
            embeds = model.model.get_input_embeddings()(before).detach()
            expected = method.attribute(embeds, torch.zeros_like(embeds), n_steps=8, method=theirs)[0].sum(-1)
            torch.testing.assert_close(found[row, : before.shape[1]], expected, rtol=1e-6, atol=1e-8)


# The certificate


@every_architecture
@pytest.mark.parametrize("baseline", ["zero", "pad"])
def test_the_certificate_holds_and_can_be_checked_from_outside(name, baseline):
    model = tiny(name)
    found = exact(model, IntegratedGradients(baseline=baseline, keep=("sink",)))
    width = model.model.get_input_embeddings().weight.shape[1]
    start = model.baseline(baseline, 1)[0] if baseline != "zero" else torch.zeros(width, dtype=torch.float64)
    total, delta = found.diagnostics["total"], found.diagnostics["convergence_delta"]
    for row, target in enumerate(CONTINUATION):
        before = PROMPT + CONTINUATION[:row]
        embeds = model.model.get_input_embeddings()(torch.tensor([before])).detach()
        empty = torch.cat([embeds[:, :1], start.expand(1, len(before) - 1, -1)], dim=1)
        with torch.no_grad():
            ends = [model.model(inputs_embeds=end).logits[0, -1].log_softmax(-1)[target] for end in (empty, embeds)]
        change = (ends[1] - ends[0]).item()
        assert total.values[row].item() == pytest.approx(change, rel=1e-5, abs=1e-6)
        residual = found.matrix[row, : len(before)].sum().item() - change
        assert delta.values[row].item() == pytest.approx(residual, abs=1e-5)
        assert delta.reached[row].item() == (abs(residual) <= 0.05 * max(abs(change), 0.1))
    # A mixture of experts jumps where its router changes its mind; no gradient sees that, and the certificate says so.
    # From zero, several norms in a row can make a layer at the origin that is too narrow for any node; it says so too.
    assert delta.reached.all() or name in ROUGH or baseline == "zero"


def test_the_map_converges_with_the_tolerance():
    model = tiny("GPT-2")
    fixed = exact(model, IntegratedGradients(steps=400))
    truth = fixed.matrix
    assert fixed.diagnostics["convergence_delta"].values.abs().max() < 1e-10
    errors = [
        ((exact(model, IntegratedGradients(tolerance=tolerance)).matrix - truth).abs().sum(1) / truth.abs().sum(1))
        for tolerance in (0.2, 0.01, 0.0005)
    ]
    assert errors[0].max() > errors[2].max()
    assert errors[1].max() < 0.02
    assert errors[2].max() < 0.002


def test_nodes_go_where_the_error_is():
    model = tiny("Qwen 3")  # from zero, its norms make a boundary layer at the origin
    found = exact(model, IntegratedGradients()).diagnostics
    assert found["convergence_delta"].reached.all()
    assert len(set(found["gradients"].values.tolist())) > 1  # each target has its own
    fixed = exact(model, IntegratedGradients(steps=2 * int(found["gradients"].values.max()))).diagnostics
    assert not fixed["convergence_delta"].reached.any()


def test_a_missed_tolerance_is_said():
    model = tiny("Llama")
    result = attribute(
        model, PROMPT, continuation=CONTINUATION, method=IntegratedGradients(tolerance=1e-9, max_evaluations=12)
    )
    assert not result.diagnostics["convergence_delta"].reached.all()
    [caption] = [text for name, text in _caption(result) if name == "certificate"]
    assert "⚠ tolerance missed by" in caption
    few = attribute(model, PROMPT, continuation=CONTINUATION, method=IntegratedGradients(steps=1))
    assert any("⚠" in text for name, text in _caption(few))


def _caption(result):
    from tokensal.render.layout import lay_out

    return lay_out(result).caption


def test_the_certificate_is_shown_and_stored(tmp_path, capsys):
    result = attribute(tiny("Llama"), PROMPT, continuation=CONTINUATION, method="integrated_gradients")
    result.show()
    assert "certificate unexplained: median" in " ".join(capsys.readouterr().out.split())
    result.save(tmp_path / "r.json")
    result.save(tmp_path / "r.html")
    assert "unexplained: median" in (tmp_path / "r.html").read_text()
    again = Attribution.load(tmp_path / "r.json").diagnostics
    assert list(again) == list(result.diagnostics) == ["total", "convergence_delta", "gradients"]
    for name, diagnostic in result.diagnostics.items():
        assert again[name].values.equal(diagnostic.values)
    assert again["convergence_delta"].allowed.equal(result.diagnostics["convergence_delta"].allowed)


# Closed forms


def test_a_linear_model_needs_one_node():
    model = LinearModel()
    example = model.example()
    model.slow_twins = lambda name, length: torch.zeros(length, 3, dtype=torch.float64)
    found = IntegratedGradients(steps=1, keep=())(example, Engine(model, logit))
    torch.testing.assert_close(found.matrix, InputXGradient()(example, Engine(model, logit)).matrix)
    assert found.diagnostics["convergence_delta"].values.abs().max() < 1e-12


def test_a_quadratic_score_needs_one_gauss_node_and_two_of_the_trapezoid():
    model = LinearModel()
    example = model.example()

    def square(logits, targets):
        return logit(logits, targets).square()

    for rule, steps in (("gauss_legendre", 1), ("riemann", 1), ("trapezoid", 2)):
        found = IntegratedGradients(steps=steps, rule=rule, keep=())(example, Engine(model, square))
        assert found.diagnostics["convergence_delta"].values.abs().max() < 1e-12
    # y = (Σ a)², so that the contribution of source s is a_s Σ a
    parts = InputXGradient()(example, Engine(model, logit)).matrix
    torch.testing.assert_close(found.matrix, parts * parts.sum(1, keepdim=True))


@pytest.mark.parametrize(("rule", "degree"), [("gauss_legendre", 9), ("riemann", 1), ("trapezoid", 1)])
def test_rules_are_exact_up_to_their_degree(rule, degree):
    nodes, weights = RULES[rule](5)
    for power in range(degree + 1):
        assert (weights @ nodes**power).item() == pytest.approx(1 / (power + 1), abs=1e-12)
    assert abs((weights @ nodes ** (degree + 1)).item() - 1 / (degree + 2)) > 1e-7


@pytest.mark.parametrize(("rule", "order"), [("riemann", 2), ("trapezoid", 2)])
def test_rules_converge_in_their_order(rule, order):
    def error(steps):
        nodes, weights = RULES[rule](steps)
        return abs((weights @ nodes.exp()).item() - (math.e - 1))

    intervals = 1 if rule == "trapezoid" else 0  # its steps are points, one more than there are intervals
    assert error(16 + intervals) / error(32 + intervals) == pytest.approx(2**order, rel=0.01)


# Counts


def test_every_gradient_counts_and_no_forward_only_looks():
    model = CountingAdapter(adapter("Llama"))
    example = model.example(PROMPT, continuation=CONTINUATION)
    pairs = []
    engine = Engine(model, budget=Budget(rows=22), progress=lambda done, total: pairs.append((done, total)))
    found = IntegratedGradients(tolerance=0.01)(example, engine)
    assert found.diagnostics["convergence_delta"].reached.all()
    nodes = int(found.diagnostics["gradients"].values.sum())
    ends = 2  # forwards that show the change of the score
    assert sum(total for finished, total in pairs if finished == total) == nodes + ends
    assert model.backwards < nodes  # nodes of different targets share a backward
    assert found.diagnostics["gradients"].values.min() >= 9


def test_contributions_are_simpsons_rule_over_the_cells_of_each_target():
    from tokensal.methods import adaptive_quadrature

    class Known:
        """Two targets: one whose slope Simpson's rule meets exactly, one with a bend in it."""

        def slopes(self, points, wanted):
            cubic, bent = points**3, (points - 0.3).clamp(min=0)
            values = torch.stack([points**4 / 4, bent**2 / 2], dim=1)
            parts = torch.stack([cubic, bent], dim=1)[..., None] * torch.tensor([0.25, 0.75])
            return values, parts * wanted[..., None]

    matrix, nodes = adaptive_quadrature.integrate(Known(), 1e-6, torch.tensor([1e-9, 1e-6], dtype=torch.float64), 99)
    torch.testing.assert_close(matrix[0], torch.tensor([0.25, 0.75], dtype=torch.float64) / 4)
    torch.testing.assert_close(matrix[1].sum(), torch.tensor(0.7**2 / 2, dtype=torch.float64), rtol=0, atol=1e-6)
    assert nodes[0] == 9
    assert 9 < nodes[1] < 40  # halved only around the bend


def test_targets_share_the_forwards_of_their_nodes():
    from tokensal.methods import adaptive_quadrature

    class Steps:
        """Scores that rise near the same place, each over another width."""

        def __init__(self, *widths):
            self.widths = torch.tensor(widths, dtype=torch.float64)
            self.asked = []

        def slopes(self, points, wanted):
            self.asked += points.tolist()
            heights = torch.tanh((points[:, None] - 0.3) / self.widths)
            return heights, ((1 - heights**2) / self.widths * wanted)[..., None]

    def integrated(line):
        return adaptive_quadrature.integrate(line, 1e-3, torch.full_like(line.widths, 1e-3), 999)

    widths = (0.2, 0.05, 0.01, 0.002)
    together = Steps(*widths)
    matrix, nodes = integrated(together)
    alone = [integrated(Steps(width)) for width in widths]
    torch.testing.assert_close(matrix, torch.cat([found for found, _ in alone]))
    assert nodes.tolist() == [int(spent) for _, spent in alone]
    assert len(together.asked) == len(set(together.asked))  # no point has a second forward for another target


def test_the_nodes_end_where_they_should():
    found = exact(tiny("Llama"), IntegratedGradients(tolerance=1e-6, max_evaluations=31)).diagnostics
    assert found["gradients"].values.max() <= 31
    assert not found["convergence_delta"].reached.all()


@pytest.mark.parametrize(
    ("wanted", "graphs"),
    [
        ([[1, 0, 0, 1, 0], [0, 0, 0, 0, 0], [0, 1, 1, 1, 0]], 3),
        ([[1, 0, 1, 1, 0], [0, 1, 1, 1, 1], [1, 1, 0, 1, 1]], 1),
    ],
)
def test_wanted_pairs_alone_are_differentiated_and_equal_the_whole(wanted, graphs):
    from tokensal.engine.reductions import dot
    from tokensal.perturbations.inputs import PerturbedInputs

    model = tiny("Llama")
    example = model.example(PROMPT, continuation=CONTINUATION)
    engine = Engine(model, budget=Budget(rows=10**6))
    embeds = engine.embed(example)
    perturbed = PerturbedInputs(torch.stack([embeds, 0.5 * embeds, 0.1 * embeds]))
    [whole] = engine.gradients(example, perturbed, dot)
    wanted = torch.tensor(wanted, dtype=torch.bool)
    chunks = [chunk.reduced for chunk in engine.gradients(example, perturbed, dot, wanted=wanted)]
    found = torch.cat(chunks)
    assert len(chunks) == graphs
    torch.testing.assert_close(found[wanted], whole.reduced[wanted], rtol=1e-9, atol=1e-11)
    assert found[~wanted].abs().max() == 0


# What a user may ask


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "riemman"}, "did you mean 'riemann'"),
        ({"keep": ("snik",)}, "did you mean 'sink'"),
        ({"steps": 0}, "from 1 to 1024"),
        ({"max_evaluations": 8}, "from 9 to 65536"),
        ({"tolerance": 0}, "greater than 0"),
        ({"baseline": ()}, "no baseline"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(InputError, match=message):
        IntegratedGradients(**options)


def test_keeping_everything_is_refused():
    with pytest.raises(InputError, match="keep fewer"):
        attribute(tiny("Llama"), [5], continuation=[40], method="integrated_gradients")


def test_the_answer_can_be_kept():
    found = exact(tiny("Llama"), IntegratedGradients(keep=("sink", "generated"), steps=3)).matrix
    assert found[:, len(PROMPT) :].abs().max() == 0
    assert found[:, 1 : len(PROMPT)].abs().min() > 0
