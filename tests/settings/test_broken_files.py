"""Broken files and the exact lines an operator reads for them."""

import json
import re
from pathlib import Path

import pytest
from config_folder import ConfigFolder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML


def table(section: str) -> list[tuple[str, str]]:
    """(file, line) of one section of broken_files.yaml."""
    text = Path(__file__).with_name("broken_files.yaml").read_text(encoding="utf-8")
    return [(row["file"], row["line"]) for row in YAML(typ="safe").load(text)[section]]


RISK = table("risk_config")


@pytest.mark.parametrize(("text", "line"), RISK)
def test_each_mistake_in_risk_config_has_its_own_line(
    config: ConfigFolder, text: str, line: str
) -> None:
    config.write("risk_config.yaml", text)
    found = config.errors()
    assert found
    stripped = [re.sub(r"^risk_config\.yaml(:\d+)?: ", "", told) for told in found]
    assert stripped[0] == line
    assert all("\n" not in told for told in found)
    assert len(found) == 1 or "aliases" in line


SETTINGS = table("settings")


@pytest.mark.parametrize(("text", "line"), SETTINGS)
def test_each_mistake_in_settings_has_its_own_line(
    config: ConfigFolder, text: str, line: str
) -> None:
    config.write("settings.yaml", text)
    found = config.errors()
    prefix = "settings.yaml: " if text.startswith("[") else "settings.yaml:1: "
    assert found == [prefix + line] or found == ["settings.yaml:1: " + line]
    assert "canary" not in "".join(found)


ACCOUNTS = [
    ("accounts: []", ["accounts: must not be empty"]),
    ("accounts: [{id: 101}, {id: 101}]", ["accounts[1].id: 101 is listed twice; remove one"]),
    (
        "accounts: [{account_id: 101}]",
        [
            "accounts[0].account_id: is an old spelling; write id",
        ],
    ),
    (
        "accounts: [{id: 1, api_key: sk-canary-1}]",
        [
            "accounts[0].api_key: credentials belong in settings.yaml, under gateway; "
            "remove this key"
        ],
    ),
    ("accounts: [{id: -1}]", ["accounts[0].id: must be above 0; write it without the minus, 1"]),
    ("unlisted: enforce", ["accounts: is missing; add this key"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "lines"), ACCOUNTS)
def test_each_mistake_in_accounts_has_its_own_line(
    config: ConfigFolder, text: str, lines: list[str]
) -> None:
    config.write("accounts.yaml", text)
    assert config.errors() == [f"accounts.yaml:1: {line}" for line in lines]


def test_an_error_names_its_line(config: ConfigFolder) -> None:
    config.risk("rules:\n  - rule: max_contracts\n    count: gross\n    limit: none")
    assert config.errors() == [
        "risk_config.yaml:5: rules[max_contracts].limit: must be a whole number"
    ]


def test_all_errors_of_all_files_are_told_at_once(config: ConfigFolder) -> None:
    config.write("settings.yaml", "gateway: {kind: x}\nfeed: {prt: 1}")
    config.write("accounts.yaml", "accounts: []")
    config.write("calendar.yaml", "version: 2")
    config.risk("rules:\n  - {rule: max_contracts, limit: 0}", "defaults: {mode: x}")
    files = [line.partition(":")[0] for line in config.errors()]
    assert sorted(files) == [
        "accounts.yaml",
        "calendar.yaml",
        "risk_config.yaml",
        "risk_config.yaml",
        "settings.yaml",
        "settings.yaml",
    ]


def test_missing_files_are_named(config: ConfigFolder) -> None:
    for name in ("settings.yaml", "accounts.yaml", "risk_config.yaml", "calendar.yaml"):
        (config.path / name).unlink()
    lines = config.errors()
    assert [line.partition(":")[0] for line in lines] == [
        "accounts.yaml",
        "risk_config.yaml",
        "settings.yaml",
    ]
    assert all("--config" in line for line in lines)


def test_a_file_that_is_no_text_or_too_large_is_refused(config: ConfigFolder) -> None:
    (config.path / "accounts.yaml").write_bytes(b"accounts:\n  - \xff\xfe")
    (config.path / "settings.yaml").write_bytes(b"#" * (600 * 1024))
    assert config.errors() == [
        "accounts.yaml:2: not UTF-8 text; save the file as UTF-8",
        "settings.yaml: larger than 512 KB; this cannot be right",
    ]


def test_a_bomb_of_brackets_is_refused(config: ConfigFolder) -> None:
    config.write("settings.yaml", "[" * 20_000)
    assert config.errors() == ["settings.yaml: nested too deeply"]


def test_a_file_saved_by_notepad_is_read(config: ConfigFolder) -> None:
    text = (config.path / "accounts.yaml").read_text(encoding="utf-8")
    (config.path / "accounts.yaml").write_bytes(
        b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()
    )
    assert config.errors() == []


NAMES = st.sampled_from(["settings.yaml", "accounts.yaml", "risk_config.yaml", "calendar.yaml"])
WORDS = st.sampled_from(
    ["rules", "rule", "max_contracts", "limit", "accounts", "id", "version", "overrides", "target",
     "set", "gateway", "api_key", "symbols", "groups", "limits", "groups", "days", "date"]
)  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=NAMES, garbage=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_garbage_gives_a_traceback(config: ConfigFolder, name: str, garbage: bytes) -> None:
    before = (config.path / name).read_bytes()
    try:
        (config.path / name).write_bytes(garbage)
        assert all("\n" not in line for line in config.errors())
    finally:
        (config.path / name).write_bytes(before)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=NAMES, tree=TREES)
def test_no_well_formed_nonsense_gives_a_traceback(
    config: ConfigFolder, name: str, tree: object
) -> None:
    before = (config.path / name).read_bytes()
    try:
        (config.path / name).write_text(json.dumps(tree), encoding="utf-8")
        assert all("\n" not in line for line in config.errors())
    finally:
        (config.path / name).write_bytes(before)
