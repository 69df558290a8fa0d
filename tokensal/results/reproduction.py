"""How a result is made again: the command for a shell, and the lines of Python, from what its provenance holds.

Both are exact or absent: where the provenance does not hold what was asked, or a command line cannot say it, a note
tells why. Nothing is guessed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tokensal.request import UNRECORDED
from tokensal.results.attribution import DIRECT, Attribution, Provenance
from tokensal.results.comparison import Comparison
from tokensal.results.shell import Inexpressible, flag, printed, quoted, setting

LOADING = (
    "model", "dtype", "device", "device_map", "attention", "revision", "trust_remote_code", "tokenizer", "served_model",
    "timeout", "concurrency",
)  # fmt: skip
ASKED = (
    "continuation", "max_new_tokens", "generation", "seed", "explain", "targets", "contrast", "unit", "sources",
    "score", "alternatives", "check",
)  # fmt: skip
PROMPTS = ("prompt", "messages", "template")
ROWS = "rows"  # of the result, where it is a slice
REPORTED = 3  # the alternatives of a report, unless it is told otherwise
LONGEST = 100_000  # characters of one argument; Linux takes 128 KiB
WIDTH = 88  # of a line of Python
WRITTEN = (  # what the repr of a method consists of; a file may hold anything, and nobody is to copy that
    ast.Call, ast.Name, ast.Load, ast.keyword, ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Set, ast.UnaryOp,
    ast.USub,
)  # fmt: skip
UNKNOWN = "The result does not hold what was asked, so how to make it again cannot be told."


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a result is made again.

    `command` is for a POSIX shell, and `python` are the lines of a program; each is empty where there is none. `notes`
    are sentences about both: what has to be put in, and why one is missing.
    """

    command: str
    python: str
    notes: tuple[str, ...]


def recipe_of(result: Attribution | Comparison, command: str | None = None) -> Recipe:
    """How a result is made again.

    Args:
        result: an attribution, or the comparison of several.
        command: "report" for the command that writes a report about the result, in place of the result.
    """
    attributions = result.attributions if isinstance(result, Comparison) else (result,)
    provenances = [attribution.provenance for attribution in attributions]
    request = provenances[0].request
    if not request or not _is_list(request.get(UNRECORDED, []), str) or not _is_list(request.get(ROWS, []), int):
        return Recipe("", "", (UNKNOWN,))
    if any(provenance.request != request for provenance in provenances):
        return Recipe("", "", ("The heatmaps were not made by one command: each result holds its own.",))
    notes = list(_notes(provenances[0]))
    line = ""
    try:
        line = _command(provenances, command)
    except Inexpressible as reason:
        notes.append(f"No command line: {reason}.")
    return Recipe(line, _python(provenances), tuple(notes))


def _is_list(value: Any, kind: type) -> bool:
    """Whether it is a list of numbers, or of names: a file may hold anything."""
    return isinstance(value, list) and all(type(each) is kind for each in value) and all(map(_is_name, value))


def _is_name(value: Any) -> bool:
    return not isinstance(value, str) or value.isidentifier()


def _notes(provenance: Provenance) -> Iterator[str]:
    unrecorded, rows = provenance.request.get(UNRECORDED), provenance.request.get(ROWS)
    if unrecorded:
        yield f"Not held in the result, and to be put in: {', '.join(unrecorded)}."
    if rows:
        yield f"The result is rows {', '.join(map(str, rows))} (0 is the first) of what this makes."


# The command


def _command(provenances: Sequence[Provenance], name: str | None) -> str:
    request = provenances[0].request
    if unrecorded := request.get(UNRECORDED):
        raise Inexpressible(f"{', '.join(unrecorded)} cannot be said in one")
    direct = _direct(provenances)
    if name is None:
        name = "attribute" if len(direct) == 1 else "compare"
    pipe, prompt = _prompt_of(request)
    words = ["tokensal", name, *prompt, *_flags(request, name), *_method_flags(direct, name)]
    if name == "report":
        words += ["-o", "report.html"]
    elif any(provenance.credit != DIRECT for provenance in provenances):
        words.append("--trace")
    if prompt and str(request.get("prompt")).startswith("-"):  # no flag
        words = [*words[:2], *words[3:], "--", words[2]]
    return pipe + " ".join(words)


def _direct(provenances: Sequence[Provenance]) -> list[Provenance]:
    """The methods, each once: traced credit is shown beside the direct one."""
    if any(provenance.credit not in (DIRECT, "through the answer") for provenance in provenances):
        raise Inexpressible("it has no way to limit the hops of traced credit")
    direct = {provenance.method_repr: provenance for provenance in provenances}
    names = [provenance.method for provenance in direct.values()]
    if len(set(names)) < len(names):
        raise Inexpressible("it takes each method once")
    return list(direct.values())


def _prompt_of(request: Mapping[str, Any]) -> tuple[str, list[str]]:
    """What is piped into the command, and the arguments that are the prompt or the chat."""
    prompt, messages = request.get("prompt"), request.get("messages")
    if isinstance(prompt, str):
        if prompt == "-" or len(prompt) > LONGEST:
            return printed(f"{prompt}\n"), []
        return "", [quoted(prompt)]
    if not isinstance(messages, list):
        raise Inexpressible("it takes a prompt as text, and not as token ids")
    template = _pairs("--template", request.get("template"))
    contents = _plain_chat(messages)
    if contents is None:
        import json

        text = json.dumps(messages, ensure_ascii=True)
        return printed(text), ["--messages", "/dev/stdin", *template]
    system = [] if len(contents) == 1 else ["--system", quoted(contents[0])]
    return "", [quoted(contents[-1]), "--chat", *system, *template]


def _plain_chat(messages: Sequence[Any]) -> list[str] | None:
    """The contents of a user's message, and perhaps a system message before it; None of any other chat."""
    roles = [message.get("role") if isinstance(message, Mapping) else None for message in messages]
    if roles not in (["user"], ["system", "user"]) or any(set(message) != {"role", "content"} for message in messages):
        return None
    contents = [message["content"] for message in messages]
    fits = all(isinstance(content, str) and content and content != "-" for content in contents)
    return contents if fits and not contents[-1].startswith("-") and len(contents[-1]) <= LONGEST else None


def _flags(request: Mapping[str, Any], name: str) -> Iterator[str]:
    for option in (*LOADING, *ASKED):
        value = request.get(option)
        if option == "alternatives" and name == "report":
            value = None if value == REPORTED else value or 0
        if value is not None:
            yield from flag(option, value)


def _method_flags(direct: Sequence[Provenance], name: str) -> Iterator[str]:
    several = name != "attribute"
    if several:
        yield from ("--methods", quoted(",".join(provenance.method for provenance in direct)))
    else:
        yield from ("--method", quoted(direct[0].method))
    for provenance in direct:
        prefix = f"{provenance.method}." if several else ""
        for option, value in _values(provenance).items():
            yield from ("--option", quoted(prefix + setting(option, value)))


def _values(provenance: Provenance) -> dict[str, Any]:
    """The options of the method that differ from its defaults."""
    if not provenance.options:
        return {}
    keywords = {each.arg: each.value for each in _call(provenance).keywords if each.arg}
    values = {}
    for name in provenance.options:
        try:
            values[name] = ast.literal_eval(keywords[name])
        except (KeyError, ValueError) as error:
            raise Inexpressible(f"option {name} of {provenance.method} is no plain value") from error
    return values


def _pairs(name: str, table: Any) -> list[str]:
    return list(flag(name.removeprefix("--"), table)) if table else []


def _call(provenance: Provenance) -> ast.Call:
    with suppress(SyntaxError, ValueError, RecursionError):
        tree = ast.parse(provenance.method_repr, mode="eval").body
        nodes = list(ast.walk(tree))
        classes = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        written = all(isinstance(node, WRITTEN) for node in nodes) and all(name[0].isupper() for name in names)
        if isinstance(tree, ast.Call) and written and names == classes:
            return tree
    raise Inexpressible(f"the options of {provenance.method} are not known")


# The lines of Python


class _Qualified(ast.NodeTransformer):
    """`GradCAM(layers='all')` as `tokensal.GradCAM(layers='all')`, also inside another method."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name):
            module = ast.Name("tokensal", ast.Load())
            node.func = ast.Attribute(module, node.func.id, ast.Load())
        return node


def _python(provenances: Sequence[Provenance]) -> str:
    request = provenances[0].request
    unrecorded = request.get(UNRECORDED, ())
    loading = [f"{name}={request[name]!r}" for name in LOADING[1:] if name in request]
    if "model" in unrecorded:
        model = "tokensal.adapt(model, tokenizer)  # the model and the tokenizer that were explained"
    else:
        model = _written("tokensal.load", [*([repr(request["model"])] if "model" in request else []), *loading])
    methods = list(dict.fromkeys(_method(provenance) for provenance in provenances))
    several = len(methods) > 1
    arguments = ["model", *(repr(request[name]) for name in PROMPTS[:1] if name in request)]
    arguments += [f"{name}={request[name]!r}" for name in PROMPTS[1:] if name in request]
    arguments += [f"methods=[{', '.join(methods)}]" if several else f"method={methods[0]}"]
    arguments += [f"{name}={request[name]!r}" for name in ASKED if name in request]
    arguments += [f"{name}={name}" for name in unrecorded if name != "model"]
    lines = [
        "import tokensal", "", f"model = {model}",
        f"result = {_written('tokensal.compare' if several else 'tokensal.attribute', arguments)}",
        *_traced(provenances, several),
    ]  # fmt: skip
    return "\n".join(lines)


def _method(provenance: Provenance) -> str:
    """A method as Python writes it, with the options that differ from its defaults."""
    if not provenance.options:
        return repr(provenance.method)
    try:
        call = _call(provenance)
    except Inexpressible:
        return repr(provenance.method)
    call.keywords = [each for each in call.keywords if each.arg in provenance.options]
    return ast.unparse(_Qualified().visit(call))


def _traced(provenances: Sequence[Provenance], several: bool) -> Iterator[str]:
    """What passes credit on, where some of it is traced."""
    credits = [provenance.credit for provenance in provenances]
    if set(credits) == {DIRECT}:
        return
    hops = credits[0].removeprefix("through the answer").strip(", hops")
    call = f".traced({f'hops={hops}' if hops.isdecimal() else ''})"
    if len(credits) == 1:
        yield f"result = result{call}"
    elif not hops:
        of = "result.attributions" if several else "[result]"
        yield f"result = tokensal.Comparison.of_traced({of})"


def _written(function: str, arguments: Sequence[str]) -> str:
    """A call, in one line or with a line for each argument."""
    line = f"{function}({', '.join(arguments)})"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{function}(", *(f"    {argument}," for argument in arguments), ")"])
