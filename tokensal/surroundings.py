"""What a caller switched on for PyTorch as a whole, and what no number here may depend on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def exact_surroundings(device: torch.device) -> Iterator[None]:
    """Inside, gradients flow, in the dtype of the model, and tensors without a device are on the CPU.

    This is so under a caller's no_grad, inference_mode, autocast, or default device; all of them hold again afterwards.
    """
    with ExitStack() as undo:
        undo.enter_context(torch.inference_mode(False))
        undo.enter_context(torch.enable_grad())
        for kind in {"cpu", device.type}:
            if torch.is_autocast_enabled(kind):
                undo.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            undo.enter_context(torch.device("cpu"))
        yield
