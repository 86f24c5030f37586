"""The configuration of release windows, and the windows that follow from it."""

from bisect import bisect_right
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from risk_manager.domain.durations import Duration
from risk_manager.domain.rule import Rule
from risk_manager.domain.session_hours import ZoneName
from risk_manager.rules.capped_products import CappedProducts, plain_and_once, upper_roots
from risk_manager.rules.release_window.spans import Span

Action = Literal["block_entries", "flat"]
LONGEST = timedelta(days=2)


def _within_reason(value: timedelta) -> timedelta:
    if value > LONGEST:
        raise ValueError("is longer than two days, which is no window around a release")
    return value


Margin = Annotated[Duration, AfterValidator(_within_reason)]


def _all_or_roots(value: Any) -> Any:
    if value == "all":
        return ()
    if isinstance(value, list) and not value:
        raise ValueError("names no product; write all, or products as [ES, NQ]")
    return upper_roots(value)


AllOrRoots = Annotated[
    tuple[str, ...],
    BeforeValidator(_all_or_roots),
    AfterValidator(plain_and_once),
    PlainSerializer(lambda roots: list(roots) or "all"),
]
"""Products by their roots. Empty: all of them, written `all`."""


def _instant(value: Any) -> Any:
    if isinstance(value, datetime):
        return value
    try:
        if isinstance(value, str) and len(value) > len("2026-12-10"):
            return datetime.fromisoformat(value)
    except ValueError:
        pass
    raise ValueError('is not a date and time; write it as "2026-12-10 07:30"')


Instant = Annotated[
    datetime, BeforeValidator(_instant), PlainSerializer(lambda at: at.isoformat(sep=" "))
]
"""A date and a time of day: local to a zone, unless it states its offset from UTC."""


class Release(BaseModel):
    """One scheduled release. What is left out is as the rule says for all of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: Instant
    """When it is published: a date and a local time, or an instant with its zone."""
    name: str = Field(default="", max_length=200)
    """How messages and the calendar name it."""
    timezone: ZoneName | None = None
    """The zone of `at`; null: that of the rule."""
    before: Margin | None = None
    """Its own `before`; null: that of the rule."""
    after: Margin | None = None
    """Its own `after`; null: that of the rule."""
    roots: AllOrRoots | None = None
    """Its own products; null: those of the rule."""
    action: Action | None = None
    """Its own action; null: that of the rule."""
    caps: tuple[CappedProducts, ...] | None = None
    """Its own caps; null: those of the rule."""

    def instants(self, zone: str) -> tuple[datetime, datetime]:
        """Return the instant in UTC, as the earliest and the latest that it may be.

        The two differ where the clocks change and the local hour occurs twice or not at all.
        """
        if self.at.tzinfo is not None:
            at = self.at.astimezone(UTC)
            return at, at
        local = self.at.replace(tzinfo=ZoneInfo(self.timezone or zone))
        both = [local.replace(fold=fold).astimezone(UTC) for fold in (0, 1)]
        return min(both), max(both)


def _unread(value: Any) -> Any:
    return {"name": value, "is_read": False} if isinstance(value, str) else value


class ReleaseFile(BaseModel):
    """A calendar file as it was read with the configuration.

    It is complete up to the date `through`, or else up to its last release, `last_at`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    is_read: bool = True
    through: date | None = None
    last_at: datetime | None = None
    releases: tuple[Release, ...] = ()

    def ends_at(self, zone: str) -> datetime:
        """Return from when on nothing is known. An unread file has ended long ago."""
        if self.is_read and self.through is not None:
            day_after = self.through + timedelta(days=1)
            return datetime.combine(day_after, time(0), ZoneInfo(zone)).astimezone(UTC)
        if self.is_read and self.last_at is not None:
            return self.last_at
        return datetime(1970, 1, 1, tzinfo=UTC)


class Windows(Rule):
    """The fields of the rule, and the windows they stand for."""

    rule: Literal["release_window"] = "release_window"
    before: Margin = timedelta(minutes=5)
    after: Margin = timedelta(minutes=5)
    roots: AllOrRoots = ()
    action: Action = "block_entries"
    caps: tuple[CappedProducts, ...] = ()
    timezone: ZoneName = "America/Chicago"
    windows: tuple[Release, ...] = ()
    file: Annotated[ReleaseFile | None, BeforeValidator(_unread)] = None
    names: tuple[str, ...] = ()

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """All windows, the one that begins first at first."""
        listed = (*self.windows, *(self.file.releases if self.file is not None else ()))
        found = {span for span in map(self._span, listed) if span is not None}
        return tuple(sorted(found, key=lambda span: span[:6]))

    def _span(self, release: Release) -> Span | None:
        earliest, latest = release.instants(self.timezone)
        before = self.before if release.before is None else release.before
        after = self.after if release.after is None else release.after
        span = Span(
            starts_at=earliest - before,
            ends_at=latest + after,
            at=earliest,
            name=release.name or "release",
            roots=self.roots if release.roots is None else release.roots,
            is_flat=(release.action or self.action) == "flat",
            caps=self.caps if release.caps is None else release.caps,
        )
        return span if span.starts_at < span.ends_at else None

    @cached_property
    def by_root(self) -> dict[str, tuple[Span, ...]]:
        """The windows of each product named; "" for those of all products."""
        found: dict[str, list[Span]] = {}
        for span in self.spans:
            for root in span.roots or ("",):
                found.setdefault(root, []).append(span)
        return {root: tuple(spans) for root, spans in found.items()}

    @cached_property
    def _unions(self) -> tuple[tuple[datetime, datetime], ...]:
        """The stretches of time that are in some window, in their order and apart."""
        found: list[tuple[datetime, datetime]] = []
        for span in self.spans:
            starts_at, ends_at = span.starts_at, span.ends_at
            if found and starts_at <= found[-1][1]:
                starts_at, ends_at = found[-1][0], max(found.pop()[1], ends_at)
            found.append((starts_at, ends_at))
        return tuple(found)

    @cached_property
    def _starts(self) -> tuple[datetime, ...]:
        return tuple(starts_at for starts_at, _ in self._unions)

    def is_in_some_window(self, at: datetime) -> bool:
        number = bisect_right(self._starts, at)
        return number > 0 and at < self._unions[number - 1][1]

    def in_force(self, *instants: datetime) -> list[Span]:
        """Return the windows that contain one of these instants."""
        if not any(map(self.is_in_some_window, instants)):
            return []  # the usual case
        return [span for span in self.spans if any(at in span for at in instants)]

    def implies_all_of(self, other: Self) -> bool:
        """Whether each window of `other` lies within one of these that asks for as much."""
        return all(any(mine.implies(theirs) for mine in self.spans) for theirs in other.spans)
