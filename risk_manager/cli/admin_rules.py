"""`admin rules show|set|enable|disable|defaults|explain`: one rule, read and edited."""

import argparse
import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from risk_manager.cli.exits import Exit
from risk_manager.cli.groups import add_command
from risk_manager.cli.limit_edits import add_edit_options, carry_out, refused
from risk_manager.cli.places import add_account, add_json, add_places

if TYPE_CHECKING:
    from risk_manager.admin.config_edits import Proposal
    from risk_manager.admin.rule_pages import RulePage
    from risk_manager.cli.groups import Commands

RULE = "the rule's id, or its name if it is there once"
RULE_OR_PRESET = f"{RULE}; or a preset, as topstep-50k-combine"


def register(rules: "Commands") -> None:
    show = add_command(rules, "show", "one rule: each value, from where it is, and what waits")
    explain = add_command(
        rules, "explain", "one rule in sentences: what it does, and what each value means"
    )
    for parser, command in ((show, _show), (explain, _explain)):
        parser.add_argument("rule", metavar="RULE", help=RULE_OR_PRESET)
        add_account(parser)
        add_places(parser)
        add_json(parser)
        parser.set_defaults(command=command)
    setting = add_command(rules, "set", "change values of a rule; comments in the file stay")
    setting.add_argument("rule", metavar="RULE", help=RULE)
    setting.add_argument(
        "values",
        nargs="*",
        metavar="KEY=VALUE",
        help="as limit=400, limits.MNQ=2, blocked='[RTY, CL]', shadow=true",
    )
    setting.add_argument(
        "--unset",
        action="append",
        default=[],
        metavar="KEY",
        help="take a key out, so that its default counts; may be repeated",
    )
    setting.set_defaults(command=_set)
    enable = add_command(rules, "enable", "switch a rule on; it counts from the next event")
    disable = add_command(rules, "disable", "switch a rule off; it counts until the next reset")
    for parser, is_on in ((enable, True), (disable, False)):
        parser.add_argument("rule", metavar="RULE", help=RULE)
        parser.set_defaults(command=_switch, is_on=is_on)
    defaults = add_command(
        rules, "defaults", "give a rule, or with --all every rule, the values as shipped"
    )
    defaults.add_argument("rule", metavar="RULE", nargs="?", help=RULE)
    defaults.add_argument("--all", action="store_true", help="every rule in the file")
    defaults.set_defaults(command=_defaults)
    for parser in (setting, enable, disable):
        parser.add_argument(
            "--account", type=int, metavar="ID", help="for this account only, as its override"
        )
    for parser in (setting, enable, disable, defaults):
        add_edit_options(parser)


def _page(arguments: argparse.Namespace) -> "RulePage":
    from risk_manager.admin.rule_pages import page_of
    from risk_manager.settings import load

    files = load(arguments.config)
    return refused(
        lambda: page_of(files, arguments.data, arguments.rule, arguments.account, datetime.now(UTC))
    )


def _show(arguments: argparse.Namespace) -> int:
    if _is_preset(arguments.rule):
        return _tell_preset(arguments)
    page = _page(arguments)
    if arguments.json:
        print(json.dumps(page.plain(), indent=2))
        return Exit.DONE
    print(f"{page.rule.id}: {page.rule.title} ({page.rule.spec_id}){page.remarks}")
    width = max((len(row.key) for row in page.rows), default=0)
    for row in page.rows:
        print(f"  {row.key:<{width}}  {row.told}")
    print(f"from: {page.origin}")
    for line in page.versions:
        print(line)
    return Exit.DONE


def _explain(arguments: argparse.Namespace) -> int:
    if _is_preset(arguments.rule):
        return _tell_preset(arguments)
    page = _page(arguments)
    if arguments.json:
        print(json.dumps(page.plain(), indent=2))
        return Exit.DONE
    print(f"{page.rule.id}: {page.rule.title} ({page.rule.spec_id}){page.remarks}")
    print(f"  {page.about}")
    print(f"  From: {page.origin}.")
    if page.note:
        print(f"  {page.note}")
    width = max((len(f"{row.key}: {row.value}") for row in page.rows), default=0)
    for row in page.rows:
        print(f"  {f'{row.key}: {row.value}':<{min(width, 44)}}  {row.meaning}".rstrip())
    for line in page.versions:
        print(line)
    print(f"more, with examples: docs/rules/{page.rule.rule}.md")
    return Exit.DONE


def _is_preset(word: str) -> bool:
    from risk_manager.settings.preset_files import shipped_names

    return word in shipped_names()


def _tell_preset(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.preset_pages import preset_page
    from risk_manager.settings import load

    page = preset_page(load(arguments.config), arguments.rule, datetime.now(UTC).date())
    if arguments.json:
        print(json.dumps(page.plain(), indent=2))
        return Exit.DONE
    print(f"{page.preset.preset}: {page.preset.title} [{page.remark}]")
    for row in page.rows:
        print(f"  {row.name} [{row.standing}]: {row.words}")
        print(f"    {row.source}")
        if row.note:
            print(f"    {row.note}")
    return Exit.DONE


def _set(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.limit_proposals import Value, set_values
    from risk_manager.settings.yaml_edits import value_of

    if not arguments.values and not arguments.unset:
        arguments.usage("give KEY=VALUE, as limit=400, or --unset KEY")
    values: list[Value] = []
    for word in arguments.values:
        key, sign, text = word.partition("=")
        if not sign or not key.strip():
            arguments.usage(f"{word!r} is no KEY=VALUE; write limit=400")
        values.append((_path(arguments, key), refused(partial(value_of, text))))
    gone = [_path(arguments, key) for key in arguments.unset]
    return _edit(
        arguments,
        lambda: set_values(arguments.config, arguments.rule, values, gone, arguments.account),
    )


def _path(arguments: argparse.Namespace, key: str) -> tuple[str, ...]:
    path = tuple(key.strip().split("."))
    if not all(path):
        arguments.usage(f"{key!r} is no key; write limit, or limits.MNQ")
    return path


def _switch(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.limit_proposals import switch_rule

    return _edit(
        arguments,
        lambda: switch_rule(
            arguments.config,
            arguments.rule,
            is_on=arguments.is_on,
            account_id=arguments.account,
        ),
    )


def _defaults(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.limit_proposals import shipped_values

    if (arguments.rule is None) is not arguments.all:
        arguments.usage("give one RULE, or --all")
    return _edit(arguments, lambda: shipped_values(arguments.config, arguments.rule))


def _edit(arguments: argparse.Namespace, make: "Callable[[], Proposal]") -> int:
    return carry_out(arguments, refused(make))
