"""The configuration as it is in force, for a person or a script to read."""

from typing import Any

from risk_manager.domain.rule import Rule
from risk_manager.settings.configuration import Configuration, plain

_NOT_LIMITS = frozenset({"rule", "id", "enabled", "shadow", "accounts"})


def shown(configuration: Configuration) -> dict[str, Any]:
    """Everything in force: defaults filled in, overrides applied, secrets as references."""
    return {
        "settings": plain(configuration.settings),
        "accounts": plain(configuration.accounts),
        **{k: v for k, v in configuration.limits().items() if k not in ("accounts", "unlisted")},
        "in_force": configuration.limits()["accounts"],
        "digest": configuration.digest,
    }


def rule_rows(configuration: Configuration, account_id: int | None = None) -> list[dict[str, Any]]:
    """One row per account and rule, disabled rules included."""
    rows = []
    for account in configuration.accounts.accounts:
        if account_id not in (None, account.id):
            continue
        own = configuration.overridden.get(account.id, {})
        in_force = {rule.id for rule in configuration.rules_of(account.id)}
        for base in configuration.rules:
            rule = own.get(base.id, base)
            rows.append(
                {
                    "account": account.id,
                    "account_name": configuration.label_of(account.id),
                    "mode": str(configuration.mode_of(account.id)) if account.enabled else "off",
                    "rule": rule.rule,
                    "id": rule.id,
                    "spec_id": rule.spec_id,
                    "limits": _limits(rule),
                    "disabled": rule.id not in in_force,
                    "shadow": rule.shadow,
                    "overridden": base.id in own,
                    "values": plain(rule),
                }
            )
    return rows


def _limits(rule: Rule) -> str:
    """The fields the operator wrote, on one line."""
    values = plain(rule)
    written = [name for name in values if name in rule.model_fields_set - _NOT_LIMITS]
    return ", ".join(f"{name} {_short(values[name])}" for name in written)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}:{_short(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "/".join(_short(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
