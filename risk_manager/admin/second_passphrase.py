"""A second person's passphrase: while one is set, no lock is lifted early without it.

It is kept and checked as the admin password is: as an argon2id hash in the data folder
(`second.hash`) and sealed in the database, with a count of failures of its own. Here the stored
copy alone decides: a file that was removed or replaced is written anew from it. Setting counts at
once. A removal needs the passphrase itself, and counts from the next reset.
"""

import asyncio
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, ClassVar, Protocol

import structlog

from risk_manager.admin.password import (
    NOBODY,
    AdminPassword,
    PasswordKind,
    PasswordStore,
    write_hash,
)
from risk_manager.clock import Clock
from risk_manager.feed.admin import AdminError

SECOND_FILE = "second.hash"
SECOND_MISSING = "second_missing"

_REMOVAL = "second_removal"
"""Note with the trading date on which a removal was ordered; empty for none."""

log = structlog.get_logger("risk_manager.admin")


class EarlyUnlockCheck(Protocol):
    """The check before a lock is lifted early."""

    @property
    def is_set(self) -> bool: ...

    async def confirm(self, passphrase: object, target: str, about: dict[str, Any]) -> None: ...


class SecondPassphrase(AdminPassword):
    """The check of the second passphrase in the daemon. To be loaded as the admin password is."""

    kind: ClassVar[PasswordKind] = PasswordKind(
        file=SECOND_FILE,
        notes="second",
        name="second passphrase",
        actor="second",
        given_as="second_passphrase.given",
        changed_as="second_passphrase",
        missing=(
            SECOND_MISSING,
            "a second passphrase is set and was not given: "
            "this needs the person who knows it (a script gives it with --second-stdin)",
        ),
        wrong="wrong_second",
        too_soon="too_many_second_tries",
    )

    def __init__(
        self,
        store: PasswordStore,
        data_dir: Path,
        clock: Clock,
        trading_date: Callable[[], date | None],
    ) -> None:
        super().__init__(store, data_dir, clock, trading_date)
        self._removed_on: date | None = None

    @property
    def is_set(self) -> bool:
        """Whether an early unlock needs it now. A removal counts once its reset has come."""
        return self._hash is not None and not self._is_removal_due()

    def _is_removal_due(self) -> bool:
        today = self._trading_date()
        return today is not None and self._removed_on is not None and today > self._removed_on

    async def _load(self) -> None:
        await super()._load()
        text = await self._notes.get(_REMOVAL)
        if text and not self._notes.is_as_sealed(_REMOVAL, text):
            # Overwritten, as the next seal would cover an order that is not ours.
            await self._notes.put(_REMOVAL, "")
            text = ""
        self._removed_on = _date_of(text)
        await self._carry_out_removal()

    async def _file_differs(self, kept: str, found: str | None) -> None:
        if kept == NOBODY:
            # Both copies are lost. As with the admin password, the file counts after a reset.
            await self._wait_for_the_reset(found)
            return
        try:
            await asyncio.to_thread(write_hash, self._path, kept)
        except OSError as error:
            log.warning("second_file_unwritable", reason=str(error))
            return
        log.warning("second_file_restored", removed=found is None)
        await self._note("file_restored", ok=False)

    async def confirm(self, passphrase: object, target: str, about: dict[str, Any]) -> None:
        """Check the passphrase before an early unlock, and audit who, where and why.

        Raises AdminError if it is missing, wrong or tried too soon.
        """
        async with self._one_at_a_time:
            await self._carry_out_removal()
            if self.is_set:
                await self._check(passphrase, target=target, about=about)

    async def change(self, old: object, new: object) -> None:
        """Set the passphrase, or another one with the old one. It counts at once.

        A removal that waits is dropped by it. Raises AdminError.
        """
        async with self._one_at_a_time:
            await self._carry_out_removal()
        await super().change(old, new)

    async def remove(self, passphrase: object) -> date:
        """Order the removal. It counts once the trading date is later than the one returned.

        Raises AdminError.
        """
        async with self._one_at_a_time:
            today = self._trading_date()
            if today is None:
                raise AdminError(
                    "starting",
                    "the daemon is still logging in to the gateway; try again once it has",
                )
            await self._carry_out_removal()
            if not self.is_set:
                raise AdminError("no_second", "no second passphrase is set")
            await self._check(passphrase)
            if self._removed_on is None:
                self._removed_on = today
                await self._notes.put(_REMOVAL, today.isoformat())
                await self._note("removal_waits")
            return self._removed_on

    async def _carry_out_removal(self) -> None:
        if self._hash is None or not self._is_removal_due():
            return
        try:
            await asyncio.to_thread(self._path.unlink, missing_ok=True)
        except OSError as error:
            # The file would count again at the next start. The order is kept, and tried again.
            log.warning("second_file_not_removed", reason=str(error))
            return
        await self._keep(None, "removed")

    async def _keep(self, fresh: str | None, told_as: str) -> None:
        # The order goes first: a kill in between leaves the hash in force.
        if self._removed_on is not None:
            self._removed_on = None
            await self._notes.put(_REMOVAL, "")
        await super()._keep(fresh, told_as)


def _date_of(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None
