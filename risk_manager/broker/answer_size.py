"""Limits the size of a gateway answer after decompression."""

from typing import Any

import httpx

LARGEST_ANSWER_BYTES = 64 * 1024 * 1024
"""Ten times a list of 20,000 orders. A compressed answer of a few hundred kilobytes can expand to
this size."""


async def cap_answers(client: Any) -> None:
    """Make an SDK client abort an answer larger than the limit, as if the connection had broken.

    To be called before each request, as the SDK may have replaced its HTTP client.
    """
    hooks = (await client._ensure_client()).event_hooks["response"]
    if _read_capped not in hooks:
        hooks.append(_read_capped)


async def _read_capped(response: httpx.Response) -> None:
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > LARGEST_ANSWER_BYTES:
            await response.aclose()
            limit_mb = LARGEST_ANSWER_BYTES // 1024**2
            raise httpx.ReadError(
                f"the answer is larger than {limit_mb} MB", request=response.request
            )
        parts.append(part)
    # The attribute in which httpx keeps a body that has been read; pinned by a contract test.
    response._content = b"".join(parts)
