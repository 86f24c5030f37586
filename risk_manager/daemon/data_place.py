"""Where the data of the guarded gateway are kept."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from risk_manager.instance_lock import EXIT_DATABASE, CannotStart
from risk_manager.settings.settings_file import GatewaySettings
from risk_manager.store import place

HEARTBEAT = "heartbeat"
UNGUARDED = "unguarded.json"
JOURNAL = "journal"

Announce = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DataPlace:
    """`data_dir` is the folder of the daemon, `folder` that of the data from `gateway`."""

    data_dir: Path
    folder: Path
    gateway: str

    @classmethod
    def find(cls, data_dir: Path, gateway: GatewaySettings, announce: Announce) -> "DataPlace":
        """Find the place of this gateway, which no other gateway shares. Raises CannotStart."""
        name = place.gateway_name(gateway.kind, gateway.api_url)
        try:
            folder = place.folder_of(data_dir, name)
        except OSError as error:
            raise CannotStart(
                EXIT_DATABASE, f"the data folder {data_dir} cannot be used: {error}"
            ) from None
        if folder != data_dir:
            announce(
                f"{data_dir} belongs to another gateway, whose limits and locks stay as they "
                f"are; what is learnt from {name} is kept in {folder}"
            )
        return cls(data_dir, folder, name)

    @property
    def is_elsewhere(self) -> bool:
        """Whether this is another real gateway than the one the data folder belongs to."""
        return self.folder != self.data_dir and self.gateway != place.PRACTICE

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders in which limits in force may be stored, the nearest first."""
        return (self.folder, self.data_dir) if self.is_elsewhere else (self.folder,)

    @property
    def database(self) -> Path:
        return self.folder / place.DATABASE

    @property
    def journal(self) -> Path:
        return self.folder / JOURNAL

    @property
    def unguarded(self) -> Path:
        return self.folder / UNGUARDED

    @property
    def heartbeat(self) -> Path:
        return self.data_dir / HEARTBEAT
