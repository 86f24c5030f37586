"""Edits of the limits to be shown and confirmed: what they change, and from when that counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from risk_manager.admin.config_changes import Committed
from risk_manager.admin.config_edits import Proposal, propose
from risk_manager.admin.effective import told_change, told_time
from risk_manager.admin.shipped_rules import as_shipped
from risk_manager.settings import rule_edits
from risk_manager.settings.loading import RISK_CONFIG, load
from risk_manager.settings.yaml_edits import Edit, EditRefused

Value = tuple[rule_edits.Path, Any]


def set_values(
    config: Path,
    rule: str,
    values: Sequence[Value],
    unset: Sequence[rule_edits.Path] = (),
    account_id: int | None = None,
) -> Proposal:
    """Set values of a rule, and take others out. Raises EditRefused or ConfigurationErrors."""

    def edit(data: Any) -> None:
        for path, value in values:
            rule_edits.set_value(data, rule, path, value, account_id)
        for path in unset:
            rule_edits.unset_value(data, rule, path, account_id)

    return _proposed(config, edit, account_id)


def switch_rule(config: Path, rule: str, *, is_on: bool, account_id: int | None = None) -> Proposal:
    """Switch a rule on or off. Raises EditRefused or ConfigurationErrors."""
    return set_values(config, rule, [(("enabled",), is_on)], account_id=account_id)


def shipped_values(config: Path, rule: str | None) -> Proposal:
    """Give one rule, or every rule, the values as shipped. Raises as `set_values`."""
    return _proposed(config, lambda data: as_shipped(data, rule), None)


def _proposed(config: Path, edit: Edit, account_id: int | None) -> Proposal:
    if account_id is not None:
        accounts = load(config).accounts
        if accounts.find(account_id) is None and accounts.unlisted != "enforce":
            known = ", ".join(str(a.id) for a in accounts.accounts)
            raise EditRefused(f"account {account_id} is not in accounts.yaml; there are {known}")
    return propose(config, {RISK_CONFIG: edit})


@dataclass(frozen=True, slots=True)
class Cancelling:
    """The edit that takes back what waits for the reset.

    `kept` are rules of which an older version holds until the reset all the same.
    """

    proposal: Proposal
    kept: tuple[str, ...]


def cancelling(config: Path, data: Path) -> Cancelling | None:
    """Return the edit that takes back what waits; None if nothing does. Raises as `set_values`."""
    files = load(config)
    standing = Committed.read(data, datetime.now(UTC))
    edits = {} if standing is None else standing.without_what_waits(files)
    if standing is None or not edits:
        return None
    proposal = propose(config, edits)
    return Cancelling(proposal, tuple(standing.kept(proposal.after)))


def compared(proposal: Proposal, data: Path) -> dict[str, Any]:
    """Return each field that would differ from what the daemon has read last, with its effect.

    The keys are `changes` and `next_reset`. Nothing differs while no daemon has run.
    """
    standing = Committed.read(data, datetime.now(UTC))
    if standing is None:
        return {"changes": [], "next_reset": None}
    return standing.compared_with(proposal.after).plain()


def waiting(data: Path) -> dict[str, Any]:
    """Return the fields that wait for the reset, and the rules whose older versions hold."""
    standing = Committed.read(data, datetime.now(UTC))
    if standing is None:
        return {"changes": [], "next_reset": None, "older_versions": []}
    return {**standing.waiting().plain(), "older_versions": list(standing.kept())}


def told_changes(found: Mapping[str, Any]) -> list[str]:
    """Return each changed field with its effect and when it counts, in lines."""
    reset = told_time(found["next_reset"])
    return [told_change(change, reset) for change in found["changes"]]


def told_waiting(waits: Mapping[str, Any]) -> list[str]:
    """Return what waits for the reset, in lines."""
    if not waits["changes"]:
        return ["nothing waits for the reset", *told_kept(waits["older_versions"])]
    return [
        *(f"  {line}" for line in told_changes(waits)),
        f"in force from {told_time(waits['next_reset'])}; `risk-manager admin config cancel` takes "
        "it back",
    ]


def told_kept(rules: Sequence[str]) -> list[str]:
    """Return a sentence about rules that were edited today and cannot be compared, if any."""
    if not rules:
        return []
    return [
        "until the reset versions of today hold as well where they may be stricter: "
        f"{', '.join(rules)}"
    ]


def new_warnings(proposal: Proposal) -> list[str]:
    """Return the warnings on the files that this edit would add."""
    known = proposal.before.warnings
    return [str(warning) for warning in proposal.after.warnings if warning not in known]
