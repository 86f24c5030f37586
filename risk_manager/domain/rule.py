"""The base of every rule: a limit, its configuration, and one pure judgement."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from risk_manager.domain.account import Account
from risk_manager.domain.coming_releases import ComingRelease
from risk_manager.domain.decisions import Verdict
from risk_manager.domain.holdings import Position
from risk_manager.domain.money import Band
from risk_manager.domain.session_hours import Interval
from risk_manager.domain.view import View

if TYPE_CHECKING:
    from risk_manager.domain.rulebook import Rulebook

AccountIds = Annotated[frozenset[int], Field(min_length=1)]


class MeterState(StrEnum):
    OK = "ok"
    WARN = "warn"
    BREACH = "breach"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """How far an account is from one limit.

    `used` is the fraction consumed, never below zero; None is unknown.
    `current`, `limit` and `headroom` are in `unit`. `sentence` says the same in words.

    `day_result` is set for a limit on the day's result: the result net of fees at which it is
    reached, as things stand now. `counts_open`: the P&L of open positions counts as well.
    """

    rule_id: str
    spec_id: str
    title: str
    current: Decimal | None
    limit: Decimal | None
    unit: str
    sentence: str
    state: MeterState = MeterState.OK
    day_result: Decimal | None = None
    counts_open: bool = False

    @property
    def headroom(self) -> Decimal | None:
        if self.current is None or self.limit is None:
            return None
        return self.limit - self.current

    @property
    def used(self) -> float | None:
        if self.current is None or not self.limit:
            return None
        return max(float(self.current / self.limit), 0.0)


class Rule(BaseModel):
    """One limit. The fields are its section of the configuration.

    A rule has no memory of its own. It keeps marks by asking for `Remember`, and reads them with
    `view.mark`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec_id: ClassVar[str]
    title: ClassVar[str]
    uses_prices: ClassVar[bool] = False
    """True: the rule is asked on quotes as well. Every rule is asked on all other events, ticks
    included."""

    bands_hold_together: ClassVar[bool] = False
    """True: its quiet bands of several positions hold only beside those of the same moment."""

    rule: str
    """The rule's name."""
    id: str = ""
    """How overrides and logs name it; the rule's name when left out."""
    enabled: bool = True
    """false: switched off."""
    shadow: bool = False
    """true: told, not enforced."""
    accounts: AccountIds | None = None
    """The accounts it is for; null: all."""

    @model_validator(mode="after")
    def _id_defaults_to_the_name(self) -> Self:
        if not self.id:
            object.__setattr__(self, "id", self.rule)
        return self

    @property
    def rank(self) -> int:
        """The order in which rules are asked, lowest first (see the rules reference)."""
        return 100

    def history_from(self, account: Account) -> date | None:
        """Return the first trading date whose result it needs; None: it needs no day but today."""
        return None

    def lacks(self, account: Account) -> str:
        """Say which value this rule cannot do without and nobody has stated; empty if none."""
        return ""

    @property
    def polls_account_every(self) -> timedelta | None:
        """How often the account record must be read; None: the regular reads suffice."""
        return None

    @property
    def group(self) -> frozenset[int]:
        """The accounts that must be judged together, as this rule looks at all of them."""
        return frozenset()

    def applies_to(self, account_id: int) -> bool:
        return self.enabled and (self.accounts is None or account_id in self.accounts)

    def covers(self, other: "Rule") -> bool:
        """Whether `other`, enforced beside this rule, could never ask for anything more.

        True only where that is certain in every state: for an equal rule, and for a rule that this
        one `is_stricter_than`.
        """
        return self.same_but(other) or (
            isinstance(other, type(self)) and self.is_stricter_than(other)
        )

    def is_stricter_than(self, other: Self) -> bool:
        """Whether this rule asks, in every state, for everything that `other` asks for.

        `other` is an unequal rule of the same kind. See `same_but` for the usual form.
        """
        return False

    def same_but(self, other: "Rule", *fields: str) -> bool:
        """Whether both rules are of one kind and equal except in the named fields."""
        return type(self) is type(other) and all(
            getattr(self, name) == getattr(other, name)
            for name in type(self).model_fields
            if name not in fields
        )

    def judge(self, view: View) -> Verdict | tuple[Verdict, ...] | None:
        """Judge whether the account is acceptable now. None means that it is. Pure."""
        raise NotImplementedError

    def quiet_between(self, view: View, position: Position) -> Band | None:
        """For rules with `uses_prices`: the prices of this position on which it has nothing to say.

        The band must hold at any time, for as long as the account does not change. None: the rule
        must be asked on each quote.
        """
        return None

    def in_words(self) -> str:
        """Say in plain sentences what this rule does, with its configured figures."""
        return ""

    @property
    def products(self) -> frozenset[str]:
        """The products that its configuration names as ones to be traded; no patterns."""
        return frozenset()

    def open_hours(
        self, rulebook: "Rulebook", root: str, around: date
    ) -> tuple[Interval, ...] | None:
        """Return when a product may be traded around a date; None: this rule sets no hours."""
        return None

    def releases(self, start: datetime, end: datetime) -> tuple[ComingRelease, ...]:
        """Return the scheduled releases whose windows lie between two instants."""
        return ()

    @property
    def data_ends_at(self) -> datetime | None:
        """From when on the dated data that this rule goes by tells nothing; None: it needs none."""
        return None

    @property
    def data_name(self) -> str:
        """The name of that data for people, as the beginning of a sentence."""
        return ""

    def meter(self, view: View) -> Meter | None:
        """Return where the account stands against this limit; None where that has no meaning."""
        return None

    def reading(
        self,
        *,
        current: Decimal | None,
        limit: Decimal | None,
        unit: str,
        sentence: str,
        state: MeterState = MeterState.OK,
    ) -> Meter:
        """Make a meter reading with this rule's id and title."""
        return Meter(
            rule_id=self.id,
            spec_id=self.spec_id,
            title=self.title,
            current=current,
            limit=limit,
            unit=unit,
            sentence=sentence,
            state=state,
        )
