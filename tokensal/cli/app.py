"""The command line: `tokensal attribute`, `compare`, `report`, `evaluate`, `run`, `summarize`, `show` and others.

Data goes to stdout, messages and progress to stderr. Exit codes: 0; 2 for anything the user can put right, with one
sentence and no traceback; 1 for a bug. Heavy imports wait until a command runs, so that help is instant.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
import typer.core

import tokensal
from tokensal.cli import references
from tokensal.cli.catalogue import details, listing, metric_details, metric_listing
from tokensal.cli.delivery import NOT_TRACED, deliver, require_places, require_reader, tell
from tokensal.cli.evaluating import evaluate_folder, evaluate_prompts, require_curves
from tokensal.cli.flags import HEADINGS, complete_methods, complete_metrics, flags_of, read_flags, require_text
from tokensal.cli.loading import load_model
from tokensal.cli.running import run
from tokensal.cli.showing import load_result, render, show
from tokensal.cli.streams import open_streams, writing_to_stdout
from tokensal.cli.summarizing import summarize
from tokensal.config import (
    COMMANDS,
    DEFAULTS_OF_REPORT,
    EXPLANATIONS,
    LARGEST,
    Chat,
    Evaluated,
    Output,
    Reporting,
    Settings,
    decode,
    read_text,
    require_traceable,
    resolve,
)
from tokensal.drawable import drawable
from tokensal.drawing import Drawing
from tokensal.errors import InputError, TokensalError
from tokensal.options import Generation, Loading, Measuring, build, options_of, values_of
from tokensal.questions.question import Question

if TYPE_CHECKING:
    from tokensal import Attribution, Comparison

Function = Callable[..., None]
INTERRUPTED = 130  # what Typer makes of KeyboardInterrupt
EXAMPLE = "\b\nExample:\n  {}"  # after \b, lines stay as they are


class Commands(typer.core.TyperGroup):
    """All commands. To parse arguments can mean to print help, which can fail."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        with writing_to_stdout():
            return super().parse_args(ctx, args)


class GroupedHelp(typer.core.TyperCommand):
    """A command whose help lists its flags in groups."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        with writing_to_stdout():
            return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        for parameter in self.get_params(ctx):
            kind = "Arguments" if parameter.param_type_name == "argument" else "Further options"
            heading = getattr(parameter, "rich_help_panel", None) or kind
            sections.setdefault(heading, []).extend(filter(None, [parameter.get_help_record(ctx)]))
        for heading in sorted(sections, key="Further options".__eq__):  # these are the last
            with formatter.section(heading):
                formatter.write_dl(sections[heading])


app = typer.Typer(
    cls=Commands,
    help="Which words did a language model's answer come from?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog=EXAMPLE.format('tokensal attribute "The capital of France is" -o paris.html'),
    context_settings={"help_option_names": ["-h", "--help"]},
)

Prompt = Annotated[
    str | None,
    typer.Argument(help="The prompt; left out or '-': read from standard input, as UTF-8.", show_default=False),
]
PromptFile = Annotated[Path | None, typer.Option(help="Read the prompt from a file.", rich_help_panel=HEADINGS[Chat])]
ConfigFile = Annotated[Path | None, typer.Option(help="TOML file of settings; flags go before it.")]
ReportedFile = Annotated[
    Path | None,
    typer.Option("--from", help="Report on a saved result, FILE.json, in place of a prompt; '-': standard input."),
]
REPORT = (Reporting, *COMMANDS["compare"][1:])
REDRAWN = options_of(Output, Drawing)  # what a report on a saved result still takes
Records = Annotated[
    Path | None,
    typer.Argument(
        help="A .jsonl or .csv file of prompts; or the folder of a run, whose maps are measured; or else --suite.",
        show_default=False,
    ),
]
MetricName = Annotated[str | None, typer.Argument(help="A metric.", autocompletion=complete_metrics)]
MethodName = Annotated[str | None, typer.Argument(help="A method.", autocompletion=complete_methods)]


def main() -> None:
    """The entry point of the `tokensal` command. What the user can put right ends in one sentence and exit code 2."""
    open_streams()
    code: int | None = None
    try:
        code = app(standalone_mode=False)
    except TokensalError as error:
        code = tell(error)
    except Exception as error:
        if not hasattr(error, "format_message"):  # not one of Typer's, which quote arguments as they are
            raise
        error.message = "\n".join(map(drawable, str(error.message).splitlines()))  # type: ignore[attr-defined]
        error.show()  # type: ignore[attr-defined]
        code = error.exit_code  # type: ignore[attr-defined]
    if code == INTERRUPTED:
        code = tell("Interrupted: nothing further was written.")
    raise SystemExit(code)


def command(groups: Sequence[type] = (), *, example: str) -> Callable[[Function], Function]:
    """Register a function as the command of its name, which takes the options of some groups as keywords."""

    def register(function: Function) -> Function:
        signature, annotations = inspect.signature(function), get_type_hints(function, include_extras=True)
        own = [
            parameter.replace(annotation=annotations[name])
            for name, parameter in signature.parameters.items()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        parameters = [*own, *flags_of(groups)]
        function.__signature__ = signature.replace(parameters=parameters, return_annotation=None)  # type: ignore[attr-defined]
        function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.command(cls=GroupedHelp, epilog=EXAMPLE.format(example))(function)
        return function

    return register


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"tokensal {tokensal.__version__}")
        raise typer.Exit


@app.callback()
def _tokensal(
    version: Annotated[
        bool, typer.Option("--version", "-V", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


@command(COMMANDS["attribute"], example='tokensal attribute "The capital of France is" --method lrp -o paris.html')
def attribute(prompt: Prompt = None, prompt_file: PromptFile = None, config: ConfigFile = None, **flags: Any) -> None:
    """Explain each token of the model's answer by the tokens before it, as a heatmap."""
    settings = resolve("attribute", read_flags(COMMANDS["attribute"], flags), config)
    _run("attribute", settings, _prompt(prompt, prompt_file, settings))


@command(COMMANDS["compare"], example='tokensal compare "The capital of France is" --methods lrp,occlusion --unit word')
def compare(prompt: Prompt = None, prompt_file: PromptFile = None, config: ConfigFile = None, **flags: Any) -> None:
    """Explain one answer by several methods: a heatmap for each, and how far their rankings agree."""
    settings = resolve("compare", read_flags(COMMANDS["compare"], flags), config)
    _run("compare", settings, _prompt(prompt, prompt_file, settings))


@command(REPORT, example='tokensal report "The capital of France is" -o paris.html -o paris.json')
def report(
    prompt: Prompt = None,
    prompt_file: PromptFile = None,
    result: ReportedFile = None,
    config: ConfigFile = None,
    **flags: Any,
) -> None:
    """Write a page for any reader about what the answer rests on, .html or .md: by several methods, with their
    agreement and errors, three alternatives to each token, and the credit through the answer.

    Settings of a configuration file are those of its table [compare]. An output .json stores the result, of which
    --from makes a report again.
    """
    values = read_flags(REPORT, flags)
    if result is None:
        settings = resolve("compare", values, config, DEFAULTS_OF_REPORT)
    else:
        settings = {name: value for name, value in values.items() if value is not None}
        _require_nothing_new(settings, prompt=prompt, prompt_file=prompt_file, config=config)
    output, drawing = build(Output, settings), build(Drawing, settings)
    if not output.output:
        raise InputError("There is no output to write: name a file, such as '-o report.html', or '-o -'.")
    require_reader(output)
    require_places(output, reported=True)
    about = (
        _explain("compare", settings, _prompt(prompt, prompt_file, settings)) if result is None else load_result(result)
    )
    deliver(about, replace(output, trace=False), drawing, shown=False, reported=True)


def _require_nothing_new(settings: Settings, **others: object) -> None:
    """Refuse what asks for an explanation beside a saved one."""
    names = [name for name in settings if name not in REDRAWN]
    names += [name for name, value in others.items() if value is not None]
    if names:
        raise InputError(
            f"A report --from a saved result explains nothing: leave out {', '.join(sorted(names))}, or --from."
        )


@command(COMMANDS["evaluate"], example="tokensal evaluate --suite copy --methods lrp,gradient -o table.html")
def evaluate(prompts: Records = None, config: ConfigFile = None, **flags: Any) -> None:
    """Measure which methods point at what an answer rests on: on prompts that ship, on your own, or on
    the explanations that a run has stored."""
    settings = resolve("evaluate", read_flags(COMMANDS["evaluate"], flags), config)
    loading, measuring = build(Loading, settings), build(Measuring, settings)
    output, drawing = build(Output, settings), build(Drawing, settings)
    require_reader(output)
    if output.trace:
        raise InputError(NOT_TRACED)
    arguments = build(Evaluated, settings).arguments()
    require_curves(output, arguments["metrics"])
    require_places(output)
    if prompts is not None and prompts.is_dir():
        result = evaluate_folder(prompts, settings, loading, measuring)
    else:
        result = evaluate_prompts(prompts, settings, loading, measuring)
    deliver(result, output, drawing)


command(COMMANDS["run"], example="tokensal run questions.jsonl -o maps/ --methods lrp,occlusion")(run)
command([Output, Drawing], example="tokensal summarize maps/ -o summary.html")(summarize)
command([Output, Drawing], example="tokensal show paris.json --matrix")(show)
command([Output, Drawing], example="tokensal render paris.json -o paris.html")(render)


@command(example="tokensal methods integrated_gradients")
def methods(
    name: MethodName = None,
    bibtex: Annotated[
        bool, typer.Option("--bibtex", help="Print the BibTeX of the papers instead: of the method, or of all.")
    ] = False,
) -> None:
    """List the methods: what each does, and the paper it comes from; or tell all about one, with its options."""
    if bibtex:
        text = references.bibtex(name)
    elif name is None:
        text = listing()
    else:
        text = details(name)
    with writing_to_stdout():
        print(text)


@command(example="tokensal metrics abpc")
def metrics(name: MetricName = None) -> None:
    """List the metrics of `tokensal evaluate`: what each measures; or tell all about one, with its options."""
    text = metric_listing() if name is None else metric_details(name)
    with writing_to_stdout():
        print(text)


def _prompt(prompt: str | None, file: Path | None, settings: Settings) -> str | None:
    """The prompt; None where a file of messages takes its place."""
    if settings["messages"] is not None:
        if prompt is not None or file is not None:
            raise InputError("Give either a prompt or --messages, and not both.")
        return None
    if prompt is not None and file is not None:
        raise InputError("Give the prompt as an argument or as a file, and not both.")
    if prompt is None and file is None and sys.stdin.isatty():
        raise InputError("There is no prompt: give one as an argument, with --prompt-file, or on standard input.")
    if prompt is None or prompt == "-":
        text = read_text(file, "prompt file") if file else decode(sys.stdin.buffer.read(LARGEST + 1), "standard input")
        prompt = text.removesuffix("\n")
    require_text("The prompt", prompt)
    if not prompt:
        raise InputError("The prompt is empty: give it at least one token of text.")
    return prompt


def _run(command: str, settings: Settings, prompt: str | None) -> None:
    """Explain, save and show. What can be refused is refused before a model is loaded."""
    output, drawing = build(Output, settings), build(Drawing, settings)
    require_reader(output)
    deliver(_explain(command, settings, prompt), output, drawing)


def _explain(command: str, settings: Settings, prompt: str | None) -> Attribution | Comparison:
    """The result of a command. What needs no torch is refused first, then what needs no model."""
    question, generation = build(Question, settings), build(Generation, settings)
    loading, chat = build(Loading, settings), build(Chat, settings)
    output = build(Output, settings)
    if output.trace:
        require_traceable(question)
    methods = build(EXPLANATIONS[command], settings).arguments()

    from tokensal.cli.progress import stages

    require_places(output)
    with stages(quiet=output.quiet) as stage:
        stage("loading the model")
        model = load_model(loading, output.quiet)
        stage("generating" if generation.continuation is None and question.explain != "prompt" else "reading")
        result: Attribution | Comparison = getattr(tokensal, command)(
            model,
            **chat.arguments(prompt),
            **methods,
            **values_of(question),
            **values_of(generation),
            progress=lambda done, total: stage("attributing", done, total),
            config=settings,
        )
    return result


if __name__ == "__main__":
    main()
