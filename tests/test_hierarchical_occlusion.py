"""Hierarchical occlusion: what is opened, what the rest gets, and how many forwards it takes."""

from __future__ import annotations

import pytest
import torch
from builders import tiny
from hand_made import HandMade

from tokensal import HierarchicalOcclusion, Occlusion, attribute
from tokensal.errors import InputError

TEXTS = [" cat", " sat", ".", " Dogs", " ran", ".", " No", "!", " Birds", " sang", " well", "."]
# "The" is kept; the sentences have 3, 3, 2 and 4 players
WEIGHTS = torch.tensor([1, 2, 0, -5, 1, 0, 0.2, 0.2, 0.5, 0.5, 0.5, 0.5], dtype=torch.float64)


def scored(weights, **options):
    weights = torch.atleast_2d(weights)
    engine = HandMade(lambda present: present @ weights.T, 12, seen=(12,) * len(weights), texts=TEXTS)
    return HierarchicalOcclusion(**options)(engine.example(), engine), engine


def test_units_of_opened_passages_have_their_own_drop_and_others_a_share():
    scores, engine = scored(WEIGHTS, opened=2)
    expected = WEIGHTS.clone()  # opened: the second, which loses 4, and the first, which loses 3
    expected[6:8], expected[8:] = 0.4 / 2, 2.0 / 4
    torch.testing.assert_close(scores.matrix[0, 1:], expected)
    assert not scores.scored[0] and scores.scored[1:].all()
    assert scores.diagnostics["coalitions"].values.tolist() == [4 + 6] and len(engine.listed) == 10


def test_of_each_target_the_largest_are_opened():
    other = torch.zeros(12, dtype=torch.float64)
    other[6] = -3
    scores, _ = scored(torch.stack([WEIGHTS, other]), opened=1)
    assert scores.matrix[1, 7:9].tolist() == [-3, 0]  # opened for the second target
    torch.testing.assert_close(scores.matrix[0, 4:7], WEIGHTS[3:6])  # for the first
    torch.testing.assert_close(scores.matrix[0, 1:4], torch.ones(3, dtype=torch.float64))  # for none
    assert scores.diagnostics["coalitions"].values.tolist() == [9, 9]


def test_what_makes_no_difference_is_not_opened():
    scores, _ = scored(torch.zeros(12, dtype=torch.float64), opened=4)
    assert scores.diagnostics["coalitions"].values.tolist() == [4]


def test_a_level_that_divides_nothing_takes_no_forward():
    scores, engine = scored(WEIGHTS, levels=("message", "sentence", "sentence"), opened=1)
    assert len(engine.listed) == 4 + 3
    assert len({tuple(row.tolist()) for row in engine.listed}) == len(engine.listed)
    torch.testing.assert_close(scores.matrix[0, 4:7], WEIGHTS[3:6])


def test_with_everything_open_it_is_occlusion():
    keep = ("sink", "special", "template")
    for name in ("Llama", "T5"):
        asked = {"continuation": " on the mat.", "unit": "word"}
        text = "The cat sat. The dog saw it! Who? A log."
        results = [
            attribute(tiny(name), text, method=method, **asked)
            for method in (HierarchicalOcclusion(opened=99), Occlusion(keep=keep))
        ]
        torch.testing.assert_close(results[0].scores, results[1].scores, equal_nan=True, rtol=1e-6, atol=1e-7)
        assert results[0].visible.equal(results[1].visible)


def test_a_long_prompt_takes_a_fraction_of_the_forwards_of_occlusion():
    text = "The cat sat on the log. " * 2 + "The dog saw it. " + "Then the cat sat on the mat. "
    result = attribute(
        tiny(), text, continuation=" on", unit="word", method=HierarchicalOcclusion(opened=1), targets="output"
    )
    sentences, largest = 4, 8
    assert len(result.sources) > 25
    assert sentences < result.diagnostics["coalitions"].values.item() <= sentences + largest


@pytest.mark.parametrize(
    ("options", "message"),
    [({"levels": "sentense"}, "did you mean 'sentence'"), ({"levels": ()}, "no level"), ({"opened": 0}, "1 or more")],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(InputError, match=message):
        HierarchicalOcclusion(**options)
