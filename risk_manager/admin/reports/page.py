"""Reports as one page of HTML that needs nothing else: no script, no font, no picture from afar."""

from collections.abc import Sequence
from html import escape

from risk_manager.admin.reports.curve_picture import curve_svg
from risk_manager.admin.reports.report import Report
from risk_manager.admin.reports.wording import Section, Table, sections, shown, title

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_NUMBER = ' class="number"'
_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; color: #111; background: #fff; margin: 2em auto;
  max-width: 760px; padding: 0 1em; }
h1 { font-size: 1.4em; margin: 0 0 .2em; }
h2 { font-size: 1.1em; border-bottom: 1px solid #999; margin: 1.4em 0 .4em; }
h3 { font-size: 1em; margin: .8em 0 .2em; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .15em .5em; border-bottom: 1px solid #ddd;
  vertical-align: top; overflow-wrap: anywhere; }
th.number, td.number { text-align: right; font-variant-numeric: tabular-nums; }
p { margin: .3em 0; overflow-wrap: anywhere; }
svg { width: 100%; height: auto; margin: .6em 0 0; }
.curve { fill: none; stroke: #06c; stroke-width: 2; }
.zero { stroke: #999; stroke-dasharray: 4 3; }
.about { color: #555; }
@media print {
  @page { margin: 12mm; }
  body { margin: 0; max-width: none; padding: 0; font-size: 8pt; line-height: 1.25; }
  h2 { margin-top: .8em; }
  th, td { padding: .05em .5em; }
  p { margin: .15em 0; }
  svg { max-height: 32mm; }
  article + article { break-before: page; }
  h2, h3 { break-after: avoid; }
  tr, svg, p { break-inside: avoid; }
  thead { display: table-header-group; }
}
"""


def as_page(reports: Sequence[Report]) -> str:
    """Return the reports as a page, each account on a sheet of its own when printed."""
    name = " / ".join(_safe(title(report)) for report in reports)
    articles = "\n".join(_article(report) for report in reports)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{name}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{articles}\n"
        "</body>\n</html>\n"
    )


def _article(report: Report) -> str:
    parts = [f"<h1>{_safe(title(report))}</h1>"]
    parts.append(f'<p class="about">Times are in {_safe(str(report.zone))}.</p>')
    for section in sections(report):
        parts.append(f"<h2>{_safe(section.heading)}</h2>")
        if section.has_curve:
            parts.append(curve_svg(report.curve))
        parts.append(_section(section))
    return "<article>\n" + "\n".join(filter(None, parts)) + "\n</article>"


def _section(section: Section) -> str:
    parts = [] if section.table is None else [_table(section.table)]
    parts += [f"<p>{_safe(line)}</p>" for line in section.lines]
    for name, lines in section.groups:
        parts.append(f"<h3>{_safe(name)}</h3>")
        parts += [f"<p>{_safe(line)}</p>" for line in lines]
    return "\n".join(parts)


def _table(table: Table) -> str:
    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{_NUMBER if n in table.numbers else ''}>{_safe(cell)}</{tag}>"
            for n, cell in enumerate(row)
        )

    body = "\n".join(f"<tr>{cells(row, 'td')}</tr>" for row in table.rows)
    return (
        f"<table>\n<thead><tr>{cells(table.head, 'th')}</tr></thead>\n<tbody>\n{body}\n"
        "</tbody>\n</table>"
    )


def _safe(text: str) -> str:
    return escape(shown(text))
