"""Steps of a datatrove pipeline: documents are attributed, and the rows written.

    >>> from datatrove.executor import LocalPipelineExecutor  # doctest: +SKIP
    >>> pipeline = [
    ...     JsonlReader("prompts/", text_key="prompt"),
    ...     AttributeDocuments("HuggingFaceTB/SmolLM2-135M-Instruct", methods=["lrp"]),
    ...     AttributionWriter("rows/"),
    ... ]  # doctest: +SKIP
    >>> LocalPipelineExecutor(pipeline, tasks=8, workers=2, logging_dir="log/").run()  # doctest: +SKIP

1. datatrove reads documents and deals them out to tasks. Each worker is sent the pipeline, and loads the model when it
   first needs it.
2. `AttributeDocuments` puts the rows of each document (see `tokensal.runs.rows`) into its metadata, where later steps
   find them; `tokensal.runs.rows.attribution_of` makes an attribution of a row.
3. `AttributionWriter` writes the rows of a task into a Parquet file, and passes the documents on; `tokensal.load_run`
   reads them, and so do the commands summarize and show.
4. A task that is finished is marked by datatrove, and the same call goes on with the others. So what an interruption
   loses is one task a worker: many small tasks lose little. A pool of local workers waits for ever for the task of a
   worker that was killed: stop the program, and start it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from os import PathLike
from typing import Any

from tokensal.errors import InputError
from tokensal.render.extras import requiring
from tokensal.runs.explainer import explainer
from tokensal.runs.rows import Row

with requiring("datatrove"):
    from datatrove.data import Document, DocumentsPipeline
    from datatrove.io import DataFolderLike
    from datatrove.pipeline.base import PipelineStep
    from datatrove.pipeline.writers import ParquetWriter

    from tokensal.runs.parquet import SCHEMA

KEY = "attributions"  # of the metadata of a document: its rows


class AttributeDocuments(PipelineStep):
    """Attribute each document, and put its rows into its metadata.

    The text of a document is the prompt, and its id the id. Its metadata may hold the other fields of a record, such as
    answer, contrast or gold, and columns may name them otherwise: columns={"answer": "target"}. Columns that name a
    prompt or messages of the metadata, as in columns={"messages": "messages"}, take the place of the text.
    """

    type = "🔎 - ATTRIBUTION"
    name = "🔎 Attribute documents"

    def __init__(self, model: str | PathLike[str] | None = None, *, key: str = KEY, **options: Any) -> None:
        """A step, which loads nothing yet.

        Args:
            model: as for `tokensal.load`; every worker loads it.
            key: under which the metadata has the rows, a list of one a method.
            options: methods, and the options of `tokensal.load` and `tokensal.run`, but those that say what is read.

        Raises:
            InputError: one sentence about an option that cannot be used.
        """
        super().__init__()
        columns = dict(options.pop("columns", None) or {})
        if not columns.keys() & {"prompt", "messages"}:
            columns["prompt"] = "text"
        self.explainer = explainer(model, columns=columns, **options)
        self.key = key

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """The documents, with their rows; the statistics count rows, targets and errors."""
        for document in data:
            with self.track_time():
                record = {**document.metadata, "text": document.text, "id": document.id}
                rows = self.explainer.rows(record, process=rank)
                self._count(rows)
            document.metadata[self.key] = rows
            yield document

    def _count(self, rows: list[Row]) -> None:
        for row in rows:
            if row["error"] is None:
                self.stat_update("attributions")
                self.stat_update("targets", value=row["shape"][0], unit="attribution")
            else:
                self.stat_update("errors")


class AttributionWriter(ParquetWriter):
    """Write the rows of documents that `AttributeDocuments` made into Parquet files, one row a document and method."""

    name = "🔎 Attributions"

    def __init__(self, output_folder: DataFolderLike, *, key: str = KEY, **options: Any) -> None:
        """A writer.

        Args:
            output_folder: as for every writer of datatrove: a folder, on this machine or elsewhere.
            key: under which the metadata has the rows.
            options: those of datatrove's ParquetWriter.
        """
        super().__init__(output_folder, **{"compression": "zstd", "schema": SCHEMA, "adapter": _row, **options})
        self.key = key

    def write(self, document: Document, rank: int = 0, **tags: Any) -> None:
        """Write the rows of a document.

        Raises:
            InputError: it has none.
        """
        if self.key not in document.metadata:
            raise InputError(
                f"A document has no {self.key!r} in its metadata: put AttributeDocuments before the writer."
            )
        for row in document.metadata[self.key]:
            super().write(replace(document, metadata={**document.metadata, self.key: row}), rank, **tags)


def _row(writer: AttributionWriter, document: Document) -> Row:
    row: Row = document.metadata[writer.key]
    return row
