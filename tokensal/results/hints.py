"""What other libraries call it: names that people try on a result, and what it is called here."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

FIGURE = "show(), or save('….html')"
# Names of Inseq, captum, pandas and others.
RESULT: Mapping[str, str] = {
    **dict.fromkeys(("attributions", "sequence_attributions", "target_attributions", "matrix"), "scores"),
    **dict.fromkeys(("aggregate", "sum"), "total(), or scores.nansum(0)"),
    **dict.fromkeys(("head", "topk", "nlargest", "most_important"), "top()"),
    **dict.fromkeys(("loc", "iloc"), "result[…], or select()"),
    **dict.fromkeys(("filter", "query", "mask", "where", "sources_of_role"), "select()"),
    **dict.fromkeys(("tokens", "texts", "labels"), "source_texts and target_texts"),
    **dict.fromkeys(("source", "source_tokens", "columns", "inputs", "input_tokens"), "source_texts"),
    **dict.fromkeys(("target", "target_tokens", "index", "outputs", "output_tokens"), "target_texts"),
    **dict.fromkeys(("method", "model", "score", "seed", "versions", "config"), "provenance"),
    **dict.fromkeys(("df", "to_df", "to_dataframe", "dataframe"), "to_pandas()"),
    **dict.fromkeys(("groupby", "pivot", "sort_values", "describe", "merge", "melt", "apply"), "to_pandas()"),
    **dict.fromkeys(("plot", "heatmap", "visualize", "display", "render"), FIGURE),
    **{f"to_{name}": f"save('….{name}')" for name in ("csv", "parquet", "json", "html")},
    "savefig": "save()",
    "convergence_delta": "diagnostics['convergence_delta']",
}
ROW: Mapping[str, str] = {
    "items": "the row itself, which iterates over (source, score) pairs",
    **dict.fromkeys(("values", "attributions"), "scores"),
    **dict.fromkeys(("keys", "index", "texts", "tokens"), "source_texts"),
    **dict.fromkeys(("text", "token"), "target.text"),
    **dict.fromkeys(("head", "topk", "nlargest", "sort_values"), "top()"),
    **dict.fromkeys(("plot", "show", "save"), "the same of result[[n]], the attribution of one target"),
    **dict.fromkeys(("df", "to_df", "to_dataframe"), "to_pandas()"),
}


def missing_attribute(value: object, name: str, table: Mapping[str, str]) -> AttributeError:
    """The error that something has no attribute of a name, with what may be meant."""
    hint = ""
    if name in table:
        hint = f"; use {table[name]}"
    elif not name.startswith("_") and hasattr(Tensor, name):
        hint = "; `scores` is a tensor, which has it, and is NaN where a target does not see a source"
    text = f"{type(value).__name__!r} object has no attribute {name!r}{hint}"
    return AttributeError(text, name=name, obj=value)
