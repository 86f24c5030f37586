"""Errors of what the console does, each in one line for a person."""

import os
from pathlib import Path

from risk_manager.admin.accounts import NoSuchEdit
from risk_manager.admin.credentials import GatewaySilent
from risk_manager.admin.folder import denied
from risk_manager.admin.panic import NothingToReach
from risk_manager.admin.password_change import NotChanged
from risk_manager.admin.records import RecordsUnreadable
from risk_manager.admin.rest_gateway import LoginRefused
from risk_manager.feed.client import AdminRefused, FeedUnreachable
from risk_manager.redaction import redact
from risk_manager.service.service import ServiceRefused
from risk_manager.settings.edits import EditFailed
from risk_manager.settings.problems import ConfigurationErrors
from risk_manager.settings.secrets import SecretUnavailable
from risk_manager.settings.yaml_edits import EditRefused
from risk_manager.whatif.csv_files import UnreadableFile
from risk_manager.whatif.grid import GridRefused


class GivenUp(Exception):
    """The person did not answer what was needed. Nothing was done."""


_EXPLAINED = (
    AdminRefused,
    EditFailed,
    EditRefused,
    FeedUnreachable,
    GivenUp,
    GridRefused,
    LoginRefused,
    NoSuchEdit,
    NotChanged,
    NothingToReach,
    RecordsUnreadable,
    SecretUnavailable,
    ServiceRefused,
    UnreadableFile,
)


def in_one_line(error: Exception, data: Path) -> str:
    """Return what is wrong and what to do, without secrets. `data` is the data folder."""
    return " ".join(_told(error, data).split())


def _told(error: Exception, data: Path) -> str:
    match error:
        case ConfigurationErrors():
            first, *others = error.problems
            more = f" (and {len(others)} more: risk-manager admin config validate)"
            return redact(f"{first}{more if others else ''}")
        case GatewaySilent():
            return f"the gateway cannot be asked: {error}"
        case _ if isinstance(error, _EXPLAINED):
            return str(error)
        case PermissionError():
            path = Path(os.fsdecode(error.filename or b"?"))
            if path.is_relative_to(data):
                return denied(data, path)
            return f"{path} is closed to this user; run this as the user who owns it"
        case OSError():
            where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
            return redact(f"{where}{error.strerror or error}")
    return redact(f"internal error: {type(error).__name__}: {error}; please report it")
