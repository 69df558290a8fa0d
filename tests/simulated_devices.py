"""Several devices, simulated on the CPU: every tensor has a place, and tensors of two places cannot be combined.

Simulated is what Python sees of devices: the device of a tensor, of factories, of `to`, and of the inputs of an
operation, which is also that of its results. As on real devices, numbers (0-d) and indices may stay on the CPU.
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
    """Inside, tensors are where they were created or moved to. Created without a device, they are on the CPU."""

    def __init__(self):
        super().__init__()
        self.places = WeakTensorKeyDictionary()

    def of(self, tensor):
        return self.places.get(tensor, CPU)

    def moved(self, value, place):
        """The tensors in a value, in another place: on the same graph, but tensors of their own."""

        def move(tensor):
            return tensor if self.of(tensor) == place else self.stamped(tensor.view_as(tensor), place)

        return tree_map_only(Tensor, move, value)

    def stamped(self, value, place):
        for tensor in tree_leaves(value):
            if isinstance(tensor, Tensor):
                self.places[tensor] = place
        return value

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name, kwargs = getattr(function, "__name__", ""), dict(kwargs or {})
        if name == "__get__":
            return self.read(function, args[0])
        if function is torch.autograd.grad:
            inputs = [args[1]] if isinstance(args[1], Tensor) else args[1]
            gradients = function(*args, **kwargs)
            return tuple(self.stamped(*pair) for pair in zip(gradients, map(self.of, inputs), strict=True))
        if function is torch.device:
            return function(*args, **kwargs)
        if name in ("to", "cpu"):
            return self.to(args[0], args[1:], kwargs)
        if name == "copy_":  # between any two places
            return function(*args, **kwargs)
        device = kwargs.pop("device", None)
        place = self.common(name, (args, kwargs))
        result = function(*args, **kwargs)
        return self.stamped(result, place if device is None else torch.device(device))

    def read(self, getter, tensor):
        if getter == Tensor.device.__get__:
            return self.of(tensor)
        value = getter(tensor)
        return self.stamped(value, self.of(tensor)) if isinstance(value, Tensor) else value

    def to(self, tensor, args, kwargs):
        device = kwargs.pop("device", None) if args or kwargs else CPU
        rest = []
        for argument in args:
            if isinstance(argument, Tensor):  # `to(other)` takes its device and dtype
                device, argument = self.of(argument), argument.dtype
            if isinstance(argument, str | torch.device):
                device = argument
            else:
                rest.append(argument)
        converted = self.stamped(tensor.to(*rest, **kwargs), self.of(tensor)) if rest or kwargs else tensor
        return converted if device is None else self.moved(converted, torch.device(device))

    def common(self, name, inputs):
        tensors = [tensor for tensor in tree_leaves(inputs) if isinstance(tensor, Tensor)]
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
def distributed(model, where):
    """Parameters and buffers of each module are in the place `where(name)`, and its inputs are moved there.

    As accelerate does it: around the forward of a module, after other hooks. The model's logits are moved back to where
    its inputs were.
    """
    with Places() as places, ExitStack() as undo:
        for name, module in model.named_modules():
            place = torch.device(where(name))
            places.stamped([*module.parameters(recurse=False), *module.buffers(recurse=False)], place)
            if all(where(f"{name}.{inner}") == where(name) for inner, _ in module.named_modules() if inner):
                undo.callback(setattr, module, "forward", module.forward)
                module.forward = _moving_inputs(places, place, module.forward)
        undo.enter_context(model.register_forward_hook(_moving_logits_back(places), with_kwargs=True))
        yield places


def _moving_inputs(places, place, forward):
    @functools.wraps(forward)
    def forward_there(*args, **kwargs):
        args, kwargs = places.moved((args, kwargs), place)
        return forward(*args, **kwargs)

    return forward_there


def _moving_logits_back(places):
    def move_back(module, args, kwargs, output):
        first = next(value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor))
        output.logits = places.moved(output.logits, places.of(first))
        return output

    return move_back
