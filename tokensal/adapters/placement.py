"""Where a module computes: accelerate may store its weights elsewhere, and load them when it runs."""

from __future__ import annotations

import torch
from torch import nn


def device_of(table: nn.Embedding) -> torch.device:
    """The device on which a table of embeddings looks tokens up."""
    hook = getattr(table, "_hf_hook", None)
    devices = [getattr(part, "execution_device", None) for part in getattr(hook, "hooks", [hook])]
    execution_device = next((device for device in devices if device is not None), None)  # 0 is a device
    return table.weight.device if execution_device is None else torch.device(execution_device)
