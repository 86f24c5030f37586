"""The rule itself: what follows from the windows in force, and the meter."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import ClassVar, Self
from zoneinfo import ZoneInfo

from risk_manager.domain.coming_releases import ComingRelease
from risk_manager.domain.decisions import Ask, Cancel, Close, Severity, Verdict
from risk_manager.domain.durations import plain_duration
from risk_manager.domain.holdings import Position
from risk_manager.domain.lockout import new_lock
from risk_manager.domain.locks import Lock, LockKind, LockPolicy
from risk_manager.domain.rule import Meter, MeterState, Rule
from risk_manager.domain.scope import ACCOUNT_SCOPE, in_scope, root_scope
from risk_manager.domain.view import View
from risk_manager.rules.capped_products import CappedProducts, closing, reduce_in
from risk_manager.rules.release_window.configuration import Windows
from risk_manager.rules.release_window.spans import Span, Stretch, stretch_at

MINUTE = timedelta(minutes=1)
SOON = timedelta(minutes=5)


class ReleaseWindow(Windows):
    """Around scheduled releases nothing is entered, or nothing is open.

    A window is a lock of the account, or of each product named, until its end. A window begins by
    the later of the two clocks and ends by the earlier one.
    """

    spec_id: ClassVar[str] = "EXTRA-011"
    title: ClassVar[str] = "Release windows"

    def in_words(self) -> str:
        number = len(self.spans)
        source = f" of {self.file.name}" if self.file is not None else ""
        margins = f"{plain_duration(self.before)} before to {plain_duration(self.after)} after"
        told = [
            f"From {margins} each release{source}, {self._asked()} "
            f"({number} window{'' if number == 1 else 's'}; a release may say otherwise)."
        ]
        told += [f"In these windows at most {cap.limit} {cap.name}." for cap in self.caps]
        return " ".join(told)

    def _asked(self) -> str:
        where = f" in {', '.join(self.roots)}" if self.roots else ""
        if self.action == "flat":
            return f"everything{where} is closed and nothing may be opened"
        return f"new entries{where} are blocked; what is held may be reduced and protected"

    @property
    def products(self) -> frozenset[str]:
        return frozenset(root for span in self.spans for root in span.roots)

    @property
    def data_ends_at(self) -> datetime | None:
        return None if self.file is None else self.file.ends_at(self.timezone)

    @property
    def data_name(self) -> str:
        return "" if self.file is None else f"the release calendar {self.file.name}"

    def releases(self, start: datetime, end: datetime) -> tuple[ComingRelease, ...]:
        return tuple(
            ComingRelease(s.name, s.at, s.starts_at, s.ends_at, s.roots, s.is_flat)
            for s in self.spans
            if s.ends_at > start and s.starts_at < end
        )

    @property
    def rank(self) -> int:
        return 31

    def is_stricter_than(self, other: Self) -> bool:
        """True where each window of `other` lies within one of this rule that asks for as much."""
        of_windows = Windows.model_fields.keys() - Rule.model_fields.keys()
        return self.same_but(other, *of_windows) and self.implies_all_of(other)

    def judge(self, view: View) -> tuple[Verdict, ...] | None:
        state = view.state
        instants = (view.now, state.latest) if state.lead else (view.now,)
        in_force = self.in_force(*instants)
        if not in_force:
            return None
        verdicts: list[Verdict] = []
        for root in dict.fromkeys(root for span in in_force for root in span.roots or ("",)):
            stretch = next(
                (s for at in instants if (s := stretch_at(self.by_root[root], at)) is not None),
                None,
            )
            if stretch is not None and not self._must_be_read_first(view, stretch):
                verdicts.append(self._locked(view, root, stretch))
                verdicts += self._strays(view, root, stretch)
        verdicts += self._capped(view, in_force)
        return tuple(verdicts) or None

    def _must_be_read_first(self, view: View, stretch: Stretch) -> bool:
        """Whether it is unknown what was held before the window, and may go on being held."""
        account = view.account
        is_new = account.reported_at is None and account.resumed_at is None
        return stretch.policy is LockPolicy.NO_ENTRIES and is_new

    def _locked(self, view: View, root: str, stretch: Stretch) -> Verdict:
        scope = root_scope(root) if root else ACCOUNT_SCOPE
        known = view.lock(self.id, scope)
        where = f" in {root}" if root else ""
        asked = "nothing may be open" if stretch.policy is LockPolicy.FLAT else "no new entries"
        reason = (
            f"{stretch.latest.name} at {self._local(stretch.latest.at)}: {asked}{where} until "
            f"{self._local(stretch.ends_at)}"
        )
        asks: list[Ask] = []
        if not _holds(known, stretch):
            asks.append(
                new_lock(
                    view,
                    self.id,
                    reason,
                    until=stretch.ends_at,
                    policy=stretch.policy,
                    kind=LockKind.SESSION,
                    scope=scope,
                    trigger=stretch.starts_at.isoformat(),
                    admin_may_clear=False,
                )
            )
            if known is None:
                asks += _opened_inside(view, scope, stretch)
        return Verdict(
            reason=reason,
            subject=f"{scope}:{stretch.starts_at.isoformat()}:{stretch.policy}",
            asks=tuple(asks),
            severity=Severity.INFO,
        )

    def _strays(self, view: View, root: str, stretch: Stretch) -> Iterator[Verdict]:
        """Yield what the lock has to close, for people: the lock itself is what closes it."""
        scope = root_scope(root) if root else ACCOUNT_SCOPE
        is_flat = stretch.policy is LockPolicy.FLAT
        known = view.lock(self.id, scope)
        for contract_id, position in view.account.positions.items():
            if not in_scope(scope, view.root(contract_id), contract_id):
                continue
            ceiling = 0
            if not is_flat:
                if known is None:  # what is held now may be held
                    if not _was_opened_inside(position, stretch):
                        continue
                else:
                    ceiling = view.account.ceilings.get(contract_id, 0)
            kept = abs(ceiling) if ceiling * position.net > 0 else 0
            if position.size > kept:
                yield Verdict(
                    reason=f"{stretch.latest.name} at {self._local(stretch.latest.at)}: closing "
                    f"{position.size - kept} {view.name(contract_id)}",
                    subject=f"{contract_id}:episode:{position.episode}",
                )

    def _capped(self, view: View, in_force: list[Span]) -> Iterator[Verdict]:
        caps: dict[CappedProducts, Span] = {c: span for span in in_force for c in span.caps}
        if not caps or not (view.account.positions or view.account.orders):
            return
        held = dict(view.projected())
        for cap, span in caps.items():
            reductions = cap.reductions(view, held)
            entries = cap.entries(view) if reductions or not cap.limit else ()
            if reductions or entries:
                asks: list[Ask] = [*reductions, *([Cancel(entries)] if entries else [])]
                done = closing(view, held, reductions)
                yield Verdict(
                    reason=f"{span.name} at {self._local(span.at)}: at most {cap.limit} "
                    f"{cap.name}; " + (f"closing {done}" if done else "cancelling entry orders"),
                    subject=cap.subject(view, entries),
                    asks=tuple(asks),
                )
                reduce_in(held, reductions)

    def _local(self, at: datetime) -> str:
        return f"{at.astimezone(ZoneInfo(self.timezone)):%H:%M}"

    # --- for people ---

    def meter(self, view: View) -> Meter:
        if self.data_ends_at is not None and view.now >= self.data_ends_at:
            return self._reading(f"{self.data_name} has ended", MeterState.UNKNOWN)
        now = self.in_force(view.now)
        if now:
            span = max(now, key=lambda s: (s.is_flat, s.ends_at))
            left = plain_duration((span.ends_at - view.now) // MINUTE * MINUTE + MINUTE)
            asked = "nothing may be open" if span.is_flat else "no new entries"
            where = f" in {', '.join(span.roots)}" if span.roots else ""
            return self._reading(
                f"{span.name}: {asked}{where} for another {left}",
                MeterState.BREACH if span.is_flat else MeterState.WARN,
                current=Decimal((view.now - span.starts_at) // MINUTE),
                limit=Decimal((span.ends_at - span.starts_at) // MINUTE),
            )
        coming = next((span for span in self.spans if span.starts_at > view.now), None)
        if coming is None:
            return self._reading("no release is listed from here on", MeterState.OK)
        ahead = coming.starts_at - view.now
        zone = ZoneInfo(self.timezone)
        at = f"{coming.at.astimezone(zone):%a %d %b %H:%M} {self.timezone}"
        return self._reading(
            f"next {coming.name}, {at}; the window begins in "
            f"{plain_duration(ahead // MINUTE * MINUTE) if ahead >= MINUTE else 'under a minute'}",
            MeterState.WARN if ahead <= SOON else MeterState.OK,
        )

    def _reading(
        self,
        sentence: str,
        state: MeterState,
        current: Decimal | None = None,
        limit: Decimal | None = None,
    ) -> Meter:
        return self.reading(
            current=current, limit=limit, unit="min", sentence=sentence, state=state
        )


def _holds(known: Lock | None, stretch: Stretch) -> bool:
    """Whether a lock in force asks for as much, for as long."""
    return (
        known is not None
        and (known.policy is LockPolicy.FLAT or stretch.policy is LockPolicy.NO_ENTRIES)
        and known.expires_at is not None
        and known.expires_at >= stretch.ends_at
    )


def _opened_inside(view: View, scope: str, stretch: Stretch) -> Iterator[Close]:
    """Yield a close for each position opened in the window, before the lock was in force."""
    if stretch.policy is LockPolicy.FLAT:
        return  # the lock closes everything
    for contract_id, position in view.account.positions.items():
        is_in_scope = in_scope(scope, view.root(contract_id), contract_id)
        if is_in_scope and _was_opened_inside(position, stretch):
            yield Close(contract_id)


def _was_opened_inside(position: Position, stretch: Stretch) -> bool:
    begun = min(position.created_at or position.opened_at, position.opened_at)
    return begun >= stretch.starts_at
