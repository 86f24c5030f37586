"""Writes docs/presets.md from the data: `python -m risk_manager.admin.presets_page`."""

from collections.abc import Iterator

from risk_manager.settings.configuration import plain
from risk_manager.settings.preset_files import Preset, PresetLine, shipped_names, shipped_preset

HEAD = """\
# Presets

<!-- Made from the data by `python -m risk_manager.admin.presets_page > docs/presets.md`. -->

A preset is a firm's plan as dated figures. Each line has a source, the day on which it was
checked, the day it expires, and how sure it is. **These are not the firm's words.** Firms change
their figures by e-mail and banner: compare them with your own account before you rely on them.
"Help N" is the number of a TopstepX help article, as quoted by others.

## In `risk_config.yaml`

A preset stands in the list of rules, beside rules of your own:

    rules:
      - preset: topstep-50k-combine
        accounts: [101]             # all accounts when left out
        without: [daily_loss]       # lines to leave out; none when left out
        given:                      # what only you know, for the lines that take it
          consistency: {since: 2026-11-02}
      - rule: max_contracts
        limit: 30
        count: micro_equivalents

`enabled: false` and `shadow: true` work as for a rule. With one preset this form does as well:

    rules:
      preset: topstep-50k-combine
      own:
        - {rule: max_contracts, limit: 3}

- **Of the firm's limit and yours the tighter counts.** Both are enforced. Where one of them can
  never ask for more than the other, only the tighter is kept, and `admin rules list` names it.
- Each line is a rule named after the preset: `topstep-50k-combine.daily_loss`. `admin rules
  explain` with that name gives its source and date; with the name of the preset, every line.
- A line is not edited. Write a rule of your own, or leave the line out.
- A line for which this version of the program has no rule is not enforced. The start, `admin
  config validate` and the doctor say so.
- **After its date a line still holds.** The start, the screen and the doctor warn: look at the
  firm's figures, and update the program.
- A new version of a preset is an edit like any other. What is tighter counts at once, and what is
  looser from the next reset. The same goes for a preset taken out, and for a line left out.

Some lines need a value that only you know, and are not enforced without it: the first day of your
evaluation, or the releases (`news: {windows: [{at: "2026-12-10 07:30", name: CPI}]}`). Others take
one: `maximum_loss: {floor: 48700}` is the floor that your firm states when you begin.

"Optional" lines are limits that the firm lets you choose. Leave them out if your account has none.
"""


def page() -> str:
    """Return the whole page."""
    lines = HEAD.splitlines()
    for name in sorted(shipped_names(), key=_order):
        lines += _section(shipped_preset(name))
    return "\n".join(lines) + "\n"


def _order(name: str) -> tuple[int, str]:
    preset = shipped_preset(name)
    return preset.account_size, preset.preset


def _section(preset: Preset) -> Iterator[str]:
    yield from ("", f"## {preset.preset}", "", f"{preset.title}.", "")
    yield "| line | rule and values | source | checked | expires | sure |"
    yield "|---|---|---|---|---|---|"
    for line in preset.lines:
        optional = ", optional" if line.optional else ""
        yield (
            f"| {line.name}{optional} | {_values(line)} | {line.source} | {line.checked} | "
            f"{line.expires} | {line.confidence} |"
        )


def _values(line: PresetLine) -> str:
    if line.figure is not None:
        told = line.figure
    else:
        told = f"{line.rule}: {', '.join(f'{k} {_told(v)}' for k, v in plain(line.set).items())}"
    told += f". Needs {', '.join(line.needs)}" if line.needs else ""
    told += f". Takes {', '.join(line.takes)}" if line.takes else ""
    return f"{told}. {line.note}" if line.note else told


def _told(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case dict():
            return " ".join(f"{key} {_told(item)}" for key, item in value.items())
        case list() if any(isinstance(item, dict) for item in value):
            return "; ".join(map(_told, value))
        case list():
            return "/".join(map(str, value))
    return str(value)


if __name__ == "__main__":
    print(page(), end="")
