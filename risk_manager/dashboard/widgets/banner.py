"""What nobody may overlook: the lock in force with its countdown, and critical alarms."""

from textual.content import Content

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.widgets.locks import ends, scope
from risk_manager.dashboard.widgets.text import Text
from risk_manager.dashboard.wording import age, clock
from risk_manager.feed.messages import AlarmRow, LockRow

ALARM_STAYS_S = 900.0


class Banner(Text):
    """Red while locked flat or while nobody can see the account, amber where entries are barred."""

    def __init__(self) -> None:
        super().__init__(wraps=True)

    def show(self, glance: Glance) -> None:
        lines: list[Content] = []
        lock = worst(glance)
        flat = lock is not None and lock.policy == "flat" and lock.scope == "account"
        if lock is not None:
            lines += _locked(glance, lock)
        alarm = standing_alarm(glance)
        if alarm is not None:
            ago = age(glance.seconds_since(alarm.at))
            lines.append(
                Content.assemble(
                    (" ALARM ", "bold reverse"), f" {alarm.message} ({ago} ago; x: seen)"
                )
            )
        blind = [d for d in glance.doubts if d.critical]
        for doubt in blind[:2]:
            lasts = age(glance.seconds_since(doubt.since))
            lines.append(
                Content.assemble((" BLIND ", "bold reverse"), f" {doubt.reason} ({lasts})")
            )
        self.set_class(bool(blind) or flat or alarm is not None, "-red")
        self.set_class(bool(lines) and not (flat or blind) and alarm is None, "-amber")
        self.display = bool(lines)
        self.put(Content("\n").join(lines))


def worst(glance: Glance) -> LockRow | None:
    """The lock that matters most: the whole account before a part, flat before no entries."""
    if glance.account is None or not glance.account.locks:
        return None
    return min(
        glance.account.locks,
        key=lambda x: (
            x.scope != "account",
            x.policy != "flat",
            x.expires_at is not None,
            -(x.expires_at.timestamp() if x.expires_at else 0.0),
        ),
    )


def standing_alarm(glance: Glance) -> AlarmRow | None:
    """The newest critical alarm that is neither over, nor old, nor dismissed."""
    for alarm in glance.picture.alarms:
        if (
            alarm.severity == "critical"
            and alarm.over_at is None
            and alarm.at not in glance.dismissed
            and glance.seconds_since(alarm.at) <= ALARM_STAYS_S
            and (glance.account is None or alarm.account_id in (None, glance.account.account_id))
        ):
            return alarm
    return None


def _locked(glance: Glance, lock: LockRow) -> list[Content]:
    assert glance.account is not None
    whole = lock.scope == "account"
    word = {"flat": "LOCKED", "no_entries": "NO ENTRIES"}.get(lock.policy, lock.policy.upper())
    if not whole:
        word = f"{scope(lock)} {'BLOCKED' if lock.policy == 'flat' else word}"
    left = ends(glance, lock)
    until = ""
    if lock.expires_at is not None and glance.now is not None:
        left, until = f"released in {left}", f" at {clock(lock.expires_at, glance.now)}"
    else:
        left = f"released {left}"
    more = len(glance.account.locks) - 1
    first = Content.assemble(
        (f" {word} ", "bold reverse"),
        (f" {left}", "bold"),
        until,
        f"  (+{more} more)" if more else "",
    )
    return [first, Content(f" {lock.reason} ")]
