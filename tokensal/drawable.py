"""Text that is safe to print: what controls a terminal, or would not be seen, becomes a picture or a code."""

from __future__ import annotations

import unicodedata

PICTURES = {"\n": "↵", "\r": "␍", "\t": "⇥", "\u2028": "↵", "\u2029": "↵"}
JOINERS = "\u200c\u200d"  # invisible, but they shape emoji and Persian
INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn")  # categories: controls, formats such as bidi marks, surrogates, unassigned


def drawable(text: str) -> str:
    """The text in one line, with a picture or a code for everything that would not be seen."""
    return "".join(map(_drawable, text))


def _drawable(character: str) -> str:
    if character in PICTURES:
        return PICTURES[character]
    if ord(character) < 0x20:
        return chr(0x2400 + ord(character))  # Unicode's own pictures of the control characters
    if unicodedata.category(character) in INVISIBLE and character not in JOINERS:
        return f"⟨U+{ord(character):04X}⟩"
    return character
