"""What must hold on a device, as functions of it: `test_cuda.py` calls them with a graphics card, and some of them
`test_device_checks.py` with the CPU, so that they are known to run.

Expected are the numbers of the CPU in float64, of the same weights rounded to the dtype that is tried.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import psutil
import pytest
import torch
from battery import ROWS
from builders import CONTINUATION, PROMPT, tokenizer_of
from models import ENCODER_DECODERS, model
from state import assert_unchanged, user_state
from torch import Tensor

import tokensal
from tokensal import Budget, adapt
from tokensal.adapters import CausalAdapter, ModelAdapter, Seq2SeqAdapter
from tokensal.engine import Engine
from tokensal.perturbations.inputs import Unperturbed
from tokensal.perturbations.noise import Noise
from tokensal.questions.masks import visible_sources
from tokensal.types import HookPoint

CPU = torch.device("cpu")
# How far all scores may be apart, as magnitudes, relative to all that is expected
OPTIMISED = ("extremal_perturbation",)  # many steps, each of which another rounding turns elsewhere
TOLERANCES = {torch.float32: 1e-4, torch.float16: 0.05, torch.bfloat16: 0.25}
each_kind = pytest.mark.parametrize("name", ["Llama", "T5"])
every_dtype = pytest.mark.parametrize("dtype", TOLERANCES, ids=lambda dtype: str(dtype).removeprefix("torch."))
UNBOUNDED = Budget(rows=10**9, memory=2**60)


@cache
def placed(name: str, dtype: torch.dtype, device: torch.device) -> ModelAdapter:
    """A tiny model of a dtype on a device; do not change it."""
    kind = Seq2SeqAdapter if name in ENCODER_DECODERS else CausalAdapter
    return kind(model(name, dtype=dtype).to(device), tokenizer_of(name), name=name)


@cache
def reference(name: str, dtype: torch.dtype) -> ModelAdapter:
    """The same weights, rounded to the dtype, in float64 on the CPU."""
    network = model(name, dtype=torch.float64)
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(tensor.to(dtype))
    kind = Seq2SeqAdapter if name in ENCODER_DECODERS else CausalAdapter
    return kind(network, tokenizer_of(name), name=name)


def apart(scores: Tensor, expected: Tensor) -> float:
    """Σ|scores − expected| / Σ|expected|."""
    expected = expected.double().cpu()
    return float((scores.double().cpu() - expected).abs().sum() / expected.abs().sum())


# Numbers


def check_method(row: str, name: str, dtype: torch.dtype, device: torch.device) -> None:
    """A row of the battery has the numbers of the CPU."""
    method = ROWS[row].method
    scores, expected = (
        method(adapted.example(PROMPT, continuation=CONTINUATION), Engine(adapted))
        for adapted in (placed(name, dtype, device), reference(name, dtype))
    )
    seen = visible_sources(reference(name, dtype).example(PROMPT, continuation=CONTINUATION))
    if expected.scored is not None:
        seen = seen & expected.scored
    seen = seen & ~expected.matrix.isnan()
    assert scores.matrix.dtype in (torch.float32, torch.float64) and scores.matrix.cpu()[seen].isfinite().all()
    if row not in OPTIMISED or dtype is torch.float32:
        assert apart(scores.matrix.cpu()[seen], expected.matrix[seen]) < TOLERANCES[dtype]
    assert apart(scores.values, expected.values) < TOLERANCES[dtype]


def check_hook_point(point: HookPoint, name: str, dtype: torch.dtype, device: torch.device) -> None:
    """Activations, and gradients × activations, have the numbers of the CPU at each layer."""
    ours, expected = placed(name, dtype, device), reference(name, dtype)
    assert apart(relevances(ours, point), relevances(expected, point)) < TOLERANCES[dtype]
    if point is not HookPoint.EMBEDDINGS:
        assert apart(activations(ours, point), activations(expected, point)) < TOLERANCES[dtype]


def relevances(adapted: ModelAdapter, point: HookPoint) -> Tensor:
    """(K, S) the sum over all layers of gradient × activation."""
    engine, example = Engine(adapted), adapted.example(PROMPT, continuation=CONTINUATION)
    layers = () if point is HookPoint.EMBEDDINGS else range(adapted.layer_count)

    def reduce(activations, gradients, rows) -> Tensor:
        products = [gradient * activation for gradient, activation in zip(gradients, activations, strict=True)]
        return sum(_on_sources(product, point) for product in products)

    perturbations = Unperturbed(engine.embed(example))
    [gradients] = engine.gradients(example, perturbations, reduce, at=point, layers=tuple(layers))
    return gradients.reduced[0]


def activations(adapted: ModelAdapter, point: HookPoint) -> Tensor:
    """(L, S) the magnitudes of what every layer computes."""
    engine, example = Engine(adapted), adapted.example(PROMPT, continuation=CONTINUATION)

    def read(tensors, index) -> Tensor:
        return torch.stack([_on_sources(tensor.abs(), point) for tensor in tensors], 1)

    layers = tuple(range(adapted.layer_count))
    [result] = engine.activations(example, Unperturbed(engine.embed(example)), read, at=point, layers=layers)
    return result[0]


def _on_sources(tensor: Tensor, point: HookPoint) -> Tensor:
    """(…, S) of (…, S, H), of values (…, heads, S, width), or of weights (…, heads, rows, S)."""
    if point is HookPoint.ATTENTION_WEIGHTS:
        return tensor.sum((-3, -2))
    return tensor.sum((-3, -1)) if point is HookPoint.VALUES else tensor.sum(-1)


# What a user sees


def check_results_and_state(row: str, name: str, device: torch.device) -> None:
    """Results are on the CPU, and everything of the user's is as it was, on the device too."""
    network, coder = model(name, dtype=torch.float32).to(device).train(), tokenizer_of(name)
    adapted = adapt(network, coder)
    before, settings = user_state(network, coder), device_settings(device)
    result = tokensal.attribute(adapted, PROMPT, continuation=CONTINUATION, method=ROWS[row].method, alternatives=2)
    assert_unchanged(before, user_state(network, coder))
    assert_unchanged(settings, device_settings(device))
    tensors = [result.scores, result.values, result.visible, *(each.values for each in result.diagnostics.values())]
    assert all(tensor.device == CPU for tensor in tensors)
    assert torch.device(result.provenance.device).type == device.type


def device_settings(device: torch.device) -> dict[str, object]:
    """What of PyTorch's settings is about devices."""
    settings: dict[str, object] = {
        "matrix products": torch.get_float32_matmul_precision(),
        "default device": torch.get_default_device(),
        "tf32 of convolutions": torch.backends.cudnn.allow_tf32,
    }
    if device.type == "cuda":
        settings |= {
            "random numbers": torch.cuda.get_rng_state(device),
            "current device": torch.cuda.current_device(),
            "waits": torch.cuda.get_sync_debug_mode(),
            "fraction": torch.cuda.get_per_process_memory_fraction(device),
        }
    return settings


def check_run(name: str, device: torch.device, folder) -> None:
    """A run over a data set stores what the CPU stores."""
    records = [{"id": str(number), "prompt": f"The cat sat on {number}", "answer": " the mat"} for number in range(3)]
    stored = []
    for place in (device, CPU):
        adapted = placed(name, torch.float32, place)
        run = tokensal.run(adapted, records, folder / f"on {place.type} {len(stored)}", methods=["lrp", "occlusion"])
        assert not run.failures()
        stored.append(list(run))
    for result, expected in zip(*stored, strict=True):
        assert result.targets == expected.targets and result.visible.equal(expected.visible)
        assert apart(result.scores.nan_to_num(), expected.scores.nan_to_num()) < TOLERANCES[torch.float32]


# Memory


@contextmanager
def limited_memory(device: torch.device, spare: int) -> Iterator[None]:
    """Inside, this process can take so many bytes more on the device; on the CPU, of its address space."""
    if device.type == "cuda":
        total, before = torch.cuda.mem_get_info(device)[1], torch.cuda.get_per_process_memory_fraction(device)
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(device) + spare) / total, device)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(before, device)
        return
    before, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + spare, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, hard))


class Shortages:
    """An adapter that counts forwards that ended for lack of memory."""

    def __init__(self, inner: ModelAdapter) -> None:
        self.inner = inner
        self.count = 0

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def forward(self, example, perturbed, states=None):
        try:
            return self.inner.forward(example, perturbed, states)
        except RuntimeError:
            self.count += 1
            raise


def check_shortage(device: torch.device, spare: int, prompt: int) -> None:
    """Where a chunk does not fit, it is halved until it does, and the scores are those of enough memory."""
    adapted = Shortages(adapt(wide_model().to(device), tokenizer_of("Llama")))
    example = adapted.example([3 + number % 300 for number in range(prompt)], continuation=CONTINUATION)
    embeds = adapted.embed(example)
    noisy = Noise(embeds, torch.ones(len(embeds), dtype=torch.bool), 0.1, 256, seed=1)  # all in one chunk, if it fits
    expected = Engine(adapted, budget=Budget(rows=1024)).scores(example, noisy)
    assert adapted.count == 0
    with limited_memory(device, spare):
        scores = Engine(adapted, budget=UNBOUNDED).scores(example, noisy)
    assert adapted.count > 0
    assert apart(scores, expected) < TOLERANCES[torch.float32]


def wide_model():
    """A Llama that takes much memory for few weights: its MLPs are wide."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(3)
    sizes = {"hidden_size": 32, "intermediate_size": 8192, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(vocab_size=320, max_position_embeddings=512, **sizes)).eval()


# Several devices


def check_device_map(name: str, device_map, folder, device: torch.device) -> None:
    """A folder that is loaded by a device map has the numbers of the CPU."""
    network, coder = model(name, dtype=torch.float32), tokenizer_of(name)
    network.save_pretrained(folder)
    coder.save_pretrained(folder)
    loaded = tokensal.load(folder, device_map=device_map)
    assert loaded.device.type == device.type
    for row in ("lrp", "occlusion", "attention_grad_cam", "deep_lift", "value_zeroing"):
        method = ROWS[row].method
        result = tokensal.attribute(loaded, PROMPT, continuation=CONTINUATION, method=method)
        expected = tokensal.attribute(adapt(network, coder), PROMPT, continuation=CONTINUATION, method=method)
        assert apart(result.scores.nan_to_num(), expected.scores.nan_to_num()) < TOLERANCES[torch.float32], row


# Waits

ONCE_A_FORWARD = "engine/forwards.values"  # are the scores finite?
WHERE_RESULTS_LEAVE = {
    "methods/removal.full",
    "methods/removal.scores",
    "methods/path_integral.scores",
    "methods/path_integral._differentiated",
    "methods/baselines.ends",
}
WITHOUT_WAITS = ("gradient", "input_x_gradient", "lrp", "occlusion", "integrated_gradients")


def check_waits(waits, forwards: int) -> None:
    """Python waits for the device once a forward, and where results leave; what transformers does is its own matter.

    Args:
        waits: how often it waited, by the function of tokensal, as `transfers.caller` names them.
        forwards: how many there were.
    """
    ours = {place: count for place, count in waits.items() if not place.startswith("transformers/")}
    assert ours.keys() <= {ONCE_A_FORWARD, *WHERE_RESULTS_LEAVE}
    assert ours.get(ONCE_A_FORWARD, 0) <= forwards
