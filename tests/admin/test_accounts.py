"""Random edits of the accounts by commands: what guards one today guards it until the reset."""

import tempfile
from datetime import date
from pathlib import Path

from config_folder import SHIPPED
from hypothesis import given, settings
from hypothesis import strategies as st

from risk_manager.admin.accounts import NoSuchEdit, add, enable, remove, rename, renumber
from risk_manager.domain.rulebook import Mode, Rulebook
from risk_manager.settings.commitment import Commitment
from risk_manager.settings.edits import FileEdit
from risk_manager.settings.loading import load
from risk_manager.settings.problems import ConfigurationErrors
from risk_manager.settings.yaml_edits import Edit

FRIDAY, MONDAY = date(2026, 11, 20), date(2026, 11, 23)
RULES = """\
version: 1
rules:
  - {rule: max_contracts, limit: 5}
  - {rule: daily_realized_loss, limit: 500, accounts: [101, 103]}
accounts: {102: {mode: shadow}}
"""
IDS = st.integers(101, 105)
NAMES = st.sampled_from(["one", "the: odd # one", "'", None])
EDITS = st.one_of(
    st.builds(lambda i, n, e: lambda d: add(d, i, n, enabled=e), IDS, NAMES, st.booleans()),
    st.builds(lambda i: lambda d: remove(d, i), IDS),
    st.builds(lambda i, e: lambda d: enable(d, i, enabled=e), IDS, st.booleans()),
    st.builds(lambda i, n: lambda d: rename(d, i, n), IDS, NAMES),
    st.builds(lambda i, n: lambda d: renumber(d, i, n), IDS, IDS),
)
STYLES = [
    (SHIPPED / "accounts.yaml").read_text("utf-8"),
    "accounts: [{id: 101}, {id: 102, enabled: false}]  # two\nunlisted: ignore\n",
    "unlisted: enforce\naccounts:\n- {id: 101}\n- id: 102 # two\n- {id: 103}",
]


def guards(book: Rulebook) -> dict[int, set[str]]:
    """The rules that act, by account."""
    return {
        i: {r.rule for r in own.rules if not r.shadow}
        for i, own in book.accounts.items()
        if own.mode is Mode.ENFORCE
    }


@given(style=st.sampled_from(STYLES), edits=st.lists(EDITS, max_size=8))
@settings(max_examples=120, deadline=None)
def test_no_edit_by_command_loosens_before_the_reset(style: str, edits: list[Edit]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "settings.yaml").write_text("")
        (folder / "risk_config.yaml").write_text(RULES)
        (folder / "accounts.yaml").write_text(style, encoding="utf-8")
        began_with = load(folder, env={})
        before = guards(began_with.rulebook())
        commitment = Commitment(in_force=began_with.texts)
        comments = [line for line in style.splitlines() if line.lstrip().startswith("#")]
        for change in edits:
            edit = FileEdit.begin(folder, "accounts.yaml")
            try:
                edit.change(change)
                edit.check(env={})
            except (NoSuchEdit, ConfigurationErrors):
                continue
            edit.write()
            found = load(folder, env={})
            # By a reload or by a restart, which goes through the stored text.
            commitment = Commitment.read(commitment.text()).after_reading(found, FRIDAY)
            now = guards(commitment.rulebook(found))
            assert all(rules <= now.get(i, set()) for i, rules in before.items())
            text = (folder / "accounts.yaml").read_text("utf-8")
            assert [c for c in comments if c not in text.splitlines()] == []
        found = load(folder, env={})
        after = commitment.after_reading(found, MONDAY).rulebook(found)
        assert guards(after) == guards(found.rulebook())
