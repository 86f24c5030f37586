"""The real daemon as a real process, pointed at a practice gateway of the test."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from risk_manager.feed.client import FeedUnreachable, read_once
from risk_manager.practice.assembly import practice_gateway
from risk_manager.practice.exchange import Exchange
from risk_manager.practice.gateway import PracticeGateway
from risk_manager.practice.records import Side

ACCOUNT = 101
RULES = """
version: 1
rules:
  - {rule: max_contracts, limit: 5}
  - {rule: daily_realized_loss, limit: 500}
  - {rule: symbol_blocks, blocked: [RTY]}
"""
WITHIN_S = 40.0


@contextlib.asynccontextmanager
async def still_gateway(**options: Any) -> AsyncIterator[PracticeGateway]:
    """A practice gateway whose prices move only when the test moves them."""
    made = (
        PracticeGateway(**options)
        if "exchange" in options
        else practice_gateway(market=False, **options)
    )
    async with made as gateway:
        for contract in gateway.exchange.contracts.values():
            gateway.exchange.move_price(contract.id, contract.product.start_price, now=now())
        yield gateway


def now() -> datetime:
    return datetime.now(UTC)


def buy(exchange: Exchange, root: str, size: int, *, account: int = ACCOUNT) -> int:
    """The trader buys at the market (sells, for a negative size)."""
    side = Side.BUY if size > 0 else Side.SELL
    contract_id = exchange.contract_of(root).id
    order = exchange.order_entry.place(account, contract_id, side, abs(size), now=now())
    assert isinstance(order, int), order
    return order


def lose(exchange: Exchange, root: str, size: int, ticks: int, *, account: int = ACCOUNT) -> None:
    """Buy, let the price fall, sell: a realised loss."""
    contract = exchange.contract_of(root)
    buy(exchange, root, size, account=account)
    fallen = exchange.book(contract.id).last - ticks * contract.tick_size
    exchange.move_price(contract.id, fallen, now=now())
    exchange.order_entry.close_position(account, contract.id, now=now())


async def until(condition: Callable[[], Any], what: str, within_s: float = WITHIN_S) -> None:
    """Wait until something is so; fail saying what was awaited."""
    loop = asyncio.get_running_loop()
    end = loop.time() + within_s
    while not condition():
        if loop.time() > end:
            raise AssertionError(f"not within {within_s} s: {what}")
        await asyncio.sleep(0.01)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


class DaemonProcess:
    """`python -m risk_manager run` with its output kept, and other commands beside it."""

    def __init__(
        self, folder: Path, *, rules: str = RULES, accounts: str = "accounts: [{id: 101}]"
    ) -> None:
        self.config = folder / "config"
        self.data = folder / "data"
        self.config.mkdir(exist_ok=True)
        self.said: list[str] = []
        self._rules, self._accounts = rules, accounts
        self._env: dict[str, str] = {}
        self._state = folder / "user_state"
        self._process: asyncio.subprocess.Process | None = None
        self._readers: list[asyncio.Task[None]] = []

    def point_at(self, gateway: PracticeGateway, *, unlisted: str = "ignore", **env: str) -> Self:
        """Three lines of settings and two variables, as for any gateway."""
        (self.config / "settings.yaml").write_text(
            "gateway:\n  kind: projectx\n"
            f"  api_url: {gateway.api_url}\n"
            f"  user_hub_url: {gateway.user_hub_url}\n"
            f"  market_hub_url: {gateway.market_hub_url}\n"
            "feed: {port: 0}\n"
            "logging: {level: DEBUG}\n",
            encoding="utf-8",
        )
        (self.config / "accounts.yaml").write_text(
            self._accounts + f"\nunlisted: {unlisted}\n", encoding="utf-8"
        )
        self.write_rules(self._rules)
        self._env = {
            "PROJECT_X_USERNAME": gateway.username,
            "PROJECT_X_API_KEY": gateway.api_key,
            "XDG_STATE_HOME": str(self._state),  # not the user's own
            **env,
        }
        return self

    def write_rules(self, rules: str) -> None:
        """Another risk_config.yaml, until the daemon is pointed at a gateway again."""
        (self.config / "risk_config.yaml").write_text(rules, encoding="utf-8")

    @contextlib.asynccontextmanager
    async def running(self, *words: str) -> AsyncIterator[Self]:
        """Started and RUNNING; killed at the end, if it still lives."""
        await self.start(*words)
        try:
            await until(lambda: self.is_running, "RUNNING", 60.0)
            yield self
        finally:
            await self.kill()

    async def start(self, *words: str, stdout: int = asyncio.subprocess.PIPE) -> None:
        self.said.clear()
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "risk_manager", "run"),
            *("--config", str(self.config), "--data", str(self.data), *words),
            env=self._environment,
            stdout=stdout,
            stderr=asyncio.subprocess.PIPE,
        )
        self._readers = [
            asyncio.create_task(self._read(stream), name="daemon output")
            for stream in (self._process.stdout, self._process.stderr)
            if stream is not None
        ]

    @property
    def _environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("PROJECT_X")}
        return {**kept, **self._env}

    async def command(
        self, *words: str, stdin: str = "", terminal: int | None = None, **env: str
    ) -> Ended:
        """Another command of ours in a process of its own, with the same folders.

        `terminal` is the file descriptor of a terminal in place of the three streams.
        """
        stream = asyncio.subprocess.PIPE if terminal is None else terminal
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "risk_manager", *words),
            *("--config", str(self.config), "--data", str(self.data)),
            env={**self._environment, **env},
            stdin=stream,
            stdout=stream,
            stderr=stream,
            start_new_session=terminal is not None,
        )
        out, err = await process.communicate(stdin.encode() if terminal is None else None)
        assert process.returncode is not None
        return Ended(process.returncode, (out or b"").decode(), (err or b"").decode())

    async def _read(self, stream: asyncio.StreamReader) -> None:
        async for line in stream:
            self.said.append(line.decode(errors="replace").rstrip())

    @property
    def is_running(self) -> bool:
        if self._process is not None and self._process.returncode is not None:
            raise AssertionError(
                f"the daemon ended with {self._process.returncode}: " + "\n".join(self.said)
            )
        return any("RUNNING" in line for line in self.said)

    async def kill(self) -> None:
        """kill -9: nothing is told, nothing is closed."""
        await self._end("kill")

    def send(self, how: int) -> None:
        """A signal to the process."""
        assert self._process is not None
        self._process.send_signal(how)

    async def stop(self, how: int = signal.SIGTERM) -> int:
        """Asked to stop; the exit code."""
        self.send(how)
        return await self.ended()

    async def ended(self, within_s: float = 16.0) -> int:
        """Wait until it has ended by itself; the exit code."""
        assert self._process is not None
        async with asyncio.timeout(within_s):
            code = await self._process.wait()
            await asyncio.gather(*self._readers)
        return code

    async def _end(self, how: str) -> None:
        if self._process is not None and self._process.returncode is None:
            getattr(self._process, how)()
            await self._process.wait()
        await asyncio.gather(*self._readers)

    async def snapshot(self) -> dict[str, Any]:
        """What a screen would show now."""
        _, snapshot, _ = await read_once(self.data)
        return snapshot

    async def account(self, account_id: int = ACCOUNT) -> dict[str, Any]:
        accounts = {a["account_id"]: a for a in (await self.snapshot())["accounts"]}
        found: dict[str, Any] = accounts[account_id]
        return found

    async def until_status(self, status: str, within_s: float = WITHIN_S) -> dict[str, Any]:
        """Wait until the daemon says that this is how it is; what a screen shows then."""
        return await self._until_snapshot(lambda s: s["status"] == status, status, within_s)

    async def until_alarm(self, code: str, within_s: float = WITHIN_S) -> dict[str, Any]:
        """Wait for an alarm of this code."""
        snapshot = await self._until_snapshot(
            lambda s: any(a["code"] == code for a in s["alarms"]), f"alarm {code}", within_s
        )
        found: dict[str, Any] = next(a for a in snapshot["alarms"] if a["code"] == code)
        return found

    async def _until_snapshot(
        self, condition: Callable[[dict[str, Any]], bool], what: str, within_s: float
    ) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        end = loop.time() + within_s
        while True:
            with contextlib.suppress(FeedUnreachable):
                snapshot = await self.snapshot()
                if condition(snapshot):
                    return snapshot
            if loop.time() > end:
                raise AssertionError(f"not within {within_s} s: {what}\n" + "\n".join(self.said))
            await asyncio.sleep(0.05)

    async def until_account(
        self,
        condition: Callable[[dict[str, Any]], Any],
        what: str,
        within_s: float = WITHIN_S,
        *,
        account_id: int = ACCOUNT,
    ) -> dict[str, Any]:
        """Wait until the daemon shows an account so."""
        loop = asyncio.get_running_loop()
        end = loop.time() + within_s
        while True:
            with contextlib.suppress(FeedUnreachable, KeyError):  # not yet
                account = await self.account(account_id)
                if condition(account):
                    return account
            if loop.time() > end:
                raise AssertionError(f"not within {within_s} s: {what}\n" + "\n".join(self.said))
            await asyncio.sleep(0.05)


def day_net(exchange: Exchange, account: int = ACCOUNT) -> float:
    """The gateway's own word on the day: realised less fees."""
    return float(exchange.realised(account) - exchange.fees(account))


def closes(gateway: PracticeGateway) -> int:
    """How many close requests of any kind have reached the gateway."""
    return sum(
        r.path in ("/Position/closeContract", "/Position/partialCloseContract")
        for r in gateway.requests
    )
