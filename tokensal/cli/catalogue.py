"""The methods and metrics as the command line lists them: read from their source as text, since importing loads torch.

Those of other packages are imported where all is told about them.
"""

from __future__ import annotations

import ast
import inspect
import re
import shutil
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from importlib.resources import files
from typing import Any

from tokensal.errors import resolve_name


@dataclass(frozen=True)
class Entry:
    """What is written about a method or a metric.

    Attributes:
        name: that of its class attribute, as are summary and paper.
        written_as: the name of the class.
        better: of a metric, which values are better.
        description: its docstring, without the options.
        options: for each option, its default as Python writes it, and its help.
    """

    name: str
    summary: str
    paper: str
    description: str
    options: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    written_as: str = ""
    better: str = ""


@cache
def catalogue() -> tuple[Mapping[str, Entry], Mapping[str, str]]:
    """The methods by name, in the order of `tokensal.METHODS`, and `tokensal.methods.ALIASES`."""
    rows, table = _written_in("methods")
    return rows, ast.literal_eval(_assigned(table)["ALIASES"])


@cache
def metrics() -> Mapping[str, Entry]:
    """The metrics by name, in the order of `tokensal.evaluation.METRICS`."""
    rows, table = _written_in("evaluation")
    order = [node.id for node in ast.walk(_assigned(table)["METRICS"]) if isinstance(node, ast.Name)]
    return {row.name: row for name in order for row in rows.values() if row.written_as == name}


def _written_in(package: str) -> tuple[dict[str, Entry], ast.Module]:
    """The classes with a paper that the table of a package imports, by name; and the file with the table."""
    folder = files("tokensal") / package
    modules = [ast.parse(file.read_text("utf-8")) for file in folder.iterdir() if file.name.endswith(".py")]
    classes = {node.name: node for module in modules for node in module.body if isinstance(node, ast.ClassDef)}
    table = ast.parse((folder / "__init__.py").read_text("utf-8"))
    imported = [alias.name for node in table.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    rows = [_entry(classes[name], classes) for name in imported if "paper" in _assigned(classes.get(name))]
    return {row.name: row for row in rows}, table


def _assigned(node: ast.ClassDef | ast.Module | None) -> dict[str, ast.expr]:
    """The values that are assigned in a body, by name."""
    pairs: dict[str, ast.expr] = {}
    for each in node.body if node else ():
        if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name):
            pairs[each.targets[0].id] = each.value
        elif isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name) and each.value:
            pairs[each.target.id] = each.value
    return pairs


def _entry(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> Entry:
    values = _assigned(node)
    name, summary, paper = (ast.literal_eval(values[each]) for each in ("name", "summary", "paper"))
    lineage = list(_lineage(node, classes))
    options = {name: ast.unparse(value) for each in lineage for name, value in _fields(each)}
    documented = [_documented(ast.get_docstring(each)) for each in lineage]
    helps = {option: text for _, arguments in documented for option, text in arguments.items()}
    described = {option: (default, helps.get(option, "")) for option, default in options.items()}
    inherited = {key: value for each in lineage for key, value in _assigned(each).items()}
    better = ast.literal_eval(inherited["better"]) if "better" in inherited else ""
    return Entry(name, summary, paper, documented[-1][0], described, node.name, better)


def _lineage(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> Iterator[ast.ClassDef]:
    """A class after those that it inherits from."""
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id in classes:
            yield from _lineage(classes[base.id], classes)
    yield node


def _documented(docstring: str | None) -> tuple[str, dict[str, str]]:
    """A docstring without its arguments, and what it says of each of these."""
    description, _, arguments = (docstring or "").partition("\n\nArgs:\n")
    return description, dict(re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", arguments, re.MULTILINE))


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    """The fields that a dataclass adds or gives another default, with their defaults."""
    for each in node.body:
        if isinstance(each, ast.AnnAssign) and each.value and not ast.unparse(each.annotation).startswith("ClassVar"):
            yield ast.unparse(each.target), each.value


def names() -> list[str]:
    """Every name of a method: those of tokensal, and those that installed packages offer."""
    return list(dict.fromkeys([*catalogue()[0], *_packages()]))


def listing() -> str:
    """Every method, with what it says and its paper; of one that an installed package offers, the package."""
    rows, packages = catalogue()[0], _packages()
    column = max(map(len, names())) + 2
    lines = [_listed(row, column) for row in rows.values()]
    others = [_wrapped(f"of the package {packages[name]}", column, name.ljust(column)) for name in names()[len(rows) :]]
    return "\n".join(lines + others)


def metric_listing() -> str:
    """Every metric, with what it measures, which values are better, and its paper."""
    column = max(map(len, metrics())) + 2
    return "\n".join(_listed(row, column) for row in metrics().values())


def _listed(row: Entry, column: int) -> str:
    summary = f"{row.summary}; {row.better} is better" if row.better else row.summary
    return f"{_wrapped(summary, column, row.name.ljust(column))}\n{_wrapped(row.paper, column)}"


def _packages() -> dict[str, str]:
    """The methods of installed packages, and the package of each (see `tokensal.methods.registry`)."""
    points = entry_points(group="tokensal.methods")
    return {point.name: point.dist.name if point.dist else point.module for point in points}


def _installed_entry(name: str) -> Entry:
    from tokensal.methods import METHODS, canonical_name

    method: Any = METHODS[canonical_name(name)]
    description, helps = _documented(inspect.getdoc(method))
    fields = getattr(method, "__dataclass_fields__", {}).values()
    options = {each.name: (repr(each.default), helps.get(each.name, "")) for each in fields}
    return Entry(name, method.summary, method.paper, description, options)


def entry(name: str) -> Entry:
    """What is written about the method of a name, or of another name that it has.

    Raises:
        InputError: an unknown method; the nearest one is offered.
    """
    rows, aliases = catalogue()
    name = resolve_name("method", name, names(), aliases)
    return rows[name] if name in rows else _installed_entry(name)


def details(name: str) -> str:
    """All about one method.

    Raises:
        InputError: an unknown method; the nearest one is offered.
    """
    row, aliases = entry(name), catalogue()[1]
    return _details(row, "--option", ", ".join(alias for alias, meant in aliases.items() if meant == row.name))


def metric_details(name: str) -> str:
    """All about one metric.

    Raises:
        InputError: an unknown metric; the nearest one is offered.
    """
    row = metrics()[resolve_name("metric", name, metrics(), {})]
    return _details(row, f"--metric-option {row.name}.", "")


def _details(row: Entry, flag: str, also: str) -> str:
    """All that is written about a method or a metric."""
    option = f"{flag}NAME=VALUE" if flag.endswith(".") else f"{flag} NAME=VALUE"
    paragraphs = [_wrapped(f"{row.name}: {row.summary}"), *map(_wrapped, row.description.split("\n\n"))]
    paragraphs += [_wrapped(f"Paper: {row.paper}")] * bool(row.paper) + [_wrapped(f"Other names: {also}")] * bool(also)
    if row.options:
        entries = (f"  {name} = {default}\n{_wrapped(text, 6)}" for name, (default, text) in row.options.items())
        paragraphs.append(f"Options, as in {option}, and their defaults:\n\n" + "\n".join(entries))
    return "\n\n".join(paragraphs)


def _wrapped(text: str, indent: int = 0, first: str | None = None) -> str:
    """The text in lines of the terminal's width, indented, the first one perhaps by a text."""
    width = max(shutil.get_terminal_size().columns, indent + 20)
    start = " " * indent if first is None else first
    return textwrap.fill(" ".join(text.split()), width, initial_indent=start, subsequent_indent=" " * indent)
