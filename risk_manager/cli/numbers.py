"""Parses numbers on the command line; an implausible one is refused with a sentence."""

import argparse
from datetime import timedelta

from risk_manager.domain.durations import TooLong, parse_duration

LARGEST = 1_000_000
LARGEST_ID = 2**63
_LONGEST_TEXT = 20
_AT_MOST = f"{LARGEST} at most"


def positive(text: str) -> float:
    """A number above zero."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= LARGEST:
        raise argparse.ArgumentTypeError(f"{_quoted(text)} is not a number above zero, {_AT_MOST}")
    return number


def count(text: str) -> int:
    """How many of something."""
    if not _is_whole(text) or not 1 <= int(text) <= LARGEST:
        raise argparse.ArgumentTypeError(f"{_quoted(text)} is no number above zero, {_AT_MOST}")
    return int(text)


def account_number(text: str) -> int:
    """The number of an account at the gateway."""
    if not _is_whole(text) or not 1 <= int(text) < LARGEST_ID:
        raise argparse.ArgumentTypeError(f"{_quoted(text)} is not an account's number, as 101")
    return int(text)


def port(text: str) -> int:
    """A TCP port; 0 is any free one."""
    if not _is_whole(text) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{_quoted(text)} is not a port (0 to 65535)")
    return int(text)


def duration(text: str) -> str:
    """A length of time in the form the daemon reads: 30m, 1h30m."""
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


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _LONGEST_TEXT


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}...")
