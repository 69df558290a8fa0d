"""An instruction in the system message of a chat: in which language to answer.

The user asks for a word; its first token in that language is explained against the first one of the word in another
language. With the other language in the system message, the model should prefer the other word. Gold is the name of the
language, or both where the message says which one not to use.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from tokensal.evaluation.prompts.prompt import Prompt, Swap
from tokensal.evaluation.suites.kind import Kind, Text

REQUESTS: Mapping[str, Mapping[str, str]] = {
    "Greet me.": {"French": "Bonjour", "Spanish": "Hola", "German": "Guten", "Italian": "Ciao"},
    "Say hello!": {"French": "Bonjour", "Spanish": "Hola", "German": "Guten", "Italian": "Ciao"},
    "How do you thank a friend?": {"French": "Merci", "Spanish": "Gracias", "German": "Danke"},
}
INSTRUCTIONS = (
    "You always answer in {}.",
    "Answer in {}, whatever the user says.",
    "You live far away and speak {}.",
    "You are a teacher. With your pupils you speak {} only.",
)
NEGATED = (
    "Answer in {}, and never in {}.",
    "You speak {}. You do not know any {}.",
)


def draw_instruction(rng: random.Random, depth: float, id: str) -> Prompt:
    """A chat of a system message and a request."""
    request, answers = rng.choice(list(REQUESTS.items()))
    language, other = rng.sample(list(answers), 2)
    system = Text(message=0)
    if rng.random() < 0.5:
        system.add(rng.choice(INSTRUCTIONS), language=language)
        edits = [system.edit("language", other)]
    else:
        system.add(rng.choice(NEGATED), language=language, other=other)
        edits = [system.edit("language", other), system.edit("other", language)]
    return Prompt(
        id=id,
        kind="instruction",
        messages=({"role": "system", "content": system.text}, {"role": "user", "content": request}),
        continuation=answers[language],
        contrast=answers[other],
        targets=(0,),
        gold=system.gold(*system.places),
        swaps=(Swap(tuple(edits), answers[other], answers[language]),),
    )


KIND = Kind(
    "instruction",
    "the language that a system message asks for, by contrast; gold is its name",
    draw_instruction,
    chat=True,
)
