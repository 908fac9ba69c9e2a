"""What quotas promise: no object comes for which there was no room, and in the end their status says what is used.

Read from the store's objects, each counted anew: nothing here remembers anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from petset.kinds.quotas import quota as quotas
from petset.kinds.quotas import usage
from petset.kinds.quotas.quota import Quota
from petset.kinds.resource_quota import RESOURCEQUOTAS
from petset.objects import meta
from petset.objects.meta import Object

Objects = Mapping[str, Object]  # By the store's key.


def broken_by(objects: Objects, key: str) -> Iterator[str]:
    """What the new object of this key takes that its namespace's quotas do not leave."""
    obj = objects[key]
    resource = _resource(key)
    for quota in _quotas(objects, meta.namespace(obj)):
        charge = quota.charge(resource, obj, usage.of(resource, obj))
        if charge:
            used = _used(objects, meta.namespace(obj), quota)
            for name in charge:
                most = quota.hard[name]
                if used[name] > most:
                    yield f"{key} came though quota {quota.name} allows {most} {name}: there are {used[name]}"


def what_is_wrong(objects: Objects) -> list[str]:
    """The quotas whose status does not say what is used."""
    wrong: list[str] = []
    for key, obj in objects.items():
        if not key.startswith(RESOURCEQUOTAS.key()):
            continue
        quota = quotas.read(obj)
        used = {name: amount for name, amount in _used(objects, meta.namespace(obj), quota).items() if amount}
        status = meta.part(obj, "status")
        told = {name: text for name, text in meta.part(status, "used").items() if text != "0"}
        if quotas.shown(used) != ",".join(f"{name}={told[name]}" for name in sorted(told)):
            wrong.append(f"quota {meta.key(obj)} says {told}, and {quotas.shown(used) or 'nothing'} is used")
        if meta.part(status, "hard") != meta.part(obj, "spec", "hard"):
            wrong.append(f"quota {meta.key(obj)} does not say what it limits")
    return wrong


def _quotas(objects: Objects, namespace: str) -> list[Quota]:
    prefix = RESOURCEQUOTAS.key(namespace)
    return [quotas.read(obj) for key, obj in objects.items() if namespace and key.startswith(prefix)]


def _used(objects: Objects, namespace: str, quota: Quota) -> dict[str, int]:
    used: dict[str, int] = {}
    for key, obj in objects.items():
        if meta.namespace(obj) == namespace:
            resource = _resource(key)
            for name, amount in quota.charge(resource, obj, usage.of(resource, obj)).items():
                used[name] = used.get(name, 0) + amount
    return used


def _resource(key: str) -> str:
    _, group, plural, _ = key.split("/", 3)
    return plural if group == "core" else f"{plural}.{group}"
