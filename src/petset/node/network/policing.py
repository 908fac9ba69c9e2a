"""Keeps NetworkPolicies in force: one program of an instance for all of its nodes.

Until there is a policy, nothing else is looked at, and there is no table. From then on the live copies of pods and
namespaces are followed, too: a pod that changes has its part made anew, a policy or the labels of a namespace all of
them. Whatever else there is of it is as for Services (proxy.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from petset.base import tasks
from petset.base.networks import ClusterPlan
from petset.client.client import Client
from petset.client.views import Informers
from petset.kinds.namespace import NAMESPACES
from petset.kinds.networking.network_policy import NETWORKPOLICIES
from petset.kinds.pod import PODS
from petset.node.network import nftables, policies, proxy
from petset.objects import meta
from petset.objects.meta import Object

_POLICY, _POD = "policy ", "pod "  # What keys begin with.
_EVERYTHING = "everything"


async def run(client: Client, plan: ClusterPlan, ready: asyncio.Event | None = None) -> None:
    """Until cancelled; `ready` is set when what there is is in force for the first time."""
    view, changes = Informers(client), proxy.Changes()
    kept = Policies(view, plan)
    view.of(NETWORKPOLICIES).on_change(lambda old, new: changes.mark(_POLICY + meta.key(new or old or {})))
    async with asyncio.TaskGroup() as group:
        tasks.spawn(group, view.run(), "informers of policies")
        await view.synced()
        thread = tasks.Thread("petset-policies")
        try:
            if not len(view.of(NETWORKPOLICIES)):
                await thread.call(nftables.remove, kept.table.name)  # That a killed petset has left.
                if ready is not None:
                    ready.set()
                await changes.some()
            view.of(PODS).on_change(lambda old, new: _pod_changed(changes, old, new))
            view.of(NAMESPACES).on_change(lambda old, new: _namespace_changed(changes, old, new))
            await view.synced()
            await proxy.keep(thread, kept.table, changes, kept.update, lambda: None, ready)
        finally:
            thread.close()


def _pod_changed(changes: proxy.Changes, old: Object | None, new: Object | None) -> None:
    if policies.what_counts(old) != policies.what_counts(new):
        changes.mark(_POD + meta.key(new or old or {}))


def _namespace_changed(changes: proxy.Changes, old: Object | None, new: Object | None) -> None:
    before, after = (meta.labels(one) if one is not None else None for one in (old, new))
    if before != after:
        changes.mark(_EVERYTHING)


class Policies:
    """The table of policies, over the live copies."""

    def __init__(self, view: Informers, plan: ClusterPlan):
        self.table = policies.table(plan)
        self._view = view
        self._policies: dict[str, policies.Policy] = {}

    async def update(self, keys: Iterable[str]) -> None:
        keys = list(keys)
        changed = [key.removeprefix(_POLICY) for key in keys if key.startswith(_POLICY)]
        for key in changed:
            self._policies.pop(key, None)
            found = self._view.get(NETWORKPOLICIES, *meta.split_key(key))
            if found is not None:
                self._policies[key] = policies.read(found)
                self.table.put(_POLICY + key, self._policies[key].part)
            else:
                self.table.put(_POLICY + key)
        pods = dict.fromkeys(key.removeprefix(_POD) for key in keys if key.startswith(_POD))
        if changed or _EVERYTHING in keys:
            pods.update(dict.fromkeys(meta.key(one) for one in self._view.list(PODS)))
        namespaces = {meta.name(one): meta.labels(one) for one in self._view.list(NAMESPACES)}
        await proxy.in_pieces(pods, lambda key: self._look_at(key, namespaces))

    def _look_at(self, key: str, namespaces: Mapping[str, Mapping[str, str]]) -> None:
        pod = self._view.get(PODS, *meta.split_key(key))
        self.table.put(_POD + key, policies.pod_part(pod, namespaces, self._policies))
