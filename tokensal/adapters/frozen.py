"""What is changed for a while and restored afterwards: a model's parameters and mode, the random generators."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Inside, no parameter requires a gradient, so that none is stored for it, and every module is in evaluation mode.

    Both are restored on leaving, also after an exception.
    """
    # By name: accelerate replaces the parameter objects whenever an offloaded module runs
    trainable = [name for name, parameter in model.named_parameters(remove_duplicate=False) if parameter.requires_grad]
    training = [module for module in model.modules() if module.training]
    try:
        for name in trainable:
            model.get_parameter(name).requires_grad_(False)
        for module in training:
            module.training = False
        yield
    finally:
        with torch.inference_mode():  # parameters that accelerate created in inference mode can be changed only in it
            for name in trainable:
                model.get_parameter(name).requires_grad_(True)
        for module in training:
            module.training = True


@contextmanager
def seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Inside, random numbers follow the seed; the state of the generators is restored, with or without one."""
    devices, kind = ([], "cuda") if device.type == "cpu" else ([device], device.type)
    with torch.random.fork_rng(devices, device_type=kind):
        if seed is not None:
            torch.manual_seed(seed)
        yield
