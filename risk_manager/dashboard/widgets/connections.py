"""Every connection the guard stands on, what is in doubt and since when, and which daemon it is."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from textual.content import Content

from risk_manager.dashboard.drill import last_drill
from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.widgets.connection_line import BAD, DOUBT, GOOD, Part, daemon, feed
from risk_manager.dashboard.widgets.connection_line import hub as stream
from risk_manager.dashboard.widgets.connection_line import rest as gateway_rest
from risk_manager.dashboard.widgets.panel import Panel
from risk_manager.dashboard.wording import DIM, UNKNOWN, age, clock, countdown, duration

_NOT_TOLD = "not told by this daemon"


class Connections(Panel):
    """Shown before any account is known, too: this is where one looks when nothing comes."""

    heading = "Connections"

    def show(self, glance: Glance) -> None:
        self.put_lines(self.lines(glance))

    def lines(self, glance: Glance) -> Iterator[Content]:
        yield _line(feed(glance), "feed")
        if glance.picture.told_at is None:
            yield Content("")
            yield Content("No daemon has been heard yet. The screen connects by itself.")
            yield Content("Start one with: risk-manager run")
            return
        said = glance.picture.message
        more = said if glance.live or not said else f"last said: {said}"
        yield _line(daemon(glance), "daemon", more)
        yield from _about(glance)
        yield Content("")
        for name in dict.fromkeys(("user", "market", *glance.picture.hubs)):
            row = glance.picture.hubs.get(name)
            since = "" if row is None else f"since {clock(row.since, glance.now)} {row.reason}"
            yield _line(stream(glance, name), f"{name} stream", since)
        yield from _rest(glance)
        yield from _login(glance)
        yield from _database(glance)
        yield from _drill(glance)
        yield Content("")
        yield from _doubts(glance)


def _line(part: Part, name: str, more: str = "") -> Content:
    _, word, colour = part
    return Content.assemble(
        (f"{name:<15}", DIM), ("● ", colour), (word, f"bold {colour}"), (f"  {more}", "")
    )


def _fact(name: str, told: str) -> Content:
    return Content.assemble((f"{name:<17}", DIM), told)


def _about(glance: Glance) -> Iterator[Content]:
    picture = glance.picture
    yield _fact("version", f"{picture.version or UNKNOWN}   run {picture.run_id or UNKNOWN}")
    if picture.started_at is None or glance.now is None:
        yield _fact("running for", _NOT_TOLD)
    else:
        began = clock(picture.started_at, glance.now)
        if glance.live:
            ran = duration(glance.seconds_since(picture.started_at))
            yield _fact("running for", f"{ran}, since {began}")
        else:
            yield _fact("started", f"{began}, if it still runs")
    yield _fact("judged last", _judged_last(glance))


def _judged_last(glance: Glance) -> str:
    ago_s = glance.picture.judgement_age_s(glance.mono)
    if glance.live or glance.now is None:
        return f"{age(ago_s)} ago"
    return f"? {clock(glance.now - timedelta(seconds=ago_s), glance.now)} or later"


def _rest(glance: Glance) -> Iterator[Content]:
    row = glance.picture.rest
    more = [row.message] if row.ok else []
    if row.budget_left is not None and glance.live:
        more.append(f"{row.budget_left} requests left in the budget")
    yield _line(gateway_rest(glance), "gateway REST", "  ".join(filter(None, more)))


def _login(glance: Glance) -> Iterator[Content]:
    ends: datetime | None = glance.picture.token_expires_at
    if ends is None or glance.now is None:
        yield _line(("", "?", DOUBT), "gateway login", _NOT_TOLD)
    elif not glance.live:  # it may have been renewed since
        told = f"? was valid until {clock(ends, glance.now)}"
        yield _line(("", told, DOUBT), "gateway login")
    elif ends <= glance.now:
        yield _line(("", "EXPIRED", BAD), "gateway login", f"at {clock(ends, glance.now)}")
    else:
        left = countdown(ends - glance.now)
        yield _line(("", f"valid for {left}", GOOD), "gateway login")


def _database(glance: Glance) -> Iterator[Content]:
    row = glance.picture.db
    if row.ok is None:
        yield _line(("", "?", DOUBT), "database", row.message or _NOT_TOLD)
        return
    more = [row.message]
    if row.size_bytes is not None:
        more.append(f"{row.size_bytes / 1_000_000:,.1f} MB")
    if row.last_write_at is not None:
        more.append(f"written {age(glance.seconds_since(row.last_write_at))} ago")
    word = "OK" if row.ok else "ILL"
    if not glance.live:
        yield _line(("", f"? was {word}", DOUBT), "database", "  ".join(filter(None, more)))
    else:
        colour = GOOD if row.ok else BAD
        yield _line(("", word, colour), "database", "  ".join(filter(None, more)))


def _drill(glance: Glance) -> Iterator[Content]:
    """Whether every armed rule was seen to fire, and under the limits of now."""
    outlook = glance.picture.outlook
    if outlook is None:
        yield _line(("", "?", DOUBT), "fire drill", _NOT_TOLD)
        return
    word, good, more = last_drill(outlook.drill, glance.now)
    if not glance.live:  # the limits may have been edited since
        word, good = f"? {word}", False
    yield _line(("", word, GOOD if good else DOUBT), "fire drill", more)


def _doubts(glance: Glance) -> Iterator[Content]:
    """Of every account: a second account's trouble is seen from the first, too."""
    yield Content.styled("In doubt now", "bold")
    names = {a.account_id: a.name or str(a.account_id) for a in glance.picture.accounts}
    doubts = sorted(glance.picture.doubts, key=lambda d: (not d.critical, d.since))
    for doubt in doubts:
        colour = BAD if doubt.critical else DOUBT
        whose = "" if doubt.account_id is None else names.get(doubt.account_id, "")
        yield Content.assemble(
            (f"  {'CRITICAL' if doubt.critical else 'doubt':<9}", f"bold {colour}"),
            (f"{duration(glance.seconds_since(doubt.since)):>8}  ", "bold"),
            doubt.reason,
            (f"  {whose}", DIM),
        )
    if not doubts:
        yield Content.styled(glance.last_heard("  nothing"), DIM)
