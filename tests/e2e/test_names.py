"""Names: before the first init container, of unready pets as the service says, never cached as missing; addresses."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import dns.resolver
import pytest

from tests.e2e.leftovers import plan_of

DOMAIN = "svc.cluster.local"
IMAGE = "gcr.io/google_containers/nginx-slim:0.8"
ASK = "exec 3<>/dev/tcp/{}/{} && printf 'HEAD / HTTP/1.0\\r\\n\\r\\n' >&3 && head -1 <&3"


def service(name: str, **annotations: str) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "clusterIP": "None",
            "selector": {"app": name},
            "ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}],
        },
    }


def pet_set(name: str, replicas: int, container: dict, init: list[dict] | None = None) -> dict:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name},
        "spec": {
            "serviceName": name,
            "replicas": replicas,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "initContainers": init or [],
                    "containers": [
                        {"name": "main", "image": "debian:jessie", "command": ["sleep", "infinity"], **container}
                    ],
                },
            },
        },
    }


NEVER_READY = {"readinessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 1}}


@pytest.fixture
def resolver(cluster):
    plan = plan_of(cluster.state)
    found = dns.resolver.Resolver(configure=False)
    found.nameservers, found.lifetime = [plan.cluster.dns_address], 3
    return found


def ask(resolver, name: str, kind: str) -> list[str]:
    """The answer's data; [] when there is no such name or no such record."""
    try:
        return sorted(str(item) for item in resolver.resolve(name, kind))
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []


def create(cluster, namespace: str, *objects: dict) -> None:
    several = {"apiVersion": "v1", "kind": "List", "items": objects}
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(several))


def test_a_name_is_there_before_the_first_init_container(cluster, namespace):
    """The init container asks once, at once, and fails the pod when its own name is not there yet."""
    init = {"name": "look", "image": "debian:jessie", "command": ["sh", "-c", "getent ahostsv4 $(hostname).early"]}
    create(
        cluster,
        namespace,
        service("early", **{"service.alpha.kubernetes.io/tolerate-unready-endpoints": "true"}),
        pet_set("early", 3, {}, [init]),
    )
    cluster.wait_ready("early-0", "early-1", "early-2", namespace=namespace)
    for ordinal in range(3):
        status = cluster.pod(f"early-{ordinal}", namespace)["status"]
        assert status["initContainerStatuses"][0]["restartCount"] == 0


def test_the_service_name_has_one_srv_target_a_pet(cluster, namespace, resolver):
    create(cluster, namespace, service("peers"), pet_set("peers", 3, {}))
    cluster.wait_ready("peers-0", "peers-1", "peers-2", namespace=namespace)
    cluster.wait(lambda: len(ask(resolver, f"peers.{namespace}.{DOMAIN}", "A")) == 3, "three addresses", 5)
    records = resolver.resolve(f"peers.{namespace}.{DOMAIN}", "SRV")
    targets = {str(record.target) for record in records}
    assert targets == {f"peers-{ordinal}.peers.{namespace}.{DOMAIN}." for ordinal in range(3)}
    assert ask(resolver, f"peers-0.peers.{namespace}.{DOMAIN}", "AAAA") == []
    with pytest.raises(dns.resolver.NoAnswer):  # Not NXDOMAIN: the name exists.
        resolver.resolve(f"peers-0.peers.{namespace}.{DOMAIN}", "AAAA")


def test_unready_pets_are_absent_unless_the_service_tolerates_them(cluster, namespace, resolver):
    tolerant = service("tolerant")
    tolerant["spec"]["publishNotReadyAddresses"] = True
    create(
        cluster,
        namespace,
        service("strict"),
        pet_set("strict", 1, NEVER_READY),
        tolerant,
        pet_set("tolerant", 1, NEVER_READY),
    )
    for name in ("strict-0", "tolerant-0"):
        cluster.wait(lambda name=name: cluster.pod(name, namespace)["status"]["phase"] == "Running", f"{name} to run")
    assert ask(resolver, f"tolerant-0.tolerant.{namespace}.{DOMAIN}", "A") == [
        cluster.pod("tolerant-0", namespace)["status"]["podIP"]
    ]
    assert ask(resolver, f"strict-0.strict.{namespace}.{DOMAIN}", "A") == []


def test_a_successors_name_is_right_at_once(cluster, namespace, resolver):
    """Asked for while it is absent: the missing name must not stick, neither here nor in the pods' own resolvers."""
    create(cluster, namespace, service("again"), pet_set("again", 2, {}))
    cluster.wait_ready("again-0", "again-1", namespace=namespace)
    for _ in range(3):
        before = cluster.pod("again-0", namespace)["metadata"]["uid"]
        cluster.kubectl("delete", "pod", "again-0", "-n", namespace)
        ask(resolver, f"again-0.again.{namespace}.{DOMAIN}", "A")
        cluster.wait(
            lambda before=before: cluster.pod("again-0", namespace)["metadata"]["uid"] != before, "a successor"
        )
        cluster.wait_ready("again-0", namespace=namespace)
        cluster.wait(lambda: ask(resolver, f"again-0.again.{namespace}.{DOMAIN}", "A"), "its record", 2)
        said = cluster.kubectl("exec", "-n", namespace, "again-1", "--", "getent", "ahostsv4", "again-0.again")
        assert said.split()[0] == cluster.pod("again-0", namespace)["status"]["podIP"]


def test_names_outside_the_cluster_fail_at_once_without_resolvers_or_are_answered(cluster, namespace, resolver):
    """Never a hang: an answer or a failure comes within the resolver's own time."""
    with pytest.raises((dns.resolver.NXDOMAIN, dns.resolver.NoNameservers, dns.resolver.NoAnswer)):
        resolver.resolve("no-such-name.invalid", "A")


def web_pod(name: str) -> dict[str, Any]:
    port = {"name": "web", "containerPort": 80}
    container = {"name": "c", "image": IMAGE, "ports": [port], "readinessProbe": {"httpGet": {"port": "web"}}}
    spec = {"terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def made(cluster: Any, namespace: str, **obj: Any) -> Any:
    return json.loads(cluster.kubectl("-n", namespace, "create", "-o", "json", "-f", "-", stdin=json.dumps(obj)))


def test_a_service_leads_to_its_pods_and_a_policy_closes_them(cluster, namespace):
    def asked(address: str, port: int) -> str:
        """From a pod."""
        script = f'timeout 1 bash -c "{ASK.format(address, port)}" 2>/dev/null || true'
        return cluster.kubectl("-n", namespace, "exec", "asking", "--", "bash", "-c", script)

    def asked_here(address: str, port: int) -> str:
        script = ASK.format(address, port)
        return subprocess.run(["timeout", "2", "bash", "-c", script], capture_output=True, text=True).stdout

    for name in ("web", "asking"):
        made(cluster, namespace, **web_pod(name))
    spec = {"type": "NodePort", "selector": {"app": "web"}, "ports": [{"port": 8080, "targetPort": "web"}]}
    service = made(cluster, namespace, apiVersion="v1", kind="Service", metadata={"name": "front"}, spec=spec)
    cluster.wait_ready("web", "asking", namespace=namespace)
    address, port = service["spec"]["clusterIP"], service["spec"]["ports"][0]["nodePort"]
    cluster.wait(lambda: "200 OK" in asked(address, 8080), "the cluster IP leads to the pod")
    assert "200 OK" in asked("front", 8080)  # By its name, which is the address.
    assert "200 OK" in asked_here(address, 8080) and "200 OK" in asked_here("127.0.0.1", port)
    policy = {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]}
    head = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "closed"}}
    made(cluster, namespace, **head, spec=policy)
    cluster.wait(lambda: asked(address, 8080) == "", "the policy closes the pod")
    assert "200 OK" in asked_here(address, 8080)  # The node is let in, and so are its probes.
    cluster.kubectl("-n", namespace, "delete", "networkpolicy", "closed")
    cluster.wait(lambda: "200 OK" in asked(address, 8080), "the pod is open again")
