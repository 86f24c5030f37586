"""A look through the whole database file beside a start, on a thread and connection of its own."""

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from risk_manager.store import schema
from risk_manager.store.schema import DatabaseCorrupt, StoreError, is_damage
from risk_manager.store.upkeep import open_reader

ASKED_TO_END = 100
END_PAUSE_S = 0.05

Aside = Callable[[Callable[[], str]], Coroutine[Any, Any, str]]


class FileCheck:
    """Begins at once; `damage` waits for it. `on_whole` is called when nothing was found."""

    def __init__(self, path: Path, aside: Aside, on_whole: Callable[[], None]) -> None:
        self._path = path
        self._aside = aside
        self._on_whole = on_whole
        self._is_over = False
        self._reader: sqlite3.Connection | None = None
        self._task = asyncio.create_task(self._run(), name="store check")

    async def damage(self) -> str:
        """What is wrong with the file; empty for nothing. Raises `StoreError`: nobody can tell."""
        found = await asyncio.shield(self._task)
        if found:
            # The file may have been replaced meanwhile; damage is there the second time as well.
            found = await self._aside(self._look)
        return found

    async def end(self) -> None:
        """Stop looking, and let go of the file."""
        self._is_over = True
        for _ in range(ASKED_TO_END):
            if self._task.done():
                break
            reader = self._reader
            if reader is not None:
                with suppress(sqlite3.ProgrammingError):  # closed by now
                    reader.interrupt()
            # Asked again: a statement that had not begun yet did not hear it.
            await asyncio.wait({self._task}, timeout=END_PAUSE_S)
        if self._task.done() and not self._task.cancelled():
            self._task.exception()  # whoever ends it does not ask

    async def _run(self) -> str:
        found = await self._aside(self._look)
        if not found and not self._is_over:
            self._on_whole()
        return found

    def _look(self) -> str:
        if self._is_over:
            return ""
        try:
            with open_reader(self._path) as self._reader:
                self._reader.execute("PRAGMA cell_size_check = 1")
                schema.check_quickly(self._reader, self._path)
                schema.check_indexes(self._reader, self._path)
        except DatabaseCorrupt as error:
            return str(error)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            if is_damage(error):
                return f"{self._path} is damaged: {error}"
            raise StoreError(f"{self._path} cannot be checked: {error}") from error
        finally:
            self._reader = None
        return ""
