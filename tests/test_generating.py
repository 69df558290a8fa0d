"""Options of generating, and of chat templates, mean what they say, or are refused."""

from __future__ import annotations

import copy
import json
import logging
import signal
import warnings

import pytest
import torch
from builders import tiny
from models import CHAT, model, tokenizer
from transformers import GenerationConfig

from tokensal import Attribution, attribute, load
from tokensal.adapters import CausalAdapter
from tokensal.adapters.generating import MAX_NEW_TOKENS
from tokensal.cli import main
from tokensal.errors import InputError

PROMPT = [5, 40, 41, 7]


def answer(generation=None, **options):
    """The ids of the answer."""
    example = tiny().example(PROMPT, generation=generation, **options)
    return [token.id for token in example.targets]


@pytest.fixture(scope="module")
def greedy():
    return answer()


@pytest.mark.parametrize(
    ("generation", "options", "count"),
    [
        (None, {}, MAX_NEW_TOKENS),
        (None, {"max_new_tokens": 3}, 3),
        ({"max_new_tokens": 3}, {}, 3),
        ({"max_length": 6}, {}, 2),
        ({"max_length": None}, {}, MAX_NEW_TOKENS),
        (GenerationConfig(max_new_tokens=3), {}, 3),
        (GenerationConfig(max_length=7), {}, 3),
        (GenerationConfig(max_length=7), {"max_new_tokens": 2}, 2),
        (GenerationConfig(max_length=7, max_new_tokens=1), {}, 1),
        ({"generation_config": GenerationConfig(max_new_tokens=3)}, {}, 3),
        ({"generation_config": GenerationConfig(max_new_tokens=3), "num_beams": 1}, {"max_new_tokens": 2}, 2),
        ({"use_cache": False}, {"max_new_tokens": 3}, 3),
        ({"return_dict_in_generate": True}, {"max_new_tokens": 3}, 3),
    ],
)
def test_the_length_of_the_answer(greedy, generation, options, count):
    assert answer(generation, **options) == greedy[:count]


def test_the_length_of_an_answer_to_an_encoder_counts_the_start_token():
    dates = load("dates")
    for options in ({"generation": {"max_length": 4}}, {"max_new_tokens": 3}):
        assert "".join(token.text for token in dates.example("May 5, 2001", **options).targets) == "2001-05"


def test_a_generation_config_means_what_it_says(greedy):
    config = GenerationConfig(suppress_tokens=greedy[:1], max_new_tokens=4)
    assert answer(config) == answer({"suppress_tokens": greedy[:1], "max_new_tokens": 4}) != greedy[:4]
    sampled = attribute(tiny(), PROMPT, generation=GenerationConfig(do_sample=True, max_new_tokens=4))
    again = attribute(tiny(), PROMPT, generation=GenerationConfig(do_sample=True, max_new_tokens=4),
                      seed=sampled.provenance.seed)  # fmt: skip
    assert sampled.provenance.seed is not None and sampled.targets == again.targets


def test_a_stop_string_ends_the_answer():
    example = load("dates").example("May 5, 2001", generation={"stop_strings": "-"})
    assert "".join(token.text for token in example.targets) == "2001-"


@pytest.mark.parametrize(
    ("generation", "options", "message"),
    [
        ({"max_length": 4}, {}, "max_length is 4, but 4 tokens stand before the answer"),
        ({"max_length": 9}, {"max_new_tokens": 3}, "limited twice"),
        ({"max_length": 9, "max_new_tokens": 3}, {}, "limited twice"),
        ({"max_new_tokens": 2}, {"max_new_tokens": 3}, "limited twice"),
        ({"min_new_tokens": 30}, {}, "min_new_tokens is 30, but at most 20 are generated"),
        ({"temprature": 0.5}, {}, "did you mean 'temperature'"),
        ({"_from_model_config": True}, {}, "Unknown generation option"),
        ({"kwargs": 1}, {}, "Unknown generation option 'kwargs'"),
        ({"input_ids": [[1]]}, {}, "'input_ids' is the prompt's"),
        ({"num_beams": 0}, {}, "cannot generate with these options: "),
        ({"num_beams": "a"}, {}, "cannot generate with these options: "),
        ({"do_sample": True, "temperature": 0}, {}, "cannot generate with these options: .*temperature"),
        ({"do_sample": True, "top_k": -1}, {}, "cannot generate with these options: .*top_k"),
        ({"num_beams": 2, "num_return_sequences": 2}, {}, "returned 2 sequences"),
    ],
)
def test_what_cannot_be_generated(generation, options, message):
    with pytest.raises(InputError, match=message) as error:
        answer(generation, **options)
    assert "\n" not in str(error.value)


def test_options_of_sampling_without_sampling_are_warned_of(greedy, caplog):
    with caplog.at_level(logging.WARNING):
        assert answer({"temperature": 0.5, "top_p": 0.9}) == greedy
    assert [record.getMessage() for record in caplog.records] == [
        "Without do_sample, these options have no effect: temperature, top_p."
    ]
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        answer({"temperature": 0.5, "do_sample": True})
    assert not caplog.records


# Chats


SWITCHED = CHAT.replace("assistant\n", "assistant\n{% if not (enable_thinking | default(true)) %}<no>{% endif %}")
SWITCHED += "{% for tool in tools or [] %}[{{ tool.function.name }}]{% endfor %}"
OF_BLOCKS = "{% for m in messages %}{{ m.role }}:{% for b in m.content %}{{ b.text }}{% endfor %};{% endfor %}"
USER = {"role": "user", "content": "The cat"}


def shown(messages, source=CHAT, **options):
    """The shown text of a chat."""
    coder = copy.deepcopy(tokenizer())
    coder.chat_template = source
    return CausalAdapter(tiny().model, coder).example(messages=messages, continuation=" a", **options).text


def look_up(word: str) -> str:
    """Look a word up.

    Args:
        word: the word.
    """
    return word


def test_arguments_of_the_template_reach_it():
    plain = "<|start|>user\nThe cat<|end|><|start|>assistant\n"
    assert shown([USER], SWITCHED) == f"{plain} a"
    assert shown([USER], SWITCHED, template={"enable_thinking": False}) == f"{plain}<no> a"
    named = {"type": "function", "function": {"name": "find"}}
    assert shown([USER], SWITCHED, template={"tools": [named, look_up]}) == f"{plain}[find][look_up] a"
    assert shown([USER], None, template={"chat_template": CHAT}) == f"{plain} a"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"enable_thinkin": False}, "does not use the argument 'enable_thinkin': did you mean 'enable_thinking'"),
        ({"documents": []}, "does not use the argument 'documents'"),
        ({"tokenize": False}, "'tokenize' of the chat template follows from the messages"),
        ({"tools": 3}, "refuses these messages"),
        (["tools"], "should be a table"),
    ],
)
def test_arguments_that_a_template_does_not_use_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        shown([USER], SWITCHED, template=arguments)
    with pytest.raises(InputError, match=r"need messages|should be a table"):
        tiny().example("a", continuation="b", template=arguments)


@pytest.mark.parametrize("template", [CHAT, OF_BLOCKS, CHAT.replace("m['content']", "m['content'] + ''")])
@pytest.mark.parametrize(
    "content",
    ["The cat sat", [{"type": "text", "text": "The cat"}, {"type": "text", "text": " sat"}], ("The cat", " sat")],
)
def test_contents_are_texts_or_blocks_as_the_template_reads_them(template, content):
    messages = [{"role": "user", "content": content}]
    coder = copy.deepcopy(tokenizer())
    coder.chat_template = template
    example = CausalAdapter(tiny().model, coder).example(messages=messages, continuation=" a")
    user = [token for token in example.sources if token.role == "user"]
    assert "".join(token.text for token in user) == "The cat sat" and "type" not in example.text
    assert [token.in_prompt for token in user] == [(0, 3), (3, 7), (7, 11)]


def test_texts_that_a_template_cuts_stay_as_they_are():
    """A template that reads texts and blocks, but cuts thoughts from texts alone: texts stay texts."""
    source = (
        "{% for m in messages %}{% if m.content is string %}{{ m.content.split('</think>')[-1] }}"
        "{% else %}{{ m.content[0].text }}{% endif %};{% endfor %}"
    )
    turns = [USER, {"role": "assistant", "content": "why</think>so"}, {"role": "user", "content": "b"}]
    assert shown(turns, source) == "The cat;so;b; a"


def test_blocks_that_are_no_texts_are_refused_by_a_template_of_texts():
    with pytest.raises(InputError, match="some contents have other blocks"):
        shown([{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "a"}]}])


@pytest.mark.parametrize("content", ["The", [{"type": "text", "text": "The"}]])
def test_an_answer_continues_the_last_words_of_the_assistant(content):
    text = shown([USER, {"role": "assistant", "content": content}])
    assert text == "<|start|>user\nThe cat<|end|><|start|>assistant\nThe a"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("chat-model")
    model("Llama", dtype=torch.float32).save_pretrained(path)
    coder = copy.deepcopy(tokenizer())
    coder.chat_template = SWITCHED
    coder.save_pretrained(path)
    return path


@pytest.fixture
def command(folder, tmp_path, monkeypatch, capsys):
    """Run `tokensal attribute` in this process; returns the shown text, or the sentence that it ends in."""

    def run(*arguments):
        result = tmp_path / "result.json"
        flags = ["--model", folder, "--continuation", " a", "--quiet", "-o", result]
        monkeypatch.setattr("sys.argv", ["tokensal", "attribute", *map(str, [*arguments, *flags])])
        with pytest.raises(SystemExit) as ended:
            main()
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as Python has it; the command lets pipes close
        return capsys.readouterr().err if ended.value.code else Attribution.load(result).text

    return run


def test_a_chat_from_a_file_on_the_command_line(command, tmp_path):
    turns = [USER, {"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]
    (tmp_path / "chat.json").write_text(json.dumps(turns))
    expected = "<|start|>user\nThe cat<|end|><|start|>assistant\na<|end|><|start|>user\nb<|end|><|start|>assistant\n"
    assert command("--messages", tmp_path / "chat.json") == f"{expected} a"
    no_thinking = command("--messages", tmp_path / "chat.json", "--template", "enable_thinking=false")
    assert no_thinking == f"{expected}<no> a"
    assert command("b", "--template", "enable_thinking=false").endswith("user\nb<|end|><|start|>assistant\n<no> a")
    assert "either a prompt or --messages" in command("b", "--messages", tmp_path / "chat.json")
    assert "Cannot read messages" in command("--messages", tmp_path / "none.json")
    (tmp_path / "chat.json").write_text('{"role": "user"}')
    assert "should be a list" in command("--messages", tmp_path / "chat.json")


# Where tokens stand in what the user passed


def places(example, text):
    """The user's own characters of each source, with the source's text."""
    return [(token.text, text[slice(*token.in_prompt)]) for token in example.sources if token.in_prompt is not None]


def test_a_prompt_keeps_its_own_offsets():
    from tokenizers import processors

    coder = copy.deepcopy(tokenizer())
    beginning = processors.TemplateProcessing(single="<|start|> $A", special_tokens=[("<|start|>", 1)])
    coder.backend_tokenizer.post_processor = beginning
    text = "The cat sat on the log. naïve"
    example = CausalAdapter(tiny().model, coder).example(text, continuation=" a")
    assert example.sources[0].in_prompt is None and example.sources[1].start == 9
    pairs = places(example, text)
    assert all(own == shown for shown, own in pairs if shown.isascii() and shown)
    assert [shown for shown, _ in pairs][:3] == ["The", " cat", " sat"]
    assert max(token.in_prompt[1] for token in example.sources if token.in_prompt) == len(text)


def test_brackets_count_in_the_users_own_prompt():
    result = attribute(tiny(), "The [[cat sat]] on", continuation=" a", unit="marked", method="occlusion")
    spans = [(unit.text, unit.in_prompt) for unit in result.sources if unit.in_prompt]
    assert spans == [("The", (0, 3)), (" cat sat", (3, 13)), (" on", (15, 18))]


def test_units_of_a_chat_stand_in_their_message():
    trimming = CHAT.replace("m['content']", "m['content'] | trim")
    coder = copy.deepcopy(tokenizer())
    coder.chat_template = trimming
    messages = [{"role": "system", "content": "  The log "}, {"role": "user", "content": "The cat"}]
    result = attribute(CausalAdapter(tiny().model, coder), messages=messages, continuation=" a", unit="message",
                       method="occlusion")  # fmt: skip
    spans = [(unit.text, unit.in_prompt, unit.message) for unit in result.sources if unit.in_prompt]
    assert spans == [("The log", (2, 9), 0), ("The cat", (0, 7), 1)]
    assert all(unit.message is None for unit in result.sources if unit.role == "template")


def test_brackets_count_in_the_messages_too():
    messages = [{"role": "user", "content": "a [[The cat]] [[sat]]"}]
    example = tiny().example(messages=messages, continuation=" a", marked=True)
    places_of_user = [token.in_prompt for token in example.sources if token.role == "user"]
    assert places_of_user == [(0, 1), (1, 7), (7, 11), (13, 19)]


def test_what_a_template_alters_and_token_ids_stand_nowhere():
    coder = copy.deepcopy(tokenizer())
    coder.chat_template = CHAT.replace("m['content']", "m['content'] | upper")
    adapted = CausalAdapter(tiny().model, coder)
    for prompt in ({"messages": [USER]}, {"prompt": torch.tensor(PROMPT)}):
        example = adapted.example(**prompt, continuation=" a")
        assert not any(token.in_prompt for token in example.sources)


def test_what_libraries_warn_of_while_they_generate_is_not_shown(monkeypatch, recwarn):
    network = tiny().model
    plain = network.generate

    def generate(**options):
        warnings.warn("of another library", stacklevel=1)
        return plain(**options)

    monkeypatch.setattr(network, "generate", generate)
    assert len(answer(max_new_tokens=2)) == 2
    assert not recwarn.list
