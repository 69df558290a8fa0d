"""How much memory is free on a device: the least that the machine, a container and the process leave."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import torch

CONTROL_GROUPS = Path("/sys/fs/cgroup")
# Of version 2 and 1 of Linux's control groups: where a group's files are, its limit and what it uses, and the part of
# that which the kernel gives back when it is short, such as cached files
VERSIONS = (
    ("", "memory.max", "memory.current", "inactive_file"),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def free_memory(device: torch.device) -> int:
    """Bytes that are free on the device."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        reserved, allocated = torch.cuda.memory_reserved(device), torch.cuda.memory_allocated(device)
        limit = int(torch.cuda.get_per_process_memory_fraction(device) * total)
        return free_on_device(free, reserved, allocated, limit)
    limits: list[int] = [psutil.virtual_memory().available, *_left_by_control_groups(), *_left_by_address_space()]
    return max(0, min(limits))


def free_on_device(free: int, reserved: int, allocated: int, limit: int) -> int:
    """Bytes that tensors can take: what the device has free, and what PyTorch holds of it without a tensor in it.

    Args:
        free: bytes that no process holds.
        reserved: bytes that this process holds.
        allocated: those of them that are of tensors.
        limit: the most bytes that this process may hold (`torch.cuda.set_per_process_memory_fraction`).
    """
    return max(0, min(free + reserved, limit) - allocated)


def peak_memory(device: torch.device) -> tuple[int, int]:
    """The most bytes that this process has taken so far: of the machine's memory, and of the device's where it has own.

    Both count what came before, such as loading a model, since a process needs that as well.
    """
    on_device = torch.cuda.max_memory_reserved(device) if device.type == "cuda" else 0
    try:
        import resource
    except ImportError:  # Windows
        return int(psutil.Process().memory_info().peak_wset), on_device
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, on_device


def _left_by_control_groups(root: Path = CONTROL_GROUPS, membership: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """What each limit leaves: of the group of this process, and of those that it is in.

    In a container the group's own path is often not mounted, and its files are those of the root.
    """
    try:
        lines = [line.split(":", 2) for line in membership.read_text().splitlines() if line]
    except OSError:  # not Linux
        return
    for folder, limit, used, cached in VERSIONS:
        paths = [path for _, controllers, path in lines if folder in controllers.split(",")]
        for path in paths:
            group = Path(path.strip("/"))
            for ancestor in dict.fromkeys([group, *group.parents, Path()]):
                yield from _left_by(root / folder / ancestor, limit, used, cached)


def _left_by(group: Path, limit: str, used: str, cached: str) -> Iterator[int]:
    try:
        statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        yield int((group / limit).read_text()) - int((group / used).read_text()) + int(statistics.get(cached, 0))
    except (OSError, ValueError):  # no such group, or "max", which is no limit
        return


def _left_by_address_space() -> Iterator[int]:
    try:
        import resource
    except ImportError:  # Windows
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        yield limit - psutil.Process().memory_info().vms
