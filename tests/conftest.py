"""What every test may rely on: no network, deterministic, quiet. And which tests are the fast tier."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from subprocess import CompletedProcess

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models are faster with one thread, and workers share the cores

import pytest
import torch
import transformers
from models import ARCHITECTURES, ENCODER_DECODERS

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def here(monkeypatch, capsys):
    """Run `tokensal …` in this process: the same entry point, without a second of imports for each run."""
    from tokensal.cli import app

    def run_here(*arguments):
        monkeypatch.setattr(sys, "argv", ["tokensal", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            app.main()
        return CompletedProcess(arguments, ended.value.code or 0, *capsys.readouterr())

    return run_here


@pytest.fixture
def command(here, monkeypatch, tmp_path):
    """The same in a folder of its own: the exit code, and what is on stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        done = here(*arguments)
        return done.returncode, done.stdout, done.stderr

    return run


# The fast tier: every test module, one decoder and one encoder–decoder, and few cases of a test that runs a model.

LEFT_OUT = {*ARCHITECTURES, *ENCODER_DECODERS, "eager"} - {"Llama", "T5"}
MODEL_BUILDERS = {"adapter", "model", "tiny", "model_and_tokenizer"}
CASES = 2  # of a test that runs a model
SLOW = {  # tests in files whose functions do not carry the marker `slow` yet
    "test_every_gradient_counts_and_no_forward_only_looks",
    "test_the_map_converges_with_the_tolerance",
    "test_the_certificate_holds_and_can_be_checked_from_outside",
    "test_the_nodes_end_where_they_should",
    "test_nodes_go_where_the_error_is",
    "test_several_baselines_are_averaged",
    "test_a_contrast_is_certified_as_a_difference",
    "test_a_mistake_turns_its_oracle_red",
    "test_no_text_breaks_a_figure",
    "test_the_command_line_lists_describes_and_runs_it",
    "test_curves_of_three_operators_cost_little_more_than_their_distinct_suffixes",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of the fast tier."""
    cases: Counter[tuple[str, str]] = Counter()
    for item in items:
        if not isinstance(item, pytest.Function) or not is_fast(item):
            continue
        test = item.module.__name__, item.originalname
        cases[test] += 1
        if cases[test] <= CASES or not vars(item.module).keys() & MODEL_BUILDERS:
            item.add_marker(pytest.mark.fast)


def is_fast(item: pytest.Function) -> bool:
    """Neither slow, nor the real model, nor a browser, nor another process, nor a further architecture of its kind."""
    if any(map(item.get_closest_marker, ("slow", "real", "cuda"))) or item.originalname in SLOW:
        return False
    if "browser" in item.fixturenames or starts_a_process(item.function):
        return False
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return not any(isinstance(value, str) and value in LEFT_OUT for value in parameters)


def starts_a_process(test: Callable[..., None]) -> bool:
    """Whether a test uses `subprocess`, or calls a function of its module that does."""
    functions = [test, *(test.__globals__.get(name) for name in test.__code__.co_names)]
    codes = [getattr(function, "__code__", None) for function in functions]
    return any("subprocess" in code.co_names for code in codes if code)
