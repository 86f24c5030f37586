"""How health issues begin, become an emergency, and end. Checked on each tick, never on a quote."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from risk_manager.domain.account import Account
from risk_manager.domain.day_history import lacking
from risk_manager.domain.decisions import Alarm, Fact, Severity
from risk_manager.domain.durations import plain_duration
from risk_manager.domain.events import AccountReported, HealthIssueChanged, Hub, HubState
from risk_manager.domain.exchange_hours import trading_since
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.health_issue import BLIND, Baseline, HealthIssue, IssueKey, IssueKind
from risk_manager.domain.live_accounts import why_left_alone
from risk_manager.domain.money import CENT, dollars
from risk_manager.domain.state import State

CRITICAL_AFTER = timedelta(seconds=30)
FLICKER = timedelta(minutes=5)
FLICKERS_UNTIL = timedelta(seconds=30)
STREAM_MAY_FOLLOW = timedelta(seconds=3)
"""A REST report may be this far ahead of the stream."""
CONNECTING_MAY_TAKE = timedelta(seconds=10)
NO_FILL_FOR = timedelta(seconds=10)
"""Balance and trades are compared only when the last execution is older than this."""
SMALL_CHANGE = Decimal(1)

# A single failed read raises no alarm.
# What a rule looks back on is learned with the first reads.
_TOLD_AFTER = {
    IssueKind.READS_FAILING: timedelta(seconds=10),
    IssueKind.HISTORY_UNKNOWN: timedelta(seconds=60),
}
# A configured account that is missing is not guarded at all: critical from the start.
# So is a live account that is kept in shadow against its configuration.
_CRITICAL_AT_ONCE = frozenset({IssueKind.ACCOUNT_MISSING, IssueKind.LIVE_ACCOUNT})
# `fold` raises the alarm for these itself, at the moment they happen.
_TOLD_BY_OTHERS = frozenset({IssueKind.HUB_DOWN})
# Issues the daemon reports and withdraws by events. All others follow from the state.
_REPORTED = frozenset(
    {
        IssueKind.READS_FAILING,
        IssueKind.CLOCK_TURNED,
        IssueKind.SLOW,
        IssueKind.ACCOUNT_MISSING,
        IssueKind.ACCOUNT_NOT_GUARDED,
        IssueKind.DATABASE_LOST,
        IssueKind.ALERTS_FAILING,
        IssueKind.FILE_DIFFERS,
        IssueKind.OTHER_GATEWAY,
        IssueKind.PRESET_EXPIRED,
    }
)


# --- what events bring ----------------------------------------------------------------------------


def with_issue(state: State, event: HealthIssueChanged) -> State:
    """Add or remove an issue that the daemon reports about itself or its reads."""
    key = (event.doubt, event.account_id, event.subject)
    known = state.health_issues.get(key)
    if not event.reason:
        if known is None or not known.stands:
            return state
        return _with(state, fast_replace(known, over_at=state.now))
    if known is not None and known.stands and event.doubt is not IssueKind.SUSPENDED:
        return (
            state
            if known.reason == event.reason
            else _with(state, fast_replace(known, reason=event.reason))
        )
    if event.doubt is IssueKind.SUSPENDED:
        state = fast_replace(state, awake_since=state.now)
    return _with(state, _begun(state, key, event.reason, state.now))


def compared(
    state: State, before: Account, after: Account, event: AccountReported, facts: list[Fact]
) -> State:
    """Compare the broker's report with what the stream told and with our own sums."""
    if event.positions is not None and before.positions is not after.positions:
        state = _unheard(state, before, after, event)
    return _balance(state, after, event, facts)


def _unheard(state: State, before: Account, after: Account, event: AccountReported) -> State:
    """Record what the report changed although the connected stream had not told it."""
    hub = state.hubs.get(Hub.USER)
    reported_at = before.reported_at
    if hub is None or hub.state is not HubState.UP:
        return state
    if reported_at is None or reported_at <= hub.since:
        return state
    changed = {
        (after.id, contract_id): event.at
        for contract_id in sorted({*before.positions, *after.positions})
        if before.net(contract_id) != after.net(contract_id)
        and (after.id, contract_id) not in state.unheard
    }
    return fast_replace(state, unheard={**state.unheard, **changed}) if changed else state


def _balance(state: State, account: Account, event: AccountReported, facts: list[Fact]) -> State:
    stated = event.account.balance if event.account is not None else None
    if stated is None or event.trades is None or not _has_no_new_fill(account, event.asked_at):
        return state
    today = account.ledger.day(account.trading_date)
    known = state.baselines.get(account.id)
    if known is None or known.trading_date != account.trading_date:
        fresh = Baseline(
            trading_date=account.trading_date,
            balance=stated,
            pnl=today.pnl,
            fees=today.fees,
            executions=today.executions,
        )
        return fast_replace(state, baselines={**state.baselines, account.id: fresh})
    moved = stated - known.balance
    pnl, fees = today.pnl - known.pnl, today.fees - known.fees
    tolerance = max(SMALL_CHANGE, CENT * abs(today.executions - known.executions))
    missing = moved - (pnl - fees)
    if abs(missing) <= tolerance:
        compared = fast_replace(known, differs=None, times=0)
    elif fees > tolerance and abs(moved - pnl) <= tolerance:
        compared = fast_replace(known, differs=None, times=0, gross_told=True)
        if not known.gross_told:
            facts.append(_fees_alarm(state, account, fees))
    else:
        compared = fast_replace(
            known,
            differs=missing,
            times=known.times + 1,
            reason=f"the balance has moved by {dollars(moved)}, the trades say "
            f"{dollars(pnl - fees)}",
        )
    if compared == known:
        return state
    return fast_replace(state, baselines={**state.baselines, account.id: compared})


def _has_no_new_fill(account: Account, asked_at: datetime) -> bool:
    newest = max((e.received_at for e in account.ledger.entries.values()), default=None)
    return newest is None or asked_at - newest >= NO_FILL_FOR


def _fees_alarm(state: State, account: Account, fees: Decimal) -> Alarm:
    return Alarm(
        at=state.now,
        account_id=account.id,
        code="fees_not_in_balance",
        message=f"the balance follows the P&L without the {dollars(fees)} of fees: the gateway's "
        "P&L seems to contain them already; if that holds, set defaults: pnl_basis: gross",
    )


# --- each tick ------------------------------------------------------------------------------------


def looked(state: State, facts: list[Fact]) -> State:
    """Return the state with its issues brought up to date; alarms are added to `facts`."""
    if state.awake_since is None:
        state = fast_replace(state, awake_since=state.now)
    if state.unheard:
        state = _without_explained(state)
    standing = {d.key: d for d in _found(state)}
    issues: dict[IssueKey, HealthIssue] = {}
    for key, known in state.health_issues.items():
        if key[0] in _REPORTED or key in standing or not known.stands:
            issues[key] = known
        else:
            issues[key] = fast_replace(known, over_at=state.now)
    for key, found in standing.items():
        known = issues.get(key)  # type: ignore[assignment]
        if known is None or not known.stands:
            issues[key] = _begun(state, key, found.reason, found.since)
        elif known.reason != found.reason:
            issues[key] = fast_replace(known, reason=found.reason)
    if not issues:
        return state if not state.health_issues else fast_replace(state, health_issues={})
    told = {
        key: _with_alarms(state, issue, facts)
        for key, issue in issues.items()
        if issue.over_at is None or state.now - issue.over_at < FLICKER
    }
    return state if told == state.health_issues else fast_replace(state, health_issues=told)


def _found(state: State) -> Iterator[HealthIssue]:
    """Yield the issues that follow from the state alone."""
    now = state.now
    for hub, status in state.hubs.items():
        waiting = status.state is HubState.CONNECTING and now - status.since < CONNECTING_MAY_TAKE
        if status.state is not HubState.UP and not waiting:
            why = f": {status.reason}" if status.reason else ""
            yield HealthIssue(
                kind=IssueKind.HUB_DOWN,
                subject=str(hub),
                since=status.since,
                reason=f"the {hub} stream is {status.state}{why}",
            )
    for contract_id in state.holders:
        stale = _stale(state, contract_id)
        if stale is not None:
            yield stale
    for each in state.accounts.values():
        yield from _unstated(state, each)
        yield from _unlearned(state, each)
        reason = why_left_alone(each, state.rulebook.for_account(each.id))
        if reason:
            yield HealthIssue(
                kind=IssueKind.LIVE_ACCOUNT, account_id=each.id, since=now, reason=reason
            )
    yield from _ended_data(state)
    for (account_id, contract_id), at in state.unheard.items():
        if now - at >= STREAM_MAY_FOLLOW:
            yield HealthIssue(
                kind=IssueKind.POSITIONS_DIFFER,
                account_id=account_id,
                subject=contract_id,
                since=at,
                reason=f"the position in {state.name(contract_id)} changed at the broker, "
                "the stream never said so",
            )
    for account_id, baseline in state.baselines.items():
        account = state.accounts.get(account_id)
        if (
            baseline.differs is not None
            and baseline.times >= 2
            and account is not None
            and account.trading_date == baseline.trading_date
        ):
            yield HealthIssue(
                kind=IssueKind.PNL_DIFFERS,
                account_id=account_id,
                since=now,
                reason=baseline.reason,
            )
    slept = state.health_issues.get((IssueKind.SUSPENDED, None, ""))
    if slept is not None and slept.stands and not _all_read_since(state, slept.since):
        yield slept


def _ended_data(state: State) -> Iterator[HealthIssue]:
    for rules in state.rulebook.accounts.values():
        for expiry in rules.expiries:
            if state.now >= expiry.ends_at:
                yield HealthIssue(
                    kind=IssueKind.DATA_ENDED,
                    subject=expiry.rule_id,
                    since=state.now,
                    reason=f"{expiry.data}, which the rule {expiry.rule_id} goes by, has ended; "
                    "put a newer file in its place and reload the configuration",
                )


def _stale(state: State, contract_id: str) -> HealthIssue | None:
    patience = state.rulebook.defaults.quote_max_age
    quote = state.quotes.get(contract_id)
    if quote is not None and state.now - quote.at <= patience:
        return None  # the usual case, checked before the slower question of exchange hours
    open_since = trading_since(state.rulebook.calendar, state.root(contract_id), state.now)
    if open_since is None or state.awake_since is None:
        return None
    heard = [open_since, state.awake_since]
    if quote is not None:
        heard.append(quote.at)
    else:
        heard += [
            held.opened_at
            for account_id in state.holders[contract_id]
            if (held := state.accounts[account_id].positions.get(contract_id)) is not None
        ]
    since = max(heard)
    if state.now - since <= patience:
        return None
    return HealthIssue(
        kind=IssueKind.STALE_QUOTES,
        subject=contract_id,
        since=since,
        reason=f"no price of {state.name(contract_id)}, which is held, has come lately",
    )


def _unstated(state: State, account: Account) -> Iterator[HealthIssue]:
    for position in account.positions.values():
        if position.average_stated:
            continue
        name, average = state.name(position.contract_id), position.average_price
        yield HealthIssue(
            kind=IssueKind.AVERAGE_UNKNOWN,
            account_id=account.id,
            subject=position.contract_id,
            since=state.now,
            reason=f"the broker states no usable average price for {name}; "
            + (
                "its fills are not known either, its open result is not watched"
                if average is None
                else f"that of its fills, {average:.10g}, counts"
            ),
        )


def _unlearned(state: State, account: Account) -> Iterator[HealthIssue]:
    missing = lacking(account, state.rulebook.for_account(account.id))
    if missing:
        yield HealthIssue(
            kind=IssueKind.HISTORY_UNKNOWN,
            account_id=account.id,
            since=state.now,
            reason=f"{missing}; only what is known counts. "
            "See the firm's own figures, and state them in risk_config.yaml where the rule has a "
            "field for them",
        )


def _without_explained(state: State) -> State:
    """Drop differences that the stream has reported since, or that predate a new connection."""
    hub = state.hubs.get(Hub.USER)
    kept = {}
    for (account_id, contract_id), at in state.unheard.items():
        account = state.accounts.get(account_id)
        if account is None or hub is None or hub.state is not HubState.UP or hub.since > at:
            continue
        heard = account.heard.get(contract_id)
        if heard is None or heard < at:
            kept[account_id, contract_id] = at
    return state if len(kept) == len(state.unheard) else fast_replace(state, unheard=kept)


def _all_read_since(state: State, at: datetime) -> bool:
    return all(
        account.reported_at is not None and account.reported_at > at
        for account in state.accounts.values()
    )


def _begun(state: State, key: IssueKey, reason: str, since: datetime) -> HealthIssue:
    kind, account_id, subject = key
    known = state.health_issues.get(key)
    return HealthIssue(
        kind=kind,
        account_id=account_id,
        subject=subject,
        since=since,
        reason=reason,
        flickers=known is not None and (known.told or known.flickers),
        told=kind in _TOLD_BY_OTHERS,
    )


def _with_alarms(state: State, issue: HealthIssue, facts: list[Fact]) -> HealthIssue:
    """Add the alarms that are due: one when an issue begins, one when it is an emergency, and one
    when it is over. Returns the issue with those alarms noted."""
    now = state.now
    if issue.over_at is not None:
        if not issue.told or issue.over_told:
            return issue
        if issue.critical:
            blind = _rounded(issue.over_at - issue.since)
            facts.append(_over(state, issue, f"was blind for {blind}, over: {issue.reason}"))
        elif issue.kind not in _TOLD_BY_OTHERS:
            facts.append(_over(state, issue, f"over: {issue.reason}"))
        return fast_replace(issue, over_told=True)
    age = now - issue.since
    patience = FLICKERS_UNTIL if issue.flickers else _TOLD_AFTER.get(issue.kind, timedelta(0))
    if not issue.told and age >= patience:
        severity = Severity.CRITICAL if issue.kind in _CRITICAL_AT_ONCE else Severity.WARNING
        facts.append(_alarm(state, issue, severity, issue.reason))
        issue = fast_replace(issue, told=True)
    if (
        not issue.critical
        and issue.kind in BLIND
        and age > CRITICAL_AFTER
        and _at_stake(state, issue)
    ):
        facts.extend(
            _alarm(
                state,
                fast_replace(issue, account_id=account_id),
                Severity.CRITICAL,
                f"blind for {_rounded(age)} while exposed: {issue.reason}. "
                "Look at the trading platform, and close by hand what must not stay open.",
            )
            for account_id in _at_stake(state, issue)
        )
        issue = fast_replace(issue, told=True, critical=True)
    return issue


def _at_stake(state: State, issue: HealthIssue) -> list[int]:
    """Return the accounts for which this issue is an emergency."""
    about = state.accounts if issue.account_id is None else (issue.account_id,)
    accounts = (state.accounts.get(account_id) for account_id in about)
    return [a.id for a in accounts if a is not None and not a.is_flat]


def about(kind: IssueKind, subject: str) -> str:
    """Return the `about` text that joins the alarms of one issue."""
    return f"{kind}:{subject}"


def _alarm(state: State, issue: HealthIssue, severity: Severity, message: str) -> Alarm:
    return Alarm(
        at=state.now,
        account_id=issue.account_id,
        code=issue.kind.value,
        message=message,
        severity=severity,
        about=about(issue.kind, issue.subject),
    )


def _over(state: State, issue: HealthIssue, message: str) -> Alarm:
    return replace(_alarm(state, issue, Severity.INFO, message), ends=True)


def _rounded(span: timedelta) -> str:
    return plain_duration(timedelta(seconds=round(span.total_seconds())))


def _with(state: State, issue: HealthIssue) -> State:
    return fast_replace(state, health_issues={**state.health_issues, issue.key: issue})
