"""A preset on one page: each line in words, whether it is enforced, and its source."""

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from risk_manager.settings.configuration import Configuration, plain
from risk_manager.settings.preset_entries import (
    PresetEntry,
    UsedPreset,
    line_id,
    made,
    missing_in,
)
from risk_manager.settings.preset_files import Preset, PresetLine, shipped_preset
from risk_manager.settings.rule_entries import rule_classes

NOT_STATED = "not enforced before you state"
NO_SUCH_RULE = "not enforced: no such rule in this version"


@dataclass(frozen=True, slots=True)
class LineRow:
    """One line. `standing` says whether it is enforced, in a few words."""

    name: str
    rule: str | None
    standing: str
    words: str
    source: str
    expires: date
    optional: bool
    note: str


@dataclass(frozen=True, slots=True)
class PresetPage:
    """A preset of this version, or the one in use, and whether the files use it."""

    preset: Preset
    remark: str
    rows: tuple[LineRow, ...]

    def plain(self) -> dict[str, Any]:
        return {
            "preset": self.preset.preset,
            "title": self.preset.title,
            "account_size": self.preset.account_size,
            "phase": self.preset.phase,
            "standing": self.remark,
            "lines": [plain(asdict(row)) for row in self.rows],
        }


def preset_page(files: Configuration, name: str, today: date) -> PresetPage:
    """Return the page of a preset. Raises KeyError for an unknown name."""
    used = next((u for u in files.presets if u.preset.preset == name), None)
    preset = shipped_preset(name) if used is None else used.preset
    rows = tuple(row_of(preset, line, used, today) for line in preset.lines)
    return PresetPage(preset, "not in use" if used is None else _in_use(used), rows)


def row_of(preset: Preset, line: PresetLine, used: UsedPreset | None, today: date) -> LineRow:
    """Return one line; `used` is the preset as the files use it, None where they do not."""
    expired = f", expired on {line.expires}" if line.expires < today else ""
    return LineRow(
        name=line.name,
        rule=line.rule,
        standing=_standing(preset, line, used) + expired,
        words=in_words(preset, line, used),
        source=f"source: {line.told_source()}, expires {line.expires}",
        expires=line.expires,
        optional=line.optional,
        note=line.note,
    )


def in_words(preset: Preset, line: PresetLine, used: UsedPreset | None) -> str:
    """Return what a line asks for: the sentences of its rule, or its values where there is none."""
    if line.figure is not None:
        return line.figure
    classes = rule_classes()
    entry = PresetEntry(preset=preset.preset) if used is None else used.entry
    if line.rule in classes and not missing_in(line, entry):
        return made(line, line_id(preset, line), classes, entry).in_words()
    values = ", ".join(f"{key} {_short(value)}" for key, value in line.set.items())
    return f"{line.rule}: {values}"


def _standing(preset: Preset, line: PresetLine, used: UsedPreset | None) -> str:
    if line.rule is None:
        return "for your information"
    if line.rule not in rule_classes():
        return NO_SUCH_RULE
    missing = missing_in(line, PresetEntry(preset=preset.preset) if used is None else used.entry)
    if missing:
        return f"{NOT_STATED} {', '.join(missing)}"
    if used is None:
        return "optional" if line.optional else "enforced where the preset is used"
    if line.name in used.entry.without:
        return "left out"
    if not used.entry.enabled:
        return "disabled"
    return "shadow" if used.entry.shadow else "enforced"


def _in_use(used: UsedPreset) -> str:
    if used.entry.accounts is None:
        return "in use for all accounts"
    return f"in use for account {', '.join(map(str, sorted(used.entry.accounts)))}"


def _short(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}:{_short(item)}" for key, item in value.items())
    if isinstance(value, list):
        return " / ".join(map(_short, value))
    return str(value)
