"""The limit over the sum of a group, and what each member does about it."""

from collections.abc import Iterator
from decimal import Decimal
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from risk_manager.domain.decisions import Ask, Cancel, LockOut, ReduceTo, Severity, Verdict
from risk_manager.domain.lockout import new_lock
from risk_manager.domain.locks import Lock, Release
from risk_manager.domain.money import ZERO, dollars
from risk_manager.domain.rule import Meter, MeterState, Rule
from risk_manager.domain.scope import ACCOUNT_SCOPE
from risk_manager.domain.view import View
from risk_manager.rules.group_limit.members import (
    PATIENCE,
    Doubt,
    Holding,
    day_result,
    doubts,
    holdings,
    members_known,
)


class GroupLimit(Rule):
    """One limit over the accounts named in `accounts`: contracts held, or the loss of the day.

    Each member is judged by itself and looks at the others' state. All of them come to the same
    sum and the same order of positions, so that each does its own part and no more.
    """

    spec_id: ClassVar[str] = "EXTRA-015"
    title: ClassVar[str] = "Group of accounts"

    rule: Literal["group_limit"] = "group_limit"
    measure: Literal["contracts", "micro_equivalents", "day_loss"]
    limit: Decimal = Field(gt=0, decimal_places=2)
    """The most contracts, or the loss in dollars, of all accounts together."""
    include_unrealized: bool = False
    cancel_entry_orders: bool = True

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.accounts is None or len(self.accounts) < 2:
            raise ValueError("name the accounts of the group, two or more, as accounts: [101, 102]")
        if self.measure != "day_loss":
            if self.limit != self.limit.to_integral_value():
                raise ValueError(f"limit {self.limit} is not a whole number of contracts")
            if self.include_unrealized:
                raise ValueError("include_unrealized belongs to measure: day_loss")
        return self

    def in_words(self) -> str:
        together = f"The accounts {_listed(self.group)} together"
        if self.measure == "day_loss":
            counted = "open positions included" if self.include_unrealized else "closed trades only"
            return (
                f"{together}: at a loss of {dollars(self.limit)} in the trading day ({counted}, "
                "after fees) each of them is closed and locked until the daily reset; nobody can "
                "lift it."
            )
        also = ", and entry orders are cancelled" if self.cancel_entry_orders else ""
        return (
            f"{together}: at most {self._plain_limit} {self._unit}. Above that, the newest are "
            f"closed, in whichever account they are{also}."
        )

    @property
    def group(self) -> frozenset[int]:
        return self.accounts or frozenset()

    @property
    def uses_prices(self) -> bool:  # type: ignore[override]  # per configuration here
        return self.include_unrealized

    @property
    def rank(self) -> int:
        return 21 if self.measure == "day_loss" else 76

    def is_stricter_than(self, other: Self) -> bool:
        return self.same_but(other, "limit") and self.limit <= other.limit

    def judge(self, view: View) -> tuple[Verdict, ...] | None:
        told = self._doubts_to_tell(view)
        verdict = self._too_much_lost(view) if self._is_of_the_day else self._too_many_held(view)
        return (*told, *([] if verdict is None else [verdict])) or None

    @property
    def _is_of_the_day(self) -> bool:
        return self.measure == "day_loss"

    @property
    def _unit(self) -> str:
        return "micro-equivalents" if self.measure == "micro_equivalents" else "contracts"

    @property
    def _plain_limit(self) -> str:
        return f"{self.limit.normalize():f}"

    def _doubts_to_tell(self, view: View) -> Iterator[Verdict]:
        """Yield a warning for each member in doubt, on one account of the group."""
        found = doubts(view.state, self.group)
        if not found:
            return
        unseen = {doubt.account_id for doubt in found}
        if view.account.id != min(self.group - unseen or self.group):
            return
        for doubt in found:
            if doubt.since is not None and view.now - doubt.since >= PATIENCE:
                counts = "it is not counted" if doubt.is_unknown else "it counts as last known"
                yield Verdict(
                    reason=f"account {doubt.account_id} of the group: {doubt.why}; {counts}",
                    subject=f"doubt:{doubt.account_id}",
                    severity=Severity.WARNING,
                )

    # --- contracts ---

    def _holdings(self, view: View) -> list[Holding]:
        in_micros = self.measure == "micro_equivalents"
        return list(holdings(view, self.group, self.id, in_micros=in_micros))

    def _too_many_held(self, view: View) -> Verdict | None:
        account = view.account
        if not account.positions and not account.orders:
            return None
        held = self._holdings(view)
        count = sum((h.position.size * h.weight for h in held), ZERO)
        if count <= self.limit:
            return None
        cuts = _cuts(held, self.limit)
        own = [(h, keep) for h, keep in cuts if h.account_id == account.id]
        asks: list[Ask] = [ReduceTo(h.position.contract_id, keep) for h, keep in own]
        entries = view.entry_orders() if self.cancel_entry_orders else []
        if entries:
            asks.append(Cancel(tuple(order.id for order in entries)))
        if not asks:
            return None  # the others do it
        done = [f"{h.lots - keep} {view.name(h.position.contract_id)}" for h, keep in own]
        what = f"closing {', '.join(done)}" if done else "cancelling entry orders"
        newest = max(
            (h.position for h in held if h.account_id == account.id),
            key=lambda p: p.increased_at,
            default=None,
        )
        return Verdict(
            reason=f"the accounts {_listed(self.group)} hold {count.normalize():f} {self._unit}, "
            f"limit {self._plain_limit}; {what}",
            subject=f"orders:{entries[0].id}" if newest is None else f"episode:{newest.episode}",
            asks=tuple(asks),
        )

    # --- the loss of the day ---

    def _too_much_lost(self, view: View) -> Verdict | None:
        result = day_result(view, self.group, counts_open=self.include_unrealized)
        if result <= -self.limit:
            reason = (
                f"the accounts {_listed(self.group)} lost {dollars(-result)} today, "
                f"limit {dollars(self.limit)}; locked flat"
            )
            return self._locked(view, reason)
        # The sum may have changed since, as by a void. What was reached then holds for all.
        first = self._locked_before(view)
        if first is None:
            return None
        return self._locked(view, f"locked with account {first.account_id}: {first.reason}")

    def _locked_before(self, view: View) -> Lock | None:
        """Return the lock of today that this rule has set on a member, if any."""
        for member in members_known(view.state, self.group):
            lock = member.locks.get((ACCOUNT_SCOPE, self.id))
            if lock is not None and lock.trading_date == view.state.day.date:
                return lock
        return None

    def _locked(self, view: View, reason: str) -> Verdict:
        day = view.state.day.date.isoformat()
        known = view.lock(self.id)
        lock: LockOut | None = None
        if known is None or known.trading_date < view.state.day.date:
            lock = new_lock(
                view,
                self.id,
                reason,
                until=Release.RESET,
                trigger=day,
                admin_may_clear=False,
            )
        return Verdict(reason=reason, subject=day, asks=() if lock is None else (lock,))

    # --- for people ---

    def meter(self, view: View) -> Meter:
        doubted = doubts(view.state, self.group)
        if self._is_of_the_day:
            result = day_result(view, self.group, counts_open=self.include_unrealized)
            current, unit = max(-result, ZERO), "USD"
            made = "lost" if result < 0 else "made"
            count = f"{made} {dollars(abs(result))} today"
            limit = dollars(self.limit)
            reached = current >= self.limit or view.lock(self.id) is not None
        else:
            current = sum((h.lots * h.weight for h in self._holdings(view)), ZERO)
            unit = self._unit
            count, limit = f"hold {current.normalize():f} {unit}", self._plain_limit
            reached = current > self.limit
        unknown = any(doubt.is_unknown for doubt in doubted)
        state = MeterState.OK
        if reached:
            state = MeterState.BREACH
        elif unknown:
            state = MeterState.UNKNOWN
        elif current >= self.limit * Decimal("0.8"):
            state = MeterState.WARN
        return self.reading(
            current=None if unknown and not reached else current,
            limit=self.limit,
            unit=unit,
            sentence=f"{_listed(self.group)} {count}, limit {limit}{_in_words(doubted)}",
            state=state,
        )


def _cuts(held: list[Holding], limit: Decimal) -> list[tuple[Holding, int]]:
    """Return what to keep of which holdings, the newest first, until the sum is at the limit.

    Lots that are being closed already are counted out. Holdings that cannot be cut come last.
    """
    count = sum((h.lots * h.weight for h in held), ZERO)
    ordered = sorted(
        held,
        key=lambda h: (h.can_be_cut, h.position.increased_at, h.position.size, h.account_id),
        reverse=True,
    )
    found = []
    for holding in ordered:
        if count <= limit:
            break
        keep = holding.lots
        while keep and count > limit:
            keep -= 1
            count -= holding.weight
        if keep < holding.lots:
            found.append((holding, keep))
    return found


def _in_words(doubted: list[Doubt]) -> str:
    return "".join(
        f"; {d.account_id} {'not known' if d.is_unknown else 'as last known'}" for d in doubted
    )


def _listed(account_ids: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(account_ids)))
