"""What all results share: they are shown, stored and loaded, and `render_package` alone imports their renderers."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from os import PathLike
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np
from torch import Tensor

from tokensal.drawing import Drawing
from tokensal.options import flattened
from tokensal.results.columns import described_columns
from tokensal.results.hints import RESULT, missing_attribute

if TYPE_CHECKING:
    from pandas import DataFrame

Function = Callable[..., Any]


def render_package() -> Any:
    """The package that draws and stores results; it imports them, so it is imported here only when it is needed."""
    return importlib.import_module("tokensal.render")


def array_of(tensor: Tensor, dtype: Any, copy: bool | None) -> np.ndarray[Any, Any]:
    """What numpy's protocol `__array__` returns for a tensor: a copy, unless none may be made, of a dtype, perhaps."""
    array = tensor.numpy(force=True)
    dtype = array.dtype if dtype is None else np.dtype(dtype)
    if copy is False and dtype != array.dtype:
        raise ValueError(f"The scores are {array.dtype}: to have them as {dtype}, they need to be copied.")
    return array.astype(dtype, copy=copy is not False)


def with_columns(function: Function) -> Function:
    """Put the documentation of the columns of tables in the place of {columns} in a docstring."""
    function.__doc__ = (function.__doc__ or "").replace("            {columns}", described_columns(" " * 12))
    return function


class Result:
    """Data that knows how it is drawn and stored."""

    __slots__ = ()

    if not TYPE_CHECKING:  # a type checker should go on to know which attributes there are

        def __getattr__(self, name: str) -> NoReturn:
            raise missing_attribute(self, name, RESULT)

    @flattened(drawing=Drawing)
    def show(self, *, drawing: Drawing) -> None:
        """Print the heatmap, or the heatmaps, to the terminal.

        Args:
            {drawing}

        Raises:
            InputError: an unknown option, or a value that it cannot have.
        """
        render_package().show(self, drawing)

    @flattened(drawing=Drawing)
    def save(self, path: str | PathLike[str], *, drawing: Drawing) -> None:
        """Write the result to `path`; the suffix chooses the format.

        What is written as .json can be read again (`load`); `tokensal.drawing.FORMATS` lists the other formats, too.

        A .csv or a .parquet holds the table of `to_pandas`. A .csv is UTF-8, with every text in quotes; read it by
        `pandas.read_csv(path, keep_default_na=False, na_values={"standard_error": [""], "source_message": [""]})`, or
        the tokens "null" and "NaN" are taken for missing. Texts are written as they are: a spreadsheet that opens the
        file takes one that begins with =, +, - or @ for a formula, so import the columns as text there. A .parquet
        tells where the numbers came from, too: the metadata of its schema have JSON under "tokensal", with the shown
        text and the provenance of each attribution.

        The file is written aside and renamed, so that an existing one is never half overwritten.

        Args:
            path: the file.
            {drawing}

        Raises:
            OutputError: unknown suffix, or a place that cannot be written.
            InputError: an unknown option, or a value that it cannot have.
        """
        render_package().save(self, path, drawing)

    @with_columns
    def to_pandas(self) -> DataFrame:
        """The scores as a long table: a line for each target and each source that it sees, in their order.

        A pair that causality forbids, or that was not selected, has no line. The columns are the same for every result,
        so that tables can be put together:

            {columns}

        A target's scores beside each other: `result.to_pandas().pivot(index="target", columns="source",
        values="score")`. Half of a surrogate pair, which no file can hold, becomes U+FFFD.

        Raises:
            InputError: pandas is not installed.
        """
        frame: DataFrame = render_package().frame(self)
        return frame

    @flattened(drawing=Drawing)
    def report(self, path: str | PathLike[str], *, drawing: Drawing) -> None:
        """Write a report for any reader to `path`, .html or .md: the answer, what each method says that it rests on,
        how far they agree, how exact the numbers are, and how to make it again.

        It needs no model: a result that was loaded will do. With alternatives (`alternatives=3`) it says what else the
        model considered.

        Args:
            path: the file.
            {drawing}

        Raises:
            OutputError: another suffix, or a place that cannot be written.
            InputError: an unknown option, or a value that it cannot have.
        """
        render_package().save_report(self, path, drawing)

    def anonymous(self) -> Self:
        """The result for double-blind review: without folders, organisations, and names of users and hosts.

        Scores and tokens are as they were; where the text itself holds such a name, a warning is logged. See
        `tokensal.results.anonymity`. With `anonymous=True`, `show` and `save` draw and store this.
        """
        anonymity = importlib.import_module("tokensal.results.anonymity")  # it imports the results
        result: Self = anonymity.anonymous(self)
        return result

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read what `save("….json")` wrote.

        Raises:
            FormatError: a missing or damaged file, one of another kind, or an unknown schema version.
        """
        result: Self = render_package().load(path, cls)
        return result

    def _repr_html_(self) -> str:
        text: str = render_package().notebook(self)
        return text
