"""Architectures beyond those of the battery, each as a tiny model: two oracles that know the plain model alone.

The README lists them as `FURTHER` does. Methods that read layers run, or refuse the model in a sentence.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import transformers as hf
from models import (
    ARCHITECTURES,
    COMMON,
    CONTEXT,
    ENCODER_DECODERS,
    GROUPED,
    T5,
    VOCABULARY,
    ending_tokenizer,
    tokenizer,
)
from test_prefixes import each_alone, removed, table

from tokensal import Budget, adapt
from tokensal.engine import Engine, budget
from tokensal.errors import UnsupportedModel
from tokensal.methods import (
    GIM,
    LRP,
    ALTILogit,
    Attention,
    AttentionGradCAM,
    AttentionRollout,
    DeepLift,
    GradCAM,
    GradientRollout,
    GuidedBackprop,
    InformationFlowRoutes,
    InputXGradient,
    Occlusion,
    ValueXGradient,
    ValueZeroing,
)
from tokensal.scores import logprob

pytestmark = pytest.mark.slow

PROMPT, ANSWER = [5, 40, 41, 7, 40, 99, 12], [40, 33, 200]
README = Path(__file__).resolve().parent.parent / "README.md"

OPENAI = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": CONTEXT}
BART = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": CONTEXT,
    "decoder_start_token_id": 2,
    "pad_token_id": 0,
}

DEEPSEEK = {
    **COMMON, "num_key_value_heads": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
    "moe_intermediate_size": 16, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
    "v_head_dim": 8, "first_k_dense_replace": 1,
}  # fmt: skip

FURTHER = {
    "BERT as decoder": lambda: hf.BertConfig(**COMMON, is_decoder=True),
    "BioGPT": lambda: hf.BioGptConfig(**COMMON),
    "Bloom": lambda: hf.BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=3, n_head=4),
    "CodeGen": lambda: hf.CodeGenConfig(**OPENAI, rotary_dim=4),
    "Cohere": lambda: hf.CohereConfig(**GROUPED),
    "CTRL": lambda: hf.CTRLConfig(**OPENAI, dff=48),
    "DeepSeek-V3": lambda: hf.DeepseekV3Config(**DEEPSEEK),
    "DeepSeek-V3.2": lambda: hf.DeepseekV32Config(**DEEPSEEK, index_n_heads=2, index_head_dim=16, index_topk=64),
    "Falcon": lambda: hf.FalconConfig(**COMMON),
    "Gemma 2": lambda: hf.Gemma2Config(**GROUPED, head_dim=8, sliding_window=4),
    "GPT-J": lambda: hf.GPTJConfig(**OPENAI, rotary_dim=4),
    "GPT-Neo": lambda: hf.GPTNeoConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_layers=2, num_heads=4, window_size=4,
        attention_types=[[["global", "local"], 1]], max_position_embeddings=CONTEXT,
    ),
    "gpt-oss": lambda: hf.GptOssConfig(
        **GROUPED, head_dim=8, num_local_experts=4, num_experts_per_tok=2, sliding_window=4
    ),
    "Granite": lambda: hf.GraniteConfig(**GROUPED),
    "LFM2": lambda: hf.Lfm2Config(**GROUPED, layer_types=["conv", "full_attention", "conv"]),
    "MPT": lambda: hf.MptConfig(vocab_size=VOCABULARY, d_model=32, n_layers=3, n_heads=4, max_seq_len=CONTEXT),
    "OLMo 2": lambda: hf.Olmo2Config(**GROUPED),
    "Phi 3": lambda: hf.Phi3Config(**GROUPED),
    "SmolLM3": lambda: hf.SmolLM3Config(**{**GROUPED, "num_hidden_layers": 4}),
    "StableLM": lambda: hf.StableLmConfig(**GROUPED),
    "XGLM": lambda: hf.XGLMConfig(
        vocab_size=VOCABULARY, d_model=32, num_layers=3, attention_heads=4, ffn_dim=48, max_position_embeddings=CONTEXT
    ),
    "Blenderbot": lambda: hf.BlenderbotConfig(**BART),
    "LongT5": lambda: hf.LongT5Config(**T5, local_radius=3),
    "MVP": lambda: hf.MvpConfig(**BART),
    "NLLB-MoE": lambda: hf.NllbMoeConfig(**BART, num_experts=2),
    "PLBart": lambda: hf.PLBartConfig(**BART),
    "Switch": lambda: hf.SwitchTransformersConfig(**T5, num_experts=2),
    "UMT5": lambda: hf.UMT5Config(**T5),
}  # fmt: skip

METHODS = {
    "lrp": LRP(),
    "lrp, gamma": LRP(gamma=0.3),
    "gim": GIM(),
    "guided_backprop": GuidedBackprop(),
    "deep_lift": DeepLift(),
    "grad_cam": GradCAM(),
    "attention_grad_cam": AttentionGradCAM(),
    "gradient_rollout": GradientRollout(),
    "attention_rollout": AttentionRollout(),
    "value_zeroing": ValueZeroing(),
    "value_zeroing, last": ValueZeroing(layers=-1),
    "value_x_gradient": ValueXGradient(),
    "value_x_gradient, last": ValueXGradient(layers=-1),
    "attention": Attention(),
    "information_flow_routes": InformationFlowRoutes(),
    "alti_logit": ALTILogit(),
}
# The methods that cannot read, or cannot rule, the attention of a model, or what experts it chooses
WEIGHTS = {"attention_grad_cam", "gradient_rollout", "attention_rollout", "attention"}
VALUES = {"value_zeroing", "value_zeroing, last", "value_x_gradient", "value_x_gradient, last"}
PARTS = {"information_flow_routes", "alti_logit"}
RULES = {"lrp", "lrp, gamma", "gim"}
REFUSED = {
    "BERT as decoder": {"alti_logit"},  # its layers norm the sum, as do those of MVP and PLBart
    "LFM2": {"guided_backprop", "grad_cam"} | RULES | WEIGHTS | VALUES | PARTS,  # some layers have no attention
    "XGLM": RULES,
    "LongT5": {"value_zeroing", "value_x_gradient"} | RULES | WEIGHTS | PARTS,
    "MVP": {"alti_logit"} | RULES | WEIGHTS,
    "PLBart": {"alti_logit"},
    "DeepSeek-V3": {"lrp, gamma", "deep_lift"},
    "DeepSeek-V3.2": {"lrp, gamma", "deep_lift"},
    "gpt-oss": {"lrp, gamma", "deep_lift"},
    "Switch": {"deep_lift"},
}

every_further = pytest.mark.parametrize("name", FURTHER)


def build(name):
    config = FURTHER[name]()
    auto = hf.AutoModelForSeq2SeqLM if config.is_encoder_decoder else hf.AutoModelForCausalLM
    torch.manual_seed(0)
    network = auto.from_config(config)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.2)
    network = network.eval()
    return network, adapt(network, ending_tokenizer() if config.is_encoder_decoder else tokenizer(), name=name)


def scores_of(network, example, *, without=None, embeds=None):
    """The log-probability of each target by the plain model, from ids without one source, or from embeddings."""
    ids = torch.tensor([token.id for token in example.sources])
    predictors = torch.tensor(example.predictors) - example.encoder
    keep = torch.ones(len(ids), dtype=torch.bool)
    if without is not None:
        keep[without] = False
        predictors = predictors - int(without >= example.encoder)
    first, last = slice(0, example.encoder), slice(example.encoder, None)
    given = ids if embeds is None else embeds
    inputs = {"input_ids" if embeds is None else "inputs_embeds": given[last][keep[last]][None]}
    if example.encoder:
        inputs = {f"decoder_{key}": value for key, value in inputs.items()}
        inputs["input_ids" if embeds is None else "inputs_embeds"] = given[first][keep[first]][None]
    logits = network(**inputs).logits[0, predictors]
    return logits.log_softmax(-1)[range(len(predictors)), [token.id for token in example.targets]]


@every_further
def test_occlusion_is_that_of_the_plain_model_without_the_token(name):
    network, adapted = build(name)
    example = adapted.example(PROMPT, continuation=ANSWER)
    matrix = Occlusion(replacement="delete", keep=[])(example, Engine(adapted, logprob)).matrix
    with torch.no_grad():
        before = scores_of(network, example)
        for source in range(min(6, example.encoder or 6)):  # before the first predictor
            drop = before - scores_of(network, example, without=source)
            torch.testing.assert_close(matrix[:, source], drop.double(), rtol=1e-3, atol=1e-4)


@every_further
def test_coalitions_have_the_scores_of_each_alone(name, monkeypatch):
    """Whether states are shared and masked sources skipped is tried with each model: MPT, say, skips none."""
    monkeypatch.setattr(budget, "CPU_FIXED", 0)
    _, adapted = build(name)
    example = adapted.example(PROMPT, continuation=ANSWER)
    absent = table(example, rows=8)
    absent[:, 0] = False
    scores = Engine(adapted, logprob).scores(example, removed(adapted, example, absent))
    torch.testing.assert_close(scores, each_alone(adapted, example, absent), rtol=1e-4, atol=1e-4)


@every_further
def test_gradients_are_those_of_the_plain_model(name):
    network, adapted = build(name)
    example = adapted.example(PROMPT, continuation=ANSWER)
    matrix = InputXGradient()(example, Engine(adapted, logprob)).matrix
    embeds = adapted.embed(example).detach().requires_grad_()
    values = scores_of(network, example, embeds=embeds * getattr(adapted, "_scale", 1.0))
    for target, value in enumerate(values):
        [gradient] = torch.autograd.grad(value, embeds, retain_graph=True)
        torch.testing.assert_close(matrix[target], (gradient * embeds).sum(-1), rtol=1e-3, atol=1e-4)


@every_further
def test_graphs_are_rebuilt_layer_by_layer(name):
    _, adapted = build(name)
    assert adapted.rebuilds == (name != "LFM2")  # whose layers cannot be read
    example = adapted.example(PROMPT, continuation=ANSWER)
    for method in (InputXGradient(), GradCAM()) if adapted.rebuilds else ():
        plain, rebuilt = (
            method(example, Engine(adapted, budget=Budget(rebuild=rebuild))).matrix for rebuild in (False, True)
        )
        assert plain.any()
        torch.testing.assert_close(rebuilt, plain, rtol=1e-3, atol=1e-5)


@every_further
def test_methods_of_layers_run_or_refuse_the_model(name):
    _, adapted = build(name)
    example, engine = adapted.example(PROMPT, continuation=ANSWER), Engine(adapted, logprob)
    refusals = {}
    for key, method in METHODS.items():
        try:
            scores = method(example, engine)
        except UnsupportedModel as error:
            refusals[key] = str(error)
        else:
            assert scores.matrix.isfinite().all()
            assert all(entry.reached.all() for entry in scores.diagnostics.values()), key
    assert set(refusals) == REFUSED.get(name, set())
    for sentence in refusals.values():
        assert re.search(r"cannot be (read|applied|reached).*(Choose|choose|Load)", sentence)


def test_the_readme_lists_what_is_run():
    text = README.read_text()
    [table] = re.findall(r"<!-- architectures -->\n(.*?)<!-- end -->", text, re.DOTALL)
    assert re.findall(r"\*\*(.+?)\*\*", table) == [*ARCHITECTURES, *ENCODER_DECODERS]
    [further] = re.findall(r"<!-- further -->\n(.*?)<!-- end -->", text, re.DOTALL)
    assert [name.strip() for name in further.replace("\n", " ").strip(" .").split("·")] == list(FURTHER)
