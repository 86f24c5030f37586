"""Checks of `doctor` about limits: whether they can act, fit the platform's, and were drilled."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from risk_manager.admin.drill_record import RUN, last_drill, told
from risk_manager.admin.finding import Finding, Grade
from risk_manager.admin.live_accounts import known_live
from risk_manager.admin.never_firing import Silence, silent_rules
from risk_manager.domain.money import dollars
from risk_manager.domain.records import AccountRecord
from risk_manager.rules.daily_realized_loss import DailyRealizedLoss
from risk_manager.rules.daily_unrealized_loss import DailyUnrealizedLoss
from risk_manager.rules.max_contracts import MaxContracts
from risk_manager.settings.configuration import Configuration
from risk_manager.settings.market_calendar import shipped_table

DRILL_IS_OLD = timedelta(days=30)
CALENDAR_NOTICE = timedelta(days=60)
LIVE_RULE = "TopstepX forbids automated trading on a live funded account"


def limit_checks(configuration: Configuration, data: Path) -> Iterator[Finding]:
    """Yield what is wrong with the limits as they are written, and the last fire drill."""
    live = known_live(data)
    yield from _rules(configuration, live)
    yield from _backstop(configuration)
    yield _drill(configuration, data)


def _rules(configuration: Configuration, live: frozenset[int]) -> Iterator[Finding]:
    silent = silent_rules(configuration, live=live)
    counts = Counter(s.silence for s in silent)
    for rule in silent:
        if rule.silence is Silence.DEAD:
            yield Finding(
                "rules",
                Grade.WARN,
                f"{rule.rule_id} can never fire: {rule.why}",
                "change it in risk_config.yaml, or switch it off: enabled: false",
            )
    enabled = configuration.accounts.enabled
    silences = {(s.rule_id, account) for s in silent for account in s.accounts}
    armed = {
        rule.id
        for account in enabled
        for rule in configuration.rules_of(account.id)
        if (rule.id, account.id) not in silences
    }
    words = {
        Silence.DISABLED: "disabled",
        Silence.SHADOW: "in shadow",
        Silence.LIVE: "in shadow on a live account",
        Silence.DEAD: "that can never fire",
    }
    others = "".join(f", {counts[s]} {word}" for s, word in words.items() if counts[s])
    grade = Grade.OK if armed else Grade.WARN
    fix = "" if armed else "switch on at least one rule in risk_config.yaml"
    yield Finding("rules", grade, f"{len(armed)} armed{others}", fix)


def _backstop(configuration: Configuration) -> Iterator[Finding]:
    """Warn of each limit that is not inside the one that the operator set at the platform."""
    for account in configuration.accounts.enabled:
        section = configuration.risk.accounts.get(account.id)
        if section is None:
            continue
        loss, most = section.platform.daily_loss, section.platform.max_contracts
        for rule in configuration.rules_of(account.id):
            ours, theirs = "", ""
            match rule:
                case DailyRealizedLoss() | DailyUnrealizedLoss() if loss and rule.limit >= loss:
                    ours, theirs = dollars(rule.limit), f"daily loss of {dollars(loss)}"
                case MaxContracts() if most and rule.limit > most:
                    ours, theirs = str(rule.limit), f"{most} contracts"
            if ours:
                yield Finding(
                    "backstop",
                    Grade.WARN,
                    f"{account.name}: {rule.id} has the limit {ours}, which is not inside the "
                    f"platform's own {theirs}: the platform acts first",
                    "lower it in risk_config.yaml",
                )


def _drill(configuration: Configuration, data: Path) -> Finding:
    record = last_drill(data)
    text = told(record, configuration.digest)
    if record is None:
        return Finding("fire drill", Grade.OK, text)
    changed = record.digest != configuration.digest
    old = datetime.now(UTC) - record.at > DRILL_IS_OLD
    grade = Grade.WARN if changed or old or record.faults else Grade.OK
    return Finding("fire drill", grade, text, f"run: {RUN}" if old and not changed else "")


def calendar_horizon(configuration: Configuration) -> Finding:
    """Check how far the table of exchange days reaches."""
    known = (configuration.calendar.through, shipped_table().through)
    ends = max((day for day in known if day is not None), default=None)
    if ends is None:
        return Finding("calendar", Grade.WARN, "exchange days have no end", "set through:")
    left = ends - datetime.now(UTC).date()
    if left < CALENDAR_NOTICE:
        return Finding(
            "calendar", Grade.WARN, f"exchange days are known until {ends}", "update risk_manager"
        )
    return Finding("calendar", Grade.OK, f"exchange days are known until {ends}")


def known_accounts(configuration: Configuration, data: Path) -> Iterator[Finding]:
    """Yield the live accounts that the daemon's database knows, where no login is made."""
    for account_id in sorted(known_live(data)):
        if configuration.accounts.find(account_id) is not None:
            record = AccountRecord(id=account_id, simulated=False)
            yield listed_account(configuration, account_id, str(account_id), record)


def listed_account(
    configuration: Configuration, account_id: int, name: str, record: AccountRecord | None
) -> Finding:
    """Say what the gateway states of a listed account: whether it may trade, whether it is live."""
    said = f"{account_id} ({name}) is listed"
    if record is None:
        return Finding("accounts", Grade.OK, said)
    if record.simulated is False:
        if configuration.enforces_on_live(account_id):
            return Finding(
                "accounts",
                Grade.WARN,
                f"{said} and LIVE FUNDED; enforce_on_live is set, so it is enforced. {LIVE_RULE}",
                f"take accounts.{account_id}.enforce_on_live out, unless you mean it",
            )
        return Finding(
            "accounts",
            Grade.WARN,
            f"{said} and LIVE FUNDED: it is in shadow and NOT guarded. {LIVE_RULE}",
            f"nothing, or accounts.{account_id}.enforce_on_live: true on your own responsibility",
        )
    if record.can_trade is False:
        return Finding(
            "accounts",
            Grade.WARN,
            f"{said}; the platform does not let it trade",
            "ask the platform why, if you do not know",
        )
    if record.simulated is None:
        return Finding(
            "accounts",
            Grade.WARN,
            f"{said}; the gateway does not state whether it is simulated, so it is guarded as "
            f"configured. {LIVE_RULE}",
            "if it is live, set mode: shadow for it in risk_config.yaml",
        )
    may = "it may trade" if record.can_trade else "whether it may trade is not stated"
    return Finding("accounts", Grade.OK, f"{said}; simulated, {may}")
