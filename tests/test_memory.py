"""Free memory: the least of what the machine, control groups of both versions, and the address space leave."""

from __future__ import annotations

import resource
import subprocess
import sys

import psutil
import pytest
import torch

from tokensal.engine import Budget, memory
from tokensal.engine.memory import free_memory
from tokensal.errors import InputError

CPU = torch.device("cpu")
GIB = 2**30


def group(folder, limit, used, cached, *, version):
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    for name, value in zip(names, (limit, used), strict=True):
        (folder / name).write_text(f"{value}\n")
    prefix = "" if version == 2 else "total_"
    (folder / "memory.stat").write_text(f"anon 1\n{prefix}inactive_file {cached}\n")


def left(tmp_path, lines):
    (tmp_path / "membership").write_text("\n".join(lines) + "\n")
    return list(memory._left_by_control_groups(tmp_path, tmp_path / "membership"))


def test_a_group_of_version_2_and_those_it_is_in(tmp_path):
    group(tmp_path / "user/task", "max", 5, 0, version=2)
    group(tmp_path / "user", 4 * GIB, 3 * GIB, GIB // 2, version=2)
    assert left(tmp_path, ["0::/user/task"]) == [GIB + GIB // 2]


def test_a_group_of_version_1(tmp_path):
    group(tmp_path / "memory/docker/id", 3 * GIB, GIB, 7, version=1)
    assert left(tmp_path, ["12:cpu,cpuacct:/docker/id", "5:memory:/docker/id"]) == [2 * GIB + 7]


@pytest.mark.parametrize(("version", "line"), [(2, "0::/docker/id"), (1, "5:memory:/docker/id")])
def test_a_container_whose_own_path_is_not_mounted(tmp_path, version, line):
    group(tmp_path / ("" if version == 2 else "memory"), 2 * GIB, GIB, 0, version=version)
    assert left(tmp_path, [line]) == [GIB]


def test_without_control_groups(tmp_path):
    assert left(tmp_path, []) == []
    assert list(memory._left_by_control_groups(tmp_path, tmp_path / "nowhere")) == []


def test_the_least_counts(monkeypatch):
    machine = psutil.virtual_memory().available
    assert 0 < free_memory(CPU) <= machine * 1.5  # others allocate meanwhile
    monkeypatch.setattr(memory, "_left_by_control_groups", lambda: iter([3 * GIB, 12345]))
    assert free_memory(CPU) == 12345
    monkeypatch.setattr(memory, "_left_by_control_groups", lambda: iter([-5]))
    assert free_memory(CPU) == 0


def test_a_limit_of_the_address_space_counts():
    script = (
        "import resource, psutil; from tokensal.engine.memory import _left_by_address_space as left\n"
        "limit = psutil.Process().memory_info().vms + 2**30\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "print(next(left()))"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert 0.9 * GIB < int(output) <= GIB
    assert list(memory._left_by_address_space()) == [] or resource.getrlimit(resource.RLIMIT_AS)[0] > 0


@pytest.mark.parametrize("bound", [{"rows": -1}, {"rows": "many"}, {"memory": 1.5}, {"memory": True}])
def test_a_budget_is_of_whole_numbers(bound):
    [name] = bound
    with pytest.raises(InputError, match=rf"budget\.{name}"):
        Budget(**bound)
