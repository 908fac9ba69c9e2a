"""A pod's volumes on this machine: made before its containers start, bound into them, and taken away with the pod.

`prepare` makes every volume of a pod and says where each is; `mounts` (pure) turns one container's volumeMounts into
mounts. A pod's own volumes live in `<directory>/<pod uid>/<volume>`; claims and
hostPath volumes live where they are and are never touched at the end. Payload volumes (configMap, secret, downwardAPI,
projected) are written like upstream's: files are links into `..data`, itself a link to a directory with the time in
its name, so that a reader sees all of a new version or nothing of it.

Invariants: `prepare` may be called again at any time and changes only what differs; what containers may have written in
a volume is reached through paths.py alone; a memory emptyDir is the only thing mounted on the host itself.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from petset.base import tasks
from petset.kinds import persistent_volume
from petset.kinds.pod_spec import claims as pod_claims
from petset.node import env_files, environment, linux, meter, paths
from petset.node.environment import ConfigError, Facts
from petset.node.runtime import Image, Mount, Propagation
from petset.node.volumes import claims as claims_
from petset.node.volumes import empty_dirs, host_paths, payloads
from petset.node.volumes.claims import Claimed
from petset.node.volumes.payloads import File, TokenWanted
from petset.node.volumes.space import Space
from petset.objects import meta
from petset.objects.meta import Object

DATA = "..data"

P = ParamSpec("P")
T = TypeVar("T")


class VolumeError(Exception):
    """A volume that cannot be made now; becomes a FailedMount event, and is tried again."""

    def __init__(self, message: str):
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class Mounted:
    """Where a volume is on the host."""

    path: str
    read_only: bool = False
    image: str = ""  # The digest of the image that it is.
    options: tuple[str, ...] = ()  # With which each container has it mounted.


def fs_group(pod: Object) -> int | None:
    return meta.get(pod, "spec", "securityContext", "fsGroup")


class Volumes:
    """The volumes of all pods of one node. Without `on_disk` they are judged as always, and nothing is made of them."""

    def __init__(self, directory: Path, *, may_mount: bool = True, on_disk: bool = True, space: Space | None = None):
        self._directory = directory
        self.on_disk = on_disk
        self._may_mount = may_mount
        self._meter = meter.Meter()
        self._holders = claims_.Holders(directory, on_disk)
        self._space = space or Space(None)

    async def begin(self) -> None:
        """After a start: who held what holds it."""
        await tasks.in_thread(self._holders.load, self.known())

    def directory_of(self, pod_uid: str) -> Path:
        return self._directory / pod_uid

    def known(self) -> list[str]:
        """The uids of pods that have volumes here."""
        return sorted(path.name for path in self._directory.iterdir()) if self._directory.is_dir() else []

    async def prepare(
        self,
        pod: Object,
        facts: Facts,
        claims: Mapping[str, Claimed],
        tokens: Mapping[TokenWanted, str],
        images: Mapping[str, Image] | None = None,
    ) -> dict[str, Mounted]:
        """Every volume by its name; `images` are there for those that are one. Raises VolumeError."""
        mounted: dict[str, Mounted] = {}
        await self._make(_make_private, self._directory)
        for volume in pod["spec"].get("volumes") or ():
            try:
                if pod_claims.name_of(pod, volume):
                    await self._holders.take(meta.uid(pod), claims)
                mounted[volume["name"]] = await self._prepare_one(pod, volume, facts, claims, tokens, images or {})
            except (ConfigError, OSError) as error:
                why = str(error)
                if isinstance(error, OSError):  # A full disk names no file.
                    why = f"{error.strerror}: {error.filename or self._directory}"
                raise VolumeError(f'MountVolume.SetUp failed for volume "{volume["name"]}" : {why}') from error
        return mounted

    async def _prepare_one(
        self,
        pod: Object,
        volume: Object,
        facts: Facts,
        claims: Mapping[str, Claimed],
        tokens: Mapping[TokenWanted, str],
        images: Mapping[str, Image],
    ) -> Mounted:
        path = self.directory_of(meta.uid(pod)) / volume["name"]
        if payloads.is_payload(volume):
            files = payloads.readable_by_group(payloads.files(volume, facts, tokens), fs_group(pod))
            await self._make(_write_payload, path, files, fs_group(pod), tasks.now(), tasks.name_suffix())
            # A payload is the API's: nothing that a container wrote there would survive the next version.
            return Mounted(str(path), read_only=True)
        if volume.get("emptyDir") is not None or not _sources(volume):
            source = meta.part(volume, "emptyDir")
            await self._empty_dir(path, source, fs_group(pod), empty_dirs.memory_bytes(pod, source))
            return Mounted(str(path))
        if volume.get("hostPath") is not None:
            return Mounted(await self._host_path(volume["hostPath"]))
        if name := pod_claims.name_of(pod, volume):
            return await self._claim(pod, volume, claims.get(name))
        if volume.get("image") is not None:
            image = images[volume["name"]]
            return Mounted(image.rootfs, read_only=True, image=image.digest)
        raise ConfigError(f"this release of petset does not offer volumes of type {_sources(volume)[0]}")

    async def _host_path(self, source: Object) -> str:
        return await self._make(host_paths.prepared, source) or source["path"]

    async def _claim(self, pod: Object, volume: Object, bound: Claimed | None) -> Mounted:
        if bound is None:
            raise ConfigError("its claim is not bound to a volume")
        if volume.get("ephemeral") is not None and (why := pod_claims.not_its_own(pod, bound.claim)):
            raise ConfigError(why)
        if why := bound.refusal(pod, volume["name"]):
            raise ConfigError(why)
        is_by_hand = persistent_volume.directory(bound.volume) and not persistent_volume.is_ours(bound.volume)
        path = await self._host_path(bound.volume["spec"]["hostPath"]) if is_by_hand else bound.directory()
        await claims_.give_to_group(bound, path, fs_group(pod))
        self._space.use(meta.uid(pod), volume["name"], bound, path)
        read_only = bool(meta.get(volume, "persistentVolumeClaim", "readOnly")) or bound.is_read_only
        return Mounted(path, read_only, options=bound.options)

    async def _empty_dir(self, path: Path, source: Object, group: int | None, memory_bytes: int | None) -> None:
        medium = source.get("medium") or ""
        if medium not in ("", "Memory"):
            raise ConfigError(f"this release of petset does not offer emptyDir on {medium}")
        is_memory = medium == "Memory"
        wanted = 0o777 if source.get("mode") is None else int(source["mode"])
        fresh = await self._make(_make_directory, path, wanted, group)
        if is_memory and self.on_disk and self._may_mount and (fresh or not os.path.ismount(path)):
            size = f",size={memory_bytes}" if memory_bytes is not None else ""
            owner = f",gid={group}" if group is not None else ""
            mode = "3777" if group is not None else "1777"  # Sticky, as a tmpfs is unless it is told otherwise.
            mode = mode if source.get("mode") is None else f"{wanted | (0o2000 if group is not None else 0):o}"
            options = f"mode={mode}{size}{owner}"
            await tasks.in_thread(linux.mount, "petset", str(path), "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, options)

    async def _make(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        return await tasks.in_thread(function, *args, **kwargs) if self.on_disk else None

    async def remove(self, pod_uid: str) -> None:
        """Take the pod's own volumes away; claims and host paths stay."""
        directory = self.directory_of(pod_uid)
        if self.on_disk and directory.is_dir():
            await tasks.in_thread(_remove, directory)
        self._holders.release(pod_uid)
        self._space.leave(pod_uid)

    async def usage(self, pod: Object) -> Mapping[str, int]:
        """Bytes of each of the pod's emptyDirs."""
        if not self.on_disk:
            return {}
        names = [volume["name"] for volume in empty_dirs.of(pod)]
        return await self._meter.bytes_in(self.directory_of(meta.uid(pod)), names)

    async def unmount_all(self) -> None:
        """Take memory volumes out of the host's mount table (`petset down`); all else stays for the next start."""
        for uid in self.known():
            with tasks.best_effort("unmount a pod's memory volumes"):
                await tasks.in_thread(_unmount, self.directory_of(uid))


def _sources(volume: Object) -> list[str]:
    return [key for key in volume if key != "name" and volume[key] is not None]


# ---- mounts of one container


def mounts(
    pod: Object, container: Object, mounted: Mapping[str, Mounted], own_environment: Mapping[str, str]
) -> tuple[Mount, ...]:
    """The container's volumeMounts as mounts, in the order given; pure. Raises ConfigError."""
    result: list[Mount] = []
    for entry in container.get("volumeMounts") or ():
        volume = mounted.get(entry["name"])
        if volume is None:
            raise ConfigError(f'cannot find volume "{entry["name"]}" to mount into container "{container["name"]}"')
        sub_path = entry.get("subPath") or ""
        if entry.get("subPathExpr"):
            sub_path = environment.expand(entry["subPathExpr"], own_environment)
            if "$(" in sub_path:
                raise ConfigError(f"missing value for {entry['subPathExpr']!r} in subPathExpr")
        if sub_path.startswith("/") or ".." in sub_path.split("/"):
            raise ConfigError(f"cannot mount subPath {sub_path!r}: it must stay inside its volume")
        read_only = bool(entry.get("readOnly")) or volume.read_only
        propagation: Propagation = entry.get("mountPropagation") or "None"
        recursive = read_only and entry.get("recursiveReadOnly") in ("Enabled", "IfPossible")
        result.append(
            Mount(
                source=volume.path,
                target=entry["mountPath"],
                read_only=read_only,
                sub_path=sub_path,
                propagation=propagation,
                recursive=recursive,
                options=(*volume.options, *meta.texts(entry, "bindMountOptions")),
                image=volume.image,
            )
        )
    return tuple(result)


# ---- on disk


def text_beneath(directory: str, path: str) -> str | None:
    """A file of variables in a volume; None where there is none. Raises ConfigError, OSError."""
    try:
        with paths.opened(directory) as place, paths.file_beneath(place, path) as file:
            data = file.read(env_files.FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    if len(data) > env_files.FILE_BYTES_MAX:
        raise ConfigError(f"cannot read the variables in {path}: it is larger than {env_files.FILE_BYTES_MAX} bytes")
    return data.decode(errors="surrogateescape")


def _chown(path: Path, user: int, group: int) -> None:
    with contextlib.suppress(PermissionError):  # Without root everything belongs to whoever runs petset.
        os.chown(path, user, group, follow_symlinks=False)


def _make_private(directory: Path) -> None:
    """Secrets lie below: on the host only petset's own user may enter; containers get their volumes bound."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)  # Several pods' first volumes come at once.


def _unmount(directory: Path) -> None:
    for path in sorted(directory.iterdir()):
        if os.path.ismount(path):
            linux.unmount(str(path))


def _remove(directory: Path) -> None:
    _unmount(directory)
    with tasks.best_effort("remove a pod's volumes"):  # A file made immutable, say: the pod ends all the same.
        paths.remove_tree(directory)


def _make_directory(path: Path, mode: int, group: int | None) -> bool:
    """True when it was made now."""
    if path.is_dir():
        return False
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    path.mkdir()
    os.chmod(path, mode | (0o2000 if group is not None else 0))
    if group is not None:
        _chown(path, -1, group)
        os.chmod(path, mode | 0o2000)
    return True


# ---- payloads


def _write_payload(path: Path, files: Mapping[str, File], group: int | None, now: float, suffix: str) -> None:
    """Put a version of a payload in place, all at once; nothing happens when it is there already."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    path.mkdir(exist_ok=True)
    os.chmod(path, 0o755 | (0o2000 if group is not None else 0))
    if _present(path) == {name: (file.data, file.mode) for name, file in files.items()}:
        return
    stamp = tasks.rfc3339(now).translate(str.maketrans({"-": "_", ":": "_", "T": "_", "Z": ""}))
    version = path / f"..{stamp}.{suffix}"
    version.mkdir()
    for name, file in files.items():
        target = version / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.data)
        os.chmod(target, file.mode)
    for directory, _, _ in os.walk(version):
        os.chmod(directory, 0o755)  # Whatever the process's own umask.
    if group is not None:
        for directory, names, inner in os.walk(version):
            for name in [*names, *inner, "."]:
                _chown(Path(directory) / name, -1, group)
    previous = os.readlink(path / DATA) if (path / DATA).is_symlink() else ""
    link = path / f"{DATA}_tmp"
    link.unlink(missing_ok=True)
    link.symlink_to(version.name)
    link.rename(path / DATA)
    _link_names(path, files)
    if previous and previous != version.name:
        with tasks.best_effort("remove the version before of a payload"):
            paths.remove_tree(path / previous)


def _link_names(path: Path, files: Mapping[str, File]) -> None:
    wanted = list(dict.fromkeys(name.split("/")[0] for name in files))
    for name in wanted:
        if not (path / name).is_symlink():
            (path / name).symlink_to(f"{DATA}/{name}")
    for entry in sorted(path.iterdir()):
        if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in wanted:
            entry.unlink()


def _present(path: Path) -> dict[str, tuple[bytes, int]] | None:
    root = path / DATA
    if not root.is_dir():
        return None
    found: dict[str, tuple[bytes, int]] = {}
    for directory, _, names in os.walk(root):
        for name in names:
            file = Path(directory) / name
            found[str(file.relative_to(root))] = (file.read_bytes(), stat.S_IMODE(file.stat().st_mode))
    return found
