"""What all results share: they are shown, saved and loaded, and `_render` is the only import of their renderers."""

from __future__ import annotations

import importlib
from os import PathLike
from typing import Any, Self


def _render() -> Any:
    """The package that draws and stores results; it imports them, so it is imported here only when it is needed."""
    return importlib.import_module("tokensal.render")


class Result:
    """Data that knows how it is drawn and stored."""

    __slots__ = ()

    def show(self, *, matrix: bool = False, sink: bool = False, theme: str = "auto") -> None:
        """Print the heatmap, or the heatmaps, to the terminal.

        Args:
            matrix: the full table of sources and targets as well.
            sink: count the sink token into scales and rankings too.
            theme: the background of the terminal: "light", "dark", or "auto", which asks the environment variable
                TOKENSAL_THEME, and then the terminal itself.

        Raises:
            InputError: an unknown theme.
        """
        _render().show(self, matrix=matrix, sink=sink, theme=theme)

    def save(self, path: str | PathLike[str], *, sink: bool = False) -> None:
        """Write the result to `path`; the suffix chooses the format (.html, .json or .txt).

        The file is written aside and renamed, so that an existing one is never half overwritten.

        Args:
            path: the file.
            sink: count the sink token into scales and rankings too.

        Raises:
            OutputError: unknown suffix, or a place that cannot be written.
        """
        _render().save(self, path, sink=sink)

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
