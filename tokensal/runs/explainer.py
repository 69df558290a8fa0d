"""What explains records wherever it is sent: for engines that deal examples out to workers, such as Ray and datatrove.

1. An `Explainer` is plain data, without a model, so that it can be pickled.
2. A process loads the model when it first explains something, and keeps it: the model that was needed last.
3. A row does not depend on who explains it, nor on the order. So the number of an example, which elsewhere is its place
   in a source, is a digest of what it says, since no worker knows that place; and so is the id of one that has none.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np

from tokensal.adapters import AnyAdapter, load
from tokensal.engine import Budget
from tokensal.errors import InputError
from tokensal.methods import Method
from tokensal.options import Generation, Loading, flattened, values_of
from tokensal.questions.question import Question
from tokensal.run_options import Reading
from tokensal.runs.columns import Columns
from tokensal.runs.explaining import explain_entry
from tokensal.runs.rows import Row
from tokensal.runs.source import Entry, RawEntry
from tokensal.runs.task import Task, methods_by_name

NO_MEANING = ("split", "subset", "limit", "shard")  # of the options of reading: the engine reads

_LOADED: dict[str, AnyAdapter] = {}  # the model of this process, by how it was loaded
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Explainer:
    """What is done with each record, and which model does it.

    Attributes:
        task: what is done.
        loading: how a process loads the model.
        budget: as for `tokensal.attribute`.
    """

    task: Task
    loading: Loading
    budget: Budget | None = None

    def rows(self, record: Any, *, process: int | None = None) -> list[Row]:
        """The rows of a record, one for each method; of one that cannot be read or explained, with the error.

        Args:
            record: as `tokensal.run` takes them: a table of fields, a text, or a prompt; values may be of numpy.
            process: the number of this process on its machine, where no launcher tells it: which accelerator is its
                own, if no device is named.

        Returns:
            Tables of the columns of `tokensal.runs.rows`, in plain Python.

        Raises:
            ModelError: the model cannot be loaded.
        """
        model = self.model(process=process)
        explained = explain_entry(entry_of(record, self.task.reading), model, self.task, self.budget)
        return [_in_python(each.row) for each in explained]

    def model(self, *, process: int | None = None) -> AnyAdapter:
        """The model, loaded when this process first needs it; see `rows`."""
        with _LOCK:
            key = repr(self.loading)
            if key not in _LOADED:
                _LOADED.clear()  # two models may not fit the memory
                options = {name: value for name, value in values_of(self.loading).items() if name != "model"}
                with _local_rank(process):
                    _LOADED[key] = load(self.loading.model, **options)
            return _LOADED[key]


@flattened(loading=Loading, reading=Reading, question=Question, generation=Generation)
def explainer(
    model: str | PathLike[str] | None = None,
    *,
    methods: Iterable[str | Method | type[Method]] = ("lrp",),
    loading: Loading,
    reading: Reading,
    question: Question,
    generation: Generation,
    budget: Budget | None = None,
) -> Explainer:
    """What explains records; it loads nothing yet.

    Args:
        model: as for `tokensal.load`: a hub id, a folder or file that every worker can read, or an address.
        methods: as for `tokensal.run`, and so is budget.
        {loading}
        {reading}
        {question}
        {generation}

    Raises:
        InputError: an unknown option, one with a wrong value, or one that has no meaning where an engine reads.
    """
    for name in NO_MEANING:
        if getattr(reading, name) is not None:
            raise InputError(f"{name} has no meaning here: the engine reads the data set, so tell it there.")
    Columns(reading.columns or {})  # which refuses what cannot be one
    loading.check_for(model)
    task = Task(methods_by_name(methods), question, generation, reading)
    return Explainer(task, replace(loading, model=model), budget)


def entry_of(record: Any, reading: Reading) -> Entry:
    """A record as an entry, whose number is a digest of what it says."""
    record = _in_python(record)
    return RawEntry(_digest(record), record, Columns(reading.columns or {}), reading.marks).read()


def _digest(record: Any) -> int:
    """A number from 0 to 2⁵² − 1, which JSON keeps exactly."""
    text = json.dumps(record, sort_keys=True, default=repr)
    return int(hashlib.sha256(text.encode()).hexdigest()[:13], 16)


def _in_python(value: Any) -> Any:
    """A value without arrays and numbers of numpy, such as Ray hands out, at any depth."""
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    if isinstance(value, Mapping):
        return {name: _in_python(each) for name, each in value.items()}
    return [_in_python(each) for each in value] if isinstance(value, list) else value


@contextmanager
def _local_rank(process: int | None) -> Iterator[None]:
    """Inside, LOCAL_RANK is that number, unless a launcher has set it: `load` takes the accelerator of that number."""
    if process is None or "LOCAL_RANK" in os.environ:
        yield
        return
    os.environ["LOCAL_RANK"] = str(process)
    try:
        yield
    finally:
        with suppress(KeyError):
            del os.environ["LOCAL_RANK"]
