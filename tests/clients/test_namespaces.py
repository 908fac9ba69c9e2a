"""What kubectl makes of and says about quotas and limits: over a server whose controllers run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Served, serving

WAIT_SECONDS_MAX = 20.0


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory: Path = tmp_path_factory.mktemp("live")
    with serving(directory, "--controllers") as it:
        yield it


def until(said: Callable[[], str], *texts: str) -> str:
    """What is said once it has these texts in it, whatever the spaces between."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while True:
        text = said()
        if all(one in " ".join(text.split()) for one in texts):
            return text
        assert time.monotonic() < deadline, text
        time.sleep(0.05)


def pod(name: str, **resources: Any) -> str:
    spec = {"containers": [{"name": "c", "image": "i", "resources": resources}]}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})


def test_a_quota_is_made_described_and_enforced(live: Served) -> None:
    live.admin("create", "namespace", "bounded")

    def kubectl(*words: str, stdin: str | None = None) -> str:
        return live.admin("-n", "bounded", *words, stdin=stdin)

    until(lambda: kubectl("get", "serviceaccounts"), "default")
    until(lambda: kubectl("get", "configmaps"), "kube-root-ca.crt")
    made = live.admin.run("-n", "bounded", "create", "quota", "q", "--hard=pods=2,requests.memory=1Gi,count/secrets=1")
    assert made.returncode == 0 and "Warning" not in made.stderr
    until(lambda: kubectl("describe", "quota", "q"), "pods 0 2", "requests.memory 0 1Gi", "count/secrets 0 1")
    kubectl("create", "-f", "-", stdin=pod("a", requests={"memory": "300Mi"}))
    until(lambda: kubectl("describe", "quota", "q"), "pods 1 2", "requests.memory 300Mi 1Gi")
    until(lambda: kubectl("describe", "ns", "bounded"), "Resource Quotas", "Name: q", "pods 1 2")
    shown = until(lambda: kubectl("get", "quota"), "q", "pods: 1/2, requests.memory: 300Mi/1Gi")
    assert shown.split()[:4] == ["NAME", "REQUEST", "LIMIT", "AGE"]
    refused = live.admin.run("-n", "bounded", "create", "-f", "-", stdin=pod("b", requests={"memory": "1Gi"}))
    assert "exceeded quota: q, requested: requests.memory=1Gi, used: requests.memory=300Mi" in refused.stderr
    kubectl("create", "secret", "generic", "one")
    refused = live.admin.run("-n", "bounded", "create", "secret", "generic", "two")
    assert (
        "exceeded quota: q, requested: count/secrets=1, used: count/secrets=1, limited: count/secrets=1"
        in refused.stderr
    )
    kubectl("delete", "pod", "a", "--now")
    until(lambda: kubectl("describe", "quota", "q"), "pods 0 2", "requests.memory 0 1Gi")
    scoped = live.admin.run(
        "-n", "bounded", "create", "quota", "s", "--hard=pods=1", "--scopes=BestEffort,NotTerminating"
    )
    assert scoped.returncode == 0, scoped.stderr
    until(lambda: kubectl("describe", "quota", "s"), "Scopes: BestEffort, NotTerminating", "pods 0 1")


def test_limits_are_described_and_applied(live: Served) -> None:
    live.admin("create", "namespace", "limited")

    def kubectl(*words: str, stdin: str | None = None) -> str:
        return live.admin("-n", "limited", *words, stdin=stdin)

    until(lambda: kubectl("get", "serviceaccounts"), "default")
    container = {"type": "Container", "max": {"cpu": "1"}, "min": {"cpu": "10m"}, "defaultRequest": {"cpu": "100m"}}
    limits = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"}, "spec": {"limits": [container]}}
    kubectl("create", "-f", "-", stdin=json.dumps(limits))
    assert "Container cpu 10m 1 100m 1" in " ".join(kubectl("describe", "limits", "l").split())
    assert "Container cpu 10m 1 100m 1" in " ".join(kubectl("describe", "ns", "limited").split())
    kubectl("create", "-f", "-", stdin=pod("a"))
    described = kubectl("describe", "pod", "a")
    assert "kubernetes.io/limit-ranger: LimitRanger plugin set: cpu request for container c; cpu limit" in described
    refused = live.admin.run("-n", "limited", "create", "-f", "-", stdin=pod("b", limits={"cpu": "2"}))
    assert "maximum cpu usage per Container is 1, but limit is 2" in refused.stderr


def test_pod_security_warns_and_refuses(live: Served) -> None:
    live.admin("create", "namespace", "secured")

    def run(*words: str, stdin: str | None = None) -> Any:
        return live.admin.run("-n", "secured", *words, stdin=stdin)

    until(lambda: live.admin("-n", "secured", "get", "serviceaccounts"), "default")
    live.admin("-n", "secured", "create", "-f", "-", stdin=pod("before"))
    wrong = run("label", "ns", "secured", "pod-security.kubernetes.io/enforce=strict")
    assert "must be one of privileged, baseline, restricted" in wrong.stderr and wrong.returncode
    tried = run("label", "--dry-run=server", "ns", "secured", "pod-security.kubernetes.io/enforce=restricted")
    said = 'Warning: existing pods in namespace "secured" violate the new PodSecurity enforce level "restricted:latest"'
    assert said in tried.stderr and "Warning: before: allowPrivilegeEscalation != false, unrestricted" in tried.stderr
    labelled = run("label", "ns", "secured", "pod-security.kubernetes.io/enforce=restricted")
    assert labelled.returncode == 0 and said in labelled.stderr
    refused = run("create", "-f", "-", stdin=pod("after"))
    assert 'is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false' in refused.stderr
    warned = run("create", "deployment", "d", "--image=i", "--dry-run=server")
    assert warned.returncode == 0
    assert 'Warning: would violate PodSecurity "restricted:latest": allowPrivilegeEscalation' in warned.stderr
    assert run("label", "pod", "before", "a=b").returncode == 0
