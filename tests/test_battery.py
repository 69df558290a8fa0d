"""One battery: CHECKS × METHODS × ARCHITECTURES, in float64. The rows are in `battery.py`."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache

import pytest
import torch
from battery import ROWS
from builders import CONTINUATION, PROMPT, exact_scores, tiny, tokenizer_of, tried
from models import ARCHITECTURES, ENCODER_DECODERS, adapter, model
from state import assert_unchanged, user_state

from tokensal import Budget, adapt, attribute
from tokensal.engine import Engine
from tokensal.errors import InputError, UnsupportedModel
from tokensal.methods import METHODS
from tokensal.questions.masks import visible_sources, visible_units
from tokensal.scores import logit
from tokensal.types import Group

EVERYWHERE = [*ARCHITECTURES, *ENCODER_DECODERS]
KINDS = ("Llama", "T5")
LLAMA_MODULES = ("Llama", "Mistral")  # what the twin of LRP replaces

every_row = pytest.mark.parametrize("row", ROWS)
each_kind = pytest.mark.parametrize("name", KINDS)


@cache
def exact(row: str, name: str, rows: int | None = None):
    return exact_scores(tiny(name), ROWS[row].method, budget=Budget(rows=rows))


@cache
def example_of(name: str):
    return tiny(name).example(PROMPT, continuation=CONTINUATION)


def assert_close(scores, expected, example, tolerance=1e-9):
    """Scores (K, S) agree where causality allows them."""
    seen = visible_sources(example)
    torch.testing.assert_close(scores[seen], expected[seen], rtol=tolerance, atol=tolerance, equal_nan=True)


def test_every_method_has_a_row():
    assert {row.method.name for row in ROWS.values()} == set(METHODS)


def exempted(row: str, name: str) -> str | None:
    exempt = ROWS[row].exempt
    if name in ENCODER_DECODERS and "encoder–decoder" in exempt:
        return exempt["encoder–decoder"]
    return exempt.get("other") if name not in LLAMA_MODULES else None


PAIRS = [
    (row, name)
    for row in ROWS
    for name in (EVERYWHERE if ROWS[row].everywhere else KINDS)
    if name not in ROWS[row].refused
]
TWINS = [(row, name) for row, name in PAIRS if ROWS[row].twin is not None and exempted(row, name) is None]
REFUSED = [(row, name) for row in ROWS for name in ROWS[row].refused]
every_pair = pytest.mark.parametrize(("row", "name"), PAIRS)


@pytest.mark.parametrize(("row", "name"), TWINS)
def test_agrees_with_its_slow_twin(row, name):
    plain, example = tiny(name, ROWS[row].attention).model, example_of(name)
    expected = torch.tensor(
        [ROWS[row].twin(plain, example, target) for target in range(len(example.targets))], dtype=torch.float64
    )
    seen = visible_sources(example)
    assert expected.isnan().equal(~seen)
    assert expected[seen].abs().max() > 1e-3  # nothing agrees by being zero
    # transformers' eager attention rounds its softmax to float32
    assert_close(exact(row, name).matrix, expected, example, 1e-8 if ROWS[row].attention == "sdpa" else 1e-5)


@pytest.mark.parametrize(("row", "name"), REFUSED)
def test_a_model_is_refused_in_a_sentence(row, name):
    with pytest.raises(UnsupportedModel, match=r"cannot be .*Choose another method"):
        exact_scores(tiny(name), ROWS[row].method)


@every_pair
def test_what_causality_forbids_is_nothing_and_unsigned_scores_are_not_negative(row, name):
    scores, seen = exact(row, name), visible_sources(example_of(name))
    if ROWS[row].method.name != "occlusion":  # which leaves such cells to their masks
        assert (scores.matrix[~seen].abs() < 1e-12).all()
    looked_at = seen if scores.scored is None else seen & scores.scored
    assert scores.matrix[looked_at].isfinite().all() and scores.matrix[looked_at].any()
    if not ROWS[row].method.signed:
        assert (scores.matrix >= 0).all()


@every_pair
def test_chunks_and_asking_twice_change_no_number(row, name):
    # of one perturbation and one target for each kind of model, of two or three for the others
    pieces, together = exact(row, name, rows=1 if name in KINDS else 40), exact(row, name, rows=10**6)
    again = exact_scores(tiny(name), ROWS[row].method, budget=Budget(rows=10**6))
    assert_close(pieces.matrix, together.matrix, example_of(name), 1e-8)
    assert_close(again.matrix, together.matrix, example_of(name), 1e-12)
    torch.testing.assert_close(pieces.values, together.values, rtol=1e-9, atol=1e-11)


class Scarce:
    """An adapter that has no memory for more than one perturbation at a time."""

    def __init__(self, inner):
        self.inner = inner
        self.failures = 0

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def forward(self, example, perturbed, states=None):
        return self._run(self.inner.forward, example, perturbed, states)

    def states(self, example, perturbed, states=None):
        return self._run(self.inner.states, example, perturbed, states)

    def _run(self, run, example, perturbed, states):
        if len(perturbed) > 1:
            self.failures += 1
            raise torch.OutOfMemoryError("a forced shortage")
        return run(example, perturbed, states)


@each_kind
@every_row
def test_a_shortage_of_memory_changes_no_number(row, name):
    scarce = Scarce(tiny(name))
    scores = ROWS[row].method(example_of(name), Engine(scarce, budget=Budget(rows=10**6)))
    assert_close(scores.matrix, exact(row, name).matrix, example_of(name), 1e-8)


@pytest.mark.parametrize(("row", "name"), [(row, name) for row, name in PAIRS if ROWS[row].linear])
def test_a_group_is_the_sum_of_its_targets(row, name):
    example, adapted = example_of(name), tiny(name)
    method = ROWS[row].method
    groups = torch.tensor([[1.0, 1, 0, 0, 0], [0, 0, 1, 1, 1]], dtype=torch.float64)
    asked = replace(example, groups=(Group((0, 1)), Group((2, 3, 4))))
    grouped = method(asked, Engine(adapted))
    expected = groups @ exact(row, name).matrix
    scored = grouped.scored if grouped.scored is not None else torch.ones(len(example.sources), dtype=torch.bool)
    tolerance = 1e-5 if "MoE" in name or name == "Mixtral" else 1e-8  # routers round their softmax to float32
    torch.testing.assert_close(grouped.matrix[:, scored], expected[:, scored], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("row", "name"), [(row, name) for row, name in PAIRS if ROWS[row].complete])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_the_scores_and_the_constants_add_up_to_the_logit(row, name, attention):
    """Also where biases and norms are not those of an untrained model, in which they are zero and one."""
    network = model(name, dtype=torch.float64, attention=attention)
    with torch.no_grad():
        for parameter_name, parameter in network.named_parameters():
            if "bias" in parameter_name or "norm" in parameter_name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    scores = exact_scores(adapt(network, tokenizer_of(name)), ROWS[row].method, score=logit)
    total, constants, delta = (scores.diagnostics[key].values for key in ("total", "constants", "convergence_delta"))
    torch.testing.assert_close(total, scores.values, rtol=1e-12, atol=1e-12)  # the logit itself
    torch.testing.assert_close(scores.matrix.sum(1) + constants, total, rtol=1e-9, atol=1e-9)
    assert delta.abs().max() < 1e-9 and scores.diagnostics["convergence_delta"].reached.all()
    biased = any("bias" in key for key, _ in network.named_parameters() if "relative" not in key)
    assert (constants.abs() > 1e-3).any() == biased


@pytest.mark.parametrize(("row", "name"), [(row, name) for row, name in PAIRS if ROWS[row].efficient])
def test_the_scores_of_what_a_target_sees_add_up_to_what_it_loses_without_all(row, name):
    method, example, scores = ROWS[row].method, example_of(name), exact(row, name)
    game = method.game(example, Engine(tiny(name)))
    empty, full = game.scores(torch.tensor([[False], [True]]).expand(-1, len(game.players)))
    shares = scores.matrix.where(visible_units(example) & scores.scored, 0)
    torch.testing.assert_close(shares.sum(1), full - empty, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(scores.diagnostics["total"].values, full - empty, rtol=1e-8, atol=1e-8)
    assert scores.diagnostics["convergence_delta"].values.abs().max() < 1e-8 < (full - empty).abs().min()


@each_kind
@every_row
def test_units_are_the_sums_of_their_tokens(row, name):
    method = ROWS[row].method
    whole = attribute(tiny(name), "The cat sat on", continuation=" the mat", method=method, unit="word")
    if not ROWS[row].additive:
        return
    tokens = attribute(tiny(name), "The cat sat on", continuation=" the mat", method=method)
    place = 0
    for unit, scores in zip(whole.sources, whole.scores.T, strict=True):
        parts = tokens.scores[:, place : place + len(unit.ids)]
        torch.testing.assert_close(scores.nan_to_num(), parts.nan_to_num().sum(1), rtol=1e-4, atol=1e-5)
        place += len(unit.ids)
    assert place == len(tokens.sources)


@each_kind
@every_row
def test_a_contrast_is_explained_or_refused_in_a_sentence(row, name):
    asked = {"continuation": CONTINUATION[:2], "contrast": [9, 77, 30], "method": ROWS[row].method}
    if not ROWS[row].contrast:
        with pytest.raises(InputError, match="leave the contrast out"):
            attribute(tiny(name), PROMPT, **asked)
        return
    result = attribute(tiny(name), PROMPT, **asked)
    assert result.scores[result.visible].isfinite().all() and result.scores[result.visible].any()


@each_kind
@every_row
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_works_where_the_user_switched_gradients_off(row, name, mode):
    with mode():
        scores = exact_scores(tiny(name), ROWS[row].method)
    assert_close(scores.matrix, exact(row, name).matrix, example_of(name), 1e-10)


@each_kind
@every_row
@pytest.mark.parametrize("breaking", [False, True])
def test_everything_of_the_users_is_left_as_it_was(row, name, breaking):
    network = model(name, dtype=torch.float32)
    network.train()
    next(network.parameters()).requires_grad_(False)
    user = network, copy.deepcopy(tokenizer_of(name))
    adapted = tried(adapt(*user))
    if breaking:
        network.get_output_embeddings().register_forward_hook(lambda module, inputs, output: 1 // 0)
    before = user_state(*user)
    if breaking:
        with pytest.raises(ZeroDivisionError):
            exact_scores(adapted, ROWS[row].method)
    else:
        exact_scores(adapted, ROWS[row].method)
    assert_unchanged(before, user_state(*user))


@pytest.mark.parametrize(
    ("row", "name"), [(row, name) for row, name in PAIRS if name in ("Llama", "GPT-2", "Gemma 3", "T5", "BART")]
)
def test_half_precision_is_near(row, name):
    example, fine = example_of(name), exact(row, name).matrix
    rough = exact_scores(adapter(name, dtype=torch.bfloat16), ROWS[row].method).matrix
    seen = visible_sources(example) & ~fine.isnan()  # a method that leaves sources alone gives them anything
    assert rough.dtype in (torch.float32, torch.float64)
    assert (rough.double() - fine)[seen].abs().sum() / fine[seen].abs().sum() < 0.25
