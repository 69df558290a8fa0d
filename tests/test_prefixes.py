"""Work shared on what perturbations begin with: it changes no number, and what it spares is counted."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
import transformers as hf
from builders import CONTINUATION, PROMPT, every_architecture, tiny
from counting import CountingAdapter
from models import CONTEXT, GROUPED, tokenizer
from test_battery import Scarce

from tokensal import Budget, adapt
from tokensal.adapters.layers import smallest_window, unscaled_length
from tokensal.engine import Engine, budget
from tokensal.engine.prefixes import by_pattern, with_best_cuts
from tokensal.perturbations.removals import Removals
from tokensal.types import Example

LONG = [(7 * place) % 300 + 3 for place in range(CONTEXT - 16)]  # the windows of Mistral and Gemma 3 are 6 and 4


@pytest.fixture
def cuts_cost_nothing(monkeypatch):
    monkeypatch.setattr(budget, "CPU_FIXED", 0)


def coalitions(rows: int, sources: int, seed: int = 0) -> torch.Tensor:
    """Which sources are absent in random halves: (rows, sources) bool; the last one, which predicts, never."""
    absent = torch.rand(rows, sources, generator=torch.Generator().manual_seed(seed)) < 0.5
    absent[:, -1] = False
    return absent


def table(example: Example, rows: int = 24) -> torch.Tensor:
    """Random halves of the prompt, some of them twice, one whole, one that is absent up to the first predictor."""
    absent = torch.zeros(rows, len(example.sources), dtype=torch.bool)
    first = example.predictors[0]
    absent[:, :first] = coalitions(rows, first + 1)[:, :first]
    absent[3], absent[4], absent[5, :first] = absent[1], False, True
    if example.encoder:
        absent[5, 0] = False
    return absent


def removed(adapted, example: Example, absent: torch.Tensor, replaced: bool = False) -> Removals:
    embeds = adapted.embed(example)
    return Removals(embeds, absent, embeds.flip(0) if replaced else None)


def each_alone(adapted, example: Example, absent: torch.Tensor, replaced: bool = False) -> torch.Tensor:
    """Scores of each row by itself, from its beginning: `altered_from` says that it alters the first source."""
    rows = []
    for row in absent:
        perturbed = removed(adapted, example, row[None], replaced).rows(torch.tensor([0]), 0)
        rows.append(Engine(adapted).scores(example, perturbed))
    return torch.cat(rows)


@pytest.mark.usefixtures("cuts_cost_nothing")
@every_architecture
@pytest.mark.parametrize("replaced", [False, True], ids=["mask", "replacement"])
def test_coalitions_that_share_prefixes_have_the_scores_of_each_alone(name, replaced):
    adapted = tiny(name)
    example = adapted.example(PROMPT, continuation=CONTINUATION)
    absent = table(example)
    expected = each_alone(adapted, example, absent, replaced)
    counting = CountingAdapter(adapted)
    found = Engine(counting).scores(example, removed(adapted, example, absent, replaced))
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)
    if not example.encoder:
        assert counting.prefixes > 0
    order = torch.randperm(len(absent), generator=torch.Generator().manual_seed(1))
    for engine in (Engine(adapted, budget=Budget(rows=1)), Engine(Scarce(adapted), budget=Budget(rows=10**6))):
        found = engine.scores(example, removed(adapted, example, absent[order], replaced))
        torch.testing.assert_close(found, expected[order], rtol=1e-8, atol=1e-10)


@pytest.mark.usefixtures("cuts_cost_nothing")
@pytest.mark.parametrize("name", ["Llama", "GPT-2", "OPT", "Mistral", "Gemma 3"])
def test_prefixes_longer_than_the_window_of_a_layer_are_shared_exactly(name):
    adapted = tiny(name)
    example = adapted.example(LONG, continuation=CONTINUATION)
    absent = table(example, rows=10)
    absent[:, 6:30] = absent[:1, 6:30]  # several cuts, far from one another
    absent[:, 36:44] = absent[:1, 36:44]
    found = Engine(adapted).scores(example, removed(adapted, example, absent))
    torch.testing.assert_close(found, each_alone(adapted, example, absent), rtol=1e-8, atol=1e-10)


@pytest.mark.usefixtures("cuts_cost_nothing")
@pytest.mark.parametrize("contrast", [" the", " the cat saw"])
def test_both_continuations_of_a_contrast_share_prefixes(contrast):
    adapted = tiny("Llama")
    plain = adapted.example(PROMPT, continuation=CONTINUATION)
    example = adapted.contrasted(plain, range(2), contrast)
    absent = table(example)
    counting = CountingAdapter(adapted)
    found = Engine(counting).scores(example, removed(adapted, example, absent))
    torch.testing.assert_close(found, each_alone(adapted, example, absent), rtol=1e-8, atol=1e-10)
    assert counting.prefixes > 0


def test_a_model_whose_states_are_not_shared_runs_each_coalition_from_its_beginning(monkeypatch, cuts_cost_nothing):
    adapted = tiny("Llama")
    example = adapted.example(PROMPT, continuation=CONTINUATION)
    absent = table(example)
    expected = Engine(adapted).scores(example, removed(adapted, example, absent))
    monkeypatch.setattr(adapted, "_findings", replace(adapted._findings, continues=False))
    counting = CountingAdapter(adapted)
    found = Engine(counting).scores(example, removed(adapted, example, absent))
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)
    assert counting.prefixes == 0


@pytest.mark.usefixtures("cuts_cost_nothing")
@pytest.mark.parametrize(("window", "skips"), [(30, False), (60, True)])
def test_masked_sources_are_skipped_up_to_the_window_of_a_layer(window, skips):
    """A trial of 8 tokens does not show a window of 30; the configuration says it."""
    torch.manual_seed(0)
    config = hf.MistralConfig(**GROUPED, sliding_window=window)
    network = hf.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter.data, std=0.3) if parameter.ndim > 1 else None
    adapted = adapt(network.eval().double(), tokenizer(), name="Mistral")
    example = adapted.example(LONG, continuation=CONTINUATION)
    assert adapted.skips(example) is skips
    assert adapted.skips(adapted.example(PROMPT, continuation=CONTINUATION))
    absent = table(example, rows=10)
    found = Engine(adapted).scores(example, removed(adapted, example, absent))
    tolerance = 1e-5  # its norms round to float32
    torch.testing.assert_close(found, each_alone(adapted, example, absent), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["Llama", "GPT-2", "Mistral"])
def test_what_is_deleted_is_not_run(name):
    adapted = tiny(name)
    example = adapted.example(PROMPT, continuation=CONTINUATION)
    absent = torch.zeros(1, len(example.sources), dtype=torch.bool)
    absent[0, [1, 2, 4]] = True
    with counted(adapted) as tokens:
        found = Engine(adapted).scores(example, Removals(adapted.embed(example), absent, closed=True))
    assert tokens == [len(example.sources) - 3]
    kept = [id for place, id in enumerate(PROMPT) if place not in (1, 2, 4)]
    expected = Engine(adapted).original(adapted.example(kept, continuation=CONTINUATION))
    torch.testing.assert_close(found[0], expected, rtol=1e-8, atol=1e-10)


# What it spares


@contextmanager
def counted(adapted):
    """The tokens of each forward of the model inside."""
    tokens = []
    hook = adapted.model.register_forward_pre_hook(
        lambda model, args, options: tokens.append(options["inputs_embeds"][..., 0].numel()), with_kwargs=True
    )
    yield tokens
    hook.remove()


def tokens_run(absent: torch.Tensor, *, skips: bool = False, replaced: bool = False, closed: bool = False) -> int:
    """How many tokens are run for coalitions of a long prompt, besides those of the example as it is."""
    adapted = tiny("Llama")
    findings = adapted._findings
    example = adapted.example(LONG, continuation=CONTINUATION)
    adapted._findings = replace(findings, skips=skips)
    try:
        with counted(adapted) as tokens:
            Engine(adapted).scores(example, replace(removed(adapted, example, absent, replaced), closed=closed))
    finally:
        adapted._findings = findings
    return sum(tokens) - len(example.sources)


def of_words(present: torch.Tensor, sources: int) -> torch.Tensor:
    """Coalitions of words, two tokens each, from the second token on."""
    absent = torch.zeros(len(present), sources, dtype=torch.bool)
    words = present.shape[1]
    absent[:, 1 : 1 + 2 * words] = (~present).repeat_interleave(2, dim=1)
    return absent


def test_what_64_coalitions_of_20_words_share_is_run_once_and_what_is_masked_is_not_run(monkeypatch):
    sources = len(LONG) + len(CONTINUATION) - 1
    absent = of_words(~coalitions(64, 21)[:, :20], sources)
    shared, skipped = tokens_run(absent), tokens_run(absent, skips=True)
    assert tokens_run(absent, replaced=True) == shared
    monkeypatch.setattr(budget, "CPU_FIXED", 10**9)
    apart = tokens_run(absent)
    assert (apart, shared, skipped) == (3020, 2736, 1857)


def test_nested_coalitions_share_half():
    """As those of a permutation: each unit is added to those before it."""
    sources = len(LONG) + len(CONTINUATION) - 1
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0)).argsort()
    absent = of_words(order < torch.arange(21)[:, None], sources)
    assert tokens_run(absent, replaced=True) < 21 * sources * 0.75


@pytest.mark.parametrize("closed", [False, True], ids=["mask", "delete"])
def test_coalitions_of_unlike_lengths_are_padded_little(closed):
    """As those of a curve: without the best units, and with these alone, of rankings that agree in nothing."""
    sources = len(LONG) + len(CONTINUATION) - 1
    rankings = [torch.randperm(20, generator=torch.Generator().manual_seed(seed)).argsort() for seed in range(4)]
    without = torch.cat([place >= torch.arange(2, 20, 2)[:, None] for place in rankings])
    absent = of_words(torch.cat([without, ~without]), sources)
    kept = sum(int((~row[int(row.int().argmax()) :]).sum()) for row in absent)  # from the first that is absent on
    assert tokens_run(absent, skips=True, closed=closed) < 1.15 * kept


def test_single_removals_are_not_cut():
    """From where each removes its source on, as little is run as can be."""
    prefixes = by_pattern(torch.arange(40), torch.eye(40, dtype=torch.uint8), torch.arange(41).expand(40, -1))
    assert prefixes.order.tolist() == list(range(40))
    assert with_best_cuts(prefixes, latest=38, fixed=24).cuts == ()


def test_cuts_are_where_many_go_on_from_few():
    pattern = torch.zeros(64, 30, dtype=torch.uint8)
    pattern[32:, 0] = 1
    pattern[:, 20:26] = (torch.arange(64)[:, None] >> torch.arange(6)) % 2
    starts, lengths = torch.zeros(64, dtype=torch.int64), torch.arange(31).expand(64, -1)
    prefixes = with_best_cuts(by_pattern(starts, pattern, lengths), latest=29, fixed=24)
    assert prefixes.cuts[0] == 20
    assert with_best_cuts(prefixes, latest=19, fixed=24).cuts == ()  # not behind the last source that may be one
    assert with_best_cuts(prefixes, latest=29, fixed=10**6).cuts == ()


@pytest.mark.parametrize(
    ("scaling", "length"),
    [
        (None, float("inf")),
        ({"rope_type": "linear", "factor": 2.0}, float("inf")),
        ({"rope_type": "dynamic", "factor": 2.0}, CONTEXT),
        ({"rope_type": "longrope", "original_max_position_embeddings": 20}, 20),
    ],
)
def test_states_are_of_positions_that_do_not_depend_on_the_length_of_a_text(scaling, length):
    config = hf.LlamaConfig(**GROUPED)
    config.rope_parameters = scaling
    assert unscaled_length(config) == length


def test_windows_are_read_off_configurations():
    assert smallest_window(hf.Qwen3Config(**GROUPED)) == float("inf")  # which says how many layers have no window
    assert smallest_window(hf.Gemma3TextConfig(sliding_window=512)) == 512
    assert smallest_window(hf.GPTNeoConfig(window_size=256)) == 256
