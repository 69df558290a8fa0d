"""Settings of the commands: defaults < a TOML file < flags, resolved once and stored with the result."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokensal.drawing import FORMATS, Drawing
from tokensal.errors import InputError, unknown
from tokensal.options import COMPARED, EVALUATED, MEASURED, Generation, Loading, Measuring, option, options_of
from tokensal.questions.question import Question
from tokensal.run_options import Generating, Reading, Running

Settings = dict[str, Any]  # the value of every option of a command, as plain data
REPORTED = ("lrp", "gim", "attention_grad_cam", "occlusion")  # each looks at something else
DEFAULTS_OF_REPORT = {"methods": list(REPORTED), "alternatives": 3}  # in place of those of `compare`
STDOUT = "-"  # as an output
LARGEST = 10_000_000  # bytes of a text that is read; more is a mistake, such as a model or an endless device


CHECK = "Measure the map, too: whether it is better than chance when text is masked, and another for another target."


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The method, and its options."""

    method: str = option("lrp", "How it is explained: see 'tokensal methods'.")
    options: Mapping[str, Any] | None = option(
        None, "Option of the method, such as rule=attn.", kind=dict, flag="--option", metavar="KEY=VALUE"
    )

    check: bool = option(False, CHECK)

    def arguments(self) -> dict[str, Any]:
        """The method, and whether its map is measured, as arguments of `attribute`.

        Raises:
            InputError: an unknown method or option.
        """
        from tokensal.methods import build

        return {"method": build(self.method, self.options), "check": self.check}


@dataclass(frozen=True, kw_only=True)
class Explanations:
    """The methods of a comparison, each with its own options."""

    methods: Sequence[str] = option(
        COMPARED, "How it is explained, by two or more: see 'tokensal methods'.",
        kind=list, metavar="NAME,NAME,…", commas=True,
    )  # fmt: skip
    options: Mapping[str, Any] | None = option(
        None, "Option of a method, such as gradient.norm=l1.", kind=dict, flag="--option", metavar="METHOD.KEY=VALUE"
    )

    check: bool = option(False, CHECK)

    def arguments(self) -> dict[str, Any]:
        """The methods, and whether their maps are measured, as arguments of `compare`.

        Raises:
            InputError: an unknown method or option, fewer than two methods, the same one twice, or options of a method
                that is not compared.
        """
        from tokensal.api import build_several
        from tokensal.methods import build, canonical_name

        names = [canonical_name(name) for name in self.methods]
        tables = _tables("method", self.options, self.methods, canonical_name, "gradient.norm=l1", "compared")
        return {"check": self.check, "methods": build_several(build(name, tables.get(name)) for name in names)}


@dataclass(frozen=True, kw_only=True)
class Reporting(Explanations):
    """The methods of a report."""

    methods: Sequence[str] = option(
        REPORTED, "How it is explained, by two or more: see 'tokensal methods'.",
        kind=list, metavar="NAME,NAME,…", commas=True,
    )  # fmt: skip


def _tables(
    kind: str, options: Mapping[str, Any] | None, named: Sequence[str], canonical: Callable[[str], str], example: str,
    used: str,
) -> dict[str, Mapping[str, Any]]:  # fmt: skip
    """The options of methods or metrics by their names, each of one that is named.

    Raises:
        InputError: options that are no table, or of one that is not used.
    """
    names, tables = [canonical(name) for name in named], dict[str, Mapping[str, Any]]()
    for name, table in (options or {}).items():
        if not isinstance(table, Mapping):
            raise InputError(
                f"The options of {name!r} should be a table, but are {table!r}; as flags, they should be "
                f"{kind.upper()}.KEY=VALUE, such as {example}."
            )
        if canonical(name) not in names:
            raise InputError(
                f"There are options for {kind} {name!r}, but {used} are only {', '.join(named)}: add it, or drop them."
            )
        tables[canonical(name)] = table
    return tables


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """The methods that are evaluated and the metrics that measure them, each with its own options."""

    methods: Sequence[str] = option(
        EVALUATED, "What is evaluated, beside the baselines: see 'tokensal methods'.",
        kind=list, metavar="NAME,NAME,…", commas=True,
    )  # fmt: skip
    options: Mapping[str, Any] | None = option(
        None, "Option of a method, such as lrp.rule=attn.", kind=dict, flag="--option", metavar="METHOD.KEY=VALUE"
    )
    metrics: Sequence[str] = option(
        MEASURED, "How it is measured: see 'tokensal metrics'.", kind=list, metavar="NAME,NAME,…", commas=True
    )
    metric_options: Mapping[str, Any] | None = option(
        None, "Option of a metric, such as abpc.steps=10.", kind=dict, flag="--metric-option",
        metavar="METRIC.KEY=VALUE",
    )  # fmt: skip
    replacements: Sequence[str] = option(
        ("mask",), "What 'absent' means in metrics that take units away: mask, delete, mean and others; each of these "
        "metrics is measured for each.",
        kind=list, metavar="NAME,NAME,…", commas=True,
    )  # fmt: skip

    def arguments(self) -> dict[str, Any]:
        """The methods and the metrics, as arguments of `evaluate`.

        Raises:
            InputError: an unknown method, metric or option, the same one twice, or options of one that is not used.
        """
        from tokensal.evaluation.building import build_metrics, named_methods, named_metrics
        from tokensal.methods import build, canonical_name

        tables = _tables("method", self.options, self.methods, canonical_name, "lrp.rule=attn", "evaluated")
        methods = [build(name, tables.get(name)) for name in map(canonical_name, self.methods)]
        tables = _tables("metric", self.metric_options, self.metrics, str, "abpc.steps=10", "measured")
        metrics = build_metrics(self.metrics, tables, self.replacements)
        named_methods(methods)  # what is wrong with their names is told now
        named_metrics(metrics, self.replacements)
        return {"methods": methods, "metrics": metrics}


@dataclass(frozen=True, kw_only=True)
class Explained:
    """The methods that explain each example of a data set, each with its own options."""

    methods: Sequence[str] = option(
        ("lrp",), "How each is explained, by one or more: see 'tokensal methods'.",
        kind=list, metavar="NAME,NAME,…", commas=True,
    )  # fmt: skip
    options: Mapping[str, Any] | None = option(
        None, "Option of a method, such as lrp.rule=attn.", kind=dict, flag="--option", metavar="METHOD.KEY=VALUE"
    )

    def arguments(self) -> dict[str, Any]:
        """The methods, as an argument of `run`.

        Raises:
            InputError: an unknown method or option, or options of a method that is not named.
        """
        from tokensal.methods import build, canonical_name

        names = [canonical_name(name) for name in self.methods]
        tables = _tables("method", self.options, self.methods, canonical_name, "lrp.rule=attn", "run")
        return {"methods": [build(name, tables.get(name)) for name in names]}


@dataclass(frozen=True, kw_only=True)
class Chat:
    """Whether the prompt is a message of a chat, or a file holds all of its messages.

    Raises:
        InputError: a system message, or an argument of the template, without a chat; or a prompt beside messages.
    """

    chat: bool = option(False, "Put the prompt through the model's chat template.", flag="--chat/--raw")
    system: str | None = option(None, "A system message; the flag implies --chat.")

    messages: str | None = option(
        None, "Read a chat of several turns from a JSON file instead of a prompt: a list of {\"role\", \"content\"}.",
        metavar="FILE",
    )  # fmt: skip
    template: Mapping[str, Any] | None = option(
        None, "Argument of the chat template, such as enable_thinking=false; the flag implies --chat.",
        kind=dict, metavar="KEY=VALUE",
    )  # fmt: skip

    def __post_init__(self) -> None:
        if self.system is not None and (self.messages is not None or not self.chat):
            raise InputError(
                "A system message needs a prompt and the chat template: use --chat, or leave --system out; "
                "of --messages, it is the first one in the file."
            )
        if self.template and self.messages is None and not self.chat:
            raise InputError("Arguments of the chat template need a chat: use --chat, or leave --template out.")

    def arguments(self, prompt: str | None) -> dict[str, Any]:
        """The prompt as arguments of `attribute`: messages and what the template needs, or a plain one."""
        if self.messages is not None:
            return {"messages": _json(Path(self.messages)), "template": self.template}
        if not self.chat:
            return {"prompt": prompt}
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return {"messages": [*system, {"role": "user", "content": prompt}], "template": self.template}


def _json(file: Path) -> Any:
    try:
        return json.loads(read_text(file, "messages"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"Messages {str(file)!r} are not valid JSON: {error}.") from error


@dataclass(frozen=True, kw_only=True)
class Output:
    """What is shown, and where it is written.

    Raises:
        InputError: standard output without a format, or a format without an output.
    """

    output: Sequence[str] = option(
        (), f"Write a file, in the format of its suffix: {', '.join(FORMATS)}; or '-', standard output, in place of "
        "the heatmap.",
        kind=list, flag="--output -o", metavar="FILE",
    )  # fmt: skip
    format: str | None = option(
        None, "The format of all outputs, whatever their suffix: a suffix without its dot.", metavar="NAME"
    )
    trace: bool = option(
        False, "Also show the credit through the answer, before the direct one: what went to the answer's own tokens "
        "is passed on to what these came from.",
    )  # fmt: skip
    quiet: bool = option(False, "No messages and no progress on stderr.", flag="--quiet -q")

    def __post_init__(self) -> None:
        if STDOUT in self.output and self.format is None:
            raise InputError("Output '-', standard output, has no suffix: name its format, such as --format json.")
        if self.format is not None and not self.output:
            raise InputError(f"Format {self.format!r} is for outputs, but there are none: add '-o FILE', or '-o -'.")


def require_traceable(question: Question) -> None:
    """Refuse a question whose answer cannot be traced, as far as that is known before the answer is.

    Raises:
        InputError: no answer is explained, or it is contrasted, or its units are no targets.
    """
    if question.explain == "prompt" or question.contrast is not None:
        raise InputError("--trace passes credit on through an answer: leave --explain prompt and --contrast out.")
    unit = "token" if question.unit == "marked" else question.unit
    targets = [question.targets] if isinstance(question.targets, str) else question.targets
    if unit in ("token", "word", "sentence") and isinstance(targets, Sequence) and unit not in targets:
        raise InputError(
            f"--trace passes on the credit of each {unit} of the answer, which has to be a target then: add "
            f"--targets {unit}, or choose another --unit."
        )


# The groups of options that each command takes; its name is also that of its table in a configuration file.
EXPLANATIONS: Mapping[str, type[Explanation | Explanations]] = {"attribute": Explanation, "compare": Explanations}
COMMANDS: Mapping[str, tuple[type, ...]] = {
    command: (explanation, Question, Generation, Chat, Loading, Output, Drawing)
    for command, explanation in EXPLANATIONS.items()
} | {
    "evaluate": (Evaluated, Measuring, Loading, Output, Drawing),
    "run": (Running, Explained, Question, Generating, Reading, Loading),
}


def resolve(
    command: str, flags: Mapping[str, Any], file: Path | None = None, defaults: Mapping[str, Any] | None = None
) -> Settings:
    """Lay a configuration file over the defaults, and the flags that are not None over both.

    Args:
        command: whose options and table of the file these are.
        flags: the values of options, by name.
        file: the configuration.
        defaults: those that differ from the defaults of the command.

    Raises:
        InputError: an unreadable file, an unknown key (the nearest one is offered), or a value of the wrong type.
    """
    options = options_of(*COMMANDS[command])
    settings = {name: _plain(each.default, each.kind) for name, each in options.items()} | dict(defaults or {})
    if file is not None:
        table = _table(file, command)
        for name, value in table.items():
            if name not in options:
                raise unknown(f"key in configuration {str(file)!r}:", name, options)
            _require_kind(value, options[name].kind, f"Configuration {str(file)!r}: {name}")
        settings |= table
    return settings | {name: value for name, value in flags.items() if value is not None}


def _plain(default: Any, kind: type) -> Any:
    """A default as it would be written in a file."""
    if kind is not list or default is None:
        return default
    return [default] if isinstance(default, str) else list(default)


def read_text(file: Path, kind: str) -> str:
    """The text of a file, which is a "configuration" or whatever its kind is.

    Raises:
        InputError: it cannot be read, or as for `decode`.
    """
    name = f"{kind} {str(file)!r}"
    try:
        with file.open("rb") as stream:
            return decode(stream.read(LARGEST + 1), name)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise InputError(f"Cannot read {name}: {getattr(error, 'strerror', None) or error}.") from error


def decode(data: bytes, name: str) -> str:
    """The text in UTF-8 bytes, without a byte order mark, its lines ended by line feeds alone.

    Raises:
        InputError: too many bytes, or none of a text.
    """
    name = name[0].upper() + name[1:]
    if len(data) > LARGEST:
        raise InputError(f"{name} is larger than {LARGEST // 1_000_000} MB, the most that is read: shorten it.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name} is not UTF-8 text: {error.reason} (0x{data[error.start]:02x} at byte {error.start}); "
            "save it in this encoding."
        ) from error
    if "\0" in text:
        raise InputError(f"{name} is not text: it has a NUL character, as binary files do.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _table(file: Path, command: str) -> dict[str, Any]:
    try:
        data = tomllib.loads(read_text(file, "configuration"))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"Configuration {str(file)!r} is not valid TOML: {error}.") from error
    for name in data:
        if name not in COMMANDS:
            raise unknown(f"table in configuration {str(file)!r}:", name, COMMANDS)
    table = data.get(command, {})
    if not isinstance(table, dict):
        raise InputError(f"Configuration {str(file)!r}: {command} should be a table, as in [{command}].")
    return table


KINDS = {
    str: "a string",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    dict: "a table",
    list: "a list of strings",
}


def _require_kind(value: object, kind: type, name: str) -> None:
    fits = type(value) in ((int, float) if kind is float else (kind,))  # a bool is no number
    if not fits or (isinstance(value, list) and not all(isinstance(item, str) for item in value)):
        raise InputError(f"{name} should be {KINDS[kind]}, but is {value!r} ({type(value).__name__}).")
