"""An edit of a file changes what it means to, and leaves every comment and every other line."""

import difflib
from pathlib import Path
from typing import Any

import pytest
from config_folder import SHIPPED

from risk_manager.settings import rule_edits
from risk_manager.settings.documents import Document, parse
from risk_manager.settings.yaml_edits import Edit, EditRefused, append, drop, edited, put, value_of

RISK = (SHIPPED / "risk_config.yaml").read_text(encoding="utf-8")
HAND_MADE = """\
# my limits
version:   1
rules:
- rule: max_contracts   # calm words
  limit:   5

  # the loss of the day
- {rule: daily_realized_loss,   limit: 500}
# the end
"""


def difference(old: str, new: str) -> list[str]:
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), n=0, lineterm="")
    return [line for line in lines if line[:3] not in ("---", "+++") and line[0] in "+-"]


def data_of(text: str) -> Any:
    document = Document("risk_config.yaml")
    parse(document, text.encode())
    assert document.problems == []
    return document.data


def put_at(*path: str, value: str) -> Edit:
    return lambda data: rule_edits.set_value(data, path[0], path[1:], value_of(value))


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (put_at("max_contracts", "limit", value="12"), ["-    limit: 5", "+    limit: 12"]),
        (put_at("daily_realized_loss", "limit", value="499.50"),
         ["-    limit: 500", "+    limit: 499.50"]),
        (put_at("max_contracts", "enabled", value="false"), ["+    enabled: false"]),
        (put_at("symbol_blocks", "blocked", value="[RTY, 6E, NO]"),
         ["-    blocked: [RTY]", "+    blocked: [RTY, 6E, NO]"]),
        (put_at("daily_unrealized_loss", "confirm", value="{quotes: 2}"),
         ["-    confirm: {quotes: 1, within: 0s}  # {quotes: 2, within: 500ms} rides over one bad "
          "print",
          "+    confirm: {quotes: 2}               # {quotes: 2, within: 500ms} rides over one bad "
          "print"]),
        (put_at("max_contracts_per_instrument", "group_limits", "index", value="{limit: 3}"),
         ["-    group_limits: {}           # {sp500: {limit: 10, count: micro_equivalents}}",
          "+    group_limits:              # {sp500: {limit: 10, count: micro_equivalents}}",
          "+      index: {limit: 3}"]),
    ],
)  # fmt: skip
def test_one_value_changes_one_line(edit: Edit, expected: list[str]) -> None:
    found = difference(RISK, edited("risk_config.yaml", RISK, edit))
    assert [" ".join(line.split()) for line in found] == [" ".join(x.split()) for x in expected]


def test_no_edit_changes_no_byte() -> None:
    for path in SHIPPED.glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert edited(path.name, text, lambda _: None) == text


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("begins", ["", "\ufeff"])
def test_the_layout_of_another_hand_stays(ends: str, begins: str) -> None:
    text = begins + HAND_MADE.replace("\n", ends)

    def edit(data: Any) -> None:
        data["rules"][0]["limit"] = 4
        put(data["rules"][0], "shadow", True, after=("rule",))

    found = edited("risk_config.yaml", text, edit)
    assert found == text.replace("limit:   5", f"shadow: true{ends}  limit: 4")


def test_a_removed_key_leaves_the_comments_below_it() -> None:
    def edit(data: Any) -> None:
        drop(rule_edits.entry_of(data, "max_contracts"), "lockout")
        drop(rule_edits.entry_of(data, "session_block_outside"), "lockout")

    found = edited("risk_config.yaml", RISK, edit)
    assert [line for line in difference(RISK, found) if "lockout" not in line] == []
    assert len(difference(RISK, found)) == 2


def test_a_rule_is_added_above_the_comments_that_follow_the_list() -> None:
    new = {"rule": "max_contracts", "id": "second", "limit": 3}
    found = edited("risk_config.yaml", RISK, lambda data: append(data["rules"], new))
    assert difference(RISK, found) == [
        "+  - rule: max_contracts", "+    id: second", "+    limit: 3"
    ]  # fmt: skip
    assert found.index("id: second") < found.index("# What differs for one account")


def test_times_are_quoted_and_read_back_as_text() -> None:
    def edit(data: Any) -> None:
        data["trading_day"]["flat_by"] = value_of("16:05")

    found = edited("risk_config.yaml", RISK, edit)
    assert 'flat_by: "16:05"' in found
    assert data_of(found)["trading_day"]["flat_by"] == "16:05"


def test_an_account_gets_its_override_and_loses_it_again() -> None:
    def add(data: Any) -> None:
        rule_edits.set_value(data, "max_contracts", ("limit",), 3, 101)
        rule_edits.set_value(data, "max_contracts_per_instrument", ("limits", "MNQ"), 1, 101)

    def remove(data: Any) -> None:
        rule_edits.unset_value(data, "max_contracts", ("limit",), 101)

    once = edited("risk_config.yaml", RISK, add)
    assert data_of(once)["accounts"] == {
        "101": {
            "overrides": [
                {"target": "max_contracts", "set": {"limit": 3}},
                {"target": "max_contracts_per_instrument", "set": {"limits": {"MNQ": 1}}},
            ]
        }
    }
    again = edited("risk_config.yaml", once, remove)
    (left,) = data_of(again)["accounts"]["101"]["overrides"]
    assert left["target"] == "max_contracts_per_instrument"


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (put_at("max_contract", "limit", value="3"), 'did you mean "max_contracts"'),
        (put_at("max_contracts", "id", value="x"), "names the rule"),
        (lambda d: rule_edits.unset_value(d, "max_contracts", ("warn_at",)), "is not written"),
        (lambda d: rule_edits.set_value(d, "max_contracts", ("accounts",), [1], 101),
         "cannot be changed for one account"),
    ],
)  # fmt: skip
def test_an_edit_that_cannot_be_made_says_why(edit: Edit, why: str) -> None:
    with pytest.raises(EditRefused, match=why):
        edited("risk_config.yaml", RISK, edit)


@pytest.mark.parametrize("text", ["[1, 2", "a: b: c", "*x"])
def test_a_value_that_is_no_yaml_is_refused(text: str) -> None:
    with pytest.raises(EditRefused):
        value_of(text)


def test_of_two_rules_of_one_name_the_id_is_asked_for() -> None:
    text = "version: 1\nrules:\n  - {rule: a, id: x}\n  - {rule: a, id: y}\n"
    with pytest.raises(EditRefused, match="several rules are a; name one by its id: x, y"):
        edited("risk_config.yaml", text, put_at("a", "limit", value="1"))


@pytest.mark.parametrize("name", ["risk_config.yaml", "settings.yaml"])
def test_the_shipped_files_are_those_of_the_package(name: str) -> None:
    package = Path(rule_edits.__file__).parent / "shipped" / name
    assert package.read_bytes() == (SHIPPED / name).read_bytes()


OVERRIDDEN = """\
version: 1
rules:
  - {rule: max_contracts, limit: 5}
  - {rule: daily_realized_loss, limit: 500}
accounts:
  101:
    # only what differs
    overrides:
      # about the first
      - target: max_contracts
        set: {limit: 4}   # four
      # about the second
      - target: daily_realized_loss
        set: {limit: 400}

# what follows the accounts
defaults:
  quote_max_age: 5s
"""


@pytest.mark.parametrize("rules", [("max_contracts",), ("daily_realized_loss",),
                                   ("max_contracts", "daily_realized_loss")])  # fmt: skip
def test_comments_stay_where_items_and_sections_go(rules: tuple[str, ...]) -> None:
    """A comment on a line of its own is the operator's word; it goes with no item."""

    def remove(data: Any) -> None:
        for rule in rules:
            rule_edits.unset_value(data, rule, ("limit",), 101)

    after = edited("risk_config.yaml", OVERRIDDEN, remove)
    lines = [line.strip() for line in OVERRIDDEN.splitlines()]
    comments = [line for line in lines if line.startswith("#")]
    assert [x for x in map(str.strip, after.splitlines()) if x.startswith("#")] == comments
    kept = 2 - len(rules)
    sections = {str(key): value for key, value in data_of(after).get("accounts", {}).items()}
    overrides = sections.get("101", {}).get("overrides", [])
    assert len(overrides) == kept
