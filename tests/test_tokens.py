"""Token texts of bytes that decode to nothing, and texts behind others where a tokenizer puts a space in front."""

from __future__ import annotations

import pytest
import transformers as hf
from models import model, tokenizer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from tokensal import adapt
from tokensal.adapters.offsets import token_spans
from tokensal.adapters.prompting import continuation_ids
from tokensal.adapters.tokens import read
from tokensal.types import Role

SENTENCE = "the cat sat on the log and the dog sat on the catalog"
LIKE_LLAMA_2 = (
    normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
    None,
    decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]),
)


def metaspace(scheme):
    return None, pre_tokenizers.Metaspace(prepend_scheme=scheme), decoders.Metaspace(prepend_scheme=scheme)


PREPENDING = {"normalizer": LIKE_LLAMA_2, **{scheme: metaspace(scheme) for scheme in ("always", "first", "never")}}


def prepending_tokenizer(name):
    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    normalizer, pre_tokenizer, backend.decoder = PREPENDING[name]
    if normalizer:
        backend.normalizer = normalizer
    if pre_tokenizer:
        backend.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=90, special_tokens=["<unk>", "<s>"], show_progress=False, initial_alphabet=list("abcglost\n.1▁")
    )
    backend.train_from_iterator([SENTENCE] * 3, trainer)
    return hf.PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", bos_token="<s>")


@pytest.mark.parametrize("text", ["é € 😀 a", "東京", "a😀", "naïve ☃\n"])
def test_characters_of_bytes_that_decode_to_nothing(text):
    coder = hf.ByT5Tokenizer()
    ids = coder(text, add_special_tokens=False)["input_ids"]
    shown, tokens = read(coder, ids, [Role.PROMPT] * len(ids))
    assert shown == text
    assert all(token.start < token.stop for token in tokens)  # bytes share the span of their character
    assert [token.text for token in tokens if token.text] == list(text)


@pytest.mark.parametrize("text", ["log", " log", "cat\n", " the cat", "\nthe"])
@pytest.mark.parametrize("name", PREPENDING)
def test_a_continuation_spells_its_text_behind_any_other(name, text):
    coder = prepending_tokenizer(name)
    before = coder("the cat", add_special_tokens=False)["input_ids"]
    assert coder.decode([*before, *continuation_ids(coder, text)]) == "the cat" + text


def test_a_text_that_no_ids_spell_is_tokenized_by_itself():
    coder = prepending_tokenizer("never")
    coder.backend_tokenizer.normalizer = normalizers.Lowercase()
    assert continuation_ids(coder, " LOG") == coder(" LOG", add_special_tokens=False)["input_ids"]


def test_a_contrast_inside_a_word_has_no_space_of_its_own():
    llama = adapt(model("Llama"), prepending_tokenizer("always"))
    example = llama.example("the cat", continuation="alog")
    contrasted = llama.contrasted(example, range(len(example.targets)), "log")
    assert "".join(token.text for token in contrasted.targets if token.role is Role.CONTRAST) == "log"


@pytest.mark.parametrize("shift", [0, 1])
def test_offsets_that_a_tokenizer_misreports_are_those_of_decoding(shift, monkeypatch):
    coder, text = tokenizer(), "The cat sat. Café 🙂 naïve"
    ids = coder(text)["input_ids"]
    expected = token_spans(coder, text, ids, special=True)
    call = type(coder).__call__

    def misreporting(self, *arguments, **named):
        encoding = call(self, *arguments, **named)
        if "offset_mapping" in encoding:  # as some releases of tokenizers did for Llama 3
            encoding["offset_mapping"] = [(start + shift, start + shift) for start, _ in encoding["offset_mapping"]]
        return encoding

    monkeypatch.setattr(type(coder), "__call__", misreporting)
    assert token_spans(coder, text, ids, special=True) == expected
    assert [text[start:stop] for start, stop in expected if start < stop][:2] == ["The", " cat"]
