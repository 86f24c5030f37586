"""Orders to the running daemon about its streams, login and day, and what came of them."""

from collections.abc import Mapping
from typing import Any

from risk_manager.admin.daemon_line import ToDaemon, ask_daemon

WAIT_S = 60.0
Answer = Mapping[str, Any]


async def reconnect(daemon: ToDaemon, hub: str = "both") -> dict[str, Any]:
    """Open the streams anew: user, market or both. Raises AdminRefused or FeedUnreachable."""
    return await ask_daemon(daemon, "reconnect", {"hub": hub}, timeout_s=WAIT_S)


async def drop_session(daemon: ToDaemon) -> dict[str, Any]:
    """Log in anew and end the old token. Raises AdminRefused or FeedUnreachable."""
    return await ask_daemon(daemon, "session_drop", {}, timeout_s=WAIT_S)


async def reset_day(daemon: ToDaemon) -> dict[str, Any]:
    """Make a reset that is due. Raises AdminRefused or FeedUnreachable."""
    return await ask_daemon(daemon, "day_reset", {})


def told_hubs(answer: Answer) -> list[str]:
    """Return how each stream is, in lines."""
    return [
        f"{name} stream {'opened anew' if hub['opened'] else 'NOT opened anew in time'}, "
        f"{hub['state']}"
        for name, hub in answer["hubs"].items()
    ]


def told_drop(answer: Answer) -> list[str]:
    """Return how each stream is and what has become of the old token, in lines."""
    token = (
        "logged in anew; the old token is worthless"
        if answer["old_token_ended"]
        else f"logged in anew; the old token still counts for up to a day: {answer['why']}"
    )
    return [*told_hubs(answer), token]


def told_day(answer: Answer) -> str:
    return f"every account is on the trading day {answer['trading_date']}"


def is_opened(answer: Answer) -> bool:
    """Whether each stream was opened anew."""
    return all(hub["opened"] for hub in answer["hubs"].values())
