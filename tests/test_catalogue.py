"""The methods as the command line lists and names them, without their classes."""

from __future__ import annotations

import ast
import dataclasses
import shlex

import pytest
import typer

from tokensal.cli.app import app
from tokensal.cli.catalogue import catalogue, details, listing
from tokensal.cli.flags import HEADINGS, complete_methods
from tokensal.config import COMMANDS, Explanations
from tokensal.errors import InputError
from tokensal.methods import ALIASES, METHODS, build, canonical_name


def test_what_is_read_from_the_source_is_what_the_classes_say():
    rows, aliases = catalogue()
    assert list(rows) == list(METHODS) and aliases == ALIASES
    for name, method in METHODS.items():
        row = rows[name]
        assert (row.name, row.summary, row.paper) == (name, method.summary, method.paper)
        defaults = {each.name: each.default for each in dataclasses.fields(method)}
        assert {name: ast.literal_eval(default) for name, (default, _) in row.options.items()} == defaults
        assert row.description and all(text for _, text in row.options.values())


@pytest.mark.parametrize("width", [30, 80, 200])
def test_the_list_is_as_wide_as_the_terminal(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    lines = listing().splitlines()
    column = max(map(len, METHODS)) + 2
    assert max(map(len, lines)) <= max(width, column + 20)
    assert [line.split()[0] for line in lines if line[0] != " "] == list(METHODS)
    assert all(line[column - 1] == " " != line[column] for line in lines)


def test_details_name_everything_about_a_method(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = details("IG")
    for part in (
        "integrated_gradients",
        "arXiv:1703.01365",
        "baseline = 'zero'",
        "tolerance = 0.05",
        "Other names: ig",
    ):
        assert part in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ig", "integrated_gradients"),
        ("integrated-gradients", "integrated_gradients"),
        ("IntegratedGradients", "integrated_gradients"),
        ("saliency", "gradient"),
        ("ixg", "input_x_gradient"),
        ("gradcam", "grad_cam"),
        ("rollout", "attention_rollout"),
        ("SmoothGrad", "smooth_grad"),
        *((name, name) for name in METHODS),
    ],
)
def test_other_names_of_methods(name, meant):
    assert build(name).name == canonical_name(name) == meant


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("gradeint", "gradient"),
        ("salience", "gradient"),
        ("integrated", "integrated_gradients"),
        ("roll-out2", "rollout"),
    ],
)
def test_an_unknown_name_offers_the_nearest(name, nearest):
    with pytest.raises(InputError, match=f"did you mean '.*{nearest}'.*Known: .*attention_grad_cam, "):
        build(name)


@pytest.mark.parametrize("name", ["", "?", "xyz"])
def test_a_name_that_is_near_none_lists_all(name):
    with pytest.raises(InputError, match=r": Known: .*attention_grad_cam, "):
        build(name)


def test_aliases_lead_to_methods_and_hide_none():
    assert set(ALIASES.values()) <= set(METHODS)
    assert all(alias.isalnum() and alias.islower() for alias in ALIASES)
    assert not set(ALIASES) & {name.replace("_", "") for name in METHODS}


def test_options_of_a_comparison_may_use_another_name_of_the_method():
    explanations = Explanations(methods=["ig", "Gradient"], options={"integrated-gradients": {"steps": 3}})
    first, second = explanations.arguments()["methods"]
    assert (first.name, first.steps, second.name) == ("integrated_gradients", 3, "gradient")


def test_completion_offers_names_of_methods():
    assert complete_methods("gr") == ["gradient", "grad_cam", "gradient_rollout"]
    assert complete_methods("lrp,occ") == ["lrp,occlusion"]


@pytest.mark.parametrize("command", ["attribute", "compare", "show", "methods"])
def test_help_is_grouped_and_ends_with_an_example(command):
    command = typer.main.get_command(app).commands[command]
    text = command.get_help(command.make_context(command.name, ["x"], resilient_parsing=True))
    for group in COMMANDS.get(command.name, ()):
        assert f"\n{HEADINGS[group]}:\n" in text
    name, *arguments = shlex.split(text.partition("Example:\n")[2])[1:]
    assert name == command.name
    assert command.make_context(name, arguments).params  # it can be read
