"""APIServices at work: those of this server stand for what it serves, others hand group versions on to who has them.

`keep` follows them, their services and EndpointSlices, and the kinds there are. Each round makes the APIServices of
this server exactly those of its group versions, asks every other one for its resources (all at once, a few seconds at
most), writes what became of that into condition Available, and gives the API its table of backends and discovery what
they serve. A round comes when something changed, and every PROBE_SECONDS while there is somebody elsewhere: nobody
tells when he goes. A group version that this server has of itself stays its own, but for one that steps back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

from petset.base import pki, tasks, well_known
from petset.kinds import api_service, endpoint_slice
from petset.kinds.api_service import APISERVICES
from petset.kinds.endpoint_slice import ENDPOINTSLICES
from petset.kinds.service import SERVICES
from petset.objects import encoding, errors, meta
from petset.objects.meta import Object
from petset.objects.registry import Catalog, Kind
from petset.server import local, rest, writes
from petset.server.access import users
from petset.server.aggregated import availability, everywhere
from petset.server.aggregated.availability import Verdict
from petset.server.aggregated.descriptions import Descriptions
from petset.server.aggregated.remote import Remote
from petset.server.described import discovery, remotes
from petset.server.elsewhere import calling
from petset.store import store as stores
from petset.wire import http

PROBE_SECONDS = 30.0
PROBE_ANSWER_SECONDS_MAX = 5.0
PROBE_ATTEMPTS = 5  # As upstream; one that is answered is enough.
AT_ONCE_MAX = 16
RETRY_SECONDS = 1.0
AGGREGATOR = http.User("system:kube-aggregator", (users.MASTERS,))
ON_START, ALWAYS = "onstart", "true"  # Who made an APIService: this release, or a definition that is there.


class Services:
    def __init__(
        self,
        store: stores.Store,
        server: local.LocalApi,
        catalog: Catalog,
        front_proxy: pki.Issued | None,
        everywhere: Catalog | None = None,
    ):
        """`everywhere` is kept as the kinds of the catalog and of the others."""
        self._everywhere = everywhere
        self._store, self._api, self._catalog, self._front_proxy = store, server, catalog, front_proxy
        self._rest: rest.Rest = server.rest
        self._remotes: dict[str, Remote] = {}  # By name.
        self._seen: dict[str, remotes.Version] = {}  # By name: what each had when it was last reached.
        self._concerned: dict[str, None] = {}  # namespace/name of their Services.
        self._changed = asyncio.Event()
        self._descriptions = Descriptions(server.paths.openapi)

    async def keep(self) -> None:
        """Until cancelled or the store is closed."""
        with self._catalog.following(lambda kinds: self._changed.set()):
            async with asyncio.TaskGroup() as group:
                following = [
                    tasks.spawn(group, self._follow(kind), f"follow {kind.plural}")
                    for kind in (APISERVICES, SERVICES, ENDPOINTSLICES)
                ]
                others = [
                    tasks.spawn(group, self._rounds(), "look at APIServices"),
                    tasks.spawn(group, self._descriptions.keep(), "read what APIs elsewhere say of themselves"),
                ]
                try:
                    await asyncio.wait(following)
                finally:
                    for remote in self._remotes.values():
                        remote.retire()
                for one in others:
                    one.cancel()

    def look_everywhere(self) -> None:
        """Keep the kinds of everybody what they are now."""
        if self._everywhere is not None:
            self._everywhere.replace(everywhere.kinds(self._catalog.now, self._api.paths.remotes.versions))

    async def _follow(self, kind: Kind) -> None:
        while True:
            try:
                with self._store.watch(kind.key(), self._store.revision) as watch:
                    self._changed.set()
                    async for change in watch:
                        if self._is_of_interest(kind, change):
                            self._changed.set()
                    return  # The store is closed.
            except stores.Expired:
                continue

    def _is_of_interest(self, kind: Kind, change: stores.Change) -> bool:
        if kind is APISERVICES:
            return _says_more(change)
        if not self._concerned:
            return False
        versions = [one.object for one in (change.previous, change.entry) if one is not None]
        of = endpoint_slice.service_of if kind is ENDPOINTSLICES else meta.key
        return any(of(one) in self._concerned for one in versions)

    async def _rounds(self) -> None:
        while True:
            self._changed.clear()
            try:
                await self.look()
                seconds = PROBE_SECONDS if self._remotes else None
            except stores.Unavailable:
                seconds = RETRY_SECONDS
            try:
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def look(self) -> None:
        """One round."""
        found = {meta.name(one): one for one in (entry.object for entry in self._store.list(APISERVICES.key())[1])}
        await self._keep_own(found)
        elsewhere = [one for one in found.values() if self._is_elsewhere(one)]
        self._concerned = dict.fromkeys("/".join(_service_of(one)) for one in elsewhere)
        known = self._remotes
        self._remotes = {meta.name(one): self._remote(known.get(meta.name(one)), one) for one in elsewhere}
        for name, remote in known.items():
            if self._remotes.get(name) is not remote:
                remote.retire()
        self._seen = {name: one for name, one in self._seen.items() if name in self._remotes}
        self._tell()
        verdicts: dict[str, Verdict] = {name: availability.LOCAL for name in found if name not in self._remotes}

        async def ask(one: Object) -> None:
            verdicts[meta.name(one)] = await self._verdict(one)

        await tasks.side_by_side(elsewhere, ask, AT_ONCE_MAX, "ask an API elsewhere")
        for name, remote in self._remotes.items():
            remote.is_available = verdicts[name].holds
        self._tell()
        told = [one for one in found.values() if meta.name(one) in verdicts]
        await tasks.side_by_side(
            told, lambda one: self._write(one, verdicts[meta.name(one)]), AT_ONCE_MAX, "write who is available"
        )

    def _is_elsewhere(self, obj: Object) -> bool:
        own = [kind for kind in self._catalog.now if kind.custom is None and not kind.steps_back]
        return bool(meta.get(obj, "spec", "service")) and api_service.group_version(obj) not in [
            (kind.group, kind.version) for kind in own
        ]

    def _remote(self, known: Remote | None, obj: Object) -> Remote:
        if known is not None and known.spec == meta.part(obj, "spec"):
            return known
        made = Remote(self._api.targets, obj, self._front_proxy)
        made.is_available = availability.is_available(obj)
        return made

    def _tell(self) -> None:
        """The API whom to hand requests on to, and discovery what they serve."""
        table = {api_service.group_version({"spec": one.spec}): one for one in self._remotes.values()}
        if table != self._api.backends.of_groups:
            self._api.backends.of_groups = table
        versions = tuple(self._version(name, remote) for name, remote in sorted(self._remotes.items()))
        if versions != self._api.paths.remotes.versions:
            self._api.paths.remotes = remotes.Remotes(versions) if versions else remotes.NOBODY
            self.look_everywhere()
        self._descriptions.follow({place: one for place, one in table.items() if one.is_available})

    def _version(self, name: str, remote: Remote) -> remotes.Version:
        spec = remote.spec
        group, version = api_service.group_version({"spec": spec})
        seen = self._seen.get(name)
        return remotes.Version(
            group,
            version,
            spec["groupPriorityMinimum"],
            spec["versionPriority"],
            seen.resources if seen is not None else (),
            remote.is_available and seen is not None,
        )

    # Whether they are there

    async def _verdict(self, obj: Object) -> Verdict:
        place, targets = _service_of(obj), self._api.targets
        against = availability.of_cluster(obj, targets.service(*place), await targets.slices(*place))
        if against is not None:
            return against
        group, version = api_service.group_version(obj)
        path = f"/apis/{group}/{version}"
        port = meta.part(obj, "spec", "service").get("port", api_service.SERVICE_PORT_DEFAULT)
        url = f"https://{place[1]}.{place[0]}.svc:{port}{path}"
        remote, found = self._remotes[meta.name(obj)], list[bytes]()
        wrong = [""]

        async def ask(number: int) -> None:
            if found:
                return
            try:
                async with asyncio.timeout(PROBE_ANSWER_SECONDS_MAX):
                    code, data = await self._asked(remote, path)
                if 200 <= code < 300:
                    found.append(data)
                else:
                    wrong[0] = f"bad status from {url}: {code}"
            except TimeoutError:
                wrong[0] = "context deadline exceeded"
            except (errors.ApiError, OSError) as error:
                wrong[0] = str(error)

        await ask(0)
        if not found:  # Behind a Service some may be gone while others answer.
            more = range(1, PROBE_ATTEMPTS)
            await tasks.side_by_side(more, ask, len(more), "ask an API elsewhere again")
        if not found:
            return availability.failed(url, wrong[0])
        data = found[0]
        try:
            resources = remotes.resources(encoding.loads(data), group, version)
        except ValueError:
            return availability.PASSED  # Its resources stay as they were seen last.
        spec = meta.part(obj, "spec")
        priority = spec["groupPriorityMinimum"], spec["versionPriority"]
        self._seen[meta.name(obj)] = remotes.Version(group, version, *priority, resources, True)
        return availability.PASSED

    async def _asked(self, remote: Remote, path: str) -> tuple[int, bytes]:
        """Raises ApiError, OSError, TimeoutError."""
        request = http.Request("GET", path, (("accept", "application/json"),))
        answer = await remote.ask(request, AGGREGATOR, PROBE_ANSWER_SECONDS_MAX)
        return answer.code, await calling.whole(answer, calling.ANSWER_BYTES_MAX)

    # Writing

    async def _keep_own(self, found: dict[str, Object]) -> None:
        """Have an APIService for each group version of this server, and none that it does not have."""
        kinds = self._catalog.now
        priorities = discovery.priorities(kinds)
        # Of what steps back there is none: whoever installs another server of it must be able to create its own.
        custom = {(kind.group, kind.version): kind.custom is not None for kind in kinds if not kind.steps_back}
        wanted = {api_service.name_of(*place): place for place in custom}
        missing = [name for name in wanted if name not in found]
        gone = [name for name, one in found.items() if name not in wanted and _is_made(one)]

        async def make(name: str) -> None:
            group, version = wanted[name]
            by_group, by_version = priorities[group]
            label = ALWAYS if custom[group, version] else ON_START
            obj = {
                "apiVersion": APISERVICES.api_version,
                "kind": APISERVICES.kind,
                "metadata": {"name": name, "labels": {well_known.AUTOMANAGED_LABEL: label}},
                "spec": {
                    **({"group": group} if group else {}),
                    "version": version,
                    "groupPriorityMinimum": by_group,
                    "versionPriority": by_version,
                },
            }
            await _tolerant(self._rest.create(writes.by_server(writes.CREATE, APISERVICES, "", name), obj))

        async def remove(name: str) -> None:
            await _tolerant(self._rest.remove(writes.by_server(writes.DELETE, APISERVICES, "", name)))

        await tasks.side_by_side(missing, make, len(missing) or 1, "make an APIService")
        await tasks.side_by_side(gone, remove, AT_ONCE_MAX, "remove an APIService")

    async def _write(self, obj: Object, verdict: Verdict) -> None:
        moment = tasks.rfc3339(tasks.now())
        if availability.told(obj, verdict, moment) == obj.get("status"):
            return

        def make(old: Object) -> tuple[Object, Sequence[errors.FieldError]]:
            return {**old, "status": availability.told(old, verdict, moment)}, ()

        write = writes.by_server(writes.UPDATE, APISERVICES, "", meta.name(obj), is_decided=True)
        await _tolerant(self._rest.change(write, make))


async def _tolerant(work: Awaitable[object]) -> None:
    """A write whose object is gone, or there, or newer: the next round sees it."""
    try:
        await work
    except errors.ApiError as error:
        if error.code not in (404, 409):
            raise


def _service_of(obj: Object) -> tuple[str, str]:
    """Namespace and name."""
    service = meta.part(obj, "spec", "service")
    return service.get("namespace") or "", service.get("name") or ""


def _says_more(change: stores.Change) -> bool:
    """Whether it is more than the status that a round has written."""
    before, now = change.previous, change.entry.object
    return before is None or change.type == "DELETED" or before.object.get("spec") != now.get("spec")


def _is_made(obj: Object) -> bool:
    return meta.labels(obj).get(well_known.AUTOMANAGED_LABEL) in (ON_START, ALWAYS)
