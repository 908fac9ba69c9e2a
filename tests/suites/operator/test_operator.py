"""An operator of controller-runtime does all that operators do, and kubectl sees it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.suites.operator.conftest import NAMESPACE, Leading, wait

pytestmark = pytest.mark.suites


def _flock(name: str = "geese", pets: int = 2, **more: Any) -> str:
    spec = {"pets": pets, **more}
    return json.dumps(
        {"apiVersion": "operator.example.com/v1", "kind": "Flock", "metadata": {"name": name}, "spec": spec}
    )


def _older(name: str = "geese", **spec: Any) -> str:
    about = {"apiVersion": "operator.example.com/v1alpha1", "kind": "Flock"}
    return json.dumps({**about, "metadata": {"name": name}, "spec": spec})


def _ready(kubectl, space: str, name: str = "geese") -> dict[str, Any]:
    kubectl("wait", "--for=condition=Ready", f"flock/{name}", "-n", space, "--timeout=60s", timeout=90)
    return kubectl.json("get", "flock", name, "-n", space)


def _greeting(kubectl, space: str) -> str:
    container = kubectl.json("get", "statefulset", "geese", "-n", space)["spec"]["template"]["spec"]["containers"][0]
    return container["env"][0]["value"]


def test_a_flock_becomes_a_statefulset_and_gets_ready(leading, kubectl, space):
    kubectl("apply", "-n", space, "-f", "-", stdin=_flock())
    flock = _ready(kubectl, space)
    assert flock["status"]["ready"] == 2 and flock["status"]["observedGeneration"] == flock["metadata"]["generation"]
    pets = kubectl.json("get", "statefulset", "geese", "-n", space)
    [owner] = pets["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("Flock", flock["metadata"]["uid"], True)
    shown = kubectl("get", "flocks", "-n", space).split()
    assert shown[:4] == ["NAME", "PETS", "READY", "geese"] and shown[4:6] == ["2", "2"]
    assert "flock.operator.example.com/geese" in kubectl("get", "all", "-n", space, "-o", "name")


def test_scale_goes_through_the_flock(leading, kubectl, space):
    kubectl("apply", "-n", space, "-f", "-", stdin=_flock(pets=1))
    _ready(kubectl, space)
    kubectl("scale", "flock", "geese", "--replicas=3", "-n", space)
    wait(lambda: kubectl.json("get", "flock", "geese", "-n", space)["status"]["ready"] == 3, "three pets")
    scale = kubectl.json("get", "flock", "geese", "-n", space, "--subresource=scale")
    assert scale["kind"] == "Scale" and scale["spec"] == {"replicas": 3}
    assert scale["status"] == {"replicas": 3, "selector": "operator.example.com/flock=geese"}
    pets = kubectl("get", "pods", "-n", space, "-l", scale["status"]["selector"], "-o", "name").split()
    assert pets == [f"pod/geese-{i}" for i in range(3)]


def test_what_others_apply_stays_and_what_is_the_operators_comes_back(leading, kubectl, space):
    kubectl("apply", "-n", space, "-f", "-", stdin=_flock())
    _ready(kubectl, space)
    kubectl("label", "statefulset", "geese", "team=farm", "-n", space)
    kubectl("scale", "statefulset", "geese", "--replicas=1", "-n", space)
    wait(lambda: kubectl.json("get", "statefulset", "geese", "-n", space)["spec"]["replicas"] == 2, "the second pet")
    pets = kubectl.json("get", "statefulset", "geese", "-n", space, "--show-managed-fields")
    assert pets["metadata"]["labels"]["team"] == "farm"
    owners = {(row["manager"], row["operation"]) for row in pets["metadata"]["managedFields"]}
    assert {("flocks", "Apply"), ("kubectl-label", "Update")} <= owners
    theirs = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "geese"}, "spec": {"replicas": 4}}
    refused = kubectl.run("apply", "--server-side", "-n", space, "-f", "-", stdin=json.dumps(theirs))
    assert refused.returncode == 1 and 'conflict with "flocks"' in refused.stderr


def test_webhooks_fill_in_refuse_and_warn(leading, kubectl, space):
    kubectl("create", "-n", space, "-f", "-", stdin=_flock())
    assert kubectl.json("get", "flock", "geese", "-n", space)["spec"]["greeting"] == "hello"
    many = kubectl.run("create", "-n", space, "-f", "-", stdin=_flock("many", pets=6))
    assert many.returncode == 1 and "a flock has 5 pets at most, not 6" in many.stderr
    more = ("patch", "flock", "geese", "--type=merge", "-p", '{"spec":{"pets":7}}', "-n", space)
    changed = kubectl.run(*more)
    assert changed.returncode == 1 and "not 7" in changed.stderr
    assert kubectl.run(*more, "--dry-run=server").stderr == changed.stderr
    none = kubectl.run("create", "-n", space, "-f", "-", stdin=_flock("none", pets=0))
    assert none.returncode == 0 and "Warning: a flock without pets does nothing" in none.stderr


def test_a_webhook_that_refuses_a_deletion_keeps_the_flock(leading, kubectl, space):
    kubectl("create", "-n", space, "-f", "-", stdin=_flock(pets=0))
    kubectl("annotate", "flock", "geese", "operator.example.com/keep=yes", "-n", space)
    refused = kubectl.run("delete", "flock", "geese", "-n", space)
    assert refused.returncode == 1 and "it is to be kept" in refused.stderr
    kubectl("annotate", "flock", "geese", "operator.example.com/keep-", "-n", space)
    kubectl("delete", "flock", "geese", "-n", space)


def test_an_older_version_is_converted_both_ways(leading, kubectl, space):
    said = kubectl.run("apply", "-n", space, "-f", "-", stdin=_older(size=2, words="honk"))
    assert said.returncode == 0 and "deprecated" in said.stderr
    assert _ready(kubectl, space)["spec"] == {"pets": 2, "greeting": "honk"}
    kubectl("apply", "-n", space, "-f", "-", stdin=_older(size=1, words="honk"))
    assert kubectl.json("get", "flocks.v1.operator.example.com", "geese", "-n", space)["spec"]["pets"] == 1
    listed = kubectl.json("get", "flocks.v1alpha1.operator.example.com", "-n", space)["items"]
    assert [flock["spec"] for flock in listed] == [{"size": 1, "words": "honk"}]
    refused = kubectl.run("apply", "-n", space, "-f", "-", stdin=_older(size=9))
    assert refused.returncode == 1 and "not 9" in refused.stderr  # The rules are asked in the version that they know.
    assert kubectl.run("diff", "-n", space, "-f", "-", stdin=_older(size=1, words="honk")).returncode == 0


def test_a_finalizer_is_heeded_and_what_it_owned_goes(leading, kubectl, space):
    kubectl("apply", "-n", space, "-f", "-", stdin=_flock())
    assert _ready(kubectl, space)["metadata"]["finalizers"] == ["operator.example.com/farewell"]
    kubectl("delete", "flock", "geese", "-n", space, "--timeout=60s", timeout=90)
    farewell = kubectl.json("get", "configmap", "geese-farewell", "-n", space)
    assert farewell["data"] == {"pets": "2"}
    left = ("get", "statefulsets,services,pods", "-n", space, "-o", "name")
    wait(lambda: kubectl(*left) == "", "the collector to take what the flock owned")


def test_a_finalizer_lets_a_namespace_go_that_takes_nothing_new(leading, kubectl, space):
    kubectl("apply", "-n", space, "-f", "-", stdin=_flock())
    _ready(kubectl, space)
    kubectl("delete", "namespace", space, "--timeout=60s", timeout=90)
    kubectl("create", "namespace", space)
    assert kubectl("get", "flocks,statefulsets,pods", "-n", space, "-o", "name") == ""


def test_events_tell_of_the_flock(leading, kubectl, space):
    kubectl("apply", "-n", space, "-f", "-", stdin=_flock())
    _ready(kubectl, space)
    said = wait(lambda: kubectl("events", "--for", "flock/geese", "-n", space), "the event")
    assert "Complete" in said and "all 2 pets are ready" in said
    [event] = kubectl.json("get", "events.events.k8s.io", "-n", space, "--field-selector", "reason=Complete")["items"]
    assert event["reportingController"] == "flocks" and event["action"] == "Watch"
    assert event["related"]["kind"] == "StatefulSet"
    assert "all 2 pets are ready" in kubectl("describe", "flock", "geese", "-n", space)


def test_a_cache_with_a_selector_sees_what_it_selects_and_nothing_else(leading, kubectl, space):
    kubectl("create", "configmap", "unseen", "--from-literal=hello=unseen", "-n", space)
    kubectl("apply", "-n", space, "-f", "-", stdin=_flock(pets=1))
    _ready(kubectl, space)
    assert _greeting(kubectl, space) == "hello"
    kubectl("create", "configmap", "words", "--from-literal=hello=good day", "-n", space)
    kubectl("label", "configmap", "words", "operator.example.com/greetings=yes", "-n", space)
    wait(lambda: _greeting(kubectl, space) == "good day", "the words to be seen")
    kubectl("label", "configmap", "words", "operator.example.com/greetings-", "-n", space)  # To the cache it is gone.
    wait(lambda: _greeting(kubectl, space) == "hello", "the words to be gone")


def test_metrics_tell_what_the_operator_did(leading, kubectl, space):
    kubectl("apply", "-n", space, "-f", "-", stdin=_flock(pets=1))
    _ready(kubectl, space)
    lines = leading.metric_lines()
    assert [line for line in lines if line.startswith("flocks_applied_total ") and not line.endswith(" 0")]
    assert [line for line in lines if line.startswith("leader_election_master_status") and line.endswith(" 1")]


def test_another_takes_over_when_the_leader_is_killed(leading: Leading, kubectl, space):
    before, [leader] = leading.lease(), leading.running
    leading.start()
    assert leading.holder() == before["holderIdentity"]
    leader.kill()
    kubectl("apply", "-n", space, "-f", "-", stdin=_flock())
    assert _ready(kubectl, space)["status"]["ready"] == 2
    after = leading.lease()
    assert after["holderIdentity"] != before["holderIdentity"]
    assert after["leaseTransitions"] == before["leaseTransitions"] + 1
    leading.running.remove(leader)
    reasons = kubectl.json("get", "events", "-n", NAMESPACE)["items"]
    assert "LeaderElection" in {event["reason"] for event in reasons}


def test_what_changes_while_nobody_leads_is_made_up_for(leading: Leading, kubectl, space):
    kubectl("apply", "-n", space, "-f", "-", stdin=_flock())
    _ready(kubectl, space)
    [leader] = leading.running
    leader.stop()
    leading.running.remove(leader)
    assert not leading.lease().get("holderIdentity")  # It gave the Lease back.
    kubectl("scale", "flock", "geese", "--replicas=1", "-n", space)
    kubectl("delete", "service", "geese", "-n", space)
    leading.start()
    wait(lambda: kubectl.json("get", "flock", "geese", "-n", space)["status"]["ready"] == 1, "the flock to shrink")
    kubectl("get", "service", "geese", "-n", space)
