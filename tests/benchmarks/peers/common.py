"""What every runner shares: the passage, the task cut from it, and the conversation with the driver.

A runner is one process for one tool, method and size. It loads the model, warms up, says what it explains, and
then answers each line on its standard input with the seconds of one more repetition. The driver can so take turns
between tools without any of them loading its model twice.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

THREADS = 2
COALITIONS = 256  # of methods that are fitted to random coalitions
UNITS = 20  # that the prompt is cut into for these
REPEATED = 12  # the passage after itself, for sizes beyond its own three hundred tokens

# Written for this benchmark. Sentences are rotated until prompt and continuation meet between two words.
SENTENCES = """\
The lighthouse at the end of the harbour was built in 1871 by a company that sold lamps to railways.
Its first keeper, a retired schoolteacher named Ellen Marsh, kept a diary in which she wrote down the weather, the \
ships that passed, and what she had cooked for supper.
On the third of March a storm tore the wooden roof from the boathouse and carried it half a mile inland, where a \
farmer used the planks to mend his barn.
Nobody asked for them back.
When the railway came, the captains who had once shouted their orders across the water began to send telegrams \
instead, and the village grew quiet in the mornings.
Ellen counted the boats every evening: forty in spring, twenty in summer, and only seven by the time the leaves fell.
She wondered whether the light was still needed, and she cleaned the great lens all the same, because it was the one \
task that never changed.
Years later a student found the diary in a box of old maps and read it on the night train home.
He noticed that the entries became shorter as the winters grew longer, but that the lamp had not failed once in \
thirty years.
The museum now keeps the book in a glass case beside the brass key, and visitors may turn its copied pages with their \
own hands.
Most of them look first for the storm, then for the supper, and last of all for the name of the woman who wrote it.
""".splitlines()


@dataclass(frozen=True)
class Job:
    """What the driver asks of a runner."""

    model: str
    method: str
    prompt: int
    generated: int
    targets: int  # the first so many generated tokens are explained; the others are not even in the text
    steps: int = 20  # of integrated gradients, where a tool wants their number


@dataclass(frozen=True)
class Task:
    """A prompt and its forced continuation, as token ids and as the text they come from."""

    prompt_ids: list[int]
    target_ids: list[int]
    prompt: str
    continuation: str


@dataclass(frozen=True)
class Explained:
    """What a tool gave back: how many targets and sources, and whether it worked on the task's own token ids."""

    targets: int
    sources: int
    same_ids: bool
    note: str = ""
    floor: float | None = None  # seconds, from the runner that measures no tool but the machine


Run = Callable[[Task], Explained]


def cut(tokenizer: Any, prompt: int, generated: int) -> Task:
    """The task of that size. Its text tokenizes back to its ids, so that tools that take text see the same tokens."""
    for first in range(len(SENTENCES)):
        text = " ".join((SENTENCES[first:] + SENTENCES[:first]) * REPEATED)
        ids = tokenizer(text)["input_ids"][: prompt + generated]
        task = Task(
            ids[:prompt],
            ids[prompt:],
            tokenizer.decode(ids[:prompt]),
            tokenizer.decode(ids[prompt : prompt + generated]),
        )
        if len(task.target_ids) == generated and _meets_between_words(tokenizer, task):
            return task
    raise SystemExit(f"No rotation of the passage gives {prompt} + {generated} tokens: take a smaller size.")


def pieces(tokenizer: Any, task: Task) -> list[str]:
    """The prompt in `UNITS` pieces of as many tokens each, for methods that remove pieces of text."""
    size = -(-len(task.prompt_ids) // UNITS)
    starts = range(0, len(task.prompt_ids), size)
    return [tokenizer.decode(task.prompt_ids[start : start + size]) for start in starts]


def beginning(tokenizer: Any, task: Task, targets: int) -> Task:
    """The same prompt, and the first so many tokens of the same continuation."""
    target_ids = task.target_ids[:targets]
    return replace(task, target_ids=target_ids, continuation=tokenizer.decode(target_ids))


def _meets_between_words(tokenizer: Any, task: Task) -> bool:
    whole = tokenizer(task.prompt + task.continuation)["input_ids"]
    return (
        task.continuation.startswith(" ")
        and tokenizer(task.prompt)["input_ids"] == task.prompt_ids
        and tokenizer(task.continuation)["input_ids"] == task.target_ids
        and whole == task.prompt_ids + task.target_ids
    )


def serve(prepare: Callable[[Job, Any], Run]) -> None:
    """Be a runner: `prepare` loads the tool once, and the function it returns is what is timed."""
    talk = _reserve_standard_output()
    job = Job(**json.loads(sys.argv[1]))
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch
    from transformers import AutoTokenizer

    torch.set_num_threads(THREADS)
    tokenizer = AutoTokenizer.from_pretrained(job.model)
    run = prepare(job, tokenizer)
    run(cut(tokenizer, job.prompt, min(2, job.generated)))
    task = beginning(tokenizer, cut(tokenizer, job.prompt, job.generated), job.targets)
    print("ready", file=talk, flush=True)
    for _ in sys.stdin:
        started, switches = time.perf_counter(), interruptions()
        explained = run(task)
        seconds = time.perf_counter() - started
        disturbance = (interruptions() - switches) / seconds
        answer = {"seconds": seconds, "disturbance": disturbance, "peak_mib": peak_mib(), **asdict(explained)}
        print(json.dumps(answer), file=talk, flush=True)


def _reserve_standard_output() -> Any:
    # Answers go to the driver; whatever a library prints goes to standard error, so that it cannot be mistaken for one.
    talk = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return talk


def interruptions() -> int:
    """How often this process had to leave a core to another one: a few dozen a second on a quiet machine."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def peak_mib() -> float:
    """The most memory this process ever had resident, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # unlike ru_maxrss, this does not inherit the peak of the process that started this one
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 1024)


def load_model(job: Job) -> Any:
    """The model as every tool gets it that takes a model object: float32, sdpa attention, nothing else changed."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(job.model, dtype=torch.float32, attn_implementation="sdpa").eval()
