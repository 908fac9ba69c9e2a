"""Who else is asked about a request: admission policies and webhooks.

`Others.asking` is what every write begins with: None where nobody wants to know, which costs a look at a table that is
kept live. The first policy, binding or webhook configuration brings consulted.py with it, which knows who is concerned.
The server's own writes and those of the configurations themselves are not asked about, so that whoever locked himself
out can take a policy away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from petset.base import telemetry, well_known
from petset.objects.meta import Object
from petset.objects.registry import Catalog, Kind
from petset.server import writes
from petset.server.access import auth, users
from petset.server.elsewhere.service_targets import Targets
from petset.server.live import LiveView
from petset.server.writes import Write
from petset.store import store as stores

if TYPE_CHECKING:
    from petset.server.admission.consulted import Asking, Consulted

_PREFIX = f"/{well_known.ADMISSION_GROUP}/"
ASKED_BESIDE = ("scale", "eviction")  # Whose objects are others than the resource's.


class Others:
    """All who are asked; `asking` says who is to be."""

    def __init__(
        self,
        store: stores.Store,
        catalog: Catalog,
        authorizer: auth.Authorizer,
        metrics: telemetry.Telemetry,
        targets: Targets,
    ):
        self._among = store, catalog, authorizer, metrics, targets
        self._consulted: Consulted | None = None  # Until there is anybody to consult.
        self._keys: dict[str, None] = {}  # Of objects of the group.
        self._view = LiveView(store, _PREFIX, self._told)

    def asking(self, write: Write, operation: str, shown: Kind | None = None) -> Asking | None:
        """Who is to be asked about a write: CREATE, ... CONNECT of writes.py; None when nobody wants to know.

        `shown` is what the object is, where it is none of the resource's: it is asked about beside the write itself.
        """
        if self._view.has_news:
            self._view.refresh()
        if not self._keys or write.user is users.SERVER or write.resource.group == well_known.ADMISSION_GROUP:
            return None
        if shown is None and (write.is_decided or write.subresource in ASKED_BESIDE):
            return None
        assert self._consulted is not None  # Of whom the keys are.
        return self._consulted.asking(write, operation, shown)

    async def reviewed(
        self, write: Write, operation: str, shown: Kind, new: Object, old: Object | None = None
    ) -> Object:
        """What is not stored itself, as all who are asked about it want it. Raises ApiError."""
        asking = self.asking(write, operation, shown)
        if asking is None:
            return new
        new = await asking.mutated(new, old, _as_it_is, _as_it_is)
        await asking.validate(new, old)
        return new

    async def question(self, write: Write, review: Object) -> Object:
        """A review, which is a kind of its own, as webhooks want it. Raises ApiError."""
        return await self.reviewed(write, writes.CREATE, write.resource, review)

    async def connected(self, write: Write, shown: Kind, options: Object) -> None:
        """Ask about a connection, which nobody can change. Raises ApiError."""
        asking = self.asking(write, writes.CONNECT, shown)
        if asking is not None:
            about: Object = {"kind": shown.kind, "apiVersion": shown.api_version, **options}
            await asking.require_unchanged(about)
            await asking.validate(about, None)

    def _told(self, key: str, obj: Object | None) -> None:
        if obj is None:
            self._keys.pop(key, None)
        else:
            self._keys[key] = None
        if self._consulted is None:
            from petset.server.admission.consulted import Consulted

            self._consulted = Consulted(*self._among)
        self._consulted.told(key, obj)


def _as_it_is(obj: Object) -> Object:
    return obj
