"""The model of a command."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tokensal.options import Loading, values_of

if TYPE_CHECKING:
    from tokensal.adapters import AnyAdapter


def load_model(loading: Loading, quiet: bool) -> AnyAdapter:
    """The model, loaded without the messages of other libraries."""
    from tokensal.adapters import load

    silence_libraries(quiet)
    return load(**values_of(loading))


def silence_libraries(quiet: bool) -> None:
    """Leave the messages of other libraries out, and if wanted our own."""
    # In a process of our own; a user's process is never touched. Errors come in our own sentences.
    logging.getLogger("tokensal").setLevel(logging.WARNING if quiet else logging.INFO)
    from huggingface_hub.utils import logging as hub
    from transformers.utils import logging as transformers_logging

    hub.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
