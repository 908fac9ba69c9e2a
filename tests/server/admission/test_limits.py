"""LimitRanges at work: what pods are given and what is refused, over the API (rules: tests/cases/limits)."""

from __future__ import annotations

from typing import Any

from petset.server.admission.namespaces import limits
from tests.server.conftest import Server, pod

PODS = "/api/v1/namespaces/default/pods"
CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
MERGE = "application/merge-patch+json"


def limit_range(name: str, *items: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": name}, "spec": {"limits": list(items)}}


def claim(name: str, storage: str) -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def test_a_pod_is_given_the_defaults_and_bounded_by_the_maximum(server: Server) -> None:
    made = server(
        "POST",
        "/api/v1/namespaces/default/limitranges",
        limit_range("l", {"type": "Container", "max": {"cpu": "1"}, "defaultRequest": {"cpu": "100m"}}),
    )
    assert made.code == 201 and "warning" not in made.headers
    found = server.create(pod("p"))
    assert found["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}}
    assert found["status"]["qosClass"] == "Burstable"
    told = found["metadata"]["annotations"]["kubernetes.io/limit-ranger"]
    assert told == "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    large = {"name": "c", "image": "i", "resources": {"limits": {"cpu": "2"}}}
    refused = server("POST", PODS, pod("q", containers=[large]))
    assert refused.code == 403 and refused.body["reason"] == "Forbidden"
    assert refused.message == 'pods "q" is forbidden: maximum cpu usage per Container is 1, but limit is 2'
    dry = server("POST", f"{PODS}?dryRun=All", pod("q", containers=[large]))
    assert dry.code == 403


def test_of_several_ranges_the_first_gives_the_default_and_all_are_bounds(server: Server) -> None:
    server.create(limit_range("a", {"type": "Container", "default": {"cpu": "2"}}))
    server.create(limit_range("b", {"type": "Container", "default": {"cpu": "3", "memory": "1Gi"}}))
    server.create(limit_range("elsewhere", {"type": "Container", "max": {"cpu": "1"}}), "kube-public")
    limited = server.create(pod("p"))["spec"]["containers"][0]["resources"]["limits"]
    assert limited == {"cpu": "2", "memory": "1Gi"}
    server.create(limit_range("c", {"type": "Pod", "max": {"cpu": "1", "memory": "1Mi"}}))
    refused = server("POST", PODS, pod("q"))
    assert refused.code == 403
    assert "[maximum cpu usage per Pod is 1, but limit is 2, maximum memory usage per Pod is 1Mi" in refused.message


def test_what_a_pod_has_is_not_looked_at_again(server: Server) -> None:
    server.create(pod("p"))
    server.create(limit_range("l", {"type": "Container", "max": {"cpu": "1"}}))
    changed = server.ok("PATCH", f"{PODS}/p", {"metadata": {"labels": {"a": "b"}}}, kind=MERGE)
    assert "kubernetes.io/limit-ranger" not in changed["metadata"].get("annotations", {})
    server.ok("PATCH", f"{PODS}/p/status", {"status": {"phase": "Running"}}, kind=MERGE)


def test_how_much_a_claim_may_ask_for(server: Server) -> None:
    server.create(claim("before", "5Gi"))
    server.create(
        limit_range("l", {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}})
    )
    server.create(claim("good", "2Gi"))
    refused = server("POST", CLAIMS, claim("large", "3Gi"))
    assert refused.code == 403
    assert "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi" in refused.message
    refused = server("POST", CLAIMS, claim("small", "1Mi"))
    assert "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi" in refused.message
    server.ok("PATCH", f"{CLAIMS}/before", {"metadata": {"labels": {"a": "b"}}}, kind=MERGE)


def test_too_many_amounts_are_refused_and_not_compared(server: Server) -> None:
    many = {f"example.com/r{n}": "1" for n in range(400)}
    server.create(limit_range("l", {"type": "Container", "default": many}))
    containers = [{"name": f"c{n}", "image": "i"} for n in range(20)]
    refused = server("POST", PODS, pod("p", containers=containers))
    assert refused.code == 403 and f"more than {limits.COMPARED_MAX} amounts to compare" in refused.message
    server.create(pod("q"))
