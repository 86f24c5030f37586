"""A whole drill: which rules, at which times, on which accounts, and what came of each."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import batched
from pathlib import Path
from typing import Any

from risk_manager.admin.drill_record import DrilledRule
from risk_manager.admin.never_firing import SilentRule
from risk_manager.admin.probing import LOOKED_AHEAD, breaching_instant, calm_instant, deciding
from risk_manager.domain import symbols
from risk_manager.domain.decisions import Severity
from risk_manager.domain.durations import plain_duration
from risk_manager.domain.rule import Rule
from risk_manager.domain.symbols import GATEWAY_CODES
from risk_manager.drill.copied_configuration import copied
from risk_manager.drill.provocations import CannotProvoke, Hands, provoke, roots_named
from risk_manager.drill.stage import Stage, open_stage
from risk_manager.feed.client import read_once
from risk_manager.practice.products import Contract, Product, contracts_on
from risk_manager.rules.group_limit import GroupLimit
from risk_manager.rules.release_window import ReleaseWindow
from risk_manager.rules.session_block_outside import SessionBlockOutside
from risk_manager.rules.trade_management import TradeManagement
from risk_manager.settings.configuration import Configuration

FIRST_TWIN = 900_001
ACCOUNTS_AT_ONCE = 8
"""The accounts of one stage. The daemon and the gateway of a stage share one process and one core:
with 25 accounts and more, the 75 answers of the first reading come seconds late on a busy machine.
More stages are not slower than one large one, as each starts within a few seconds."""
FIRES_WITHIN_S = 5.0
SHOWN_WITHIN_S = 2.0
DRILL_TAKES = timedelta(minutes=1)
LOOKED_EVERY_S = 0.001
LONGEST_WAIT_SHOWN = timedelta(seconds=1)

Report = Callable[[DrilledRule], None]


@dataclass(frozen=True, slots=True)
class Task:
    """One rule to be driven to its breach, in an account of its own.

    `original` is the account whose limits that account gets; `accounts` have the same limits.
    `calm` are contracts of which one lot breaches nothing at the instant `began`, the one worth
    most first. `beside` are all rules of the account.
    """

    rule: Rule
    twin: int
    original: int
    accounts: tuple[int, ...]
    calm: tuple[Contract, ...]
    beside: tuple[Rule, ...]
    began: datetime

    @property
    def group(self) -> str | None:
        """The id of a limit over several accounts, which is drilled by itself."""
        return self.rule.id if isinstance(self.rule, GroupLimit) else None


async def drilled(
    configuration: Configuration,
    silent: Sequence[SilentRule],
    folder: Path,
    now: datetime,
    report: Report,
) -> None:
    """Drive every armed rule to its breach and report each result as it comes.

    `silent` rules are left out. `folder` is for files of the drill alone. Raises CannotStart and
    TimeoutError if the drill's own daemon does not run, ValueError if the limits cannot be copied.
    """
    tasks = _tasks(configuration, silent, now)
    by_instant: dict[tuple[datetime, str | None], list[Task]] = {}
    for task in tasks:
        by_instant.setdefault((task.began, task.group), []).append(task)
    stages = [
        (began, group, chosen)
        for (began, group), all_of_it in by_instant.items()
        for chosen in batched(all_of_it, ACCOUNTS_AT_ONCE)
    ]
    for number, (began, group, chosen) in enumerate(stages):
        here = folder / str(number)
        twins = {t.twin: t.original for t in chosen}
        found = copied(configuration, twins, here / "config", group)
        data = here / "data"
        contracts = _listed(configuration, began)
        async with open_stage(found, contracts, began, data) as stage:
            for task in chosen:
                # Front contracts may have rolled between now and then.
                calm = tuple(contracts[c.root] for c in task.calm)
                report(await _driven(stage, replace(task, calm=calm), data))


def _tasks(configuration: Configuration, silent: Sequence[SilentRule], now: datetime) -> list[Task]:
    silences = {(s.rule_id, account) for s in silent for account in s.accounts}
    tasks: list[Task] = []
    listed = _listed(configuration, now)
    for original, accounts in _alike(configuration).items():
        armed = [r for r in configuration.rules_of(original) if (r.id, original) not in silences]
        if not armed:
            continue
        calm, at = _calm(configuration, original, listed.values(), now)
        for rule in armed:
            began = at
            if isinstance(rule, SessionBlockOutside):
                began = _outside(configuration, original, rule, calm[0], now) or at
            elif isinstance(rule, ReleaseWindow):
                began = _in_a_window(rule, now) or at
            twin = FIRST_TWIN + len(tasks)
            beside = configuration.rules_of(original)
            tasks.append(Task(rule, twin, original, accounts, calm, beside, began))
    return tasks


def _alike(configuration: Configuration) -> dict[int, tuple[int, ...]]:
    """Return the first of the accounts that have the same rules and mode, with all of these."""
    groups: list[tuple[object, list[int]]] = []
    for account in configuration.accounts.enabled:
        limits = (configuration.mode_of(account.id), configuration.rules_of(account.id))
        same = next((ids for known, ids in groups if known == limits), None)
        if same is None:
            groups.append((limits, [account.id]))
        else:
            same.append(account.id)
    return {ids[0]: tuple(ids) for _, ids in groups}


def _listed(configuration: Configuration, at: datetime) -> dict[str, Contract]:
    """Return a contract of each product of the practice exchange and of each that a rule names."""
    by_root: dict[str, Contract] = {}
    for contract in contracts_on(at.date()):
        by_root.setdefault(contract.root, contract)
    every = [
        r for account in configuration.accounts.enabled for r in configuration.rules_of(account.id)
    ]
    for root in roots_named(every):
        if root not in by_root and root not in GATEWAY_CODES:
            by_root[root] = _made_up(root)
    return by_root


def _made_up(root: str) -> Contract:
    product = Product(
        root=root,
        code=root,
        description=root,
        tick_size=Decimal("0.25"),
        tick_value=Decimal("5"),
        fee=Decimal("1.40"),
        start_price=Decimal(1000),
        months="HMUZ",
        roll="third_friday",
        ticks_per_root_second=1.0,
        leader=root,
    )
    return Contract(f"CON.F.US.{root}.Z99", f"{root}Z9", product, "Z99")


def _calm(
    configuration: Configuration, account_id: int, listed: Iterable[Contract], now: datetime
) -> tuple[tuple[Contract, ...], datetime]:
    """Return contracts of which one lot breaches nothing, and an instant at which that is so.

    The contract worth most comes first, so that large results need few lots. If every contract
    always breaches something, the one that breaches fewest rules is returned.
    """
    book = configuration.rulebook()
    candidates = sorted(listed, key=_worth, reverse=True)

    def rules_breached(contract: Contract, at: datetime) -> int:
        return len(deciding(book, account_id, _as_known(contract), at))

    def all_calm(at: datetime) -> tuple[Contract, ...]:
        return tuple(c for c in candidates if not rules_breached(c, at))

    instants = {calm_instant(book, account_id, _as_known(c), now) for c in candidates}
    chosen = sorted(at for at in instants if at is not None)
    if not chosen:
        return (min(candidates, key=lambda c: rules_breached(c, now)),), now
    # Some products have hours of their own. With more of them more limits can be reached.
    best = max(chosen, key=lambda at: (len(all_calm(at)), now - at))
    return all_calm(best), best


def _outside(
    configuration: Configuration,
    account_id: int,
    rule: SessionBlockOutside,
    usual: Contract,
    now: datetime,
) -> datetime | None:
    book = configuration.rulebook()
    return breaching_instant(book, account_id, _as_known(usual), rule.id, now)


def _in_a_window(rule: ReleaseWindow, now: datetime) -> datetime | None:
    """Return an instant in the next window that lasts for a while, or None within eight days."""
    for release in rule.releases(now, now + LOOKED_AHEAD):
        begins = max(release.starts_at, now)
        if release.ends_at - begins >= DRILL_TAKES:
            return begins
    return None


def _worth(contract: Contract) -> Decimal:
    return contract.product.start_price / contract.tick_size * contract.tick_value


def _as_known(contract: Contract) -> symbols.Contract:
    return symbols.Contract(contract.id, contract.name, contract.tick_size, contract.tick_value)


async def _driven(stage: Stage, task: Task, data: Path) -> DrilledRule:
    rule = task.rule
    hands = Hands(stage, task.twin, task.calm, task.beside)

    def has_fired() -> bool:
        return _has_fired(stage, task.twin, rule)

    watching = asyncio.create_task(_fired_at(has_fired), name=f"drill of {rule.id}")
    trouble = ""
    try:
        await provoke(rule, hands, has_fired)
    except CannotProvoke as problem:
        trouble = str(problem)
    try:
        async with asyncio.timeout(0.2 if trouble else FIRES_WITHIN_S):
            fired_at = await watching
    except TimeoutError:
        fired_at = None
    await hands.tidy()
    decided = await _decided(data, task.twin, rule.id if fired_at is not None else None)
    if fired_at is None:
        others = [d for d in decided if rule.id not in d["rule_ids"]]
        first = f"; {others[0]['rule_ids'][0]} came first: {others[0]['reason']}" if others else ""
        what = trouble or f"its breach led to nothing{first}"
        return DrilledRule(rule_id=rule.id, accounts=task.accounts, fired=False, what=what)
    reason = next((d["reason"] for d in decided if rule.id in d["rule_ids"]), "")
    if hands.waited > LONGEST_WAIT_SHOWN:
        reason += f" (after {plain_duration(hands.waited)}, which the drill did not wait for)"
    return DrilledRule(
        rule_id=rule.id,
        accounts=task.accounts,
        fired=True,
        what=reason,
        took_ms=round(max(fired_at - hands.acted_at, 0.0) * 1000, 1),
    )


def _has_fired(stage: Stage, twin: int, rule: Rule) -> bool:
    quiet = {Severity.WARNING} if isinstance(rule, TradeManagement) else _MERELY_TOLD
    breaches = stage.daemon.state.accounts[twin].breaches.values()
    return any(b.rule_id == rule.id and b.severity not in quiet for b in breaches)


_MERELY_TOLD = {Severity.INFO, Severity.WARNING}


async def _fired_at(has_fired: Callable[[], bool]) -> float:
    async for at in _looks():
        if has_fired():
            return at
    raise AssertionError("looks never end")


async def _looks() -> AsyncIterator[float]:
    while True:
        yield time.monotonic()
        await asyncio.sleep(LOOKED_EVERY_S)


async def _decided(data: Path, twin: int, rule_id: str | None) -> list[Mapping[str, Any]]:
    """Return the decisions in this account as a screen shows them, oldest first.

    Wait a moment until one of `rule_id` is shown; None: for none.
    """
    until = time.monotonic() + SHOWN_WITHIN_S
    async for at in _looks():
        _, snapshot, _ = await read_once(data)
        account = next(a for a in snapshot["accounts"] if a["account_id"] == twin)
        entries = [e for e in account["enforcements"] if e["phase"] == "decided"]
        is_shown = rule_id is None or any(rule_id in e["rule_ids"] for e in entries)
        if is_shown or at > until:
            return list(reversed(entries))
    return []
