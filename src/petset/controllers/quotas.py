"""The status of ResourceQuotas: what is limited, and how much of it the objects of the namespace use.

Of each quota a `Usage` is kept: the objects it reads (pods, services, claims) are charged as they change, of the others
there is a count. So a change costs its own object, however many there are. Nothing is decided by the status; the
server counts for itself when it admits (server/admission/namespaces). Kinds that come and go are looked for again.
Follows: ResourceQuotaStatus of the Kubernetes API reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from petset.client.informer import NAMESPACE_INDEX
from petset.client.views import View
from petset.controllers import actions
from petset.controllers.runner import Controller, own_key
from petset.kinds import requests
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pod import PODS
from petset.kinds.quotas import quota as quotas
from petset.kinds.quotas import usage
from petset.kinds.quotas.quota import Quota
from petset.kinds.resource_quota import RESOURCEQUOTAS
from petset.kinds.service import SERVICES
from petset.objects import meta
from petset.objects.meta import Object
from petset.objects.registry import Kind

_READ = (PODS, SERVICES, PERSISTENTVOLUMECLAIMS)


def is_counted(kind: Kind) -> bool:
    return (
        kind.namespaced
        and not kind.elsewhere
        and "list" in kind.verbs
        and "watch" in kind.verbs
        and usage.resource_of(kind) not in usage.NEVER_COUNTED
    )


class Usage:
    """What the objects of a namespace are charged by one quota, of the kinds whose objects it must read."""

    def __init__(self, view: View, namespace: str, quota: Quota):
        self.used: dict[str, int] = {}
        self._quota = quota
        self._charged: dict[tuple[str, str], Mapping[str, int]] = {}  # By resource and key.
        self._stops = [
            view.follow(kind, NAMESPACE_INDEX, namespace, self._follower(usage.resource_of(kind)))
            for kind in _READ
            if usage.resource_of(kind) in quota.names
        ]

    def close(self) -> None:
        for stop in self._stops:
            stop()

    def _follower(self, resource: str) -> Callable[[Object | None, Object | None], None]:
        def change(old: Object | None, new: Object | None) -> None:
            known = new if new is not None else old
            assert known is not None
            place = (resource, meta.key(known))
            for name, amount in self._charged.pop(place, {}).items():
                self.used[name] -= amount
            if new is None:
                return
            if charge := self._quota.charge(resource, new, usage.of(resource, new)):
                self._charged[place] = charge
                for name, amount in charge.items():
                    self.used[name] = self.used.get(name, 0) + amount

        return change


def reconcile(key: str, view: View, now: float) -> list[actions.Action]:
    """Tell how much is used, where that is not told yet."""
    namespace, name = meta.split_key(key)
    obj = view.get(RESOURCEQUOTAS, namespace, name)
    if obj is None:
        view.forget(Usage, key)
        return []
    quota = quotas.read(obj)
    read = view.kept(Usage, key, namespace, quota).used
    counts = {usage.resource_of(kind): kind for kind in view.kinds.each_once() if is_counted(kind)}
    used: dict[str, str] = {}
    for resource, names in quota.names.items():
        if resource in counts:
            amounts = read if usage.is_read(resource) else _counted(quota, resource, counts[resource], namespace, view)
            used |= {name: requests.text(name, amounts.get(name, 0)) for name in names}
    hard = meta.part(obj, "spec").get("hard")
    status = {**({"hard": hard, "used": dict(sorted(used.items()))} if hard else {})}
    if status == meta.part(obj, "status"):
        return []
    return [actions.UpdateStatus({**obj, "status": status}, pace=True)]


def _counted(quota: Quota, resource: str, kind: Kind, namespace: str, view: View) -> Mapping[str, int]:
    if quota.terms:  # Of all kinds only pods and claims are in any scope.
        return {}
    count = view.of(kind).count(NAMESPACE_INDEX, namespace)
    return {name: amount * count for name, amount in usage.of(resource, {}).items()}


def quotas_of(obj: Object, view: View) -> Iterable[str]:
    """Those of the object's namespace."""
    return [meta.key(quota) for quota in view.list(RESOURCEQUOTAS, meta.namespace(obj))]


def all_quotas(view: View) -> Iterable[str]:
    return [meta.key(quota) for quota in view.list(RESOURCEQUOTAS)]


CONTROLLERS = (
    Controller(
        name="quotas",
        component="resourcequota-controller",
        watches=((RESOURCEQUOTAS, own_key),),
        every=(is_counted, quotas_of),
        when_kinds_change=all_quotas,
        reconcile=reconcile,
    ),
)
