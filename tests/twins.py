"""Slow twins of the methods: they know models and token ids, and no tokensal.

A twin runs the plain model by ids, a fresh forward for each target, with loops instead of batches. It returns the
scores of one target, NaN for sources that come after what predicts it.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor, nn

from tokensal.questions.selection import passages_of_units
from tokensal.types import Example, Role

Twin = Callable[[nn.Module, Example, int], list[float]]  # the scores of one target, by the number of the target


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
        embeds, copies = noisy_copies(network, example, samples, noise, seed)
        read = example.predictors[target] + 1
        total = sum(gradient_at(network, copy[:read], example, target) for copy in copies)
        return padded(reduce(total / samples, embeds[:read]), len(example.sources))

    return twin


def var_grad(samples: int, noise: float, seed: int) -> Twin:
    def twin(network: nn.Module, example: Example, target: int) -> list[float]:
        _, copies = noisy_copies(network, example, samples, noise, seed)
        gradients = [gradient_at(network, copy[: example.predictors[target] + 1], example, target) for copy in copies]
        scores = []
        for source in range(len(gradients[0])):
            mean = sum(each[source] for each in gradients) / samples
            scores.append(sum((each[source] - mean).pow(2).sum() for each in gradients) / (samples - 1))
        return padded(torch.stack(scores), len(example.sources))

    return twin


def gradient_shap(samples: int, noise: float, seed: int) -> Twin:
    """From zero; the first source is kept. Coordinates are drawn after the baseline and the point."""

    def twin(network: nn.Module, example: Example, target: int) -> list[float]:
        table = network.get_input_embeddings()
        embeds = table(torch.tensor([token.id for token in example.sources])).detach()
        deviation, read = noise * embeds.pow(2).mean().sqrt(), example.predictors[target] + 1
        total = torch.zeros(read, dtype=torch.float64)
        for sample in range(samples):
            generator = torch.Generator().manual_seed((seed << 20) + sample)
            torch.randint(1, (), generator=generator)
            point = torch.rand((), generator=generator, dtype=torch.float64)
            end = embeds + deviation * torch.randn(embeds.shape, generator=generator, dtype=torch.float64)
            end[0] = embeds[0]
            start = torch.zeros_like(embeds)
            start[0] = embeds[0]
            gradient = gradient_at(network, (start + point * (end - start))[:read], example, target)
            total += (gradient * (end - start)[:read]).sum(-1)
        return padded(total / samples, len(example.sources))

    return twin


def noisy_copies(network: nn.Module, example: Example, samples: int, noise: float, seed: int):
    """The embeddings, and copies of them with noise."""
    embeds = network.get_input_embeddings()(torch.tensor([token.id for token in example.sources])).detach()
    deviation = noise * embeds.pow(2).mean().sqrt()
    generators = [torch.Generator().manual_seed((seed << 20) + sample) for sample in range(samples)]
    drawn = (torch.randn(embeds.shape, generator=generator, dtype=torch.float64) for generator in generators)
    return embeds, [embeds + deviation * each for each in drawn]


def gradient_at(network: nn.Module, embeds: Tensor, example: Example, target: int) -> Tensor:
    """Of the log-probability of a target after these embeddings, (read, D)."""
    inputs = embeds.detach()[None].requires_grad_()
    logits = network(inputs_embeds=inputs, use_cache=False).logits[0, -1]
    return torch.autograd.grad(logits.log_softmax(-1)[example.targets[target].id], inputs)[0][0]


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


def altered(replace_modules: Callable[[nn.Module], None], reduce: Callable[[Tensor, Tensor], Tensor]) -> Twin:
    """Of Llama and its like: the gradient with some of its modules replaced, reduced."""

    def twin(network: nn.Module, example: Example, target: int) -> list[float]:
        network = copy.deepcopy(network)
        embeds = network.get_input_embeddings()(inputs_of(example, target)["input_ids"]).detach().requires_grad_()
        plain_softmax = nn.functional.softmax
        try:
            replace_modules(network)
            logits = network(inputs_embeds=embeds, use_cache=False).logits[0, -1]
        finally:
            nn.functional.softmax = plain_softmax
        (gradient,) = torch.autograd.grad(logits.log_softmax(-1)[example.targets[target].id], embeds)
        return padded(reduce(gradient, embeds.detach())[0], len(example.sources))

    return twin


class Rectified(torch.autograd.Function):
    """SiLU with the backward of deconvnet, or of guided backpropagation."""

    @staticmethod
    def forward(ctx, x, guided):
        ctx.save_for_backward(x)
        ctx.guided = guided
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        positive = torch.where(gradient > 0, gradient, 0)
        if not ctx.guided:
            return positive, None
        probability = torch.sigmoid(x)
        return torch.where(x > 0, positive * probability * (1 + x * (1 - probability)), 0), None


def rectified(guided: bool) -> Callable[[nn.Module], None]:
    def replace_modules(network: nn.Module) -> None:
        for module in network.modules():
            if hasattr(module, "act_fn"):
                module.act_fn.forward = lambda x: Rectified.apply(x, guided)

    return replace_modules


class WarmSoftmax(torch.autograd.Function):
    """Softmax, whose gradient is A ∘ (g − ⟨g, A⟩) with A = softmax(s / 2)."""

    @staticmethod
    def forward(ctx, scores):
        ctx.save_for_backward(scores)
        return scores.exp() / scores.exp().sum(-1, keepdim=True)

    @staticmethod
    def backward(ctx, gradient):
        (scores,) = ctx.saved_tensors
        warm = (scores / 2).exp() / (scores / 2).exp().sum(-1, keepdim=True)
        return warm * (gradient - (gradient * warm).sum(-1, keepdim=True))


class Shrunk(torch.autograd.Function):
    """The same numbers, and a share of the gradient."""

    @staticmethod
    def forward(ctx, x, share):
        ctx.share = share
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.share, None


GIM_SHARES = {"q_proj": 1 / 4, "k_proj": 1 / 4, "v_proj": 1 / 2, "gate_proj": 1 / 2, "up_proj": 1 / 2}


def with_interactions_modified(network: nn.Module) -> None:
    for path, module in network.named_modules():
        if hasattr(module, "variance_epsilon"):
            module.forward = with_scale_detached(module)
        elif share := GIM_SHARES.get(path.split(".")[-1]):
            module.register_forward_hook(lambda module, inputs, output, share=share: Shrunk.apply(output, share))
    nn.functional.softmax = lambda scores, **options: WarmSoftmax.apply(scores)


def with_scale_detached(module):
    def forward(x):
        scale = (x.pow(2).mean(-1, keepdim=True) + module.variance_epsilon).rsqrt().detach()
        return module.weight * (x * scale)

    return forward


class SharedLinear(torch.autograd.Function):
    """A linear layer by the rules gamma and epsilon: each contribution to each output, one by one."""

    @staticmethod
    def forward(ctx, x, weight, epsilon, gamma):
        ctx.save_for_backward(x, weight)
        ctx.rules = epsilon, gamma
        return x @ weight.T

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        epsilon, gamma = ctx.rules
        contributions = x[..., None, :] * weight  # (…, out, in)
        outputs = contributions.sum(-1)
        favoured = contributions * (contributions.sign() == outputs.sign()[..., None])
        shares = contributions + gamma * favoured
        totals = shares.sum(-1)
        relevance = gradient * outputs / (totals + epsilon * totals.sign())
        return (shares * relevance[..., None]).sum(-2) / x, None, None, None


def shared(epsilon: float, gamma: float) -> Callable[[nn.Module], None]:
    """CP-LRP with these rules in every linear layer."""

    def replace_modules(network: nn.Module) -> None:
        for module in network.modules():
            if isinstance(module, nn.Linear):
                module.forward = lambda x, module=module: SharedLinear.apply(x, module.weight, epsilon, gamma)
            elif hasattr(module, "variance_epsilon"):
                module.forward = with_scale_detached(module)
            elif hasattr(module, "gate_proj"):
                module.forward = with_ratio_and_halves(module)
        plain_softmax = nn.functional.softmax
        nn.functional.softmax = lambda *args, **kwargs: plain_softmax(*args, **kwargs).detach()

    return replace_modules


def with_ratio_and_halves(module):
    def forward(x):
        before, up = module.gate_proj(x), module.up_proj(x)
        after = before * (module.act_fn(before) / before).detach()
        return module.down_proj((after * up.detach() + after.detach() * up) / 2)

    return forward


# DeepLIFT, of Llama and its like: the reference runs first, and what modules read there is kept


def deep_lift(attention: str) -> Twin:
    """From zero, with the first source kept. Each module is replaced by one that is linear in how its input differs."""

    def twin(network: nn.Module, example: Example, target: int) -> list[float]:
        network = copy.deepcopy(network)
        ids = inputs_of(example, target)["input_ids"]
        embeds = network.get_input_embeddings()(ids).detach()
        reference = torch.zeros_like(embeds)
        reference[:, 0] = embeds[:, 0]
        before = []
        on_secants(network, lambda x: before.append(x.detach()), attention)
        logits0 = network(inputs_embeds=reference, use_cache=False).logits[0, -1].detach()
        on_secants(network, lambda x: before.pop(0), attention)
        x = embeds.clone().requires_grad_()
        logits = network(inputs_embeds=x, use_cache=False).logits[0, -1]
        slopes = (logits.exp() - logits0.exp()) / (logits - logits0)
        normaliser = (logits.logsumexp(0) - logits0.logsumexp(0)) / (logits.exp().sum() - logits0.exp().sum())
        multipliers = -(normaliser * slopes).detach()
        multipliers[example.targets[target].id] += 1
        (gradient,) = torch.autograd.grad(logits @ multipliers, x)
        return padded((gradient * (embeds - reference))[0].sum(-1), len(example.sources))

    return twin


def on_secants(network: nn.Module, pair: Callable[[Tensor], Tensor | None], attention: str) -> None:
    """`pair` keeps what the reference reads, and returns None; later it returns that."""
    for module in network.modules():
        if hasattr(module, "variance_epsilon"):
            module.forward = norm_on_secants(module, pair)
        elif hasattr(module, "gate_proj"):
            module.forward = gate_on_secants(module, pair)
        elif hasattr(module, "q_proj"):
            module.forward = attention_on_secants(module, pair, attention)


def on_secant(x: Tensor, y: Tensor, slope: Tensor) -> Tensor:
    return y.detach() + (x - x.detach()) * slope.detach()


def norm_on_secants(module, pair):
    def forward(x):
        size = (x.pow(2).mean(-1, keepdim=True) + module.variance_epsilon).sqrt()
        x0 = pair(x)
        if x0 is None:
            return module.weight * x / size
        size0 = (x0.pow(2).mean(-1, keepdim=True) + module.variance_epsilon).sqrt()
        # Δ(1/size) by size², whose change is Σ (x + x₀) Δx / D
        slope = torch.where(size == size0, -0.5 / size**3, (1 / size - 1 / size0) / (size**2 - size0**2))
        change = ((x - x.detach()) * (x + x0).detach()).mean(-1, keepdim=True) * slope.detach()
        y = (x / size).detach() + (x - x.detach()) / size.detach() + change * x0
        return module.weight * y

    return forward


def gate_on_secants(module, pair):
    def forward(x):
        gate, up = module.gate_proj(x), module.up_proj(x)
        after = module.act_fn(gate)
        gate0, up0 = pair(gate), pair(up)
        if gate0 is None:
            return module.down_proj(after * up)
        after0 = module.act_fn(gate0)
        slope = torch.where(
            gate == gate0,
            torch.sigmoid(gate) * (1 + gate * (1 - torch.sigmoid(gate))),
            (after - after0) / (gate - gate0),
        )
        return module.down_proj(product_on_secants(torch.mul, on_secant(gate, after, slope), after0, up, up0))

    return forward


def product_on_secants(multiply, a, a0, b, b0):
    halves = multiply(a - a.detach(), (b + b0).detach() / 2) + multiply((a + a0).detach() / 2, b - b.detach())
    return multiply(a, b).detach() + halves


def attention_on_secants(module, pair, attention):
    def forward(hidden_states, position_embeddings, attention_mask=None, **options):
        from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

        rows, length = hidden_states.shape[:2]
        q, k, v = (
            projection(hidden_states).view(rows, length, -1, module.head_dim).transpose(1, 2)
            for projection in (module.q_proj, module.k_proj, module.v_proj)
        )
        q, k = apply_rotary_pos_emb(q, k, *position_embeddings)
        k, v = (part.repeat_interleave(q.shape[1] // part.shape[1], 1) for part in (k, v))
        q0, k0, v0 = pair(q), pair(k), pair(v)
        place = torch.arange(length)
        seen = place <= place[:, None]
        if window := getattr(module.config, "sliding_window", None):
            seen &= place > place[:, None] - window
        if q0 is None:
            heads = (q @ k.mT * module.scaling).masked_fill(~seen, -torch.inf).softmax(-1) @ v
        else:
            scores, scores0 = (
                product_on_secants(torch.matmul, q, q0, k.mT, k0.mT) * module.scaling,
                q0 @ k0.mT * module.scaling,
            )
            weights, weights0 = softmax_on_secants(scores, scores0, seen)
            if attention == "mean":
                heads = product_on_secants(torch.matmul, weights, weights0, v, v0)
            else:
                heads = weights.detach() @ v + (weights - weights.detach()) @ v0
        return module.o_proj(heads.transpose(1, 2).flatten(2)), None

    return forward


def softmax_on_secants(s, s0, seen):
    """exp(s − L), row by row; L by exp, sum and log."""
    e, e0 = s.exp() * seen, s0.exp() * seen
    z, z0 = e.sum(-1, keepdim=True), e0.sum(-1, keepdim=True)
    near = (s - s0).abs() < 1e-9
    slopes = torch.where(near, e, (e - e0) / torch.where(near, 1, s - s0))
    same = (z - z0).abs() < 1e-9
    of_total = torch.where(same, 1 / z, (z.log() - z0.log()) / torch.where(same, 1, z - z0))
    total = z.log().detach() + ((s - s.detach()) * slopes.detach()).sum(-1, keepdim=True) * of_total.detach()
    log, log0 = s - total, s0 - z0.log()
    near = (log - log0).abs() < 1e-9
    slopes = torch.where(near, log.exp(), (log.exp() - log0.exp()) / torch.where(near, 1, log - log0)) * seen
    return (log.exp() * seen).detach() + (log - log.detach()) * slopes.detach(), log0.exp() * seen


def by_norm(gradient: Tensor, embeds: Tensor) -> Tensor:
    return gradient.pow(2).sum(-1).sqrt()


def by_input(gradient: Tensor, embeds: Tensor) -> Tensor:
    return (gradient * embeds).sum(-1)


def shapley_values(network: nn.Module, example: Example, target: int) -> list[float]:
    """By the definition: the mean contribution over all orders."""
    players = prompt_players(example)
    return mean_contributions(network, example, target, itertools.permutations(players))


def hierarchical(level: str, opened: int) -> Twin:
    """Around Shapley values: those of passages, then of these with each target's largest taken apart."""

    def twin(network: nn.Module, example: Example, target: int) -> list[float]:
        passages: dict[int, list[int]] = {}
        for player in prompt_players(example):
            passages.setdefault(passages_of_units(example, level)[player], []).append(player)
        parts = [frozenset(passage) for passage in passages.values()]
        largest = set()
        for each in range(len(example.targets)):
            values = shapley_values_of(parts, network, example, each)
            largest |= set(sorted(parts, key=lambda part, values=values: -abs(values[part]))[:opened])
        parts = [piece for part in parts for piece in (map(frozenset, zip(part)) if part in largest else [part])]
        scores = torch.zeros(example.predictors[target] + 1, dtype=torch.float64)
        for part, value in shapley_values_of(parts, network, example, target).items():
            scores[list(part)] = value / len(part)
        return padded(scores, len(example.sources))

    return twin


def shapley_values_of(parts, network: nn.Module, example: Example, target: int) -> dict[frozenset[int], float]:
    """By the formula: over all coalitions of the others."""
    values = dict.fromkeys(parts, 0.0)
    for part in parts:
        others = [other for other in parts if other != part]
        for size in range(len(parts)):
            for coalition in itertools.combinations(others, size):
                before = frozenset().union(*coalition)
                change = padded_value(network, example, target, before | part)
                change -= padded_value(network, example, target, before)
                values[part] += change / (len(parts) * math.comb(len(others), size))
    return values


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
