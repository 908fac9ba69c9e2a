"""Where a value crosses rooms of the node: made in the one, used in the other, in one test."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from petset.kinds.pod_spec import containers, sources
from petset.kinds.pod_spec.sources import SourceKind
from petset.node import environment
from petset.node.containers import bundle
from petset.node.containers.users import User
from petset.node.environment import Facts, source
from petset.node.images import registry_logins
from petset.node.images.image_names import parse_reference
from petset.node.pods import launch
from petset.node.runtime import Credential, Image, Propagation, PullPolicy, RegistryLogin
from petset.node.simulated import SimulatedRuntime
from petset.node.volumes import payloads, volumes
from tests.node import node_fixture
from tests.node.containers.test_bundle import PLACES
from tests.registry import pull_secret

IMAGE = Image("busybox", "sha256:0", "/image", env=("PATH=/opt/bin", "LANG=C", "broken"), command=("serve",))


def pod(container: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web-0", "namespace": "default", "uid": "u"},
        "spec": {"containers": [container], **spec},
    }


def made(of: dict[str, Any], places: bundle.Places, mounted: dict[str, volumes.Mounted]) -> dict[str, Any]:
    """From a pod to the OCI configuration of its container, as the worker and the runtime go."""
    wanted = launch.container_config(of, of["spec"]["containers"][0], 0, IMAGE, Facts(of), mounted)
    config, warnings = bundle.config(wanted, places, User(0, 0), bundle.Host(), pids_max=100)
    assert warnings == []
    return config


# ---- an environment: pods/launch, containers/bundle


@pytest.mark.parametrize(
    ("hostname", "tty", "env", "found"),
    [
        ("web-0", False, [], ["PATH=/opt/bin", "HOSTNAME=web-0", "LANG=C"]),
        ("web-0", True, [], ["PATH=/opt/bin", "HOSTNAME=web-0", "TERM=xterm", "LANG=C"]),
        # A pod of the host's own namespace is told the host's name, and may say otherwise.
        ("machine", False, [], ["PATH=/opt/bin", "HOSTNAME=machine", "LANG=C"]),
        (
            "machine",
            False,
            [{"name": "HOSTNAME", "value": "own"}, {"name": "LANG", "value": "de"}],
            ["PATH=/opt/bin", "HOSTNAME=own", "LANG=de"],
        ),
    ],
)
def test_the_pod_s_variables_stand_above_the_image_s(hostname: str, tty: bool, env: list[Any], found: list[str]):
    config = made(pod({"name": "c", "env": env, "tty": tty}), dataclasses.replace(PLACES, hostname=hostname), {})
    assert config["process"]["env"] == found


# ---- a pull secret: the API, pods/supplies, pods/pulling, images/


def test_a_pull_secret_of_the_api_is_what_the_image_store_logs_in_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[Credential] = []

    async def ensure_image(
        self: SimulatedRuntime, reference: str, policy: PullPolicy, logins: Sequence[RegistryLogin]
    ) -> Image:
        asked.extend(registry_logins.credentials(logins, parse_reference(reference)))
        return IMAGE

    async def story(node: node_fixture.NodeUnderTest) -> None:
        for name, user in (("first", "a"), ("second", "b")):
            secret = pull_secret(name, {"registry.example": {"username": user, "password": "hush"}})
            await node.create({**secret, "metadata": {"name": name, "namespace": "default"}})
        private = node_fixture.container("c", image="registry.example/team/db:1")
        names = [{"name": name} for name in ("second", "nosuch", "first")]
        await node.create(node_fixture.pod("p", private, imagePullSecrets=names))
        await node.until("p", node_fixture.is_ready)
        assert asked == [Credential("b", "hush"), Credential("a", "hush")]
        told = [message for _, reason, message in await node.events("p") if reason == "FailedToRetrieveImagePullSecret"]
        assert len(told) == 1 and "there is no secret nosuch" in told[0]

    monkeypatch.setattr(SimulatedRuntime, "ensure_image", ensure_image)
    node_fixture.play(story, tmp_path)


# ---- ConfigMaps, Secrets, tokens: the API, pods/references, environment, volumes/payloads


def test_one_source_is_the_same_in_the_environment_and_in_a_volume(tmp_path: Path):
    """What is in them as text, in base64, or (what no text holds) in bytes."""
    objects: dict[SourceKind, dict[str, Any]] = {
        "ConfigMap": {"data": {"level": "3"}, "binaryData": {"raw": base64.b64encode(b"\xff\xfe").decode()}},
        "Secret": {"data": {"token": base64.b64encode(b"hush").decode()}},
    }
    given = {(kind, "s"): source(kind, {"metadata": {"name": "s"}, **data}) for kind, data in objects.items()}
    of = pod(
        {"name": "c", "envFrom": [{"configMapRef": {"name": "s"}}, {"secretRef": {"name": "s"}}]},
        volumes=[{"name": "v", "projected": {"sources": [{"configMap": {"name": "s"}}, {"secret": {"name": "s"}}]}}],
    )
    facts = Facts(of, sources=given)
    container, volume = of["spec"]["containers"][0], of["spec"]["volumes"][0]
    assert sources.of_container(container) == sources.of_volumes([volume])
    variables = environment.variables(container, facts)
    files = payloads.files(volume, facts, {})
    assert {name: value.encode(errors="surrogateescape") for name, value in variables.items()} == {
        path: file.data for path, file in files.items()
    }
    assert files["raw"].data == b"\xff\xfe" and variables["token"] == "hush"


# ---- volumes: volumes/, containers/bundle (a real kernel's side of it: containers/test_mounting.py)


@pytest.mark.parametrize("propagation", containers.PROPAGATIONS)
def test_what_volumes_prepares_is_what_the_bundle_mounts(tmp_path: Path, propagation: Propagation):
    mounts = [
        {"name": "data", "mountPath": "/data", "mountPropagation": propagation},
        {"name": "data", "mountPath": "/data/ro/", "readOnly": True, "subPath": "a/b"},
        {"name": "settings", "mountPath": "/settings"},
    ]
    of = pod(
        {"name": "c", "volumeMounts": mounts},
        volumes=[{"name": "data", "emptyDir": {}}, {"name": "settings", "downwardAPI": {"items": []}}],
    )
    mounted = asyncio.run(volumes.Volumes(tmp_path, may_mount=False).prepare(of, Facts(of), {}, {}))
    config = made(of, PLACES, mounted)
    found = {one["destination"]: one for one in config["mounts"] if one["source"].startswith("/s/volumes/")}
    option = {"None": "rprivate", "HostToContainer": "rslave", "Bidirectional": "rshared"}[propagation]
    assert {target: (one["source"], one["options"]) for target, one in found.items()} == {
        "/data": ("/s/volumes/0", ["rbind", option, "rw"]),
        "/data/ro": ("/s/volumes/1", ["rbind", "rprivate", "ro"]),
        "/settings": ("/s/volumes/2", ["rbind", "rprivate", "ro"]),  # A payload is the API's.
    }
    assert config["linux"]["rootfsPropagation"] == option
    assert {volume.path for volume in mounted.values()} == {str(tmp_path / "u" / name) for name in ("data", "settings")}
