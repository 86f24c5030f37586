"""From the login until every account has been read and is guarded."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime

import structlog

from risk_manager.broker.reading.pacing import is_exposed
from risk_manager.broker.reading.readings import Part
from risk_manager.broker.session import CredentialsRefused, GatewayUnavailable
from risk_manager.clock import CLOCK_IS_WRONG, SystemClock
from risk_manager.daemon.assembly import Parts
from risk_manager.daemon.data_place import Announce, DataPlace
from risk_manager.daemon.exits import EXIT_CONFIGURATION, EXIT_CREDENTIALS
from risk_manager.daemon.guarded_accounts import GuardedAccounts
from risk_manager.daemon.limits_in_force import LimitsInForce
from risk_manager.daemon.maintenance import Gap
from risk_manager.daemon.status import Status
from risk_manager.daemon.watchdog import missing_from_login
from risk_manager.domain.events import (
    AccountOpened,
    AdminAsked,
    GuardResumed,
    HealthIssueChanged,
    Hub,
    HubState,
    Tick,
)
from risk_manager.domain.health_issue import IssueKind
from risk_manager.domain.read_budget import in_minutes, reading_time, time_for
from risk_manager.domain.records import AccountRecord
from risk_manager.domain.state import State
from risk_manager.instance_lock import EXIT_DATABASE, CannotStart
from risk_manager.settings.settings_file import is_same_site
from risk_manager.store import place
from risk_manager.store.opening import OpenedAs
from risk_manager.store.schema import StoreError

log = structlog.get_logger("risk_manager.daemon")

LOGIN_PAUSES_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
STREAM_FIRST_S = 3.0


class Startup:
    """Logs in, opens the accounts under the limits in force, and waits until each is read."""

    def __init__(
        self,
        parts: Parts,
        limits: LimitsInForce,
        accounts: GuardedAccounts,
        status: Status,
        place: DataPlace,
        *,
        running: asyncio.Event,
        last_alive_at: datetime | None,
        announce: Announce,
    ) -> None:
        self._parts = parts
        self._limits = limits
        self._accounts = accounts
        self._status = status
        self._place = place
        self._running = running
        self._last_alive_at = last_alive_at
        self._announce = announce

    async def log_in(self) -> None:
        try:
            await self._insist(self._parts.session.log_in)
            await self._agree_on_the_time()
            listed = await self._insist(self._accounts_of_the_login)
            await self._open_accounts({a.id: a for a in listed})
        except CredentialsRefused as refused:
            raise CannotStart(EXIT_CREDENTIALS, str(refused)) from None
        except StoreError as error:
            raise CannotStart(EXIT_DATABASE, str(error)) from None

    async def _agree_on_the_time(self) -> None:
        """Compare the machine's clock with the gateway's, which counts where they differ.

        To be done before anything is judged.
        """
        if self._parts.venue is None or not isinstance(self._parts.clock, SystemClock):
            return
        with contextlib.suppress(StoreError):
            at, day = await self._parts.store.recovery.last_judged()
            limits = await self._limits.last_known()
            began = limits.day_began(day) if limits is not None and day is not None else None
            # A clock that was turned back must not lengthen pauses or begin a day twice.
            for judged_at in filter(None, (at, began)):
                self._parts.clock.correct(judged_at)
        moved = await self._parts.venue.agree(self._ask_the_time)
        if moved is not None:
            seconds = moved.total_seconds()
            off = self._parts.clock.drift().total_seconds()
            self._announce(f"this machine's clock is {off:+.0f} s off; the gateway's counts")
            await self._parts.store.audit(
                "daemon", "clock.corrected", "daemon", new={"by_s": seconds}
            )
        elif self._parts.venue.lead:
            seconds = self._parts.venue.lead.total_seconds()
            self._announce(
                f"the gateway's time is {seconds:.0f} s later than this machine's clock; the "
                "earlier of the two counts"
            )
            await self._parts.store.audit(
                "daemon", "clock.differs", "daemon", new={"by_s": seconds}
            )

    async def _ask_the_time(self) -> bool:
        return (await self._parts.lanes.read("/Account/search", {"onlyActiveAccounts": True})).ok

    async def _answer_for_what_is_lost(self, account_ids: list[int]) -> None:
        """If locks or limits in force were lost, lock until the reset or raise an alarm."""
        now = self._parts.clock.now()
        if self._parts.store.needs_reconciling:
            why = self._parts.store.opened_why
            self._announce(f"warning: {why}")
            doubt = HealthIssueChanged(at=now, doubt=IssueKind.DATABASE_LOST, reason=why)
            await self._parts.pipeline.process(doubt)
        if self._limits.are_in_doubt:
            reason = "nobody can tell which limits were in force; locked until the reset"
            self._announce(f"warning: {reason}")
        elif not self._parts.store.had_locks:
            return
        elif self._parts.store.opened_as is OpenedAs.EDITED:
            reason = "the database was edited behind the daemon's back; locked until the reset"
        else:
            reason = (
                "the database was lost while locks were in force; locked until the reset, as "
                "nobody can tell which"
            )
        for account_id in account_ids:
            await self._lock_for_the_day(account_id, "lost_database", reason)

    async def _answer_for_a_day_that_turned_early(self, account_id: int, at: datetime) -> None:
        """Lock an account whose day was turned too early: waiting limits and the rules' memory of
        the day may have been lost."""
        wall = self._parts.clock.now()
        if isinstance(self._parts.clock, SystemClock):
            wall += self._parts.clock.drift()
        if at - wall <= CLOCK_IS_WRONG:
            return  # by this machine's clock the instant has come: reported, but not proven
        reason = (
            f"the trading day was turned at {at:%Y-%m-%d %H:%M} UTC, which has not come: the "
            "clocks of the gateway and of this machine were ahead; locked until the reset"
        )
        self._announce(f"warning: account {account_id}: {reason}")
        await self._lock_for_the_day(account_id, "clock_ahead", reason)

    async def _lock_for_the_day(self, account_id: int, rule_id: str, reason: str) -> None:
        await self._parts.pipeline.process(
            AdminAsked(
                at=self._parts.clock.now(),
                account_id=account_id,
                verb="lock_day",
                rule_id=rule_id,
                actor="daemon",
                reason=reason,
            )
        )

    async def _reconciled(self) -> None:
        """Report what happened while the daemon was down, once every account has been read."""
        if self._parts.store.needs_reconciling and await self._parts.store.recovery.reconciled():
            self._parts.put(
                HealthIssueChanged(at=self._parts.clock.now(), doubt=IssueKind.DATABASE_LOST)
            )
        began_at = self._parts.store.last_clean_stop or self._last_alive_at
        if began_at is None:
            return
        gap = Gap(
            began_at=began_at,
            ended_at=self._parts.clock.now(),
            clean=self._parts.store.last_clean_stop is not None,
        )
        for account_id in sorted(self._accounts.watched):
            traded = gap.traded(self._parts.state.accounts[account_id].ledger)
            await self._parts.store.audit("daemon", "was_down", f"account:{account_id}", new=traded)
            log.info("was_down", account=account_id, **traded)
        if gap.began_at < gap.ended_at:
            resumed = GuardResumed(at=gap.ended_at, since=gap.began_at, clean=gap.clean)
            await self._parts.take(resumed)

    async def _accounts_of_the_login(self) -> tuple[AccountRecord, ...]:
        wanted = [a.id for a in self._limits.configuration.accounts.enabled]
        return await self._parts.session.accounts(also=wanted)

    async def _insist[T](self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the gateway until it answers, as a network failure must not end the daemon."""
        attempt = 0
        while True:
            try:
                return await ask()
            except GatewayUnavailable as trouble:
                pause = _pause(attempt)
                attempt += 1
                self._status.set("STARTING", f"{trouble}; trying again")
                self._announce(f"{trouble}; trying again in {pause:.0f} s")
                await asyncio.sleep(pause)

    async def _open_accounts(self, listed: dict[int, AccountRecord]) -> None:
        """Open the accounts of accounts.yaml, and unlisted ones as that file says."""
        wanted = {a.id for a in self._limits.configuration.accounts.enabled}
        self._accounts.missing = wanted - listed.keys()
        if self._accounts.missing == wanted:
            known = ", ".join(f"{a.id} ({a.name})" for a in listed.values()) or "none"
            names = ", ".join(str(i) for i in sorted(wanted))
            raise CannotStart(
                EXIT_CONFIGURATION,
                f"accounts.yaml: accounts: none of these is in this login: {names}; "
                f"it has: {known}",
            )
        for account_id in sorted(self._accounts.missing):
            self._announce(f"CRITICAL: {missing_from_login(account_id)}")
        self._parts.reconciler.expect_absent(self._accounts.missing)
        unlisted = {
            i for i in listed if self._limits.configuration.accounts.find(i) is None
        } - wanted
        self._limits.unlisted = frozenset(unlisted)
        if self._limits.configuration.accounts.unlisted == "enforce":
            wanted |= unlisted
        await self._parts.store.checked()
        # Before anything is read of them: another daemon may be guarding them just now.
        self._accounts.hold(wanted)
        elsewhere = await self._accounts.heed_the_witnesses(wanted)
        # Not earlier, as the commitment depends on the date by the gateway's clock.
        await self._limits.commit(await self._limits.last_known(elsewhere))
        book = self._limits.commitment.rulebook(self._limits.configuration, self._limits.unlisted)
        # An account removed from the file stays guarded until the reset, like a loosened limit.
        watched = wanted | (book.accounts.keys() & listed.keys())
        self._accounts.watched = watched
        self._accounts.hold(watched)
        await self._accounts.heed_the_witnesses(watched - wanted)
        now = self._parts.clock.now()
        # An address set up by the trader, such as a proxy, may lead to the same accounts.
        also = place.locks_of(self._place.data_dir) if self._place.is_elsewhere else []
        undone = await self._parts.store.recovery.take_back(
            now, self._limits.commitment.trading_date(now), also
        )
        # The state so far contains neither these limits nor the locks just put back.
        self._parts.pipeline.state = await self._parts.store.read_again(book, now, only=watched)
        dated_ahead = {
            a.id
            for a in self._parts.state.accounts.values()
            if a.trading_date > self._parts.state.day.date
        }
        doubt = self._parts.watchdog.first_doubt_of_time()
        if doubt is not None:
            await self._parts.pipeline.process(doubt)
        await self._tell_of_the_gateway()
        for account_id in sorted(watched):
            await self._parts.pipeline.process(
                AccountOpened(
                    at=now,
                    account_id=account_id,
                    name=self._limits.configuration.label_of(account_id),
                )
            )
        # Only after the accounts are opened: before, remembered positions would be judged.
        await self._parts.pipeline.process(Tick(at=now, lead=self._parts.lead()))
        for account_id in sorted(dated_ahead & undone.turned_at.keys()):
            await self._answer_for_a_day_that_turned_early(account_id, undone.turned_at[account_id])
        if self._parts.store.needs_reconciling or self._limits.are_in_doubt:
            await self._answer_for_what_is_lost(sorted(watched))
        self._accounts.listed(tuple(listed.values()))
        self._parts.hubs.follow(watched - self._accounts.missing)
        self._accounts.is_open = True
        # Only now is it known whether the reset that a changed password file waits for has come.
        try:
            await self._parts.password.load()
        except (StoreError, OSError) as error:
            log.error("password_unreadable", reason=str(error))

    async def _tell_of_the_gateway(self) -> None:
        """Report settings that make the daemon look at another gateway, or at streams of another.

        The trader may set them, so they are not prevented.
        """
        gateway = self._limits.configuration.settings.gateway
        found = []
        if self._place.is_elsewhere:
            found.append(
                f"the daemon guards at {self._place.gateway}; at the gateway this data folder "
                "belongs to nobody guards now. For a second gateway give --data another folder"
            )
        if gateway.kind != place.PRACTICE and not all(
            is_same_site(gateway.api_url, url)
            for url in (gateway.user_hub_url, gateway.market_hub_url)
        ):
            found.append(
                "settings.yaml: gateway: the streams come from another place than the answers; "
                "api_url, user_hub_url and market_hub_url must be of one gateway"
            )
        if found:
            self._announce(f"warning: {'; '.join(found)}")
            await self._parts.pipeline.process(
                HealthIssueChanged(
                    at=self._parts.clock.now(),
                    doubt=IssueKind.OTHER_GATEWAY,
                    reason="; ".join(found),
                )
            )

    async def arm(self) -> None:
        """RUNNING once every account has been read from the broker.

        With many accounts, positions and orders are read first, and each account is guarded from
        then on. The trades of the day are known later and are reported as missing until then.
        """
        self._parts.reconciler.ask()
        wanted = reading_time(len(self._accounts.watched - self._accounts.missing))
        if not wanted.is_at_once:
            self._announce(
                f"{len(self._accounts.watched)} accounts are read one after the other, each is "
                f"guarded as it is read: {wanted}"
            )
        async for _ in self._changes():
            if not (waiting := self._unread()):
                break
            if self._parts.reconciler.owed():
                self._status.set("STARTING", self.what_waits(len(waiting)))
        is_whole = not self._parts.reconciler.owed()
        if is_whole:
            await self._reconciled()
        gc.collect()
        gc.freeze()  # a full collection over everything imported costs 12 ms
        self._status.set("RUNNING")
        self._running.set()
        guarded = sorted(self._accounts.watched - self._accounts.missing)
        names = ", ".join(self._limits.configuration.label_of(i) for i in guarded)
        self._announce(f"RUNNING: guarding {names}")
        if not is_whole:
            await self._read_whole()

    def _unread(self) -> list[int]:
        """Return the accounts of the login that have not been read yet."""
        found = []
        for account_id in self._accounts.watched - self._accounts.missing:
            status = self._parts.reconciler.status(account_id)
            waits_for_trades = status.is_seen and Part.TRADES in status.owes
            if status.last_ok_at is None and not waits_for_trades:
                found.append(account_id)
        return found

    async def _read_whole(self) -> None:
        async for _ in self._changes():
            if not self._parts.reconciler.owed():
                break
        await self._reconciled()
        self._announce("today's trades of all accounts are known")

    async def read_accounts(self) -> None:
        """Request a whole reading of every account.

        Few accounts are read at once. Many are read only once, and therefore after the stream is
        up, so that it reports later changes, or after a short wait for it.
        """
        if not reading_time(len(self._accounts.watched)).is_at_once:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STREAM_FIRST_S):
                    await self._stream_is_up()
        await self._parts.reconciler.run()

    async def _stream_is_up(self) -> None:
        async for state in self._changes():
            user = state.hubs.get(Hub.USER)
            if user is not None and user.state is HubState.UP:
                return

    def what_waits(self, unread: int) -> str:
        """Return a sentence on what is not known yet, of how many accounts, and for how long."""
        owed = self._parts.reconciler.owed()
        number, what = next(
            (n, words)
            for part, words in (
                (Part.POSITIONS, "positions"),
                (Part.ORDERS, "working orders"),
                (Part.TRADES, "today's trades"),
                (Part.ACCOUNT, "balances"),
            )
            if (n := owed[part])
        )
        left = sum(n for part, n in owed.items() if part is not Part.ACCOUNT)
        exposed = any(is_exposed(a) for a in self._parts.state.accounts.values())
        within = in_minutes(time_for(left, self._parts.lanes.reads_left, is_exposed=exposed))
        guarded = (
            f"; {unread} of {len(self._accounts.watched)} accounts are not guarded yet"
            * bool(unread)
        )
        return f"{what} of {number} accounts wait to be read, all within {within}{guarded}"

    async def _changes(self) -> AsyncIterator[State]:
        while True:
            yield self._parts.state
            await asyncio.sleep(0.02)


def _pause(attempt: int) -> float:
    return LOGIN_PAUSES_S[min(attempt, len(LOGIN_PAUSES_S) - 1)]
