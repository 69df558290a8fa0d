"""The gallery: runs every command below, each in this folder, and writes the page that shows what it made.

    python examples/gallery/make.py            all figures: the default model and "dates", a few minutes
    python examples/gallery/make.py dates      those whose name begins so, and the page

Needs the extra `figures`, and the default model.
"""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = "README.md"
CONTRAST = "Anna, who was born in Spain, lives in Rome. Her brother Ben moved to Oslo last year. Anna's home is in"
JOBS = (
    "Anna works as a baker in Rome. Ben works as a nurse in Oslo. Carl works as a pilot in Paris. Dora works as a judge "
    "in Lima. Emil works as an actor in Cairo. Fay works as a cook in Quito. Gus works as a miner in Delhi. Hana works "
    "as a poet in Tokyo. Question: In which city does Dora work? Answer: Dora works in"
)


@dataclass(frozen=True)
class Figure:
    """What one command makes: the files that it writes, of which the first is shown; `title` and `text` stand above."""

    title: str
    text: str
    command: str

    @property
    def files(self) -> tuple[str, ...]:
        """The names after -o."""
        words = shlex.split(self.command)
        return tuple(after for before, after in zip(words, words[1:], strict=False) if before == "-o")

    @property
    def name(self) -> str:
        """The name of the first file, without its suffix."""
        return Path(self.files[0]).stem


FIGURES = (
    Figure(
        "Why Rome, not Oslo?",
        "Running text for a column of a paper. Orange speaks for the answer, blue and underlined for what it is "
        "contrasted with. The same figure is there for LaTeX (`\\input`), and as a result that `tokensal show` draws "
        "again in any format.",
        f'tokensal attribute "{CONTRAST}" --continuation " Rome" --contrast " Oslo" --unit word --method occlusion '
        "-o contrast.svg -o contrast.tex -o contrast.json",
    ),
    Figure(
        "Alignment",
        "The matrix of an encoder–decoder model: a row for each token of the answer, a column for each token that it "
        "could see. The page in HTML shows each token's own sources where the pointer is.",
        'tokensal attribute "21st of June, 1994" --model dates --method lrp '
        "-o dates.svg -o dates.html -o dates.tex -o dates.md",
    ),
    Figure(
        "Methods compared",
        "The same answer by three methods, each on its own scale. They do not agree, and the last does not look at the "
        "evidence.",
        f'tokensal compare "{CONTRAST}" --continuation " Rome" --methods lrp,occlusion,attention_rollout --unit word '
        "-o methods.svg",
    ),
    Figure(
        "A chat",
        "Each message below its role. What the chat template puts around them is grey.",
        'tokensal attribute --chat --system "Answer in one word." "Lyon is in France. Turin is in Italy. Where is Turin?" '
        "--max-new-tokens 8 --unit word --method lrp --width page -o chat.svg",
    ),
    Figure(
        "A long prompt",
        "Stretches without a score of a tenth of the scale are counted, not written.",
        f'tokensal attribute "{JOBS}" --continuation " Lima" --method lrp --elide 6 -o long.svg',
    ),
    Figure(
        "Every score of a decoder",
        "The matrix of a text that the model wrote itself, as a bitmap for slides.",
        'tokensal attribute "Tom has 3 apples and buys 2 more, so he has" --max-new-tokens 6 --method lrp --matrix '
        "--dpi 200 -o matrix.png",
    ),
    Figure(
        "Palette PuOr",
        "The saved result of the first figure in other colours. All palettes are equally light on both sides, so that "
        "a greyscale print keeps the sizes, and the rule under a token its sign.",
        "tokensal show contrast.json --palette PuOr -o puor.svg",
    ),
    Figure("Palette RdBu", "Red and blue.", "tokensal show contrast.json --palette RdBu -o rdbu.svg"),
    Figure(
        "One hue",
        "The sign is told by the rule alone.",
        "tokensal show contrast.json --palette sequential -o sequential.svg",
    ),
    Figure(
        "In steps",
        "Three steps for each sign; each score has the colour of the nearest, and one step about zero is blank.",
        "tokensal show contrast.json --bins 3 -o bins.svg",
    ),
    Figure(
        "Clipped",
        "The scale ends at the 90th percentile, so that weaker scores can be told apart; what is beyond is marked.",
        "tokensal show contrast.json --clip 90 -o clip.svg",
    ),
)


def make(figure: Figure) -> None:
    """Run the command of a figure in the current folder.

    Raises:
        SystemExit: the command failed; it has said why.
    """
    from tokensal.cli import main

    sys.argv = [*shlex.split(figure.command), "--quiet"]
    stdout = sys.stdout
    with open(os.devnull, "w") as nowhere:
        sys.stdout = nowhere
        try:
            main()
        except SystemExit as end:
            if end.code:
                raise
        finally:
            sys.stdout = stdout


def page() -> str:
    """The page: each figure, the command that made it, and its other files."""
    parts = [
        "# Gallery\n\nEvery figure is drawn from a real run, by the command below it ([make.py](make.py) runs all).\n"
    ]
    for figure in FIGURES:
        first, *others = figure.files
        links = ", ".join(f"[{name}]({name})" for name in others)
        parts.append(
            f"## {figure.title}\n\n{figure.text}\n\n![{figure.title}]({first})\n\n```sh\n{figure.command}\n```\n"
        )
        if others:
            parts.append(f"Also: {links}.\n")
    return "\n".join(parts)


def main() -> None:
    """Make the figures that the arguments name, or all."""
    wanted = tuple(sys.argv[1:])
    os.chdir(HERE)
    for figure in FIGURES:
        if not wanted or figure.name.startswith(wanted):
            make(figure)
            print(", ".join(figure.files))
    Path(PAGE).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
