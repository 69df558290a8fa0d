"""The command line: `tokensal attribute`, `tokensal compare`, `tokensal methods`.

Data goes to stdout, messages and progress to stderr. Exit codes: 0; 2 for anything the user can put right, with one
sentence and no traceback; 1 for a bug. Heavy imports wait until a command runs, so that help is instant.
"""

from __future__ import annotations

import inspect
import logging
import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

import tokensal
from tokensal.cli.flags import flags_of, read_flags
from tokensal.config import EXPLANATIONS, Chat, Output, Settings, resolve
from tokensal.errors import InputError, TokensalError
from tokensal.options import Generation, Loading, build, values_of
from tokensal.questions.question import Question

if TYPE_CHECKING:
    from tokensal.adapters import ModelAdapter

Function = Callable[..., None]

app = typer.Typer(
    help="Which words did a language model's answer come from?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Prompt = Annotated[str | None, typer.Argument(help="The prompt; left out or '-': read from standard input.")]
PromptFile = Annotated[Path | None, typer.Option(help="Read the prompt from a file.")]
ConfigFile = Annotated[Path | None, typer.Option(help="TOML file of settings; flags go before it.")]


def main() -> None:
    """The entry point of the `tokensal` command."""
    app()


def takes_flags(function: Function) -> Function:
    """Register a function as the command of its name, which takes the flags of that command as keywords.

    What the user can put right ends in one sentence and exit code 2.
    """
    signature, annotations = inspect.signature(function), get_type_hints(function, include_extras=True)
    own = [
        parameter.replace(annotation=annotations[name])
        for name, parameter in signature.parameters.items()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    parameters = [*own, *flags_of(function.__name__)]

    @wraps(function)
    def command(**arguments: Any) -> None:
        try:
            function(**arguments)
        except TokensalError as error:
            _fail(str(error))
        except KeyboardInterrupt:
            _fail("Interrupted: nothing further was written.")

    command.__signature__ = signature.replace(parameters=parameters, return_annotation=None)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    app.command()(command)
    return command


def _fail(sentence: str) -> None:
    print(f"tokensal: {sentence}", file=sys.stderr)
    raise SystemExit(2)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"tokensal {tokensal.__version__}")
        raise typer.Exit


@app.callback()
def _tokensal(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
def methods() -> None:
    """List the methods: what each does, and the paper it comes from."""
    from tokensal.methods import METHODS

    for name, method in METHODS.items():
        print(f"{name:22}{method.summary}\n{'':22}{method.paper}")


@takes_flags
def attribute(prompt: Prompt = None, prompt_file: PromptFile = None, config: ConfigFile = None, **flags: Any) -> None:
    """Explain each token of the model's answer by the tokens before it, as a heatmap."""
    settings = resolve("attribute", read_flags("attribute", flags), config)
    _run("attribute", settings, _prompt(prompt, prompt_file))


@takes_flags
def compare(prompt: Prompt = None, prompt_file: PromptFile = None, config: ConfigFile = None, **flags: Any) -> None:
    """Explain one answer by several methods: a heatmap for each, and how far their rankings agree."""
    settings = resolve("compare", read_flags("compare", flags), config)
    _run("compare", settings, _prompt(prompt, prompt_file))


def _prompt(prompt: str | None, file: Path | None) -> str:
    if prompt is not None and file is not None:
        raise InputError("Give the prompt as an argument or as a file, and not both.")
    if prompt is None and file is None and sys.stdin.isatty():
        raise InputError("There is no prompt: give one as an argument, with --prompt-file, or on standard input.")
    text = _content(file) if file else sys.stdin.read() if prompt in (None, "-") else prompt
    if prompt in (None, "-"):
        text = text.removesuffix("\n")
    if not text:
        raise InputError("The prompt is empty: give it at least one token of text.")
    return text


def _content(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"Cannot read prompt file {str(file)!r}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"Prompt file {str(file)!r} is not UTF-8 text: {error.reason}.") from error


def _run(command: str, settings: Settings, prompt: str) -> None:
    """Explain, save and show. What can be refused is refused before a model is loaded; first, what needs no torch."""
    question, generation = build(Question, settings), build(Generation, settings)
    loading, chat, output = build(Loading, settings), build(Chat, settings), build(Output, settings)
    methods = build(EXPLANATIONS[command], settings).arguments()

    from tokensal import render
    from tokensal.cli.progress import stages

    paths = [render.check_output(path) for path in output.output]
    with stages(quiet=output.quiet) as stage:
        stage("loading the model")
        model = _load(loading, output.quiet)
        stage("generating" if generation.continuation is None and question.explain != "prompt" else "reading")
        result = getattr(tokensal, command)(
            model,
            **chat.arguments(prompt),
            **methods,
            **values_of(question),
            **values_of(generation),
            progress=lambda done, total: stage("attributing", done, total),
            config=settings,
        )
    for path in paths:  # before showing: a reader that stops reading, as `head` does, must not cost the files
        result.save(path, sink=output.sink)
        if not output.quiet:
            print(f"Wrote {path}", file=sys.stderr)
    # From here on only stdout is written: end quietly, as any filter does, when nobody reads it any more.
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    result.show(matrix=output.matrix, sink=output.sink, theme=output.theme)


def _load(loading: Loading, quiet: bool) -> ModelAdapter:
    from tokensal.adapters import load

    logging.getLogger("tokensal").setLevel(logging.WARNING if quiet else logging.INFO)
    _silence_libraries()
    return load(**values_of(loading))


def _silence_libraries() -> None:
    # In a process of our own; a user's process is never touched. Errors come in our own sentences.
    from huggingface_hub.utils import logging as hub
    from transformers.utils import logging as transformers_logging

    hub.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


if __name__ == "__main__":
    main()
