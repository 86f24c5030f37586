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
    """`enforce`, or `shadow`: tell what would have been done, touch nothing."""
    on_missing_data: MissingData = HOLD
    """No price for a position: `hold` (judge later) or `flatten_after:30s`."""
    quote_max_age: PositiveDuration = timedelta(seconds=10)
    """An older price is not trusted."""
    pnl_price: PriceBasis = PriceBasis.EXECUTABLE
    """`executable` values a long at the bid and a short at the ask; or `last`, `mid`, `worst`."""
    pnl_basis: PnlBasis = PnlBasis.NET
    """Results `net` (after fees) or `gross`."""
    reissue_after: PositiveDuration = timedelta(seconds=3)
    """A close whose effect nobody could read is repeated no sooner than this."""
    max_attempts: PositiveInt = 6
    """After so many failures the alarm is critical; trying goes on."""
    foreign_fill_policy: Literal["close", "reduce_only_ok"] = "close"
    """Under a lock, an order of yours that only reduces: `close` closes at once, `reduce_only_ok`
    lets it fill first for 3 s at most."""

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
    """When the trading day turns, a local time."""
    timezone: Zone = TradingDay().timezone
    """The zone of `reset` and `flat_by`."""
    flat_by: ClockTime | None = None
    """From this time until the next session nothing may be open; null: no such hour."""
    week_starts: Literal["sunday"] = "sunday"
    """The reset on this day opens the week."""
    weekend_days_count: Literal[False] = False
    """false: from Friday's reset on everything belongs to Monday."""

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
    """The trading date."""
    flat_by: ClockTime
    """When everything must be flat on that date."""
    timezone: Zone | None = None
    """The zone of `flat_by`; null: that of the trading day."""


class CalendarSection(Section):
    """Closures the operator adds for all products, by trading date."""

    holidays: tuple[date, ...] = ()
    """Trading dates without trading."""
    early_closes: tuple[EarlyClose, ...] = ()
    """Trading dates that end early."""


class MicroEquivalents(Section):
    """How many micros one contract counts as."""

    default_mini: Decimal = Field(default=Decimal(10), gt=0)
    """So many micros a mini counts as."""
    default_micro: Decimal = Field(default=Decimal(1), gt=0)
    """So many micros a micro counts as."""
    overrides: Mapping[Root, Annotated[Decimal, Field(gt=0)]] = Field(default_factory=dict)
    """Other weights, by root."""


class SymbolsSection(Section):
    """The operator's settings about symbols."""

    aliases: Mapping[Root, Root] = Field(default_factory=dict)
    """What the gateway calls a product, to its root. The usual ones (EP is ES) are known."""
    groups: Mapping[str, Annotated[tuple[Root, ...], Field(min_length=1)]] = Field(
        default_factory=dict
    )
    """Products by a name of your choice, for `group_limits`."""
    micro_equivalents: MicroEquivalents = MicroEquivalents()
    """How many micros one contract counts as, where a rule counts so."""

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
    """The rule's id, or its name where it is the only one."""
    set: Mapping[str, Any] = Field(min_length=1)
    """The values that differ."""


class PlatformLimits(Section):
    """The limits set at the platform itself, in account currency: the second line of defence.

    They are not enforced here. `doctor` warns where a limit of ours is not inside them.
    """

    daily_loss: Decimal | None = Field(default=None, gt=0, decimal_places=2)
    """The daily loss limit set at the platform."""
    max_contracts: PositiveInt | None = None
    """The most contracts set at the platform."""


class AccountSection(Section):
    """The settings that differ for one account.

    `enforce_on_live`: act even if the account is a live funded one, where TopstepX forbids it.
    """

    label: str | None = Field(default=None, min_length=1, max_length=64)
    """A name for this account's limits."""
    mode: Mode | None = None
    """`enforce` or `shadow` for this account; null: what the defaults say."""
    enforce_on_live: bool = False
    """Act even if the account is a live funded one, where TopstepX forbids it."""
    platform: PlatformLimits = PlatformLimits()
    """The limits set at the platform itself. They are not enforced here; `doctor` compares yours
    with them."""
    overrides: tuple[Override, ...] = ()
    """Values of rules that differ for this account."""


class RiskFile(Section):
    """The whole of risk_config.yaml; each entry of `rules` is checked by its own rule class."""

    version: Literal[1]
    """The form of this file."""
    defaults: DefaultsSection = DefaultsSection()
    """What all rules share unless they say otherwise."""
    trading_day: TradingDaySection = TradingDaySection()
    """When the trading day turns."""
    calendar: CalendarSection = CalendarSection()
    """Closures you add for all products."""
    symbols: SymbolsSection = SymbolsSection()
    """Names and weights of products."""
    rules: tuple[Mapping[str, Any], ...]
    """The limits, each an entry with its own keys; see the rules below."""
    accounts: Mapping[PositiveInt, AccountSection] = Field(default_factory=dict)
    """Differences for single accounts, by their number."""
