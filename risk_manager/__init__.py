"""A guard for funded futures accounts."""

__version__ = "0.1.0"
