"""The verbs of the admin channel about the configuration files, besides `reload_config`."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from risk_manager.admin.verbs import Verb


class FileVerbs:
    """`preview_config` answers as `reload_config` would, and changes nothing.

    `authorize` answers, once the admin password has been given where one is set, with the folder
    the daemon reads: who gets an answer may edit the files and have them read.
    """

    def __init__(self, preview: Callable[[], Awaitable[dict[str, Any]]], config: Path) -> None:
        self._preview = preview
        self._config = config

    def verbs(self) -> dict[str, Verb]:
        return {"preview_config": self._answer_preview, "authorize": self._answer_authorize}

    async def _answer_preview(self, _: dict[str, Any]) -> dict[str, Any]:
        return await self._preview()

    async def _answer_authorize(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"config": str(self._config.resolve())}
