"""The post's nginx set, byte for byte: names, order, volumes, scaling, and data that outlives its pets."""

from __future__ import annotations

import re
import subprocess
import urllib.request
from pathlib import Path

import pytest

MANIFESTS = Path(__file__).parent / "manifests"
NGINX = str(MANIFESTS / "nginx.yaml")


@pytest.fixture(scope="module")
def web(cluster):
    """The set, created as the post does, both pets ready."""
    said = cluster.kubectl("create", "-f", NGINX)
    assert said == "service/nginx created\npetset.apps/web created\n"
    cluster.wait_ready("web-0", "web-1")
    return cluster


def test_the_table_is_that_of_petsets(web):
    header, row = web.kubectl("get", "petset").splitlines()
    assert header.split() == ["NAME", "DESIRED", "CURRENT", "AGE"]
    assert row.split()[:3] == ["web", "2", "2"]


def test_pods_have_their_identity(web):
    for ordinal in (0, 1):
        name = f"web-{ordinal}"
        assert web.exec(name, "hostname").strip() == name
        assert web.exec(name, "hostname", "-f").strip() == f"{name}.nginx.default.svc.cluster.local"
        assert web.pod(name)["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == str(ordinal)


def test_names_resolve_from_inside_any_pod(web):
    addresses = {name: web.pod(name)["status"]["podIP"] for name in ("web-0", "web-1")}
    for asker in addresses:
        for name, address in addresses.items():
            said = web.exec(asker, "getent", "ahostsv4", f"{name}.nginx")
            assert said.split()[0] == address
        everyone = web.exec(asker, "getent", "ahostsv4", "nginx")
        assert {line.split()[0] for line in everyone.splitlines()} == set(addresses.values())


def test_pages_are_read_through_the_api(web):
    web.exec("web-1", "sh", "-c", "echo hello from web-1 > /usr/share/nginx/html/hello.txt")
    pods, services = "/api/v1/namespaces/default/pods", "/api/v1/namespaces/default/services"
    assert web.kubectl("get", "--raw", f"{pods}/web-1/proxy/hello.txt") == "hello from web-1\n"
    assert web.kubectl("get", "--raw", f"{pods}/http:web-1:80/proxy/hello.txt") == "hello from web-1\n"
    absent = web.kubectl.run("get", "--raw", f"{services}/nginx:web/proxy/absent")
    assert absent.returncode == 1 and "the server could not find the requested resource" in absent.stderr
    proxy = web.kubectl.start("proxy", "--port=0")
    try:
        port = int(re.search(r":(\d+)$", proxy.stdout.readline().strip())[1])
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{pods}/web-1/proxy/hello.txt", timeout=20) as answer:
            assert answer.read() == b"hello from web-1\n" and answer.headers["content-type"] == "text/plain"
    finally:
        proxy.terminate()
        proxy.communicate(timeout=20)


def test_claims_are_bound_to_hostpath_volumes(web):
    claim = web.kubectl.json("get", "pvc", "www-web-0")
    assert claim["status"]["phase"] == "Bound"
    assert claim["status"]["capacity"] == {"storage": "1Gi"}
    assert claim["status"]["accessModes"] == ["ReadWriteOnce"]
    volume = web.kubectl.json("get", "pv", claim["spec"]["volumeName"])
    assert volume["spec"]["hostPath"]["path"].startswith(str(web.state))
    assert volume["metadata"]["annotations"]["kubernetes.io/createdby"] == "hostpath-dynamic-provisioner"
    assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"


def test_order_was_kept(web):
    events = web.kubectl.json("get", "events", "--field-selector", "involvedObject.name=web")["items"]
    messages = [event["message"] for event in events if event["reason"] == "SuccessfulCreate"]
    assert "pet: web-0" in messages and "pet: web-1" in messages
    ready = {
        condition["type"]: condition["lastTransitionTime"] for condition in web.pod("web-0")["status"]["conditions"]
    }["Ready"]
    assert ready <= web.pod("web-1")["metadata"]["creationTimestamp"]


def test_a_page_is_served_by_its_name_and_survives_its_pet(web):
    web.exec("web-0", "sh", "-c", "echo page of web-0 > /usr/share/nginx/html/index.html")
    ask = ("sh", "-c", "exec 3<>/dev/tcp/web-0.nginx/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3")
    ask = ("bash", *ask[1:])
    assert "page of web-0" in web.exec("web-1", *ask)
    before = web.pod("web-0")["metadata"]["uid"]
    web.kubectl("delete", "pod", "web-0")
    web.wait(lambda: web.pod("web-0")["metadata"]["uid"] != before and web.is_ready("web-0"), "a new web-0")
    assert "page of web-0" in web.exec("web-1", *ask)


def test_describe_reads_as_people_expect(web):
    said = web.kubectl("describe", "petset", "web")
    for part in ("Name:", "web", "Replicas", "SuccessfulCreate", "pet: web-0"):
        assert part in said
    said = web.kubectl("describe", "pvc", "www-web-0")
    for part in (
        "Status:        Bound",
        "Capacity:      1Gi",
        "Access Modes:  RWO",
        "ProvisioningSucceeded",
        "Used By:       web-0",
    ):
        assert part in said, said


def test_scaling_down_keeps_the_claim_and_up_finds_it_again(web):
    volume = web.kubectl.json("get", "pvc", "www-web-1")["spec"]["volumeName"]
    web.exec("web-1", "sh", "-c", "echo kept > /usr/share/nginx/html/kept")
    assert web.kubectl("scale", "petset", "web", "--replicas=1") == "petset.apps/web scaled\n"
    web.wait(lambda: web.kubectl.run("get", "pod", "web-1").returncode != 0, "web-1 to go")
    assert web.kubectl.json("get", "pvc", "www-web-1")["spec"]["volumeName"] == volume
    web.kubectl("scale", "petset", "web", "--replicas=2")
    web.wait_ready("web-1")
    assert web.exec("web-1", "cat", "/usr/share/nginx/html/kept").strip() == "kept"


def test_logs_exec_and_previous(web):
    assert web.kubectl("logs", "web-0", "-c", "nginx") is not None
    web.exec("web-0", "sh", "-c", "echo to the log > /proc/1/fd/1")
    web.wait(lambda: "to the log" in web.kubectl("logs", "web-0"), "the line in the log")
    follower = web.kubectl.start("logs", "-f", "web-0")
    try:
        web.exec("web-0", "sh", "-c", "echo followed > /proc/1/fd/1")
        for line in follower.stdout:
            if "followed" in line:
                break
    finally:
        follower.kill()
        follower.wait()
    failed = web.kubectl.run("exec", "web-0", "--", "sh", "-c", "exit 7")
    assert failed.returncode == 7
    assert web.exec("web-0", "cat", stdin="through standard input") == "through standard input"


def test_exec_with_a_terminal(web):
    """script(1) gives kubectl a terminal, so that -it is what a person would use."""
    command = f"{web.kubectl.path} exec -it web-0 -- sh -c 'tty && stty size'"
    done = subprocess.run(
        ["script", "-qec", command, "/dev/null"],
        env=web.kubectl.environment,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert "/dev/pts/" in done.stdout


def test_watch_shows_changes(web):
    watcher = web.kubectl.start("get", "pods", "-w", "-l", "app=nginx")
    try:
        seen = [watcher.stdout.readline() for _ in range(3)]  # What there is: only then does it watch.
        web.kubectl("label", "pod", "web-0", "seen=yes", "--overwrite")
        seen.append(watcher.stdout.readline())
    finally:
        watcher.kill()
        watcher.wait()
    assert seen[0].split()[0] == "NAME" and seen[-1].split()[0] == "web-0"


def test_data_survives_the_set(web):
    """Last: it takes the set away and creates it again, orphaning its pets first."""
    uid = web.pod("web-0")["metadata"]["uid"]
    web.kubectl("delete", "petset", "web", "--cascade=orphan")
    assert web.pod("web-0")["metadata"]["uid"] == uid and "ownerReferences" not in web.pod("web-0")["metadata"]
    web.kubectl("delete", "service", "nginx")
    web.kubectl("create", "-f", NGINX)
    web.wait(lambda: web.pod("web-0")["metadata"].get("ownerReferences"), "web-0 to be adopted")
    assert web.pod("web-0")["metadata"]["uid"] == uid
    web.kubectl("delete", "petset", "web")
    web.wait(lambda: web.kubectl("get", "pods", "-o", "name") == "", "the pets to go")
    assert {c.split("/")[1] for c in web.kubectl("get", "pvc", "-o", "name").split()} == {"www-web-0", "www-web-1"}
    web.kubectl("delete", "service", "nginx")
    web.kubectl("create", "-f", NGINX)
    web.wait_ready("web-0", "web-1")
    assert "page of web-0" in web.exec("web-0", "cat", "/usr/share/nginx/html/index.html")
