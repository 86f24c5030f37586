"""Shared by the two rules over open P&L: the positions they look at, and the remedies."""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from risk_manager.domain.decisions import Ask, Close, Flatten, Verdict
from risk_manager.domain.events import QuoteChanged
from risk_manager.domain.holdings import Position
from risk_manager.domain.lockout import LockoutSpec
from risk_manager.domain.rule import Meter, MeterState, Rule
from risk_manager.domain.view import View

WARN_FROM = Decimal("0.8")


class OpenPnlRule(Rule):
    """A limit on open P&L, of each position alone or of the account."""

    uses_prices: ClassVar[bool] = True

    scope: str = "position"
    action: Literal["close_position", "close_all", "close_all_and_lockout"] = "close_position"
    """Close the position, everything, or everything with a lock."""
    lockout: LockoutSpec = None
    """How long the account is locked; needed with `close_all_and_lockout`."""

    @model_validator(mode="after")
    def _action_makes_sense(self) -> Self:
        if self.scope == "account" and self.action == "close_position":
            if "action" in self.model_fields_set:
                raise ValueError(
                    "scope account adds all positions up, so there is no one position to close; "
                    "write action: close_all or close_all_and_lockout"
                )
            object.__setattr__(self, "action", "close_all")
        if self.action == "close_all_and_lockout" and self.lockout is None:
            raise ValueError("action close_all_and_lockout needs a lockout, such as until_reset")
        if self.action != "close_all_and_lockout" and self.lockout is not None:
            raise ValueError(
                f"a lockout does not go with action {self.action}; "
                "write action: close_all_and_lockout, or lockout: none"
            )
        return self

    def _what_follows(self) -> str:
        if self.action == "close_position":
            return "it is closed, and its orders are cancelled."
        if self.lockout is None:
            return "everything is closed."
        return f"everything is closed and the account is locked {self.lockout.in_words()}."

    @property
    def _locks_for_a_time(self) -> bool:
        """Whether the lock is a duration. A breach that comes later then locks until later."""
        return self.lockout is not None and isinstance(self.lockout.until, timedelta)

    # --- who ---

    def results_alone(self, view: View) -> tuple[Decimal | None, ...] | None:
        """Return the open P&L of each position in question, if nothing else has to be judged.

        None if there is more to judge: another scope, an active breach, or (except on a quote)
        marks of this rule.
        """
        event = view.event
        if self.scope != "position" or view.stands(self.id):
            return None
        if type(event) is QuoteChanged:
            quoted = view.account.positions.get(event.contract_id)
            return None if quoted is None else (view.unrealised(quoted),)
        return None if view.marks(self.id) else view.open_results()

    def in_question(self, view: View) -> Iterable[Position]:
        """Return the positions this event may affect: on a quote the quoted one, else all.

        While a breach is active all positions are judged, as the breach would otherwise end.
        """
        positions = view.account.positions
        event = view.event
        if type(event) is QuoteChanged and not view.stands(self.id):
            quoted = positions.get(event.contract_id)
            return () if quoted is None else (quoted,)
        return positions.values()

    def is_decided(self, view: View, subject: str, positions: Iterable[Position]) -> bool:
        """Whether this breach is being acted on. It then stays active until flat, at any price."""
        return (
            bool(view.account.closings)
            and view.stands(self.id, subject)
            and all(view.being_closed_by(self.id, p) for p in positions)
        )

    # --- what ---

    def remedy(self, view: View, position: Position | None, reason: str, subject: str) -> Verdict:
        """Return the verdict with the configured remedy."""
        ask: Ask
        if self.lockout is not None:
            done = "locked flat"
            ask = self.lockout.lock(view, self.id, reason, trigger=subject)
        elif position is None or self.action == "close_all":
            done, ask = "closing everything", Flatten()
        else:
            done = f"closing {position.size} {view.name(position.contract_id)}"
            ask = Close(position.contract_id)
        return Verdict(reason=f"{reason}; {done}", subject=subject, asks=(ask,))

    def locked(self, view: View) -> bool:
        """Whether an earlier breach still locks the account, so that nothing more is needed."""
        return self.lockout is not None and view.lock(self.id) is not None

    # --- for people ---

    def meter_of(
        self,
        current: Decimal | None,
        limit: Decimal,
        sentence: str,
        state: MeterState | None = None,
    ) -> Meter:
        """`current` and `limit` in account currency; None is no trusted price."""
        if state is not None:
            pass
        elif current is None:
            state = MeterState.UNKNOWN
        elif current >= limit:
            state = MeterState.BREACH
        elif current >= limit * WARN_FROM:
            state = MeterState.WARN
        else:
            state = MeterState.OK
        return self.reading(
            current=current,
            limit=limit,
            unit="USD",
            sentence=sentence,
            state=state,
        )


def in_ticks(view: View, position: Position, amount: Decimal) -> str:
    """Return an amount of money as a price move, such as " = 180 ticks on 2"."""
    contract = view.state.contracts.get(position.contract_id)
    if contract is None or amount <= 0:
        return ""
    return f" = {int(amount / (contract.tick_value * position.size))} ticks on {position.size}"
