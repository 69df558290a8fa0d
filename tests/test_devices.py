"""Models that accelerate spreads out or offloads: the numbers of the plain model, and nothing changed afterwards."""

from __future__ import annotations

import accelerate
import pytest
import torch
from models import ENCODER_DECODERS, ending_tokenizer, model, tokenizer

from tokensal import IntegratedGradients, adapt, attribute, load
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


WAYS = [to_the_cpu, to_the_disk, in_parts]


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


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
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
