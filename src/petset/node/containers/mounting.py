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

from petset.node import linux, paths
from petset.node.runtime import Mount, Propagation, RuntimeError_


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


def place(directory: str, number: int) -> str:
    """Where the runtime finds the container's mount of this number."""
    return f"{directory}/{number}"


@contextlib.contextmanager
def prepared(directory: Path, mounts: Sequence[Mount], hidden: str) -> Generator[tuple[str, ...], None, None]:
    """The words before a command that runs it where `mounts` have their places below `directory`.

    `hidden` is a mount to take away there, or "". Raises RuntimeError_, OSError.
    """
    directory.mkdir(exist_ok=True)
    with contextlib.ExitStack() as kept:
        trees = {
            place(str(directory), number): (_clone(mount, kept), mount)
            for number, mount in enumerate(mounts)
            if mount.kind == "bind"
        }
        for target, (tree, _) in trees.items():
            if stat.S_ISDIR(os.fstat(tree).st_mode):
                Path(target).mkdir(exist_ok=True)
            else:
                Path(target).touch()
        with linux.in_namespaces(("mnt",)):
            linux.set_propagation("/", linux.MS_PRIVATE)
            if hidden:
                linux.unmount(hidden)
            for target, (tree, mount) in trees.items():
                linux.attach(tree, target)
                if flag := KERNEL[mount.propagation].flag:
                    linux.set_propagation(target, flag)
            namespace = kept.enter_context(paths.opened("/proc/thread-self/ns/mnt", os.O_RDONLY))
        enter = shutil.which("nsenter") or "nsenter"
        yield enter, f"--mount=/proc/{os.getpid()}/fd/{namespace}", "--"


def _clone(mount: Mount, kept: contextlib.ExitStack) -> int:
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
        tree = linux.clone_mount(found, mount.source)
    finally:
        os.close(found)
    kept.callback(os.close, tree)
    return tree


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
