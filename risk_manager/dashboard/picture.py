"""The screen's data: the last snapshot, the changes received since, and their age."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from risk_manager.dashboard.story import ConnectionEnded, ConnectionMade, Story
from risk_manager.dashboard.waiting_limits import news
from risk_manager.feed.client import Connected, Disconnected
from risk_manager.feed.messages import (
    HEARTBEAT_S,
    AccountSnapshot,
    AlarmRow,
    DaemonStatus,
    DailyReset,
    DatabaseRow,
    DoubtRow,
    EnforcementAction,
    Heartbeat,
    History,
    HubRow,
    LockoutCleared,
    LockoutSet,
    LockRow,
    MarketQuote,
    Message,
    Outlook,
    QuoteRow,
    RestRow,
    Snapshot,
    with_alarm,
)

SHOWN = 20
STALE_AFTER = 2.5  # heartbeats without any message
STUCK_AFTER_S = 5.0  # a healthy daemon makes a step each second


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The connection to the daemon. Instants are of this machine's monotonic clock, seconds."""

    up: bool = False
    reason: str = "connecting"
    retry_at: float | None = None
    heard_at: float | None = None
    heartbeat_s: float = HEARTBEAT_S

    def silence_s(self, mono: float) -> float | None:
        return None if self.heard_at is None else max(mono - self.heard_at, 0.0)

    def is_live(self, mono: float) -> bool:
        """Whether the feed is connected and the last message recent enough to show green."""
        silence = self.silence_s(mono)
        return self.up and silence is not None and silence <= STALE_AFTER * self.heartbeat_s


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedLock:
    """A lock whose end was told. `reason` is empty where the lock itself was not known."""

    account_id: int
    rule_id: str
    scope: str
    reason: str
    at: datetime
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Immutable. `told_at` is the daemon's clock at its last message."""

    line: Line = field(default_factory=Line)
    told_at: datetime | None = None
    status: str = "?"
    message: str = ""
    version: str = ""
    run_id: str = ""
    started_at: datetime | None = None  # by the daemon's clock; None: not told
    state_age_s: float = 0.0
    next_reset: datetime | None = None
    accounts: tuple[AccountSnapshot, ...] = ()
    quotes: dict[str, QuoteRow] = field(default_factory=dict)
    hubs: dict[str, HubRow] = field(default_factory=dict)
    hubs_at: datetime | None = None
    rest: RestRow = field(default_factory=RestRow)
    db: DatabaseRow = field(default_factory=DatabaseRow)
    token_expires_at: datetime | None = None
    alarms: tuple[AlarmRow, ...] = ()
    doubts: tuple[DoubtRow, ...] = ()
    outlook: Outlook | None = None
    story: Story = field(default_factory=Story)
    lost_run: str | None = None  # the run of the daemon that was lost, until it is heard again
    heard_before_loss: float | None = None  # the last message before it was lost; our monotonic
    ended_locks: tuple[EndedLock, ...] = ()  # newest first, since the screen was opened
    histories: dict[tuple[str, int], History] = field(default_factory=dict)
    """The newest answer of each kind and account."""

    # --- reading ---

    def account(self, account_id: int | None) -> AccountSnapshot | None:
        """Return the account asked for, or the first; None while nothing is known."""
        for account in self.accounts:
            if account.account_id == account_id:
                return account
        return self.accounts[0] if self.accounts and account_id is None else None

    def now(self, mono: float) -> datetime | None:
        """Return the daemon's clock now: its last stated time, advanced by our clock."""
        if self.told_at is None:
            return None
        return self.told_at + timedelta(seconds=self.line.silence_s(mono) or 0.0)

    def judgement_age_s(self, mono: float) -> float:
        """Return how long ago the daemon made its last step."""
        return self.state_age_s + (self.line.silence_s(mono) or 0.0)

    # --- being told ---

    def with_item(self, item: Message | Connected | Disconnected, mono: float) -> "Picture":
        match item:
            case Connected():
                return replace(self, line=Line(up=True, reason="", heard_at=self.line.heard_at))
            case Disconnected(reason, retry_in_s):
                line = replace(self.line, up=False, reason=reason, retry_at=mono + retry_in_s)
                at = self.now(mono)
                if at is None or self.lost_run is not None:
                    return replace(self, line=line)
                story = self.story.told(None, ConnectionEnded(reason=reason), at=at)
                return replace(
                    self,
                    line=line,
                    story=story,
                    lost_run=self.run_id,
                    heard_before_loss=self.line.heard_at,
                )
            case Message(data=History() as answer):  # to our question: it makes no figure fresh
                return self._with_answer(item.account_id, answer)
            case Message():
                line = replace(self.line, heard_at=mono)
                told = replace(self, line=line, told_at=item.ts)._with_data(item)
                is_back = self.lost_run is not None and isinstance(item.data, Snapshot)
                return told._heard_again(mono, item.ts) if is_back else told

    def gap_s(self, mono: float) -> float:
        """Return for how long the daemon that was lost has not been heard."""
        return 0.0 if self.heard_before_loss is None else max(mono - self.heard_before_loss, 0.0)

    def _heard_again(self, mono: float, at: datetime) -> "Picture":
        back = ConnectionMade(gap_s=self.gap_s(mono), new_run=self.run_id != self.lost_run)
        return replace(self, story=self.story.told(None, back, at=at), lost_run=None)

    def _with_answer(self, account_id: int | None, answer: History) -> "Picture":
        if account_id is None:
            return self
        return replace(self, histories={**self.histories, (answer.kind, account_id): answer})

    def _with_data(self, message: Message) -> "Picture":
        match message.data:
            case Snapshot() as data:
                told = self if data.outlook is None else self._with_outlook(data.outlook)
                return told._with_snapshot(data, whole=message.account_id is None)
            case DaemonStatus() as data:
                return self._with_status(data)
            case Heartbeat() as data:
                return replace(
                    self,
                    status=data.status,
                    state_age_s=data.state_age_s,
                    hubs=data.hubs,
                    hubs_at=data.timestamp,
                    rest=data.rest,
                    db=data.db,
                    started_at=data.timestamp - timedelta(seconds=data.uptime_s),
                )
            case MarketQuote() as data:
                return replace(self, quotes={**self.quotes, data.contractId: _quote(data)})
            case LockoutSet() as data:
                told = replace(self, story=self.story.told(message.account_id, data))
                return told._with_lock(message.account_id, _lock(data))
            case LockoutCleared() as data:
                told = replace(self, story=self.story.told(message.account_id, data))
                return told._without_lock(message.account_id, data)
            case Outlook() as data:
                return self._with_outlook(data)
            case EnforcementAction() as data:
                told = replace(self, story=self.story.told(message.account_id, data))
                return told._with_enforcement(message.account_id, data)
            case DailyReset() as data:
                return replace(self, story=self.story.told(message.account_id, data))
        return self  # the account's snapshot that follows contains the change

    def _with_snapshot(self, data: Snapshot, *, whole: bool) -> "Picture":
        told = {account.account_id: account for account in data.accounts}
        if whole:
            accounts = data.accounts
            story = self.story.with_snapshot(data)
        else:
            story = self.story
            accounts = tuple(told.pop(a.account_id, a) for a in self.accounts)
            accounts += tuple(told.values())
        return replace(
            self,
            status=data.status,
            version=data.version,
            state_age_s=data.state_age_s,
            next_reset=data.next_reset,
            accounts=accounts,
            quotes={quote.contract_id: quote for quote in data.quotes},
            hubs=data.hubs,
            hubs_at=data.timestamp,
            rest=data.rest,
            db=data.db,
            token_expires_at=data.token_expires_at,
            run_id=data.run_id,
            alarms=data.alarms,
            doubts=data.doubts,
            story=story,
        )

    def _with_outlook(self, data: Outlook) -> "Picture":
        deeds = tuple(news(self.outlook, data, self.accounts, self.told_at))
        story = self.story.told(None, *deeds, at=self.told_at) if deeds else self.story
        return replace(self, outlook=data, story=story)

    def _with_status(self, data: DaemonStatus) -> "Picture":
        alarms, story = self.alarms, self.story
        if data.alarm is not None:
            story = story.told(data.alarm.account_id, data.alarm)
        if data.alarm is not None and data.alarm not in alarms:
            alarms = with_alarm(alarms, data.alarm)[:SHOWN]
        return replace(
            self,
            line=replace(self.line, heartbeat_s=data.heartbeat_s),
            status=data.status,
            # A frame with an alarm has the alarm's message in place of the status's own.
            message=data.message if data.alarm is None else self.message,
            version=data.version,
            hubs=data.hubs,
            hubs_at=data.timestamp,
            rest=data.rest,
            db=data.db,
            token_expires_at=data.token_expires_at,
            run_id=data.run_id,
            started_at=data.timestamp - timedelta(seconds=data.uptime_s),
            alarms=alarms,
            story=story,
        )

    def _with_account(self, changed: AccountSnapshot) -> "Picture":
        accounts = tuple(
            changed if a.account_id == changed.account_id else a for a in self.accounts
        )
        return replace(self, accounts=accounts)

    def _with_lock(self, account_id: int | None, lock: LockRow) -> "Picture":
        account = None if account_id is None else self.account(account_id)
        if account is None:
            return self
        others = tuple(x for x in account.locks if x.lockout_id != lock.lockout_id)
        return self._with_account(replace(account, locks=(*others, lock)))

    def _without_lock(self, account_id: int | None, end: LockoutCleared) -> "Picture":
        account = None if account_id is None else self.account(account_id)
        if account is None:
            return self
        gone = [x for x in account.locks if x.lockout_id == end.lockout_id]
        ended = EndedLock(
            account_id=account.account_id,
            rule_id=end.rule_id,
            scope=end.scope,
            reason=gone[0].reason if gone else "",
            at=end.cleared_at,
            by=end.cleared_by,
        )
        locks = tuple(x for x in account.locks if x not in gone)
        told = replace(self, ended_locks=(ended, *self.ended_locks)[:SHOWN])
        return told._with_account(replace(account, locks=locks))

    def _with_enforcement(self, account_id: int | None, entry: EnforcementAction) -> "Picture":
        account = None if account_id is None else self.account(account_id)
        if account is None or entry in account.enforcements:
            return self
        others = tuple(
            e
            for e in account.enforcements
            if entry.action_id is None or e.action_id != entry.action_id
        )
        return self._with_account(replace(account, enforcements=(entry, *others)[:SHOWN]))


def _quote(data: MarketQuote) -> QuoteRow:
    return QuoteRow(
        contract_id=data.contractId,
        symbol=data.symbol,
        bid=data.bid,
        ask=data.ask,
        last=data.last,
        at=data.timestamp,
        age_ms=data.age_ms,
        fresh=True,
    )


def _lock(data: LockoutSet) -> LockRow:
    return LockRow(
        lockout_id=data.lockout_id,
        rule_id=data.rule_id,
        scope=data.scope,
        policy=data.policy,
        kind=data.kind,
        release=data.release,
        reason=data.reason,
        set_at=data.locked_at,
        expires_at=data.locked_until,
        admin_may_clear=data.admin_may_clear,
    )
