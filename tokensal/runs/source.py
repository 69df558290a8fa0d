"""Examples from a source, one after another.

A source is one of these:

- a file: .jsonl (a record a line), .json (a list of records), .csv or .tsv (a first line of names), .parquet, or .txt
  (a prompt a line; a backslash is a backslash, so that a prompt with line breaks needs another format). In UTF-8; blank
  lines are passed over. All but .parquet may be compressed (.gz, .bz2, .xz). Several by a pattern, such as
  "data/*.jsonl", in the order of their names;
- a data set by its name on the hub, "owner/name", or "owner/name@revision"; or a folder with a data set, as
  `datasets.load_dataset` and `load_from_disk` read them;
- a data set of the library `datasets`, of either kind; a table of pandas, Polars or pyarrow;
- an iterable of records, texts, chats (lists of messages), pairs of a prompt or chat and its answer, or `Prompt`s.
  A generator is read lazily, at most `PEEKED` examples ahead.

How columns become the fields of an example is said in `tokensal.runs.columns`, and what fields there are in
`tokensal.evaluation.prompts.records`.

1. The source is opened, and its identity is taken: of files a digest of their bytes, of a data set on the hub the
   commit, of one in memory its fingerprint. Of a list, a generator or a stream there is none: who goes on with a run
   passes the same one again, or a longer one; finished parts are compared with what it has at their places.
2. The columns are tried on the first records, so that a wrong name is an error before a model is loaded.
3. Examples are numbered from 0 on, those that cannot be read included: so numbers are the same whenever it is read.
4. An example is read only when `RawEntry.read` is called. One that cannot be read has a reason in place of a prompt.

Ids may occur twice: rows are told apart by their numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from os import PathLike
from typing import Any

from tokensal.errors import InputError
from tokensal.evaluation.prompts.prompt import Prompt
from tokensal.evaluation.prompts.records import Record, read_record
from tokensal.run_options import Reading
from tokensal.runs.columns import Columns
from tokensal.runs.data_sets import is_name, records_of_data_set, records_of_name, records_of_table
from tokensal.runs.files import records_of_files
from tokensal.runs.raw_records import Records, as_table, own_id, records_of_iterable, required_plain, with_roles
from tokensal.values import described

Source = str | PathLike[str] | Iterable[Record]
PEEKED = 16  # records that columns are tried on


@dataclass(frozen=True, slots=True)
class Entry:
    """An example as it was read.

    Attributes:
        number: its place in the source, from 0 on.
        id: its name; its number where it has none.
        prompt: what was read; None where that failed.
        error: why it could not be read; empty where it could.
    """

    number: int
    id: str
    prompt: Prompt | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class RawEntry:
    """An example that is not read yet, as plain data.

    Attributes:
        number: its place in the source, from 0 on.
        record: what the source has there.
        columns: which fields are read from which columns.
        marks: whether gold may be marked as [[…]].
    """

    number: int
    record: Any
    columns: Columns
    marks: bool = False

    def read(self) -> Entry:
        """The example; or why it cannot be read."""
        id = str(self.number)
        try:
            record = as_table(self.record)
            if isinstance(record, Prompt):
                return Entry(self.number, record.id, record)
            id = own_id(self.columns.value(record, "id")) or id
            fields = with_roles(self.columns.fields(record))
            prompt = required_plain(read_record(fields, id, marks=self.marks))
        except InputError as error:
            return Entry(self.number, id, None, str(error))
        return Entry(self.number, prompt.id, prompt)


@dataclass(frozen=True)
class Opened:
    """A source that can be read, once.

    Attributes:
        raw_entries: one after another; to pass over one costs next to nothing.
        identity: what tells it from other sources, as plain data: of a file a digest of its bytes.
        total: how many entries there are, where that is known.
    """

    raw_entries: Iterator[RawEntry]
    identity: dict[str, Any]
    total: int | None

    @property
    def entries(self) -> Iterator[Entry]:
        """The entries, read."""
        return (raw.read() for raw in self.raw_entries)


def open_source(source: Source, reading: Reading) -> Opened:
    """The entries of a source.

    Raises:
        InputError: it cannot be read, it has no examples, or none of the columns.
    """
    columns = Columns(reading.columns or {})
    records = _records_of(source, columns, reading)
    remaining = iter(records.values)
    first = list(islice(remaining, PEEKED))
    if not first:
        raise InputError("The source has no examples: name one that has at least one.")
    columns.require(list(_tables(first)))
    numbered = enumerate(islice(chain(first, remaining), reading.limit))
    total = records.total if reading.limit is None or records.total is None else min(records.total, reading.limit)
    raw_entries = (RawEntry(number, record, columns, reading.marks) for number, record in numbered)
    return Opened(raw_entries, records.identity, total)


def _records_of(source: Any, columns: Columns, reading: Reading) -> Records:
    """The records of whatever the source is."""
    if isinstance(source, str | PathLike) and is_name(source):
        return records_of_name(source, columns, reading)
    if (records := records_of_data_set(source, columns, reading)) is not None:
        return records
    for option in ("split", "subset"):
        if getattr(reading, option) is not None:
            raise InputError(f"Only data sets on the hub or in a folder have a {option}: leave out {option}.")
    if isinstance(source, str | PathLike):
        return records_of_files(source, columns, reading.limit)
    if hasattr(source, "__arrow_c_stream__"):
        return records_of_table(source, columns)
    if isinstance(source, Mapping | bytes) or not isinstance(source, Iterable):
        raise InputError(
            f"The source is {described(source)}, but should be a file, a data set, or a list such as "
            "[{'prompt': '…', 'answer': '…'}]."
        )
    return records_of_iterable(source)


def _tables(records: Iterable[Any]) -> Iterator[Mapping[str, Any]]:
    """Those of the records that can be read as tables."""
    for record in records:
        try:
            table = as_table(record)
        except InputError:
            continue  # an entry with its error
        if not isinstance(table, Prompt):
            yield table
