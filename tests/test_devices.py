"""Models that accelerate offloads or distributes: the numbers of the plain model, and nothing changed afterwards."""

from __future__ import annotations

import re

import accelerate
import pytest
import torch
from builders import model_and_tokenizer
from simulated_devices import distributed
from state import assert_unchanged, model_state

from tokensal import (
    AttentionGradCAM,
    ExtremalPerturbation,
    GradCAM,
    GradientSHAP,
    Hierarchical,
    IntegratedGradients,
    KernelSHAP,
    Occlusion,
    adapt,
    attribute,
    load,
)
from tokensal.errors import UnsupportedModel
from tokensal.methods import METHODS
from tokensal.methods.removal import RemovalMethod

NAMES = ["Llama", "GPT-2", "Gemma 3", "OPT", "T5", "BART", "M2M100"]
# These ask for nothing but the scores of coalitions, as occlusion and KernelSHAP do
SCORED_ALIKE = {name for name, method in METHODS.items() if issubclass(method, RemovalMethod | Hierarchical)} - {
    "occlusion",
    "kernel_shap",
}
FEW = {
    "integrated_gradients": IntegratedGradients(steps=3),
    "gradient_shap": GradientSHAP(samples=3),
    "kernel_shap": KernelSHAP(samples=64),
    "extremal_perturbation": ExtremalPerturbation(steps=2, areas=(0.5,)),
}
METHODS_TRIED = [FEW.get(name, name) for name in METHODS if name not in SCORED_ALIKE]
REFUSED = [("BART", "alti_logit")]  # its layers norm the sum


def to_the_cpu(network, folder):
    return accelerate.cpu_offload(network, execution_device="cpu")


def to_the_disk(network, folder):
    return accelerate.disk_offload(network, folder, execution_device="cpu")


def in_parts(network, folder):
    """Every second layer on the disk, and with them the embeddings and the head; the rest in memory."""
    return accelerate.dispatch_model(network, parts(network), offload_dir=folder)


def parts(network):
    layers = [name for name, _ in network.named_modules() if name.rpartition(".")[2].isdigit() and name.count(".") < 4]
    return {"": "cpu", **dict.fromkeys([*layers[::2], *ends(network)], "disk")}


def ends(network):
    tables = (network.get_input_embeddings(), network.get_output_embeddings())
    return [name for name, module in network.named_modules() if any(module is end for end in tables)]


WAYS = [(name, way) for name in NAMES for way in (to_the_cpu, in_parts)] + [("Llama", to_the_disk), ("T5", to_the_disk)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "way"), WAYS)
def test_numbers_are_those_of_the_plain_model_and_nothing_is_changed(name, way, tmp_path):
    network, coder = model_and_tokenizer(name)
    undispatched = adapt(*model_and_tokenizer(name))
    network.train()
    network.get_submodule(next(iter(parts(network).keys() - {""}))).eval().requires_grad_(False)
    way(network, tmp_path)
    assert any(parameter.is_meta for parameter in network.parameters())
    use(network)
    before = model_state(network)
    adapted = adapt(network, coder)
    for method in METHODS_TRIED:
        if (name, method) in REFUSED:
            continue
        result = attribute(adapted, "The cat sat", method=method, max_new_tokens=3)
        expected = attribute(undispatched, "The cat sat", method=method, max_new_tokens=3)
        assert result.targets == expected.targets
        torch.testing.assert_close(result.scores, expected.scores, equal_nan=True)
        assert_unchanged(before, model_state(network))
    assert result.provenance.device == "cpu"


def use(network):
    """What a user does first: accelerate itself moves tied weights when it first brings them."""
    network.generate(torch.tensor([[5, 6, 7]]), max_new_tokens=2, do_sample=False)
    network.get_input_embeddings()(torch.tensor([5]))


def test_a_table_with_several_hooks_is_found_where_one_of_them_brings_it(tmp_path):
    network, coder = model_and_tokenizer("Llama")
    to_the_cpu(network, tmp_path)
    accelerate.hooks.add_hook_to_module(network.get_input_embeddings(), accelerate.hooks.ModelHook(), append=True)
    assert adapt(network, coder).device == torch.device("cpu")


@pytest.mark.parametrize("replacement", ["mean", "eos"])
def test_baselines_are_looked_up_where_the_table_is_loaded(replacement, tmp_path):
    network, coder = model_and_tokenizer("Llama")
    method = IntegratedGradients(baseline=replacement, steps=3)
    expected = attribute(adapt(network, coder), "The cat", continuation=" sat", method=method)
    result = attribute(adapt(to_the_disk(network, tmp_path), coder), "The cat", continuation=" sat", method=method)
    torch.testing.assert_close(result.scores, expected.scores, equal_nan=True)


def test_after_an_error_nothing_is_changed(tmp_path):
    network, coder = model_and_tokenizer("Llama")
    adapted = adapt(network, coder)
    to_the_cpu(network, tmp_path).train()
    breaking = network.model.layers[1].mlp.register_forward_hook(lambda *_: 1 / 0)
    before = model_state(network)
    with pytest.raises(ZeroDivisionError):
        attribute(adapted, "The cat", continuation=" sat")
    assert_unchanged(before, model_state(network))
    breaking.remove()


def test_a_model_that_ran_in_inference_mode_can_be_attributed(tmp_path):
    network, coder = model_and_tokenizer("Llama")
    expected = attribute(adapt(network, coder), "The cat", continuation=" sat")
    to_the_cpu(network, tmp_path)
    with torch.inference_mode():  # accelerate makes parameters in it, which are not like others
        use(network)
    before = model_state(network)
    result = attribute(adapt(network, coder), "The cat", continuation=" sat")
    torch.testing.assert_close(result.scores, expected.scores, equal_nan=True)
    assert_unchanged(before, model_state(network))


def test_load_spreads_a_folder_by_a_device_map(tmp_path):
    network, coder = model_and_tokenizer("Llama")
    network.save_pretrained(tmp_path)
    coder.save_pretrained(tmp_path)
    places = {
        "model.embed_tokens": "disk",
        "model.layers.0": "cpu",
        "model.layers.1": "disk",
        "model.layers.2": "cpu",
        "model.norm": "cpu",
    }
    loaded = load(tmp_path, device_map={**places, "model.rotary_emb": "cpu", "lm_head": "disk"})
    assert loaded.model.lm_head.weight.is_meta
    result = attribute(loaded, "The cat", continuation=" sat")
    expected = attribute(adapt(network, coder), "The cat", continuation=" sat")
    torch.testing.assert_close(result.scores, expected.scores, equal_nan=True)


def test_offloaded_tables_are_compared_by_what_they_return(tmp_path):
    network, coder = model_and_tokenizer("T5")
    network.encoder.set_input_embeddings(torch.nn.Embedding(*network.shared.weight.shape))
    with pytest.raises(UnsupportedModel, match="tables of their own"):
        adapt(to_the_cpu(network, tmp_path), coder)


# Several devices, simulated: see `simulated_devices.py`. They are XPUs, a type that PyTorch does not treat specially
# here.

FIRST, SECOND = torch.device("xpu:0"), torch.device("xpu:1")
OPTIONS = [
    IntegratedGradients(baseline=["mean", torch.zeros(32)], steps=3),
    Occlusion(replacement="delete"),
    Occlusion(replacement="eos"),
    GradCAM(rule="channel_mean", layers="all"),
    AttentionGradCAM(rule="head_mean", rows="all", layers="all"),
]


def halves(network):
    """The upper layers on a second device, and the head, unless it shares the weights of the embeddings."""
    tied = network.get_output_embeddings().weight is network.get_input_embeddings().weight

    def where(name):
        if name == "lm_head":
            return FIRST if tied else SECOND
        layer = re.search(r"\.(\d)", name)
        return SECOND if (int(layer[1]) > 0 if layer else "norm" in name) else FIRST

    return where


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Llama", "Gemma 3", "FLAN-T5", "BART"])
def test_a_model_on_several_devices_gives_the_numbers_of_one(name):
    network, coder = model_and_tokenizer(name)
    for method in [*METHODS_TRIED, *OPTIONS]:
        if (name, method) in REFUSED:
            continue
        expected = attribute(adapt(network, coder), "The cat sat", continuation=" on", method=method)
        with distributed(network, halves(network)):
            result = attribute(adapt(network, coder), "The cat sat", continuation=" on", method=method)
        torch.testing.assert_close(result.scores, expected.scores, equal_nan=True)
        assert result.provenance.device == str(FIRST)


def test_what_is_on_two_devices_cannot_be_combined():
    with distributed(model_and_tokenizer("Llama")[0], lambda name: FIRST) as places:
        first, second = torch.ones(2, device=FIRST), torch.ones(2, device=SECOND)
        with pytest.raises(AssertionError, match="add: tensors on"):
            first + second
        with pytest.raises(AssertionError, match="__getitem__: tensors on"):
            first[second.long()]
        assert (first + second.to(first)).device == first[torch.tensor([0])].device == places.of(first) == FIRST
