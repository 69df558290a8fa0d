"""What all results share: they are shown, saved and loaded, and `_render` is the only import of their renderers."""

from __future__ import annotations

import importlib
from os import PathLike
from typing import Any, Self

from tokensal.drawing import Drawing
from tokensal.options import flattened


def _render() -> Any:
    """The package that draws and stores results; it imports them, so it is imported here only when it is needed."""
    return importlib.import_module("tokensal.render")


class Result:
    """Data that knows how it is drawn and stored."""

    __slots__ = ()

    @flattened(drawing=Drawing)
    def show(self, *, drawing: Drawing) -> None:
        """Print the heatmap, or the heatmaps, to the terminal.

        Args:
            {drawing}

        Raises:
            InputError: an unknown option, or a value that it cannot have.
        """
        _render().show(self, drawing)

    @flattened(drawing=Drawing)
    def save(self, path: str | PathLike[str], *, drawing: Drawing) -> None:
        """Write the result to `path`; the suffix chooses the format.

        What is written as .json can be read again (`load`); `tokensal.drawing.FORMATS` lists the other formats, too.

        The file is written aside and renamed, so that an existing one is never half overwritten.

        Args:
            path: the file.
            {drawing}

        Raises:
            OutputError: unknown suffix, or a place that cannot be written.
            InputError: an unknown option, or a value that it cannot have.
        """
        _render().save(self, path, drawing)

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
        result: Self = _render().load(path, cls)
        return result

    def _repr_html_(self) -> str:
        text: str = _render().notebook(self)
        return text
