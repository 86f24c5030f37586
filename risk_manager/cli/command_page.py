"""Writes docs/cli.md from the parsers: `python -m risk_manager.cli.command_page > docs/cli.md`."""

import argparse
from collections.abc import Iterator

from risk_manager.cli import ENDINGS, command_parser

HEAD = """\
# Command line

<!-- Made from the parsers by `python -m risk_manager.cli.command_page > docs/cli.md`. -->

Every command and verb. `python -m risk_manager` is the same as `risk-manager`. `--help` after any
of them says the same as this page.

"""
COMMON = ("--config", "--data", "--debug", "--json", "--url", "--password-stdin")
"""Options that mean the same everywhere: explained once, and only named at each command."""
SAY_NOTHING = ("-h",)


def page() -> str:
    """Return the whole page."""
    parser = command_parser()
    commands = list(_commands(parser, ()))
    lines = [HEAD.rstrip("\n"), "", f"Exit codes: {_exit_codes()}.", ""]
    lines += ["## Options that several commands take", "", *_table(_common(commands)), ""]
    for words, command in commands:
        lines += _section(words, command)
    return "\n".join(lines).rstrip("\n") + "\n"


def _exit_codes() -> str:
    return " ".join(ENDINGS.removeprefix("exit codes: ").split())


def _commands(
    parser: argparse.ArgumentParser, words: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Yield each command that does something, in the order of `--help`."""
    below = next((a for a in parser._actions if isinstance(a.choices, dict)), None)
    if below is None or not isinstance(below.choices, dict):
        yield words, parser
        return
    for name, inner in below.choices.items():
        yield from _commands(inner, (*words, name))


def _common(
    commands: list[tuple[tuple[str, ...], argparse.ArgumentParser]],
) -> list[argparse.Action]:
    found: dict[str, argparse.Action] = {}
    for _, parser in commands:
        for action in _actions(parser):
            name = _name(action)
            if name in COMMON:
                found.setdefault(name, action)
    return [found[name] for name in COMMON if name in found]


def _section(words: tuple[str, ...], parser: argparse.ArgumentParser) -> list[str]:
    own = [a for a in _actions(parser) if _name(a) not in COMMON]
    taken = {_name(action) for action in _actions(parser)}
    common = [f"`{name}`" for name in COMMON if name in taken]
    usage = " ".join(["risk-manager", *words, *(_in_usage(a) for a in own)])
    lines = [f"## {' '.join(words)}", "", f"    {usage}", "", _sentence(parser.description or "")]
    if own:
        lines += ["", *_table(own)]
    if common:
        lines += ["", f"Takes {', '.join(common)}."]
    return [*lines, ""]


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [a for a in parser._actions if not set(a.option_strings) & set(SAY_NOTHING)]


def _name(action: argparse.Action) -> str:
    return action.option_strings[-1] if action.option_strings else _metavar(action)


def _metavar(action: argparse.Action) -> str:
    if action.metavar is not None:
        return str(action.metavar)
    if action.choices is not None:
        return "|".join(map(str, action.choices))
    return action.dest.upper()


def _spelt(action: argparse.Action) -> str:
    """Return an option with the value it takes, or an argument."""
    if not action.option_strings:
        return _metavar(action)
    return _name(action) if action.nargs == 0 else f"{_name(action)} {_metavar(action)}"


def _in_usage(action: argparse.Action) -> str:
    text = _spelt(action)
    if action.option_strings:
        return text if action.required else f"[{text}]"
    return {"?": f"[{text}]", "*": f"[{text} ...]"}.get(str(action.nargs), text)


def _table(actions: list[argparse.Action]) -> list[str]:
    rows = [f"| `{_escaped(_spelt(a))}` | {_escaped(a.help or '')} |" for a in actions]
    return ["| | |", "|---|---|", *rows]


def _escaped(text: str) -> str:
    return text.replace("%%", "%").replace("|", "\\|")


def _sentence(text: str) -> str:
    text = " ".join(text.replace("%%", "%").split())
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


if __name__ == "__main__":
    print(page(), end="")
