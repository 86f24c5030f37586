"""Configures the loggers of the gateway's SDK and of its dependencies."""

import logging

SDK = "project_x_py"
CHATTY = ("httpx", "httpcore", "aiohttp")
# At INFO or DEBUG these log the session token: pysignalr in the negotiation URL, websockets in the
# request line, hpack in every header. They stay silent even when SDK logging is turned on.
TELLS_TOKENS = ("pysignalr", "websockets", "hpack", "h2")


def quieten_sdk_logging(*, level: int = logging.WARNING) -> None:
    """Make the SDK log through the root logger, from `level` up, as other libraries do.

    Each SDK module gives its logger a stdout handler and stops propagation to the root. Call this
    after importing the SDK, and again after connecting, as the SDK then imports more modules.
    """
    for name, known in list(logging.root.manager.loggerDict.items()):
        if isinstance(known, logging.Logger) and (name == SDK or name.startswith(f"{SDK}.")):
            for handler in list(known.handlers):
                known.removeHandler(handler)
            known.propagate = True
            known.setLevel(logging.NOTSET)
    for name in (SDK, *CHATTY):
        logging.getLogger(name).setLevel(level)
    for name, known in list(logging.root.manager.loggerDict.items()):
        # Child loggers may have been given a lower level of their own.
        if isinstance(known, logging.Logger) and name.partition(".")[0] in TELLS_TOKENS:
            known.setLevel(logging.NOTSET)
    for name in TELLS_TOKENS:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
