"""One tool on one device: what `gpu.py` starts, one process for each tool and shape of model.

    python tests/benchmarks/peers/run_on_device.py '{"tool": "tokensal", "shape": "tiny", "device": "cpu", …}'

1. Create the model on the device, and measure the rate of one large matrix product in its dtype.
2. For each size and method, explain a single target to warm up. Then repeat, and wait for the device before the clock
   is read.
3. Of tokensal, once more with a clock that starts where the forward ends: the backward alone. And once more while waits
   for the device are counted.
4. Print one line of JSON for each size and method, also where the memory does not suffice.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))  # folders of scripts, no packages
from common import Explained, Task, beginning, cut, peak_mib
from shapes import build, tokenizer
from transfers import Reads, waits_for_the_card

STEPS = 20  # of everybody's integrated gradients
WIDTH = {"cuda": 8192, "cpu": 512}  # of the matrices whose product is timed
ONE_BACKWARD_EACH = ("gradient", "input_x_gradient", "lrp")

Explain = Callable[[Task], Explained]


@dataclass(frozen=True)
class DeviceJob:
    """What `gpu.py` asks for.

    Attributes:
        tool: "tokensal", "captum" or "inseq".
        shape: a key of `SHAPES`.
        sizes: pairs of prompt tokens and generated tokens.
        methods: for each size, names of tokensal's methods.
        device: "cuda" or "cpu".
        dtype: of the weights.
        repeats: how often each is timed.
        targets: the most targets that are explained; None for all.
    """

    tool: str
    shape: str
    sizes: list[list[int]]
    methods: list[list[str]]
    device: str
    dtype: str
    repeats: int
    targets: int | None = None


@dataclass
class Record:
    """What was measured of one tool, shape, size and method.

    Attributes:
        rate: FLOP/s of a large matrix product.
        seconds: of each repetition.
        peak: bytes; of the device, or of the process on a CPU.
        backward: seconds from the end of the forward to the end; None of peers.
        waits: how often Python waited for the device, by the place in the code.
        backward_waits: how often after the end of the forward.
        error: why there are no numbers.
    """

    tool: str
    shape: str
    prompt: int
    generated: int
    method: str
    rate: float
    targets: int = 0
    sources: int = 0
    note: str = ""
    seconds: list[float] = field(default_factory=list)
    peak: int = 0
    backward: float | None = None
    waits: dict[str, int] | None = None
    backward_waits: int | None = None
    error: str = ""


def measure(job: DeviceJob) -> Iterator[Record]:
    """A record for each size and method, in their order."""
    device, dtype = torch.device(job.device), getattr(torch, job.dtype)
    coder, model = tokenizer(), build(job.shape, job.device, dtype).requires_grad_(False)
    rate = matmul_rate(device, dtype)
    for (prompt, generated), methods in zip(job.sizes, job.methods, strict=True):
        task = cut(coder, prompt, generated)
        task = beginning(coder, task, min(generated, job.targets or generated))
        for method in methods:
            record = Record(job.tool, job.shape, prompt, generated, method, rate)
            try:
                fill(record, TOOLS[job.tool](model, coder, method, device), task, coder, device, job.repeats)
                if job.tool == "tokensal" and method in ONE_BACKWARD_EACH:
                    record.backward, record.backward_waits = backward(model, coder, method, device, task)
            except Exception as error:  # a peer may fail in its own way, and the others go on
                record.error = f"{type(error).__name__}: {str(error).splitlines()[0][:120]}" if str(error) else "?"
            if device.type == "cuda":
                torch.cuda.empty_cache()
            yield record


def fill(record: Record, explain: Explain, task: Task, coder: Any, device: torch.device, repeats: int) -> None:
    """Time repetitions, and count the waits of one more."""
    explain(beginning(coder, task, 1))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    for _ in range(repeats):
        with stopwatch(device) as record_seconds:
            explained = explain(task)
        record.seconds += record_seconds
    record.peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else int(peak_mib() * 2**20)
    record.targets, record.sources, record.note = explained.targets, explained.sources, explained.note
    with waits_for(device) as waits:
        explain(task)
    record.waits = dict(waits)


def backward(model: Any, coder: Any, method: str, device: torch.device, task: Task) -> tuple[float, int]:
    """Seconds from the end of the last forward to the end of the method, and the waits between."""
    import tokensal
    from tokensal.engine import Engine
    from tokensal.methods import build as build_method

    adapter = Watched(tokensal.adapt(model, coder), device)
    example = adapter.example(task.prompt_ids, continuation=task.target_ids)
    with waits_for(device) as waits:
        adapter.waits = waits
        build_method(method)(example, Engine(adapter))
        synchronise(device)
        return time.perf_counter() - adapter.forwarded, sum(waits.values())


class Watched:
    """An adapter that notes when its last forward was done, and counts waits from there on."""

    def __init__(self, adapter: Any, device: torch.device) -> None:
        self.adapter, self.device = adapter, device
        self.forwarded = 0.0
        self.waits: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.adapter, name)

    def forward(self, *arguments: Any) -> Any:
        forward = self.adapter.forward(*arguments)
        synchronise(self.device)
        self.waits.clear()
        self.forwarded = time.perf_counter()
        return forward


@contextmanager
def stopwatch(device: torch.device) -> Iterator[list[float]]:
    """Afterwards, the list has the seconds until the device was done."""
    seconds: list[float] = []
    synchronise(device)
    started = time.perf_counter()
    yield seconds
    synchronise(device)
    seconds.append(time.perf_counter() - started)


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def waits_for(device: torch.device) -> Iterator[dict[str, int]]:
    """Inside, waits for a card are counted; on a CPU, in their place, how often numbers are read."""
    if device.type == "cuda":
        with waits_for_the_card() as waits:
            yield waits
        return
    with Reads() as reads:
        yield reads.counts


def matmul_rate(device: torch.device, dtype: torch.dtype, tries: int = 5, products: int = 8) -> float:
    """The best FLOP/s of the product of two large square matrices."""
    width = WIDTH[device.type]
    first, second = (torch.randn(width, width, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(tries):
        with stopwatch(device) as seconds:
            for _ in range(products):
                first @ second
        best = min(best, *seconds)
    return products * 2 * width**3 / best


# Tools


def of_tokensal(model: Any, coder: Any, method: str, device: torch.device) -> Explain:
    import tokensal
    from tokensal.methods import build as build_method

    adapted = tokensal.adapt(model, coder)
    options = {"steps": STEPS} if method == "integrated_gradients" else {}
    built = build_method(method, options)

    def explain(task: Task) -> Explained:
        result = tokensal.attribute(adapted, task.prompt_ids, continuation=task.target_ids, method=built)
        return Explained(*result.scores.shape, same_ids=True)

    return explain


def of_captum(model: Any, coder: Any, method: str, device: torch.device) -> Explain:
    """As in `run_captum.py`."""
    from captum.attr import (
        FeatureAblation,
        LayerGradientXActivation,
        LayerIntegratedGradients,
        LLMAttribution,
        LLMGradientAttribution,
        TextTokenInput,
    )

    embeddings, options = model.get_input_embeddings(), {}
    if method == "occlusion":
        attribution, options = LLMAttribution(FeatureAblation(model), coder), {"forward_in_tokens": False}
    elif method == "integrated_gradients":
        attribution = LLMGradientAttribution(LayerIntegratedGradients(model, embeddings), coder)
        options = {"n_steps": STEPS}
    else:
        attribution = LLMGradientAttribution(LayerGradientXActivation(model, embeddings), coder)

    def explain(task: Task) -> Explained:
        source = TextTokenInput(task.prompt, coder)
        result = attribution.attribute(source, target=torch.tensor(task.target_ids), **options)
        return Explained(*result.token_attr.shape, same_ids=True, note="prompt sources only")

    return explain


def of_inseq(model: Any, coder: Any, method: str, device: torch.device) -> Explain:
    """As in `run_inseq.py`."""
    import inseq

    name = {"gradient": "saliency"}.get(method, method)
    loaded = inseq.load_model(model, name, tokenizer=coder, device=str(device))
    settings = {"n_steps": STEPS} if method == "integrated_gradients" else {}

    def explain(task: Task) -> Explained:
        texts = {"input_texts": task.prompt, "generated_texts": task.prompt + task.continuation}
        result = loaded.attribute(**texts, **settings, show_progress=False, pretty_progress=False).aggregate()
        scores = result.sequence_attributions[0].target_attributions  # (sources and last target, targets)
        return Explained(scores.shape[1], scores.shape[0] - 1, same_ids=True)

    return explain


TOOLS = {"tokensal": of_tokensal, "captum": of_captum, "inseq": of_inseq}


if __name__ == "__main__":
    for each in measure(DeviceJob(**json.loads(sys.argv[1]))):
        print(json.dumps(asdict(each)), flush=True)
