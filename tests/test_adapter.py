"""From prompts to examples: ids are the truth, text is for showing, boundaries are indices into ids."""

from __future__ import annotations

import pytest
import torch
import transformers as hf
from models import CONTEXT, adapter, model, tokenizer

from tokensal import adapt
from tokensal.adapters.tokens import read
from tokensal.errors import InputError, UnsupportedModel
from tokensal.types import Role

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "The cat?"}]


# Tokens


@pytest.mark.parametrize(
    "text", ["The cat sat.", " leading", "tabs\tand\n\nlines ", "Café 🙂 naïve 東京", "👩‍👩‍👧 family", "שלום العربية"]
)
def test_tokens_spell_the_text(text):
    ids = tokenizer()(text)["input_ids"]
    shown, tokens = read(tokenizer(), ids, [Role.PROMPT] * 2 + [Role.GENERATED] * (len(ids) - 2))
    assert shown == text
    assert [token.id for token in tokens] == ids
    assert "".join(token.text for token in tokens) == text
    assert all(text[token.start : token.stop] == token.text for token in tokens if token.text)
    assert [token.role for token in tokens] == [Role.PROMPT] * 2 + [Role.GENERATED] * (len(ids) - 2)


def test_tokens_that_split_a_character_share_its_span():
    ids = tokenizer()("a🙂b")["input_ids"]
    assert len(ids) == 6  # a, four bytes, b
    _, tokens = read(tokenizer(), ids, [Role.PROMPT] * 6)
    assert [(token.text, token.start, token.stop) for token in tokens] == [
        ("a", 0, 1), ("🙂", 1, 2), ("", 1, 2), ("", 1, 2), ("", 1, 2), ("b", 2, 3),
    ]  # fmt: skip


def test_a_broken_character_does_not_swallow_its_neighbours():
    ids = tokenizer()("a🙂 cat")["input_ids"]
    text, tokens = read(
        tokenizer(), [*ids[:3], *ids[5:]], [Role.PROMPT] * (len(ids) - 2)
    )  # half of the face is missing
    assert text == "a� cat"
    assert tokens[0].text == "a"
    assert "".join(token.text for token in tokens[3:]) == " cat"
    text, tokens = read(tokenizer(), ids[:3], [Role.PROMPT] * 3)  # and so when nothing follows
    assert text == "a�"
    assert len(tokens) == 3


def test_special_tokens_are_marked_and_shown():
    ids = [1, *tokenizer()("cat")["input_ids"], 2]
    text, tokens = read(tokenizer(), ids, [Role.PROMPT] * len(ids))
    assert text == "<|start|>cat<|end|>"
    assert [token.special for token in tokens] == [True, *[False] * (len(ids) - 2), True]


def test_sentencepiece_like_tokenizers_keep_their_spaces():
    from tokenizers import Tokenizer, decoders, models, normalizers

    vocabulary = ["<unk>", "▁The", "▁cat", "s", "▁", "<0xF0>", "<0x9F>", "<0x99>", "<0x82>"]
    backend = Tokenizer(
        models.BPE(vocab={piece: id for id, piece in enumerate(vocabulary)}, merges=[], byte_fallback=True)
    )
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    fast = hf.PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    text, tokens = read(fast, [1, 2, 3, 4, 5, 6, 7, 8, 2], [Role.PROMPT] * 9)
    assert text == "The cats 🙂 cat"
    assert [token.text for token in tokens] == ["The", " cat", "s", " ", "🙂", "", "", "", " cat"]


# Examples


def test_the_boundary_is_an_index_into_ids():
    example = adapter().example("The cat", continuation=" sat on")
    prompt, answer = tokenizer()("The cat")["input_ids"], tokenizer()(" sat on")["input_ids"]
    assert [token.id for token in example.sources] == (prompt + answer)[:-1]
    assert [token.id for token in example.targets] == answer
    assert example.predictors == tuple(range(len(prompt) - 1, len(prompt) + len(answer) - 1))
    assert example.text == "The cat sat on"
    assert example.sink is None  # a word of the prompt


def test_the_sink_is_a_special_token_or_one_of_the_template():
    assert adapter().example([2, 40, 41], continuation=[3]).sink == 0
    assert adapter().example([40, 2, 41], continuation=[3]).sink is None


def test_ids_are_taken_as_they_are():
    # "cat" spelled letter by letter, as no tokenizer would: it must not be merged back
    letters = [tokenizer().convert_tokens_to_ids(letter) for letter in "cat"]
    assert letters != tokenizer()("cat")["input_ids"]
    example = adapter().example(letters, continuation=letters)
    assert [token.id for token in (*example.sources, *example.targets[-1:])] == letters * 2


def test_generation_is_greedy_and_explains_the_models_own_ids():
    adapted = adapter("Llama")
    example = adapted.example("The cat", max_new_tokens=6)
    ids = tokenizer()("The cat", return_tensors="pt")
    expected = adapted.model.generate(**ids, max_new_tokens=6, do_sample=False)[0].tolist()
    assert [token.id for token in (*example.sources, example.targets[-1])] == expected
    assert len(example.targets) <= 6


def test_generation_options_reach_generate():
    adapted = adapter("Llama")
    plain = adapted.example("The cat", max_new_tokens=4)
    banned = plain.targets[0].id
    other = adapted.example("The cat", max_new_tokens=4, generation={"suppress_tokens": [banned]})
    assert banned not in [token.id for token in other.targets]


def test_a_chat_goes_through_the_template():
    example = adapter().example(messages=CHAT, continuation="Yes")
    assert example.text == "<|start|>system\nBe brief.<|end|><|start|>user\nThe cat?<|end|><|start|>assistant\nYes"


def test_an_unfinished_answer_is_continued():
    example = adapter().example(messages=[*CHAT, {"role": "assistant", "content": "The d"}], continuation="og")
    assert example.text.endswith("assistant\nThe dog")


# Bad input: one sentence that names the remedy


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"prompt": ""}, "prompt is empty"),
        ({"prompt": []}, "prompt is empty"),
        ({}, "either a prompt or messages"),
        ({"prompt": "a", "messages": CHAT}, "either a prompt or messages"),
        ({"messages": []}, "prompt is empty"),
        ({"messages": [{"role": "user", "content": ""}]}, "prompt is empty"),
        ({"prompt": "a", "continuation": ""}, "continuation is empty"),
        ({"prompt": "a", "continuation": []}, "continuation is empty"),
        ({"prompt": [1, 320], "continuation": "a"}, "id 320.*from 0 to 319.*own tokenizer"),
        ({"prompt": "a", "continuation": "b", "max_new_tokens": 3}, "nothing to generate"),
        ({"prompt": "a", "max_new_tokens": 0}, "from 1 to"),
        ({"prompt": [5] * CONTEXT}, f"prompt has {CONTEXT} tokens, but the model's context holds {CONTEXT}"),
        ({"prompt": [5] * 60, "max_new_tokens": 10}, "at most 4 new tokens"),
        ({"prompt": "a", "generation": {"no_such_option": 1}}, "no_such_option"),
        ({"prompt": "a", "generation": {"num_return_sequences": 2, "do_sample": True}}, "2 sequences"),
    ],
)  # fmt: skip
def test_bad_input(options, sentence):
    with pytest.raises(InputError, match=sentence):
        adapter().example(**options)


def test_a_tokenizer_without_a_template_refuses_a_chat():
    coder = hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer().backend_tokenizer)
    with pytest.raises(InputError, match="no chat template"):
        adapt(model("Llama"), coder).example(messages=CHAT)


def test_what_a_template_refuses_is_reported():
    import copy

    coder = copy.deepcopy(tokenizer())
    coder.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(InputError, match="roles must alternate"):
        adapt(model("Llama"), coder).example(messages=CHAT)


# Refusals


_SMALL = {
    "vocab_size": 32,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: hf.MambaForCausalLM(hf.MambaConfig(vocab_size=32, hidden_size=32, num_hidden_layers=1)), "recurrent"),
        (lambda: hf.LlamaModel(hf.LlamaConfig(**_SMALL)), "no language-model head"),
    ],
)  # fmt: skip
def test_what_cannot_be_attributed_is_refused_with_a_reason(build, reason):
    with pytest.raises(UnsupportedModel, match=reason):
        adapt(build(), tokenizer())


def test_per_layer_embeddings_are_refused():
    from tokensal.adapters.support import check_config

    with pytest.raises(UnsupportedModel, match="per-layer embeddings"):
        check_config(hf.Gemma3nTextConfig())


def test_recurrent_layers_are_refused_by_their_configuration():
    from tokensal.adapters.support import check_config

    with pytest.raises(UnsupportedModel, match="recurrent"):
        check_config(hf.Qwen3NextConfig(num_hidden_layers=4))


def test_a_model_whose_forward_takes_no_embeddings_is_refused():
    class WithoutEmbeddings(hf.LlamaForCausalLM):
        def forward(self, input_ids=None): ...

    with pytest.raises(UnsupportedModel, match="inputs_embeds"):
        adapt(WithoutEmbeddings(hf.LlamaConfig(**_SMALL)), tokenizer())


def test_offloaded_models_are_attributed_where_they_are_computed():
    from accelerate import cpu_offload

    from tokensal import attribute

    expected = attribute(adapter("Llama"), "The cat", continuation=" sat on", method="input_x_gradient")
    offloaded = model("Llama")
    cpu_offload(offloaded, execution_device=torch.device("cpu"))
    result = attribute(adapt(offloaded, tokenizer()), "The cat", continuation=" sat on", method="input_x_gradient")
    torch.testing.assert_close(result.scores, expected.scores, equal_nan=True)
