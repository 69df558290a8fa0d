"""Several devices, simulated on the CPU: every tensor has a place, and tensors of two places cannot be combined.

What is simulated is what Python sees of devices: that of a tensor, of factories, of `to`, and of the inputs of an
operation, where its results are too. As on real devices, numbers (0-d) and indices may stay on the CPU.
"""

from __future__ import annotations

import functools
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.weak import WeakTensorKeyDictionary

CPU = torch.device("cpu")
INDEXING = ("__getitem__", "__setitem__", "index_put_")


class Places(TorchFunctionMode):
    """Inside, tensors are where they were made or moved to. Made without a device, they are on the CPU."""

    def __init__(self):
        super().__init__()
        self.known = WeakTensorKeyDictionary()

    def of(self, tensor):
        return self.known.get(tensor, CPU)

    def moved(self, value, place):
        """The tensors in a value, in another place: on the same graph, but tensors of their own."""

        def move(tensor):
            return tensor if self.of(tensor) == place else self.stamped(tensor.view_as(tensor), place)

        return tree_map_only(Tensor, move, value)

    def stamped(self, value, place):
        for tensor in tree_leaves(value):
            if isinstance(tensor, Tensor):
                self.known[tensor] = place
        return value

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name, kwargs = getattr(function, "__name__", ""), dict(kwargs or {})
        if name == "__get__":
            return self.read(function, args[0])
        if function is torch.autograd.grad:
            inputs = [args[1]] if isinstance(args[1], Tensor) else args[1]
            found = function(*args, **kwargs)
            return tuple(self.stamped(one, self.of(given)) for one, given in zip(found, inputs, strict=True))
        if function is torch.device:
            return function(*args, **kwargs)
        if name in ("to", "cpu"):
            return self.to(args[0], args[1:], kwargs)
        device = kwargs.pop("device", None)
        place = self.common(name, (args, kwargs))
        found = function(*args, **kwargs)
        return self.stamped(found, place if device is None else torch.device(device))

    def read(self, getter, tensor):
        if getter == Tensor.device.__get__:
            return self.of(tensor)
        found = getter(tensor)
        return self.stamped(found, self.of(tensor)) if isinstance(found, Tensor) else found

    def to(self, tensor, args, kwargs):
        device = kwargs.pop("device", None) if args or kwargs else CPU
        rest = []
        for given in args:
            if isinstance(given, Tensor):  # `to(other)` takes its device and dtype
                device, given = self.of(given), given.dtype
            if isinstance(given, str | torch.device):
                device = given
            else:
                rest.append(given)
        changed = self.stamped(tensor.to(*rest, **kwargs), self.of(tensor)) if rest or kwargs else tensor
        return changed if device is None else self.moved(changed, torch.device(device))

    def common(self, name, given):
        tensors = [tensor for tensor in tree_leaves(given) if isinstance(tensor, Tensor)]
        if not tensors:
            return CPU
        if name in INDEXING:
            places = {self.of(tensor) for tensor in tensors[1:] if tensor.ndim} - {CPU} | {self.of(tensors[0])}
        else:
            places = {self.of(tensor) for tensor in tensors if tensor.ndim or self.of(tensor) != CPU}
        if len(places) > 1:
            raise AssertionError(f"{name}: tensors on {sorted(map(str, places))}")
        return places.pop() if places else CPU


@contextmanager
def spread(model, where):
    """The parameters and buffers of each module in the place that `where(name)` says, and inputs brought to it.

    As accelerate does it, around the forward of a module, behind the hooks of others; and the model's logits go back to
    where its inputs were.
    """
    with Places() as places, ExitStack() as undo:
        for name, module in model.named_modules():
            place = torch.device(where(name))
            places.stamped([*module.parameters(recurse=False), *module.buffers(recurse=False)], place)
            if all(where(f"{name}.{inner}") == where(name) for inner, _ in module.named_modules() if inner):
                undo.callback(setattr, module, "forward", module.forward)
                module.forward = _bringing(places, place, module.forward)
        undo.enter_context(model.register_forward_hook(_returning(places), with_kwargs=True))
        yield places


def _bringing(places, place, forward):
    @functools.wraps(forward)
    def bring(*args, **kwargs):
        args, kwargs = places.moved((args, kwargs), place)
        return forward(*args, **kwargs)

    return bring


def _returning(places):
    def bring_back(module, args, kwargs, output):
        first = next(value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor))
        output.logits = places.moved(output.logits, places.of(first))
        return output

    return bring_back
