"""The seal: a digest of all rows that locks and limits depend on, updated with every write.

An edit by another program does not update the seal, and is found at the next opening. The rows of
each group are hashed one by one and the hashes added up, so that the cost of a commit depends only
on its changes. Triggers on our own connection update the sums: every write of this program is
counted, and no write of another one.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from types import MappingProxyType
from typing import Any

import orjson

from risk_manager.domain.locks import Lock
from risk_manager.store import rows

FORM = 1
"""The version of the seal. A change of the rows or columns covered needs a new version, and this
one to check old seals."""
LOCKS = "lockouts"
TRADES = "trades"
_MODULO = 1 << 128
_PUT = "INSERT OR REPLACE INTO seal (id, number, content) VALUES (1, ?, ?)"

# Table -> its columns, and which of its rows count ({0} is the row). Left out are rows that the
# broker states again (orders), mere history, and rows written only together with others.
_GUARDED: dict[str, tuple[str, str]] = {
    "accounts": (
        "account_id, can_trade, can_trade_since, failed_rules, next_episode, next_action",
        "1",
    ),
    "reset_state": ("account_id, last_reset_day", "1"),
    LOCKS: (
        "account_id, scope, rule_id, kind, policy, release, reason, triggered_by,"
        " admin_may_clear, set_at, until, trading_date",
        "{0}cleared_at IS NULL",
    ),
    "ceilings": ("account_id, contract_id, net", "1"),
    "timers": ("name, account_id, rule_id, subject, started_at, due_at, payload", "1"),
    "breaches": (
        "account_id, rule_id, subject, first_at, last_at, count, trading_date, severity",
        "1",
    ),
    "closings": ("account_id, contract_id, episode, since, rule_ids, reason, order_ids", "1"),
    "positions": (
        "account_id, id, contract_id, type, size, average_price, created_at, episode, opened_at,"
        " increased_at",
        "1",
    ),
    "contracts": ("contract_id, symbol_id, name, tick_size, tick_value", "1"),
    TRADES: (
        "trading_day, account_id, trade_id, contract_id, order_id, side, size, price, pnl, fees,"
        " voided, executed_at, received_at",
        "1",
    ),
    "meta": ("key, value", "{0}key NOT IN ('database_id', 'run_id', 'last_clean_stop')"),
}


@dataclass(frozen=True, slots=True)
class SealedTables:
    """A seal as written. `number` rises with each seal and is 0 before the first."""

    number: int = 0
    content: str = ""

    @property
    def sums(self) -> Mapping[str, str]:
        """The digest of each group that has rows. Empty for a text that is no seal of this form."""
        return self._read()[1]

    @property
    def since(self) -> str:
        """The first trading day counted. Nothing reads earlier trades any more."""
        return self._read()[0]

    def _read(self) -> tuple[str, Mapping[str, str]]:
        try:
            stored = orjson.loads(self.content)
            if stored["form"] == FORM:
                return str(stored["since"]), dict(stored["sums"])
        except (ValueError, KeyError, TypeError):
            pass
        return "", MappingProxyType({})


def sealed(connection: sqlite3.Connection) -> SealedTables:
    """Return the seal stored in the database."""
    row = connection.execute("SELECT number, content FROM seal").fetchone()
    return SealedTables() if row is None else SealedTables(row[0], row[1])


def edited(connection: sqlite3.Connection, seal: SealedTables) -> list[str]:
    """Return the groups of rows that differ from the seal: tables, and notes by their key."""
    found = _totals(connection, seal.since)
    groups = found.keys() | seal.sums.keys()
    return sorted(group for group in groups if found.get(group) != seal.sums.get(group))


def digest_of_locks(locks: Iterator[Lock]) -> str | None:
    """Return the digest that the seal has if these locks are in force; None without locks."""
    total = sum(_digest(LOCKS, rows.lock_row(lock, lock.set_at)[:-1]) for lock in locks) % _MODULO
    return _text(total) if total else None


def digest_of_note(key: str, value: str) -> str:
    """Return the digest that the seal has for this note."""
    return _text(_digest("meta", (f"note:{key}", value)))


class TamperDigest:
    """Follows the writes of one connection. Belongs to that connection's thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.written = sealed(connection)
        """The seal that is durable."""
        self.counting = True
        self._put_as: tuple[str, dict[str, int]] = ("", {})
        self.since = self.written.since
        # The stored seal has been checked, or was checked when it was written.
        self.sums = {group: int(text, 16) for group, text in self.written.sums.items()}
        connection.create_function("seal_row", -1, self._count)
        connection.executescript(_TRIGGERS)
        if not self.sums:
            self.accept(connection)

    def accept(self, connection: sqlite3.Connection) -> None:
        """Accept the rows as they are, whoever wrote them."""
        self.sums = _sums(connection, self.since)

    def let_go_of_old_trades(self, connection: sqlite3.Connection) -> None:
        """Count only from the oldest trading day that a restart still reads."""
        (newest,) = connection.execute("SELECT max(last_reset_day) FROM reset_state").fetchone()
        if newest is not None:
            oldest_read = rows.weekday_before(date.fromisoformat(newest)).isoformat()
            self.since = max(self.since, oldest_read)
            self.sums |= {TRADES: 0, **_sums(connection, self.since, (TRADES,))}

    def put(self, connection: sqlite3.Connection) -> SealedTables:
        """Write the seal inside the open transaction, if it has changed."""
        if self._put_as == (self.written.content, self.sums):
            return self.written
        sums = {group: _text(total) for group, total in self.sums.items() if total}
        content = orjson.dumps({"form": FORM, "since": self.since, "sums": sums}).decode()
        fresh = SealedTables(self.written.number + 1, content)
        connection.execute(_PUT, (fresh.number, content))
        self._put_as = (content, dict(self.sums))
        return fresh

    def _count(self, sign: int, table: str, *values: Any) -> None:
        if self.counting and (table != TRADES or values[0] >= self.since):
            group = _group(table, values)
            self.sums[group] = (self.sums.get(group, 0) + sign * _digest(table, values)) % _MODULO


def _group(table: str, values: tuple[Any, ...]) -> str:
    return str(values[0]) if table == "meta" else table


def _digest(table: str, values: tuple[Any, ...]) -> int:
    return int.from_bytes(blake2b(orjson.dumps((table, *values)), digest_size=16).digest())


def _text(total: int) -> str:
    return f"{total:032x}"


def _sums(
    connection: sqlite3.Connection, since: str, tables: Iterable[str] = tuple(_GUARDED)
) -> dict[str, int]:
    sums: dict[str, int] = {}
    for table in tables:
        columns, condition = _GUARDED[table]
        recent = table == TRADES
        where = rows.TRADES_SINCE.format("?") if recent else condition.format("")
        question = f"SELECT {columns} FROM {table} WHERE {where}"  # noqa: S608 - our own words
        for values in connection.execute(question, (since,) if recent else ()):
            group = _group(table, values)
            sums[group] = (sums.get(group, 0) + _digest(table, values)) % _MODULO
    return sums


def _totals(connection: sqlite3.Connection, since: str) -> dict[str, str]:
    return {group: _text(total) for group, total in _sums(connection, since).items() if total}


def _triggers() -> Iterator[str]:
    for table, (columns, condition) in _GUARDED.items():
        for name, moment, row, sign in (
            ("put", "INSERT", "NEW", 1),
            ("gone", "DELETE", "OLD", -1),
            ("before", "UPDATE", "OLD", -1),
            ("after", "UPDATE", "NEW", 1),
        ):
            values = ", ".join(f"{row}.{column.strip()}" for column in columns.split(","))
            yield (
                f"CREATE TEMP TRIGGER IF NOT EXISTS seal_{table}_{name} AFTER {moment}"
                f" ON main.{table} WHEN {condition.format(row + '.')}"
                f" BEGIN SELECT seal_row({sign}, '{table}', {values}); END;"
            )


_TRIGGERS = "\n".join(_triggers())
