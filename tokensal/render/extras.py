"""Packages that some formats need, and that tokensal is installed with only where somebody asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tokensal.errors import InputError


@contextmanager
def requiring(extra: str) -> Iterator[None]:
    """Inside, packages are imported that come with an extra of tokensal, such as "figures" or "data".

    Raises:
        InputError: one of them is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package == "tokensal":
            raise
        raise InputError(
            f"This needs the package {package!r}, which is not installed here: pip install 'tokensal[{extra}]'."
        ) from error
