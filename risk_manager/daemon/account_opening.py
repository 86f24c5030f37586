"""Opens the accounts at a start: which are guarded, under which limits, with which locks."""

import structlog

from risk_manager.daemon.assembly import Parts
from risk_manager.daemon.data_place import Announce, DataPlace
from risk_manager.daemon.day_locks import DayLocks
from risk_manager.daemon.exits import EXIT_CONFIGURATION
from risk_manager.daemon.guarded_accounts import GuardedAccounts
from risk_manager.daemon.limits_in_force import LimitsInForce
from risk_manager.daemon.watchdog import missing_from_login
from risk_manager.domain.events import AccountOpened, HealthIssueChanged, Tick
from risk_manager.domain.health_issue import IssueKind
from risk_manager.domain.live_accounts import why_left_alone
from risk_manager.domain.records import AccountRecord
from risk_manager.domain.state import State
from risk_manager.instance_lock import CannotStart
from risk_manager.settings.settings_file import GatewaySettings, is_same_site
from risk_manager.store import place
from risk_manager.store.schema import StoreError

log = structlog.get_logger("risk_manager.daemon")


class AccountOpening:
    """Opens the accounts of accounts.yaml, and unlisted ones as that file says.

    Limits and locks come first: no event is judged before those in force are known.
    """

    def __init__(
        self,
        parts: Parts,
        limits: LimitsInForce,
        accounts: GuardedAccounts,
        where: DataPlace,
        announce: Announce,
    ) -> None:
        self._parts = parts
        self._limits = limits
        self._accounts = accounts
        self._where = where
        self._announce = announce
        self._day_locks = DayLocks(parts, announce)

    async def open(self, listed: dict[int, AccountRecord]) -> None:
        """Open the accounts, given those of the login. Raises CannotStart and `StoreError`."""
        wanted = self._wanted_of(listed)
        await self._parts.store.checked()
        await self._put_limits_in_force(wanted, listed)
        await self._open_all(listed)
        self._accounts.listed(tuple(listed.values()))
        self._parts.hubs.follow(self._accounts.watched - self._accounts.missing)
        self._accounts.is_open = True
        # Only now is it known whether the reset that a changed password file waits for has come.
        try:
            await self._parts.password.load()
            await self._parts.second.load()
        except (StoreError, OSError) as error:
            log.error("password_unreadable", reason=str(error))

    def _wanted_of(self, listed: dict[int, AccountRecord]) -> set[int]:
        """Return the accounts to guard by the files, and report those missing from the login."""
        accounts = self._limits.configuration.accounts
        wanted = {a.id for a in accounts.enabled}
        missing = self._accounts.missing = wanted - listed.keys()
        if missing == wanted:
            known = ", ".join(f"{a.id} ({a.name})" for a in listed.values()) or "none"
            names = ", ".join(str(i) for i in sorted(wanted))
            raise CannotStart(
                EXIT_CONFIGURATION,
                f"accounts.yaml: accounts: none of these is in this login: {names}; "
                f"it has: {known}",
            )
        for account_id in sorted(missing):
            self._announce(f"CRITICAL: {missing_from_login(account_id)}")
        self._parts.reconciler.expect_absent(missing)
        unlisted = {i for i in listed if accounts.find(i) is None} - wanted
        self._limits.unlisted = frozenset(unlisted)
        return wanted | unlisted if accounts.unlisted == "enforce" else wanted

    async def _put_limits_in_force(
        self, wanted: set[int], listed: dict[int, AccountRecord]
    ) -> None:
        """Lock the accounts for this process, and commit the limits. Sets `watched`."""
        # Before anything is read of them: another daemon may be guarding them just now.
        self._accounts.hold(wanted)
        elsewhere = await self._accounts.heed_the_witnesses(wanted)
        # Not earlier, as the commitment depends on the date by the gateway's clock.
        await self._limits.commit(await self._limits.last_known(elsewhere))
        # An account removed from the file stays guarded until the reset, like a loosened limit.
        watched = wanted | (self._limits.rulebook().accounts.keys() & listed.keys())
        self._accounts.watched = watched
        self._accounts.hold(watched)
        await self._accounts.heed_the_witnesses(watched - wanted)

    async def _open_all(self, listed: dict[int, AccountRecord]) -> None:
        """Read the state under these limits, with the locks put back, and open the accounts."""
        parts, now = self._parts, self._parts.clock.now()
        watched = sorted(self._accounts.watched)
        # An address set up by the trader, such as a proxy, may lead to the same accounts.
        also = place.locks_of(self._where.data_dir) if self._where.is_elsewhere else []
        put_back = await parts.store.recovery.take_back(
            now, self._limits.commitment.trading_date(now), also
        )
        # The state so far contains neither these limits nor the locks just put back.
        parts.pipeline.state = await parts.store.read_again(
            self._limits.rulebook(), now, only=watched
        )
        today = parts.state.day.date
        dated_ahead = {a.id for a in parts.state.accounts.values() if a.trading_date > today}
        doubt = parts.watchdog.first_doubt_of_time()
        if doubt is not None:
            await parts.pipeline.process(doubt)
        await self._report_the_gateway()
        for account_id in watched:
            await parts.pipeline.process(
                AccountOpened(
                    at=now,
                    account_id=account_id,
                    name=self._limits.configuration.label_of(account_id),
                    simulated=listed[account_id].simulated if account_id in listed else None,
                )
            )
        self._report_live_accounts([i for i in watched if i in listed])
        # Only after the accounts are opened: before, remembered positions would be judged.
        await parts.pipeline.process(Tick(at=now, lead=parts.lead()))
        for account_id in sorted(dated_ahead & put_back.turned_at.keys()):
            await self._day_locks.for_a_day_turned_early(account_id, put_back.turned_at[account_id])
        if parts.store.needs_reconciling or self._limits.are_in_doubt:
            await self._day_locks.for_lost_data(watched, limits_in_doubt=self._limits.are_in_doubt)

    def _report_live_accounts(self, account_ids: list[int]) -> None:
        for account_id in account_ids:
            reason = why_in_shadow(self._parts.state, account_id)
            if reason:
                self._announce(f"CRITICAL: {reason}")
            elif self._parts.state.accounts[account_id].simulated is None:
                log.warning("not_stated_whether_simulated", account=account_id)
                self._announce(
                    f"warning: the gateway does not state whether account {account_id} is "
                    "simulated; it is guarded as configured. TopstepX forbids automated trading "
                    "on a live funded account"
                )

    async def _report_the_gateway(self) -> None:
        gateway = self._limits.configuration.settings.gateway
        warnings = _gateway_warnings(gateway, self._where)
        if warnings:
            reason = "; ".join(warnings)
            self._announce(f"warning: {reason}")
            await self._parts.pipeline.process(
                HealthIssueChanged(
                    at=self._parts.clock.now(), doubt=IssueKind.OTHER_GATEWAY, reason=reason
                )
            )


def _gateway_warnings(gateway: GatewaySettings, where: DataPlace) -> list[str]:
    """Return what makes the daemon look at another gateway, or at the streams of another.

    The trader may set up either, so they are not prevented.
    """
    found = []
    if where.is_elsewhere:
        found.append(
            f"the daemon guards at {where.gateway}; at the gateway this data folder "
            "belongs to nobody guards now. For a second gateway give --data another folder"
        )
    if gateway.kind != place.PRACTICE and not all(
        is_same_site(gateway.api_url, url) for url in (gateway.user_hub_url, gateway.market_hub_url)
    ):
        found.append(
            "settings.yaml: gateway: the streams come from another place than the answers; "
            "api_url, user_hub_url and market_hub_url must be of one gateway"
        )
    return found


def why_in_shadow(state: State, account_id: int) -> str:
    """Return why a live funded account is left alone; empty where it is not."""
    return why_left_alone(state.accounts[account_id], state.rulebook.for_account(account_id))
