"""A what-if as a person asks it: which days, under which limits, with which values on trial."""

from dataclasses import dataclass
from pathlib import Path

from risk_manager.admin.whatif import Answer, Asked, Watch, judge, unwatched
from risk_manager.settings.loading import load
from risk_manager.settings.yaml_edits import EditRefused, value_of
from risk_manager.whatif.grid import GridRefused, Trial, parse_grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """`config` is the folder whose limits are tried.

    `trials` are values as RULE.FIELD=VALUE that count instead of the written ones. `grid` is empty,
    or one field with several values.
    """

    config: Path
    asked: Asked
    trials: tuple[str, ...] = ()
    grid: str = ""

    @property
    def limits(self) -> str:
        """What is tried, in words."""
        changed = f", with {', '.join(self.trials)}" if self.trials else ""
        return f"{self.config}{changed}"

    def answer(self, watch: Watch = unwatched) -> Answer:
        """Judge the days. Raises `StoreError`, `UnreadableFile`, `GridRefused` and what `load`
        raises."""
        grid = parse_grid(self.grid) if self.grid else None
        trials = [parse_trial(text) for text in self.trials]
        return judge(self.asked, load(self.config), grid, trials=trials, watch=watch)


def parse_trial(text: str) -> Trial:
    """Read RULE.FIELD=VALUE, the value as it is written in the file. Raises `GridRefused`."""
    name, _, value = text.strip().partition("=")
    rule, _, field = name.strip().rpartition(".")
    if not rule or not field or not value.strip():
        raise GridRefused(f"{text!r} is no value; write it as daily_realized_loss.limit=400")
    try:
        return Trial(rule=rule, field=field, value=value_of(value.strip()))
    except EditRefused as error:
        raise GridRefused(str(error)) from None
