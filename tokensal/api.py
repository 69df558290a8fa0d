"""The two entry points, `attribute` and `compare`: a case, and the methods that explain it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any

from tokensal.adapters import AnyAdapter
from tokensal.adapters.prompting import Messages, Text
from tokensal.case import Case
from tokensal.engine import Budget
from tokensal.errors import InputError
from tokensal.evaluation.scorecard import explain_and_measure
from tokensal.methods import Method, build
from tokensal.options import COMPARED, Generation, flattened
from tokensal.progress import reporting
from tokensal.questions.question import Question
from tokensal.results.attribution import Attribution
from tokensal.results.comparison import Comparison
from tokensal.types import Progress
from tokensal.values import described


@flattened(question=Question, generation=Generation)
def attribute(
    model: AnyAdapter | str | PathLike[str],
    prompt: Text | None = None,
    *,
    messages: Messages | None = None,
    template: Mapping[str, Any] | None = None,
    method: str | Method | type[Method] = "lrp",
    check: bool = False,
    question: Question,
    generation: Generation,
    budget: Budget | None = None,
    progress: Progress | bool | None = None,
    config: Mapping[str, Any] | None = None,
) -> Attribution:
    """Explain each token of a model's answer by the tokens before it.

        >>> import tokensal
        >>> model = tokensal.load("dates")
        >>> result = attribute(model, "the 3rd of March, 1987", method="occlusion")
        >>> "".join(target.text for target in result.targets)
        '1987-03-03</s>'
        >>> result.sources[result.scores[0].nan_to_num().argmax()].text  # what speaks for the year
        ' 1987'

    Args:
        model: What `tokensal.load` or `tokensal.adapt` returns, or a name or path for `tokensal.load`.
        prompt: Text, or token ids: a list, a tensor, or what the tokenizer returns.
        messages: A chat instead ({"role": …, "content": …}), put through the model's chat template. If the last one is
            the assistant's, the answer continues it.
        template: Further arguments of the chat template, such as {"enable_thinking": False} or {"tools": […]}.
        method: A name from `tokensal.METHODS`, or a method with options, such as `Gradient(norm="l1")`.
        check: Measure the map on cheap metrics, too, and store these in the diagnostics; every format shows them in a
            line. See `tokensal.evaluation.scorecard`; it takes about 160 forwards.
        {question}
        {generation}
        budget: How much memory to use, and how much to compute at once.
        progress: Called with (done, total) as the work goes on; True draws a bar on stderr once the work takes more
            than a second, False none, and None one if stderr is a terminal or a notebook.
        config: Recorded in the result, beside the versions and the seed.

    Returns:
        The attribution: scores (K, J) of every source for every target, with tokens and provenance.

    Raises:
        TokensalError: one sentence about what to put right; see `tokensal.errors`.
    """
    method = build(method)  # a wrong name is refused before the work
    with reporting(progress) as report:
        case = Case.of(
            model,
            prompt,
            messages=messages,
            template=template,
            question=question,
            generation=generation,
            budget=budget,
            progress=report,
            config=config,
        )
        return _explained(case, method, check)


@flattened(question=Question, generation=Generation)
def compare(
    model: AnyAdapter | str | PathLike[str],
    prompt: Text | None = None,
    *,
    messages: Messages | None = None,
    template: Mapping[str, Any] | None = None,
    methods: Iterable[str | Method | type[Method]] = COMPARED,
    check: bool = False,
    question: Question,
    generation: Generation,
    budget: Budget | None = None,
    progress: Progress | bool | None = None,
    config: Mapping[str, Any] | None = None,
) -> Comparison:
    """Explain one answer by several methods: it is generated once, and all of them explain the same tokens.

        >>> import tokensal
        >>> model = tokensal.load("dates")
        >>> result = compare(model, "the 3rd of March, 1987", methods=["gradient", "occlusion"])
        >>> result.agreement().shape
        torch.Size([2, 2])

    Args:
        model: as for `attribute`, and so are prompt, messages, template, budget and config.
        methods: Two or more, each as for `attribute`; the same one twice only with other options.
        check: As for `attribute`, of each method.
        {question}
        {generation}
        progress: As for `attribute`; each method has an equal share in it.

    Returns:
        The comparison: an attribution for each method, and how far their rankings agree.

    Raises:
        TokensalError: one sentence about what to put right; see `tokensal.errors`.
    """
    built = build_several(methods)
    with reporting(progress) as report:
        case = Case.of(
            model,
            prompt,
            messages=messages,
            template=template,
            question=question,
            generation=generation,
            budget=budget,
            config=config,
        )
        attributions = []
        for index, method in enumerate(built):
            if report is not None:
                case.engine.progress = _share(report, index, len(built))
            attributions.append(_explained(case, method, check))
        return Comparison(tuple(attributions))


def _explained(case: Case, method: Method, checked: bool) -> Attribution:
    return explain_and_measure(case, method) if checked else case.explain(method)


def build_several(methods: Iterable[str | Method | type[Method]]) -> tuple[Method, ...]:
    """The methods of a comparison, built where they are names or classes.

    Raises:
        InputError: fewer than two, the same one twice, or an unknown name.
    """
    if isinstance(methods, str) or not isinstance(methods, Iterable):
        raise InputError(
            f"The methods of a comparison should be a list, as in ['gradient', …], but are {described(methods)}."
        )
    built = tuple(map(build, methods))
    if len(built) < 2:
        raise InputError(f"A comparison needs at least two methods, but got {len(built)}: add one, or use attribute.")
    for method, count in Counter(map(repr, built)).items():
        if count > 1:
            raise InputError(f"Method {method} is given {count} times: give it once, or with other options.")
    return built


def _share(report: Progress, index: int, count: int) -> Progress:
    """The progress of one of `count` pieces of work, as a part of all of them."""
    return lambda done, total: report(index * total + done, count * total)
