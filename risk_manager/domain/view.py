"""A rule's view: one account now, and what other rules have already asked for in this step."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from risk_manager.domain.account import Account, Mark
from risk_manager.domain.decisions import Ask, Close, Flatten, Forget, LockOut, ReduceTo
from risk_manager.domain.exchange_hours import trading_since
from risk_manager.domain.executions import ROUND_TURN_SETTLE, Execution
from risk_manager.domain.exit_orders import Effect, effects
from risk_manager.domain.holdings import Order, Position
from risk_manager.domain.in_play import InPlay
from risk_manager.domain.ledger import DayTotals
from risk_manager.domain.locks import Lock, LockPolicy, strictest
from risk_manager.domain.memo import Memo
from risk_manager.domain.money import ZERO
from risk_manager.domain.records import OrderStatus
from risk_manager.domain.rulebook import PnlBasis, PriceBasis
from risk_manager.domain.scope import ACCOUNT_SCOPE, in_scope
from risk_manager.domain.state import State

if TYPE_CHECKING:
    from risk_manager.domain.events import Event, QuoteChanged


class _OpenPnl(NamedTuple):
    """The open P&L of the positions of an account, and what it follows from besides them.

    It holds for as long as the same quotes are too old to judge by: those up to `too_old`, and not
    those from `fresh` on. None: there are no such quotes.
    """

    quotes: Mapping[str, "QuoteChanged"]
    basis: PriceBasis
    too_old: datetime | None
    fresh: datetime | None
    by_contract: Mapping[str, Decimal | None]
    results: tuple[Decimal | None, ...]
    total: Decimal | None

    def holds(self, oldest_fresh_at: datetime) -> bool:
        return (self.too_old is None or self.too_old < oldest_fresh_at) and (
            self.fresh is None or self.fresh >= oldest_fresh_at
        )


class View:
    """Read-only. Money in account currency, exact; unknown is None, never zero.

    A quote from before `oldest_fresh_at` is too old to judge by.
    """

    __slots__ = (
        "_in_play",
        "_left_by_asks",
        "_net_today",
        "_open_pnl",
        "_projected_nets",
        "_results",
        "account",
        "event",
        "memo",
        "now",
        "oldest_fresh_at",
        "state",
    )

    def __init__(self, state: State, account: Account, event: "Event") -> None:
        self.state = state
        self.account = account
        self.event = event
        self.now: datetime = state.now
        self._left_by_asks: dict[str, int] = {}
        # Cached, as several rules ask for the same results.
        self._projected_nets: Mapping[str, int] | None = None
        self._in_play: InPlay | None = None
        self._open_pnl: _OpenPnl | None = None
        self._results: dict[str, Decimal | None] = {}
        self._net_today: Decimal | None = None
        self.memo: Memo[Any] = Memo()
        """Results that several rules ask for, by name."""
        self.oldest_fresh_at = state.now - state.rulebook.defaults.quote_max_age

    # --- positions ---

    def root(self, contract_id: str) -> str:
        return self.state.root(contract_id)

    def name(self, contract_id: str) -> str:
        return self.state.name(contract_id)

    def in_play(self) -> InPlay:
        """Every contract with a position or working order, in a stable order, and its root."""
        found = self._in_play
        if found is None:
            account, state = self.account, self.state
            ids, kept = account.contract_ids(), account.in_play
            found = kept.get("found")
            if found is None or not found.holds(ids, state.roots):
                found = kept["found"] = InPlay(ids, state.roots, state.root)
            self._in_play = found
        return found

    def projected(self) -> Mapping[str, int]:
        """Return the signed net per contract, as if everything asked so far were done."""
        if self._projected_nets is None:
            self._projected_nets = self._nets_after_asks()
        return self._projected_nets

    def _nets_after_asks(self) -> Mapping[str, int]:
        account = self.account
        if not (self._left_by_asks or account.locks or account.closings):
            return {c: p.net for c, p in account.positions.items()}
        result = {}
        for contract_id, position in account.positions.items():
            net = position.net
            closing = account.closings.get(contract_id)
            if (closing and closing.episode == position.episode) or self._must_be_flat(contract_id):
                net = 0
            keep = self._left_by_asks.get(contract_id)
            if keep is not None and abs(net) > keep:
                net = keep if net > 0 else -keep
            result[contract_id] = net
        return result

    def _must_be_flat(self, contract_id: str) -> bool:
        account = self.account
        return bool(account.locks) and self.policy(contract_id) is LockPolicy.FLAT

    def project(self, asks: Iterable[Ask]) -> None:
        """Let rules that are judged later see the effect of these asks."""
        self._projected_nets = None
        for ask in asks:
            match ask:
                case Close(contract_id):
                    self._left_by_asks[contract_id] = 0
                case ReduceTo(contract_id, keep):
                    known = self._left_by_asks.get(contract_id)
                    self._left_by_asks[contract_id] = keep if known is None else min(known, keep)
                case Flatten(scope):
                    self._project_flat(scope)
                case LockOut(lock) if lock.policy is LockPolicy.FLAT:
                    self._project_flat(lock.scope)

    def _project_flat(self, scope: str) -> None:
        for contract_id in self.account.positions:
            if in_scope(scope, self.root(contract_id), contract_id):
                self._left_by_asks[contract_id] = 0

    # --- orders ---

    def entry_orders(self, contract_id: str | None = None) -> list[Order]:
        """Return the working orders that would open, add or reverse, oldest first.

        A stop larger than its position is not included: cancelling it would leave the position
        without a stop.
        """
        account = self.account
        if not account.orders:
            return []
        ids = [contract_id] if contract_id else account.contract_ids()
        found = []
        for cid in ids:
            orders = account.orders_in(cid)
            if orders:
                by_id = effects(account.net(cid), orders)
                found += [
                    o
                    for o in orders
                    if by_id[o.id] is Effect.ENTRY
                    or (by_id[o.id] is Effect.REVERSING and not o.is_stop)
                ]
        return sorted(found, key=lambda o: o.id)

    def working_entries(self) -> list[Order]:
        """Return the entry orders that may fill now.

        Suspended bracket orders are left out: they become active as exits of what their entry has
        opened.
        """
        return [o for o in self.entry_orders() if o.status is not OrderStatus.SUSPENDED]

    # --- prices and P&L ---

    def quote(self, contract_id: str) -> "QuoteChanged | None":
        """Return the newest quote, if it is fresh enough to judge by."""
        quote = self.state.quotes.get(contract_id)
        return None if quote is None or quote.at < self.oldest_fresh_at else quote

    def price(self, position: Position) -> float | None:
        """Return the price that values the position; None if unknown or too old."""
        quote = self.quote(position.contract_id)
        if quote is None:
            return None
        return valuing_price(quote, position, self.state.rulebook.defaults.pnl_price)

    def unrealised(self, position: Position) -> Decimal | None:
        """Return the open P&L of one position before fees; None when it is unknown now."""
        contract_id = position.contract_id
        known = self._results
        if contract_id not in known:
            quote = self.quote(contract_id)
            known[contract_id] = None if quote is None else self._unrealised_at(quote, position)
        return known[contract_id]

    def _unrealised_at(self, quote: "QuoteChanged", position: Position) -> Decimal | None:
        basis, memo = self.state.rulebook.defaults.pnl_price, position.priced
        known = memo.get("open")
        if known is None or known[0] is not quote or known[1] is not basis:
            valuation, price = position.valuation, valuing_price(quote, position, basis)
            priced = None if price is None or valuation is None else valuation.unrealised(price)
            known = memo["open"] = (quote, basis, priced)
        result: Decimal | None = known[2]
        return result

    def open_results(self) -> tuple[Decimal | None, ...]:
        """Return the open P&L of each position."""
        return (self._open_pnl or self._all_priced()).results

    def unrealised_total(self) -> Decimal | None:
        """Return the open P&L of the account; None if that of any position is unknown."""
        return (self._open_pnl or self._all_priced()).total

    def _all_priced(self) -> _OpenPnl:
        """Price all positions, unless that was done before and neither they nor the quotes have
        changed since: few events change either."""
        state, oldest = self.state, self.oldest_fresh_at
        quotes, basis = state.quotes, state.rulebook.defaults.pnl_price
        memo = self.account.priced
        known: _OpenPnl | None = memo.get("open")
        if (
            known is None
            or known.quotes is not quotes
            or known.basis is not basis
            or not known.holds(oldest)
        ):
            known = memo["open"] = self._priced_at(quotes, basis, oldest)
        self._open_pnl = known
        self._results = dict(known.by_contract)
        return known

    def _priced_at(
        self, quotes: Mapping[str, "QuoteChanged"], basis: PriceBasis, oldest: datetime
    ) -> _OpenPnl:
        by_contract: dict[str, Decimal | None] = {}
        total: Decimal | None = ZERO
        too_old: datetime | None = None
        fresh: datetime | None = None
        for contract_id, position in self.account.positions.items():
            result, quote = None, quotes.get(contract_id)
            if quote is not None:
                at = quote.at
                if at < oldest:
                    too_old = at if too_old is None or at > too_old else too_old
                else:
                    fresh = at if fresh is None or at < fresh else fresh
                    result = self._unrealised_at(quote, position)
            by_contract[contract_id] = result
            total = None if total is None or result is None else total + result
        return _OpenPnl(
            quotes=quotes,
            basis=basis,
            too_old=too_old,
            fresh=fresh,
            by_contract=by_contract,
            results=tuple(by_contract.values()),
            total=total,
        )

    def trading_since(self, contract_id: str) -> datetime | None:
        """Return since when a contract has traded without a break; None while it does not."""
        known, root = self.memo, self.root(contract_id)
        question = f"trading {root}"
        if question not in known:
            known[question] = trading_since(self.state.rulebook.calendar, root, self.now)
        since: datetime | None = known[question]
        return since

    @property
    def today(self) -> DayTotals:
        return self.account.ledger.day(self.account.trading_date)

    def realised_today(self, basis: PnlBasis | None = None) -> Decimal:
        """Return the realised P&L of the trading day, on the configured basis by default."""
        basis = basis or self.state.rulebook.defaults.pnl_basis
        if basis is not PnlBasis.NET:
            return self.today.pnl
        if self._net_today is None:
            self._net_today = self.today.net
        return self._net_today

    # --- memory and locks ---

    def mark(self, rule_id: str, subject: str) -> Mark | None:
        return self.account.marks.get((rule_id, subject))

    def marks(self, rule_id: str) -> Sequence[Mark]:
        return self.account.marks_of(rule_id)

    def forget_ended(self, rule_id: str) -> tuple[Forget, ...]:
        """Return a `Forget` for each mark of an episode ("armed:7") that is over."""
        marks = self.marks(rule_id)
        if not marks:
            return ()
        held = {str(p.episode) for p in self.account.positions.values()}
        return tuple(
            Forget(m.subject)
            for m in marks
            if (episode := m.subject.rpartition(":")[2]).isdecimal() and episode not in held
        )

    def stands(self, rule_id: str, subject: str | None = None) -> bool:
        """Whether a breach of the rule, of this subject or of any, is active."""
        account = self.account
        if rule_id not in account.breached:
            return False
        if subject is None:
            return True
        known = account.breaches.get((rule_id, subject))
        return known is not None and known.active

    def being_closed_by(self, rule_id: str, position: Position) -> bool:
        """Whether this rule is closing the position and it is not flat yet."""
        closing = self.account.closings.get(position.contract_id)
        return (
            closing is not None
            and closing.episode == position.episode
            and rule_id in closing.rule_ids
        )

    def landed(self, execution: Execution) -> bool:
        """Whether the position shows a fill by now. It may be reported moments after the fill."""
        if self.now - execution.received_at >= ROUND_TURN_SETTLE:
            return True
        heard = self.account.heard.get(execution.contract_id)
        return heard is not None and heard >= execution.received_at

    def lock(self, rule_id: str, scope: str = ACCOUNT_SCOPE) -> Lock | None:
        return self.account.locks.get((scope, rule_id))

    def policy(self, contract_id: str) -> LockPolicy | None:
        """Return the strictest policy in force on a contract; None when it may be traded."""
        locks = self.account.locks
        if not locks:
            return None
        root = self.root(contract_id)
        return strictest(lock for lock in locks.values() if lock.covers(root, contract_id))

    @property
    def account_policy(self) -> LockPolicy | None:
        """The strictest policy of the locks on the whole account; None where there are none.

        No limit has headroom under such a lock.
        """
        locks = self.account.locks.values()
        return strictest(lock for lock in locks if lock.scope == ACCOUNT_SCOPE)

    def next_reset(self) -> datetime:
        return self.state.day.ends_at


def valuing_price(quote: "QuoteChanged", position: Position, basis: PriceBasis) -> float | None:
    """Return the price of this quote that values the position; None if it states none."""
    bid, ask, last = quote.best_bid, quote.best_ask, quote.last_price
    long = position.net > 0
    if bid is not None and ask is not None and bid > ask:
        # No one can trade at either side of a crossed book: the last price counts.
        last = (min if long else max)(bid, ask) if last is None else last
        bid = ask = None
    if basis is PriceBasis.EXECUTABLE:
        side = bid if long else ask
        return last if side is None else side
    if basis is PriceBasis.LAST:
        return last
    if basis is PriceBasis.MID:
        return (bid + ask) / 2 if bid is not None and ask is not None else last
    stated = [p for p in (bid, ask, last) if p is not None]
    return (min if long else max)(stated, default=None)
