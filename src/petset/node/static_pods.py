"""Static pods: those of manifests in a directory of the node, without anybody asking the API for them.

`read` makes pods of the files as the node runs them: named after the node, bound to it, tolerating whatever keeps pods
off it. `changes` (pure) says which of their mirror pods are to be made and which to go: a mirror pod shows in the API
what the file says, carries the file's hash, and is made anew when somebody deletes it or the file changes. `Keeper`
does so whenever the directory (inotify) or a mirror pod changes. A file that is no pod is told in an event of the node.

The mirror pod itself is what runs here, so that one that is deleted is stopped and started anew; a kubelet's goes on.
Follows: "Create static Pods" of the Kubernetes documentation.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from petset.base import tasks, well_known
from petset.client.client import Client
from petset.kinds.pod import PODS
from petset.kinds.pod_spec import sources
from petset.node import linux
from petset.objects import encoding, errors, meta
from petset.objects.meta import Object

FILE_BYTES_MAX, FILES_MAX = 1 << 20, 1000
SUFFIXES = (".yaml", ".yml", ".json")
RETRY_SECONDS = 10.0

Tell = Callable[[str, str], None]  # reason, message


class NoPod(Exception):
    """A file that is no static pod, in a sentence."""


@dataclass(slots=True)
class Found:
    pods: dict[str, Object] = field(default_factory=dict[str, Object])  # By namespace/name.
    wrong: dict[str, str] = field(default_factory=dict[str, str])  # By file.


def read(directory: Path, node_name: str) -> Found:
    """Blocks: the pods of the files there are now; names that begin with a dot are passed over."""
    found = Found()
    files = sorted(path for path in directory.iterdir() if path.suffix in SUFFIXES and not path.name.startswith("."))
    for path in files[:FILES_MAX]:
        try:
            with path.open("rb") as file:
                pod = of_manifest(file.read(FILE_BYTES_MAX + 1), node_name)
            if meta.key(pod) in found.pods:
                raise NoPod(f"there is another one of the name {meta.key(pod)}")
            found.pods[meta.key(pod)] = pod
        except (NoPod, OSError, ValueError) as error:
            found.wrong[path.name] = str(error)
    return found


def of_manifest(data: bytes, node_name: str) -> Object:
    """A file's pod as this node runs it. Raises NoPod, ValueError."""
    if len(data) > FILE_BYTES_MAX:
        raise NoPod(f"it is larger than {FILE_BYTES_MAX} bytes")
    from petset.objects import documents  # Reading YAML is a MiB, for nodes that have such files.

    tree: Any = documents.load(data)
    if not meta.is_struct(tree) or (tree.get("apiVersion"), tree.get("kind")) != ("v1", "Pod"):
        raise NoPod("it is no Pod of v1")
    if not meta.is_struct(tree.get("metadata")) or not meta.is_struct(tree.get("spec")):
        raise NoPod("it has no metadata or no spec")
    metadata, spec = meta.part(tree, "metadata"), meta.part(tree, "spec")
    name = metadata.get("name")
    if not isinstance(name, str) or not name:
        raise NoPod("it has no name")
    try:
        refers = bool(spec.get("serviceAccountName") or spec.get("serviceAccount") or list(sources.of_pod(tree)))
    except (AttributeError, KeyError, TypeError):
        raise NoPod("its spec is not that of a Pod") from None
    if refers:
        raise NoPod("a static pod may refer to no ServiceAccount, Secret or ConfigMap")
    mark = hashlib.sha256(encoding.dumps_sorted(tree)).hexdigest()[:32]
    annotations = {
        **meta.annotations(tree),
        well_known.CONFIG_HASH_ANNOTATION: mark,
        well_known.CONFIG_SOURCE_ANNOTATION: "file",
        well_known.MIRROR_ANNOTATION: mark,
    }
    kept = {"labels": meta.labels(tree)} if meta.labels(tree) else {}
    tolerations = [*meta.parts(spec, "tolerations"), {"operator": "Exists", "effect": "NoExecute"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{name}-{node_name}",
            "namespace": metadata.get("namespace") or "default",
            "annotations": annotations,
            **kept,
        },
        "spec": {**spec, "nodeName": node_name, "tolerations": tolerations},
    }


def changes(wanted: Mapping[str, Object], there: Iterable[Object]) -> tuple[list[Object], list[Object]]:
    """(to make, to delete): `there` are the node's pods; others than mirror pods are nobody's business here."""
    mirrors = {meta.key(pod): pod for pod in there if is_mirror(pod)}
    made = [pod for key, pod in wanted.items() if key not in mirrors]
    gone = [
        pod
        for key, pod in mirrors.items()
        if not meta.is_deleting(pod) and _mark(pod) != (_mark(wanted[key]) if key in wanted else None)
    ]
    return made, gone


def is_mirror(pod: Object) -> bool:
    return well_known.MIRROR_ANNOTATION in meta.annotations(pod)


def _mark(pod: Object) -> str | None:
    return meta.annotations(pod).get(well_known.MIRROR_ANNOTATION)


class Keeper:
    """`there` gives the node's pods as last seen, `node` its Node; `look` is called when either may have changed."""

    def __init__(
        self,
        client: Client,
        directory: Path,
        node_name: str,
        there: Callable[[], Sequence[Object]],
        node: Callable[[], Object | None],
        tell: Tell,
    ):
        self._client, self._directory, self._node_name = client, directory, node_name
        self._there, self._node, self._tell = there, node, tell
        self._changed = asyncio.Event()
        self._told: dict[str, str] = {}

    def look(self) -> None:
        self._changed.set()

    async def run(self) -> None:
        with _watching(self._directory, self.look):
            while True:
                self._changed.clear()
                delay = None
                with tasks.best_effort("keep the static pods of", str(self._directory)):
                    delay = await self._turn()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._changed.wait()

    async def _turn(self) -> float | None:
        """The seconds after which to try again; None when all is as it should be."""
        found = await tasks.in_thread(read, self._directory, self._node_name)
        for name, why in found.wrong.items():
            if self._told.get(name) != why:
                self._tell("InvalidStaticPod", f"cannot run {self._directory / name}: {why}")
        self._told = dict(found.wrong)
        made, gone = changes(found.pods, self._there())
        failed = False
        for pod in gone:
            deleting = self._client.delete(PODS, meta.name(pod), meta.namespace(pod), uid=meta.uid(pod))
            failed |= not await self._tried(deleting)
        for pod in made:
            failed |= not await self._tried(self._client.create(self._owned(pod)))
        return RETRY_SECONDS if failed else None

    async def _tried(self, doing: Awaitable[Object]) -> bool:
        """Whether it was done, or is needed no more; else it is told why not."""
        try:
            await doing
        except (errors.ApiError, OSError) as error:
            if isinstance(error, errors.ApiError) and error.code in (404, 409):
                return True
            self._tell("FailedMirrorPod", str(error))
            return False
        return True

    def _owned(self, pod: Object) -> Object:
        """Its node's, with which it goes."""
        node = self._node()
        owners = [meta.owner_reference(node, block=False)] if node is not None else []
        seen = {well_known.CONFIG_SEEN_ANNOTATION: tasks.rfc3339(tasks.now())}
        annotations = {**meta.annotations(pod), **seen}
        return {**pod, "metadata": {**pod["metadata"], "annotations": annotations, "ownerReferences": owners}}


@contextlib.contextmanager
def _watching(directory: Path, changed: Callable[[], None]) -> Generator[None, None, None]:
    """Call `changed` whenever a file there is written, comes or goes. Raises OSError."""
    descriptor = linux.inotify()
    loop = asyncio.get_running_loop()

    def on_events() -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(descriptor, 65536)
        changed()

    try:
        linux.inotify_add(descriptor, str(directory), linux.IN_OF_FILES)
        loop.add_reader(descriptor, on_events)
        try:
            yield
        finally:
            loop.remove_reader(descriptor)
    finally:
        os.close(descriptor)
