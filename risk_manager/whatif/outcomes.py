"""Says of each round turn what would have become of it under the limits that are tried."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from risk_manager.domain.executions import Execution
from risk_manager.domain.money import ZERO
from risk_manager.domain.symbols import Contract
from risk_manager.whatif.amounts import Between
from risk_manager.whatif.episodes import SETTLES_IN, Episode, episodes
from risk_manager.whatif.intervention import Holding, Intervention, Source
from risk_manager.whatif.judging import AccountDay, JudgedDay


class Kind(StrEnum):
    UNCHANGED = "unchanged"
    PREVENTED = "prevented"  # entered under a lock, or above a limit
    CUT_EARLY = "cut early"  # closed by enforcement before the trader's own exit
    UNKNOWABLE = "unknowable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slippage:
    """How many ticks worse than the quote a close may fill."""

    low: int = 0
    high: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One round turn under the limits. `result` is after fees; None where it cannot be known.

    `rule_id` is empty for an unchanged turn. `is_after`: it began after the first intervention of
    its day. `is_estimate`: the close was not on record as a quote and is taken from the prices of
    the trade itself.
    """

    episode: Episode
    symbol: str
    kind: Kind
    result: Between | None
    rule_id: str = ""
    why: str = ""
    is_after: bool = False
    is_estimate: bool = False

    @property
    def change(self) -> Between | None:
        """The result less the recorded one."""
        return None if self.result is None else self.result.less(self.episode.net)


def outcomes_of(
    done: JudgedDay, account: AccountDay, slippage: Slippage, *, has_quotes: bool
) -> list[Outcome]:
    """Return the outcome of every round turn of an account's day, in the order of opening.

    `has_quotes` False: the record holds fills only, and closes are estimated at their prices.
    """
    return [
        _Weighing(done, account, episode, slippage, has_quotes=has_quotes).outcome()
        for episode in episodes(account.executions)
    ]


class _Weighing:
    def __init__(
        self,
        done: JudgedDay,
        account: AccountDay,
        episode: Episode,
        slippage: Slippage,
        *,
        has_quotes: bool,
    ) -> None:
        self._done = done
        self._came = account.difference
        self._episode = episode
        self._slippage = slippage
        self._has_quotes = has_quotes
        self._contract: Contract | None = done.contracts.get(episode.contract_id)
        self._root = done.roots.get(episode.contract_id, episode.contract_id)
        self._symbol = (self._contract.name if self._contract else "") or self._root

    def outcome(self) -> Outcome:
        came, episode = self._came, self._episode
        if came is None or (episode.ended_at is not None and episode.ended_at <= came.at):
            return self._as_recorded(came)
        held = came.held.get(episode.contract_id)
        was_open = episode.opened_at <= came.at
        if held is not None and not was_open:
            was_open = episode.opened_at <= came.at + SETTLES_IN and episode.side * held.net > 0
        if came.source is Source.RECORD:
            return self._make(
                Kind.UNKNOWABLE,
                why="the limits of that day had already changed its course",
                is_after=not was_open,
            )
        if not was_open:
            return self._later(came)
        if held is None:
            if episode.ended_at is not None and episode.ended_at <= came.at + SETTLES_IN:
                return self._as_recorded(came)  # its last fill was reported after the flat position
            return self._make(Kind.UNKNOWABLE, why="its position had not been reported yet")
        return self._held(came, held)

    def _as_recorded(self, came: Intervention | None) -> Outcome:
        if self._episode.net_at_end and came is None:
            return self._make(Kind.UNCHANGED, why="still open at the end of the record")
        return self._make(Kind.UNCHANGED, result=Between.exactly(self._episode.net))

    def _later(self, came: Intervention) -> Outcome:
        episode = self._episode
        first = episode.fills[0]
        if first.order_id in came.cancelled:
            why = "its entry order would have been cancelled"
        elif came.forbids(self._root, episode.contract_id, episode.opened_at, self._done.day):
            why = "it began under the lock"
        else:
            return self._make(
                Kind.UNKNOWABLE,
                why="it began after the first intervention of the day",
                is_after=True,
            )
        return self._prevented(why, is_after=True)

    def _prevented(self, why: str, *, is_after: bool) -> Outcome:
        # A trader who sends an order in spite of the lock pays for the immediate close.
        episode = self._episode
        cost = self._ticks(self._slippage.high) * episode.size + episode.fees
        return self._make(Kind.PREVENTED, result=Between(-cost, ZERO), why=why, is_after=is_after)

    def _held(self, came: Intervention, held: Holding) -> Outcome:
        episode = self._episode
        is_prevented = held.just_entered and held.keep == 0
        if is_prevented and came.had_forbidden(self._root, episode.contract_id, episode.opened_at):
            return self._prevented("it began under the lock", is_after=False)
        before, after = episode.parted(came.at, held.net)
        grows = any(fill.signed_size * episode.side > 0 for fill in after)
        stays_open = bool(episode.net_at_end)
        has_other_exits = held.has_new_exit or came.cancelled & {fill.order_id for fill in after}
        if has_other_exits and held.keep != 0:
            return self._make(Kind.UNKNOWABLE, why="its exit orders would have been others")
        if held.keep is None:
            if grows or stays_open:
                return self._make(Kind.UNKNOWABLE, why="it grew after the intervention")
            return self._as_recorded(came)
        if held.keep and (grows or stays_open):
            return self._make(Kind.UNKNOWABLE, why="part of it would have stayed open")
        if not episode.is_whole:
            return self._make(Kind.UNKNOWABLE, why="its entry is not on record")
        prices = self._close_prices(held, before, after)
        if prices is None:
            return self._make(Kind.UNKNOWABLE, why="no quote of that moment is on record")
        return self._make(
            Kind.PREVENTED if is_prevented else Kind.CUT_EARLY,
            result=self._closed_at(prices, before, after, held.keep),
            why="closed on entry" if is_prevented else came.reason,
            is_estimate=not self._has_quotes,
        )

    def _close_prices(
        self, held: Holding, before: Sequence[Execution], after: Sequence[Execution]
    ) -> tuple[Decimal, ...] | None:
        """Return the prices between which the close is assumed, before slippage."""
        if self._contract is None or not before:
            return None
        if not self._has_quotes:
            known = before[-1:] if held.just_entered else [*before[-1:], *after]
            return tuple(fill.price for fill in known)
        quoted = held.bid if self._episode.side > 0 else held.ask
        return None if quoted is None else (Decimal(str(quoted)),)

    def _closed_at(
        self,
        prices: Sequence[Decimal],
        before: Sequence[Execution],
        after: Sequence[Execution],
        keep: int,
    ) -> Between:
        assert self._contract is not None
        episode, contract = self._episode, self._contract
        a_point = contract.tick_value / contract.tick_size
        net = sum(fill.signed_size for fill in before)
        kept = keep * episode.side
        paid = sum((-fill.signed_size * fill.price for fill in before), ZERO)
        if keep and after:
            lots = sum(fill.size for fill in after)
            paid += kept * sum((fill.size * fill.price for fill in after), ZERO) / lots
        results = [(paid + (net - kept) * price) * a_point for price in prices]
        fees = self._fees(before, abs(net))
        worse = self._ticks(1) * abs(net - kept)
        return Between(
            min(results) - self._slippage.high * worse - fees,
            max(results) - self._slippage.low * worse - fees,
        )

    def _fees(self, before: Sequence[Execution], open_lots: int) -> Decimal:
        """The fees so far, and for the lots to be closed the average fee of the whole turn."""
        traded = sum(fill.size for fill in self._episode.fills)
        a_lot = self._episode.fees / traded if traded else ZERO
        return sum((fill.fees for fill in before), ZERO) + a_lot * open_lots

    def _ticks(self, ticks: int) -> Decimal:
        return ZERO if self._contract is None else self._contract.tick_value * ticks

    def _make(
        self,
        kind: Kind,
        *,
        result: Between | None = None,
        why: str = "",
        is_after: bool = False,
        is_estimate: bool = False,
    ) -> Outcome:
        by_rule = kind is not Kind.UNCHANGED and self._came is not None
        return Outcome(
            episode=self._episode,
            symbol=self._symbol,
            kind=kind,
            result=result,
            rule_id=self._came.rule_id if by_rule and self._came else "",
            why=why,
            is_after=is_after,
            is_estimate=is_estimate,
        )
