"""The columns of a table of scores: one line for each target and each source that it sees."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

WIDTH = 116  # of a docstring's lines


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Attributes:
        name: its name.
        dtype: str, int64, Int64 (a whole number, or missing), float32 or bool, as pandas calls it.
        meaning: what it holds.
    """

    name: str
    dtype: str
    meaning: str


# About the attribution, in a comparison one of several.
OF_METHOD = (
    Column("attribution", "int64", "its number in a comparison; else 0"),
    Column("model", "str", "the model that is explained"),
    Column("method", "str", "the method, such as lrp"),
    Column("method_repr", "str", "the method with all its options"),
    Column("credit", "str", "'direct', or how scores are passed on through the answer"),
    Column("explained", "str", "the score that is explained of each target, such as logprob"),
)
OF_TARGET = (
    Column("target", "int64", "the number of the target, from 0 on"),
    Column("target_text", "str", "its text"),
    Column("target_role", "str", "where it comes from: generated, or a role of the prompt"),
    Column("target_start", "int64", "the first of its characters in the shown text"),
    Column("target_stop", "int64", "where its characters end"),
    Column("against", "str", "the text that it is explained against; empty without a contrast"),
    Column("value", "float32", "its explained score on the unaltered input"),
)
OF_SOURCE = (
    Column("source", "int64", "the number of the source, from 0 on"),
    Column("source_text", "str", "its text"),
    Column("source_role", "str", "where it comes from: prompt, system, user, assistant, tool, template, generated …"),
    Column("source_start", "int64", "the first of its characters in the shown text"),
    Column("source_stop", "int64", "where its characters end"),
    Column("source_message", "Int64", "the number of the message of a chat that it is from; missing elsewhere"),
    Column("special", "bool", "whether it is a special token"),
    Column("sink", "bool", "whether it is the sink, which shares and rankings leave out"),
    Column("encoder", "bool", "whether an encoder reads it"),
)
OF_SCORE = (
    Column("score", "float32", "what the source contributed to the target"),
    Column("share", "float32", "the score over the sum of all |scores| of the target, the sink left out; from -1 to 1"),
    Column("standard_error", "float32", "that of the score, where the method estimates it; missing elsewhere"),
)
COLUMNS = (*OF_METHOD, *OF_TARGET, *OF_SOURCE, *OF_SCORE)
OF_ROW = (*(column for column in OF_SOURCE if column.name != "encoder"), *OF_SCORE[:2])


def described_columns(indent: str) -> str:
    """A line for each column, as a docstring has them."""
    name = max(len(column.name) for column in COLUMNS) + 2
    dtype = max(len(column.dtype) for column in COLUMNS) + 2
    lines = (
        textwrap.fill(
            column.meaning,
            WIDTH,
            initial_indent=f"{indent}{column.name:<{name}}{column.dtype:<{dtype}}",
            subsequent_indent=indent + " " * (name + dtype),
        )
        for column in COLUMNS
    )
    return "\n".join(lines)
