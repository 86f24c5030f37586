"""risk_config.yaml except the rules themselves, which have their own schema."""

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PositiveInt, model_validator

from risk_manager.domain.durations import Duration
from risk_manager.domain.missing_data import HOLD, MissingData, flatten_after
from risk_manager.domain.rulebook import Defaults, Mode, PnlBasis, PriceBasis
from risk_manager.domain.symbols import Symbols
from risk_manager.domain.trading_calendar import TradingDay
from risk_manager.settings.fields import ClockTime, Root, Section, Zone


def _above_zero(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError('must be longer than zero; write for example "10s"')
    return value


PositiveDuration = Annotated[Duration, AfterValidator(_above_zero)]


class DefaultsSection(Section):
    """Settings that all rules share unless they say otherwise."""

    mode: Mode = Mode.ENFORCE
    on_missing_data: MissingData = HOLD
    quote_max_age: PositiveDuration = timedelta(seconds=10)
    pnl_price: PriceBasis = PriceBasis.EXECUTABLE
    pnl_basis: PnlBasis = PnlBasis.NET
    reissue_after: PositiveDuration = timedelta(seconds=3)
    max_attempts: PositiveInt = 6
    foreign_fill_policy: Literal["close", "reduce_only_ok"] = "close"

    def compiled(self) -> Defaults:
        return Defaults(
            mode=self.mode,
            flatten_after=flatten_after(self.on_missing_data),
            quote_max_age=self.quote_max_age,
            pnl_price=self.pnl_price,
            pnl_basis=self.pnl_basis,
            reissue_after=self.reissue_after,
            max_attempts=self.max_attempts,
            keep_reducing_fills=self.foreign_fill_policy == "reduce_only_ok",
        )


class TradingDaySection(Section):
    """When the trading day begins. The week opens on Sunday; a weekend belongs to Monday.

    From `flat_by` until the next session nothing may be open; None: no such hour.
    """

    reset: ClockTime = TradingDay().reset
    timezone: Zone = TradingDay().timezone
    flat_by: ClockTime | None = None
    week_starts: Literal["sunday"] = "sunday"
    weekend_days_count: Literal[False] = False

    @model_validator(mode="after")
    def _flat_by_is_before_the_reset(self) -> "TradingDaySection":
        if self.flat_by == self.reset:
            raise ValueError(
                f"flat_by and reset are both {self.reset:%H:%M}; between the two everything is "
                "closed, write an earlier flat_by"
            )
        return self

    def compiled(self) -> TradingDay:
        return TradingDay(self.reset, self.timezone)


class EarlyClose(Section):
    """A day that ends early. Without a zone, the zone of the trading day applies."""

    date: date
    flat_by: ClockTime
    timezone: Zone | None = None


class CalendarSection(Section):
    """Closures the operator adds for all products, by trading date."""

    holidays: tuple[date, ...] = ()
    early_closes: tuple[EarlyClose, ...] = ()


class MicroEquivalents(Section):
    """How many micros one contract counts as."""

    default_mini: Decimal = Field(default=Decimal(10), gt=0)
    default_micro: Decimal = Field(default=Decimal(1), gt=0)
    overrides: Mapping[Root, Annotated[Decimal, Field(gt=0)]] = Field(default_factory=dict)


class SymbolsSection(Section):
    """The operator's settings about symbols."""

    aliases: Mapping[Root, Root] = Field(default_factory=dict)
    groups: Mapping[str, Annotated[tuple[Root, ...], Field(min_length=1)]] = Field(
        default_factory=dict
    )
    micro_equivalents: MicroEquivalents = MicroEquivalents()

    def compiled(self) -> Symbols:
        return Symbols(
            aliases=dict(self.aliases),
            groups=dict(self.groups),
            default_mini=self.micro_equivalents.default_mini,
            default_micro=self.micro_equivalents.default_micro,
            weights=dict(self.micro_equivalents.overrides),
        )


class Override(Section):
    """A change of one rule for one account; `target` is the rule's id, or its name when unique."""

    target: str = Field(min_length=1)
    set: Mapping[str, Any] = Field(min_length=1)


class PlatformLimits(Section):
    """The limits set at the platform itself, in account currency: the second line of defence.

    They are not enforced here. `doctor` warns where a limit of ours is not inside them.
    """

    daily_loss: Decimal | None = Field(default=None, gt=0, decimal_places=2)
    max_contracts: PositiveInt | None = None


class AccountSection(Section):
    """The settings that differ for one account.

    `enforce_on_live`: act even if the account is a live funded one, where TopstepX forbids it.
    """

    label: str | None = Field(default=None, min_length=1, max_length=64)
    mode: Mode | None = None
    enforce_on_live: bool = False
    platform: PlatformLimits = PlatformLimits()
    overrides: tuple[Override, ...] = ()


class RiskFile(Section):
    """The whole of risk_config.yaml; each entry of `rules` is checked by its own rule class."""

    version: Literal[1]
    defaults: DefaultsSection = DefaultsSection()
    trading_day: TradingDaySection = TradingDaySection()
    calendar: CalendarSection = CalendarSection()
    symbols: SymbolsSection = SymbolsSection()
    rules: tuple[Mapping[str, Any], ...]
    accounts: Mapping[PositiveInt, AccountSection] = Field(default_factory=dict)
