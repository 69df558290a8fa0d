"""A callable class for Ray Data: batches of records become tables of rows.

    >>> import ray  # doctest: +SKIP
    >>> rows = ray.data.read_json("prompts.jsonl").map_batches(
    ...     AttributeBatches,
    ...     fn_constructor_kwargs={"model": "HuggingFaceTB/SmolLM2-135M-Instruct", "methods": ["lrp"]},
    ...     batch_size=16,
    ...     num_gpus=1,
    ...     compute=ray.data.ActorPoolStrategy(size=8),
    ... )  # doctest: +SKIP
    >>> rows.write_parquet("rows/")  # doctest: +SKIP

1. Ray starts as many actors as `compute` says, gives each an accelerator, and builds one instance in each, which loads
   the model. Where they take all CPUs, none is left to read with, and Ray waits for ever: say num_cpus.
2. A batch is a table of pyarrow, a table of numpy columns, or a DataFrame of pandas, as `batch_format` says.
3. Of an actor that dies Ray starts another, and gives it the batches that were not finished. Rows do not depend on the
   actor, nor on how examples are batched.
4. `tokensal.load_run` reads the rows that Ray has written, and so do the commands summarize and show.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from tokensal.errors import InputError
from tokensal.render.extras import requiring
from tokensal.runs.explainer import explainer
from tokensal.values import described

with requiring("ray"):
    import pyarrow

    from tokensal.runs.parquet import SCHEMA


class AttributeBatches:
    """Explain batches of records: an instance is called with a batch, and returns rows."""

    def __init__(self, model: str | PathLike[str] | None = None, **options: Any) -> None:
        """Load the model.

        Args:
            model: as for `tokensal.load`; every actor loads it.
            options: methods, and the options of `tokensal.load` and `tokensal.run`, but those that say what is read.

        Raises:
            TokensalError: one sentence about an option that cannot be used, or a model that cannot be loaded.
        """
        self.explainer = explainer(model, **options)
        self.explainer.model()

    def __call__(self, batch: Any) -> pyarrow.Table:
        """The rows of a batch, in its order, as a table of `tokensal.runs.rows`."""
        rows = [row for record in records_of(batch) for row in self.explainer.rows(record)]
        return pyarrow.Table.from_pylist(rows, SCHEMA)


def records_of(batch: Any) -> list[dict[str, Any]]:
    """The records of a batch in any format of Ray Data.

    Raises:
        InputError: it is none.
    """
    if hasattr(batch, "to_pylist"):
        return list(batch.to_pylist())
    if hasattr(batch, "to_dict"):
        return list(batch.to_dict("records"))
    if not isinstance(batch, Mapping):
        raise InputError(
            f"A batch is {described(batch)}, but should be a table of columns: leave batch_format as it is, or say "
            "'numpy', 'pyarrow' or 'pandas'."
        )
    return [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
