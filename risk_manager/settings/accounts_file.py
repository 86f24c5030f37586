"""accounts.yaml: the accounts of the login that are guarded."""

from typing import Literal

from pydantic import Field, PositiveInt

from risk_manager.settings.fields import Section


class ListedAccount(Section):
    """One account. A disabled account is neither judged nor touched."""

    id: PositiveInt
    nickname: str | None = Field(default=None, min_length=1, max_length=64)
    enabled: bool = True

    @property
    def name(self) -> str:
        return self.nickname or str(self.id)


class AccountsFile(Section):
    """The whole of accounts.yaml.

    `unlisted` decides about accounts of the login that are not listed: they raise an alarm, are
    ignored, or have the rules of all accounts enforced.
    """

    accounts: tuple[ListedAccount, ...] = Field(min_length=1)
    unlisted: Literal["alarm", "ignore", "enforce"] = "alarm"

    @property
    def enabled(self) -> tuple[ListedAccount, ...]:
        return tuple(account for account in self.accounts if account.enabled)

    def find(self, account_id: int) -> ListedAccount | None:
        return next((a for a in self.accounts if a.id == account_id), None)
