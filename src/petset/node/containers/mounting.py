"""The mount namespace in which the OCI runtime creates one container: its volumes stand there, and only there.

The flow of `prepared`: every volume is opened (a subPath beneath it, see paths.py) and what was opened is cloned into a
mount of its own; then this thread enters a new mount namespace, gives each its place below the attempt's directory and
leaves again. The runtime is started in that namespace, so it finds by name what was opened, while no other process can
reach the name; the namespace is gone with the creation, and the host's mount table has never seen it.

A machine with both versions of cgroups has its empty version 2 tree taken away in there: crun refuses the mixture.
Follows: mount_namespaces(7), open_tree(2); the page "Volumes", on mount propagation, of the Kubernetes documentation.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from petset.base import networks
from petset.node import linux, paths
from petset.node.runtime import Mount, Propagation, RuntimeError_
from petset.node.user_namespaces import Users

# Where a user namespace's root finds everything: it may not pass the state directory, which is only root's. In each
# mount namespace that is made here there is something else.
STAGE = networks.RESERVATIONS / "stage"


@dataclass(frozen=True, slots=True)
class Kernel:
    """What a mountPropagation of the documentation is to the kernel and to an OCI runtime."""

    option: str
    flag: int  # 0: a clone is its origin's peer already.
    needs: tuple[str, ...] = ()  # What the volume's own mount must be, one of these.


KERNEL: Mapping[Propagation, Kernel] = {  # From the least to the most.
    "None": Kernel("rprivate", linux.MS_PRIVATE),
    "HostToContainer": Kernel("rslave", linux.MS_SLAVE, ("shared", "master")),
    "Bidirectional": Kernel("rshared", 0, ("shared",)),
}


def of_root(mounts: Sequence[Mount]) -> str:
    """The propagation of the root that lets all of these have theirs."""
    order = list(KERNEL)
    return KERNEL[order[max((order.index(mount.propagation) for mount in mounts), default=0)]].option


def found_at(path: Path, users: Users | None) -> str:
    """Where the runtime finds what is at a path of this machine: by its name on the STAGE, for a pod's own users."""
    return str(path if users is None else STAGE / path.name)


def place(directory: str, number: int) -> str:
    """Where the runtime finds the container's mount of this number."""
    return f"{directory}/{number}"


@contextlib.contextmanager
def prepared(
    directory: Path,
    mounts: Sequence[Mount],
    hidden: str,
    users: Users | None = None,
    shown: Sequence[Path] = (),
) -> Generator[tuple[str, ...], None, None]:
    """The words before a command that runs it where `mounts` have their places below `directory`.

    `hidden` is a mount to take away there, or "". Where a pod has `users` of its own, `directory` is on the STAGE, and
    so is what is `shown`: all of it where `found_at` says. Raises RuntimeError_, OSError.
    """
    directory = Path(found_at(directory, users))
    if users is None:
        directory.mkdir(exist_ok=True)
        shown = ()
    else:
        STAGE.mkdir(parents=True, exist_ok=True)
        os.chmod(STAGE.parent, stat.S_IMODE(STAGE.parent.stat().st_mode) | 0o111)  # Whatever the umask of who made it.
    with contextlib.ExitStack() as kept:
        trees = {
            place(str(directory), number): (_clone(mount, users, kept), mount)
            for number, mount in enumerate(mounts)
            if mount.kind == "bind"
        }
        files = {found_at(path, users): _shown(path, kept) for path in shown}
        with linux.in_namespaces(("mnt",)):
            linux.set_propagation("/", linux.MS_PRIVATE)
            if hidden:
                linux.unmount(hidden)
            if users is not None:
                linux.mount("petset", str(STAGE), "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=755,size=1m")
                directory.mkdir()
            for target, tree in files.items():
                _place(tree, target, linux.MS_PRIVATE)
            for target, (tree, mount) in trees.items():
                _place(tree, target, KERNEL[mount.propagation].flag)
            namespace = kept.enter_context(paths.opened("/proc/thread-self/ns/mnt", os.O_RDONLY))
        enter = shutil.which("nsenter") or "nsenter"
        yield enter, f"--mount=/proc/{os.getpid()}/fd/{namespace}", "--"


def _shown(path: Path, kept: contextlib.ExitStack) -> int:
    with paths.opened(str(path)) as found:
        return kept.enter_context(cloned(found, str(path), "", None))


def _place(tree: int, target: str, propagation: int) -> None:
    if stat.S_ISDIR(os.fstat(tree).st_mode):
        Path(target).mkdir(exist_ok=True)
    else:
        Path(target).touch()
    linux.attach(tree, target)
    if propagation:
        linux.set_propagation(target, propagation)


@contextlib.contextmanager
def cloned(found: int, source: str, target: str, users: Users | None) -> Generator[int]:
    """A detached mount of what a descriptor stands for; its files belong to `users` as they do to the machine's.

    Raises RuntimeError_, OSError.
    """
    tree = linux.clone_mount(found, source)
    try:
        if users is not None:
            with paths.opened(users.namespace, os.O_RDONLY) as namespace:
                try:
                    linux.map_ids(tree, namespace, source)
                except OSError as error:
                    raise RuntimeError_("CreateContainerError", _not_mapped(found, source, target, error)) from error
        yield tree
    finally:
        os.close(tree)


def _not_mapped(found: int, source: str, target: str, error: OSError) -> str:
    kind = linux.file_system(found) or "an unknown file system"
    return (
        f"cannot mount {source} at {target} in a pod with hostUsers false: it lies on {kind}, which this kernel does "
        f"not mount with other ids ({error.strerror}); ext4, xfs, btrfs and, from Linux 6.3 on, tmpfs can be: put it "
        "there, or leave hostUsers out"
    )


def _clone(mount: Mount, users: Users | None, kept: contextlib.ExitStack) -> int:
    """The detached mount of a volume, or of what is at its subPath now; made as a directory when nothing is."""
    with paths.opened(mount.source) as root:
        try:
            found = _found(root, mount)
        except OSError as error:
            message = f"cannot mount subPath {mount.sub_path!r} at {mount.target}: {error.strerror}"
            raise RuntimeError_("CreateContainerConfigError", message) from None
    try:
        needed = KERNEL[mount.propagation].needs
        if needed and not any(linux.propagation(found).startswith(one) for one in needed):
            raise RuntimeError_("CreateContainerError", _not_shared(mount))
        return kept.enter_context(cloned(found, mount.source, mount.target, users))
    finally:
        os.close(found)


def _found(root: int, mount: Mount) -> int:
    """Of an image, which many share, nothing is made. Raises OSError."""
    if not mount.sub_path:
        return os.dup(root)
    return (paths.beneath if mount.image else paths.made_beneath)(root, mount.sub_path)


def _not_shared(mount: Mount) -> str:
    return (
        f"cannot mount {mount.source} at {mount.target} with mountPropagation {mount.propagation}: it lies on a mount "
        "that is not shared; mount --make-rshared that one, or leave mountPropagation out"
    )
