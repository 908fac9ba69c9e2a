"""Looks at this machine for `petset doctor`: everything that findings.py decides by, gathered once.

Whatever can be tried is tried, and taken back: links in a network namespace of its own, a mount of an overlay in a
mount namespace, rules in a table that goes with the namespace, files in the state directory. Nothing is left, and
nothing waits for longer than a few seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from petset import rootless, up
from petset.base import state, tasks
from petset.cli.machine import findings
from petset.dns import forwarder
from petset.node import disk, linux, paths
from petset.node.containers import cgroups, host
from petset.node.network import bridge, nftables
from petset.wire import dns

PROGRAM_SECONDS_MAX = 10
ANSWER_SECONDS_MAX = 2.0
FSYNCS = 5
PROGRAMS = ("crun", "runc", "conmon", "nft", "skopeo", "umoci", "unshare", "mmdebstrap")
ROOT, NS = "", 2  # What every resolver knows: the servers of the name above all.


def look(instance: state.State) -> findings.Picture:
    is_root = os.geteuid() == 0
    unprivileged = None if is_root else rootless.look()
    directory = _there(instance.directory)
    groups = cgroups.detect()
    space = disk.look(place=directory)["place"]
    had = (instance.read(state.RECORD) or {}).get("api_port", 0)
    runs = instance.running_process() is not None
    may_write = os.access(directory, os.W_OK)
    return findings.Picture(
        is_root=is_root,
        rootless_lacks=rootless.lacks(unprivileged) if unprivileged else (),
        closed_off=rootless.closed_off(unprivileged) if unprivileged else "",
        kernel=platform.release(),
        openat2=paths.why_not(),
        cgroups=groups.version,
        controllers=groups.controllers,
        programs={name: _version(name) for name in PROGRAMS},
        seccomp=bool(host.seccomp_profile()),
        links=_links() if is_root else None,
        nft=_in_a_network(lambda: nftables.apply("add table ip petset_doctor\n")) if is_root else None,
        directory=str(directory),
        file_system=_file_system(directory),
        free_bytes=space.bytes_available,
        total_bytes=space.bytes_total,
        fsync_seconds=asyncio.run(_fsync_seconds(directory)) if may_write else None,
        overlay=_overlay(directory) if is_root and may_write else None,
        ports_free=sum(up.is_free(port) for port in range(up.API_PORT_FIRST, up.API_PORT_LAST + 1)),
        port_taken=had if had and not runs and not up.is_free(had) else 0,
        runs=runs,
        clock=tasks.now(),
        clock_synchronized=linux.is_clock_synchronized(),
        certificate_starts=_written(instance.keys / "ca.crt"),
        open_files_max=_limit(resource.RLIMIT_NOFILE),
        memlock_bytes_max=_limit(resource.RLIMIT_MEMLOCK),
        processes_max=_processes_max(groups),
        inotify_instances_max=_number("/proc/sys/fs/inotify/max_user_instances"),
        capabilities=host.held_capabilities(_text("/proc/self/status"), _number("/proc/sys/kernel/cap_last_cap")),
        resolvers=asyncio.run(_resolvers()),
    )


def _there(path: Path) -> Path:
    """As much of a path as there is."""
    return next(place for place in (path, *path.parents) if place.is_dir())


def _version(program: str) -> str:
    """Its first word that is a number; "" when it is not installed, "?" when it does not say."""
    if not shutil.which(program):
        return ""
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=PROGRAM_SECONDS_MAX, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return "?"
    words = (done.stdout + done.stderr).replace(",", " ").split()
    return next((word.removeprefix("v") for word in words if word.removeprefix("v")[:1].isdigit()), "?")


def _in_a_network(attempt: Callable[[], str]) -> str:
    """Why it cannot be done in a network namespace of its own, which goes with all that is in it."""
    try:
        with linux.in_namespaces(("net",)):
            return attempt()
    except OSError as error:
        return error.strerror or str(error)


def _links() -> dict[str, str]:
    kinds = {kind: _in_a_network(lambda kind=kind: bridge.why_no_link(kind)) for kind in ("bridge", "veth")}
    return {**kinds, "tun": "" if os.path.exists("/dev/net/tun") else "there is no /dev/net/tun"}


def _file_system(directory: Path) -> str:
    """Its kind, by the mount that is the nearest above."""
    best, kind = "", "unknown"
    for line in _text("/proc/self/mountinfo").splitlines():
        head, _, tail = line.partition(" - ")
        target = head.split()[4]
        if len(target) >= len(best) and (target == "/" or f"{directory}/".startswith(f"{target}/")):
            best, kind = target, tail.split()[0]
    return kind


async def _fsync_seconds(directory: Path) -> float | None:
    """How long a small write takes to be on the disk: the middle of a few."""
    took: list[float] = []
    with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=directory, prefix=".petset-doctor-") as file:
        for _ in range(FSYNCS):
            began = tasks.monotonic()
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
            took.append(tasks.monotonic() - began)
    return sorted(took)[len(took) // 2] if took else None


def _overlay(directory: Path) -> str:
    """Why the file system cannot hold a container's own layer; "" when it can."""
    with tempfile.TemporaryDirectory(dir=directory, prefix=".petset-doctor-") as place:
        for name in ("lower", "upper", "work", "whole"):
            os.mkdir(os.path.join(place, name))
        options = f"lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work"
        try:
            with linux.in_namespaces(("mnt",)):
                linux.set_propagation("/", linux.MS_REC | linux.MS_PRIVATE)
                linux.mount("overlay", f"{place}/whole", "overlay", 0, options)
                linux.unmount(f"{place}/whole")
        except OSError as error:
            return error.strerror or str(error)
    return ""


def _written(path: Path) -> float:
    """When a file was made; 0 when it was not."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _limit(which: int) -> int:
    hard = resource.getrlimit(which)[1]
    return findings.UNLIMITED if hard == resource.RLIM_INFINITY else hard


def _processes_max(groups: cgroups.Cgroups) -> int:
    """The least of what the kernel, the user's limit and petset's own group allow."""
    found = [_number("/proc/sys/kernel/pid_max"), _number("/proc/sys/kernel/threads-max")]
    own = next((line.split(":", 2)[2] for line in _text("/proc/self/cgroup").splitlines() if ":pids:" in line), "")
    if "pids" in groups.hierarchies and own:
        found.append(_number(f"{groups.hierarchies['pids']}{own}/pids.max"))
    known = [value for value in (*found, _limit(resource.RLIMIT_NPROC)) if value != findings.UNLIMITED]
    return min(known, default=findings.UNLIMITED)


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _number(path: str) -> int:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else findings.UNLIMITED


async def _resolvers() -> dict[str, bool]:
    """Whether each of the resolvers of this machine answers, whatever it answers."""
    named = forwarder.resolvers_of(_text("/etc/resolv.conf"), [])
    answers = await asyncio.gather(*(_answers(address) for address in named))
    return dict(zip(named, answers, strict=True))


async def _answers(address: str) -> bool:
    query = dns.query_bytes(1, ROOT, NS)
    loop = asyncio.get_running_loop()
    heard: asyncio.Future[bool] = loop.create_future()
    try:
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Heard(heard), remote_addr=forwarder.address_and_port(address)
        )
    except OSError:
        return False
    try:
        transport.sendto(query)
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            return await heard
    except TimeoutError:
        return False
    finally:
        transport.close()


class _Heard(asyncio.DatagramProtocol):
    """The first that comes, an answer or a refusal."""

    def __init__(self, heard: asyncio.Future[bool]):
        self._heard = heard

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._tell(True)

    def error_received(self, exc: Exception) -> None:
        self._tell(False)

    def _tell(self, answered: bool) -> None:
        if not self._heard.done():
            self._heard.set_result(answered)
