"""The README's Python runs, block after block, with a tiny random model where it loads the default one."""

from __future__ import annotations

import re
from pathlib import Path

from builders import model_and_tokenizer
from models import adapter

import tokensal

README = Path(__file__).resolve().parent.parent / "README.md"


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    load = tokensal.load
    network, coder = model_and_tokenizer("Llama")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        tokensal, "load", lambda name=None: adapter("Llama") if name is None else load(name), raising=False
    )
    names = {"my_model": network, "my_tokenizer": coder}
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) >= 4
    for block in blocks:
        exec(block, names)
    assert (tmp_path / "paris.html").exists() and "lrp" in capsys.readouterr().out
    explained = names["result"].provenance
    assert explained.method == "lrp"


def test_the_python_of_the_readme_runs_on_dates(tmp_path, monkeypatch):
    """What needs no chat template and no larger vocabulary also runs on the model that comes with tokensal."""
    model = tokensal.load("dates")
    monkeypatch.chdir(tmp_path)
    [first, *_] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names = {}
    exec(first.replace("tokensal.load()", 'tokensal.load("dates")'), names)
    assert names["result"].provenance.model == model.name
