"""What the program's parts are versioned as."""

from risk_manager import __version__
from risk_manager.feed.messages import PROTOCOL
from risk_manager.store.schema import shipped_migrations


def versions() -> dict[str, str]:
    """The package, the newest database schema it knows, and its feed protocol."""
    return {
        "package": __version__,
        "schema": str(len(shipped_migrations())),
        "protocol": str(PROTOCOL),
    }
