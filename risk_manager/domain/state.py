"""Everything the daemon knows at one moment, as one frozen value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from risk_manager.domain.rulebook import Rulebook
from risk_manager.domain.symbols import Contract
from risk_manager.domain.trading_calendar import DayWindow

if TYPE_CHECKING:
    from risk_manager.domain.account import Account
    from risk_manager.domain.events import HubState, QuoteChanged
    from risk_manager.domain.health_issue import Baseline, HealthIssue, IssueKey
    from risk_manager.domain.quotes import DoubtedQuote


def _none() -> Mapping[Any, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class HubStatus:
    """The state of a hub, and since when."""

    state: "HubState"
    since: datetime
    reason: str = ""


class DayRange(NamedTuple):
    """The lowest and highest price of a contract in a trading day."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class State:
    """`now` never goes back. `holders` maps a contract to the accounts that hold it, for quotes.

    `quotes` holds the believed prices, `doubted` those not believed yet.

    `now` is the earlier of the machine's clock and the gateway's, and `lead` is how far the
    gateway's clock is ahead of `now`. Limits are loosened by `now`, and tightened at an hour of the
    day by `latest`.

    The last four fields concern data health. `health_issues` stand or have just ended. `unheard`
    holds changes that the stream did not report, and when they were found. `baselines` are balances
    to compare with. `awake_since` is since when this program has run without being suspended.
    """

    now: datetime
    rulebook: Rulebook
    day: DayWindow
    lead: timedelta = timedelta(0)
    accounts: Mapping[int, "Account"] = field(default_factory=_none)
    contracts: Mapping[str, Contract] = field(default_factory=_none)
    roots: Mapping[str, str] = field(default_factory=_none)
    quotes: Mapping[str, "QuoteChanged"] = field(default_factory=_none)
    doubted: Mapping[str, "DoubtedQuote"] = field(default_factory=_none)
    ranges: Mapping[str, DayRange] = field(default_factory=_none)
    hubs: Mapping[str, HubStatus] = field(default_factory=_none)
    holders: Mapping[str, tuple[int, ...]] = field(default_factory=_none)
    health_issues: Mapping["IssueKey", "HealthIssue"] = field(default_factory=_none)
    unheard: Mapping[tuple[int, str], datetime] = field(default_factory=_none)
    baselines: Mapping[int, "Baseline"] = field(default_factory=_none)
    awake_since: datetime | None = None

    @classmethod
    def at(cls, now: datetime, rulebook: Rulebook) -> "State":
        """Return a state in which nothing is known yet."""
        return cls(now=now, rulebook=rulebook, day=rulebook.day.window(now))

    @property
    def latest(self) -> datetime:
        """The later of the machine's clock and the gateway's."""
        return self.now + self.lead

    def root(self, contract_id: str) -> str:
        """Return the canonical root of a contract."""
        known = self.roots.get(contract_id)
        if known is not None:
            return known
        return self.rulebook.symbols.root(contract_id, self.contracts.get(contract_id))

    def name(self, contract_id: str) -> str:
        """Return the contract's name for people: ESZ6, or its root while unresolved."""
        contract = self.contracts.get(contract_id)
        return contract.name if contract and contract.name else self.root(contract_id)

    def fresh_quote(self, contract_id: str) -> "QuoteChanged | None":
        """Return the believed quote of a contract; None if it is too old to use."""
        quote = self.quotes.get(contract_id)
        if quote is None or self.now - quote.at > self.rulebook.defaults.quote_max_age:
            return None
        return quote
