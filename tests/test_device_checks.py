"""The checks of `test_cuda.py` themselves, on the CPU; and what does not wait for a device, on a simulated one."""

from __future__ import annotations

import pytest
import simulated_devices
import torch
from battery import ROWS
from builders import CONTINUATION, PROMPT, model_and_tokenizer
from counting import CountingAdapter
from device_checks import (
    CPU,
    WITHOUT_WAITS,
    activations,
    apart,
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
    reference,
)
from transfers import Transfers

from tokensal import Budget, adapt, transfers
from tokensal.engine import Engine
from tokensal.engine.memory import free_on_device
from tokensal.types import HookPoint

DEVICE = torch.device("xpu:0")


# The checks, on the CPU


@each_kind
@every_dtype
@pytest.mark.parametrize("row", ["lrp", "occlusion"])
def test_a_method(row, dtype, name):
    check_method(row, name, dtype, CPU)


@each_kind
@every_dtype
@pytest.mark.parametrize("point", HookPoint)
def test_a_hook_point(point, dtype, name):
    check_hook_point(point, name, dtype, CPU)


@pytest.mark.slow
@each_kind
@every_dtype
@pytest.mark.parametrize("row", ROWS)
def test_every_method(row, dtype, name):
    check_method(row, name, dtype, CPU)


def test_other_numbers_are_noticed():
    rounded = activations(reference("Llama", torch.bfloat16), HookPoint.RESIDUAL)
    assert apart(activations(placed("Llama", torch.float32, CPU), HookPoint.RESIDUAL), rounded) > 1e-3


@each_kind
def test_results_and_state(name):
    check_results_and_state("lrp", name, CPU)


def test_a_run(tmp_path):
    check_run("Llama", CPU, tmp_path)


def test_a_device_map(tmp_path):
    check_device_map("Llama", {"": "cpu"}, tmp_path, CPU)


@pytest.mark.slow
def test_a_shortage():
    check_shortage(CPU, 256 * 2**20, prompt=120)


@pytest.mark.parametrize(
    ("free", "reserved", "allocated", "limit", "expected"),
    [
        (10, 0, 0, 100, 10),
        (10, 8, 3, 100, 15),  # 5 are held, but not of a tensor
        (10, 8, 3, 12, 9),  # the limit is of this process
        (10, 8, 8, 6, 0),
    ],
)
def test_free_memory_of_a_device(free, reserved, allocated, limit, expected):
    assert free_on_device(free, reserved, allocated, limit) == expected


# Waits, on a simulated device


@pytest.fixture
def simulated(monkeypatch):
    """Tiny models on a simulated device that counts transfers, by their name."""
    monkeypatch.setattr(simulated_devices, "Places", Transfers)
    monkeypatch.setattr(transfers, "QUEUED", {DEVICE.type})

    def run(name, row, rows):
        network, coder = model_and_tokenizer(name)
        with simulated_devices.distributed(network, lambda module: DEVICE) as places:
            adapted = CountingAdapter(adapt(network, coder))
            example = adapted.example(PROMPT, continuation=CONTINUATION)
            ROWS[row].method(example, Engine(adapted))  # what is tried once
            adapted.forwards = 0
            places.waits.clear()
            ROWS[row].method(example, Engine(adapted, budget=Budget(rows=rows)))
            return places.waits, adapted.forwards

    return run


@each_kind
@pytest.mark.parametrize("row", WITHOUT_WAITS)
def test_python_waits_once_a_forward_and_where_results_leave(row, name, simulated):
    check_waits(*simulated(name, row, rows=1))


@pytest.mark.parametrize("row", ["gradient", "lrp", "deep_lift"])
def test_chunks_of_cotangents_add_no_wait(row, simulated):
    assert simulated("Llama", row, rows=1) == simulated("Llama", row, rows=10**9)


def test_copies_that_are_not_queued_are_noticed(simulated, monkeypatch):
    monkeypatch.setattr(transfers, "QUEUED", frozenset())
    with pytest.raises(AssertionError):
        check_waits(*simulated("Llama", "gradient", rows=1))


def test_what_waits():
    with Transfers() as places:
        host, device = torch.arange(3), torch.ones(3, device=DEVICE)
        reads = [lambda: int(device[0]), lambda: bool(device.any()), lambda: device.cpu(), lambda: device.nonzero()]
        reads += [lambda: device.tolist(), lambda: device[device > 0], lambda: device.to("cpu")]
        sends = [lambda: host.to(DEVICE), lambda: host.to(device), lambda: torch.tensor([1], device=DEVICE)]
        sends += [lambda: device[host], lambda: device.copy_(host)]
        for wait in [*reads, *sends]:
            places.waits.clear()
            wait()
            assert places.waits.total() == 1
        places.waits.clear()
        neither = [
            lambda: host.to(DEVICE, non_blocking=True),
            lambda: device.double(),
            lambda: device.to(torch.float64),
        ]
        neither += [
            lambda: int(host[0]),
            lambda: device[1:],
            lambda: device[None],
            lambda: torch.ones(2, device=DEVICE),
        ]
        for operation in neither:
            operation()
        assert places.waits.total() == 0 and places.sends.total() == 1
