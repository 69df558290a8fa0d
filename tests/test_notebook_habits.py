'''What people who know pandas, torch, Inseq or captum try first in a notebook: each works, or is refused in a sentence.

>>> result, chat, comparison = examples()

A result says what it is, and what its rows and columns are about.

>>> result
Attribution(X() of logprob, 3 targets × 5 sources, m)
>>> len(result), result.scores.shape, result.scores.dtype
(3, torch.Size([3, 5]), torch.float32)
>>> result.target_texts
(' Paris', '.', ' Paris')
>>> result.source_texts
('Rome', ' or', ' Oslo', ' Paris', '.')
>>> sorted({"scores", "select", "shares", "show", "top", "total", "to_pandas", "source_texts"} - set(dir(result)))
[]

Targets, by number or by text.

>>> result[1]
Row('.', 4 sources, ' or' +4, ' Oslo' -2, ' Paris' +1, …)
>>> result["."].value == result[1].value == result[-2].value
True
>>> result[" Paris"]
Traceback (most recent call last):
tokensal.errors.InputError: ' Paris' is the text of 2 targets, 0 and 2: take one by its number.
>>> result["Pari"]
Traceback (most recent call last):
tokensal.errors.InputError: No target is 'Pari': did you mean 'Paris'? There are 3: ' Paris', '.', ' Paris'.
>>> result["Paris."]
Traceback (most recent call last):
tokensal.errors.InputError: No target is 'Paris.': did you mean 'Paris'? There are 3: ' Paris', '.', ' Paris'.
>>> result["ris"]
Traceback (most recent call last):
tokensal.errors.InputError: No target is 'ris': did you mean 'Paris'? There are 3: ' Paris', '.', ' Paris'.
>>> result[3]
Traceback (most recent call last):
IndexError: There is no target 3: there are 3 targets, from 0 on.
>>> result[1.0]  # doctest: +ELLIPSIS
Traceback (most recent call last):
tokensal.errors.InputError: A selection of targets is 1.0, but should be a number, a slice, a text, a mask of 3 bools, …
>>> "." in result, "Paris" in result, "Rome" in result, result.targets[1] in result
(True, True, False, True)

Several of them, as numpy and torch have it.

>>> result[:2].target_texts, result[[2, 0]].target_texts, result[["."]].target_texts
((' Paris', '.'), (' Paris', ' Paris'), ('.',))
>>> result[result.values > -2], result[np.array([True, False, True])]
(Attribution(X() of logprob, 2 targets × 5 sources, m), Attribution(X() of logprob, 2 targets × 5 sources, m))
>>> [len(result[index]) for index in ([True, False, True], torch.tensor([1]), np.array([0, -1]), ...)]
Traceback (most recent call last):
tokensal.errors.InputError: A selection of targets is Ellipsis (ellipsis), but should be a number, a slice, a text, …
>>> result[[True, False]]
Traceback (most recent call last):
tokensal.errors.InputError: A mask of targets has 2 bools, but there are 3 targets.
>>> result[3:]
Traceback (most recent call last):
tokensal.errors.InputError: The selection has no targets: the attribution has 3, from 0 on.
>>> result["a":"b"]
Traceback (most recent call last):
tokensal.errors.InputError: A slice of targets is slice('a', 'b', None) (slice), but its bounds should be whole numbers.
>>> [row.target.text for row in result], [row.target.text for row in reversed(result)]
([' Paris', '.', ' Paris'], [' Paris', '.', ' Paris'])

One cell, a block, and a part of a row.

>>> result[0, 2], result[1, "Rome"], result[".", "Oslo"], result[0]["Oslo"], result[0][-1]
(3.0, 0.5, -2.0, 3.0, 3.0)
>>> result[0, 4], result[2, "Paris"]
(nan, 0.25)
>>> result[0, "Paris"]
Traceback (most recent call last):
tokensal.errors.InputError: No source is 'Paris'. There are 3: 'Rome', ' or', ' Oslo'.
>>> result[:2, 1:3]
Attribution(X() of logprob, 2 targets × 5 sources, m)
>>> result[".", ["Oslo", "Rome"]]
Row('.', 2 sources, ' Oslo' -2, 'Rome' +0.5)
>>> result[0, 1, 2]
Traceback (most recent call last):
tokensal.errors.InputError: A selection in parts is result[targets, sources]; of several targets, give a list: …
>>> result[0]["Lima"]
Traceback (most recent call last):
tokensal.errors.InputError: No source is 'Lima'. There are 3: 'Rome', ' or', ' Oslo'.
>>> result[0][1:]
Traceback (most recent call last):
tokensal.errors.InputError: A source of a row is slice(1, None, None) (slice), but should be a number or a text; for …

A row is (source, score) pairs.

>>> row = result[0]
>>> len(row), "Rome" in row, "Lima" in row, row.source_texts
(3, True, False, ('Rome', ' or', ' Oslo'))
>>> for source, score in row:
...     print(source.text, score)
Rome 1.0
 or -2.0
 Oslo 3.0
>>> [(source.text, score) for source, score in row.top(2)], max(row, key=lambda pair: pair[1])[0].text
([(' Oslo', 3.0), (' or', -2.0)], ' Oslo')
>>> dict(row)[result.sources[0]], dict(zip(row.source_texts, row.scores.tolist()))["Rome"]
(1.0, 1.0)
>>> row.source_texts[np.argmax(row)], row.scores.abs().max(), row.shares
(' Oslo', tensor(3.), tensor([ 0.1667, -0.3333,  0.5000]))
>>> list(row.items())
Traceback (most recent call last):
AttributeError: 'Row' object has no attribute 'items'; use the row itself, which iterates over (source, score) pairs
>>> row.keys()
Traceback (most recent call last):
AttributeError: 'Row' object has no attribute 'keys'; use source_texts

All targets at once; what a target does not see is NaN, and no 0.

>>> result.scores.sum(0), result.scores.nansum(0)
(tensor([1.7500, 2.2500, 1.2500,    nan,    nan]), tensor([ 1.7500,  2.2500,  1.2500,  1.2500, -1.0000]))
>>> result.total()
Row(all targets, 5 sources, ' or' +2.25, 'Rome' +1.75, ' Oslo' +1.25, …)
>>> [source.text for source, _ in result.top(2)], [source.text for source, _ in result.top(1, target=".")]
([' or', 'Rome'], [' or'])
>>> result.mean()
Traceback (most recent call last):
AttributeError: 'Attribution' object has no attribute 'mean'; `scores` is a tensor, which has it, and is NaN where a …
>>> np.asarray(result).shape, np.nanmax(result), np.asarray(result, dtype="float64").dtype
((3, 5), np.float32(4.0), dtype('float64'))
>>> np.asarray(result)[0, 0] = 99.0  # a copy
>>> result[0, 0]
1.0

Sources by role, text and number; in a chat, where the credit goes.

>>> chat.by_role()
{'system': 1.0, 'user': 4.0, 'template': -0.5}
>>> chat.by_role(sink=True, target=0)
{'template': 8.5, 'system': 1.0, 'user': 4.0}
>>> chat.select(sources="user")[0]
Row(' Rome', 2 sources, ' is' +3, 'Where' +1)
>>> [len(chat.select(sources=these)[0]) for these in (["user", "system"], slice(2), [0, -1], "Where", re.compile("s$"))]
[3, 2, 2, 1, 1]
>>> chat.select(sources=[True, False, False, True, False]).visible.tolist()
[[True, False, False, True, False]]
>>> chat.select(sources=[source for source, _ in chat[0].top(1)])[0]
Row(' Rome', 1 sources, ' is' +3)
>>> chat.select(sources="tool")
Traceback (most recent call last):
tokensal.errors.InputError: No source is tool; here they are template, system, user.
>>> chat.select(sources="usr")  # doctest: +ELLIPSIS
Traceback (most recent call last):
tokensal.errors.InputError: No source is 'usr': did you mean 'user'? There are 5: '<|im_start|>', 'Be brief.', …
>>> chat.select(sources=[])
Traceback (most recent call last):
tokensal.errors.InputError: The selection has no sources: the attribution has 5, from 0 on.
>>> chat.select(sources="user", targets="Rome") == chat.select(sources=[2, 3])
True

Tables.

>>> frame = result.to_pandas()
>>> frame.groupby("source_text")["score"].sum().nlargest(2).to_dict()
{' or': 2.25, 'Rome': 1.75}
>>> pd.DataFrame(result.scores, result.target_texts, result.source_texts).loc["."].idxmax()
' or'
>>> pd.DataFrame(result).shape, row.to_pandas().columns.tolist()[:3]
((3, 5), ['source', 'source_text', 'source_role'])
>>> row.to_pandas().set_index("source_text")["share"].idxmin()
' or'

Comparisons.

>>> comparison
Comparison(X(), Y(): 3 targets × 5 sources)
>>> len(comparison), comparison.methods, "y" in comparison, "z" in comparison
(2, ('x', 'y'), True, False)
>>> comparison["y"] is comparison[1] is comparison[-1] is comparison["Y"]
True
>>> [each.provenance.method for each in comparison], comparison.agreement().shape
(['x', 'y'], torch.Size([2, 2]))
>>> comparison["lrp"]
Traceback (most recent call last):
tokensal.errors.InputError: Unknown method of this comparison: 'lrp': Known: x, y.
>>> comparison[2]
Traceback (most recent call last):
IndexError: There is no attribution 2: the comparison has 2, from 0 on.
>>> comparison[::-1], comparison[["y", "x"]] == comparison[::-1]
(Comparison(Y(), X(): 3 targets × 5 sources), True)
>>> comparison[:1]
Traceback (most recent call last):
tokensal.errors.InputError: A comparison needs at least two attributions, but got 1.
>>> comparison[1.5]  # doctest: +ELLIPSIS
Traceback (most recent call last):
tokensal.errors.InputError: A selection from a comparison is 1.5, but should be the name or the number of a method.
>>> Comparison((result, result))["x"]
Traceback (most recent call last):
tokensal.errors.InputError: The comparison has 2 attributions by 'x': take one by its number. 0 is X(), direct; 1 is …
>>> comparison.select(targets=".", sources="Rome")
Comparison(X(), Y(): 1 targets × 5 sources)

Names of other libraries are refused with ours.

>>> result.attributions
Traceback (most recent call last):
AttributeError: 'Attribution' object has no attribute 'attributions'; use scores
>>> result.shape  # doctest: +ELLIPSIS
Traceback (most recent call last):
AttributeError: 'Attribution' object has no attribute 'shape'; `scores` is a tensor, which has it, and is NaN where …
>>> result.plot()
Traceback (most recent call last):
AttributeError: 'Attribution' object has no attribute 'plot'; use show(), or save('….html')
>>> comparison.to_csv("x.csv")
Traceback (most recent call last):
AttributeError: 'Comparison' object has no attribute 'to_csv'; use save('….csv')
>>> result.sorces
Traceback (most recent call last):
AttributeError: 'Attribution' object has no attribute 'sorces'

Copies are equal.

>>> pickle.loads(pickle.dumps(result)) == copy.deepcopy(result) == result, result == result[:2]
(True, False)
'''  # fmt: skip

from __future__ import annotations

import copy
import doctest
import pickle
import re
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from test_layout import NAN, attribution_of

from tokensal import Attribution, Comparison
from tokensal.errors import InputError
from tokensal.render import encode
from tokensal.render.json import dumps, loads
from tokensal.render.renderers import RENDERERS, STORES
from tokensal.results import hints
from tokensal.results.selecting import TEXT
from tokensal.types import Diagnostic, Role

TEXTS = ["Rome", " or", " Oslo", " Paris", ".", " Paris"]
SCORES = [[1.0, -2.0, 3.0, NAN, NAN], [0.5, 4.0, -2.0, 1.0, NAN], [0.25, 0.25, 0.25, 0.25, -1.0]]
FORMATS = (*RENDERERS, *STORES)
ROLES = (Role.TEMPLATE, Role.SYSTEM, Role.USER, Role.USER, Role.TEMPLATE)


def examples():
    """An answer of three tokens, a chat of five sources, and a comparison of two methods."""
    result = attribution_of(TEXTS, SCORES, sink=None, prompt=3)
    result = replace(result, values=torch.tensor([-1.0, -3.0, -0.5]))
    other = replace(result, provenance=replace(result.provenance, method="y", method_repr="Y()"))
    chat = attribution_of(
        ["<|im_start|>", "Be brief.", "Where", " is", "\n", " Rome"], [[9.0, 1.0, 1.0, 3.0, -0.5]], prompt=5
    )
    sources = tuple(
        replace(unit, role=role, special=unit.text[0] == "<") for unit, role in zip(chat.sources, ROLES, strict=True)
    )
    return result, replace(chat, sources=sources), Comparison((result, other))


def test_habits_of_notebooks():
    """The examples above, run; in a message of an error, … stands for the rest."""
    checker = doctest.OutputChecker()
    checker.check_output = lambda want, got, flags: doctest.OutputChecker().check_output(
        want.replace("…\n", "...\n") if "Error" in want else want, got, flags | doctest.ELLIPSIS
    )
    runner = doctest.DocTestRunner(checker, verbose=False)
    [test] = doctest.DocTestFinder(recurse=False).find(sys.modules[__name__])
    assert runner.run(test).failed == 0 and runner.tries > 75


# Selection of sources


def selected(**changes):
    return examples()[1].select(**changes)


def test_what_is_left_out_is_not_visible_and_everything_else_stays():
    chat = examples()[1]
    errors = Diagnostic(torch.tensor([[0.5, 0.5, 0.5, 0.5, 0.5]]))
    counts = Diagnostic(torch.tensor([[1, 2, 3, 4, 5]]))
    chat = replace(chat, diagnostics={"standard_error": errors, "counts": counts, "total": Diagnostic(torch.ones(1))})
    user = chat.select(sources="user")
    assert user.visible.tolist() == [[False, False, True, True, False]]
    assert user.scores.isnan().equal(~user.visible) and user.scores[user.visible].tolist() == [1.0, 3.0]
    assert user.sources == chat.sources and user.text == chat.text and user.sink == 0
    assert user.diagnostics["standard_error"].values.isnan().equal(~user.visible)
    assert user.diagnostics["counts"] is counts and user.diagnostics["total"] is chat.diagnostics["total"]
    assert chat.select() is chat and chat.select(sources=slice(None)) == chat


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("sources", ["user", [0, 4]])
def test_a_selection_is_drawn_and_stored(suffix, sources):
    part = selected(sources=sources)
    assert encode(part, f"r{suffix}")
    if suffix == ".json":
        assert loads(dumps(part)) == part


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_target_that_sees_none_of_the_sources_has_an_empty_row(suffix):
    result = examples()[0].select(sources=".")
    assert [len(row) for row in result] == [0, 0, 1] and result[0].top(3) == [] and len(result.to_pandas()) == 1
    assert repr(result[0]) == "Row(' Paris', 0 sources)" and result[0].by_role() == {}
    assert encode(result[:1], f"r{suffix}") and encode(result, f"r{suffix}")


def test_the_text_of_a_role_is_named_by_its_prefix():
    chat = examples()[1]
    named = replace(chat, sources=(chat.sources[0], replace(chat.sources[1], text="user"), *chat.sources[2:]))
    assert named.select(sources="user")[0].source_texts == ("Where", " is")
    assert named.select(sources="text:user")[0].source_texts == ("user",)
    with pytest.raises(InputError, match=f"A source of that text is '{TEXT}tool'"):
        replace(named, sources=(replace(chat.sources[0], text="tool"), *named.sources[1:])).select(sources="tool")


def test_a_special_token_outside_of_a_template_counts_as_special():
    result = examples()[0]
    odd = replace(result, sources=(replace(result.sources[0], special=True), *result.sources[1:]))
    assert odd.by_role() == {"special": 1.75, "prompt": 3.5, "generated": 0.25}
    assert odd.select(sources="special").total().source_texts == ("Rome",)


def test_white_space_tokens_are_found_by_their_exact_text():
    chat = examples()[1]
    assert chat[0]["\n"] == -0.5 and "\n" in chat[0] and " " not in chat[0]
    with pytest.raises(InputError, match="No source is ' '"):
        _ = chat[0][" "]
    both = attribution_of(["a", " a", "b"], [[1.0, 2.0]], prompt=2)
    assert both[0]["a"] == 1.0 and both[0][" a"] == 2.0  # the exact text goes first


def test_numbers_of_a_row_are_those_of_the_attribution():
    row = examples()[0].select(sources=["Oslo", "Rome"])[1]
    assert row.numbers == (0, 2) and row.to_pandas()["source"].tolist() == [0, 2]


def test_an_array_that_must_not_be_copied_is_the_scores_themselves():
    result = examples()[0]
    assert np.shares_memory(result.__array__(copy=False), result.scores.numpy())
    assert not np.shares_memory(result.__array__(), result.scores.numpy())
    with pytest.raises(ValueError, match="need to be copied"):
        result.__array__("float64", copy=False)


def test_names_that_are_completed_are_documented():
    """A notebook completes what `dir` lists: fields and methods that say what they are, and nothing else."""
    for value in (*examples(), examples()[0][0]):
        documented = value.__doc__ + "".join(getattr(base, "__doc__", "") or "" for base in type(value).__mro__)
        for name in dir(value):
            if name[0] != "_":
                member = getattr(type(value), name)
                assert f"{name}:" in documented or (member.__doc__ and not repr(member).startswith("<member")), name


def test_a_text_in_two_parts_is_that_of_a_source_which_the_target_sees():
    result = attribution_of(["2", " 1", "1", "1"], [[0.5, 2.0, NAN], [0.5, 2.0, 7.0]], sink=None)
    assert result[0, "1"] == result[0]["1"] == 2.0 and result[1, "1"] == 7.0 and result[1, " 1"] == 2.0


def test_hints_name_what_there_is():
    result, _, comparison = examples()
    for value, table in ((result, hints.RESULT), (result[0], hints.ROW)):
        assert not set(table) & set(dir(value))
        for name in table:
            with pytest.raises(AttributeError, match=re.escape(table[name])):
                getattr(value, name)
        for hint in table.values():
            for name in re.findall(r"\b(?<!\.)([a-z_]+)(?:\(|$|, or)", hint):
                assert name in dir(value) or "…" in hint or "pairs" in hint, hint
    assert not hasattr(result, "__array_interface__") and not hasattr(comparison, "_repr_png_")
    assert copy.copy(result) == result and pickle.loads(pickle.dumps(result[0])).target == result[0].target
    assert pd.api.types.is_list_like(result) and isinstance(result[:1], Attribution)
