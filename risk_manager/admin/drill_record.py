"""The result of the last fire drill, as the data folder keeps it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from risk_manager.settings.loading import load
from risk_manager.settings.problems import ConfigurationErrors

DRILL_FILE = "selftest.json"
RUN = "risk-manager admin selftest"


class DrilledRule(BaseModel):
    """One rule in a drill. `took_ms` is from the breach to the decision; None: it did not fire.

    `what` is what the rule did, or why it did nothing. `silence` is empty for a rule that was
    driven to its breach, else why it was not: never, shadow, live or disabled.
    """

    model_config = ConfigDict(frozen=True)

    rule_id: str
    accounts: tuple[int, ...]
    fired: bool
    what: str
    took_ms: float | None = None
    silence: str = ""

    @property
    def is_armed(self) -> bool:
        return not self.silence

    @property
    def is_fault(self) -> bool:
        """Whether the rule is meant to act and did not, or never can."""
        return (self.is_armed and not self.fired) or self.silence == "never"


class DrillRecord(BaseModel):
    """A drill: when it was, under which limits (their digest), and the result of each rule."""

    model_config = ConfigDict(frozen=True)

    at: AwareDatetime
    digest: str
    version: str
    rules: tuple[DrilledRule, ...]

    @property
    def armed(self) -> int:
        return sum(rule.is_armed for rule in self.rules)

    @property
    def fired(self) -> int:
        return sum(rule.is_armed and rule.fired for rule in self.rules)

    @property
    def faults(self) -> tuple[DrilledRule, ...]:
        return tuple(rule for rule in self.rules if rule.is_fault)

    @property
    def sum(self) -> str:
        return f"{self.fired} of {self.armed} armed rules fired"


def keep(data: Path, record: DrillRecord) -> None:
    """Store the result of a drill. Raises OSError."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = data / f"{DRILL_FILE}.new"
    fresh.write_text(record.model_dump_json(indent=2), encoding="utf-8")
    fresh.replace(data / DRILL_FILE)


def last_drill(data: Path) -> DrillRecord | None:
    """Return the last drill; None if there was none, or its file cannot be read."""
    try:
        return DrillRecord.model_validate_json((data / DRILL_FILE).read_text(encoding="utf-8"))
    except (OSError, ValidationError, ValueError):
        return None


def told(record: DrillRecord | None, digest: str | None) -> str:
    """Return when the last drill was, what came of it, and whether the limits changed since.

    `digest` is that of the limits now; None: they cannot be read.
    """
    if record is None:
        return f"none yet; run: {RUN}"
    when = record.at.astimezone()
    days = (datetime.now(UTC) - record.at).days
    ago = "today" if days < 1 else f"{days} day{'' if days == 1 else 's'} ago"
    text = f"{record.sum} on {when:%Y-%m-%d %H:%M} ({ago})"
    if record.faults:
        text += f"; not as they should: {names(record.faults)}"
    if digest is None:
        return text
    if digest != record.digest:
        return f"{text}; THE LIMITS HAVE CHANGED SINCE; run: {RUN}"
    return f"{text}; the limits are the same"


def drill_told(config: Path, data: Path) -> str:
    """Return what `told` says of the last drill, by the files as they are now."""
    try:
        digest: str | None = load(config).digest
    except ConfigurationErrors:
        digest = None
    return told(last_drill(data), digest)


def names(rules: Sequence[DrilledRule]) -> str:
    return ", ".join(dict.fromkeys(rule.rule_id for rule in rules))
