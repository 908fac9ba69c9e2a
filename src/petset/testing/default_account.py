"""When pods may be made in the namespace default: once its account is there, which a controller makes."""

from __future__ import annotations

import contextlib

from petset.client.client import Client
from petset.kinds.service_account import SERVICEACCOUNTS


async def there(client: Client) -> None:
    """Until pods may be made in the namespace default, which has its account by then."""
    accounts, revision = await client.list(SERVICEACCOUNTS, "default")
    if accounts:
        return
    async with contextlib.aclosing(client.watch(SERVICEACCOUNTS, "default", revision)) as events:
        async for type_, _ in events:
            if type_ == "ADDED":
                return
