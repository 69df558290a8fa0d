"""Where the credit of an attribution goes: its shares by role, position, distance, class of token, and length.

1. A target's shares are |score| over the sum of its |scores|, the sink left out; a target whose scores are all 0 says
   nothing.
2. The shares of a source are averaged over the targets; one that a target does not see has none of its credit.
3. They are added up by the categories of each breakdown, of which each source is in one. A position is in tenths of the
   prompt: a source covers its share of it, and its credit is spread over the tenths that it covers.
4. In an example of one length the others have no number: their means are over the examples of that length.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tokensal.results.attribution import Attribution
from tokensal.types import Role, Unit

TENTHS = 10
CLASSES = ("words", "digits", "punctuation", "white space", "special")
FARTHEST = 1024  # the last bin of distances is beyond
SHORTEST, LONGEST = 8, 4096  # sources of an example; the first and the last bin end and begin there
ANSWER, OTHER_TEXT = "answer", "another text"
OF_THE_ANSWER = (Role.GENERATED, Role.CONTRAST)


def bins(first: int, last: int) -> list[tuple[int, int | None]]:
    """Ranges of whole numbers from 1 on, the first to `first`, each then twice as long; the last one has no end."""
    ranges: list[tuple[int, int | None]] = [(1, first)]
    while ranges[-1][1] != last:
        stop = ranges[-1][1] or 0
        ranges.append((stop + 1, 2 * stop))
    return [*ranges, (last + 1, None)]


def named(ranges: Sequence[tuple[int, int | None]]) -> tuple[str, ...]:
    """What tables call them, such as 5–8."""
    texts = (f"{start}" if start == stop else f"{start}–{stop or ''}" for start, stop in ranges)
    return tuple(text if not text.endswith("–") else f"{text[:-1]} or more" for text in texts)


DISTANCES, LENGTHS = bins(1, FARTHEST), bins(SHORTEST, LONGEST)
POSITIONS = tuple(f"{10 * tenth}–{10 * tenth + 10} %" for tenth in range(TENTHS))


class Division(NamedTuple):
    """A breakdown: its name, what its numbers are, and its categories."""

    name: str
    meaning: str
    categories: tuple[str, ...]


DIVISIONS = (
    Division("role", "where the sources come from", tuple(role.value for role in Role)),
    Division("position", "tenths of the prompt, from its beginning, and the answer so far", (*POSITIONS, ANSWER)),
    Division(
        "distance",
        "how many sources before the target; another text is what an encoder reads, and that of a contrast",
        (*named(DISTANCES), OTHER_TEXT),
    ),
    Division("class", "what the sources are: words have a letter, digits a digit and no letter", CLASSES),
    Division(
        "length: prompt", "share of the prompt in examples of so many sources, beside the answer so far", named(LENGTHS)
    ),
    Division("length: strongest", "share of the strongest source in examples of so many sources", named(LENGTHS)),
)
COLUMNS = sum(len(division.categories) for division in DIVISIONS)


def sizes_of(attribution: Attribution) -> Tensor:
    """(K, J) float64, the shares of step 1; NaN in all of a row that is left out, and 0 where nothing is seen."""
    return _normalised(attribution.scores.double().abs().nan_to_num(), attribution)


def equal_sizes_of(attributions: Sequence[Attribution]) -> Tensor:
    """(K, J) float64, the same of a method that credits all sources alike, of those that any of several scores."""
    visible = torch.stack([attribution.visible for attribution in attributions]).any(0)
    return _normalised(visible.double(), attributions[0])


def _normalised(sizes: Tensor, attribution: Attribution) -> Tensor:
    if attribution.sink is not None:
        sizes[:, attribution.sink] = 0
    totals = sizes.sum(1, keepdim=True)
    return sizes / torch.where(totals > 0, totals, torch.nan)


def break_down(attribution: Attribution, sizes: Tensor) -> Tensor:
    """(COLUMNS,) the numbers of all breakdowns, one behind the other, of the shares (K, J); NaN without a share."""
    defined = ~sizes.isnan().any(1)
    if not defined.any():
        return torch.full((COLUMNS,), torch.nan, dtype=torch.float64)
    of_sources = sizes.nanmean(0)
    positions = of_sources @ _positions(attribution)
    return torch.cat(
        [
            _added(of_sources, [list(Role).index(source.role) for source in attribution.sources], len(Role)),
            positions,
            _by_distance(sizes, attribution),
            _added(of_sources, list(map(CLASSES.index, classes_of(attribution.sources))), len(CLASSES)),
            _of_length(attribution, float(positions[:TENTHS].sum())),
            _of_length(attribution, float(sizes[defined].amax(1).mean())),
        ]
    )


def _added(shares: Tensor, numbers: Sequence[int], count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.float64).index_add(0, torch.tensor(numbers), shares)


def _positions(attribution: Attribution) -> Tensor:
    """(J, tenths and the answer) which share of each source is in which tenth of the prompt."""
    prompt = in_prompt(attribution)
    count = max(1, sum(prompt))
    edges = torch.arange(count + 1, dtype=torch.float64) * TENTHS / count
    tenths = torch.arange(TENTHS, dtype=torch.float64)
    covered = torch.minimum(edges[1:, None], tenths + 1) - torch.maximum(edges[:-1, None], tenths)
    table = torch.zeros(len(prompt), TENTHS + 1, dtype=torch.float64)
    table[torch.tensor(prompt), :TENTHS] = covered.clamp(min=0)[: sum(prompt)] * count / TENTHS
    table[~torch.tensor(prompt), TENTHS] = 1
    return table


def in_prompt(attribution: Attribution) -> list[bool]:
    """Which sources are of the prompt: what an encoder reads, or else what is not written by the model."""
    if attribution.encoder:
        return [number < attribution.encoder for number in range(len(attribution.sources))]
    return [source.role not in OF_THE_ANSWER for source in attribution.sources]


def _by_distance(sizes: Tensor, attribution: Attribution) -> Tensor:
    """(bins,) shares (K, J) by how far before the target a source is, the mean over the targets."""
    distances = _places(attribution)[:, None] - torch.arange(len(attribution.sources))
    ends = torch.tensor([stop for _, stop in DISTANCES if stop])
    numbers = torch.bucketize(distances, ends)
    numbers[:, ~_in_the_text(attribution)] = len(DISTANCES)
    defined = ~sizes.isnan().any(1)
    flat = torch.zeros(len(DISTANCES) + 1, dtype=torch.float64)
    return flat.index_add(0, numbers[defined].flatten(), sizes[defined].flatten()) / int(defined.sum())


def _places(attribution: Attribution) -> Tensor:
    """(K,) which number among the sources a target has, or would have behind the last one.

    It is behind all that it sees; and behind all that begin before it, of which only some may be selected.
    """
    text = _in_the_text(attribution)
    count = torch.arange(1, len(text) + 1)
    seen = torch.where(attribution.visible & text, count, 0).amax(1)
    starts = torch.tensor([source.start for source in attribution.sources])
    targets = torch.tensor([target.start for target in attribution.targets])
    return torch.maximum(seen, torch.where((starts < targets[:, None]) & text, count, 0).amax(1))


def _in_the_text(attribution: Attribution) -> Tensor:
    """(J,) bool, which sources are of the text that the targets go on with."""
    return torch.tensor(
        [
            number >= attribution.encoder and source.role is not Role.CONTRAST
            for number, source in enumerate(attribution.sources)
        ]
    )


def _of_length(attribution: Attribution, value: float) -> Tensor:
    """(lengths,) the value at the length of the example, and NaN elsewhere."""
    numbers = torch.full((len(LENGTHS),), torch.nan, dtype=torch.float64)
    ends = torch.tensor([stop for _, stop in LENGTHS if stop])
    numbers[int(torch.bucketize(len(attribution.sources), ends))] = value
    return numbers


def classes_of(sources: Sequence[Unit]) -> list[str]:
    """The class of each; one without a text shares a character with the one before, and so its class."""
    names: list[str] = []
    for source in sources:
        shared = not source.text and not source.special and bool(names)
        names.append(names[-1] if shared else _class_of(source))
    return names


def _class_of(source: Unit) -> str:
    kinds = {unicodedata.category(character)[0] for character in source.text}
    if source.special:
        return "special"
    if not source.text.strip():
        return "white space"
    if kinds & {"L", "M"}:
        return "words"
    return "digits" if "N" in kinds else "punctuation"
