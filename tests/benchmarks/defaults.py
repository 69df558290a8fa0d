"""What the defaults are chosen from: methods and their options on trained models of three families, in one table.

    python tests/benchmarks/defaults.py FOLDER [--models smollm2,dates,PATH] [--count 10] [--seed 1] [--table]

1. The models: SmolLM2 (Llama), `dates` (T5), and the path of one that `examples/train_recall.py` trained (GPT-2).
2. The prompts are those of `tokensal.evaluation.suites` that a model answers from the evidence, of other seeds than
   those that options were swept on (`localisation.py --sweep`).
3. Beside each default, the same method with another choice: LRP's rule for attention, layers, what an absent token is
   replaced by, baselines. Curves by two removal operators, since each favours some methods.
4. FOLDER keeps a journal of each model, so that the same call goes on, and its result as JSON; --table prints them.

Integrated gradients have a study of their own: `examples/findings/quadrature.py`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import tokensal
from tokensal import AttentionGradCAM, DeepLift, GradCAM, Occlusion, ValueXGradient
from tokensal.evaluation.suites import KINDS
from tokensal.methods import Method
from tokensal.results.evaluation import Evaluation

METHODS: list[str | Method] = [
    "lrp",
    tokensal.LRP(rule="attn"),
    "gim",
    "gradient",
    "input_x_gradient",
    DeepLift(),
    DeepLift(baseline="mean"),
    AttentionGradCAM(),
    AttentionGradCAM(layers="all"),
    GradCAM(),
    GradCAM(layers="all"),
    ValueXGradient(),
    ValueXGradient(layers="all"),
    Occlusion(),
    Occlusion(replacement="delete"),
    Occlusion(replacement="mean"),
    Occlusion(replacement="zero"),
]
METRICS = ("pointing_game", "recall", "abpc")
OPERATORS = ("mask", "delete")
OF_SMOLLM2 = ("facts", "retrieval", "reordering", "agreement")
OF_OTHERS = ("needle", "redundant", "reordering", "agreement", "negation")  # what the trained model can do


def measure(name: str, folder: Path, count: int, seed: int) -> list[Evaluation]:
    """An evaluation for each kind of prompts that is for the model."""
    model = tokensal.load(None if name == "smollm2" else name)
    kinds = (name,) if name in KINDS else OF_SMOLLM2 if name == "smollm2" else OF_OTHERS
    label = Path(name).name
    results = []
    for kind in kinds:
        result = tokensal.evaluate(
            model,
            suite=kind,
            count=count,
            seed=seed,
            methods=METHODS,
            metrics=METRICS,
            replacements=OPERATORS,
            journal=folder / f"{label}-{kind}.jsonl",
            progress=True,
        )
        result.save(folder / f"{label}-{kind}.json")
        print(f"{label}, {kind}: {len(result.prompts)} prompts, {float(result.seconds.nansum()):.0f} s of explaining")
        results.append(result)
    return results


def table(folder: Path) -> str:
    """A line for each method: by model and kind its pointing game, and the area between its curves by operator."""
    results = {path.stem: Evaluation.load(path) for path in sorted(folder.glob("*.json"))}
    heads = [f"{name} ({len(result.prompts)})" for name, result in results.items()]
    lines = [f"| method | {' | '.join(heads)} |", f"|---{'|---:' * len(heads)}|"]
    names = [method.name for method in next(iter(results.values())).methods]
    for name in names:
        cells = [" / ".join(_means(result, name)) for result in results.values()]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _means(result: Evaluation, method: str) -> list[str]:
    """Pointing game, and areas between the curves, as means over the prompts."""
    number = [each.name for each in result.methods].index(method)
    metrics = [index for index, metric in enumerate(result.metrics) if metric.name != "recall"]
    return [f"{float(result.values[:, number, index].nanmean()):.2f}".replace("0.", ".", 1) for index in metrics]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", default="dates,smollm2")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="print the table of what is finished, and measure nothing")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if not options.table:
        for name in options.models.split(","):
            measure(name, options.folder, options.count, options.seed)
    print(table(options.folder))


if __name__ == "__main__":
    main()
