"""Shared by the rules over the course of results: their certain bounds, and when to wait."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from risk_manager.domain.account import Account
from risk_manager.domain.decisions import Forget, LookAgain, Remember, Verdict, bookkeeping
from risk_manager.domain.events import Tick
from risk_manager.domain.holdings import Position
from risk_manager.domain.money import Band
from risk_manager.domain.open_pnl_bounds import open_between
from risk_manager.domain.rulebook import PnlBasis
from risk_manager.domain.view import View

SETTLED = timedelta(seconds=3)
"""Fills and positions that belong together arrive within this time, or something is wrong."""
UNSETTLED = "unsettled"


class Course(NamedTuple):
    """A result as far as it can be told.

    `least` and `most` are certain bounds, equal where the result is known; None: there is no such
    bound. `doubts` says why it is not known.
    """

    likely: Decimal
    least: Decimal | None
    most: Decimal | None
    doubts: str = ""

    @property
    def known(self) -> Decimal | None:
        likely, least, most = self.likely, self.least, self.most
        return likely if least is most is likely or least == most == likely else None

    @property
    def told_doubts(self) -> str:
        return f" ({self.doubts})" if self.doubts else ""

    def plus(self, amount: Decimal) -> "Course":
        if self.least is self.most is self.likely:
            sum_ = self.likely + amount
            return Course(sum_, sum_, sum_, self.doubts)
        return Course(
            self.likely + amount,
            None if self.least is None else self.least + amount,
            None if self.most is None else self.most + amount,
            self.doubts,
        )


def day_course(view: View, basis: PnlBasis | None, *, with_open: bool) -> Course:
    """Return the result of the trading day, with or without the P&L of open positions."""
    realised = view.realised_today(basis)
    if not with_open or not view.account.positions:
        return Course(realised, realised, realised)
    memo, question = view.memo, "course after fees" if is_net(view, basis) else "course before fees"
    course: Course | None = memo.get(question)
    if course is None:
        open_pnl = view.unrealised_total()
        if open_pnl is not None:
            result = realised + open_pnl
            course = Course(result, result, result)
        else:
            course = Course(*open_between(view)).plus(realised)
        memo[question] = course
    return course


def is_in_step(view: View) -> bool:
    """Whether fills and positions tell the same.

    A close is told twice, as a fill and as a position. In between its result would count twice, or
    not at all. So it would while a late list or message shows a position that has ended.
    """
    known: bool | None = view.memo.get("in step")
    if known is None:
        known = view.memo["in step"] = _agree(view.account, view.now)
    return known


def _agree(account: Account, now: datetime) -> bool:
    ledger, positions = account.ledger, account.positions
    if not ledger.entries:
        return True
    ended = account.ended
    for contract_id in positions:
        if contract_id in ended and account.is_back(contract_id):
            return False
        if _is_fill_ahead(account, contract_id, now):
            return False
    return ledger.agrees_with({c: p.net for c, p in positions.items()})


def may_have_ended(account: Account, contract_id: str, now: datetime) -> bool:
    """Whether a position may have ended by a fill that is counted already. True for a moment only,
    as what belongs together arrives within it."""
    if account.is_back(contract_id):
        return now - account.positions[contract_id].opened_at < SETTLED
    return _is_fill_ahead(account, contract_id, now)


def _is_fill_ahead(account: Account, contract_id: str, now: datetime) -> bool:
    """Whether a fill has just arrived, and not yet the position that it led to."""
    newest = account.ledger.newest_in.get(contract_id)
    if newest is None:
        return False
    heard, received_at = account.heard.get(contract_id), newest.received_at
    return (heard is None or heard < received_at) and now - received_at < SETTLED


def settling(view: View, rule_id: str) -> tuple[bool, tuple[Verdict, ...]]:
    """Return whether to wait with a judgement, and the verdicts to give. A wait always ends."""
    mark = view.mark(rule_id, UNSETTLED)
    if is_in_step(view):
        return False, () if mark is None else (bookkeeping(Forget(UNSETTLED)),)
    if mark is None:
        return True, (bookkeeping(Remember(UNSETTLED)), *_told_already(view, rule_id))
    if view.now - mark.set_at >= SETTLED:
        return False, ()
    looks = (bookkeeping(LookAgain()),) if type(view.event) is Tick else ()
    return True, (*looks, *_told_already(view, rule_id))


def _told_already(view: View, rule_id: str) -> tuple[Verdict, ...]:
    """Return what stands again, as it would end otherwise and be told a second time."""
    if not view.stands(rule_id):
        return ()
    return tuple(
        Verdict(reason="", subject=b.subject, severity=b.severity)
        for b in view.account.breaches.values()
        if b.active and b.rule_id == rule_id
    )


def may_be_quiet(view: View, rule_id: str) -> bool:
    """Whether the day's result is known and changes by prices alone."""
    return (
        not view.stands(rule_id)
        and view.mark(rule_id, UNSETTLED) is None
        and is_in_step(view)
        and view.unrealised_total() is not None
    )


def quiet_band(
    view: View,
    position: Position,
    realised: Decimal,
    *,
    above: Decimal | None,
    below: Decimal | None,
) -> Band | None:
    """Return the prices at which realised and open result together stay between two amounts.

    Where several positions are held each may use an equal part of the room, so that all bands of
    the same moment hold together.
    """
    valuation, own, total = position.valuation, view.unrealised(position), view.unrealised_total()
    if valuation is None or own is None or total is None:
        return None
    held = len(view.account.positions)
    result, band = realised + total, Band()
    if above is not None:
        band = band.within(valuation.above(own - (result - above) / held))
    if below is not None:
        band = band.within(valuation.below(own + (below - result) / held))
    return band


def is_net(view: View, basis: PnlBasis | None) -> bool:
    return (basis or view.state.rulebook.defaults.pnl_basis) is PnlBasis.NET
