"""Slow twins of surrogates and of masks; see `twins.py`."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from twins import Twin, padded, padded_value, prompt_players

from tokensal.types import Example


def left_out(network: nn.Module, example: Example, target: int) -> list[float]:
    players = frozenset(prompt_players(example))
    scores = torch.zeros(example.predictors[target] + 1, dtype=torch.float64)
    for player in players:
        scores[player] = padded_value(network, example, target, players)
        scores[player] -= padded_value(network, example, target, players - {player})
    return padded(scores, len(example.sources))


def rise(samples: int, window: int, seed: int) -> Twin:
    def twin(network: nn.Module, example: Example, target: int) -> list[float]:
        players = prompt_players(example)
        kept, values = [], []
        for sample in range(samples):
            generator = torch.Generator().manual_seed((seed << 20) + sample)
            shift = int(torch.randint(window, (), generator=generator))
            cells = torch.rand((shift + len(players) - 1) // window + 1, generator=generator, dtype=torch.float64)
            kept.append({player for place, player in enumerate(players) if cells[(place + shift) // window] < 0.5})
            values.append(padded_value(network, example, target, frozenset(kept[-1])))
        scores = torch.zeros(example.predictors[target] + 1, dtype=torch.float64)
        for player in players:
            keeping = [value for mask, value in zip(kept, values, strict=True) if player in mask]
            others = [value for mask, value in zip(kept, values, strict=True) if player not in mask]
            scores[player] = (sum(keeping) / len(keeping) - sum(others) / len(others)) / 2
        return padded(scores, len(example.sources))

    return twin


def lime(samples: int, seed: int) -> Twin:
    """As ordinary least squares, with a row for each term of the penalty."""

    def twin(network: nn.Module, example: Example, target: int) -> list[float]:
        players = prompt_players(example)
        count = len(players)
        rows, right = [[0.0] * place + [1.0] + [0.0] * (count - place) for place in range(count)], [0.0] * count
        for sample in range(samples):
            generator = torch.Generator().manual_seed((seed << 20) + sample - 1)
            size = int(torch.randint(1, count + 1, (), generator=generator)) if sample else 0
            order = torch.randperm(count, generator=generator)
            present = [float(place >= size) for place in order]
            cosine = sum(present) / (sum(present) * count) ** 0.5 if sum(present) else 0.0
            root = math.exp(-((1 - cosine) ** 2) / (2 * 0.25**2)) ** 0.5
            coalition = frozenset(player for player, here in zip(players, present, strict=True) if here)
            rows.append([root * each for each in [*present, 1.0]])
            right.append(root * padded_value(network, example, target, coalition))
        fit = torch.linalg.lstsq(
            torch.tensor(rows, dtype=torch.float64), torch.tensor(right, dtype=torch.float64)[:, None]
        ).solution[:, 0]
        scores = torch.zeros(example.predictors[target] + 1, dtype=torch.float64)
        scores[players] = fit[:-1]
        return padded(scores, len(example.sources))

    return twin


def context_cite(samples: int, seed: int, penalty: float) -> Twin:
    """By coordinate descent until nothing changes."""

    def twin(network: nn.Module, example: Example, target: int) -> list[float]:
        players = prompt_players(example)
        rows, values = [], []
        for sample in range(samples):
            generator = torch.Generator().manual_seed((seed << 20) + sample)
            rows.append(torch.rand(1, len(players), generator=generator, dtype=torch.float64)[0] < 0.5)
            coalition = frozenset(player for player, here in zip(players, rows[-1], strict=True) if here)
            values.append(padded_value(network, example, target, coalition))
        x, y = torch.stack(rows).double(), torch.tensor(values, dtype=torch.float64).exp().logit()
        deviation = x.std(0, correction=0)
        z, weights = (x - x.mean(0)) / deviation, torch.zeros(len(players), dtype=torch.float64)
        for _ in range(1000):
            for place in range(len(players)):
                weights[place] = 0
                slope = float(z[:, place] @ (y - y.mean() - z @ weights)) / samples
                weights[place] = max(abs(slope) - penalty, 0) * (1 if slope > 0 else -1)
        scores = torch.zeros(example.predictors[target] + 1, dtype=torch.float64)
        scores[players] = weights / deviation
        return padded(scores, len(example.sources))

    return twin


def extremal_perturbation(areas: tuple[float, ...], steps: int, deviation: float) -> Twin:
    """With the embeddings' mean as the baseline; of all sources but the first."""

    def twin(network: nn.Module, example: Example, target: int) -> list[float]:
        table, read = network.get_input_embeddings(), example.predictors[target] + 1
        embeds = table(torch.tensor([token.id for token in example.sources[:read]])).detach()
        change = embeds - table(torch.arange(table.num_embeddings)).detach().mean(0)
        count, total = read - 1, torch.zeros(read, dtype=torch.float64)
        for area in areas:
            direction = torch.zeros(count, dtype=torch.float64)
            for step in range(steps + 1):
                sharp = thresholded(4 * 25 ** (step / steps) * direction, max(1.0, area * count))
                mask = torch.cat([torch.ones(1).double(), smoothed(sharp, deviation)]).requires_grad_()
                if step == steps:
                    total[1:] += mask.detach()[1:] / len(areas)
                    break
                blend = embeds - (1 - mask)[:, None] * change
                logits = network(inputs_embeds=blend[None], use_cache=False).logits[0, -1]
                (slope,) = torch.autograd.grad(logits.log_softmax(-1)[example.targets[target].id], mask)
                slope = smoothed(slope[1:], deviation)  # the filter is its own transpose
                direction = 0.8 * direction + 0.2 * slope / slope.abs().max()
        return padded(total, len(example.sources))

    return twin


def thresholded(values: Tensor, budget: float) -> Tensor:
    low, high = -100.0, 100.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if (values - middle).sigmoid().sum() > budget else (low, middle)
    return (values - low).sigmoid()


def smoothed(values: Tensor, deviation: float) -> Tensor:
    """By a Gaussian, over the values and their reflection at both ends."""
    count, result = len(values), torch.zeros_like(values)
    places = range(-count, 2 * count)
    for place in range(count):
        weights = [math.exp(-(((other - place) / deviation) ** 2) / 2) for other in places]
        for other, weight in zip(places, weights, strict=True):
            inside = -1 - other if other < 0 else 2 * count - 1 - other if other >= count else other
            result[place] += values[inside] * weight / sum(weights)
    return result
