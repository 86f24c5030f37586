"""The versions of the program's parts."""

from risk_manager import __version__
from risk_manager.feed.messages import PROTOCOL
from risk_manager.store.schema import shipped_migrations


def versions() -> dict[str, str]:
    """Return the versions of the package, of its newest database schema and of its feed."""
    return {
        "package": __version__,
        "schema": str(len(shipped_migrations())),
        "protocol": str(PROTOCOL),
    }
