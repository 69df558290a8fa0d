"""What can be asked: groups of targets, contrasts, the prompt itself, units and roles of sources, own scores.

The slow twin of a group, or of a contrast, is a plain forward of each of its texts by ids; their gradients are added up
by hand, on an axis of the prompt, the one text, and the other.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import pytest
import slow_twins
import slow_twins_seq2seq
import torch
from counting import CountingAdapter
from models import ARCHITECTURES, ENCODER_DECODERS, adapter, ending_tokenizer

from tokensal import (
    LIME,
    LRP,
    METHODS,
    RISE,
    AttentionGradCAM,
    AttentionRollout,
    Attribution,
    ContextCite,
    ExtremalPerturbation,
    GradCAM,
    Gradient,
    GradientRollout,
    GradientSHAP,
    Hierarchical,
    HierarchicalOcclusion,
    InputXGradient,
    IntegratedGradients,
    KernelSHAP,
    Occlusion,
    OwenValues,
    ShapleySampling,
    ShapleyValues,
    SmoothGrad,
    ValueZeroing,
    VarGrad,
    attribute,
)
from tokensal.engine import Engine
from tokensal.errors import InputError
from tokensal.methods.quadrature import RULES
from tokensal.perturbations.protection import protected_sources
from tokensal.questions.masks import visible_units
from tokensal.questions.selection import select_sources, select_targets
from tokensal.render.layout import lay_out
from tokensal.scores import SCORES, entropy, logprob, prob
from tokensal.types import Branch, Group

PROMPT, ANSWER = [5, 40, 41, 7, 40, 99, 12], [40, 3, 200, 40, 8]
TRUNK = len(PROMPT)
OUTPUT, WEIGHTS = 0, 1  # where an attention module returns them

# Options under which each method is exact, however the scores of several targets are put together
EVERY = {
    "gradient": Gradient(),
    "input_x_gradient": InputXGradient(),
    "integrated_gradients": IntegratedGradients(steps=3),
    "occlusion": Occlusion(),
    "grad_cam": GradCAM(layers="all"),
    "grad_cam by channel": GradCAM(layers="all", rule="channel_mean"),
    "attention_grad_cam": AttentionGradCAM(layers="all"),
    "attention_grad_cam by head": AttentionGradCAM(layers="all", rule="head_mean", rows="all"),
    "gradient_rollout": GradientRollout(layers="all"),
}
# Their groups, contrasts and units are in the battery
TWINS_IN_BATTERY = {
    "smooth_grad": SmoothGrad(samples=2, seed=1),
    "var_grad": VarGrad(samples=3, seed=1),
    "gradient_shap": GradientSHAP(samples=2, seed=1),
    "attention_rollout": AttentionRollout(),
    "value_zeroing": ValueZeroing(),
    "lrp": LRP(),
    **{name: METHODS[name]() for name in ("guided_backprop", "deconvnet", "gim", "deep_lift", "value_x_gradient")},
    **{name: METHODS[name]() for name in ("attention", "information_flow_routes", "alti_logit")},
    "shapley_values": ShapleyValues(),
    "shapley_sampling": ShapleySampling(samples=4),
    "kernel_shap": KernelSHAP(),
    "owen_values": OwenValues(samples=4),
    "hierarchical_occlusion": HierarchicalOcclusion(),
    "hierarchical": Hierarchical(),
    "rise": RISE(samples=8),
    "extremal_perturbation": ExtremalPerturbation(steps=2, areas=(0.5,)),
    "lime": LIME(samples=16),
    "context_cite": ContextCite(samples=16),
}
# What is not credited is not altered either, which changes the scores of the others
TOGETHER = (
    "integrated_gradients",
    "smooth_grad",
    "var_grad",
    "gradient_shap",
    "deep_lift",
    "shapley_values",
    "shapley_sampling",
    "kernel_shap",
    "owen_values",
    "hierarchical_occlusion",
    "hierarchical",
    "rise",
    "extremal_perturbation",
    "lime",
    "context_cite",
)
LINEAR = ("input_x_gradient", "integrated_gradients", "occlusion")
SIGNS = {
    "answer": [(1, ANSWER)],
    "longer": [(1, ANSWER[:2]), (-1, [9, 77, 30])],
    "shorter": [(1, ANSWER[:3]), (-1, [9])],
}

every_method = pytest.mark.parametrize("method", EVERY)
every_model = pytest.mark.parametrize("name", [*ARCHITECTURES, *ENCODER_DECODERS])


@cache
def tiny(name: str):
    return adapter(name)


def exact(model, example, method, score=logprob):
    """In float64: a result is stored in float32."""
    return EVERY[method](example, Engine(model, score))


def asked(model, parts):
    """The example of one group: the sum of a text, less that of another one in its place."""
    example = model.example(PROMPT, continuation=parts[0][1])
    if len(parts) == 1:
        return select_targets(example, "output")
    return model.contrasted(example, range(len(parts[0][1])), parts[1][1])


# Slow twins


def axis(parts):
    """Of each text, where its tokens stand among all sources; and how many sources there are."""
    places, end = [], TRUNK
    for _, text in parts:
        places.append([*range(TRUNK), *range(end, end + len(text) - 1)])
        end += len(text) - 1
    return places, end


def each(parts):
    """(sign, the places of what was read, what was read, the target) of each token of the texts."""
    places, _ = axis(parts)
    for (sign, text), where in zip(parts, places, strict=True):
        for row, target in enumerate(text):
            before = [*PROMPT, *text[:row]]
            yield sign, where[: len(before)], before, target


def summed_gradients(made, parts):
    """The gradient of the group at each source, and its embedding: (S, D) both."""
    _, size = axis(parts)
    gradient, embeds = torch.zeros(2, size, 32, dtype=torch.float64)
    for sign, where, before, target in each(parts):
        found, values = slow_twins.gradients(made, before, target, "logprob")
        gradient[where] += sign * found
        embeds[where] = values
    return gradient, embeds


def inside(made, parts, place):
    """(activation, summed gradient) of each layer on the axis of all sources, and the places that predict."""
    _, size = axis(parts)
    layers, predicting = {}, set()
    for sign, where, before, target in each(parts):
        predicting.add(where[-1])
        for layer, (activation, gradient) in enumerate(read(made, before, target, place)):
            if place == OUTPUT:
                index, shape = torch.tensor(where), (size, activation.shape[-1])
            else:
                index, shape = torch.tensor(where), (len(activation), size, size)
            whole, total = layers.setdefault(layer, (torch.zeros(shape).double(), torch.zeros(shape).double()))
            if place == OUTPUT:
                whole[index] = activation
                total[index] += sign * gradient
            else:
                whole[:, index[:, None], index] = activation
                total[:, index[:, None], index] += sign * gradient
    return list(layers.values()), sorted(predicting)


def read(made, before, target, place):
    found = []
    hooks = [
        module.register_forward_hook(lambda module, inputs, output: found.append(output[place]))
        for module in made.modules()
        if type(module).__name__.endswith("Attention")
    ]
    logits = made(input_ids=torch.tensor([before]), use_cache=False).logits[0, -1]
    for hook in hooks:
        hook.remove()
    gradients = torch.autograd.grad(slow_twins.SCORES["logprob"](logits, target), found)
    return [(one.detach()[0], gradient[0]) for one, gradient in zip(found, gradients, strict=True)]


def twin(made, parts, method):
    """The row of scores (S,) of the group."""
    if method in ("gradient", "input_x_gradient"):
        gradient, embeds = summed_gradients(made, parts)
        return gradient.norm(dim=-1) if method == "gradient" else (gradient * embeds).sum(-1)
    if method == "occlusion":
        return occluded(made, parts)
    if method == "integrated_gradients":
        return integrated(made, parts)
    if method.startswith("grad_cam"):
        layers, _ = inside(made, parts, OUTPUT)
        by_channel = method.endswith("channel")
        return sum(((g.mean(0) if by_channel else g) * h).sum(-1).clamp(min=0) for h, g in layers)
    layers, predicting = inside(made, parts, WEIGHTS)
    if method == "gradient_rollout":
        relevance = torch.eye(layers[0][0].shape[-1], dtype=torch.float64)
        for attention, gradient in layers:
            relevance = relevance + (attention * gradient).clamp(min=0).mean(0) @ relevance
        return (relevance - torch.eye(len(relevance)))[predicting].sum(0)
    if method.endswith("head"):
        return by_head(layers, parts)
    return sum((attention * gradient).clamp(min=0).sum(0)[predicting].sum(0) for attention, gradient in layers)


def by_head(layers, parts):
    places, _ = axis(parts)
    cells = {(where[row], where[column]) for where in places for row in range(len(where)) for column in range(row + 1)}
    rows, columns = torch.tensor(sorted(cells)).T
    total = torch.zeros(axis(parts)[1], dtype=torch.float64)
    for attention, gradient in layers:
        means = gradient[:, rows, columns].mean(1)
        products = (means[:, None] * attention[:, rows, columns]).sum(0).clamp(min=0)
        total = total.index_add(0, columns, products)
    return total


def occluded(made, parts):
    drops = []
    for source in range(axis(parts)[1]):
        drop = 0.0
        for sign, where, before, target in each(parts):
            if source in where:
                place = where.index(source)
                left = slow_twins.without(made, before, range(place, place + 1), "mask", target, "logprob")
                drop += sign * (slow_twins.value(made, before, target, "logprob") - left)
        drops.append(drop)
    return torch.stack([torch.as_tensor(drop) for drop in drops])


def integrated(made, parts):
    nodes, weights = RULES["gauss_legendre"](3)
    total = torch.zeros(axis(parts)[1], dtype=torch.float64)
    zero = torch.zeros(32, dtype=torch.float64)
    for sign, where, before, target in each(parts):
        rows = slow_twins.integrated_gradients(
            made, before, [target], zero, {0}, nodes, weights, "logprob"
        )  # the sink is kept
        total[where] += sign * rows[0]
    return total


@every_method
@pytest.mark.parametrize("parts", SIGNS)
@pytest.mark.parametrize("name", ["Llama", "GPT-2"])
def test_a_group_and_a_contrast_agree_with_their_slow_twin(name, parts, method):
    model, texts = tiny(name), SIGNS[parts]
    made = model.model if method in LINEAR else adapter(name, attention="eager").model  # whose weights can be read
    found = exact(model, asked(model, texts), method).matrix[0]
    expected = twin(made, texts, method)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)  # eager attention rounds to float32


@pytest.mark.parametrize("method", LINEAR)
@every_model
def test_a_contrast_of_texts_as_long_is_token_against_token(name, method):
    model, other = tiny(name), [9, 77, 30]
    answer = ANSWER[:3]
    pair = exact(model, model.contrasted(model.example(PROMPT, continuation=answer), range(3), other), method)
    one, against = (exact(model, model.example(PROMPT, continuation=text), method) for text in (answer, other))
    first = len(model.example(PROMPT, continuation=answer).sources) - 2
    expected = torch.zeros(3, first + 4, dtype=torch.float64)
    expected[:, : first + 2] += one.matrix.nan_to_num()
    expected[:, [*range(first), first + 2, first + 3]] -= against.matrix.nan_to_num()
    rough = name in ("Mixtral", "Qwen 3 MoE")
    torch.testing.assert_close(pair.values, one.values - against.values, rtol=1e-6, atol=1e-7)
    scored = slice(None) if pair.scored is None else pair.scored
    seen = torch.tensor(
        [
            [place <= first + row - 1 or first + 2 <= place < first + 2 + row for place in range(first + 4)]
            for row in range(3)
        ]
    )
    found = torch.where(seen, pair.matrix, 0)[:, scored]
    torch.testing.assert_close(
        found, torch.where(seen, expected, 0)[:, scored], rtol=1e-3 if rough else 1e-6, atol=1e-4 if rough else 1e-7
    )


@every_method
@every_model
def test_two_ways_to_go_on_equal_one_forward_where_both_are_a_token(name, method):
    model = tiny(name)
    example = model.contrasted(model.example(PROMPT, continuation=ANSWER), range(2, 3), [77])
    assert example.branch is None and example.groups == (Group((0,), (1,)),)
    with_contrast = replace(example, branch=Branch(len(example.sources), 1))
    one, two = exact(model, example, method), exact(model, with_contrast, method)
    torch.testing.assert_close(two.values, one.values, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(two.matrix, one.matrix, rtol=1e-5, atol=1e-6, equal_nan=True)


@every_model
def test_a_contrast_is_certified_as_a_difference(name):
    model = tiny(name)
    method = IntegratedGradients(max_evaluations=2048) if name == "Llama" else IntegratedGradients(steps=2)
    result = attribute(model, PROMPT, continuation=ANSWER[:2], contrast=[9, 77, 30], method=method)
    total, delta = result.diagnostics["total"], result.diagnostics["convergence_delta"]
    assert len(result.targets) == len(total.values) == 1
    torch.testing.assert_close(
        result.scores.nansum(1).double(), (total.values + delta.values).double(), rtol=1e-4, atol=1e-4
    )
    if name == "Llama":
        assert delta.reached.all() and total.values.abs() > 0.1
    whole = [attribute(model, PROMPT, continuation=text).values.sum() for text in (ANSWER[:2], [9, 77, 30])]
    torch.testing.assert_close(result.values[0], whole[0] - whole[1], rtol=1e-4, atol=1e-4)


def test_a_contrast_of_one_token_costs_one_forward():
    model = CountingAdapter(adapter("Llama"))
    example = model.inner.contrasted(model.example(PROMPT, continuation=ANSWER), range(1), [77])
    InputXGradient()(example, Engine(model))
    assert model.forwards == 1


def test_a_contrast_shows_both_texts():
    model = tiny("Llama")
    result = attribute(model, "The cat sat", continuation=" on the mat", contrast="in a log")
    assert result.text.endswith("\n in a log")  # with the space that the answer begins with
    assert [target.against for target in result.targets] != [""] * len(result.targets)
    assert "contrast" in {source.role for source in result.sources}
    assert result.provenance.question == {"contrast": "in a log"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contrast": ANSWER}, "what was written"),
        ({"contrast": []}, "empty"),
        ({"contrast": [5000]}, "outside the model's vocabulary"),
        ({"contrast": [9], "targets": "regex:."}, "one piece"),
        ({"targets": "sentense"}, "did you mean 'sentence'"),
        ({"targets": "text:nowhere"}, "nowhere in what is to be explained"),
        ({"targets": "regex:["}, "cannot be read"),
        ({"targets": "500:600"}, "nowhere"),
        ({"unit": "wrod"}, "did you mean 'word'"),
        ({"sources": "usr"}, "did you mean 'user'"),
        ({"sources": "system"}, "No source is system"),
        ({"explain": "promt"}, "did you mean 'prompt'"),
        ({"explain": "prompt"}, "leave out what is about an answer"),
        ({"alternatives": -1}, "from 0 to 1000"),
        ({"score": "logprop"}, "did you mean 'logprob'"),
        ({"score": 3}, "should be a name or a function"),
        ({"score": lambda logits: logits}, "one number for each target"),
    ],
)
def test_what_cannot_be_asked(options, message):
    with pytest.raises(InputError, match=re.escape(message)):
        attribute(tiny("Llama"), PROMPT, continuation=ANSWER, **options)


# Targets


def test_one_backward_for_each_group_and_not_for_each_token():
    model = CountingAdapter(adapter("Llama"))
    example = select_targets(model.example(PROMPT, continuation=ANSWER), "output")
    calls = []
    InputXGradient()(example, Engine(model, progress=lambda done, total: calls.append((done, total))))
    assert calls[-1] == (1, 1)


def test_targets_that_are_not_asked_about_cost_nothing():
    model = CountingAdapter(adapter("Llama"))
    whole = model.example(PROMPT, continuation=ANSWER)
    example = select_targets(whole, f"{whole.targets[1].start}:{whole.targets[1].stop}")
    assert example.targets == whole.targets[1:2]
    assert example.sources == whole.sources[: TRUNK + 1]
    InputXGradient()(example, Engine(model))
    assert (model.token_rows, model.head_rows) == (TRUNK + 1, 1)


TEXT, GIVEN = "The cat sat.", " On the mat. The dog sat on the log."


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ("output", [GIVEN]),
        ("text:the", [" the", " the"]),
        ("text:dog sat", [" dog sat"]),
        ("regex:(?i)the", [" the", " The", " the"]),
        (re.compile("mat|log"), [" mat", " log"]),
        (["text:mat", "text:log", "text:dog"], [" mat", " log", " dog"]),
        ((13, 15), [" On"]),
        ("13:19", [" On the"]),
        ("sentence", [" On the mat.", " The dog sat on the log."]),
        ("word", [" On", " the", " mat", ".", " The", " dog", " sat", " on", " the", " log", "."]),
    ],
)
def test_targets_are_chosen_as_people_think_of_them(targets, expected):
    result = attribute(tiny("Llama"), TEXT, continuation=GIVEN, targets=targets)
    texts = [target.text for target in result.targets]
    # a token may hold more than what was asked for
    assert len(texts) == len(expected)
    assert all(
        wanted.strip() in text and len(text) <= len(wanted) + 4 for text, wanted in zip(texts, expected, strict=True)
    )
    assert result.text == TEXT + GIVEN
    assert [result.text[target.start : target.stop] for target in result.targets] == texts


def test_the_prompt_can_be_explained():
    model = tiny("Llama")
    result = attribute(model, PROMPT, explain="prompt", method="input_x_gradient")
    same = attribute(model, PROMPT[:1], continuation=PROMPT[1:], method="input_x_gradient")
    assert result.scores.nan_to_num().equal(same.scores.nan_to_num())
    assert [target.ids for target in result.targets] == [(id,) for id in PROMPT[1:]]
    both = attribute(model, PROMPT, explain="all", continuation=ANSWER)
    assert [target.ids for target in both.targets] == [(id,) for id in (*PROMPT[1:], *ANSWER)]
    with pytest.raises(InputError, match="one token"):
        attribute(model, [5], explain="prompt")
    with pytest.raises(InputError, match="predicts no token of its prompt"):
        attribute(tiny("T5"), PROMPT, explain="prompt")


# Sources


@every_method
@every_model
def test_units_add_up_or_are_altered_whole(name, method):
    model = tiny(name)
    whole = model.example(PROMPT, continuation=ANSWER)
    size = len(whole.sources)
    spans = ((0, 2), (2, 3), (3, 7), *((start, start + 1) for start in range(7, size)))
    example = replace(whole, units=spans, credited=())
    found, apart = exact(model, example, method), exact(model, whole, method)
    assert found.matrix.shape == (len(ANSWER), len(spans))
    if method == "occlusion":
        return
    for column, (start, stop) in enumerate(spans):
        reached = torch.tensor(
            [[source <= predictor for source in range(start, stop)] for predictor in whole.predictors]
        )
        expected = torch.where(reached, apart.matrix[:, start:stop], 0).sum(1)
        seen = visible_units(example)[:, column]
        torch.testing.assert_close(found.matrix[seen, column], expected[seen], rtol=1e-9, atol=1e-9)


def test_occlusion_takes_a_segment_away_whole_in_one_pass():
    model = tiny("Llama")
    whole = model.example(PROMPT, continuation=ANSWER)
    spans = [(0, 2), (2, 5), (5, 7), (7, 9), (9, 11)]
    counting = CountingAdapter(model)
    found = Occlusion()(replace(whole, units=tuple(spans), credited=()), Engine(counting)).matrix
    assert counting.forwards <= 1 + len(spans)
    expected = slow_twins.occlusion(model.model, PROMPT, ANSWER, spans, "mask", "logprob")
    seen = ~expected.isnan()
    torch.testing.assert_close(found[seen], expected[seen], rtol=1e-8, atol=1e-8)


CHAT = [
    {"role": "system", "content": "Be kind, and short."},
    {"role": "user", "content": "The cat sat on the mat."},
    {"role": "assistant", "content": "The dog"},
]


@pytest.mark.parametrize("method", EVERY | TWINS_IN_BATTERY)
def test_only_the_chosen_roles_are_credited_with_the_same_numbers(method):
    model = tiny("Llama")
    options = {"messages": CHAT, "continuation": " sat", "method": (EVERY | TWINS_IN_BATTERY)[method]}
    options["unit"] = "sentence" if method == "shapley_values" else "token"  # which takes few
    everything, limited = attribute(model, **options), attribute(model, **options, sources=["user", "generated"])
    chosen = torch.tensor([source.role in ("user", "generated") for source in limited.sources])
    assert limited.sources == everything.sources
    assert chosen.any() and not chosen.all()
    assert limited.visible.equal(everything.visible & chosen)
    if method not in TOGETHER:
        left = limited.scores[limited.visible]
        torch.testing.assert_close(left, everything.scores[limited.visible], rtol=1e-4, atol=1e-5)


def test_template_and_special_tokens_are_not_altered_unless_asked():
    model = tiny("Llama")
    options = {"messages": CHAT, "continuation": " sat"}
    result = attribute(model, **options, method=Occlusion())
    around = torch.tensor([source.role == "template" or source.special for source in result.sources])
    assert around.sum() > 5
    assert not result.visible[:, around].any() and result.visible[-1, ~around].all()
    asked_for = attribute(model, **options, method=Occlusion(keep=[]))
    assert asked_for.visible[-1].all()
    integrated = attribute(model, **options, method=IntegratedGradients(steps=2))
    assert (integrated.scores[:, around].nan_to_num() == 0).all()
    with pytest.raises(InputError, match="nothing is left to attribute"):
        attribute(model, **options, method=Occlusion(), sources="template")


def test_what_is_not_credited_before_the_rest_is_run_once_without_a_graph():
    model = CountingAdapter(adapter("Llama"))
    prompt = [5 + place % 90 for place in range(40)]
    example = model.example(prompt, continuation=ANSWER)
    limited = replace(example, credited=(False,) * 38 + (True,) * 6)
    found = Gradient()(limited, Engine(model)).matrix
    expected = Gradient()(example, Engine(adapter("Llama"))).matrix
    torch.testing.assert_close(found[:, 38:], expected[:, 38:], rtol=1e-9, atol=1e-9)
    assert model.token_rows == 44 + 6  # all of it once, and the rest on a graph


def test_marked_passages_are_one_source_each():
    model = tiny("Llama")
    prompt = "Read [[The cat sat.]] and [[The dog sat.]] Who sat?"
    result = attribute(model, prompt, continuation=" the", unit="marked", method="occlusion")
    texts = [source.text for source in result.sources]
    assert any("The cat sat" in text for text in texts) and any("The dog sat" in text for text in texts)
    assert len(texts) <= 5
    assert "[[" not in result.text
    spans = [(5, 17), (22, 34)]
    plain = attribute(
        model, prompt.replace("[[", "").replace("]]", ""), continuation=" the", unit=spans, method="occlusion"
    )
    assert [source.text for source in plain.sources] == [source.text for source in result.sources]
    assert plain.scores.nan_to_num().equal(result.scores.nan_to_num())


def test_units_do_not_join_what_two_stacks_read():
    model = tiny("T5")
    example = select_sources(model.example("cat sat", continuation=" cat"), "message", None)
    assert (0, example.encoder) not in example.units or example.units[-1][1] > example.encoder
    assert all(stop <= example.encoder or start >= example.encoder for start, stop in example.units)


# Scores of one's own, and what else was considered


def test_a_score_of_ones_own_is_a_function():
    model = tiny("Llama")
    options = {"continuation": ANSWER, "method": "input_x_gradient"}
    named = attribute(model, PROMPT, **options, score="prob")
    own = attribute(model, PROMPT, **options, score=lambda logits, targets: prob(logits, targets))
    assert own.scores.nan_to_num().equal(named.scores.nan_to_num())

    def margin(logits):
        best = logits.topk(2, -1).values
        return best[..., 0] - best[..., 1]

    result = attribute(model, PROMPT, **options, score=margin)
    assert result.provenance.score == "margin"
    assert (result.values > 0).all()


def test_entropy_is_what_its_definition_says():
    logits = torch.randn(2, 3, 50, dtype=torch.float64)
    expected = torch.distributions.Categorical(logits=logits).entropy()
    torch.testing.assert_close(entropy(logits, torch.zeros(3, dtype=torch.long)), expected)
    assert SCORES["entropy"] is entropy


def test_alternatives_are_what_the_model_held_likeliest(tmp_path):
    model = tiny("Llama")
    result = attribute(model, PROMPT, continuation=ANSWER, alternatives=3)
    for row, considered in enumerate(result.alternatives):
        with torch.no_grad():
            logits = model.model(torch.tensor([[*PROMPT, *ANSWER[:row]]])).logits[0, -1].softmax(-1)
        best = logits.topk(3)
        assert [one.id for one in considered] == best.indices.tolist()
        assert [one.probability for one in considered] == pytest.approx(best.values.tolist(), rel=1e-5)
        assert considered[0].text == model.tokenizer.decode([considered[0].id])
    result.save(tmp_path / "r.json")
    assert Attribution.load(tmp_path / "r.json").alternatives == result.alternatives


def test_every_method_is_asked_here():
    assert {type(method) for method in (EVERY | TWINS_IN_BATTERY).values()} == set(METHODS.values())


def test_a_seq2seq_contrast_agrees_with_its_slow_twin():
    model, other = tiny("BART"), [9, 77, 30]
    start = model.example(PROMPT, continuation=ANSWER).sources[TRUNK].id
    found = exact(
        model, model.contrasted(model.example(PROMPT, continuation=ANSWER[:2]), range(2), other), "input_x_gradient"
    )
    total = torch.zeros(TRUNK + 1 + 1 + 2, dtype=torch.float64)
    for sign, text, places in ((1, ANSWER[:2], [TRUNK + 1]), (-1, other, [TRUNK + 2, TRUNK + 3])):
        rows = slow_twins_seq2seq.attribution(
            model.model, PROMPT, [start, *text], ("input_x_gradient", None), "logprob"
        )
        total[[*range(TRUNK + 1), *places]] += sign * rows.nan_to_num().sum(0)
    torch.testing.assert_close(found.matrix[0], total, rtol=1e-8, atol=1e-8)
    assert ending_tokenizer() is model.tokenizer


@pytest.mark.parametrize(
    ("prompt", "unit", "sink"),
    [
        ("The cat", "token", None),
        ("The cat", "word", None),
        ("<|start|>The cat", "word", 0),
        ("<|start|>The cat", "sentence", 0),
        ("[[<|start|>The]] cat", "marked", None),
    ],
)
def test_the_sink_is_special_and_never_content(prompt, unit, sink):
    options = {"continuation": " sat", "method": "input_x_gradient"}
    assert attribute(tiny("Llama"), prompt, **options, unit=unit).sink == sink


@pytest.mark.parametrize("method", ["occlusion", "gradient"])
def test_a_word_that_comes_first_is_in_scale_and_ranking(method):
    result = attribute(tiny("Llama"), "The cat sat", continuation=" on", method=method)
    [row] = lay_out(result).rows
    assert row.limit == result.scores.abs().max() and row.sink_note == ""
    assert {cell.source for cell in row.top(9)} == {0, 1, 2}


def test_content_that_comes_first_is_kept_as_the_sink_on_an_integration_path():
    example = tiny("Llama").example("The cat", continuation=" sat")
    assert example.sink is None
    assert protected_sources(example, "sink").tolist() == [True, False]
    example = tiny("BART").example("The cat", continuation=" sat")
    assert protected_sources(example, "sink").tolist().index(True) == example.encoder == example.sink


@pytest.mark.parametrize("method", ["gradient", "input_x_gradient"])
@every_model
def test_a_beginning_without_a_graph_changes_no_number(name, method):
    model = tiny(name)
    example = model.example(PROMPT, continuation=ANSWER)
    size = len(example.sources)
    for first in (5, size - 3):
        limited = replace(example, credited=(False,) * first + (True,) * (size - first))
        found, expected = exact(model, limited, method), exact(model, example, method)
        torch.testing.assert_close(found.values, expected.values, rtol=1e-9, atol=1e-9)
        left = (found.matrix - expected.matrix)[:, first:].abs().max()
        assert left < (1e-4 if name in ("Mixtral", "Qwen 3 MoE") else 1e-8)
        assert expected.matrix[-1, first:].abs().min() > 0
