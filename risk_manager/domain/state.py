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
    """Where a hub stands, and since when."""

    state: "HubState"
    since: datetime
    reason: str = ""


class DayRange(NamedTuple):
    """The lowest and the highest price seen of a contract in a trading day."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class State:
    """`now` never goes back. `holders` says which accounts hold a contract, for quotes.

    `quotes` are the prices that are believed, `doubted` those that are not yet.

    `lead` is how far the gateway's clock is past `now`, which is the earlier of it and the
    machine's: what loosens goes by `now`, what tightens at an hour of the day by `latest`.
    The last four are about the health of what is known: the issues that stand or have just ended;
    what changed without a word of the stream, and when; balances to compare with; since when this
    program has been awake.
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
        """Nothing known yet."""
        return cls(now=now, rulebook=rulebook, day=rulebook.day.window(now))

    @property
    def latest(self) -> datetime:
        """The later of the machine's time and the gateway's."""
        return self.now + self.lead

    def root(self, contract_id: str) -> str:
        """The canonical root of a contract."""
        known = self.roots.get(contract_id)
        if known is not None:
            return known
        return self.rulebook.symbols.root(contract_id, self.contracts.get(contract_id))

    def name(self, contract_id: str) -> str:
        """What a person calls the contract: ESZ6, or its root while unresolved."""
        contract = self.contracts.get(contract_id)
        return contract.name if contract and contract.name else self.root(contract_id)

    def fresh_quote(self, contract_id: str) -> "QuoteChanged | None":
        """The believed quote of a contract, unless it is too old to go by."""
        quote = self.quotes.get(contract_id)
        if quote is None or self.now - quote.at > self.rulebook.defaults.quote_max_age:
            return None
        return quote
