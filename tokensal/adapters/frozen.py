"""Borrowing a user's model: frozen and in evaluation mode inside, exactly as it was outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """No parameter requires a gradient, so that none is kept for it, and dropout is off; restored, come what may."""
    # By name: accelerate puts other parameters in their places whenever an offloaded module runs
    learning = [name for name, given in model.named_parameters(remove_duplicate=False) if given.requires_grad]
    training = [module for module in model.modules() if module.training]
    try:
        for name in learning:
            model.get_parameter(name).requires_grad_(False)
        for module in training:
            module.training = False
        yield
    finally:
        with torch.inference_mode():  # those that accelerate made in it can be given back nowhere else
            for name in learning:
                model.get_parameter(name).requires_grad_(True)
        for module in training:
            module.training = True
