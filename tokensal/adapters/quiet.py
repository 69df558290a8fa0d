"""Bars and warnings of other libraries, kept from the user of this one: errors come in our own sentences."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

# The settings are those of the process, and threads may be inside together: the first one in changes them, and the last
# one out restores them.
_LOCK = threading.Lock()
_UNDO: list[ExitStack] = []  # one while anybody is inside
_INSIDE: list[object] = []  # who is


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Inside, transformers and huggingface_hub draw no bars and log errors only; on leaving, all is as it was."""
    visitor = object()
    with _LOCK:
        if not _INSIDE:
            _UNDO.append(_silenced())
        _INSIDE.append(visitor)
    try:
        yield
    finally:
        with _LOCK:
            _INSIDE.remove(visitor)
            if not _INSIDE:
                _UNDO.pop().close()


def _silenced() -> ExitStack:
    """Silence them; closing the stack restores them."""
    with ExitStack() as undo:
        undo.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # also of what is imported here for the first time
        from huggingface_hub.utils import logging as hub_logging
        from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
        from transformers import modeling_gguf_pytorch_utils as gguf
        from transformers.utils import logging as transformers_logging

        for module in (hub_logging, transformers_logging):
            undo.callback(module.set_verbosity, module.get_verbosity())
            module.set_verbosity_error()
        undo.callback(disable_progress_bars if are_progress_bars_disabled() else enable_progress_bars)
        if transformers_logging.is_progress_bar_enabled():
            undo.callback(transformers_logging.enable_progress_bar)
        transformers_logging.disable_progress_bar()
        undo.callback(setattr, gguf, "tqdm", getattr(gguf, "tqdm", None))
        gguf.tqdm = transformers_logging.tqdm  # its own would be drawn whatever is set
        return undo.pop_all()
