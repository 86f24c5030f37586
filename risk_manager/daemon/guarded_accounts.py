"""Which accounts of the login are guarded, and the handling of new and missing accounts."""

import structlog

from risk_manager.daemon.assembly import Parts
from risk_manager.daemon.data_place import Announce
from risk_manager.daemon.limits_in_force import LimitsInForce
from risk_manager.domain.events import AccountOpened, HealthIssueChanged
from risk_manager.domain.health_issue import IssueKind
from risk_manager.domain.records import AccountRecord
from risk_manager.instance_lock import (
    EXIT_DATABASE,
    CannotStart,
    InstanceLock,
    accounts_folder,
    gateway_name,
)
from risk_manager.store.schema import StoreError
from risk_manager.store.witness import Witnesses

log = structlog.get_logger("risk_manager.daemon")


class GuardedAccounts:
    """The accounts by how they are treated.

    `watched` are guarded. `missing` are those of them never seen in the login. `unguarded` are in
    the login and left alone. `is_open`: the accounts are watched, under limits that are known.
    """

    def __init__(
        self, parts: Parts, limits: LimitsInForce, instance_lock: InstanceLock, announce: Announce
    ) -> None:
        self.watched: set[int] = set()
        self.missing: set[int] = set()
        self.unguarded: set[int] = set()
        self.is_open = False
        self._parts = parts
        self._limits = limits
        self._instance_lock = instance_lock
        self._announce = announce
        self._witnesses: Witnesses | None = None

    def hold(self, account_ids: set[int]) -> None:
        """Lock these accounts for this process.

        Those in accounts.yaml are locked already if the `run` command knew the gateway.
        """
        unusable = self._instance_lock.hold_the_accounts(
            self._parts.session.address.api_url, account_ids, self._limits.configuration.label_of
        )
        for name, reason in unusable.items():
            log.warning("account_lock_unavailable", path=name, reason=reason)

    async def heed_the_witnesses(self, account_ids: set[int]) -> list[str]:
        """Put locks known only to other databases in force; return the limits they knew."""
        if self._witnesses is None:
            address = self._parts.session.address
            if address.kind == "practice":
                return []  # this gateway never comes back under the same name
            self._witnesses = Witnesses(accounts_folder(), gateway_name(address.api_url))
        try:
            return await self._parts.store.recovery.heed(self._witnesses, account_ids)
        except StoreError as error:
            raise CannotStart(EXIT_DATABASE, str(error)) from None

    def listed(self, records: tuple[AccountRecord, ...]) -> None:
        """Guard or report accounts that are not configured: an account reset gives a new number."""
        accounts, known = self._limits.configuration.accounts, self.watched | self.unguarded
        for record in records:
            if accounts.find(record.id) is not None or record.id in known:
                continue
            if accounts.unlisted == "enforce":
                self._guard_too(record)
            elif accounts.unlisted == "alarm":
                self._leave_unguarded(record, "is not in accounts.yaml")

    def _leave_unguarded(self, record: AccountRecord, why: str) -> None:
        self.unguarded.add(record.id)
        reason = f"account {record.id} ({record.name}) {why}: it is NOT guarded"
        self._announce(reason)
        log.warning("account_not_guarded", account=record.id)
        self._parts.put(
            HealthIssueChanged(
                at=self._parts.clock.now(),
                doubt=IssueKind.ACCOUNT_NOT_GUARDED,
                account_id=record.id,
                reason=reason,
            )
        )

    def _guard_too(self, record: AccountRecord) -> None:
        """Guard an account that appeared in the login since the start, under the shared rules."""
        try:
            self.hold({record.id})
        except CannotStart:
            self._leave_unguarded(record, "belongs to another daemon on this machine")
            return
        self.watched.add(record.id)
        self._limits.unlisted |= {record.id}
        self._limits.put_rulebook()
        self._parts.put(
            AccountOpened(
                at=self._parts.clock.now(),
                account_id=record.id,
                name=record.name,
                simulated=record.simulated,
            )
        )
        self._parts.hubs.follow(self.watched - self.missing)
        self._announce(f"guarding {record.id} ({record.name}), which is new in this login")

    def follow_those_found(self) -> None:
        """Subscribe to the stream of accounts that were missing at the start and are found now."""
        found = {i for i in self.missing if self._parts.reconciler.status(i).last_ok_at is not None}
        if not found:
            return
        self.missing -= found
        self._parts.hubs.follow(self.watched - self.missing)
        for account_id in sorted(found):
            self._parts.reconciler.ask(account_id)  # stream messages until now were missed
            self._announce(f"account {account_id} is in the login again: guarded")
