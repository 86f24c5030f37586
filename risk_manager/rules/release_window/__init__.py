"""EXTRA-011, `release_window`: no entries, or nothing open, around scheduled releases."""

from risk_manager.rules.release_window.configuration import Release, ReleaseFile
from risk_manager.rules.release_window.rule import ReleaseWindow

__all__ = ["Release", "ReleaseFile", "ReleaseWindow"]
