"""Command groups, and a name for argparse's type of subparsers, which is not public."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_group(
    commands: "Commands", name: str, about: str
) -> "tuple[argparse.ArgumentParser, Commands]":
    """Add a command that only contains others."""
    parser = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
    return parser, parser.add_subparsers(title="verbs", metavar="VERB", required=True)


def add_command(commands: "Commands", name: str, about: str) -> argparse.ArgumentParser:
    """Add a command. Its `command` default is set to the function that carries it out.

    `usage` is set to the command's own parser error, so that errors show its own usage.
    """
    parser = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
    parser.set_defaults(usage=parser.error)
    return parser
