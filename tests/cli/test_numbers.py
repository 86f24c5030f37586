"""Numbers on the command line that cannot be meant end in a usage line, never in an error."""

import argparse
from collections.abc import Callable

import pytest

from risk_manager.cli.numbers import account_number, count, port, positive

ENORMOUS = ("99999999999999999999", "9" * 5000, "1e400", "inf", "nan", "²", "", "-1", "0x10")


@pytest.mark.parametrize("read", [account_number, count, port, positive])
@pytest.mark.parametrize("text", ENORMOUS, ids=lambda text: text[:20])
def test_a_number_that_cannot_be_meant_is_refused_shortly(
    read: Callable[[str], float], text: str
) -> None:
    """F6.10: A number of the command line is within what it can mean."""
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        read(text)
    assert len(str(refused.value)) < 90


def test_what_can_be_meant_is_read() -> None:
    assert (count("1000000"), port("0"), port("65535"), positive("0.5")) == (
        1_000_000,
        0,
        65535,
        0.5,
    )
    assert account_number("12345678") == 12_345_678
