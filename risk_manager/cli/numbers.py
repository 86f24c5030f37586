"""Numbers on the command line, refused in a sentence when they cannot be meant."""

import argparse
from datetime import timedelta

from risk_manager.domain.durations import TooLong, parse_duration


def positive(text: str) -> float:
    """A number above zero."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above zero")
    return number


def port(text: str) -> int:
    """A TCP port; 0 is any free one."""
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0 to 65535)")
    return int(text)


def duration(text: str) -> str:
    """A length of time as the daemon reads it: 30m, 1h30m."""
    try:
        length = parse_duration(text)
    except TooLong as error:
        raise argparse.ArgumentTypeError(f"{error}; or leave --for out") from None
    except ValueError:
        meant = f"write {text}m" if text.isascii() and text.isdigit() else "write 30m or 1h30m"
        raise argparse.ArgumentTypeError(f"{text!r} is no length of time; {meant}") from None
    if length <= timedelta(0):
        raise argparse.ArgumentTypeError(f"{text!r} is no time at all; write 30m or 1h30m")
    return text
