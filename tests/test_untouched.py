"""Nothing of the user's is changed: after success, after an error, in whatever state it was."""

from __future__ import annotations

import copy

import pytest
import torch
from models import model, tokenizer

from tokensal import adapt, attribute
from tokensal.errors import InputError, NonFiniteScores


def state(made, coder):
    """Everything about a model and a tokenizer that tokensal could have changed."""
    return {
        "requires_grad": [parameter.requires_grad for parameter in made.parameters()],
        "grad": [None if parameter.grad is None else parameter.grad.clone() for parameter in made.parameters()],
        "weights": [parameter.clone() for parameter in made.parameters()],
        "training": [module.training for module in made.modules()],
        "hooks": [(len(m._forward_pre_hooks), len(m._forward_hooks), len(m._backward_hooks)) for m in made.modules()],
        "forward": [module.forward.__func__ for module in made.modules()],
        "config": copy.deepcopy(made.config.to_dict()),
        "attention": made.config._attn_implementation,
        "generation": made.generation_config.to_dict(),
        "tokenizer": coder.backend_tokenizer.to_str(),
        "tokenizer options": {key: str(value) for key, value in coder.init_kwargs.items()},
        "padding side": coder.padding_side,
        "rng": torch.get_rng_state(),
        "grad mode": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
    }


@pytest.fixture
def user():
    """A model in the middle of its user's work: training, partly frozen, with gradients and hooks of its own."""
    made, coder = model("Llama", dtype=torch.float32), copy.deepcopy(tokenizer())
    made.train()
    made.model.layers[0].eval()
    made.model.embed_tokens.weight.requires_grad_(False)
    made.lm_head.weight.grad = torch.ones_like(made.lm_head.weight)
    made.lm_head.register_forward_pre_hook(lambda head, inputs: None)
    coder.backend_tokenizer.enable_truncation(5)
    coder.backend_tokenizer.enable_padding(length=9)
    coder.padding_side = "left"
    return made, coder


def same(before, after):
    for name, value in before.items():
        pairs = zip(value, after[name], strict=True) if isinstance(value, list) else [(value, after[name])]
        for old, new in pairs:
            assert torch.equal(old, new) if isinstance(old, torch.Tensor) else old == new, name


def test_after_success(user):
    made, coder = user
    before = state(made, coder)
    adapted = adapt(made, coder)
    attribute(adapted, "The cat sat on the mat", method="input_x_gradient", max_new_tokens=3)
    attribute(
        adapted, messages=[{"role": "user", "content": "The cat"}], generation={"do_sample": True}, max_new_tokens=3
    )
    attribute(adapted, "The dog", continuation=" sat", method="gradient")
    same(before, state(made, coder))


def test_a_prompt_is_not_truncated_by_what_the_user_enabled(user):
    assert len(adapt(*user).example("The cat sat on the mat and the dog", continuation=" sat").sources) > 5


@pytest.mark.parametrize("stage", ["forward", "backward", "generate"])
def test_after_an_error(user, stage, monkeypatch):
    made, coder = user
    adapted = adapt(made, coder)
    breaking = made.model.layers[1].mlp.register_forward_hook(_broken(stage))
    before = state(made, coder)
    with pytest.raises(ZeroDivisionError):
        attribute(adapted, "The cat sat", **({} if stage == "generate" else {"continuation": " on the mat"}))
    same(before, state(made, coder))
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
    made, coder = user
    with torch.no_grad():
        made.lm_head.weight[7] = float("inf")
    before = state(made, coder)
    with pytest.raises(NonFiniteScores):
        attribute(adapt(made, coder), "The cat", continuation=" sat")
    after = state(made, coder)
    same(before, after)


def test_after_bad_input(user):
    made, coder = user
    before = state(made, coder)
    with pytest.raises(InputError):
        attribute(adapt(made, coder), "word " * 100)
    same(before, state(made, coder))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_works_where_the_user_switched_gradients_off(mode):
    adapted = adapt(model("Llama"), tokenizer())
    expected = attribute(adapted, "The cat", continuation=" sat", method="input_x_gradient")
    with mode():
        found = attribute(adapted, "The cat", continuation=" sat", method="input_x_gradient")
    torch.testing.assert_close(found.scores, expected.scores, equal_nan=True)


def test_dropout_is_off_while_attributing():
    made = model("GPT-2", dtype=torch.float32)
    made.train()
    adapted = adapt(made, tokenizer())
    results = [attribute(adapted, "The cat sat", continuation=" on") for _ in range(2)]
    assert torch.equal(results[0].values, results[1].values)
    assert made.training


def test_sampling_follows_its_seed_and_leaves_the_generator_alone():
    adapted = adapt(model("Llama"), tokenizer())
    options = {"generation": {"do_sample": True}, "max_new_tokens": 8}
    first = attribute(adapted, "The cat", seed=3, **options)
    again = attribute(adapted, "The cat", seed=3, **options)
    other = attribute(adapted, "The cat", seed=4, **options)
    fresh = attribute(adapted, "The cat", **options)
    assert first.targets == again.targets != other.targets
    replayed = attribute(adapted, "The cat", seed=fresh.provenance.seed, **options)
    assert fresh.targets == replayed.targets  # a seed that was drawn is recorded, and gives the same again
