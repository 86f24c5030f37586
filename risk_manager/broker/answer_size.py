"""How large an answer of the gateway may be once it is unpacked."""

from typing import Any

import httpx

LARGEST_ANSWER_BYTES = 64 * 1024 * 1024
"""Ten times a list of 20,000 orders. Compressed, a few hundred kilobytes can say this much."""


async def cap_answers(client: Any) -> None:
    """Have an SDK client give up an answer that grows beyond that, as if the line had broken.

    Each time, as the client may have been replaced.
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
    # Where httpx keeps a body that has been read; pinned by a contract test.
    response._content = b"".join(parts)
