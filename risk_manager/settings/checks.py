"""Checks across sections and files, for values that are valid alone but not together."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from risk_manager.domain.durations import plain_duration
from risk_manager.domain.exchange_hours import CHICAGO, open_since
from risk_manager.domain.lockout import Lockout
from risk_manager.domain.rule import Rule
from risk_manager.domain.rulebook import Mode
from risk_manager.domain.symbols import GATEWAY_CODES, MICRO_ROOTS, is_pattern, matches
from risk_manager.rules.product_caps import ProductCaps
from risk_manager.rules.release_window import ReleaseFile, ReleaseWindow
from risk_manager.settings.accounts_file import AccountsFile
from risk_manager.settings.calendar_file import CalendarFile
from risk_manager.settings.documents import Document, Path_
from risk_manager.settings.explain import suggestion
from risk_manager.settings.market_calendar import shipped_table
from risk_manager.settings.preset_entries import UsedPreset, missing_in
from risk_manager.settings.problems import Problem
from risk_manager.settings.risk_file import RiskFile

DAY = timedelta(days=1)
CALENDAR_NOTICE = timedelta(days=60)
RELEASES_NOTICE = timedelta(days=7)
SHORT_GRACE = timedelta(seconds=5)
_SYMBOL_FIELDS = ("blocked", "allow_only", "limits", "per_symbol")

# fmt: off
KNOWN_ROOTS = frozenset(GATEWAY_CODES.values()) | MICRO_ROOTS | {
    "ES", "NQ", "RTY", "YM", "NKD", "EMD", "CL", "QM", "NG", "QG", "RB", "HO", "GC", "SI", "HG",
    "PL", "PA", "BTC", "ETH", "ZB", "ZN", "ZF", "ZT", "UB", "TN", "ZC", "ZS", "ZW", "ZM", "ZL",
    "LE", "HE", "GF", "6A", "6B", "6C", "6E", "6J", "6M", "6N", "6S",
}
# fmt: on


def check_accounts(document: Document, accounts: AccountsFile) -> None:
    """Refuse an id or a nickname that is listed twice."""
    for key in ("id", "nickname"):
        seen: set[Any] = set()
        for index, account in enumerate(accounts.accounts):
            value = getattr(account, key)
            if value in seen:
                document.refuse(("accounts", index, key), f"{value} is listed twice; remove one")
            elif value is not None:
                seen.add(value)


def check_rules(document: Document, risk: RiskFile | None, rules: Iterable[Rule]) -> None:
    """Refuse a limit for a group that does not exist, as it would never apply."""
    if risk is None:
        return
    for rule in rules:
        for group in getattr(rule, "group_limits", None) or {}:
            if group not in risk.symbols.groups:
                close = suggestion(group, risk.symbols.groups)
                document.refuse(
                    (*_place(document, rule), "group_limits", group),
                    f"no such group in symbols.groups{close}",
                )


def known_roots(calendar: CalendarFile, risk: RiskFile) -> frozenset[str]:
    """Return every product root that the program, the calendar or the operator knows."""
    return (
        KNOWN_ROOTS
        | calendar.products
        | shipped_table().products
        | {*risk.symbols.aliases.values()}
    )


def warnings(
    accounts_document: Document,
    risk_document: Document,
    calendar_document: Document,
    *,
    accounts: AccountsFile,
    risk: RiskFile,
    calendar: CalendarFile,
    presets: Iterable[UsedPreset],
    in_force: Mapping[int, tuple[Rule, ...]],
    today: date,
) -> Iterator[Problem]:
    """Yield findings that an operator should know and that do not prevent a start."""
    if not accounts.enabled:
        yield accounts_document.problem(("accounts",), "no account is enabled: nothing is guarded")
    yield from _about_accounts(risk_document, accounts, risk, in_force)
    if 1 <= risk.trading_day.reset.hour < 3:
        yield risk_document.problem(
            ("trading_day", "reset"),
            "between 01:00 and 03:00 the clocks change; choose another hour",
        )
    yield from _about_flat_by(risk_document, risk, today)
    yield from _about_presets(risk_document, presets, today)
    known = known_roots(calendar, risk)
    seen: list[Rule] = []
    for rules in in_force.values():
        yield from _about_limits(risk_document, rules)
        for rule in rules:
            if rule not in seen:
                seen.append(rule)
                yield from _about_rule(risk_document, rule, known)
                yield from _about_named_products(risk_document, rule, known)
                if isinstance(rule, ReleaseWindow) and rule.file is not None:
                    yield from _about_release_file(risk_document, rule, rule.file, today)
    ends = max((t for t in (calendar.through, shipped_table().through) if t), default=None)
    if ends is None or ends - today < CALENDAR_NOTICE:
        end = "no end" if ends is None else ends.isoformat()
        yield calendar_document.problem(
            ("through",), f"the table of exchange days ends soon ({end}); update risk_manager"
        )


def _about_presets(
    document: Document, presets: Iterable[UsedPreset], today: date
) -> Iterator[Problem]:
    """Warn of figures that have expired, and of lines that this version does not enforce."""
    for used in presets:
        place = _entry_of_preset(document, used.preset.preset)
        if told := used.expiry(today):
            yield document.problem(place, told)
        if used.unenforced:
            lines = ", ".join(f"{line.name} ({line.rule})" for line in used.unenforced)
            yield document.problem(
                place,
                f"not enforced, as there is no such rule in this version: {lines}; keep to these "
                "limits yourself",
            )
        for line in used.incomplete:
            missing = ", ".join(f"{key}: ..." for key in missing_in(line, used.entry))
            yield document.problem(
                place,
                f"{line.name} is not enforced before you state: given: {{{line.name}: "
                f"{{{missing}}}}}; or leave it out",
            )


def _about_flat_by(document: Document, risk: RiskFile, today: date) -> Iterator[Problem]:
    """Warn of a `flat_by` at which the exchange is shut, as nothing can be closed then."""
    section = risk.trading_day
    if section.flat_by is None:
        return
    wednesday = today + DAY * (2 - today.weekday())
    at = datetime.combine(wednesday, section.flat_by, section.compiled().zone)
    if open_since(at) is None:
        yield document.problem(
            ("trading_day", "flat_by"),
            f"{section.flat_by:%H:%M} {section.timezone} is {at.astimezone(CHICAGO):%H:%M} in "
            "Chicago, when the exchange is shut and nothing can be closed; write an earlier hour",
        )


def _about_accounts(
    document: Document,
    accounts: AccountsFile,
    risk: RiskFile,
    in_force: Mapping[int, tuple[Rule, ...]],
) -> Iterator[Problem]:
    listed = [str(account.id) for account in accounts.accounts]
    for account_id, section in risk.accounts.items():
        path: Path_ = ("accounts", str(account_id))
        if accounts.find(account_id) is None and accounts.unlisted != "enforce":
            close = suggestion(str(account_id), listed)
            yield document.problem(path, f"this account is not in accounts.yaml{close}")
        if section.mode is Mode.SHADOW:
            yield document.problem(
                (*path, "mode"), "shadow: breaches are reported, and nothing is enforced"
            )
    if risk.defaults.mode is Mode.SHADOW:
        yield document.problem(
            ("defaults", "mode"), "shadow: breaches are reported, and nothing is enforced"
        )
    for rules in in_force.values():
        for rule in rules:
            for account_id in sorted(rule.accounts or ()):
                if accounts.find(account_id) is None and accounts.unlisted != "enforce":
                    yield document.problem(
                        (*_place(document, rule), "accounts"),
                        f"account {account_id} is not in accounts.yaml"
                        f"{suggestion(str(account_id), listed)}",
                    )
    for account in accounts.enabled:
        if not in_force.get(account.id):
            yield document.problem(("rules",), f"no rule is in force for account {account.name}")


def _about_limits(document: Document, rules: tuple[Rule, ...]) -> Iterator[Problem]:
    """Warn of limits that another limit makes pointless."""
    by_name: dict[str, Rule] = {}
    for rule in rules:
        by_name.setdefault(rule.rule, rule)

    def number(name: str, key: str) -> Decimal | None:
        value = getattr(by_name.get(name), key, None)
        return Decimal(value) if isinstance(value, int | Decimal) else None

    total = number("max_contracts", "limit")
    each = by_name.get("max_contracts_per_instrument")
    if total is not None and each and getattr(by_name["max_contracts"], "count", "") == "gross":
        for root, limit in getattr(each, "limits", {}).items():
            if limit > total:
                yield document.problem(
                    (*_place(document, each), "limits", root),
                    f"{limit} is above the limit of all contracts together ({total})",
                )
    for name, key, above, above_key in (
        ("daily_unrealized_loss", "limit", "daily_realized_loss", "limit"),
        ("max_unrealized_profit", "target", "daily_profit_target", "target"),
    ):
        value, bound = number(name, key), number(above, above_key)
        if value is not None and bound is not None and value > bound:
            yield document.problem(
                (*_place(document, by_name[name]), key),
                f"{value} is above the {above_key} of {above} ({bound})",
            )


def _about_rule(document: Document, rule: Rule, known: frozenset[str]) -> Iterator[Problem]:
    place = _place(document, rule)
    for window in getattr(rule, "windows", ()):
        per = getattr(window, "per", None)
        if per is not None and per > DAY:
            yield document.problem(
                (*place, "windows"),
                f"per: {plain_duration(per)} counts no more than today and the trading day "
                "before, as older trades are not kept; write at most 1d, or trading_day",
            )
    grace = getattr(rule, "grace", None) if rule.rule == "no_stop_loss_grace" else None
    if isinstance(grace, timedelta) and grace < SHORT_GRACE:
        yield document.problem(
            (*place, "grace"), f"{plain_duration(grace)} is too short to place a stop"
        )
    for name, pause in _pauses(rule):
        if pause > DAY:
            yield document.problem(
                place, f"a {name} of {plain_duration(pause)} is longer than a day"
            )
    for key in _SYMBOL_FIELDS:
        for pattern in getattr(rule, key, None) or ():
            text = str(pattern).upper()
            hit = text in known or any(matches(text, root, "") for root in known)
            if "." not in text and not hit:
                near = "" if is_pattern(text) else suggestion(text, known)
                yield document.problem((*place, key), f"{text} names no product known here{near}")


def _about_named_products(
    document: Document, rule: Rule, known: frozenset[str]
) -> Iterator[Problem]:
    """Warn of products in caps and windows that nobody knows."""
    if isinstance(rule, ReleaseWindow):
        spans = rule.spans
        roots = {r for s in spans for r in (*s.roots, *(c for cap in s.caps for c in cap.roots))}
    elif isinstance(rule, ProductCaps):
        roots = {root for cap in rule.caps for root in cap.roots}
    else:
        return
    for root in sorted(roots - known):
        yield document.problem(
            _place(document, rule),
            f"{root} names no product known here{suggestion(root, known)}",
        )


def _about_release_file(
    document: Document, rule: ReleaseWindow, file: ReleaseFile, today: date
) -> Iterator[Problem]:
    place = (*_place(document, rule), "file")
    ends_on = file.ends_at(rule.timezone).astimezone(ZoneInfo(rule.timezone)).date()
    if ends_on <= today:
        yield document.problem(place, f"{file.name} has ended; no release is known from here on")
    elif ends_on - today <= RELEASES_NOTICE:
        yield document.problem(place, f"{file.name} ends on {ends_on}; put a newer file there")
    if not file.releases:
        yield document.problem(place, f"no release of {file.name} is named by names")


def _pauses(part: Any) -> Iterator[tuple[str, timedelta]]:
    """Yield every cooldown and lockout that is a duration, at any depth."""
    if isinstance(part, BaseModel):
        for name in type(part).model_fields:
            value = getattr(part, name)
            if isinstance(value, Lockout):
                value = value.until
            if name in ("cooldown", "lockout") and isinstance(value, timedelta):
                yield name, value
            else:
                yield from _pauses(value)
    elif isinstance(part, tuple | list):
        for item in part:
            yield from _pauses(item)


def _place(document: Document, rule: Rule) -> Path_:
    """Return the path of the rule's entry by the label stored when the list was read."""
    for path, label in document.labels.items():
        if path[0] == "rules" and label == rule.id:
            return path
    return _entry_of_preset(document, rule.id.partition(".")[0])


def _entry_of_preset(document: Document, name: str) -> Path_:
    """Return the path of the entry that names a preset."""
    for path, label in document.labels.items():
        if path[0] == "rules" and label == name:
            return path
    return ("rules",)
