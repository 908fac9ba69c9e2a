"""Volumes of real containers: found by descriptor, put where only the runtime sees them, propagated as asked."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from petset.kinds.pod_spec import containers
from petset.node import linux
from petset.node.containers import host, mounting
from petset.node.runtime import Mount, RuntimeError_
from petset.node.volumes import volumes
from petset.node.volumes.volumes import Mounted
from tests import waiting
from tests.node import machine
from tests.swapping import swapping

STARTS = 24  # As many as once found 12 ways out.
FOREVER = ("sleep", "1000")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return machine.rootfs(tmp_path_factory.mktemp("image"))


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "whose").write_text("the host's\n")
    return outside


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    volume = tmp_path / "volume"
    (volume / "d").mkdir(parents=True)
    (volume / "d" / "whose").write_text("the pod's\n")
    return volume


@machine.on_machine
async def test_a_container_whose_sub_path_is_swapped_never_mounts_the_host_s(tmp_path, root, volume, outside):
    (volume / "link").symlink_to(outside)
    found: Counter[str] = Counter()
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        with swapping(volume, "d", "link"):
            for attempt in range(STARTS):
                mounts = [Mount(str(volume), "/v", sub_path="d")]
                try:
                    said = await here.output(
                        pod, "sh", "-c", "cat /v/whose; touch /v/mine", mounts=mounts, attempt=attempt
                    )
                except RuntimeError_ as error:
                    assert error.reason == "CreateContainerConfigError"
                    said = error.message
                found[said] += 1
                await here.runtime.remove_container("uid-web-0", "main", attempt)
    leads_out = "cannot mount subPath 'd' at /v: it leads out of its volume"
    busy = "cannot mount subPath 'd' at /v: its directories are being renamed all the time"
    assert sum(found.values()) == STARTS and found.keys() <= {"the pod's\n", leads_out, busy}
    assert os.listdir(outside) == ["whose"]


@machine.on_machine
async def test_what_is_mounted_is_what_was_opened(tmp_path, root, volume, outside, monkeypatch):
    """The swap at the worst moment: after the volume was opened, before the runtime is started."""
    create = mounting.prepared

    @contextlib.contextmanager
    def swapped(*arguments) -> Iterator[tuple[str, ...]]:
        with create(*arguments) as entering:
            (volume / "d").rename(volume / "was-d")
            (volume / "d").symlink_to(outside)
            yield entering

    monkeypatch.setattr(mounting, "prepared", swapped)
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        said = await here.output(pod, "cat", "/v/whose", mounts=[Mount(str(volume), "/v", sub_path="d")])
    assert said == "the pod's\n"


@machine.on_machine
async def test_the_host_s_mount_table_stays_clean(tmp_path, root, volume):
    (volume / "file").write_text("a file\n")
    mounts = [
        Mount(str(volume), "/whole", read_only=True),
        Mount(str(volume), "/part", sub_path="d"),
        Mount(str(volume / "file"), "/a/file"),
        Mount(str(volume), "/made", sub_path="x/y"),
    ]
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        before = Path("/proc/self/mountinfo").read_text().splitlines()
        container = await here.run(pod, *FOREVER, mounts=mounts)
        script = """
            cat /whole/d/whose /part/whose /a/file; touch /whole/x 2>&1; touch /made/z; grep -c '/volumes/' /proc/mounts
        """
        assert await here.exec(pod, "sh", "-c", script) == (
            "the pod's\nthe pod's\na file\ntouch: /whole/x: Read-only file system\n0\n"
        )
        assert (volume / "x" / "y" / "z").exists()
        after = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if line not in before]
        new = [line for line in after if str(tmp_path) in line]  # Other tests mount things of their own meanwhile.
        assert [line.split(" ")[4] for line in new] == [str(here.runtime._place(_record(here, container)) / "rootfs")]
        # Neither conmon nor petset holds what was prepared: the volume can go when the container has.
        record = _record(here, container)
        assert record.conmon is not None
        for process in (record.conmon.pid, os.getpid()):
            assert str(volume) not in Path(f"/proc/{process}/mountinfo").read_text()
            for name in os.listdir(f"/proc/{process}/fd"):
                with contextlib.suppress(FileNotFoundError):
                    assert str(volume) not in os.readlink(f"/proc/{process}/fd/{name}")


def _record(here: machine.Machine, container):
    return here.runtime._pods[container.pod_uid].containers[(container.name, container.attempt)]


@machine.on_machine
async def test_a_termination_message_below_a_volume_is_read(tmp_path, root, volume):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        container = await here.run_to_end(
            pod,
            "sh",
            "-c",
            "echo last words > /v/message",
            mounts=[Mount(str(volume), "/v")],
            termination_message_path="/v/message",
        )
        assert here.seen(container).message == "last words\n"


@machine.on_machine
async def test_a_container_cannot_put_a_link_in_place_of_its_termination_message(tmp_path, root, outside):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        script = f"rm -f $1; ln -sf {outside}/whose $1; mv /tmp/x $1; echo mine > $1; true"
        container = await here.run_to_end(pod, "sh", "-c", script, "sh", "/dev/termination-log")
        assert here.seen(container).message == "mine\n"


@machine.on_machine
async def test_a_container_that_wrote_the_deepest_tree_is_removed(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        deep = "i=0; while [ $i -lt 1500 ]; do mkdir d && cd -P d || exit 1; i=$((i+1)); done; echo done"
        assert await here.output(pod, "sh", "-c", f"cd /tmp; {deep}") == "done\n"
        await here.runtime.remove_container("uid-web-0", "main", 0)
        assert not (here.state / "pods" / "uid-web-0" / "containers" / "main" / "0").exists()


# ---- the files of an image


@machine.on_machine
async def test_users_are_looked_up_in_the_image_wherever_its_links_lead(tmp_path, root):
    image = machine.rootfs(tmp_path / "image")
    (image / "real").mkdir()
    (image / "real" / "passwd").write_text("pet:x:4242:4243::/:/bin/sh\n")
    (image / "etc" / "passwd").unlink()
    (image / "etc" / "passwd").symlink_to("/real/passwd")
    async with machine.running(tmp_path / "s", image) as here:
        pod = await here.sandbox()
        assert "uid=4242" in await here.output(pod, "id", image={"user": "pet"})
        (image / "etc" / "passwd").unlink()
        (image / "etc" / "passwd").symlink_to("/proc/self/root/etc/passwd")  # The host's, if anybody followed it.
        with pytest.raises(RuntimeError_, match='no user "pet"'):
            await here.run(pod, "id", image={"user": "pet"}, attempt=1)


@machine.on_machine
async def test_devices_of_an_image_cannot_be_opened(tmp_path, root):
    image = machine.rootfs(tmp_path / "image")
    os.mknod(image / "memory", 0o666 | stat.S_IFCHR, os.makedev(1, 1))
    os.mknod(image / "disk", 0o666 | stat.S_IFBLK, os.makedev(254, 0))
    async with machine.running(tmp_path / "s", image) as here:
        pod = await here.sandbox()
        said = await here.output(pod, "sh", "-c", "head -c 1 /memory 2>&1; head -c 1 /disk 2>&1; true")
        assert said.count("Operation not permitted") == 2


# ---- propagation


@contextlib.contextmanager
def mounted(path: Path, *options: str) -> Iterator[Path]:
    """A file system of its own on the host, shared with others or not."""
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "petset-test", str(path)], check=True)
    try:
        subprocess.run(["mount", *options, str(path)], check=True)
        yield path
    finally:
        for target in linux.mount_points(str(path)):
            linux.unmount(target)


def asked(source: Path, propagation: str) -> tuple[Mount, ...]:
    """The mount of a container whose volumeMount says so: both halves on the same value."""
    entry = {"name": "v", "mountPath": "/v", "mountPropagation": propagation}
    return volumes.mounts({}, {"name": "c", "volumeMounts": [entry]}, {"v": Mounted(str(source))}, {})


@pytest.mark.parametrize(
    ("propagation", "tags", "from_host", "from_container"),
    [
        ("None", [], False, False),
        ("HostToContainer", ["master"], True, False),
        ("Bidirectional", ["shared"], True, True),
    ],
)
@machine.on_machine
async def test_mounts_propagate_as_asked(tmp_path, root, propagation, tags, from_host, from_container):
    with mounted(tmp_path / "volume", "--make-shared") as volume:
        (volume / "host").mkdir()
        (volume / "container").mkdir()
        async with machine.running(tmp_path / "s", root) as here:
            pod = await here.sandbox()
            privileged = {"securityContext": {"privileged": True}}
            await here.run(pod, *FOREVER, mounts=asked(volume, propagation), container=privileged)
            line = (await here.exec(pod, "grep", " /v ", "/proc/self/mountinfo")).partition(" - ")[0].split(" ")
            assert [tag.split(":")[0] for tag in line[6:]] == tags
            linux.mount("petset-test", str(volume / "host"), "tmpfs")
            assert ("/v/host" in await here.exec(pod, "cat", "/proc/mounts")) is from_host
            await here.exec(pod, "mount", "-t", "tmpfs", "petset-test", "/v/container")
            assert (str(volume / "container") in linux.mount_points(str(volume))) is from_container
            await here.exec(pod, "umount", "/v/container")


@pytest.mark.parametrize("propagation", ["HostToContainer", "Bidirectional"])
@machine.on_machine
async def test_a_mount_that_shares_nothing_cannot_propagate(tmp_path, root, propagation):
    with mounted(tmp_path / "volume", "--make-private") as volume:
        async with machine.running(tmp_path / "s", root) as here:
            pod = await here.sandbox()
            with pytest.raises(RuntimeError_, match=f"mountPropagation {propagation}.*not shared"):
                await here.run(pod, *FOREVER, mounts=asked(volume, propagation))


def test_the_words_of_the_documentation_are_those_that_validation_takes():
    assert sorted(mounting.KERNEL) == sorted(containers.PROPAGATIONS)


# ---- memory


@machine.on_machine
async def test_a_volume_in_memory_is_free_when_its_container_is_gone(tmp_path, root):
    """Nobody keeps a mount of it: not the namespace that it was prepared in, not a supervisor of another container."""
    with mounted(tmp_path / "memory", "--make-private") as memory:
        async with machine.running(tmp_path / "s", root) as here:
            pod = await here.sandbox()
            await here.run(pod, *FOREVER, mounts=[Mount(str(memory), "/v")])
            await here.run(pod, *FOREVER, name="side")
            await here.runtime.stop_container("uid-web-0", "main", 0)
            await here.runtime.remove_container("uid-web-0", "main", 0)
            await waiting.until(lambda: _mounted_by_others(memory) == [])


def _mounted_by_others(path: Path) -> list[str]:
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            is_other = os.readlink(process / "ns" / "mnt") != os.readlink("/proc/self/ns/mnt")
            if is_other and str(path) in (process / "mountinfo").read_text():
                found.append(process.name)
    return found


@machine.needs_machine
def test_a_kernel_without_openat2_is_told(monkeypatch):
    def refuses(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(linux, "openat2", refuses)
    assert host.check() == (
        "cannot keep containers inside their volumes: openat2 says Function not implemented; use Linux 5.6 or later"
    )
