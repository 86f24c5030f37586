"""The newest state of the feed: the picture, the pages that are asked for, what is to be told."""

from risk_manager.dashboard.alerts import Alert, AlertBook
from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.history_asking import HistoryAsking
from risk_manager.dashboard.picture import Picture
from risk_manager.feed.client import Connected, Disconnected, FeedClient
from risk_manager.feed.messages import Heartbeat, History, MarketQuote, Message

PRICES = (MarketQuote, Heartbeat)
"""Messages that may wait for the next repaint of prices."""
REST = 3
"""While news keeps coming, one chance in so many to show it is taken."""


class LiveFeed:
    """Follows the feed; holds nothing back, whatever the screen shows."""

    def __init__(self, client: FeedClient) -> None:
        self.client = client
        self.latest = Picture()
        self._alerts = AlertBook()
        self._asking = HistoryAsking()
        self.has_news = False
        """Whether anything but prices came since the screen took the latest."""
        self._rested = REST  # chances since news was shown last

    def hear(self, item: Message | Connected | Disconnected, heard_at: float) -> list[Alert]:
        """Take a message, or a change of the connection, and return what it has to tell."""
        if isinstance(item, Connected):
            self._asking.begin_anew()
        elif isinstance(item, Message) and isinstance(item.data, History):
            account_id = item.account_id
            if account_id is None or not self._asking.answered(account_id, item.data):
                return []
        before = self.latest
        self.latest = before.with_item(item, heard_at)
        self.has_news |= not (isinstance(item, Message) and isinstance(item.data, PRICES))
        alerts = self._alerts.new(before, self.latest, heard_at)
        if alerts:
            self._rested = REST  # these are shown at the next chance
        return alerts

    def is_news_due(self) -> bool:
        """Whether to show news at this chance. What comes alone, or with an alert, never waits."""
        self._rested += 1
        if not self.has_news or self._rested < REST:
            return False
        self._rested = 0
        return True

    async def ask(self, glance: Glance) -> None:
        """Ask the daemon for the pages of history that the open tab needs."""
        if self.latest.line.up and self.latest.accounts:
            for request in self._asking.due(glance):
                await self.client.ask(request)
