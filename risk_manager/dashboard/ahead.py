"""The coming days as a trader asks of them: is it open now, what is the next edge, what differs."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from risk_manager.feed.messages import (
    AccountSnapshot,
    AllowedHours,
    MarketRow,
    Outlook,
    ReleaseRow,
)

EARLY = "early_close"
DIFFERS = {"closed": "SHUT", EARLY: "EARLY CLOSE", "late_open": "LATE OPEN"}


@dataclass(frozen=True, slots=True)
class Edge:
    """An instant at which something opens or shuts."""

    at: datetime
    is_opening: bool
    is_early: bool = False


def zone(name: str) -> tzinfo:
    """The time zone of this name; UTC where this computer does not know it."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        return UTC


def city(name: str) -> str:
    """A zone as people call it: Chicago."""
    return name.rpartition("/")[2].replace("_", " ")


def next_edge(market: MarketRow, now: datetime) -> Edge | None:
    """When this market shuts next, or opens next if it is shut; None: not within the outlook."""
    for day in market.days:
        if day.opens_at is None or day.closes_at is None:
            continue
        if day.opens_at > now:
            return Edge(day.opens_at, is_opening=True)
        if day.closes_at > now:
            return Edge(day.closes_at, is_opening=False, is_early=day.differs == EARLY)
    return None


def next_early_close(market: MarketRow, now: datetime) -> datetime | None:
    return next(
        (
            day.closes_at
            for day in market.days
            if day.differs == EARLY and day.closes_at is not None and day.closes_at > now
        ),
        None,
    )


def next_hours(row: AllowedHours, now: datetime) -> Edge | None:
    for hours in row.hours:
        if hours.opens_at > now:
            return Edge(hours.opens_at, is_opening=True)
        if hours.closes_at > now:
            return Edge(hours.closes_at, is_opening=False)
    return None


def name_of(market: MarketRow) -> str:
    return market.group or ", ".join(market.products[:3])


def held_by(account: AccountSnapshot | None) -> frozenset[str]:
    """The products of which the account holds something."""
    return frozenset() if account is None else frozenset(p.root for p in account.positions)


def held_first[T: (MarketRow, AllowedHours)](rows: Iterable[T], held: Collection[str]) -> list[T]:
    """What concerns a product that is held comes before the rest."""
    return sorted(rows, key=lambda row: not any(product in held for product in row.products))


def edges_ahead(
    outlook: Outlook, account_id: int | None, now: datetime, held: Collection[str] = ()
) -> Iterator[tuple[datetime, str]]:
    """The next edges of the markets and of the rules' hours, in words, and the next early close.

    Of several products one that is held is named first.
    """
    told: dict[tuple[datetime, str], list[str]] = {}
    for market in held_first(outlook.markets, held):
        edge = next_edge(market, now)
        if edge is not None:
            word = "opens" if edge.is_opening else "closes early" if edge.is_early else "closes"
            told.setdefault((edge.at, word), []).append(name_of(market))
        early = next_early_close(market, now)
        if early is not None and (edge is None or edge.at != early):
            told.setdefault((early, "closes early"), []).append(name_of(market))
    for (at, word), names in told.items():
        yield at, f"{_several(names)} {word if len(names) == 1 else _plural(word)}"
    rows = [r for r in outlook.allowed if account_id is None or account_id in r.accounts]
    hours: dict[tuple[datetime, bool], list[str]] = {}
    for row in rows:
        edge = next_hours(row, now)
        if edge is not None:
            hours.setdefault((edge.at, edge.is_opening), []).extend(row.products)
    for (at, opening), products in sorted(hours.items()):
        first = sorted(products, key=lambda product: product not in held)
        whose = "your hours" if len(hours) == 1 else f"your hours of {_several(first)}"
        yield at, f"{whose} {'begin' if opening else 'end'}"
    yield from _release_edges(outlook, account_id, now)


def of_account(rows: Iterable[ReleaseRow], account_id: int | None) -> list[ReleaseRow]:
    """The windows around releases that are kept on an account; None: on any."""
    return [row for row in rows if account_id is None or account_id in row.accounts]


def asked(row: ReleaseRow) -> str:
    """What a window asks for, in few words."""
    what = "flat" if row.is_flat else "no entries"
    return f"{what} in {' '.join(row.products)}" if row.products else what


def _release_edges(
    outlook: Outlook, account_id: int | None, now: datetime
) -> Iterator[tuple[datetime, str]]:
    """The end of each window in force, and the beginning of the next one."""
    coming = None
    for row in of_account(outlook.releases, account_id):
        if row.starts_at <= now < row.ends_at:
            yield row.ends_at, f"{row.name}: window over"
        elif row.starts_at > now and coming is None:
            coming = row
    if coming is not None:
        yield coming.starts_at, f"{coming.name}: {asked(coming)}"


def _several(names: Iterable[str]) -> str:
    known = list(dict.fromkeys(names))
    if len(known) > 2:
        return f"{known[0]} and {len(known) - 1} more"
    return " and ".join(known)


def _plural(word: str) -> str:
    return {"opens": "open", "closes": "close", "closes early": "close early"}[word]
