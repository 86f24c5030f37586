"""RULE-007: pause after a big loser."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from risk_manager.domain.account import Mark
from risk_manager.domain.decisions import Ask, Close, Forget, Remember, Verdict, bookkeeping
from risk_manager.domain.durations import Duration, plain_duration
from risk_manager.domain.executions import HEARD_AT_ONCE, ROUND_TURN_SETTLE, Execution
from risk_manager.domain.fill_attribution import enforced_by
from risk_manager.domain.holdings import Position
from risk_manager.domain.lockout import new_lock
from risk_manager.domain.locks import LockKind, LockPolicy
from risk_manager.domain.money import ZERO, dollars
from risk_manager.domain.round_turns import RoundTurn
from risk_manager.domain.rule import Meter, MeterState, Rule
from risk_manager.domain.rulebook import PnlBasis
from risk_manager.domain.view import View
from risk_manager.rules.pauses import in_whole_seconds, is_gross

LATEST = datetime.max.replace(tzinfo=UTC)


def _above_zero(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError('must be longer than zero, as "5m"')
    return value


PositiveDuration = Annotated[Duration, AfterValidator(_above_zero)]


class Tier(BaseModel):
    """A loss of so much pauses for so long."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss: Decimal = Field(gt=0, decimal_places=2)
    """A loss of so much, or more."""
    cooldown: PositiveDuration
    """How long entries pause."""

    def __str__(self) -> str:
        return f"{plain_duration(self.cooldown)} from {dollars(self.loss).removesuffix('.00')}"


@dataclass(frozen=True, slots=True)
class Loser:
    """A trade that has realised a loss; `last` is its newest execution."""

    subject: str
    order_id: int
    net: Decimal
    last: Execution


class CooldownAfterLoss(Rule):
    """The deepest tier a trade's loss reaches pauses entries. A loss of exactly the tier counts.

    A trade lasts from flat to flat, or to the other side, however many orders closed it. It is
    judged once no fill of it has come for `round_turn_settle`, and by what it has realised so far
    while lots of it are open: a lot kept back delays no pause.
    `overlap`: the pause lasts to the latest of all ends (`longest`; `replace` is the same, as a
    pause never becomes shorter), or every loss adds its own (`add`).
    """

    spec_id: ClassVar[str] = "RULE-007"
    title: ClassVar[str] = "Pause after a loss"

    rule: Literal["cooldown_after_loss"] = "cooldown_after_loss"
    measure: Literal["round_turn", "execution"] = "round_turn"
    """The whole trade from flat to flat, or each fill."""
    tiers: tuple[Tier, ...] = Field(min_length=1)
    """Losses, each with its pause."""
    action: Literal["block_entries", "close_all"] = "block_entries"
    """Pause entries, or close everything as well."""
    overlap: Literal["longest", "replace", "add"] = "longest"
    """The pause lasts to the latest of all ends (`longest`, and `replace`), or each loss adds its
    own (`add`)."""
    pnl_basis: PnlBasis | None = None
    include_enforced: bool = True
    include_session_closes: bool = False
    reversal_on_loss: Literal["keep", "close"] = "keep"
    round_turn_settle: Duration = ROUND_TURN_SETTLE

    @model_validator(mode="after")
    def _deeper_is_longer(self) -> "CooldownAfterLoss":
        tiers = sorted(self.tiers, key=lambda t: t.loss)
        for lesser, deeper in pairwise(tiers):
            if deeper.loss == lesser.loss:
                raise ValueError(f"tiers: a loss of {deeper.loss} stands twice")
            if deeper.cooldown <= lesser.cooldown:
                raise ValueError(
                    f"tiers: a loss of {deeper.loss} pauses for {plain_duration(deeper.cooldown)}, "
                    f"no longer than one of {lesser.loss}; a deeper loss needs a longer cooldown"
                )
        object.__setattr__(self, "tiers", tuple(tiers))
        return self

    def in_words(self) -> str:
        what = "trade" if self.measure == "round_turn" else "fill"
        tiers = ", ".join(
            f"{dollars(tier.loss)} for {plain_duration(tier.cooldown)}" for tier in self.tiers
        )
        done = (
            "pauses new entries"
            if self.action == "block_entries"
            else "closes everything and pauses new entries"
        )
        told = f"A {what} that loses so much {done}: {tiers}."
        if self.overlap == "add":
            told += " Each further loss adds its own pause."
        if not self.include_enforced:
            told += " What this program closed does not count."
        if not self.include_session_closes:
            told += " What the end of the session closed does not count."
        if self.reversal_on_loss == "close":
            told += " A position turned round at a loss is closed."
        return told

    @property
    def rank(self) -> int:
        return 80

    def is_stricter_than(self, other: Self) -> bool:
        return self.same_but(other, "tiers") and all(
            any(t.loss <= theirs.loss and t.cooldown >= theirs.cooldown for t in self.tiers)
            for theirs in other.tiers
        )

    def tier(self, net: Decimal) -> Tier | None:
        """The deepest tier that a result reaches."""
        return next((t for t in reversed(self.tiers) if -net >= t.loss), None)

    def judge(self, view: View) -> tuple[Verdict, ...] | None:
        ledger, marks = view.account.ledger, view.marks(self.id)
        if (not ledger.entries and not marks) or self._is_done_with(view, marks):
            return None
        verdicts: list[Verdict] = []
        recent: set[str] = set()
        lock = view.lock(self.id)
        ends = lock.expires_at if lock else None
        losers = list(reversed(list(self._losers(view))))
        if all(self._has_asked(view, loser) for loser in losers):
            lasts = self.tiers[-1].cooldown + HEARD_AT_ONCE
            until = losers[0].last.executed_at + lasts if losers else LATEST
            ledger.memo[self.id] = (self, view.state.rulebook, marks, until)
        for loser in losers:
            recent.add(loser.subject)
            verdict, ends = self._judge_loser(view, loser, ends)
            if verdict is not None:
                verdicts.append(verdict)
        if view.account.marks:
            over = [m.subject for m in view.marks(self.id) if m.subject not in recent]
            if over:
                verdicts.append(bookkeeping(*(Forget(subject) for subject in over)))
        return tuple(verdicts) or None

    def _is_done_with(self, view: View, marks: Sequence[Mark]) -> bool:
        """Whether every loss in this same ledger had asked for its pause at the last check, and no
        mark has become too old since."""
        known = view.account.ledger.memo.get(self.id)
        if known is None or known[0] is not self:
            return False
        _, rulebook, known_marks, until = known
        return rulebook is view.state.rulebook and view.now <= until and known_marks == marks

    def _has_asked(self, view: View, loser: Loser) -> bool:
        if self.tier(loser.net) is None:
            return True
        mark = view.mark(self.id, loser.subject)
        return mark is not None and mark.value.partition(" ")[0] == str(loser.last.id)

    def _judge_loser(
        self, view: View, loser: Loser, ends: datetime | None
    ) -> tuple[Verdict | None, datetime | None]:
        """Return the verdict on this loss (None if it was judged before) and the pause's end."""
        tier = self.tier(loser.net)
        mark = view.mark(self.id, loser.subject)
        judged, _, given = mark.value.partition(" ") if mark else ("", "", "0")
        if tier is None or judged == str(loser.last.id) or not self._complete(view, loser.last):
            return None, ends
        until = loser.last.counts_from + tier.cooldown
        if until <= view.now or not self._counts(view, loser.last):
            return None, ends
        if self.overlap == "add" and ends is not None and ends > loser.last.counts_from:
            # If fills arrive after the trade seemed complete, only the added loss lengthens it.
            until = ends + tier.cooldown - timedelta(seconds=float(given))
        ends = until if ends is None else max(ends, until)
        name = view.name(loser.last.contract_id)
        flat = self.action == "close_all"
        reason = (
            f"{name} trade lost {dollars(-loser.net)}; "
            f"{'locked flat' if flat else 'no new entries'} for {in_whole_seconds(ends - view.now)}"
        )
        asks: list[Ask] = [
            new_lock(
                view,
                self.id,
                reason,
                until=ends,
                policy=LockPolicy.FLAT if flat else LockPolicy.NO_ENTRIES,
                kind=LockKind.COOLDOWN,
                trigger=loser.subject,
            ),
            Remember(loser.subject, value=f"{loser.last.id} {tier.cooldown.total_seconds():g}"),
        ]
        if self.reversal_on_loss == "close" and self._turned_round(view, loser):
            asks.append(Close(loser.last.contract_id))
        return Verdict(reason=reason, subject=loser.subject, asks=tuple(asks)), ends

    # --- what counts as a loss ---

    def _losers(self, view: View) -> Iterator[Loser]:
        """The losing trades that may still pause, newest first."""
        ledger = view.account.ledger
        oldest = view.now - self.tiers[-1].cooldown - HEARD_AT_ONCE
        gross = is_gross(view, self.pnl_basis)
        if self.measure == "execution":
            for e in reversed(ledger.standing()):
                if e.executed_at < oldest:
                    return
                net = e.pnl if gross else e.net
                if e.pnl is not None and net is not None and net < 0:
                    yield Loser(f"fill:{e.name}", e.order_id, net, e)
            return
        for turn in reversed(ledger.round_turns()):
            if turn.last_at < oldest:
                return
            net = turn.pnl if gross else turn.net
            if net < 0:
                yield Loser(turn.name, turn.order_id, net, turn.last)

    def _complete(self, view: View, last: Execution) -> bool:
        """Whether the trade is complete and the positions show it.

        The ceiling of a reversal is then the position it opened.
        """
        if self.measure == "execution":
            return view.landed(last)
        return view.now - last.received_at >= self.round_turn_settle

    def _counts(self, view: View, last: Execution) -> bool:
        if self.include_enforced and self.include_session_closes:
            return True
        closed_by = enforced_by(view.account, last)
        if not closed_by:
            return True
        if not self.include_enforced:
            return False
        rules = view.state.rulebook.for_account(view.account.id).rules
        by_session = {r.id for r in rules if r.spec_id == "RULE-009"}
        return not by_session.issuperset(closed_by)

    def _turned_round(self, view: View, loser: Loser) -> bool:
        position: Position | None = view.account.positions.get(loser.last.contract_id)
        return (
            position is not None
            and loser.order_id in view.account.ledger.increasing_orders()
            and position.side == loser.last.side.sign
        )

    # --- for people ---

    def meter(self, view: View) -> Meter:
        gross = is_gross(view, self.pnl_basis)
        day = view.account.trading_date
        turns = [t for t in view.account.ledger.round_turns() if t.trading_date == day]
        newest = turns[-1] if turns else None
        result = ZERO if newest is None else newest.pnl if gross else newest.net
        lock = view.lock(self.id)
        if lock is not None and lock.expires_at is not None:
            sentence = f"no new entries for another {in_whole_seconds(lock.expires_at - view.now)}"
        else:
            first, further = self._tiers_in_words
            sentence = first
            if newest is not None:
                which = "this one has" if _is_open(newest) else "the last one"
                made = "lost" if result < 0 else "made"
                sentence += f"; {which} {made} {dollars(abs(result))}"
            sentence += further  # last, as a narrow screen shows the beginning only
        return self.reading(
            # A finished trade uses up nothing of the loss allowed to the next one.
            current=max(-result, ZERO) if lock is not None or _is_open(newest) else ZERO,
            limit=self.tiers[0].loss,
            unit="USD",
            sentence=sentence,
            state=MeterState.BREACH if lock is not None else MeterState.OK,
        )

    @cached_property
    def _tiers_in_words(self) -> tuple[str, str]:
        """The first tier as the beginning of a sentence, and the further ones as its end."""
        least, *further = self.tiers
        span = plain_duration(least.cooldown)
        first = f"a trade that loses {dollars(least.loss)} pauses entries for {span}"
        return first, f"; {', '.join(map(str, further))}" if further else ""


def _is_open(turn: RoundTurn | None) -> bool:
    return turn is not None and not turn.is_over
