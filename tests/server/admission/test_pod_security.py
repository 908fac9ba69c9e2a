"""Pod Security admission at work: what is refused, warned of and audited, and what a namespace's labels may be."""

from __future__ import annotations

from typing import Any

import pytest

from petset.base import tasks
from petset.server import answers, routes
from petset.server.admission.namespaces import security
from tests.server.conftest import Server, collection, petset, pod
from tests.steps import counted

MERGE = "application/merge-patch+json"
PREFIX = "pod-security.kubernetes.io/"
SPACE = "/api/v1/namespaces/strict"
GOOD = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "c",
            "image": "i",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    ],
}
RESTRICTED = (
    'violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "c" must set '
    'securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "c" must set '
    'securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "c" must set '
    'securityContext.runAsNonRoot=true), seccompProfile (pod or container "c" must set '
    'securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
)


def labelled(server: Server, name: str = "strict", **labels: str) -> Any:
    """A namespace with these labels of Pod Security."""
    given = {PREFIX + key.replace("_", "-"): value for key, value in labels.items()}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": given}}
    answer = server("POST", "/api/v1/namespaces", space)
    if answer.code == 201:
        server.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}, name)
    return answer


def unquoted(warning: str) -> str:
    return warning.removeprefix('299 - "').removesuffix('"').replace('\\"', '"')


def warned(answer: Any) -> str:
    return unquoted(answer.headers.get("warning", ""))


@pytest.fixture
def audited(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the last request said for the audit log."""
    said: dict[str, str] = {}
    made = routes.Call.__init__

    def noted(self: routes.Call, *args: Any, **fields: Any) -> None:
        made(self, *args, **fields)
        said.clear()
        object.__setattr__(self, "audit_annotations", said)

    monkeypatch.setattr(routes.Call, "__init__", noted)
    return said


def test_a_pod_that_violates_what_is_enforced_is_refused(server: Server, audited: dict[str, str]) -> None:
    labelled(server, enforce="restricted")
    refused = server("POST", f"{SPACE}/pods", pod("p"))
    assert (refused.code, refused.body["reason"]) == (403, "Forbidden")
    assert refused.message == f'pods "p" is forbidden: {RESTRICTED.replace("violate", "violates", 1)}'
    assert "warning" not in refused.headers
    assert audited == {f"{PREFIX}enforce-policy": "restricted:latest"}
    made = server("POST", f"{SPACE}/pods", pod("p", **GOOD))
    assert made.code == 201 and "warning" not in made.headers


def test_elsewhere_everything_goes(server: Server, audited: dict[str, str]) -> None:
    made = server("POST", "/api/v1/namespaces/default/pods", pod("p", hostNetwork=True))
    assert made.code == 201 and "warning" not in made.headers
    assert audited == {f"{PREFIX}enforce-policy": "privileged:latest"}


def test_what_is_warned_of_and_audited_is_made_all_the_same(server: Server, audited: dict[str, str]) -> None:
    labelled(server, warn="restricted", audit="baseline", audit_version="v1.30")
    made = server("POST", f"{SPACE}/pods?dryRun=All", pod("p", hostNetwork=True))
    assert made.code == 201 and "host namespaces (hostNetwork=true)" in warned(made)
    assert audited == {
        f"{PREFIX}enforce-policy": "privileged:latest",
        f"{PREFIX}audit-violations": 'would violate PodSecurity "baseline:v1.30": host namespaces (hostNetwork=true)',
    }
    made = server("POST", f"{SPACE}/pods", pod("p"))
    assert warned(made) == f"would {RESTRICTED}"
    assert list(audited) == [f"{PREFIX}enforce-policy"]


def template_of(kind: str, spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": spec}
    selected = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    once = {"template": {**template, "spec": {**spec, "restartPolicy": "Never"}}}
    made: dict[str, tuple[str, dict[str, Any]]] = {
        "Deployment": ("apps/v1", {"spec": selected}),
        "ReplicaSet": ("apps/v1", {"spec": selected}),
        "DaemonSet": ("apps/v1", {"spec": selected}),
        "StatefulSet": ("apps/v1", {"spec": {**selected, "serviceName": "s"}}),
        "PetSet": ("apps/v1alpha1", {"spec": petset("p", template=template)["spec"]}),
        "ReplicationController": ("v1", {"spec": {"template": template}}),
        "PodTemplate": ("v1", {"template": template}),
        "Job": ("batch/v1", {"spec": once}),
        "CronJob": ("batch/v1", {"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": once}}}),
    }
    api_version, fields = made[kind]
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "t"}, **fields}


@pytest.mark.parametrize("kind", [kind.kind for kind in security.TEMPLATES])
def test_who_makes_such_pods_is_told(server: Server, kind: str, audited: dict[str, str]) -> None:
    labelled(server, enforce="restricted", audit="restricted")
    bare = {"containers": [{"name": "c", "image": "i"}]}
    path = collection(template_of(kind, bare)["apiVersion"], kind, "strict")
    made = server("POST", f"{path}?dryRun=All", template_of(kind, bare))
    assert made.code == 201 and f"would {RESTRICTED}" in made.headers["warning"].replace('\\"', '"'), made
    assert audited == {f"{PREFIX}audit-violations": f"would {RESTRICTED}"}
    made = server("POST", path, template_of(kind, GOOD))
    assert made.code == 201 and "PodSecurity" not in made.headers.get("warning", ""), made
    changed = server("PATCH", f"{path}/t", {"metadata": {"labels": {"x": "y"}}}, kind=MERGE)
    assert changed.code == 200 and "warning" not in changed.headers


def test_a_pod_that_is_there_may_change_but_for_its_images(server: Server) -> None:
    labelled(server, enforce="privileged")
    server.create(pod("p"), "strict")
    server.ok(
        "PATCH", "/api/v1/namespaces/strict", {"metadata": {"labels": {f"{PREFIX}enforce": "baseline"}}}, kind=MERGE
    )
    server.ok(
        "PATCH", "/api/v1/namespaces/strict", {"metadata": {"labels": {f"{PREFIX}enforce": "restricted"}}}, kind=MERGE
    )
    path = f"{SPACE}/pods/p"
    server.ok("PATCH", path, {"metadata": {"labels": {"a": "b"}}}, kind=MERGE)
    server.ok("PATCH", path, {"spec": {"activeDeadlineSeconds": 5}}, kind=MERGE)
    server.ok("PATCH", f"{path}/status", {"status": {"phase": "Running"}}, kind=MERGE)
    server.ok("POST", f"{path}/binding", {"target": {"name": "n"}, "metadata": {"name": "p"}})
    image = {"spec": {"containers": [{"name": "c", "image": "other"}]}}
    refused = server("PATCH", path, image, kind="application/strategic-merge-patch+json")
    assert refused.code == 403 and 'violates PodSecurity "restricted:latest"' in refused.message


@pytest.mark.parametrize(
    ("before", "after", "is_looked_at"),
    [
        ({"containers": []}, {"containers": []}, False),
        ({"containers": [{"name": "a", "image": "i"}]}, {"containers": [{"name": "a", "image": "j"}]}, True),
        ({}, {"ephemeralContainers": [{"name": "e", "image": "i"}]}, True),
        (
            {"ephemeralContainers": [{"name": "e", "image": "i"}]},
            {"ephemeralContainers": [{"name": "e", "image": "i"}], "tolerations": [{}]},
            False,
        ),
    ],
)
def test_which_changes_of_a_pod_are_looked_at(before: Any, after: Any, is_looked_at: bool) -> None:
    assert security._is_significant({"spec": after}, {"spec": before}) is is_looked_at


def test_labels_must_be_readable_where_they_change(server: Server) -> None:
    refused = labelled(server, enforce="strict", warn_version="1.30")
    assert (refused.code, refused.body["reason"]) == (422, "Invalid")
    assert refused.message == (
        f'Namespace "strict" is invalid: [metadata.labels[{PREFIX}enforce]: Invalid value: "strict": must be one of '
        f'privileged, baseline, restricted, metadata.labels[{PREFIX}warn-version]: Invalid value: "1.30": must be '
        '"latest" or "v1.x"]'
    )
    labelled(server, enforce="baseline")
    path = "/api/v1/namespaces/strict"
    refused = server("PATCH", path, {"metadata": {"labels": {f"{PREFIX}audit": "x"}}}, kind=MERGE)
    assert refused.code == 422


def test_pods_that_would_not_be_let_in_are_told_of(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    labelled(server)
    path = "/api/v1/namespaces/strict"

    def enforce(level: str, query: str = "", **labels: str) -> list[str]:
        given = {PREFIX + "enforce": level, **{PREFIX + key.replace("_", "-"): value for key, value in labels.items()}}
        request = {"metadata": {"labels": given}}
        said.clear()
        response = server("PATCH", f"{path}{query}", request, kind=MERGE)
        assert response.code == 200
        return said

    said: list[str] = []
    told = answers.warning_headers

    def noted(warnings: Any) -> Any:
        said[:] = warnings
        return told(warnings)

    monkeypatch.setattr(answers, "warning_headers", noted)
    for name in ("b", "a", "d"):
        server.create(pod(name, hostNetwork=name == "d"), "strict")
    server.create(pod("good", **GOOD), "strict")
    first = 'existing pods in namespace "strict" violate the new PodSecurity enforce level'
    reasons = "allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile"
    assert enforce("baseline", "?dryRun=All") == [f'{first} "baseline:latest"', "d: host namespaces"]
    assert enforce("restricted") == [
        f'{first} "restricted:latest"',
        f"a (and 1 other pod): {reasons}",
        f"d: host namespaces, {reasons}",
    ]
    assert enforce("baseline") == []  # Less than before.
    monkeypatch.setattr(security, "PODS_LOOKED_AT_MAX", 1)
    assert enforce("restricted") == [
        "new PodSecurity enforce level only checked against the first 1 of 4 existing pods",
        f'{first} "restricted:latest"',
        f"a: {reasons}",
    ]
    assert enforce("restricted", audit="baseline") == []  # It is enforced already.
    assert enforce("privileged") == []


def test_what_it_costs_grows_with_the_pod(server: Server) -> None:
    labelled(server, enforce="restricted")

    def cost(containers: int) -> int:
        many = [
            {"name": f"c{n}", "image": "i", "ports": [{"containerPort": 1, "hostPort": n + 1}]}
            for n in range(containers)
        ]
        with tasks.environment(tasks.Environment(threads=False)), counted() as steps:
            assert server("POST", f"{SPACE}/pods", pod("p", containers=many)).code == 403
        return steps.count

    cost(10)
    few, many = cost(50), cost(200)
    assert many <= few * 4.5
