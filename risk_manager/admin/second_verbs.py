"""The verbs of the admin channel about the second passphrase itself."""

from collections.abc import Callable
from typing import Any

from risk_manager.admin.second_passphrase import SecondPassphrase
from risk_manager.admin.verbs import Verb
from risk_manager.domain.state import State


class SecondVerbs:
    """`second_status` tells whether one is set. `set_second` sets it: `new`, and `second` (the one
    in force) where one is set. `remove_second` needs `second`, and counts from the next reset.
    """

    def __init__(self, second: SecondPassphrase, state: Callable[[], State]) -> None:
        self._second = second
        self._state = state

    def verbs(self) -> dict[str, Verb]:
        return {
            "second_status": self._answer_status,
            "set_second": self._answer_set,
            "remove_second": self._answer_remove,
        }

    async def _answer_status(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"second_set": self._second.is_set}

    async def _answer_set(self, params: dict[str, Any]) -> dict[str, Any]:
        await self._second.change(params.get("second"), params.get("new"))
        return {"second_set": self._second.is_set}

    async def _answer_remove(self, params: dict[str, Any]) -> dict[str, Any]:
        await self._second.remove(params.get("second"))
        return {"second_set": self._second.is_set, "until": self._state().day.ends_at}
