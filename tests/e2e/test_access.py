"""Who may do what, from outside and from inside a pod; what listens, and who may read the files."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

from tests.e2e.leftovers import plan_of

IN_A_POD = r"""
set -e
dir=/var/run/secrets/kubernetes.io/serviceaccount
test -s $dir/token && test -s $dir/ca.crt && cat $dir/namespace && echo
echo $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT
"""


def test_files_are_private(cluster):
    for path in cluster.state.rglob("*"):
        if path.is_file() and ("pki" in path.parts or path.name in ("kubeconfig", "store.db")):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_nothing_listens_beyond_loopback_and_the_bridge(cluster):
    plan = plan_of(cluster.state)
    assert plan is not None
    allowed = {"127.0.0.1", plan.gateway, plan.cluster.kubernetes_address, plan.cluster.dns_address}
    for address in _listening(cluster.process):
        assert address in allowed, address


def _listening(process: int) -> set[str]:
    sockets = set()
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        try:
            target = os.readlink(descriptor)
        except OSError:
            continue
        if target.startswith("socket:["):
            sockets.add(target[8:-1])
    found = set()
    for table, listening in (("tcp", "0A"), ("udp", "07"), ("tcp6", "0A"), ("udp6", "07")):
        for line in Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in sockets and fields[3] == listening:
                raw = fields[1].split(":")[0]
                assert len(raw) == 8, f"an IPv6 socket listens: {line}"
                found.add(".".join(str(byte) for byte in reversed(bytes.fromhex(raw))))
    return found


def test_a_pod_gets_its_account_and_reads_the_api_as_far_as_its_rights_go(cluster, namespace):
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "main"},
        "spec": {"containers": [{"name": "main", "image": "redis", "command": ["sleep", "infinity"]}]},
    }
    pod["spec"]["containers"][0]["image"] = "debian:jessie"
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(pod))
    cluster.wait_ready("main", namespace=namespace)
    said = cluster.kubectl("exec", "-n", namespace, "main", "--", "sh", "-c", IN_A_POD).splitlines()
    assert said[0] == namespace
    host, port = said[1].split()
    service = cluster.kubectl.json("get", "service", "kubernetes")
    assert (host, int(port)) == (service["spec"]["clusterIP"], service["spec"]["ports"][0]["port"])


ASK_THE_API = """
import json, ssl, sys, urllib.error, urllib.request
url, token, ca = sys.argv[1:]
request = urllib.request.Request(url, headers={"Authorization": "Bearer " + token})
try:
    print(urllib.request.urlopen(request, context=ssl.create_default_context(cafile=ca), timeout=10).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


def test_a_pod_reads_the_api_with_its_token(cluster, namespace, tmp_path):
    """From the pod's own network, at the address in its environment, with the token and the CA mounted in it."""
    spec = {"containers": [{"name": "main", "image": "debian:jessie", "command": ["sleep", "infinity"]}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "main"}, "spec": spec}
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(pod))
    cluster.wait_ready("main", namespace=namespace)

    def read(file: str) -> str:
        path = f"/var/run/secrets/kubernetes.io/serviceaccount/{file}"
        return cluster.kubectl("exec", "-n", namespace, "main", "--", "cat", path)

    (tmp_path / "ca.crt").write_text(read("ca.crt"))
    service = cluster.kubectl.json("get", "service", "kubernetes")["spec"]["clusterIP"]
    uid = cluster.pod("main", namespace)["metadata"]["uid"]

    def ask(token: str) -> int:
        url = f"https://{service}:443/api/v1/namespaces/{namespace}/pods"
        inside = ["nsenter", f"--net={cluster.state}/pods/{uid}/sandbox/net", sys.executable, "-c", ASK_THE_API]
        done = subprocess.run(
            [*inside, url, token, str(tmp_path / "ca.crt")], capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    token = read("token")
    assert ask("") == 401
    assert ask(token[:-3] + "xxx") == 401
    assert ask(token) == 403
    cluster.kubectl(
        *("create", "rolebinding", "reader", "-n", namespace, "--clusterrole=view"),
        f"--serviceaccount={namespace}:default",
    )
    cluster.wait(lambda: ask(token) == 200, "the binding to count", 5)


def test_rbac_is_enforced(cluster, namespace):
    account = f"system:serviceaccount:{namespace}:default"
    assert cluster.kubectl.run("auth", "can-i", "list", "pods", "-n", namespace, "--as", account).stdout.strip() == "no"
    cluster.kubectl(
        "create",
        "rolebinding",
        "viewers",
        "-n",
        namespace,
        "--clusterrole=view",
        f"--serviceaccount={namespace}:default",
    )
    cluster.wait(
        lambda: (
            cluster.kubectl.run("auth", "can-i", "list", "pods", "-n", namespace, "--as", account).stdout.strip()
            == "yes"
        ),
        "the binding to count",
        5,
    )
    assert cluster.kubectl.run("get", "pods", "-n", namespace, "--as", account).returncode == 0
    refused = cluster.kubectl.run("delete", "pod", "any", "-n", namespace, "--as", account)
    assert refused.returncode == 1 and "forbidden" in refused.stderr.lower()


def test_without_credentials(cluster):
    server = cluster.kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
    anonymous = (
        "--kubeconfig",
        os.devnull,
        "--server",
        server,
        "--insecure-skip-tls-verify",
        "--username=x",
        "--password=y",
    )
    refused = cluster.kubectl.run(*anonymous, "get", "pods")
    assert refused.returncode == 1
    assert "logged in" in refused.stderr or "Unauthorized" in refused.stderr
