"""Every command of kubectl has its row in docs/compatibility.md; those that no other test is about are tried here."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

COMPATIBILITY = Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"
WITHIN = ("create", "set", "rollout", "auth", "certificate", "top")  # Have commands of their own.
ASK_NO_SERVER = ("completion", "config", "plugin", "options", "help", "kuberc", "alpha")


def said(kubectl, *words: str) -> set[str]:
    """The commands that kubectl's help lists."""
    found: set[str] = set()
    for part in re.findall(r"Commands[^\n]*:\n((?:  \S.*\n)+)", kubectl(*words, "--help")):
        found |= {line.split()[0] for line in part.splitlines()}
    return found


def rows() -> set[str]:
    section = COMPATIBILITY.read_text().partition("# kubectl, command by command\n")[2].partition("\n# ")[0]
    commands = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {name for text in commands for name in re.findall(r"`([a-z -]+)`", text)}


def test_every_command_has_a_row(served):
    kubectl = served.admin
    commands = said(kubectl) - set(ASK_NO_SERVER)
    commands |= {f"{name} {own}" for name in WITHIN if name in commands for own in said(kubectl, name)}
    assert len(commands) > 60
    missing = commands - set(WITHIN) - rows()
    assert not missing, f"docs/compatibility.md says nothing of {sorted(missing)}"


def test_what_create_makes(served, space):
    kubectl = served.admin
    for words in (
        ("clusterrole", f"{space}-r", "--verb=get", "--resource=pods"),
        ("clusterrolebinding", f"{space}-b", f"--clusterrole={space}-r", "--user=jane"),
        ("cronjob", "c", "--image=i", "--schedule=*/5 * * * *"),
        ("deployment", "d", "--image=i", "--replicas=2", "--port=80"),
        ("ingress", "i", "--rule=a.example/b=c:80"),
        ("job", "j", "--image=i"),
        ("job", "from", "--from=cronjob/c"),
        ("poddisruptionbudget", "p", "--selector=a=b", "--min-available=50%"),
        ("priorityclass", f"{space[:40]}-p", "--value=7"),
        ("quota", "q", "--hard=pods=5"),
        ("role", "r", "--verb=get", "--resource=pods"),
        ("rolebinding", "b", "--role=r", "--user=jane"),
        ("secret", "generic", "g", "--from-literal=a=b"),
        ("secret", "docker-registry", "r", "--docker-server=s", "--docker-username=u", "--docker-password=p"),
        ("service", "externalname", "e", "--external-name=a.example"),
        ("serviceaccount", "s"),
    ):
        assert "created" in kubectl("create", *words, "-n", space), words
        kind, name = words[0], words[2] if words[0] in ("secret", "service") else words[1]
        assert name in kubectl("describe", kind, name, "-n", space), words
    job = json.loads(kubectl("get", "job", "from", "-n", space, "-o", "json"))
    assert job["metadata"]["ownerReferences"][0]["kind"] == "CronJob"


def test_run_expose_and_autoscale(served, space):
    kubectl = served.admin
    kubectl("run", "p", "--image=i", "--labels=app=p", "--port=80", "--env=A=b", "-n", space)
    assert "exposed" in kubectl("expose", "pod", "p", "--cluster-ip=None", "-n", space)
    service = json.loads(kubectl("get", "service", "p", "-n", space, "-o", "json"))
    assert (service["spec"]["selector"], service["spec"]["ports"][0]["port"]) == ({"app": "p"}, 80)
    kubectl("create", "deployment", "d", "--image=i", "-n", space)
    assert "autoscaled" in kubectl(
        "autoscale", "deployment", "d", "--max=5", "--min=2", "--cpu-percent=50", "-n", space
    )
    assert "Deployment/d" in kubectl("get", "hpa", "-n", space)
    assert "Metrics:" in kubectl("describe", "hpa", "d", "-n", space)


def test_set_changes_a_template(served, space):
    kubectl = served.admin

    def template(*path: str) -> str:
        return kubectl(
            "get", "deployment", "d", "-n", space, "-o", f"jsonpath={{.spec.template.spec.{'.'.join(path)}}}"
        )

    kubectl("create", "deployment", "d", "--image=i", "-n", space)
    kubectl("set", "env", "deployment/d", "A=b", "-n", space)
    assert template("containers[0]", "env[0]", "value") == "b"
    assert "A=b" in kubectl("set", "env", "deployment/d", "--list", "-n", space)
    kubectl("set", "image", "deployment/d", "i=other", "-n", space)
    assert template("containers[0]", "image") == "other"
    kubectl("set", "resources", "deployment/d", "--limits=cpu=1", "-n", space)
    assert template("containers[0]", "resources", "limits", "cpu") == "1"
    kubectl("set", "serviceaccount", "deployment/d", "robot", "-n", space)
    assert template("serviceAccountName") == "robot"
    kubectl("create", "service", "clusterip", "s", "--clusterip=None", "-n", space)
    kubectl("set", "selector", "service", "s", "a=b", "-n", space)
    assert kubectl("get", "service", "s", "-n", space, "-o", "jsonpath={.spec.selector}") == '{"a":"b"}'
    kubectl("create", "rolebinding", "b", "--clusterrole=view", "--user=jane", "-n", space)
    kubectl("set", "subject", "rolebinding", "b", "--group=developers", "-n", space)
    assert kubectl("get", "rolebinding", "b", "-n", space, "-o", "jsonpath={.subjects[*].name}") == "jane developers"


def test_rollouts(served, space):
    """What stands in the API alone: revisions are made by the controller of each kind."""
    kubectl = served.admin
    kubectl("create", "deployment", "d", "--image=i", "-n", space)
    assert "paused" in kubectl("rollout", "pause", "deployment/d", "-n", space)
    assert kubectl("get", "deployment", "d", "-n", space, "-o", "jsonpath={.spec.paused}") == "true"
    assert "resumed" in kubectl("rollout", "resume", "deployment/d", "-n", space)
    assert "No rollout history found" in kubectl("rollout", "history", "deployment/d", "-n", space)
    undone = kubectl.run("rollout", "undo", "deployment/d", "-n", space)
    assert undone.returncode == 1 and "no rollout history found" in undone.stderr


def test_nodes(served, space):
    kubectl = served.admin
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": space[:40]}}
    kubectl("create", "-f", "-", stdin=json.dumps(node))
    assert "tainted" in kubectl("taint", "node", space[:40], "a=b:NoSchedule")
    assert "a=b:NoSchedule" in kubectl("describe", "node", space[:40])
    assert "untainted" in kubectl("taint", "node", space[:40], "a:NoSchedule-")
    kubectl("cordon", space[:40])
    assert "uncordoned" in kubectl("uncordon", space[:40])


def test_label_annotate_replace_and_patch(served, space):
    kubectl = served.admin
    kubectl("create", "configmap", "c", "-n", space, "--from-literal=a=b")
    assert "labeled" in kubectl("label", "cm", "c", "x=y", "-n", space)
    refused = kubectl.run("label", "cm", "c", "x=z", "-n", space)
    assert refused.returncode == 1 and "overwrite" in refused.stderr
    assert "annotated" in kubectl("annotate", "cm", "c", "x=y", "-n", space)
    assert "patched" in kubectl("patch", "cm", "c", "-p", '{"data":{"a":"c"}}', "-n", space)
    uid = kubectl("get", "cm", "c", "-n", space, "-o", "jsonpath={.metadata.uid}")
    shown = kubectl("get", "cm", "c", "-n", space, "-o", "json")
    assert "replaced" in kubectl("replace", "--force", "-n", space, "-f", "-", stdin=shown)
    assert kubectl("get", "cm", "c", "-n", space, "-o", "jsonpath={.metadata.uid}") != uid


def test_a_kustomization(served, space, tmp_path):
    kubectl = served.admin
    (tmp_path / "kustomization.yaml").write_text(
        f"namespace: {space}\nnamePrefix: my-\nconfigMapGenerator:\n- name: c\n  literals: [a=b]\n"
    )
    assert "kind: ConfigMap" in kubectl("kustomize", str(tmp_path))
    assert "created" in kubectl("apply", "-k", str(tmp_path))
    assert "my-c-" in kubectl("get", "cm", "-n", space, "-o", "name")
    assert "deleted" in kubectl("delete", "-k", str(tmp_path))


def test_rules_are_reconciled(served, space):
    kubectl = served.admin
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r", "namespace": space}}
    kubectl("auth", "reconcile", "-f", "-", stdin=json.dumps({**role, "rules": rules}))
    more = [{**rules[0], "verbs": ["list"]}]
    kubectl("auth", "reconcile", "-f", "-", stdin=json.dumps({**role, "rules": more}))
    assert kubectl("get", "role", "r", "-n", space, "-o", "jsonpath={.rules[*].verbs[*]}") == "get list"


def test_how_its_parts_are(served):
    lines = served.admin("get", "componentstatuses").splitlines()
    assert lines[0].split() == ["NAME", "STATUS", "MESSAGE", "ERROR"]
    found = {line.split()[0]: line.split()[1] for line in lines[1:]}
    assert sorted(found) == ["controller-manager", "etcd-0", "scheduler"] and found["etcd-0"] == "Healthy"


def test_about_the_cluster(served, space, tmp_path):
    kubectl = served.admin
    assert "Kubernetes control plane" in kubectl("cluster-info")
    kubectl("cluster-info", "dump", "--namespaces", space, "--output-directory", str(tmp_path))
    assert (tmp_path / "nodes.json").exists() and (tmp_path / space / "pods.json").exists()
    assert "petset" in kubectl("version")
    assert "No events found" in kubectl.run("events", "-n", space).stderr
    assert "configmaps" in kubectl("api-resources") and "apps/v1alpha1" in kubectl("api-versions")


@pytest.mark.parametrize(("what", "said"), [("node", "metrics not available yet"), ("pod", "No resources found")])
def test_top_says_what_it_finds_where_no_node_is_up(served, space, what, said):
    """With one: tests/e2e/test_simulated.py."""
    assert said in served.admin.run("top", what, "-n", space).stderr
