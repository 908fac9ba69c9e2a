"""ResourceQuotas: the last thing that a write must pass, and what it takes with it to the store.

    claim = await quotas.claimed(write, key, new, old)    # Raises ApiError 403 when there is no room.
    try: ... put ...
    finally: quotas.settle(claim)

Whether there is room is decided, and the room taken, in one step of the loop, in the order in which writes come: none
is tried again, none waits for another. What a quota limits is its spec; its status is what the controller counts
(controllers/quotas.py), and nothing is decided by it. Creations count, and updates that ask for more: of services and
claims, and of a pod's resize. What the server writes of itself passes. Claims are kept in namespaces without quotas,
too: a quota that comes counts what is on its way.
Follows: "Resource Quotas" of the Kubernetes documentation.
"""

from __future__ import annotations

from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pod import PODS
from petset.kinds.quotas import quota as quotas
from petset.kinds.resource_quota import RESOURCEQUOTAS
from petset.kinds.service import SERVICES
from petset.objects.meta import Object
from petset.server.access import users
from petset.server.admission.namespaces.ledger import Account, Claim, Claims
from petset.server.live import LiveView
from petset.server.writes import Write
from petset.store import store as stores

LOOKS_MAX = 8  # At books that are long, while quotas change; then what is left is read at once.

# Updates that may ask for more, by kind: the subresources they come by.
_GROWING = {PODS: ("resize",), SERVICES: ("",), PERSISTENTVOLUMECLAIMS: ("",)}


class Quotas:
    def __init__(self, store: stores.Store):
        self._store = store
        self._accounts: dict[str, Account] = {}  # By namespace.
        self._claims: Claims = {}
        self._view = LiveView(store, RESOURCEQUOTAS.key(), self._told)

    async def claimed(self, write: Write, key: str, new: Object, old: Object | None = None) -> Claim | None:
        """Room for a write of that key, until it is settled; None where it needs none. Raises ApiError 403."""
        kind = write.resource
        if not kind.namespaced or (old is not None and write.subresource not in _GROWING.get(kind, ())):
            return None
        if self._view.has_news:
            self._view.refresh()
        claim = Claim(kind, write.namespace, key, new, old)
        account = self._accounts.get(write.namespace)
        if account is not None and write.user is not users.SERVER:
            account = await self._caught_up(claim)
            if account is not None and account.limits(claim.resource):
                account.admit(claim, is_tried=write.dry_run)
        if write.dry_run:
            return None
        self._claims[claim] = None
        return claim

    async def _caught_up(self, claim: Claim) -> Account | None:
        """The account, with no more than a slice to read of the claim's kind."""
        for _ in range(LOOKS_MAX):
            account = self._accounts.get(claim.namespace)
            if account is None or not account.limits(claim.resource):
                break
            book = account.book(claim)
            try:
                await book.view.catch_up()
            finally:
                if book.is_closed:
                    book.close()  # Who reads on opens it again.
            self._view.refresh()
            if not book.is_closed:
                break
        return self._accounts.get(claim.namespace)

    def settle(self, claim: Claim | None) -> None:
        """Its write is in the store, or has failed."""
        if claim is not None:
            del self._claims[claim]
            if claim.account is not None:
                claim.account.drop(claim)

    def _told(self, key: str, obj: Object | None) -> None:
        namespace, _, name = key.removeprefix(RESOURCEQUOTAS.key()).partition("/")
        account = self._accounts.get(namespace)
        if account is None:
            if obj is None:
                return
            account = self._accounts[namespace] = Account(self._store, namespace, self._claims)
        account.set(name, quotas.read(obj) if obj is not None else None)
        if account.is_empty:
            account.close()
            del self._accounts[namespace]
