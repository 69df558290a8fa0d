"""What people cite: the package by CITATION.cff, and a method by the BibTeX of its papers."""

from __future__ import annotations

import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
import yaml
from test_registry import MODULE

import tokensal
from tokensal.cli import app
from tokensal.cli.catalogue import Entry, catalogue
from tokensal.cli.references import FIELD, PAPER, bibtex, keys_of, references
from tokensal.errors import InputError
from tokensal.methods import METHODS

ROOT = Path(__file__).resolve().parent.parent
SOURCE = (ROOT / "tokensal" / "methods" / "references.bib").read_text("utf-8")
REQUIRED = {
    "inproceedings": {"author", "title", "booktitle", "year"},
    "incollection": {"author", "title", "booktitle", "publisher", "year"},
    "article": {"author", "title", "journal", "year"},
    "misc": {"author", "title", "year", "eprint", "archivePrefix"},
}
ACCENTS = {"'": "\u0301", "`": "\u0300", '"': "\u0308", "k": "\u0328"}
LETTERS = {r"{\o}": "ø", r"{\l}": "ł", r"\&": "&"}


def plain(text):
    """TeX's accents and letters as Unicode has them, and no braces."""
    for written, letter in LETTERS.items():
        text = text.replace(written, letter)
    text = re.sub(r"\{\\(['`\"k])\{?(\w)\}?\}", lambda match: match[2] + ACCENTS[match[1]], text)
    return unicodedata.normalize("NFC", re.sub("[{}]", "", text))


def surnames(names):
    return [plain(name).split(",")[0] for name in names.split(" and ")]


def read_bibtex(text):
    """The entries of BibTeX, read character by character: [(type, key, fields)]. Fails where it is none."""
    entries, position = [], 0
    text = re.sub("^%.*\n", "", text, flags=re.MULTILINE)
    while match := re.compile(r"\s*@(\w+)\{(\w+),\s*").match(text, position):
        fields, position = {}, match.end()
        while field := re.compile(r"(\w+)\s*=\s*\{").match(text, position):
            depth, end = 1, field.end()
            while depth:
                depth += {"{": 1, "}": -1}.get(text[end], 0) if text[end - 1] != "\\" else 0
                end += 1
            assert field[1] not in fields
            fields[field[1]] = text[field.end() : end - 1]
            position = re.compile(r",\s*").match(text, end).end()
        assert text[position] == "}"
        entries.append((match[1], match[2], fields))
        position += 1
    assert not text[position:].strip()
    return entries


def test_the_file_is_bibtex_and_every_entry_is_complete():
    entries = read_bibtex(SOURCE)
    assert [key for _, key, _ in entries] == list(references()) and len(entries) == 27
    for kind, key, fields in entries:
        assert fields == references()[key][1]
        assert fields.keys() >= REQUIRED[kind], key
        assert fields.keys() & {"eprint", "doi", "pages"}, key
        assert ("eprint" in fields) == (fields.get("archivePrefix") == "arXiv")
        assert re.fullmatch(r"\d{4}\.\d{4,5}", fields.get("eprint", "1000.1000"))
        assert re.fullmatch(r"10\.\d+/\S+", fields.get("doi", "10.1/1"))
        assert fields["title"][0].isupper() or fields["title"][0] in "{`"
        assert "\\" not in plain(fields["author"]) and fields["author"].isascii()


def test_keys_are_first_author_year_and_a_word_of_the_title():
    for key, (_, fields) in references().items():
        surname = "".join(filter(str.isalpha, surnames(fields["author"])[0])).lower()
        word = key.removeprefix(f"{surname}{fields['year']}")
        assert word != key and word in plain(fields["title"]).lower(), key
    identifiers = [fields.get("eprint") or fields.get("doi") or key for key, (_, fields) in references().items()]
    assert len(set(identifiers)) == len(identifiers)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_its_papers(name):
    papers = METHODS[name].paper.split("; ")
    keys = list(keys_of(catalogue()[0][name]))
    assert len(keys) == len(papers)
    for key, paper in zip(keys, papers, strict=True):
        fields, said = references()[key][1], PAPER.fullmatch(paper)
        assert surnames(fields["author"]) == said["authors"].split(", ") and fields["year"] == said["year"]
        if said["id"]:
            assert said["id"] in (fields.get("eprint"), fields.get("doi"))
    assert bibtex(name).count("\n@") == len(keys) - 1


def test_every_entry_is_a_paper_of_a_method():
    keys = {key for entry in catalogue()[0].values() for key in keys_of(entry)}
    assert keys == set(references())
    assert sorted(FIELD.findall(bibtex())) == sorted(FIELD.findall(SOURCE))


def method(paper):
    return Entry("lateness", "the later, the better", paper, "")


@pytest.mark.parametrize("paper", ["of nobody", "Simonyan 2014, arXiv:9999.99999", "Nobody 2014", "Somebody, arXiv:1"])
def test_a_paper_of_somebody_else_is_told_to_have_no_entry(paper):
    with pytest.raises(InputError, match=r"no BibTeX for the paper of 'lateness'.*cite it as its authors say"):
        list(keys_of(method(paper)))


def test_a_method_without_a_paper_is_told_to_have_none():
    with pytest.raises(InputError, match="names no paper"):
        list(keys_of(method("")))


def test_a_method_of_somebody_else_may_have_a_paper_that_is_known():
    assert list(keys_of(method("Sundararajan, Taly, Yan 2017, arXiv:1703.01365"))) == ["sundararajan2017axiomatic"]


# The command line


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["tokensal", "methods", *arguments])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        app.main()
    return ended.value.code or 0, *capsys.readouterr()


def test_bibtex_is_printed_of_one_method_and_of_all(monkeypatch, capsys):
    code, shown, told = run(monkeypatch, capsys, "Shapley-Sampling", "--bibtex")
    assert code == 0 and told == "" and [key for _, key, _ in read_bibtex(shown)] == [
        "castro2009polynomial", "mitchell2022sampling",
    ]  # fmt: skip
    code, shown, told = run(monkeypatch, capsys, "--bibtex")
    assert code == 0 and told == "" and len(read_bibtex(shown)) == len(references())
    code, shown, told = run(monkeypatch, capsys, "gradeint", "--bibtex")
    assert code == 2 and shown == "" and "did you mean 'gradient'" in told


def test_an_installed_method_without_an_entry_is_told_in_a_sentence(monkeypatch, capsys, tmp_path):
    (tmp_path / "lateness_module.py").write_text(MODULE)
    info = tmp_path / "lateness-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lateness\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tokensal.methods]\nlateness = lateness_module:Lateness\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        code, shown, told = run(monkeypatch, capsys, "lateness", "--bibtex")
    finally:
        METHODS.pop("lateness", None)
    assert code == 2 and shown == "" and told.count("\n") == 1 and "'of nobody'" in told


def test_bibtex_needs_no_torch():
    program = "import sys; from tokensal.cli.references import bibtex; bibtex(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


# CITATION.cff


def test_the_citation_file_is_valid_and_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    required = {"cff-version", "message", "title", "authors"}
    assert required <= set(citation) <= required | {"type", "abstract", "version", "license", "keywords"}
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert citation["authors"] == [{"name": "The tokensal authors"}]
    assert citation["version"] == tokensal.__version__ and isinstance(citation["version"], str)
    assert f'license = "{citation["license"]}"' in (ROOT / "pyproject.toml").read_text()
    assert all(isinstance(citation[name], str) for name in ("message", "title", "abstract"))
