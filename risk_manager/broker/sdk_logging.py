"""Taming the loggers of the gateway's SDK and of what it brings along."""

import logging

SDK = "project_x_py"
CHATTY = ("httpx", "httpcore", "aiohttp")
# At INFO or DEBUG these print the session token: pysignalr the negotiation URL, websockets the
# request line, hpack every header. They stay shut even when the SDK is asked to speak.
TELLS_TOKENS = ("pysignalr", "websockets", "hpack", "h2")


def quieten_sdk_logging(*, level: int = logging.WARNING) -> None:
    """Make the SDK log like any library: through the root logger, from `level` up.

    Each SDK module gives its logger a stdout handler of its own and cuts it off from the root,
    so call this after importing the SDK and again after connecting (it imports more then).
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
        # Children must not have been given a lower level of their own.
        if isinstance(known, logging.Logger) and name.partition(".")[0] in TELLS_TOKENS:
            known.setLevel(logging.NOTSET)
    for name in TELLS_TOKENS:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
