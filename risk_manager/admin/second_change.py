"""Setting, removing and giving the second passphrase, through the running daemon."""

from collections.abc import Awaitable, Callable
from typing import Any

from risk_manager.admin.daemon_line import ToDaemon
from risk_manager.admin.effective import told_time
from risk_manager.admin.password import problem_with
from risk_manager.admin.password_change import NotChanged
from risk_manager.admin.second_passphrase import SECOND_MISSING
from risk_manager.feed.client import AdminRefused

AskSecond = Callable[[str], Awaitable[str]]
"""Asks the second person for a passphrase with this prompt. May raise, and nothing is sent."""


async def lift_locks(
    daemon: ToDaemon, params: dict[str, Any], ask: Callable[[], Awaitable[str]]
) -> dict[str, Any]:
    """Lift locks, with the second passphrase if the daemon needs it. Returns its answer.

    Raises AdminRefused or FeedUnreachable.
    """
    async with daemon.line() as line:
        try:
            return await line.call("clear_lockout", params)
        except AdminRefused as refused:
            if refused.code != SECOND_MISSING:
                raise
        return await line.call("clear_lockout", {**params, "second": await ask()})


async def give_second(daemon: ToDaemon, ask: AskSecond, *, twice: bool) -> str:
    """Set a second passphrase. Returns in a sentence what counts now.

    With `twice` the new one is asked for again. Raises NotChanged, AdminRefused or FeedUnreachable.
    """
    async with daemon.line() as line:
        was_set = (await line.call("second_status"))["second_set"]
        old = await ask("Second passphrase in force: ") if was_set else None
        new = await ask("New second passphrase: ")
        if (problem := problem_with(new)) is not None:
            raise NotChanged(problem.replace("password", "passphrase"))
        if twice and await ask("Again: ") != new:
            raise NotChanged("the two do not match; nothing was changed")
        await line.call("set_second", {"second": old, "new": new})
    done = "changed" if was_set else "set"
    return f"the second passphrase is {done}; an early unlock needs it from now on"


async def remove_second(daemon: ToDaemon, ask: AskSecond) -> str:
    """Order the removal of the second passphrase. Returns in a sentence until when it counts.

    Raises NotChanged, AdminRefused or FeedUnreachable.
    """
    async with daemon.line() as line:
        if not (await line.call("second_status"))["second_set"]:
            raise NotChanged("no second passphrase is set")
        answer = await line.call("remove_second", {"second": await ask("Second passphrase: ")})
    return f"the second passphrase counts until the reset ({told_time(answer['until'])})"
