"""What other code raises or returns is told as ours: files, templates, tokenizers, generation, scores of one's own."""

from __future__ import annotations

import copy
import json
import logging
import math
import shutil
import threading
import warnings

import pytest
import torch
import transformers
from builders import tiny
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from models import adapter, model, tokenizer
from tqdm.auto import tqdm
from transformers import modeling_gguf_pytorch_utils as gguf

from tokensal import IntegratedGradients, attribute, load
from tokensal.adapters import CausalAdapter
from tokensal.adapters.quiet import quiet_libraries
from tokensal.errors import InputError, MemoryShortage, ModelError, NonFiniteScores, foreign, reason
from tokensal.scores import entropy

IDS, ANSWER = [5, 40, 41], [40, 3, 7]


# The wrapper


@pytest.mark.parametrize(
    ("raised", "kind", "message"),
    [
        (ValueError("the first. The second."), InputError, r"^It failed: the first\. Do else\.$"),
        (ValueError("version 0.4. is old"), InputError, r"version 0\.4\. is old\. Do else"),
        (KeyError("name"), InputError, r"It failed: KeyError: 'name'\."),
        (ZeroDivisionError(), InputError, r"It failed: ZeroDivisionError\."),
        (RuntimeError("two\nlines"), InputError, "two lines"),
        (StopIteration(), InputError, "StopIteration"),
        (OSError(28, "No space left on device"), InputError, "No space left on device"),
        (MemoryError(), MemoryShortage, "too little memory"),
        (torch.OutOfMemoryError("of the device"), MemoryShortage, "of the device"),
        (RuntimeError("DefaultCPUAllocator: can't allocate"), MemoryShortage, "too little memory"),
        (ModelError("ours"), ModelError, "^ours$"),
        (type("PanicException", (BaseException,), {})("a panic"), InputError, "a panic"),
    ],
)
def test_what_is_raised_is_told_as_ours(raised, kind, message):
    with pytest.raises(kind, match=message), foreign(InputError, "It failed", "Do else."):
        raise raised


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_passes(kind):
    with pytest.raises(kind), foreign(InputError, "It failed"):
        raise kind


def test_a_long_reason_is_cut():
    assert len(reason(ValueError("word " * 1000))) == 300 - 1


# Loading


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "tiny"
    model("Llama", dtype=torch.float32).save_pretrained(path)
    tokenizer().save_pretrained(path)
    return path


def halved(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def with_config(folder, **values):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))


DAMAGE = {
    "weights cut": lambda folder: halved(folder / "model.safetensors"),
    "weights empty": lambda folder: (folder / "model.safetensors").write_bytes(b""),
    "weights missing": lambda folder: (folder / "model.safetensors").unlink(),
    "configuration garbage": lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe{"),
    "configuration a number": lambda folder: (folder / "config.json").write_text("3"),
    "configuration of wrong types": lambda folder: with_config(folder, hidden_size="wide"),
    "configuration of another model": lambda folder: with_config(folder, hidden_size=64),
    "tokenizer missing": lambda folder: [file.unlink() for file in folder.glob("token*")],
    "tokenizer garbage": lambda folder: (folder / "tokenizer.json").write_text("{}"),
    "tokenizer cut": lambda folder: halved(folder / "tokenizer.json"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files_end_in_one_sentence(folder, tmp_path, damage):
    copied = tmp_path / "copy"
    shutil.copytree(folder, copied)
    DAMAGE[damage](copied)
    named = "the tokenizer of model" if "tokenizer" in damage else "model"
    with pytest.raises(ModelError, match=f"^Could not load {named} .*fetch them again") as error:
        load(copied)
    assert "\n" not in str(error.value)


def test_weights_that_are_missing_are_told(folder, tmp_path, caplog):
    from safetensors.torch import load_file, save_file

    copied = tmp_path / "copy"
    shutil.copytree(folder, copied)
    weights = load_file(copied / "model.safetensors")
    weights.pop("model.layers.1.mlp.up_proj.weight")
    save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
    load(copied)
    [record] = caplog.records
    assert "lacks weights, which are random now: model.layers.1.mlp.up_proj.weight" in record.getMessage()


def test_a_device_of_no_kind():
    for device in (3.5, [], "nonsense"):
        with pytest.raises(InputError, match="Cannot use device"):
            load("dates", device=device)


# Loading says nothing, and changes nothing of other libraries


@pytest.fixture(params=[True, False], ids=["bars", "no bars"])
def bars(request):
    transformers.logging.enable_progress_bar() if request.param else transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_info()
    yield request.param
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def test_loading_draws_no_bars_and_restores_them(folder, bars, capsys):
    level = transformers.logging.get_verbosity()
    load(folder)
    assert capsys.readouterr() == ("", "")
    assert transformers.logging.is_progress_bar_enabled() is bars and are_progress_bars_disabled() is not bars
    assert transformers.logging.get_verbosity() == level


def test_settings_are_restored_after_an_error_and_apart(capsys):
    transformers.logging.disable_progress_bar()
    enable_progress_bars()  # of the hub alone
    try:
        with pytest.raises(ZeroDivisionError), quiet_libraries():
            _warn_and_fail()
        assert gguf.tqdm is tqdm
        assert not are_progress_bars_disabled() and not transformers.logging.is_progress_bar_enabled()
    finally:
        disable_progress_bars()
    assert capsys.readouterr() == ("", "")


def _warn_and_fail():
    assert list(gguf.tqdm(range(3), desc="converting a GGUF")) == [0, 1, 2]
    warnings.warn("of another library", stacklevel=1)
    raise ZeroDivisionError


def test_two_threads_that_load_leave_the_settings_alone(folder):
    level = transformers.logging.get_verbosity()
    loaded = []
    threads = [threading.Thread(target=lambda: loaded.append(load(folder))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert transformers.logging.get_verbosity() == level
    assert len(loaded) == 4  # and nothing of how modules are built is left behind
    later = model("T5")
    assert later.shared.weight is later.encoder.embed_tokens.weight is later.decoder.embed_tokens.weight


# Tokenizers and templates


class Panicking:
    """A tokenizer that fails in Rust when it is called."""

    def __init__(self, coder):
        self.coder = coder

    def __getattr__(self, name):
        return getattr(self.coder, name)

    def __call__(self, *_, **__):
        raise type("PanicException", (BaseException,), {})("index out of bounds")


def test_a_tokenizer_that_fails():
    adapted = CausalAdapter(tiny().model, Panicking(tokenizer()))
    with pytest.raises(InputError, match="tokenizer cannot read this text: index out of bounds"):
        attribute(adapted, "a", continuation="b")


@pytest.mark.parametrize(
    "template",
    ["{% for", "{{ messages[0].name.first }}", "{{ 1 + messages }}", "{{ 1 / 0 }}", "{{ raise_exception('no') }}", 3],
)
def test_a_template_that_fails(template):
    coder = copy.deepcopy(tokenizer())
    coder.chat_template = template
    with pytest.raises(InputError, match=r"The model's chat template (refuses these messages|cannot be read): "):
        attribute(CausalAdapter(tiny().model, coder), messages=[{"role": "user", "content": "a"}], continuation="b")


# Scores of one's own


def of_zero(logits):
    return (0 * logits.sum(-1)).sqrt()


def in_place(logits):
    logits.sigmoid_()
    return (logits * logits).sum(-1).sigmoid_() ** 2 + logits.exp_().sum(-1)


@pytest.mark.parametrize(
    ("score", "kind", "message"),
    [
        (lambda logits: torch.ones(logits.shape[:-1]), InputError, "no gradient: .*do not detach"),
        (lambda logits: logits.detach().sum(-1), InputError, "no gradient"),
        (lambda logits: logits.sum(-1) * math.nan, NonFiniteScores, "the logits are finite, so the score <lambda>"),
        (lambda logits: logits.sum(-1) / 0, NonFiniteScores, "the logits are finite, so the score <lambda>"),
        (lambda logits: logits, InputError, "one number for each target"),
        (lambda logits: logits.argmax(-1), InputError, "torch.int64, but should return floating-point"),
        (lambda logits: logits.sum(-1).to(torch.complex64), InputError, "floating-point"),
        (lambda logits: None, InputError, "returned a NoneType, but should return a tensor"),
        (lambda logits: 3.0, InputError, "returned a float"),
        (lambda logits: 1 / 0, InputError, "The score <lambda> failed: division by zero"),
        (lambda logits, targets, more: logits, InputError, "The score <lambda> failed"),
        (of_zero, NonFiniteScores, "though the score of_zero is; its gradient is not finite here: change the score"),
        (in_place, InputError, "cannot be differentiated: .*inplace operation"),
        (torch.logsumexp, InputError, "The score logsumexp failed"),
    ],
)
@pytest.mark.parametrize("method", ["input_x_gradient", "lrp"])
def test_a_score_that_is_wrong_is_told_in_one_sentence(score, kind, message, method):
    with pytest.raises(kind, match=message) as error:
        attribute(tiny(), IDS, continuation=ANSWER, score=score, method=method)
    assert "\n" not in str(error.value) and "float32'" not in str(error.value)


def test_a_score_without_a_gradient_does_where_none_is_taken():
    def certain(logits):
        return (logits.softmax(-1).amax(-1) > 0.5).double()

    assert attribute(tiny(), IDS, continuation=ANSWER, score=certain, method="occlusion").values.shape == (3,)


def test_a_score_takes_one_argument_or_two():
    def first(*arguments):
        logits, targets = arguments
        return logits[..., 0] + 0 * targets

    for score in (first, lambda logits: logits[..., 0], lambda logits, *, more=0: logits[..., 0]):
        result = attribute(tiny(), IDS, continuation=ANSWER, score=score)
        torch.testing.assert_close(result.values, logits_of(tiny())[:, 0].float())


def logits_of(adapted):
    output = adapted.model(torch.tensor([[*IDS, *ANSWER]])).logits[0]
    return output[len(IDS) - 1 : -1].detach()


# Numbers that are not finite


class Suppressing(torch.nn.Module):
    """A head that suppresses token 40."""

    def __init__(self, head):
        super().__init__()
        self.head, self.weight = head, head.weight

    def forward(self, hidden):
        return self.head(hidden).index_fill(-1, torch.tensor(40), -math.inf)


@pytest.fixture(scope="module")
def suppressing():
    adapted = adapter("Llama")
    adapted.model.lm_head = Suppressing(adapted.model.lm_head)
    return adapted


@pytest.mark.parametrize("score", ["logprob", "logit"])
def test_a_suppressed_token_is_named_as_the_cause(suppressing, score):
    with pytest.raises(NonFiniteScores, match=r"target 0 .*suppresses this token, whose logit is -inf"):
        attribute(suppressing, IDS, continuation=ANSWER, score=score)
    assert attribute(suppressing, IDS, continuation=ANSWER[1:], score=score).values.isfinite().all()


def test_the_entropy_beside_suppressed_tokens(suppressing):
    result = attribute(suppressing, IDS, continuation=ANSWER, score="entropy", method="input_x_gradient")
    others = torch.cat([logits_of(adapter("Llama"))[:, :40], logits_of(adapter("Llama"))[:, 41:]], dim=1)
    torch.testing.assert_close(result.values, entropy(others, torch.zeros(3, dtype=torch.long)).float())
    assert result.scores[result.visible].isfinite().all()


def test_weights_that_are_not_finite_are_not_blamed_on_float32():
    adapted = adapter("Llama", dtype=torch.float32)
    with torch.no_grad():
        adapted.model.lm_head.weight[7] = math.inf
    with pytest.raises(NonFiniteScores, match="the model itself returns such numbers, in float32"):
        attribute(adapted, IDS, continuation=ANSWER)


def test_half_precision_that_overflows_is_told_to_use_float32():
    adapted = adapter("Llama", dtype=torch.float16)
    with torch.no_grad():
        adapted.model.lm_head.weight.mul_(1e5)
    with pytest.raises(NonFiniteScores, match=r"overflows? in float16: load (it|the model) with dtype='float32'"):
        attribute(adapted, IDS, continuation=ANSWER)


def test_a_baseline_that_overflows_is_named():
    adapted, far = adapter("Llama", dtype=torch.float32), IntegratedGradients(baseline=torch.full((32,), 3e38), steps=2)
    with pytest.raises(NonFiniteScores, match=r"baseline"):
        attribute(adapted, IDS, continuation=ANSWER, method=far)


def test_a_warning_of_a_missing_second_bos(caplog):
    from tokenizers import processors

    coder = copy.deepcopy(tokenizer())
    beginning = processors.TemplateProcessing(single="<|start|> $A", special_tokens=[("<|start|>", 1)])
    coder.backend_tokenizer.post_processor = beginning
    adapted = CausalAdapter(tiny().model, coder)
    with caplog.at_level(logging.WARNING, "tokensal"):
        adapted.example("The cat", continuation=" sat")
        assert not caplog.records
        adapted.example("<|start|>The cat", continuation=" sat")
    assert [record.getMessage() for record in caplog.records] == [
        "The tokenizer adds '<|start|>' to the prompt, which begins with it: leave it out."
    ]
