"""Helm's commands on a chart that has something of everything, in real containers; kubectl reads what came of them."""

from __future__ import annotations

import base64
import json

import pytest
import yaml

from tests.suites.helm.conftest import CHART

pytestmark = pytest.mark.suites


def _greeting(kubectl, helm, pet: str) -> str:
    return kubectl("exec", pet, "-n", helm.namespace, "--", "wget", "-qO-", "http://localhost:8080/")


def _revisions(helm, name: str = "web") -> list[tuple[int, str]]:
    return [(row["revision"], row["status"]) for row in helm.json("history", name)]


def test_install_returns_when_every_pet_is_ready(helm, kubectl):
    said = helm.install("web")
    assert f"web is open in {helm.namespace}, with 2 pets that say hello." in said

    pets = kubectl.json("get", "statefulset", "web", "-n", helm.namespace)
    assert pets["status"]["readyReplicas"] == 2
    config = kubectl.json("get", "configmap", "web", "-n", helm.namespace)
    assert config["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
    assert config["metadata"]["annotations"]["meta.helm.sh/release-name"] == "web"
    assert config["data"]["kubernetes"] == json.loads(kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"]
    assert config["data"]["pets"] == "true"
    assert _greeting(kubectl, helm, "web-0") == "hello from web, revision 1"


def test_a_crd_comes_before_its_objects_and_stays_after_them(helm, kubectl):
    helm.install("web", "--set", "replicas=0")
    toy = kubectl.json("get", "toy", "web", "-n", helm.namespace)
    assert toy["spec"] == {"colour": "red", "squeaks": True}
    account = f"system:serviceaccount:{helm.namespace}:web"
    assert kubectl("auth", "can-i", "get", "toys", "--as", account, "-n", helm.namespace).strip() == "yes"
    assert kubectl.run("auth", "can-i", "delete", "toys", "--as", account, "-n", helm.namespace).returncode == 1
    helm("uninstall", "web")
    assert kubectl("get", "toys", "-n", helm.namespace, "-o", "name") == ""
    assert kubectl("get", "crd", "toys.shop.example.com", "-o", "name")


def test_hooks_run_in_the_order_of_their_weights_before_the_chart(helm, kubectl):
    helm.install("web", "--set", "replicas=0")
    before = kubectl.json("get", "pod", "web-before", "-n", helm.namespace)
    assert before["status"]["phase"] == "Succeeded"
    assert kubectl("logs", "web-before", "-n", helm.namespace) == "it is ready\n"
    pets = kubectl.json("get", "statefulset", "web", "-n", helm.namespace)
    ended = before["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"]
    assert ended <= pets["metadata"]["creationTimestamp"]

    helm.upgrade("web")
    assert (
        kubectl.run("get", "pod", "web-before-upgrade", "-n", helm.namespace).returncode == 1
    )  # Deleted: it succeeded.


def test_a_hook_that_fails_stops_an_upgrade_before_anything_changes(helm, kubectl):
    helm.install("web", "--set", "replicas=0")
    done = helm.run("upgrade", "web", str(CHART), "--set", "replicas=0,greeting=bye,hooks.beforeUpgrade=3")
    assert done.returncode == 1 and "pre-upgrade hooks failed" in done.stderr
    assert _revisions(helm) == [(1, "deployed"), (2, "failed")]
    config = kubectl.json("get", "configmap", "web", "-n", helm.namespace)
    assert config["data"]["index.html"] == "hello from web, revision 1"


def test_upgrade_rolls_the_pets_and_lookup_keeps_what_was_made_once(helm, kubectl):
    helm.install("web")
    first = kubectl.json("get", "secret", "web", "-n", helm.namespace)["data"]["password"]
    helm.upgrade("web", "--set", "greeting=welcome", "--description", "friendlier")

    pets = kubectl.json("get", "statefulset", "web", "-n", helm.namespace)
    assert pets["status"]["updatedReplicas"] == 2 and pets["status"]["readyReplicas"] == 2
    assert _greeting(kubectl, helm, "web-1") == "welcome from web, revision 2"
    assert kubectl.json("get", "secret", "web", "-n", helm.namespace)["data"]["password"] == first
    told = kubectl("exec", "web-1", "-n", helm.namespace, "--", "sh", "-c", "echo $PASSWORD").strip()
    assert told == base64.b64decode(first).decode()
    assert _revisions(helm) == [(1, "superseded"), (2, "deployed")]
    assert helm.json("history", "web")[1]["description"] == "friendlier"


def test_rollback_brings_an_earlier_revision_back(helm, kubectl):
    helm.install("web")
    helm.upgrade("web", "--set", "greeting=welcome,replicas=1")
    helm("rollback", "web", "1", *helm.waiting())
    assert _revisions(helm) == [(1, "superseded"), (2, "superseded"), (3, "deployed")]
    assert _greeting(kubectl, helm, "web-1") == "hello from web, revision 1"
    assert helm.json("get", "values", "web") is None


def test_an_atomic_upgrade_that_does_not_get_ready_is_taken_back(helm, kubectl):
    helm.install("web")
    done = helm.run(
        "upgrade", "web", str(CHART), "--atomic", "--timeout", "8s", "--set", "greeting=welcome,healthy=false"
    )
    assert done.returncode == 1 and "rolled back due to atomic being set" in done.stderr
    assert _revisions(helm) == [(1, "superseded"), (2, "failed"), (3, "deployed")]
    kubectl("rollout", "status", "statefulset/web", "-n", helm.namespace, "--timeout=60s")
    assert _greeting(kubectl, helm, "web-0") == _greeting(kubectl, helm, "web-1") == "hello from web, revision 1"


def test_an_atomic_install_that_does_not_get_ready_leaves_nothing(helm, kubectl):
    done = helm.run(
        "install", "web", str(CHART), "--create-namespace", "--atomic", "--timeout", "5s", "--set", "healthy=false"
    )
    assert done.returncode == 1 and "uninstalled due to atomic being set" in done.stderr
    assert helm.json("list", "--all") == []
    assert kubectl("get", "statefulsets,toys,roles", "-n", helm.namespace, "-o", "name") == ""


def test_a_dry_run_asks_the_server_and_writes_nothing(helm, kubectl):
    kubectl("create", "namespace", helm.namespace)
    alone = helm("install", "web", str(CHART), "--dry-run=client")
    asked = helm("install", "web", str(CHART), "--dry-run=server")
    uid = kubectl.json("get", "namespace", "kube-system")["metadata"]["uid"]
    assert "nobody was asked" in alone and uid not in alone
    assert f'cluster: "{uid}"' in asked
    assert helm.json("list", "--all") == []
    assert kubectl("get", "statefulsets,secrets", "-n", helm.namespace, "-o", "name") == ""

    refused = helm.run("upgrade", "--install", "web", str(CHART), "--set", "toy.colour=green", "--set", "replicas=0")
    assert refused.returncode == 1 and "spec.colour" in refused.stderr


def test_get_and_status_tell_what_is_in_the_cluster(helm, kubectl):
    helm.install("web", "--set", "replicas=1")
    manifest = helm("get", "manifest", "web")
    assert kubectl.run("diff", "-n", helm.namespace, "-f", "-", stdin=manifest).returncode == 0
    kinds = {part["kind"] for part in yaml.safe_load_all(manifest) if part}
    assert kinds == {"ConfigMap", "Secret", "ServiceAccount", "Role", "RoleBinding", "Service", "StatefulSet", "Toy"}
    assert "web-before" in helm("get", "hooks", "web") and "is open in" in helm("get", "notes", "web")
    assert helm.json("get", "values", "web") == {"replicas": 1}
    assert helm.json("get", "values", "web", "--all")["greeting"] == "hello"
    assert helm.json("get", "metadata", "web")["status"] == "deployed"
    shown = helm("status", "web", "--show-resources")
    assert "v1/StatefulSet" in shown and "web-0" in shown
    [kept] = kubectl.json(
        "get",
        "secrets",
        "-n",
        helm.namespace,
        "--field-selector",
        "type=helm.sh/release.v1",
        "-l",
        "owner=helm,name=web",
    )["items"]
    assert kept["metadata"]["name"] == "sh.helm.release.v1.web.v1"


def test_list_finds_releases_of_every_namespace(helm, kubectl):
    helm.install("first", "--set", "replicas=0", "--labels", "team=toys")
    helm.install("second", "--set", "replicas=0")
    names = [row["name"] for row in helm.json("list")]
    assert names == ["first", "second"]
    everywhere = {(row["namespace"], row["name"]) for row in helm.json("list", "--all-namespaces")}
    assert {(helm.namespace, name) for name in names} <= everywhere
    assert [row["name"] for row in helm.json("list", "--selector", "team=toys")] == ["first"]


def test_test_visits_every_pet_by_its_name(helm, kubectl):
    helm.install("web")
    said = helm("test", "web", "--logs", "--timeout", "60s")
    assert "Phase:          Succeeded" in said
    assert said.count("hello from web, revision 1") == 2


def test_uninstall_takes_all_but_claims_and_runs_the_last_hook(helm, kubectl):
    helm.install("web")
    helm("uninstall", "web", *helm.waiting(), "--cascade", "foreground", "--keep-history")
    left = kubectl("get", "statefulsets,services,pods,secrets,roles,toys", "-n", helm.namespace, "-o", "name").split()
    assert left == ["pod/web-before", "secret/sh.helm.release.v1.web.v1"]  # A hook is no part of the release.
    assert kubectl.json("get", "configmap", "web-farewell", "-n", helm.namespace)["data"] == {"word": "goodbye"}
    claims = kubectl("get", "pvc", "-n", helm.namespace, "-o", "name").split()
    assert claims == [f"persistentvolumeclaim/data-web-{i}" for i in range(2)]
    assert _revisions(helm) == [(1, "uninstalled")]


def test_what_is_there_already_is_taken_only_when_asked(helm, kubectl):
    kubectl("create", "namespace", helm.namespace)
    kubectl("create", "configmap", "web", "-n", helm.namespace)
    done = helm.run("install", "web", str(CHART), "--set", "replicas=0")
    assert done.returncode == 1 and "invalid ownership metadata" in done.stderr
    helm.install("web", "--set", "replicas=0", "--take-ownership")
    assert "index.html" in kubectl.json("get", "configmap", "web", "-n", helm.namespace)["data"]


def test_whoever_may_not_write_is_told_so(helm, kubectl):
    kubectl("create", "namespace", helm.namespace)
    account = f"system:serviceaccount:{helm.namespace}:default"
    done = helm.run("install", "web", str(CHART), "--kube-as-user", account)
    assert done.returncode == 1 and "forbidden" in done.stderr and account in done.stderr


def test_releases_are_kept_in_configmaps_as_well(helm, kubectl):
    helm("install", "web", str(CHART), "--create-namespace", "--set", "replicas=0", HELM_DRIVER="configmap")
    helm("upgrade", "web", str(CHART), "--set", "replicas=0,greeting=welcome", HELM_DRIVER="configmap")
    kept = kubectl("get", "configmaps", "-n", helm.namespace, "-l", "owner=helm", "-o", "name").split()
    assert kept == [f"configmap/sh.helm.release.v1.web.v{i}" for i in (1, 2)]
    assert helm.json("list", "--all") == []  # The secrets are another place.


def test_the_chart_that_helm_creates_is_installed_measured_and_tested(helm, kubectl, tmp_path):
    """With its autoscaler, which follows what the pod uses, and its Ingress, which is kept."""
    chart = tmp_path / "stock"
    helm("create", str(chart))
    values = "image.tag=stable,autoscaling.enabled=true,ingress.enabled=true,resources.requests.cpu=50m"
    helm("install", "web", str(chart), "--create-namespace", *helm.waiting(), "--set", values)
    kinds = "deployments,services,serviceaccounts,horizontalpodautoscalers,ingresses"
    found = kubectl("get", kinds, "-n", helm.namespace, "-l", "app.kubernetes.io/instance=web", "-o", "name").split()
    assert sorted(name.partition("/")[0] for name in found) == [
        "deployment.apps",
        "horizontalpodautoscaler.autoscaling",
        "ingress.networking.k8s.io",
        "service",
        "serviceaccount",
    ]
    active = "condition=ScalingActive"
    kubectl("wait", "hpa/web-stock", "-n", helm.namespace, "--for", active, "--timeout=60s")
    scaler = kubectl.json("get", "hpa", "web-stock", "-n", helm.namespace)
    assert scaler["status"]["currentMetrics"][0]["resource"]["current"]["averageUtilization"] < 80
    assert scaler["status"]["currentReplicas"] == 1
    # The test's pod has the labels that the autoscaler chooses by, and requests nothing: from here on it knows nothing.
    assert "Phase:          Succeeded" in helm("test", "web", "--timeout", "60s")
    helm("upgrade", "web", str(chart), "--reuse-values", *helm.waiting(), "--set", "autoscaling.minReplicas=2")
    kubectl("wait", "deployment/web-stock", "-n", helm.namespace, "--for=jsonpath={.status.readyReplicas}=2")
    helm("uninstall", "web", *helm.waiting())
    assert kubectl("get", kinds, "-n", helm.namespace, "-l", "app.kubernetes.io/instance=web", "-o", "name") == ""
