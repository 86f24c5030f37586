"""A channel by apprise: one address out of the many kinds that it knows. Imports apprise.

apprise and the libraries below it log addresses. Their loggers are cut off here, and what they say
about a failure is masked before it is passed on.
"""

import logging
import re

import apprise
from pydantic import SecretStr

from risk_manager.alerts.address import conceal_address
from risk_manager.alerts.book import Message
from risk_manager.domain.decisions import Severity
from risk_manager.redaction import redact

UNKNOWN_KIND = (
    "apprise does not know this kind of address, or the address is not complete; "
    "https://appriseit.com/services/ lists them"
)
LONGEST_REASON = 160
_LOGGERS = ("apprise", "requests", "urllib3", "requests_oauthlib", "oauthlib")
_TYPES = {
    Severity.INFO: apprise.NotifyType.INFO,
    Severity.WARNING: apprise.NotifyType.WARNING,
    Severity.BREACH: apprise.NotifyType.FAILURE,
    Severity.CRITICAL: apprise.NotifyType.FAILURE,
}


class AddressUnusable(Exception):
    """apprise cannot use this address. The message does not contain it."""


class AppriseChannel:
    """Sends to one address. Raises AddressUnusable for one that apprise does not know."""

    def __init__(self, name: str, url: SecretStr) -> None:
        self.name = name
        conceal_address(url.get_secret_value())
        _cut_off_the_loggers()
        # Without a time limit of its own apprise sends in the calling thread; the requests have
        # their own time limits.
        asset = apprise.AppriseAsset(
            app_id="risk_manager",
            app_desc="risk_manager",
            async_mode=False,
            secure_logging=True,
            service_timeout=0,
        )
        self._apprise = apprise.Apprise(asset=asset)
        if not self._apprise.add(url.get_secret_value()):
            raise AddressUnusable(UNKNOWN_KIND)

    def send(self, message: Message) -> str:
        """Send one message. Blocks. Returns "" or the reason why it was not accepted."""
        said: list[str] = []
        kind = apprise.NotifyType.SUCCESS if message.is_done else _TYPES[message.severity]
        try:
            accepted = self._apprise.notify(
                title=redact(message.title),
                body=redact(message.text),
                notify_type=kind,
                body_format=apprise.NotifyFormat.TEXT,
                log_callback=lambda entry, _: said.append(entry.message),
                log_level=logging.WARNING,
            )
        except Exception as error:  # a plug-in of apprise may raise anything, with the address
            return type(error).__name__
        if accepted:
            return ""
        return _reason(said)


def _reason(said: list[str]) -> str:
    """Return the plug-in's words about a failure, in one line and masked."""
    text = re.sub(r"\w+://\S+", "[address]", redact(" ".join(" ".join(said).split())))
    return text[:LONGEST_REASON] or "apprise could not send it"


def _cut_off_the_loggers() -> None:
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.propagate = False
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
