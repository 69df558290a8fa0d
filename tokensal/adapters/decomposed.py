"""What each attention adds to the residual stream, in parts: read in one forward, whatever the architecture.

1. Under eager attention, the weights and the values are seen where they are multiplied (see `operations.py`).
2. The first module after that which takes their product, and nothing else, is the output projection.
3. A module that reads precisely what the projection returned, such as a dropout or the norm of Gemma 3, multiplies it
   by a factor. That is what the module makes of ones, where the scale of a norm is the one that it just had.
4. The sum that the attention is part of is what a later module of the layer reads: the residual stream before, plus a
   multiple of the attention. Where none reads such a sum, an MLP runs beside the attention; then it is the output of
   the layer: the residual stream, plus the attention, plus what some module of the layer returned.
5. At the end of each layer, its attentions are measured and forgotten.

Nothing of this is assumed. What a layer computes is compared with each of these sums; a layer that has none of them is
refused, and whoever takes the parts apart compares what they add up to with `AttentionParts.output`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tokensal.adapters.frozen import in_this_thread
from tokensal.adapters.hooks import eager_attention
from tokensal.adapters.layers import Layer, layers_of
from tokensal.adapters.operations import EditedValues, FixedScales
from tokensal.adapters.parts import LayerTrace, Trace, Unseen, parts_of
from tokensal.errors import UnsupportedModel
from tokensal.types import AttentionParts, HookPoint, LayerActivation, Part

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Measure = Callable[[AttentionParts], Tensor]  # to (…, rows, columns)

TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-3}
COARSE = 5e-2  # half precision, quantised weights


@contextmanager
def decomposed(model: PreTrainedModel, selected: Sequence[int], measure: Measure) -> Iterator[list[LayerActivation]]:
    """Inside, a forward of one example adds to the list what `measure` makes of each attention of the selected layers.

    Args:
        model: the model.
        selected: indices of layers, ascending.
        measure: from the parts of an attention to (…, rows, columns), without a graph.

    Raises:
        UnsupportedModel: no layers were found, or (in the forward) they do not consist of parts that can be seen.
    """
    layers = [layers_of(model)[index] for index in selected]
    tolerance = COARSE if getattr(model, "is_quantized", False) else TOLERANCES.get(model.dtype, COARSE)
    activations: list[LayerActivation] = []
    with ExitStack() as undo:
        undo.enter_context(eager_attention(model))
        step = 0
        values = EditedValues(lambda activation: activation.tensor, model.config.get_text_config().num_attention_heads)
        undo.enter_context(values)
        for layer in layers:
            reader = Reader(model.config.model_type, layer, step, values, measure, tolerance, activations)
            step += 1 if layer.cross is None else 2
            for hook in reader.hooks():
                undo.callback(hook.remove)
        yield activations


@dataclass(slots=True, eq=False)
class Reader:
    """The hooks of one layer.

    Attributes:
        model_type: for errors.
        layer: the layer.
        step: the number of its first attention.
        values: the mode that sees values and weights.
        measure: what is made of the parts.
        tolerance: see `AttentionParts`.
        activations: where the results go.
        trace: what the forward that runs has shown.
    """

    model_type: str
    layer: Layer
    step: int
    values: EditedValues
    measure: Measure
    tolerance: float
    activations: list[LayerActivation]
    trace: LayerTrace = field(default_factory=LayerTrace)

    def hooks(self) -> Iterator[Any]:
        """Register all of them, and yield their handles."""
        block, part = self.layer.block, self.layer.part
        yield block.register_forward_pre_hook(in_this_thread(self._begin), with_kwargs=True)
        attentions = [(self.layer.attention, part), (self.layer.cross, Part.FIRST)]
        for number, (module, columns) in enumerate(attentions):
            if module is not None:
                enter = partial(self._enter_attention, Trace(self.step + number, part, columns))
                yield module.register_forward_pre_hook(in_this_thread(enter))
                yield module.register_forward_hook(in_this_thread(self._leave_attention))
        for module in block.modules():
            if module is not block:
                yield module.register_forward_pre_hook(in_this_thread(self._enter), with_kwargs=True)
                yield module.register_forward_hook(in_this_thread(self._leave), with_kwargs=True)
        yield block.register_forward_hook(in_this_thread(self._end))

    # What runs

    def _begin(self, module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.trace = LayerTrace(before=_read(arguments, named))

    def _enter_attention(self, blank: Trace, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        trace = Trace(blank.step, blank.rows, blank.columns)
        self.trace.attentions.append(trace)
        self.trace.current = trace

        def see(tensor: Tensor) -> LayerActivation:
            weights = self.values.weights
            if weights is not None:  # None in a fused kernel
                trace.weights = weights.reshape(-1, *weights.shape[-2:])
                trace.values = tensor[0].expand(len(trace.weights), -1, -1)  # Falcon's heads share one
            return LayerActivation(HookPoint.VALUES, trace.step, tensor, trace.columns)

        self.values.label = see

    def _leave_attention(self, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        self.values.leaving(module, arguments, output)
        self.trace.current = None

    def _enter(self, module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        trace = self.trace.current
        if self.trace.measured or trace is None or trace.values is None or trace.projection is not None:
            return
        alone = len(arguments) == 1 and not named and isinstance(arguments[0], Tensor)
        if alone and arguments[0].shape[-1] == trace.values.shape[0] * trace.values.shape[2] and _has_weights(module):
            trace.projection = module

    def _leave(self, module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        if self.trace.measured:
            return
        read, returned = _read(arguments, named), _first(output)
        with self.values.suspended():
            for trace in self.trace.attentions:
                if module is trace.projection and trace.output is None:
                    trace.output = returned
                elif read is not None and read is trace.output and returned is not None:
                    trace.factors.append(self._factor(module, read))
                    trace.output = returned
            read, returned = self.trace.as_rows(read), self.trace.as_rows(returned)
            # a copy of what is returned, since Falcon adds to it in place
            self.trace.seen.append((read, None if returned is None else returned.clone()))

    def _factor(self, module: nn.Module, read: Tensor) -> Tensor:
        self.trace.measured = True
        scales = FixedScales()
        with scales:
            module(read)
            scales.fixed = True
            factor = _first(module(torch.ones_like(read)))
        self.trace.measured = False
        assert factor is not None
        return factor.reshape(-1, factor.shape[-1])

    def _end(self, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        trace = self.trace
        self.trace = LayerTrace(measured=True)
        try:
            parts = parts_of(trace, trace.as_rows(_first(output)), self.tolerance)
        except Unseen as reason:
            raise UnsupportedModel(
                f"The layers of the {self.model_type!r} model cannot be read in parts: {reason}. Choose another "
                "method, such as 'lrp' or 'occlusion'."
            ) from None
        for each in parts:
            tensor = self.measure(each)[None]
            self.activations.append(
                LayerActivation(HookPoint.ATTENTION_WEIGHTS, each.step, tensor, each.rows, each.columns)
            )


def _read(arguments: tuple[Any, ...], named: dict[str, Any]) -> Tensor | None:
    """The first tensor that a module reads, or its hidden states."""
    return _first(arguments) if arguments else _first(named.get("hidden_states"))


def _first(value: Any) -> Tensor | None:
    first = value[0] if isinstance(value, tuple) and value else value
    return first if isinstance(first, Tensor) else None


def _has_weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters()) or any(True for _ in module.buffers())
