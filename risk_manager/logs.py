"""The log: four files of JSON lines, readable lines on a terminal, and no secrets in either.

Lines are queued and written by a thread, so that a slow disk delays nothing. Logging never raises:
lines that cannot be written are counted, and the count is logged when writing works again.
"""

import json
import logging
import logging.handlers
import os
import queue
import sys
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from io import FileIO, TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

import structlog

from risk_manager.redaction import TEXT_LIMIT, masked, redact, redacted, text_of, timestamp

FILES = ("daemon", "enforcement", "api", "error")
ENFORCEMENT_LOGGERS = ("risk_manager.enforcement", "risk_manager.broker.enforcement")
API_LOGGERS = (
    "risk_manager.broker", "project_x_py", "pysignalr", "httpx", "httpcore", "websockets",
    "aiohttp",
)  # fmt: skip
NOISY_LOGGERS = (
    "project_x_py", "pysignalr", "httpx", "httpcore", "websockets", "aiohttp", "asyncio",
    "aiosqlite", "textual",
)  # fmt: skip
QUEUE_LIMIT = 10_000
REPEATS_SHOWN = 3
REPEAT_WINDOW_S = 5.0

# --- from the logger into the queue ----------------------------------------------------------

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Intake(logging.handlers.QueueHandler):
    """Freezes each record in the thread of the caller. The slow work is left to the writer."""

    def __init__(self, waiting: "queue.Queue[logging.LogRecord]") -> None:
        super().__init__(waiting)
        self._waiting = waiting
        self.dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        fields: dict[str, Any] = {}
        if isinstance(record.msg, dict):
            fields.update(record.msg)
            event = text_of(fields.pop("event", ""))
            args = fields.pop("positional_args", None)
            exc_info = fields.pop("exc_info", None) or record.exc_info
        else:
            event, args, exc_info = text_of(record.msg), record.args, record.exc_info
            extra = {k: v for k, v in vars(record).items() if k not in _STANDARD}
            fields.update(extra)
        for private in ("_record", "_logger", "_name", "_from_structlog"):
            fields.pop(private, None)
        fields = {str(key): _frozen(value) for key, value in fields.items()}
        line = logging.makeLogRecord(
            {
                "name": record.name,
                "levelno": record.levelno,
                "levelname": record.levelname,
                "created": record.created,
                "msg": _formatted(event, args),
            }
        )
        line.fields = fields
        line.exc = _traceback(exc_info)
        line.stack = record.stack_info
        return line

    def enqueue(self, record: logging.LogRecord) -> None:
        if self._waiting.qsize() >= QUEUE_LIMIT:
            self.dropped += 1
        else:
            self._waiting.put_nowait(record)

    def handleError(self, record: logging.LogRecord) -> None:
        self.dropped += 1


def _formatted(event: str, args: Any) -> str:
    if not args:
        return event
    try:
        return str(event % args)
    except Exception:  # a call with wrong placeholders is still logged
        return f"{event} {text_of(args)}"


def _frozen(value: Any) -> Any:
    """Return the value as it is now; the caller may change it before the line is written."""
    if isinstance(value, str | int | float | bool | None):
        return value
    return redacted(value)


def _traceback(exc_info: Any) -> str | None:
    if exc_info is True:
        exc_info = sys.exc_info()
    if isinstance(exc_info, BaseException):
        exc_info = (type(exc_info), exc_info, exc_info.__traceback__)
    if not isinstance(exc_info, tuple) or exc_info[0] is None:
        return None
    try:
        return "".join(traceback.format_exception(*exc_info))
    except Exception as error:  # an exception whose own text fails
        return f"{exc_info[0].__name__} (not shown: {type(error).__name__})"


# --- writing ---------------------------------------------------------------------------------


class _File(logging.handlers.RotatingFileHandler):
    """One log file, which only its owner can read. Lines that cannot be written are counted."""

    def __init__(self, path: Path, *, max_bytes: int, backups: int) -> None:
        self.dropped = 0
        super().__init__(
            path, maxBytes=max_bytes, backupCount=backups, encoding="utf-8", delay=True
        )

    def _open(self) -> TextIOWrapper:
        file = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return TextIOWrapper(
            FileIO(file, "a"), encoding="utf-8", errors="backslashreplace", line_buffering=True
        )

    def doRollover(self) -> None:
        try:
            super().doRollover()
        except OSError:
            # Windows does not rename a file that another program reads. The file grows until then.
            if self.stream is None:
                self.stream = self._open()

    def handleError(self, record: logging.LogRecord) -> None:
        self.dropped += 1


class _Repeats:
    """Limits equal lines: within seconds a few are written, and the others are counted."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int, str], tuple[float, int]] = {}

    def passes(self, record: logging.LogRecord, event: str, fields: str) -> tuple[bool, int]:
        """Return whether to write the line, and how many equal lines were left out before."""
        key = (record.name, record.levelno, event + fields)
        began, count = self._seen.get(key, (record.created, 0))
        if record.created - began >= REPEAT_WINDOW_S:
            left_out = max(count - REPEATS_SHOWN, 0)
            self._seen[key] = (record.created, 1)
            return True, left_out
        if len(self._seen) > 256:
            self._seen.pop(next(iter(self._seen)))
        self._seen[key] = (began, count + 1)
        return count < REPEATS_SHOWN, 0


class _Writer(logging.Handler):
    """Renders each record once, masks it, and writes it to the files it belongs in."""

    def __init__(
        self,
        files: Mapping[str, _File],
        console: IO[str] | None,
        *,
        as_json: bool,
        always: Mapping[str, str],
        lost: Callable[[], int],
    ) -> None:
        super().__init__()
        self._files = files
        self._console = console
        self._as_json = as_json
        self._always = always
        self._repeats = _Repeats()
        self._lost = lost
        self._lost_reported = 0
        self.dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(record)
        except Exception:  # logging never raises; the line is counted as lost
            self.dropped += 1

    def _write(self, record: logging.LogRecord) -> None:
        event = masked(str(record.msg))
        fields: dict[str, Any] = redacted(getattr(record, "fields", {}))
        exc = getattr(record, "exc", None)
        is_enforcement = record.name.startswith(ENFORCEMENT_LOGGERS)
        if not is_enforcement and record.levelno < logging.ERROR:
            shown, left_out = self._repeats.passes(record, event, text_of(fields))
            if not shown:
                return
            if left_out:
                fields["repeated"] = left_out
        line: dict[str, Any] = {
            "ts": timestamp(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": event,
            **self._always,
            **{k: v for k, v in fields.items() if k not in ("level", "logger", "ts", "timestamp")},
        }
        if exc:
            line["exc"] = redact(exc[-2 * TEXT_LIMIT :])[-TEXT_LIMIT:]
        if stack := getattr(record, "stack", None):
            line["stack"] = redact(stack[-2 * TEXT_LIMIT :])[-TEXT_LIMIT:]
        lost = self._lost()
        if lost > self._lost_reported:
            line["lines_lost"] = lost - self._lost_reported
            self._lost_reported = lost
        plain = _readable(line)
        text = json.dumps(line, ensure_ascii=False, default=text_of) if self._as_json else plain
        for name in self._where(record, is_enforcement):
            file = self._files.get(name)
            if file is not None:
                file.handle(_rendered(record, text))
        if self._console is not None:
            self._console.write(_coloured(plain, record.levelno, self._console) + "\n")
            self._console.flush()

    def _where(self, record: logging.LogRecord, is_enforcement: bool) -> list[str]:
        names = ["daemon"]
        if is_enforcement:
            names.append("enforcement")
        if record.name.startswith(API_LOGGERS):
            names.append("api")
        if record.levelno >= logging.ERROR:
            names.append("error")
        return names


def _rendered(record: logging.LogRecord, text: str) -> logging.LogRecord:
    return logging.makeLogRecord({"name": record.name, "levelno": record.levelno, "msg": text})


def _readable(line: Mapping[str, Any]) -> str:
    """Return a line such as: 17:00:01 WARNING hub lost  hub=user after_s=5"""
    at = datetime.fromisoformat(line["ts"]).astimezone()
    skipped = ("ts", "level", "logger", "event", "run_id", "exc", "stack")
    extra = " ".join(f"{k}={_shown(v)}" for k, v in line.items() if k not in skipped)
    text = f"{at:%H:%M:%S} {line['level'].upper():<8} {line['event']}"
    text += f"  {extra}" if extra else ""
    return "\n".join(part for part in (text, line.get("exc"), line.get("stack")) if part)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=text_of)
    return json.dumps(text, ensure_ascii=False) if " " in text or not text else text


def _coloured(text: str, level: int, stream: IO[str]) -> str:
    if os.environ.get("NO_COLOR") or not stream.isatty():
        return text
    if level >= logging.ERROR:
        return f"\x1b[31m{text}\x1b[0m"
    if level >= logging.WARNING:
        return f"\x1b[33m{text}\x1b[0m"
    return f"\x1b[2m{text}\x1b[0m" if level <= logging.DEBUG else text


# --- switching it on -------------------------------------------------------------------------


class Logs:
    """The logging of this process until `close`, which writes the lines still in the queue."""

    def __init__(
        self,
        folder: Path | None,
        *,
        level: str = "INFO",
        as_json: bool = True,
        max_mb: float = 10,
        backups: int = 10,
        console: IO[str] | None = None,
        run_id: str = "",
    ) -> None:
        self._files: dict[str, _File] = {}
        self.problem: str | None = None
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                self.problem = f"no log is written: {folder}: {error.strerror or error}"
            else:
                size = int(max_mb * 1024 * 1024)
                self._files = {
                    name: _File(folder / f"{name}.log", max_bytes=size, backups=backups)
                    for name in FILES
                }
        waiting: queue.Queue[logging.LogRecord] = queue.Queue()
        self._intake = _Intake(waiting)
        self._writer = _Writer(
            self._files,
            console,
            as_json=as_json,
            always={"run_id": run_id} if run_id else {},
            lost=lambda: self.lines_lost,
        )
        self._listener = logging.handlers.QueueListener(waiting, self._writer)
        root = logging.getLogger()
        self._before = (root.level, list(root.handlers))
        root.handlers[:] = [self._intake]
        self.set_level(level)
        _adopt_loggers()
        logging.captureWarnings(True)
        structlog.configure(
            processors=[
                structlog.stdlib.filter_by_level,
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
            ],
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
            cache_logger_on_first_use=False,  # loggers are made at import, before this
        )
        self._listener.start()
        if self.problem:
            logging.getLogger("risk_manager.logs").error(self.problem)

    @property
    def lines_lost(self) -> int:
        """Lines that could not be written since the start, counted for each file."""
        files = sum(file.dropped for file in self._files.values())
        return self._intake.dropped + self._writer.dropped + files

    def set_level(self, level: str) -> None:
        """Change the level while running. Libraries log warnings and errors only, unless DEBUG."""
        number = logging.getLevelNamesMapping()[level.upper()]
        logging.getLogger().setLevel(number)
        for name in NOISY_LOGGERS:
            least = logging.NOTSET if number <= logging.DEBUG else max(number, logging.WARNING)
            logging.getLogger(name).setLevel(least)

    def close(self) -> None:
        """Write the lines in the queue and close the files. Safe to call twice."""
        root = logging.getLogger()
        if self._intake not in root.handlers:
            return
        level, handlers = self._before
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(False)
        self._listener.stop()
        self._intake.close()
        self._writer.close()
        for file in self._files.values():
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _adopt_loggers() -> None:
    """Remove the handlers of the SDK's loggers, which print unmasked lines to stdout."""
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if not isinstance(logger, logging.Logger) or not name.startswith(NOISY_LOGGERS):
            continue
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
        if name not in NOISY_LOGGERS:
            logger.setLevel(logging.NOTSET)
        logger.propagate = True


class Wanted(Protocol):
    """The logging section of settings.yaml."""

    @property
    def level(self) -> str: ...
    @property
    def as_json(self) -> bool: ...
    @property
    def max_mb(self) -> int: ...
    @property
    def backups(self) -> int: ...


def running(
    wanted: Wanted,
    data_dir: Path,
    *,
    debug: bool = False,
    run_id: str = "",
    console: IO[str] | None = None,
) -> Logs:
    """Start logging by the settings into data/logs, and in readable lines to `console`."""
    return Logs(
        data_dir / "logs",
        level="DEBUG" if debug else wanted.level,
        as_json=wanted.as_json,
        max_mb=wanted.max_mb,
        backups=wanted.backups,
        console=console,
        run_id=run_id,
    )


def terminal() -> IO[str] | None:
    """Return the stream for readable lines: stdout if it is a terminal, else None."""
    stream = sys.stdout
    return stream if stream is not None and stream.isatty() else None


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger, used as: log.info("flattened", account=101, took_ms=84)."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
