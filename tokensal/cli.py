"""The command line: `tokensal attribute`, `tokensal methods`.

Data goes to stdout, talk and progress to stderr. Exit codes: 0; 2 for anything the user can put right, with one
sentence and no traceback; 1 for a bug. Heavy imports wait until a command runs, so that help is instant.
"""

from __future__ import annotations

import logging
import signal
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import tokensal
from tokensal.errors import InputError, TokensalError

if TYPE_CHECKING:
    from tokensal.adapters import CausalAdapter
    from tokensal.attribution import Attribution
    from tokensal.config import Settings
    from tokensal.console import Stage

app = typer.Typer(
    help="Which words did a language model's answer come from?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
    prompt: Annotated[str | None, typer.Argument(help="The prompt; left out or '-': read from standard input.")] = None,
    prompt_file: Annotated[Path | None, typer.Option(help="Read the prompt from a file.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of settings; flags go before it.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Hub id, folder or .gguf file. Default: SmolLM2-135M-Instruct.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="See 'tokensal methods'. Default: gradient.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Option of the method, such as norm=l1; repeatable.")
    ] = None,
    score: Annotated[
        str | None, typer.Option(help="What is explained: logprob, logit or prob. Default: logprob.")
    ] = None,
    continuation: Annotated[str | None, typer.Option(help="Explain this text instead of generating one.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Generate at most so many tokens. Default: 20.")] = None,
    generation: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Option of generate, such as do_sample=true; repeatable."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed for sampling.")] = None,
    chat: Annotated[
        bool | None, typer.Option("--chat/--raw", help="Use the model's chat template. Default: raw.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="System message; implies --chat.")] = None,
    dtype: Annotated[
        str | None, typer.Option(help="float32, bfloat16, float16 or float64. Default: as stored.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Such as cpu or cuda:1. Default: the accelerator, if any.")] = None,
    device_map: Annotated[str | None, typer.Option(help="Spread over devices by accelerate, such as auto.")] = None,
    attention: Annotated[str | None, typer.Option(help="Attention implementation, such as sdpa or eager.")] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the hub.")] = None,
    trust_remote_code: Annotated[
        bool | None, typer.Option("--trust-remote-code", help="Let a hub repository run its own code.")
    ] = None,
    output: Annotated[
        list[str] | None, typer.Option("--output", "-o", metavar="FILE", help=".html, .json or .txt; repeatable.")
    ] = None,
    matrix: Annotated[bool | None, typer.Option("--matrix", help="Show the full table too.")] = None,
    sink: Annotated[bool | None, typer.Option("--sink", help="Count the first token into scales and ranks.")] = None,
    quiet: Annotated[bool | None, typer.Option("--quiet", "-q", help="No talk and no progress on stderr.")] = None,
) -> None:
    """Explain each token of the model's answer by the tokens before it, as a heatmap."""
    flags = {
        name: value for name, value in locals().items() if name not in ("prompt", "prompt_file", "config", "option")
    }
    with _one_sentence():
        from tokensal.config import resolve

        flags |= {
            "options": _pairs(option),
            "generation": _pairs(generation),
            "output": tuple(output) if output else None,
            "chat": True if system and chat is None else chat,
        }
        run(resolve(flags, config), _prompt(prompt, prompt_file))


def run(settings: Settings, prompt: str) -> None:
    """Attribute and show, once everything is settled; outputs are checked before the work starts."""
    from tokensal import render
    from tokensal.config import check
    from tokensal.console import stages

    check(settings, prompt)
    paths = [render.check(path) for path in settings.output]
    with stages(quiet=settings.quiet) as stage:
        result = _attribute(settings, prompt, stage)
    for path in paths:  # before showing: a reader that stops reading, as `head` does, must not cost the files
        result.save(path, sink=settings.sink)
        if not settings.quiet:
            print(f"Wrote {path}", file=sys.stderr)
    _let_pipes_close()
    result.show(matrix=settings.matrix, sink=settings.sink)


def _let_pipes_close() -> None:
    # From here on only stdout is written: end quietly, as any filter does, when nobody reads it any more.
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def _attribute(settings: Settings, prompt: str, stage: Stage) -> Attribution:
    from tokensal.config import as_dict
    from tokensal.entry import attribute
    from tokensal.methods import build

    method = build(settings.method, settings.options)
    stage("loading the model")
    model = _load(settings)
    stage("generating" if settings.continuation is None else "reading")
    asked = {"messages": _messages(settings, prompt)} if settings.chat else {"prompt": prompt}
    return attribute(
        model,
        **asked,
        continuation=settings.continuation,
        method=method,
        score=settings.score,
        max_new_tokens=settings.max_new_tokens,
        generation=settings.generation,
        seed=settings.seed,
        progress=lambda done, total: stage("attributing", done, total),
        config=as_dict(settings),
    )


def _load(settings: Settings) -> CausalAdapter:
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


if __name__ == "__main__":
    main()
