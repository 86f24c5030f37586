"""Tells when a calendar file that a rule names is not what was read any more."""

import asyncio
from collections.abc import Callable, Mapping

from risk_manager.clock import Clock
from risk_manager.domain.events import AnyEvent, HealthIssueChanged
from risk_manager.domain.health_issue import IssueKind
from risk_manager.settings.configuration import Configuration
from risk_manager.settings.documents import read_text
from risk_manager.settings.loading import LIMITING_FILES

LOOK_EVERY_S = 30.0


class ReleaseFileWatch:
    """Compares each file with the text in force, and reports a difference as a health issue.

    What was read goes on counting. A file comes into force by a reload alone, like every limit.
    """

    def __init__(
        self,
        configuration: Callable[[], Configuration],
        put: Callable[[AnyEvent], None],
        clock: Clock,
    ) -> None:
        self._configuration = configuration
        self._put = put
        self._clock = clock
        self._told: Mapping[str, str] = {}

    async def run(self) -> None:
        """Look every half minute, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look()

    async def look(self) -> None:
        """Compare the files once, and report what has changed since the last look."""
        found = await asyncio.to_thread(_differences, self._configuration())
        for name in {**self._told, **found}:
            if found.get(name, "") != self._told.get(name, ""):
                self._put(
                    HealthIssueChanged(
                        at=self._clock.now(),
                        doubt=IssueKind.FILE_DIFFERS,
                        subject=name,
                        reason=found.get(name, ""),
                    )
                )
        self._told = found


def _differences(configuration: Configuration) -> dict[str, str]:
    """Return why each file that differs does, by name."""
    found = {}
    for name, text in configuration.texts.items():
        if name in LIMITING_FILES:
            continue
        document = read_text(configuration.folder, name)
        if document.problems:
            found[name] = f"{document.problems[0]}; the releases read before still count"
        elif document.text != text:
            found[name] = (
                f"{name} has changed since it was read; to use it, run risk-manager admin config "
                "reload"
            )
    return found
