"""The volumes of a pod's claims: which directory each is, and whether this pod may have it here and now.

A volume of a claim that one pod alone may use (ReadWriteOncePod) is held by the first pod of the node that asks, until
nothing of that pod is left; the scheduler sees to the same across nodes, but anybody may bind. All of a pod's are taken
together or none is, so that no two pods wait for each other. Who holds what is written beside the pod's own volumes, so
that after a restart whoever still runs holds what it held, whatever the API remembers of it.

Follows: "Persistent Volumes", access modes and mount options.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from petset.base import state, tasks
from petset.kinds import persistent_volume, persistent_volume_claim
from petset.kinds.pod_spec import pod_containers
from petset.node import paths
from petset.node.environment import ConfigError
from petset.objects import meta
from petset.objects.meta import Object

HELD = "..held"  # A file of the pod's directory: no volume has such a name.


# What the mount of a directory can be told; all else concerns a file system that petset does not mount.
LOCAL_OPTIONS = ("noatime", "nodev", "nodiratime", "noexec", "nosuid", "relatime", "ro", "rw")


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim with the volume it is bound to."""

    claim: Object
    volume: Object

    @property
    def is_read_only(self) -> bool:
        return list(meta.texts(self.claim, "spec", "accessModes")) == ["ReadOnlyMany"] or "ro" in self._options

    @property
    def options(self) -> tuple[str, ...]:
        """How each container mounts it; that it is read only is said otherwise."""
        return tuple(option for option in self._options if option not in ("ro", "rw"))

    @property
    def _options(self) -> Sequence[str]:
        return meta.texts(self.volume, "spec", "mountOptions")

    def refusal(self, pod: Object, name: str) -> str:
        """Why the pod cannot have it as its volume of this name; "" when it can."""
        volume, what = meta.name(self.volume), list(persistent_volume.source(self.volume["spec"]))
        is_device = name in (
            one.get("name") for each in pod_containers.every(pod["spec"]) for one in meta.parts(each, "volumeDevices")
        )
        if meta.get(self.volume, "spec", "volumeMode") == "Block":
            return (
                f'cannot attach the block device of volume "{volume}": petset mounts directories only; '
                "use a volume with volumeMode Filesystem"
            )
        if is_device:
            return f'volume "{volume}" has volumeMode Filesystem, and volumeDevices are for Block; use volumeMounts'
        if what not in (["hostPath"], ["local"]):
            return f"this release of petset does not offer volumes of type {' '.join(what) or 'unknown'}"
        if what == ["local"]:
            unknown = [option for option in self._options if option not in LOCAL_OPTIONS]
            can = f"a directory is mounted with {', '.join(LOCAL_OPTIONS)} only"
        else:
            unknown, can = list(self._options), "hostPath volumes have none"
        return f'cannot mount volume "{volume}" with the options {" ".join(unknown)}: {can}' if unknown else ""

    def directory(self) -> str:
        """Where the volume is; one that is there already. Raises ConfigError."""
        path = persistent_volume.directory(self.volume) or meta.get(self.volume, "spec", "local", "path", default="")
        if not os.path.isdir(path):
            name = meta.name(self.volume)
            if os.path.exists(path):
                raise ConfigError(f"the path {path} of volume {name} is not a directory, which alone can be mounted")
            raise ConfigError(f"the directory {path} of volume {name} is gone; restore it or delete the claim")
        return path


class Holders:
    """Which pod of this node holds which volumes that one pod alone may use; written in its directory, where it is."""

    def __init__(self, directory: Path, on_disk: bool):
        self._directory, self._on_disk = directory, on_disk
        self._pods: dict[str, str] = {}  # By the volume's name: the uid of the pod that holds it.

    def load(self, pods: Iterable[str]) -> None:
        """What an earlier petset has left here."""
        for uid in pods:
            for name in _read(self._directory / uid / HELD):
                self._pods.setdefault(name, uid)

    async def take(self, uid: str, claims: Mapping[str, Claimed]) -> None:
        """All of the pod's that nobody else may have meanwhile. Raises ConfigError, OSError."""
        wanted = {name: one for name, one in claims.items() if persistent_volume_claim.is_for_one_pod(one.claim)}
        for name, one in wanted.items():
            if self._pods.get(meta.name(one.volume), uid) != uid:
                raise ConfigError(f'claim "{name}" is ReadWriteOncePod, and another pod of this node uses its volume')
        fresh = [name for one in wanted.values() if (name := meta.name(one.volume)) not in self._pods]
        self._pods |= dict.fromkeys(fresh, uid)
        if fresh and self._on_disk:
            held = sorted(name for name, pod in self._pods.items() if pod == uid)
            try:
                await tasks.in_thread(_write, self._directory / uid / HELD, held)
            except OSError:
                for name in fresh:  # What is not written would not be known after a restart.
                    self._pods.pop(name, None)
                raise

    def release(self, uid: str) -> None:
        """Nothing of the pod is left."""
        self._pods = {name: pod for name, pod in self._pods.items() if pod != uid}


def _read(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except FileNotFoundError:
        return []


def _write(file: Path, names: Iterable[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    state.replace_whole(file, "\n".join(names).encode())


async def give_to_group(bound: Claimed, path: str, group: int | None) -> None:
    """Let fsGroup read and write a volume of ours."""
    if group is not None and persistent_volume.is_ours(bound.volume):
        await tasks.in_thread(_give_to_group, Path(path), group)


def _give_to_group(root: Path, group: int) -> None:
    """Once, since its root remembers it."""
    found = root.stat()
    if found.st_gid == group and found.st_mode & 0o2000:
        return
    with paths.opened(root) as place:
        for _, descriptor, inside in paths.walk(place):
            if not stat.S_ISLNK(inside.st_mode):
                more = 0o2770 if stat.S_ISDIR(inside.st_mode) else 0o660
                paths.change(descriptor, group, stat.S_IMODE(inside.st_mode) | more)
        paths.change(place, group, stat.S_IMODE(found.st_mode) | 0o2770)
