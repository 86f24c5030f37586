"""The type of what argparse calls subparsers, which it does not name publicly."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_group(
    commands: "Commands", name: str, about: str
) -> "tuple[argparse.ArgumentParser, Commands]":
    """A command that only holds others."""
    parser = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
    return parser, parser.add_subparsers(title="verbs", metavar="VERB", required=True)


def add_command(commands: "Commands", name: str, about: str) -> argparse.ArgumentParser:
    """A command of its own; its `command` default is the function that carries it out.

    `usage` is its own complaint: what is wrong with a command is said with the usage of that one.
    """
    parser = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
    parser.set_defaults(usage=parser.error)
    return parser
