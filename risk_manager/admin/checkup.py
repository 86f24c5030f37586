"""The checks of `doctor`. Each checks one thing and says what it found and how to fix it."""

import asyncio
import contextlib
import errno
import json
import os
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from risk_manager.admin import machine
from risk_manager.admin.alerts_check import FIX, alert_lines
from risk_manager.admin.finding import Finding, Grade
from risk_manager.admin.folder import closed_to_us, is_in_use
from risk_manager.admin.gateway_login import GatewayProblem, LoginReport, log_in
from risk_manager.admin.key_age import RENEW, known_age
from risk_manager.admin.limit_checks import (
    calendar_horizon,
    known_accounts,
    limit_checks,
    listed_account,
)
from risk_manager.domain.durations import plain_duration
from risk_manager.domain.read_budget import reading_time
from risk_manager.feed.client import FeedUnreachable, read_once, who_listens
from risk_manager.redaction import redact
from risk_manager.settings.configuration import Configuration
from risk_manager.settings.loading import load
from risk_manager.settings.problems import ConfigurationErrors
from risk_manager.settings.secrets import SecretUnavailable
from risk_manager.store.place import database_of
from risk_manager.store.schema import StoreError, check_quickly, check_version, shipped_migrations
from risk_manager.store.upkeep import open_reader

OLDEST_PYTHON = (3, 12)
BUILT = datetime(2025, 1, 1, tzinfo=UTC)  # a clock before this is surely wrong
SKEW_LIMIT_S = 2.0
FREE_ENOUGH_MB = 500
FREE_TOO_LITTLE_MB = 50
HOST = "127.0.0.1"
TOKENS = ("feed.token", "admin.token")


def checkup(
    config: Path, data: Path, *, ask_gateway: bool = False, env: Mapping[str, str] | None = None
) -> list[Finding]:
    """Run every check, in the order in which problems should be fixed."""
    env = os.environ if env is None else env
    findings = [_python(), machine.versions()]
    configuration: Configuration | None = None
    try:
        configuration = load(config, env)
    except ConfigurationErrors as errors:
        findings += [
            Finding("config", Grade.FAIL, redact(str(p)), "edit the file and run doctor again")
            for p in errors.problems
        ]
    else:
        findings.append(_configured(config, configuration))
        findings += [Finding("config", Grade.WARN, str(p)) for p in configuration.warnings]
        findings += _secrets(configuration, env)
        findings += _key_age(data)
        findings += _alerts(configuration, env)
        findings += _read_budget(len(configuration.accounts.enabled))
        findings += limit_checks(configuration, data)
    findings.append(_time_zones(configuration))
    if configuration is not None:
        findings.append(calendar_horizon(configuration))
    findings.append(folder := _data_folder(data))
    running = False
    if closed_to_us(data) is None and (data.is_dir() or folder.grade is Grade.OK):
        findings.append(_disk(data))
        findings.append(_database(database_of(data)))
        running = is_in_use(data)
        findings.append(_daemon(data, running))
        findings += _tokens(data)
        if configuration is not None and not running:
            findings.append(_feed_port(configuration.settings.feed.port))
    if configuration is not None:
        findings += _gateway(configuration, data, env, running=running, asked=ask_gateway)
    else:
        findings.append(_clock(None))
    real = configuration is not None and configuration.settings.gateway.kind != "practice"
    return [*findings, machine.sleep_settings(), machine.remote_signs(env, matters=real)]


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        return Finding("python", Grade.FAIL, version, "install Python 3.12 or newer")
    return Finding("python", Grade.OK, version)


def _configured(folder: Path, configuration: Configuration) -> Finding:
    enabled = configuration.accounts.enabled
    names = ", ".join(configuration.label_of(a.id) for a in enabled) or "none"
    return Finding(
        "config",
        Grade.OK,
        f"{folder} is valid; gateway {configuration.settings.gateway.kind}, accounts {names}",
    )


def _secrets(configuration: Configuration, env: Mapping[str, str]) -> Iterator[Finding]:
    check = "credentials"
    if configuration.settings.gateway.kind == "practice":
        yield Finding(check, Grade.OK, "the practice gateway needs none")
        return
    try:
        configuration.credentials(env)
    except SecretUnavailable as error:
        for reason in error.reasons:
            yield Finding(check, Grade.FAIL, reason, "set it, then run doctor again")
    else:
        yield Finding(check, Grade.OK, "user name and key are found")


def _key_age(data: Path) -> Iterator[Finding]:
    """Remind of a key that should be renewed. One never used with this data folder is not known."""
    age, now = known_age(data), datetime.now(UTC)
    reminder = None if age is None else age.reminder(now)
    if reminder is not None:
        yield Finding("key age", Grade.WARN, reminder, RENEW)
    elif age is not None:
        yield Finding("key age", Grade.OK, age.told(now))


def _alerts(configuration: Configuration, env: Mapping[str, str]) -> Iterator[Finding]:
    for is_well, found in alert_lines(configuration, env):
        yield Finding("alerts", Grade.OK if is_well else Grade.FAIL, found, "" if is_well else FIX)


def _read_budget(accounts: int) -> Iterator[Finding]:
    takes = reading_time(accounts)
    if not takes.is_at_once:
        yield Finding(
            "budget",
            Grade.WARN,
            f"{accounts} accounts are read one after the other after a start: {takes}; what is not "
            "read yet is not guarded",
            "guard fewer accounts with one login, or restart while nothing is open",
        )


def _time_zones(configuration: Configuration | None) -> Finding:
    zones = {"America/New_York", "America/Chicago", "UTC"}
    if configuration is not None:
        zones.add(configuration.risk.trading_day.timezone)
    for zone in sorted(zones):
        try:
            ZoneInfo(zone)
        except (OSError, ValueError, LookupError):
            return Finding("time zones", Grade.FAIL, f"no data for {zone}", "pip install tzdata")
    return Finding("time zones", Grade.OK, "data is present")


def _data_folder(data: Path) -> Finding:
    check = "data folder"
    closed = closed_to_us(data)
    if closed is not None:
        found, _, fix = closed.partition("; ")
        return Finding(check, Grade.FAIL, found, fix)
    if not data.is_dir():
        return _to_be_made(check, data)
    try:
        with tempfile.TemporaryFile(dir=data):
            pass
    except OSError as error:
        return Finding(
            check,
            Grade.FAIL,
            f"{data} cannot be written ({error.strerror})",
            "give it to the user who runs the daemon",
        )
    if os.name == "posix" and stat.S_IMODE(data.stat().st_mode) & stat.S_IWOTH:
        return Finding(check, Grade.FAIL, f"everybody may write to {data}", f"chmod 700 {data}")
    return Finding(check, Grade.OK, f"{data} can be written")


def _to_be_made(check: str, data: Path) -> Finding:
    """Check that the folder could be created, by creating and removing one beside it."""
    place = next(p for p in (data.absolute(), *data.absolute().parents) if p.exists())
    fix = "give --data a folder you may write"
    if not place.is_dir():
        return Finding(check, Grade.FAIL, f"{data} cannot be made: {place} is a file", fix)
    try:
        with tempfile.TemporaryDirectory(dir=place):
            pass
    except OSError as error:
        return Finding(
            check, Grade.FAIL, f"{data} cannot be made in {place} ({error.strerror})", fix
        )
    return Finding(check, Grade.OK, f"{data} will be made at the first start")


def _disk(data: Path) -> Finding:
    place = next(p for p in (data.absolute(), *data.absolute().parents) if p.exists())
    free_mb = shutil.disk_usage(place).free // (1024 * 1024)
    if free_mb < FREE_TOO_LITTLE_MB:
        return Finding("disk", Grade.FAIL, f"{free_mb} MB free", "make room")
    if free_mb < FREE_ENOUGH_MB:
        return Finding("disk", Grade.WARN, f"{free_mb} MB free", "make room soon")
    return Finding("disk", Grade.OK, f"{free_mb} MB free")


def _database(path: Path) -> Finding:
    if not path.exists():
        return Finding("database", Grade.OK, "none yet; made at the first start")
    try:
        with open_reader(path) as connection:
            version = check_version(connection, path, len(shipped_migrations()))
            check_quickly(connection, path)
    except StoreError as error:
        return Finding("database", Grade.FAIL, str(error), "restore a copy from data/backups")
    except Exception as error:  # any error of sqlite3 means that the database is not readable
        return Finding(
            "database",
            Grade.FAIL,
            f"{path} cannot be read ({error})",
            "restore a copy from data/backups",
        )
    return Finding("database", Grade.OK, f"{path} is whole, schema {version}")


def _tokens(data: Path) -> Iterator[Finding]:
    """Check that nobody else may read the tokens of the feed and of the admin channel."""
    present = [path for name in TOKENS if (path := data / name).exists()]
    if os.name == "posix":
        for path in present:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                yield Finding(
                    "tokens", Grade.FAIL, f"{path} is open to others", f"chmod 600 {path}"
                )
                return
    if present:
        yield Finding("tokens", Grade.OK, "only this user can read them")


def _daemon(data: Path, running: bool) -> Finding:
    if not running:
        return _not_running(data)
    try:
        status, _, _ = asyncio.run(read_once(data))
    except FeedUnreachable as error:
        return Finding("daemon", Grade.FAIL, f"running, but {error}", "see data/logs/error.log")
    grade = Grade.OK if status.status == "RUNNING" else Grade.WARN
    told = f" ({status.message})" if status.message else ""
    return Finding("daemon", grade, f"running, {status.status}{told}")


def _not_running(data: Path) -> Finding:
    """Report that the daemon was stopped cleanly, or since when the accounts are unguarded."""
    check, fix = "daemon", "start it with: risk-manager run"
    told = data / "daemon.json"
    try:
        status = json.loads(told.read_text(encoding="utf-8"))["status"]
    except FileNotFoundError:
        return Finding(check, Grade.OK, f"not running; {fix}")
    except (OSError, ValueError, KeyError, TypeError):
        return Finding(check, Grade.WARN, f"not running, and {told} cannot be read", fix)
    if status == "STOPPED":
        return Finding(check, Grade.OK, f"not running, it was stopped; {fix}")
    since = _last_sign_of_life(data)
    when = "" if since is None else f" since {since.astimezone():%Y-%m-%d %H:%M:%S} ({_ago(since)})"
    return Finding(
        check,
        Grade.WARN,
        f"not running: it ended without being stopped; nobody guards{when}",
        f"{fix}; {data / 'logs' / 'error.log'} may say why",
    )


def _last_sign_of_life(data: Path) -> datetime | None:
    for name in ("heartbeat", "daemon.json"):
        with contextlib.suppress(OSError):
            return datetime.fromtimestamp((data / name).stat().st_mtime, UTC)
    return None


def _ago(since: datetime) -> str:
    seconds = round((datetime.now(UTC) - since).total_seconds())
    return f"{plain_duration(timedelta(seconds=max(seconds, 0)))} ago"


def _feed_port(port: int) -> Finding:
    """Check that a daemon started now could open its feed."""
    check = "feed port"
    if port == 0:
        return Finding(check, Grade.OK, "any free one")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tried:
        if os.name == "posix":  # as the feed does, so that a port closed just now counts as free
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((HOST, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return Finding(
                    check,
                    Grade.FAIL,
                    f"port {port} cannot be used ({error.strerror})",
                    "change feed.port in settings.yaml",
                )
        else:
            return Finding(check, Grade.OK, f"port {port} is free")
    who = asyncio.run(who_listens(f"ws://{HOST}:{port}/feed"))
    return Finding(
        check,
        Grade.FAIL,
        f"port {port} is taken: {who}",
        "or stop what listens there, or change feed.port in settings.yaml"
        if who.endswith("give --data")
        else "stop it, or change feed.port in settings.yaml",
    )


def _gateway(
    configuration: Configuration,
    data: Path,
    env: Mapping[str, str],
    *,
    running: bool,
    asked: bool,
) -> Iterator[Finding]:
    if configuration.settings.gateway.kind == "practice":
        yield Finding("gateway", Grade.OK, "practice, inside the daemon")
        yield _clock(None)
        return
    if running and not asked:
        yield Finding(
            "gateway", Grade.OK, "left to the running daemon; --gateway logs in all the same"
        )
        yield from known_accounts(configuration, data)
        yield _clock(None)
        return
    try:
        credentials = configuration.credentials(env)
    except SecretUnavailable:
        yield Finding("gateway", Grade.WARN, "not tried without credentials")
        yield _clock(None)
        return
    try:
        enabled = [account.id for account in configuration.accounts.enabled]
        report = log_in(configuration.settings.gateway.api_url, credentials, also=enabled)
    except GatewayProblem as problem:
        yield Finding("gateway", Grade.FAIL, redact(str(problem)), problem.fix)
        yield _clock(None)
        return
    yield Finding("gateway", Grade.OK, f"logged in; {len(report.accounts)} accounts")
    yield from _accounts(configuration, report)
    yield _clock(report.skew_s)


def _accounts(configuration: Configuration, report: LoginReport) -> Iterator[Finding]:
    enabled = configuration.accounts.enabled
    missing = [account for account in enabled if account.id not in report.accounts]
    known = ", ".join(f"{i} ({name})" for i, name in report.accounts.items()) or "none"
    effect = "the daemon does not start" if len(missing) == len(enabled) else "it is NOT guarded"
    for account in missing:
        yield Finding(
            "accounts",
            Grade.FAIL,
            f"{account.id} ({account.name}) is not an account of this login: {effect}; "
            f"the login has {known}",
            "closed, or reset under a new number? Put the right id into accounts.yaml, or take "
            "it out",
        )
    for account_id, name in report.accounts.items():
        record = report.records.get(account_id)
        if configuration.accounts.find(account_id) is not None:
            yield listed_account(configuration, account_id, name, record)
        elif configuration.accounts.unlisted == "alarm":
            yield Finding(
                "accounts",
                Grade.WARN,
                f"{account_id} ({name}) is not in accounts.yaml: it is NOT guarded",
                "add it to accounts.yaml",
            )


def _clock(skew_s: float | None) -> Finding:
    now = datetime.now(UTC)
    if now < BUILT:
        return Finding("clock", Grade.FAIL, f"it says {now:%Y-%m-%d}", "set the clock")
    if skew_s is not None and abs(skew_s) > SKEW_LIMIT_S:
        side = "ahead of" if skew_s > 0 else "behind"
        return Finding(
            "clock",
            Grade.WARN,
            f"{abs(skew_s):.0f} s {side} the gateway's",
            "switch on time synchronisation",
        )
    compared = "" if skew_s is None else ", as the gateway's"
    return Finding("clock", Grade.OK, f"{now:%Y-%m-%d %H:%M:%S} UTC{compared}")
