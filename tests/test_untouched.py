"""Nothing of the user's is changed: after success and after an error, whatever the state of the model was."""

from __future__ import annotations

import copy

import pytest
import torch
from builders import tiny
from models import model, tokenizer
from state import assert_unchanged, user_state

from tokensal import adapt, attribute
from tokensal.errors import InputError, NonFiniteScores


@pytest.fixture
def user():
    """A model that its user is training: partly frozen, with gradients and hooks of its own; and a tokenizer."""
    network, coder = model("Llama", dtype=torch.float32), copy.deepcopy(tokenizer())
    network.train()
    network.model.layers[0].eval()
    network.model.embed_tokens.weight.requires_grad_(False)
    network.lm_head.weight.grad = torch.ones_like(network.lm_head.weight)
    network.lm_head.register_forward_pre_hook(lambda head, inputs: None)
    coder.backend_tokenizer.enable_truncation(5)
    coder.backend_tokenizer.enable_padding(length=9)
    coder.padding_side = "left"
    return network, coder


def test_after_success(user):
    network, coder = user
    before = user_state(network, coder)
    adapted = adapt(network, coder)
    attribute(adapted, "The cat sat on the mat", method="input_x_gradient", max_new_tokens=3)
    attribute(
        adapted, messages=[{"role": "user", "content": "The cat"}], generation={"do_sample": True}, max_new_tokens=3
    )
    attribute(adapted, "The dog", continuation=" sat", method="gradient")
    assert_unchanged(before, user_state(network, coder))


def test_a_prompt_is_not_truncated_by_what_the_user_enabled(user):
    assert len(adapt(*user).example("The cat sat on the mat and the dog", continuation=" sat").sources) > 5


@pytest.mark.parametrize("stage", ["forward", "backward", "generate"])
def test_after_an_error(user, stage, monkeypatch):
    network, coder = user
    adapted = adapt(network, coder)
    breaking = network.model.layers[1].mlp.register_forward_hook(_broken(stage))
    before = user_state(network, coder)
    with pytest.raises(ZeroDivisionError):
        attribute(adapted, "The cat sat", **({} if stage == "generate" else {"continuation": " on the mat"}))
    assert_unchanged(before, user_state(network, coder))
    breaking.remove()


def _broken(stage):
    def backward(gradient):
        raise ZeroDivisionError

    def hook(module, inputs, output):
        if stage != "backward":
            raise ZeroDivisionError
        output.register_hook(backward)

    return hook


def test_after_scores_that_are_not_finite(user):
    network, coder = user
    with torch.no_grad():
        network.lm_head.weight[7] = float("inf")
    before = user_state(network, coder)
    with pytest.raises(NonFiniteScores):
        attribute(adapt(network, coder), "The cat", continuation=" sat")
    assert_unchanged(before, user_state(network, coder))


def test_after_bad_input(user):
    network, coder = user
    before = user_state(network, coder)
    with pytest.raises(InputError):
        attribute(adapt(network, coder), "word " * 100)
    assert_unchanged(before, user_state(network, coder))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_works_where_the_user_switched_gradients_off(mode):
    adapted = tiny("Llama")
    expected = attribute(adapted, "The cat", continuation=" sat", method="input_x_gradient")
    with mode():
        result = attribute(adapted, "The cat", continuation=" sat", method="input_x_gradient")
    torch.testing.assert_close(result.scores, expected.scores, equal_nan=True)


def test_dropout_is_off_while_attributing():
    network = model("GPT-2", dtype=torch.float32)
    network.train()
    adapted = adapt(network, tokenizer())
    results = [attribute(adapted, "The cat sat", continuation=" on") for _ in range(2)]
    assert torch.equal(results[0].values, results[1].values)
    assert network.training


def test_sampling_follows_its_seed_and_leaves_the_generator_alone():
    adapted = tiny("Llama")
    options = {"generation": {"do_sample": True}, "max_new_tokens": 8}
    first = attribute(adapted, "The cat", seed=3, **options)
    again = attribute(adapted, "The cat", seed=3, **options)
    other = attribute(adapted, "The cat", seed=4, **options)
    fresh = attribute(adapted, "The cat", **options)
    assert first.targets == again.targets != other.targets
    replayed = attribute(adapted, "The cat", seed=fresh.provenance.seed, **options)
    assert fresh.targets == replayed.targets  # a seed that was drawn is recorded, and gives the same again
