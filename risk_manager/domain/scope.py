"""The scope of a lock or of an administrator's order: the account, a product, or one contract.

A scope is stored and sent as a text: "account", "root:ES" or "contract:CON.F.US.EP.Z26". Only this
module knows the format.
"""

import re

ACCOUNT_SCOPE = "account"
_ROOT, _CONTRACT = "root:", "contract:"
_WRITTEN = re.compile(r"account|(root|contract):[^\s:]{1,64}")


def root_scope(root: str) -> str:
    return f"{_ROOT}{root}"


def contract_scope(contract_id: str) -> str:
    return f"{_CONTRACT}{contract_id}"


def is_scope(text: str) -> bool:
    """Whether the text is a valid scope."""
    return _WRITTEN.fullmatch(text) is not None


def in_scope(scope: str, root: str, contract_id: str) -> bool:
    return scope in (ACCOUNT_SCOPE, f"{_ROOT}{root}", f"{_CONTRACT}{contract_id}")


def scoped_root(scope: str) -> str | None:
    """Return the product that a scope names; None for a scope of another kind."""
    return scope.removeprefix(_ROOT) if scope.startswith(_ROOT) else None


def scoped_contract(scope: str) -> str | None:
    """Return the contract that a scope names; None for a scope of another kind."""
    return scope.removeprefix(_CONTRACT) if scope.startswith(_CONTRACT) else None


def scope_name(scope: str) -> str:
    """Return the product or contract named; empty for the whole account."""
    return scope.partition(":")[2]
