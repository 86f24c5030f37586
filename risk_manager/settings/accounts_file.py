"""accounts.yaml: which accounts of the login are guarded."""

from typing import Literal

from pydantic import Field, PositiveInt

from risk_manager.settings.fields import Section


class ListedAccount(Section):
    """One account. A disabled one is shown, and neither judged nor touched."""

    id: PositiveInt
    nickname: str | None = Field(default=None, min_length=1, max_length=64)
    enabled: bool = True

    @property
    def name(self) -> str:
        return self.nickname or str(self.id)


class AccountsFile(Section):
    """The whole of accounts.yaml.

    `unlisted` says what happens to accounts of the login that are not listed: an alarm, nothing,
    or the same rules as everybody's.
    """

    accounts: tuple[ListedAccount, ...] = Field(min_length=1)
    unlisted: Literal["alarm", "ignore", "enforce"] = "alarm"

    @property
    def enabled(self) -> tuple[ListedAccount, ...]:
        return tuple(account for account in self.accounts if account.enabled)

    def find(self, account_id: int) -> ListedAccount | None:
        return next((a for a in self.accounts if a.id == account_id), None)
