"""The products the practice exchange lists, and which expiries are listed on a given date."""

import calendar
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Literal

QUARTERLY = "HMUZ"
MONTHLY = "FGHJKMNQUVXZ"
GOLD_MONTHS = "GJMQZ"

type RollStyle = Literal["third_friday", "before_month", "month_end"]


@dataclass(frozen=True, slots=True)
class Product:
    """One futures product. Tick value is USD a tick a lot; fee is USD a lot a half-turn."""

    root: str
    code: str  # what the gateway calls it: EP is ES, ENQ is NQ
    description: str
    tick_size: Decimal
    tick_value: Decimal
    fee: Decimal
    start_price: Decimal
    months: str
    roll: RollStyle
    ticks_per_root_second: float  # how far it wanders: the standard deviation over one second
    leader: str  # the root whose price it shares: a micro follows its mini

    @property
    def symbol_id(self) -> str:
        return f"F.US.{self.code}"


@dataclass(frozen=True, slots=True)
class Contract:
    """One expiry of a product, as the gateway lists it."""

    id: str
    name: str
    product: Product
    expiry: str  # month letter and two-digit year: Z26
    active: bool = True

    @property
    def root(self) -> str:
        return self.product.root

    @property
    def tick_size(self) -> Decimal:
        return self.product.tick_size

    @property
    def tick_value(self) -> Decimal:
        return self.product.tick_value

    def record(self) -> dict[str, Any]:
        """The contract as `/Contract/*` answers it."""
        month = calendar.month_name[MONTHLY.index(self.expiry[0]) + 1]
        return {
            "id": self.id,
            "name": self.name,
            "description": f"{self.product.description}: {month} 20{self.expiry[1:]}",
            "tickSize": float(self.product.tick_size),
            "tickValue": float(self.product.tick_value),
            "activeContract": self.active,
            "symbolId": self.product.symbol_id,
        }


def _product(
    root: str,
    code: str,
    description: str,
    tick: tuple[str, str],
    fee: str,
    start_price: str,
    wander: float,
    *,
    months: str = QUARTERLY,
    roll: RollStyle = "third_friday",
    leader: str | None = None,
) -> Product:
    return Product(
        root=root,
        code=code,
        description=description,
        tick_size=Decimal(tick[0]),
        tick_value=Decimal(tick[1]),
        fee=Decimal(fee),
        start_price=Decimal(start_price),
        months=months,
        roll=roll,
        ticks_per_root_second=wander,
        leader=leader or root,
    )


# Only the front codes EP, ENQ, MES, MNQ, RTY, M2K and EU6 were seen in gateway documents; CLE,
# MCLE, GCE and MGC are what its naming leads one to expect.
PRODUCTS: tuple[Product, ...] = (
    _product("ES", "EP", "E-Mini S&P 500", ("0.25", "12.50"), "1.40", "6700.00", 0.9),
    _product("NQ", "ENQ", "E-mini NASDAQ-100", ("0.25", "5.00"), "1.40", "24800.00", 4.2),
    _product(
        "MES", "MES", "Micro E-mini S&P 500", ("0.25", "1.25"), "0.37", "6700.00", 0.9, leader="ES"
    ),
    _product(
        "MNQ",
        "MNQ",
        "Micro E-mini NASDAQ-100",
        ("0.25", "0.50"),
        "0.37",
        "24800.00",
        4.2,
        leader="NQ",
    ),
    _product("RTY", "RTY", "E-mini Russell 2000", ("0.10", "5.00"), "1.40", "2420.00", 1.2),
    _product(
        "M2K",
        "M2K",
        "Micro E-mini Russell 2000",
        ("0.10", "0.50"),
        "0.37",
        "2420.00",
        1.2,
        leader="RTY",
    ),
    _product(
        "CL",
        "CLE",
        "Crude Oil",
        ("0.01", "10.00"),
        "1.52",
        "61.50",
        0.5,
        months=MONTHLY,
        roll="before_month",
    ),
    _product(
        "MCL",
        "MCLE",
        "Micro Crude Oil",
        ("0.01", "1.00"),
        "0.52",
        "61.50",
        0.5,
        months=MONTHLY,
        roll="before_month",
        leader="CL",
    ),
    _product(
        "GC",
        "GCE",
        "Gold",
        ("0.10", "10.00"),
        "1.62",
        "4100.00",
        1.6,
        months=GOLD_MONTHS,
        roll="month_end",
    ),
    _product(
        "MGC",
        "MGC",
        "Micro Gold",
        ("0.10", "1.00"),
        "0.62",
        "4100.00",
        1.6,
        months=GOLD_MONTHS,
        roll="month_end",
        leader="GC",
    ),
    _product("6E", "EU6", "Euro FX", ("0.00005", "6.25"), "1.62", "1.16000", 0.4),
)

BY_ROOT: dict[str, Product] = {product.root: product for product in PRODUCTS}
BELOW_ZERO = frozenset({"CL", "MCL"})
"""Products whose price may be zero or less, as crude's was in April 2020."""


def last_front_day(product: Product, year: int, month: int) -> date:
    """The last day on which that expiry is still the one most people trade."""
    first = date(year, month, 1)
    match product.roll:
        case "third_friday":
            # Index volume moves on the Thursday of the week before expiration.
            first_friday = first + timedelta(days=(4 - first.weekday()) % 7)
            return first_friday + timedelta(days=14 - 9)
        case "before_month":
            # Crude stops trading around the 20th of the month before delivery.
            return (first - timedelta(days=1)).replace(day=17)
        case "month_end":
            # Metals roll before first notice, at the end of the month before.
            return first - timedelta(days=4)


def contracts_on(
    day: date, *, expiries: int = 1, products: tuple[Product, ...] = PRODUCTS
) -> tuple[Contract, ...]:
    """The front `expiries` contracts of each product as listed on `day`."""
    return tuple(
        Contract(
            id=f"CON.F.US.{product.code}.{expiry}",
            name=f"{product.root}{expiry[0]}{expiry[2]}",
            product=product,
            expiry=expiry,
        )
        for product in products
        for expiry in _expiries(product, day, expiries)
    )


def _expiries(product: Product, day: date, count: int) -> list[str]:
    found: list[str] = []
    year, month = day.year, day.month
    while len(found) < count:
        letter = MONTHLY[month - 1]
        if letter in product.months and last_front_day(product, year, month) >= day:
            found.append(f"{letter}{year % 100:02d}")
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    return found
