"""Writes an edit of the configuration files and has the running daemon read it."""

from pathlib import Path
from typing import Any

from risk_manager.admin.config_edits import Proposal
from risk_manager.admin.daemon_line import ToDaemon, ask_daemon
from risk_manager.admin.effective import told_time
from risk_manager.admin.folder import is_in_use
from risk_manager.feed.client import AdminRefused, FeedUnreachable
from risk_manager.settings.edits import EditFailed, FileEdit
from risk_manager.settings.yaml_edits import EditRefused

STOPPED = "the daemon does not run: this is read at its next start, and what is looser waits"


async def deliver(proposal: Proposal, daemon: ToDaemon) -> dict[str, Any] | None:
    """Write edited limits. Returns the daemon's answer; None if none runs to read them.

    Nothing is written before the daemon accepts that this user changes the files. Raises
    EditRefused, AdminRefused or FeedUnreachable; the message says if the files were written.
    """
    is_written = False
    try:
        async with daemon.line() as line:
            answer = await line.call("authorize")
            _require_same(str(answer["config"]), proposal.after.folder)
            proposal.write()
            is_written = True
            return await line.call("reload_config")
    except AdminRefused as error:
        written = "written, but not read by the daemon: " if is_written else ""
        raise AdminRefused(error.code, written + error.message) from None
    except FeedUnreachable as error:
        if is_written:
            raise FeedUnreachable(
                f"written, but it is not known whether it was read: {error}"
            ) from None
    proposal.write()
    return None


def _require_same(read: str, ours: Path) -> None:
    if Path(read).resolve() != ours.resolve():
        raise EditRefused(f"the running daemon reads {read}; give --config {read} to edit that")


async def deliver_file(edit: FileEdit, data: Path, daemon: ToDaemon) -> dict[str, Any] | None:
    """Write the edit of one file. Returns the daemon's answer; None if none runs to read it.

    If the daemon refuses, or the password is not given, the old file is put back: an edit that is
    not allowed must not wait for the next start. Raises EditFailed, AdminRefused or
    FeedUnreachable.
    """
    edit.write()
    try:
        return await ask_daemon(daemon, "reload_config", {})
    except FeedUnreachable as error:
        if is_in_use(data):
            raise FeedUnreachable(
                f"{edit.name} is written, but the daemon did not read it: {error}; run: "
                "risk-manager admin config reload"
            ) from None
        return None
    except AdminRefused as refused:
        _undo(edit)
        raise AdminRefused(refused.code, f"{refused.message}; {edit.name} is as it was") from None
    except BaseException:  # no password, the end of the input, Ctrl-C
        _undo(edit)
        raise


def _undo(edit: FileEdit) -> None:
    try:
        edit.undo()
    except EditFailed as error:
        raise EditFailed(f"the edit is refused and could not be taken back: {error}") from None


def told_reading(answer: dict[str, Any] | None) -> str:
    """Return in a sentence what the daemon did with the files; None: it does not run."""
    if answer is None:
        return STOPPED
    read = f"read by the daemon (digest {answer['digest'][:12]})"
    if not answer["changes"]:
        return f"{read}; nothing was edited"
    reset = told_time(answer["next_reset"])
    told = [
        f"{what}: {', '.join(keys)}"
        for when, what in (
            ("reset", f"waits for the reset ({reset})"),
            ("both", f"until the reset ({reset}) the older version holds too"),
            ("restart", "needs a restart"),
        )
        if (keys := [c["key"] for c in answer["changes"] if c["when"] == when])
    ]
    return "; ".join([read, *(told or ["all of it is in force now"])])
