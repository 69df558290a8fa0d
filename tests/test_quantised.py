"""Quantised models: accepted where gradients flow, refused in a sentence where they do not, and never moved.

The quantiser is a tiny one of our own, registered as any other, so that transformers marks the models it quantises.
"""

from __future__ import annotations

import json

import pytest
import torch
from models import model, tokenizer
from state import assert_unchanged, model_state
from torch import nn
from transformers.quantizers import auto
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from tokensal import adapt, attribute, load
from tokensal.engine import Engine
from tokensal.errors import InputError, UnsupportedModel
from tokensal.perturbations.inputs import PerturbedInputs
from tokensal.scores import logit

GRADIENT_METHODS = ["gradient", "input_x_gradient", "integrated_gradients", "grad_cam", "attention_grad_cam"]
GRADIENT_METHODS += ["value_x_gradient"]


class Product(torch.autograd.Function):
    """A kernel that dequantises, and its backward with respect to its inputs, as that of bitsandbytes does."""

    @staticmethod
    def forward(ctx, inputs, weight, scale):
        ctx.save_for_backward(weight, scale)
        return inputs @ (weight.to(inputs.dtype) * scale).T

    @staticmethod
    def backward(ctx, gradient):
        weight, scale = ctx.saved_tensors
        return gradient @ (weight.to(gradient.dtype) * scale), None, None


class ForwardOnly(Product):
    @staticmethod
    def backward(ctx, gradient):
        raise NotImplementedError("this kernel is for inference\nand more lines")


class OneAtATime(Product):
    @staticmethod
    def backward(ctx, gradient):
        return torch.from_numpy(gradient.numpy()), None, None


def detached(inputs, weight, scale):
    return Product.apply(inputs.detach(), weight, scale)


KERNELS = {
    "differentiable": Product.apply,
    "forward only": ForwardOnly.apply,
    "one at a time": OneAtATime.apply,
    "detached": detached,
}


class Int8Linear(nn.Module):
    def __init__(self, linear, kernel):
        super().__init__()
        scale = linear.weight.detach().abs().amax(1, keepdim=True) / 127
        self.weight = nn.Parameter((linear.weight.detach() / scale).round().to(torch.int8), requires_grad=False)
        self.register_buffer("scale", scale)
        self.kernel = KERNELS[kernel]

    def forward(self, inputs):
        return self.kernel(inputs, self.weight, self.scale)


@auto.register_quantization_config("tiny_int8")
class TinyConfig(QuantizationConfigMixin):
    def __init__(self, kernel="differentiable", only="proj", **_):
        self.quant_method, self.kernel, self.only = "tiny_int8", kernel, only


@auto.register_quantizer("tiny_int8")
class TinyQuantizer(HfQuantizer):
    requires_calibration = False
    is_trainable = False

    def update_device_map(self, device_map):
        self.requested_map = device_map
        return device_map

    def is_serializable(self):
        return False

    def _process_model_after_weight_loading(self, model, **_):
        quantise(model, self.quantization_config.kernel, self.quantization_config.only)
        model.to = refuse_to_move
        return model


def quantise(network, kernel, only="proj"):
    for name, linear in list(network.named_modules()):
        if isinstance(linear, nn.Linear) and only in name:
            network.set_submodule(name, Int8Linear(linear, kernel))
    return network


def refuse_to_move(*arguments):
    raise ValueError("`.to` is not supported for `tiny_int8` models")


@pytest.fixture
def folder(tmp_path):
    """A function that writes a checkpoint whose configuration asks for the quantiser."""

    def write(**options):
        model("Llama", dtype=torch.float64).save_pretrained(tmp_path)
        tokenizer().save_pretrained(tmp_path)
        path = tmp_path / "config.json"
        quantisation = {"quant_method": "tiny_int8", **options}
        path.write_text(json.dumps({**json.loads(path.read_text()), "quantization_config": quantisation}))
        return tmp_path

    return write


@pytest.mark.parametrize("device", [None, "cpu"])
def test_a_quantised_checkpoint_is_loaded_where_it_stays(folder, device):
    loaded = load(folder(), device=device)
    assert loaded.model.is_quantized
    assert loaded.model.model.layers[0].mlp.up_proj.weight.dtype == torch.int8
    assert loaded.model.hf_quantizer.requested_map == {"": "cpu"}  # loaded there: moving it would have raised
    with pytest.raises(InputError, match=r"'nonsense'.*Try 'cpu'"):
        load(folder(), device="nonsense")


def test_gradients_through_a_kernel_with_a_backward_are_finite_differences():
    adapted = adapt(quantise(model("Llama"), "differentiable"), tokenizer())
    example = adapted.example("The cat sat", continuation=" on the mat")
    result = attribute(adapted, "The cat sat", continuation=" on the mat", method="input_x_gradient", score="logit")
    engine, embeds, step = Engine(adapted, logit), adapted.embed(example), 1e-6
    for source in range(len(embeds)):
        offset = torch.zeros_like(embeds)
        offset[source] = step * embeds[source]
        up, down = engine.scores(example, PerturbedInputs(torch.stack([embeds + offset, embeds - offset])))
        visible = result.visible[:, source]
        slope = ((up - down) / (2 * step)).float()
        torch.testing.assert_close(result.scores[:, source][visible], slope[visible], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", GRADIENT_METHODS)
@pytest.mark.parametrize(
    ("kernel", "only", "reason"),
    [
        ("detached", "proj", "its Int8Linear returns none"),
        ("detached", "up_proj", "its Int8Linear returns none"),  # and the residual stream carries a gradient past it
        ("detached", "lm_head", "its Int8Linear returns none"),
        ("forward only", "proj", "this kernel is for inference"),
        ("one at a time", "proj", "Batching rule"),  # the engine asks for many at once
    ],
)
def test_kernels_without_a_backward_are_refused_in_a_sentence(folder, kernel, only, reason, method):
    adapted = load(folder(kernel=kernel, only=only))
    with pytest.raises(UnsupportedModel) as refused:
        attribute(adapted, "The cat", continuation=" sat", method=method)
    sentence = str(refused.value)
    assert "tiny_int8-quantised 'llama' model" in sentence and reason in sentence and "'occlusion'" in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("method", ["occlusion", "attention", "information_flow_routes", "alti_logit"])
def test_what_needs_no_gradient_works_with_any_kernel(folder, method):
    options = {"method": method, "max_new_tokens": 4}
    expected = attribute(load(folder(kernel="differentiable")), "The cat", **options)
    result = attribute(load(folder(kernel="forward only")), "The cat", **options)
    assert result.targets == expected.targets
    assert torch.equal(result.scores.nan_to_num(), expected.scores.nan_to_num())


def test_a_head_without_a_backward_has_no_direction(folder):
    adapted = load(folder(kernel="forward only", only="lm_head"))
    with pytest.raises(InputError, match="cannot be differentiated: this kernel is for inference"):
        attribute(adapted, "The cat", continuation=" sat", method="alti_logit")


def test_a_model_quantised_by_hand_is_tried_too():
    network = quantise(model("Llama", dtype=torch.float32), "detached", "up_proj")
    with pytest.raises(UnsupportedModel, match="the quantised 'llama' model"):
        attribute(adapt(network, tokenizer()), "The cat", continuation=" sat")


@pytest.mark.parametrize("name", ["BART", "M2M100", "T5", "Gemma 3", "Mixtral"])
def test_modules_that_only_look_at_the_shape_of_embeddings_are_not_to_blame(name):
    network = quantise(model(name, dtype=torch.float32), "differentiable", "1.fc1")
    network.is_quantized = True
    attribute(adapt(network, tokenizer()), "The cat", continuation=" sat")


def test_gradients_are_tried_once(folder):
    adapted = load(folder())
    calls = []
    adapted.model.register_forward_hook(lambda *_: calls.append(1))
    counts = []
    for _ in range(3):
        attribute(adapted, "The cat", continuation=" sat")
        counts.append(len(calls))
        calls.clear()
    assert counts == [2, 1, 1]


def test_nothing_of_the_model_is_changed_by_trying(folder):
    network = load(folder(kernel="forward only")).model.train()
    network.model.norm.weight.requires_grad_(False)
    before = model_state(network)
    with pytest.raises(UnsupportedModel):
        attribute(adapt(network, tokenizer()), "The cat", continuation=" sat")
    assert_unchanged(before, model_state(network))
