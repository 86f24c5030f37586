"""Edits of YAML texts: one value changes, everything else stays as it was written."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from risk_manager.settings.documents import Path_
from risk_manager.settings.yaml_edit import CannotEdit, YamlEdit

SHIPPED = """\
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


def edited(text: str) -> YamlEdit:
    return YamlEdit("accounts.yaml", text)


def test_a_value_changes_and_its_comment_keeps_its_column() -> None:
    edit = edited(SHIPPED)
    edit.set(("accounts", 0, "enabled"), False)
    old, new = "enabled: true              # false", "enabled: false             # false"
    assert edit.text == SHIPPED.replace(old, new)


def test_a_key_is_added_after_the_last_one_of_its_own_account() -> None:
    edit = edited(SHIPPED)
    edit.set(("accounts", 1, "nickname"), "swing")
    assert edit.text == SHIPPED.replace(
        "  - id: 102\n    enabled: true\n",
        "  - id: 102\n    enabled: true\n    nickname: swing\n",
    )


def test_an_account_is_added_before_the_comment_that_follows_the_list() -> None:
    edit = edited(SHIPPED)
    edit.append(("accounts",), {"id": 103, "nickname": "swing", "enabled": True})
    assert edit.text == SHIPPED.replace(
        "    enabled: true\n\n",
        "    enabled: true\n  - id: 103\n    nickname: swing\n    enabled: true\n\n",
    )


def test_an_account_is_removed_and_the_comments_around_it_stay() -> None:
    edit = edited(SHIPPED)
    edit.remove(("accounts", 1))
    gone = "  - id: 102\n    enabled: true\n"
    assert edit.text == SHIPPED.replace(gone, "")


@pytest.mark.parametrize(
    ("text", "change", "after"),
    [
        (FLOW, ("set", ("accounts", 0, "enabled"), False), "[{id: 101, enabled: false}, {id: 102"),
        (FLOW, ("set", ("accounts", 1, "nickname"), "three"), "nickname: 'three'}] # all"),
        (FLOW, ("append", ("accounts",), {"id": 103}), "'two'}, {id: 103}] # all"),
        (FLOW, ("remove", ("accounts", 0)), "accounts: [{id: 102, nickname: 'two'}] # all"),
        (FLOW, ("remove", ("accounts", 1)), "accounts: [{id: 101}] # all"),
        (FLOW, ("remove", ("accounts", 1, "nickname")), "{id: 102}] # all"),
        (BLOCK_OF_FLOW, ("append", ("accounts",), {"id": 103}), "- {id: 102}\n- {id: 103}\n"),
        (BLOCK_OF_FLOW, ("remove", ("accounts", 0)), "accounts:\n- {id: 102}\n"),
        ("gateway:\n", ("set", ("gateway", "kind"), "projectx"), "gateway: {kind: projectx}"),
        ("feed: {port: 0}", ("set", ("gateway", "kind"), "practice"), "\ngateway:\n  kind: prac"),
        ("", ("set", ("gateway", "kind"), "practice"), "gateway:\n  kind: practice\n"),
    ],
)
def test_every_style_of_writing_is_kept(
    text: str, change: tuple[str, Path_, object], after: str
) -> None:
    edit = edited(text)
    what, path, *value = change
    getattr(edit, what)(path, *value)
    assert after in edit.text


def test_lines_ending_as_on_windows_stay_so() -> None:
    edit = edited(SHIPPED.replace("\n", "\r\n"))
    edit.append(("accounts",), {"id": 103, "enabled": True})
    edit.set(("accounts", 0, "enabled"), False)
    assert edit.text.count("\n") == edit.text.count("\r\n") == SHIPPED.count("\n") + 2


def test_what_cannot_be_changed_safely_is_refused_and_left() -> None:
    text = "accounts:\n  - nickname: a\n    id: 101\n  - {id: 102}\n"
    edit = edited(text)
    with pytest.raises(CannotEdit, match="edit it by hand"):
        edit.remove(("accounts", 0, "nickname"))  # it stands on the line of the dash
    assert edit.text == text
    with pytest.raises(CannotEdit, match="anchors"):
        edited("a: &x 1\nb: *x\n").set(("a",), 2)


@given(value=st.text(max_size=20), at=st.sampled_from([SHIPPED, FLOW, BLOCK_OF_FLOW]))
@example(value="~", at=SHIPPED)
def test_any_text_is_read_back_as_it_was_given(value: str, at: str) -> None:
    edit = edited(at)
    try:
        edit.set(("accounts", 1, "nickname"), value)
    except CannotEdit:
        assert not value.isprintable()  # control characters have no place in a file of ours
        return
    assert edit.data["accounts"][1]["nickname"] == value
    kept = [line for line in at.splitlines() if "#" in line and "two" not in line]
    assert all(line in edit.text.splitlines() for line in kept)
