"""The deadlines that the snapshot of an account tells."""

from desk import DeskMaker

from risk_manager.feed.snapshot import TradeBook, account_snapshot


async def test_deadlines_of_rules_are_told_and_those_of_enforcement_are_not(
    desk: DeskMaker,
) -> None:
    """A cancel that is repeated unless a list confirms it is no rule that acts."""
    d = desk(no_stop_loss_grace={"grace": "30s"}, symbol_blocks={"blocked": ["MES"]})
    d.rest = False
    await d.position("MNQ", 1, 21000)
    order = await d.order("MES", 1, price=5950.0)
    assert d.taken() == [f"cancel {order}"]
    await d.obey()
    own = [m for m in d.account().marks.values() if m.due_at is not None]
    assert {m.rule_id for m in own} == {"enforcer", "no_stop_loss_grace"}
    told = account_snapshot(d.pipeline.state, d.account(), trades=TradeBook())
    assert [row.rule_id for row in told.deadlines] == ["no_stop_loss_grace"]
