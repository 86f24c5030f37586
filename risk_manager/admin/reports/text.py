"""A report as text of at most 80 columns."""

import textwrap

from risk_manager.admin.reports.report import Report
from risk_manager.admin.reports.wording import Section, Table, all_shown, sections, shown, title

WIDTH = 80


def as_text(report: Report) -> str:
    """Return the report for a terminal."""
    head = title(report)
    out = [*_wrapped(shown(head)), f"Times are in {report.zone}."]
    for section in sections(report):
        out += ["", section.heading, "-" * len(section.heading), *_section(section)]
    return "\n".join(out)


def _section(section: Section) -> list[str]:
    out = [] if section.table is None else _table(section.table)
    for line in section.lines:
        out += _wrapped(shown(line))
    for name, lines in section.groups:
        out += _wrapped(shown(name))
        for line in lines:
            out += _wrapped(shown(line), "  ")
    return out


def _table(table: Table) -> list[str]:
    rows = [table.head, *(all_shown(row) for row in table.rows)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(table.head))]
    # One odd cell, as the id of an unknown contract, must not push the others off the screen.
    spare = WIDTH - 2 * (len(widths) - 1) - sum(widths)
    if spare < 0:
        widest = widths.index(max(widths))
        widths[widest] = max(widths[widest] + spare, 1)
    return [
        "  ".join(
            _cell(cell, widths[n], to_the_right=n in table.numbers) for n, cell in enumerate(row)
        ).rstrip()
        for row in rows
    ]


def _cell(cell: str, width: int, *, to_the_right: bool) -> str:
    if len(cell) > width:
        cell = cell[: width - 1] + "~"
    return cell.rjust(width) if to_the_right else cell.ljust(width)


def _wrapped(line: str, indent: str = "") -> list[str]:
    return textwrap.wrap(line, WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ") or [
        ""
    ]
