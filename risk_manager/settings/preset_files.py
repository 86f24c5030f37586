"""Presets: the limits of a firm's plan as dated data, each line with its source."""

import re
from collections.abc import Mapping
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, PositiveInt, ValidationError, model_validator

from risk_manager.settings.documents import Document, parse
from risk_manager.settings.explain import explain
from risk_manager.settings.fields import Section
from risk_manager.settings.problems import ConfigurationErrors, Problem

FOLDER = "presets"
_SUFFIX = ".yaml"
_WORD = re.compile(r"[a-z][a-z0-9_]*")


def _plain_word(value: str) -> str:
    if not _WORD.fullmatch(value):
        raise ValueError("must be a word of small letters, digits and _")
    return value


class PresetLine(Section):
    """One limit of a plan, or one figure that no rule enforces (`rule` is None then).

    `checked` is the day on which the source was last read. After `expires` the figure is no longer
    relied upon without a new look at the source. `optional`: the firm lets the trader choose it.

    `needs` are values that only the trader knows, such as the first day of an evaluation; without
    them the line is not enforced. `takes` are values that the trader may state.
    """

    name: Annotated[str, AfterValidator(_plain_word)]
    rule: str | None = None
    set: Mapping[str, Any] = Field(default_factory=dict)
    figure: str | None = None
    source: str = Field(min_length=1)
    checked: date
    expires: date
    confidence: Literal["high", "medium", "low"]
    optional: bool = False
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    note: str = ""

    @model_validator(mode="after")
    def _either_a_rule_or_a_figure(self) -> Self:
        if (self.rule is None) is (self.figure is None):
            raise ValueError("has either a rule with its values, or a figure in words")
        if self.expires <= self.checked:
            raise ValueError("expires before it was checked")
        return self

    def told_source(self) -> str:
        return f"{self.source}, checked {self.checked}, confidence {self.confidence}"


class Preset(Section):
    """All lines of one plan: a firm, an account size, a phase."""

    preset: str
    title: str = Field(min_length=1)
    account_size: PositiveInt
    phase: Literal["combine", "express", "live"]
    lines: tuple[PresetLine, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [line.name for line in self.lines]
        if len(set(names)) < len(names):
            raise ValueError("two lines have the same name")
        return self

    @property
    def expires(self) -> date:
        """Return the first day after which a line is no longer relied upon."""
        return min(line.expires for line in self.lines)

    def expired(self, today: date) -> tuple[PresetLine, ...]:
        return tuple(line for line in self.lines if line.expires < today)

    def line(self, name: str) -> PresetLine | None:
        return next((line for line in self.lines if line.name == name), None)


def file_of(name: str) -> str:
    """Return the name under which the text of a preset is kept with those of the files."""
    return f"{FOLDER}/{name}{_SUFFIX}"


@cache
def shipped_names() -> tuple[str, ...]:
    """Return the names of the presets of this version."""
    folder = files("risk_manager.settings") / FOLDER
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(n.removesuffix(_SUFFIX) for n in names if n.endswith(_SUFFIX)))


@cache
def shipped_text(name: str) -> str:
    return (files("risk_manager.settings") / FOLDER / f"{name}{_SUFFIX}").read_text("utf-8")


def shipped_preset(name: str) -> Preset:
    """Return a preset of this version. Raises KeyError for an unknown name."""
    if name not in shipped_names():
        raise KeyError(name)
    return read_preset(name, shipped_text(name))


@cache
def read_preset(name: str, text: str) -> Preset:
    """Return the preset in a text. Raises ConfigurationErrors if it cannot be used."""
    document = Document(file_of(name))
    parse(document, text.encode())
    if document.problems:
        raise ConfigurationErrors(document.problems)
    try:
        found = Preset.model_validate(document.data)
    except ValidationError as error:
        for path, sentence in explain(error, document.data, Preset):
            document.refuse(path, sentence)
        raise ConfigurationErrors(document.problems) from None
    if found.preset != name:
        raise ConfigurationErrors([Problem(document.name, 0, "preset", f"must be {name}")])
    return found
