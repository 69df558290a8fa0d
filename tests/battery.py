"""The battery's rows: what each method promises, and its slow twin, which knows models and token ids and no tokensal.

A twin runs the plain model by ids, a fresh forward for each target, with loops instead of batches. It returns the
scores of one target, NaN for sources that come after what predicts it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor, nn

from tokensal.methods import (
    LRP,
    AttentionGradCAM,
    AttentionRollout,
    GradCAM,
    Gradient,
    GradientRollout,
    InputXGradient,
    IntegratedGradients,
    KernelSHAP,
    Method,
    Occlusion,
    OwenValues,
    ShapleySampling,
    ShapleyValues,
    SmoothGrad,
    ValueZeroing,
)
from tokensal.types import Example, Role

Twin = Callable[[nn.Module, Example, int], list[float]]  # the scores of one target, by the number of the target


@dataclass(frozen=True)
class Row:
    """What the battery knows of a method.

    Attributes:
        method: with its options.
        twin: a slow twin; None where the method has a test file of its own with twins.
        linear: whether the scores of a group are the sum of its targets' scores.
        additive: whether the score of a unit is the sum of its tokens' scores.
        contrast: whether it can explain one text against another.
        complete: whether its scores add up to the total that it states.
        efficient: whether its scores add up to the change from the empty to the full coalition.
        everywhere: whether it runs on every architecture; else on two, since it stands on the engine's scores alone.
        attention: of the plain model that the twin runs.
        exempt: architectures that the twin cannot run, and why.
    """

    method: Method
    twin: Twin | None = None
    linear: bool = False
    additive: bool = True
    contrast: bool = True
    complete: bool = False
    efficient: bool = False
    everywhere: bool = True
    attention: str = "sdpa"
    exempt: Mapping[str, str] = field(default_factory=dict)


# The plain model


def inputs_of(example: Example, target: int) -> dict[str, Tensor]:
    """What the model reads when it predicts a target."""
    ids = [token.id for token in example.sources[: example.predictors[target] + 1]]
    if not example.encoder:
        return {"input_ids": torch.tensor([ids])}
    encoder, decoder = ids[: example.encoder], ids[example.encoder :]
    return {"input_ids": torch.tensor([encoder]), "decoder_input_ids": torch.tensor([decoder])}


def blocks_of(network: nn.Module, example: Example) -> list[tuple[nn.Module, int]]:
    """The layers, from the lowest, and the source that their positions begin with."""
    stacks = [(network.get_decoder(), example.encoder)]
    if example.encoder:
        stacks.insert(0, (network.get_encoder(), 0))
    lists = [
        (next(module for module in stack.modules() if isinstance(module, nn.ModuleList)), start)
        for stack, start in stacks
    ]
    return [(block, start) for modules, start in lists for block in modules]


def padded(scores: Tensor, sources: int) -> list[float]:
    return [*scores.tolist(), *[float("nan")] * (sources - len(scores))]


# Twins


def attention_rollout(network: nn.Module, example: Example, target: int) -> list[float]:
    output = network(**inputs_of(example, target), output_attentions=True, use_cache=False)
    size, encoder = example.predictors[target] + 1, example.encoder
    relevance = torch.eye(size, dtype=torch.float64)
    if encoder:
        below = [(layer, None) for layer in output.encoder_attentions]
        layers = below + list(zip(output.decoder_attentions, output.cross_attentions, strict=True))
    else:
        layers = [(layer, None) for layer in output.attentions]
    for own, cross in layers:
        mixing = torch.eye(size, dtype=torch.float64)
        start = 0 if cross is None else encoder
        for row in range(own.shape[-2]):
            for column in range(own.shape[-1]):
                mixing[start + row, start + column] += sum(head[row, column] for head in own[0]) / own.shape[1]
            for column in range(0 if cross is None else encoder):
                mixing[start + row, column] += sum(head[row, column] for head in cross[0]) / cross.shape[1]
        for row in range(size):
            mixing[row] = mixing[row] / mixing[row].sum()
        relevance = mixing @ relevance
    return padded(relevance[-1].detach(), len(example.sources))


def value_zeroing(network: nn.Module, example: Example, target: int) -> list[float]:
    inputs, size = inputs_of(example, target), example.predictors[target] + 1
    relevance = torch.eye(size, dtype=torch.float64)
    for block, start in blocks_of(network, example):
        states = output_of(network, inputs, block)
        mixing = torch.zeros(size, size, dtype=torch.float64)
        for row in range(size):
            if not start <= row < start + len(states):
                mixing[row, row] = 1
        for source in range(size):
            with zeroed_values(block, example, start, source):
                changed = output_of(network, inputs, block)
            for row, (state, other) in enumerate(zip(states, changed, strict=True)):
                mixing[start + row, source] = 1 - torch.nn.functional.cosine_similarity(state, other, dim=0)
        mixing = mixing.clamp(min=0)
        relevance = (mixing / mixing.sum(1, keepdim=True)) @ relevance
    return padded(relevance[-1], len(example.sources))


def output_of(network: nn.Module, inputs: Mapping[str, Tensor], block: nn.Module) -> Tensor:
    """What a layer returns, (n, H)."""
    states = []
    hook = block.register_forward_hook(
        lambda module, arguments, output: states.append(output if isinstance(output, Tensor) else output[0])
    )
    with torch.no_grad():
        network(**inputs, use_cache=False)
    hook.remove()
    return states[0][0]


@contextmanager
def zeroed_values(block: nn.Module, example: Example, start: int, source: int):
    """The value vectors of a source are zero in a layer, in whichever of its attentions has them among its keys."""
    hooks = []
    for path, module in block.named_modules():
        name = path.split(".")[-1]
        if name not in ("v_proj", "v", "c_attn", "query_key_value"):
            continue
        cross = "encoder_attn" in path or "EncDecAttention" in path
        place = source if cross else source - start
        inside = (
            source < example.encoder
            if cross
            else place >= 0 and (start > 0 or not example.encoder or source < example.encoder)
        )
        if inside:
            hooks.append(module.register_forward_hook(zeroing(name, place)))
    yield
    for hook in hooks:
        hook.remove()


def zeroing(name: str, place: int):
    def zero(module, arguments, output):
        output = output.clone()
        if name == "c_attn":  # queries, keys and values beside each other
            output[:, place, 2 * output.shape[-1] // 3 :] = 0
        elif name == "query_key_value":  # the same for each of four heads
            heads = output.view(*output.shape[:-1], 4, -1)
            heads[:, place, :, 2 * heads.shape[-1] // 3 :] = 0
        else:
            output[:, place] = 0
        return output

    return zero


def smooth_grad(reduce: Callable[[Tensor, Tensor], Tensor], samples: int, noise: float, seed: int) -> Twin:
    def twin(network: nn.Module, example: Example, target: int) -> list[float]:
        table = network.get_input_embeddings()
        embeds = table(torch.tensor([token.id for token in example.sources])).detach()
        deviation = noise * embeds.pow(2).mean().sqrt()
        read = example.predictors[target] + 1
        total = torch.zeros(read, embeds.shape[1], dtype=torch.float64)
        for sample in range(samples):
            generator = torch.Generator().manual_seed((seed << 20) + sample)
            drawn = torch.randn(embeds.shape, generator=generator, dtype=torch.float64)
            noisy = (embeds + deviation * drawn)[None, :read].requires_grad_()
            logits = network(inputs_embeds=noisy, use_cache=False).logits[0, -1]
            total += torch.autograd.grad(logits.log_softmax(-1)[example.targets[target].id], noisy)[0][0]
        return padded(reduce(total / samples, embeds[:read]), len(example.sources))

    return twin


def lrp(gate: str) -> Twin:
    """Of Llama and its like, with eager attention: modules are replaced by plain ones that detach what is constant."""

    def twin(network: nn.Module, example: Example, target: int) -> list[float]:
        inputs = inputs_of(example, target)
        embeds = network.get_input_embeddings()(inputs["input_ids"]).detach().requires_grad_()
        with detached(network, gate):
            logits = network(inputs_embeds=embeds, use_cache=False).logits[0, -1]
        score = logits.log_softmax(-1)[example.targets[target].id]
        (gradient,) = torch.autograd.grad(score, embeds)
        return padded((gradient * embeds.detach())[0].sum(-1), len(example.sources))

    return twin


@contextmanager
def detached(network: nn.Module, gate: str):
    plain_softmax = nn.functional.softmax
    forwards = [(module, module.forward) for module in network.modules()]

    def norm(module):
        def forward(x):
            scale = (x.pow(2).mean(-1, keepdim=True) + module.variance_epsilon).rsqrt().detach()
            return module.weight * (x * scale)

        return forward

    def mlp(module):
        def forward(x):
            before, up = module.gate_proj(x), module.up_proj(x)
            after = before * (module.act_fn(before) / before).detach()
            if gate == "constant":
                return module.down_proj(after.detach() * up)
            return module.down_proj((after * up.detach() + after.detach() * up) / 2)

        return forward

    try:
        for module, _ in forwards:
            if hasattr(module, "variance_epsilon"):
                module.forward = norm(module)
            elif hasattr(module, "gate_proj"):
                module.forward = mlp(module)
        nn.functional.softmax = lambda *args, **kwargs: plain_softmax(*args, **kwargs).detach()
        yield
    finally:
        nn.functional.softmax = plain_softmax
        for module, _ in forwards:
            module.__dict__.pop("forward", None)


def by_norm(gradient: Tensor, embeds: Tensor) -> Tensor:
    return gradient.pow(2).sum(-1).sqrt()


def by_input(gradient: Tensor, embeds: Tensor) -> Tensor:
    return (gradient * embeds).sum(-1)


def shapley_values(network: nn.Module, example: Example, target: int) -> list[float]:
    """By the definition: the mean contribution over all orders."""
    players = prompt_players(example)
    return mean_contributions(network, example, target, itertools.permutations(players))


def shapley_sampling(samples: int, seed: int) -> Twin:
    def twin(network: nn.Module, example: Example, target: int) -> list[float]:
        return mean_contributions(network, example, target, drawn_orders(prompt_players(example), samples, seed))

    return twin


def drawn_orders(players: list[int], samples: int, seed: int) -> Iterator[list[int]]:
    for pair in range(samples // 2):
        generator = torch.Generator().manual_seed((seed << 20) + pair)
        order = [players[place] for place in torch.randperm(len(players), generator=generator)]
        yield order
        yield order[::-1]


def mean_contributions(network: nn.Module, example: Example, target: int, orders) -> list[float]:
    scores, count = [0.0] * (example.predictors[target] + 1), 0
    for order in orders:
        present, count = frozenset(), count + 1
        before = padded_value(network, example, target, present)
        for player in order:
            present |= {player}
            after = padded_value(network, example, target, present)
            scores[player] += after - before
            before = after
    return padded(torch.tensor(scores, dtype=torch.float64) / count, len(example.sources))


def kernel_shap(samples: int, seed: int) -> Twin:
    """With the constraint put into the equations: what the last player gets is what the others leave."""

    def twin(network: nn.Module, example: Example, target: int) -> list[float]:
        players = prompt_players(example)
        count = len(players)
        sizes = torch.tensor([0, *(1 / (size * (count - size)) for size in range(1, count)), 0], dtype=torch.float64)
        empty = padded_value(network, example, target, frozenset())
        total = padded_value(network, example, target, frozenset(players)) - empty
        rows, right = [], []
        for pair in range(samples // 2):
            generator = torch.Generator().manual_seed((seed << 20) + pair)
            size = sizes.multinomial(1, generator=generator)
            first = [bool(place < size) for place in torch.randperm(count, generator=generator)]
            for present in (first, [not each for each in first]):
                coalition = frozenset(player for player, here in zip(players, present, strict=True) if here)
                rows.append([float(here) - float(present[-1]) for here in present[:-1]])
                right.append(padded_value(network, example, target, coalition) - empty - float(present[-1]) * total)
        fit = torch.linalg.lstsq(
            torch.tensor(rows, dtype=torch.float64), torch.tensor(right, dtype=torch.float64)[:, None]
        ).solution[:, 0]
        scores = torch.zeros(example.predictors[target] + 1, dtype=torch.float64)
        scores[players] = torch.cat([fit, (total - fit.sum())[None]])
        return padded(scores, len(example.sources))

    return twin


def prompt_players(example: Example) -> list[int]:
    """The sources of the prompt that may be absent: all but what the decoder reads first."""
    return [
        index
        for index, token in enumerate(example.sources)
        if token.role is not Role.GENERATED and index != example.encoder and not token.special
    ]


@cache
def padded_value(network: nn.Module, example: Example, target: int, present: frozenset[int]) -> float:
    """The log-probability of a target, with padding in the place of players that are not present."""
    inputs = {name: ids.clone() for name, ids in inputs_of(example, target).items()}
    inputs["input_ids"][0, sorted(set(prompt_players(example)) - present)] = 0
    with torch.no_grad():
        logits = network(**inputs, use_cache=False).logits[0, -1]
    return logits.log_softmax(-1)[example.targets[target].id].item()


# Rows

CAUSAL_ONLY = "the twin reads one table of embeddings, whose scale in an encoder is the adapter's business"
NOT_LLAMA = "the twin replaces the modules of Llama; that the scores add up is checked on every architecture"
# The players are the tokens of the prompt. None is masked: the encoder reads no special token that would stay.
PADDED = {"replacement": "pad", "keep": ("sink", "special", "template", "generated")}
OF_COALITIONS = {"additive": False, "efficient": True, "everywhere": False}

ROWS = {
    "gradient": Row(Gradient()),
    "input_x_gradient": Row(InputXGradient(), linear=True),
    "smooth_grad": Row(
        SmoothGrad(samples=3, noise=0.2, seed=5),
        smooth_grad(by_norm, 3, 0.2, 5),
        exempt={"encoder–decoder": CAUSAL_ONLY},
    ),
    "smooth_grad of input_x_gradient": Row(
        SmoothGrad(method="input_x_gradient", samples=3, noise=0.2, seed=5),
        smooth_grad(by_input, 3, 0.2, 5),
        linear=True,
        exempt={"encoder–decoder": CAUSAL_ONLY},
    ),
    "smooth_grad of grad_cam": Row(SmoothGrad(method=GradCAM(layers="all"), samples=3)),
    "lrp": Row(
        LRP(),
        lrp("half"),
        linear=True,
        complete=True,
        attention="eager",
        exempt={"other": NOT_LLAMA, "encoder–decoder": NOT_LLAMA},
    ),
    "lrp, gate constant": Row(
        LRP(gate="constant"),
        lrp("constant"),
        linear=True,
        complete=True,
        attention="eager",
        exempt={"other": NOT_LLAMA, "encoder–decoder": NOT_LLAMA},
    ),
    "lrp, attn": Row(LRP(rule="attn"), linear=True),
    "integrated_gradients": Row(IntegratedGradients(steps=3), linear=True),
    "grad_cam": Row(GradCAM()),
    "attention_grad_cam": Row(AttentionGradCAM()),
    "gradient_rollout": Row(GradientRollout()),
    "attention_rollout": Row(AttentionRollout(), attention_rollout, linear=True, contrast=False, attention="eager"),
    "value_zeroing": Row(ValueZeroing(), value_zeroing, linear=True, contrast=False),
    "occlusion": Row(Occlusion(), linear=True, additive=False),
    "shapley_values": Row(ShapleyValues(**PADDED), shapley_values, linear=True, **OF_COALITIONS),
    "shapley_sampling": Row(
        ShapleySampling(samples=4, seed=7, **PADDED), shapley_sampling(4, 7), linear=True, **OF_COALITIONS
    ),
    "kernel_shap": Row(KernelSHAP(samples=40, seed=7, **PADDED), kernel_shap(40, 7), linear=True, **OF_COALITIONS),
    "owen_values": Row(OwenValues(samples=8, **PADDED), **OF_COALITIONS),
}
