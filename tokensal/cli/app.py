"""The command line: `tokensal attribute`, `tokensal compare`, `tokensal methods`.

Data goes to stdout, talk and progress to stderr. Exit codes: 0; 2 for anything the user can put right, with one
sentence and no traceback; 1 for a bug. Heavy imports wait until a command runs, so that help is instant.
"""

from __future__ import annotations

import logging
import signal
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

import tokensal
from tokensal.errors import InputError, TokensalError

if TYPE_CHECKING:
    from tokensal.adapters import ModelAdapter
    from tokensal.cli.progress import Stage
    from tokensal.config import Settings
    from tokensal.results.attribution import Attribution
    from tokensal.results.comparison import Comparison

Result = TypeVar("Result", "Attribution", "Comparison")

app = typer.Typer(
    help="Which words did a language model's answer come from?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


# The flags that commands share, each written once.
Prompt = Annotated[str | None, typer.Argument(help="The prompt; left out or '-': read from standard input.")]
PromptFile = Annotated[Path | None, typer.Option(help="Read the prompt from a file.")]
Config = Annotated[Path | None, typer.Option(help="TOML file of settings; flags go before it.")]
Model = Annotated[
    str | None, typer.Option(help="Hub id, folder, .gguf file, or dates. Default: SmolLM2-135M-Instruct.")
]
Score = Annotated[str | None, typer.Option(help="logprob, logit, prob or entropy. Default: logprob.")]
Explain = Annotated[str | None, typer.Option(help="Explain the answer, the prompt, or all. Default: answer.")]
Targets = Annotated[
    list[str] | None,
    typer.Option(help="Explain each token, word, sentence, the output, text:…, regex:… or start:stop; repeatable."),
]
Contrast = Annotated[str | None, typer.Option(help="Explain why the answer is not this text.")]
Unit = Annotated[
    str | None, typer.Option(help="Credit each token, word, sentence, line, message, or marked [[…]]. Default: token.")
]
Sources = Annotated[
    str | None, typer.Option(metavar="ROLE,…", help="Credit only these, such as user,generated. Default: all.")
]
Alternatives = Annotated[
    int | None, typer.Option("--top-k-alternatives", metavar="K", help="Show what else the model considered.")
]
Continuation = Annotated[str | None, typer.Option(help="Explain this text instead of generating one.")]
MaxNewTokens = Annotated[int | None, typer.Option(help="Generate at most so many tokens. Default: 20.")]
Generation = Annotated[
    list[str] | None, typer.Option(metavar="KEY=VALUE", help="Option of generate, such as do_sample=true; repeatable.")
]
Seed = Annotated[int | None, typer.Option(help="Seed for sampling.")]
Chat = Annotated[bool | None, typer.Option("--chat/--raw", help="Use the model's chat template. Default: raw.")]
System = Annotated[str | None, typer.Option(help="System message; implies --chat.")]
Dtype = Annotated[str | None, typer.Option(help="float32, bfloat16, float16 or float64. Default: as stored.")]
Device = Annotated[str | None, typer.Option(help="Such as cpu or cuda:1. Default: the accelerator, if any.")]
DeviceMap = Annotated[str | None, typer.Option(help="Spread over devices by accelerate, such as auto.")]
Attention = Annotated[str | None, typer.Option(help="Attention implementation, such as sdpa or eager.")]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit on the hub.")]
TrustRemoteCode = Annotated[
    bool | None, typer.Option("--trust-remote-code", help="Let a hub repository run its own code.")
]
Output = Annotated[
    list[str] | None, typer.Option("--output", "-o", metavar="FILE", help=".html, .json or .txt; repeatable.")
]
Sink = Annotated[bool | None, typer.Option("--sink", help="Count the first token into scales and ranks.")]
Quiet = Annotated[bool | None, typer.Option("--quiet", "-q", help="No talk and no progress on stderr.")]


def main() -> None:
    """The entry point of the `tokensal` command."""
    app()


@contextmanager
def _one_sentence() -> Iterator[None]:
    """What the user can put right ends in one sentence and exit code 2."""
    try:
        yield
    except TokensalError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("Interrupted: nothing further was written.")


def _fail(sentence: str) -> None:
    print(f"tokensal: {sentence}", file=sys.stderr)
    raise SystemExit(2)


def _version(asked: bool) -> None:
    if asked:
        print(f"tokensal {tokensal.__version__}")
        raise typer.Exit


@app.callback()
def _tokensal(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
def methods() -> None:
    """List the methods: what each does, and the paper it comes from."""
    from tokensal.methods import METHODS

    for name, entry in METHODS.items():
        print(f"{name:18}{entry.line}\n{'':18}{entry.paper}")


@app.command()
def attribute(
    prompt: Prompt = None,
    prompt_file: PromptFile = None,
    config: Config = None,
    model: Model = None,
    method: Annotated[str | None, typer.Option(help="See 'tokensal methods'. Default: gradient.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Option of the method, such as norm=l1; repeatable.")
    ] = None,
    score: Score = None,
    explain: Explain = None,
    targets: Targets = None,
    contrast: Contrast = None,
    unit: Unit = None,
    sources: Sources = None,
    alternatives: Alternatives = None,
    continuation: Continuation = None,
    max_new_tokens: MaxNewTokens = None,
    generation: Generation = None,
    seed: Seed = None,
    chat: Chat = None,
    system: System = None,
    dtype: Dtype = None,
    device: Device = None,
    device_map: DeviceMap = None,
    attention: Attention = None,
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = None,
    output: Output = None,
    matrix: Annotated[bool | None, typer.Option("--matrix", help="Show the full table too.")] = None,
    sink: Sink = None,
    quiet: Quiet = None,
) -> None:
    """Explain each token of the model's answer by the tokens before it, as a heatmap."""
    given = locals()
    with _one_sentence():
        from tokensal.config import AttributeSettings, method_of, resolve

        settings = resolve(AttributeSettings, _flags(given, options=_pairs(option)), config)
        text = _prompt(prompt, prompt_file)
        result = run(settings, text, tokensal.attribute, method=method_of(settings))
        result.show(matrix=settings.matrix, sink=settings.sink)


@app.command()
def compare(
    prompt: Prompt = None,
    prompt_file: PromptFile = None,
    config: Config = None,
    model: Model = None,
    methods: Annotated[
        str | None,
        typer.Option(metavar="NAME,NAME,…", help="Two or more, see 'tokensal methods'. Default: four of them."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="METHOD.KEY=VALUE", help="Option of a method, such as gradient.norm=l1; repeatable."),
    ] = None,
    score: Score = None,
    explain: Explain = None,
    targets: Targets = None,
    contrast: Contrast = None,
    unit: Unit = None,
    sources: Sources = None,
    alternatives: Alternatives = None,
    continuation: Continuation = None,
    max_new_tokens: MaxNewTokens = None,
    generation: Generation = None,
    seed: Seed = None,
    chat: Chat = None,
    system: System = None,
    dtype: Dtype = None,
    device: Device = None,
    device_map: DeviceMap = None,
    attention: Attention = None,
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = None,
    output: Output = None,
    sink: Sink = None,
    quiet: Quiet = None,
) -> None:
    """Explain one answer by several methods: a heatmap for each, and how far their rankings agree."""
    given = locals()
    with _one_sentence():
        from tokensal.config import CompareSettings, methods_of, resolve

        flags = _flags(given, options=_by_method(_pairs(option)), methods=_names(methods))
        settings = resolve(CompareSettings, flags, config)
        text = _prompt(prompt, prompt_file)
        result = run(settings, text, tokensal.compare, methods=methods_of(settings))
        result.show(sink=settings.sink)


def _flags(given: dict[str, Any], **read: Any) -> dict[str, Any]:
    """The flags of a command as settings; `read` are those that had to be read first."""
    read["generation"] = _pairs(given["generation"])
    read["output"] = tuple(given["output"]) if given["output"] else None
    read["targets"] = tuple(given["targets"]) if given["targets"] else None
    read["sources"] = _names(given["sources"])
    read["chat"] = True if given["system"] and given["chat"] is None else given["chat"]
    return {name: given[name] for name in given if name not in ("prompt", "prompt_file", "config", "option")} | read


def _names(text: str | None) -> tuple[str, ...] | None:
    """What stands between commas."""
    return None if text is None else tuple(name.strip() for name in text.split(",") if name.strip())


def run(settings: Settings, prompt: str, explain: Callable[..., Result], **chosen: Any) -> Result:
    """Explain and save, once everything is settled; outputs are checked before the work starts."""
    from tokensal import render
    from tokensal.cli.progress import stages
    from tokensal.config import check

    check(settings, prompt)
    paths = [render.check(path) for path in settings.output]
    with stages(quiet=settings.quiet) as stage:
        result = _explained(settings, prompt, stage, explain, chosen)
    for path in paths:  # before showing: a reader that stops reading, as `head` does, must not cost the files
        result.save(path, sink=settings.sink)
        if not settings.quiet:
            print(f"Wrote {path}", file=sys.stderr)
    _let_pipes_close()
    return result


def _let_pipes_close() -> None:
    # From here on only stdout is written: end quietly, as any filter does, when nobody reads it any more.
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def _explained(
    settings: Settings, prompt: str, stage: Stage, explain: Callable[..., Result], chosen: dict[str, Any]
) -> Result:
    from tokensal.config import as_dict

    stage("loading the model")
    model = _load(settings)
    stage("generating" if settings.continuation is None and settings.explain != "prompt" else "reading")
    asked = {"messages": _messages(settings, prompt)} if settings.chat else {"prompt": prompt}
    return explain(
        model,
        **asked,
        **chosen,
        continuation=settings.continuation,
        score=settings.score,
        explain=settings.explain,
        targets=settings.targets if len(settings.targets) > 1 else settings.targets[0],
        contrast=settings.contrast,
        unit=settings.unit,
        sources=settings.sources,
        alternatives=settings.alternatives,
        max_new_tokens=settings.max_new_tokens,
        generation=settings.generation,
        seed=settings.seed,
        progress=lambda done, total: stage("attributing", done, total),
        config=as_dict(settings),
    )


def _load(settings: Settings) -> ModelAdapter:
    from tokensal.adapters import load

    logging.getLogger("tokensal").setLevel(logging.WARNING if settings.quiet else logging.INFO)
    _hush_libraries()
    return load(
        settings.model,
        dtype=settings.dtype,
        device=settings.device,
        device_map=settings.device_map,
        attention=settings.attention,
        revision=settings.revision,
        trust_remote_code=settings.trust_remote_code,
    )


def _hush_libraries() -> None:
    # In a process of our own; a user's process is never touched. Errors are said in our own sentences.
    from huggingface_hub.utils import logging as hub
    from transformers.utils import logging as chatter

    hub.set_verbosity_error()  # type: ignore[no-untyped-call]
    chatter.set_verbosity_error()
    chatter.disable_progress_bar()


def _messages(settings: Settings, prompt: str) -> list[dict[str, str]]:
    system = [] if settings.system is None else [{"role": "system", "content": settings.system}]
    return [*system, {"role": "user", "content": prompt}]


def _prompt(prompt: str | None, file: Path | None) -> str:
    if prompt is not None and file is not None:
        raise InputError("Give the prompt as an argument or as a file, and not both.")
    if file is not None:
        try:
            return file.read_text(encoding="utf-8").removesuffix("\n")
        except OSError as error:
            raise InputError(f"Cannot read prompt file {str(file)!r}: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise InputError(f"Prompt file {str(file)!r} is not UTF-8 text: {error.reason}.") from error
    if prompt is None and sys.stdin.isatty():
        raise InputError("There is no prompt: give one as an argument, with --prompt-file, or on standard input.")
    return sys.stdin.read().removesuffix("\n") if prompt in (None, "-") else prompt


def _pairs(given: list[str] | None) -> dict[str, Any] | None:
    """KEY=VALUE arguments as a table; a value is read as TOML where it is TOML, else as a string."""
    if not given:
        return None
    pairs = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"An option should be KEY=VALUE, but is {text!r}.")
        try:
            pairs[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            pairs[key] = value
    return pairs


def _by_method(pairs: dict[str, Any] | None) -> dict[str, dict[str, Any]] | None:
    """METHOD.KEY pairs as a table of options for each method."""
    tables: dict[str, dict[str, Any]] = {}
    for name, value in (pairs or {}).items():
        method, dot, key = name.partition(".")
        if not dot:
            raise InputError(f"An option should be METHOD.KEY=VALUE, as in gradient.norm=l1, but is {name}=….")
        tables.setdefault(method, {})[key] = value
    return tables or None


if __name__ == "__main__":
    main()
