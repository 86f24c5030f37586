"""The verbs of the alerts in the daemon: what is refused, what is kept, who may do it."""

from pathlib import Path

import pytest
from desk import MORNING, rules_from
from told_desk import DeskClock, ToldDesk

from risk_manager.admin.alert_verbs import AlertVerbs
from risk_manager.admin.verbs import WITHOUT_PASSWORD, AdminDesk
from risk_manager.domain.rulebook import Rulebook
from risk_manager.domain.state import State
from risk_manager.feed.admin import AdminError, AdminSession
from risk_manager.store import reading
from risk_manager.store.store import Store

ME = AdminSession(peer="me")


async def test_without_alerts_each_verb_says_how_to_have_some() -> None:
    async def take(*_: object) -> None:
        raise AssertionError

    desk = ToldDesk(Path())
    admin = AdminDesk(take, lambda: State.at(MORNING, Rulebook()), DeskClock(desk))
    for verb in ("alerts_list", "alerts_ack", "alerts_test"):
        with pytest.raises(AdminError) as refused:
            await admin.handle(verb, {}, ME)
        assert refused.value.code == "no_alerts"
        assert "alerts.channels in settings.yaml" in refused.value.message


async def test_an_acknowledgement_is_audited_and_names_who_gave_it(tmp_path: Path) -> None:
    desk = ToldDesk(tmp_path, rules=rules_from(daily_realized_loss={"limit": 500}))
    async with Store.open(tmp_path / "state.db", DeskClock(desk)) as store:
        await store.restore(Rulebook(), MORNING)
        verbs = AlertVerbs(desk.alerting, store)
        await desk.is_started()
        await desk.loss(600)
        await desk.told()
        (lock,) = (await verbs.answer("alerts_list", {}, ME))["alerts"]
        assert lock["waits_for_acknowledgement"]
        for number, code in ((99, "no_alert"), ("x", "bad_request"), (True, "bad_request")):
            with pytest.raises(AdminError) as refused:
                await verbs.answer("alerts_ack", {"number": number}, ME)
            assert refused.value.code == code
        done = await verbs.answer("alerts_ack", {"number": lock["number"]}, ME)
        assert [alert["acknowledged_by"] for alert in done["acknowledged"]] == ["me"]
        again = await verbs.answer("alerts_ack", {"number": lock["number"]}, ME)
        assert again == {"acknowledged": []}
        rows = await store.look_up(lambda c: reading.audit_tail(c, 50))
        assert [(r.actor, r.target) for r in rows if r.action == "alert.acknowledged"] == [
            ("me", f"alert:{lock['number']}")
        ]


def test_who_silences_an_alert_needs_the_password_and_who_looks_does_not() -> None:
    assert "alerts_ack" not in WITHOUT_PASSWORD
    assert {"alerts_list", "alerts_test"} <= WITHOUT_PASSWORD
