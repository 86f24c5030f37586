"""Who may import whom, kept true: the core stays pure, the rooms stay apart."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "risk_manager"
PURE = ("domain", "engine", "rules", "whatif")
# What reads the world, decides by chance, waits, or writes.
WORLD = {
    "asyncio", "aiohttp", "aiosqlite", "httpx", "io", "logging", "os", "pathlib", "project_x_py",
    "random", "secrets", "socket", "sqlite3", "structlog", "subprocess", "sys", "textual",
    "threading", "time", "uuid", "websockets",
}  # fmt: skip
CLOCK_CALLS = {"now", "utcnow", "today", "time", "monotonic"}

# Room -> rooms it may import. Modules at the top (pipeline, clock, logs) are rooms of their own.
MAY_IMPORT = {
    "domain": set(),
    "engine": {"domain"},
    "rules": {"domain"},
    "right_of_way": set(),
    "async_closing": set(),
    "pipeline": {"domain", "engine", "right_of_way"},
    "clock": {"domain"},
    "instance_lock": set(),
    "broker": {"domain", "clock", "async_closing", "right_of_way"},
    "store": {"domain", "engine", "clock"},
    "feed": {"domain", "engine", "clock", "async_closing", "right_of_way"},
    "settings": {"domain", "rules"},
    "whatif": {"domain", "engine"},
    "alerts": {"domain", "engine", "clock", "redaction", "right_of_way", "settings"},
    "metrics": {"domain", "engine", "async_closing", "right_of_way"},
    "logs": {"redaction"},
    "redaction": set(),
    "practice": set(),
    "dashboard": {"feed"},
    "admin": {
        "settings", "feed", "store", "domain", "engine", "rules", "clock", "logs", "alerts",
        "redaction", "whatif",
    },
    "console": {
        "admin", "dashboard", "domain", "feed", "redaction", "service", "settings", "whatif",
    },
    "drill": {
        "admin", "broker", "clock", "daemon", "domain", "feed", "practice", "rules", "settings",
    },
    "service": {
        "admin", "daemon", "domain", "feed", "instance_lock", "settings", "store",
    },
    "cli": {
        "instance_lock", "daemon", "demo", "drill", "dashboard", "console", "feed", "settings",
        "admin", "practice", "logs", "domain", "alerts", "redaction", "service", "whatif",
    },
    "demo": {"instance_lock", "daemon", "practice", "settings", "dashboard", "feed", "logs"},
}  # fmt: skip


def modules(*rooms: str) -> Iterator[Path]:
    for room in rooms:
        path = PACKAGE / room
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, node.lineno


def impurities(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [
        f"{path.name}:{line} imports {name}"
        for name, line in imports(tree)
        if name.partition(".")[0] in WORLD
    ]
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in CLOCK_CALLS
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id in {"datetime", "date", "time"}
        ):
            found.append(f"{path.name}:{node.lineno} asks the clock")
        if isinstance(node, ast.AsyncFunctionDef | ast.Await):
            found.append(f"{path.name}:{node.lineno} waits")
    return found


@pytest.mark.parametrize("path", list(modules(*PURE)), ids=lambda p: p.stem)
def test_the_core_reads_no_clock_no_chance_no_world(path: Path) -> None:
    assert impurities(path) == []


@pytest.mark.parametrize(
    "planted",
    [
        "import asyncio",
        "from random import random",
        "from datetime import datetime\ndatetime.now()",
        "async def judge(): ...",
        "import structlog",
    ],
)
def test_each_kind_of_impurity_would_be_found(tmp_path: Path, planted: str) -> None:
    path = tmp_path / "planted.py"
    path.write_text(planted, encoding="utf-8")
    assert impurities(path)


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_rooms_import_only_their_neighbours(room: str) -> None:
    allowed = MAY_IMPORT[room] | {room}
    wrong = []
    for path in modules(room):
        for name, line in imports(ast.parse(path.read_text(encoding="utf-8"))):
            parts = name.split(".")
            if parts[0] == "risk_manager" and len(parts) > 1 and parts[1] not in allowed:
                wrong.append(f"{path.relative_to(PACKAGE)}:{line} imports {name}")
    assert wrong == []


# A rule judges a view of the state, and the state holds the rules that judge it.
ONE_CIRCLE = {"domain.rule", "domain.view", "domain.state", "domain.rulebook"}


def test_no_modules_import_each_other_in_a_circle_but_one() -> None:
    """Imports for type checking count as well."""
    needs = imported_modules()
    reached = {module: _reached(module, needs) for module in needs}
    circular = {m for m in needs if m in reached[m]}
    assert circular == ONE_CIRCLE


def imported_modules() -> dict[str, set[str]]:
    """Each module of ours -> those it imports, by their names below the package."""
    paths = {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
        for path in PACKAGE.rglob("*.py")
    }
    needs: dict[str, set[str]] = {name: set() for name in paths}
    for module, path in paths.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("risk_manager"):
                room = (node.module or "").removeprefix("risk_manager").removeprefix(".")
                for alias in node.names:
                    inner = f"{room}.{alias.name}".removeprefix(".")
                    needs[module].add(inner if inner in paths else room)
    return needs


def _reached(module: str, needs: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(needs[module])
    while waiting:
        name = waiting.pop()
        if name in needs and name not in found:
            found.add(name)
            waiting += needs[name]
    return found


def test_only_the_broker_room_imports_the_sdk() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] != "broker"
        for name, line in imports(ast.parse(path.read_text(encoding="utf-8")))
        if name.partition(".")[0] in {"project_x_py", "pysignalr"}
    ]
    assert wrong == []
