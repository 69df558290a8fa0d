"""A graphics card has the numbers of the CPU: every method, dtype and hook point.

    python -m pytest -m cuda

Every check is in `device_checks.py`, and `test_device_checks.py` runs some of them on the CPU.
"""

from __future__ import annotations

import gc

import pytest
import torch
from battery import ROWS
from builders import CONTINUATION, PROMPT, model_and_tokenizer
from counting import CountingAdapter
from device_checks import (
    UNBOUNDED,
    WITHOUT_WAITS,
    check_device_map,
    check_hook_point,
    check_method,
    check_results_and_state,
    check_run,
    check_shortage,
    check_waits,
    each_kind,
    every_dtype,
    placed,
)
from transfers import waits_for_the_card

from tokensal import Budget, adapt, attribute
from tokensal.engine import Engine
from tokensal.engine.differentiation import Graph
from tokensal.engine.memory import free_memory
from tokensal.types import HookPoint

if not torch.cuda.is_available():
    pytest.skip("there is no graphics card", allow_module_level=True)

pytestmark = pytest.mark.cuda

CARD = torch.device("cuda:0")
MIB = 2**20

every_row = pytest.mark.parametrize("row", ROWS)


@pytest.fixture(autouse=True)
def _exact_products():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")  # no TF32
    yield
    torch.set_float32_matmul_precision(before)


@each_kind
@every_dtype
@every_row
def test_every_method(row, name, dtype):
    check_method(row, name, dtype, CARD)


@each_kind
@every_dtype
@pytest.mark.parametrize("point", HookPoint)
def test_every_hook_point(point, name, dtype):
    check_hook_point(point, name, dtype, CARD)


@each_kind
@every_row
def test_results_are_on_the_cpu_and_everything_of_the_users_is_left_as_it_was(row, name):
    check_results_and_state(row, name, CARD)


@each_kind
def test_runs(name, tmp_path):
    check_run(name, CARD, tmp_path)


def test_a_shortage_of_memory_changes_no_number():
    check_shortage(CARD, 256 * MIB, prompt=120)


def test_free_memory_counts_what_pytorch_holds_without_a_tensor():
    torch.cuda.empty_cache()
    before = free_memory(CARD)
    tensor = torch.empty(256 * MIB, dtype=torch.uint8, device=CARD)
    assert before - free_memory(CARD) >= 256 * MIB
    del tensor
    assert before - free_memory(CARD) < 64 * MIB  # others use the card, too


@pytest.mark.parametrize("row", WITHOUT_WAITS)
def test_no_memory_of_the_card_is_kept(row):
    network, coder = model_and_tokenizer("Llama")
    adapted = adapt(network.to(CARD), coder)

    def held() -> int:
        attribute(adapted, PROMPT, continuation=CONTINUATION, method=ROWS[row].method)
        gc.collect()
        return torch.cuda.memory_allocated(CARD)

    held()
    assert held() == held()


@each_kind
@pytest.mark.parametrize("rows", [1, 10**9])
@pytest.mark.parametrize("row", WITHOUT_WAITS)
def test_python_waits_once_a_forward_and_where_results_leave(row, rows, name):
    adapted = CountingAdapter(placed(name, torch.float32, CARD))
    example = adapted.example(PROMPT, continuation=CONTINUATION)
    ROWS[row].method(example, Engine(adapted))  # what is tried once
    adapted.forwards = 0
    with waits_for_the_card() as waits:
        ROWS[row].method(example, Engine(adapted, budget=Budget(rows=rows)))
    check_waits(waits, adapted.forwards)


@each_kind
@pytest.mark.parametrize("row", ["gradient", "lrp", "integrated_gradients", "attention_grad_cam", "deep_lift"])
def test_no_backward_waits(row, name, monkeypatch):
    """PyTorch raises where it would wait between two chunks of cotangents."""
    products = Graph.products

    def products_without_waits(*arguments):
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            return products(*arguments)
        finally:
            torch.cuda.set_sync_debug_mode(before)

    monkeypatch.setattr(Graph, "products", products_without_waits)
    adapted = placed(name, torch.float32, CARD)
    example = adapted.example(PROMPT, continuation=CONTINUATION)
    ROWS[row].method(example, Engine(adapted, budget=Budget(rows=1)))
    ROWS[row].method(example, Engine(adapted, budget=UNBOUNDED))


# Several cards


@each_kind
def test_a_model_that_accelerate_places(name, tmp_path):
    check_device_map(name, "auto", tmp_path, CARD)


def test_a_model_on_two_cards(tmp_path):
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one graphics card")
    layers = {f"model.layers.{number}": min(number, 1) for number in range(3)}
    places = {"model.embed_tokens": 0, **layers, "model.norm": 1, "model.rotary_emb": 0, "lm_head": 1}
    check_device_map("Llama", places, tmp_path, CARD)


def test_a_part_of_the_model_stays_in_the_memory_of_the_machine(tmp_path):
    layers = {f"model.layers.{number}": 0 if number else "cpu" for number in range(3)}
    places = {"model.embed_tokens": 0, **layers, "model.norm": 0, "model.rotary_emb": 0, "lm_head": 0}
    check_device_map("Llama", places, tmp_path, CARD)
