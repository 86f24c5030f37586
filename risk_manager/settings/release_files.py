"""The calendar files that rules name: found in the configuration folder, read with it, and kept.

A file is part of the limits: its text is kept with those of the other files, so that a release
taken out of it still counts until the reset, like every limit that is loosened.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal

from pydantic import ValidationError

from risk_manager.rules.release_window import Release
from risk_manager.settings.documents import Document, Path_, parse, read, read_text
from risk_manager.settings.explain import explain
from risk_manager.settings.fields import Section
from risk_manager.settings.ics import NotReadable, read_events

RULE = "release_window"
DEFAULT_ZONE = "America/Chicago"


class ReleaseList(Section):
    """A calendar of releases in YAML. It is complete up to the date `through`."""

    version: Literal[1] = 1
    source: str = ""
    through: date | None = None
    releases: tuple[Release, ...]


class ReleaseFiles:
    """Reads the files by name, each once. `folder` None: only the `texts` given are known."""

    def __init__(self, folder: Path | None, texts: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._texts = texts or {}
        self._documents: dict[str, Document] = {}

    @property
    def texts(self) -> dict[str, str]:
        """The text of each file read."""
        return {name: d.text for name, d in self._documents.items() if not d.problems}

    def expanded(self, document: Document, path: Path_, item: Mapping[str, Any]) -> dict[str, Any]:
        """Return a rule's entry with the contents of its file in place of the file's name.

        What is wrong with the file is added to `document`, which names it.
        """
        name = item.get("file")
        if item.get("rule") != RULE or name is None:
            return dict(item)
        try:
            if not isinstance(name, str):
                raise NotReadable(0, "must be the name of a file, as releases.ics")
            why = _why_not(name)
            if why:
                raise NotReadable(0, f"{name}: {why}")
            return {**item, "file": {"name": name, **self._contents(name, item)}}
        except NotReadable as error:
            document.refuse((*path, "file"), str(error))
            return {**item, "file": None}

    def _contents(self, name: str, item: Mapping[str, Any]) -> dict[str, Any]:
        document = self._document(name)
        if document.problems:
            raise NotReadable(0, str(document.problems[0]))
        patterns = item.get("names")
        chosen = [str(p).casefold() for p in patterns] if isinstance(patterns, list) else []
        try:
            found = _of_ics(document, chosen) if _is_ics(name) else _of_yaml(document, chosen)
        except NotReadable as error:
            raise NotReadable(error.line, f"{name} line {error.line}: {error}") from None
        return found

    def _document(self, name: str) -> Document:
        known = self._documents.get(name)
        if known is None:
            known = self._documents[name] = self._read(name)
        return known

    def _read(self, name: str) -> Document:
        if name in self._texts:
            document = Document(name, text=self._texts[name])
            if not _is_ics(name):
                parse(document, document.text.encode())
            return document
        if self._folder is None:
            document = Document(name, exists=False)
            document.refuse((), "was not kept with the limits")
            return document
        return read_text(self._folder, name) if _is_ics(name) else read(self._folder, name)


def _is_ics(name: str) -> bool:
    return name.lower().endswith(".ics")


def _why_not(name: str) -> str:
    """Return why a file may not be named; empty where it may."""
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(name)
        if path.is_absolute() or path.drive or ".." in path.parts:
            return "must lie in the configuration folder; write its name alone"
    if name in ("settings.yaml", "accounts.yaml", "risk_config.yaml", "calendar.yaml"):
        return "is a file of the configuration itself"
    if not name.lower().endswith((".ics", ".yaml", ".yml")):
        return "must be an .ics or a .yaml file"
    return ""


def _of_yaml(document: Document, patterns: list[str]) -> dict[str, Any]:
    data = document.data
    if not isinstance(data, dict):
        raise NotReadable(1, "must be a group of keys with releases: [...]")
    try:
        found = ReleaseList.model_validate(data)
    except ValidationError as error:
        path, sentence = explain(error, data, ReleaseList)[0]
        raise NotReadable(document.line(path), f"{document.key(path)}: {sentence}") from None
    return {
        "through": found.through,
        "last_at": _last(found.releases),
        "releases": tuple(r for r in found.releases if _is_named(r.name, patterns)),
    }


def _of_ics(document: Document, patterns: list[str]) -> dict[str, Any]:
    every, chosen = [], []
    for event in read_events(document.text):
        is_named = _is_named(event.summary, patterns)
        if is_named and event.at is None:
            raise NotReadable(
                event.line,
                f"{event.summary or 'an event'} has no hour; choose the releases with names: [...]",
            )
        if is_named and event.repeats:
            raise NotReadable(
                event.line, f"{event.summary or 'an event'} repeats; write each of its dates out"
            )
        if event.at is not None:
            release = Release(at=event.at, name=event.summary[:200])
            every.append(release)
            chosen += [release] if is_named else []
    return {"last_at": _last(every), "releases": tuple(chosen)}


def _is_named(name: str, patterns: list[str]) -> bool:
    folded = name.casefold()
    # fnmatch treats brackets as wildcards; here only * and ? are wildcards.
    return not patterns or any(fnmatchcase(folded, p.replace("[", "[[]")) for p in patterns)


def _last(releases: Iterable[Release]) -> datetime | None:
    return max((r.instants(r.timezone or DEFAULT_ZONE)[1] for r in releases), default=None)
