"""When something is ready, and what can be waited for: from the object alone."""

from __future__ import annotations

import pytest

from petset.testing import ready


def obj(kind, generation=1, spec=None, **status):
    return {"kind": kind, "metadata": {"name": "a", "generation": generation}, "spec": spec or {}, "status": status}


SEEN = {"observedGeneration": 1}
CASES = [
    (None, False),
    (obj("ConfigMap"), True),
    (obj("Pod", conditions=[{"type": "Ready", "status": "True"}]), True),
    (obj("Pod", conditions=[{"type": "Ready", "status": "False"}]), False),
    (obj("Pod", phase="Succeeded"), True),
    (obj("StatefulSet", spec={"replicas": 2}), False),
    (obj("StatefulSet", spec={"replicas": 0}, **SEEN), True),
    (obj("StatefulSet", spec={"replicas": 2}, **SEEN, replicas=2, readyReplicas=2, updatedReplicas=2), True),
    (obj("PetSet", spec={"replicas": 2}, **SEEN, replicas=2, readyReplicas=2, updatedReplicas=2), True),
    (obj("StatefulSet", spec={"replicas": 2}, **SEEN, replicas=2, readyReplicas=2, updatedReplicas=1), False),
    (obj("StatefulSet", spec={"replicas": 2}, **SEEN, replicas=3, readyReplicas=2, updatedReplicas=2), False),
    (obj("StatefulSet", 2, spec={"replicas": 2}, **SEEN, replicas=2, readyReplicas=2, updatedReplicas=2), False),
    (
        obj(
            "StatefulSet",
            spec={"replicas": 2, "updateStrategy": {"type": "OnDelete"}},
            **SEEN,
            replicas=2,
            readyReplicas=2,
            updatedReplicas=0,
        ),
        True,
    ),
    (obj("Deployment", spec={"replicas": 1}, **SEEN, replicas=1, updatedReplicas=1, availableReplicas=1), True),
    (obj("Deployment", spec={"replicas": 1}, **SEEN, replicas=2, updatedReplicas=1, availableReplicas=1), False),
    (obj("DaemonSet", **SEEN, desiredNumberScheduled=2, updatedNumberScheduled=2, numberAvailable=2), True),
    (obj("DaemonSet", **SEEN, desiredNumberScheduled=2, updatedNumberScheduled=2, numberAvailable=1), False),
    (obj("Job", conditions=[{"type": "Complete", "status": "True"}]), True),
    (obj("Job", conditions=[{"type": "Failed", "status": "True"}]), False),
    (obj("PersistentVolumeClaim", phase="Pending"), False),
    (obj("PersistentVolumeClaim", phase="Bound"), True),
    (obj("Toy", conditions=[{"type": "Ready", "status": "False"}]), False),
]


@pytest.mark.parametrize(("given", "wanted"), CASES)
def test_ready(given, wanted):
    assert ready.is_ready(given) is wanted


def test_what_is_being_deleted_is_not_ready():
    assert not ready.is_ready({"kind": "ConfigMap", "metadata": {"name": "a", "deletionTimestamp": "now"}})


READY_POD = obj("Pod", phase="Running", conditions=[{"type": "Ready", "status": "True"}])


@pytest.mark.parametrize(
    ("text", "given", "wanted"),
    [
        ("Ready", READY_POD, True),
        ("condition=ready", READY_POD, True),
        ("condition=Ready=False", READY_POD, False),
        ("condition=Other", READY_POD, False),
        ("jsonpath={.status.phase}=Running", READY_POD, True),
        ("jsonpath='{.status.phase}'=Pending", READY_POD, False),
        ("jsonpath={.status.phase}", READY_POD, True),
        ("jsonpath={.status.none}", READY_POD, False),
        ("delete", None, True),
        ("delete", READY_POD, False),
        ("create", READY_POD, True),
        ("ready", READY_POD, True),
    ],
)
def test_conditions(text, given, wanted):
    assert ready.condition(text)(given) is wanted


def test_a_field_that_is_not_there_yet_is_waited_for():
    assert ready.predicate(lambda obj: obj["status"]["later"] == 1)(READY_POD) is False
    with pytest.raises(ValueError, match="it is no condition"):
        ready.condition("so that it works!")
