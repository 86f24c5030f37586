"""The rules over the course of days, judged by arithmetic of its own on the exchange's figures.

Two questions: was the day ended where it had to be, and was it ended without a reason? The first is
asked of what the daemon was told, the second of what the exchange had, within the last seconds.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from risk_manager.domain.decisions import Decision, LockOut

if TYPE_CHECKING:
    from simulation.oracle import Oracle

START = Decimal(50_000)
"""The balance of every account of the simulation in its first morning."""
STEP_AT = START + 200
"""From this balance in the evening on, one contract more is allowed."""
MARGIN = Decimal(5)
"""Fees that come late are not the point."""
FIRED_MARGIN = Decimal(60)
"""Quotes that were merged, and voids, move a result by so much unseen."""
LASTS_S = 6.0
ILL_LASTS_S = 20.0
SEEN_S = 12.0
JUDGED_EVERY_S = 0.5
QUIET_AFTER_RESET_S = 60.0
NEW_RULES = (
    "trailing_daily_loss",
    "giveback",
    "trailing_max_drawdown",
    "period_loss",
    "consistency",
)


@dataclass(slots=True)
class Course:
    """An account's day by the exchange. Amounts are net; `peak` and `best` are the highest yet."""

    day: date
    opened_with: Decimal
    peak: Decimal = Decimal(0)
    told_peak: Decimal = Decimal(0)
    judged_at: float = -1e9
    seen: deque[tuple[float, Decimal, Decimal]] = field(default_factory=deque)


class DayJudge:
    """Follows each account. Asked only where the new rules are switched on."""

    def __init__(self, oracle: "Oracle") -> None:
        self._oracle = oracle
        self._world = oracle.world
        self._courses: dict[int, Course] = {}
        self._due_since: dict[tuple[str, int], float] = {}
        self._evening: dict[int, Decimal] = {}
        self._best_day: dict[int, Decimal] = {}
        self._best_balance: dict[int, Decimal] = {}
        self._turned_at = -1e9
        self.judged_fired = 0
        self.judged_due = 0

    def look(self) -> None:
        limits = self._world.limits.get("over_days")
        if limits is None:
            return
        for account_id in self._world.account_ids:
            course = self._course(account_id)
            balance = self._world.exchange.balance(account_id)
            realised = balance - course.opened_with
            held = self._world.exchange.positions(account_id)
            equity = sum(map(self._world.open_result, held), realised)
            course.peak = max(course.peak, equity, realised)
            course.seen.append((self._world.now, equity, realised))
            while course.seen and course.seen[0][0] < self._world.now - SEEN_S:
                course.seen.popleft()
            if self._world.now - course.judged_at >= JUDGED_EVERY_S:
                course.judged_at = self._world.now
                self._judge_due(account_id, course)

    def lowest(self, account_id: int, *, with_open: bool) -> Decimal:
        """The lowest result of the day at the exchange within the last seconds."""
        self.look()
        seen = self._course(account_id).seen
        return min(equity if with_open else realised for _, equity, realised in seen)

    def _course(self, account_id: int) -> Course:
        today = self._oracle.today_of_the_exchange()
        course = self._courses.get(account_id)
        if course is None or course.day != today:
            balance = self._world.exchange.balance(account_id)
            if course is not None:
                self._best_day[account_id] = max(
                    self._best_day.get(account_id, Decimal(0)), balance - course.opened_with
                )
                self._best_balance[account_id] = max(
                    self._best_balance.get(account_id, START), course.opened_with + course.peak
                )
                self._evening[account_id] = max(self._evening.get(account_id, START), balance)
                self._turned_at = self._world.now
            course = self._courses[account_id] = Course(today, balance)
        return course

    # --- had to be ended ---

    def _judge_due(self, account_id: int, course: Course) -> None:
        """By closed trades alone: open results are a matter of which quotes were heard."""
        limits = self._world.limits["over_days"]
        oracle, now = self._oracle, self._world.now
        told, week = oracle.told_results(account_id)
        # The daemon may turn the day a moment after the exchange: until then it tells of yesterday.
        if self._is_flat(account_id) and oracle.is_judged_today():
            course.told_peak = max(course.told_peak, told)
        due = {
            "period_loss": week <= -limits["week"] - MARGIN,
            "consistency": told >= self._most_today(account_id) + MARGIN,
        }
        if self._is_flat(account_id):
            due["trailing_daily_loss"] = told <= course.told_peak - limits["trailing"] - MARGIN
            due["giveback"] = course.told_peak >= limits["arm_at"] + MARGIN and (
                told <= course.told_peak * (1 - limits["fraction"]) - MARGIN
            )
            due["trailing_max_drawdown"] = (
                course.opened_with + told <= START - limits["drawdown"] - MARGIN
            )
        for rule, is_due in due.items():
            key = (rule, account_id)
            is_locked = (account_id, "account", rule) in oracle.locks_shown
            if not is_due or is_locked or not oracle.is_judged_today():
                self._due_since.pop(key, None)
                continue
            since = self._due_since.setdefault(key, now)
            counted = max(since, oracle.guarded_since, self._turned_at + QUIET_AFTER_RESET_S)
            is_ill = self._world.gateway.was_ill(counted - 2.0, now)
            if oracle.is_served() and now - counted > (ILL_LASTS_S if is_ill else LASTS_S):
                self._due_since[key] = now + 60
                oracle.violate(
                    "a day was not ended",
                    f"account {account_id}: {rule} is due for {now - since:.1f} s; today {told}, "
                    f"week {week}, best {course.told_peak}",
                )
            self.judged_due += 1

    def _is_flat(self, account_id: int) -> bool:
        return not self._world.exchange.positions(account_id)

    def _most_today(self, account_id: int) -> Decimal:
        """Half of the target, or as much as an earlier day has made."""
        allowed: Decimal = self._world.limits["over_days"]["most_today"]
        return max(allowed, self._best_day.get(account_id, Decimal(0)))

    def bad(self) -> Iterator[tuple[tuple[Any, ...], float]]:
        """More contracts than the balance of the evening before allows, as the daemon was told."""
        limits = self._world.limits.get("over_days")
        if limits is None or not self._oracle.is_judged_today():
            return
        for account_id in self._world.account_ids:
            held = list(self._oracle.held(account_id))
            truly = sum(abs(net) for _, _, net, _ in held)
            told = sum(abs(told_net) for *_, told_net in held)
            allowed = limits["lots"] + (self._course(account_id).opened_with >= STEP_AT)
            if min(truly, told) > allowed:
                yield ("scaling plan", account_id), 0.0

    # --- was ended without a reason ---

    def judge(self, decision: Decision) -> None:
        limits = self._world.limits.get("over_days")
        rule, account_id = decision.rule_id, decision.account_id
        if limits is None or rule not in NEW_RULES:
            return
        if not any(isinstance(ask, LockOut) for ask in decision.asks) or decision.count > 1:
            return
        self.look()
        oracle, course = self._oracle, self._courses[account_id]
        if not oracle.knows_everything(account_id, SEEN_S):
            return
        self.judged_fired += 1
        lowest = min(equity for _, equity, _ in course.seen)
        lowest_realised = min(realised for *_, realised in course.seen)
        highest = max(realised for *_, realised in course.seen)
        best = self._evening.get(account_id, START)
        if limits["mode"] != "eod":
            best = max(
                best, course.opened_with + course.peak, self._best_balance.get(account_id, START)
            )
        floor = min(START, best - limits["drawdown"])
        reasons = {
            "trailing_daily_loss": lowest <= course.peak - limits["trailing"] + FIRED_MARGIN,
            "giveback": course.peak >= limits["arm_at"] - FIRED_MARGIN
            and lowest <= course.peak * (1 - limits["fraction"]) + FIRED_MARGIN,
            "trailing_max_drawdown": course.opened_with + lowest <= floor + FIRED_MARGIN,
            "period_loss": lowest_realised + oracle.told_before_today(account_id)
            <= -limits["week"] + FIRED_MARGIN,
            "consistency": highest >= self._most_today(account_id) - FIRED_MARGIN,
        }
        if not reasons[rule]:
            oracle.violate(
                "a day was ended without a reason",
                f"account {account_id}: {decision.reason}; at the exchange {lowest} to {highest}, "
                f"best {course.peak}",
            )
