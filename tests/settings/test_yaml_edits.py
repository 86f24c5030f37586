"""An edit of a file changes what it means to, and leaves every comment and every other line."""

import difflib
from pathlib import Path
from typing import Any

import pytest
from config_folder import SHIPPED
from hypothesis import example, given, settings
from hypothesis import strategies as st

from risk_manager.settings import rule_edits
from risk_manager.settings.documents import Document, Path_, parse
from risk_manager.settings.yaml_edits import Edit, EditRefused, edited, section, value_of

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
ACCOUNTS = """\
# Which accounts are guarded.
accounts:
  - id: 101
    nickname: combine-50k      # the first
    enabled: true              # false: shown
  # the second one
  - id: 102
    enabled: true

# What to do about others
unlisted: alarm
"""
FLOW = "accounts: [{id: 101}, {id: 102, nickname: 'two'}] # all\nunlisted: ignore"
BLOCK_OF_FLOW = "accounts:\n- {id: 101, enabled: true}   # one\n- {id: 102}\n"
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


def difference(old: str, new: str) -> list[str]:
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), n=0, lineterm="")
    return [line for line in lines if line[:3] not in ("---", "+++") and line[0] in "+-"]


def document_of(text: str) -> Document:
    document = Document("risk_config.yaml")
    parse(document, text.encode())
    assert document.problems == []
    return document


def data_of(text: str) -> Any:
    return document_of(text).data


def at(data: Any, path: Path_) -> Any:
    for part in path:
        data = data[part]
    return data


def put(*path: str | int, value: Any) -> Edit:
    return lambda data: at(data, path[:-1]).__setitem__(path[-1], value)


def add(*path: str | int, item: Any) -> Edit:
    return lambda data: at(data, path).append(item)


def drop(*path: str | int) -> Edit:
    return lambda data: at(data, path[:-1]).__delitem__(path[-1])


def set_rule(*path: str, value: str) -> Edit:
    return lambda data: rule_edits.set_value(data, path[0], path[1:], value_of(value))


def in_gateway(data: Any) -> None:
    section(data, "gateway")["kind"] = "practice"


# --- what changes and what stays ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (set_rule("max_contracts", "limit", value="12"), ["-    limit: 5", "+    limit: 12"]),
        (set_rule("daily_realized_loss", "limit", value="499.50"),
         ["-    limit: 500", "+    limit: 499.50"]),
        (set_rule("max_contracts", "enabled", value="false"), ["+    enabled: false"]),
        (set_rule("symbol_blocks", "blocked", value="[RTY, 6E, CL]"),
         ["-    blocked: [RTY]", "+    blocked: [RTY, 6E, CL]"]),
        (set_rule("daily_unrealized_loss", "confirm", value="{quotes: 2}"),
         ["-    confirm: {quotes: 1, within: 0s}  # {quotes: 2, within: 500ms} rides over one bad "
          "print",
          "+    confirm: {quotes: 2}              # {quotes: 2, within: 500ms} rides over one bad "
          "print"]),
        (set_rule("max_contracts_per_instrument", "group_limits", "index", value="{limit: 3}"),
         ["-    group_limits: {}           # {sp500: {limit: 10, count: micro_equivalents}}",
          "+    group_limits: {index: {limit: 3}}  # {sp500: {limit: 10, count: "
          "micro_equivalents}}"]),
        (set_rule("max_contracts", "lockout", value="null"),
         ["-    lockout: none              # none, until_reset, manual, or a duration",
          "+    lockout: null              # none, until_reset, manual, or a duration"]),
        (put("trading_day", "flat_by", value="16:05"),
         ['-  flat_by: null                # "16:05": from then until the reset nothing may be '
          "open. TopstepX",
          '+  flat_by: "16:05"             # "16:05": from then until the reset nothing may be '
          "open. TopstepX"]),
    ],
)  # fmt: skip
def test_one_value_changes_one_line(edit: Edit, expected: list[str]) -> None:
    assert difference(RISK, edited("risk_config.yaml", RISK, edit)) == expected


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
        rule_edits.put(data["rules"][0], "shadow", True)

    found = edited("risk_config.yaml", text, edit)
    assert found == text.replace("limit:   5", f"shadow: true{ends}  limit:   4")


def test_lines_are_added_and_the_others_keep_their_ends() -> None:
    text = "version: 1\r\nrules:\n  - {rule: a}\r\n"
    found = edited("risk_config.yaml", text, add("rules", item={"rule": "b"}))
    assert found == text + "  - {rule: b}\r\n"


def test_a_removed_key_leaves_the_comments_below_it() -> None:
    def edit(data: Any) -> None:
        del rule_edits.entry_of(data, "max_contracts")["lockout"]
        del rule_edits.entry_of(data, "session_block_outside")["lockout"]

    found = edited("risk_config.yaml", RISK, edit)
    assert [line for line in difference(RISK, found) if "lockout" not in line] == []
    assert len(difference(RISK, found)) == 2


LONG_COMMENT = """\
defaults:
  policy: close      # a lock closes at once; reduce_only_ok: an order that only
                     # reduces may fill first
  # about the age
  age: 5s
"""


def test_a_comment_of_several_lines_stays_with_its_key_and_goes_with_it() -> None:
    new = edited("risk_config.yaml", LONG_COMMENT, drop("defaults", "policy"))
    assert new == "defaults:\n  # about the age\n  age: 5s\n"
    short = LONG_COMMENT.partition("  # about")[0]
    new = edited("risk_config.yaml", short, put("defaults", "age", value="10s"))
    assert new == short + "  age: 10s\n"


def test_a_rule_is_added_above_the_comments_that_follow_the_list() -> None:
    new = {"rule": "max_contracts", "id": "second", "limit": 3}
    found = edited("risk_config.yaml", RISK, add("rules", item=new))
    assert difference(RISK, found) == [
        "+  - rule: max_contracts", "+    id: second", "+    limit: 3"
    ]  # fmt: skip
    assert found.index("id: second") < found.index("# What differs for one account")


@pytest.mark.parametrize(
    ("edit", "old", "new"),
    [
        (put("accounts", 0, "enabled", value=False),
         "enabled: true              # false", "enabled: false             # false"),
        (put("accounts", 1, "nickname", value="swing"),
         "102\n    enabled: true\n", "102\n    enabled: true\n    nickname: swing\n"),
        (add("accounts", item={"id": 103, "nickname": "swing", "enabled": True}),
         "    enabled: true\n\n",
         "    enabled: true\n  - id: 103\n    nickname: swing\n    enabled: true\n\n"),
        (drop("accounts", 1), "  - id: 102\n    enabled: true\n", ""),
        (drop("accounts", 1, "id"), "- id: 102\n    enabled", "- enabled"),
    ],
)  # fmt: skip
def test_accounts_change_and_the_comments_around_them_stay(edit: Edit, old: str, new: str) -> None:
    assert ACCOUNTS.count(old) == 1
    assert edited("accounts.yaml", ACCOUNTS, edit) == ACCOUNTS.replace(old, new)


@pytest.mark.parametrize(
    ("text", "edit", "after"),
    [
        (FLOW, put("accounts", 0, "enabled", value=False),
         "[{id: 101, enabled: false}, {id: 102"),
        (FLOW, put("accounts", 1, "nickname", value="three"), "nickname: 'three'}] # all"),
        (FLOW, add("accounts", item={"id": 103}), "'two'}, {id: 103}] # all"),
        (FLOW, drop("accounts", 0), "accounts: [{id: 102, nickname: 'two'}] # all"),
        (FLOW, drop("accounts", 1), "accounts: [{id: 101}] # all"),
        (FLOW, drop("accounts", 1, "nickname"), "{id: 102}] # all"),
        (BLOCK_OF_FLOW, add("accounts", item={"id": 103}), "- {id: 102}\n- {id: 103}\n"),
        (BLOCK_OF_FLOW, drop("accounts", 0), "accounts:\n- {id: 102}\n"),
        ("gateway:\n", in_gateway, "gateway:\n  kind: practice\n"),
        ("gateway:  # which\n# end\n", in_gateway, "gateway:  # which\n  kind: practice\n# end\n"),
        ("feed: {port: 0}", in_gateway, "feed: {port: 0}\ngateway:\n  kind: practice"),
        ("", in_gateway, "gateway:\n  kind: practice\n"),
        ("# nothing yet\n", in_gateway, "# nothing yet\ngateway:\n  kind: practice\n"),
        ("a: [1, 2]\n", put("a", value=[]), "a: []\n"),
        ("a:\n  - 1\n  # two\n  - 2\nb: 1\n", put("a", value=[]), "a: []\n  # two\nb: 1\n"),
        ("a: {\n  b: 1,  # one\n  c: 2,  # two\n}\n", put("a", "b", value=3), "  b: 3,  # one\n"),
    ],
)  # fmt: skip
def test_every_style_of_writing_is_kept(text: str, edit: Edit, after: str) -> None:
    assert after in edited("accounts.yaml", text, edit)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("16:05", '"16:05"'), ("NO", '"NO"'), ("10s", "10s"), ("6E", "6E"), ("101", '"101"'),
        ("2026-12-25", '"2026-12-25"'), ("file:a.key", "file:a.key"), ("a # b", '"a # b"'),
        (None, "null"), (True, "true"), (0.5, "0.5"), ({"NO": 1, "M*": 2}, '{NO: 1, "M*": 2}'),
    ],
)  # fmt: skip
def test_a_text_is_quoted_where_a_reader_could_take_it_for_something_else(
    value: object, written: str
) -> None:
    found = edited("settings.yaml", "a:\n  b: 1\n", put("a", "b", value=value))
    assert found == f"a:\n  b: {written}\n"
    assert data_of(found) == {"a": {"b": value}}


# --- rules and accounts ---------------------------------------------------------------------------


def test_an_account_gets_its_override_and_loses_it_again() -> None:
    def first(data: Any) -> None:
        rule_edits.set_value(data, "max_contracts", ("limit",), 3, 101)
        rule_edits.set_value(data, "max_contracts_per_instrument", ("limits", "MNQ"), 1, 101)

    def remove(data: Any) -> None:
        rule_edits.unset_value(data, "max_contracts", ("limit",), 101)

    once = edited("risk_config.yaml", RISK, first)
    assert difference(RISK, once) == [
        "-accounts: {}",
        "+accounts:",
        "+  101:",
        "+    overrides:",
        "+      - {target: max_contracts, set: {limit: 3}}",
        "+      - {target: max_contracts_per_instrument, set: {limits: {MNQ: 1}}}",
    ]
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


def test_an_account_in_one_line_is_opened_for_its_overrides() -> None:
    text = "rules:\n  - {rule: a, limit: 5}\naccounts: {102: {mode: shadow}}  # two\n"

    def edit(data: Any) -> None:
        rule_edits.set_value(data, "a", ("limit",), 3, 102)

    assert edited("risk_config.yaml", text, edit).partition("accounts:")[2] == (
        "                        # two\n"
        "  102:\n    mode: shadow\n    overrides:\n      - {target: a, set: {limit: 3}}\n"
    )


@pytest.mark.parametrize("rules", [("max_contracts",), ("daily_realized_loss",),
                                   ("max_contracts", "daily_realized_loss")])  # fmt: skip
def test_comments_stay_where_items_and_sections_go(rules: tuple[str, ...]) -> None:
    """A comment on a line of its own is the operator's word; it goes with no item."""

    def remove(data: Any) -> None:
        for rule in rules:
            rule_edits.unset_value(data, rule, ("limit",), 101)

    after = edited("risk_config.yaml", OVERRIDDEN, remove)
    assert comments_of(after) == comments_of(OVERRIDDEN)
    kept = 2 - len(rules)
    sections = {str(key): value for key, value in data_of(after).get("accounts", {}).items()}
    overrides = sections.get("101", {}).get("overrides", [])
    assert len(overrides) == kept


@pytest.mark.parametrize("name", ["risk_config.yaml", "settings.yaml"])
def test_the_shipped_files_are_those_of_the_package(name: str) -> None:
    package = Path(rule_edits.__file__).parent / "shipped" / name
    assert package.read_bytes() == (SHIPPED / name).read_bytes()


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (set_rule("max_contract", "limit", value="3"), 'did you mean "max_contracts"'),
        (set_rule("max_contracts", "id", value="x"), "names the rule"),
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
        edited("risk_config.yaml", text, set_rule("a", "limit", value="1"))


@pytest.mark.parametrize(
    ("text", "edit", "why"),
    [
        # It stands on the line of the dash, and whose the comment below would be is not known.
        ("accounts:\n  - nickname: a\n    # one\n    id: 101\n  - {id: 102}\n",
         drop("accounts", 0, "nickname"), "edit it by hand"),
        ("a: {\n  b: 1,  # one\n  c: 2,  # two\n}\n", drop("a", "c"), "edit it by hand"),
        ("a: &x 1\nb: *x\n", put("a", value=2), "anchors"),
        ("a: 1\n", put("a", value="\x00\x85"), "edit it by hand"),
    ],
)  # fmt: skip
def test_what_cannot_be_changed_safely_is_refused(text: str, edit: Edit, why: str) -> None:
    with pytest.raises(EditRefused, match=why) as refused:
        edited("accounts.yaml", text, edit)
    assert str(refused.value).startswith("accounts.yaml")
    assert "\n" not in str(refused.value)


# --- any edit -------------------------------------------------------------------------------------


@given(value=st.text(max_size=20), text=st.sampled_from([ACCOUNTS, FLOW, BLOCK_OF_FLOW]))
@example(value="~", text=ACCOUNTS)
def test_any_text_is_read_back_as_it_was_given(value: str, text: str) -> None:
    try:
        after = edited("accounts.yaml", text, put("accounts", 1, "nickname", value=value))
    except EditRefused:
        assert not value.isprintable()  # control characters have no place in a file of ours
        return
    assert data_of(after)["accounts"][1]["nickname"] == value
    kept = [line for line in text.splitlines() if "#" in line and "two" not in line]
    assert all(line in after.splitlines() for line in kept)


MIXED = """\
# my limits
version:   1
trading_day:
  reset: "17:00"     # quoted
  flat_by: null      # none

  # not for me
  week: sunday
rules:
- rule: max_contracts   # calm words
  limit:   5

  # the loss of the day
- {rule: daily_realized_loss,   limit: 500}  # all of it
# between
- rule: session
  windows:
    - {days: [mon, tue], start: "08:30"}  # early
    # late
    - days: [wed]
      start: '09:30'
empty:
accounts: {}   # nobody yet
# the end
"""


def paths(data: Any, path: Path_ = ()) -> list[Path_]:
    """Each place in the data, the whole first."""
    inside: Any = data.items() if isinstance(data, dict) else ()
    inside = enumerate(data) if isinstance(data, list) else inside
    return [path, *(p for key, value in inside for p in paths(value, (*path, key)))]


PLACES = paths(data_of(MIXED))
VALUES = st.sampled_from(
    [None, True, 7, "word", "08:30", "NO", "a: b # c", "", {}, [], {"x": 1}, [1, "b"],
     [{"k": 1, "m": [1]}], {"101": {"overrides": [{"target": "a", "set": {"limit": 1}}]}}]
)  # fmt: skip
STEPS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(PLACES[1:]), VALUES),
    st.tuples(st.just("drop"), st.sampled_from(PLACES[1:]), st.none()),
    st.tuples(
        st.just("add"),
        st.sampled_from([p for p in PLACES if isinstance(at(data_of(MIXED), p), dict | list)]),
        VALUES,
    ),
)


def comments_of(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.lstrip().startswith("#")]


@settings(max_examples=60, deadline=None)
@given(step=STEPS, end=st.sampled_from(["\n", "\r\n"]))
@example(step=("add", ("rules",), {"rule": "b"}), end="\n")
@example(step=("drop", ("rules", 0, "rule"), None), end="\n")
def test_any_edit_is_read_back_and_leaves_the_other_lines(
    step: tuple[str, Path_, Any], end: str
) -> None:
    what, path, value = step
    text = MIXED.replace("\n", end)
    meant: list[Any] = []

    def edit(data: Any) -> None:
        part = at(data, path if what == "add" else path[:-1])
        if what == "drop":
            del part[path[-1]]
        elif what == "put":
            part[path[-1]] = value
        elif isinstance(part, dict):
            part["added"] = value
        else:
            part.append(value)
        meant.append(data)

    after = edited("risk_config.yaml", text, edit)
    assert data_of(after) == meant[0]
    assert after.count("\n") == after.count(end)
    assert comments_of(after) == comments_of(text)
    lines, before = document_of(text).lines, text.splitlines()
    whole = () if what == "add" else path
    touched = {lines[path[:-1]] if path[:-1] else 0, lines[path] if path else 0}
    touched |= {line for place, line in lines.items() if whole and place[: len(path)] == path}
    if what == "drop" and isinstance(path[-1], str):  # the next key may move up to the dash
        touched |= {line + 1 for line in touched}
    left = [line for n, line in enumerate(before, 1) if line.strip() and n not in touched]
    remaining = iter(after.splitlines())
    assert [line for line in left if line not in remaining] == []
