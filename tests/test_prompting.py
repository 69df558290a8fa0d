"""The role of each token of a prompt, and the marked passage that it is in, whatever the chat template."""

from __future__ import annotations

import copy
import logging
import random
from itertools import groupby

import pytest
import transformers as hf
from models import CHAT, tokenizer

from tokensal.adapters.prompting import Prompt, read_prompt
from tokensal.adapters.tokens import read
from tokensal.errors import InputError
from tokensal.questions.units import marked
from tokensal.types import Role

T, S, U, A, P = Role.TEMPLATE, Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.PROMPT

STRIPPING = (
    "{% for m in messages %}<|start|>{{ m.role }}\n\n{{ m.content | trim }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n\n{% endif %}"
)
DEFAULT_SYSTEM = "{% if messages[0].role != 'system' %}<|start|>system\nYou help the user.<|end|>{% endif %}" + CHAT
INST = (
    "{% set ns = namespace(system='') %}{% for m in messages %}"
    "{% if m.role == 'system' %}{% set ns.system = '<<SYS>>\n' + m.content + '\n<</SYS>>\n\n' %}"
    "{% elif m.role == 'user' %}[INST] {{ (ns.system + m.content) | trim }} [/INST]{% set ns.system = '' %}"
    "{% elif m.role == 'assistant' %} {{ m.content }}<|end|>"
    "{% else %}{{ raise_exception('roles must be user or assistant') }}{% endif %}{% endfor %}"
)
THINKING = (
    "{% for m in messages %}{% set content = m.content %}{% set thought = '' %}"
    "{% if m.role == 'assistant' and '</think>' in content %}"
    "{% set thought = content.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
    "{% set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "<|start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.last %}<think>\n{{ thought }}\n</think>\n\n{% endif %}{{ content }}"
    "{% if not loop.last or add_generation_prompt %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)


def tokenizer_with(template=CHAT, base=None):
    coder = copy.deepcopy(base or tokenizer())
    coder.chat_template = template
    return coder


def chat(*contents, first="user"):
    """Messages with these contents, by the user and the assistant in turn; a system message comes before them."""
    roles = (
        ["user", "assistant"] * len(contents) if first == "user" else [first, *["user", "assistant"] * len(contents)]
    )
    return [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]


def pieces(coder: hf.PreTrainedTokenizerBase, prompt: Prompt):
    """The text of each run of tokens of one role and mark, with both; without the mark if it is None."""
    _, tokens = read(coder, prompt.ids, prompt.roles)
    runs = groupby(zip(tokens, prompt.marks, strict=True), key=lambda pair: (pair[0].role, pair[1]))
    texts = [("".join(token.text for token, _ in group), *label) for label, group in runs]
    return [piece if piece[2] is not None else piece[:2] for piece in texts]


# Roles in chats


def test_a_plain_prompt_has_one_role_and_no_marks():
    coder = tokenizer()
    ids = tuple(coder("The cat [[sat]]")["input_ids"])
    assert read_prompt(coder, "The cat [[sat]]", None) == Prompt(ids, (P,) * len(ids), (None,) * len(ids))
    assert read_prompt(coder, list(ids), None) == Prompt(ids, (P,) * len(ids), (None,) * len(ids))


@pytest.mark.parametrize(
    ("template", "messages", "expected"),
    [
        (CHAT, chat("Be brief.", "Hi?", first="system"), [
            ("<|start|>system\n", T), ("Be brief.", S), ("<|end|><|start|>user\n", T), ("Hi?", U),
            ("<|end|><|start|>assistant\n", T),
        ]),
        (CHAT, chat("user\nuser", "assistant", "<|end|>"), [  # words of the template's own
            ("<|start|>user\n", T), ("user\nuser", U), ("<|end|><|start|>assistant\n", T), ("assistant", A),
            ("<|end|><|start|>user\n", T), ("<|end|>", U), ("<|end|><|start|>assistant\n", T),
        ]),
        (CHAT, chat(" a ", "b", "", "c"), [
            ("<|start|>user\n", T), (" a ", U), ("<|end|><|start|>assistant\n", T), ("b", A),
            ("<|end|><|start|>user\n<|end|><|start|>assistant\n", T), ("c", A),
        ]),
        (STRIPPING, chat(" \n be  ", "\tc\n\n"), [
            ("<|start|>user\n\n", T), ("be", U), ("<|end|><|start|>assistant\n\n", T), ("c", A),
        ]),
        (STRIPPING, chat("\n\n", " ", "a"), [
            ("<|start|>user\n\n<|end|><|start|>assistant\n\n<|end|><|start|>user\n\n", T), ("a", U),
            ("<|end|><|start|>assistant\n\n", T),
        ]),
        (DEFAULT_SYSTEM, chat("You help the user."), [
            ("<|start|>system\nYou help the user.<|end|><|start|>user\n", T), ("You help the user.", U),
            ("<|end|><|start|>assistant\n", T),
        ]),
        (INST, chat("Rhyme.", " INST ", "[/INST]", "b", first="system"), [
            ("[INST] <<SYS>>\n", T), ("Rhyme.", S), ("\n<</SYS>>\n\n", T), (" INST", U), (" [/INST] ", T),
            ("[/INST]", A), ("<|end|>[INST] ", T), ("b", U), (" [/INST]", T),
        ]),
        (THINKING, chat("a", "<think>\nwhy</think>\n\nThe cat", "b"), [
            ("<|start|>user\n", T), ("a", U), ("<|end|><|start|>assistant\n", T), ("The cat", A),
            ("<|end|><|start|>user\n", T), ("b", U), ("<|end|><|start|>assistant\n", T),
        ]),
        (THINKING, chat("a", "The cat"), [
            ("<|start|>user\n", T), ("a", U), ("<|end|><|start|>assistant\n<think>\n\n</think>\n\n", T), ("The cat", A),
        ]),
        ("{% for m in messages %}{% if m.role != 'system' %}<{{ m.content }}>{% endif %}{% endfor %}",
         chat("<b>", "<b>", first="system"), [("<", T), ("<b>", U), (">", T)]),
        ("{% for m in messages %}={{ m.content | upper }}={% endfor %}", chat("mice"), [
            ("=", T), ("MICE", U), ("=", T),
        ]),
        ("{% for m in messages %}{{ m.content | tojson }}\n{% endfor %}", chat('a "b"\n'), [
            ('"', T), ('a \\"b\\"\\n', U), ('"\n', T),
        ]),
    ],
)  # fmt: skip
def test_tokens_of_a_chat_have_the_role_of_their_speaker(template, messages, expected):
    assert pieces(tokenizer_with(template), read_prompt(tokenizer_with(template), None, messages)) == expected


def test_roles_that_templates_may_know():
    roles = ["developer", "system", "tool", "ipython", "generated"]
    messages = [{"role": role, "content": "a"} for role in roles]
    roles_of_a = [
        role for text, role in pieces(tokenizer_with(), read_prompt(tokenizer_with(), None, messages)) if text == "a"
    ]
    assert roles_of_a == [Role.SYSTEM, Role.SYSTEM, Role.TOOL, P, P]


def test_contents_may_be_missing_or_consist_of_blocks():
    template = (
        "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% elif m.content %}"
        "{% for b in m.content %}{{ b.text or '<|pad|>' }}{% endfor %}{% endif %}{{ m.calls }};{% endfor %}"
    )
    blocks = [{"type": "text", "text": "a "}, {"type": "image"}, {"type": "text", "text": "cat"}]
    messages = [
        {"role": "user", "content": blocks},
        {"role": "assistant", "content": None, "calls": "f()"},
        {"role": "tool", "content": "f"},
    ]
    before = copy.deepcopy(messages)
    assert pieces(tokenizer_with(), read_prompt(tokenizer_with(template), None, messages)) == [
        ("a ", U), ("<|pad|>", T), ("cat", U), (";f();", T), ("f", Role.TOOL), (";", T),
    ]  # fmt: skip
    assert messages == before


def test_a_token_that_straddles_belongs_where_its_first_character_is_that_is_not_space():
    glue = "{% for m in messages %}The {{ m.content }}{% endfor %}"
    coder = tokenizer_with(glue)
    assert coder.tokenize("The cat sat") == ["The", "Ġcat", "Ġsat"]
    assert pieces(coder, read_prompt(coder, None, chat("cat sat"))) == [("The", T), (" cat sat", U)]
    coder = tokenizer_with("{% for m in messages %}Th{{ m.content }}{% endfor %}")
    assert pieces(coder, read_prompt(coder, None, chat("e cat"))) == [("The", T), (" cat", U)]


def test_pieces_of_a_character_have_its_role():
    coder = tokenizer_with("{% for m in messages %}a{{ m.content }}東{% endfor %}")
    prompt = read_prompt(coder, None, chat("🙂京"))
    assert prompt.roles == (T, *(U,) * 7, *(T,) * 3)


def expected_runs(template, messages):
    """What two templates make of messages, with the roles, written once more in Python."""
    for index, message in enumerate(messages):
        yield f"<|start|>{message['role']}\n" + "\n" * (template is STRIPPING), T
        content = message["content"].strip() if template is STRIPPING else message["content"]
        yield content, {"user": U, "assistant": A}[message["role"]]
        yield "<|end|>" if index < len(messages) - 1 or message["role"] == "user" else "", T
    if messages[-1]["role"] == "user":
        yield "<|start|>assistant\n" + "\n" * (template is STRIPPING), T


@pytest.mark.parametrize("template", [CHAT, STRIPPING], ids=["plain", "stripping"])
def test_whatever_messages_say(template):
    generator = random.Random(0)
    words = [
        "user",
        "assistant",
        "\n",
        " ",
        "<|start|>",
        "<|end|>",
        "The cat",
        "🙂",
        "東",
        "\t",
        "e\u0301",
        "{{ m }}",
        "\n\n",
    ]
    for _ in range(60):
        messages = chat(*("".join(generator.choices(words, k=generator.randrange(1, 6))) for _ in range(3)))
        messages = messages[: generator.choice([1, 3])]  # transformers itself rewrites some unfinished answers
        roles = [role for text, role in expected_runs(template, messages) for _ in text]
        text = "".join(text for text, _ in expected_runs(template, messages))
        prompt = read_prompt(tokenizer_with(template), None, messages)
        shown, tokens = read(tokenizer(), prompt.ids, prompt.roles)
        assert shown == text
        for token in tokens:
            blank = text[token.start : token.stop]
            assert token.role is roles[token.start + len(blank) - len(blank.lstrip()) if blank.strip() else token.start]


def test_ids_are_those_of_the_template():
    messages = chat("Be brief. ", " Hi?", "I", first="system")
    expected = tokenizer_with().apply_chat_template(messages, add_generation_prompt=False, continue_final_message=True)
    assert list(read_prompt(tokenizer_with(), None, messages).ids) == list(expected["input_ids"])


# Where roles cannot be determined


TWICE = "{% for m in messages %}{{ m.content }}|{{ m.content }}{% endfor %}"
COUNTING = "{% for m in messages %}{{ m.content | length }}{{ m.content }}{% endfor %}"


@pytest.mark.parametrize("template", [TWICE, COUNTING])
def test_a_template_that_cannot_be_followed_makes_a_plain_prompt_with_a_warning(template, caplog):
    coder = tokenizer_with(template)
    with caplog.at_level(logging.WARNING, "tokensal"):
        prompt = read_prompt(coder, None, chat("cat"))
    assert set(prompt.roles) == {P}
    assert list(prompt.ids) == coder.apply_chat_template(chat("cat"), add_generation_prompt=True)["input_ids"]
    [record] = caplog.records
    assert "does not show where each word of the messages goes" in record.getMessage()
    with pytest.raises(InputError, match="mark them in a plain prompt"):
        read_prompt(coder, None, chat("[[cat]]"), True)


def test_no_warning_where_roles_are_determined(caplog):
    read_prompt(tokenizer_with(), None, chat("cat"))
    assert not caplog.records


# Tokenizers of other kinds


class Letters(hf.PreTrainedTokenizer):
    """A tokenizer in Python, a token for each letter; it has no offsets, and may lower the case."""

    vocab_files_names: dict = {}  # noqa: RUF012

    def __init__(self, *, lower=False, **options):
        self.lower = lower
        self.letters = {chr(code): code - 32 for code in range(32, 127)}
        self.letters["\n"] = len(self.letters)
        super().__init__(bos_token="<s>", eos_token="</s>", **options)

    @property
    def vocab_size(self):
        return len(self.letters)

    def get_vocab(self):
        return {**self.letters, **self.added_tokens_encoder}

    def _tokenize(self, text, **_):
        return list(text.lower() if self.lower else text)

    def _convert_token_to_id(self, token):
        return self.letters[token]

    def _convert_id_to_token(self, id):
        return next(letter for letter, number in self.letters.items() if number == id)

    def convert_tokens_to_string(self, tokens):
        return "".join(tokens)

    def build_inputs_with_special_tokens(self, ids, _=None):
        return [self.bos_token_id, *ids, self.eos_token_id]


def test_a_tokenizer_without_offsets_is_read_by_what_it_decodes(caplog):
    coder = Letters(chat_template="{% for m in messages %}<s>{{ m.role }}:{{ m.content }}</s>{% endfor %}")
    assert pieces(coder, read_prompt(coder, None, chat("user"))) == [("<s>user:", T), ("user", U), ("</s>", T)]
    prompt = read_prompt(coder, "a [[cat]]", None, True)
    assert prompt.marks == (None, None, None, 0, 0, 0, None)
    assert read_prompt(coder, "a [[cat]]", None, [(0, 1)]).marks[:3] == (None, 0, None)
    assert not caplog.records


def test_a_tokenizer_without_offsets_that_does_not_decode_to_the_text(caplog):
    coder = Letters(lower=True, chat_template="{% for m in messages %}{{ m.content }}{% endfor %}")
    assert pieces(coder, read_prompt(coder, None, chat("Cat"))) == [("cat", P)]
    assert len(caplog.records) == 1
    with pytest.raises(InputError, match="use a fast tokenizer"):
        read_prompt(coder, "A [[Cat]]", None, True)
    with pytest.raises(InputError, match="mark them in a plain prompt"):
        read_prompt(coder, None, chat("A [[Cat]]"), True)


def sentencepiece_like():
    from tokenizers import Tokenizer, decoders, models, normalizers, processors

    tokens = ["<unk>", "<s>", "▁", "▁The", "▁cat", "s", ":", "\n", *(f"<0x{byte:02X}>" for byte in range(256))]
    vocabulary = {piece: id for id, piece in enumerate(tokens)}
    letters = sorted({letter for piece in tokens[2:7] for letter in piece} - {"▁", ":", "s"})
    vocabulary |= {piece: len(vocabulary) + id for id, piece in enumerate([*letters, "Th", "The", "ca", "cat"])}
    merges = [("T", "h"), ("Th", "e"), ("▁", "The"), ("c", "a"), ("ca", "t"), ("▁", "cat")]
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return hf.PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", bos_token="<s>")


def test_sentencepiece_like_tokenizers():
    coder = tokenizer_with("{% for m in messages %}<s>The:{{ m.content }}\n{% endfor %}", sentencepiece_like())
    assert pieces(coder, read_prompt(coder, None, chat("cat 🙂", "The s"))) [:-1] == [
        ("<s> The:", T), ("cat 🙂", U), ("\n<s> The:", T),
    ]  # fmt: skip
    prompt = read_prompt(coder, "[[The]] [[🙂]] cat", None, True)
    assert [coder.convert_ids_to_tokens(id) for id in prompt.ids] == [
        "<s>", "▁The", "▁", "<0xF0>", "<0x9F>", "<0x99>", "<0x82>", "▁cat",
    ]  # fmt: skip
    assert prompt.marks == (None, 0, None, 1, 1, 1, 1, None)


def test_offsets_without_white_space():
    from tokenizers import processors

    coder = tokenizer_with()
    coder.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)  # as RoBERTa's
    text = "a\n\n[[  \n]]b [[cat]]"
    assert read_prompt(coder, text, None, True) == read_prompt(tokenizer(), text, None, True)


# Marked passages


def marks(text, marking=True):
    return pieces(tokenizer(), read_prompt(tokenizer(), text, None, marking))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[The]] cat", [("The", P, 0), (" cat", P)]),
        ("The [[cat]] [[sat on]].", [("The", P), (" cat", P, 0), (" sat on", P, 1), (".", P)]),
        ("[[The cat]][[ sat]]", [("The cat", P, 0), (" sat", P, 1)]),
        ("a[[🙂]]b", [("a", P), ("🙂", P, 0), ("b", P)]),
        ("[[a[0]]]", [("a[0]", P, 0)]),
        ("a [b] [[c]] ]", [("a [b] ", P), ("c", P, 0), (" ]", P)]),
        ("a[[ ]]\n", [("a", P), (" ", P, 0), ("\n", P)]),
    ],
)
def test_brackets_mark_passages(text, expected):
    assert marks(text) == expected


def test_brackets_are_no_part_of_the_text():
    prompt = read_prompt(tokenizer(), "The [[c]]at", None, True)
    assert list(prompt.ids) == tokenizer()("The cat")["input_ids"]
    assert prompt.marks == (None, 0)


def test_character_spans_mark_passages_in_their_order():
    assert marks("The cat sat", [(8, 11), (0, 3)]) == [("The", P, 1), (" cat", P), (" sat", P, 0)]
    assert marks("[[cat]]", [(2, 5)]) == [("[[", P), ("cat", P, 0), ("]]", P)]
    assert marks("The cat", [[0, 7]]) == [("The cat", P, 0)]


def test_special_tokens_around_a_prompt_are_in_no_passage():
    from models import ending_tokenizer

    prompt = read_prompt(ending_tokenizer(), "[[The cat]]", None, True)
    assert prompt.marks == (0, 0, None)
    assert prompt.roles == (P, P, P)


def test_passages_are_numbered_through_all_messages():
    messages = chat("Be [[brief]].", "a [[cat]] [[b]]", first="system")
    assert pieces(tokenizer_with(), read_prompt(tokenizer_with(), None, messages, True)) == [
        ("<|start|>system\n", T), ("Be ", S), ("brief", S, 0), (".", S), ("<|end|><|start|>user\n", T),
        ("a", U), (" cat", U, 1), (" ", U), ("b", U, 2), ("<|end|><|start|>assistant\n", T),
    ]  # fmt: skip


def test_passages_in_what_a_template_strips_and_cuts():
    shown = pieces(
        tokenizer_with(STRIPPING), read_prompt(tokenizer_with(STRIPPING), None, chat("[[ The ]] [[cat ]]"), True)
    )
    assert shown[1:3] == [("The ", U, 0), (" cat", U, 1)]
    coder = tokenizer_with(THINKING)
    messages = chat("a", "<think>why</think>\nThe [[cat]]", "b")
    assert (" cat", A, 0) in pieces(coder, read_prompt(coder, None, messages, True))
    with pytest.raises(InputError, match="'why' has no token of its own: the chat template leaves it out"):
        read_prompt(coder, None, chat("a", "<think>[[why]]</think>\nThe cat", "b"), True)


def test_marked_passages_become_spans():
    prompt = read_prompt(tokenizer(), "The [[cat sat]] on", None, True)
    _, tokens = read(tokenizer(), prompt.ids, prompt.roles)
    assert marked(tokens, prompt.marks) == [(0, 1), (1, 3), (3, len(tokens))]


# Bad input: one sentence


@pytest.mark.parametrize(
    ("prompt", "messages", "marking", "sentence"),
    [
        ("a [[b", None, True, r"never ends, at '\[\[b': write \]\]"),
        ("a b]]", None, True, r"A \]\] ends no marked passage, at '\]\]': write \[\["),
        ("[[a]] b]] c", None, True, r"ends no marked passage, at '\]\] c'"),
        ("[[a [[b]] c]]", None, True, r"stands inside a marked passage, at '\[\[b\]\] c\]\]'"),
        ("a [[]] b", None, True, r"is empty, at '\[\[\]\] b': put text"),
        ("a b", None, True, r"No passage is marked.*in the prompt"),
        ("a b", None, [], r"No passage is marked"),
        ("The c[[a]]t", None, True, "'a' has no token of its own"),
        ("The cat", None, [(0, 3), (2, 5)], r"\(0, 3\) and \(2, 5\) overlap"),
        ("The cat", None, [(3, 3)], r"\(3, 3\) is no span of the prompt.*stop ≤ 7"),
        ("The cat", None, [(0, 8)], r"\(0, 8\) is no span"),
        ("The cat", None, [(-1, 3)], r"\(-1, 3\) is no span"),
        ("The cat", None, [(0, 3, 4)], r"\(0, 3, 4\) is no span"),
        ("The cat", None, [3], r"passage 3 is no span"),
        ([5, 6], None, True, "cannot be marked in token ids: give the prompt as a text"),
        ([5, 6], None, [(0, 1)], r"cannot be marked in token ids.*\[\[…\]\]"),
        (None, chat("a"), [(0, 1)], r"Character spans cannot mark passages in messages: write \[\[…\]\]"),
        (None, chat("a"), True, "No passage is marked.*in the contents of the messages"),
        (None, chat("a [[", "b"), True, "never ends"),
        ("", None, True, "prompt is empty"),
        ("", None, False, "prompt is empty"),
        ([], None, False, "prompt is empty"),
        (None, [], False, "prompt is empty"),
        (None, chat(""), False, "prompt is empty"),
        (None, None, False, "either a prompt or messages"),
        ("a", chat("a"), False, "either a prompt or messages"),
    ],
)
def test_bad_input(prompt, messages, marking, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        read_prompt(tokenizer(), prompt, messages, marking)
    assert str(caught.value).endswith((".", "it.", "them."))


def test_what_a_template_refuses_is_reported():
    with pytest.raises(InputError, match="refuses these messages: roles must be user or assistant"):
        read_prompt(tokenizer_with(INST), None, [{"role": "tool", "content": "a"}])
    with pytest.raises(InputError, match="no chat template"):
        read_prompt(tokenizer_with(None), None, chat("a"))


# The user's tokenizer


@pytest.mark.parametrize("marking", [False, True])
def test_the_tokenizer_is_left_as_it_was(marking):
    coder = tokenizer_with()
    coder.backend_tokenizer.enable_truncation(3)
    coder.backend_tokenizer.enable_padding(length=30)
    before = coder.backend_tokenizer.to_str()
    assert len(read_prompt(coder, "The [[cat]] sat on the mat", None, marking).ids) > 3
    read_prompt(coder, None, chat("The [[cat]] sat on the mat"), marking)
    with pytest.raises(InputError):
        read_prompt(coder, "a [[b", None, [(9, 9)])
    assert coder.backend_tokenizer.to_str() == before


# The real default model's tokenizer


@pytest.fixture(scope="module")
def real():
    from tokensal.adapters.embedded import converted, packaged_gguf

    if (gguf := packaged_gguf()) is None:
        pytest.skip("the default model is not installed")
    return hf.AutoTokenizer.from_pretrained(converted(gguf))


@pytest.mark.real
def test_the_real_template(real):
    messages = chat("You are [[brief]].", "system 東京 👩‍👩‍👧? [[Don't\n\nsay user]]", first="system")
    prompt = read_prompt(real, None, messages, True)
    assert pieces(real, prompt) == [
        ("<|im_start|>system\n", T), ("You are", S), (" brief", S, 0), (".", S), ("<|im_end|>\n<|im_start|>user\n", T),
        ("system 東京 👩‍👩‍👧?", U), (" Don't\n\nsay user", U, 1), ("<|im_end|>\n<|im_start|>assistant\n", T),
    ]  # fmt: skip
    shown = pieces(real, read_prompt(real, None, chat("Hi.", "Hello")))
    assert shown[0] == ("<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
                        "<|im_end|>\n<|im_start|>user\n", T)  # fmt: skip
    assert shown[1:] == [("Hi.", U), ("<|im_end|>\n<|im_start|>assistant\n", T), ("Hello", A)]
