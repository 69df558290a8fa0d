"""Whatever a caller switched on for PyTorch as a whole, and whoever uses the model meanwhile: the numbers stay."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest
import torch
from builders import CONTINUATION, PROMPT, model_and_tokenizer

from tokensal import (
    LRP,
    Budget,
    ExtremalPerturbation,
    GradientSHAP,
    Hierarchical,
    IntegratedGradients,
    KernelSHAP,
    SmoothGrad,
    VarGrad,
    adapt,
    attribute,
    compare,
)
from tokensal.errors import UnsupportedModel
from tokensal.methods import METHODS
from tokensal.methods.removal import RemovalMethod

# These ask for nothing but the scores of coalitions, as occlusion and KernelSHAP do
SCORED_ALIKE = {name for name, method in METHODS.items() if issubclass(method, RemovalMethod | Hierarchical)} - {
    "occlusion",
    "kernel_shap",
}
FEW = {
    "integrated_gradients": IntegratedGradients(steps=4),
    "smooth_grad": SmoothGrad(samples=3),
    "var_grad": VarGrad(samples=3),
    "gradient_shap": GradientSHAP(samples=3),
    "kernel_shap": KernelSHAP(replacement="zero", samples=64),
    "extremal_perturbation": ExtremalPerturbation(steps=2, areas=(0.5,)),
}
METHODS_TRIED = [*(FEW.get(name, name) for name in METHODS if name not in SCORED_ALIKE), LRP(rule="attn")]


@contextmanager
def default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def default_device():
    torch.set_default_device("meta")  # where no number can come from
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


SURROUNDINGS = {
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "default dtype": default_dtype,
    "default device": default_device,
    "deterministic": deterministic,
    "inference mode": torch.inference_mode,
    "no grad": torch.no_grad,
}


def explained(adapted, method, **options):
    return attribute(
        adapted, PROMPT, continuation=CONTINUATION, method=method, budget=Budget(memory=2**28), **options
    ).scores


@pytest.mark.parametrize("name", ["Llama", "T5"])
@pytest.mark.parametrize("surroundings", SURROUNDINGS)
def test_what_a_caller_switched_on_reaches_no_number(name, surroundings):
    adapted = adapt(*model_and_tokenizer(name))
    for method in METHODS_TRIED:
        expected = explained(adapted, method)
        with SURROUNDINGS[surroundings]():
            scores = explained(adapted, method)
        torch.testing.assert_close(scores, expected, rtol=0, atol=0, equal_nan=True, msg=str(method))


def test_a_training_model_is_explained_in_evaluation_mode():
    network, coder = model_and_tokenizer("GPT-2")
    expected = explained(adapt(network, coder), "input_x_gradient")
    network.train()
    torch.testing.assert_close(explained(adapt(network, coder), "input_x_gradient"), expected, equal_nan=True)
    assert network.training


def test_a_comparison_adds_up_under_another_default_device():
    adapted = adapt(*model_and_tokenizer("Llama"))
    methods = ["gradient", "occlusion"]
    expected = compare(adapted, PROMPT, continuation=CONTINUATION, methods=methods).agreement()
    with default_device():
        agreement = compare(adapted, PROMPT, continuation=CONTINUATION, methods=methods).agreement()
    torch.testing.assert_close(agreement, expected, rtol=0, atol=0)


def test_weights_of_inference_mode_take_part_in_no_gradient():
    with torch.inference_mode():
        network, coder = model_and_tokenizer("Llama")
    adapted = adapt(network, coder)
    with pytest.raises(UnsupportedModel, match=r"made in torch.inference_mode\(\), take part in none: load the model"):
        explained(adapted, "input_x_gradient")
    expected = explained(adapt(*model_and_tokenizer("Llama")), "occlusion")
    torch.testing.assert_close(explained(adapted, "occlusion"), expected, equal_nan=True)


# Several at once


def test_two_threads_explain_one_model():
    network, coder = model_and_tokenizer("Llama")
    network.train()
    pair = [adapt(network, coder), adapt(network, coder)]
    methods = ["input_x_gradient", "attention_rollout", "lrp", "occlusion"]
    expected = {method: explained(pair[0], method) for method in methods}
    scores: dict[tuple[int, int, str], torch.Tensor] = {}

    def work(number):
        for turn in range(3):
            for method in methods[number:] + methods[:number]:
                scores[number, turn, method] = explained(pair[number], method)

    threads = [threading.Thread(target=work, args=[number]) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(scores) == 24
    for (_, _, method), result in scores.items():
        torch.testing.assert_close(result, expected[method], rtol=0, atol=0, equal_nan=True, msg=method)
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("method", ["input_x_gradient", "attention_rollout", "lrp", "value_zeroing", "grad_cam"])
def test_a_forward_of_another_thread_is_the_plain_model(method):
    network, coder = model_and_tokenizer("Llama")
    adapted, ids = adapt(network, coder), torch.tensor([PROMPT])
    with torch.no_grad():
        expected = network(input_ids=ids).logits
    explained(adapted, method)
    outputs, busy = [], []

    def forward_of_another_thread(module, inputs, output):
        if busy or threading.current_thread() is not threading.main_thread():
            return
        busy.append(1)

        def work():
            with torch.no_grad():
                outputs.append(network(input_ids=ids).logits)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        busy.clear()

    network.model.layers[0].mlp.register_forward_hook(forward_of_another_thread)
    explained(adapted, method)
    assert outputs
    for logits in outputs:
        torch.testing.assert_close(logits, expected)


@pytest.mark.parametrize("method", ["input_x_gradient", "attention_rollout", "lrp", "value_zeroing", "grad_cam"])
def test_progress_may_explain_the_same_model(method):
    adapted = adapt(*model_and_tokenizer("Llama"))
    expected, inner = explained(adapted, method), []

    def progress(done, total):
        if not inner:
            inner.append(None)
            inner[0] = explained(adapted, method)

    outer = attribute(
        adapted, PROMPT, continuation=CONTINUATION, method=method, progress=progress, budget=Budget(memory=2**28)
    )
    torch.testing.assert_close(outer.scores, expected, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(inner[0], expected, rtol=0, atol=0, equal_nan=True)


def test_a_model_is_tried_without_what_a_caller_switched_on():
    network, coder = model_and_tokenizer("Llama")
    states = []
    network.register_forward_hook(
        lambda *_: states.append((torch.is_autocast_enabled("cpu"), torch.get_default_device()))
    )
    with torch.autocast("cpu", torch.bfloat16), default_device():
        adapt(network, coder)
    assert states and set(states) == {(False, torch.device("cpu"))}
