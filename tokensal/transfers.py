"""Tensors on their way to a device, which Python need not wait for.

A device works through a queue that Python fills. A copy to it is waited for by default, and with it all that is queued
before; so is every index on the CPU into a tensor on the device. Queued copies keep the device at work meanwhile.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Devices whose queued copies are done with ordinary memory when the call returns. Of others that is not certain.
QUEUED = frozenset({"cuda"})


def sent(tensor: Tensor, to: Tensor | torch.device) -> Tensor:
    """The tensor on a device, or with the device and the dtype of another tensor.

    Only copies from the CPU are queued: numbers on their way back could be read before they are there.
    """
    device, dtype = (to.device, to.dtype) if isinstance(to, Tensor) else (to, tensor.dtype)
    return tensor.to(device, dtype, non_blocking=tensor.device.type == "cpu" and device.type in QUEUED)
