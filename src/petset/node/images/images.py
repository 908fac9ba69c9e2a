"""The images of a node: fetched, loaded or built once, unpacked once, shared read-only by all containers.

The flow of `ensure`: the reference is parsed; a name that a recipe stands in for becomes that recipe's image, built
when it is not there yet; any other name is looked up, or fetched by skopeo, as the pull policy says. What was fetched
is unpacked by umoci and only then gets its name. A directory holds it all and may be shared by several instances:
`layout/` an OCI image layout (layout.py) whose tags are the references, `rootfs/<digest>/` one unpacked tree an image,
`packages/` what builds download, `used/` when an image last was, `locks/` and `work/`.

Invariants: a name in the layout's index always has all its blobs; a folder below rootfs/ is complete; both appear by
rename. Changes of one image happen under its own lock (locks.py), changes of the index under the index's. Whoever adds
blobs holds the `blobs` lock shared, garbage collection holds it alone.
Follows: the reference grammar of the distribution project.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import glob
import hashlib
import logging
import os
import re
import tempfile
from collections.abc import AsyncGenerator, Callable, Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from petset.base import tasks
from petset.node import paths, programs
from petset.node.images import building, collection, layers, layout, locks, recipes, registry_logins, sources
from petset.node.images.image_names import Reference, is_loopback, parse_reference
from petset.node.runtime import Credential, Image, ImageError, ImageSource, PullPolicy, RegistryLogin

log = logging.getLogger("petset.images")

COPY_SECONDS_MAX = 1800.0  # From a registry, or to one.
UNPACK_SECONDS_MAX = 600.0
PULLS_AT_ONCE_MAX = 3
LOGINS_TRIED_MAX = 8  # Of one pod, at one registry.
UNPACKED_BYTES_MAX = 64 << 30  # Of one image.
UNPACKED_SHARE_MAX = 0.5  # Of what the disk has room for, in bytes and in files.
ENTRIES_MAX = 500_000  # Of one image, in all its layers.
OWN_REGISTRY = "petset.local"  # petset.local/<recipe> is the recipe's image, always; nobody can register that name.

RECIPE_KEY = "petset.recipe-key"
ADDED = "petset.added"
LOADED = "petset.loaded"


# ---- the store


class AccessRefused(ImageError):
    """The registry wants another login."""


class Images:
    """One directory of images. Several of these, in several processes, may use the same directory."""

    def __init__(
        self,
        directory: str,
        *,
        recipes: str | None = None,
        stand_ins: bool = True,
        insecure_registries: Collection[str] = (),
        mirrors: Mapping[str, Sequence[str]] | None = None,
        unpacked_bytes_max: int = UNPACKED_BYTES_MAX,
        entries_max: int = ENTRIES_MAX,
    ):
        self.directory = os.path.abspath(directory)
        self.stand_ins = stand_ins
        self.insecure_registries = frozenset(insecure_registries)
        self.mirrors = dict(mirrors or {})  # {"docker.io": ["127.0.0.1:5000"]}: asked first
        self.unpacked_bytes_max, self.entries_max = unpacked_bytes_max, entries_max
        self.recipes = _recipes_in(recipes)
        self._layout = layout.Layout(os.path.join(self.directory, "layout"))
        self._pulls = asyncio.Semaphore(PULLS_AT_ONCE_MAX)
        self._pulled: dict[str, float] = {}  # reference -> when its last pull ended, by the loop's clock
        self._built: dict[str, str] = {}  # recipe -> digest found fresh by this process
        for folder in ("rootfs", "work", "locks", "packages", "used"):
            os.makedirs(os.path.join(self.directory, folder), mode=0o755, exist_ok=True)
        # Devices and programs that run as root are harmless in a container; nobody else on this machine may reach them.
        with contextlib.suppress(PermissionError):  # Its owner has done it.
            os.chmod(os.path.join(self.directory, "rootfs"), 0o700)
        self._layout.make()
        self._sweep_work()

    # -- what others call

    async def ensure(self, reference: str, policy: PullPolicy, logins: Iterable[RegistryLogin] = ()) -> Image:
        """The image of a pod's container, ready to be a lower layer. Raises ImageError."""
        image = await self._ensure(reference, policy, logins)
        self._remember_use(image.digest)
        return image

    async def _ensure(self, reference: str, policy: PullPolicy, logins: Iterable[RegistryLogin]) -> Image:
        wanted = parse_reference(reference)
        recipe = self._recipe_for(wanted)
        if recipe is not None:
            source = "built" if wanted.registry == OWN_REGISTRY else "stand-in"
            return replace(await self._built_image(recipe), reference=reference, source=source)
        if wanted.registry == OWN_REGISTRY:
            names = ", ".join(self.recipes.names())
            raise ImageError(
                "ErrImagePull", f'cannot use image "{reference}": petset has no such recipe; the recipes are {names}'
            )
        asked = tasks.monotonic()
        if policy != "Always":
            present = await self._present(wanted)
            if present is not None:
                return replace(present, reference=reference)
        if policy == "Never":
            raise ImageError(
                "ErrImageNeverPull",
                f'cannot use image "{reference}": it is not present and its pull policy is Never; '
                "load it with petset image load, or change imagePullPolicy",
            )
        async with self._lock(f"name-{wanted}"):
            if policy != "Always" or self._pulled.get(str(wanted), -1.0) >= asked:
                present = await self._present(wanted)
                if present is not None:
                    return replace(present, reference=reference)
            async with self._pulls:
                return replace(await self._pull(wanted, logins), reference=reference)

    async def pull(self, reference: str, logins: Iterable[RegistryLogin] = ()) -> Image:
        """Fetch an image whether it is there or not (`petset image pull`)."""
        return await self.ensure(reference, "Always", logins)

    async def load(self, archive_path: str, reference: str | None = None) -> list[Image]:
        """Take the images of an archive: docker-archive, oci-archive, or an OCI layout directory."""
        found = await tasks.in_thread(sources.images_in, archive_path)
        if reference is not None and len(found) > 1:
            raise ImageError(
                "ErrImagePull",
                f"cannot load {archive_path} as {reference}: it holds {len(found)} images; leave the name out",
            )
        loaded: list[Image] = []
        for source, name in found:
            wanted = reference or name
            if not wanted:
                raise ImageError(
                    "ErrImagePull", f"cannot load {archive_path}: its image has no name; say which name it shall have"
                )
            parsed = parse_reference(wanted)
            async with self._lock(f"name-{parsed}"):
                loaded.append(replace(await self._copy(source, parsed, (), {LOADED: "true"}), reference=wanted))
        return loaded

    async def build(self, name: str, progress: Callable[[str], None] = log.info) -> Image:
        """A recipe's image, built when the recipe, its files or its parent changed."""
        self._built.pop(name, None)
        return await self._built_image(name, progress)

    async def push(
        self, name: str, to: Reference, tls_verify: bool = True, progress: Callable[[str], None] = log.info
    ) -> Image:
        """Copy an image that is here to a registry, as whom the machine's own login says. Raises ImageError."""
        wanted = parse_reference(name)
        entry = self._layout.entry(str(wanted))
        if entry is None:
            why = "there is no image of that name"
            raise ImageError("ErrImageNeverPull", f"cannot push {name}: {why}; see petset image ls")
        options = [] if tls_verify and not is_loopback(to.registry) else ["--dest-tls-verify=false"]
        async with self._lock("blobs", shared=True), self._work() as work:
            aside = self._layout.aside(work, entry, building.TAG)
            words = (*options, f"oci:{aside}:{building.TAG}", f"docker://{to}")
            try:
                await _copied_by_skopeo(work, words, on_line=progress)
            except programs.ProgramFailed as error:
                raise _refused(error, "ErrImagePush", sources.push_failure(str(to), to.registry, error.why)) from None
        return replace(self._image(entry.digest), reference=str(to))

    async def known(self) -> Sequence[tuple[Sequence[str], int]]:
        """Names and bytes of all, as a node tells them."""
        return [(one.names, one.size_bytes) for one in await tasks.in_thread(self.list)]

    def list(self) -> list[collection.ImageSummary]:
        """All images that have a name, by name."""
        by_digest: dict[str, list[layout.Entry]] = {}
        for entry in self._layout.entries():
            by_digest.setdefault(entry.digest, []).append(entry)
        found: list[collection.ImageSummary] = []
        for digest, entries in by_digest.items():
            names = tuple(sorted(entry.name for entry in entries))
            own = [name for name in names if name.startswith(OWN_REGISTRY + "/")]
            recipe = parse_reference(own[0]).repository if own else ""
            added = max(entry.notes.get(ADDED, "") for entry in entries)
            loaded, size = any(LOADED in entry.notes for entry in entries), self._image(digest).size_bytes
            found.append(collection.ImageSummary(digest, names, size, added, recipe, loaded, self._used_at(digest)))
        return sorted(found, key=lambda image: image.references)

    async def tag(self, source: str, target: str) -> None:
        """Let another name lead to what a name leads to. Raises ImageError."""
        wanted, new = parse_reference(source), parse_reference(target)
        entry = self._layout.entry(str(wanted))
        if entry is None:
            why = "there is no image of that name"
            raise ImageError("ErrImageNeverPull", f"cannot tag {source}: {why}; see petset image ls")
        if new.registry == OWN_REGISTRY:
            why = f"names in {OWN_REGISTRY} are those of recipes"
            raise ImageError("InvalidImageName", f"cannot tag {source} as {target}: {why}; choose another")
        kept = {name: value for name, value in entry.notes.items() if name != RECIPE_KEY}
        await self._name(str(new), entry.noted({**kept, layout.REF_NAME: str(new), ADDED: tasks.rfc3339(tasks.now())}))

    def mounted(self) -> set[str]:
        """The digests of images that containers of this machine run on, whoever has made them."""
        return collection.mounted(os.path.join(self.directory, "rootfs"))

    async def remove(self, reference: str) -> bool:
        """Take a name away; its blobs go with the next remove_unused. False when there was none."""
        name = str(parse_reference(reference))
        return await self._name(name, None)

    async def remove_unused(self, in_use: Collection[str], names: Sequence[str] = ()) -> int:
        """Take these names away, and remove what no name leads to; the bytes freed. Nothing while a pull goes on.

        `in_use`: digests of the caller's containers. What another instance has mounted is found in /proc and kept.
        """
        async with self._lock("blobs", wait=False) as alone:
            if not alone:
                return 0
            for name in names:
                await self._name(name, None)
            return await tasks.in_thread(self._collect, frozenset(in_use))

    async def collect(self, in_use: Collection[str], bytes_wanted: int) -> int:
        """Remove what nobody uses until so many bytes are free, the longest unused first; the bytes freed."""
        freed = await self.remove_unused(in_use)
        for image in collection.candidates(self.list(), in_use, tasks.now()):
            if freed >= bytes_wanted:
                break
            freed += await self.remove_unused(in_use, image.references)
        return freed

    def _use(self, digest: str) -> str:
        """An empty file whose time says when an image was last used."""
        return os.path.join(self.directory, "used", digest.partition(":")[2])

    def _remember_use(self, digest: str) -> None:
        with contextlib.suppress(OSError), open(self._use(digest), "ab"):  # A full disk is no reason to start nothing.
            os.utime(self._use(digest), (tasks.now(), tasks.now()))

    def _used_at(self, digest: str) -> float:
        with contextlib.suppress(FileNotFoundError):
            return os.stat(self._use(digest)).st_mtime
        return 0.0

    # -- names and blobs

    def _recipe_for(self, wanted: Reference) -> str | None:
        if wanted.registry == OWN_REGISTRY:
            return wanted.repository if wanted.repository in self.recipes.names() else None
        return self.recipes.stand_in(str(wanted)) if self.stand_ins else None

    async def _name(self, name: str, entry: layout.Entry | None) -> bool:
        """Let a name lead to a manifest, or to nothing; True when it led somewhere before."""
        async with self._lock("index"):
            return self._layout.replace_entry(name, entry)

    def _rootfs(self, digest: str) -> str:
        return os.path.join(self.directory, "rootfs", digest.partition(":")[2])

    def _image(self, digest: str) -> Image:
        return self._layout.image(digest, self._rootfs(digest))

    async def _present(self, wanted: Reference) -> Image | None:
        entry = self._layout.entry(str(wanted))
        return None if entry is None else await self._unpacked(entry)

    # -- fetching and unpacking

    async def _pull(self, wanted: Reference, logins: Iterable[RegistryLogin]) -> Image:
        """Fetch from the first of mirrors and registry that has it, with the first login that opens it."""
        attempts = [
            (place, credential)
            for host in (*self.mirrors.get(wanted.registry, ()), wanted.registry)
            for place in [replace(wanted, registry=host)]
            for credential in registry_logins.credentials(logins, place)[:LOGINS_TRIED_MAX] or [None]
        ]
        closed = ""  # A registry that failed in another way than by refusing a login is not asked again.
        failed: ImageError | None = None
        for place, credential in attempts:
            if place.registry == closed:
                continue
            try:
                image = await self._fetch(place, wanted, credential)
            except ImageError as error:
                log.info("%s: %s", place.registry, error.message)
                failed = error
                closed = "" if isinstance(error, AccessRefused) else place.registry
            else:
                self._pulled[str(wanted)] = tasks.monotonic()
                return image
        assert failed is not None
        raise failed

    async def _fetch(self, place: Reference, wanted: Reference, credential: Credential | None) -> Image:
        options: list[str] = []
        if is_loopback(place.registry) or place.registry in self.insecure_registries:
            options.append("--src-tls-verify=false")
        with self._authfile(place.registry, credential) as auth:
            return await self._copy(f"docker://{place.to_fetch}", wanted, [*auth, *options])

    async def _copy(
        self, source: str, wanted: Reference, options: Sequence[str], notes: Mapping[str, str] = MappingProxyType({})
    ) -> Image:
        """Copy an image from anywhere skopeo reads into the layout, unpack it, name it."""
        async with self._lock("blobs", shared=True), self._work() as work:
            aside = self._layout.aside(work, None, building.TAG)
            blobs = f"--dest-shared-blob-dir={self._layout.blobs}"
            words = ("--quiet", *options, blobs, source, f"oci:{aside}:{building.TAG}")
            room = int(layers.free(self.directory)[0] * UNPACKED_SHARE_MAX)
            try:
                await _copied_by_skopeo(work, words, file_bytes_max=room)
            except programs.ProgramFailed as error:
                raise _refused(error, "ErrImagePull", sources.pull_failure(str(wanted), source, error.why)) from None
            return await self._publish(layout.only(aside), str(wanted), notes, "pulled")

    async def _publish(self, entry: layout.Entry, name: str, notes: Mapping[str, str], source: ImageSource) -> Image:
        image = await self._unpacked(entry)
        notes = {layout.REF_NAME: name, ADDED: tasks.rfc3339(tasks.now()), **notes}
        await self._name(name, entry.noted(notes))
        return replace(image, source=source)

    async def _unpacked(self, entry: layout.Entry) -> Image:
        """The image of an index entry, after making sure that its file system is there."""
        digest = entry.digest
        image = self._image(digest)
        if os.path.isdir(image.rootfs):
            return image
        async with self._lock(f"rootfs-{digest}"), self._work() as work:
            if not os.path.isdir(image.rootfs):
                aside = self._layout.aside(work, entry, building.TAG)
                into = os.path.join(work, "unpacked", "rootfs")
                os.mkdir(os.path.dirname(into))
                try:
                    unpacked_bytes = await tasks.in_thread(self._measure, digest)
                    await programs.run(
                        ("umoci", "raw", "unpack", "--keep-dirlinks", "--image", f"{aside}:{building.TAG}", into),
                        timeout_seconds=UNPACK_SECONDS_MAX,
                        file_bytes_max=unpacked_bytes,
                    )
                    os.rename(into, image.rootfs)
                except (programs.ProgramFailed, layers.LayerError, OSError) as error:
                    why = "a layer removes the root itself" if isinstance(error, FileNotFoundError) else error
                    raise ImageError("ErrImagePull", f"cannot unpack image {digest}: {why}; it is not used") from None
        return image

    def _measure(self, digest: str) -> int:
        """The bytes that an image will unpack to. Raises LayerError when that is more than is good for this machine."""
        free_bytes, free_files = layers.free(self.directory)
        bytes_max = min(self.unpacked_bytes_max, int(free_bytes * UNPACKED_SHARE_MAX))
        tally = layers.Tally(bytes_max, min(self.entries_max, int(free_files * UNPACKED_SHARE_MAX)))
        for layer in self._layout.manifest(digest).layers:
            with open(self._layout.blob(layer.digest), "rb") as file:
                layers.count(file, layer.media_type, tally)
        return tally.bytes

    # -- recipes

    async def _built_image(self, name: str, progress: Callable[[str], None] = log.info) -> Image:
        """The image of a recipe, built on demand, its parents first. Once fresh, fresh for this process."""
        own = f"{OWN_REGISTRY}/{name}:latest"
        entry = self._layout.entry(own)
        if entry is not None and self._built.get(name) == entry.digest:
            return await self._unpacked(entry)
        try:
            recipe = self.recipes.recipe(name)
            parent = None if recipe.parent == recipes.BASE else await self._built_image(recipe.parent, progress)
            key = await tasks.in_thread(self.recipes.key, recipe, parent.digest if parent else "")
            async with self._lock(f"recipe-{name}"):
                entry = self._layout.entry(own)
                if entry is None or entry.notes.get(RECIPE_KEY) != key:
                    image = await self._build(recipe, parent, own, key, progress)
                else:
                    image = await self._unpacked(entry)
        except recipes.RecipeError as error:
            raise ImageError("ErrImagePull", str(error)) from None
        self._built[name] = image.digest
        return replace(image, source="built")

    async def _build(
        self, recipe: recipes.Recipe, parent: Image | None, own: str, key: str, progress: Callable[[str], None]
    ) -> Image:
        started = tasks.monotonic()
        async with self._lock("build"), self._lock("blobs", shared=True), self._work() as work:
            entry = None if parent is None else self._layout.entry(f"{OWN_REGISTRY}/{recipe.parent}:latest")
            aside = self._layout.aside(work, entry, building.TAG)
            space = building.Workspace(work, aside, os.path.join(self.directory, "packages"))
            rootfs = await building.build(recipe, space, progress)
            entry = layout.only(aside)
            if not os.path.isdir(self._rootfs(entry.digest)):
                os.rename(rootfs, self._rootfs(entry.digest))  # The tree that was packed is the image, unpacked.
            image = await self._publish(entry, own, {RECIPE_KEY: key}, "built")
        seconds = tasks.monotonic() - started
        progress(f"{recipe.name}: built in {seconds:.0f} s, {image.size_bytes / 1e6:.0f} MB")
        return image

    # -- folders, locks, garbage

    @contextlib.asynccontextmanager
    async def _work(self) -> AsyncGenerator[str, None]:
        """A folder on the store's file system that is gone afterwards; locked, so that others see it is in use."""
        work = tempfile.mkdtemp(dir=os.path.join(self.directory, "work"))
        descriptor = os.open(work, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield work
        finally:
            os.close(descriptor)
            await asyncio.shield(tasks.in_thread(_remove, work))

    def _sweep_work(self) -> None:
        """Remove what killed processes left: work folders that nobody has locked."""
        for work in glob.glob(os.path.join(self.directory, "work", "*")):
            with contextlib.suppress(OSError):
                descriptor = os.open(work, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove(work)
                finally:
                    os.close(descriptor)

    def _lock(
        self, name: str, *, shared: bool = False, wait: bool = True
    ) -> contextlib.AbstractAsyncContextManager[bool]:
        """A lock between tasks and between processes; it ends with its holder, even one that is killed."""
        safe = name if re.fullmatch(r"[a-z0-9-]{1,80}", name) else hashlib.sha256(name.encode()).hexdigest()
        return locks.held(os.path.join(self.directory, "locks", f"{safe}.fifo"), shared=shared, wait=wait)

    @contextlib.contextmanager
    def _authfile(self, registry: str, credential: Credential | None) -> Generator[Sequence[str], None, None]:
        """skopeo's option for a login, in a file of mode 0600 that is gone afterwards; [] for the machine's own."""
        if credential is None:
            yield []
            return
        descriptor, path = tempfile.mkstemp(prefix="auth-", dir=os.path.join(self.directory, "locks"))
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(registry_logins.authfile(registry, credential))
            yield [f"--src-authfile={path}"]
        finally:
            os.unlink(path)

    def _collect(self, in_use: frozenset[str]) -> int:
        """Remove trees and blobs that neither a name nor a container leads to."""
        trees, named = os.path.join(self.directory, "rootfs"), {entry.digest for entry in self._layout.entries()}
        digests = sorted(named | in_use | self.mounted())
        freed = 0
        for tree in os.listdir(trees):
            if f"sha256:{tree}" not in digests:
                path = os.path.join(trees, tree)
                freed += collection.tree_bytes(path)
                doomed = os.path.join(tempfile.mkdtemp(dir=os.path.join(self.directory, "work")), tree)
                os.rename(path, doomed)
                _remove(os.path.dirname(doomed))
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._use(f"sha256:{tree}"))
        return freed + self._layout.remove_blobs(digests)


async def _copied_by_skopeo(
    work: str,
    words: Sequence[str],
    *,
    file_bytes_max: int | None = None,
    on_line: Callable[[str], None] | None = None,
) -> None:
    """Have it copy an image, with what it keeps meanwhile in `work`. Raises ProgramFailed."""
    await programs.run(
        ("skopeo", "copy", "--insecure-policy", "--retry-times=1", *words),
        timeout_seconds=COPY_SECONDS_MAX,
        env={**os.environ, "TMPDIR": work, "GOTRACEBACK": "none"},
        file_bytes_max=file_bytes_max,
        on_line=on_line,
    )


def _refused(error: programs.ProgramFailed, reason: str, message: str) -> ImageError:
    kind = AccessRefused if re.search(sources.REFUSED, error.why) else ImageError
    return kind(reason, message)


def _recipes_in(folder: str | None) -> recipes.Recipes:
    return recipes.Recipes(folder or recipes.default_folder())


def _remove(path: str) -> None:
    with tasks.best_effort("remove a folder of the image store"):
        paths.remove_tree(path)
