"""What an extension server knows of the cluster around it, and keeps live: whom to believe, and which namespaces are.

`keep` follows ConfigMap extension-apiserver-authentication, of which each new version is told whole, and the cluster's
namespaces, which go into `store`: there admission looks for them as it does in a cluster of its own. A namespace that
was made a moment ago may not have come yet: `catch_up` asks the cluster for it, and waits until it is here. Until both
were read once the server is not ready, and `trouble` says why; it goes on trying for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from petset.base import tasks
from petset.client.client import Client
from petset.client.informer import Informer
from petset.kinds.config_map import CONFIGMAPS
from petset.kinds.namespace import NAMESPACES
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.server.delegated import trust
from petset.store import memory
from petset.store import store as stores

log = logging.getLogger("petset.server")

CATCH_UP_SECONDS_MAX = 5.0


class Surroundings:
    def __init__(self, client: Client, told: Callable[[trust.Trust], None]):
        """`told` is called with what the cluster's ConfigMap says, whenever that is new and good."""
        self._client, self._told = client, told
        self.store: stores.Store = memory.MemoryStore()
        self._authentication = Informer(
            client, CONFIGMAPS, namespace=trust.NAMESPACE, field_selector=f"metadata.name={trust.NAME}"
        )
        self._namespaces = Informer(client, NAMESPACES)
        self._wrong = ""  # With the ConfigMap.
        self._trust: trust.Trust | None = None
        self._changed: dict[str, None] = {}  # Names of namespaces that `store` does not show yet as they are.
        self._news, self._shown, self._is_told = asyncio.Event(), asyncio.Condition(), asyncio.Event()

    @property
    def trouble_with_authentication(self) -> str:
        """Why it is not known whom to believe; "" when it is, were it by an older version of the ConfigMap."""
        if self._trust is not None:
            return ""
        return self._wrong if self._authentication.synced.is_set() else self._authentication.trouble

    @property
    def trouble_with_namespaces(self) -> str:
        return "" if self._namespaces.synced.is_set() and not self._changed else self._namespaces.trouble

    async def keep(self) -> None:
        """Until cancelled."""
        self._authentication.on_change(lambda old, new: self._look())
        self._namespaces.on_change(self._note)
        async with asyncio.TaskGroup() as group:
            tasks.spawn(group, self._authentication.run(), "how the cluster authenticates")
            tasks.spawn(group, self._namespaces.run(), "the cluster's namespaces")
            tasks.spawn(group, self._show(), "show namespaces")
            await self._authentication.synced.wait()
            self._look()

    async def ready(self) -> None:
        """It is known whom to believe, and which namespaces there are."""
        await self._is_told.wait()
        await self._namespaces.synced.wait()
        async with self._shown:
            await self._shown.wait_for(lambda: not self._changed)

    async def catch_up(self, namespace: str) -> None:
        """Until it is known whether there is this namespace now. Raises ApiError 503."""
        if self._store_has(namespace):
            return
        doing = f"cannot tell whether there is a namespace {namespace}"
        try:
            async with asyncio.timeout(CATCH_UP_SECONDS_MAX):
                found = await self._client.get(NAMESPACES, namespace)
                revision = found["metadata"]["resourceVersion"]
                await self._namespaces.until(
                    lambda: self._namespaces.has_seen(revision) or self._namespaces.get("", namespace) is not None
                )
                async with self._shown:
                    await self._shown.wait_for(lambda: namespace not in self._changed)
        except errors.ApiError as error:
            if error.code != 404:
                raise errors.unavailable(f"{doing}: {error.message}; try again") from None
        except OSError as error:  # TimeoutError is one.
            why = str(error) or f"the cluster does not say within {CATCH_UP_SECONDS_MAX:g} s"
            raise errors.unavailable(f"{doing}: {why}; try again") from None

    def _store_has(self, namespace: str) -> bool:
        return self.store.get(NAMESPACES.key("", namespace)) is not None

    def _look(self) -> None:
        try:
            found = trust.read(self._authentication.get(trust.NAMESPACE, trust.NAME))
        except trust.CannotTrust as error:
            if str(error) != self._wrong:
                log.warning("cannot tell whom to believe: %s; mend it, it is followed", error)
            self._wrong = str(error)
            return
        self._wrong = ""
        if found != self._trust:
            self._trust = found
            self._told(found)
            self._is_told.set()

    def _note(self, old: Object | None, new: Object | None) -> None:
        self._changed[meta.name(new or old or {})] = None
        self._news.set()

    async def _show(self) -> None:
        """Have the store show each namespace that changed as the cache has it."""
        while True:
            await self._news.wait()
            self._news.clear()
            for name in list(self._changed):
                found, key = self._namespaces.get("", name), NAMESPACES.key("", name)
                if found is None:
                    await self.store.delete(key, None)
                else:
                    await self.store.put(key, found, None)
                if self._namespaces.get("", name) is found:
                    self._changed.pop(name, None)
            async with self._shown:
                self._shown.notify_all()
