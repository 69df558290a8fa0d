"""The options of generating an answer: each means what it says, or is refused."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tokensal.errors import InputError, unknown
from tokensal.options import Generation
from tokensal.values import read_whole

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MAX_NEW_TOKENS = 20
INPUTS = ("inputs", "input_ids", "inputs_embeds", "attention_mask", "encoder_outputs", "past_key_values")
OF_SAMPLING = ("temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")

log = logging.getLogger("tokensal")


def most_new_tokens(generation: Generation, before: int) -> int:
    """How many tokens may be generated; `max_length` counts the `before` tokens too that the answer follows.

    Raises:
        InputError: `max_length` leaves room for none.
    """
    length = (generation.generation or {}).get("max_length")
    if length is None:
        return generation.max_new_tokens or MAX_NEW_TOKENS
    if length <= before:
        raise InputError(f"max_length is {length}, but {before} tokens stand before the answer: use max_new_tokens.")
    return int(length) - before


def generate_options(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, options: dict[str, Any], limit: int
) -> dict[str, Any]:
    """The arguments of `generate` besides the prompt: greedy by default, and at most so many new tokens.

    Logs a warning where options of sampling have no effect.

    Raises:
        InputError: an unknown option (the nearest one is offered), or one that is the prompt.
    """
    _require_known(model, options)
    least = read_whole("min_new_tokens", options.get("min_new_tokens"), optional=True)
    if least is not None and least > limit:
        raise InputError(f"min_new_tokens is {least}, but at most {limit} are generated: raise max_new_tokens.")
    options = {"do_sample": False, **options, "max_new_tokens": limit}
    options.pop("max_length", None)
    if not options["do_sample"] and options.get("penalty_alpha") is None:
        unused = [name for name in OF_SAMPLING if options.pop(name, None) is not None]
        if unused:
            log.warning("Without do_sample, these options have no effect: %s.", ", ".join(unused))
    if options.get("stop_strings") is not None:
        options["tokenizer"] = tokenizer
    if model.generation_config.pad_token_id is None:
        options.setdefault("pad_token_id", tokenizer.pad_token_id or 0)  # one sequence is never padded
    return options


def _require_known(model: PreTrainedModel, options: Iterable[str]) -> None:
    from transformers import GenerationConfig

    known = {name for name in GenerationConfig().to_dict() if name[0] != "_"}
    for function in (model.generate, model.forward):
        known |= inspect.signature(function).parameters.keys()
    known -= {"args", "kwargs", "transformers_version", *INPUTS}
    for name in options:
        if name in INPUTS:
            raise InputError(f"The generation option {name!r} is the prompt's: give it as prompt or messages.")
        if name not in known:
            raise unknown("generation option", name, known)
