"""Models that accelerate offloads or spreads out: the numbers of the plain model, and nothing changed afterwards."""

from __future__ import annotations

import accelerate
import pytest
import torch
from models import ENCODER_DECODERS, ending_tokenizer, model, tokenizer
from simulated_devices import spread

from tokensal import AttentionGradCAM, GradCAM, IntegratedGradients, Occlusion, adapt, attribute, load
from tokensal.errors import UnsupportedModel
from tokensal.methods import METHODS

NAMES = ["Llama", "GPT-2", "Gemma 3", "OPT", "T5", "BART", "M2M100"]
METHODS_TRIED = [name for name in METHODS if name != "integrated_gradients"] + [IntegratedGradients(steps=3)]


def to_the_cpu(made, folder):
    return accelerate.cpu_offload(made, execution_device="cpu")


def to_the_disk(made, folder):
    return accelerate.disk_offload(made, folder, execution_device="cpu")


def in_parts(made, folder):
    """Every second layer on the disk, and with them the embeddings and the head; the rest in memory."""
    return accelerate.dispatch_model(made, parts(made), offload_dir=folder)


def parts(made):
    layers = [name for name, _ in made.named_modules() if name.rpartition(".")[2].isdigit() and name.count(".") < 4]
    return {"": "cpu", **dict.fromkeys([*layers[::2], *ends(made)], "disk")}


def ends(made):
    wanted = (made.get_input_embeddings(), made.get_output_embeddings())
    return [name for name, module in made.named_modules() if any(module is one for one in wanted)]


WAYS = [(name, way) for name in NAMES for way in (to_the_cpu, in_parts)] + [("Llama", to_the_disk), ("T5", to_the_disk)]


def plain(name):
    return model(name, dtype=torch.float32), ending_tokenizer() if name in ENCODER_DECODERS else tokenizer()


def state(made):
    """What of a dispatched model a user could miss. (The parameters themselves come and go whenever it runs.)"""
    named = made.named_parameters(remove_duplicate=False)
    return {
        "parameters": [(name, given.device, given.dtype, given.shape, given.requires_grad) for name, given in named],
        "buffers": [(name, given.device) for name, given in made.named_buffers()],
        "training": [module.training for module in made.modules()],
        "forward": [module.forward for module in made.modules()],
        "accelerate": [getattr(module, "_hf_hook", None) for module in made.modules()],
        "hooks": [(len(m._forward_pre_hooks), len(m._forward_hooks), len(m._backward_hooks)) for m in made.modules()],
        "attention": made.config._attn_implementation,
    }


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_numbers_are_those_of_the_plain_model_and_nothing_is_changed(name, way, tmp_path):
    made, coder = plain(name)
    expected = adapt(*plain(name))
    made.train()
    made.get_submodule(next(iter(parts(made).keys() - {""}))).eval().requires_grad_(False)
    way(made, tmp_path)
    assert any(parameter.is_meta for parameter in made.parameters())
    use(made)
    before = state(made)
    adapted = adapt(made, coder)
    for method in METHODS_TRIED:
        found = attribute(adapted, "The cat sat", method=method, max_new_tokens=3)
        wanted = attribute(expected, "The cat sat", method=method, max_new_tokens=3)
        assert found.targets == wanted.targets
        torch.testing.assert_close(found.scores, wanted.scores, equal_nan=True)
        assert state(made) == before, method
    assert found.provenance.device == "cpu"


def use(made):
    """What a user does first: accelerate itself moves tied weights when it first brings them."""
    made.generate(torch.tensor([[5, 6, 7]]), max_new_tokens=2, do_sample=False)
    made.get_input_embeddings()(torch.tensor([5]))


def test_a_table_with_several_hooks_is_found_where_one_of_them_brings_it(tmp_path):
    made, coder = plain("Llama")
    to_the_cpu(made, tmp_path)
    accelerate.hooks.add_hook_to_module(made.get_input_embeddings(), accelerate.hooks.ModelHook(), append=True)
    assert adapt(made, coder).device == torch.device("cpu")


@pytest.mark.parametrize("replacement", ["mean", "eos"])
def test_references_are_looked_up_where_the_table_is_brought(replacement, tmp_path):
    made, coder = plain("Llama")
    method = IntegratedGradients(baseline=replacement, steps=3)
    expected = attribute(adapt(made, coder), "The cat", continuation=" sat", method=method)
    found = attribute(adapt(to_the_disk(made, tmp_path), coder), "The cat", continuation=" sat", method=method)
    torch.testing.assert_close(found.scores, expected.scores, equal_nan=True)


def test_after_an_error_nothing_is_changed(tmp_path):
    made, coder = plain("Llama")
    to_the_cpu(made, tmp_path).train()
    breaking = made.model.layers[1].mlp.register_forward_hook(lambda *_: 1 / 0)
    before = state(made)
    with pytest.raises(ZeroDivisionError):
        attribute(adapt(made, coder), "The cat", continuation=" sat")
    breaking.remove()
    assert state(made) == {**before, "hooks": state(made)["hooks"]}


def test_a_model_that_ran_in_inference_mode_can_be_attributed(tmp_path):
    made, coder = plain("Llama")
    expected = attribute(adapt(made, coder), "The cat", continuation=" sat")
    to_the_cpu(made, tmp_path)
    with torch.inference_mode():  # accelerate makes parameters in it, which are not like others
        use(made)
    before = state(made)
    found = attribute(adapt(made, coder), "The cat", continuation=" sat")
    torch.testing.assert_close(found.scores, expected.scores, equal_nan=True)
    assert state(made) == before


def test_load_spreads_a_folder_by_a_device_map(tmp_path):
    made, coder = plain("Llama")
    made.save_pretrained(tmp_path)
    coder.save_pretrained(tmp_path)
    places = {"model.embed_tokens": "disk", "model.layers.0": "cpu", "model.layers.1": "disk", "model.norm": "cpu"}
    spread = load(tmp_path, device_map={**places, "model.rotary_emb": "cpu", "lm_head": "disk"})
    assert spread.model.lm_head.weight.is_meta
    found = attribute(spread, "The cat", continuation=" sat")
    expected = attribute(adapt(made, coder), "The cat", continuation=" sat")
    torch.testing.assert_close(found.scores, expected.scores, equal_nan=True)


def test_offloaded_tables_are_compared_by_what_they_return(tmp_path):
    made, coder = plain("T5")
    made.encoder.set_input_embeddings(torch.nn.Embedding(*made.shared.weight.shape))
    with pytest.raises(UnsupportedModel, match="tables of their own"):
        adapt(to_the_cpu(made, tmp_path), coder)


# Several devices, simulated: see `places`. They are named for a kind that no other part of PyTorch asks about here.

FIRST, SECOND = torch.device("xpu:0"), torch.device("xpu:1")
OPTIONS = [
    IntegratedGradients(baseline=["mean", torch.zeros(32)], steps=3),
    Occlusion(replacement="delete"),
    Occlusion(replacement="eos"),
    GradCAM(rule="channel_mean", layers="all"),
    AttentionGradCAM(rule="head_mean", rows="all", layers="all"),
]


def halves(made):
    """The upper layers on a second device, and the head, unless it shares the weights of the embeddings."""
    tied = made.get_output_embeddings().weight is made.get_input_embeddings().weight

    def where(name):
        if name == "lm_head":
            return FIRST if tied else SECOND
        return SECOND if ".1" in name or (".0" not in name and "norm" in name) else FIRST

    return where


@pytest.mark.parametrize("name", ["Llama", "Gemma 3", "FLAN-T5", "BART"])
def test_a_model_on_several_devices_gives_the_numbers_of_one(name):
    made, coder = plain(name)
    for method in [*METHODS, *OPTIONS]:
        expected = attribute(adapt(made, coder), "The cat sat", continuation=" on", method=method)
        with spread(made, halves(made)):
            found = attribute(adapt(made, coder), "The cat sat", continuation=" on", method=method)
        torch.testing.assert_close(found.scores, expected.scores, equal_nan=True)
        assert found.provenance.device == str(FIRST)


def test_what_is_on_two_devices_cannot_be_combined():
    with spread(plain("Llama")[0], lambda name: FIRST) as places:
        here, there = torch.ones(2, device=FIRST), torch.ones(2, device=SECOND)
        with pytest.raises(AssertionError, match="add: tensors on"):
            here + there
        with pytest.raises(AssertionError, match="__getitem__: tensors on"):
            here[there.long()]
        assert (here + there.to(here)).device == here[torch.tensor([0])].device == places.of(here) == FIRST
