"""Tests use the public ways of the program: no private name of ours is reached from outside."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "risk_manager"

SDK = "of project_x_py and pysignalr, whose fakes repeat the names; the version is pinned"
SQLITE = "of aiosqlite: the store relies on it, and this test says when it changes"
SURVIVORS = {
    ("bench/bare_sdk.py", "_make_request"): SDK,
    ("broker/test_sdk_contract.py", "_authenticated"): SDK,
    ("broker/test_sdk_contract.py", "_callback"): SDK,
    ("broker/test_sdk_contract.py", "_client"): SDK,
    ("broker/test_sdk_contract.py", "_ensure_client"): SDK,
    ("broker/test_sdk_contract.py", "_event_handlers"): SDK,
    ("broker/test_sdk_contract.py", "_run_task"): SDK,
    ("broker/test_sdk_contract.py", "_transport"): SDK,
    ("broker/test_sdk_contract.py", "_ws"): SDK,
    ("fake_sdk.py", "_callback"): SDK,
    ("fake_sdk.py", "_event_handlers"): SDK,
    ("fake_sdk.py", "_keepalive"): SDK,
    ("fake_sdk.py", "_transport"): SDK,
    ("fake_sdk.py", "_ws"): SDK,
    ("practice/test_practice_faults.py", "_make_request"): SDK,
    ("practice/test_practice_wire.py", "_make_request"): SDK,
    ("simulation/streams.py", "_callback"): SDK,
    ("cli/test_cli.py", "_actions"): "of argparse, which lists its commands in no other way",
    ("test_docs.py", "_actions"): "of argparse, which lists its commands in no other way",
    ("store/test_store_schema.py", "_execute"): SQLITE,
    ("store/test_store_schema.py", "_thread"): SQLITE,
    ("torture/doomed.py", "_exit"): "of os: a forked child ends without its parent's clean-up",
}
"""File and name -> why the name stays."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def defined(tree: ast.AST) -> Iterator[str]:
    """The private names that a module defines: functions, classes, attributes, variables."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case ast.Name(id=name, ctx=ast.Store()):
                yield name


def reached(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Private names taken from a value or a module that is not the class's own, and the lines."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=owner, attr=name) if not _is_own(owner):
                yield name, node.lineno
            case ast.ImportFrom(names=names):
                yield from ((alias.name, node.lineno) for alias in names)
            case ast.Call(
                func=ast.Name(id=how) | ast.Attribute(attr=how),
                args=[owner, ast.Constant(value=str(name)), *_],
            ) if how in {"getattr", "setattr", "delattr"} and not _is_own(owner):
                yield name, node.lineno


def _is_own(owner: ast.expr) -> bool:
    match owner:
        case ast.Name(id="self" | "cls") | ast.Call(func=ast.Name(id="super")):
            return True
    return False


def parsed(root: Path) -> dict[str, ast.AST]:
    return {
        path.relative_to(root).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(root.rglob("*.py"))
    }


def test_no_test_reaches_for_a_private_name_of_ours() -> None:
    trees = parsed(TESTS)
    ours = {
        name
        for tree in (*trees.values(), *parsed(PACKAGE).values())
        for name in defined(tree)
        if is_private(name)
    }
    found: dict[tuple[str, str], int] = {}
    for path, tree in trees.items():
        for name, line in reached(tree):
            if is_private(name) and name in ours:
                found.setdefault((path, name), line)
    unknown = found.keys() - SURVIVORS.keys()
    assert [f"{path}:{found[path, name]} {name}" for path, name in unknown] == []
    assert SURVIVORS.keys() - found.keys() == set(), "no longer needed"


@pytest.mark.parametrize(
    "planted",
    [
        "desk.pipeline._store = None",
        "from risk_manager.cli import _parser",
        "monkeypatch.setattr(server, '_tell', None)",
        "getattr(server, '_tell')",
        "self.world._open",
        "super().store._close",
    ],
)
def test_each_way_to_reach_one_would_be_found(planted: str) -> None:
    assert any(is_private(name) for name, _ in reached(ast.parse(planted)))


@pytest.mark.parametrize("fine", ["self._open()", "super()._open()", "cls._of", "x.__dict__"])
def test_what_a_class_does_with_its_own_is_left_alone(fine: str) -> None:
    assert not any(is_private(name) for name, _ in reached(ast.parse(fine)))
