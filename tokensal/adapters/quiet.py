"""Bars and warnings of other libraries, kept from the user of this one: errors come in our own sentences."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOCK = threading.RLock()  # the settings are those of the process: two threads would restore each other's


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Inside, transformers and huggingface_hub draw no bars and log errors only; on leaving, all is as it was."""
    from huggingface_hub.utils import logging as hub_logging
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from transformers import modeling_gguf_pytorch_utils as gguf
    from transformers.utils import logging as transformers_logging

    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hub_bars, bars = not are_progress_bars_disabled(), transformers_logging.is_progress_bar_enabled()
        gguf_bar = getattr(gguf, "tqdm", None)
        levels = [(module, module.get_verbosity()) for module in (hub_logging, transformers_logging)]
        try:
            for module, _ in levels:
                module.set_verbosity_error()
            transformers_logging.disable_progress_bar()
            gguf.tqdm = transformers_logging.tqdm  # its own would be drawn whatever is set
            yield
        finally:
            for module, level in levels:
                module.set_verbosity(level)
            gguf.tqdm = gguf_bar
            if bars:
                transformers_logging.enable_progress_bar()
            (enable_progress_bars if hub_bars else disable_progress_bars)()
