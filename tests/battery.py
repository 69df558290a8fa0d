"""The battery's rows: what each method promises, and its slow twin, which knows models and token ids and no tokensal.

A twin runs the plain model by ids, a fresh forward for each target, with loops instead of batches. It returns the
scores of one target, NaN for sources that come after what predicts it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tokensal.methods import (
    LRP,
    ALTILogit,
    Attention,
    AttentionGradCAM,
    AttentionRollout,
    GradCAM,
    Gradient,
    GradientRollout,
    InformationFlowRoutes,
    InputXGradient,
    IntegratedGradients,
    Method,
    Occlusion,
    SmoothGrad,
    ValueXGradient,
    ValueZeroing,
)
from tokensal.types import Example

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


# Rows

CAUSAL_ONLY = "the twin reads one table of embeddings, whose scale in an encoder is the adapter's business"
NOT_LLAMA = "the twin replaces the modules of Llama; that the scores add up is checked on every architecture"

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
    "value_x_gradient": Row(ValueXGradient()),  # its twins, and those of alti_logit, are in test_attention_methods.py
    "value_x_gradient, signed": Row(ValueXGradient(rule="signed"), linear=True),
    "attention": Row(Attention(), linear=True, contrast=False),
    "attention_rollout": Row(AttentionRollout(), attention_rollout, linear=True, contrast=False, attention="eager"),
    "value_zeroing": Row(ValueZeroing(), value_zeroing, linear=True, contrast=False),
    "information_flow_routes": Row(InformationFlowRoutes(), linear=True, contrast=False),
    "alti_logit": Row(ALTILogit(), linear=True, everywhere=False),
    "occlusion": Row(Occlusion(), linear=True, additive=False),
}
