"""A method from its repr, in which all of its options are: what stored results say of it."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

from tokensal.errors import InputError
from tokensal.methods.method import Method


def read_method(text: str, classes: Iterable[type[Method]]) -> Method | None:
    """The method whose repr is a text, such as "Gradient(norm='l1')"; None where it cannot be told, or is another.

    Nothing is run but the classes: a text may come from anywhere.

    Args:
        text: the repr.
        classes: of the methods that it may be.
    """
    known = {method.__name__: method for method in classes}
    try:
        method: Any = _value(ast.parse(text, mode="eval").body, known)
    except (SyntaxError, ValueError, TypeError, RecursionError, InputError):
        return None
    return method if type(method) in known.values() and repr(method) == text else None


def _value(node: ast.expr, known: dict[str, type[Method]]) -> Any:
    """A method, or a literal, of which a part may be a method. Raises ValueError for anything else."""
    if isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Name) or node.func.id not in known or node.args:
            raise ValueError("no method is called so")
        return known[node.func.id](**{str(each.arg): _value(each.value, known) for each in node.keywords})
    if isinstance(node, ast.Tuple | ast.List):
        parts = [_value(each, known) for each in node.elts]
        return tuple(parts) if isinstance(node, ast.Tuple) else parts
    return ast.literal_eval(node)
