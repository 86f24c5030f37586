"""The pages tell the truth: what they name exists, what they show works."""

import argparse
import ast
import dataclasses
import re
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from desk import Desk

from risk_manager.cli import command_parser
from risk_manager.domain.rule import Rule
from risk_manager.feed import messages
from risk_manager.rules import RULES

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
REGISTRY = DOCS / "spec-registry.md"
# How many requirements each part of the specification has.
PARTS = {
    "CORE": 4, "ROOT": 2, "API": 45, "DAEMON": 3, "RULES": 13, "MOD": 9, "INT": 2, "CLI": 2,
    "DATA": 9, "CFG": 4, "GUIDE": 7,
}  # fmt: skip
STATUS_WORDS = ("done", "later", "superseded")

page = pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def quoted(text: str) -> list[str]:
    """What stands in single backticks."""
    return re.findall(r"`([^`\n]+)`", text)


def code_blocks(text: str) -> list[str]:
    """Indented and fenced blocks, without their indentation."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines: list[str] = []
    for line in [*text.splitlines(), "end"]:
        if line.startswith("    ") or (lines and not line.strip()):
            lines.append(line[4:])
        elif lines:
            blocks.append("\n".join(lines).strip("\n") + "\n")
            lines = []
    return blocks


def table_rows(text: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in text.splitlines()
        if line.startswith("| ") and not line.startswith("|---")
    ]


# --- the registry ---------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Requirement:
    id: str
    what: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]
    status: str


def requirements() -> list[Requirement]:
    return [
        Requirement(row[0], row[1], tuple(quoted(row[2])), tuple(quoted(row[3])), row[4])
        for row in table_rows(text_of(REGISTRY))
        if row[0].startswith(("SPEC-", "EXTRA-"))
    ]


@cache
def test_names(path: Path) -> frozenset[str]:
    tree = ast.parse(text_of(path))
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


test_names.__test__ = False  # type: ignore[attr-defined]  # a question, not a test


def missing(requirement: Requirement) -> Iterator[str]:
    for module in requirement.modules:
        if not (ROOT / module).is_file() and not (ROOT / "risk_manager" / module).is_file():
            yield module
    for test in requirement.tests:
        file, _, name = test.partition("::")
        path = ROOT / file
        if not path.is_file() or (name and name not in test_names(path)):
            yield test
        elif not name and not any(n.startswith("test_") for n in test_names(path)):
            yield f"{test} holds no test"


def test_the_registry_lists_all_hundred_requirements_once() -> None:
    found = [r.id for r in requirements() if r.id.startswith("SPEC-")]
    parts = [re.fullmatch(r"SPEC-([A-Z]+)-(\d{3})-v\d", each) for each in found]
    numbers: dict[str, list[int]] = {}
    for part in parts:
        assert part is not None
        numbers.setdefault(part[1], []).append(int(part[2]))
    assert len(found) == 100
    expected = {}
    for name, count in PARTS.items():
        first = 0 if name in ("RULES", "GUIDE") else 1
        expected[name] = list(range(first, first + count))
    assert numbers == expected


@pytest.mark.parametrize("requirement", requirements(), ids=lambda r: r.id)
def test_what_the_registry_names_exists(requirement: Requirement) -> None:
    assert list(missing(requirement)) == []
    assert requirement.status.startswith(STATUS_WORDS)
    if requirement.status.startswith("done"):
        assert requirement.modules
        assert requirement.tests


@pytest.mark.parametrize(
    "planted",
    [
        {"modules": ("no_such_room/gone.py",)},
        {"tests": ("tests/test_gone.py",)},
        {"tests": ("tests/test_docs.py::test_of_nothing",)},
        {"tests": ("tests/conftest.py",)},
    ],
)
def test_a_name_that_leads_nowhere_would_be_found(planted: dict[str, tuple[str, ...]]) -> None:
    asked = {"modules": (), "tests": (), **planted}
    assert list(missing(Requirement("X", "", asked["modules"], asked["tests"], "done")))


# --- links and commands ---------------------------------------------------------------------------


def anchors(path: Path) -> set[str]:
    """The heading anchors of a page, as the usual renderers make them."""
    headings = re.findall(r"^#+ (.+)$", text_of(path), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


@page
def test_relative_links_resolve(path: Path) -> None:
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(path)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        if not there.exists() or (anchor and anchor not in anchors(there)):
            wrong.append(target)
    assert wrong == []


def parser_of(words: list[str]) -> tuple[argparse.ArgumentParser, list[str]]:
    """The parser that these words lead to, and the words it did not take as a command."""
    parser = command_parser()
    rest = list(words)
    while rest:
        deeper = next((a for a in parser._actions if isinstance(a.choices, dict)), None)
        if deeper is None or not isinstance(deeper.choices, dict):
            break
        if rest[0] not in deeper.choices:
            break
        parser = deeper.choices[rest.pop(0)]
    return parser, rest


def command_faults(line: str) -> list[str]:
    """What is wrong with a command line as a page has it; `...` may stand for anything."""
    words = re.sub(r'"[^"]*"', "TEXT", line.partition("  #")[0]).split()
    parser, rest = parser_of(words)
    if any(isinstance(a.choices, dict) for a in parser._actions):
        known = {option for a in parser._actions for option in a.option_strings}
        return [] if rest and rest[0] in {*known, "..."} else [f"{line}: no such command"]
    known = {option for a in parser._actions for option in a.option_strings}
    return [f"{line}: {w}" for w in rest if w.startswith("--") and w not in known]


def commands_on(path: Path) -> Iterator[str]:
    # A page talks of `risk-manager run`, `python -m risk_manager run`, or of both in a block.
    start = re.compile(r"(?:risk-manager(?:\.exe)?|-m risk_manager)(?: +(.*))?$")
    text = text_of(path)
    for line in [*quoted(text), *(x for block in code_blocks(text) for x in block.splitlines())]:
        found = start.search(line.strip().rstrip('"'))
        if found is not None and found[1]:
            yield found[1]


@page
def test_commands_on_the_pages_exist(path: Path) -> None:
    assert [fault for line in commands_on(path) for fault in command_faults(line)] == []


@pytest.mark.parametrize("planted", ["dance", "admin config dance", "run --fast", "admin"])
def test_a_command_that_does_not_exist_would_be_found(planted: str) -> None:
    assert command_faults(planted)


def test_the_pages_do_show_commands() -> None:
    assert len(list(commands_on(DOCS / "getting-started.md"))) >= 10


# --- rules ----------------------------------------------------------------------------------------


def names_of(rule: type[Rule]) -> tuple[str, list[str]]:
    name = rule.model_fields["rule"].default
    shared = set(Rule.model_fields)
    return name, [field for field in rule.model_fields if field not in shared]


@pytest.mark.parametrize("rule", RULES, ids=lambda r: names_of(r)[0])
def test_each_rule_has_a_page_that_names_every_parameter(rule: type[Rule]) -> None:
    name, fields = names_of(rule)
    first_cells = [row[0] for row in table_rows(text_of(DOCS / "rules" / f"{name}.md"))]
    named = {word.partition(".")[0] for cell in first_cells for word in quoted(cell)}
    assert set(fields) - named == set()


def test_each_page_about_a_rule_has_its_rule() -> None:
    pages = {path.stem for path in (DOCS / "rules").glob("*.md")}
    assert pages == {names_of(rule)[0] for rule in RULES}


async def test_the_example_rule_of_the_page_works() -> None:
    blocks = code_blocks(text_of(DOCS / "how-to-add-a-rule.md"))
    of_rule, of_test = (b for b in blocks if b.startswith(('"""', "from desk")))
    module = types.ModuleType("max_position_age")
    exec(compile(of_rule, "the rule on the page", "exec"), module.__dict__)
    example: type[Rule] = module.MaxPositionAge

    def desk(**sections: dict[str, Any]) -> Desk:
        return Desk([example.model_validate({"rule": k, **v}) for k, v in sections.items()])

    scope: dict[str, Any] = {}
    exec(compile(of_test, "the test on the page", "exec"), scope)
    (run,) = (value for name, value in scope.items() if name.startswith("test_"))
    await run(desk)


# --- the feed -------------------------------------------------------------------------------------


def section(text: str, heading: str) -> str:
    begin = re.search(rf"^### `?{re.escape(heading)}`?$", text, re.MULTILINE)
    assert begin is not None, f"no section about {heading}"
    rest = text[begin.end() :]
    end = re.search(r"^##", rest, re.MULTILINE)
    return rest if end is None else rest[: end.start()]


PARTS_OF_MESSAGES = {
    "AccountSnapshot": messages.AccountSnapshot,
    "Position": messages.PositionRow,
    "Order": messages.OrderRow,
    "Quote": messages.QuoteRow,
    "Lock": messages.LockRow,
    "Deadline": messages.DeadlineRow,
    "Meter": messages.MeterRow,
    "Trade": messages.TradeRow,
    "DayCourse": messages.DayCourse,
    "ResultAt": messages.ResultAt,
    "ResultStretch": messages.ResultStretch,
    "LimitLine": messages.LimitLine,
    "TradeSums": messages.TradeSums,
    "DayTrade": messages.DayTrade,
    "DayResult": messages.DayResult,
    "PastLock": messages.PastLock,
    "EnforcementTotals": messages.EnforcementTotals,
    "Waiting": messages.Waiting,
    "WaitingChange": messages.WaitingChange,
    "LastDrill": messages.LastDrill,
    "Alarm": messages.AlarmRow,
    "Doubt": messages.DoubtRow,
    "Hub": messages.HubRow,
    "Rest": messages.RestRow,
    "Database": messages.DatabaseRow,
}


@pytest.mark.parametrize(
    ("heading", "model"), [*messages.TYPES.items(), *PARTS_OF_MESSAGES.items()]
)
def test_the_page_of_the_feed_lists_every_field(heading: str, model: type[Any]) -> None:
    rows = table_rows(section(text_of(DOCS / "feed.md"), heading))
    named = [quoted(row[0])[0] for row in rows if quoted(row[0])]
    assert named == [field.name for field in dataclasses.fields(model)]


def test_the_exit_codes_of_the_page_are_those_of_the_program() -> None:
    from risk_manager.cli.exits import Exit

    rows = table_rows(text_of(DOCS / "operations.md"))
    assert [int(row[0]) for row in rows if row[0].isdigit()] == [int(code) for code in Exit]


# --- the way of an event --------------------------------------------------------------------------

FLOW = DOCS / "how-an-event-flows.md"


def stops() -> list[tuple[str, str]]:
    """Each thing the page names as a call, and the files named beside it."""
    rows = re.findall(r"^\| \d \| (.+?) \| (.+?) \|", text_of(FLOW), re.MULTILINE)
    return [(call, files) for call, files in rows]


@pytest.mark.parametrize(("call", "files"), stops(), ids=[call for call, _ in stops()])
def test_every_stop_on_the_way_of_an_event_exists(call: str, files: str) -> None:
    """A newcomer finds each function and method where the page says it is."""
    sources = ""
    for name in quoted(files):
        path = ROOT / "risk_manager" / name
        assert path.exists(), name
        paths = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        sources += "".join(text_of(p) for p in paths)
    for stop in quoted(call):
        for part in re.sub(r"\(.*\)", "", stop).split("."):
            found = re.search(rf"\b(def|class) {part}\b|\bself\._?{part}\b|\b{part}\(", sources)
            assert found, f"{stop}: {part} is not in {files}"
