"""The questions of `init` about accounts and limits, and the limits in words."""

import argparse
import shutil
import sys
import textwrap
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.init_login import LoginAnswers
from risk_manager.cli.questions import Choice, Questions, Unusable

if TYPE_CHECKING:
    from risk_manager.admin.first_setup import ChosenAccount, FirstSetup
    from risk_manager.domain.records import AccountRecord
    from risk_manager.domain.rulebook import Mode
    from risk_manager.settings.preset_files import Preset

NONE = "none"
OWN_DEFAULT = 500


def ask_accounts(
    questions: Questions, arguments: argparse.Namespace, accounts: "tuple[AccountRecord, ...]"
) -> "list[AccountRecord]":
    known = {account.id: account for account in accounts}
    if not known:
        raise CommandFailed(Exit.REFUSED, "the login has no active account; nothing was written")

    def read(text: str) -> "list[AccountRecord]":
        words = [word for word in text.replace(",", " ").split() if word]
        if words == ["all"]:
            return list(known.values())
        missing = [word for word in words if not word.isdigit() or int(word) not in known]
        if missing or not words:
            have = ", ".join(map(str, known))
            raise Unusable(f"{' '.join(missing)!r} is not an account of this login; it has {have}")
        return [known[number] for number in dict.fromkeys(map(int, words))]

    if questions.can_ask and arguments.account is None:
        print("\nThe accounts of the login:")
        for account in accounts:
            print(f"  {told_account(account)}")
    given = None if arguments.account is None else " ".join(arguments.account)
    prompt = "Which shall be guarded (numbers, or all)"
    return questions.ask("--account", given, prompt, read, "all")


def told_account(account: "AccountRecord") -> str:
    """Format an account with what the gateway states about it."""
    balance = "unknown" if account.balance is None else f"{account.balance:,.2f}"
    live = {False: ", LIVE FUNDED", True: "", None: ""}[account.simulated]
    can = {False: ", may not trade", True: "", None: ""}[account.can_trade]
    return f"{account.id} ({account.name}): balance {balance}{live}{can}"


def ask_setup(
    questions: Questions,
    arguments: argparse.Namespace,
    login: LoginAnswers,
    records: "list[AccountRecord]",
) -> "FirstSetup":
    from risk_manager.admin.first_setup import ChosenAccount, FirstSetup, nicknames

    given = _presets_given(arguments, records)
    accounts = [
        ChosenAccount(
            id=record.id,
            nickname=nickname,
            preset=_ask_preset(questions, record, given.get(record.id)),
        )
        for record, nickname in zip(records, nicknames(r.name for r in records), strict=True)
    ]
    without = _ask_without(questions, arguments, accounts)
    daily_loss = _ask_daily_loss(questions, arguments, accounts)
    return FirstSetup(
        kind=login.kind,
        urls=login.urls,
        login=login.username,
        reference=login.reference,
        accounts=tuple(accounts),
        without=without,
        daily_loss=daily_loss,
        mode=_ask_mode(questions, arguments, login),
    )


def _presets_given(arguments: argparse.Namespace, records: "list[AccountRecord]") -> dict[int, str]:
    """Return the preset that the options give each account; none for those they do not name."""
    ids = {record.id for record in records}
    of_all: dict[int, str] = {}
    of_one: dict[int, str] = {}
    for word in arguments.preset or ():
        number, sign, name = word.partition("=")
        if not sign:
            of_all = dict.fromkeys(ids, word)
        elif not number.isdigit() or int(number) not in ids:
            arguments.usage(f"--preset: {number!r} is not an account that is guarded")
        else:
            of_one[int(number)] = name
    return of_all | of_one


def _ask_preset(questions: Questions, account: "AccountRecord", given: str | None) -> str | None:
    from risk_manager.admin.first_login import presets_by_size, proposed_preset

    choices: list[Choice[str | None]] = [
        Choice(preset.preset, preset.title, preset.preset) for preset in presets_by_size()
    ]
    choices.append(Choice(NONE, "no preset: only limits of your own", None))
    return questions.choose(
        "--preset",
        given,
        f"Which plan is account {told_account(account)}?",
        choices,
        proposed_preset(account),
    )


def _ask_without(
    questions: Questions, arguments: argparse.Namespace, accounts: "list[ChosenAccount]"
) -> tuple[str, ...]:
    presets = _presets(accounts)
    lines = {line.name: line for preset in presets for line in preset.lines}
    if arguments.without is not None:
        for name in arguments.without:
            if name not in lines:
                arguments.usage(f"--without: no preset here has a line {name}")
        return tuple(dict.fromkeys(arguments.without))
    if not questions.can_ask:
        return ()
    left_out = []
    for line in lines.values():
        if line.optional:
            print(f"\n{line.name} is optional: {line.note}")
            yes_no = [Choice("yes", "", True), Choice("no", "", False)]
            if not questions.choose("--without", None, "Do your accounts have it?", yes_no, "yes"):
                left_out.append(line.name)
    return tuple(left_out)


def _presets(accounts: "list[ChosenAccount]") -> "list[Preset]":
    from risk_manager.settings.preset_files import shipped_preset

    names = dict.fromkeys(a.preset for a in accounts if a.preset is not None)
    return [shipped_preset(name) for name in names]


def _ask_daily_loss(
    questions: Questions, arguments: argparse.Namespace, accounts: "list[ChosenAccount]"
) -> Decimal | None:
    def read(text: str) -> Decimal | None:
        if text == NONE:
            return None
        try:
            amount = Decimal(text)
        except InvalidOperation:
            amount = Decimal(0)
        exponent = amount.as_tuple().exponent
        if not amount.is_finite() or amount <= 0 or not isinstance(exponent, int) or exponent < -2:
            raise Unusable(f"{text!r} is not an amount; write it as 500, or none")
        return amount

    firm = _firms_daily_loss(accounts)
    default = OWN_DEFAULT if firm is None else firm // 2
    if questions.can_ask and arguments.daily_loss is None:
        print(
            "\nYour own limit for the loss of a day, tighter than the firm's. Open positions count."
        )
    prompt = "At which loss is the day over (USD, or none)"
    return questions.ask("--daily-loss", arguments.daily_loss, prompt, read, str(default))


def _firms_daily_loss(accounts: "list[ChosenAccount]") -> int | None:
    lines = [preset.line("daily_loss") for preset in _presets(accounts)]
    amounts = [int(line.set["limit"]) for line in lines if line is not None]
    return min(amounts, default=None)


def _ask_mode(questions: Questions, arguments: argparse.Namespace, login: LoginAnswers) -> "Mode":
    from risk_manager.domain.rulebook import Mode

    choices = [
        Choice("shadow", "watch, judge and tell; touch nothing", Mode.SHADOW),
        Choice("enforce", "close, cancel and lock", Mode.ENFORCE),
    ]
    # Real accounts begin with a look at what would be done.
    default = "enforce" if login.kind == "practice" else "shadow"
    return questions.choose(
        "--mode", arguments.mode, "Shall the limits be enforced?", choices, default
    )


# --- in words -------------------------------------------------------------------------------------


def tell_limits(setup: "FirstSetup") -> None:
    """Print each limit as a sentence, with the source of the firm's."""
    from risk_manager.admin.preset_pages import NO_SUCH_RULE, NOT_STATED, row_of

    for preset in _presets(list(setup.accounts)):
        whose = ", ".join(str(a.id) for a in setup.accounts if a.preset == preset.preset)
        print(f"\n{preset.title} ({preset.preset}), for account {whose}:")
        for line in preset.lines:
            row = row_of(preset, line, None, preset.lines[0].checked)
            words = row.words
            if line.name in setup.without:
                words = "left out"
            elif row.standing == NO_SUCH_RULE:
                words = f"NOT ENFORCED by this version, keep to it: {words}"
            elif row.standing.startswith(NOT_STATED):
                words = f"{row.standing} (docs/presets.md): {words}"
            _tell("  - ", f"{row.name}: {words}")
            for remark in filter(None, (row.note, row.source)):
                _tell("      ", remark)
    print("\nYour own:")
    if setup.daily_loss is None:
        _tell("  - ", "none; `risk-manager admin rules enable RULE` switches one on")
    else:
        _tell("  - ", _own_loss(setup.daily_loss))
    print(f"\nMode: {setup.mode}")


def _tell(first: str, text: str) -> None:
    """Print a line; on a terminal it is folded between words and indented."""
    if sys.stdout.isatty():
        width = max(shutil.get_terminal_size().columns - 1, 40)
        further = " " * len(first)
        print(textwrap.fill(text, width, initial_indent=first, subsequent_indent=further))
    else:
        print(first + text)


def _own_loss(limit: Decimal) -> str:
    from risk_manager.admin.first_setup import OWN_LOSS
    from risk_manager.settings.rule_entries import rule_classes

    rule = rule_classes()[OWN_LOSS].model_validate({"limit": limit, "include_unrealized": True})
    return rule.in_words()
