"""The limits in force: those of the files, except that a loosened limit waits for the reset."""

import asyncio
from collections.abc import Iterable
from datetime import date
from typing import Any

import structlog

from risk_manager.admin.config_changes import Committed
from risk_manager.daemon.assembly import Parts
from risk_manager.daemon.data_place import Announce, DataPlace
from risk_manager.daemon.waiting_limits import told_waiting
from risk_manager.domain.events import RulebookReplaced
from risk_manager.domain.rulebook import Rulebook
from risk_manager.feed.messages import Waiting
from risk_manager.settings.changes import changes
from risk_manager.settings.commitment import Commitment
from risk_manager.settings.configuration import Configuration
from risk_manager.settings.loading import load
from risk_manager.settings.private_file import replace_file

log = structlog.get_logger("risk_manager.daemon")

LIMITS_NOTE = "limits"
LIMITS_FILE = "limits.json"


class LimitsInForce:
    """Keeps the commitment of the day, in the database and beside it, and its rulebook.

    `are_in_doubt`: it is unknown which limits were in force before this start. `unlisted` are
    accounts of the login that accounts.yaml does not name.
    """

    def __init__(
        self, parts: Parts, configuration: Configuration, place: DataPlace, announce: Announce
    ) -> None:
        self.configuration = self._started_with = configuration
        self.commitment = Commitment(in_force=configuration.texts)
        self.are_in_doubt = False
        self.unlisted: frozenset[int] = frozenset()
        self._parts = parts
        self._place = place
        self._announce = announce
        self._told: tuple[Commitment, date, Waiting | None] | None = None

    def waiting(self) -> Waiting | None:
        """Return for the screens what waits for the reset; None where nothing does."""
        state, commitment = self._parts.state, self.commitment
        today = state.day.date
        if self._told is None or self._told[0] is not commitment or self._told[1] != today:
            waits = told_waiting(Committed.of(commitment, today, state.now))
            self._told = (commitment, today, waits)
        return self._told[2]

    async def commit(self, before: Commitment | None) -> None:
        """Put the limits of the files in force, except that loosened limits wait for the reset."""
        known = before or Commitment(in_force=self.configuration.texts)
        today = known.trading_date(self._parts.clock.now())
        self.commitment = known.after_reading(self.configuration, today)
        if self.commitment != before:
            await self._keep_commitment()
        self._parts.store.mirror.now_in_force(self.commitment.text())
        self._announce_what_waits()

    async def last_known(self, elsewhere: Iterable[str] = ()) -> Commitment | None:
        """Return the limits last in force; None at the first start, or where they are unknown.

        `elsewhere` are limits that were in force by another database.
        """
        kept = await self._kept_limits()
        found: Commitment | None = None
        for text in dict.fromkeys((*([] if kept is None else [kept]), *elsewhere)):
            read = self._readable_limits(text)
            if read is None:
                self.are_in_doubt = True
            elif found is None:
                found = read
            else:
                found = found.beside(read, found.trading_date(self._parts.clock.now()))
        return found

    def _readable_limits(self, text: str) -> Commitment | None:
        try:
            found = Commitment.read(text)
        except (ValueError, KeyError, TypeError) as error:
            log.error("limits_note_unreadable", reason=str(error))
            return None
        if found.is_readable:
            return found
        log.error("limits_unreadable", reason="this version cannot read the limits in force")
        return None

    async def _kept_limits(self) -> str | None:
        """Return the limits last in force, from a sealed copy if there is one.

        Sets `are_in_doubt` if another program may have edited them.
        """
        noted, beside = (
            await self._parts.store.notes.get(LIMITS_NOTE),
            self._limits_beside_the_database(),
        )
        for kept in (noted, beside):
            if kept and self._parts.store.notes.is_as_sealed(LIMITS_NOTE, kept):
                return kept
        if self._parts.store.needs_reconciling and not self._parts.store.notes.is_as_sealed(
            LIMITS_NOTE, noted
        ):
            self.are_in_doubt = True
        return noted or beside

    def _limits_beside_the_database(self) -> str | None:
        """Return the limits stored beside the database.

        With them, neither a deleted database nor another gateway puts loosened limits in force at
        once.
        """
        for folder in self._place.folders:
            try:
                return (folder / LIMITS_FILE).read_text(encoding="utf-8")
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                log.warning("limits_file_unreadable", reason=str(error))
        return None

    async def _keep_commitment(self) -> None:
        await self._parts.store.notes.put(LIMITS_NOTE, self.commitment.text())
        try:
            replace_file(
                self._place.folder / LIMITS_FILE, self.commitment.text().encode(), mode=0o644
            )
        except OSError as error:
            log.warning("limits_file_unwritable", reason=str(error))
        await self._parts.store.audit(
            "daemon",
            "limits.changed",
            "configuration",
            new={
                "digest": self.configuration.digest,
                "waiting_since": str(self.commitment.since) if self.commitment.since else None,
            },
        )

    def _announce_what_waits(self) -> None:
        if self.commitment.waiting is not None:
            names = ", ".join(self.commitment.kept_today(self.configuration))
            self._announce(
                "the limits were edited: until the next reset the older ones hold as well, where "
                f"they are tighter ({names})"
                if names
                else "the limits were edited: part of that counts from the next reset"
            )
            log.warning("limits_wait_for_the_reset", rules=names)

    async def adopt_what_waited(self) -> None:
        since = self.commitment.since
        today = self._parts.state.day.date
        if self.commitment.waiting is None or since is None or today <= since:
            return
        # The configuration as read is used, as the files may now be edited, locked or broken.
        self.commitment = self.commitment.after_reading(self.configuration, today)
        await self._keep_commitment()
        self._parts.store.mirror.now_in_force(self.commitment.text())
        self.put_rulebook()
        log.info("limits_in_force", digest=self.configuration.digest)

    def put_rulebook(self) -> None:
        self._parts.put(self._rulebook_replaced())

    def rulebook(self) -> Rulebook:
        """Return the rules in force, of unlisted accounts as well."""
        return self.commitment.rulebook(self.configuration, self.unlisted)

    def _rulebook_replaced(self) -> RulebookReplaced:
        return RulebookReplaced(at=self._parts.clock.now(), rulebook=self.rulebook())

    async def reload(self) -> dict[str, Any]:
        """Read the files again, and return once the accounts have been judged by them.

        Raises ConfigurationErrors and then changes nothing.
        """
        before = self.configuration
        self.configuration = configuration = await asyncio.to_thread(load, before.folder)
        await self.commit(self.commitment)
        answer = self._answer(before, configuration, self.commitment)
        for change in answer["changes"]:
            log.info("configuration_edited", **change)
        await self._parts.take(self._rulebook_replaced())
        return answer

    async def preview(self) -> dict[str, Any]:
        """Return what a reload would answer now, and change nothing.

        Raises ConfigurationErrors.
        """
        found = await asyncio.to_thread(load, self.configuration.folder)
        today = self.commitment.trading_date(self._parts.clock.now())
        return self._answer(self.configuration, found, self.commitment.after_reading(found, today))

    def _answer(
        self, before: Configuration, found: Configuration, commitment: Commitment
    ) -> dict[str, Any]:
        edited = changes(self._started_with, before, found, commitment.rulebook(found))
        waits = commitment.waiting is not None
        return {
            "digest": found.digest,
            "waits_for_reset": list(commitment.kept_today(found)),
            "next_reset": self._parts.state.day.ends_at.isoformat() if waits else None,
            "changes": [change.plain() for change in edited],
        }
