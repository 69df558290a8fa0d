"""The papers of methods as BibTeX: read from a file beside the methods, as text; to import these would load torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files

from tokensal.cli.catalogue import Entry, catalogue, entry
from tokensal.errors import InputError

RECORD = re.compile(r"^@\w+\{(\w+),\n(.*?)^\}$", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r"^  (\w+) = \{(.*)\},$", re.MULTILINE)
# As methods write it: authors and year, and perhaps where the paper is; several papers are separated by semicolons.
PAPER = re.compile(r"(?:after )?(?P<authors>\D+) (?P<year>\d{4})(?:, (?P<kind>arXiv|doi):(?P<id>\S+))?")
FIELDS = {"arXiv": "eprint", "doi": "doi"}


@cache
def references() -> Mapping[str, tuple[str, Mapping[str, str]]]:
    """The BibTeX of each paper and its fields, by key, in the order of the file."""
    text = (files("tokensal") / "methods" / "references.bib").read_text("utf-8")
    return {match[1]: (match[0], dict(FIELD.findall(match[2]))) for match in RECORD.finditer(text)}


def bibtex(name: str | None = None) -> str:
    """The papers of a method as BibTeX; without a name, those of all methods of tokensal.

    Raises:
        InputError: an unknown method (the nearest one is offered), or a paper that there is no entry for.
    """
    entries = list(catalogue()[0].values()) if name is None else [entry(name)]
    keys = dict.fromkeys(key for each in entries for key in keys_of(each))
    return "\n\n".join(references()[key][0] for key in keys)


def keys_of(method: Entry) -> Iterator[str]:
    """The keys of the papers of a method.

    Raises:
        InputError: the method names no paper, or one that there is no entry for.
    """
    if not method.paper:
        raise InputError(f"There is no BibTeX for {method.name!r}, since the method names no paper.")
    for paper in method.paper.split("; "):
        key = _key(paper)
        if key is None:
            raise InputError(
                f"There is no BibTeX for the paper of {method.name!r}, {paper!r}: tokensal has the papers of its own "
                "methods, so cite it as its authors say."
            )
        yield key


def _key(paper: str) -> str | None:
    """The key of a paper: by where it is, or else by its first author and its year."""
    parts = PAPER.fullmatch(paper)
    if parts is None:
        return None
    author = "".join(filter(str.isalpha, parts["authors"].split(",")[0])).lower()
    for key, (_, fields) in references().items():
        if parts["kind"] is None and key.startswith(author + parts["year"]):
            return key
        if parts["kind"] is not None and fields.get(FIELDS[parts["kind"]]) == parts["id"]:
            return key
    return None
