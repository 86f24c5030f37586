"""RULE-004: cut an open loser."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from risk_manager.domain.decisions import Close, Forget, Remember, Severity, Verdict, bookkeeping
from risk_manager.domain.durations import Duration, plain_duration
from risk_manager.domain.events import QuoteChanged
from risk_manager.domain.holdings import Position
from risk_manager.domain.missing_data import MissingData, flatten_after
from risk_manager.domain.money import ZERO, Band, dollars
from risk_manager.domain.open_pnl_bounds import last_unrealised
from risk_manager.domain.rule import Meter
from risk_manager.domain.rulebook import PnlBasis
from risk_manager.domain.view import View
from risk_manager.rules.open_pnl import OpenPnlRule, in_ticks

NONE = timedelta(0)
# Executions and positions are separate messages. This long after the last one both are complete.
IN_STEP_AFTER = timedelta(seconds=2)


class Confirm(BaseModel):
    """How often a loss must be quoted before it is believed, and how long that may take at most.

    A quote inside the limit starts the count again. After `within` a loss that still stands is
    acted on, however few quotes came.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    quotes: PositiveInt = 1
    """So many quotes in a row must show the loss."""
    within: Duration = NONE
    """The quotes must come within this time; 0s: no condition."""

    @model_validator(mode="after")
    def _waiting_ends(self) -> "Confirm":
        if self.quotes > 1 and self.within <= NONE:
            raise ValueError(
                f"within must say how long {self.quotes} quotes may take, as {{quotes: "
                f'{self.quotes}, within: "500ms"}}'
            )
        return self


class DailyUnrealizedLoss(OpenPnlRule):
    """An open loss of exactly the limit breaches. A price that cannot be trusted gives no verdict.

    Scope `position`: each position by itself; `account`: all open ones added up; `trade`: one
    position with what it has realised since it was opened, so that a scale-out hides nothing.
    """

    spec_id: ClassVar[str] = "RULE-004"
    title: ClassVar[str] = "Open loss"

    rule: Literal["daily_unrealized_loss"] = "daily_unrealized_loss"
    limit: Decimal = Field(gt=0, decimal_places=2)
    """The open loss at which the rule acts."""
    scope: Literal["position", "account", "trade"] = "position"
    """Each position by itself, all open ones added up, or one position with what it has realised
    since it was opened (`trade`)."""
    confirm: Confirm = Confirm()
    """How often, and for how long, the loss must be seen."""
    on_missing_data: MissingData | None = None
    """The reaction to a missing price; null: the one of `defaults`."""

    def in_words(self) -> str:
        who = {
            "position": "When a position is down by",
            "account": "When all open positions together are down by",
            "trade": "When a position, with what it has realised since it was opened, is down by",
        }[self.scope]
        told = f"{who} {dollars(self.limit)} or more, {self._what_follows()}"
        if self.confirm.quotes > 1:
            told += (
                f" {self.confirm.quotes} quotes in a row must show it, or it must last "
                f"{plain_duration(self.confirm.within)}."
            )
        return told

    @property
    def rank(self) -> int:
        return 50 if self.scope == "account" else 65

    def is_stricter_than(self, other: Self) -> bool:
        return (
            self.same_but(other, "limit")
            and self.limit < other.limit
            and not self._locks_for_a_time
        )

    def judge(self, view: View) -> tuple[Verdict, ...] | None:
        on_quote = type(view.event) is QuoteChanged
        results = self.results_alone(view)
        if results is not None and self.confirm.quotes == 1 and not self._is_reached(results):
            if on_quote or view.unrealised_total() is not None:
                return None  # the usual case
            return None if self.locked(view) else tuple(self._judge_blindness(view)) or None
        verdicts: list[Verdict] = []
        if view.account.positions and not self.locked(view):
            if self.scope == "account":
                verdicts += self._judge_account(view)
            else:
                for position in self.in_question(view):
                    verdicts += self._judge_position(view, position)
            if not on_quote or view.stands(self.id):
                verdicts += self._judge_blindness(view)
        if not on_quote and view.account.marks and (over := self._over(view)):
            verdicts.append(bookkeeping(*over))
        return tuple(verdicts) or None

    def quiet_between(self, view: View, position: Position) -> Band | None:
        valuation = position.valuation
        alone = self.scope == "position" and self.confirm.quotes == 1
        if valuation is None or not alone or view.stands(self.id):
            return None
        return valuation.above(self._floor)

    # --- the loss ---

    @cached_property
    def _floor(self) -> Decimal:
        return -self.limit

    def _is_reached(self, results: tuple[Decimal | None, ...]) -> bool:
        """Whether one of those that are known has reached the limit."""
        floor = self._floor
        return any([r is not None and r <= floor for r in results])

    def _judge_position(self, view: View, position: Position) -> Iterator[Verdict]:
        subject = f"episode:{position.episode}"
        what = view.name(position.contract_id)
        if self.is_decided(view, subject, (position,)):
            yield Verdict(reason=f"{what} is being closed", subject=subject)
            return
        result = self._result(view, position)
        if result is not None:
            what += " and what was closed of it are" if self.scope == "trade" else " is"
            yield from self._judge_result(view, position, result, what, subject)

    def _judge_account(self, view: View) -> Iterator[Verdict]:
        subject = f"account:{view.account.trading_date}"
        positions = view.account.positions.values()
        if self.is_decided(view, subject, positions):
            yield Verdict(reason="everything is being closed", subject=subject)
            return
        total = self._total(view)
        if total is not None:
            what = "the open positions together are"
            yield from self._judge_result(view, None, total, what, subject)

    def _judge_result(
        self, view: View, position: Position | None, result: Decimal, what: str, subject: str
    ) -> Iterator[Verdict]:
        if result > -self.limit:
            if self.confirm.quotes > 1 and view.mark(self.id, f"confirm:{subject}"):
                yield bookkeeping(Forget(f"confirm:{subject}"))
            return
        waiting = self._unconfirmed(view, position, f"confirm:{subject}")
        if waiting is not None:
            yield bookkeeping(waiting)
            return
        reason = f"{what} down {dollars(-result)}, limit {dollars(self.limit)}"
        yield self.remedy(view, position, reason, subject)

    def _unconfirmed(self, view: View, position: Position | None, subject: str) -> Remember | None:
        """The note to keep while the loss is not believed yet; None once it is."""
        if self.confirm.quotes == 1:
            return None
        mark = view.mark(self.id, subject)
        if mark is None:
            return Remember(subject, due_at=view.now + self.confirm.within, value="1")
        event = view.event
        seen = int(mark.value)
        if type(event) is QuoteChanged and (
            position is None or event.contract_id == position.contract_id
        ):
            seen += 1
        due = mark.due_at is None or view.now >= mark.due_at
        if due or seen >= self.confirm.quotes:
            return None
        return Remember(subject, due_at=mark.due_at, value=str(seen))

    def _result(self, view: View, position: Position) -> Decimal | None:
        open_pnl = view.unrealised(position)
        if open_pnl is None or self.scope != "trade":
            return open_pnl
        account = view.account
        episode = account.ledger.episode(position.contract_id, position.net)
        if not episode.in_step:
            told = (account.heard.get(position.contract_id), episode.heard_at)
            if any(at is not None and view.now - at < IN_STEP_AFTER for at in told):
                return None  # one of the two is still on its way; judged then
        net = view.state.rulebook.defaults.pnl_basis is PnlBasis.NET
        return open_pnl + (episode.net if net else episode.pnl)

    def _total(self, view: View) -> Decimal | None:
        """A position without a price counts as what it was last known to lose, never as a gain."""
        total, known = ZERO, False
        for position in view.account.positions.values():
            result = view.unrealised(position)
            if result is not None:
                known = True
                total += result
            else:
                total += min(last_unrealised(view.state, position) or ZERO, ZERO)
        return total if known else None

    # --- no price ---

    def _judge_blindness(self, view: View) -> Iterator[Verdict]:
        """Report positions that cannot be valued, and close them if so configured."""
        flatten = self._flatten_after(view)
        marked = bool(view.marks(self.id))
        for position in view.account.positions.values():
            is_priced = view.unrealised(position) is not None
            if is_priced and not marked:
                continue
            subject = f"blind:{position.episode}"
            mark = view.mark(self.id, subject)
            session = None if is_priced else view.trading_since(position.contract_id)
            if session is None:  # priced, or no price to be expected
                if mark is not None:
                    yield bookkeeping(Forget(subject))
                continue
            # Quotes do not outlive a restart: the time without them begins anew.
            restarted = mark is not None and mark.value and not view.state.quotes
            if mark is None or restarted:
                since = _last_priced(view, position, session)
                due = since + flatten if flatten is not None else None
                value = since.isoformat() if view.state.quotes else ""
                yield bookkeeping(Remember(subject, due_at=due, value=value))
            else:
                since = datetime.fromisoformat(mark.value) if mark.value else mark.set_at
            yield from _blind_for(view, position, view.now - since, flatten, subject)

    def _flatten_after(self, view: View) -> timedelta | None:
        if self.on_missing_data is not None:
            return flatten_after(self.on_missing_data)
        return view.state.rulebook.defaults.flatten_after

    def _over(self, view: View) -> tuple[Forget, ...]:
        over = view.forget_ended(self.id)
        if not view.account.positions:
            account = [m for m in view.marks(self.id) if m.subject.startswith("confirm:account:")]
            over += tuple(Forget(m.subject) for m in account)
        return over

    # --- for people ---

    def meter(self, view: View) -> Meter:
        limit = dollars(self.limit)
        positions = list(view.account.positions.values())
        if not positions:
            return self.meter_of(ZERO, self.limit, f"nothing open; limit {limit}")
        if self.scope == "account":
            total = self._total(view)
            if total is None or any(view.unrealised(p) is None for p in positions):
                return self._blind_meter(view, positions)
            return self.meter_of(max(-total, ZERO), self.limit, self._sentence(total, "open", ""))
        results = [(self._result(view, p), p) for p in positions]
        known = [(result, p) for result, p in results if result is not None]
        if len(known) < len(results):
            return self._blind_meter(view, [p for result, p in results if result is None])
        worst, position = min(known, key=lambda each: each[0])
        name = view.name(position.contract_id)
        ticks = in_ticks(view, position, self.limit + worst)
        return self.meter_of(max(-worst, ZERO), self.limit, self._sentence(worst, name, ticks))

    def _sentence(self, result: Decimal, what: str, ticks: str) -> str:
        left = self.limit + result
        if left <= 0:
            return f"limit reached: {what} {dollars(result)}"
        if result > 0:
            away = f"{dollars(left)} from the limit of {dollars(self.limit)}{ticks}"
            return f"{what} in profit by {dollars(result)}, {away}"
        return f"{what} {dollars(result)}, {dollars(left)} left of {dollars(self.limit)}{ticks}"

    def _blind_meter(self, view: View, positions: list[Position]) -> Meter:
        blind = sorted(view.name(p.contract_id) for p in positions if view.unrealised(p) is None)
        names = ", ".join(blind)
        sentence = f"no trusted price for {names}" if names else "fills are still being matched"
        return self.meter_of(None, self.limit, sentence)


def _last_priced(view: View, position: Position, session: datetime) -> datetime:
    quote = view.state.quotes.get(position.contract_id)
    return view.now if quote is None else max(quote.at, position.opened_at, session)


def _blind_for(
    view: View, position: Position, blind: timedelta, flatten: timedelta | None, subject: str
) -> Iterator[Verdict]:
    name = view.name(position.contract_id)
    span = plain_duration(timedelta(seconds=int(blind.total_seconds())))
    if flatten is not None and blind >= flatten:
        yield Verdict(
            reason=f"no trusted price for {name} for {span}; closing {position.size}",
            subject=subject,
            asks=(Close(position.contract_id),),
        )
    elif blind >= view.state.rulebook.defaults.quote_max_age:
        yield Verdict(
            reason=f"no trusted price for {name} for {span}; its loss is not watched",
            subject=subject,
            severity=Severity.WARNING,
        )
