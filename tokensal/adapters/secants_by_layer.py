"""Secants of a forward that keeps no graph within its layers: nor does the tape hold what a reference read there.

1. The reference runs first. Outside of layers, its operations are put on the tape (see `secants.py`). Of each layer,
   what it was called with is kept.
2. When the input comes to a layer, the reference runs through that layer once more, onto a tape of the layer's own.
3. When a layer is run again for its backward, so is that of the reference before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from tokensal.adapters.frozen import in_this_thread
from tokensal.adapters.layered import Arguments, called_with, with_copied_caches
from tokensal.adapters.layers import layers_of
from tokensal.adapters.secants import SecantMode, Tape
from tokensal.types import Secants

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@contextmanager
def compared_by_layer(
    model: PreTrainedModel, secants: Secants, run_reference: Callable[[], Tensor]
) -> Iterator[tuple[Tensor, Sequence[Callable[[], Any]]]]:
    """Inside, a forward of the model builds the graph of secants; enter `layered` after it.

    Args:
        model: the model.
        secants: how products are shared.
        run_reference: a forward of the reference, run first.

    Yields:
        What it returned; and for each call of a layer, in their order, what runs it on the reference's arguments.

    Raises:
        UnsupportedModel: the two forwards differ in their operations.
    """
    with LayeredSecants(secants, model) as mode:
        with torch.no_grad():
            result = run_reference()
        mode.compare()
        yield result, tuple(mode.layers)
        mode.finish()


class LayeredSecants(SecantMode):
    """A `SecantMode` with a tape of its own for each layer, that lasts until the layer returns.

    Attributes:
        layers: for each call of a layer by the reference, in their order, what runs it again.
    """

    def __init__(self, secants: Secants, model: PreTrainedModel) -> None:
        super().__init__(secants, model)
        self.layers: deque[Callable[[], Any]] = deque()
        self._blocks = tuple(dict.fromkeys(layer.block for layer in layers_of(model)))
        self._below: Tape = deque()

    def __enter__(self) -> Self:
        for block in self._blocks:
            entering = block.register_forward_pre_hook(in_this_thread(self._enter_layer), with_kwargs=True)
            self._hooks.enter_context(entering)
            self._hooks.enter_context(block.register_forward_hook(in_this_thread(self._leave_layer)))
        return super().__enter__()

    def activated(self, function: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
        """As in `SecantMode`; within the layers of the reference, which are suspended as the function itself is, y."""
        return y if self._suspended > 1 else super().activated(function, x, y)

    def _enter_layer(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._recording:
            self.layers.append(_runner(module, with_copied_caches((args, kwargs))))
            self._suspended += 1
            return
        if not self.layers:
            self.refuse()
        self._below, self._tape = self._tape, deque()
        self._recording = True
        with torch.no_grad():
            self.layers.popleft()()
        self._recording = False

    def _leave_layer(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if self._recording:
            self._suspended -= 1
            return
        self.finish()
        self._tape = self._below


def _runner(module: nn.Module, arguments: Arguments) -> Callable[[], Any]:
    # not the module's own call, whose hooks are those of this mode
    states = [
        value for value in (*arguments[0], *arguments[1].values()) if isinstance(value, Tensor) and value.ndim == 3
    ]

    def run() -> Any:
        args, kwargs = called_with(arguments, states, states)
        return module.forward(*args, **kwargs)

    return run
