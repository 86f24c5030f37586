"""docs/presets.md is what the data says."""

from pathlib import Path

from risk_manager.admin.presets_page import page
from risk_manager.settings.preset_files import shipped_names, shipped_preset

PAGE = Path(__file__).parent.parent.parent / "docs" / "presets.md"


def test_the_page_is_the_one_made_from_the_data() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "python -m risk_manager.admin.presets_page > docs/presets.md"
    )


def test_every_line_stands_there_with_its_source_and_both_dates() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in shipped_names():
        part = text.partition(f"## {name}\n")[2].partition("\n## ")[0]
        for line in shipped_preset(name).lines:
            (row,) = [
                r
                for r in part.splitlines()
                if r.startswith((f"| {line.name} |", f"| {line.name}, "))
            ]
            for cell in (line.source, str(line.checked), str(line.expires), line.confidence):
                assert cell in row
