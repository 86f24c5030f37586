"""`admin journal whatif`: recorded days judged again under other limits."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from risk_manager.cli.admin_history import day
from risk_manager.cli.exits import CommandFailed, Exit
from risk_manager.cli.groups import add_command
from risk_manager.cli.places import add_account, add_json, add_places
from risk_manager.cli.terminal import require_terminal

if TYPE_CHECKING:
    from risk_manager.admin.whatif_question import Question
    from risk_manager.cli.groups import Commands

MOST_TICKS = 100


def register(journal: "Commands") -> None:
    parser = add_command(
        journal,
        "whatif",
        "judge recorded days under the limits of --config: which trades they would have changed",
    )
    parser.add_argument(
        "--from", dest="first", type=day, metavar="DATE", help="from this trading date on"
    )
    parser.add_argument(
        "--to", dest="last", type=day, metavar="DATE", help="up to this trading date"
    )
    parser.add_argument(
        "--csv",
        type=Path,
        metavar="FILE",
        help="judge a file instead of the journal: a TopstepX export of trades, or what "
        "admin history trades --csv printed",
    )
    parser.add_argument(
        "--set",
        dest="trials",
        action="append",
        default=[],
        metavar="RULE.FIELD=VALUE",
        help="try this value instead of the written one; may be repeated, writes no file",
    )
    parser.add_argument(
        "--grid",
        metavar="RULE.FIELD=LOW:HIGH:STEP",
        help="try one field at several values, as daily_realized_loss.limit=300:1000:100",
    )
    parser.add_argument(
        "--slippage-ticks",
        dest="slippage",
        type=_ticks,
        default=(0, 2),
        metavar="LOW:HIGH",
        help="how many ticks worse than the quote a close fills (default: 0:2)",
    )
    add_account(parser)
    shown = parser.add_mutually_exclusive_group()
    add_json(shown)
    shown.add_argument(
        "--screen", action="store_true", help="show the answer with plots, day by day"
    )
    add_places(parser)
    parser.set_defaults(command=_whatif)


def _ticks(text: str) -> tuple[int, int]:
    """Two numbers of ticks."""
    low, _, high = text.partition(":")
    if all(part.isascii() and part.isdigit() and len(part) <= 3 for part in (low, high)):
        found = int(low), int(high)
        if found[0] <= found[1] <= MOST_TICKS:
            return found
    raise argparse.ArgumentTypeError(
        f"{text!r} is no range of ticks; write it as 0:2, {MOST_TICKS} at most"
    )


def _whatif(arguments: argparse.Namespace) -> int:
    from risk_manager.admin.records import RecordsUnreadable
    from risk_manager.admin.whatif_data import plain
    from risk_manager.cli.whatif_table import lines
    from risk_manager.whatif.csv_files import UnreadableFile
    from risk_manager.whatif.grid import GridRefused

    if arguments.first and arguments.last and arguments.first > arguments.last:
        arguments.usage("--from is after --to")
    question = _question(arguments)
    if arguments.screen:
        return _on_screen(question)
    try:
        answer = question.answer()
    except RecordsUnreadable as error:
        raise CommandFailed(Exit.DATABASE, str(error)) from None
    except (UnreadableFile, GridRefused) as error:
        raise CommandFailed(Exit.REFUSED, str(error)) from None
    if arguments.json:
        print(json.dumps(plain(answer, question.trials), indent=2))
    else:
        for line in lines(answer, question.limits):
            print(line)
    return Exit.DONE


def _question(arguments: argparse.Namespace) -> "Question":
    from risk_manager.admin.whatif import Asked
    from risk_manager.admin.whatif_question import Question
    from risk_manager.whatif.outcomes import Slippage

    return Question(
        config=arguments.config,
        asked=Asked(
            data=arguments.data,
            csv_file=arguments.csv,
            first=arguments.first,
            last=arguments.last,
            account_id=arguments.account,
            slippage=Slippage(low=arguments.slippage[0], high=arguments.slippage[1]),
        ),
        trials=tuple(arguments.trials),
        grid=arguments.grid or "",
    )


def _on_screen(question: "Question") -> int:
    require_terminal("leave out --screen for a table, or use --json")
    from risk_manager.console import run_whatif

    code, told = run_whatif(question)
    if told:
        raise CommandFailed(Exit(code), told)
    return code
