"""The answer of a what-if in lines and table rows, for the room there is."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from textual.content import Content

from risk_manager.admin.whatif_data import lived_under_rules
from risk_manager.dashboard.widgets.panel import Cell, Column, headings, row
from risk_manager.dashboard.wording import DIM, colour_of, signed
from risk_manager.domain.money import ZERO
from risk_manager.whatif.amounts import Between
from risk_manager.whatif.outcomes import Kind, Outcome
from risk_manager.whatif.result import AccountResult, Result, RuleResult

CENTS_FROM = 94  # columns
CHOSEN = 6  # cells for the sign of the chosen line and what is beside it
AFTER = "began after a day's first intervention; none is added as it was traded"
_RECORD = {
    "on": "rules ON, those of that time",
    "off": "rules OFF",
    "unknown": "as the file has it",
}
_COLOURS = {
    Kind.UNCHANGED: DIM,
    Kind.PREVENTED: "bold $text-success",
    Kind.CUT_EARLY: "bold $text-warning",
    Kind.UNKNOWABLE: "bold $text-accent",
}


def has_cents(room: int) -> bool:
    return room >= CENTS_FROM


def amount(value: Decimal, *, cents: bool) -> str:
    return signed(float(value), cents=cents)


def between(value: Between, *, cents: bool) -> str:
    """Return a range; one amount where both ends read the same."""
    low, high = amount(value.low, cents=cents), amount(value.high, cents=cents)
    return low if low == high else f"{low} to {high}"


def turns_told(count: int) -> str:
    return f"{count} round turn{'' if count == 1 else 's'}"


def summary(result: Result, limits: str, room: int) -> Iterator[Content]:
    """Yield four lines: what was tried, the outcomes, the sums, and what is in no sum."""
    record = lived_under_rules(result)
    yield Content.assemble(("recorded ", DIM), _RECORD[record], ("  tried ", DIM), limits)
    counts = result.counts
    told = [
        part
        for kind in Kind
        for part in (("  ", ""), (str(counts[kind]), "bold"), (f" {kind}", _COLOURS[kind]))
    ]
    yield Content.assemble((f"{turns_told(sum(counts.values()))}:", "bold"), *told)
    yield sums(result.days, room)
    if result.is_reproduced and record == "on":
        yield Content("these limits decide exactly as recorded")
    elif result.after:
        yield Content.assemble(("* ", "bold"), f"{result.after} {AFTER}")
    else:
        yield Content.styled("no round turn began after a first intervention", DIM)


def sums(days: Sequence[AccountResult], room: int) -> Content:
    """Return what was traded against what is known under the limits; cents where there is room."""
    told = _sums(days, cents=True)
    return told if told.cell_length <= room else _sums(days, cents=False)


def _sums(days: Sequence[AccountResult], *, cents: bool) -> Content:
    recorded = sum((day.recorded for day in days), ZERO)
    known = Between.total(day.known for day in days)
    uncounted = _uncounted(days)
    counted = sum(len(day.outcomes) for day in days) - uncounted
    parts: list[Cell] = [
        ("as traded ", DIM),
        (amount(recorded, cents=cents), f"bold {colour_of(float(recorded))}"),
        (f"  under the limits{f', {counted} known:' if uncounted else ''} ", DIM),
        (between(known, cents=cents), f"bold {colour_of(float(known.low + known.high))}"),
    ]
    if uncounted:
        left_out = sum((day.not_counted for day in days), ZERO)
        parts += [
            ("  not counted ", DIM),
            (f"{uncounted}: {amount(left_out, cents=cents)}", "bold"),
        ]
    return Content.assemble(*parts)


def _uncounted(days: Iterable[AccountResult]) -> int:
    return sum(outcome.result is None for day in days for outcome in day.outcomes)


# --- the rules ------------------------------------------------------------------------------------


def rule_lines(rules: Sequence[RuleResult], room: int) -> Iterator[Content]:
    if not rules:
        yield Content.styled("no rule would have acted", DIM)
        return
    cents = has_cents(room)
    width = 20 if cents else 14
    columns = [
        Column("rule", min(max(room - 31 - 2 * width, 12), 30)),
        Column("acted", 5, "right"),
        Column("prevented", 9, "right"),
        Column("cut early", 9, "right"),
        Column("saved", width, "right"),
        Column("missed", width, "right"),
    ]
    yield headings(columns)
    for rule in rules:
        touched = rule.prevented + rule.cut_early
        saved, missed = (
            _unsigned(value, cents=cents) if touched else "-" for value in (rule.saved, rule.missed)
        )
        yield row(
            columns,
            [
                (rule.rule_id, "bold"),
                (str(rule.acted), ""),
                (str(rule.prevented), ""),
                (str(rule.cut_early), ""),
                (saved, "$text-success"),
                (missed, "$text-error"),
            ],
        )


def _unsigned(value: Between, *, cents: bool) -> str:
    """Saved and missed are positive amounts of their own."""
    return between(value, cents=cents).replace("+", "")


# --- the days -------------------------------------------------------------------------------------


def day_columns(room: int, *, has_accounts: bool) -> list[Column]:
    cents = has_cents(room)
    columns = [
        Column("day", 10),
        *([Column("account", 10)] if has_accounts else []),
        Column("turns", 5, "right"),
        Column("as traded", 11 if cents else 9, "right"),
        Column("under limits", 23 if cents else 16, "right"),
        Column("not counted", 16 if cents else 11, "right"),
    ]
    return [*columns, Column("first intervention", _rest(columns, room))]


def day_row(columns: Sequence[Column], day: AccountResult, room: int) -> Content:
    cents = has_cents(room)
    uncounted = _uncounted([day])
    known = day.known
    cells: dict[str, Cell] = {
        "day": (day.day.isoformat(), "bold"),
        "account": (str(day.account_id), ""),
        "turns": (str(len(day.outcomes)), ""),
        "as traded": (amount(day.recorded, cents=cents), colour_of(float(day.recorded))),
        "under limits": (
            between(known, cents=cents),
            colour_of(float(known.low + known.high)),
        ),
        "not counted": (
            f"{uncounted}: {amount(day.not_counted, cents=cents)}" if uncounted else "-",
            "" if uncounted else DIM,
        ),
        "first intervention": (first_intervention(day), ""),
    }
    return row(columns, [cells[column.heading] for column in columns])


def first_intervention(day: AccountResult) -> str:
    if day.intervened_at is None:
        return "-"
    by = "the limits of that day" if day.parted_by_record else day.intervened_by
    return f"{day.intervened_at.astimezone():%H:%M:%S} {by}"


def day_told(day: AccountResult) -> str:
    """Return the course of a day in a sentence."""
    kinds = [outcome.kind for outcome in day.outcomes]
    told = ", ".join(f"{kinds.count(kind)} {kind}" for kind in Kind if kind in kinds)
    why = f"; {day.reason}" if day.intervened_at is not None and day.reason else ""
    return f"{told or 'no round turn'}{why}"


# --- the round turns of a day ---------------------------------------------------------------------


def turn_columns(room: int) -> list[Column]:
    cents = has_cents(room)
    columns = [
        Column("opened", 8),
        Column("round turn", 14),
        Column("as traded", 11 if cents else 10, "right"),
        Column("outcome", 13),
        Column("under the limits", 26 if cents else 22, "right"),
    ]
    return [*columns, Column("why", _rest(columns, room))] if cents else columns


def _rest(columns: Sequence[Column], room: int) -> int:
    """Return the cells that these columns and the sign of the chosen line leave."""
    return max(room - CHOSEN - sum(column.width + 1 for column in columns), 12)


def turn_row(columns: Sequence[Column], outcome: Outcome) -> Content:
    episode, result = outcome.episode, outcome.result
    side = "long" if episode.side > 0 else "short"
    known: Cell = ("-", DIM)
    if result is not None:
        known = (between(result, cents=True), colour_of(float(result.low + result.high)))
    cells: dict[str, Cell] = {
        "opened": (f"{episode.opened_at.astimezone():%H:%M:%S}", DIM),
        "round turn": (f"{side} {episode.size} {outcome.symbol}", "bold"),
        "as traded": (amount(episode.net, cents=True), colour_of(float(episode.net))),
        "outcome": (marked(outcome), _COLOURS[outcome.kind]),
        "under the limits": known,
        "why": (outcome.why, DIM),
    }
    return row(columns, [cells[column.heading] for column in columns])


def marked(outcome: Outcome) -> str:
    """Return the outcome with its marks: * began after the first intervention, ~ an estimate."""
    marks = f"{'*' if outcome.is_after else ''}{'~' if outcome.is_estimate else ''}"
    return f"{outcome.kind} {marks}".rstrip()


def turn_told(outcome: Outcome) -> str:
    """Return why a round turn has its outcome, and what its marks mean."""
    parts = [str(outcome.kind), outcome.why or "it ended before the limits would have acted"]
    if outcome.rule_id:
        parts.append(f"rule {outcome.rule_id}")
    if outcome.is_after:
        parts.append("* began after the first intervention of the day")
    if outcome.is_estimate:
        parts.append("~ the price of the close is an estimate")
    if outcome.result is None:
        parts.append("added to no sum")
    return "; ".join(parts)


# --- the grid -------------------------------------------------------------------------------------


def grid_lines(grid: Sequence[tuple[str, Result]], room: int) -> Iterator[Content]:
    cents = has_cents(room)
    width = 26 if cents else 16
    columns = [
        Column("value", 8, "right"),
        Column("under the limits", width, "right"),
        Column("change", width, "right"),
        Column("best day of it", width, "right"),
        Column("not counted", 18 if cents else 14, "right"),
    ]
    yield headings(columns)
    for value, result in grid:
        best, uncounted = result.best_day_change, _uncounted(result.days)
        yield row(
            columns,
            [
                (value, "bold"),
                (between(result.known, cents=cents), ""),
                (
                    between(result.change, cents=cents),
                    f"bold {colour_of(float(result.change.low + result.change.high))}",
                ),
                ("-" if best is None else between(best, cents=cents), ""),
                (
                    f"{uncounted}: {amount(result.not_counted, cents=cents)}" if uncounted else "-",
                    DIM,
                ),
            ],
        )
