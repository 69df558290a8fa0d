"""Fonts: which ones a figure uses, which characters they have, and how wide a text is in them.

1. A figure has a main font: the one that is asked for, or STIXGeneral, which looks like the type of most papers.
2. What it lacks comes from the fonts that matplotlib brings along, then from any installed font that has it.
3. What no font has is drawn as a code, such as ⟨U+4E2D⟩, where a file has to bring its fonts along. An .svg keeps the
   character, whose width is then an estimate, since its reader may have more fonts.

matplotlib shapes and measures text with HarfBuzz. Nothing here depends on its settings, which are the user's:
`default_settings` puts them aside.
"""

from __future__ import annotations

import difflib
import logging
import threading
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import matplotlib
from fontTools.ttLib import TTFont
from matplotlib import font_manager
from matplotlib.font_manager import FontEntry, FontProperties
from matplotlib.textpath import text_to_path

from tokensal.errors import InputError

SERIF, SANS = "STIXGeneral", "DejaVu Sans"
LOOKALIKES = ("STIX Two Text", "Times New Roman", "Liberation Serif", "Times")  # of STIXGeneral, where it is missing
FALLBACKS = (SERIF, "DejaVu Serif", SANS)  # these come with matplotlib
PREFERRED = ("Noto Sans", "Noto Serif", "Source Han", "Droid", "WenQuanYi", "IPA", "Nanum", "FreeSerif", "FreeSans")
WITHOUT_OUTLINES = ("Emoji", "Last Resort")  # families that hold pictures, or nothing but placeholders
SETTINGS = ("agg.", "figure.", "font.", "lines.", "patch.", "path.", "pdf.", "ps.", "savefig.", "svg.", "text.")
# matplotlib splits the fonts of a PDF by what ps.fonttype can hold
CUSTOM = {"pdf.fonttype": 42, "ps.fonttype": 42, "path.simplify": False, "text.hinting": "no_hinting"}

_lock = threading.RLock()


@dataclass(frozen=True, slots=True)
class Style:
    """How a text differs from plain one."""

    bold: bool = False
    italic: bool = False


PLAIN, BOLD, ITALIC = Style(), Style(bold=True), Style(italic=True)


@dataclass(frozen=True, slots=True)
class Typeface:
    """The fonts of a figure, in the order in which a character is looked for.

    No font has the `missing` characters; where fonts are `embedded`, they are written as codes.
    """

    families: tuple[str, ...]
    missing: frozenset[str]
    embedded: bool

    def written(self, text: str) -> str:
        """The text as it is drawn."""
        if not self.embedded or self.missing.isdisjoint(text):
            return text
        return "".join(f"⟨U+{ord(each):04X}⟩" if each in self.missing else each for each in text)

    def width(self, text: str, size: float, style: Style = PLAIN) -> float:
        """How far a text reaches, in points, with the spaces at its ends."""
        absent = [each for each in text if each in self.missing]
        rest = "".join(each for each in text if each not in self.missing) if absent else text
        return size * (_advance(self.families, style, rest) + sum(map(_estimate, absent)))

    def properties(self, text: str, size: float, style: Style = PLAIN) -> FontProperties:
        """These fonts as matplotlib has them, in a style that has all of the text."""
        return _properties(self.families, _available(self.families, style, text), size)

    def is_embeddable(self, text: str) -> bool:
        """Whether all fonts that the text needs can be embedded in a PDF."""
        rest = {each for each in text if not each.isspace()}
        for family in self.families:
            if rest & _characters(family) and not _is_truetype(family):
                return False
            rest -= _characters(family)
        return True

    @property
    def stack(self) -> tuple[str, ...]:
        """The families that a viewer may use, best first, the last one a generic one."""
        main, *others = self.families
        generic = "sans-serif" if "sans" in main.lower() else "serif"
        return (main, *(LOOKALIKES if main == SERIF else ()), *others, generic)


def typeface(font: str | None, characters: Iterable[str], *, embedded: bool) -> Typeface:
    """The fonts for these characters.

    Args:
        font: the main one; None for STIXGeneral.
        characters: all that are drawn.
        embedded: whether the file brings its fonts along.

    Raises:
        InputError: there is no font of that name.
    """
    main = SERIF if font is None else _installed(font)
    fallbacks = sorted(FALLBACKS, key=lambda family: family != SANS) if "sans" in main.lower() else FALLBACKS
    families = list(dict.fromkeys((main, *fallbacks)))
    wanted = {each for each in characters if not each.isspace()}
    for family in families:
        wanted -= _characters(family)
    missing = set()
    while wanted:
        family = _family_with(min(wanted))
        if family is None:
            missing.add(min(wanted))
            wanted -= missing
        else:
            families.append(family)
            wanted -= _characters(family)
    return Typeface(tuple(families), frozenset(missing), embedded)


@contextmanager
def default_settings() -> Iterator[None]:
    """Inside, matplotlib draws by its own defaults, and embeds TrueType fonts; one figure is drawn at a time."""
    settings: dict[Any, Any] = {
        name: value for name, value in matplotlib.rcParamsDefault.items() if name.startswith(SETTINGS)
    }
    logger = logging.getLogger("matplotlib.font_manager")  # it tells of families that lack a style
    with _lock, matplotlib.rc_context(settings | CUSTOM):
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


def require_truetype(face: Typeface) -> None:
    """Make sure that the main font can be embedded: matplotlib embeds no PostScript outlines that all readers draw.

    Raises:
        InputError: it cannot.
    """
    family = face.families[0]
    if not _is_truetype(family):
        raise InputError(
            f"Font {family!r} has PostScript outlines, and only TrueType ones are embedded in a .pdf; choose another "
            f"font, or leave it out for {SERIF}."
        )


def _installed(font: str) -> str:
    """The name of a font as matplotlib has it."""
    names = {entry.name.casefold(): entry.name for entry in font_manager.fontManager.ttflist}
    wanted = " ".join(font.split()).casefold()
    if wanted in names:
        return names[wanted]
    near = difflib.get_close_matches(wanted, names, n=1, cutoff=0.0)
    raise InputError(
        f"Font {font!r} is not installed; the nearest one is {names[near[0]]!r}, and without a name it is {SERIF}."
    )


def _family_with(character: str) -> str | None:
    """The first installed family that has a character, well-known ones first."""
    return next((family for family in _families() if character in _characters(family)), None)


@lru_cache(maxsize=1)
def _families() -> tuple[str, ...]:
    names = {entry.name for entry in font_manager.fontManager.ttflist if not _is_pictures(entry)}
    return tuple(sorted(names, key=lambda name: (not name.startswith(PREFERRED), name)))


def _is_pictures(entry: FontEntry) -> bool:
    return any(word in entry.name for word in WITHOUT_OUTLINES)


@cache
def _characters(family: str, style: Style = PLAIN) -> frozenset[str]:
    """The characters that a family has in a style."""
    path = font_manager.fontManager.findfont(_properties((family,), style, 10.0))
    return frozenset(map(chr, font_manager.get_font(path).get_charmap()))


@cache
def _is_truetype(family: str) -> bool:
    path = font_manager.fontManager.findfont(_properties((family,), PLAIN, 10.0))
    with TTFont(path.path, fontNumber=path.face_index, lazy=True) as font:
        return "glyf" in font


def _available(families: Sequence[str], style: Style, text: str) -> Style:
    """The style, or the plain one where that has characters of the text which it lacks."""
    lacking = {each for each in text if not each.isspace()} if style != PLAIN else set()
    for family in families:
        lacking -= _characters(family, style)
    return PLAIN if lacking else style


@lru_cache(maxsize=256)
def _properties(families: tuple[str, ...], style: Style, size: float) -> FontProperties:
    return FontProperties(
        family=list(families),
        style="italic" if style.italic else "normal",
        weight="bold" if style.bold else "normal",
        size=size,
    )


@lru_cache(maxsize=50_000)
def _advance(families: tuple[str, ...], style: Style, text: str) -> float:
    """The width of a text at a size of one point."""
    if not text:
        return 0.0
    properties = _properties(families, _available(families, style, text), 100.0)
    width, _, _ = text_to_path.get_text_width_height_descent(text, properties, False)
    return float(width) / 100


def _estimate(character: str) -> float:
    """The width of a character that no font has, in em."""
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0.0
    return 1.0 if unicodedata.east_asian_width(character) in "WF" else 0.6
