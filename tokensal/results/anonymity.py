"""A result for double-blind review: nothing in it says who made it, where, or on which machine.

1. The name of a model, and of what was loaded, is its last component: neither the organisation of a hub id, nor the
   folder of a path, nor the host of a URL. A revision stays where it is a hash, which says nothing without the name
   that it belongs to; a branch or tag is a name that somebody gave, and is left out.
2. In all other settings a path or URL becomes its last component, or [home] where that is a home folder; names of the
   user, of other users whose home folders occur, of this machine and of the organisation become [user], [host],
   [organisation]. The files of an output are left out. In the options of the method, the question and its targets,
   where a slash is also text, that holds of absolute paths and URLs alone.
3. What the user wrote stays as it is: prompt, messages, continuation and contrast are what is explained. Where these
   hold a name or a path, a warning says so.
4. Facts stay, such as versions, device and time.
"""

from __future__ import annotations

import getpass
import logging
import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from tokensal.results.attribution import Attribution, Provenance
from tokensal.results.comparison import Comparison
from tokensal.results.evaluation import Evaluation
from tokensal.results.summary import Summary

log = logging.getLogger("tokensal")

AnyResult = TypeVar("AnyResult", Attribution, Comparison, Evaluation, Summary)

USER, HOST, HOME, ORGANISATION, FOLDER = "[user]", "[host]", "[home]", "[organisation]", "FOLDER"
LEFT_OUT = ("output",)  # settings
WRITTEN = ("prompt", "messages", "continuation", "contrast", "system")  # what the user wrote, of a request or settings
LOADED = ("model",)
TEXTS = ("targets",)  # settings in which a slash is also text
# Names that everybody has: they say nothing, and are words as well.
GENERAL = {"root", "user", "users", "admin", "administrator", "ubuntu", "runner", "home", "default", "nobody", "guest"}
LOCAL = {"localhost", "localhost.localdomain", "local", "host"}
SHORTEST = 4  # letters of a name that is also found inside a word

SEPARATORS = r"[\\/]"
COMPONENT = r"[^\s\\/'\"<>|,;()\[\]{}=]+"
URL = re.compile(rf"[A-Za-z][A-Za-z0-9+.-]*:{SEPARATORS}{{2,}}[^\s'\"<>|,;()\[\]{{}}]*")
ROOT = rf"(?:~(?:[A-Za-z_][\w.-]*)?(?={SEPARATORS})|[A-Za-z]:(?={SEPARATORS})|(?=/[^\s\\/])|\\\\(?=[^\s\\]))"
ABSOLUTE = re.compile(
    rf"(?<![^\s'\"=,:(\[{{])(?:{ROOT}(?:{SEPARATORS}*{COMPONENT})*{SEPARATORS}*|~[A-Za-z_][\w.-]*)", re.IGNORECASE
)
ALL_OF_IT = re.compile(rf"(?:{ROOT}|[A-Za-z][A-Za-z0-9+.-]*:{SEPARATORS}{{2,}})[^\n]*|~(?:[A-Za-z_][\w.-]*)?")
QUOTED = re.compile(r"(?<=')[^'\n]+(?=')|(?<=\")[^\"\n]+(?=\")")
RELATIVE = re.compile(rf"(?:{COMPONENT}|\.{{1,2}})?(?:{SEPARATORS}+{COMPONENT})+{SEPARATORS}*")
HOMES = re.compile(rf"(?:home|Users|Documents and Settings){SEPARATORS}+({COMPONENT})", re.IGNORECASE)
HASH = re.compile(r"(?:.*-)?[0-9a-f]{7,64}", re.IGNORECASE)


def anonymous(result: AnyResult) -> AnyResult:
    """The result without folders, organisations, and names of users and hosts; scores and tokens are as they were."""
    if isinstance(result, Comparison):
        return replace(result, attributions=tuple(map(_anonymous, result.attributions)))
    if isinstance(result, Evaluation):
        return _anonymous_evaluation(result)
    if isinstance(result, Summary):
        return _anonymous_summary(result)
    return _anonymous(result)


def _anonymous(attribution: Attribution) -> Attribution:
    names = _names(attribution.provenance)
    _warn_of(names, [attribution.text])
    return replace(attribution, provenance=_provenance(attribution.provenance, names))


def _anonymous_evaluation(evaluation: Evaluation) -> Evaluation:
    """Facts, settings, options of methods and metrics, and reasons of failures; prompts are as they were."""
    facts, config = evaluation.facts, evaluation.config
    methods = [method.method_repr for method in evaluation.methods]
    names = _names_in([facts, config, methods], [facts.get("model"), config.get("model")])
    _warn_of(names, [prompt.text for prompt in evaluation.prompts])

    def rooted(text: str) -> str:
        return names.without(_without_places(text, (URL, ABSOLUTE)))

    def anywhere(text: str) -> str:
        return names.without(_without_places(text, (URL, ABSOLUTE, RELATIVE)))

    return replace(
        evaluation,
        methods=tuple(
            replace(each, name=rooted(each.name), method_repr=rooted(each.method_repr)) for each in evaluation.methods
        ),
        metrics=tuple(replace(each, metric_repr=rooted(each.metric_repr)) for each in evaluation.metrics),
        failures=tuple(replace(each, reason=rooted(each.reason)) for each in evaluation.failures),
        facts={name: str(text) for name, text in _settings(facts, names.without, rooted, names).items()},
        config=_settings(config, anywhere, rooted, names),
    )


def _anonymous_summary(summary: Summary) -> Summary:
    """Facts, settings, options and names of methods, and reasons of failures; the texts of sources are as they were."""
    facts, config = summary.facts, summary.config
    names = _names_in([facts, config, [each.method_repr for each in summary.methods]], [facts.get("model")])
    _warn_of(names, [source.text for source in summary.top_sources])

    def rooted(text: str) -> str:
        return names.without(_without_places(text, (URL, ABSOLUTE)))

    def anywhere(text: str) -> str:
        return names.without(_without_places(text, (URL, ABSOLUTE, RELATIVE)))

    return replace(
        summary,
        methods=tuple(
            replace(each, name=rooted(each.name), method_repr=rooted(each.method_repr)) for each in summary.methods
        ),
        agreements=tuple(
            replace(each, first=rooted(each.first), second=rooted(each.second)) for each in summary.agreements
        ),
        top_sources=tuple(replace(each, method=rooted(each.method)) for each in summary.top_sources),
        failures=tuple(
            replace(each, method=rooted(each.method), reason=rooted(each.reason)) for each in summary.failures
        ),
        facts={name: str(text) for name, text in _settings(facts, names.without, rooted, names).items()},
        config=_settings(config, anywhere, rooted, names),
    )


def _warn_of(names: Names, texts: Sequence[str]) -> None:
    if any(map(names.occur_in, texts)):
        log.warning(
            "The text that is explained holds a path, or the name of a user or a host; it is drawn as it is: check "
            "that it says nothing about its authors."
        )


@dataclass(frozen=True, slots=True)
class Names:
    """Names that are replaced: each with its replacement, the longest first."""

    replaced: tuple[tuple[str, str], ...]

    def without(self, text: str) -> str:
        """The text without these names."""
        for name, replacement in self.replaced:
            text = _pattern(name).sub(lambda _: replacement, text)  # noqa: B023
        return text

    def occur_in(self, text: str) -> bool:
        """Whether a text holds a name, or the path of a home folder; an organisation may well be its subject."""
        names = (name for name, replacement in self.replaced if replacement != ORGANISATION)
        return bool(HOMES.search(text)) or any(_pattern(name).search(text) for name in names)


def _pattern(name: str) -> re.Pattern[str]:
    escaped = re.escape(name)
    inside = len(name) >= SHORTEST
    return re.compile(escaped if inside else rf"(?<![^\W_]){escaped}(?![^\W_])", re.IGNORECASE)


def _names(provenance: Provenance) -> Names:
    """Those of this user and this machine, and those that the provenance itself gives away."""
    given_away = [provenance.model, provenance.config, provenance.request, provenance.method_repr]
    return _names_in(given_away, [provenance.model, provenance.config.get("model"), provenance.request.get("model")])


def _names_in(values: Sequence[Any], models: Sequence[object]) -> Names:
    """Those of this user and this machine, and those in some values and in the names of models."""
    strings = list(_strings(values))
    users = {
        _user(),
        os.path.basename(os.path.expanduser("~")),
        *(match for s in strings for match in HOMES.findall(s)),
    }
    host = socket.gethostname()
    pairs = [(name, USER) for name in users if name.lower() not in GENERAL]
    pairs += [(name, HOST) for name in (host, host.partition(".")[0]) if name.lower() not in LOCAL]
    pairs += [(name, ORGANISATION) for name in _organisations(models)]
    unique = {name.lower(): (name, replacement) for name, replacement in reversed(pairs) if len(name) > 1}
    return Names(tuple(sorted(unique.values(), key=lambda pair: -len(pair[0]))))


def _user() -> str:
    with suppress(Exception):  # KeyError or OSError: there is none
        return getpass.getuser()
    return ""


def _organisations(models: Iterable[object]) -> Iterator[str]:
    """The first part of a hub id, unless that is also in the name of the model."""
    for model in models:
        if isinstance(model, str) and re.fullmatch(r"[\w.-]+/[\w.-]+", model):
            organisation, _, name = model.partition("/")
            if organisation.strip(".") and organisation.lower() not in name.lower():
                yield organisation


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _strings(key)
            yield from _strings(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _strings(each)


def _provenance(provenance: Provenance, names: Names) -> Provenance:
    def rooted(text: str) -> str:
        return names.without(_without_places(text, (URL, ABSOLUTE)))

    def anywhere(text: str) -> str:
        return names.without(_without_places(text, (URL, ABSOLUTE, RELATIVE)))

    return replace(
        provenance,
        model=names.without(_last(provenance.model)),
        revision=_revision(provenance.revision, names),
        method_repr=rooted(provenance.method_repr),
        options=_each(provenance.options, rooted),
        question=_each(provenance.question, rooted),
        versions=_each(provenance.versions, names.without),
        config=_settings(provenance.config, anywhere, rooted, names),
        request=_settings(provenance.request, anywhere, rooted, names, folder=f"{FOLDER}/"),
    )


def _settings(
    table: Mapping[str, Any],
    without: Callable[[str], str],
    rooted: Callable[[str], str],
    names: Names,
    folder: str = "",
) -> dict[str, Any]:
    """Settings by their kind; `folder` stands for what is left out before the name of a model."""
    settings: dict[str, Any] = {}
    for name, value in table.items():
        if name in LEFT_OUT:
            continue
        if name in LOADED and isinstance(value, str):
            last = names.without(_last(value))
            settings[name] = f"{folder}{last}" if last != value else last
        elif name == "revision" and isinstance(value, str):
            settings[name] = _revision(value, names)
        else:
            kept = name in WRITTEN and not (name == "messages" and isinstance(value, str))  # that is a file
            settings[without(str(name))] = value if kept else _each(value, rooted if name in TEXTS else without)
    return {name: value for name, value in settings.items() if name != "revision" or value is not None}


def _each(value: Any, change: Callable[[str], str]) -> Any:
    """A value with all of its texts changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {_each(key, change): _each(each, change) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_each(each, change) for each in value]
    return change(str(value)) if isinstance(value, os.PathLike) else value


def _revision(revision: str | None, names: Names) -> str | None:
    """A hash, perhaps after the name of a file; nothing where it is a name that somebody gave."""
    if revision is None or revision == "main":
        return revision
    last = names.without(_last(revision))
    return last if HASH.fullmatch(last) else None


def _without_places(text: str, kinds: tuple[re.Pattern[str], ...]) -> str:
    if ALL_OF_IT.fullmatch(text):  # with its spaces
        return _last(text)
    text = QUOTED.sub(lambda match: _last(match[0]) if ALL_OF_IT.fullmatch(match[0]) else match[0], text)
    for kind in kinds:
        text = kind.sub(lambda match: _last(match[0]), text)
    return text


def _last(place: str) -> str:
    """The last component of a path, a URL or a hub id; [home] for a home folder, and nothing of a host."""
    place = re.sub(r"[?#].*", "", place) if URL.fullmatch(place) else place
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:[\\/]{2,}", place)
    components = [part for part in re.split(SEPARATORS, place.rstrip("\\/")) if part]
    if not components or (scheme and len(components) < 3 and not place.lower().startswith("file:")):
        return HOST if scheme else place
    last = components[-1]
    if (last.startswith("~") and place.startswith("~")) or (HOMES.search(place) and HOMES.search(place)[1] == last):  # type: ignore[index]
        return HOME
    return "" if re.fullmatch(r"[A-Za-z]:", last) else last
