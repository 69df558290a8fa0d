"""Where a module computes: accelerate may keep its weights elsewhere, and bring them when it runs."""

from __future__ import annotations

import torch
from torch import nn


def device_of(table: nn.Embedding) -> torch.device:
    """The device on which a table of embeddings looks tokens up."""
    hook = getattr(table, "_hf_hook", None)
    devices = [getattr(part, "execution_device", None) for part in getattr(hook, "hooks", [hook])]
    known = next((device for device in devices if device is not None), None)  # 0 is a device
    return table.weight.device if known is None else torch.device(known)
