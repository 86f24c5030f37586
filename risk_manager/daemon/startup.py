"""From the login until every account has been read and is guarded."""

import asyncio
import gc

from risk_manager.broker.session import CredentialsRefused
from risk_manager.daemon.account_opening import AccountOpening, why_in_shadow
from risk_manager.daemon.assembly import Parts
from risk_manager.daemon.data_place import Announce, DataPlace
from risk_manager.daemon.downtime import UnguardedSince, end_downtime
from risk_manager.daemon.exits import EXIT_CREDENTIALS
from risk_manager.daemon.first_reading import FirstReading
from risk_manager.daemon.guarded_accounts import GuardedAccounts
from risk_manager.daemon.limits_in_force import LimitsInForce
from risk_manager.daemon.login import Login
from risk_manager.daemon.start_steps import start_step
from risk_manager.daemon.status import Status
from risk_manager.instance_lock import EXIT_DATABASE, CannotStart
from risk_manager.store.schema import StoreError


class Startup:
    """Logs in, opens the accounts under the limits in force, and waits until each is read.

    `reading` is to be run in a task meanwhile. `running` is set once all accounts are guarded.
    """

    def __init__(
        self,
        parts: Parts,
        limits: LimitsInForce,
        accounts: GuardedAccounts,
        status: Status,
        where: DataPlace,
        *,
        running: asyncio.Event,
        unguarded_since: UnguardedSince | None,
        announce: Announce,
    ) -> None:
        self.reading = FirstReading(parts, accounts, status, announce)
        self._login = Login(parts, limits, status, announce)
        self._opening = AccountOpening(parts, limits, accounts, where, announce)
        self._parts = parts
        self._limits = limits
        self._accounts = accounts
        self._status = status
        self._running = running
        self._unguarded_since = unguarded_since
        self._where = where
        self._announce = announce

    async def log_in(self) -> None:
        """Log in and open the accounts. Raises CannotStart."""
        try:
            with start_step("login"):
                await self._login.log_in()
            with start_step("time"):
                await self._login.agree_on_the_time()
            with start_step("accounts"):
                listed = await self._login.accounts()
                await self._opening.open({a.id: a for a in listed})
        except CredentialsRefused as refused:
            raise CannotStart(EXIT_CREDENTIALS, str(refused)) from None
        except StoreError as error:
            raise CannotStart(EXIT_DATABASE, str(error)) from None

    async def arm(self) -> None:
        """Set RUNNING once every account has been read, and return once each is read whole."""
        with start_step("first reading"):
            await self.reading.wait_until_guarded()
        was_whole = self.reading.is_whole
        if was_whole:
            await self._end_downtime()
        gc.collect()
        gc.freeze()  # a full collection over everything imported costs 12 ms
        self._status.set("RUNNING")
        self._running.set()
        guarded = sorted(self._accounts.watched - self._accounts.missing)
        label_of, state = self._limits.configuration.label_of, self._parts.state
        alone = [label_of(i) for i in guarded if why_in_shadow(state, i)]
        names = ", ".join(label_of(i) for i in guarded if not why_in_shadow(state, i))
        in_shadow = f"; in shadow, as live funded: {', '.join(alone)}" if alone else ""
        self._announce(f"RUNNING: guarding {names or 'no account'}{in_shadow}")
        if not was_whole:
            with start_step("today's trades"):
                await self.reading.wait_until_whole()
            await self._end_downtime()
            self._announce("today's trades of all accounts are known")

    async def _end_downtime(self) -> None:
        await end_downtime(self._parts, self._accounts.watched, self._unguarded_since, self._where)
