"""Jobs that run: kubectl create job, wait, logs and describe; numbered pods; failures; a kill in the middle."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.test_containers import BASE


def job(name: str, script: str, **spec: Any) -> str:
    container = {"name": "main", "image": BASE, "command": ["sh", "-c", script]}
    template = {"spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]}}
    metadata = {"name": name}
    return json.dumps(
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {**spec, "template": template}}
    )


def test_what_kubectl_makes_of_a_job(cluster, namespace):
    cluster.kubectl("create", "job", "once", f"--image={BASE}", "-n", namespace, "--", "sh", "-c", "echo well done")
    cluster.kubectl("wait", "--for=condition=complete", "job/once", "-n", namespace, "--timeout=60s")
    assert cluster.kubectl("logs", "job/once", "-n", namespace) == "well done\n"
    described = " ".join(cluster.kubectl("describe", "job", "once", "-n", namespace).split())
    assert "Pods Statuses: 0 Active (0 Ready) / 1 Succeeded / 0 Failed" in described
    assert "SuccessfulCreate" in described and "Job completed" in described
    assert cluster.kubectl("get", "job", "once", "-n", namespace, "--no-headers").split()[1:3] == ["Complete", "1/1"]
    cluster.kubectl("delete", "job", "once", "-n", namespace, "--timeout=60s")
    cluster.kubectl("wait", "--for=delete", "pod", "--all", "-n", namespace, "--timeout=60s")


def test_each_index_is_done_once_over_a_kill(cluster, namespace):
    script = 'echo "$JOB_COMPLETION_INDEX on $(hostname)"; sleep 0.3'
    spec = {"completionMode": "Indexed", "completions": 6, "parallelism": 3}
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=job("numbered", script, **spec))
    cluster.kubectl("wait", "--for=jsonpath={.status.active}=3", "job/numbered", "-n", namespace, "--timeout=60s")
    cluster.kill()
    cluster.up()
    cluster.kubectl("wait", "--for=condition=complete", "job/numbered", "-n", namespace, "--timeout=90s")
    status = json.loads(cluster.kubectl("get", "job", "numbered", "-n", namespace, "-o", "json"))["status"]
    assert (status["succeeded"], status["completedIndexes"], status.get("failed")) == (6, "0-5", None)
    said = cluster.kubectl("logs", "-l", "job-name=numbered", "-n", namespace, "--max-log-requests=6").splitlines()
    assert sorted(said) == [f"{index} on numbered-{index}" for index in range(6)]


def test_a_failing_job_fails_and_says_why(cluster, namespace):
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [3]}}
    spec = {"completions": 1, "podFailurePolicy": {"rules": [rule]}}
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=job("wrong", "exit 3", **spec))
    cluster.kubectl("wait", "--for=condition=failed", "job/wrong", "-n", namespace, "--timeout=60s")
    status = json.loads(cluster.kubectl("get", "job", "wrong", "-n", namespace, "-o", "json"))["status"]
    failed = next(one for one in status["conditions"] if one["type"] == "Failed")
    assert (
        failed["reason"] == "PodFailurePolicy" and "exit code 3 matching FailJob rule at index 0" in failed["message"]
    )
    assert status["failed"] == 1
    pods = json.loads(cluster.kubectl("get", "pods", "-l", "job-name=wrong", "-n", namespace, "-o", "json"))["items"]
    assert len(pods) == 1 and not pods[0]["metadata"].get("finalizers")


def test_a_job_of_a_cron_job_by_hand(cluster, namespace):
    schedule = "--schedule=0 0 1 1 *"
    cluster.kubectl("create", "cronjob", "yearly", f"--image={BASE}", schedule, "-n", namespace, "--", "echo", "now")
    cluster.kubectl("create", "job", "early", "--from=cronjob/yearly", "-n", namespace)
    cluster.kubectl("wait", "--for=condition=complete", "job/early", "-n", namespace, "--timeout=60s")
    last = "--for=jsonpath={.status.lastSuccessfulTime}"
    cluster.kubectl("wait", last, "cronjob/yearly", "-n", namespace, "--timeout=60s")
    assert "SawCompletedJob" in cluster.kubectl("describe", "cronjob", "yearly", "-n", namespace)
