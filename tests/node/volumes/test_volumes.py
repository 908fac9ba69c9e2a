"""Volumes on a real file system, mounts that stay inside, and versions that appear all at once."""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
import os
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from petset.base import well_known
from petset.node import paths
from petset.node.environment import ConfigError, Facts, Source, SourceKind, source
from petset.node.runtime import Mount
from petset.node.volumes import payloads
from petset.node.volumes.claims import Claimed
from petset.node.volumes.payloads import TokenWanted
from petset.node.volumes.volumes import Mounted, VolumeError, Volumes, _make_private, mounts
from tests import signing

IS_ROOT = os.geteuid() == 0


def pod(*volumes: Any, **spec: Any) -> Any:
    metadata = {"name": "p", "namespace": "default", "uid": "u1", "labels": {"app": "redis"}}
    return {"metadata": metadata, "spec": {"volumes": list(volumes), **spec}}


def config_map(name: str = "settings", **data: str) -> dict[tuple[SourceKind, str], Source]:
    return {("ConfigMap", name): source("ConfigMap", {"metadata": {"name": name}, "data": data})}


def secret(name: str, **data: bytes) -> dict[tuple[SourceKind, str], Source]:
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    return {("Secret", name): source("Secret", {"metadata": {"name": name}, "data": encoded})}


def prepare(
    directory: Path, given: Any, sources: Any = None, claims: Any = None, tokens: Any = None, **options: Any
) -> dict[str, Mounted]:
    facts = Facts(given, sources=sources or {})
    return asyncio.run(Volumes(directory, **options).prepare(given, facts, claims or {}, tokens or {}))


def read(mounted: Mounted) -> dict[str, str]:
    root = Path(mounted.path)
    return {name: (root / name).read_text() for name in sorted(os.listdir(root)) if not name.startswith("..")}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_empty_directories_are_for_everybody_and_survive(tmp_path: Path):
    tmp_path = tmp_path / "volumes"
    given = pod({"name": "work", "emptyDir": {}}, {"name": "nothing"})
    mounted = prepare(tmp_path, given)
    assert mounted["work"] == Mounted(str(tmp_path / "u1" / "work"))
    assert mode(Path(mounted["work"].path)) == 0o777
    Path(mounted["work"].path, "x").write_text("kept")
    assert Path(prepare(tmp_path, given)["work"].path, "x").read_text() == "kept"
    volumes = Volumes(tmp_path)
    assert volumes.known() == ["u1"] and mode(tmp_path) == 0o700
    asyncio.run(volumes.remove("u1"))
    assert volumes.known() == []


@pytest.mark.skipif(not IS_ROOT, reason="needs root to mount")
def test_memory_is_limited_and_leaves_no_mount(tmp_path: Path):
    given = pod({"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}})
    path = Path(prepare(tmp_path, given)["m"].path)
    try:
        assert os.path.ismount(path) and mode(path) == 0o1777
        with pytest.raises(OSError):
            (path / "big").write_bytes(b"x" * (2 << 20))
        prepare(tmp_path, given)
        assert Path("/proc/mounts").read_text().count(str(path)) == 1
    finally:
        asyncio.run(Volumes(tmp_path).remove("u1"))
    assert str(path) not in Path("/proc/mounts").read_text() and not path.exists()


@pytest.mark.skipif(not IS_ROOT, reason="needs root to change groups")
def test_the_group_of_the_pod_may_write(tmp_path: Path):
    given = pod(
        {"name": "work", "emptyDir": {}},
        {"name": "s", "secret": {"secretName": "keys", "defaultMode": 0o400}},
        securityContext={"fsGroup": 4321},
    )
    mounted = prepare(tmp_path, given, secret("keys", token=b"hush"))
    work, token = Path(mounted["work"].path), Path(mounted["s"].path, "token")
    assert work.stat().st_gid == 4321 and mode(work) == 0o2777
    assert token.stat().st_gid == 4321 and mode(token) == 0o440


def test_config_maps_follow_their_changes_all_at_once(tmp_path: Path):
    given = pod({"name": "s", "configMap": {"name": "settings", "defaultMode": 0o640}})
    mounted = prepare(tmp_path, given, config_map(a="1", b="2"))["s"]
    assert mounted.read_only and read(mounted) == {"a": "1", "b": "2"}
    root = Path(mounted.path)
    assert mode(root / "a") == 0o640 and os.readlink(root / "a") == "..data/a"
    first = os.readlink(root / "..data")
    prepare(tmp_path, given, config_map(a="1", b="2"))
    assert os.readlink(root / "..data") == first
    prepare(tmp_path, given, config_map(b="3", c="4"))
    assert read(mounted) == {"b": "3", "c": "4"}
    second = os.readlink(root / "..data")
    assert second != first and sorted(os.listdir(root)) == sorted(["..data", second, "b", "c"])


def test_directories_can_be_entered_whatever_the_umask(tmp_path: Path):
    before = os.umask(0o077)
    try:
        given = pod({"name": "s", "configMap": {"name": "settings", "items": [{"key": "a", "path": "x/y/a"}]}})
        root = Path(prepare(tmp_path, given, config_map(a="1"))["s"].path)
    finally:
        os.umask(before)
    assert [mode(path) for path in (root, root / "..data", root / "x", root / "x" / "y", root / "x/y/a")] == [
        0o755,
        0o755,
        0o755,
        0o755,
        0o644,
    ]


def test_projected_volumes(tmp_path: Path):
    sources = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {"configMap": {"name": "settings", "items": [{"key": "a", "path": "ca.crt", "mode": 0o600}]}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"secret": {"name": "nosuch", "optional": True}},
    ]
    given = pod({"name": "k", "projected": {"sources": sources}})
    assert payloads.tokens(given["spec"]["volumes"]) == [TokenWanted("", 3607)]
    mounted = prepare(tmp_path, given, config_map(a="PEM"), tokens={TokenWanted("", 3607): "jwt"})["k"]
    assert read(mounted) == {"token": "jwt", "ca.crt": "PEM", "labels": 'app="redis"'}
    assert mode(Path(mounted.path, "ca.crt")) == 0o600


ONE, TWO, THREE = (signing.authority_pem(name) for name in ("one", "two", "three"))


def trusted(name: str, pem: str, signer: str = "", **labels: str) -> Any:
    return {"metadata": {"name": name, "labels": labels}, "spec": {"signerName": signer, "trustBundle": pem}}


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        ({"name": "b"}, TWO + ONE),
        ({"name": "nosuch", "optional": True}, ""),
        ({"signerName": "x.y/z", "labelSelector": {}}, ONE + THREE),
        ({"signerName": "x.y/z", "labelSelector": {"matchLabels": {"alive": "yes"}}}, THREE),
        ({"signerName": "x.y/z", "optional": True}, ""),
    ],
)
def test_certificates_of_authorities_come_in_one_file(wanted: Any, shown: str):
    bundles = (
        trusted("x.y:z:2", THREE + ONE, "x.y/z", alive="no"),
        trusted("x.y:z:1", f"noise\n{ONE}", "x.y/z", alive="no"),
        trusted("x.y:z:3", THREE, "x.y/z", alive="yes"),
        trusted("b", TWO + ONE),
    )
    volume = {"name": "v", "projected": {"sources": [{"clusterTrustBundle": {"path": "ca.pem", **wanted}}]}}
    assert payloads.asks_for_bundles([volume])
    files = payloads.files(volume, Facts(pod(volume), bundles=bundles), {})
    assert {path: file.data.decode() for path, file in files.items()} == {"ca.pem": shown}


def test_a_pod_waits_for_certificates_that_are_not_optional():
    for wanted in ({"name": "nosuch"}, {"signerName": "x.y/z", "labelSelector": {}}):
        volume = {"name": "v", "projected": {"sources": [{"clusterTrustBundle": {"path": "ca.pem", **wanted}}]}}
        with pytest.raises(ConfigError, match="there is none that fits"):
            payloads.files(volume, Facts(pod(volume)), {})


@pytest.mark.parametrize(
    ("volume", "why"),
    [
        ({"configMap": {"name": "nosuch"}}, 'configmap "nosuch" not found'),
        ({"secret": {"secretName": "nosuch"}}, 'secret "nosuch" not found'),
        (
            {"configMap": {"name": "settings", "items": [{"key": "z", "path": "z"}]}},
            "references non-existent configmap key: z",
        ),
        ({"configMap": {"name": "settings", "items": [{"key": "a", "path": "../z"}]}}, "must stay inside"),
        (
            {"configMap": {"name": "settings", "items": [{"key": "a", "path": "d/" * 1500 + "a"}]}},
            "more than 100 parts",
        ),
        ({"hostPath": {"path": "/nosuch" + "/d" * 1500}}, "more than 100 parts"),
        ({"emptyDir": {"medium": "HugePages"}}, "does not offer emptyDir on HugePages"),
        ({"nfs": {"server": "x", "path": "/"}}, "does not offer volumes of type nfs"),
        ({"persistentVolumeClaim": {"claimName": "c"}}, "its claim is not bound"),
        (
            {"hostPath": {"path": "/nosuch", "type": "Directory"}},
            "hostPath type check failed: /nosuch is not a directory",
        ),
    ],
)
def test_what_cannot_be_mounted_says_why(tmp_path: Path, volume: Any, why: str):
    with pytest.raises(VolumeError) as caught:
        prepare(tmp_path, pod({"name": "v", **volume}), config_map(a="1"))
    assert caught.value.message.startswith('MountVolume.SetUp failed for volume "v" : ')
    assert why in caught.value.message


@pytest.mark.skipif(not IS_ROOT, reason="needs root to mount")
def test_a_full_disk_is_told_with_its_place(tmp_path: Path):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(tmp_path)], check=True)
    try:
        with pytest.raises(VolumeError) as caught:
            prepare(tmp_path, pod({"name": "v", "configMap": {"name": "settings"}}), config_map(a="x" * 100_000))
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert caught.value.message.endswith(f" : No space left on device: {tmp_path}")


def test_optional_payloads_may_be_absent(tmp_path: Path):
    given = pod({"name": "v", "configMap": {"name": "nosuch", "optional": True}})
    assert read(prepare(tmp_path, given)["v"]) == {}


def test_host_paths(tmp_path: Path):
    def host(path: Path, type_: str) -> Any:
        return prepare(tmp_path / "state", pod({"name": "v", "hostPath": {"path": str(path), "type": type_}}))["v"]

    assert host(tmp_path / "a" / "b", "DirectoryOrCreate").path == str(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    host(tmp_path / "file", "FileOrCreate")
    host(tmp_path / "file", "File")
    host(tmp_path / "made", "")
    assert (tmp_path / "made").is_dir()
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "sock"))
        host(tmp_path / "sock", "Socket")
    host(Path("/dev/null"), "CharDevice")
    with pytest.raises(VolumeError, match="is not a block device"):
        host(Path("/dev/null"), "BlockDevice")


OURS = {well_known.PROVISIONED_BY_ANNOTATION: well_known.HOST_PATH_PROVISIONER}


def claimed(path: Path, **fields: Any) -> dict[str, Claimed]:
    volume = {
        "metadata": {"name": "pv", "annotations": fields.pop("annotations", {})},
        "spec": {"hostPath": {"path": str(path)}},
    }
    return {
        "data": Claimed({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], **fields}}, volume)
    }


def test_claims_are_the_volume_itself_and_stay(tmp_path: Path):
    data = tmp_path / "pvc-1"
    data.mkdir()
    (data / "x").write_text("kept")
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    assert prepare(tmp_path / "s", pod(volume), claims=claimed(data))["v"] == Mounted(str(data))
    read_only = {"name": "v", "persistentVolumeClaim": {"claimName": "data", "readOnly": True}}
    assert prepare(tmp_path / "s", pod(read_only), claims=claimed(data))["v"].read_only
    asyncio.run(Volumes(tmp_path / "s").remove("u1"))
    assert (data / "x").read_text() == "kept"
    with pytest.raises(VolumeError, match="is gone"):
        prepare(tmp_path / "s", pod(volume), claims=claimed(tmp_path / "nosuch", annotations=OURS))


@pytest.mark.skipif(not IS_ROOT, reason="needs root to change groups")
def test_a_provisioned_volume_is_given_to_the_group_of_the_pod(tmp_path: Path):
    data = tmp_path / "pvc-1"
    data.mkdir()
    (data / "old").write_text("")
    (data / "link").symlink_to("/etc/passwd")
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    given = pod(volume, securityContext={"fsGroup": 4321})
    prepare(tmp_path / "s", given, claims=claimed(data, annotations=OURS))
    assert (data / "old").stat().st_gid == 4321 and mode(data) & 0o2070 == 0o2070
    assert os.stat("/etc/passwd").st_gid == 0


# ---- mounts of one container


def mount(*entries: Any, volumes: Any, env: Any = None) -> tuple[Mount, ...]:
    return mounts(pod(), {"name": "c", "volumeMounts": list(entries)}, volumes, env or {})


def test_mounts(tmp_path: Path):
    volumes = {"v": Mounted(str(tmp_path)), "r": Mounted("/ro", True)}
    assert mount(
        {"name": "v", "mountPath": "/data"},
        {"name": "v", "mountPath": "/ro", "readOnly": True, "mountPropagation": "HostToContainer"},
        {"name": "r", "mountPath": "/cfg"},
        {"name": "v", "mountPath": "/pet", "subPathExpr": "pets/$(NAME)"},
        volumes=volumes,
        env={"NAME": "rd-0"},
    ) == (
        Mount(str(tmp_path), "/data"),
        Mount(str(tmp_path), "/ro", True, propagation="HostToContainer"),
        Mount("/ro", "/cfg", True),
        Mount(str(tmp_path), "/pet", sub_path="pets/rd-0"),
    )
    with pytest.raises(ConfigError, match='cannot find volume "x"'):
        mount({"name": "x", "mountPath": "/x"}, volumes=volumes)
    with pytest.raises(ConfigError, match="missing value"):
        mount({"name": "v", "mountPath": "/x", "subPathExpr": "$(NO)"}, volumes=volumes)


@pytest.mark.parametrize("path", ["../x", "/etc", "a/../../b"])
@pytest.mark.parametrize("field", ["subPath", "subPathExpr"])
def test_no_sub_path_leads_out_of_its_volume(field: str, path: str):
    with pytest.raises(ConfigError, match="inside its volume"):
        mount({"name": "v", "mountPath": "/x", field: path}, volumes={"v": Mounted("/v")})


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to change owners")
@pytest.mark.parametrize("like", [0o2770, 0o3777])
def test_a_sub_path_is_made_like_its_volume(tmp_path: Path, like: int):
    os.chown(tmp_path, 5, 6)
    tmp_path.chmod(like)
    with paths.opened(tmp_path) as place:
        os.close(paths.made_beneath(place, "pets//./rd-0/"))
    for made in (tmp_path / "pets", tmp_path / "pets" / "rd-0"):
        assert (made.stat().st_uid, made.stat().st_gid, mode(made)) == (5, 6, like)


def test_a_sub_path_of_a_payload_is_the_file_itself(tmp_path: Path):
    given = pod({"name": "s", "configMap": {"name": "settings"}})
    mounted = prepare(tmp_path, given, config_map(a="1"))["s"]
    with paths.opened(mounted.path) as place, open(paths.beneath(place, "a", os.O_RDONLY)) as file:
        assert file.read() == "1"


def test_the_first_volumes_of_many_pods_may_come_at_once(tmp_path: Path) -> None:
    directory = tmp_path / "node" / "volumes"
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        for made in [threads.submit(_make_private, directory) for _ in range(64)]:
            made.result()
    assert directory.stat().st_mode & 0o777 == 0o700
