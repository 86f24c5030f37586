"""A report as headed sections of sentences and tables, the same for the text and the page. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from risk_manager.admin.reports.discipline import AfterLoss
from risk_manager.admin.reports.interventions import ClosedLots, Intervention, LockLine
from risk_manager.admin.reports.records import Gap
from risk_manager.admin.reports.report import Report
from risk_manager.admin.reports.stops import StopChange
from risk_manager.domain.durations import plain_duration
from risk_manager.domain.money import ZERO, dollars

UNKNOWN = "unknown"
ESTIMATE = "Estimate:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """`numbers` are the places of the columns that are aligned on the right."""

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numbers: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading, a table or none, lines under it, and groups of lines with a heading each."""

    heading: str
    table: Table | None = None
    lines: list[str] = field(default_factory=list)
    groups: list[tuple[str, list[str]]] = field(default_factory=list)
    has_curve: bool = False


def title(report: Report) -> str:
    """Return the headline: which days, of which account."""
    name = f" ({report.account})" if report.account else ""
    span = (
        f"{report.first:%A %Y-%m-%d}"
        if report.first == report.last
        else f"Week from {report.first} to {report.last}"
    )
    return f"{span}, account {report.account_id}{name}"


def sections(report: Report) -> list[Section]:
    """Return the report in the order in which it is read."""
    return [
        _result(report),
        _trades(report),
        _rules(report),
        _discipline(report),
        _locks(report),
        _gaps(report),
    ]


def money(amount: Decimal | None) -> str:
    return UNKNOWN if amount is None else dollars(amount)


# --- result and trades ----------------------------------------------------------------------------


def _result(report: Report) -> Section:
    rows = [
        (
            f"{d.date:%a %m-%d}",
            money(d.realised),
            money(d.fees),
            money(d.net),
            UNKNOWN if d.trades is None else str(d.trades),
            money(d.end_balance),
        )
        for d in report.days
    ]
    total = report.total
    if len(rows) > 1:
        count = UNKNOWN if total.trades is None else str(total.trades)
        rows.append(("all", money(total.realised), money(total.fees), money(total.net), count, ""))
    lines = [f"{d.date:%a %m-%d}: {d.note}." for d in report.days if d.note]
    known = [d.net for d in report.days if d.net is not None]
    if known and total.net is None:
        lines.append(f"The recorded days add up to net {dollars(sum(known, ZERO))}.")
    if report.is_unfinished:
        lines.append("The last day of this report has not ended; figures may still change.")
    held = ", ".join(f"{p.net:+d} {p.symbol}" for p in report.open_positions)
    if held:
        lines.append(f"Still open after the last execution: {held}. It is not in the result.")
    if not rows:
        lines.append("None of these days has begun.")
    head = ("day", "realised", "fees", "net", "trades", "balance at end")
    table = Table(head=head, rows=rows, numbers=frozenset(range(1, 6)))
    return Section(heading="Result", table=table if rows else None, lines=lines)


def _trades(report: Report) -> Section:
    if not report.trades:
        return Section(heading="Trades", lines=["No trade is recorded."], has_curve=True)
    is_week = report.first != report.last
    rows = [
        (
            str(n),
            f"{t.last_at.astimezone(report.zone):{'%a ' if is_week else ''}%H:%M:%S}",
            t.symbol,
            t.side,
            str(t.lots),
            money(t.net),
            money(t.day_so_far),
        )
        for n, t in enumerate(report.trades, 1)
    ]
    head = ("#", "closed", "contract", "side", "lots", "net", "day so far")
    table = Table(head=head, rows=rows, numbers=frozenset({0, 4, 5, 6}))
    return Section(
        heading="Trades", table=table, lines=list(_of_some_trades(report)), has_curve=True
    )


def _of_some_trades(report: Report) -> Iterator[str]:
    by_rules: dict[tuple[str, ...], list[int]] = {}
    partly, headless = [], []
    for n, t in enumerate(report.trades, 1):
        if t.closed_by:
            by_rules.setdefault(t.closed_by, []).append(n)
        if t.ended_at is None:
            partly.append(n)
        if t.opened_at is None:
            headless.append(n)
    for rules, numbers in by_rules.items():
        yield f"Closed by {', '.join(rules)}: {_numbered(numbers)}."
    if partly:
        yield f"Still open in part, with the figures of the lots closed: {_numbered(partly)}."
    if headless:
        yield f"Opening not recorded, and so its fees {UNKNOWN}: {_numbered(headless)}."


def _numbered(numbers: list[int]) -> str:
    word = "trade" if len(numbers) == 1 else "trades"
    return f"{word} {', '.join(map(str, numbers))}"


# --- rules ----------------------------------------------------------------------------------------


def _rules(report: Report) -> Section:
    if not report.interventions:
        return Section(heading="Interventions", lines=["No rule intervened."])
    groups = [_rule(report, i) for i in report.interventions]
    return Section(heading="Interventions", groups=groups)


def _rule(report: Report, i: Intervention) -> tuple[str, list[str]]:
    day = f"{i.date:%a %m-%d}: " if report.first != report.last else ""
    lines = []
    for d in i.decisions:
        times = f" ({d.times} times)" if d.times > 1 else ""
        shadow = "in shadow, nothing was done: " if d.is_shadow else ""
        lines.append(f"{_clock(report, d.at)} {shadow}{d.reason}{times}")
    done = [f"{c.count} {c.action.replace('_', ' ')} {c.outcome}" for c in i.calls]
    if i.locks:
        done.append("1 lock" if i.locks == 1 else f"{i.locks} locks")
    if done:
        lines.append(f"Done: {', '.join(done)}.")
    if i.net_after is not None and i.trades_after is not None:
        trades = "1 trade was" if i.trades_after == 1 else f"{i.trades_after} trades were"
        lines.append(
            f"Executed after it, its own closes included: net {dollars(i.net_after)}; {trades} "
            "opened and ended."
        )
    lines += [_closed(report, c) for c in i.closed]
    return f"{day}{i.rule_id}", lines


def _closed(report: Report, c: ClosedLots) -> str:
    told = f"It closed {c.lots} {c.symbol}, which realised {dollars(c.realised)}."
    if c.gain_if_held is None or c.valued_at is None:
        return (
            f"{told} Whether holding on would have been better is {UNKNOWN}: no later price of "
            "the contract is recorded."
        )
    difference = f"{dollars(abs(c.gain_if_held))} {'less' if c.gain_if_held < 0 else 'more'}"
    return (
        f"{told} {ESTIMATE} held until the account's last fill in it, at "
        f"{_clock(report, c.valued_at)}, these lots would have made {difference} before fees."
    )


# --- discipline -----------------------------------------------------------------------------------


def _discipline(report: Report) -> Section:
    d = report.discipline
    rows = [
        ("trades won / lost / even", f"{d.wins} / {d.losses} / {d.scratches}"),
        ("re-entries within 15 minutes after a loss", str(d.reentries)),
        ("  of these at 1.25 times the size (1.1 after two losses)",
         str(d.revenge_entries)),
        ("entries at more than 1.5 times the size after a loss", str(d.escalations)),
        ("size after a loss against the loser, average",
         UNKNOWN if d.size_after_loss is None else f"{d.size_after_loss} times"),
        ("median wait to the next entry after a loss", _length(d.median_gap_after_loss_s)),
        ("median wait to the next entry after a win", _length(d.median_gap_after_win_s)),
        ("entries", str(d.entries)),
        ("entries an hour, over hours with an entry",
         UNKNOWN if d.entries_per_active_hour is None else str(d.entries_per_active_hour)),
        ("most entries within 60 minutes", _busiest(report)),
        ("stops moved away", _stops(report, removed=False)),
        ("stops removed", _stops(report, removed=True)),
    ]  # fmt: skip
    lines = [_after_loss(report, a) for a in d.after_losses if a.is_reentry or a.is_escalation]
    lines += [_stop(report, s) for s in report.stops.changes]
    if report.stops.unknown_days:
        days = ", ".join(f"{day:%a %m-%d}" for day in report.stops.unknown_days)
        lines.append(f"Stops moved or removed are {UNKNOWN} for {days}: orders are not stored.")
    table = Table(head=("figure", "value"), rows=rows, numbers=frozenset({1}))
    return Section(heading="Discipline", table=table, lines=lines)


def _busiest(report: Report) -> str:
    d = report.discipline
    if d.busiest_hour_from is None:
        return "0"
    return f"{d.busiest_hour_entries} from {_clock(report, d.busiest_hour_from)}"


def _stops(report: Report, *, removed: bool) -> str:
    count = sum((s.to_price is None) == removed for s in report.stops.changes)
    if not report.stops.unknown_days:
        return str(count)
    return f"{count} or more" if count else UNKNOWN


def _after_loss(report: Report, a: AfterLoss) -> str:
    word = " (revenge entry)" if a.is_revenge else " (escalation)" if a.is_escalation else ""
    return (
        f"{_clock(report, a.entered_at)} {a.symbol}: {_length(a.gap_s)} after a loss of "
        f"{dollars(abs(a.lost))} in {a.lost_symbol}, at {a.size_ratio} times its size{word}."
    )


def _stop(report: Report, s: StopChange) -> str:
    how = "removed" if s.to_price is None else f"moved away to {s.to_price}"
    end = "is still open" if s.trade_net is None else f"came to {dollars(s.trade_net)}"
    return (
        f"{_clock(report, s.at)} {s.symbol}: the stop at {s.from_price} was {how}; the trade {end}."
    )


def _length(seconds: float | None) -> str:
    if seconds is None:
        return UNKNOWN
    return plain_duration(timedelta(seconds=round(seconds))) if seconds >= 1 else "under 1s"


# --- locks and gaps -------------------------------------------------------------------------------


def _locks(report: Report) -> Section:
    lines = [_lock(report, lock) for lock in report.locks] or ["No lock was in force."]
    return Section(heading="Locks", lines=lines)


def _lock(report: Report, k: LockLine) -> str:
    if k.ended_at is not None:
        end = f"ended {_instant(report, k.ended_at)} by {k.ended_by or UNKNOWN}"
    elif k.until is not None:
        end = f"not recorded as ended; until {_instant(report, k.until)}"
    else:
        end = f"in force, released by {k.release}"
    return f"{_instant(report, k.set_at)} {k.rule_id}, {k.scope}, {k.policy}: {k.reason}; {end}."


def _gaps(report: Report) -> Section:
    lines = [_gap(report, g) for g in report.gaps] or ["No time without a guard is recorded."]
    lines.append("A time without a guard is recorded at the start that ends it.")
    return Section(heading="Nobody guarded", lines=lines)


def _gap(report: Report, g: Gap) -> str:
    why = "the daemon had been stopped" if g.clean else "the daemon ended without being stopped"
    length = timedelta(seconds=round((g.ended_at - g.began_at).total_seconds()))
    traded = UNKNOWN if g.executions is None else f"{g.executions} executions, net {money(g.net)}"
    return (
        f"{_instant(report, g.began_at)} to {_instant(report, g.ended_at)} "
        f"({plain_duration(length)}): {why}. Traded in it: {traded}."
    )


def _clock(report: Report, at: datetime) -> str:
    day = "%a " if report.first != report.last else ""
    return f"{at.astimezone(report.zone):{day}%H:%M:%S}"


def _instant(report: Report, at: datetime) -> str:
    return f"{at.astimezone(report.zone):%a %m-%d %H:%M:%S}"


def shown(text: str) -> str:
    """Return stored text without characters that steer a terminal or a page."""
    return "".join(c if c.isprintable() else "?" for c in text)


def all_shown(cells: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(shown, cells))
