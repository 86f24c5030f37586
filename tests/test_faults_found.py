"""Each fault found from outside has a test that names it, and each name has its row."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
TABLE = TESTS.parent / "docs" / "faults-found.md"
ROW = re.compile(r"^\| (F\d+\.\d+) \|", re.MULTILINE)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
NAMED = re.compile(r"(F\d+\.\d+):")


def every_test() -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, FUNCTIONS) and node.name.startswith("test_"):
                yield node


def test_every_row_has_a_test_and_every_named_row_exists() -> None:
    rows = ROW.findall(TABLE.read_text(encoding="utf-8"))
    assert len(rows) == len(set(rows))
    named = {
        match[1] for each in every_test() if (match := NAMED.match(ast.get_docstring(each) or ""))
    }
    assert sorted(named - set(rows)) == []
    assert sorted(set(rows) - named) == []
