"""What nobody may overlook: critical alarms, blindness, and closes that fail again and again."""

from textual.content import Content

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.widgets.text import Text
from risk_manager.dashboard.wording import age, called
from risk_manager.feed.messages import AlarmRow, EnforcementAction

ALARM_STAYS_S = 900.0
ENDING = ("CLOSE_POSITION", "REDUCE_POSITION", "CANCEL_ORDER")


class Banner(Text):
    """Red whenever it is there; locks are told by the verdict above it."""

    def __init__(self) -> None:
        super().__init__(wraps=True)

    def show(self, glance: Glance) -> None:
        lines: list[Content] = []
        alarm = standing_alarm(glance)
        if alarm is not None:
            ago = age(glance.seconds_since(alarm.at))
            lines.append(
                Content.assemble(
                    (" ALARM ", "bold reverse"), f" {alarm.message} ({ago} ago; x: seen)"
                )
            )
        failing = unenforced(glance)
        for entry in failing[:2]:
            told = entry.details.get("message")
            words = f" {called(entry)} has failed {_failures(entry)} times"
            lines.append(
                Content.assemble(
                    (" NOT DONE ", "bold reverse"),
                    words + (f" ({told})" if told else "") + "; still trying ",
                )
            )
        blind = [d for d in glance.doubts if d.critical]
        for doubt in blind[:2]:
            lasts = age(glance.seconds_since(doubt.since))
            lines.append(
                Content.assemble((" BLIND ", "bold reverse"), f" {doubt.reason} ({lasts})")
            )
        self.set_class(bool(lines), "-red")
        self.display = bool(lines)
        self.put(Content("\n").join(lines))


def unenforced(glance: Glance) -> list[EnforcementAction]:
    """Return the newest call for each open position or order whose calls failed at least twice."""
    account = glance.account
    if account is None:
        return []
    open_still = {p.contract_id for p in account.positions}
    working = {o.order_id for o in account.orders}
    newest: dict[tuple[str, object], EnforcementAction] = {}
    for entry in account.enforcements:
        if entry.action_id is None or entry.shadow:
            continue
        order_id = entry.details.get("order_id")
        stands = entry.contract_id in open_still if order_id is None else order_id in working
        if stands and entry.action in ENDING:
            newest.setdefault((entry.action, order_id or entry.contract_id), entry)
    return [entry for entry in newest.values() if _failures(entry) >= 2]


def _failures(entry: EnforcementAction) -> int:
    """Return how often a call has failed so far. A call in flight does not count as failed."""
    tries = entry.attempt or 1
    return {"failed": tries, "started": tries - 1}.get(entry.phase, 0)


def standing_alarm(glance: Glance) -> AlarmRow | None:
    """Return the newest critical alarm that is neither over, nor old, nor dismissed."""
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
