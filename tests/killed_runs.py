"""Runs that are killed: a program of its own, which forks a process for each attempt, so that torch is imported once.

    python killed_runs.py randomly|writing|together FOLDER

It prints how many attempts were killed. `RECORDS` are explained by `METHODS`, as `explain` does without any fault.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable

from runs_by_hand import RECORDS, Recency

import tokensal

KILLS = 6
METHODS = [tokensal.Occlusion(), Recency()]


def explain(model, folder) -> None:
    """What all attempts do."""
    sampled = {"generation": {"do_sample": True, "temperature": 2.0}, "seed": 3}
    tokensal.run(model, RECORDS, folder, methods=METHODS, part_size=2, targets="output", **sampled)


def start(model, folder, before: Callable[[], None] = lambda: None) -> int:
    """A process that explains; its number."""
    if process := os.fork():
        return process
    before()
    explain(model, folder)
    os._exit(0)


def is_killed(process: int) -> bool:
    """Wait for a process: whether it was killed, or came to its end."""
    _, status = os.waitpid(process, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    assert os.waitstatus_to_exitcode(status) == 0, status
    return False


def randomly(model, folder) -> int:
    """Kill some processes after random times, and let the last one finish."""
    delays = random.Random(0)
    killed = 0
    for _ in range(KILLS):
        process = start(model, folder)
        time.sleep(delays.uniform(0.05, 0.8))
        os.kill(process, signal.SIGKILL)
        killed += is_killed(process)
    assert not is_killed(start(model, folder))
    return killed


def writing(model, folder) -> int:
    """Kill each process before its n-th call that makes a file durable or gives it its name, n = 1, 2, 3, …"""
    for calls in range(1, 40):
        if not is_killed(start(model, folder, lambda calls=calls: kill_at(calls))):
            return calls - 1
    raise AssertionError("it never came to its end")


def kill_at(calls: int) -> None:
    """Let this process be killed before so many calls of the system that write."""
    remaining = calls

    def counted(function):
        def call(*arguments, **keywords):
            nonlocal remaining
            remaining -= 1
            if not remaining:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **keywords)

        return call

    for name in ("fsync", "replace", "link"):
        setattr(os, name, counted(getattr(os, name)))


def together(model, folder) -> int:
    """Two processes on one folder at once."""
    processes = [start(model, folder) for _ in range(2)]
    return sum(map(is_killed, processes))


if __name__ == "__main__":
    mode, folder = sys.argv[1:]
    print({"randomly": randomly, "writing": writing, "together": together}[mode](tokensal.load("dates"), folder))
