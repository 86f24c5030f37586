"""The connection line: the state of daemon, both streams, REST and feed, with ages."""

from textual.content import Content

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.picture import STUCK_AFTER_S
from risk_manager.dashboard.widgets.text import Text
from risk_manager.dashboard.wording import DIM, age

GOOD, DOUBT, BAD = "$text-success", "$text-warning", "$text-error"
QUIET_S = 30.0

Part = tuple[str, str, str]  # name, word, colour


class ConnectionLine(Text):
    """Shows the state of every connection. Nothing is ever green on stale data."""

    def show(self, glance: Glance) -> None:
        parts = [feed(glance)]
        if glance.picture.told_at is not None and glance.picture.line.up:
            parts += [daemon(glance), hub(glance, "user"), hub(glance, "market"), rest(glance)]
            parts += doubts(glance)
        cells = [
            Content.assemble((f" {name} ", DIM), ("● ", colour), (word, f"bold {colour}"))
            for name, word, colour in parts
        ]
        together = Content("  ").join(cells)
        self.put(together if together.cell_length <= self.size.width else Content("").join(cells))


def feed(glance: Glance) -> Part:
    line = glance.picture.line
    silence = line.silence_s(glance.mono)
    if not line.up:
        wait = (
            ""
            if line.retry_at is None
            else f", again in {max(line.retry_at - glance.mono, 0):.0f}s"
        )
        since = "" if silence is None else f" {age(silence)} ago"
        return "feed", f"LOST{since} ({line.reason}{wait})", BAD
    if silence is None:
        return "feed", "WAITING", DOUBT
    return "feed", f"{age(silence)} ago", GOOD if glance.live else DOUBT


def daemon(glance: Glance) -> Part:
    status = glance.picture.status
    judged = glance.picture.judgement_age_s(glance.mono)
    if not glance.live:
        return "daemon", f"? was {status}", DOUBT
    # A frame may come only with each heartbeat: the age of the last step is as of that frame.
    if glance.picture.state_age_s > STUCK_AFTER_S:
        return "daemon", f"{status}, STUCK {age(judged)}", BAD
    colour = {"RUNNING": GOOD, "STARTING": DOUBT, "DEGRADED": DOUBT}.get(status, BAD)
    return "daemon", status, colour


def hub(glance: Glance, name: str) -> Part:
    row = glance.picture.hubs.get(name)
    if row is None:
        return name, "?", DOUBT
    if row.state != "up":
        since = age(glance.seconds_since(row.since))
        return name, f"{row.state.upper()} {since}", BAD if row.state == "down" else DOUBT
    heard = row.last_message_age_s
    if heard is not None and glance.picture.hubs_at is not None:
        heard += glance.seconds_since(glance.picture.hubs_at)
    if not glance.live:
        return name, "? was UP", DOUBT
    if heard is None or heard <= QUIET_S:
        return name, "UP", GOOD
    return name, f"UP, quiet {age(heard)}", DOUBT


def rest(glance: Glance) -> Part:
    row = glance.picture.rest
    if row.ok is None:
        return "rest", "?", DOUBT
    if not glance.live:
        return "rest", "? was OK" if row.ok else "? was ILL", DOUBT
    if not row.ok:
        return "rest", f"ILL {row.message}".rstrip(), BAD
    return "rest", "OK" if row.latency_ms is None else f"{row.latency_ms:.0f} ms", GOOD


def doubts(glance: Glance) -> list[Part]:
    """Return the other health issues, the worst first. Hubs and REST are shown separately."""
    told = [d for d in glance.doubts if d.kind not in ("hub_down", "reads_failing")]
    if not told:
        return []
    worst = min(told, key=lambda d: (not d.critical, d.since))
    more = f" (+{len(told) - 1})" if len(told) > 1 else ""
    lasts = age(glance.seconds_since(worst.since))
    return [("doubt", f"{worst.reason} {lasts}{more}", BAD if worst.critical else DOUBT)]
