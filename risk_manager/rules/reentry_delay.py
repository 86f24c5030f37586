"""EXTRA-025: after an exit, no new entry for a while."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator

from risk_manager.domain.decisions import Ask, Close, Forget, Remember, Verdict, bookkeeping
from risk_manager.domain.durations import Duration, plain_duration
from risk_manager.domain.executions import HEARD_AT_ONCE, ROUND_TURN_SETTLE, Execution
from risk_manager.domain.fill_attribution import enforced_by
from risk_manager.domain.lockout import new_lock
from risk_manager.domain.locks import LockKind, LockPolicy
from risk_manager.domain.money import ZERO
from risk_manager.domain.round_turns import RoundTurn
from risk_manager.domain.rule import Meter, MeterState, Rule
from risk_manager.domain.rulebook import PnlBasis
from risk_manager.domain.scope import ACCOUNT_SCOPE, root_scope, scope_name
from risk_manager.domain.view import View
from risk_manager.rules.pauses import in_whole_seconds, is_gross
from risk_manager.rules.position_life import is_reversal, life_of, was_turned_round

LONGEST = timedelta(days=1)


def _within_a_day(value: timedelta) -> timedelta:
    if not timedelta(0) < value <= LONGEST:
        raise ValueError('must be longer than zero and at most "1d", as "2m"')
    return value


class ReentryDelay(Rule):
    """An exit locks its product, or the account, against new entries for a while.

    An exit is the end of a trade with nothing held afterwards. A partial exit is none, and neither
    is a reversal, which leaves the trader in the market.
    """

    spec_id: ClassVar[str] = "EXTRA-025"
    title: ClassVar[str] = "Delay before re-entry"

    rule: Literal["reentry_delay"] = "reentry_delay"
    delay: Annotated[Duration, AfterValidator(_within_a_day)]
    """How long after an exit no new position is opened."""
    after: Literal["any", "loss"] = "any"
    scope: Literal["root", "account"] = "root"
    include_enforced: bool = False
    pnl_basis: PnlBasis | None = None

    def in_words(self) -> str:
        what = "an exit" if self.after == "any" else "a losing exit"
        where = "in its product" if self.scope == "root" else "in the account"
        told = f"After {what}, there are no new entries {where} for {plain_duration(self.delay)}."
        if not self.include_enforced:
            told += " What this program closed does not count."
        return told

    @property
    def rank(self) -> int:
        return 80

    def is_stricter_than(self, other: Self) -> bool:
        return (
            self.same_but(other, "delay", "after")
            and self.delay >= other.delay
            and self.after in ("any", other.after)
        )

    def judge(self, view: View) -> tuple[Verdict, ...] | None:
        ledger = view.account.ledger
        marks = view.marks(self.id)
        if not ledger.finished_turns and not marks:
            return None
        verdicts: list[Verdict] = []
        recent: set[str] = set()
        barred: dict[str, Execution] = {}  # scope -> the last fill of its newest exit
        for turn in self._recent(view):
            recent.add(turn.name)
            scope = self._scope(view, turn)
            mark = view.mark(self.id, turn.name)
            if mark is None or mark.value != str(turn.last.id):
                if not self._counts(view, turn):
                    continue
                verdicts.append(self._lock(view, turn, scope))
            elif view.lock(self.id, scope) is None:
                continue  # an administrator has ended it
            barred[scope] = turn.last
        for scope, last in barred.items():
            verdicts += self._reentries(view, scope, last)
        over = [m.subject for m in marks if m.subject not in recent]
        if over:
            verdicts.append(bookkeeping(*map(Forget, over)))
        return tuple(verdicts) or None

    def _recent(self, view: View) -> list[RoundTurn]:
        """The trades whose end may still bar entries, oldest first."""
        oldest = view.now - self.delay - HEARD_AT_ONCE
        found = []
        for turn in reversed(view.account.ledger.finished_turns):
            if turn.last_at < oldest:
                break
            if view.now < turn.last.counts_from + self.delay:
                found.append(turn)
        return found[::-1]

    def _counts(self, view: View, turn: RoundTurn) -> bool:
        if view.now - turn.last.received_at < ROUND_TURN_SETTLE:
            return False  # its order may still open the other side
        gross = is_gross(view, self.pnl_basis)
        if self.after == "loss" and (turn.pnl if gross else turn.net) >= 0:
            return False
        if not self.include_enforced and enforced_by(view.account, turn.last):
            return False
        return not was_turned_round(view, turn)

    def _scope(self, view: View, turn: RoundTurn) -> str:
        return ACCOUNT_SCOPE if self.scope == "account" else root_scope(view.root(turn.contract_id))

    def _lock(self, view: View, turn: RoundTurn, scope: str) -> Verdict:
        ends = turn.last.counts_from + self.delay
        where = f" in {scope_name(scope)}" if scope != ACCOUNT_SCOPE else ""
        reason = (
            f"out of {view.name(turn.contract_id)}; no new entries{where} for "
            f"{in_whole_seconds(ends - view.now)}"
        )
        asks: tuple[Ask, ...] = (
            new_lock(
                view,
                self.id,
                reason,
                until=ends,
                policy=LockPolicy.NO_ENTRIES,
                kind=LockKind.COOLDOWN,
                scope=scope,
                trigger=turn.name,
            ),
            Remember(turn.name, value=str(turn.last.id)),
        )
        return Verdict(reason=reason, subject=turn.name, asks=asks)

    def _reentries(self, view: View, scope: str, last: Execution) -> Iterator[Verdict]:
        """Close what was opened between the exit and the lock."""
        for position in view.account.positions.values():
            contract_id = position.contract_id
            if scope not in (ACCOUNT_SCOPE, root_scope(view.root(contract_id))):
                continue
            if not view.projected()[contract_id]:
                continue
            life = life_of(view, position)
            if life is None:
                continue  # unknown: judged once executions and position agree
            opening = life[0].execution
            is_older = (opening.executed_at, opening.id) < (last.executed_at, last.id)
            if is_older or is_reversal(view.account.ledger, opening):
                continue
            waited = in_whole_seconds(opening.executed_at - last.executed_at)
            yield Verdict(
                reason=(
                    f"{view.name(contract_id)} was entered {waited} after an exit, with a delay of "
                    f"{plain_duration(self.delay)}; closing"
                ),
                subject=position.subject,
                asks=(Close(contract_id),),
            )

    def meter(self, view: View) -> Meter:
        locks = [k for k in view.account.locks.values() if k.rule_id == self.id and k.expires_at]
        if locks:
            lock = max(locks, key=lambda k: k.expires_at or view.now)
            where = f" in {scope_name(lock.scope)}" if lock.scope != ACCOUNT_SCOPE else ""
            left = in_whole_seconds((lock.expires_at or view.now) - view.now)
            return self.reading(
                current=None,
                limit=None,
                unit="s",
                sentence=f"no new entries{where} for another {left}",
                state=MeterState.BREACH,
            )
        what = "an exit" if self.after == "any" else "a losing exit"
        where = "its product" if self.scope == "root" else "the account"
        return self.reading(
            current=ZERO,
            limit=None,
            unit="s",
            sentence=f"{what} pauses new entries in {where} for {plain_duration(self.delay)}",
        )
