"""Files of every format: one way to decide that a place can be written, and one to write it.

A file is written beside its place under a name of its own, and then renamed: nobody reads one that is half written.
"""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from tokensal.errors import OutputError


def writable_place(path: Path) -> Path:
    """Where a file of this name is written: a symbolic link stays, and what it points to is replaced.

    Raises:
        OutputError: as far as can be known before: a folder, a device or a pipe is at this place, its folder does not
            exist, its name is impossible, or permission is missing.
    """
    place = Path(os.path.realpath(path)) if os.path.islink(path) else path
    try:
        mode = _mode(place)
    except (OSError, ValueError) as error:
        raise _failure(path, error) from error
    if mode is not None and stat.S_ISDIR(mode):
        raise OutputError(f"Output {str(path)!r} is a folder; name a file in it, such as {path / 'heatmap.html'}.")
    if mode is not None and not stat.S_ISREG(mode):
        raise OutputError(f"Output {str(path)!r} is a device or a pipe; name a file, or '-' for the standard output.")
    if not place.parent.is_dir():
        raise OutputError(f"Output {str(path)!r} is in a folder that does not exist; make {str(place.parent)!r} first.")
    if not os.access(place.parent, os.W_OK) or (mode is not None and not os.access(place, os.W_OK)):
        raise OutputError(f"No permission to write output {str(path)!r}; choose another place.")
    return place


def storable(text: str) -> str:
    """The text as a file can hold it: half of a surrogate pair becomes U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def write(place: Path, content: bytes) -> None:
    """Write a file. One that is replaced passes its permissions on; if anything fails, it is as it was before.

    Raises:
        OutputError: the disk or the system refuses.
    """
    aside = place.with_name(f".tokensal-{secrets.token_hex(8)}.tmp")  # short: names have a limit, too
    try:
        mode = _mode(place)
        with aside.open("xb") as file:
            if mode is not None:
                aside.chmod(stat.S_IMODE(mode))
            file.write(content)
        os.replace(aside, place)
    except OSError as error:
        raise _failure(place, error) from error
    finally:
        with suppress(OSError):
            aside.unlink()


def _failure(path: Path, error: Exception) -> OutputError:
    return OutputError(f"Could not write output {str(path)!r}: {getattr(error, 'strerror', None) or error}.")


def _mode(path: Path) -> int | None:
    """Type and permissions of what is at a place; None if nothing is."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None
