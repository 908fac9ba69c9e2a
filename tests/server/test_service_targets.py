"""Where the server finds who is behind a Service: in its EndpointSlices, known from the first question on."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from petset.kinds.endpoint_slice import ENDPOINTSLICES
from petset.server.elsewhere import service_targets
from petset.server.elsewhere.service_targets import NoTarget, Targets
from petset.store import memory

SERVICE = {"metadata": {"name": "web", "namespace": "default"}, "spec": {"ipFamilies": ["IPv6", "IPv4"]}}


def slice_of(service: str, name: str, *addresses: str, ready: bool = True, kind: str = "IPv4") -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": service}},
        "addressType": kind,
        "endpoints": [{"addresses": [one, "192.0.2.1"], "conditions": {"ready": ready}} for one in addresses],
        "ports": [{"name": "http", "port": 80}, {"name": "anywhere"}],
    }


def test_the_services_own_family_is_preferred_and_any_is_better_than_none() -> None:
    four, six = slice_of("web", "a", "10.0.0.1", "10.0.0.2"), slice_of("web", "b", "fd00::1", kind="IPv6")
    assert {service_targets.chosen(SERVICE, [four, six], "http") for _ in range(50)} == {("fd00::1", 80)}
    away = slice_of("web", "b", "fd00::1", ready=False, kind="IPv6")
    found = {service_targets.chosen(SERVICE, [four, away], "http") for _ in range(200)}
    assert found == {("10.0.0.1", 80), ("10.0.0.2", 80)}, "every one, and of each its first address"
    for port in ("https", "anywhere"):
        with pytest.raises(NoTarget, match='no endpoints available for service "web"'):
            service_targets.chosen(SERVICE, [four, six], port)
        assert not service_targets.leads_anywhere([four, six], port)
    assert service_targets.leads_anywhere([away, four], "http") and not service_targets.leads_anywhere([away], "http")


def test_who_is_found_soon_is_not_looked_for_among_all() -> None:
    slices = [slice_of("web", f"s-{n}", *(f"10.{n}.0.{m}" for m in range(100))) for n in range(50)]
    asked: list[Any] = []
    service_targets.chosen(SERVICE, slices, "http", lambda endpoint: bool(asked.append(endpoint) or True))
    assert len(asked) == 1


def test_what_is_known_is_always_what_the_store_has(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        chance, store, listed = random.Random(7), memory.MemoryStore(), 0
        targets, real = Targets(store), store.list

        def counted(prefix: str) -> Any:
            nonlocal listed
            listed += 1
            return real(prefix)

        monkeypatch.setattr(store, "list", counted)
        for _ in range(300):
            name, service = f"s-{chance.randrange(12)}", chance.choice(("web", "db", "cache"))
            key = ENDPOINTSLICES.key("default", name)
            entry = store.get(key)
            revision = entry.revision if entry is not None else 0
            if revision and chance.random() < 0.3:
                await store.delete(key, revision)
            else:
                await store.put(key, slice_of(service, name, "10.0.0.1"), revision)
            asked = chance.choice(("web", "db", "cache"))
            stored = [one.object for one in real(ENDPOINTSLICES.key("default"))[1]]
            wanted = [one for one in stored if one["metadata"]["labels"]["kubernetes.io/service-name"] == asked]
            assert await targets.slices("default", asked) == wanted
        assert listed == 1, "once, and then what changes"
        await store.close()

    asyncio.run(check())
