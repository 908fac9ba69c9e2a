"""Fields of a pod with real containers: how it is called, when its containers begin again, what its node refuses."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests import signing
from tests.e2e.test_containers import BASE, create, execute, manifest


@pytest.fixture(scope="module")
def manifests(tmp_path_factory) -> Path:
    """The directory of the instance's static pods."""
    return tmp_path_factory.mktemp("manifests")


@pytest.fixture(scope="module")
def cluster(make_cluster, manifests):
    cluster = make_cluster()
    cluster.up("--manifests", str(manifests))
    return cluster


def changed(text: str, container: dict[str, Any] | None = None, **spec: Any) -> str:
    """A manifest with more in its spec, and in that of its first container."""
    pod = json.loads(text)
    pod["spec"].update(spec)
    pod["spec"]["containers"][0].update(container or {})
    return json.dumps(pod)


def refused(cluster, namespace: str, name: str) -> tuple[str, str]:
    status = cluster.wait(
        lambda: (found := cluster.pod(name, namespace)["status"])["phase"] == "Failed" and found, f"{name} to fail"
    )
    return status["reason"], status["message"]


def test_names_signals_and_refusals(cluster, namespace):
    cluster.kubectl("create", "service", "clusterip", "web", "--clusterip=None", "--tcp=80", "-n", namespace)
    stop = "trap 'echo usr1 >/proc/1/fd/1; exit 0' USR1; while :; do sleep 0.1; done"
    named = changed(
        manifest("main", "sh", "-c", stop, grace=20, lifecycle={"stopSignal": "SIGUSR1"}),
        hostname="db",
        subdomain="web",
        setHostnameAsFQDN=True,
        os={"name": "linux"},
        securityContext={
            "seLinuxOptions": {"level": "s0"},
            "runAsUser": 1234,
            "sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}],
        },
    )
    create(cluster, namespace, named)
    unsafe = {"sysctls": [{"name": "net.core.somaxconn", "value": "9"}]}
    create(cluster, namespace, changed(manifest("unsafe", "true"), securityContext=unsafe))
    confined = {"appArmorProfile": {"type": "RuntimeDefault"}}
    create(cluster, namespace, changed(manifest("confined", "true"), securityContext=confined))
    cluster.wait_ready("main", namespace=namespace)
    assert execute(cluster, namespace, "hostname").strip() == f"db.web.{namespace}.svc.cluster.local"
    (status,) = cluster.pod("main", namespace)["status"]["containerStatuses"]
    assert status["user"] == {"linux": {"uid": 1234, "gid": 0, "supplementalGroups": [0]}}
    assert status["stopSignal"] == "SIGUSR1"
    assert refused(cluster, namespace, "unsafe") == (
        "SysctlForbidden",
        'forbidden sysctl: "net.core.somaxconn" not allowlisted',
    )
    assert refused(cluster, namespace, "confined")[0] == "AppArmor"
    said = cluster.kubectl("events", "-n", namespace, "--for=pod/main")
    assert "SELinuxNotApplied" in said
    cluster.kubectl("delete", "pod", "main", "-n", namespace, "--timeout=10s")


def test_an_exit_code_has_all_containers_started_anew(cluster, namespace):
    count = "echo x >>/v/{0}; test $(wc -l </v/{0}) -gt 1"
    rules = [{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}]
    mounts = [{"name": "v", "mountPath": "/v"}]
    main = f"{count.format('main')} || {{ sleep 0.5; exit 42; }}; sleep infinity"
    pod = changed(
        manifest("p", "sh", "-c", main, restart="Never", restartPolicyRules=rules, volumeMounts=mounts),
        container={"restartPolicy": "Never"},
        volumes=[{"name": "v", "emptyDir": {}}],
        initContainers=[
            {"name": "init", "image": BASE, "command": ["sh", "-c", "echo x >>/v/init"], "volumeMounts": mounts}
        ],
    )
    whole = json.loads(pod)
    beside = {"name": "beside", "image": BASE, "command": ["sleep", "infinity"], "volumeMounts": mounts}
    whole["spec"]["containers"].append(beside)
    create(cluster, namespace, json.dumps(whole))

    def again() -> bool:
        status = cluster.pod("p", namespace)["status"]
        counts = [one["restartCount"] for one in status["initContainerStatuses"] + status["containerStatuses"]]
        return counts == [1, 1, 1] and all("running" in one["state"] for one in status["containerStatuses"])

    cluster.wait(again, "all to have begun again")
    said = cluster.kubectl("exec", "p", "-c", "beside", "-n", namespace, "--", "cat", "/v/init", "/v/main")
    assert said.split() == ["x"] * 4
    conditions = {one["type"]: one["status"] for one in cluster.pod("p", namespace)["status"]["conditions"]}
    assert conditions["AllContainersRestarting"] == "False"


def test_a_pod_is_resized_while_it_runs(cluster, namespace):
    """Memory restarts the container as its policy says; a node that has not so much says Infeasible."""
    policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
    amounts = {"cpu": "100m", "memory": "64Mi"}
    sized = {"resources": {"requests": amounts, "limits": amounts}, "resizePolicy": policy}
    create(cluster, namespace, manifest("main", "sleep", "infinity", **sized))
    cluster.wait_ready("main", namespace=namespace)

    def resize(**amounts: str) -> None:
        container = {"name": "main", "resources": {"requests": amounts, "limits": amounts}}
        patch = json.dumps({"spec": {"containers": [container]}})
        cluster.kubectl("patch", "pod", "main", "--subresource=resize", "-p", patch, "-n", namespace)

    def has(restarts: int, **amounts: str) -> bool:
        (status,) = cluster.pod("main", namespace)["status"]["containerStatuses"]
        is_so = status["resources"]["limits"] == amounts and status["allocatedResources"] == amounts
        return is_so and "running" in status["state"] and status["restartCount"] == restarts

    def condition(type_: str) -> dict | None:
        found = cluster.pod("main", namespace)["status"]["conditions"]
        return next((one for one in found if one["type"] == type_), None)

    resize(cpu="300m")
    cluster.wait(lambda: has(0, cpu="300m", memory="64Mi"), "more of a CPU")
    file = "cat /sys/fs/cgroup/cpu.max 2>/dev/null || cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us"
    assert execute(cluster, namespace, "sh", "-c", file).split()[0] == "30000"
    resize(memory="80Mi")
    cluster.wait(lambda: has(1, cpu="300m", memory="80Mi"), "more memory")
    cluster.wait(lambda: condition("PodResizeInProgress") is None, "the end of the resize")
    resize(cpu="1000")
    pending = cluster.wait(lambda: condition("PodResizePending"), "the refusal")
    assert pending["reason"] == "Infeasible" and "requested: 1000000" in pending["message"]
    resize(cpu="200m")
    cluster.wait(lambda: has(1, cpu="200m", memory="80Mi") and condition("PodResizePending") is None, "the new amount")
    said = cluster.kubectl("events", "-n", namespace, "--for=pod/main")
    assert "ResizeStarted" in said and "ResizeCompleted" in said and "ResizeInfeasible" in said


def test_volumes_of_many_kinds(cluster, namespace):
    """An image read only, one of its directories; variables of a file; a claim that comes and goes with its pod."""
    variables = "printf \"A='one'\\nB='two\\nlines'\\n\" >/config/env"
    mounts = [
        {"name": "tools", "mountPath": "/tools"},
        {"name": "tools", "mountPath": "/etc-of-image", "subPath": "etc"},
        {"name": "config", "mountPath": "/config", "bindMountOptions": ["noexec"]},
        {"name": "scratch", "mountPath": "/scratch"},
    ]
    of_file = {"volumeName": "config", "path": "env"}
    env = [
        {"name": "B", "valueFrom": {"fileKeyRef": {**of_file, "key": "B"}}},
        {"name": "C", "valueFrom": {"fileKeyRef": {**of_file, "key": "C", "optional": True}}},
    ]
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Mi"}},
        "storageClassName": "standard",
    }
    config = [{"name": "config", "mountPath": "/config"}]
    pod = changed(
        manifest("main", "sleep", "infinity", volumeMounts=mounts, env=env),
        initContainers=[
            {"name": "init", "image": BASE, "command": ["sh", "-c", variables], "volumeMounts": config},
        ],
        volumes=[
            {"name": "tools", "image": {"reference": BASE, "pullPolicy": "IfNotPresent"}},
            {"name": "config", "emptyDir": {"mode": 0o750}},
            {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": claim}}},
        ],
    )
    create(cluster, namespace, pod)
    missing = changed(
        manifest("missing", "true", volumeMounts=[{"name": "i", "mountPath": "/i"}]),
        volumes=[{"name": "i", "image": {"reference": "nowhere.invalid/none:1", "pullPolicy": "Never"}}],
    )
    create(cluster, namespace, missing)
    trusting = changed(
        manifest("trusting", "true", volumeMounts=[{"name": "i", "mountPath": "/i"}]),
        volumes=[{"name": "i", "projected": {"sources": [{"clusterTrustBundle": {"name": "trusted", "path": "ca"}}]}}],
    )
    create(cluster, namespace, trusting)
    cluster.wait_ready("main", namespace=namespace)
    look = 'ls -d /tools/bin; ls /etc-of-image/passwd; touch /tools/x 2>&1; echo "$B-$C"; stat -c %a /config'
    said = execute(cluster, namespace, "sh", "-c", look)
    assert said.splitlines()[:2] == ["/tools/bin", "/etc-of-image/passwd"] and "Read-only" in said
    assert said.splitlines()[-3:] == ["two", "lines-", "750"]
    run = "cp /bin/true /config/t; /config/t 2>&1 || echo refused"
    assert "refused" in execute(cluster, namespace, "sh", "-c", run)
    found = cluster.kubectl.json("get", "pvc", "main-scratch", "-n", namespace)
    assert found["metadata"]["ownerReferences"][0]["name"] == "main"

    def waits() -> str:
        (status,) = cluster.pod("missing", namespace)["status"]["containerStatuses"]
        return status["state"]["waiting"]["reason"]

    cluster.wait(lambda: waits() == "ErrImageNeverPull", "the reason")
    said = "cannot project ClusterTrustBundle trusted"
    cluster.wait(lambda: said in cluster.kubectl("events", "-n", namespace, "--for=pod/trusting"), "what is told")
    bundle = {"kind": "ClusterTrustBundle", "spec": {"trustBundle": signing.authority_pem("x")}}
    bundle |= {"apiVersion": "certificates.k8s.io/v1", "metadata": {"name": "trusted"}}
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(bundle))
    cluster.wait(lambda: cluster.pod("trusting", namespace)["status"]["phase"] != "Pending", "it to have its file")
    cluster.kubectl("delete", "pod", "main", "-n", namespace)
    gone = ("get", "pvc", "main-scratch", "-n", namespace, "--ignore-not-found")
    cluster.wait(lambda: not cluster.kubectl(*gone).strip(), "the claim to be gone")


def test_a_pod_gets_a_certificate_of_its_own(cluster, namespace):
    source = {"signerName": "example.com/signer", "keyType": "ECDSAP256", "credentialBundlePath": "bundle.pem"}
    pod = changed(
        manifest("main", "sleep", "1000", volumeMounts=[{"name": "i", "mountPath": "/i"}]),
        volumes=[{"name": "i", "projected": {"sources": [{"podCertificate": source}]}}],
    )
    create(cluster, namespace, pod)
    requests = ("get", "podcertificaterequests", "-n", namespace)
    (request,) = cluster.wait(lambda: cluster.kubectl.json(*requests)["items"], "the request")
    assert request["spec"]["podName"] == "main" and request["spec"]["maxExpirationSeconds"] == 86400
    assert cluster.pod("main", namespace)["status"]["phase"] == "Pending"
    status = signing.issued_status(request, time.time())
    patch = ("patch", "podcertificaterequest", request["metadata"]["name"], "-n", namespace, "--subresource=status")
    cluster.kubectl(*patch, "--type=merge", "-p", json.dumps({"status": status}))
    cluster.wait_ready("main", namespace=namespace)
    bundle = execute(cluster, namespace, "cat", "/i/bundle.pem")
    assert bundle.startswith("-----BEGIN PRIVATE KEY-----") and status["certificateChain"].strip() in bundle


def test_static_pods_follow_their_files(cluster, manifests):
    (node,) = cluster.kubectl.json("get", "nodes")["items"]
    own = node["metadata"]["name"]
    name = f"static-{own}"
    (manifests / ".new").write_text(manifest("static", "sleep", "infinity"))
    (manifests / ".new").rename(manifests / "static.yaml")
    cluster.wait_ready(name)
    pod = cluster.pod(name)
    assert pod["metadata"]["annotations"]["kubernetes.io/config.mirror"]
    assert [one["name"] for one in pod["metadata"]["ownerReferences"]] == [own]
    cluster.kubectl("delete", "pod", name, "--timeout=30s")
    cluster.wait(lambda: cluster.pod(name)["metadata"]["uid"] != pod["metadata"]["uid"], "another one")
    cluster.wait_ready(name)
    (manifests / "static.yaml").write_text(manifest("static", "sleep", "1000"))
    cluster.wait(lambda: cluster.pod(name)["spec"]["containers"][0]["command"][1] == "1000", "the new command")
    cluster.wait_ready(name)
    (manifests / "other.yaml").write_text("kind: Nothing")
    told = ("get", "events", "-A", "-o", "jsonpath={.items[*].message}", "--field-selector=reason=InvalidStaticPod")
    cluster.wait(lambda: "it is no Pod of v1" in cluster.kubectl(*told), "what is told of the file")
    (manifests / "static.yaml").unlink()
    cluster.wait(lambda: not cluster.kubectl("get", "pods", "--ignore-not-found", name).strip(), "it to be gone")
