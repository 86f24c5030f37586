"""RULE-011: never trade these products."""

from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, model_validator

from risk_manager.domain.decisions import Ask, ReduceTo, Unlock, Verdict
from risk_manager.domain.lockout import new_lock
from risk_manager.domain.locks import LockKind, LockPolicy, Release
from risk_manager.domain.rule import Rule
from risk_manager.domain.scope import (
    contract_scope,
    root_scope,
    scope_name,
    scoped_contract,
    scoped_root,
)
from risk_manager.domain.symbols import PatternSet, plain_roots
from risk_manager.domain.view import View


def _upper(value: Any) -> Any:
    return [v.upper() if isinstance(v, str) else v for v in value] if value else value


def _no_twice(value: tuple[str, ...] | None) -> tuple[str, ...] | None:
    twice = sorted({v for v in value or () if (value or ()).count(v) > 1})
    if twice:
        raise ValueError(f"named twice: {', '.join(twice)}")
    return value


Patterns = Annotated[tuple[str, ...], BeforeValidator(_upper), AfterValidator(_no_twice)]


class SymbolBlocks(Rule):
    """A block by root (wildcards where written), shown and enforced as a lock on that root.

    Where contract ids decide, each blocked contract has a lock of its own. The lock is put in force
    when the product appears, and ends when the configuration in force no longer blocks the product.
    With `working_orders: keep` there is no lock: orders stay, and positions they open are closed.
    """

    spec_id: ClassVar[str] = "RULE-011"
    title: ClassVar[str] = "Blocked products"

    rule: Literal["symbol_blocks"] = "symbol_blocks"
    blocked: Patterns = ()
    """The products that may not be traded, by root; `*` and `?` where written."""
    allow_only: Patterns | None = None
    existing_positions: Literal["close", "close_only"] = "close"
    """Close what is held, or leave it and let it not grow."""
    working_orders: Literal["cancel", "keep"] = "cancel"
    """Cancel orders, or keep them and close what they fill."""

    @model_validator(mode="after")
    def _the_words_fit_together(self) -> "SymbolBlocks":
        if self.blocked and self.allow_only is not None:
            raise ValueError("blocked and allow_only exclude each other; keep one of the two")
        if self.working_orders == "keep" and self.existing_positions == "close_only":
            raise ValueError(
                "working_orders: keep lets entry orders fill, and close_only holds what is there; "
                "write existing_positions: close, or working_orders: cancel"
            )
        return self

    def in_words(self) -> str:
        if self.allow_only is not None:
            told = f"Only {', '.join(self.allow_only) or 'nothing'} may be traded. In others,"
        elif self.blocked:
            told = f"Blocked: {', '.join(self.blocked)}. In these,"
        else:
            return "No product is blocked."
        if self.working_orders == "keep":
            return f"{told} orders stay, and what they open is closed."
        if self.existing_positions == "close":
            return f"{told} positions are closed and orders cancelled."
        return f"{told} positions may be reduced and closed, not increased."

    @property
    def products(self) -> frozenset[str]:
        return plain_roots(self.allow_only or ())

    @property
    def rank(self) -> int:
        return 40

    def is_stricter_than(self, other: Self) -> bool:
        return (
            self.same_but(other, "blocked")
            and self.allow_only is None
            and set(self.blocked) >= set(other.blocked)
        )

    @cached_property
    def _patterns(self) -> PatternSet:
        return PatternSet.of(self.blocked if self.allow_only is None else self.allow_only)

    def blocks(self, root: str, contract_id: str) -> bool:
        named = self._patterns.best(root, contract_id) is not None
        return named if self.allow_only is None else not named

    def _scope(self, view: View, root: str, contract_id: str) -> str:
        """The scope of the lock that blocks this contract, which is blocked."""
        # A lock on the product would also catch a contract of it that is not blocked.
        if self.allow_only is None:
            whole = self.blocks(root, "")
        else:
            whole = not self._patterns.tells_apart(root, view.root)
        return root_scope(root) if whole else contract_scope(contract_id)

    def judge(self, view: View) -> tuple[Verdict, ...] | None:
        verdicts: list[Verdict] = []
        account = view.account
        for scope, contract_ids in self._turned_up(view).items():
            if self.working_orders == "cancel":
                verdicts.append(self._block(view, scope, contract_ids))
            elif held := [c for c in contract_ids if c in account.positions]:
                verdicts.append(self._close_fills(view, scope, held))
        for lock in account.locks.values():
            if lock.rule_id != self.id or lock.release is not Release.CONFIG:
                continue
            if self.working_orders == "keep" or not self._still_blocks(view, lock.scope):
                verdicts.append(_lifted(lock.scope))
        return tuple(verdicts) or None

    def _turned_up(self, view: View) -> dict[str, list[str]]:
        """Return the blocked contracts in play, by the scope of the lock that blocks them."""
        in_play = view.in_play()
        if in_play.memo.get(self.id) is self:  # none of them is blocked
            return {}
        found: dict[str, list[str]] = {}
        for contract_id, root in in_play.items():
            if self.blocks(root, contract_id):
                found.setdefault(self._scope(view, root, contract_id), []).append(contract_id)
        if not found:
            in_play.memo[self.id] = self
        return found

    def _still_blocks(self, view: View, scope: str) -> bool:
        root, contract_id = scoped_root(scope), scoped_contract(scope) or ""
        if root is None:
            root = view.root(contract_id)
        return self.blocks(root, contract_id) and self._scope(view, root, contract_id) == scope

    def _block(self, view: View, scope: str, contract_ids: list[str]) -> Verdict:
        account = view.account
        what = _told(view, scope)
        policy = LockPolicy.FLAT if self.existing_positions == "close" else LockPolicy.NO_ENTRIES
        open_now = [c for c in contract_ids if c in account.positions]
        reason = f"{what} is blocked; " + (
            f"closing {account.positions[open_now[0]].size} {view.name(open_now[0])}"
            if open_now and policy is LockPolicy.FLAT
            else "cancelling orders"
        )
        asks: tuple[Ask, ...] = (
            new_lock(
                view,
                self.id,
                f"{what} is blocked",
                until=Release.CONFIG,
                policy=policy,
                kind=LockKind.BLOCK,
                scope=scope,
                admin_may_clear=False,
            ),
        )
        episodes = sorted(account.positions[c].episode for c in open_now)
        name = scope_name(scope)
        if episodes:
            subject = f"{name}:episode:{episodes[0]}"
        else:
            first_order = min(o.id for c in contract_ids for o in account.orders_in(c))
            subject = f"{name}:order:{first_order}"
        return Verdict(reason=reason, subject=subject, asks=asks)

    def _close_fills(self, view: View, scope: str, contract_ids: list[str]) -> Verdict:
        """Close each fill. Orders are left alone, so there is no lock."""
        positions = [view.account.positions[c] for c in contract_ids]
        closing = ", ".join(f"{p.size} {view.name(p.contract_id)}" for p in positions)
        return Verdict(
            reason=f"{_told(view, scope)} is blocked; closing {closing}",
            subject=f"{scope_name(scope)}:episode:{min(p.episode for p in positions)}",
            asks=tuple(ReduceTo(c, 0) for c in contract_ids),
        )


def _told(view: View, scope: str) -> str:
    contract_id = scoped_contract(scope)
    return scope_name(scope) if contract_id is None else view.name(contract_id)


def _lifted(scope: str) -> Verdict:
    return Verdict(
        reason=f"{scope_name(scope)} is no longer blocked",
        subject=f"lifted:{scope}",
        asks=(Unlock(scope, "config"),),
        silent=True,
    )
