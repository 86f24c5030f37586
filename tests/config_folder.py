"""A configuration folder to break: the shipped files, copied, and edited by each test."""

import shutil
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from risk_manager.settings import Configuration, ConfigurationErrors, load

SHIPPED = Path(__file__).parent.parent / "config"
TODAY = date(2026, 11, 2)


class ConfigFolder:
    """`rules` are lines under `rules:`; everything else is replaced file by file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        shutil.copytree(SHIPPED, folder)

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text, encoding="utf-8")

    def risk(self, rules: str = "rules: []", rest: str = "") -> None:
        self.write("risk_config.yaml", f"version: 1\n{rules}\n{rest}")

    def load(self, env: Mapping[str, str] | None = None) -> Configuration:
        return load(self.path, env or {}, today=TODAY)

    def errors(self, env: Mapping[str, str] | None = None) -> list[str]:
        """The lines an operator reads; empty when the configuration is valid."""
        try:
            self.load(env)
        except ConfigurationErrors as errors:
            return [str(problem) for problem in errors.problems]
        return []

    def warnings(self, env: Mapping[str, str] | None = None) -> list[str]:
        return [str(problem) for problem in self.load(env).warnings]
