"""`admin status`, `lockouts` and `panic` against a daemon: the words, and the exit codes."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from feed_daemon import MNQ, MONDAY, FeedDaemon

from risk_manager.admin.order_effects import of_lock, of_panic
from risk_manager.admin.verbs import WITHOUT_PASSWORD, AdminDesk
from risk_manager.cli import main
from risk_manager.cli.exits import Exit
from risk_manager.domain.events import AccountOpened, AnyEvent
from risk_manager.feed.admin import AdminChannel, AdminError, AdminSession

REASON = ("--reason", "lunch")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class OpenDaemon(FeedDaemon):
    """One that takes orders, behind a password if it has one."""

    password: str | None = None

    def __init__(self, data_dir: Path, **more: object) -> None:
        self.tried: list[object] = []
        channel = AdminChannel(
            self._answer,
            login_required=lambda: self.password is not None,
            open_methods=WITHOUT_PASSWORD,
        )
        super().__init__(data_dir, admin=channel, **more)  # type: ignore[arg-type]
        self.data = data_dir
        self.desk = AdminDesk(
            self._take, lambda: self.pipeline.state, self.clock, read=self._read_soon
        )
        self._reading: set[asyncio.Task[None]] = set()

    async def _answer(
        self, method: str, params: dict[str, object], session: AdminSession
    ) -> dict[str, object]:
        if method == "login":
            self.tried.append(params.get("password"))
            if params.get("password") != self.password:
                raise AdminError("wrong_password", "that is not the admin password")
            session.logged_in = True
            return {}
        return await self.desk.handle(method, params, session)

    async def _take(self, *events: AnyEvent) -> None:
        for event in events:
            await self.happen(event)

    def _read_soon(self, account_id: int) -> None:
        if not self._reading:
            task = asyncio.create_task(self.report(account_id), name="read")
            self._reading.add(task)
            task.add_done_callback(self._reading.discard)

    async def admin(self, *words: str) -> int:
        return await asyncio.to_thread(main, ["admin", *words, "--data", str(self.data)])


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[OpenDaemon]:
    async with OpenDaemon(tmp_path, accounts={101: "combine-50k", 102: "102"}) as running:
        yield running


Capture = pytest.CaptureFixture[str]


NO_DRILL = "fire drill: none yet; run: risk-manager admin selftest"

# --- status ---------------------------------------------------------------------------------------


@pytest.mark.wire
async def test_what_has_not_been_read_since_the_start_is_not_known_yet(
    daemon: OpenDaemon, capsys: Capture
) -> None:
    """F7.7: While STARTING no figure is told; a lock that is remembered is."""
    await daemon.admin("lockouts", "set", "--account", "102", *REASON)
    await daemon.trade("-300")
    for account_id in (101, 102):
        await daemon.happen(AccountOpened(at=daemon.clock.now(), account_id=account_id))
    daemon.server.set_status("STARTING", "logging in")
    capsys.readouterr()
    assert await daemon.admin("status") == Exit.DONE
    assert capsys.readouterr().out.splitlines() == [
        "daemon STARTING (logging in), version 0.1.0; user stream up, market stream up",
        "account 101 (combine-50k), enforce: not known yet",
        "account 102, enforce: not known yet, locked flat until it is cleared",
        NO_DRILL,
    ]
    assert await daemon.admin("lockouts", "list", "--account", "101") == Exit.DONE
    out = capsys.readouterr().out
    assert out == "account 101: not known yet; what is open now may still set a lock\n"
    assert await daemon.admin("status", "--json") == Exit.DONE
    accounts = json.loads(capsys.readouterr().out)["accounts"]
    assert [account["known"] for account in accounts] == [False, False]
    await daemon.report(101)
    assert await daemon.admin("status") == Exit.DONE
    assert "101 (combine-50k), enforce: -$301.00 realised" in capsys.readouterr().out


@pytest.mark.wire
async def test_before_any_account_is_open_that_is_said(tmp_path: Path, capsys: Capture) -> None:
    """F7.7: At the very start, with no account open, none is called unlocked or unwatched."""
    async with OpenDaemon(tmp_path) as daemon:
        daemon.pipeline.state = type(daemon.pipeline.state).at(
            daemon.clock.now(), daemon.pipeline.state.rulebook
        )
        daemon.server.set_status("STARTING")
        assert await daemon.admin("status") == Exit.DONE
        assert capsys.readouterr().out.splitlines()[-2:] == ["accounts: not known yet", NO_DRILL]
        assert await daemon.admin("lockouts", "list") == Exit.DONE
        assert "not known yet" in capsys.readouterr().out


@pytest.mark.wire
async def test_the_status_shows_a_lock_of_one_product(daemon: OpenDaemon, capsys: Capture) -> None:
    """F7.8: A lock on one product stands in the status line of its account."""
    order = ("lockouts", "set", "--account", "102", "--scope", "root:NQ")
    await daemon.admin(*order, "--policy", "no_entries", *REASON)
    await daemon.admin(*order, "--reason", "more")
    capsys.readouterr()
    assert await daemon.admin("status") == Exit.DONE
    first, second, drill = capsys.readouterr().out.splitlines()[1:]
    assert drill == NO_DRILL
    assert first.endswith("0 contracts, not locked")
    assert second.endswith("0 contracts, NQ locked flat until it is cleared")


# --- locks ----------------------------------------------------------------------------------------


@pytest.mark.wire
async def test_a_lock_over_another_is_told_by_its_effect(
    daemon: OpenDaemon, capsys: Capture
) -> None:
    """F7.9: A lock over a longer one says what holds until when, and that the other ends later."""
    order = ("lockouts", "set", "--account", "101")
    assert await daemon.admin(*order, "--policy", "no_entries", "--for", "30m", *REASON) == 0
    at = [daemon.clock.now() + timedelta(minutes=m) for m in (10, 30)]
    news, lunch = (f"{x.astimezone():%a %H:%M}" for x in at)
    assert capsys.readouterr().out == f"account 101: locked no entries until {lunch}\n"
    assert await daemon.admin(*order, "--for", "10m", "--reason", "news") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"account 101: locked flat until {news} (an existing lock ends later)",
        f"  no entries until {lunch}, manual: lunch",
        f"  flat until {news}, manual-2: news",
    ]
    assert await daemon.admin(*order, "--policy", "no_entries", "--reason", "rest") == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first == (
        f"account 101: locked flat until {news} by an existing lock; "
        "the new one is no entries until it is cleared"
    )


def test_a_lock_of_one_product_is_told_beside_that_of_the_account() -> None:
    """F7.9: A lock on the whole account counts for a product as well, one on another does not."""
    now = MONDAY
    terms = {"release": "manual", "expires_at": None, "reason": "x", "rule_id": "manual"}
    whole = {"scope": "account", "policy": "flat", "lockout_id": "a", **terms}
    other = {"scope": "root:ES", "policy": "flat", "lockout_id": "b", **terms}
    new = {"scope": "root:NQ", "policy": "no_entries", "lockout_id": "c", **terms}
    assert list(of_lock(101, new, [other, new], now)) == [
        "account 101: NQ locked no entries until it is cleared"
    ]
    assert next(of_lock(101, new, [whole, other, new], now)).startswith(
        "account 101: NQ locked flat until it is cleared by an existing lock"
    )


@pytest.mark.wire
async def test_a_clear_tells_what_it_did_and_fails_where_a_lock_stays(
    daemon: OpenDaemon, capsys: Capture
) -> None:
    """F7.18: A clear without --rule tells what was lifted, what stays, and who may lift that."""
    await daemon.trade("-600")
    await daemon.tick()
    await daemon.admin("lockouts", "set", "--account", "101", *REASON)
    capsys.readouterr()
    clear = ("lockouts", "clear", "--account", "101", *REASON)
    assert await daemon.admin(*clear) == Exit.REFUSED
    lifted, stays = capsys.readouterr().out.splitlines()
    assert lifted == "account 101: lifted: flat until it is cleared, manual: lunch"
    assert stays.startswith("account 101: stays: flat until the daily reset (")
    assert "daily_realized_loss: lost $601.00 today" in stays
    assert stays.endswith("(nobody may lift it; it ends by itself at the daily reset)")
    await daemon.admin("lockouts", "set", "--account", "102", *REASON)
    capsys.readouterr()
    assert await daemon.admin("lockouts", "clear", "--account", "102", *REASON) == Exit.DONE
    assert capsys.readouterr().out.splitlines()[-1] == "account 102: no lock is in force"


# --- the password ---------------------------------------------------------------------------------


@pytest.mark.wire
async def test_nobody_at_a_terminal_is_no_wrong_password(
    daemon: OpenDaemon, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F7.13: Without a terminal no password is tried; --password-stdin reads it from there."""
    await daemon.admin("lockouts", "set", "--account", "101", *REASON)
    daemon.password = "correct horse battery"
    clear = ("lockouts", "clear", "--account", "101", *REASON)
    for verb in (clear, ("config", "reload")):
        monkeypatch.setattr("sys.stdin", io.StringIO("correct horse battery\n"))
        assert await daemon.admin(*verb) == Exit.REFUSED
        assert "a terminal is needed (or --password-stdin)" in capsys.readouterr().err
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        assert await daemon.admin(*verb, "--password-stdin") == Exit.REFUSED
        assert "none came on the standard input" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", lambda _: "")
    assert await daemon.admin(*clear) == Exit.REFUSED
    assert daemon.tried == []
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse battery\n"))
    assert await daemon.admin(*clear, "--password-stdin") == Exit.DONE
    assert daemon.tried == ["correct horse battery"]


# --- panic ----------------------------------------------------------------------------------------


@pytest.mark.wire
@pytest.mark.parametrize(("typed", "asks"), [("y", True), ("YES ", True), ("n", False)])
async def test_a_panic_is_answered_with_y_or_yes(
    daemon: OpenDaemon,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    asks: bool,
) -> None:
    """F7.19: A panic answered with y or yes is carried out, any other answer does nothing."""
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda _: typed)
    ended = await daemon.admin("panic", "--account", "102")
    said = capsys.readouterr()
    if asks:
        assert ended == Exit.DONE
        assert said.out.startswith("account 102: nothing was open or working; confirmed by the")
    else:
        assert ended == Exit.REFUSED
        assert "nothing was done" in said.err


def test_a_panic_left_by_the_end_of_input_does_nothing(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F7.19: The end of the input (Ctrl-D) at the question is a no, not an internal error."""

    def ended(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", ended)
    assert main(["admin", "panic", "--data", str(tmp_path)]) == Exit.REFUSED
    assert capsys.readouterr().err == "risk-manager: nothing was entered; nothing was done\n"


@pytest.mark.wire
async def test_a_panic_tells_what_was_closed(daemon: OpenDaemon, capsys: Capture) -> None:
    """F7.4: A panic prints what was closed and cancelled per account, and ends with 0 for flat."""
    await daemon.position(2)
    await daemon.order(order_id=55, size=2)
    panic = asyncio.create_task(daemon.admin("panic", "--yes"), name="panic")
    while not daemon.enforcer.actions:  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.01)
    await daemon.position(0)
    await daemon.report(101)
    assert await panic == Exit.DONE
    first, second, *locked = capsys.readouterr().out.splitlines()
    assert first.startswith(
        "account 101 (combine-50k): closed 2 MNQZ6 long; cancelled sell 2 MNQZ6 stop (order 55); "
        "confirmed by the gateway at "
    )
    assert second.startswith("account 102: nothing was open or working; confirmed")
    assert [line.partition(";")[0] for line in locked] == [
        "account 101: locked flat",
        "account 102: locked flat",
    ]
    assert all(account.locks for account in daemon.pipeline.state.accounts.values())


def test_what_a_panic_could_not_do_is_told_with_the_way_out() -> None:
    """F7.4: What is still open, unconfirmed, or opened since stands on a line of its own."""
    nothing: dict[str, list[object]] = {
        key: []
        for key in (
            "closed", "cancelled", "filled", "still_open", "still_working", "opened_since",
            "placed_since",
        )
    }  # fmt: skip
    row = {"account_id": 101, "name": "Eval", "verified": False, "verified_at": None, **nothing}
    held = {"contract_id": MNQ, "symbol": "MNQZ6", "net": -2}
    refused = {**held, "tries": 3, "outcome": "refused"}
    now = MONDAY
    assert list(of_panic({**row, "still_open": [refused]}, now)) == [
        "account 101 (Eval): not done yet",
        "  NOT CLOSED: 2 MNQZ6 short (3 tries, refused)",
        "  it is tried again and again; close by hand in the platform what must not wait",
    ]
    assert list(of_panic({**row, "closed": [held]}, now)) == [
        "account 101 (Eval): closed 2 MNQZ6 short",
        "  NOT CONFIRMED: the gateway could not be asked in time; look at the platform",
    ]
    since = {**row, "verified": True, "verified_at": now.isoformat(), "opened_since": [held]}
    assert list(of_panic(since, now))[1:] == ["  OPENED SINCE, not closed: 2 MNQZ6 short"]
