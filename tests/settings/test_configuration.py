"""What a valid configuration folder becomes."""

import os
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from config_folder import SHIPPED, TODAY, ConfigFolder
from pydantic import BaseModel
from ruamel.yaml import YAML

from risk_manager.domain.rulebook import Mode, PriceBasis
from risk_manager.rules.flat_by import FlatBy
from risk_manager.rules.max_contracts import MaxContracts
from risk_manager.settings import SecretUnavailable, load
from risk_manager.settings.configuration import Configuration
from risk_manager.settings.market_calendar import shipped_table
from risk_manager.settings.risk_file import RiskFile
from risk_manager.settings.rule_entries import rule_classes

TWO_RULES = """\
rules:
  - {rule: max_contracts, id: size, limit: 5}
  - {rule: max_contracts_per_instrument, limits: {MNQ: 3, ES: 1}}
"""


def limit(configuration: Configuration, account: int, rule_id: str = "size") -> int:
    rule = next(r for r in configuration.rules_of(account) if r.id == rule_id)
    assert isinstance(rule, MaxContracts)
    return rule.limit


def test_the_shipped_files_guard_the_two_practice_accounts_without_a_warning() -> None:
    shipped = load(SHIPPED, {}, today=TODAY)
    assert shipped.warnings == ()
    assert shipped.settings.gateway.kind == "practice"
    book = shipped.rulebook()
    assert list(book.accounts) == [101, 102]
    assert book.day.reset == time(17)
    assert book.day.timezone == "America/New_York"
    assert len(book.digest) == 64
    assert {"max_contracts", "daily_realized_loss"} <= {r.id for r in book.accounts[101].rules}


def test_the_shipped_limits_show_every_rule_with_every_word_it_knows() -> None:
    """What stands in the file is what an operator can find; the rest nobody would guess."""
    written = YAML(typ="safe").load((SHIPPED / "risk_config.yaml").read_text(encoding="utf-8"))
    entries = {entry["rule"]: entry for entry in written["rules"]}
    assert list(entries) == list(rule_classes())
    common = {"id", "enabled", "shadow", "accounts", "pnl_basis"}
    for name, cls in rule_classes().items():
        assert cls.model_fields.keys() - common <= entries[name].keys(), name
    for name, section in RiskFile.model_fields.items():
        model = section.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            assert model.model_fields.keys() <= written[name].keys(), name


def test_the_shipped_limits_let_a_practice_account_trade_at_any_hour() -> None:
    """Nothing that depends on the clock, and nothing that trades by itself, is switched on."""
    rules = load(SHIPPED, {}, today=TODAY).rules_of(101)
    assert {r.rule for r in rules} == set(rule_classes()) - {
        "max_unrealized_profit",
        "session_block_outside",
        "trade_management",
        "daily_profit_target",
        "consecutive_loss_limit",
        "trailing_max_drawdown",
        "trailing_daily_loss",
        "period_loss",
        "scaling_plan",
        "giveback",
        "consistency",
        "release_window",
        "product_caps",
        "group_limit",
        "own_pace",
        "max_risk_at_entry",
        "no_averaging_down",
        "stop_guard",
        "size_after_loss",
        "reentry_delay",
    }


def test_sections_become_what_the_core_reads(config: ConfigFolder) -> None:
    config.risk(
        "rules: []",
        'trading_day: {reset: "16:30", timezone: America/Chicago}\n'
        'defaults: {on_missing_data: "flatten_after:30s", pnl_price: worst,'
        " foreign_fill_policy: reduce_only_ok}\n"
        "symbols: {aliases: {abc: es}, groups: {sp: [es, MES]},"
        " micro_equivalents: {overrides: {sil: 2}}}",
    )
    book = config.load().rulebook()
    assert book.day.reset == time(16, 30)
    assert book.defaults.flatten_after == timedelta(seconds=30)
    assert book.defaults.pnl_price is PriceBasis.WORST
    assert book.defaults.keep_reducing_fills
    assert book.symbols.aliases == {"ABC": "ES"}
    assert book.symbols.groups == {"sp": ("ES", "MES")}
    assert book.symbols.weight("SIL") == Decimal(2)


def test_symbols_that_look_like_other_things_stay_symbols(config: ConfigFolder) -> None:
    config.risk(
        "rules:\n  - {rule: max_contracts_per_instrument, limits: {6E: 1, NO: 2}}\n"
        "  - {rule: symbol_blocks, blocked: [6J, GC*]}"
    )
    instrument, blocks = config.load().rules
    assert instrument.model_dump()["limits"] == {"6E": 1, "NO": 2}
    assert blocks.model_dump()["blocked"] == ("6J", "GC*")


def test_the_hour_to_be_flat_is_a_limit_of_every_account(config: ConfigFolder) -> None:
    config.risk(TWO_RULES, 'trading_day: {timezone: America/Chicago, flat_by: "15:10"}')
    configuration = config.load()
    assert [r.id for r in configuration.rules_of(101)][-1] == "flat_by"
    rules = configuration.rulebook().accounts[102].rules
    (rule,) = (r for r in rules if isinstance(r, FlatBy))
    (session,) = rule.sessions
    assert session.days == ("sun", "mon", "tue", "wed", "thu")
    assert (session.start, session.end) == (17 * 60, 15 * 60 + 10)
    config.risk(TWO_RULES, "trading_day: {flat_by: null}")
    assert {r.id for r in config.load().rules_of(101)} == {"size", "max_contracts_per_instrument"}
    config.risk(TWO_RULES.replace("size", "flat_by"))
    assert "flat_by" in {r.id for r in config.load().rules_of(101)}  # the name is free then


def test_an_account_overrides_one_rule_and_the_others_keep_it(config: ConfigFolder) -> None:
    config.risk(
        TWO_RULES,
        "accounts:\n"
        "  101:\n    mode: shadow\n    label: big\n    overrides:\n"
        "      - {target: max_contracts, set: {limit: 3}}\n"
        "      - {target: max_contracts_per_instrument, set: {limits: {ES: 2}}}\n",
    )
    configuration = config.load()
    assert limit(configuration, 101) == 3
    assert limit(configuration, 102) == 5
    assert configuration.rules_of(101)[1].model_dump()["limits"] == {"MNQ": 3, "ES": 2}
    assert configuration.mode_of(101) is Mode.SHADOW
    assert configuration.rulebook().accounts[102].mode is Mode.ENFORCE


def test_lists_replace_and_switched_off_rules_are_left_out(config: ConfigFolder) -> None:
    config.risk(
        "rules:\n"
        "  - {rule: symbol_blocks, blocked: [RTY, CL]}\n"
        "  - {rule: max_contracts, limit: 5, accounts: [102]}\n",
        "accounts:\n"
        "  101: {overrides: [{target: symbol_blocks, set: {blocked: [GC]}}]}\n"
        "  102: {overrides: [{target: symbol_blocks, set: {enabled: false}}]}\n",
    )
    configuration = config.load()
    assert [r.model_dump()["blocked"] for r in configuration.rules_of(101)] == [("GC",)]
    assert [r.id for r in configuration.rules_of(102)] == ["max_contracts"]


def test_two_rules_of_one_kind_with_their_own_ids(config: ConfigFolder) -> None:
    config.risk(
        "rules:\n"
        "  - {rule: max_contracts, id: gross, limit: 5}\n"
        "  - {rule: max_contracts, id: micros, limit: 50, count: micro_equivalents, shadow: true}\n"
    )
    assert [(r.id, r.shadow) for r in config.load().rules] == [("gross", False), ("micros", True)]


def test_the_digest_follows_the_limits_and_nothing_else(config: ConfigFolder) -> None:
    config.risk(TWO_RULES)
    before = config.load().digest
    config.risk(
        "# the same\n" + TWO_RULES.replace("{MNQ: 3, ES: 1}", "{es: 1, MNQ: 3}"),
        "defaults: {reissue_after: 3000ms}",
    )
    assert config.load().digest == before
    config.write("settings.yaml", "logging: {level: DEBUG}")
    assert config.load().digest == before
    config.risk(TWO_RULES.replace("limit: 5", "limit: 6"))
    assert config.load().digest != before


def test_a_disabled_account_has_no_rules_and_an_unlisted_one_only_when_asked(
    config: ConfigFolder,
) -> None:
    config.write("accounts.yaml", "accounts: [{id: 101}, {id: 102, enabled: false}]")
    assert list(config.load().rulebook(unlisted=[999]).accounts) == [101]
    config.write(
        "accounts.yaml", "accounts: [{id: 101}, {id: 102, enabled: false}]\nunlisted: enforce"
    )
    book = config.load().rulebook(unlisted=[102, 999])
    assert list(book.accounts) == [101, 999]
    assert book.accounts[999].rules == book.accounts[101].rules


def test_the_environment_overrides_settings(config: ConfigFolder) -> None:
    env = {
        "RISK_MANAGER_GATEWAY__KIND": "projectx",
        "RISK_MANAGER_GATEWAY__API_URL": "http://127.0.0.1:9/api/",
        "RISK_MANAGER_FEED__PORT": "0",
        "RISK_MANAGER_LOGGING__JSON": "false",
        "RISK_MANAGER_LOGGING__LEVEL": "",
        "RISK_MANAGER_CONFIG": "elsewhere",
    }
    configuration = config.load(env)
    assert configuration.settings.gateway.kind == "projectx"
    assert configuration.settings.gateway.api_url == "http://127.0.0.1:9/api"
    assert configuration.settings.feed.port == 0
    assert configuration.settings.logging.as_json is False
    assert configuration.settings.logging.level == "INFO"
    assert configuration.warnings == ()


def test_a_wrong_variable_is_named(config: ConfigFolder) -> None:
    assert config.errors({"RISK_MANAGER_FEED__PORT": "many"}) == [
        "environment: RISK_MANAGER_FEED__PORT: must be a whole number"
    ]
    assert config.errors({"RISK_MANAGER_GATEWAY__API_KEY": "sk-canary-1"}) == [
        "environment: RISK_MANAGER_GATEWAY__API_KEY: must say where the secret is kept, never be "
        "the secret itself; write env:NAME, file:PATH or keyring:service/user"
    ]
    assert config.errors({"RISK_MANAGER_FEED__PROT": "1"}) == [
        'environment: RISK_MANAGER_FEED__PROT: unknown key; did you mean "port"?'
    ]
    assert len(config.errors({"RISK_MANAGER_GATEWAY": "practice"})) == 1
    assert config.warnings({"RISK_MANAGER_GATEWY__KIND": "projectx"}) == [
        'environment: RISK_MANAGER_GATEWY__KIND: no such section; did you mean "gateway"?; '
        "the variable is ignored"
    ]


WARNINGS = [
    ("rules: []", "", "no rule is in force for account combine-50k"),
    (TWO_RULES.replace("MNQ: 3", "MNQ: 9"), "", "9 is above the limit of all contracts"),
    (TWO_RULES.replace("MNQ", "MNX"), "", 'MNX names no product known here; did you mean "MNQ"?'),
    (TWO_RULES, 'trading_day: {reset: "02:30"}', "between 01:00 and 03:00 the clocks change"),
    (
        TWO_RULES,
        'trading_day: {timezone: America/Chicago, flat_by: "16:30"}',
        "16:30 America/Chicago is 16:30 in Chicago, when the exchange is shut",
    ),
    (TWO_RULES, "accounts: {1011: {label: x}}", 'not in accounts.yaml; did you mean "101"?'),
    (TWO_RULES, "accounts: {101: {mode: shadow}}", "shadow: breaches are reported"),
    (TWO_RULES, "defaults: {mode: shadow}", "shadow: breaches are reported"),
    (
        "rules: [{rule: daily_unrealized_loss, limit: 600},"
        " {rule: daily_realized_loss, limit: 500}]",
        "",
        "600 is above the limit of daily_realized_loss (500)",
    ),
    (
        "rules: [{rule: max_unrealized_profit, target: 1500},"
        " {rule: daily_profit_target, target: 1000}]",
        "",
        "1500 is above the target of daily_profit_target (1000)",
    ),
    (
        "rules: [{rule: no_stop_loss_grace, grace: 3s}]",
        "",
        "3s is too short to place a stop",
    ),
    (
        "rules: [{rule: cooldown_after_loss, tiers: [{loss: 100, cooldown: 25h}]}]",
        "",
        "a cooldown of 1d1h is longer than a day",
    ),
    (
        "rules: [{rule: trade_frequency_limit, windows: [{per: 1h, max: 3, cooldown: 2d}]}]",
        "",
        "a cooldown of 2d is longer than a day",
    ),
    (
        "rules: [{rule: consecutive_loss_limit, losses: 3, lockout: 36h}]",
        "",
        "a lockout of 1d12h is longer than a day",
    ),
    (
        "rules: [{rule: trade_frequency_limit, windows: [{per: 25h, max: 3, cooldown: 1h}]}]",
        "",
        "per: 1d1h counts no more than today and the trading day before",
    ),
    ("rules: [{rule: symbol_blocks, blocked: [X*]}]", "", "X* names no product known here"),
    (
        "rules: [{rule: session_block_outside, sessions: [{days: [mon], start: '08:30',"
        " end: '15:00'}], per_symbol: {MGX: {sessions: [{days: [mon], start: '08:30',"
        " end: '15:00'}]}}}]",
        "",
        "MGX names no product known here",
    ),
]

FINE = [
    ("rules: [{rule: trade_frequency_limit, windows: [{per: 1h, max: 3, cooldown: 1d}]}]", ""),
    ("rules: [{rule: trade_frequency_limit, windows: [{per: 1d, max: 3, cooldown: 1d}]}]", ""),
    ("rules: [{rule: consecutive_loss_limit, losses: 3, lockout: until_reset}]", ""),
    ("rules: [{rule: no_stop_loss_grace, grace: 5s}]", ""),
    ("rules: [{rule: stop_guard, grace: 1s}, {rule: max_risk_at_entry, limit: 9}]", ""),
    ("rules: [{rule: symbol_blocks, blocked: [M*, CON.F.US.XYZ.Z26]}]", ""),
    (TWO_RULES, 'trading_day: {reset: "03:00"}'),
    (TWO_RULES, 'trading_day: {flat_by: "16:10"}'),
    (TWO_RULES, 'trading_day: {reset: "7:00", timezone: Asia/Tokyo}'),
    (TWO_RULES, 'trading_day: {reset: "07:00", timezone: Asia/Tokyo, flat_by: "06:10"}'),
    (TWO_RULES.replace("limit: 5", "limit: 5, count: micro_equivalents"), ""),
]


@pytest.mark.parametrize(("rules", "rest"), FINE)
def test_what_can_be_meant_is_not_warned_about(config: ConfigFolder, rules: str, rest: str) -> None:
    config.risk(rules, rest)
    assert config.warnings() == []


@pytest.mark.parametrize(("rules", "rest", "words"), WARNINGS)
def test_what_starts_and_cannot_be_meant_is_warned_about(
    config: ConfigFolder, rules: str, rest: str, words: str
) -> None:
    config.risk(rules, rest)
    assert any(words in line for line in config.warnings())


def test_a_calendar_that_ends_soon_is_warned_about_and_corrections_may_be_missing(
    config: ConfigFolder,
) -> None:
    (config.path / "calendar.yaml").unlink()
    assert config.warnings() == []
    late = load(config.path, {}, today=date(2028, 11, 15)).warnings
    assert any("ends soon (2028-12-31)" in str(warning) for warning in late)


def test_a_correction_wins_over_the_table_of_exchange_days(config: ConfigFolder) -> None:
    table = shipped_table()
    christmas = date(2026, 12, 25)
    found = table.exception("ES", christmas)
    assert found is not None
    assert found[0].closed
    assert table.exception("ES", date(2026, 12, 22)) is None
    assert table.exception("ESTX", christmas) is None
    config.write("calendar.yaml", "overrides: [{date: 2026-12-25, products: [es], normal: true}]")
    edited = load(config.path, {}, today=TODAY).calendar
    assert edited.overrides[0].normal
    assert edited.overrides[0].products == ("ES",)


@pytest.mark.skipif(os.name != "posix", reason="modes have no meaning here")
def test_files_everybody_may_edit_are_warned_about(config: ConfigFolder) -> None:
    (config.path / "risk_config.yaml").chmod(0o666)
    assert "everybody may write" in config.warnings()[0]


# --- secrets ---------------------------------------------------------------------------------


def credentials(config: ConfigFolder, reference: str, env: dict[str, str]) -> str:
    config.write("settings.yaml", f"gateway: {{username: someone, api_key: '{reference}'}}")
    return config.load().credentials(env).api_key.get_secret_value()


def test_secrets_are_found_where_they_are_kept(config: ConfigFolder) -> None:
    assert credentials(config, "env:MY_KEY", {"MY_KEY": " canary-1\n"}) == "canary-1"
    kept = config.path / "key.txt"
    kept.write_text("canary-2\n", encoding="utf-8")
    kept.chmod(0o600)
    assert credentials(config, "file:key.txt", {}) == "canary-2"
    assert "canary" not in repr(config.load()) + str(config.load().limits())


def test_a_secret_that_is_not_there_says_what_to_do(config: ConfigFolder) -> None:
    with pytest.raises(SecretUnavailable, match=r"gateway.api_key: .* variable MY_KEY is not set"):
        credentials(config, "env:MY_KEY", {})
    with pytest.raises(SecretUnavailable, match="cannot be read"):
        credentials(config, "file:nowhere", {})
    with pytest.raises(SecretUnavailable, match=r"keyring"):
        credentials(config, "keyring:no-such-service/nobody", {})


@pytest.mark.skipif(os.name != "posix", reason="modes have no meaning here")
def test_a_secret_file_open_to_others_is_refused(config: ConfigFolder) -> None:
    kept = config.path / "key.txt"
    kept.write_text("canary-3", encoding="utf-8")
    kept.chmod(0o644)
    with pytest.raises(SecretUnavailable, match="chmod 600") as refused:
        credentials(config, "file:key.txt", {})
    assert "canary" not in str(refused.value)


def test_a_literal_secret_is_never_repeated(config: ConfigFolder) -> None:
    for text in (
        "gateway: {api_key: canary-5}",
        "gateway: {api_key: canary-5, kind: canary-5}",
        "gateway: {api_key: *canary-5}",
        "gateway: {api_key: [canary-5]}",
        "gateway: canary-5",
        "gateway: {api_key: canary-5",
        "gateway:\n  api_key: 'canary-5\n",
        "gateway:\n api_key: %canary-5\n",
        "gateway:\n api_key: !canary-5 x\n",
        "gateway: {apikey: canary-5}",
        "canary-5",
    ):
        config.write("settings.yaml", text)
        found = config.errors()
        assert found, text
        assert "canary" not in "".join(found), text


def test_paths_are_relative_to_the_folder(config: ConfigFolder, tmp_path: Path) -> None:
    kept = tmp_path / "outside.key"
    kept.write_text("canary-6", encoding="utf-8")
    kept.chmod(0o600)
    assert credentials(config, "file:../outside.key", {}) == "canary-6"
    assert credentials(config, f"file:{kept.as_posix()}", {}) == "canary-6"


SESSIONS = """rules:
  - rule: session_block_outside
    sessions:
      - {{days: [mon], start: {start}, end: {end}}}{comment}
"""


@pytest.mark.parametrize("start", ["03:00", "00:30", "09:59", '"03:00"'])
def test_a_time_no_reader_of_yaml_can_misread_needs_no_quotes(
    config: ConfigFolder, start: str
) -> None:
    """F5.5: A time before 10:00 is text to every reader of YAML, and is taken unquoted."""
    config.risk(SESSIONS.format(start=start, end='"16:00"', comment=""))
    assert config.errors() == []


@pytest.mark.parametrize(
    ("start", "end", "comment", "shown"),
    [
        ("17:00", "18:00", "", 'start: "17:00", end: "18:00"}'),
        ("03:00", "16:00", "  # was 15:00", 'start: "03:00", end: "16:00"}'),
        ('"15:00"', "16:00", "", 'start: "15:00", end: "16:00"}'),
    ],
)
def test_a_time_that_must_be_quoted_is_shown_in_its_whole_line(
    config: ConfigFolder, start: str, end: str, comment: str, shown: str
) -> None:
    """F5.5: The message about an unquoted time shows the whole line as it should be written."""
    config.risk(SESSIONS.format(start=start, end=end, comment=comment))
    assert config.errors()
    for line in config.errors():
        assert line.endswith(f"a time must be quoted; write - {{days: [mon], {shown}")


def test_a_length_no_clock_can_count_is_an_error_of_its_own_line(config: ConfigFolder) -> None:
    """F6.10: In the files, too, a length nobody means is refused with the longest there is."""
    config.risk("rules: [{rule: no_stop_loss_grace, grace: 99999999999999d}]")
    (line,) = config.errors()
    assert line.endswith("grace: 99999999999999d is too long; the longest is 3650d")
