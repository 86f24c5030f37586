"""The answer of `admin journal whatif` as text."""

from collections.abc import Iterator, Sequence

from risk_manager.admin.whatif import Answer
from risk_manager.admin.whatif_data import lived_under_rules
from risk_manager.domain.money import dollars
from risk_manager.whatif.grid import WARNING
from risk_manager.whatif.outcomes import Kind, Outcome
from risk_manager.whatif.result import AccountResult, Result, RuleResult

TURNS_LISTED = 60
_RECORD = {
    "on": "rules ON, those of that time",
    "off": "rules OFF",
    "unknown": "as the file has it; whether rules were ON is not known",
}


def lines(answer: Answer, limits: str) -> Iterator[str]:
    """Yield the lines of the answer. `limits` names the configuration that was tried."""
    result = answer.result
    yield f"recorded:  {_RECORD[lived_under_rules(result)]}"
    yield f"tried:     rules ON, as in {limits}"
    yield ""
    if not result.days:
        yield "there is no record of these days"
        yield from _notes(answer)
        return
    yield from _summary(result)
    yield ""
    yield from _table(
        ("day", "account", "turns", "recorded", "tried", "not counted", "first intervention"),
        [_day(day) for day in result.days],
        right={2, 3, 4, 5},
    )
    if result.rules:
        yield ""
        yield from _table(
            ("rule", "acted", "prevented", "cut early", "saved", "missed"),
            [_rule(rule) for rule in result.rules.values()],
            right={1, 2, 3, 4, 5},
        )
    yield from _turns(result)
    yield from _grid(answer)
    yield from _notes(answer)


def _summary(result: Result) -> Iterator[str]:
    counts = result.counts
    every, uncounted = sum(counts.values()), _uncounted(result)
    told = ", ".join(f"{counts[kind]} {kind}" for kind in Kind)
    yield f"{_round_turns(every)}: {told}"
    yield f"recorded result {dollars(result.recorded)}, fees included"
    yield (
        f"with these limits {result.known}, from the {_round_turns(every - uncounted)} whose "
        "outcome can be known"
    )
    if uncounted:
        yield (
            f"not counted: {_round_turns(uncounted)}, recorded result {dollars(result.not_counted)}"
        )
    if result.after:
        yield (
            f"{_round_turns(result.after)} began after the first intervention of the day (* below);"
            " nobody knows how the trader would have gone on"
        )
    if result.is_reproduced and lived_under_rules(result) == "on":
        yield "these limits decide exactly as recorded"


def _round_turns(count: int) -> str:
    return f"{count} round turn{'' if count == 1 else 's'}"


def _uncounted(result: Result) -> int:
    return sum(o.result is None for d in result.days for o in d.outcomes)


def _day(day: AccountResult) -> tuple[str, ...]:
    came = "-"
    if day.intervened_at is not None:
        at = f"{day.intervened_at.astimezone():%H:%M:%S}"
        by = "the limits of that day" if day.parted_by_record else day.intervened_by
        came = f"{at} {by}"
    uncounted = sum(o.result is None for o in day.outcomes)
    return (
        day.day.isoformat(),
        str(day.account_id),
        str(len(day.outcomes)),
        dollars(day.recorded),
        str(day.known),
        f"{uncounted}: {dollars(day.not_counted)}" if uncounted else "-",
        came,
    )


def _turns(result: Result) -> Iterator[str]:
    changed = [o for day in result.days for o in day.outcomes if _is_told(o)]
    if not changed:
        return
    yield ""
    yield from _table(
        ("opened", "round turn", "recorded", "outcome", "result", "why"),
        [_turn(outcome) for outcome in changed[:TURNS_LISTED]],
        right={2},
    )
    if len(changed) > TURNS_LISTED:
        yield f"and {len(changed) - TURNS_LISTED} more; --json lists every round turn"


def _rule(rule: RuleResult) -> tuple[str, ...]:
    changed = rule.prevented + rule.cut_early
    return (
        rule.rule_id,
        str(rule.acted),
        str(rule.prevented),
        str(rule.cut_early),
        str(rule.saved) if changed else "-",
        str(rule.missed) if changed else "-",
    )


def _is_told(outcome: Outcome) -> bool:
    """Whether a round turn has a line. Those that only came later are told by their number."""
    came_later = outcome.kind is Kind.UNKNOWABLE and outcome.is_after
    return outcome.kind is not Kind.UNCHANGED and not came_later


def _turn(outcome: Outcome) -> tuple[str, ...]:
    episode = outcome.episode
    side = "long" if episode.side > 0 else "short"
    known = "-" if outcome.result is None else str(outcome.result)
    return (
        f"{episode.opened_at.astimezone():%Y-%m-%d %H:%M:%S}",
        f"{side} {episode.size} {outcome.symbol}",
        dollars(episode.net),
        f"{outcome.kind}{' *' if outcome.is_after else ''}",
        f"{known}{' (estimate)' if outcome.is_estimate else ''}",
        outcome.why,
    )


def _grid(answer: Answer) -> Iterator[str]:
    if not answer.grid:
        return
    yield ""
    yield from _table(
        ("value", "result of known turns", "change", "best day of it", "not counted"),
        [
            (value, f"{one.known}", f"{one.change}", f"{one.best_day_change}",
             dollars(one.not_counted))
            for value, one in answer.grid
        ],
        right={0, 1, 2, 3, 4},
    )  # fmt: skip
    yield f"warning: {WARNING}"


def _notes(answer: Answer) -> Iterator[str]:
    if answer.notes:
        yield ""
    for note in answer.notes:
        yield f"note: {note}"


def _table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, right: set[int]
) -> Iterator[str]:
    widths = [max(len(row[n]) for row in (header, *rows)) for n in range(len(header))]
    for row in (header, *rows):
        cells = [
            cell.rjust(width) if n in right else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
