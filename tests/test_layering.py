"""Who may import whom, kept true: the core stays pure, the rooms stay apart."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "risk_manager"
PURE = ("domain", "rules")
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
    "rules": {"domain"},
    "pipeline": {"domain", "rules"},
    "clock": {"domain"},
    "chronicle": {"domain", "pipeline"},
    "claims": set(),
    "broker": {"domain", "rules", "clock", "pipeline"},
    "store": {"domain", "rules", "clock", "pipeline"},
    "feed": {"domain", "rules", "clock", "pipeline"},
    "settings": {"domain", "rules"},
    "logs": set(),
    "vigil": {"domain", "clock"},
    "housekeeping": {"domain", "clock", "broker", "store"},
    "practice": set(),
    "dashboard": {"feed"},
    "admin": {"settings", "feed", "store", "domain", "rules", "clock", "logs"},
    "cli": {
        "claims", "daemon", "demo", "dashboard", "feed", "settings", "admin", "practice", "logs",
        "domain",
    },
    "demo": {"claims", "daemon", "practice", "settings", "dashboard", "feed", "logs"},
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


def test_only_the_broker_room_imports_the_sdk() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).parts[0] != "broker"
        for name, line in imports(ast.parse(path.read_text(encoding="utf-8")))
        if name.partition(".")[0] in {"project_x_py", "pysignalr"}
    ]
    assert wrong == []
