"""accounts.yaml: the accounts of the login that are guarded."""

from typing import Literal

from pydantic import Field, PositiveInt

from risk_manager.settings.fields import Section


class ListedAccount(Section):
    """One account. A disabled account is neither judged nor touched."""

    id: PositiveInt
    """The account's number at the gateway; `doctor` lists those of the login."""
    nickname: str | None = Field(default=None, min_length=1, max_length=64)
    """How screens and messages name it."""
    enabled: bool = True
    """false: shown, but neither judged nor touched."""

    @property
    def name(self) -> str:
        return self.nickname or str(self.id)


class AccountsFile(Section):
    """The whole of accounts.yaml.

    `unlisted` decides about accounts of the login that are not listed: they raise an alarm, are
    ignored, or have the rules of all accounts enforced.
    """

    accounts: tuple[ListedAccount, ...] = Field(min_length=1)
    """The accounts that are guarded."""
    unlisted: Literal["alarm", "ignore", "enforce"] = "alarm"
    """An account of the login that is not listed: `alarm` says so and leaves it alone, `ignore`
    leaves it alone, `enforce` applies the rules to it."""

    @property
    def enabled(self) -> tuple[ListedAccount, ...]:
        return tuple(account for account in self.accounts if account.enabled)

    def find(self, account_id: int) -> ListedAccount | None:
        return next((a for a in self.accounts if a.id == account_id), None)
