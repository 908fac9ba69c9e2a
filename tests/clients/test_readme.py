"""README's list of what is missing is true: every line is tried, and is answered with words that say so."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from petset.node.environment import Facts
from petset.node.volumes import volumes

README = Path(__file__).resolve().parents[2] / "README.md"
NO_KIND = re.compile(r"petset has no (\w+) in|no matches for kind|doesn't have a resource type")
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}


def lines() -> list[str]:
    """What is missing: the bold words of each line."""
    section = README.read_text().partition("## What it does not do yet\n")[2].partition("\n## ")[0]
    return [" ".join(re.findall(r"\*\*(.+?)\*\*", line)) for line in section.splitlines() if line.startswith("- ")]


@pytest.fixture
def kubectl(served, space):
    """kubectl in a namespace with a pod that runs, or so it says."""

    def run(*words: str, stdin: str | None = None) -> str:
        done = served.admin.run("--namespace", space, *words, stdin=stdin)
        assert done.returncode != 0, done.stdout
        return done.stderr

    run.space = space
    spec = {"containers": [{"name": "c", "image": "i"}], "nodeName": "n1"}
    served.admin("create", "-f", "-", "-n", space, stdin=json.dumps({**POD, "spec": spec}))
    running = '{"status":{"phase":"Running","podIP":"10.0.0.9"}}'
    served.admin("patch", "pod", "x", "-n", space, "--subresource=status", "--type=merge", "-p", running)
    return run


def told(served, kubectl, *words: str) -> str:
    """What is warned of when something is made that nothing acts on."""
    done = served.admin.run("--namespace", kubectl.space, "create", *words)
    assert done.returncode == 0, done.stderr
    return done.stderr


def policies(kubectl, served) -> None:
    assert "kind Ingress, and no part" in told(served, kubectl, "ingress", "i", "--rule=a/b=c:80")


def runtime_classes(kubectl, served) -> None:
    asking = {"containers": [{"name": "c", "image": "i"}], "runtimeClassName": "gvisor"}
    pod = {**POD, "metadata": {"name": "sandboxed"}, "spec": asking}
    assert 'RuntimeClass "gvisor" not found' in kubectl("create", "-f", "-", stdin=json.dumps(pod))


def volumes_from_elsewhere(kubectl, served) -> None:
    """The words of the pod's event FailedMount."""
    for kind, source in (("nfs", {"server": "s", "path": "/"}), ("csi", {"driver": "d"}), ("iscsi", {"iqn": "i"})):
        pod = {**POD, "metadata": {"name": "x", "uid": "1"}, "spec": {"volumes": [{"name": "v", kind: source}]}}
        with pytest.raises(volumes.VolumeError, match=f"does not offer volumes of type {kind}"):
            asyncio.run(volumes.Volumes(served.directory / "volumes").prepare(pod, Facts(pod), {}, {}))


TRIED = {
    "Ingresses": policies,
    "RuntimeClasses": runtime_classes,
    "Volumes from other machines": volumes_from_elsewhere,
}


def test_every_line_of_the_list_is_tried():
    assert lines() == list(TRIED)


@pytest.mark.parametrize("line", TRIED)
def test_it_is_missing_and_says_so(line, kubectl, served):
    TRIED[line](kubectl, served)
