"""What is changed for a while and restored afterwards, by one thread at a time: parameters, mode, random generators."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import nn

_LOCKS: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_LOCKS_LOCK = threading.Lock()
_FROZEN: WeakSet[nn.Module] = WeakSet()  # models whose lock is held, by the thread that froze them


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Inside, no parameter requires a gradient, so that none is stored for it, and every module is in evaluation mode.

    What is compiled runs uncompiled, since hooks and backward rules do not reach into compiled code. Another thread
    that wants the same waits; the thread itself may enter again, which changes nothing more. All is restored on
    leaving, also after an exception.
    """
    with lock_of(model):
        if model in _FROZEN:
            yield
            return
        _FROZEN.add(model)
        try:
            with _frozen(model):
                yield
        finally:
            _FROZEN.discard(model)


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    with ExitStack() as undo:
        if _is_compiled(model):
            undo.enter_context(torch.compiler.set_stance("force_eager"))
        # By name: accelerate replaces the parameter objects whenever an offloaded module runs
        trainable = [
            name for name, parameter in model.named_parameters(remove_duplicate=False) if parameter.requires_grad
        ]
        training = [module for module in model.modules() if module.training]
        try:
            for name in trainable:
                model.get_parameter(name).requires_grad_(False)
            for module in training:
                module.training = False
            yield
        finally:
            # parameters that accelerate created in inference mode can be changed only in it
            with torch.inference_mode():
                for name in trainable:
                    model.get_parameter(name).requires_grad_(True)
            for module in training:
                module.training = True


def lock_of(model: nn.Module) -> threading.RLock:
    """The lock of a model, whichever adapters there are of it."""
    with _LOCKS_LOCK:
        return _LOCKS.setdefault(model, threading.RLock())


def in_this_thread(hook: Callable[..., Any]) -> Callable[..., Any]:
    """A hook of a module that lets forwards pass that other threads run meanwhile."""
    owner = threading.get_ident()

    @wraps(hook)
    def guarded(*arguments: Any, **named: Any) -> Any:
        return hook(*arguments, **named) if threading.get_ident() == owner else None

    return guarded


def _is_compiled(model: nn.Module) -> bool:
    return any(
        module._compiled_call_impl is not None or type(module).__name__ == "OptimizedModule"
        for module in model.modules()
    )


@contextmanager
def seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Inside, random numbers follow the seed; the state of the generators is restored, with or without one."""
    devices, kind = ([], "cuda") if device.type == "cpu" else ([device], device.type)
    with torch.random.fork_rng(devices, device_type=kind):
        if seed is not None:
            torch.manual_seed(seed)
        yield
