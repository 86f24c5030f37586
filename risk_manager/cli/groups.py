"""Command groups, and a name for argparse's type of subparsers, which is not public."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_group(
    commands: "Commands", name: str, about: str, *, needs_verb: bool = True
) -> "tuple[argparse.ArgumentParser, Commands]":
    """Add a command that contains others. Without `needs_verb` it has a `command` of its own."""
    parser = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
    parser.set_defaults(usage=parser.error)
    return parser, parser.add_subparsers(title="verbs", metavar="VERB", required=needs_verb)


def add_command(commands: "Commands", name: str, about: str) -> argparse.ArgumentParser:
    """Add a command. Its `command` default is set to the function that carries it out.

    `usage` is set to the command's own parser error, so that errors show its own usage.
    """
    parser = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
    parser.set_defaults(usage=parser.error)
    return parser
