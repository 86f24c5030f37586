"""The search at the end of each run finds what it is meant to find."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from written_secrets import Found, secrets_in

from risk_manager.practice.gateway import PracticeGateway
from risk_manager.practice.tokens import Tokens


def test_a_key_and_a_token_are_found_wherever_they_stand(tmp_path: Path) -> None:
    token = Tokens("somebody", timedelta(hours=1), lambda: datetime.now(UTC)).issue()
    log, database = tmp_path / "daemon.log", tmp_path / "state.db"
    log.write_text(f"wss://127.0.0.1/hubs/user?access_token={token}", encoding="utf-8")
    database.write_bytes(b"\x00\x01" + PracticeGateway().api_key.encode() + b"\x00")
    (tmp_path / "other.log").write_text("api_key: env:PROJECT_X_API_KEY", encoding="utf-8")
    assert set(secrets_in(tmp_path)) == {Found(log, "token"), Found(database, "key")}
    log.unlink()
    database.unlink()
