"""The real daemon beside a live funded account: it watches, says why, and touches nothing."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from daemon_process import ACCOUNT, RULES, DaemonProcess, buy, closes, still_gateway, until

from risk_manager.practice.exchange import Exchange
from risk_manager.practice.products import contracts_on
from risk_manager.practice.records import Account

pytestmark = pytest.mark.wire

SIMULATED = 102
BOTH = f"accounts: [{{id: {ACCOUNT}}}, {{id: {SIMULATED}}}]"


def exchange() -> Exchange:
    return Exchange(
        accounts=[
            Account(ACCOUNT, "LIVE-1", Decimal(50_000), simulated=False),
            Account(SIMULATED, "SIM-1", Decimal(50_000)),
        ],
        contracts=contracts_on(datetime.now(UTC).date()),
    )


async def test_a_live_account_is_watched_and_not_touched_also_after_a_crash(tmp_path: Path) -> None:
    made = exchange()
    async with still_gateway(exchange=made) as gateway:
        daemon = DaemonProcess(tmp_path, accounts=BOTH).point_at(gateway)
        for _ in range(2):
            async with daemon.running():
                buy(made, "RTY", 1)
                await daemon.until_account(
                    lambda a: any(e["shadow"] for e in a["enforcements"]), "decided, in shadow"
                )
                alarm = await daemon.until_alarm("live_account")
                assert (alarm["account_id"], alarm["severity"]) == (ACCOUNT, "critical")
                account = await daemon.account()
                assert account["mode"] == "shadow"
                assert "TopstepX forbids automated trading" in account["mode_reason"]
                assert any(
                    line.startswith("CRITICAL: account 101 is a live") for line in daemon.said
                )
                assert "RUNNING: guarding 102; in shadow, as live funded: 101" in daemon.said
                buy(made, "RTY", 1, account=SIMULATED)
                await until(lambda: made.is_flat(SIMULATED), "the simulated account is enforced")
                assert not made.is_flat(ACCOUNT)
        assert closes(gateway) == 2  # both of them of the simulated account


async def test_a_live_account_is_enforced_where_its_owner_has_allowed_it(tmp_path: Path) -> None:
    made = exchange()
    allowed = RULES + f"accounts: {{{ACCOUNT}: {{enforce_on_live: true}}}}\n"
    async with still_gateway(exchange=made) as gateway:
        daemon = DaemonProcess(tmp_path, rules=allowed, accounts=BOTH).point_at(gateway)
        async with daemon.running():
            buy(made, "RTY", 1)
            await until(lambda: made.is_flat(ACCOUNT), "closed")
            account = await daemon.account()
            assert (account["mode"], account["mode_reason"]) == ("enforce", "")
