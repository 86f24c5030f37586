"""How an account changes when the broker states its balance and its trading permission."""

from datetime import datetime

from risk_manager.domain.account import Account, Dispute
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.records import LIST_LAG, AccountRecord
from risk_manager.engine.disputes import is_told_freshly, with_dispute


def with_record(account: Account, record: AccountRecord, at: datetime) -> Account:
    """Return the account after the gateway stated balance and permission.

    A field that the record leaves out keeps its value.
    """
    can_trade = account.can_trade if record.can_trade is None else record.can_trade
    changed = fast_replace(
        account,
        name=account.name or record.name,  # the operator's nickname wins
        balance=account.balance if record.balance is None else record.balance,
        can_trade=can_trade,
        can_trade_since=account.can_trade_since if can_trade == account.can_trade else at,
        simulated=account.simulated if record.simulated is None else record.simulated,
    )
    return account if changed == account else changed


def with_record_reported(
    account: Account, record: AccountRecord, asked_at: datetime, at: datetime
) -> Account:
    """Return the account after a list stated balance and trading permission.

    A permission that the stream stated within `LIST_LAG` before the request stays in force.
    """
    heard, may = account.heard.get("account"), account.can_trade
    if heard is not None and heard > asked_at:
        return account
    differs = None not in (record.can_trade, may) and record.can_trade is not may
    if heard is not None and differs and is_told_freshly(account, "account", asked_at):
        account = with_dispute(account, "account", Dispute("", heard + LIST_LAG))
        record = record.model_copy(update={"can_trade": None})
    elif "account" in account.disputes:
        disputes = {k: d for k, d in account.disputes.items() if k != "account"}
        account = fast_replace(account, disputes=disputes)
    return with_record(account, record, at)
