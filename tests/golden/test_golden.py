"""What is told and stored of recorded stretches of trading is what it was, byte for byte.

`python tests/golden` shows the differences; `python tests/golden --update` makes the recordings
anew. Do that only when what is told or stored was meant to change.
"""

import re
from collections import Counter

import pytest
from golden.differences import first_difference
from golden.recording import STRETCHES, Stretch, record


@pytest.mark.parametrize("stretch", STRETCHES, ids=lambda s: s.name)
def test_a_stretch_is_told_and_stored_as_it_was(stretch: Stretch) -> None:
    difference = first_difference(stretch.read(), record(stretch))
    if difference:
        pytest.fail(
            f"{stretch.name}: {difference}\n"
            "Is the change meant? Then: python tests/golden --update",
            pytrace=False,
        )


def test_the_recordings_hold_everything_that_can_be_told() -> None:
    lines = [line for stretch in STRETCHES for line in stretch.read()]
    text = "\n".join(lines)
    said = {
        kind: Counter(re.findall(rf'^log .*"{kind}": "(\w+)"', text, re.MULTILINE))
        for kind in ("event", "action", "outcome")
    }
    assert said["event"].keys() >= {
        "alarm", "asked", "day_reset", "decided", "locked", "settled", "unlocked",
    }  # fmt: skip
    assert said["action"].keys() == {
        "CancelOrder", "ClosePosition", "MoveStop", "PlaceExit", "ReducePosition",
    }  # fmt: skip
    assert said["outcome"].keys() == {"done", "gone", "refused", "unknown", "unsent"}
    assert re.search(r'^log .*"shadow": true', text, re.MULTILINE)
    frames = set(re.findall(r'^frame .*?"type": ?"(\w+)"', text, re.MULTILINE))
    assert frames == {
        "daemon_status", "daily_reset", "enforcement_action", "heartbeat", "lockout_cleared",
        "lockout_set", "snapshot", "GatewayUserOrder", "GatewayUserPosition", "GatewayUserTrade",
        "MarketQuote", "outlook",
    }  # fmt: skip
    assert not re.search(r"/tmp|/home|/work|/Users|[A-Z]:\\\\", text)  # of no machine


def test_the_first_difference_is_shown_where_it_is() -> None:
    recorded = ["one", "frame x " + "a" * 100 + "b" * 400]
    assert first_difference(recorded, list(recorded)) == ""
    told = first_difference(recorded, ["one", recorded[1].replace("ab", "ac")])
    assert "line 2 differs at character 109" in told
    assert "after    one" in told
    assert "aaabbb" in told
    assert "aaacbb" in told
    assert "fewer lines" in first_difference(recorded, ["one"])
    assert "more lines" in first_difference(["one"], recorded)
