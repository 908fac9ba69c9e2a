"""What a test does with a cluster, without awaiting: apply, get, list, patch, delete, wait, exec, logs, events.

`Verbs` is what clusters and namespaces have in common: a way to the API and the namespace that is meant where none is
named. An object is named by a word (`"petset/web"`), by two (`"petset", "web"`) or by itself. What comes back are
trees of the caller's own. What is refused is raised as the class of its reason (failures.py).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from petset.client import discovery
from petset.kinds.event import EVENTS
from petset.kinds.namespace import NAMESPACES
from petset.kinds.pod import PODS
from petset.kinds.service_account import SERVICEACCOUNTS
from petset.objects import errors, meta
from petset.objects.registry import Kind
from petset.testing import failures, manifests, ready, shown
from petset.testing.failures import AlreadyExists, CommandFailed, NotFound, WaitTimeout
from petset.testing.manifests import Given, Manifest
from petset.testing.ways import Way

if TYPE_CHECKING:
    from petset.testing.following import Following
    from petset.testing.forwarded import Forwarded

FIELD_MANAGER = "petset-testing"
WAIT_SECONDS = 60.0
DEFAULT_ACCOUNT = "default"
What = str | Mapping[str, Any]
Until = str | Callable[[Manifest], bool]


class Verbs:
    """The verbs, over a way to the API."""

    def __init__(self, namespace: str = "default"):
        self.namespace = namespace
        self._discovered: list[Kind] = []

    @property
    def way(self) -> Way:
        raise NotImplementedError

    # Objects

    def apply(
        self, manifest: Given, *, namespace: str | None = None, force: bool = False, manager: str = FIELD_MANAGER
    ) -> shown.Objects:
        """Server-side apply of every object in a text, file, directory, object or list of them; as they are then."""
        applied = [
            self._applied(self._placed(obj, namespace), force=force, manager=manager)
            for obj in manifests.read(manifest)
        ]
        return self._shown(applied)

    def create(self, manifest: Given, *, namespace: str | None = None) -> shown.Objects:
        """Create what must not be there yet; for names that the server is to generate, too."""
        return self._shown([self._created(self._placed(obj, namespace)) for obj in manifests.read(manifest)])

    def get(self, what: What, name: str = "", *, namespace: str | None = None) -> Manifest:
        """The object as it is now. Raises NotFound."""
        kind, name, space = self._named(what, name, namespace)
        return dict(self.way.run(self.way.reached.client.get(kind, name, space)))

    def list(
        self,
        kind: str,
        *,
        namespace: str | None = None,
        labels: str | Mapping[str, str] = "",
        fields: str = "",
        all_namespaces: bool = False,
    ) -> shown.Objects:
        """Those of the namespace, or of all; `labels` and `fields` are selectors."""
        found = self._kind(kind)
        space = "" if all_namespaces or not found.namespaced else self._space(namespace)
        selector = labels if isinstance(labels, str) else ",".join(f"{key}={value}" for key, value in labels.items())
        items, _ = self.way.run(self.way.reached.client.list(found, space, selector, fields))
        return shown.Objects([dict(item) for item in items], found, self.way.now())

    def patch(
        self,
        what: What,
        patch: Mapping[str, Any] | Sequence[Any],
        name: str = "",
        *,
        namespace: str | None = None,
        kind: str = "merge",
        subresource: str = "",
    ) -> Manifest:
        """The object after a patch: a merge patch, or `kind` json or strategic; of its status by `subresource`."""
        row, name, space = self._named(what, name, namespace)
        client = self.way.reached.client
        return dict(self.way.run(client.patch(row, name, space, patch, kind, subresource)))

    def scale(self, what: What, replicas: int, name: str = "", *, namespace: str | None = None) -> Manifest:
        """Through the scale subresource, as an autoscaler does."""
        return self.patch(what, {"spec": {"replicas": replicas}}, name, namespace=namespace, subresource="scale")

    def delete(
        self,
        what: What,
        name: str = "",
        *,
        namespace: str | None = None,
        grace_seconds: int | None = None,
        propagation: str = "",
        missing_ok: bool = False,
        wait: bool = False,
        timeout: float = WAIT_SECONDS,
    ) -> None:
        """Delete it; `wait` until it is gone. Raises NotFound, unless it may be missing."""
        kind, name, space = self._named(what, name, namespace)
        client = self.way.reached.client
        try:
            self.way.run(client.delete(kind, name, space, grace_seconds=grace_seconds, propagation=propagation))
        except NotFound:
            if not missing_ok:
                raise
            return
        if wait:
            self._wait(kind, name, space, "delete", timeout)

    def wait_for(
        self,
        what: What,
        until: Until = ready.READY,
        name: str = "",
        *,
        namespace: str | None = None,
        timeout: float = WAIT_SECONDS,
    ) -> Manifest:
        """The object once it is so: ready, a condition as `kubectl wait --for` takes it, or what a function says of it.

        It need not be there yet. Raises WaitTimeout, which says how it was last. After `delete` the result is empty.
        """
        kind, name, space = self._named(what, name, namespace)
        return self._wait(kind, name, space, until, timeout)

    def wait_until(
        self, check: Callable[[], Any], *, kinds: Sequence[str] = ("pods",), timeout: float = WAIT_SECONDS
    ) -> Any:
        """What `check` says once that is true; it is asked again whenever an object of one of the kinds changes."""
        from petset.testing import following

        found = [self._kind(kind) for kind in kinds]
        space = self.namespace
        deadline = self.way.deadline(timeout)
        with following.changes(self.way, [(kind, space if kind.namespaced else "") for kind in found]) as changes:
            while not (said := check()):
                if not changes.next(deadline):
                    raise WaitTimeout(f"cannot go on: after {timeout:g} s what was waited for is not so", None)
        return said

    def _wait(self, kind: Kind, name: str, space: str, until: Until, timeout: float) -> Manifest:
        from petset.testing import following

        check = ready.condition(until) if isinstance(until, str) else ready.predicate(until)
        deadline = self.way.deadline(timeout)
        with following.one(self.way, kind, name, space) as one:
            while not check(one.last):
                if not one.next(deadline):
                    raise self._too_late(kind, name, space, until, timeout, one)
            return dict(one.last or {})

    def _too_late(self, kind: Kind, name: str, space: str, until: Until, timeout: float, one: Following) -> WaitTimeout:
        wanted = until if isinstance(until, str) else getattr(until, "__name__", "the predicate")
        where = f"{kind.plural}/{name}" + (f" in {space}" if space else "")
        told = shown.in_a_line(kind, one.last)
        warnings: list[str] = []
        with contextlib.suppress(errors.ApiError, OSError):
            events = self.events(namespace=space or None, type="Warning")
            warnings = [shown.event_line(event) for event in events if shown.is_about(event, name)]
        said = f"; {'; '.join(warnings[-3:])}" if warnings else ""
        last = dict(one.last) if one.last is not None else None
        return WaitTimeout(
            f"cannot wait for {where} any longer: after {timeout:g} s {wanted} is not so: {told}{said}", last
        )

    # What goes on

    def events(
        self,
        what: What | None = None,
        name: str = "",
        *,
        namespace: str | None = None,
        reason: str = "",
        type: str = "",
    ) -> shown.Objects:
        """Those of an object, or all of the namespace, the oldest first; of one reason or type (Normal, Warning)."""
        found: Sequence[Manifest]
        if what is None:
            found = self.list("events", namespace=namespace)
        else:
            kind, name, space = self._named(what, name, namespace)
            found = self._about(name, space, kind.kind)
        chosen = [
            event
            for event in found
            if (not reason or event.get("reason") == reason) and (not type or event.get("type") == type)
        ]
        return shown.Objects(sorted(chosen, key=shown.event_time), EVENTS, self.way.now())

    def _about(self, name: str, space: str, kind: str = "") -> Sequence[Manifest]:
        selector = f"involvedObject.name={name}" + (f",involvedObject.kind={kind}" if kind else "")
        items, _ = self.way.run(self.way.reached.client.list(EVENTS, space or "default", field_selector=selector))
        return sorted((dict(item) for item in items), key=shown.event_time)

    def logs(
        self,
        pod: What,
        container: str = "",
        *,
        namespace: str | None = None,
        tail: int | None = None,
        previous: bool = False,
    ) -> str:
        """What a container has written; of its former life with `previous`."""
        _, name, space = self._named_pod(pod, namespace)
        asked = {
            **({"container": container} if container else {}),
            **({"tailLines": str(tail)} if tail is not None else {}),
            **({"previous": "true"} if previous else {}),
        }
        target = PODS.path(space, name, "log") + (f"?{urlencode(asked)}" if asked else "")
        return self.way.run(self.way.reached.client.raw(target)).decode(errors="replace")

    def exec(
        self,
        pod: What,
        command: Sequence[str] | str,
        container: str = "",
        *,
        namespace: str | None = None,
        stdin: bytes | str = b"",
        check: bool = True,
    ) -> str:
        """What a command says in a container; a text is one for `sh -c`. Raises CommandFailed unless `check` is off."""
        from petset.client import remote

        _, name, space = self._named_pod(pod, namespace)
        words = ["sh", "-c", command] if isinstance(command, str) else list(command)
        given = stdin.encode() if isinstance(stdin, str) else stdin
        done = self.way.run(remote.execute(self.way.reached.dialer(), space, name, container, words, given))
        if check and done.exit_code:
            raise CommandFailed(words, done.exit_code, done.stdout, done.stderr)
        return done.stdout

    @contextlib.contextmanager
    def port_forward(
        self, target: What, port: int | str, *, namespace: str | None = None, local_port: int = 0
    ) -> Generator[Forwarded]:
        """While the context lasts, a port of this machine is one of a pod, or of a ready pod of a Service or a set."""
        from petset.testing import forwarded

        kind, name, space = self._named_pod(target, namespace)
        pod, number = forwarded.find(self, kind, name, space, port)
        with forwarded.to(self.way, space, pod, number, local_port) as found:
            yield found

    # Looking at it

    def sets(self, *, namespace: str | None = None, all_namespaces: bool = False) -> shown.Sets:
        """PetSets and StatefulSets with their pets, volumes and nodes, to look at."""
        found = [
            self.list(kind, namespace=namespace, all_namespaces=all_namespaces)
            for kind in ("petsets", "statefulsets.apps", "pods", "persistentvolumeclaims")
        ]
        petsets, statefulsets, pods, claims = found
        return shown.Sets([*petsets, *statefulsets], pods, claims)

    # Names

    def _space(self, namespace: str | None) -> str:
        return self.namespace if namespace is None else namespace

    def _kind(self, word: str) -> Kind:
        known = self.way.reached.client.kinds.now
        found = discovery.called(known, word) or discovery.called(self._discovered, word)
        if found is None:
            self._discovered = self.way.run(discovery.others(self.way.reached.client, known))
            found = discovery.called(self._discovered, word)
        if found is None:
            raise failures.unknown_kind(word)
        return found

    def _kind_of(self, obj: Mapping[str, Any]) -> Kind:
        client = self.way.reached.client
        for look in (False, True):
            if look:
                self._discovered = self.way.run(discovery.others(client, client.kinds.now))
            found = client.kinds.now.of(obj) or next(
                (one for one in self._discovered if (one.api_version, one.kind) == (obj["apiVersion"], obj["kind"])),
                None,
            )
            if found is not None:
                return found
        raise failures.unknown_kind(f"{obj['kind']} of {obj['apiVersion']}")

    def _named(self, what: What, name: str, namespace: str | None) -> tuple[Kind, str, str]:
        """(kind, name, namespace) of what is meant."""
        if not isinstance(what, str):
            kind, name = self._kind_of(what), meta.get(what, "metadata", "name", default="")
            namespace = namespace if namespace is not None else meta.get(what, "metadata", "namespace")
        else:
            word, _, rest = what.partition("/")
            kind, name = self._kind(word), name or rest
        if not name:
            raise ValueError(f"cannot tell which {kind.kind} is meant: no name is given; say {kind.singular}/NAME")
        return kind, name, self._space(namespace) if kind.namespaced else ""

    def _named_pod(self, what: What, namespace: str | None) -> tuple[Kind, str, str]:
        """The same; a name alone is a pod's."""
        if isinstance(what, str) and "/" not in what:
            return PODS, what, self._space(namespace)
        return self._named(what, "", namespace)

    def _placed(self, obj: Manifest, namespace: str | None) -> Manifest:
        """In its namespace; a namespace that is given wins over what the object says."""
        if not self._kind_of(obj).namespaced or (obj["metadata"].get("namespace") and namespace is None):
            return obj
        return meta.changed(obj, ("metadata", "namespace"), self._space(namespace))

    def _applied(self, obj: Manifest, *, force: bool, manager: str) -> Manifest:
        client, kind = self.way.reached.client, self._kind_of(obj)
        applied = dict(self.way.run(client.apply(obj, manager, force=force, resource=kind)))
        self._awaited(kind, applied)
        return applied

    def _created(self, obj: Manifest) -> Manifest:
        from petset.client.client import STRICT

        client, kind = self.way.reached.client, self._kind_of(obj)
        created = dict(self.way.run(client.create(obj, kind, query=STRICT)))
        self._awaited(kind, created)
        return created

    def _awaited(self, kind: Kind, obj: Manifest) -> None:
        """What comes after it can use it: a namespace has its account, a definition's kind is served."""
        if kind is NAMESPACES:
            self._wait(SERVICEACCOUNTS, DEFAULT_ACCOUNT, meta.name(obj), "create", WAIT_SECONDS)
        elif kind.kind == "CustomResourceDefinition":
            self._wait(kind, meta.name(obj), "", "condition=Established", WAIT_SECONDS)

    def _shown(self, objects: Sequence[Manifest]) -> shown.Objects:
        """As a list that tables itself, when all are of one kind."""
        kind = self._kind_of(objects[0]) if objects else PODS
        return shown.Objects(objects, kind, self.way.now())


def made_namespace(verbs: Verbs, name: str, labels: Mapping[str, str] | None = None) -> bool:
    """Make a namespace that can be used at once; False when there is one."""
    try:
        verbs.create(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels or {})}}
        )
    except AlreadyExists:
        return False
    return True
