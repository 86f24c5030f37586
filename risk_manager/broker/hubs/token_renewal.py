"""Has the login's token replaced when a hub does not accept it, but not again and again."""

import logging

from risk_manager.broker.hubs.timings import HubTimings
from risk_manager.broker.session import CredentialsRefused, GatewayUnavailable, Login
from risk_manager.clock import Clock
from risk_manager.domain.events import Hub

log = logging.getLogger(__name__)


class TokenRenewal:
    """Renews the token for one hub."""

    def __init__(self, hub: Hub, login: Login, clock: Clock, timings: HubTimings) -> None:
        self._hub = hub
        self._login = login
        self._clock = clock
        self._timings = timings
        self._logged_out_at: float | None = None
        self._renewed_at: float | None = None

    async def after_refusal(self, stale_token: str) -> None:
        """Renew the token, but not again at once if a hub refuses even a fresh token."""
        now = self._clock.monotonic()
        if self._renewed_at is not None and now - self._renewed_at < self._timings.between_renewals:
            return
        self._renewed_at = now
        try:
            await self._login.renew(stale_token)
        except (CredentialsRefused, GatewayUnavailable) as error:
            log.warning("the %s hub needs a new token: %s", self._hub, error)

    async def after_logout(self, stale_token: str) -> bool:
        """Log in again, but only once: repeated logins would sign the trader out each time.

        Returns False if that was done a short while ago.
        """
        now = self._clock.monotonic()
        before, self._logged_out_at = self._logged_out_at, now
        if before is not None and now - before < self._timings.logout_memory:
            return False
        await self.after_refusal(stale_token)
        return True
