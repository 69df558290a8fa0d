"""Evaluations of which every number is known, for tests of what is made of them."""

from __future__ import annotations

from dataclasses import replace

import torch

from tokensal.results.evaluation import EvaluatedMethod, EvaluatedMetric, EvaluatedPrompt, Evaluation, Failure

HOSTILE = ("</script><b>x</b>&amp;", "a_b\\input{secret}%$#{", '=1+1,"q"\n|`*[l](u)', "\ud800\u202e‮漢字 😀 سلام")
POINTS = 5


def evaluation(prompts: int = 12, *, kinds: tuple[str, ...] = ("facts", "needle"), seed: int = 0) -> Evaluation:
    """Two methods and a baseline by two metrics: `good` is right by 0.8, `poor` by 0.3, chance by 0.1.

    The last prompt lacks the first metric, and `poor` fails on the first prompt.
    """
    noise = 0.02 * torch.randn(prompts, 3, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    levels = torch.tensor([[0.8, -1.5], [0.3, 2.5], [0.1, 3.0]], dtype=torch.float64)
    values = levels + noise
    values[-1, :, 0] = torch.nan
    values[0, 1] = torch.nan
    falling = torch.linspace(1, 0, POINTS, dtype=torch.float64)
    curves = torch.stack([falling.square(), falling.sqrt()]).expand(prompts, 3, 2, POINTS).clone()
    curves[0, 1] = torch.nan
    return Evaluation(
        methods=(
            EvaluatedMethod("good", "Good(rule='cp')", True, False),
            EvaluatedMethod("poor", "Poor()", False, False),
            EvaluatedMethod("random", "Random(seed=0)", True, True),
        ),
        metrics=(
            EvaluatedMetric("recall", "Recall(fraction=0.1)", "share of what is found", "higher"),
            EvaluatedMetric("drop", "Drop()", "what is lost", "lower"),
        ),
        prompts=tuple(
            EvaluatedPrompt(f"p{number}", kinds[number * len(kinds) // prompts], f"Text {number}", 2)
            for number in range(prompts)
        ),
        values=values,
        seconds=torch.tensor([0.5, 0.25, 0.01], dtype=torch.float64).expand(prompts, 3).clone(),
        curves=curves,
        failures=(Failure(0, 1, "It takes too long: choose a shorter text."),),
        facts={"model": "dates", "seed": "0", "torch": "2.13"},
        config={"suite": "copy", "count": 6},
    )


def hostile() -> Evaluation:
    """Names, kinds, texts and reasons that no format may take for its own."""
    plain = evaluation()
    first, second, third, fourth = HOSTILE
    return replace(
        plain,
        methods=(replace(plain.methods[0], name=first, method_repr=second), *plain.methods[1:]),
        metrics=(replace(plain.metrics[0], name=second, summary=third), replace(plain.metrics[1], metric_repr=fourth)),
        prompts=tuple(
            replace(each, id=f"{third}{number}", kind=fourth if each.kind == "facts" else first, text=second)
            for number, each in enumerate(plain.prompts)
        ),
        failures=(Failure(0, 0, third),),
        facts={first: second, third: fourth},
    )
