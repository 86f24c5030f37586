"""Rules that cannot do anything: switched off, in shadow, or with a limit nothing can reach."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from risk_manager.admin.probing import breaching_instant
from risk_manager.domain.money import dollars
from risk_manager.domain.rule import Rule
from risk_manager.domain.rulebook import Mode
from risk_manager.domain.symbols import Contract, is_pattern, matches
from risk_manager.rules.auth_loss_guard import AuthLossGuard
from risk_manager.rules.consecutive_loss_limit import ConsecutiveLossLimit
from risk_manager.rules.cooldown_after_loss import CooldownAfterLoss
from risk_manager.rules.daily_realized_loss import DailyRealizedLoss
from risk_manager.rules.daily_unrealized_loss import DailyUnrealizedLoss
from risk_manager.rules.giveback import Giveback
from risk_manager.rules.group_limit import GroupLimit
from risk_manager.rules.max_contracts import MaxContracts
from risk_manager.rules.max_contracts_per_instrument import MaxContractsPerInstrument
from risk_manager.rules.max_risk_at_entry import MaxRiskAtEntry
from risk_manager.rules.period_loss import PeriodLoss
from risk_manager.rules.product_caps import ProductCaps
from risk_manager.rules.release_window import ReleaseWindow
from risk_manager.rules.session_block_outside import SessionBlockOutside
from risk_manager.rules.symbol_blocks import SymbolBlocks
from risk_manager.rules.trade_frequency_limit import TradeFrequencyLimit
from risk_manager.rules.trade_management import TradeManagement
from risk_manager.rules.trailing_daily_loss import TrailingDailyLoss
from risk_manager.settings.checks import known_roots
from risk_manager.settings.configuration import Configuration

MOST_CONTRACTS = 150
"""The largest plan holds 15 minis, which are 150 micros."""
LARGEST_BALANCE = Decimal(150_000)
MOST_TRADES_A_DAY = 2_000
LAST = datetime.max.replace(tzinfo=UTC)


class Silence(StrEnum):
    """Why a rule does nothing."""

    DISABLED = "disabled"  # as written
    SHADOW = "shadow"  # as written; it tells
    LIVE = "live"  # a live funded account; it tells
    DEAD = "never"  # it is meant to act and cannot


@dataclass(frozen=True, slots=True)
class SilentRule:
    """A rule of some accounts that cannot act, and why. `accounts` is empty: of none."""

    rule_id: str
    accounts: tuple[int, ...]
    silence: Silence
    why: str


def silent_rules(
    configuration: Configuration,
    *,
    live: frozenset[int] = frozenset(),
    now: datetime | None = None,
) -> list[SilentRule]:
    """Return every rule that cannot act, in the order of the file. `live` are live accounts."""
    now = now or datetime.now(UTC)
    found: list[SilentRule] = []
    for base in configuration.rules:
        reasons: dict[tuple[Silence, str], list[int]] = {}
        for account in configuration.accounts.enabled:
            rule = configuration.overridden.get(account.id, {}).get(base.id, base)
            reason = _why_silent(configuration, account.id, rule, live, now)
            if reason is not None:
                reasons.setdefault(reason, []).append(account.id)
        if not any(
            base.accounts is None or account.id in base.accounts
            for account in configuration.accounts.enabled
        ):
            named = ", ".join(map(str, sorted(base.accounts or ()))) or "none"
            why = f"its accounts ({named}) are not enabled in accounts.yaml"
            silence = Silence.DEAD
            if not base.enabled:
                why, silence = "enabled: false", Silence.DISABLED
            found.append(SilentRule(base.id, (), silence, why))
            continue
        found += [
            SilentRule(base.id, tuple(ids), silence, why) for (silence, why), ids in reasons.items()
        ]
    return found


def _why_silent(
    configuration: Configuration,
    account_id: int,
    rule: Rule,
    live: frozenset[int],
    now: datetime,
) -> tuple[Silence, str] | None:
    if rule.accounts is not None and account_id not in rule.accounts:
        return None  # not of this account, which is no fault
    if not rule.enabled:
        return Silence.DISABLED, "enabled: false"
    why = _why_dead(configuration, account_id, rule, now)
    if why:
        return Silence.DEAD, why
    if rule.shadow:
        return Silence.SHADOW, "shadow: true; it only tells"
    if configuration.mode_of(account_id) is Mode.SHADOW:
        return Silence.SHADOW, "mode: shadow; it only tells"
    if account_id in live and not configuration.enforces_on_live(account_id):
        return Silence.LIVE, "a live funded account; without enforce_on_live it only tells"
    return None


def _why_dead(
    configuration: Configuration, account_id: int, rule: Rule, now: datetime
) -> str | None:
    """Return why a rule that is meant to act never can; None where it can."""
    match rule:
        case SessionBlockOutside():
            return _never_outside(configuration, account_id, rule, now)
        case SymbolBlocks() | MaxContractsPerInstrument():
            return _matches_nothing(configuration, rule)
        case ReleaseWindow():
            return None if rule.releases(now, LAST) else "no release lies ahead"
        case ProductCaps():
            return _caps_of_the_past(configuration, rule, now)
    for kind, why in _CHECKS:
        if isinstance(rule, kind) and (told := why(rule)):
            return told
    return None


def _never_outside(
    configuration: Configuration, account_id: int, rule: SessionBlockOutside, now: datetime
) -> str | None:
    book = configuration.rulebook()
    roots = ["MNQ", *(root for root in rule.per_symbol if not is_pattern(root))]
    for root in roots:
        contract = Contract(f"CON.F.US.{root}.Z99", f"{root}Z9", Decimal("0.25"), Decimal(1))
        if breaching_instant(book, account_id, contract, rule.id, now) is not None:
            return None
    return "its sessions cover the whole week; no time is outside them"


def _matches_nothing(
    configuration: Configuration, rule: SymbolBlocks | MaxContractsPerInstrument
) -> str | None:
    known = known_roots(configuration.calendar, configuration.risk)
    if isinstance(rule, SymbolBlocks):
        if rule.allow_only is not None:
            blocked = [r for r in known if rule.blocks(r, "")]
            return None if blocked else "allow_only allows every product"
        if not rule.blocked:
            return "blocked is empty"
        return _none_known("blocked", rule.blocked, known)
    if rule.unknown_symbol.allowed is not None:
        return _out_of_reach([*rule.limits.values(), rule.unknown_symbol.allowed])
    return _none_known("limits", rule.limits, known) or _out_of_reach(rule.limits.values())


def _caps_of_the_past(configuration: Configuration, rule: ProductCaps, now: datetime) -> str | None:
    today = configuration.rulebook().day.date_of(now)
    if all(cap.until is not None and cap.until < today for cap in rule.caps):
        return "all of its caps have ended"
    return _out_of_reach(cap.limit for cap in rule.caps)


def _group_too_large(rule: GroupLimit) -> str | None:
    if rule.measure == "day_loss":
        return _too_large(rule.limit / len(rule.group), "limit for each account")
    return _out_of_reach([int(rule.limit / len(rule.group))])


def _none_known(key: str, patterns: Iterable[str], known: frozenset[str]) -> str | None:
    patterns = list(patterns)
    for pattern in patterns:
        if "." in pattern or any(matches(pattern, root, "") for root in known):
            return None
    return f"{key}: {', '.join(patterns)} matches no product known here"


def _out_of_reach(limits: Iterable[int]) -> str | None:
    least = min(limits)
    if least < MOST_CONTRACTS:
        return None
    return f"limit {least} cannot be reached: no plan allows more than {MOST_CONTRACTS} contracts"


def _too_many_contracts(rule: MaxContracts) -> str | None:
    return _out_of_reach([rule.limit])


def _too_large(amount: Decimal, key: str) -> str | None:
    if amount <= LARGEST_BALANCE:
        return None
    return (
        f"{key} {dollars(amount)} cannot be reached: the largest account has "
        f"{dollars(LARGEST_BALANCE)}"
    )


def _loss_too_large(
    rule: DailyRealizedLoss | DailyUnrealizedLoss | TrailingDailyLoss | PeriodLoss,
) -> str | None:
    return _too_large(rule.limit, "limit")


def _armed_too_high(rule: Giveback) -> str | None:
    return _too_large(rule.arm_at, "arm_at")


def _tiers_too_large(rule: CooldownAfterLoss) -> str | None:
    return _too_large(min(tier.loss for tier in rule.tiers), "loss")


def _too_many_trades(rule: TradeFrequencyLimit) -> str | None:
    least = min(window.max for window in rule.windows)
    if least <= MOST_TRADES_A_DAY:
        return None
    return f"max {least} cannot be reached: nobody trades {MOST_TRADES_A_DAY} times a day"


def _too_long_a_row(rule: ConsecutiveLossLimit) -> str | None:
    if rule.losses <= MOST_TRADES_A_DAY:
        return None
    return f"losses {rule.losses} cannot be reached: nobody trades {MOST_TRADES_A_DAY} times a day"


def _watches_nothing(rule: AuthLossGuard) -> str | None:
    if rule.can_trade.enabled or rule.connection_loss.enabled:
        return None
    return "can_trade and connection_loss are both switched off"


def _manages_nothing(rule: TradeManagement) -> str | None:
    placed = rule.initial_stop.enabled or rule.take_profit.enabled
    if placed or rule.breakeven.enabled or rule.trailing.enabled:
        return None
    return "initial_stop, take_profit, breakeven and trailing are all switched off"


_CHECKS: tuple[tuple[type[Rule], Callable[[Any], str | None]], ...] = (
    (MaxContracts, _too_many_contracts),
    (DailyRealizedLoss, _loss_too_large),
    (DailyUnrealizedLoss, _loss_too_large),
    (TrailingDailyLoss, _loss_too_large),
    (PeriodLoss, _loss_too_large),
    (Giveback, _armed_too_high),
    (MaxRiskAtEntry, _loss_too_large),
    (CooldownAfterLoss, _tiers_too_large),
    (TradeFrequencyLimit, _too_many_trades),
    (ConsecutiveLossLimit, _too_long_a_row),
    (AuthLossGuard, _watches_nothing),
    (TradeManagement, _manages_nothing),
    (GroupLimit, _group_too_large),
)
