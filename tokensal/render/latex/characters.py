r"""Any text as TeX source: nothing in it is a command, and no character is lost.

1. ASCII is itself, or the command that draws it in every encoding of fonts (in OT1, `<` would be an inverted !).
2. Letters and signs that every text font has stand as they are.
3. All else is `\tokuni{script}{text}{instead}`: the text where the engine reads Unicode and the font has its glyphs,
   and elsewhere what stands for it, such as an arrow of mathematics or the number of the character in a frame.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import groupby

from uniseg.graphemecluster import grapheme_clusters

from tokensal.drawable import JOINERS, drawable

QUOTE = "'"
ASCII = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "|": r"\textbar{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "`": r"\textasciigrave{}", '"': r"\tokquote{}", QUOTE: r"\textquotesingle{}",
    "\u00a0": "~",
}  # fmt: skip
COMMON = frozenset(
    "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿ"
    "ĀāĂăĆćĈĉĊċČčĎďĒēĔĕĖėĚěĜĝĞğĠġĤĥĨĩĪīĬĭİıĴĵĹĺĽľŁłŃńŇňŌōŎŏŐőŒœŔŕŘřŚśŜŝŞşŠšŢţŤťŨũŪūŬŭŮůŰűŴŵŶŷŸŹźŻżŽž"
    "¡¿§¶©®°–—‘’“”†‡•…€£\u00a0"
)
DRAWN = {  # by mathematics, which every document has
    "−": "$-$", "×": r"$\times$", "÷": r"$\div$", "±": r"$\pm$", "·": r"$\cdot$", "¬": r"$\neg$", "µ": r"$\mu$",
    "↵": r"$\hookleftarrow$", "⇥": r"$\rightarrow\mkern-3mu\vert$", "␣": r"\textvisiblespace{}", "‿": r"$\smile$",
    "∅": r"$\emptyset$", "◌": r"$\circ$", "⟨": r"$\langle$", "⟩": r"$\rangle$", "⚠": "(!)", "≠": r"$\neq$",
    "≤": r"$\leq$", "≥": r"$\geq$", "≈": r"$\approx$", "→": r"$\rightarrow$", "←": r"$\leftarrow$",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "⇒": r"$\Rightarrow$", "∞": r"$\infty$", "√": r"$\surd$",
    "∈": r"$\in$", "∑": r"$\sum$", "∂": r"$\partial$", "«": r"{\scriptsize$\ll$}", "»": r"{\scriptsize$\gg$}",
    "„": "{,}{,}", "‚": "{,}", "‹": "{\\scriptsize$<$}", "›": "{\\scriptsize$>$}", "´": r"\'{}", "¨": r"\"{}",
    "₀": "$_0$", "₁": "$_1$", "₂": "$_2$", "₃": "$_3$", "₄": "$_4$", "₅": "$_5$", "₆": "$_6$", "₇": "$_7$",
    "₈": "$_8$", "₉": "$_9$", "⁻": "$^-$", "⁰": "$^0$", "¹": "$^1$", "²": "$^2$", "³": "$^3$", "⁴": "$^4$",
    "⁵": "$^5$", "⁶": "$^6$", "⁷": "$^7$", "⁸": "$^8$", "⁹": "$^9$", "‐": "-", "‑": "-",
    "Γ": r"$\Gamma$", "Δ": r"$\Delta$", "Θ": r"$\Theta$", "Λ": r"$\Lambda$", "Ξ": r"$\Xi$", "Π": r"$\Pi$",
    "Σ": r"$\Sigma$", "Φ": r"$\Phi$", "Ψ": r"$\Psi$", "Ω": r"$\Omega$", "α": r"$\alpha$", "β": r"$\beta$",
    "γ": r"$\gamma$", "δ": r"$\delta$", "ε": r"$\varepsilon$", "ζ": r"$\zeta$", "η": r"$\eta$", "θ": r"$\theta$",
    "ι": r"$\iota$", "κ": r"$\kappa$", "λ": r"$\lambda$", "μ": r"$\mu$", "ν": r"$\nu$", "ξ": r"$\xi$", "π": r"$\pi$",
    "ρ": r"$\rho$", "σ": r"$\sigma$", "τ": r"$\tau$", "υ": r"$\upsilon$", "φ": r"$\varphi$", "χ": r"$\chi$",
    "ψ": r"$\psi$", "ω": r"$\omega$",
}  # fmt: skip
SYMBOL, EMOJI = "Symbol", "Emoji"  # the scripts of what is no letter
LETTER = re.compile(r"(\w+)(?: SMALL| CAPITAL| UNIFIED)? (?:LETTER|SYLLABLE|IDEOGRAPH|CHARACTER|VOWEL SIGN|SIGN)\b")
SCRIPTS = dict.fromkeys(("CJK", "IDEOGRAPHIC", "FULLWIDTH", "HALFWIDTH", "HIRAGANA", "KATAKANA"), "Han")
CONTROLS = 0x2400  # where Unicode has pictures of the control characters
RIGHT_TO_LEFT = ("R", "AL")
ARABIC = re.compile(r"ARABIC LETTER (?!HAMZA$)")
JOINING = re.compile(r"ARABIC LETTER (?!HAMZA$|(ALEF|DAL|THAL|REH|ZAIN|WAW|TEH MARBUTA|DDAL|RREH|JEH|U|OE|YU|VE)\b)")
JOINER = "\u200d"
SPACES = re.compile(r" {2,}|^ +| +$")


def tex(text: str, before: str = "") -> str:
    """The text as TeX source, in which a space is a place where a line may end; `before` is what it continues."""
    source = []
    for script, group in groupby(_clusters(_safe(text)), key=_script):
        stretch = "".join(group)
        if script:
            source.append(rf"\tokuni{{{script}}}{{{stretch}}}{{{''.join(map(_instead, stretch))}}}")
        else:
            source.extend(_plain(stretch, before))
        before = stretch
    return SPACES.sub(lambda spaces: r"\ " * len(spaces[0]), "".join(source))


def prose(text: str) -> str:
    """A sentence as TeX source, with names of mathematics, signs and numbers as such."""
    source = []
    for drawn, group in groupby(_clusters(_safe(text)), key=DRAWN.__contains__):
        stretch = list(group)
        source.append("".join(DRAWN[each] for each in stretch) if drawn else tex("".join(stretch)))
    sentence = "".join(source).replace(r"\ ", " ")
    sentence = re.sub(r"(\$\\Delta\$ )?\blog p\b", _logarithm, sentence)
    return re.sub(r"(?<=\bof )p\b|(?<=\()p(?= = )", "$p$", sentence)


def portable(text: str) -> str:
    """A sentence as `prose`, for a place where no macro of ours is defined."""
    sentence = prose(text).replace(ASCII['"'], r"\char34{}")
    sentence = re.sub(r"\\tokuni\{\w+\}\{(.*?)\}", r"\\ifdefined\\Umathchar \1\\else", sentence)
    sentence = re.sub(r"(\\else)\{((?:\\tokcode\{\w+\}|[^{}])*)\}", r"\1 \2\\fi{}", sentence)
    return re.sub(r"\\tokcode\{(\w+)\}", r"{[U+\1]}", sentence)


def _logarithm(name: re.Match[str]) -> str:
    return r"$\Delta\log p$" if name[1] else r"$\log p$"


def comment(text: str) -> str:
    """The text in one line, which a comment of TeX does not leave."""
    return _safe(text)


def scripts(source: str) -> tuple[str, ...]:
    """The scripts of TeX source that needs fonts of their own, in their order."""
    return tuple(dict.fromkeys(re.findall(r"\\tokuni\{(\w+)\}", source)))


def joins(before: str, after: str) -> bool:
    """Whether two letters of Arabic are written as one stroke, although they stand in two texts."""
    return bool(
        JOINING.match(unicodedata.name(before[-1:] or " ", "")) and ARABIC.match(unicodedata.name(after[:1] or " ", ""))
    )


def is_right_to_left(text: str) -> bool:
    """Whether the first letter of the text is of a script that is written from right to left."""
    kinds = (unicodedata.bidirectional(character) for character in text)
    return next((kind in RIGHT_TO_LEFT for kind in kinds if kind in ("L", *RIGHT_TO_LEFT)), False)


def _safe(text: str) -> str:
    """Composed, where Unicode has the letter with its accent; without what controls, and half of a pair is U+FFFD."""
    return drawable(unicodedata.normalize("NFC", text))


def _clusters(text: str) -> Iterator[str]:
    """Characters with their marks, and with the joiners around them."""
    joiners = ""
    for cluster in grapheme_clusters(text):
        joiners += cluster
        if cluster.strip(JOINERS):
            yield joiners
            joiners = ""
    if joiners:
        yield joiners


def _script(cluster: str) -> str:
    """The script of a character with its marks; empty for what stands as it is."""
    first = cluster.lstrip(JOINERS)[:1] or cluster[0]
    if len(cluster) == 1 and (first.isascii() or first in COMMON):
        return ""
    if ord(first) >= 0x1F000 and unicodedata.category(first) == "So":
        return EMOJI
    name = LETTER.match(unicodedata.name(first, ""))
    return SCRIPTS.get(name[1], name[1].capitalize()) if name else SYMBOL


def _plain(text: str, before: str) -> Iterator[str]:
    before = before[-1:]
    for character, following in zip(text, [*text[1:], ""], strict=True):
        if before == character and character in "-,<>'":
            yield r"\/"  # two hyphens would be drawn as one dash, and two commas as a quotation mark
        apostrophe = character == QUOTE and before.isalpha() and following.isalpha()
        yield character if apostrophe else ASCII.get(character, character)
        before = character


def _instead(character: str) -> str:
    """What is drawn where there is no glyph: never nothing."""
    if character in DRAWN:
        return DRAWN[character]
    if character.isascii() or character in COMMON:
        return ASCII.get(character, character)
    code = ord(character)
    number = f"{code - CONTROLS:02X}" if CONTROLS <= code < CONTROLS + 32 else f"{code:04X}"
    return rf"\tokcode{{{number}}}"
