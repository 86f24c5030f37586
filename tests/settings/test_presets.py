"""Presets: every figure by hand, how they stand in the file, and that a new version loosens
nothing before the reset."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from config_folder import ConfigFolder

from risk_manager.settings import Configuration
from risk_manager.settings.commitment import Commitment
from risk_manager.settings.loading import load, load_texts
from risk_manager.settings.preset_entries import PresetEntry, line_id, made
from risk_manager.settings.preset_files import (
    Preset,
    file_of,
    shipped_names,
    shipped_preset,
    shipped_text,
)
from risk_manager.settings.problems import ConfigurationErrors
from risk_manager.settings.rule_entries import rule_classes

FRIDAY, MONDAY = date(2026, 11, 20), date(2026, 11, 23)
COMBINE = "topstep-50k-combine"
SOON, LATER = date(2026, 12, 31), date(2027, 2, 28)
CHECKED = date(2026, 11, 26)

# The figures as the firm states them, by account size. Written by hand, not read from the data.
MAXIMUM_LOSS = {50_000: 2_000, 100_000: 3_000, 150_000: 4_500}
PROFIT_TARGET = {50_000: 3_000, 100_000: 6_000, 150_000: 9_000}
DAILY_LOSS = {50_000: 1_000, 100_000: 2_000, 150_000: 3_000}
LIVE_DAILY_LOSS = {50_000: 2_000, 100_000: 3_000, 150_000: 4_500}
BEST_DAY = {50_000: "1,650", 100_000: "3,300", 150_000: "4,950"}
MINIS = {50_000: 5, 100_000: 10, 150_000: 15}
METALS_AND_ENERGY = {50_000: 3, 100_000: 6, 150_000: 9}
# From which balance on how many minis: the ladder of express accounts.
LADDER = {
    50_000: [(None, 2), (1_500, 3), (2_000, 5)],
    100_000: [(None, 3), (1_500, 4), (2_000, 5), (3_000, 10)],
    150_000: [(None, 3), (1_500, 4), (2_000, 5), (3_000, 10), (4_500, 15)],
}
SIZES = {"50k": 50_000, "100k": 100_000, "150k": 150_000}
EVERY = [f"topstep-{size}-{phase}" for size in SIZES for phase in ("combine", "express", "live")]
OF_PHASE = {
    phase: [(f"topstep-{word}-{phase}", size) for word, size in SIZES.items()]
    for phase in ("combine", "express", "live")
}
WITH_LIMITS = OF_PHASE["combine"] + OF_PHASE["express"]


def line(name: str, word: str) -> Any:
    found = shipped_preset(name).line(word)
    assert found is not None, (name, word)
    return found


def test_there_is_a_preset_for_each_size_and_phase() -> None:
    assert sorted(EVERY) == list(shipped_names())
    for name in EVERY:
        _, size, phase = name.split("-")
        preset = shipped_preset(name)
        assert (preset.account_size, preset.phase) == (SIZES[size], phase)


@pytest.mark.parametrize(("name", "size"), OF_PHASE["combine"])
def test_the_maximum_loss_of_an_evaluation(name: str, size: int) -> None:
    found = line(name, "maximum_loss")
    assert found.rule == "trailing_max_drawdown"
    assert found.set == {
        "start_balance": size,
        "distance": MAXIMUM_LOSS[size],
        "lock_at": size,
        "mode": "eod",
        "buffer": 50,
    }
    assert (found.confidence, found.expires) == ("high", LATER)
    assert "public rulebook" in found.source


@pytest.mark.parametrize(("name", "size"), OF_PHASE["express"])
def test_the_maximum_loss_of_an_express_account_starts_at_zero(name: str, size: int) -> None:
    found = line(name, "maximum_loss")
    assert found.rule == "trailing_max_drawdown"
    assert found.set == {
        "start_balance": 0,
        "distance": MAXIMUM_LOSS[size],
        "lock_at": 0,
        "mode": "eod",
        "buffer": 50,
    }
    assert (found.confidence, found.expires) == ("high", LATER)


@pytest.mark.parametrize(("name", "size"), WITH_LIMITS)
def test_the_daily_loss_is_optional_and_counts_open_positions(name: str, size: int) -> None:
    found = line(name, "daily_loss")
    assert found.rule == "daily_realized_loss"
    assert found.set == {
        "limit": DAILY_LOSS[size],
        "include_unrealized": True,
        "action": "close_all_and_lockout",
        "lockout": "until_reset",
        "unlock": "timer_only",
    }
    assert found.optional
    assert (found.confidence, found.expires) == ("high", LATER)
    assert "10490293" in found.source


@pytest.mark.parametrize(("name", "size"), OF_PHASE["live"])
def test_the_daily_loss_of_a_live_account_is_not_optional(name: str, size: int) -> None:
    found = line(name, "daily_loss")
    assert (found.rule, found.set["limit"]) == ("daily_realized_loss", LIVE_DAILY_LOSS[size])
    assert found.set["include_unrealized"] is True
    assert not found.optional
    assert "11748475" in found.source
    assert (found.confidence, found.expires) == ("high", LATER)


@pytest.mark.parametrize("name", [name for name, _ in OF_PHASE["live"]])
def test_a_live_account_is_told_that_automation_is_prohibited(name: str) -> None:
    found = line(name, "automation")
    assert found.figure == "automated trading through the API is prohibited"
    assert "10657969" in found.source
    # What is stated for the other phases only is not guessed here.
    assert shipped_preset(name).line("maximum_loss") is None
    assert shipped_preset(name).line("most_contracts") is None


@pytest.mark.parametrize(("name", "size"), WITH_LIMITS)
def test_the_most_contracts_are_in_micros_ten_to_a_mini(name: str, size: int) -> None:
    found = line(name, "most_contracts")
    assert found.rule == "max_contracts"
    assert found.set == {
        "limit": MINIS[size] * 10,
        "count": "micro_equivalents",
        "action": "reduce_to_limit",
    }
    assert (found.confidence, found.expires) == ("high", LATER)
    assert "8284197" in found.source


@pytest.mark.parametrize(("name", "size"), OF_PHASE["express"])
def test_the_ladder_of_an_express_account(name: str, size: int) -> None:
    found = line(name, "scaling")
    assert found.rule == "scaling_plan"
    tiers = [(tier.get("min_balance"), tier["max"]) for tier in found.set["tiers"]]
    assert tiers == [(balance, minis * 10) for balance, minis in LADDER[size]]
    assert (found.set["count"], found.set["start_balance"]) == ("micro_equivalents", 0)
    assert (found.confidence, found.expires) == ("medium", LATER)


@pytest.mark.parametrize(("name", "size"), OF_PHASE["combine"])
def test_target_and_best_day_of_an_evaluation(name: str, size: int) -> None:
    assert line(name, "profit_target").figure == f"{PROFIT_TARGET[size]:,} passes the evaluation"
    found = line(name, "consistency")
    assert found.rule == "consistency"
    assert Decimal(str(found.set["share"])) == Decimal("0.55")
    assert found.set["profit_target"] == PROFIT_TARGET[size]
    assert found.needs == ("since",)
    assert BEST_DAY[size] in found.note
    assert f"{PROFIT_TARGET[size] * 55 // 100:,}" == BEST_DAY[size]
    assert (found.confidence, found.expires) == ("high", LATER)
    assert "8284208" in found.source


@pytest.mark.parametrize("name", [name for name, _ in OF_PHASE["express"]])
def test_the_best_day_before_a_payout(name: str) -> None:
    found = line(name, "consistency")
    assert found.rule == "consistency"
    assert Decimal(str(found.set["share"])) == Decimal("0.4")
    assert found.needs == ("since",)
    assert (found.confidence, found.expires) == ("medium", LATER)


@pytest.mark.parametrize("name", EVERY)
def test_temporary_caps_and_blocks_of_products(name: str) -> None:
    size = shipped_preset(name).account_size
    caps = line(name, "product_caps")
    assert caps.rule == "product_caps"
    assert [(c["roots"], c["limit"], c["from"]) for c in caps.set["caps"]] == [
        ([root], METALS_AND_ENERGY[size], date(2026, 9, 17)) for root in ("GC", "CL", "HO", "RB")
    ]
    blocks = line(name, "blocked_products")
    assert (blocks.rule, blocks.set) == ("symbol_blocks", {"blocked": ["SI", "HG", "PL"]})
    for found in (caps, blocks):
        assert "13613539" in found.source
        assert found.expires == SOON
        assert found.confidence == ("low" if name.endswith("live") else "medium")


@pytest.mark.parametrize("name", EVERY)
def test_five_minutes_around_cpi(name: str) -> None:
    found = line(name, "news")
    assert found.rule == "release_window"
    assert (found.set["before"], found.set["after"]) == ("5m", "5m")
    assert found.set["roots"] == ["ES", "NQ", "YM", "RTY", "NKD"]
    assert found.set["action"] == "block_entries"
    assert found.needs == ("windows",)  # the dates of the releases are not guessed
    assert found.expires == SOON
    assert "1 / 3 / 6 / 9 / 15" in line(name, "news_micros").figure


@pytest.mark.parametrize("name", EVERY)
def test_the_day_ends_two_minutes_before_the_firm_wants_to_see_it_flat(name: str) -> None:
    found = line(name, "session")
    assert found.rule == "session_block_outside"
    assert found.set == {
        "timezone": "America/Chicago",
        "sessions": [
            {"days": ["sun", "mon", "tue", "wed", "thu"], "start": "17:00", "end": "15:08"}
        ],
        "respect_holidays": True,
        "early_close_margin": "17m",
    }
    assert "8284206" in found.source
    assert "13350348" in found.source
    assert (found.confidence, found.expires) == ("medium", LATER)


def test_every_line_was_checked_on_the_same_day_and_has_a_test_above() -> None:
    tested = {
        "maximum_loss", "daily_loss", "automation", "most_contracts", "scaling", "profit_target",
        "consistency", "product_caps", "blocked_products", "news", "news_micros", "session",
    }  # fmt: skip
    for name in EVERY:
        for found in shipped_preset(name).lines:
            assert found.name in tested
            assert found.checked == CHECKED


@pytest.mark.parametrize("name", EVERY)
def test_a_line_whose_rule_is_here_is_valid_and_can_be_said_in_words(name: str) -> None:
    """Lines for a rule that is not here yet are tried as soon as it is."""
    preset, classes = shipped_preset(name), rule_classes()
    entry = PresetEntry(
        preset=name,
        given={
            "consistency": {"since": "2026-11-02"},
            "news": {"windows": [{"at": "2026-12-10 07:30", "name": "CPI"}]},
        },
    )
    for found in preset.lines:
        if found.rule in classes:
            rule = made(found, line_id(preset, found), classes, entry)
            assert rule.in_words()
            assert rule.id == f"{name}.{found.name}"


# --- in the file ----------------------------------------------------------------------------------


def rule_ids(configuration: Configuration, account_id: int = 101) -> set[str]:
    return {rule.id for rule in configuration.rules_of(account_id)}


def limits_of(configuration: Configuration, name: str) -> dict[str, Any]:
    rules = configuration.rules_of(101)
    return {r.id: r.model_dump()["limit"] for r in rules if r.rule == name}


@pytest.mark.parametrize(
    "rules",
    [
        f"rules: [{{preset: {COMBINE}}}, {{rule: max_unrealized_profit, target: 500}}]",
        f"rules: {{preset: {COMBINE}, own: [{{rule: max_unrealized_profit, target: 500}}]}}",
    ],
    ids=["in the list", "beside own"],
)
def test_a_preset_stands_beside_rules_of_your_own_in_either_form(
    config: ConfigFolder, rules: str
) -> None:
    config.risk(rules)
    found = rule_ids(config.load())
    assert found >= {
        f"{COMBINE}.daily_loss",
        f"{COMBINE}.most_contracts",
        f"{COMBINE}.blocked_products",
        f"{COMBINE}.session",
        "max_unrealized_profit",
    }


def test_a_preset_alone_needs_no_rules_of_your_own(config: ConfigFolder) -> None:
    config.risk(f"rules: {{preset: {COMBINE}}}")
    assert f"{COMBINE}.daily_loss" in rule_ids(config.load())


def test_lines_are_left_out_and_accounts_are_chosen(config: ConfigFolder) -> None:
    config.risk(
        "rules:\n"
        f"  - {{preset: {COMBINE}, accounts: [101], without: [daily_loss, session]}}\n"
        "  - {preset: topstep-150k-express, accounts: [102], shadow: true}"
    )
    found = config.load()
    assert {i.partition(".")[0] for i in rule_ids(found, 101)} == {COMBINE}
    assert not {f"{COMBINE}.daily_loss", f"{COMBINE}.session"} & rule_ids(found, 101)
    others = found.rules_of(102)
    assert {r.id.partition(".")[0] for r in others} == {"topstep-150k-express"}
    assert all(rule.shadow for rule in others)


@pytest.mark.parametrize(
    ("own", "left"),
    [
        (30, {"max_contracts": 30}),
        (80, {f"{COMBINE}.most_contracts": 50}),
    ],
    ids=["yours is tighter", "the firm's is tighter"],
)
def test_of_two_limits_of_a_kind_the_tighter_one_is_left(
    config: ConfigFolder, own: int, left: Mapping[str, int]
) -> None:
    config.risk(
        f"rules: [{{preset: {COMBINE}}}, "
        f"{{rule: max_contracts, limit: {own}, count: micro_equivalents}}]"
    )
    configuration = config.load()
    assert limits_of(configuration, "max_contracts") == left
    in_the_book = {r.id for r in configuration.rulebook().for_account(101).rules}
    assert in_the_book == rule_ids(configuration)


def test_limits_that_count_differently_both_hold(config: ConfigFolder) -> None:
    config.risk(f"rules: [{{preset: {COMBINE}}}, {{rule: daily_realized_loss, limit: 400}}]")
    assert limits_of(config.load(), "daily_realized_loss") == {
        f"{COMBINE}.daily_loss": 1000,
        "daily_realized_loss": 400,
    }


def test_a_rule_in_shadow_takes_nothing_away(config: ConfigFolder) -> None:
    config.risk(
        f"rules: [{{preset: {COMBINE}}}, "
        "{rule: max_contracts, limit: 5, count: micro_equivalents, shadow: true}]"
    )
    assert limits_of(config.load(), "max_contracts") == {
        f"{COMBINE}.most_contracts": 50,
        "max_contracts": 5,
    }


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ("[{preset: topstep-50k-combin}]", 'no such preset; did you mean "topstep-50k-combine"?'),
        ("[{preset: zzz}]", "no such preset; presets here: topstep-100k-combine, "),
        (f"[{{preset: {COMBINE}, without: [dayly_loss]}}]", 'did you mean "daily_loss"?'),
        (f"[{{preset: {COMBINE}, limit: 5}}]", "unknown key"),
        (f"[{{preset: {COMBINE}}}, {{preset: {COMBINE}}}]", "is there already"),
        (f"{{preset: {COMBINE}, own: 5}}", "must be a list"),
        (
            f"[{{preset: {COMBINE}, given: {{daily_loss: {{limit: 5000}}}}}}]",
            "this line takes no values; lines that do: maximum_loss, consistency, news",
        ),
        (
            f"[{{preset: {COMBINE}, given: {{maximum_loss: {{distance: 9000}}}}}}]",
            "is not a value that you state; you may state floor, floor_from",
        ),
        (
            f"[{{preset: {COMBINE}}}, "
            f"{{rule: max_contracts, limit: 5, id: {COMBINE}.most_contracts}}]",
            "is that of a line of a preset",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(config: ConfigFolder, rules: str, told: str) -> None:
    config.risk(f"rules: {rules}")
    errors = config.errors()
    assert any(told in error for error in errors), errors


def test_an_account_does_not_change_a_line_of_a_preset(config: ConfigFolder) -> None:
    config.risk(
        f"rules: [{{preset: {COMBINE}}}]",
        "accounts: {101: {overrides: "
        f"[{{target: {COMBINE}.daily_loss, set: {{limit: 5000}}}}]}}}}",
    )
    (error,) = config.errors()
    assert "a line of a preset is not changed; write a rule of your own" in error


# --- dates and versions ---------------------------------------------------------------------------


def warnings_on(config: ConfigFolder, today: date) -> list[str]:
    return [str(p) for p in load(config.path, {}, today=today).warnings]


def test_a_figure_that_has_expired_is_warned_of_and_holds(config: ConfigFolder) -> None:
    config.risk(f"rules: [{{preset: {COMBINE}}}]")
    assert not any("no longer relied upon" in w for w in warnings_on(config, SOON))
    (warning,) = [w for w in warnings_on(config, date(2027, 1, 1)) if "no longer relied" in w]
    assert "product_caps (2026-12-31), blocked_products (2026-12-31)" in warning
    assert warning.startswith("risk_config.yaml:2: ")
    found = load(config.path, {}, today=date(2027, 1, 1))
    assert f"{COMBINE}.blocked_products" in rule_ids(found)


def test_a_line_that_is_left_out_is_not_warned_of(config: ConfigFolder) -> None:
    gone = "product_caps, blocked_products, news, news_micros"
    config.risk(f"rules: [{{preset: {COMBINE}, without: [{gone}]}}]")
    assert not any("no longer relied" in w for w in warnings_on(config, date(2027, 1, 1)))


def with_line(name: str, rule: str, values: str) -> str:
    """A preset of one line, as another version of the program might ship it."""
    return (
        f"preset: {COMBINE}\ntitle: A plan\naccount_size: 50000\nphase: combine\nlines:\n"
        f"  - {{name: {name}, rule: {rule}, set: {{{values}}}, source: a page, "
        "checked: 2026-11-26, expires: 2027-02-28, confidence: high}\n"
    )


def kept(config: ConfigFolder, text: str) -> dict[str, str]:
    """What an earlier version of the program, with this preset, has left in the database."""
    return {**config.load().texts, file_of(COMBINE): text}


def in_force(commitment: Commitment, found: Configuration) -> dict[str, int]:
    rules = commitment.rulebook(found).for_account(101).rules
    return {r.id: r.model_dump()["limit"] for r in rules if r.rule == "max_contracts"}


def micros(limit: int) -> str:
    return with_line("most_contracts", "max_contracts", f"limit: {limit}, count: micro_equivalents")


@pytest.fixture
def plain(config: ConfigFolder) -> ConfigFolder:
    config.write("accounts.yaml", "accounts: [{id: 101}]")
    config.risk(f"rules: [{{preset: {COMBINE}}}]")
    return config


def test_the_limits_in_force_are_those_of_the_preset_as_it_was(plain: ConfigFolder) -> None:
    stored = load_texts(plain.path, kept(plain, micros(20)))
    assert limits_of(stored, "max_contracts") == {f"{COMBINE}.most_contracts": 20}
    assert stored.digest != plain.load().digest


def test_a_looser_version_of_a_preset_waits_for_the_reset(plain: ConfigFolder) -> None:
    found = plain.load()
    before = Commitment.read(Commitment(in_force=kept(plain, micros(20))).text())
    after = before.after_reading(found, FRIDAY)
    line_ = f"{COMBINE}.most_contracts"
    assert in_force(after, found) == {line_: 50, f"{line_} (until the reset)": 20}
    assert after.kept_today(found) == (line_,)
    again = Commitment.read(after.text()).after_reading(found, MONDAY)
    assert in_force(again, found) == {line_: 50}


def test_a_tighter_version_of_a_preset_counts_at_once(plain: ConfigFolder) -> None:
    found = plain.load()
    before = Commitment(in_force=kept(plain, micros(80)))
    after = before.after_reading(found, FRIDAY)
    assert in_force(after, found) == {f"{COMBINE}.most_contracts": 50}
    assert after.waiting is None


def test_other_dates_of_the_same_figures_change_nothing(plain: ConfigFolder) -> None:
    text = shipped_text(COMBINE).replace("checked: 2026-11-26", "checked: 2026-11-01")
    before = Commitment(in_force=kept(plain, text))
    assert before.after_reading(plain.load(), FRIDAY) == before


@pytest.mark.parametrize("less", ["rules: []", f"rules: [{{preset: {COMBINE}, enabled: false}}]"])
def test_a_preset_taken_out_holds_until_the_reset(plain: ConfigFolder, less: str) -> None:
    before = Commitment(in_force=plain.load().texts)
    plain.risk(less)
    found = plain.load()
    after = before.after_reading(found, FRIDAY)
    older = {r.id for r in after.rulebook(found).for_account(101).rules}
    assert f"{COMBINE}.daily_loss (until the reset)" in older
    after = after.after_reading(found, MONDAY)
    assert after.rulebook(found).for_account(101).rules == ()


def test_a_limit_hidden_by_a_tighter_one_holds_once_that_one_is_gone(plain: ConfigFolder) -> None:
    plain.risk(
        f"rules: [{{preset: {COMBINE}}}, "
        "{rule: max_contracts, limit: 3, count: micro_equivalents}]"
    )
    before = Commitment(in_force=plain.load().texts)
    plain.risk(f"rules: [{{preset: {COMBINE}}}]")
    found = plain.load()
    after = before.after_reading(found, FRIDAY)
    line_ = f"{COMBINE}.most_contracts"
    assert in_force(after, found) == {line_: 50, "max_contracts (until the reset)": 3}
    after = after.after_reading(found, MONDAY)
    assert in_force(after, found) == {line_: 50}


NEEDS_A_LIMIT = with_line("most_contracts", "max_contracts", "count: micro_equivalents").replace(
    "source:", "needs: [limit], source:"
)


def test_a_line_that_needs_a_value_of_yours_waits_for_it(plain: ConfigFolder) -> None:
    stored = load_texts(plain.path, kept(plain, NEEDS_A_LIMIT))
    assert stored.rules_of(101) == ()
    (warning,) = [str(w) for w in stored.warnings if "before you state" in str(w)]
    assert "most_contracts is not enforced before you state: given: {most_contracts: " in warning

    plain.risk(f"rules: [{{preset: {COMBINE}, given: {{most_contracts: {{limit: 7}}}}}}]")
    text = (plain.path / "risk_config.yaml").read_text(encoding="utf-8")
    plain.risk(f"rules: [{{preset: {COMBINE}}}]")
    found = load_texts(plain.path, {**kept(plain, NEEDS_A_LIMIT), "risk_config.yaml": text})
    assert limits_of(found, "max_contracts") == {f"{COMBINE}.most_contracts": 7}
    assert not any("before you state" in str(w) for w in found.warnings)


def test_a_line_without_a_rule_here_is_told_and_the_others_hold(plain: ConfigFolder) -> None:
    text = with_line("tomorrow", "a_rule_of_tomorrow", "limit: 5")
    stored = load_texts(plain.path, kept(plain, text))
    assert stored.rules_of(101) == ()
    (warning,) = [str(w) for w in stored.warnings if "no such rule in this version" in str(w)]
    assert "tomorrow (a_rule_of_tomorrow)" in warning


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("limit: 5,", "limit: 0,"), "most_contracts: limit: must be above 0"),
        (("confidence: high", "confidence: total"), "must be one of high, medium, low"),
        (("expires: 2027-02-28", "expires: 2026-11-26"), "expires before it was checked"),
        ((f"preset: {COMBINE}", "preset: another"), f"must be {COMBINE}"),
        (("rule: max_contracts, ", ""), "either a rule with its values, or a figure"),
    ],
)
def test_a_broken_preset_is_an_error_that_names_the_line(
    plain: ConfigFolder, change: tuple[str, str], told: str
) -> None:
    with pytest.raises(ConfigurationErrors) as caught:
        load_texts(plain.path, kept(plain, micros(5).replace(*change)))
    assert told in str(caught.value)


def test_a_source_is_told_with_its_date(config: ConfigFolder) -> None:
    config.risk(f"rules: [{{preset: {COMBINE}}}, {{rule: max_contracts, limit: 5}}]")
    found = config.load()
    told = found.line_of(f"{COMBINE}.most_contracts")
    assert told is not None
    preset, of = told
    assert isinstance(preset, Preset)
    assert of.told_source() == "TopstepX help 8284197, checked 2026-11-26, confidence high"
    assert found.line_of("max_contracts") is None
