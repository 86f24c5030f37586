"""A login before there is a configuration: the accounts of the login, and a preset for each."""

import re
from decimal import Decimal

from pydantic import ValidationError

from risk_manager.admin.credentials import GatewaySilent
from risk_manager.admin.rest_gateway import RestGateway
from risk_manager.domain.records import AccountRecord
from risk_manager.settings.configuration import Credentials
from risk_manager.settings.preset_files import Preset, shipped_names, shipped_preset

_SIZE = re.compile(r"(?<!\d)(\d{2,3}) ?K", re.IGNORECASE)
_EXPRESS = re.compile(r"EXPRESS|XFA", re.IGNORECASE)
_NEAR = Decimal("0.2")  # of the account's size


async def accounts_of_login(api_url: str, credentials: Credentials) -> tuple[AccountRecord, ...]:
    """Log in once and return the active accounts. Raises LoginRefused or GatewaySilent."""
    async with RestGateway(api_url, credentials) as gateway:
        answer = await gateway.ask("/Account/search", {"onlyActiveAccounts": True})
        listed = answer.body.get("accounts")
        if not answer.is_done or not isinstance(listed, list):
            raise GatewaySilent(f"{gateway.host}: {answer.why or 'it lists no accounts'}")
    found = []
    for account in listed:
        try:
            found.append(AccountRecord.model_validate(account))
        except ValidationError:
            continue  # the doctor and the daemon tell of records that cannot be read
    return tuple(found)


def presets_by_size() -> list[Preset]:
    """Return the presets of this version, the smallest accounts first."""
    every = [shipped_preset(name) for name in shipped_names()]
    return sorted(every, key=lambda p: (p.account_size, p.preset))


def proposed_preset(account: AccountRecord) -> str | None:
    """Return the name of the preset that fits an account, by its name, state and balance.

    None: nothing that is known of the account says which one.
    """
    size = _size(account)
    if size is None:
        return None
    phase = "combine"
    if account.simulated is False:
        phase = "live"
    elif _EXPRESS.search(account.name) or _is_express(account.balance, size):
        phase = "express"
    fitting = (p for p in presets_by_size() if (p.account_size, p.phase) == (size, phase))
    return next((p.preset for p in fitting), None)


def _size(account: AccountRecord) -> int | None:
    sizes = {preset.account_size for preset in presets_by_size()}
    for word in _SIZE.findall(account.name):
        if int(word) * 1000 in sizes:
            return int(word) * 1000
    balance = account.balance
    if balance is None:
        return None
    return next((size for size in sizes if abs(balance - size) <= size * _NEAR), None)


def _is_express(balance: Decimal | None, size: int) -> bool:
    """The balance of an express account starts at zero, not at the size of the account."""
    return balance is not None and balance < size // 2
