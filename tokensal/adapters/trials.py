"""What attribution takes for granted of a model, tried by running it, once for each model.

1. Run the model itself on two rows of token ids that differ in their last token.
2. Causality: no logit before the last token may differ between the rows.
3. Agreement: the adapter's logits of the first row, from its embeddings, must be the model's own.
4. Shared states: so must those that start from the states of the first half. If they are not, or cannot be had, each
   perturbation runs from its beginning. The same of a row two of whose tokens are masked says whether perturbations can
   go on from the states of others; and of a row in which these are not run at all, whether they can be skipped.
5. Only where attention weights are read: under eager attention, which alone computes them, the logits must be the same.
6. Only where attention weights are read: in blocks of rows they, and the logits, must be the same. If they are not, or
   the model does not call attention as `attending.py` and `attending_modules.py` expect, they are read as one tensor.
7. Only where a graph does not fit: gradients through layers that are run again must be those of the plain graph. If
   they are not, the plain graph is all there is.
8. Only where answers are generated ahead: in a batch of two prompts, scores of the next tokens must be those of each
   prompt by itself, by half of what `tokensal.adapters.batches` allows. Else answers are generated one by one.
9. Only where examples are explained together: logits of two examples of unequal lengths in one forward must be those of
   each by itself. Else examples are explained one by one.

A model that fails 2, 3 or 5 is refused: its map would be that of another function.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from tokensal.adapters.attending import stacked
from tokensal.adapters.batches import MARGINS, generate_watched
from tokensal.adapters.generating import generate_options
from tokensal.adapters.hooks import eager_attention, recorded
from tokensal.adapters.support import OTHERS, refuse
from tokensal.errors import UnsupportedModel, foreign, is_shortage
from tokensal.layer_call import AttentionCall, BlockSize
from tokensal.perturbations.inputs import PerturbedInputs
from tokensal.surroundings import exact_surroundings
from tokensal.types import Example, HookPoint, LayerActivation, Role, Token

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from tokensal.adapters.model import ModelAdapter

log = logging.getLogger("tokensal")

LENGTH = 8  # tokens of a trial
STEPS = 3  # tokens that are generated in one
BLOCK = 3  # rows of attention weights that are read at once
# How far logits may be apart, relative to their range: rounding depends on the sizes of batches and chunks
TOLERANCES = {torch.float64: 1e-4, torch.float32: 1e-3}
COARSE = 5e-2  # half precision, TF32, quantised weights


@dataclass(slots=True)
class Findings:
    """What trials of a model showed, while it is built as its key says."""

    key: Hashable
    shares_states: bool
    continues: bool
    skips: bool
    eager_agrees: bool = False
    reads_in_blocks: bool | None = None  # not known yet
    batches: dict[bool, bool] = field(default_factory=dict)  # by whether they are padded
    rebuilds: bool | None = None
    together: bool | None = None


_FINDINGS: WeakKeyDictionary[nn.Module, Findings] = WeakKeyDictionary()


def findings_of(adapter: ModelAdapter, original: nn.Module) -> Findings:
    """What the trials of a model show, run if that is not known yet.

    Args:
        adapter: of the model, whose states are shared.
        original: the model as its user calls it, in which the adapter's may be wrapped.

    Raises:
        UnsupportedModel: it is not causal, the adapter's logits are not its own, or it cannot be run.
    """
    key = _key(adapter.model)
    known = _FINDINGS.get(original)
    if known is None or known.key != key:
        known = _FINDINGS[original] = Findings(key, *_run_trials(adapter, original))
    return known


def require_eager_agreement(adapter: ModelAdapter, findings: Findings) -> None:
    """Refuse to read the attention weights of a model that computes something else when it computes them.

    Raises:
        UnsupportedModel: its logits under eager attention differ from its own.
    """
    if findings.eager_agrees or adapter.model.config._attn_implementation == "eager":
        return
    with _prepared(adapter):
        example = _example(adapter)
        own = _adapted_logits(adapter, example)
        with eager_attention(adapter.model):
            eager = _adapted_logits(adapter, example)
    if apart := _difference(adapter, own, eager):
        refuse(
            adapter.model.config,
            f"its attention weights exist only under eager attention, where its logits are {apart} those it has with "
            f"attention={adapter.model.config._attn_implementation!r}",
            "Load it with attention='eager', so that it answers as it is explained, or choose a method that reads no "
            "attention weights, such as 'input_x_gradient'.",
        )
    findings.eager_agrees = True


def weights_agree_in_blocks(adapter: ModelAdapter, findings: Findings) -> bool:
    """Whether attention weights, and logits, are the same where attention runs in blocks of rows."""
    if findings.reads_in_blocks is None:
        with _prepared(adapter):
            logits, weights = _logits_and_weights(adapter, None)
            what = "Attention weights of %s are not read in blocks"
            findings.reads_in_blocks = _agree(
                adapter, what, lambda: (logits, _logits_and_weights(adapter, _block)[0])
            ) and _agree(adapter, what, lambda: (weights, _logits_and_weights(adapter, _block)[1]))
    return findings.reads_in_blocks


def _block(rows: int, width: int) -> int:
    return BLOCK


def _logits_and_weights(adapter: ModelAdapter, blocks: BlockSize | None) -> tuple[Tensor, Tensor]:
    example = _example(adapter)
    layers = range(adapter.layer_count)
    with recorded(adapter.model, HookPoint.ATTENTION_WEIGHTS, layers, graph=False, blocks=blocks) as activations:
        logits = _adapted_logits(adapter, example)
    return logits, torch.cat([_all_rows(each).flatten() for each in activations])


def _all_rows(activation: LayerActivation) -> Tensor:
    """Weights (1, heads, rows, columns), put together from blocks."""
    if not isinstance(activation, AttentionCall):
        return activation.tensor
    blocks = [activation.read(rows, None)[0] for rows in torch.split(torch.arange(LENGTH), BLOCK)]
    return stacked(blocks, LENGTH)


def agrees_in_batches(adapter: ModelAdapter, findings: Findings, padded: bool) -> bool:
    """Whether a model answers in a batch as it does by itself: to prompts of equal lengths, or of others (`padded`)."""
    known = findings.batches
    if padded not in known:
        with _prepared(adapter):
            known[padded] = _agree(
                adapter,
                "Answers of %s are not generated together",
                lambda: _scores_in_batch(adapter, padded),
                MARGINS[adapter.model.dtype] / 2,
            )
    return known[padded]


def _scores_in_batch(adapter: ModelAdapter, padded: bool) -> tuple[Tensor, Tensor]:
    """(2 prompts, steps, V) in a batch, and of each by itself."""
    ids = _ordinary_ids(adapter)
    prompts = [ids, ids[LENGTH // 2 :] if padded else ids[::-1]]
    options = generate_options(adapter.model, adapter.tokenizer, {"min_new_tokens": STEPS}, STEPS)

    def scores(several: list[list[int]]) -> Tensor:
        steps: list[Tensor] = []
        generate_watched(adapter, several, options, lambda each: steps.append(each.clone()))
        return torch.stack(steps, dim=1)

    return torch.cat([scores([prompt]) for prompt in prompts]), scores(prompts)


def forwards_agree_together(adapter: ModelAdapter, findings: Findings) -> bool:
    """Whether a forward of several examples computes for each what it does by itself."""
    if findings.together is None:
        with _prepared(adapter):
            findings.together = _agree(
                adapter, "Examples of %s are not explained together", lambda: _logits_together(adapter)
            )
    return findings.together


def _logits_together(adapter: ModelAdapter) -> tuple[Tensor, Tensor]:
    """(LENGTH + LENGTH / 2, V) of two examples by themselves, and in one forward."""
    examples = [_example(adapter, LENGTH // 2), _example(adapter)]
    short, long = adapter.forward_together(examples, [adapter.embed(each) for each in examples]).logits
    own = [_adapted_logits(adapter, each) for each in examples]
    return torch.cat(own), torch.cat([short[: LENGTH // 2], long])


def rebuilt_gradients_agree(adapter: ModelAdapter, findings: Findings) -> bool:
    """Whether gradients through layers that are run again are those of the plain graph."""
    if findings.rebuilds is None:
        with _prepared(adapter), torch.enable_grad():
            example = _example(adapter)
            first = example.encoder or LENGTH // 2
            findings.rebuilds = _agree(
                adapter, "Graphs of %s are not rebuilt", lambda: _both_gradients(adapter, example, 0, None)
            ) and (
                not findings.shares_states
                or _agree(
                    adapter,
                    "Graphs of %s are not rebuilt",
                    lambda: _both_gradients(adapter, example, first, adapter.original(example).states),
                )
            )
    return findings.rebuilds


def _both_gradients(adapter: ModelAdapter, example: Example, first: int, states: Any) -> tuple[Tensor, Tensor]:
    """The gradients of the sum of all hidden states, from the plain graph, and through layers that are run again."""
    embeds = adapter.embed(example)[None, first:].requires_grad_()
    inputs = PerturbedInputs(embeds, first=first)
    plain = adapter.forward(example, inputs, states).hidden
    weights = torch.linspace(-1, 1, plain.numel(), dtype=plain.dtype, device=plain.device).view_as(plain)
    [expected] = torch.autograd.grad(plain, embeds, weights)
    with adapter.layered() as calls:
        hidden = adapter.forward(example, inputs, states).hidden
    leaves = [embeds, *(leaf for call in calls for leaf in call.outputs)]
    sums = [torch.zeros_like(leaf) for leaf in leaves]

    def arrive(tensor: Tensor, gradient: Tensor) -> None:
        below = torch.autograd.grad(tensor, leaves, gradient, retain_graph=True, allow_unused=True)
        sums[:] = [each if part is None else each + part for each, part in zip(sums, below, strict=True)]

    arrive(hidden, weights)
    stop = len(leaves)
    for call in reversed(calls):
        copies = [tensor.detach().requires_grad_() for tensor in call.inputs]
        outputs = call.run(copies)
        cotangents = sums[stop - len(outputs) : stop]
        stop -= len(outputs)
        for tensor, gradient in zip(call.inputs, torch.autograd.grad(outputs, copies, cotangents), strict=True):
            arrive(tensor, gradient)
    return expected[0].flatten(), sums[0].flatten()


def _run_trials(adapter: ModelAdapter, original: nn.Module) -> tuple[bool, bool, bool]:
    """Whether the example's states can be shared, those of perturbations too, and masked sources be skipped."""
    with _prepared(adapter):
        example = _example(adapter)
        plain, altered = _plain_logits(original, example, adapter.device)
        if apart := _difference(adapter, plain[:-1], altered[:-1]):
            refuse(
                adapter.model.config,
                f"it is not causal: when the last of {LENGTH} tokens changes, an earlier logit is {apart} what it was",
            )
        if apart := _difference(adapter, plain, _adapted_logits(adapter, example)):
            refuse(
                adapter.model.config,
                f"its logits for token ids are {apart} those for the embeddings of the same tokens",
            )
        adapter.footprint(len(example.sources))
        shares = _agree(adapter, "States of %s are not shared", lambda: _unaltered_from_states(adapter, example, plain))
        continues = shares and _agree(
            adapter, "States of %s are not shared", lambda: _altered_from_states(adapter, example)
        )
        skips = continues and _agree(
            adapter, "States of %s are not shared", lambda: _altered_from_states(adapter, example, skip=True)
        )
        return shares, continues, skips


def _agree(
    adapter: ModelAdapter,
    what: str,
    numbers: Callable[[], tuple[Tensor, Tensor] | None],
    tolerance: float | None = None,
) -> bool:
    """Whether numbers can be had in another way, and are what they should be."""
    try:
        both = numbers()
    except Exception as error:  # whatever the model raises for states, or for a layer, that are not of its kind
        if is_shortage(error):
            raise
        log.debug(f"{what}: %s", adapter.name, error)
        return False
    return both is not None and not _difference(adapter, *both, tolerance)


def _unaltered_from_states(adapter: ModelAdapter, example: Example, plain: Tensor) -> tuple[Tensor, Tensor] | None:
    first = example.encoder + (0 if example.encoder else LENGTH // 2)
    states = adapter.original(example).states
    if states is None:
        return None
    part = PerturbedInputs(adapter.embed(example)[None, first:], first=first)
    logits = adapter.forward(example, part, states).logits[0]
    return plain[len(plain) - len(logits) :], logits


def _altered_from_states(
    adapter: ModelAdapter, example: Example, *, skip: bool = False
) -> tuple[Tensor, Tensor] | None:
    half, keep = LENGTH // 2, torch.ones(1, LENGTH, dtype=torch.bool)
    keep[0, [1, half + 1]] = False
    example = replace(example, targets=example.targets[-1:], predictors=(LENGTH - 1,))  # what predicts is not skipped
    row = PerturbedInputs(adapter.embed(example)[None], keep)
    first = replace(row, embeds=row.embeds[:, :half], keep=keep[:, :half], skip=skip)
    states = adapter.states(example, first)
    if states is None:
        return None
    parents = torch.zeros(1, dtype=torch.int64)
    last = replace(first, embeds=row.embeds[:, half:], keep=keep[:, half:], first=half, parents=parents)
    [logits] = adapter.forward(example, last, states).logits
    return adapter.forward(example, row).logits[0], logits


@contextmanager
def _prepared(adapter: ModelAdapter) -> Iterator[None]:
    with exact_surroundings(adapter.device), torch.no_grad(), running(adapter.model), adapter.prepared():
        yield


def running(model: Any) -> AbstractContextManager[None]:
    """Inside, whatever a model raises means that it cannot be attributed."""
    sentence = f"{type(model).__name__} cannot be attributed: to run it on {LENGTH} tokens ends in an error"
    return foreign(UnsupportedModel, sentence, OTHERS)


def _example(adapter: ModelAdapter, length: int = LENGTH) -> Example:
    """Ordinary tokens, each of which but the last predicts; for an encoder–decoder model as many in each half."""
    ids = _ordinary_ids(adapter)[:length]
    tokens = tuple(Token(id, "", 0, 0, Role.PROMPT) for id in ids)
    if adapter.model.config.is_encoder_decoder:
        return Example("", tokens + tokens, tokens, tuple(range(length, 2 * length)), encoder=length)
    return Example("", tokens, tokens, tuple(range(length)))


def _ordinary_ids(adapter: ModelAdapter) -> list[int]:
    """Ids from all over the vocabulary, none of which the tokenizer or the configuration names as special."""
    text = adapter.model.config.get_text_config()
    named = {value for config in (adapter.model.config, text) for value in vars(config).values() if type(value) is int}
    special = {*adapter.tokenizer.all_special_ids, *named}
    size = min(adapter.vocabulary, len(adapter.tokenizer))
    ordinary = [id for id in range(size) if id not in special] or list(range(size))
    return [ordinary[(2 * index + 1) * len(ordinary) // (2 * LENGTH)] for index in range(LENGTH)]


def _plain_logits(model: nn.Module, example: Example, device: torch.device) -> tuple[Tensor, Tensor]:
    """(LENGTH, V) of the example, and of another one whose last token is the first."""
    ids = torch.tensor([[token.id for token in example.targets]] * 2, device=device)
    altered = ids.clone()
    altered[1, -1] = ids[1, 0]
    inputs = {"input_ids": altered}
    if example.encoder:
        inputs = {"input_ids": ids, "decoder_input_ids": altered}
    logits = model(**inputs).logits[:, -LENGTH:]
    return logits[0], logits[1]


def _adapted_logits(adapter: ModelAdapter, example: Example) -> Tensor:
    """(LENGTH, V)."""
    logits: Tensor = adapter.forward(example, PerturbedInputs(adapter.embed(example)[None])).logits[0]
    return logits


def _difference(adapter: ModelAdapter, logits: Tensor, others: Tensor, tolerance: float | None = None) -> str:
    """How far logits are apart, in words; empty where that may be rounding."""
    logits, others = logits.double().cpu(), others.double().cpu()
    finite = logits.isfinite() & others.isfinite()
    if not finite.any():
        return ""
    limit = _tolerance(adapter) if tolerance is None else tolerance
    spread = float(logits[finite].max() - logits[finite].min())
    apart = float((logits - others)[finite].abs().max())
    return f"{apart:.3g} (in a range of {spread:.3g}) from" if apart > limit * spread else ""


def _tolerance(adapter: ModelAdapter) -> float:
    model = adapter.model
    coarse = getattr(model, "is_quantized", False) or torch.backends.cuda.matmul.allow_tf32
    return COARSE if coarse else TOLERANCES.get(model.dtype, COARSE)


def _key(model: PreTrainedModel) -> Hashable:
    """What a model is built of; another attention, or an adapter that is added, makes it another model."""
    return (
        model.config._attn_implementation,
        tuple((type(module), getattr(module, "is_causal", None)) for module in model.modules()),
    )
