"""The SignalR frames of the practice gateway: events as bytes, and frames that break the rules."""

from typing import Any, Literal

import orjson

from risk_manager.practice.records import Event

SEPARATOR = b"\x1e"
PING = b'{"type":6}' + SEPARATOR
BEST_ASK, BEST_BID = 3, 4  # the gateway's DomType
TARGETS = {
    "order": "GatewayUserOrder",
    "trade": "GatewayUserTrade",
    "position": "GatewayUserPosition",
    "account": "GatewayUserAccount",
    "quote": "GatewayQuote",
    "market_trade": "GatewayTrade",
}

type PayloadShape = Literal["wrapped", "plain", "list"]
type OddFrame = Literal["close_error", "close", "unknown_target", "extra_key", "no_type", "null"]

ODD_FRAMES: dict[OddFrame, bytes] = {
    "close_error": b'{"type":7,"error":"Connection closed with an error.","allowReconnect":true}',
    "close": b'{"type":7}',
    "unknown_target": b'{"type":1,"target":"GatewayUserWeather","arguments":[{"rain":true}]}',
    "extra_key": b'{"type":1,"target":"GatewayUserAccount","arguments":[],"novelty":1}',
    "no_type": b'{"target":"GatewayUserAccount","arguments":[]}',
    "null": b"null",
}
GARBLED = b'{"type":1,"target":"GatewayUserPosition","arguments":[{"acti'


def invocation(target: str, *arguments: Any) -> bytes:
    """A SignalR invocation as bytes, ready for a socket."""
    return orjson.dumps({"type": 1, "target": target, "arguments": list(arguments)}) + SEPARATOR


def depth(quote: Event) -> bytes:
    """The top of the book as a depth frame."""
    levels = [
        {
            "timestamp": quote.data["timestamp"],
            "type": kind,
            "price": quote.data[side],
            "volume": 1 + quote.data["volume"] % 40,
            "currentVolume": 0,
        }
        for kind, side in ((BEST_BID, "bestBid"), (BEST_ASK, "bestAsk"))
    ]
    return invocation("GatewayDepth", quote.contract_id, levels)


LOGOUT = invocation("GatewayLogout", {"reason": "Logged in from another location"})


class FrameWriter:
    """Writes events in the payload shape now set.

    With `partial_quotes` a quote holds only the fields that changed since the last one of its
    contract.
    """

    def __init__(
        self, payload_shape: PayloadShape = "wrapped", *, partial_quotes: bool = False
    ) -> None:
        self.payload_shape: PayloadShape = payload_shape
        self.partial_quotes = partial_quotes
        self._last_quotes: dict[str, dict[str, Any]] = {}

    def forget_quote(self, contract_id: str) -> None:
        """Write the next quote of a contract in full."""
        self._last_quotes.pop(contract_id, None)

    def write(self, event: Event) -> bytes:
        """Return the event as bytes, ready for a socket."""
        target = TARGETS[event.kind]
        if event.is_market:
            data = self._changed_only(event) if self.partial_quotes else event.data
            return invocation(target, event.contract_id, data)
        wrapped = {"action": event.action, "data": event.data}
        match self.payload_shape:
            case "wrapped":
                return invocation(target, wrapped)
            case "plain":
                return invocation(target, event.data)
            case "list":
                return invocation(target, [wrapped])

    def _changed_only(self, event: Event) -> dict[str, Any]:
        data = dict(event.data)
        if event.kind != "quote":
            return data
        before = self._last_quotes.get(event.contract_id, {})
        self._last_quotes[event.contract_id] = data
        return {
            key: value for key, value in data.items() if key == "symbol" or before.get(key) != value
        }
