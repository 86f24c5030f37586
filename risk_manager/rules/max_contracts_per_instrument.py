"""RULE-002: cap the contracts held of each product."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, model_validator

from risk_manager.domain.decisions import Ask, Cancel, Close, ReduceTo, Verdict
from risk_manager.domain.money import ZERO
from risk_manager.domain.rule import Meter, MeterState, Rule
from risk_manager.domain.symbols import PatternSet, plain_roots
from risk_manager.domain.view import View
from risk_manager.rules.account_locked import lock_allows


class UnknownSymbol(BaseModel):
    """The limit for a product that `limits` does not name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["block", "allow_with_limit", "allow_unlimited"] = "allow_with_limit"
    """Closed, held to `limit`, or not limited."""
    limit: PositiveInt = 1
    """The most contracts with `allow_with_limit`."""

    @property
    def allowed(self) -> int | None:
        """Contracts allowed; None is no limit."""
        if self.mode == "allow_unlimited":
            return None
        return 0 if self.mode == "block" else self.limit


class GroupLimit(BaseModel):
    """A cap over several products together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: PositiveInt
    """The most contracts of the group."""
    count: Literal["gross", "micro_equivalents"] = "gross"
    """Contracts, or contracts weighed in micros."""


def _unknown(value: Any) -> Any:
    if isinstance(value, str):
        mode, _, limit = value.partition(":")
        return {"mode": mode, **({"limit": int(limit)} if limit.isdigit() else {})}
    return value


def _upper_keys(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    for symbol, limit in value.items():
        if limit == 0:
            raise ValueError(f"{symbol}: 0 is not a limit; block it with the rule symbol_blocks")
    return {str(k).upper(): v for k, v in value.items()}


class MaxContractsPerInstrument(Rule):
    """At most so many contracts per product (all expiries together) or per contract."""

    spec_id: ClassVar[str] = "RULE-002"
    title: ClassVar[str] = "Contracts per product"

    rule: Literal["max_contracts_per_instrument"] = "max_contracts_per_instrument"
    limits: Annotated[dict[str, PositiveInt], BeforeValidator(_upper_keys)] = Field(min_length=1)
    """The most contracts of each product, by root."""
    group_limits: dict[str, GroupLimit] = Field(default_factory=dict)
    """The most contracts of a group of `symbols.groups` together."""
    scope: Literal["root", "contract"] = "root"
    """All expiries of a product together (`root`), or each contract by itself."""
    unknown_symbol: Annotated[UnknownSymbol, BeforeValidator(_unknown)] = UnknownSymbol()
    """A product without a limit of its own."""
    count_working_entries: bool = False
    """true: entry orders that would exceed the limit are cancelled."""
    action: Literal["reduce_to_limit", "close_position"] = "reduce_to_limit"
    """Only what is above the limit, or the whole position."""
    cancel_entry_orders: bool = True
    """Entry orders of the product are cancelled when its limit is exceeded."""

    @model_validator(mode="after")
    def _keys_are_not_empty(self) -> "MaxContractsPerInstrument":
        if any(not key.strip() for key in self.limits):
            raise ValueError("limits: an empty symbol")
        return self

    def in_words(self) -> str:
        named = ", ".join(f"{limit} {symbol}" for symbol, limit in self.limits.items())
        each = "all expiries together" if self.scope == "root" else "each expiry by itself"
        told = [f"At most {named}; {each}."]
        told += [
            f"The group {name} together: at most {group.limit}"
            + (" in micros." if group.count == "micro_equivalents" else ".")
            for name, group in self.group_limits.items()
        ]
        allowed = self.unknown_symbol.allowed
        told.append(
            "Products that are not named have no limit."
            if allowed is None
            else f"Of a product that is not named: at most {allowed}."
            if allowed
            else "Products that are not named may not be held."
        )
        done = "what exceeds it" if self.action == "reduce_to_limit" else "the position"
        also = ", and its entry orders are cancelled" if self.cancel_entry_orders else ""
        told.append(f"Above that, {done} is closed{also}.")
        if self.count_working_entries:
            told.append("Entry orders that would exceed it are cancelled before they fill.")
        return " ".join(told)

    @property
    def products(self) -> frozenset[str]:
        return plain_roots(self.limits)

    @property
    def rank(self) -> int:
        return 70

    def is_stricter_than(self, other: Self) -> bool:
        return (
            self.same_but(other, "limits")
            and self.limits.keys() == other.limits.keys()
            and all(limit <= other.limits[key] for key, limit in self.limits.items())
            # Another limit lets other orders of several stay.
            and not self.count_working_entries
        )

    @cached_property
    def _patterns(self) -> PatternSet:
        return PatternSet.of(self.limits)

    def allowed(self, view: View, contract_id: str) -> int | None:
        """The limit for a contract's product; None is no limit."""
        return self._limit_of(view.root(contract_id), contract_id)

    def _limit_of(self, root: str, contract_id: str) -> int | None:
        key = self._patterns.best(root, contract_id)
        return self.limits[key] if key is not None else self.unknown_symbol.allowed

    def judge(self, view: View) -> tuple[Verdict, ...] | None:
        if not view.account.positions and not self.count_working_entries:
            return None
        if self._all_within(view):
            return None
        held = dict(view.projected())
        verdicts: list[Verdict] = []
        cancelled: set[int] = set()
        for name, limit, members in self._counts(view, held):
            count = sum(abs(held[c]) for c in members)
            if count > limit:
                verdict = self._too_many(view, name, members, held, Decimal(count), limit)
            elif self.count_working_entries and (
                over := self._over(view, members, count, limit, cancelled)
            ):
                verdict = Verdict(
                    reason=f"entry orders would take {name} above {limit}; cancelled the "
                    f"newest {len(over)}",
                    subject=f"orders:{min(over)}",
                    asks=(Cancel(over),),
                )
            else:
                continue
            verdicts.append(verdict)
            _as_if_done(verdict, held, cancelled)
        verdicts += self._groups(view, held)
        return tuple(verdicts) or None

    def _all_within(self, view: View) -> bool:
        """Whether each product is within the limit of each of its contracts: the usual case.

        What was asked so far only makes positions smaller, so that it does not matter here.
        """
        if self.count_working_entries or self.group_limits:
            return False
        roots, limits = view.in_play(), self._limits_in_play(view)
        counts: dict[str, int] = {}
        for contract_id, position in view.account.positions.items():
            root = roots[contract_id]
            counts[root] = counts.get(root, 0) + abs(position.net)
        return all(limits.get(root, count) >= count for root, count in counts.items())

    def _limits_in_play(self, view: View) -> Mapping[str, int]:
        """Return the tightest limit of the contracts in play, by their product."""
        in_play = view.in_play()
        known = in_play.memo.get(self.id)
        if known is None or known[0] is not self:
            limits: dict[str, int] = {}
            for contract_id, root in in_play.items():
                limit = self._limit_of(root, contract_id)
                if limit is not None:
                    limits[root] = min(limit, limits.get(root, limit))
            known = in_play.memo[self.id] = (self, limits)
        found: Mapping[str, int] = known[1]
        return found

    def _counted_together(self, view: View, held: dict[str, int]) -> dict[str, list[str]]:
        by_name: dict[str, list[str]] = {}
        ids = list(held)
        if self.count_working_entries:
            ids += [o.contract_id for o in view.entry_orders() if o.contract_id not in held]
            for contract_id in ids:
                held.setdefault(contract_id, 0)
        for contract_id in sorted(set(ids)):
            root = view.root(contract_id)
            by_name.setdefault(root if self.scope == "root" else view.name(contract_id), []).append(
                contract_id
            )
        return by_name

    def _counts(self, view: View, held: dict[str, int]) -> Iterator[tuple[str, int, list[str]]]:
        """Yield which contracts count together against which limit, the tightest limit first.

        Contracts of one product may have limits of their own. All contracts with the same limit or
        a smaller one count against each limit.
        """
        for name, members in self._counted_together(view, held).items():
            allowed = {c: self.allowed(view, c) for c in members}
            for limit in sorted({own for own in allowed.values() if own is not None}):
                counted = [c for c, own in allowed.items() if own is not None and own <= limit]
                whole = len(counted) == len(members)
                yield name if whole else ", ".join(map(view.name, counted)), limit, counted

    def _over(
        self, view: View, members: list[str], count: int, limit: int, cancelled: set[int]
    ) -> tuple[int, ...]:
        over = []
        for order in view.working_entries():
            if order.contract_id not in members or order.id in cancelled:
                continue
            if count + order.remaining > limit:
                over.append(order.id)
            else:
                count += order.remaining
        return tuple(over)

    def _too_many(
        self,
        view: View,
        name: str,
        members: list[str],
        held: dict[str, int],
        count: Decimal,
        limit: int,
        weight: dict[str, Decimal] | None = None,
    ) -> Verdict:
        positions = [view.account.positions[c] for c in members if held[c]]
        newest = sorted(positions, key=lambda p: (p.increased_at, p.size), reverse=True)
        asks: list[Ask] = []
        told = count
        for position in newest:
            contract_id = position.contract_id
            size = abs(held[contract_id])
            each = weight[contract_id] if weight else Decimal(1)
            if count <= limit:
                break
            if self.action == "close_position":
                asks.append(Close(contract_id))
                count -= size * each
                continue
            keep = size
            while keep and count > limit:
                keep -= 1
                count -= each
            asks.append(ReduceTo(contract_id, keep))
        if self.cancel_entry_orders:
            entries = tuple(o.id for o in view.entry_orders() if o.contract_id in members)
            if entries:
                asks.append(Cancel(entries))
        closing = ", ".join(_told(view, ask, held) for ask in asks if not isinstance(ask, Cancel))
        return Verdict(
            reason=f"holding {_plain(told)} {name}, limit {limit}; closing {closing}",
            subject=f"episode:{newest[0].episode}:{name}",
            asks=tuple(asks),
        )

    def _counted_groups(
        self, view: View, held: dict[str, int]
    ) -> Iterator[tuple[str, Decimal, GroupLimit, dict[str, Decimal]]]:
        """Yield each group's count, in its unit, and the weight of each contract held in it."""
        symbols = view.state.rulebook.symbols
        for name, group in self.group_limits.items():
            roots = symbols.groups.get(name, ())
            micro = group.count == "micro_equivalents"
            weight = {
                c: symbols.weight(view.root(c)) if micro else Decimal(1)
                for c in sorted(held)
                if held[c] and view.root(c) in roots
            }
            yield name, sum((abs(held[c]) * w for c, w in weight.items()), ZERO), group, weight

    def _groups(self, view: View, held: dict[str, int]) -> list[Verdict]:
        return [
            self._too_many(view, name, list(weight), held, count, group.limit, weight)
            for name, count, group, weight in self._counted_groups(view, held)
            if count > group.limit
        ]

    def meter(self, view: View) -> Meter:
        held = {c: p.net for c, p in view.account.positions.items()}
        free = ", ".join(sorted({view.root(c) for c in held if self.allowed(view, c) is None}))
        unlimited = f"{free}: no limit of its own" if free else ""
        counts = [
            _Count(name, sum(abs(held[c]) for c in members), limit)
            for name, limit, members in self._counts(view, held)
        ]
        counts += [
            _Count(name, count, group.limit, _GROUP_UNITS[group.count])
            for name, count, group, _ in self._counted_groups(view, held)
            if count
        ]
        locked = lock_allows(view)
        if not counts:
            shown = ", ".join(f"{k} {v}" for k, v in self.limits.items())
            return self.reading(
                current=ZERO,
                limit=Decimal(min(self.limits.values())),
                unit="contracts",
                sentence=f"{locked}{unlimited or 'nothing held'}; limits: {shown}",
                state=MeterState.WARN if locked else MeterState.OK,
            )
        tightest = max(counts, key=lambda c: c.used)
        sentence = f"{locked}{tightest.in_words}"
        if tightest.used <= 1 and not locked:
            room = tightest.limit - tightest.held
            sentence += f", room for {_plain(room)}" if room else ", no room"
        state = MeterState.WARN if tightest.used == 1 or locked else MeterState.OK
        return self.reading(
            current=Decimal(tightest.held),
            limit=Decimal(tightest.limit),
            unit=f"{tightest.name} {tightest.unit}",
            sentence=f"{sentence}; {unlimited}" if unlimited else sentence,
            state=MeterState.BREACH if tightest.used > 1 else state,
        )


_GROUP_UNITS = {"gross": "contracts", "micro_equivalents": "micro-equivalents"}


class _Count(NamedTuple):
    """What is held against one limit."""

    name: str
    held: Decimal | int
    limit: int
    unit: str = "contracts"

    @property
    def used(self) -> float:
        return float(self.held) / self.limit if self.limit else 2 * float(self.held)

    @property
    def in_words(self) -> str:
        unit = "" if self.unit == "contracts" else f" {self.unit}"
        return f"{_plain(self.held)} of {self.limit} {self.name}{unit} held"


def _plain(count: Decimal | int) -> str:
    return str(count) if isinstance(count, int) else f"{count.normalize():f}"


def _as_if_done(verdict: Verdict, held: dict[str, int], cancelled: set[int]) -> None:
    for ask in verdict.asks:
        match ask:
            case ReduceTo(contract_id, keep):
                held[contract_id] = min(abs(held[contract_id]), keep)
            case Close(contract_id):
                held[contract_id] = 0
            case Cancel(order_ids):
                cancelled.update(order_ids)


def _told(view: View, ask: Ask, held: dict[str, int]) -> str:
    match ask:
        case ReduceTo(contract_id, keep):
            return f"{abs(held[contract_id]) - keep} {view.name(contract_id)}"
        case Close(contract_id):
            return f"all {abs(held[contract_id])} {view.name(contract_id)}"
    return ""
