"""Which operations make a program wait for its device: seen on the CPU, where the device is simulated.

A device works through a queue that Python fills. Python waits where it reads a number (`int`, `if tensor`, `.cpu()`, a
result whose shape depends on numbers), and where it sends a tensor without `non_blocking`, which an index on the host
does as well. What PyTorch does in a backward is not seen here, but by the operation that starts it.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from simulated_devices import CPU, Places
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

READS = {"item", "tolist", "numpy", "__array__", "__bool__", "__int__", "__float__", "__index__", "__contains__"}
READS |= {"equal", "allclose", "nonzero", "argwhere", "unique", "unique_consecutive", "_unique2", "unique_dim"}
READS |= {"masked_select", "repeat_interleave", "multinomial", "bincount", "_return_inverse", "_return_output"}
SENDS = {"tensor", "as_tensor", "new_tensor"}
READS_OF_KERNELS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select"}


class Transfers(Places):
    """Counts by place in the code; `waits` are those that Python waits for, `sends` those that it does not."""

    def __init__(self):
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.sends: Counter[str] = Counter()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name, kwargs = getattr(function, "__name__", ""), kwargs or {}
        if self._waits(name, args, kwargs):
            self.waits[caller()] += 1
        if function is torch.autograd.grad:
            with Reads() as reads:
                result = super().__torch_function__(function, types, args, kwargs)
            self.waits += reads.counts
            return result
        return super().__torch_function__(function, types, args, kwargs)

    def _waits(self, name, args, kwargs):
        if name in SENDS:
            return torch.device(kwargs.get("device") or CPU) != CPU and args[0] != []  # nothing is copied of that
        if not args or not isinstance(args[0], Tensor):
            return False
        place = self.of(args[0])
        if name in ("to", "cpu", "copy_"):
            return self._moves(name, args, kwargs)
        if name in ("__getitem__", "__setitem__"):
            return place != CPU and self._indexes(args[1])
        return place != CPU and name in READS

    def _moves(self, name, args, kwargs):
        source = self.of(args[0])
        places = [
            value for value in (*args[1:], kwargs.get("device")) if isinstance(value, Tensor | str | torch.device)
        ]
        target = CPU if name == "cpu" else source  # `to` may be asked for a dtype alone
        for value in places:
            target = self.of(value) if isinstance(value, Tensor) else torch.device(value)
        if name == "copy_":
            source, target = target, source
        if source == target:
            return False
        if source == CPU and kwargs.get("non_blocking"):
            self.sends[caller()] += 1
            return False
        return True

    def _indexes(self, index):
        """Whether an index is on the host, or a mask whose result has a shape that has to be read."""
        parts = index if isinstance(index, tuple) else (index,)
        tensors = [part for part in parts if isinstance(part, Tensor) and part.ndim]
        masks = [part for part in tensors if part.dtype == torch.bool]
        return bool(masks) or any(self.of(part) == CPU for part in tensors) or any(isinstance(p, list) for p in parts)


class Reads(TorchDispatchMode):
    """Counts the kernels that return numbers to Python, also those of a backward, by place in the code."""

    def __init__(self):
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function._schema.name in READS_OF_KERNELS:
            self.counts[caller()] += 1
        return function(*args, **(kwargs or {}))


def caller() -> str:
    """The innermost function of tokensal, such as "engine/forwards.values", or of transformers that is running."""
    frame = sys._getframe()
    while frame is not None:
        parts = Path(frame.f_code.co_filename).parts
        for package in ("tokensal", "transformers"):
            if package in parts and frame.f_code.co_name != "__torch_function__":
                inside = Path(*parts[len(parts) - parts[::-1].index(package) :])
                prefix = "" if package == "tokensal" else f"{package}/"
                return f"{prefix}{inside.with_suffix('').as_posix()}.{frame.f_code.co_name}"
        frame = frame.f_back
    return "the test"


@contextmanager
def waits_for_the_card() -> Iterator[Counter[str]]:
    """Inside, what PyTorch itself says of waits for a graphics card, counted by place in the code."""
    waits: Counter[str] = Counter()
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda *warning, **options: waits.update([caller()])
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield waits
        finally:
            torch.cuda.set_sync_debug_mode(before)
