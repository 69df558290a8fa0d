"""Prompts that ship, of kinds in which a model can be shown to take its answer from known words.

They are drawn by script, and count only where the model answers rightly and follows a swap of those words: see
`acceptance`. What a model cannot do is left out, and `Sample` says how much that was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import islice

from tokensal.adapters import AnyAdapter
from tokensal.errors import InputError, unknown
from tokensal.evaluation.prompts.prompt import Prompt
from tokensal.evaluation.suites import agreement, dates, facts, instruction, negation, reordering, retrieval
from tokensal.evaluation.suites.acceptance import Sample, answers_rightly, sample
from tokensal.evaluation.suites.kind import Kind, candidates
from tokensal.types import Progress
from tokensal.values import read_whole

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        facts.FACTS_KIND,
        facts.NEEDLE_KIND,
        facts.REDUNDANT_KIND,
        retrieval.KIND,
        reordering.KIND,
        agreement.KIND,
        negation.KIND,
        instruction.KIND,
        dates.KIND,
    )
}
SUITES: Mapping[str, tuple[str, ...]] = {
    "copy": ("facts", "needle", "redundant", "retrieval", "reordering"),
    "contrast": ("agreement", "negation", "instruction"),
    "all": tuple(name for name, kind in KINDS.items() if not kind.model),
}


def suite(
    name: str, model: AnyAdapter, count: int = 20, seed: int = 0, *, progress: Progress | None = None
) -> Iterator[Sample]:
    """The prompts of a suite, or of one kind, that a model answers from the evidence: a sample of each kind in turn.

    A kind of chats is passed over where the tokenizer has no chat template.

    Args:
        name: one of `SUITES` or `KINDS`.
        model: what `tokensal.load` returns.
        count: how many prompts of each kind; a sample has fewer, perhaps none, where the model fails too often.
        seed: of what is drawn. A smaller count gives the first prompts of a larger one.
        progress: called with (accepted, wanted), over all kinds.

    Raises:
        InputError: an unknown name, a count of less than 1, or a kind that is for another model.
    """
    kinds = _kinds(name, model)
    count = read_whole("count", count, least=1)
    seed = read_whole("seed", seed, least=None)
    return _samples(kinds, model, count, seed, progress)


def prompts_of(ids: Iterable[str]) -> list[Prompt]:
    """The prompts of ids such as "facts-0-17", of suites: drawn again, which needs no model."""
    prompts = []
    for id in ids:
        name, seed, number = id.rsplit("-", 2)
        prompts.append(next(islice(candidates(KINDS[name], int(seed)), int(number), None)))
    return prompts


def _samples(
    kinds: list[Kind], model: AnyAdapter, count: int, seed: int, progress: Progress | None
) -> Iterator[Sample]:
    for number, kind in enumerate(kinds):
        report = None if progress is None else partial(_report, progress, number, len(kinds))
        yield sample(kind, partial(answers_rightly, model), count, seed, progress=report)


def _report(progress: Progress, number: int, kinds: int, done: int, total: int) -> None:
    progress(number * total + done, kinds * total)


def require_suite(name: str) -> None:
    """Refuse a name that is neither a suite nor a kind, which needs no model.

    Raises:
        InputError: it is unknown; the nearest one is offered.
    """
    if name not in SUITES and name not in KINDS:
        raise unknown("suite or kind of prompts:", name, [*SUITES, *KINDS])


def _kinds(name: str, model: AnyAdapter) -> list[Kind]:
    require_suite(name)
    kinds = [KINDS[each] for each in SUITES.get(name, (name,))]
    for kind in kinds:
        if kind.model and model.name != kind.model:
            raise InputError(f"The prompts of {kind.name!r} are for the model {kind.model!r}, but got {model.name!r}.")
    chats = bool(model.tokenizer.chat_template)
    suited = [kind for kind in kinds if chats or not kind.chat]
    if not suited:
        raise InputError(
            f"The prompts of {name!r} are chats, but the tokenizer of {model.name!r} has no chat template: choose "
            "another suite."
        )
    return suited
