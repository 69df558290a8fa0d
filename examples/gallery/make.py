"""The gallery: runs every command below, each in this folder, and writes the page that shows what it made.

    python examples/gallery/make.py                 all figures: the default model and "dates", a few minutes
    python examples/gallery/make.py dates bins      those that are called so, and the page

Needs the extra `figures`, and the default model.
"""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = "README.md"
CONTRAST = "Anna, who was born in Spain, lives in Rome. Her brother Ben moved to Oslo last year. Anna's home is in"
JOBS = (
    "Anna works as a baker in Rome. Ben works as a nurse in Oslo. Carl works as a pilot in Paris. Dora works as a "
    "judge in Lima. Emil works as an actor in Cairo. Fay works as a cook in Quito. Gus works as a miner in Delhi. "
    "Hana works as a poet in Tokyo. Question: In which city does Dora work? Answer: Dora works in"
)
CHAT = "Anna lives in Lisbon. Tom lives in Oslo. Where does Tom live?"
APPLES = "Tom has 3 apples and buys 2 more, so he has"


@dataclass(frozen=True)
class Figure:
    """What one command makes: the files that it writes, of which the first is shown; `title` and `text` stand above."""

    title: str
    text: str
    command: str

    @property
    def files(self) -> tuple[str, ...]:
        """The names after -o."""
        return tuple(after for before, after in pairwise(shlex.split(self.command)) if before == "-o")

    @property
    def name(self) -> str:
        """The name of the first file, without its suffix."""
        return Path(self.files[0]).stem


FIGURES = (
    Figure(
        "Why Rome, not Oslo?",
        "Running text for a column of a paper. Orange speaks for the answer, blue and underlined for what it is "
        "contrasted with. The same figure is there for LaTeX (`\\input`), and as a result that `tokensal show` draws "
        "again in any format, as it does below.",
        f'tokensal attribute "{CONTRAST}" --continuation " Rome" --contrast " Oslo" --unit word --method occlusion '
        "-o contrast.svg -o contrast.tex -o contrast.json",
    ),
    Figure(
        "Alignment",
        "The matrix of an encoder–decoder model: a row for each token of the answer, a column for each token that it "
        "could see. Year, month and day come from the word that says them; month and day also need what was written "
        "before. The page in HTML shows each token's own sources where the pointer is.",
        'tokensal attribute "12 May 2003" --model dates --method occlusion '
        "-o dates.svg -o dates.html -o dates.tex -o dates.md",
    ),
    Figure(
        "Methods compared",
        "The same answer by three methods, each on its own scale. The first two point at the evidence; attention "
        "rollout, which no score enters, puts all on the first word.",
        f'tokensal compare "{CONTRAST}" --continuation " Rome" --methods lrp,occlusion,attention_rollout --unit word '
        "-o methods.svg",
    ),
    Figure(
        "A chat",
        "Each message below its role, and the sources of one word of the answer. The chat template is not credited.",
        f'tokensal attribute --chat --system "Be brief." "{CHAT}" --max-new-tokens 8 --targets text:Oslo '
        "--sources system,user,generated --method lrp -o chat.svg",
    ),
    Figure(
        "A long prompt",
        "Stretches without a score of a tenth of the scale are counted, not written.",
        f'tokensal attribute "{JOBS}" --continuation " Lima" --method lrp --elide 6 -o long.svg',
    ),
    Figure(
        "Every score of a decoder",
        "The matrix of a text that the model went on with itself, as a bitmap for slides.",
        f'tokensal attribute "{APPLES}" --max-new-tokens 6 --method lrp --matrix --width page --dpi 150 -o matrix.png',
    ),
    Figure(
        "Palette PuOr",
        "The saved result of the first figure in other colours. In every palette both ends are equally light, so that "
        "a greyscale print keeps the sizes, and the rule below a word its sign.",
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
        "Three steps for each sign: each score has the colour of the nearest, and one step about zero is blank.",
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
        SystemExit: the command failed, and has said why.
    """
    from tokensal.cli import main

    sys.argv = [*shlex.split(figure.command), "--quiet"]
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        try:
            main()
        except SystemExit as end:
            if end.code:
                raise


def page() -> str:
    """The page: each figure, the command that made it, and its other files."""
    parts = [
        "# Gallery\n",
        "Every figure is drawn from a real run, by the command below it ([make.py](make.py) runs them all).\n",
    ]
    for figure in FIGURES:
        first, *others = figure.files
        parts += [f"## {figure.title}\n", f"{figure.text}\n", f"![{figure.title}]({first})\n"]
        parts += [f"```sh\n{figure.command}\n```\n"]
        if others:
            parts += [f"Also: {', '.join(f'[{name}]({name})' for name in others)}.\n"]
    return "\n".join(parts)


def main() -> None:
    """Make the figures that the arguments name, or all."""
    wanted = set(sys.argv[1:])
    os.chdir(HERE)
    for figure in FIGURES:
        if not wanted or figure.name in wanted:
            make(figure)
            print(", ".join(figure.files))
    Path(PAGE).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
