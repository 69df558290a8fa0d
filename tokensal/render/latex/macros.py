r"""The preamble of a fragment: the colours, and those macros of `macros.tex` that its body uses, a line each.

`\providecommand` and `\providecolor` leave alone what a document or a journal has defined before.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from tokensal.drawing import Drawing
from tokensal.render.latex.characters import scripts
from tokensal.render.layout.palette import paper_palette

FONTS = {  # of scripts whose fonts are not called by them
    "Latin": ("Noto Serif", "DejaVu Serif"),
    "Greek": ("Noto Serif", "DejaVu Serif"),
    "Cyrillic": ("Noto Serif", "DejaVu Serif"),
    "Arabic": ("Noto Naskh Arabic", "Noto Sans Arabic", "DejaVu Sans"),
    "Hebrew": ("Noto Serif Hebrew", "Noto Sans Hebrew", "DejaVu Sans"),
    "Han": ("Noto Serif CJK SC", "Noto Sans CJK SC"),
    "Hangul": ("Noto Serif CJK KR", "Noto Sans CJK KR"),
    "Emoji": ("Noto Emoji", "DejaVu Sans"),
    "Symbol": ("DejaVu Sans", "Noto Sans Symbols"),
}
SHAPED = ("Arabic", "Hebrew", "Devanagari", "Bengali", "Tamil", "Telugu", "Thai")
DEFINED = re.compile(r"\\(?:providecommand\{|def)\\(tok[a-z]+)")


def preamble(body: str, drawing: Drawing) -> list[str]:
    """The lines that define what a body uses, and what that uses in turn."""
    used: set[str] = set()
    waiting = [body, *([r"\tokfont"] if scripts(body) else [])]
    while waiting:
        for name in re.findall(r"\\(tok[a-z]+)", waiting.pop()):
            line = _macros().get(name, "")
            if line not in used:
                used.add(line)
                waiting.append(line)
    lines = [line for line in reversed(dict.fromkeys(_macros().values())) if line in used]
    fonts = "".join(_fonts(script) for script in scripts(body))
    return [_colours(drawing), *lines, *([f"{fonts}%"] if fonts else [])]


@cache
def _macros() -> dict[str, str]:
    """The line that defines each macro, the last one of the file first: what is defined twice is of the first."""
    text = files(__package__).joinpath("macros.tex").read_text("utf-8")
    lines = text.replace("\n  ", "").splitlines()
    return {name: line for line in reversed(lines) if not line.startswith("%") for name in DEFINED.findall(line)}


def _colours(drawing: Drawing) -> str:
    """The colours, by names of their palette, too: fragments in two palettes do not disturb one another."""
    paper = paper_palette(drawing.palette)
    palette = "tok" + "".join(word[0].upper() + word[1:] for word in drawing.palette.split("-"))
    colours = {"For": paper.positive, "Against": paper.negative, "Rule": paper.rule_of_sign}
    named = (
        rf"\providecolor{{{palette}{role}}}{{RGB}}{{{','.join(map(str, colour))}}}"
        rf"\colorlet{{tok{role}}}{{{palette}{role}}}"
        for role, colour in colours.items()
    )
    return "".join(named) + "%"


def _fonts(script: str) -> str:
    """The fonts that may have the script, best first."""
    options = f"Script={script}" if script in SHAPED else ""
    return "".join(
        rf"\tokfont{{{script}}}{{{options}}}{{{font}}}"
        for font in FONTS.get(script, (f"Noto Serif {script}", f"Noto Sans {script}"))
    )
