"""The verbs of the alerts: list, acknowledge and test them, in the daemon and without it."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from risk_manager.alerts.alerting import Alerting
from risk_manager.alerts.assembly import heartbeat_address, open_channels, trial
from risk_manager.alerts.book import Alert
from risk_manager.alerts.delivery import Channel
from risk_manager.alerts.keeping import read_alerts
from risk_manager.feed.admin import AdminError, AdminSession
from risk_manager.settings.configuration import Configuration
from risk_manager.store.store import Store

NOT_CONFIGURED = (
    "no alerts are configured; name a channel under alerts.channels in settings.yaml and restart "
    "the daemon (docs/alerts.md)"
)


class AlertVerbs:
    """Answers `alerts_list`, `alerts_ack` and `alerts_test` in the running daemon."""

    def __init__(self, alerting: Alerting, store: Store) -> None:
        self._alerting = alerting
        self._store = store

    async def answer(
        self, method: str, params: dict[str, Any], session: AdminSession
    ) -> dict[str, Any]:
        """Carry out one verb. Raises AdminError."""
        match method:
            case "alerts_list":
                return {"alerts": current(self._alerting.book.alerts), "channels": self._channels()}
            case "alerts_ack":
                return await self._acknowledge(params, session)
        channels = [delivery.channel for delivery in self._alerting.deliveries]
        return {"channels": await tried(channels) + unusable(self._alerting.broken)}

    async def _acknowledge(self, params: dict[str, Any], session: AdminSession) -> dict[str, Any]:
        number = params.get("number")
        if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
            raise AdminError("bad_request", "number is the number of an alert, or absent for all")
        known = [alert.number for alert in self._alerting.book.alerts]
        if number is not None and number not in known:
            listed = ", ".join(map(str, known)) or "none"
            raise AdminError("no_alert", f"there is no alert {number}; there are: {listed}")
        done = self._alerting.acknowledge(number, session.peer)
        for alert in done:
            await self._store.audit(
                session.peer, "alert.acknowledged", f"alert:{alert.number}", new=row(alert)
            )
        return {"acknowledged": rows(done)}

    def _channels(self) -> list[dict[str, Any]]:
        working = [
            {
                "name": delivery.name,
                "ok": not delivery.reason,
                "reason": delivery.reason,
                "sent": delivery.sent,
                "waiting": delivery.waiting,
                "dropped": delivery.dropped,
            }
            for delivery in self._alerting.deliveries
        ]
        return working + unusable(self._alerting.broken)


async def answer_alerts(
    verbs: AlertVerbs | None, method: str, params: dict[str, Any], session: AdminSession
) -> dict[str, Any]:
    """Carry out one verb, where alerts are configured. Raises AdminError."""
    if verbs is None:
        raise AdminError("no_alerts", NOT_CONFIGURED)
    return await verbs.answer(method, params, session)


async def tried(channels: list[Channel]) -> list[dict[str, Any]]:
    """Send a test to each channel at once, past all queues. Returns what became of it."""
    now = datetime.now(UTC)
    reasons = await asyncio.gather(
        *(asyncio.to_thread(channel.send, trial(channel.name, now)) for channel in channels)
    )
    return [
        {"name": channel.name, "ok": not reason, "reason": reason}
        for channel, reason in zip(channels, reasons, strict=True)
    ]


def unusable(broken: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"name": name, "ok": False, "reason": reason} for name, reason in broken.items()]


def tested(configuration: Configuration, env: Mapping[str, str]) -> list[dict[str, Any]]:
    """Send a test to each channel of the settings without a daemon. Blocks."""
    channels, broken = open_channels(configuration, env)
    heartbeat_address(configuration, env, broken)  # only looked up: a ping would say all is well
    return asyncio.run(tried(channels)) + unusable(dict(broken))


def kept(data: Path) -> list[dict[str, Any]]:
    """Return the current alerts as the last run of the daemon left them.

    Raises AlertsUnreadable.
    """
    return current(read_alerts(data))


def current(alerts: Iterable[Alert]) -> list[dict[str, Any]]:
    return rows(alert for alert in alerts if alert.is_current)


def rows(alerts: Iterable[Alert]) -> list[dict[str, Any]]:
    return [row(alert) for alert in alerts]


def row(alert: Alert) -> dict[str, Any]:
    """Return an alert for people and scripts."""
    return {
        "number": alert.number,
        "state": alert.state,
        "severity": alert.severity.value,
        "account_id": alert.account_id,
        "title": alert.title,
        "text": alert.text,
        "began_at": alert.began_at.isoformat(),
        "over_at": None if alert.over_at is None else alert.over_at.isoformat(),
        "over_text": alert.over_text,
        "count": alert.count,
        "times_told": alert.told,
        "reached_somebody": alert.reached_at is not None,
        "acknowledged_at": None
        if alert.acknowledged_at is None
        else alert.acknowledged_at.isoformat(),
        "acknowledged_by": alert.acknowledged_by,
        "waits_for_acknowledgement": alert.waits_for_somebody,
    }
