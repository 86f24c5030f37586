"""docs/cli.md says of every command what the command itself says."""

from pathlib import Path

import pytest

from risk_manager.cli import main
from risk_manager.cli.command_page import page

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def test_the_page_is_as_the_parsers_make_it() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "make it anew: python -m risk_manager.cli.command_page > docs/cli.md"
    )


def test_every_command_and_option_has_a_word_about_it() -> None:
    lines = page().splitlines()
    assert [line for line in lines if line.endswith("|  |")] == []
    sections = page().split("\n## ")[2:]
    assert len(sections) > 40
    for section in sections:
        about = section.split("\n\n")[2]
        assert about.endswith("."), section


@pytest.mark.parametrize("words", [("admin", "rules", "set"), ("admin", "history", "days")])
def test_the_help_has_the_same_words(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*words, "--help"])
    said = " ".join(capsys.readouterr().out.split()).lower()
    section = page().partition(f"## {' '.join(words)}\n")[2].partition("\n## ")[0]
    about = section.split("\n\n")[1].removesuffix(".").lower()
    assert " ".join(about.split()) in said
