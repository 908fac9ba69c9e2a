"""Jobs and their pods in short form, for cases and laws: what `given` in tests/cases/jobs says becomes objects.

A Job is in the namespace default and named sum. A pod is {name, index, phase, exit, deleting, lost, untracked, ended,
failures, restarts, conditions, labels, owner: none}; `told` makes of actions what `then` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from petset.base import tasks, well_known
from petset.client.views import Snapshot
from petset.controllers import actions
from petset.controllers.jobs import job as jobs
from petset.controllers.jobs import pods
from petset.kinds.batch import job as kind
from petset.objects import meta
from petset.objects.meta import Object

NOW = 1_470_000_000.0


def time(ago: float) -> str:
    return tasks.rfc3339(NOW - ago)


def job_of(given: Mapping[str, Any]) -> Object:
    """{any field of the spec, status: {..., uncounted, conditions: [names], started: seconds ago}, deleting}."""
    spec = {key: value for key, value in given.items() if key not in ("status", "deleting", "restartPolicy")}
    template = {
        "metadata": {"labels": {"app": "sum"}},
        "spec": {
            "containers": [{"name": "main", "image": "example/sum:1"}],
            "restartPolicy": given.get("restartPolicy", "Never"),
        },
    }
    said = given.get("status", {})
    status = {key: value for key, value in said.items() if key not in ("uncounted", "conditions", "started")}
    if "uncounted" in said:
        status["uncountedTerminatedPods"] = said["uncounted"]
    if "conditions" in said:
        status["conditions"] = [
            {"type": name, "status": "True", "reason": "Before", "message": "", "lastTransitionTime": time(100)}
            for name in said["conditions"]
        ]
    if "started" in said:
        status["startTime"] = time(said["started"])
    obj = kind.defaults(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "sum", "namespace": "default", "uid": "uid of sum", "resourceVersion": "7"},
            "spec": {"selector": {"matchLabels": {"app": "sum"}}, **spec, "template": template},
            "status": status,
        }
    )
    return meta.changed(obj, ("metadata", "deletionTimestamp"), time(0)) if given.get("deleting") else obj


def pod_of(job: Object, given: Mapping[str, Any]) -> Object:
    index, name = given.get("index"), given["name"]
    pod: Object = pods.pod_for(job) if index is None else pods.indexed_pod(job, index, given.get("failures"))
    metadata = {key: value for key, value in pod["metadata"].items() if key != "generateName"}
    metadata |= {"name": name, "uid": f"uid of {name}", "resourceVersion": "11", "creationTimestamp": time(500)}
    if given.get("untracked"):
        metadata["finalizers"] = []
    if given.get("deleting") or given.get("lost"):
        metadata |= {"deletionTimestamp": time(0), "deletionGracePeriodSeconds": 0 if given.get("lost") else 30}
    phase = given.get("phase", "Running")
    container: dict[str, Any] = {"name": "main", "restartCount": given.get("restarts", 0)}
    if phase in ("Failed", "Succeeded"):
        code = given.get("exit", 1 if phase == "Failed" else 0)
        container["state"] = {"terminated": {"exitCode": code, "finishedAt": time(given.get("ended", 0))}}
    ready = {"type": "Ready", "status": "True" if phase == "Running" else "False"}
    conditions = [ready, *({"type": one, "status": "True"} for one in given.get("conditions", ()))]
    status = {"phase": phase, "conditions": conditions, "containerStatuses": [container]}
    if given.get("owner") == "none":
        del metadata["ownerReferences"]
    if "labels" in given:
        metadata["labels"] = given["labels"]
    return {**pod, "metadata": metadata, "spec": {**pod["spec"], "nodeName": "n1"}, "status": status}


def reconciled(given: Mapping[str, Any]) -> list[actions.Action]:
    job = job_of(given["job"])
    found = [pod_of(job, one) for one in given.get("pods", ())]
    return jobs.reconcile("default/sum", Snapshot([job, *found]), NOW)


def told(steps: Sequence[actions.Action]) -> list[str]:
    said: list[str] = []
    for step in actions.flat(steps):
        match step:
            case actions.Create(pod):
                index = pods.index_of(pod)
                after = meta.annotations(pod).get(well_known.JOB_INDEX_FAILURES_ANNOTATION)
                of = f" index {index}" if index is not None else ""
                said.append(f"create{of}" + (f" after {after}" if after else ""))
            case actions.Delete(obj):
                said.append(f"delete {meta.name(obj)}")
            case actions.Patch(obj):
                said.append(f"count {meta.name(obj)}")
            case actions.Update(obj):
                said.append(f"{'take' if meta.controller_of(obj) else 'release'} {meta.name(obj)}")
            case actions.StillThere():
                said.append("ask")
            case actions.UpdateStatus():
                said.append("status")
            case actions.EmitEvent(_, type_, reason, _):
                said.append(f"{type_} {reason}")
            case actions.RequeueAfter(seconds):
                said.append(f"again in {seconds:g} s")
            case other:
                raise AssertionError(other)
    return said


def status_of(steps: Sequence[actions.Action]) -> Any:
    """The status that is written, with conditions as "Type: reason" of those that are true, and uids as names."""
    status = next((step.object["status"] for step in actions.flat(steps) if isinstance(step, actions.UpdateStatus)), {})
    uncounted = {
        outcome: [uid.removeprefix("uid of ") for uid in uids]
        for outcome, uids in status.get("uncountedTerminatedPods", {}).items()
    }
    conditions = [f"{one['type']}: {one['reason']}" for one in status.get("conditions", ()) if one["status"] == "True"]
    return {**status, "uncounted": uncounted, "conditions": conditions}
