"""How an account learns and keeps the results of its trading days, and its balance of the morning.

Kept as marks of no rule, so that they are stored, sealed and restored like everything remembered.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal

from risk_manager.domain.account import Account, Mark
from risk_manager.domain.day_history import first_unknown
from risk_manager.domain.events import AccountReported
from risk_manager.domain.executions import Execution
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.ledger import Ledger
from risk_manager.domain.records import TradeRecord
from risk_manager.domain.rulebook import PnlBasis, Rulebook
from risk_manager.domain.state import State
from risk_manager.domain.trading_calendar import TradingDay
from risk_manager.domain.trading_days import (
    DAYS,
    NOT_KNOWN,
    OPENING,
    EndedDay,
    Opening,
    weekday_before,
    weekdays,
)

READ_BEFORE_THE_END = timedelta(minutes=15)
"""A day is known whole if the account was still read this long before its end."""
NO_FILL_FOR = timedelta(seconds=10)
"""Balance and trades belong together only when the last execution is older than this."""
KEPT_BEFORE_YESTERDAY = timedelta(days=1)


def with_day_ended(account: Account, state: State) -> Account:
    """Keep the result of the account's trading date, which is over, before it turns."""
    old, today, day = account.trading_date, state.day.date, state.rulebook.day
    written: dict[str, str] = {}
    if weekday_before(today) == old and _was_read_to_the_end(account, old, day):
        totals, opening = account.ledger.day(old), account.days.opened_with(old)
        made = totals.net if _is_net(state.rulebook) else totals.pnl
        balance = None if opening is None else opening + made
        written[old.isoformat()] = str(EndedDay(totals.pnl, totals.fees, balance))
        if balance is not None:
            written[OPENING] = str(Opening(today, balance))
    else:
        written[old.isoformat()] = str(NOT_KNOWN)
    written |= {d.isoformat(): str(NOT_KNOWN) for d in _after(old, today)}
    return _with(account, written, state.now)


def with_late_trades(account: Account, before: Ledger, book: Rulebook, now: datetime) -> Account:
    """Correct the result of the day before by executions that came or changed afterwards.

    Of earlier days the ledger has only parts.
    """
    day = weekday_before(account.trading_date)
    known, earlier, totals = account.days.ended.get(day), before.day(day), account.ledger.day(day)
    if known is None or known.pnl is None or known.fees is None or totals == earlier:
        return account
    pnl, fees = totals.pnl - earlier.pnl, totals.fees - earlier.fees
    moved = pnl - fees if _is_net(book) else pnl
    balance = None if known.balance is None else known.balance + moved
    corrected = EndedDay(known.pnl + pnl, known.fees + fees, balance)
    return _with(account, {day.isoformat(): str(corrected)}, now)


def recent(event: AccountReported, today: date, day: TradingDay) -> tuple[TradeRecord, ...]:
    """Return the trades of a report without those of days that the ledger no longer keeps."""
    trades = event.trades or ()
    if event.trades_since is None:
        return trades
    earliest = day.began(weekday_before(today)) - KEPT_BEFORE_YESTERDAY
    return tuple(t for t in trades if t.creation_timestamp >= earliest)


def with_report(account: Account, event: AccountReported, book: Rulebook) -> Account:
    """Complete the ended days, and find the balance of the morning, from the broker's report."""
    if event.trades is None:
        return account
    today, day = account.trading_date, book.day
    if event.trades_since is not None:
        first = first_unknown(account, book.for_account(account.id))
        if first is not None:
            since = event.trades_since
            asked = [d for d in account.days.unknown(first, today) if day.began(d) >= since]
            account = _with(account, _listed(asked, event, day), event.at)
    stated = event.account.balance if event.account is not None else None
    if stated is None or not _is_calm(account, event):
        return account
    totals = account.ledger.day(today)
    implied = stated - (totals.net if _is_net(book) else totals.pnl)
    return _with_opening(account, implied, event.at, after_fees=_is_net(book))


def _with_opening(
    account: Account, implied: Decimal, now: datetime, *, after_fees: bool
) -> Account:
    today, known = account.trading_date, account.days.opening
    if known is None or known.day != today or known.implied == implied:
        opening = Opening(today, implied)
    elif known.balance == implied:
        opening = Opening(today, known.balance)
    else:
        # Something that is no trade: a payout, a deposit, or an execution still to come.
        opening = Opening(today, known.balance, implied)
    written = {OPENING: str(opening)}
    return _with(account, written | _balances(account, opening, after_fees=after_fees), now)


def _balances(account: Account, opening: Opening, *, after_fees: bool) -> dict[str, str]:
    """Return the balances that are missing, back from this morning as far as results are known."""
    written: dict[str, str] = {}
    ended: Mapping[date, EndedDay] = account.days.ended
    if all(known.balance is not None for known in ended.values()):
        return written
    balance, day = opening.balance, weekday_before(opening.day)
    while (known := ended.get(day)) is not None:
        if known.balance is None:
            written[day.isoformat()] = str(known._replace(balance=balance))
        else:
            balance = known.balance
        made = known.made(after_fees=after_fees)
        if made is None:
            break
        balance, day = balance - made, weekday_before(day)
    return written


def _listed(days: Iterable[date], event: AccountReported, day: TradingDay) -> dict[str, str]:
    """Return the results of these days by a list of trades that reaches back to them."""
    wanted = set(days)
    executions = [Execution.of(record, event.at, day) for record in event.trades or ()]
    ledger = Ledger().stated(e for e in executions if e.trading_date in wanted)
    return {
        d.isoformat(): str(EndedDay(ledger.day(d).pnl, ledger.day(d).fees)) for d in sorted(wanted)
    }


def _was_read_to_the_end(account: Account, old: date, day: TradingDay) -> bool:
    read = account.reported_at
    return read is not None and read >= _end_of(old, day) - READ_BEFORE_THE_END


def _end_of(old: date, day: TradingDay) -> datetime:
    return day.window(day.began(old)).ends_at


def _after(old: date, today: date) -> list[date]:
    return list(weekdays(old + timedelta(days=1), today))


def _is_calm(account: Account, event: AccountReported) -> bool:
    """Whether the stated balance contains every execution known."""
    if account.days.opened_with(account.trading_date) is None:
        newest = max((e.executed_at for e in account.ledger.standing()), default=None)
    else:
        newest = max((e.received_at for e in account.ledger.entries.values()), default=None)
    return newest is None or event.asked_at - newest >= NO_FILL_FOR


def _is_net(book: Rulebook) -> bool:
    return book.defaults.pnl_basis is PnlBasis.NET


def _with(account: Account, written: Mapping[str, str], now: datetime) -> Account:
    changed = {}
    for subject, value in written.items():
        known = account.marks.get((DAYS, subject))
        if known is None or known.value != value:
            changed[DAYS, subject] = Mark(rule_id=DAYS, subject=subject, set_at=now, value=value)
    return fast_replace(account, marks={**account.marks, **changed}) if changed else account
