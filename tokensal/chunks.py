"""Work that is done a chunk at a time; a chunk that does not fit the memory is halved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from tokensal.errors import MemoryShortage, is_shortage

T = TypeVar("T")


def in_chunks(total: int, size: int | Callable[[int], int], work: Callable[[slice], T]) -> Iterator[T]:
    """Do `work` on consecutive slices; a slice that does not fit is tried again at half its size.

    Args:
        total: where the last slice ends.
        size: how many at once at most; where that differs, a function of where the slice starts.
        work: what is done with a slice.

    Raises:
        MemoryShortage: not even a slice of one fits.
    """
    start, limit = 0, total
    while start < total:
        wanted = size if isinstance(size, int) else size(start)
        chunk = slice(start, min(start + wanted, start + limit, total))
        done, result = _attempt(work, chunk)
        if done:
            yield result  # type: ignore[misc]  # done says that there is a result
            start = chunk.stop
        elif chunk.stop - start == 1:
            raise MemoryShortage(
                "The smallest piece of work does not fit the memory: shorten the prompt, load the model with a "
                "smaller dtype, or use a device with more memory."
            )
        else:
            limit = (chunk.stop - start) // 2


def _attempt(work: Callable[[slice], T], chunk: slice) -> tuple[bool, T | None]:
    # A function of its own, so that the traceback, which holds the tensors that did not fit, dies before the retry.
    try:
        return True, work(chunk)
    except (MemoryShortage, RuntimeError) as error:
        smallest = chunk.stop - chunk.start == 1
        if (smallest and isinstance(error, MemoryShortage)) or not is_shortage(error):
            raise
        return False, None
