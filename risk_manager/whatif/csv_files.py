"""Reads executions from CSV: a TopstepX export of trades, or our own `admin history trades --csv`.

A TopstepX row is a whole round turn and becomes two fills. A row of ours is one fill.
"""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from risk_manager.domain.money import ZERO
from risk_manager.domain.records import OrderSide
from risk_manager.domain.symbols import Contract
from risk_manager.whatif.fills import Fill
from risk_manager.whatif.ticks import contract_named

TOPSTEPX = (
    "Id", "ContractName", "EnteredAt", "ExitedAt", "EntryPrice", "ExitPrice", "Fees", "PnL",
    "Size", "Type",
)  # fmt: skip
"""The columns needed of a TopstepX export. `Commissions` is added to the fees where given."""
OURS = (
    "at", "account_id", "trade_id", "order_id", "symbol", "side", "size", "price", "costs", "pnl",
    "voided",
)  # fmt: skip
_LISTED = 5


class UnreadableFile(Exception):
    """A file that cannot be judged. The message says which columns or lines are wrong."""


def read_fills(text: str, *, account_id: int | None) -> list[Fill]:
    """Read all fills of a file, whichever of the two forms it has. Raises `UnreadableFile`.

    A TopstepX file does not name the account: `account_id` does. In a file of ours it chooses one
    account of several; None takes all.
    """
    reader = csv.DictReader(text.removeprefix("\ufeff").splitlines())
    header = [name.strip() for name in reader.fieldnames or ()]
    reader.fieldnames = header
    read = _form_of(header)
    if read is _topstepx and account_id is None:
        raise UnreadableFile(
            "the file does not say which account it is of; give --account ID, so that the limits "
            "of that account are tried"
        )
    fills: list[Fill] = []
    problems: list[str] = []
    for row in reader:
        try:
            fills += read(row, account_id)
        except (ValueError, InvalidOperation) as error:
            problems.append(f"line {reader.line_num}: {error or 'a number cannot be read'}")
    if problems:
        more = len(problems) - _LISTED
        told = "; ".join(problems[:_LISTED]) + (f"; and {more} more lines" if more > 0 else "")
        raise UnreadableFile(f"the file cannot be read: {told}")
    if not fills:
        raise UnreadableFile("the file holds no executions")
    return _in_order(fills) if read is _topstepx else sorted(fills, key=lambda f: f.at)


type _Row = Mapping[str, str | None]
type _Reader = Callable[[_Row, int | None], Sequence[Fill]]


def _form_of(header: Sequence[str]) -> _Reader:
    lacking = {_topstepx: _lacking(TOPSTEPX, header), _ours: _lacking(OURS, header)}
    for read, missing in lacking.items():
        if not missing:
            return read
    nearest = min(lacking, key=lambda read: len(lacking[read]))
    form = "a TopstepX export of trades" if nearest is _topstepx else "`admin history trades --csv`"
    missing = lacking[nearest]
    columns = "column" if len(missing) == 1 else "columns"
    raise UnreadableFile(f"as {form}, the file lacks the {columns} {', '.join(missing)}")


def _lacking(needed: Iterable[str], header: Sequence[str]) -> list[str]:
    return [name for name in needed if name not in header]


def _topstepx(row: _Row, account_id: int | None) -> Sequence[Fill]:
    contract = _contract(_text(row, "ContractName"))
    number = _whole(row, "Id")
    size = _whole(row, "Size", least=1)
    kind = _text(row, "Type").lower()
    if kind not in ("long", "short"):
        raise ValueError(f"Type is {_text(row, 'Type')!r}, and neither Long nor Short")
    entered, exited = _time(row, "EnteredAt"), _time(row, "ExitedAt")
    if exited < entered:
        raise ValueError("ExitedAt is before EnteredAt")
    costs = abs(_money(row, "Fees")) + abs(_money(row, "Commissions", ZERO))
    bought, sold = OrderSide.BUY, OrderSide.SELL
    side, other = (bought, sold) if kind == "long" else (sold, bought)
    assert account_id is not None

    def half(n: int, side: OrderSide, price: str, pnl: Decimal | None, at: datetime) -> Fill:
        return Fill(
            account_id=account_id,
            trade_id=2 * number + n,
            order_id=2 * number + n,
            contract=contract,
            side=side,
            size=size,
            price=_money(row, price),
            pnl=pnl,
            fees=costs / 2,
            at=at,
        )

    return (
        half(0, side, "EntryPrice", None, entered),
        half(1, other, "ExitPrice", _money(row, "PnL"), exited),
    )


def _ours(row: _Row, account_id: int | None) -> Sequence[Fill]:
    owner = _whole(row, "account_id", least=1)
    if account_id not in (None, owner) or _text(row, "voided").lower() == "true":
        return ()
    side = _text(row, "side").lower()
    if side not in ("buy", "sell"):
        raise ValueError(f"side is {side!r}, and neither buy nor sell")
    fill = Fill(
        account_id=owner,
        trade_id=_whole(row, "trade_id"),
        order_id=_whole(row, "order_id"),
        contract=_contract(_text(row, "symbol")),
        side=OrderSide.BUY if side == "buy" else OrderSide.SELL,
        size=_whole(row, "size", least=1),
        price=_money(row, "price"),
        pnl=_money(row, "pnl") if (row.get("pnl") or "").strip() else None,
        fees=_money(row, "costs"),
        at=_time(row, "at"),
    )
    return (fill,)


def _in_order(fills: Sequence[Fill]) -> list[Fill]:
    """Sort the halves of round turns. The file has whole seconds, in which several may happen.

    In one second, a turn ends before the next begins, and one that ends at once ends last.
    """
    entered = {f.trade_id // 2: f.at for f in fills if f.pnl is None}

    def place(fill: Fill) -> tuple[datetime, int, int]:
        if fill.pnl is None:
            return fill.at, 1, fill.trade_id
        return fill.at, 2 if entered[fill.trade_id // 2] == fill.at else 0, fill.trade_id

    return sorted(fills, key=place)


def _contract(name: str) -> Contract:
    contract = contract_named(name.upper())
    if contract is None:
        raise ValueError(f"the contract {name!r} is not known; it is written as in ESZ6")
    return contract


def _text(row: _Row, column: str) -> str:
    text = (row.get(column) or "").strip()
    if not text:
        raise ValueError(f"{column} is empty")
    return text


def _whole(row: _Row, column: str, *, least: int = 0) -> int:
    text = _text(row, column)
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise ValueError(f"{column} is {text!r}, and no whole number from {least} on")
    return int(text)


def _money(row: _Row, column: str, missing: Decimal | None = None) -> Decimal:
    if missing is not None and not (row.get(column) or "").strip():
        return missing
    text = _text(row, column)
    try:
        amount = Decimal(text.replace("$", "").replace(",", ""))
    except InvalidOperation:
        amount = Decimal("nan")
    if not amount.is_finite():
        raise ValueError(f"{column} is {text!r}, and no number")
    return amount


def _time(row: _Row, column: str) -> datetime:
    text = _text(row, column)
    at: datetime | None = None
    with suppress(ValueError):
        at = datetime.fromisoformat(text)
    with suppress(ValueError):
        at = datetime.strptime(text, "%m/%d/%Y %H:%M:%S %z")
    if at is not None and at.tzinfo is not None:
        return at.astimezone(UTC)
    raise ValueError(
        f"{column} is {text!r}, and no time with its offset, as 11/20/2026 09:31:15 -06:00"
    )
