"""The tutorials of the documentation, as the demos run and prove them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest

from tests.images_fixture import CHECKOUT

pytestmark = pytest.mark.services


SENTENCES = {"statefulset-basics": 7, "mysql-replicated": 6, "cassandra-ring": 6}


@pytest.mark.parametrize("tutorial", sorted(SENTENCES))
def test_a_tutorial_is_shown_twice_over(cluster, tutorial):
    """The second time it begins with what the first has left."""
    for _ in range(2):
        said = cluster.petset("demo", tutorial).stdout
        assert said.count("✓") == SENTENCES[tutorial], said


def asked(url: str, line: str | None = None) -> tuple[int, str]:
    """The code and the text that a page answers; (0, why) where nobody does."""
    data = line.encode() if line is not None else None
    try:
        with urllib.request.urlopen(url, data, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def test_the_guestbook_is_signed_and_read_whoever_answers(cluster):
    kubectl = cluster.kubectl
    kubectl("apply", "-f", str(CHECKOUT / "examples/tutorials/guestbook"))
    for name in ("redis-leader", "redis-follower", "frontend"):
        kubectl("rollout", "status", f"deployment/{name}", "--timeout=120s")
    spec = json.loads(kubectl("get", "service", "frontend", "-o", "json"))["spec"]
    within, outside = f"http://{spec['clusterIP']}", f"http://127.0.0.1:{spec['ports'][0]['nodePort']}"
    assert asked(f"{within}/lines", "I was here") == (200, "1 lines\n")
    cluster.wait(lambda: asked(f"{outside}/lines") == (200, "I was here\n"), "the followers to have the line")
    told = {asked(f"{within}/healthz")[1].split()[-1] for _ in range(30)}
    assert len(told) == 3, told

    kubectl("set", "env", "deployment/frontend", "GREETING=hello")
    kubectl("rollout", "status", "deployment/frontend", "--timeout=120s")
    cluster.wait(lambda: asked(f"{outside}/lines") == (200, "I was here\n"), "the new pages to answer")
    assert asked(f"{within}/healthz")[1].split()[-1] not in told

    kubectl("scale", "deployment/redis-follower", "--replicas=0")
    cluster.wait(lambda: asked(f"{within}/lines")[0] in (0, 503), "nobody to read from")
    kubectl("scale", "deployment/redis-follower", "--replicas=1")
    cluster.wait(lambda: asked(f"{within}/lines") == (200, "I was here\n"), "a new follower to have the line")


def test_a_web_app_is_tested_and_scaled_while_it_is_busy(cluster):
    folder, kubectl = CHECKOUT / "examples/tutorials/web-app", cluster.kubectl
    done = kubectl.run("apply", "-f", str(folder))
    assert done.returncode == 0 and "kind Ingress, and no part" in done.stderr
    kubectl("rollout", "status", "deployment/web-app", "--timeout=120s")
    kubectl("apply", "-f", str(folder / "test"))
    phase = "jsonpath={.status.phase}=Succeeded"
    kubectl("wait", "pod/web-app-test-connection", "--for", phase, "--timeout=60s")
    kubectl("wait", "hpa/web-app", "--for=condition=ScalingActive", "--timeout=60s")
    assert kubectl.json("get", "hpa", "web-app")["status"]["currentReplicas"] == 1

    asks = 'exec 3<> /dev/tcp/web-app/80; printf "GET / HTTP/1.0\\r\\n\\r\\n" >&3; cat <&3 > /dev/null'
    command = ("bash", "-c", f"while :; do {asks}; done")
    kubectl("run", "load", "--image=petset.local/debian", "--restart=Never", "--command", "--", *command)

    def ready() -> int:
        return kubectl.json("get", "deployment", "web-app")["status"].get("readyReplicas", 0)

    cluster.wait(lambda: ready() == 3, "three of them while it is busy", 120)
    reasons = {one["type"]: one["reason"] for one in kubectl.json("get", "hpa", "web-app")["status"]["conditions"]}
    assert reasons["ScalingActive"] == "ValidMetricFound"
    kubectl("delete", "pod", "load", "--now")
    cluster.wait(lambda: ready() == 1, "one of them when nobody asks", 180)
    kubectl("scale", "deployment/web-app", "--replicas=9")
    message = "Current number of replicas above Spec.MaxReplicas"
    cluster.wait(lambda: message in kubectl("get", "events"), "to be told why", 60)
