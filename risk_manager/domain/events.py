"""Events: everything that can happen to the daemon, as frozen values stamped on arrival.

Gateway payloads are validated by alias straight from the raw dictionary.
"""

from datetime import date, timedelta
from enum import StrEnum
from typing import Any, ClassVar, Literal

from pydantic import AwareDatetime, BaseModel

from risk_manager.domain.decisions import Outcome
from risk_manager.domain.health_issue import IssueKind
from risk_manager.domain.records import (
    WIRE,
    AccountRecord,
    OrderRecord,
    PositionRecord,
    TradeRecord,
)
from risk_manager.domain.symbols import Contract


class Hub(StrEnum):
    USER = "user"
    MARKET = "market"


class HubState(StrEnum):
    CONNECTING = "connecting"
    UP = "up"
    DOWN = "down"


class Event(BaseModel):
    """A fact with the instant it was received (aware UTC, from the daemon's clock)."""

    model_config = WIRE

    touches: ClassVar[Literal["account", "contract", "all"]] = "account"

    at: AwareDatetime


class AccountEvent(Event):
    account_id: int


class PositionChanged(Event, PositionRecord):
    kind: Literal["position_changed"] = "position_changed"


class OrderChanged(Event, OrderRecord):
    kind: Literal["order_changed"] = "order_changed"


class TradeExecuted(Event, TradeRecord):
    kind: Literal["trade_executed"] = "trade_executed"


class AccountChanged(Event, AccountRecord):
    kind: Literal["account_changed"] = "account_changed"

    @property
    def account_id(self) -> int:
        return self.id


class QuoteChanged(Event):
    """A quote. Prices are floats on purpose: they become whole ticks where they are compared."""

    touches = "contract"

    kind: Literal["quote_changed"] = "quote_changed"
    contract_id: str
    last_price: float | None = None
    best_bid: float | None = None
    best_ask: float | None = None

    @property
    def is_crossed(self) -> bool:
        """Whether the bid is above the ask: no one can trade at either, so the last price counts.

        A feed that states one side only leaves the other where it was, until the market passes it.
        """
        bid, ask = self.best_bid, self.best_ask
        return bid is not None and ask is not None and bid > ask

    def near(self, side: int) -> float | None:
        """Return the price at which a position of this side (+1 long) could be closed now."""
        price = self.best_bid if side > 0 else self.best_ask
        return self.last_price if price is None or self.is_crossed else price

    def far(self, side: int) -> float | None:
        """Return the price of the other side of the book; None if it is not stated."""
        if self.is_crossed:
            return self.last_price
        return self.best_ask if side > 0 else self.best_bid

    def completed_by(self, older: "QuoteChanged") -> "QuoteChanged":
        """Return this quote with the prices it leaves out taken from an older quote."""
        if not (self.last_price is None or self.best_bid is None or self.best_ask is None):
            return self
        return self.model_copy(
            update={
                name: getattr(older, name)
                for name in ("last_price", "best_bid", "best_ask")
                if getattr(self, name) is None
            }
        )


class ContractResolved(Event):
    """The gateway's record of a contract arrived: its root, tick size and tick value are known."""

    touches = "all"

    kind: Literal["contract_resolved"] = "contract_resolved"
    contract: Contract


class AccountReported(AccountEvent):
    """The broker's report on one account, read over REST.

    A part that could not be read is None and changes nothing. `asked_at` is when the request was
    sent: stream messages that arrived later are newer than this report. `trades_since` is the
    instant from which the list of trades is complete, where that is stated.
    """

    kind: Literal["account_reported"] = "account_reported"
    asked_at: AwareDatetime
    account: AccountRecord | None = None
    positions: tuple[PositionRecord, ...] | None = None
    orders: tuple[OrderRecord, ...] | None = None
    trades: tuple[TradeRecord, ...] | None = None
    trades_since: AwareDatetime | None = None


class ActionSettled(AccountEvent):
    """An action has ended. `verified`: the account was read back before this event."""

    kind: Literal["action_settled"] = "action_settled"
    action_id: str
    outcome: Outcome
    verified: bool
    error_code: int | None = None
    message: str = ""
    took_ms: float = 0.0
    order_id: int | None = None


class HubChanged(Event):
    touches = "all"

    kind: Literal["hub_changed"] = "hub_changed"
    hub: Hub
    state: HubState
    reason: str = ""


class Unreadable(Event):
    """Something arrived that could not be understood; a fresh snapshot follows."""

    kind: Literal["unreadable"] = "unreadable"
    source: str
    detail: str
    account_id: int | None = None


class HealthIssueChanged(Event):
    """The daemon reports an issue of its own, for example with its reads or its clock.

    An empty `reason` withdraws the issue. A suspension ends by itself once every account has been
    read again.
    """

    touches = "all"

    kind: Literal["doubt_changed"] = "doubt_changed"
    doubt: IssueKind
    reason: str = ""
    account_id: int | None = None
    subject: str = ""


class GuardResumed(Event):
    """Every account has been read after a start. No account was guarded since `since`.

    `clean`: the daemon had been asked to stop. Otherwise it was killed or crashed.
    """

    touches = "all"

    kind: Literal["guard_resumed"] = "guard_resumed"
    since: AwareDatetime
    clean: bool


class Tick(Event):
    """A second has passed.

    `lead` is how far the gateway's clock is ahead of `at`, which is the earlier of its time and
    ours.
    """

    touches = "all"

    kind: Literal["tick"] = "tick"
    lead: timedelta = timedelta(0)


class RulebookReplaced(Event):
    """New limits are in force from now on (validated before it gets here).

    `rulebook` is a `Rulebook`. Its type is not imported here, as rules depend on events.
    """

    touches = "all"

    kind: Literal["rulebook_replaced"] = "rulebook_replaced"
    rulebook: Any


class AdminAsked(AccountEvent):
    """An administrator's order, already authenticated. `until` None means until cleared.

    `lock_day` comes from the daemon itself: a lock of `rule_id` until the reset, which no
    administrator can clear.
    """

    kind: Literal["admin_asked"] = "admin_asked"
    verb: Literal["lock", "lock_day", "unlock", "flatten", "cancel_all"]
    reason: str
    actor: str = "admin"
    scope: str = "account"
    policy: Literal["flat", "no_entries"] = "flat"
    rule_id: str | None = None
    until: AwareDatetime | None = None


class AccountOpened(AccountEvent):
    """The daemon starts (or resumes) watching this account.

    `simulated` is what the login states of it; None: it states nothing.
    """

    kind: Literal["account_opened"] = "account_opened"
    name: str = ""
    trading_date: date | None = None
    simulated: bool | None = None


AnyEvent = (
    PositionChanged
    | OrderChanged
    | TradeExecuted
    | AccountChanged
    | QuoteChanged
    | ContractResolved
    | AccountReported
    | ActionSettled
    | HubChanged
    | Unreadable
    | HealthIssueChanged
    | GuardResumed
    | Tick
    | RulebookReplaced
    | AdminAsked
    | AccountOpened
)
