"""Credit through the answer: what went to a token of the answer is passed on to what that token came from.

A token of the answer is a source of those after it, and a target itself: its own row says what it came from. So its
credit can be passed on, until all of it rests on the prompt:

1. The share of a source in a row is its score over the sum of all |scores| of the row. A share has the sign of the
   score. The sink is no part of this: it keeps its score and is passed nothing, as it is left out of rankings. Neither
   is the token itself, where a row explains several tokens of which the first are sources of the others.
2. With N the shares in the rows of the answer's tokens, N_p those of the prompt and N_g those of the answer, what each
   answer token finally came from is R = N_p + N_g·R. A row sees earlier tokens alone, so this is a triangular solve.
3. The traced scores of a target, whose direct ones are A, are T = A_p + A_g·R, in the unit of A.

Magnitudes are shared, and signs multiply along a path: what spoke against a token that speaks for the target speaks
against the target. Without negative scores the traced scores of a row add up to what the direct ones do. With them,
paths of opposite signs cancel, and the traced magnitudes add up to no more than the direct ones.

A token whose row is 0 everywhere has nothing to pass its credit on to, and keeps it. With `hops`, credit is passed on
so many times at most, and what is still on its way stays with the tokens that it reached.

A token that the model would have written whatever the prompt said, such as a hyphen in a date, has a row of small
scores that say little. It passes on what it was credited in their shares all the same, so that traced scores are only
as good as the rows in between.

Of scores that are not negative, this is what Walker and Ewetz 2025 ("CAGE", arXiv:2512.15663) do with a graph of
attributions; negative ones, which they set to 0, keep their signs here. FlashTrace (Pan et al. 2026, arXiv:2602.01914)
passes the credit of a span on as a whole, and a few hops far: it attributes the sum of the span's tokens, weighted by
their credit, and shares that, where each token's row is shared by itself here; it drops what is still on its way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from tokensal.errors import InputError
from tokensal.types import Role, Unit


def rows_of_answer(
    sources: Sequence[Unit], targets: Sequence[Unit], visible: Tensor, *, sink: int | None, encoder: int
) -> dict[int, int]:
    """For each source of the answer that has a score somewhere, the target that it is: {source: row}.

    Args:
        sources: J units.
        targets: K units.
        visible: (K, J) which scores there are.
        sink: the index of the sink, or None.
        encoder: how many sources an encoder reads.

    Raises:
        InputError: nothing was generated, the answer is explained against another text, its tokens have no score, or
            one of them is no target by itself.
    """
    if any(target.against for target in targets):
        raise InputError("Credit cannot be traced through an answer that is contrasted: leave the contrast out.")
    if not any(target.role is Role.GENERATED for target in targets):
        raise InputError("Credit is traced through an answer, but none is explained here: explain the answer, or all.")
    start = encoder if encoder else None  # what a decoder begins with was not generated
    answer = [
        index for index, source in enumerate(sources) if source.role is Role.GENERATED and index not in (sink, start)
    ]
    scored = [index for index in answer if visible[:, index].any()]
    if answer and not scored:
        raise InputError(
            "The answer's own tokens have no scores that could be passed on: let the question's sources, and what the "
            "method keeps, leave 'generated' in."
        )
    numbers = {unit: row for row, unit in enumerate(_numbered(targets))}
    units = dict(zip(range(len(sources)), _numbered(sources), strict=True))
    rows = {index: numbers.get(units[index], _begun(sources[index], targets)) for index in scored}
    for index, row in rows.items():
        if row is None:
            raise InputError(
                f"Where {sources[index].text!r} of the answer came from is not known, since it is no target by itself: "
                "explain all of the answer, in the units that are credited, such as targets='word' with unit='word'."
            )
    return {index: row for index, row in rows.items() if row is not None}


def _numbered(units: Sequence[Unit]) -> Iterator[tuple[Unit, int]]:
    """Units, and how many equal ones came before: tokens that split one character may be alike in everything."""
    counts: Counter[Unit] = Counter()
    for unit in units:
        counts[unit] += 1
        yield unit, counts[unit]


def _begun(source: Unit, targets: Sequence[Unit]) -> int | None:
    """The target at the end of the answer, where the source is its beginning: its last token is no source."""
    end = max(target.stop for target in targets)
    for row, target in enumerate(targets):
        begins = source.start == target.start and source.ids == target.ids[: len(source.ids)]
        if begins and target.stop == end and len(source.ids) < len(target.ids):
            return row
    return None


def passed_on(scores: Tensor, rows: dict[int, int], *, sink: int | None, hops: int | None) -> tuple[Tensor, Tensor]:
    """The traced scores (K, J), NaN of sources that passed everything on; and the share of each target that was (K,).

    Args:
        scores: (K, J) the direct scores, NaN where there are none.
        rows: which rows the sources of the answer have, see `rows_of_answer`.
        sink: the index of the sink, or None.
        hops: how many times credit is passed on at most; None until it rests.
    """
    direct = scores.double().nan_to_num()
    ranked = torch.ones(scores.shape[1], dtype=torch.bool, device=scores.device)
    if sink is not None:
        ranked[sink] = False
    answer = [index for index, row in rows.items() if _others(direct[row], index, ranked).any()]
    shares = [_others(direct[rows[index]], index, ranked) for index in answer]
    table = torch.stack([row / row.abs().sum() for row in shares]) if answer else direct.new_zeros(0, len(ranked))
    within = table[:, answer].tril(-1)  # (g, g)
    table[:, answer] = 0
    flow, rest = direct[:, answer], direct.clone()
    rest[:, answer] = 0
    if hops is None:
        identity = torch.eye(len(answer), dtype=direct.dtype, device=direct.device)
        rest = rest + flow @ torch.linalg.solve_triangular(identity - within, table, upper=False, unitriangular=True)
        flow = torch.full_like(flow, torch.nan)
    for _ in range(hops or 0):
        rest, flow = rest + flow @ table, flow @ within
    sizes = direct.abs() * ranked
    through = sizes[:, answer].sum(1) / sizes.sum(1).clamp(min=torch.finfo(sizes.dtype).tiny)
    rest[:, answer] = flow
    return rest.to(scores).masked_fill(scores.isnan(), torch.nan), through.to(scores)


def _others(row: Tensor, index: int, ranked: Tensor) -> Tensor:
    """The scores of a row but for the token itself and the sink."""
    others = row * ranked
    others[index] = 0
    return others


def name_of_credit(hops: int | None) -> str:
    """How the provenance calls traced scores."""
    if hops is None:
        return "through the answer"
    return f"through the answer, {hops} {'hop' if hops == 1 else 'hops'}"
