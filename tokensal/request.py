"""What was asked, as plain data: the arguments by which a result can be made again, stored in its provenance.

A request holds, by the names of the arguments of `tokensal.load` and `tokensal.attribute`, what differs from their
defaults: the model, the prompt or the messages, the question, and how the answer is generated. What JSON cannot hold,
such as a function, is listed by its name under "unrecorded". The method stands apart, in the provenance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from tokensal.values import plain

UNRECORDED = "unrecorded"
Request = dict[str, Any]


def request_of(arguments: Mapping[str, Any]) -> Request:
    """The arguments that are not None as plain data, and the names of those that are not plain."""
    request: Request = {}
    unrecorded = []
    for name, value in arguments.items():
        if value is None:
            continue
        try:
            request[name] = _recorded(value)
        except ValueError:
            unrecorded.append(name)
    return request | ({UNRECORDED: unrecorded} if unrecorded else {})


def differing(group: Any) -> dict[str, Any]:
    """The values of a group of options that are not its defaults, by name."""
    values = {each.name: getattr(group, each.name) for each in fields(group)}
    return {each.name: values[each.name] for each in fields(group) if values[each.name] != each.default}


def joined(*requests: Mapping[str, Any]) -> Request:
    """Several requests in one."""
    unrecorded = [name for request in requests for name in request.get(UNRECORDED, ())]
    merged = {name: value for request in requests for name, value in request.items() if name != UNRECORDED}
    return merged | ({UNRECORDED: unrecorded} if unrecorded else {})


def _recorded(value: Any) -> Any:
    """A value as JSON has it. Raises ValueError where JSON has nothing like it."""
    value = plain(value)
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, list | tuple):
        return [_recorded(each) for each in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _recorded(each) for key, each in value.items()}
    raise ValueError(f"{type(value).__name__} is not plain")
