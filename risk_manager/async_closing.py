"""A base class for parts that are closed at the end of an `async with` block."""

from abc import ABC, abstractmethod
from typing import Self


class AsyncClosing(ABC):
    """An async context manager that is closed at the end of the block, however that ends."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @abstractmethod
    async def close(self) -> None:
        """End running tasks and release resources."""
