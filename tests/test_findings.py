"""The script of a finding gives the numbers of the library, and its page the numbers of its journals."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
import torch
from scipy.stats import spearmanr

import tokensal
from tokensal.evaluation import METRICS
from tokensal.evaluation.metric import trial_of
from tokensal.evaluation.suites import prompts_of
from tokensal.methods import IntegratedGradients

FOLDER = Path(__file__).resolve().parent.parent / "examples" / "findings"
COMMAND = "--model dates --kinds dates --prompts 2 --metrics few --rules gauss_legendre --no-stricter --folder"


@pytest.fixture(scope="module")
def scripts():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield [importlib.import_module(f"quadrature{part}") for part in ("", "_numbers", "_page")]


@pytest.fixture(scope="module")
def folder(scripts, tmp_path_factory):
    """The journals of a small run."""
    folder = tmp_path_factory.mktemp("journals")
    scripts[0].main([*COMMAND.split(), str(folder)])
    return folder


# A run


@pytest.mark.slow
def test_the_numbers_are_those_of_the_library(scripts, folder):
    _, module, _ = scripts
    numbers = module.read(folder)
    [id, _] = numbers.row("dates", "abpc", "zero, certified")
    trial = trial_of(prompts_of([id])[0], tokensal.load("dates"))
    for name, method in {
        "zero, certified": IntegratedGradients(),
        "mean, Gauss–Legendre 20": IntegratedGradients(baseline="mean", steps=20),
        "token, Gauss–Legendre 50": IntegratedGradients(baseline="pad", steps=50),
        "occlusion": tokensal.Occlusion(),
    }.items():
        attribution = trial.explain(method)
        for metric in ("mrr", "gold_mass", "deletion", "abpc", "lds"):
            expected = METRICS[metric]()(trial, attribution).nanmean()
            assert numbers.row("dates", metric, name)[id] == pytest.approx(float(expected), rel=1e-6, abs=1e-9)


@pytest.mark.slow
def test_how_far_a_map_is_from_the_certified_one_by_hand(scripts, folder):
    numbers = scripts[1].read(folder)
    [id, _] = numbers.row("dates", "abpc", "mean, certified")
    trial = trial_of(prompts_of([id])[0], tokensal.load("dates"))
    certified, fixed = (
        trial.explain(IntegratedGradients(baseline="mean", **options)) for options in ({}, {"steps": 20})
    )
    change, delta = (fixed.diagnostics[name].values.double() for name in ("total", "convergence_delta"))
    players = trial.game().players
    pairs = [
        (own[~own.isnan()].double(), other[~other.isnan()].double())
        for own, other in zip(fixed.scores[:, players], certified.scores[:, players], strict=True)
    ]
    expected = {
        "residual": (delta / change).abs(),
        "within": ((delta / change).abs() <= 0.05).double(),
        "gradients": torch.full((3,), 20.0, dtype=torch.float64),
        "rank_agreement": torch.tensor([spearmanr(own, other).statistic for own, other in pairs]),
        "distance": torch.stack([(own - other).abs().sum() / other.abs().sum() for own, other in pairs]),
        "same_best": torch.tensor([float(own.argmax() == other.argmax()) for own, other in pairs]),
    }
    for metric, values in expected.items():
        number = numbers.row("dates", metric, "mean, Gauss–Legendre 20")[id]
        assert number == pytest.approx(float(values.mean()), rel=1e-6), metric
    assert numbers.row("dates", "distance", "mean, certified")[id] == 0
    assert id not in numbers.row("dates", "distance", "occlusion")


@pytest.mark.slow
def test_the_same_command_goes_on_and_the_page_keeps_what_is_written_by_hand(scripts, folder, tmp_path):
    script, module, _ = scripts
    [journal] = folder.glob("*.jsonl")
    before = journal.read_bytes()
    script.main([*COMMAND.split(), str(folder)])
    assert journal.read_bytes() == before and before.count(b"\n") == 3
    page = tmp_path / "page.md"
    page.write_text("# By hand\n\n<!-- tables -->\nstale\n<!-- end -->\n\nMore by hand.\n", "utf-8")
    script.main(["--folder", str(folder), "--page", str(page)])
    text = page.read_text("utf-8")
    assert text.startswith("# By hand\n") and text.endswith("\nMore by hand.\n") and "stale" not in text
    assert "--folder journals`" in text and str(folder) not in text
    mean = module.read(folder).mean("dates", "abpc", "zero, certified")
    assert f"| abpc ↑ | zero | {mean:.3f}".replace("| 0.", "| .") in text


@pytest.mark.slow
def test_long_prompts_are_left_out(scripts):
    script, _, _ = scripts
    model = tokensal.load("dates")
    short = script.draw("dates", model, 2, 0, 13)
    assert all(len(trial_of(prompt, model).case.example.sources) <= 13 for prompt in short.prompts)
    assert [prompt.id for prompt in script.draw("dates", model, 2, 0, None).prompts] != [p.id for p in short.prompts]


# Numbers by hand

METHODS = (
    "integrated_gradients", "integrated_gradients steps=20", "integrated_gradients steps=50",
    "integrated_gradients baseline=mean", "integrated_gradients baseline=mean steps=20",
    "integrated_gradients baseline=mean steps=50", "integrated_gradients baseline=unk",
    "integrated_gradients baseline=unk steps=20", "integrated_gradients baseline=unk steps=50",
    "lrp", "gradient", "input_x_gradient", "occlusion",
)  # fmt: skip


def write(folder, values, metrics=("abpc",), model="m", kind="k", group="maps"):
    """A journal, from a number for each prompt, metric and method."""
    ids = [f"{kind}-0-{number}" for number in range(len(values))]
    lines = [{}, *({"id": id, "values": value} for id, value in zip(ids, values, strict=True))]
    journal = folder / f"{model}-{kind}-{group}-0.jsonl"
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"cut', "utf-8")
    run = {"model": model, "methods": METHODS, "metrics": metrics, "wanted": 9, "tried": 9, "seconds": 1, "command": "",
           "machine": "", "versions": {}, "kind": kind}  # fmt: skip
    journal.with_suffix(".run.json").write_text(json.dumps(run), "utf-8")


def numbers_by_hand(better):
    """Of 20 prompts: from zero, the certified map is `better` than that of 20 nodes, the others are alike."""
    level = [0.5, 0.5 - better, 0.5, *[0.05] * 3, 0.25, 0.6, 0.25, 0.45, 0.3, 0.2, 0.1]
    return [[[value + 0.001 * (7 * prompt % 5) * (-1) ** column for column, value in enumerate(level)]]
            for prompt in range(20)]  # fmt: skip


def test_names_of_methods_are_read_from_journals(scripts):
    name_of = scripts[1].name_of
    assert name_of("integrated_gradients") == "zero, certified"
    assert name_of("integrated_gradients baseline=mean tolerance=0.01 max_evaluations=2048") == "mean, stricter"
    assert name_of("integrated_gradients baseline=unk steps=50 rule=riemann") == "token, middles 50"
    assert name_of("integrated_gradients steps=20") == "zero, Gauss–Legendre 20"
    assert name_of("lrp") == "lrp"


def test_a_difference_and_its_verdict(scripts, tmp_path):
    _, module, _ = scripts
    for better, verdict in ((0.2, 1), (-0.2, -1), (0.0, 0)):
        write(tmp_path, numbers_by_hand(better))
        found = {
            (each.baseline, each.steps): each
            for each in module.differences(module.read(tmp_path), "m", "gauss_legendre")
        }
        assert found["zero", 20].mean.value == pytest.approx(better + 0.001 * 4, abs=1e-9)
        assert found["zero", 20].verdict == (verdict or 1)  # a small difference, of one sign in all prompts
        assert found["token", 20].verdict == -1 and len(found) == 6


def test_a_lower_value_can_be_better(scripts, tmp_path):
    _, module, _ = scripts
    write(tmp_path, numbers_by_hand(0.2), metrics=("deletion",))
    numbers = module.read(tmp_path)
    assert {each.verdict for each in module.differences(numbers, "m", "gauss_legendre") if each.baseline == "zero"
            and each.steps == 20} == {-1}  # fmt: skip
    assert module.place(numbers, "m", "deletion", "zero, certified") == 5


def test_places_pairs_that_are_turned_and_the_best_baseline(scripts, tmp_path):
    _, module, _ = scripts
    write(tmp_path, numbers_by_hand(0.25))
    numbers = module.read(tmp_path)
    places = [module.place(numbers, "m", "abpc", f"{name}, certified") for name in ("zero", "mean", "token")]
    assert places == [1, 5, 3]
    assert module.place(numbers, "m", "abpc", "zero, Gauss–Legendre 20") == 3
    assert module.place(numbers, "m", "abpc", "token, Gauss–Legendre 20") == 1
    counts = module.orders(numbers, "m", "gauss_legendre", 20)
    # of 20 nodes, from zero behind lrp and gradient, from the token before them
    assert (counts.pairs, counts.places, counts.moved) == (12, 3, 2)
    assert counts.turned == counts.surely == 4
    assert module.best_moved(numbers, "m", "gauss_legendre", 20) == ["abpc"]
    assert module.best_moved(numbers, "m", "gauss_legendre", 50) == []


def test_pooled_are_prompts_of_all_models_by_what_all_have(scripts, tmp_path):
    _, module, _ = scripts
    write(tmp_path, numbers_by_hand(0.2))
    write(tmp_path, [[*row, *row] for row in numbers_by_hand(0.0)], metrics=("abpc", "lds"), model="n")
    numbers = module.read(tmp_path)
    assert numbers.models == ["m", "n", module.POOLED]
    assert numbers.metrics(module.POOLED) == ["abpc"] and numbers.metrics("n") == ["abpc", "lds"]
    assert len(numbers.row(module.POOLED, "abpc", "zero, certified")) == 40
    assert numbers.rules(module.POOLED) == ["gauss_legendre"]


def test_metrics_that_explain_again_are_a_family_of_their_own(scripts, tmp_path):
    _, module, page = scripts
    write(tmp_path, numbers_by_hand(0.2))
    before = module.differences(module.read(tmp_path), "m", "gauss_legendre")
    write(tmp_path, numbers_by_hand(0.2)[:5], metrics=("random_target",), group="again")
    maps, again = (module.read(tmp_path, again=each) for each in (False, True))
    assert module.differences(maps, "m", "gauss_legendre") == before
    assert again.metrics("m") == ["random_target"] and len(again.row("m", "random_target", "lrp")) == 5
    texts = list(page.sections(maps, again))
    assert "| m-k-again-0 | 5 of 9 |" in texts[0] and "| m-k-maps-0 | 20 of 9 |" in texts[0]
    assert all("random_target" in text for text in texts[-3:]) and "random_target" not in "".join(texts[:-3])


@pytest.mark.slow
def test_a_journal_of_a_model_in_a_folder_is_in_the_folder_of_journals(scripts, tmp_path, monkeypatch):
    script, module, _ = scripts
    drawn = script.draw("dates", tokensal.load("dates"), 1, 0, None)
    monkeypatch.setattr(script, "draw", lambda *question: drawn)
    model = tokensal.load("dates")
    model.name = str(tmp_path / "elsewhere" / "dates")
    script.measure(model, "dates", tmp_path, prompts=1, group="few", rules=["gauss_legendre"], stricter=False)
    assert module.read(tmp_path).models == ["dates"]
