"""Reads one YAML file: plain data, the line of each key, and the errors found."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from risk_manager.settings.problems import Problem

Path_ = tuple[str | int, ...]
"""The place of a value, such as ("rules", 2, "limit")."""

SIZE_LIMIT_BYTES = 512 * 1024
DEPTH_LIMIT = 32
CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")
# Every YAML reader takes these as text: no base-60 number of YAML 1.1 begins with a zero.
_CLOCK_FOR_ALL = re.compile(r"0\d?:\d{2}(:\d{2})?")
_CLOCK_IN_LINE = re.compile(rf"(?<![\w\":.-])({CLOCK.pattern})(?=\s*[,\]}}]|$)")
_LONGEST_LINE_SHOWN = 100
_QUOTED = re.compile(r"(['\"]).{4,}\1")
_PLAIN_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}"
    for name in ("null", "bool", "int", "float", "str", "timestamp", "map", "seq")
)
_TEXT = "tag:yaml.org,2002:str"


@dataclass(slots=True)
class Document:
    """One file as read. `data` is None for an empty, missing or unreadable file."""

    name: str
    data: Any = None
    text: str = ""
    lines: dict[Path_, int] = field(default_factory=dict)
    labels: dict[Path_, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    exists: bool = True

    def line(self, path: Path_) -> int:
        """Return the line of a key, or of the nearest part around it; 0 where none is known."""
        for length in range(len(path), -1, -1):
            if line := self.lines.get(path[:length]):
                return line
        return 0

    def problem(self, path: Path_, message: str) -> Problem:
        return Problem(self.name, self.line(path), self.key(path), message)

    def key(self, path: Path_) -> str:
        """Return the key as rules[daily_realized_loss].limit; items without a label by number."""
        text = ""
        for length, part in enumerate(path, 1):
            if isinstance(part, int):
                text += f"[{self.labels.get(path[:length], part)}]"
            else:
                text += f".{part}" if text else part
        return text

    def refuse(self, path: Path_, message: str) -> None:
        self.problems.append(self.problem(path, message))


def read(folder: Path, name: str, *, required: bool = True) -> Document:
    """Read a file of the configuration folder. Errors are added to the document, not raised."""
    document = Document(name)
    raw = _raw(document, folder, required=required)
    if raw is not None:
        parse(document, raw)
    return document


def read_text(folder: Path, name: str) -> Document:
    """Read a file of the folder that is no YAML: its text alone. Errors are not raised either."""
    document = Document(name)
    raw = _raw(document, folder, required=True)
    if raw is not None:
        _decoded(document, raw)
    return document


def _raw(document: Document, folder: Path, *, required: bool) -> bytes | None:
    name = document.name
    try:
        with (folder / name).open("rb") as file:
            raw = file.read(SIZE_LIMIT_BYTES + 1)
    except FileNotFoundError:
        document.exists = False
        if required:
            document.refuse((), f"no such file in {folder}; give the folder with --config")
        return None
    except OSError as error:
        document.refuse((), f"cannot be read ({error.strerror or error}); check its permissions")
        return None
    if len(raw) > SIZE_LIMIT_BYTES:
        document.refuse((), f"larger than {SIZE_LIMIT_BYTES // 1024} KB; this cannot be right")
        return None
    return raw


def _decoded(document: Document, raw: bytes) -> bool:
    try:
        document.text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        document.problems.append(
            Problem(document.name, line, "", "not UTF-8 text; save the file as UTF-8")
        )
        return False
    return True


def parse(document: Document, raw: bytes) -> None:
    """Fill a document from the bytes of its file."""
    if not _decoded(document, raw):
        return
    text = document.text
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
        if root is not None:
            document.data = _Builder(document, yaml).build(root, ())
    except MarkedYAMLError as error:
        document.problems.append(_syntax_problem(document.name, error))
    except RecursionError:
        document.refuse((), "nested too deeply")
    except Exception as error:
        # On some broken text the parser raises errors of any type.
        document.refuse((), f"not readable as YAML ({type(error).__name__})")


def _syntax_problem(name: str, error: MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    if (error.problem or "").startswith("found undefined alias"):
        what = 'a value beginning with * must be quoted, for example "*ES"'
    else:
        # The parser's message without longer quotations of the file, which may hold a secret.
        what = _QUOTED.sub("a word", error.problem or error.context or "broken text")
        if "\\t" in what:
            what = "a tab is used where spaces are needed"
        what = f"not readable as YAML: {what}"
        if mark is not None:
            what += f" (column {mark.column + 1})"
    return Problem(name, 0 if mark is None else mark.line + 1, "", what)


class _Builder:
    """Builds plain data from YAML nodes. Keys stay text, so that NO and 6E are symbols."""

    def __init__(self, document: Document, yaml: YAML) -> None:
        self._document = document
        self._yaml = yaml
        self._seen: set[int] = set()

    def build(self, node: Node, path: Path_) -> Any:
        self._document.lines.setdefault(path, node.start_mark.line + 1)
        if id(node) in self._seen or node.anchor:
            self._document.refuse(path, "anchors and aliases (& and *) are not used here; write "
                                  "the value out")  # fmt: skip
            return None
        self._seen.add(id(node))
        if len(path) > DEPTH_LIMIT:
            self._document.refuse(path[:3], "nested too deeply")
            return None
        if str(node.tag) not in _PLAIN_TAGS:
            self._document.refuse(path, "tags (!...) are not used here; write the plain value")
            return None
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.build(item, (*path, i)) for i, item in enumerate(node.value)]
        assert isinstance(node, ScalarNode)
        return self._scalar(node, path)

    def _mapping(self, node: MappingNode, path: Path_) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode):
                self._document.refuse(path, f"the key on line {line} is not a plain word")
                continue
            key = str(key_node.value)
            here = (*path, key)
            if key in result:
                first = self._document.lines[here]
                self._document.problems.append(
                    Problem(
                        self._document.name,
                        line,
                        self._document.key(here),
                        f"written twice (first on line {first}); remove one of the two",
                    )
                )
                continue
            self._document.lines[here] = line
            result[key] = self.build(value_node, here)
        return result

    def _scalar(self, node: ScalarNode, path: Path_) -> Any:
        tag = str(node.tag)
        if tag == _TEXT:
            text = str(node.value)
            if node.style is None and CLOCK.fullmatch(text) and not _CLOCK_FOR_ALL.fullmatch(text):
                # Programs for YAML 1.1 read 17:00 as the number 1020. A quoted time is text to all.
                line = _with_times_quoted(self._document.text, node.start_mark.line)
                self._document.refuse(path, f"a time must be quoted; write {line or repr(text)}")
            return text
        try:
            return self._yaml.constructor.construct_object(node, deep=True)
        except (ValueError, ArithmeticError):
            self._document.refuse(path, "not a readable number or date; quote it if it is text")
            return None


def _with_times_quoted(text: str, number: int) -> str:
    """Return a line of the file with its times quoted; empty where it is too long to show."""
    line = text.splitlines()[number].partition("#")[0].strip()
    return _CLOCK_IN_LINE.sub(r'"\1"', line) if len(line) <= _LONGEST_LINE_SHOWN else ""
