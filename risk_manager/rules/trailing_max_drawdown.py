"""EXTRA-001: the maximum loss of a funded account, whose floor follows its best balance upwards."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from risk_manager.domain.account import Account
from risk_manager.domain.decisions import Remember, Verdict, bookkeeping
from risk_manager.domain.holdings import Position
from risk_manager.domain.lockout import Lockout
from risk_manager.domain.locks import Release
from risk_manager.domain.money import ZERO, Band, dollars
from risk_manager.domain.rule import Meter, MeterState, Rule
from risk_manager.domain.rulebook import PnlBasis
from risk_manager.domain.view import View
from risk_manager.rules.day_course import (
    Course,
    day_course,
    may_be_quiet,
    quiet_band,
    settling,
)

SUBJECT = "floor"
WARN_FROM = Decimal("0.8")
_UNTIL_LIFTED = Lockout(Release.MANUAL)


class TrailingMaxDrawdown(Rule):
    """Balance and open P&L together may not fall to the floor, or within `buffer` of it.

    `eod`: the floor is `distance` below the best balance at the end of a day. `intraday_balance`:
    below the best balance at any time. `intraday_equity`: below the best of balance and open P&L
    together. It never rises above `lock_at` and never falls. `floor` is what the firm states, for
    instance after a payout; with `floor_from`, balances before that date no longer count.
    """

    spec_id: ClassVar[str] = "EXTRA-001"
    title: ClassVar[str] = "Maximum loss"
    uses_prices: ClassVar[bool] = True
    bands_hold_together: ClassVar[bool] = True

    rule: Literal["trailing_max_drawdown"] = "trailing_max_drawdown"
    start_balance: Decimal = Field(decimal_places=2)
    """The balance the account began with; 0 for an express funded account."""
    distance: Decimal = Field(gt=0, decimal_places=2)
    """How far the floor is below the best balance."""
    mode: Literal["eod", "intraday_balance", "intraday_equity"] = "eod"
    lock_at: Decimal | None = Field(default=None, decimal_places=2)
    buffer: Decimal = Field(default=ZERO, ge=0, decimal_places=2)
    floor: Decimal | None = Field(default=None, decimal_places=2)
    floor_from: date | None = None

    @model_validator(mode="after")
    def _floor_is_stated(self) -> Self:
        if self.floor_from is not None and self.floor is None:
            raise ValueError("floor_from needs floor, the floor on that day")
        return self

    def in_words(self) -> str:
        best = {
            "eod": "best balance at the end of a day",
            "intraday_balance": "best balance at any time",
            "intraday_equity": "best balance at any time, open positions included",
        }[self.mode]
        told = (
            f"The floor lies {dollars(self.distance)} below the {best}, starts at "
            f"{dollars(self.start_balance - self.distance)} and stops rising at "
            f"{dollars(self._lock_at)}."
        )
        if self.floor is not None:
            told += f" It is at least {dollars(self.floor)}"
            told += (
                f", and balances before {self.floor_from} do not count."
                if (self.floor_from)
                else "."
            )
        near = f" or to within {dollars(self.buffer)} of it" if self.buffer else ""
        return (
            f"{told} When balance and open positions together fall to it{near}, everything is "
            "closed and the account is locked until an administrator lifts it."
        )

    @property
    def _lock_at(self) -> Decimal:
        return self.start_balance if self.lock_at is None else self.lock_at

    @property
    def rank(self) -> int:
        return 15

    def is_stricter_than(self, other: Self) -> bool:
        if not self.same_but(other, "distance", "lock_at", "buffer", "floor"):
            return False
        if self.floor is None or other.floor is None:
            is_higher = other.floor is None
        else:
            is_higher = self.floor >= other.floor
        return (
            is_higher
            and self.distance <= other.distance
            and self._lock_at >= other._lock_at
            and self.buffer >= other.buffer
        )

    # --- the floor ---

    def history_from(self, account: Account) -> date | None:
        """Every day counts from the first one that was watched."""
        first = min(account.days.ended, default=None)
        if self.floor_from is None or first is None:
            return self.floor_from or first
        return max(self.floor_from, first)

    def lacks(self, account: Account) -> str:
        unknown = account.days.opened_with(account.trading_date) is None
        return "the balance at the beginning of today is not known" if unknown else ""

    def balance(self, view: View) -> Decimal | None:
        """Return the balance now: that of the morning and what was realised since."""
        opened_with = view.account.days.opened_with(view.account.trading_date)
        return None if opened_with is None else opened_with + view.realised_today()

    def _highest(self, view: View) -> Decimal | None:
        account = view.account
        evening = account.days.highest(account.trading_date, self.floor_from)
        mark = view.mark(self.id, self._mark) if self.mode != "eod" else None
        if mark is None:
            return evening
        marked = Decimal(mark.value)
        return marked if evening is None else max(evening, marked)

    @property
    def _mark(self) -> str:
        return "highest" if self.floor_from is None else f"highest:{self.floor_from.isoformat()}"

    def floor_under(self, highest: Decimal | None) -> Decimal:
        """Return the floor where this is the highest balance that counts."""
        floor = self._least_floor
        return floor if highest is None else max(floor, min(self._lock_at, highest - self.distance))

    @cached_property
    def _least_floor(self) -> Decimal:
        """The floor before any balance has raised it."""
        floors = [] if self.floor is None else [self.floor]
        if self.floor_from is None:
            floors.append(min(self._lock_at, self.start_balance - self.distance))
        return max(floors)

    # --- the judgement ---

    def judge(self, view: View) -> tuple[Verdict, ...] | None:
        balance = self.balance(view)
        if balance is None:
            return None
        kept: tuple[Verdict, ...] = ()
        if not view.stands(self.id, SUBJECT):
            waits, kept = settling(view, self.id)
            if waits:
                return kept or None
        day, moved = self._day(view), balance - view.realised_today()
        if self.mode == "eod":
            floor = self._floor_of_today(view)
        else:
            highest = self._highest(view)
            now = balance if self.mode == "intraday_balance" else day.plus(moved).known
            if now is not None and self._moves_the_floor(highest, now):
                kept, highest = (*kept, bookkeeping(Remember(self._mark, value=str(now)))), now
            floor = self.floor_under(highest)
        if day.most is None or day.most + moved > floor + self.buffer:
            return kept or None
        equity = day.plus(moved)
        reason = (
            f"balance and open positions are {dollars(equity.likely)}{equity.told_doubts}, "
            f"floor {dollars(floor)}"
        )
        if self.buffer:
            reason += f" and buffer {dollars(self.buffer)}"
        verdict = Verdict(reason=f"{reason}; locked flat", subject=SUBJECT, asks=())
        if view.lock(self.id) is None:
            # Asked for once: each further time would count as a lock of that day, which nobody may
            # lift on the same day.
            lock = _UNTIL_LIFTED.lock(view, self.id, reason, trigger=SUBJECT, admin_may_clear=False)
            verdict = replace(verdict, asks=(lock,))
        return (*kept, verdict)

    def _moves_the_floor(self, highest: Decimal | None, now: Decimal) -> bool:
        return self.floor_under(now) > self.floor_under(highest)

    def _floor_of_today(self, view: View) -> Decimal:
        """Return the floor where it stays as it is for the whole day."""
        account = view.account
        memo, today = account.days.memo, account.trading_date
        known = memo.get(self.id)
        if known is None or known[0] is not self or known[1] != today:
            known = memo[self.id] = (self, today, self.floor_under(self._highest(view)))
        floor: Decimal = known[2]
        return floor

    def _day(self, view: View) -> Course:
        """Return the result of today, open positions included."""
        return day_course(view, None, with_open=True)

    def _equity(self, view: View, balance: Decimal) -> Course:
        return self._day(view).plus(balance - view.realised_today())

    def quiet_between(self, view: View, position: Position) -> Band | None:
        balance = self.balance(view)
        if balance is None:
            return Band()
        if not may_be_quiet(view, self.id):
            return None
        highest = self._highest(view)
        floor = self.floor_under(highest)
        rises_from = None
        if self.mode == "intraday_equity" and floor < self._lock_at:
            rises_from = floor + self.distance
        return quiet_band(view, position, balance, above=floor + self.buffer, below=rises_from)

    # --- for people ---

    def meter(self, view: View) -> Meter:
        balance = self.balance(view)
        equity = None if balance is None else self._equity(view, balance).known
        highest = self._highest(view)
        floor = self.floor_under(highest)
        if equity is None or balance is None:
            lacks = self.lacks(view.account) or "no trusted price for an open position"
            return self.reading(
                current=None,
                limit=self.distance,
                unit="USD",
                sentence=f"floor today {dollars(floor)}; {lacks}",
                state=MeterState.UNKNOWN,
            )
        room = equity - floor - self.buffer
        used = max(self.distance - room, ZERO)
        state = MeterState.WARN if used >= WARN_FROM * self.distance else MeterState.OK
        if room <= 0:
            state = MeterState.BREACH
        now = equity if self.mode == "intraday_equity" else balance
        tomorrow = max(floor, self.floor_under(now))
        sentence = (
            f"{dollars(room)} above the floor: today {dollars(floor)}, "
            f"tomorrow {dollars(tomorrow)} as it stands"
        )
        if room <= 0:
            sentence = f"floor reached: {dollars(equity)}, floor today {dollars(floor)}"
        elif self._is_at_least(view.account):
            sentence, state = f"{sentence}; at least, as days are unknown", MeterState.UNKNOWN
        meter = self.reading(
            current=used, limit=self.distance, unit="USD", sentence=sentence, state=state
        )
        at = floor + self.buffer - balance + view.realised_today()
        net = view.state.rulebook.defaults.pnl_basis is PnlBasis.NET
        return replace(meter, day_result=at if net else at - view.today.fees, counts_open=True)

    def _is_at_least(self, account: Account) -> bool:
        since = self.history_from(account)
        return since is not None and bool(account.days.unknown(since, account.trading_date))
