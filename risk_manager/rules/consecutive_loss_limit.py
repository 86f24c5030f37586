"""EXTRA-008: stop after so many losing trades in a row."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from risk_manager.domain.decisions import Remember, Verdict, bookkeeping
from risk_manager.domain.executions import ROUND_TURN_SETTLE
from risk_manager.domain.lockout import Lockout, LockoutSpec, new_lock
from risk_manager.domain.locks import Lock, LockKind, LockPolicy
from risk_manager.domain.money import ZERO, dollars
from risk_manager.domain.round_turns import RoundTurn
from risk_manager.domain.rule import Meter, MeterState, Rule
from risk_manager.domain.rulebook import PnlBasis
from risk_manager.domain.scope import ACCOUNT_SCOPE, root_scope, scope_name
from risk_manager.domain.view import View
from risk_manager.rules.pauses import in_whole_seconds, is_gross

HOUR = timedelta(hours=1)


class ConsecutiveLossLimit(Rule):
    """The losing trade that makes the row full pauses entries. A scratch neither adds nor breaks.

    A trade lasts from flat to flat, or to the other side, however many orders closed it. The row
    begins anew after each pause and, without `carry_over`, with each trading day.
    """

    spec_id: ClassVar[str] = "EXTRA-008"
    title: ClassVar[str] = "Losses in a row"

    rule: Literal["consecutive_loss_limit"] = "consecutive_loss_limit"
    losses: PositiveInt
    """So many losing trades in a row."""
    scratch_below: Decimal = Field(default=ZERO, ge=0, decimal_places=2)
    scope: Literal["account", "root"] = "account"
    """All products in one row, or each product by itself."""
    action: Literal["block_entries", "close_all"] = "block_entries"
    """Pause entries, or close everything as well."""
    lockout: LockoutSpec = Lockout(HOUR)
    """How long entries pause."""
    carry_over: bool = False
    pnl_basis: PnlBasis | None = None

    @model_validator(mode="after")
    def _pauses(self) -> "ConsecutiveLossLimit":
        if self.lockout is None:
            raise ValueError('lockout must say how long, as "1h" or until_reset')
        if self.lockout.until == timedelta(0):
            raise ValueError('lockout must be longer than zero, as "1h"')
        return self

    def in_words(self) -> str:
        assert self.lockout is not None
        where = " of one product" if self.scope == "root" else ""
        done = (
            "new entries are paused"
            if self.action == "block_entries"
            else "everything is closed and the account is locked"
        )
        told = (
            f"After {self.losses} losing trades in a row{where}, {done} {self.lockout.in_words()}."
        )
        if self.scratch_below:
            told += f" A result of less than {dollars(self.scratch_below)} neither adds nor breaks."
        told += (
            " The row goes on over the daily reset."
            if self.carry_over
            else " The row begins anew with each trading day."
        )
        return told

    @property
    def rank(self) -> int:
        return 80

    def judge(self, view: View) -> tuple[Verdict, ...] | None:
        if self._row_is_short(view):
            return None
        turns = view.account.ledger.finished_turns
        if not turns:
            return None
        verdicts: list[Verdict] = []
        for scope, own in self._by_scope(view, turns).items():
            if not own:
                continue
            newest = own[-1]
            if view.lock(self.id, scope) is not None:
                # A trade that is closed during the pause belongs to no row.
                if _mark(newest) != self._counted_to(view, scope):
                    verdicts.append(bookkeeping(Remember(scope, value=_mark(newest))))
                continue
            row = self._row(view, scope, own)
            if len(row) < self.losses:
                self._remember_short(view)
            elif verdict := self._breach(view, scope, row):
                verdicts.append(verdict)
        return tuple(verdicts) or None

    def _row_is_short(self, view: View) -> bool:
        """Whether the row of the whole account was not full when these trades were looked at last,
        and it was counted from where it would be now."""
        account = view.account
        known = account.ledger.memo.get(self.id)
        return (
            known is not None
            and known[0] is self
            and known[1] is view.state.rulebook
            and known[2] == account.trading_date
            and known[3] == self._counted_to(view, ACCOUNT_SCOPE)
            and view.lock(self.id) is None
        )

    def _remember_short(self, view: View) -> None:
        if self.scope == "account":
            account, counted_to = view.account, self._counted_to(view, ACCOUNT_SCOPE)
            now = (self, view.state.rulebook, account.trading_date, counted_to)
            account.ledger.memo[self.id] = now

    def _breach(self, view: View, scope: str, row: list[RoundTurn]) -> Verdict | None:
        """None while the newest trade may still be filling, and for one long past."""
        newest = row[-1]
        last = newest.last
        if self.lockout is None or view.now - last.received_at < ROUND_TURN_SETTLE:
            return None
        until = self.lockout.until
        timed = isinstance(until, timedelta)
        ends = last.counts_from + until if isinstance(until, timedelta) else view.next_reset()
        passed = ends <= view.now if timed else newest.trading_date < view.account.trading_date
        if passed:
            return None
        flat = self.action == "close_all"
        total = sum((self._result(view, t) for t in row), ZERO)
        where = "" if scope == ACCOUNT_SCOPE else f" in {scope_name(scope)}"
        span = in_whole_seconds(ends - view.now)
        reason = (
            f"{len(row)} losing trades in a row{where} ({dollars(total)}); "
            f"{'locked flat' if flat else 'no new entries'} for {span}"
        )
        subject = f"{scope}:{last.id}"
        lock = new_lock(
            view,
            self.id,
            reason,
            until=ends if isinstance(until, timedelta) else until,
            policy=LockPolicy.FLAT if flat else LockPolicy.NO_ENTRIES,
            kind=LockKind.COOLDOWN if timed else LockKind.HARD,
            scope=scope,
            trigger=subject,
        )
        return Verdict(
            reason=reason, subject=subject, asks=(lock, Remember(scope, value=_mark(newest)))
        )

    # --- the row ---

    def _by_scope(
        self, view: View, turns: tuple[RoundTurn, ...]
    ) -> dict[str, tuple[RoundTurn, ...]]:
        if self.scope == "account":
            return {ACCOUNT_SCOPE: turns}
        roots = sorted({view.root(t.contract_id) for t in turns})
        return {
            root_scope(root): tuple(t for t in turns if view.root(t.contract_id) == root)
            for root in roots
        }

    def _row(self, view: View, scope: str, turns: tuple[RoundTurn, ...]) -> list[RoundTurn]:
        """The losing trades at the end, oldest first."""
        return list(reversed(list(self._row_backwards(view, scope, turns))))

    def _row_backwards(
        self, view: View, scope: str, turns: tuple[RoundTurn, ...]
    ) -> Iterator[RoundTurn]:
        counted_to = self._counted_to(view, scope)
        gross, today = is_gross(view, self.pnl_basis), view.account.trading_date
        most, least = self.scratch_below, -self.scratch_below
        for turn in reversed(turns):
            if counted_to and _mark(turn) <= counted_to:
                return
            if not self.carry_over and turn.trading_date != today:
                return
            result = turn.pnl if gross else turn.net
            if result > most:
                return
            if result < least:
                yield turn

    def _counted_to(self, view: View, scope: str) -> str:
        mark = view.mark(self.id, scope)
        return mark.value if mark else ""

    def _result(self, view: View, turn: RoundTurn) -> Decimal:
        gross = is_gross(view, self.pnl_basis)
        return turn.pnl if gross else turn.net

    # --- for people ---

    def meter(self, view: View) -> Meter:
        by_scope = self._by_scope(view, view.account.ledger.finished_turns)
        rows = {scope: len(self._row(view, scope, own)) for scope, own in by_scope.items()}
        longest = max(rows.values(), default=0)
        left = max(self.losses - longest, 0)
        state = MeterState.OK
        if left == 1:
            state = MeterState.WARN
        told = [scope for scope, row in rows.items() if row == longest]
        anew = [scope for scope in told if self._begins_after_a_pause(view, scope, by_scope[scope])]
        sentence = f"{longest} of {self.losses} losses in a row, {left} left"
        if anew:
            rules = view.state.rulebook.for_account(view.account.id)
            enforced = rules.enforces(self, simulated=view.account.simulated)
            which = "after its pause" if enforced else "since it would have paused"
            sentence += f"; counted anew{_in_products(anew)} {which}"
        locks = [x for x in view.account.locks.values() if x.rule_id == self.id]
        if locks:
            state = MeterState.BREACH
            sentence = _paused(view, locks)
        return self.reading(
            current=Decimal(longest),
            limit=Decimal(self.losses),
            unit="losses",
            sentence=sentence,
            state=state,
        )

    def _begins_after_a_pause(self, view: View, scope: str, turns: tuple[RoundTurn, ...]) -> bool:
        """Whether the row would go further back, had not a pause ended it."""
        counted_to = self._counted_to(view, scope)
        for turn in reversed(turns) if counted_to else ():
            if _mark(turn) <= counted_to:
                return self.carry_over or turn.trading_date == view.account.trading_date
            if self._result(view, turn) > self.scratch_below:
                return False
        return False


def _paused(view: View, locks: list[Lock]) -> str:
    """Say what the pause that ends last allows, and for how long."""
    lock = max(locks, key=lambda x: (x.expires_at is None, x.expires_at or view.now))
    what = "locked flat" if lock.policy is LockPolicy.FLAT else "no new entries"
    where = _in_products([lock.scope])
    until = "until an administrator lifts it"
    if lock.expires_at is not None:
        until = f"for another {in_whole_seconds(lock.expires_at - view.now)}"
    return f"{what}{where} {until}, then it counts anew"


def _in_products(scopes: list[str]) -> str:
    """Return " in MNQ, ES"; empty for the whole account."""
    names = ", ".join(name for scope in scopes if (name := scope_name(scope)))
    return f" in {names}" if names else ""


def _mark(turn: RoundTurn) -> str:
    """A text that sorts as the trades do: by time, then by execution id."""
    return f"{turn.last_at.isoformat(timespec='microseconds')} {turn.last.id:020d}"
