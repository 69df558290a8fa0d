"""Trials of a model: what they refuse, what they let through, and that they are run once."""

from __future__ import annotations

import logging

import pytest
import torch
import transformers as hf
from builders import CONTINUATION, PROMPT, exact_scores
from models import COMMON, CONTEXT, GROUPED, T5, VOCABULARY, ending_tokenizer, model, tokenizer
from test_further import BART

from tokensal import adapt, attribute, load
from tokensal.adapters import trials
from tokensal.errors import InputError, ModelError
from tokensal.errors import UnsupportedModel as Unsupported
from tokensal.methods import AttentionRollout, InputXGradient, Occlusion

SWITCH = {**T5, "num_experts": 2}


def network(config, auto=hf.AutoModelForCausalLM, **options):
    """A model of that configuration with random weights, in float64."""
    return random(auto.from_config(config, **options))


def random(made):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.3)
    return made.eval().double()


def adapted(config, **options):
    return adapt(network(config, **options), tokenizer(), name="odd")


def of_two_halves(config):
    return adapt(network(config, hf.AutoModelForSeq2SeqLM), ending_tokenizer(), name="odd")


@pytest.mark.parametrize(
    "config",
    [
        hf.BertConfig(**COMMON),
        hf.RobertaConfig(**COMMON),
        hf.LlamaConfig(**GROUPED, is_causal=False),
        hf.XLNetConfig(vocab_size=VOCABULARY, d_model=32, n_layer=2, n_head=4, d_inner=48),
    ],
    ids=lambda config: config.model_type,
)
def test_a_model_that_sees_later_tokens_is_refused(config):
    with pytest.raises(Unsupported, match="it is not causal: when the last of 8 tokens changes, an earlier logit is "):
        adapted(config)


def test_a_prompt_that_sees_all_of_itself_is_refused():
    text = {**GROUPED, "model_type": "gemma", "head_dim": 8}
    vision = {
        "model_type": "siglip_vision_model", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 32, "image_size": 28, "patch_size": 14, "projection_dim": 32,
    }  # fmt: skip
    config = hf.PaliGemmaConfig(
        text_config=text, vision_config=vision, image_token_index=VOCABULARY - 1, projection_dim=32, hidden_size=32
    )
    with pytest.raises(Unsupported, match="it is not causal"):
        adapt(random(hf.PaliGemmaForConditionalGeneration(config)), tokenizer())


def test_a_decoder_of_the_same_family_is_not():
    assert adapted(hf.BertConfig(**COMMON, is_decoder=True)).name == "odd"


def test_a_model_with_other_positions_for_ids_than_for_embeddings_is_refused():
    with pytest.raises(Unsupported, match=r"its logits for token ids are \S+ \(in a range of \S+\) from those"):
        adapted(hf.RobertaConfig(**COMMON, is_decoder=True))


def test_attention_weights_of_another_function_are_refused():
    falcon = adapted(hf.FalconConfig(**COMMON, alibi=True))
    exact_scores(falcon, InputXGradient())
    with pytest.raises(Unsupported, match="Load it with attention='eager', so that it answers as it is explained"):
        exact_scores(falcon, AttentionRollout())
    exact_scores(adapted(hf.FalconConfig(**COMMON, alibi=True), attn_implementation="eager"), AttentionRollout())


@pytest.mark.parametrize("change", [1.0, float("nan")])
def test_half_a_percent_is_rounding_in_half_precision_only(change, monkeypatch):
    logits = torch.linspace(-1, 1, 21)
    other = logits.clone()
    other[3] += 0.01 * change
    half = type("adapter", (), {"model": type("model", (), {"dtype": torch.bfloat16})()})
    single = type("adapter", (), {"model": type("model", (), {"dtype": torch.float32})()})
    assert not trials._difference(half, logits, other)
    assert bool(trials._difference(single, logits, other)) is (change == 1.0)  # what is not finite says nothing


@pytest.mark.parametrize(
    "build",
    [
        lambda: adapted(
            hf.Lfm2Config(**GROUPED, layer_types=["conv", "full_attention", "conv"], block_auto_adjust_ff_dim=False)
        ),
        lambda: of_two_halves(hf.SwitchTransformersConfig(**SWITCH)),
        lambda: of_two_halves(hf.NllbMoeConfig(**BART, num_experts=2)),
    ],
    ids=["lfm2", "switch", "nllb-moe"],
)
def test_states_that_a_model_does_not_take_are_not_shared(build):
    odd = build()
    example = odd.example(PROMPT, continuation=CONTINUATION)
    assert odd.original(example).states is None
    drops = exact_scores(odd, Occlusion(keep=[])).matrix
    assert drops[-1, 4].abs() > 1e-6  # an occluded source in the middle still tells


def test_a_model_that_scales_its_input_in_place_leaves_ours_alone():
    ctrl = adapted(hf.CTRLConfig(vocab_size=VOCABULARY, n_positions=CONTEXT, n_embd=32, dff=48, n_layer=2, n_head=4))
    first, second = (exact_scores(ctrl, InputXGradient()).matrix for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    example = ctrl.example(PROMPT, continuation=CONTINUATION)
    before = ctrl.embed(example)
    with torch.no_grad():
        ctrl.original(example)
    torch.testing.assert_close(ctrl.embed(example), before, rtol=0, atol=0)


def test_a_model_that_cannot_be_run_is_refused_with_its_own_words():
    config = hf.FSMTConfig(
        langs=["en", "de"], src_vocab_size=VOCABULARY, tgt_vocab_size=VOCABULARY, d_model=32, encoder_layers=2,
        decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48,
        decoder_ffn_dim=48, max_position_embeddings=CONTEXT,
    )  # fmt: skip
    with pytest.raises(Unsupported, match="FSMTForConditionalGeneration cannot be attributed: to run it on 8 tokens"):
        of_two_halves(config)


def test_trials_are_run_once_for_a_model_and_again_when_it_changes(monkeypatch):
    runs, run = [], trials._run_trials
    monkeypatch.setattr(trials, "_run_trials", lambda *arguments: runs.append(1) or run(*arguments))
    llama = model("Llama")
    adapt(llama, tokenizer())
    adapt(llama, tokenizer())
    assert len(runs) == 1
    llama.set_attn_implementation("eager")
    adapt(llama, tokenizer())
    assert len(runs) == 2


def test_why_states_are_not_shared_is_logged_for_whoever_looks(caplog):
    with caplog.at_level(logging.DEBUG, logger="tokensal"):
        of_two_halves(hf.SwitchTransformersConfig(**SWITCH))
    assert "States of odd are not shared" in caplog.text


# Models inside others


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.compile's own imports
@pytest.mark.parametrize("wrap", [torch.compile, torch.nn.DataParallel, lambda llama: llama.compile() or llama])
def test_a_wrapped_model_is_explained_as_the_model_inside(wrap):
    expected = attribute(adapt(model("Llama"), tokenizer()), PROMPT, continuation=CONTINUATION)
    result = attribute(adapt(wrap(model("Llama")), tokenizer()), PROMPT, continuation=CONTINUATION)
    torch.testing.assert_close(result.scores, expected.scores, equal_nan=True, rtol=0, atol=0)


def test_what_is_no_model_is_refused():
    pipeline = hf.pipeline("text-generation", model=model("Llama"), tokenizer=tokenizer())
    with pytest.raises(InputError, match="of the type TextGenerationPipeline: of a pipeline, adapt"):
        adapt(pipeline, tokenizer())
    with pytest.raises(InputError, match="but is of the type Linear: load one by its name"):
        adapt(torch.nn.Linear(1, 1), tokenizer())


# Adapters of PEFT


@pytest.fixture
def peft():
    return pytest.importorskip("peft")


def lora(peft, kind="CAUSAL_LM", **options):
    targets = ["q", "v"] if kind == "SEQ_2_SEQ_LM" else ["q_proj", "embed_tokens"]
    return peft.LoraConfig(task_type=kind, target_modules=targets, init_lora_weights=False, r=2, **options)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of peft's own calls
@pytest.mark.parametrize(("name", "kind"), [("Llama", "CAUSAL_LM"), ("T5", "SEQ_2_SEQ_LM")])
def test_a_lora_is_explained_as_its_merged_model(peft, name, kind):
    coder = ending_tokenizer() if name == "T5" else tokenizer()
    wrapped = peft.get_peft_model(model(name), lora(peft, kind)).eval().double()
    scores = attribute(adapt(wrapped, coder), "The cat", max_new_tokens=3, method="occlusion").scores
    merged = wrapped.merge_and_unload()
    expected = attribute(adapt(merged, coder), "The cat", max_new_tokens=3, method="occlusion").scores
    torch.testing.assert_close(scores, expected, equal_nan=True)
    plain = attribute(adapt(model(name), coder), "The cat", max_new_tokens=3, method="occlusion").scores
    assert scores.shape != plain.shape or not torch.allclose(scores.nan_to_num(), plain.nan_to_num(), atol=1e-3)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("kind", ["PromptTuningConfig", "PrefixTuningConfig"])
def test_prompts_that_are_no_tokens_are_refused(peft, kind):
    options = getattr(peft, kind)(task_type="CAUSAL_LM", num_virtual_tokens=3)
    with pytest.raises(Unsupported, match="its logits for token ids are"):
        adapt(peft.get_peft_model(model("Llama"), options), tokenizer())


@pytest.mark.filterwarnings("ignore")
def test_a_folder_of_an_adapter_is_loaded_with_its_base(peft, tmp_path):
    base = model("Llama", dtype=torch.float32)
    base.save_pretrained(tmp_path / "base")
    tokenizer().save_pretrained(tmp_path / "base")
    wrapped = peft.get_peft_model(hf.AutoModelForCausalLM.from_pretrained(tmp_path / "base"), lora(peft))
    wrapped.save_pretrained(tmp_path / "adapter")
    scores = attribute(load(tmp_path / "adapter"), "The cat", continuation=" sat").scores
    expected = attribute(adapt(wrapped, tokenizer()), "The cat", continuation=" sat").scores
    torch.testing.assert_close(scores, expected, equal_nan=True)


def test_a_folder_of_an_adapter_without_peft_says_what_is_missing(tmp_path, monkeypatch):
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "gpt2"}')
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"adapter of another model, which needs peft: pip install 'tokensal\[peft\]'"):
        load(tmp_path)
