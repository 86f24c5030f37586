"""EXTRA-021: caps on products for a stretch of trading dates, as firms announce them."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from risk_manager.domain.decisions import Ask, Cancel, Verdict
from risk_manager.domain.money import ZERO
from risk_manager.domain.rule import Meter, MeterState, Rule
from risk_manager.domain.view import View
from risk_manager.rules.capped_products import CappedProducts, closing, reduce_in


class Cap(CappedProducts):
    """A cap on the trading dates `from` to `until`, both included. None: no first or last date."""

    since: date | None = Field(default=None, alias="from")
    """The first trading date; null: it holds already."""
    until: date | None = None
    """The last trading date; null: no end."""

    @model_validator(mode="after")
    def _dates_are_in_order(self) -> Self:
        if self.since is not None and self.until is not None and self.until < self.since:
            raise ValueError(f"until {self.until} is before from {self.since}")
        return self

    @property
    def dates(self) -> str:
        """Say when it holds, to complete a sentence."""
        words = [f"from {self.since}"] if self.since is not None else []
        words += [f"until {self.until}"] if self.until is not None else []
        return " ".join(words) or "without an end"

    def holds_on(self, day: date) -> bool:
        return (self.since is None or self.since <= day) and (
            self.until is None or day <= self.until
        )

    def implies(self, other: "Cap") -> bool:
        """Whether this cap allows no more than `other` on every date of `other`."""
        return (
            (self.roots, self.count) == (other.roots, other.count)
            and self.limit <= other.limit
            and (self.since is None or (other.since is not None and self.since <= other.since))
            and (self.until is None or (other.until is not None and self.until >= other.until))
        )


class ProductCaps(Rule):
    """What exceeds a cap is closed, newest first, from the first date of the cap on."""

    spec_id: ClassVar[str] = "EXTRA-021"
    title: ClassVar[str] = "Product caps"

    rule: Literal["product_caps"] = "product_caps"
    caps: tuple[Cap, ...] = Field(min_length=1)
    cancel_entry_orders: bool = True

    def in_words(self) -> str:
        told = [
            f"{cap.name}: at most {cap.limit} {cap.unit} together, {cap.dates}."
            if cap.limit
            else f"{cap.name}: blocked, {cap.dates}."
            for cap in self.caps
        ]
        also = ", and entry orders are cancelled" if self.cancel_entry_orders else ""
        told.append(f"Above that, the newest contracts are closed{also}.")
        if any(not cap.limit for cap in self.caps):
            told.append("Entry orders in a blocked product are cancelled at once.")
        return " ".join(told)

    @property
    def products(self) -> frozenset[str]:
        return frozenset(root for cap in self.caps if cap.limit for root in cap.roots)

    @property
    def rank(self) -> int:
        return 72

    def is_stricter_than(self, other: Self) -> bool:
        """True where each cap implies the one at the same place, so that none is looser."""
        return (
            self.same_but(other, "caps")
            and len(self.caps) == len(other.caps)
            and all(
                mine.implies(theirs) for mine, theirs in zip(self.caps, other.caps, strict=True)
            )
        )

    def judge(self, view: View) -> tuple[Verdict, ...] | None:
        account = view.account
        if not account.positions and not account.orders:
            return None
        in_force = self._in_force(view)
        for cap in in_force:
            if cap.is_in_play(view):
                return tuple(self._verdicts(view, in_force)) or None
        return None

    def _verdicts(self, view: View, in_force: list[Cap]) -> Iterator[Verdict]:
        held = dict(view.projected())
        for cap in in_force:
            reductions = cap.reductions(view, held)
            has_no_room = not cap.limit or (bool(reductions) and self.cancel_entry_orders)
            entries = cap.entries(view) if has_no_room else ()
            if not (reductions or entries):
                continue
            asks: list[Ask] = [*reductions, *([Cancel(entries)] if entries else [])]
            done = f"closing {closing(view, held, reductions)}"
            if not cap.limit:
                done = done if reductions else "cancelling entry orders"
                reason = f"{cap.name} is blocked {cap.dates}; {done}"
            else:
                count = cap.counted(view, held)
                reason = (
                    f"holding {count.normalize():f} {cap.unit} of {cap.name}, cap {cap.limit} "
                    f"{cap.dates}; {done}"
                )
            yield Verdict(reason=reason, subject=cap.subject(view, entries), asks=tuple(asks))
            reduce_in(held, reductions)  # a later cap counts what this one leaves

    def _in_force(self, view: View) -> list[Cap]:
        """Return the caps of today. A cap begins by the later clock and ends by the earlier one."""
        state = view.state
        today = state.day.date
        if not state.lead:
            return [cap for cap in self.caps if cap.holds_on(today)]
        days = (today, state.rulebook.day.date_of(state.latest))
        return [cap for cap in self.caps if any(map(cap.holds_on, days))]

    def meter(self, view: View) -> Meter:
        in_force = self._in_force(view)
        if not in_force:
            today = view.state.day.date
            coming = [c.since for c in self.caps if c.since is not None and c.since > today]
            sentence = f"no cap today, the next from {min(coming)}" if coming else "no cap today"
            return self.reading(current=ZERO, limit=None, unit="contracts", sentence=sentence)
        nets = {c: p.net for c, p in view.account.positions.items()}
        counts = [(cap.counted(view, nets), cap) for cap in in_force]
        count, cap = max(counts, key=lambda each: each[0] / (each[1].limit or Decimal("0.5")))
        state = MeterState.OK
        if count > cap.limit:
            state = MeterState.BREACH
        elif cap.limit and count == cap.limit:
            state = MeterState.WARN
        sentence = f"{count.normalize():f} of {cap.limit} {cap.name} held, {cap.dates}"
        if not cap.limit:
            sentence = f"{cap.name} blocked, {cap.dates}"
        return self.reading(
            current=count,
            limit=Decimal(cap.limit),
            unit=cap.unit,
            sentence=sentence,
            state=state,
        )
