"""A screen as text with styles: how it is stored, read again, and compared with another."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest

from rich.style import Style

Styles = tuple[str, ...]
_WORDS = ("bold", "dim", "reverse", "italic", "underline")
_RUN = re.compile(r"(\d+)(?:\*(\d+))?")


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the screen: its text, and the style of each of its cells in words."""

    text: str
    styles: Styles


Page = tuple[Line, ...]


def in_words(style: Style | None) -> str:
    """What can be seen of a style: bold #e0e0e0 on #121212."""
    if style is None:
        return "plain"
    seen = [
        word for word in ("bold", "dim", "reverse", "italic", "underline") if getattr(style, word)
    ]
    if style.color is not None:
        seen.append(style.color.name)
    if style.bgcolor is not None:
        seen.append(f"on {style.bgcolor.name}")
    return " ".join(seen) or "plain"


# --- a file of pages ------------------------------------------------------------------------------


def written(pages: dict[str, Page]) -> str:
    """The text of a file. The styles stand below each page, as runs of the numbers in the legend.

    A row in the style of most cells is not named there.
    """
    counted: dict[str, int] = {}
    for page in pages.values():
        for line in page:
            for style in line.styles:
                counted[style] = counted.get(style, 0) + 1
    numbers = {style: n for n, style in enumerate(sorted(counted, key=lambda s: (-counted[s], s)))}
    return "\n".join(_file(pages, numbers)) + "\n"


def _file(pages: dict[str, Page], numbers: dict[str, int]) -> Iterator[str]:
    for style, number in numbers.items():
        yield f"{number} = {style}"
    for name, page in pages.items():
        yield ""
        yield f"=== {name}, {len(page[0].styles)} columns"
        yield from (f"|{line.text}".rstrip() for line in page)
        first = 1
        for runs, alike in groupby(_runs(line, numbers) for line in page):
            last = first + len([*alike]) - 1
            if runs:
                yield f"{first}: {runs}" if first == last else f"{first}-{last}: {runs}"
            first = last + 1


def _runs(line: Line, numbers: dict[str, int]) -> str:
    runs = [(numbers[style], len([*cells])) for style, cells in groupby(line.styles)]
    if [number for number, _ in runs] == [0]:
        return ""
    return " ".join(str(number) if count == 1 else f"{number}*{count}" for number, count in runs)


def read(text: str) -> dict[str, Page]:
    """The pages of a file."""
    head, *parts = text.split("\n=== ")
    names = dict(line.split(" = ", 1) for line in head.strip().splitlines())
    return dict(_read_page(part.rstrip("\n").splitlines(), names) for part in parts)


def _read_page(lines: Sequence[str], names: dict[str, str]) -> tuple[str, Page]:
    name, columns = lines[0].removesuffix(" columns").split(", ")
    texts = [line[1:] for line in lines[1:] if line.startswith("|")]
    styles: list[Styles] = [(names["0"],) * int(columns)] * len(texts)
    for line in lines[1 + len(texts) :]:
        rows, _, runs = line.partition(": ")
        first, _, last = rows.partition("-")
        cells: list[str] = []
        for number, count in _RUN.findall(runs):
            cells += [names[number]] * int(count or 1)
        for row in range(int(first) - 1, int(last or first)):
            styles[row] = tuple(cells)
    return name, tuple(Line(text, style) for text, style in zip(texts, styles, strict=True))


# --- comparing ------------------------------------------------------------------------------------


def differences(kept: Page, now: Page) -> list[str]:
    """Where two pages differ, row by row, in words a person can act on; empty where they do not."""
    told: list[str] = []
    for row, (old, new) in enumerate(zip_longest(kept, now), 1):
        if old == new:
            continue
        if old is None or new is None or old.text != new.text:
            told.append(f"row {row}")
            told.append(f"  kept |{'(no such row)' if old is None else old.text}")
            told.append(f"  now  |{'(no such row)' if new is None else new.text}")
        else:
            told += _style_differences(row, old, new)
    return told


def _style_differences(row: int, old: Line, new: Line) -> Iterator[str]:
    pairs = [*enumerate(zip_longest(old.styles, new.styles, fillvalue="(no such cell)"))]
    for (was, is_now), cells in groupby(pairs, key=lambda pair: pair[1]):
        columns = [column for column, _ in cells]
        if was != is_now:
            text = new.text[columns[0] : columns[-1] + 1].strip()
            where = f"row {row}, columns {columns[0] + 1}-{columns[-1] + 1}"
            yield f"{where} {text!r}: {was} is now {is_now}"
