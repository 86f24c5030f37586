"""The Rules tab: each rule in its place, what is left of it, and one explained on Enter."""

import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from dashboard_screen import Seen, screen
from feed_daemon import FeedDaemon, until

from risk_manager.dashboard.shades import percent, word_and_colour
from risk_manager.dashboard.widgets.account_header import AccountHeader
from risk_manager.dashboard.widgets.meters import Meters
from risk_manager.dashboard.widgets.rule_screen import RuleScreen
from risk_manager.dashboard.widgets.rules import Rules
from risk_manager.dashboard.widgets.text import Text
from risk_manager.domain.rule import Rule
from risk_manager.feed.messages import MeterRow
from risk_manager.rules.consecutive_loss_limit import ConsecutiveLossLimit
from risk_manager.rules.cooldown_after_loss import CooldownAfterLoss, Tier
from risk_manager.rules.daily_realized_loss import DailyRealizedLoss
from risk_manager.rules.max_contracts import MaxContracts

pytestmark = pytest.mark.wire

METER = MeterRow(
    rule_id="r", spec_id="RULE-001", title="Contracts", state="ok", sentence="", used=0.5
)


@pytest.mark.parametrize(
    ("used", "state", "colour"),
    [
        (0.0, "ok", "$text-success"),
        (0.69, "ok", "$text-success"),
        (0.70, "ok", "$text-warning"),
        (0.89, "ok", "$text-warning"),
        (0.90, "ok", "$text-error"),
        (0.50, "warn", "$text-warning"),
        (1.00, "breach", "$text-error"),
        (None, "unknown", "$text-accent"),
        (None, "ok", "$text-success"),
    ],
)
def test_a_limit_is_amber_from_70_and_red_from_90_percent(
    used: float | None, state: str, colour: str
) -> None:
    word, shown = word_and_colour(replace(METER, used=used, state=state))
    assert shown == colour
    assert word == state.upper()


def test_a_figure_on_the_safe_side_of_zero_is_no_percent() -> None:
    told = [percent(replace(METER, used=used)) for used in (-0.4, 0.0, 0.704, 3.19, None)]
    assert told == ["0%", "0%", "70%", "319%", ""]


def shadowed() -> tuple[Rule, ...]:
    return (
        DailyRealizedLoss(limit=Decimal(500)),
        MaxContracts(limit=5, shadow=True),
    )


async def explained(seen: Seen, *words: str) -> str:
    def shown() -> str:
        if not isinstance(seen.app.screen, RuleScreen):
            return ""
        text = str(seen.app.screen.query_one(Text).content)
        return text if all(word in text for word in words) else ""

    return await until(shown)


async def test_every_rule_has_its_place_its_sentence_and_its_last_breach(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path, rules=shadowed) as daemon, screen(tmp_path) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        await seen.pilot.press("4")
        calm = await seen.shows(Rules, "Contracts held", "Loss today", "SHADOW", "OK")
        assert "last acted" not in calm
        places = calm.index("Contracts held"), calm.index("Loss today")
        await daemon.trade("-600")
        text = await seen.shows(Rules, "BREACH", "last acted", "120%")
        assert (text.index("Contracts held") < text.index("Loss today")) == (places[0] < places[1])


def tall() -> tuple[Rule, ...]:
    """More rules than fit, with sentences that are longer than a line of 80 columns."""
    tiers = tuple(
        Tier(loss=Decimal(100 * n), cooldown=timedelta(minutes=5 * n)) for n in range(1, 6)
    )
    paused = [CooldownAfterLoss(id=f"pause-{n}", tiers=tiers) for n in range(6)]
    return (MaxContracts(limit=5), *paused, DailyRealizedLoss(limit=Decimal(500)))


async def test_a_long_sentence_is_whole_and_the_chosen_rule_stays_in_view(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path, rules=tall), screen(tmp_path, (80, 24)) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        await seen.pilot.press("4")
        text = await seen.shows(Rules, "▶", "from $400, 25m from $500")
        assert "…" not in text
        rules = seen.app.screen.query_one(Rules)
        height = rules.scrollable_content_region.height
        for key in ("down",) * 8 + ("up",) * 8:
            await seen.pilot.press(key)
            await seen.pilot.pause()
            lines = rules.text.split("\n")
            at = next(n for n, line in enumerate(lines) if line.startswith("▶"))
            last = next(
                (n for n in range(at + 1, len(lines)) if not lines[n].startswith(" " * 9)),
                len(lines),
            )
            assert rules.scroll_y <= at
            assert last <= rules.scroll_y + height


async def test_enter_explains_the_chosen_rule_with_its_figures(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path, rules=shadowed) as daemon, screen(tmp_path, (80, 24)) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        await seen.pilot.press("4")
        await seen.shows(Rules, "▶ OK      Contracts held")
        await seen.pilot.press("enter")
        text = await explained(seen, "Contracts held", "5 contracts", "SHADOW: this rule decides")
        assert "At most 5 contracts" in text
        assert text.endswith("Today\nnothing")
        await seen.pilot.press("escape")
        await until(lambda: not isinstance(seen.app.screen, RuleScreen))
        await seen.pilot.press("down")
        await seen.pilot.press("down")  # it stays on the last
        await seen.shows(Rules, "▶ OK      Loss today")
        await seen.pilot.press("enter")
        await explained(seen, "within the limit", "$500.00", "left   $500.00")
        await daemon.trade("-600")  # the window is live
        await explained(
            seen, "the limit is reached", "$601.00", "It locks now", "LOCKED  lost $601.00 today"
        )
        await seen.pilot.press("q")  # closes the window, not the screen
        await until(lambda: not isinstance(seen.app.screen, RuleScreen))
        await seen.pilot.press("up")
        await seen.shows(Rules, "▶ WARN    Contracts held")


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_no_amount_is_cut_and_no_title_where_there_is_room(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    rules = (
        ConsecutiveLossLimit(losses=3, shadow=True),
        CooldownAfterLoss.model_validate({"tiers": [{"loss": 100, "cooldown": "5m"}]}),
    )
    async with FeedDaemon(tmp_path, rules=lambda: rules), screen(tmp_path, size) as seen:
        text = await seen.shows(Meters, "a trade that loses", "shadow")
        for row in text.splitlines():
            assert len(row) <= seen.app.screen.query_one(Meters).room
            assert not re.search(r"\$[\d.,]*…|\d…", row)
        if size[0] > 100:
            assert "Losses in a row (shadow) " in text
        await seen.pilot.press("4")
        told = await seen.shows(Rules, "$100.00 pauses entries")
        assert not re.search(r"\d…", told)


async def test_an_account_without_rules_says_so(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path, rules=lambda: ()), screen(tmp_path) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        await seen.pilot.press("4", "down", "enter")
        await seen.shows(Rules, "no rules are in force")
        assert not isinstance(seen.app.screen, RuleScreen)
