"""What `petset serve` asks of its cluster and what deploy/kubernetes lets it ask are the same, by the audit log.

Two replicas have the service account of rights.yaml and no other rights; a set of 2016 goes through all that can happen
to one. Nothing is refused, and no right is left over.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from tests.e2e.cluster import ROOT, Cluster
from tests.e2e.extension import NAMESPACE, Balancer, Replica, install, leader, without_petsets
from tests.e2e.kubernetes import Kubernetes

BASE = ROOT / "deploy" / "kubernetes" / "base"
SETS = ROOT / "tests" / "e2e" / "manifests" / "set-of-2016.yaml"
ACCOUNT, SECRET = "petset", "petset-serving"
USER = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "users": [USER]}, {"level": "None"}],
}
# What a replica has not of rules of its own.
OF_OTHERS = {
    ("create", "authentication.k8s.io", "tokenreviews"),
    ("create", "authorization.k8s.io", "subjectaccessreviews"),
    ("list", "", "configmaps"),
    ("watch", "", "configmaps"),
}


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One verb on one resource; in no namespace ("") it is in all, of no name ("") of all."""

    namespace: str
    verb: str
    group: str
    resource: str
    name: str = ""

    def __str__(self) -> str:
        where = f" in {self.namespace}" if self.namespace else ""
        return " ".join(filter(None, (self.verb, self.group, self.resource, self.name))) + where

    def allows(self, asked: Right) -> bool:
        is_there = self.namespace in ("", asked.namespace) and self.name in ("", asked.name)
        return is_there and self._what == asked._what

    @property
    def _what(self) -> tuple[str, str, str]:
        return self.verb, self.group, self.resource


LOST = (
    "asked for only of what was written and not seen since, as when an answer is lost: tests/controllers/test_runner.py"
)
# Rights that no request here needs, each with its reason.
UNUSED: dict[Right, str] = {
    Right("", "update", "apps", "petsets/finalizers"): (
        "asked for by admission (OwnerReferencesPermissionEnforcement), where a cluster has that, and by no request"
    ),
    Right(NAMESPACE, "get", "coordination.k8s.io", "leases", "petset-controller"): (
        "asked for only when two replicas write the Lease at once: tests/client/test_election.py"
    ),
    Right("", "get", "", "pods"): LOST,
    Right("", "get", "", "persistentvolumeclaims"): LOST,
    Right("", "get", "", "services"): LOST,
    Right("", "get", "apps", "controllerrevisions"): LOST,
}


def rights() -> set[Right]:
    """All that rights.yaml gives the account by rules of its own."""
    objects = list(yaml.safe_load_all((BASE / "rights.yaml").read_text()))
    roles = {(one["kind"], one["metadata"]["name"]): one for one in objects if "rules" in one}
    found: set[Right] = set()
    for binding in objects:
        role = roles.get((binding["roleRef"]["kind"], binding["roleRef"]["name"])) if "roleRef" in binding else None
        for rule in role["rules"] if role else ():
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    for verb in rule["verbs"]:
                        for name in rule.get("resourceNames", ("",)):
                            found.add(Right(binding["metadata"].get("namespace", ""), verb, group, resource, name))
    return found


def asked(event: Any) -> Right | None:
    """What a line of the audit log asked for; None: nothing of a resource."""
    about = event.get("objectRef")
    if about is None:
        return None
    resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
    selected = parse_qs(urlsplit(event["requestURI"]).query).get("fieldSelector", [""])[0]
    name = about.get("name") or (selected.partition("=")[2] if selected.startswith("metadata.name=") else "")
    return Right(about.get("namespace", ""), event["verb"], about.get("apiGroup", ""), resource, name)


class Told:
    """The audit log of what the account asks."""

    def __init__(self, path: Path):
        self._path = path

    @property
    def events(self) -> list[Any]:
        complete = self._path.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in complete.splitlines()]

    @property
    def asked(self) -> set[Right]:
        return {right for event in self.events if (right := asked(event)) is not None}

    @property
    def refused(self) -> list[str]:
        codes = {401, 403}
        found = [event for event in self.events if event.get("responseStatus", {}).get("code") in codes]
        return [f"{event['verb']} {event['requestURI']}: {event['responseStatus'].get('message')}" for event in found]

    def unused(self) -> set[Right]:
        used = self.asked
        return {right for right in rights() if not any(right.allows(one) for one in used)}


@dataclass(frozen=True, slots=True)
class Scene:
    there: Cluster | Kubernetes
    replicas: tuple[Replica, Replica]
    told: Told
    token: str


def access_of(there: Cluster | Kubernetes, token: str, path: Path) -> Path:
    """A kubeconfig of whom the token says."""
    config = there.kubectl.json("config", "view", "--raw")
    path.touch(0o600)
    path.write_text(json.dumps({**config, "users": [{"name": config["users"][0]["name"], "user": {"token": token}}]}))
    return path


@pytest.fixture(scope="module")
def scene(make_cluster) -> Iterator[Scene]:
    directory = Path(tempfile.mkdtemp(prefix="petset-rights-", dir="/tmp"))
    told, policy = directory / "audit.log", directory / "policy.yaml"
    policy.write_text(json.dumps(POLICY))
    with without_petsets(make_cluster, f"--audit-policy-file={policy}", f"--audit-log-path={told}") as there:
        for file in ("namespace.yaml", "storedpetsets.yaml", "rights.yaml"):
            there.kubectl("apply", "-f", str(BASE / file))
        there.kubectl("wait", "--for=condition=Established", "crd/storedpetsets.petset.dev", "--timeout=60s")
        token = there.kubectl("create", "token", ACCOUNT, "-n", NAMESPACE).strip()
        access = access_of(there, token, directory / "kubeconfig")
        flags = (f"--serving-secret={SECRET}", f"--namespace={NAMESPACE}", "--store=cluster")
        one, two = (Replica(directory / name, there, name, *flags, access=access) for name in ("one", "two"))
        balancer: Balancer | None = None
        try:
            one.start()
            two.start()
            balancer = Balancer(one, two)
            install(there, one, balancer.port, b"")
            yield Scene(there, (one, two), Told(told), token)
        finally:
            for replica in (one, two):
                if hasattr(replica, "process"):
                    replica.kill()
            if balancer is not None:
                balancer.close()
    logs = one.log + two.log
    shutil.rmtree(directory)
    assert "Traceback" not in logs


def test_all_that_it_asks_it_may_and_all_that_it_may_it_asks(scene: Scene) -> None:
    everything_happens(scene)

    def nothing_is_left_over() -> bool:
        assert ", ".join(map(str, sorted(scene.told.unused() - set(UNUSED)))) == ""
        return True

    assert scene.told.refused == []
    assert set(UNUSED) <= rights()
    scene.there.wait(nothing_is_left_over, "every right to be used", 20)
    own = rights()
    others = {right for right in scene.told.asked if not any(one.allows(right) for one in own)}
    assert {(right.verb, right.group, right.resource) for right in others} == OF_OTHERS


def everything_happens(scene: Scene) -> None:
    there, kubectl = scene.there, scene.there.kubectl

    def pods(many: int) -> None:
        names = [f"pod/web-{i}" for i in range(many)]
        there.wait(lambda: kubectl("get", "pods", "-o", "name").split() == names, f"{many} pets")

    def template(said: str) -> None:
        """Until all pets are of it."""
        change = {"spec": {"template": {"metadata": {"annotations": {"said": said}}}}}
        kubectl("patch", "petset", "web", "--type=merge", "-p", json.dumps(change))
        shown = "jsonpath={.items[*].metadata.annotations.said}"
        there.wait(lambda: kubectl("get", "pods", "-o", shown).split() == [said] * 3, f"pets of {said}")
        there.wait(lambda: settled(kubectl.json("get", "petset", "web")), f"the set to be of {said}")

    def settled(found: Any) -> bool:
        status = found["status"]
        is_seen = status.get("observedGeneration") == found["metadata"]["generation"]
        return is_seen and status["currentRevision"] == status["updateRevision"]

    nowhere = kubectl.run("create", "-n", "nowhere", "-f", str(SETS))
    assert nowhere.returncode and 'namespaces "nowhere" not found' in nowhere.stderr
    kubectl("create", "-f", str(SETS))
    pods(2)
    for many in (3, 2, 3):  # What happens again is told in the event of the first time.
        kubectl("scale", "petset", "web", f"--replicas={many}")
        pods(many)
    for said in ("one", "two", "three", "two"):
        template(said)
    kubectl("delete", "service/nginx", "petset/web", "--cascade=orphan")
    kubectl("create", "-f", str(SETS))
    kubectl("scale", "petset", "web", "--replicas=3")
    new = kubectl("get", "petset", "web", "-o", "jsonpath={.metadata.uid}")
    owners = "jsonpath={.items[*].metadata.ownerReferences[*].uid}"
    there.wait(lambda: kubectl("get", "pods", "-o", owners).split() == [new] * 3, "the new set to have the old pets")

    token = ("--token", scene.token, "--insecure-skip-tls-verify", "--kubeconfig=/dev/null")
    straight = kubectl.run(
        "get", "petsets", "-o", "name", "--server", f"https://127.0.0.1:{scene.replicas[0].port}", *token
    )
    assert straight.stdout.split() == ["petset.apps/web"], straight.stderr

    def kept() -> str:
        return kubectl("get", "secret", SECRET, "-n", NAMESPACE, "-o", r"jsonpath={.data.tls\.crt}")

    kubectl("patch", "secret", SECRET, "-n", NAMESPACE, "--type=merge", "-p", '{"data": {"tls.crt": ""}}')
    there.wait(kept, "the certificate to be made anew")

    first = leader(there, *scene.replicas)
    assert first.stop() == 0
    leader(there, *(one for one in scene.replicas if one is not first))
    first.start()
    kubectl("delete", "petset", "web", "--cascade=foreground")
    pods(0)
