"""Server-side apply as kubectl does it: conflicts, force, diff, the way there from apply on the client's side."""

from __future__ import annotations

import json
from typing import Any

from tests.clients.test_kubectl import KINDS, text

CONFIG = KINDS["configmap"]


def config(name: str, **data: str) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})


def owners(kubectl: Any, space: str, name: str) -> dict[str, Any]:
    shown = json.loads(kubectl("get", "configmap", name, "-n", space, "-o", "json", "--show-managed-fields"))
    return {
        f"{entry['manager']} {entry['operation']}": entry["fieldsV1"] for entry in shown["metadata"]["managedFields"]
    }


def test_apply_on_the_server_side(served: Any, space: str) -> None:
    kubectl, apply = served.admin, ("apply", "--server-side", "-n", space, "-f", "-")
    assert "serverside-applied" in kubectl(*apply, stdin=config("c", a="1", b="1"))
    assert "managedFields" not in kubectl("get", "configmap", "c", "-n", space, "-o", "yaml")
    assert owners(kubectl, space, "c") == {"kubectl Apply": {"f:data": {"f:a": {}, "f:b": {}}}}

    refused = kubectl.run(*apply, "--field-manager=other", stdin=config("c", a="2"))
    assert refused.returncode == 1
    assert 'Apply failed with 1 conflict: conflict with "kubectl": .data.a' in refused.stderr
    kubectl(*apply, "--field-manager=other", "--force-conflicts", stdin=config("c", a="2"))
    kubectl(*apply, stdin=config("c", b="1"))
    assert owners(kubectl, space, "c") == {
        "kubectl Apply": {"f:data": {"f:b": {}}},
        "other Apply": {"f:data": {"f:a": {}}},
    }

    differing = kubectl.run("diff", "--server-side", "-n", space, "-f", "-", stdin=config("c", b="7"))
    assert differing.returncode == 1 and '+  b: "7"' in differing.stdout
    assert kubectl.run("diff", "--server-side", "-n", space, "-f", "-", stdin=config("c", b="1")).returncode == 0


def test_every_kind_is_applied_on_the_server_side(served: Any, space: str) -> None:
    kubectl = served.admin
    for kind in ("petset", "statefulset", "pod", "service", "secret", "persistentvolumeclaim"):
        manifest = text(KINDS[kind], ("metadata.name", f"ssa-{kind}"))
        apply = ("apply", "--server-side", "-n", space, "-f", "-")
        assert "serverside-applied" in kubectl(*apply, stdin=manifest), kind
        version = ("get", kind, f"ssa-{kind}", "-n", space, "-o", "jsonpath={.metadata.resourceVersion}")
        before = kubectl(*version)
        kubectl(*apply, stdin=manifest)
        assert kubectl(*version) == before, kind


def test_from_the_clients_side_to_the_servers(served: Any, space: str) -> None:
    kubectl, on = served.admin, ("-n", space, "-f", "-")
    kubectl("apply", *on, stdin=config("moved", a="1", b="1"))
    assert "kubectl-client-side-apply Update" in owners(kubectl, space, "moved")
    kubectl("apply", "--server-side", *on, stdin=config("moved", a="2"))
    shown = json.loads(kubectl("get", "configmap", "moved", "-n", space, "-o", "json"))
    assert shown["data"] == {"a": "2"}  # What was applied before and is no more has gone, too.
    assert list(owners(kubectl, space, "moved")) == ["kubectl Apply", "kubectl-last-applied Apply"]
    kubectl("apply", *on, stdin=config("moved", c="3"))
    assert json.loads(kubectl("get", "configmap", "moved", "-n", space, "-o", "json"))["data"] == {"c": "3"}


def test_what_was_applied_last(served: Any, space: str) -> None:
    kubectl = served.admin
    kubectl("apply", "-n", space, "-f", "-", stdin=config("last", a="1"))
    assert 'a: "1"' in kubectl("apply", "view-last-applied", "configmap/last", "-n", space)
    said = kubectl("apply", "set-last-applied", "-n", space, "-f", "-", stdin=config("last", a="2"))
    assert "configured" in said or "unchanged" in said
    assert 'a: "2"' in kubectl("apply", "view-last-applied", "configmap/last", "-n", space)
    kubectl.environment["KUBE_EDITOR"] = "sed -i s/2/3/"
    try:
        assert "edited" in kubectl("apply", "edit-last-applied", "configmap/last", "-n", space)
    finally:
        del kubectl.environment["KUBE_EDITOR"]
    assert 'a: "3"' in kubectl("apply", "view-last-applied", "configmap/last", "-n", space)
