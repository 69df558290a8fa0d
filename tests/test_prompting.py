"""Whose each token of a prompt is, and which marked passage it is in. Templates are probed, never searched."""

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


def coder(template=CHAT, base=None):
    made = copy.deepcopy(base or tokenizer())
    made.chat_template = template
    return made


def chat(*contents, first="user"):
    """Messages with these contents, by the user and the assistant in turn; a system message comes before them."""
    roles = (
        ["user", "assistant"] * len(contents) if first == "user" else [first, *["user", "assistant"] * len(contents)]
    )
    return [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]


def pieces(made: hf.PreTrainedTokenizerBase, prompt: Prompt):
    """What tokens of one role and mark spell, with both; without the mark where there is none."""
    _, tokens = read(made, prompt.ids, prompt.roles)
    found = groupby(zip(tokens, prompt.marks, strict=True), key=lambda pair: (pair[0].role, pair[1]))
    texts = [("".join(token.text for token, _ in group), *label) for label, group in found]
    return [piece if piece[2] is not None else piece[:2] for piece in texts]


# Roles in chats


def test_a_plain_prompt_has_one_role_and_no_marks():
    made = tokenizer()
    ids = tuple(made("The cat [[sat]]")["input_ids"])
    assert read_prompt(made, "The cat [[sat]]", None) == Prompt(ids, (P,) * len(ids), (None,) * len(ids))
    assert read_prompt(made, list(ids), None) == Prompt(ids, (P,) * len(ids), (None,) * len(ids))


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
def test_tokens_of_a_chat_know_whose_they_are(template, messages, expected):
    assert pieces(coder(template), read_prompt(coder(template), None, messages)) == expected


def test_roles_that_templates_may_know():
    roles = ["developer", "system", "tool", "ipython", "generated"]
    messages = [{"role": role, "content": "a"} for role in roles]
    found = [role for text, role in pieces(coder(), read_prompt(coder(), None, messages)) if text == "a"]
    assert found == [Role.SYSTEM, Role.SYSTEM, Role.TOOL, P, P]


def test_contents_may_be_missing_or_made_of_blocks():
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
    assert pieces(coder(), read_prompt(coder(template), None, messages)) == [
        ("a ", U), ("<|pad|>", T), ("cat", U), (";f();", T), ("f", Role.TOOL), (";", T),
    ]  # fmt: skip
    assert messages == before


def test_a_token_that_straddles_belongs_where_its_first_character_is_that_is_not_space():
    glue = "{% for m in messages %}The {{ m.content }}{% endfor %}"
    made = coder(glue)
    assert made.tokenize("The cat sat") == ["The", "Ġcat", "Ġsat"]
    assert pieces(made, read_prompt(made, None, chat("cat sat"))) == [("The", T), (" cat sat", U)]
    made = coder("{% for m in messages %}Th{{ m.content }}{% endfor %}")
    assert pieces(made, read_prompt(made, None, chat("e cat"))) == [("The", T), (" cat", U)]


def test_pieces_of_a_character_have_its_role():
    made = coder("{% for m in messages %}a{{ m.content }}東{% endfor %}")
    prompt = read_prompt(made, None, chat("🙂京"))
    assert prompt.roles == (T, *(U,) * 7, *(T,) * 3)


def spelled(template, messages):
    """What two templates make of messages, and whose it is, written once more in Python."""
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
        whose = [role for text, role in spelled(template, messages) for _ in text]
        text = "".join(text for text, _ in spelled(template, messages))
        prompt = read_prompt(coder(template), None, messages)
        shown, tokens = read(tokenizer(), prompt.ids, prompt.roles)
        assert shown == text
        for token in tokens:
            blank = text[token.start : token.stop]
            assert token.role is whose[token.start + len(blank) - len(blank.lstrip()) if blank.strip() else token.start]


def test_ids_are_those_of_the_template():
    messages = chat("Be brief. ", " Hi?", "I", first="system")
    expected = coder().apply_chat_template(messages, add_generation_prompt=False, continue_final_message=True)
    assert list(read_prompt(coder(), None, messages).ids) == list(expected["input_ids"])


# Where roles cannot be told


TWICE = "{% for m in messages %}{{ m.content }}|{{ m.content }}{% endfor %}"
COUNTING = "{% for m in messages %}{{ m.content | length }}{{ m.content }}{% endfor %}"


@pytest.mark.parametrize("template", [TWICE, COUNTING])
def test_a_template_that_cannot_be_followed_makes_a_plain_prompt_and_says_so(template, caplog):
    made = coder(template)
    with caplog.at_level(logging.WARNING, "tokensal"):
        prompt = read_prompt(made, None, chat("cat"))
    assert set(prompt.roles) == {P}
    assert list(prompt.ids) == made.apply_chat_template(chat("cat"), add_generation_prompt=True)["input_ids"]
    [record] = caplog.records
    assert "does not show where each word of the messages goes" in record.getMessage()
    with pytest.raises(InputError, match="mark them in a plain prompt"):
        read_prompt(made, None, chat("[[cat]]"), True)


def test_nothing_is_said_where_roles_are_told(caplog):
    read_prompt(coder(), None, chat("cat"))
    assert not caplog.records


# Tokenizers of other kinds


class Letters(hf.PreTrainedTokenizer):
    """A tokenizer in Python, a token for each letter; it knows no offsets, and may forget what is upper case."""

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
        return next(letter for letter, known in self.letters.items() if known == id)

    def convert_tokens_to_string(self, tokens):
        return "".join(tokens)

    def build_inputs_with_special_tokens(self, ids, _=None):
        return [self.bos_token_id, *ids, self.eos_token_id]


def test_a_tokenizer_without_offsets_is_read_by_what_it_decodes(caplog):
    made = Letters(chat_template="{% for m in messages %}<s>{{ m.role }}:{{ m.content }}</s>{% endfor %}")
    assert pieces(made, read_prompt(made, None, chat("user"))) == [("<s>user:", T), ("user", U), ("</s>", T)]
    prompt = read_prompt(made, "a [[cat]]", None, True)
    assert prompt.marks == (None, None, None, 0, 0, 0, None)
    assert read_prompt(made, "a [[cat]]", None, [(0, 1)]).marks[:3] == (None, 0, None)
    assert not caplog.records


def test_a_tokenizer_that_neither_knows_offsets_nor_spells_the_text(caplog):
    made = Letters(lower=True, chat_template="{% for m in messages %}{{ m.content }}{% endfor %}")
    assert pieces(made, read_prompt(made, None, chat("Cat"))) == [("cat", P)]
    assert len(caplog.records) == 1
    with pytest.raises(InputError, match="use a fast tokenizer"):
        read_prompt(made, "A [[Cat]]", None, True)
    with pytest.raises(InputError, match="mark them in a plain prompt"):
        read_prompt(made, None, chat("A [[Cat]]"), True)


def sentencepiece_like():
    from tokenizers import Tokenizer, decoders, models, normalizers, processors

    known = ["<unk>", "<s>", "▁", "▁The", "▁cat", "s", ":", "\n", *(f"<0x{byte:02X}>" for byte in range(256))]
    vocabulary = {piece: id for id, piece in enumerate(known)}
    letters = sorted({letter for piece in known[2:7] for letter in piece} - {"▁", ":", "s"})
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
    made = coder("{% for m in messages %}<s>The:{{ m.content }}\n{% endfor %}", sentencepiece_like())
    assert pieces(made, read_prompt(made, None, chat("cat 🙂", "The s"))) [:-1] == [
        ("<s> The:", T), ("cat 🙂", U), ("\n<s> The:", T),
    ]  # fmt: skip
    prompt = read_prompt(made, "[[The]] [[🙂]] cat", None, True)
    assert [made.convert_ids_to_tokens(id) for id in prompt.ids] == [
        "<s>", "▁The", "▁", "<0xF0>", "<0x9F>", "<0x99>", "<0x82>", "▁cat",
    ]  # fmt: skip
    assert prompt.marks == (None, 0, None, 1, 1, 1, 1, None)


def test_offsets_without_white_space():
    from tokenizers import processors

    made = coder()
    made.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)  # as RoBERTa's
    text = "a\n\n[[  \n]]b [[cat]]"
    assert read_prompt(made, text, None, True) == read_prompt(tokenizer(), text, None, True)


# Marked passages


def marks(text, by=True):
    return pieces(tokenizer(), read_prompt(tokenizer(), text, None, by))


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
def test_brackets_mark_segments(text, expected):
    assert marks(text) == expected


def test_brackets_are_no_part_of_the_text():
    prompt = read_prompt(tokenizer(), "The [[c]]at", None, True)
    assert list(prompt.ids) == tokenizer()("The cat")["input_ids"]
    assert prompt.marks == (None, 0)


def test_character_spans_mark_segments_in_their_order():
    assert marks("The cat sat", [(8, 11), (0, 3)]) == [("The", P, 1), (" cat", P), (" sat", P, 0)]
    assert marks("[[cat]]", [(2, 5)]) == [("[[", P), ("cat", P, 0), ("]]", P)]
    assert marks("The cat", [[0, 7]]) == [("The cat", P, 0)]


def test_special_tokens_around_a_prompt_are_in_no_segment():
    from models import ending_tokenizer

    prompt = read_prompt(ending_tokenizer(), "[[The cat]]", None, True)
    assert prompt.marks == (0, 0, None)
    assert prompt.roles == (P, P, P)


def test_units_are_counted_through_all_messages():
    messages = chat("Be [[brief]].", "a [[cat]] [[b]]", first="system")
    assert pieces(coder(), read_prompt(coder(), None, messages, True)) == [
        ("<|start|>system\n", T), ("Be ", S), ("brief", S, 0), (".", S), ("<|end|><|start|>user\n", T),
        ("a", U), (" cat", U, 1), (" ", U), ("b", U, 2), ("<|end|><|start|>assistant\n", T),
    ]  # fmt: skip


def test_units_in_what_a_template_strips_and_cuts():
    found = pieces(coder(STRIPPING), read_prompt(coder(STRIPPING), None, chat("[[ The ]] [[cat ]]"), True))
    assert found[1:3] == [("The ", U, 0), (" cat", U, 1)]
    made = coder(THINKING)
    messages = chat("a", "<think>why</think>\nThe [[cat]]", "b")
    assert (" cat", A, 0) in pieces(made, read_prompt(made, None, messages, True))
    with pytest.raises(InputError, match="'why' has no token of its own: the chat template leaves it out"):
        read_prompt(made, None, chat("a", "<think>[[why]]</think>\nThe cat", "b"), True)


def test_marked_segments_become_spans():
    prompt = read_prompt(tokenizer(), "The [[cat sat]] on", None, True)
    _, tokens = read(tokenizer(), prompt.ids, prompt.roles)
    assert marked(tokens, prompt.marks) == [(0, 1), (1, 3), (3, len(tokens))]


# Bad input: one sentence


@pytest.mark.parametrize(
    ("prompt", "messages", "by", "sentence"),
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
def test_bad_input(prompt, messages, by, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        read_prompt(tokenizer(), prompt, messages, by)
    assert str(caught.value).endswith((".", "it.", "them."))


def test_what_a_template_refuses_is_said():
    with pytest.raises(InputError, match="refuses these messages: roles must be user or assistant"):
        read_prompt(coder(INST), None, [{"role": "tool", "content": "a"}])
    with pytest.raises(InputError, match="no chat template"):
        read_prompt(coder(None), None, chat("a"))


# The user's tokenizer


@pytest.mark.parametrize("by", [False, True])
def test_the_tokenizer_is_left_as_it_was(by):
    made = coder()
    made.backend_tokenizer.enable_truncation(3)
    made.backend_tokenizer.enable_padding(length=30)
    before = made.backend_tokenizer.to_str()
    assert len(read_prompt(made, "The [[cat]] sat on the mat", None, by).ids) > 3
    read_prompt(made, None, chat("The [[cat]] sat on the mat"), by)
    with pytest.raises(InputError):
        read_prompt(made, "a [[b", None, [(9, 9)])
    assert made.backend_tokenizer.to_str() == before


# The real default model's tokenizer


@pytest.fixture(scope="module")
def real():
    from tokensal.adapters.embedded import folder

    if (place := folder()) is None:
        pytest.skip("the default model is not installed")
    return hf.AutoTokenizer.from_pretrained(place)


@pytest.mark.real
def test_the_real_template(real):
    messages = chat("You are [[brief]].", "system 東京 👩‍👩‍👧? [[Don't\n\nsay user]]", first="system")
    prompt = read_prompt(real, None, messages, True)
    assert pieces(real, prompt) == [
        ("<|im_start|>system\n", T), ("You are", S), (" brief", S, 0), (".", S), ("<|im_end|>\n<|im_start|>user\n", T),
        ("system 東京 👩‍👩‍👧?", U), (" Don't\n\nsay user", U, 1), ("<|im_end|>\n<|im_start|>assistant\n", T),
    ]  # fmt: skip
    found = pieces(real, read_prompt(real, None, chat("Hi.", "Hello")))
    assert found[0] == ("<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
                        "<|im_end|>\n<|im_start|>user\n", T)  # fmt: skip
    assert found[1:] == [("Hi.", U), ("<|im_end|>\n<|im_start|>assistant\n", T), ("Hello", A)]
