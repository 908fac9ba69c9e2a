"""How a container is started: from what the agent asks to a record, an OCI configuration and a process.

`Starter` is what all starts of a node have in common. `record` is written before anything is made, so that a start that
was interrupted is found again; `start` looks up the user in the image, has bundle.py decide the configuration, and
attempts.py make it so. Follows: OCI runtime-spec 1.0.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path

from petset.base import tasks
from petset.kinds import requests
from petset.kinds.pod_spec import resize
from petset.node import linux, paths, user_namespaces
from petset.node.containers import attempts, bundle, cgroups, host, mounting, records, users
from petset.node.containers.records import ContainerRecord, SandboxRecord
from petset.node.runtime import ContainerConfig, Image, RuntimeError_, Warning_
from petset.node.user_namespaces import IDS_MAX, Users
from petset.objects import encoding, meta
from petset.objects.meta import Object

IMAGE_FILE_BYTES_MAX = 1 << 20  # What is read of an image's /etc/passwd and /etc/group.


@dataclass(frozen=True, slots=True)
class Starter:
    directory: Path  # The node's.
    tools: attempts.Tools
    host: bundle.Host
    cgroup: str  # The node's.
    boot_id: str
    seccomp_default: str
    seccomp_profiles: Path

    def record(self, config: ContainerConfig) -> ContainerRecord:
        """What is written down before anything is made."""
        id = records.container_id(config.pod_uid, config.name, config.attempt)
        own_signal = meta.get(config.container, "lifecycle", "stopSignal", default="")
        return ContainerRecord(
            pod_uid=config.pod_uid,
            name=config.name,
            attempt=config.attempt,
            id=id,
            state="created",
            image=config.image.reference,
            image_digest=config.image.digest,
            spec_hash=records.spec_hash(config.container),
            group=f"{cgroups.of_pod(self.cgroup, config.pod_uid)}/{id}",
            log_path=config.log_path or str(self._place(config) / "container.log"),
            stop_signal=attempts.stop_signal((own_signal, config.image.stop_signal)),
            boot_id=self.boot_id,
            created_at=tasks.now(),
            tty=bool(config.container.get("tty")),
            stdin=bool(config.container.get("stdin")),
            stdin_once=bool(config.container.get("stdinOnce")),
            images=tuple(mount.image for mount in config.mounts if mount.image),
            termination_policy=config.container.get("terminationMessagePolicy") or "File",
        )

    def start(
        self,
        config: ContainerConfig,
        record: ContainerRecord,
        sandbox: SandboxRecord,
        pids_max: int,
        warnings: list[Warning_],
        target: linux.Process | None = None,
    ) -> ContainerRecord:
        """Blocks: create and start it; `warnings` gets what could not be granted. Raises RuntimeError_.

        It joins the PID namespace of `target`.
        """
        with _pid_namespace(target) as pid:
            return self._start(config, record, sandbox, pids_max, warnings, pid)

    def _start(
        self,
        config: ContainerConfig,
        record: ContainerRecord,
        sandbox: SandboxRecord,
        pids_max: int,
        warnings: list[Warning_],
        pid: str,
    ) -> ContainerRecord:
        try:
            passwd, group = (_of_image(config.image, path) for path in ("etc/passwd", "etc/group"))
            user = users.resolve(config.pod, config.container, config.image.user, passwd, group)
        except users.UserError as error:
            raise RuntimeError_("CreateContainerConfigError", str(error)) from None
        own = meta.part(config.container, "securityContext")
        profile = bundle.seccomp_profile(config.pod, own)
        own_users = user_namespaces.of(self._sandbox(config), sandbox.users)
        if own_users is not None and (beyond := max(user.uid, user.gid, *user.groups)) > IDS_MAX:
            why = f"cannot run as {beyond}: users and groups of a pod with hostUsers false are at most {IDS_MAX}"
            raise RuntimeError_("CreateContainerConfigError", why)
        oci, said = bundle.config(
            config,
            self._places(config, record, sandbox, pid, own_users),
            user,
            self.host,
            pids_max=pids_max,
            seccomp_default=self.seccomp_default,
            devices=host.devices() if own.get("privileged") else (),
            localhost_profile=self._localhost_profile(profile) if profile.get("type") == "Localhost" else None,
        )
        warnings += said
        given = dict(resize.resizable(meta.part(config.container, "resources")))
        record = replace(
            record,
            handler=sandbox.handler,
            user=(user.uid, user.gid, *user.groups),
            users=sandbox.users,
            resources=given,
        )
        image, mounts, shown = config.image.rootfs, config.mounts, self._files(config)
        started = attempts.start(self.tools, self._place(config), record, oci, image, mounts, own_users, shown)
        self._weigh(config.pod)
        warnings += self._limit(config.pod)
        return started

    def resize(self, pod: Object, container: Object, record: ContainerRecord) -> ContainerRecord:
        """Blocks: give a container that runs what its spec says now. Raises RuntimeError_."""
        wanted = bundle.resources(container, False, self.host, -1, [])
        amounts = {name: wanted[name] for name in ("cpu", "memory") if name in wanted}
        limit = amounts.get("memory", {}).get("limit")
        used = cgroups.used(self.tools.groups, record.group).memory_bytes
        if limit is not None and limit < used:
            raise RuntimeError_(
                "ResizeError", f"attempting to set memory limit ({limit}) of {record.name} below current usage ({used})"
            )
        place = records.place(self.directory, record.pod_uid, record.name, record.attempt)
        given = dict(resize.resizable(meta.part(container, "resources")))
        resized = attempts.resize(self.tools, place, replace(record, resources=given), amounts)
        self._weigh(pod)
        return resized

    def _weigh(self, pod: Object) -> None:
        """The pod against the others, by what its containers request."""
        shares = requests.of(pod).get("cpu", 0) * 1024 // 1000
        cgroups.weigh(self.tools.groups, cgroups.of_pod(self.cgroup, meta.uid(pod)), shares)

    def _limit(self, pod: Object) -> list[Warning_]:
        """The pod's containers together, where it says what it may have as a whole; what cannot be kept to."""
        if not meta.part(pod, "spec", "resources", "limits"):
            return []
        most, group = requests.limits_of(pod), cgroups.of_pod(self.cgroup, meta.uid(pod))
        lacking = cgroups.limit(self.tools.groups, group, most.get("memory", 0), most.get("cpu", 0))
        why = "cannot apply the pod's {} limit: this machine has no cgroup controller for it"
        return [Warning_("LimitNotApplied", why.format(name)) for name in lacking]

    def _localhost_profile(self, profile: Object) -> Object | None:
        """A name cannot lead out of where they are."""
        root, name = self.seccomp_profiles, str(profile.get("localhostProfile", ""))
        try:
            with paths.opened(root) as place, paths.file_beneath(place, name) as file:
                return encoding.loads(file.read())
        except OSError:
            return None
        except ValueError as error:
            message = f"cannot read the seccomp profile {root / name}: {error}"
            raise RuntimeError_("CreateContainerConfigError", message) from None

    def _places(
        self,
        config: ContainerConfig,
        record: ContainerRecord,
        sandbox: SandboxRecord,
        pid: str,
        own_users: Users | None,
    ) -> bundle.Places:
        shared = self._sandbox(config)
        found = {path.name: mounting.found_at(path, own_users) for path in self._files(config)}

        def pinned(kind: str) -> str:
            return str(shared / kind) if kind in sandbox.kinds else ""

        return bundle.Places(
            rootfs=found["rootfs"],
            cgroup=record.group,
            network=pinned("net"),
            uts=pinned("uts"),
            ipc=pinned("ipc"),
            shm=found["shm"],
            hosts=found["hosts"],
            hostname_file=found["hostname"],
            resolv_conf=found["resolv.conf"],
            termination_log=found["termination-log"],
            volumes=mounting.found_at(self._place(config) / attempts.VOLUMES, own_users),
            hostname=sandbox.hostname,
            pid=pid,
            users=own_users.namespace if own_users is not None else "",
        )

    def _files(self, config: ContainerConfig) -> list[Path]:
        """What a container has of its attempt's and of its pod's, besides its mounts."""
        attempt, shared = self._place(config), self._sandbox(config)
        return [
            *(attempt / name for name in ("rootfs", "termination-log")),
            *(shared / name for name in ("shm", "hosts", "hostname", "resolv.conf")),
        ]

    def _sandbox(self, config: ContainerConfig) -> Path:
        return records.pod_directory(self.directory, config.pod_uid) / "sandbox"

    def _place(self, config: ContainerConfig) -> Path:
        return records.place(self.directory, config.pod_uid, config.name, config.attempt)


@contextlib.contextmanager
def _pid_namespace(target: linux.Process | None) -> Generator[str, None, None]:
    """A path to the PID namespace of a process, good while the block lasts; "" without one. Raises RuntimeError_."""
    if target is None:
        yield ""
        return
    try:
        namespace = os.open(f"/proc/{target.pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise RuntimeError_("CreateContainerError", f"cannot join the target container: {error.strerror}") from None
    try:
        if not target.alive():  # What was opened may be of a later process with its id.
            raise RuntimeError_("CreateContainerError", "cannot join the target container: it has ended")
        yield f"/proc/{os.getpid()}/fd/{namespace}"
    finally:
        os.close(namespace)


def _of_image(image: Image, path: str) -> str:
    return paths.text_in_root(image.rootfs, path, IMAGE_FILE_BYTES_MAX)
