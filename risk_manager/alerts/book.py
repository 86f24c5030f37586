"""The alert book: which matters are open, acknowledged or over, and the messages now due.

Pure: each question comes with its time. A matter that begins is told once, again at each reminder
until somebody acknowledges it (critical ones only), and once more when it is over.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

from risk_manager.alerts.notice import RANKS, Ended, News, Notice
from risk_manager.domain.decisions import Severity

MOST_ALERTS = 200
KEPT_AFTER = timedelta(minutes=10)
"""How long a single event counts as the same one when it comes again."""
LONGEST_PAUSE = 8
"""Reminders come after 1, 2, 4 and then always 8 times the configured time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A matter and what has been told of it. `number` names it for people.

    `reached_at`: when a message about it first reached a channel.
    """

    number: int
    subject: str
    severity: Severity
    title: str
    text: str
    began_at: datetime
    due_at: datetime
    account_id: int | None = None
    is_money: bool = False
    stage: int = 0
    lasts: bool = True
    count: int = 1
    told: int = 0
    told_at: datetime | None = None
    reached_at: datetime | None = None
    over_at: datetime | None = None
    over_text: str = ""
    over_told: bool = False
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""

    @property
    def is_over(self) -> bool:
        return self.over_at is not None

    @property
    def waits_for_somebody(self) -> bool:
        """Whether it is repeated until somebody acknowledges it, even when it is over."""
        return self.severity is Severity.CRITICAL and self.acknowledged_at is None

    @property
    def is_current(self) -> bool:
        """Whether it goes on, or waits to be acknowledged."""
        return not self.is_over or self.waits_for_somebody

    @property
    def state(self) -> str:
        """The state in one word for people and scripts."""
        if self.acknowledged_at is not None and not self.is_over:
            return "acknowledged"
        return "over" if self.is_over else "open"

    def plain(self) -> dict[str, Any]:
        """Return JSON-ready data, from which `alert_of_plain` makes the alert again."""
        return {
            key: value.isoformat() if isinstance(value, datetime) else value
            for key, value in asdict(self).items()
        }


def alert_of_plain(data: Mapping[str, Any]) -> Alert:
    """Return the alert of `Alert.plain`. ValueError, TypeError or KeyError for anything else."""
    known = {field.name for field in fields(Alert)}
    values = {key: value for key, value in data.items() if key in known}
    values["severity"] = Severity(values["severity"])
    for key in ("began_at", "due_at", "told_at", "reached_at", "over_at", "acknowledged_at"):
        if values.get(key) is not None:
            values[key] = datetime.fromisoformat(values[key])
    return Alert(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One text for the channels. A newer one of the same subject makes this one needless."""

    number: int
    subject: str
    severity: Severity
    title: str
    text: str
    at: datetime
    is_done: bool = False


class AlertBook:
    """All alerts by subject.

    `is_quiet` says whether an instant lies in the quiet hours. `repeat` is the time to the first
    reminder.
    """

    def __init__(
        self,
        *,
        repeat: timedelta,
        is_quiet: Callable[[datetime], bool] = lambda _: False,
        alerts: Iterable[Alert] = (),
    ) -> None:
        self._repeat = repeat
        self._is_quiet = is_quiet
        self._alerts = {alert.subject: alert for alert in alerts}
        self._last = max((alert.number for alert in self._alerts.values()), default=0)
        self.version = 0  # rises with every change worth keeping

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """All alerts, the oldest first."""
        return tuple(sorted(self._alerts.values(), key=lambda alert: alert.number))

    def find(self, subject: str) -> Alert | None:
        return self._alerts.get(subject)

    def open_subjects(self, prefix: str = "") -> list[str]:
        """The subjects of this kind that are not over."""
        return [
            subject
            for subject, alert in self._alerts.items()
            if subject.startswith(prefix) and not alert.is_over
        ]

    # --- news ---

    def take(self, news: News) -> None:
        """Take note of a matter that begins, goes on or ends."""
        if isinstance(news, Ended):
            self._end(news)
            return
        known = self._alerts.get(news.subject)
        if known is None:
            self._open(news)
        elif not known.lasts or not known.is_over:
            self._put(_again(known, news))
        elif known.over_told:
            self._put(_anew(known, news))
        else:
            # It came back before its end was told: the end needs not be told any more.
            self._put(replace(_again(known, news), over_at=None, over_text=""))

    def _open(self, notice: Notice) -> None:
        self._last += 1
        self._put(
            Alert(
                number=self._last,
                subject=notice.subject,
                severity=_grade(notice),
                title=notice.title,
                text=notice.text,
                began_at=notice.at,
                due_at=notice.at + notice.patience,
                account_id=notice.account_id,
                is_money=notice.is_money,
                stage=notice.stage,
                lasts=notice.lasts,
                over_at=None if notice.lasts else notice.at,
                over_told=not notice.lasts,
            )
        )
        self._make_room()

    def _end(self, ended: Ended) -> None:
        known = self._alerts.get(ended.subject)
        if known is None or known.is_over:
            return
        if not known.told and ended.at < known.due_at:
            self._drop(known)
        else:
            self._put(replace(known, over_at=ended.at, over_text=ended.text))

    def acknowledge(self, number: int | None, by: str, now: datetime) -> list[Alert]:
        """Acknowledge one alert, or all current ones (None).

        Returns those that had not been acknowledged.
        """
        found = [
            alert
            for alert in self.alerts
            if alert.acknowledged_at is None
            and (alert.is_current if number is None else alert.number == number)
        ]
        done = [replace(alert, acknowledged_at=now, acknowledged_by=by) for alert in found]
        for alert in done:
            self._put(alert)
        return done

    def reached(self, number: int, at: datetime) -> None:
        """Take note that a message about this alert has reached a channel."""
        for alert in self.alerts:
            if alert.number == number and alert.reached_at is None:
                self._put(replace(alert, reached_at=at))

    def tell_again(self) -> None:
        """After a restart: alerts whose messages had not reached anybody are due again."""
        for alert in self.alerts:
            if alert.told and alert.reached_at is None:
                self._put(replace(alert, told=0, told_at=None, over_told=not alert.lasts))

    # --- messages ---

    def due(self, now: datetime) -> list[Message]:
        """Return the messages that are to be sent now, and note them as told."""
        quiet = self._is_quiet(now)
        found: list[Message] = []
        for alert in self.alerts:
            if quiet and not alert.is_money:
                continue
            message = self._message(alert, now, quiet)
            if message is not None:
                found.append(message)
            elif _is_finished(self._alerts[alert.subject], now):
                self._drop(alert)
        return found

    def _message(self, alert: Alert, now: datetime, quiet: bool) -> Message | None:
        if not alert.told:
            if now < alert.due_at:
                return None
            first = _first(alert, now)
            self._put(replace(alert, told=1, told_at=now, over_told=alert.is_over))
            return first
        if alert.is_over and not alert.over_told:
            self._put(replace(alert, over_told=True))
            return _done(alert, now)
        if not alert.waits_for_somebody or (quiet and alert.is_over):
            return None
        assert alert.told_at is not None
        pause = self._repeat * min(2 ** (alert.told - 1), LONGEST_PAUSE)
        if now < alert.told_at + pause:
            return None
        self._put(replace(alert, told=alert.told + 1, told_at=now))
        return _reminder(alert, now)

    # --- keeping ---

    def _put(self, alert: Alert) -> None:
        if self._alerts.get(alert.subject) != alert:
            self._alerts[alert.subject] = alert
            self.version += 1

    def _drop(self, alert: Alert) -> None:
        del self._alerts[alert.subject]
        self.version += 1

    def _make_room(self) -> None:
        while len(self._alerts) > MOST_ALERTS:
            self._drop(min(self.alerts, key=lambda a: (a.waits_for_somebody, a.is_money, a.number)))


def _grade(notice: Notice) -> Severity:
    """A breach is as urgent as anything critical to whoever is away from the screen."""
    return Severity.CRITICAL if notice.severity is Severity.BREACH else notice.severity


def _again(known: Alert, notice: Notice) -> Alert:
    """Return a known alert with more news. A graver or higher stage is told anew."""
    severity = _grade(notice)
    is_graver = RANKS[severity] > RANKS[known.severity] or notice.stage > known.stage
    news = replace(
        known,
        text=notice.text,
        count=known.count + 1,
        over_at=known.over_at if known.lasts else notice.at,
    )
    if not is_graver:
        return news
    return replace(
        news,
        severity=severity,
        title=notice.title,
        is_money=known.is_money or notice.is_money,
        stage=max(known.stage, notice.stage),
        due_at=min(known.due_at, notice.at + notice.patience) if not known.told else notice.at,
        told=0,
        told_at=None,
        acknowledged_at=None,
        acknowledged_by="",
    )


def _anew(known: Alert, notice: Notice) -> Alert:
    """Return an alert that was over, and not acknowledged, as one that begins again."""
    return replace(
        known,
        severity=_grade(notice),
        title=notice.title,
        text=notice.text,
        is_money=notice.is_money,
        stage=notice.stage,
        count=known.count + 1,
        began_at=notice.at,
        due_at=notice.at + notice.patience,
        told=0,
        told_at=None,
        over_at=None,
        over_text="",
        over_told=False,
        acknowledged_at=None,
        acknowledged_by="",
    )


def _is_finished(alert: Alert, now: datetime) -> bool:
    """Whether there is nothing more to tell. One that is over at once is kept for a while, so that
    a repetition within that time is counted and not told."""
    if alert.over_at is None or not alert.told or not alert.over_told or alert.waits_for_somebody:
        return False
    return alert.lasts or now - alert.over_at >= KEPT_AFTER


def _first(alert: Alert, now: datetime) -> Message:
    text = alert.text
    if alert.lasts and alert.is_over:
        text += f"\nOver since: {alert.over_text}"
    return _said(alert, now, alert.title, text, is_done=alert.lasts and alert.is_over)


def _reminder(alert: Alert, now: datetime) -> Message:
    over = f"\nIt is over: {alert.over_text}" if alert.over_text else ""
    title = f"Reminder {alert.told}: {alert.title}"
    return _said(alert, now, title, alert.text + over, is_done=False)


def _done(alert: Alert, now: datetime) -> Message:
    return _said(alert, now, f"Done: {alert.title}", alert.over_text or alert.text, is_done=True)


def _said(alert: Alert, now: datetime, title: str, text: str, *, is_done: bool) -> Message:
    if alert.waits_for_somebody:
        text += (
            "\nRepeated until somebody acknowledges it: "
            f"risk-manager admin alerts ack {alert.number}"
        )
    return Message(
        number=alert.number,
        subject=alert.subject,
        severity=alert.severity,
        title=title,
        text=text,
        at=now,
        is_done=is_done,
    )
