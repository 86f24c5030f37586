"""Calendar files named by a rule: read with the configuration, and part of the limits."""

from datetime import UTC, date, datetime, timedelta

import pytest
from config_folder import ConfigFolder

from risk_manager.rules.release_window import ReleaseWindow
from risk_manager.settings.commitment import Commitment
from risk_manager.settings.loading import load_texts

CPI_AT = datetime(2026, 12, 10, 13, 30, tzinfo=UTC)
RULE = "rules:\n  - {{rule: release_window, file: {file}{more}}}"
YAML = """\
through: 2026-12-31
releases:
  - {at: "2026-12-10 07:30", name: CPI}
  - {at: "2026-12-09 13:00", name: FOMC rate decision, action: flat, before: 2m}
"""
ICS = """\
BEGIN:VCALENDAR
BEGIN:VEVENT
DTSTART:20261210T133000Z
SUMMARY:CPI m/m
END:VEVENT
BEGIN:VEVENT
DTSTART;VALUE=DATE:20261225
SUMMARY:Bank holiday
END:VEVENT
BEGIN:VEVENT
DTSTART:20261217T133000Z
SUMMARY:Jobless claims
END:VEVENT
END:VCALENDAR
"""


def named(config: ConfigFolder, file: str, text: str, more: str = "") -> None:
    config.risk(RULE.format(file=file, more=more))
    (config.path / file).parent.mkdir(exist_ok=True)
    config.write(file, text)


def rule_in(config: ConfigFolder) -> ReleaseWindow:
    (rule,) = config.load().rules
    assert isinstance(rule, ReleaseWindow)
    return rule


def test_a_yaml_file_lists_releases_as_the_rule_itself_may(config: ConfigFolder) -> None:
    named(config, "news.yaml", YAML)
    rule = rule_in(config)
    assert [(s.name, s.is_flat, s.at - s.starts_at) for s in rule.spans] == [
        ("FOMC rate decision", True, timedelta(minutes=2)),
        ("CPI", False, timedelta(minutes=5)),
    ]
    assert rule.spans[1].at == CPI_AT
    assert rule.data_ends_at == datetime(2027, 1, 1, 6, tzinfo=UTC)  # midnight in Chicago


def test_of_an_ics_file_the_releases_named_count(config: ConfigFolder) -> None:
    named(config, "feeds/news.ics", ICS, ', names: ["CPI*"]')
    rule = rule_in(config)
    assert [(s.name, s.at) for s in rule.spans] == [("CPI m/m", CPI_AT)]
    # The file tells of more: it has not ended with the last release that was chosen.
    assert rule.data_ends_at == datetime(2026, 12, 17, 13, 30, tzinfo=UTC)


def test_own_windows_and_those_of_the_file_count_together(config: ConfigFolder) -> None:
    named(config, "news.yaml", YAML, ', windows: [{at: "2026-12-18 09:00", name: mine}]')
    assert [s.name for s in rule_in(config).spans] == ["FOMC rate decision", "CPI", "mine"]


def test_an_account_may_have_a_file_of_its_own(config: ConfigFolder) -> None:
    named(config, "news.yaml", YAML)
    config.write("own.ics", ICS)
    config.risk(
        RULE.format(file="news.yaml", more=""),
        "accounts: {101: {overrides: [{target: release_window, "
        'set: {file: own.ics, names: ["*claims"]}}]}}',
    )
    (own,) = config.load().rules_of(101)
    assert isinstance(own, ReleaseWindow)
    assert [s.name for s in own.spans] == ["Jobless claims"]


@pytest.mark.parametrize(
    ("file", "text", "more", "why"),
    [
        ("gone.ics", None, "", "gone.ics: no such file"),
        ("news.yaml", "releases: [{at: never}]", "", "news.yaml line 1: releases[0].at: is not a"),
        ("news.yaml", "releases: {}", "", "must be a list"),
        ("news.yaml", "[]", "", "must be a group of keys"),
        ("news.yaml", "releases: [", "", "not readable as YAML"),
        ("news.yaml", f"{YAML}source: x\nlater: 1", "", "later: unknown key"),
        ("news.ics", "<html>", "", "news.ics line 1: does not begin with BEGIN:VCALENDAR"),
        ("news.ics", ICS, "", "Bank holiday has no hour; choose the releases with names"),
        ("news.ics", ICS.replace("SUMMARY:CPI m/m", "RRULE:FREQ=DAILY"), ", names: []", "repeats"),
        ("news.txt", "", "", "must be an .ics or a .yaml file"),
        ("../news.ics", None, "", "must lie in the configuration folder"),
        ("/etc/news.ics", None, "", "must lie in the configuration folder"),
        ("'C:\\news.ics'", None, "", "must lie in the configuration folder"),
        ("calendar.yaml", None, "", "is a file of the configuration itself"),
        ("{name: x}", None, "", "must be the name of a file"),
    ],
)
def test_a_file_that_cannot_be_relied_on_is_an_error(
    config: ConfigFolder, file: str, text: str | None, more: str, why: str
) -> None:
    config.risk(RULE.format(file=file, more=more))
    if text is not None:
        config.write(file, text)
    (error,) = config.errors()
    assert why in error
    assert "release_window" in error


def test_a_calendar_that_ends_soon_or_names_nothing_is_a_warning(config: ConfigFolder) -> None:
    named(config, "news.yaml", YAML.replace("2026-12-31", "2026-11-06"))
    assert any("news.yaml ends on 2026-11-0" in w for w in config.warnings())
    named(config, "news.yaml", YAML.replace("2026-12-31", "2026-10-30"))
    assert any("news.yaml has ended" in w for w in config.warnings())
    named(config, "news.yaml", YAML, ', names: ["PPI"]')
    assert any("no release of news.yaml is named" in w for w in config.warnings())
    named(config, "news.yaml", YAML)
    assert not any("news.yaml" in w for w in config.warnings())


def test_a_release_taken_out_of_the_file_counts_until_the_reset(config: ConfigFolder) -> None:
    named(config, "news.yaml", YAML)
    before = config.load()
    assert before.texts["news.yaml"] == YAML
    commitment = Commitment(in_force=before.texts)
    config.write("news.yaml", YAML.replace('{at: "2026-12-10 07:30", name: CPI}', ""))
    config.write("news.yaml", "\n".join(x for x in YAML.splitlines() if "CPI" not in x))
    found = config.load()
    after = commitment.after_reading(found, date(2026, 11, 2))
    rules = after.rulebook(found).for_account(101).rules
    assert [r.id for r in rules] == ["release_window", "release_window (until the reset)"]
    older = rules[1]
    assert isinstance(older, ReleaseWindow)
    assert [s.name for s in older.spans] == ["FOMC rate decision", "CPI"]
    assert [
        r.id for r in after.as_of(date(2026, 11, 3)).rulebook(found).for_account(101).rules
    ] == ["release_window"]


def test_a_release_that_is_added_counts_at_once(config: ConfigFolder) -> None:
    named(config, "news.yaml", YAML)
    commitment = Commitment(in_force=config.load().texts)
    config.write("news.yaml", YAML + '  - {at: "2026-12-18 07:30", name: GDP}\n')
    found = config.load()
    after = commitment.after_reading(found, date(2026, 11, 2))
    (rule,) = after.rulebook(found).for_account(101).rules
    assert isinstance(rule, ReleaseWindow)
    assert [s.name for s in rule.spans] == ["FOMC rate decision", "CPI", "GDP"]


def test_the_limits_are_read_again_from_what_was_kept_without_the_folder(
    config: ConfigFolder,
) -> None:
    named(config, "feeds/news.ics", ICS, ', names: ["CPI*"]')
    before = config.load()
    (config.path / "feeds" / "news.ics").unlink()
    assert load_texts(config.path, before.texts).digest == before.digest
