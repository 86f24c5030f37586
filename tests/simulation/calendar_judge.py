"""Release windows, product caps and limits over accounts, judged by counting at the exchange."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from simulation.day_judge import FIRED_MARGIN, SEEN_S

from risk_manager.domain.decisions import Decision, LockOut

if TYPE_CHECKING:
    from simulation.oracle import Oracle

CAPPED = frozenset({"MES", "MNQ"})
CAP = 3
GROUP = (101, 102)
"""Both, also on days on which the second account is not in the login and therefore unknown."""
HELD_TOGETHER = {1: 4, 2: 7}
LOST_TOGETHER = Decimal(500)
BEFORE, AFTER = timedelta(minutes=4), timedelta(minutes=6)
SLACK = timedelta(seconds=10)
"""Nobody can tell a clock that is wrong by less."""
SETTLED_S = 4.0
MARGIN = Decimal(5)


def limits_for(seed: int, release_at: datetime, accounts: tuple[int, ...]) -> dict[str, Any]:
    """What the rules are given on this day."""
    return {
        "release_at": release_at.isoformat(),
        "release_action": ("block_entries", "flat")[seed % 2],
        "held_together": HELD_TOGETHER[len(accounts)],
        "lost_with_open": seed % 2 == 0,
    }


def sections(own: dict[str, Any]) -> dict[str, Any]:
    """The rules by their configuration names."""
    return {
        "release_window": {
            "before": "4m",
            "after": "6m",
            "windows": [{"at": own["release_at"], "action": own["release_action"]}],
        },
        "product_caps": {"caps": [{"roots": sorted(CAPPED), "limit": CAP}]},
        "group_limit": [
            {
                "id": "held-together",
                "accounts": GROUP,
                "measure": "contracts",
                "limit": own["held_together"],
            },
            {
                "id": "lost-together",
                "accounts": GROUP,
                "measure": "day_loss",
                "limit": LOST_TOGETHER,
                "include_unrealized": own["lost_with_open"],
            },
        ],
        "own_pace": {"armed": True, "min_days": 1},
    }


class CalendarJudge:
    """Asked only where these rules are switched on."""

    def __init__(self, oracle: "Oracle", own: dict[str, Any]) -> None:
        self._oracle = oracle
        self._world = oracle.world
        self._own = own
        at = datetime.fromisoformat(own["release_at"])
        self._begins, self._ends = at - BEFORE + SLACK, at + AFTER - SLACK
        options = oracle.world.options
        self._has_one_time = not (options.wall_step_seconds or options.unkind.clock_ahead)
        self._told_unlocked = False

    def bad(self) -> Iterator[tuple[tuple[Any, ...], float]]:
        """Yield what must end soon, each with the account it is about."""
        is_flat = self._in_window() and self._own["release_action"] == "flat"
        together, lost = 0, Decimal(0)
        holders: list[tuple[int, str]] = []
        for account_id in self._world.account_ids:
            capped = 0
            lost -= self._oracle.told_day(account_id)
            for contract_id, root, net, told in self._oracle.held(account_id):
                surely = min(abs(net), abs(told))
                together += surely
                capped += surely if root in CAPPED else 0
                if surely:
                    holders.append((account_id, contract_id))
                    if is_flat:
                        yield ("release", account_id, contract_id), 0.0
            if capped > CAP:
                yield ("product cap", account_id), 0.0
        if together > self._own["held_together"]:
            yield ("group", holders[0][0]), 0.0
        if lost >= LOST_TOGETHER + MARGIN:
            for account_id, contract_id in holders:
                yield ("group loss", account_id, contract_id), 0.0

    def judge(self, decision: Decision) -> None:
        """A loss of the group must have been there at the exchange, within the last seconds.

        Only the first lock is judged; the others follow it. Results are followed only on days with
        the rules over the course of days.
        """
        if self._world.limits.get("over_days") is None:
            return
        accounts = self._world.account_ids
        is_lock = any(isinstance(ask, LockOut) for ask in decision.asks)
        is_first = is_lock and not decision.reason.startswith("locked with")
        if decision.rule_id != "lost-together" or not is_first:
            return
        if not all(self._oracle.knows_everything(a, SEEN_S) for a in accounts):
            return
        lowest = sum(
            (self._oracle.days.lowest(a, with_open=self._own["lost_with_open"]) for a in accounts),
            Decimal(0),
        )
        if lowest > -LOST_TOGETHER + FIRED_MARGIN * len(accounts):
            self._oracle.violate(
                "a group was locked without a reason",
                f"{decision.reason}; at the exchange {lowest} at least",
            )

    def look(self) -> None:
        """In the window every account that has been read is locked."""
        life = self._world.life
        if (
            self._told_unlocked
            or life is None
            or not life.is_judging
            or self._world.now - life.began < SETTLED_S
            or not self._in_window()
        ):
            return
        for account in life.state().accounts.values():
            is_known = account.reported_at is not None
            if is_known and ("account", "release_window") not in account.locks:
                self._told_unlocked = True
                self._oracle.violate(
                    "no lock in a release window", f"account {account.id}, {self._own}"
                )

    def _in_window(self) -> bool:
        return self._has_one_time and self._begins <= self._world.utc() < self._ends
