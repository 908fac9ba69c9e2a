"""The image store: references, pulls from a real registry on loopback, archives, locks, garbage."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess

import pytest

from petset.base import tasks
from petset.node import environment
from petset.node.images import collection, image_names, images, registry_logins, sources
from petset.node.runtime import Image, RegistryLogin
from tests.images_fixture import image_store, recipe_image  # noqa: F401
from tests.registry import USER_PET_PASSWORD_SECRET, Registry, free_port, pull_secret

DIGEST = "sha256:" + "0" * 64
needs_tools = pytest.mark.skipif(
    os.geteuid() != 0 or not all(shutil.which(tool) for tool in ("skopeo", "umoci", "docker-registry")),
    reason="needs root, skopeo, umoci and docker-registry",
)


# ---- references


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("debian:jessie", "docker.io/library/debian:jessie"),
        ("erkules/galera:basic", "docker.io/erkules/galera:basic"),
        ("docker.io/nginx", "docker.io/library/nginx:latest"),
        ("index.docker.io/library/nginx:1", "docker.io/library/nginx:1"),
        ("gcr.io/google_containers/nginx-slim:0.8", "gcr.io/google_containers/nginx-slim:0.8"),
        ("localhost/x", "localhost/x:latest"),
        ("localhost:5000/a/b-c__d:1.0_x", "localhost:5000/a/b-c__d:1.0_x"),
        ("127.0.0.1:5000/x", "127.0.0.1:5000/x:latest"),
        ("[::1]:5000/x", "[::1]:5000/x:latest"),
        (f"nginx@{DIGEST}", f"docker.io/library/nginx@{DIGEST}"),
        (f"nginx:1@{DIGEST}", f"docker.io/library/nginx:1@{DIGEST}"),
    ],
)
def test_a_reference_is_completed(text, full):
    assert str(image_names.parse_reference(text)) == full
    assert str(image_names.parse_reference(full)) == full


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the name is empty"),
        ("Nginx", "lower case"),
        ("nginx:", "registry/name:tag"),
        ("nginx:a b", "no spaces"),
        ("http://example.org/x", "no scheme"),
        ("nginx@sha256:12", "64 hexadecimal"),
        ("a//b", "registry/name:tag"),
        ("-nginx", "registry/name:tag"),
        ("nginx:" + "a" * 129, "registry/name:tag"),
        ("a/" * 200 + "b", "registry/name:tag"),
    ],
)
def test_a_bad_reference_is_refused(text, why):
    with pytest.raises(images.ImageError, match=why) as caught:
        image_names.parse_reference(text)
    assert caught.value.reason == "InvalidImageName"


def test_a_digest_is_what_is_fetched():
    assert image_names.parse_reference(f"nginx:1@{DIGEST}").to_fetch == f"docker.io/library/nginx@{DIGEST}"


def test_loopback_registries():
    hosts = ("localhost", "localhost:1", "127.0.0.1:5000", "[::1]:1", "a.b", "127a.b")
    assert [image_names.is_loopback(host) for host in hosts] == [
        True, True, True, True, False, False,
    ]  # fmt: skip


# ---- errors


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            r'time="x" level=fatal msg="reading manifest 1 in r.example/x: manifest unknown"',
            'cannot pull image "r.example/x:1": r.example: the registry has no such image or tag; '
            "check the name and the tag",
        ),
        (
            r'time="x" level=fatal msg="Get \"https://r.example/v2/\": dial tcp: lookup r.example: no such host"',
            'cannot pull image "r.example/x:1": r.example: the registry\'s name is not known to DNS; '
            "check the network, or load the image with petset image load",
        ),
        (
            "write /tmp/run-403/blob: file too large",
            'cannot pull image "r.example/x:1": r.example: it is larger than this machine takes; '
            "make room, or choose another image",
        ),
        (
            "received unexpected HTTP status: 403 Forbidden",
            'cannot pull image "r.example/x:1": r.example: the registry refuses it without other credentials '
            "(403 Forbidden); check the name, and give a pull secret in imagePullSecrets",
        ),
        ("something new", 'cannot pull image "r.example/x:1": something new; see the registry\'s answer'),
    ],
)
def test_skopeos_words_become_a_sentence(said, expected):
    assert sources.pull_failure("r.example/x:1", "docker://r.example/x:1", said) == expected


# ---- a real registry


def small_image(folder, content: str = "one", tag: str = "small") -> str:
    """An OCI layout with one tiny image; skopeo's name of it."""
    layout, bundle = folder / "layout", folder / f"bundle-{tag}-{content}"

    def umoci(*words: str) -> None:
        subprocess.run(["umoci", *words], check=True, capture_output=True)

    if not layout.exists():
        umoci("init", "--layout", str(layout))
    umoci("new", "--image", f"{layout}:{tag}")
    umoci("unpack", "--image", f"{layout}:{tag}", str(bundle))
    (bundle / "rootfs" / "content").write_text(content)
    umoci("repack", "--image", f"{layout}:{tag}", str(bundle))
    umoci(
        "config", "--image", f"{layout}:{tag}", "--config.entrypoint=/a,b", "--config.cmd=c d", "--config.env=A=1",
        "--config.user=7", "--config.workingdir=/w", "--config.exposedports=80/tcp", "--config.stopsignal=SIGINT",
    )  # fmt: skip
    return f"oci:{layout}:{tag}"


@pytest.fixture
def registry(tmp_path):
    folder = tmp_path / "registry"
    folder.mkdir()
    server = Registry(folder)
    yield server
    server.stop()


@pytest.fixture
def store(tmp_path):
    return images.Images(str(tmp_path / "store"))


def read(image: Image) -> str:
    with open(os.path.join(image.rootfs, "content")) as file:
        return file.read()


def ensure(store, *arguments):
    return asyncio.run(store.ensure(*arguments))


@needs_tools
def test_a_pull_from_a_registry(store, registry, tmp_path):
    name = registry.push(small_image(tmp_path), "some/small:1")
    image = ensure(store, name, "IfNotPresent")
    assert (image.reference, image.source, read(image)) == (name, "pulled", "one")
    assert (image.entrypoint, image.command, image.env, image.user) == (("/a,b",), ("c d",), ("A=1",), "7")
    assert (image.working_dir, image.stop_signal) == ("/w", "SIGINT")
    assert image.digest.startswith("sha256:") and image.size_bytes > 0
    again = ensure(store, name, "IfNotPresent")
    assert (again.source, again.rootfs) == ("present", image.rootfs)
    assert ensure(store, name, "Never").digest == image.digest
    assert [found.references for found in store.list()] == [(name,)]


@needs_tools
def test_always_asks_the_registry_again(store, registry, tmp_path):
    name = registry.push(small_image(tmp_path), "small")
    assert read(ensure(store, name, "Always")) == "one"
    registry.push(small_image(tmp_path, "two", "other"), "small")
    assert read(ensure(store, name, "IfNotPresent")) == "one"
    assert read(ensure(store, name, "Always")) == "two"


@needs_tools
def test_a_digest_reference(store, registry, tmp_path):
    name = registry.push(small_image(tmp_path), "small:1")
    digest = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", f"docker://{name}"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    assert read(ensure(store, f"{registry.host}/small@{digest}", "IfNotPresent")) == "one"
    with pytest.raises(images.ImageError) as caught:
        ensure(store, f"{registry.host}/small@{DIGEST}", "IfNotPresent")
    assert caught.value.reason == "ErrImagePull"


@needs_tools
def test_two_pods_that_want_the_same_image_cause_one_pull(store, registry, tmp_path, monkeypatch):
    name = registry.push(small_image(tmp_path), "small:1")
    copies = []
    copy = images.Images._copy

    async def counted(self, *arguments):
        copies.append(arguments)
        return await copy(self, *arguments)

    monkeypatch.setattr(images.Images, "_copy", counted)

    async def all_at_once():
        other = images.Images(store.directory)  # As another process would have it.
        pulls = [store.ensure(name, "Always") for _ in range(4)] + [other.ensure(name, "IfNotPresent")]
        return await asyncio.gather(*pulls)

    found = asyncio.run(all_at_once())
    assert len({image.rootfs for image in found}) == 1
    assert len(copies) <= 2 and [read(image) for image in found] == ["one"] * 5


@needs_tools
def test_errors_of_a_pull_are_sentences(store, registry, tmp_path):
    registry.push(small_image(tmp_path), "small:1")
    dead = f"127.0.0.1:{free_port()}"
    for name, policy, reason, words in (
        (f"{registry.host}/small:2", "IfNotPresent", "ErrImagePull", "has no such image or tag"),
        (f"{dead}/small:1", "Always", "ErrImagePull", "connection refused"),
        (f"{registry.host}/small:1", "Never", "ErrImageNeverPull", "not present and its pull policy is Never"),
        ("petset.local/nothing", "IfNotPresent", "ErrImagePull", "no such recipe"),
        ("a b", "IfNotPresent", "InvalidImageName", "no spaces"),
    ):
        with pytest.raises(images.ImageError, match=words) as caught:
            ensure(store, name, policy)
        assert caught.value.reason == reason
        assert caught.value.message.startswith("cannot ") and "; " in caught.value.message
    assert os.listdir(os.path.join(store.directory, "work")) == []


def login(registry: str, user: str, password: str) -> RegistryLogin:
    secret = pull_secret("s", {registry: {"username": user, "password": password}})
    return registry_logins.from_secret(environment.source("Secret", secret))


@needs_tools
def test_a_pull_secret_opens_a_private_registry(store, tmp_path, monkeypatch):
    folder = tmp_path / "private"
    folder.mkdir()
    server = Registry(folder, password=USER_PET_PASSWORD_SECRET)
    try:
        name = server.push(small_image(tmp_path), "small:1", "--dest-creds=pet:secret")
        for logins in ([], [login("elsewhere.example", "pet", "secret")], [login(server.host, "pet", "wrong")]):
            with pytest.raises(images.AccessRefused, match=r"credentials \(.*(unauthorized|authentication)"):
                ensure(store, name, "IfNotPresent", logins)
        modes = []
        run = images.programs.run

        async def watched(argv, **options):
            for word in argv:
                if word.startswith("--src-authfile="):
                    modes.append(stat.S_IMODE(os.stat(word.partition("=")[2]).st_mode))
            return await run(argv, **options)

        monkeypatch.setattr(images.programs, "run", watched)
        logins = [login(server.host, "pet", "wrong"), login(server.host, "pet", "secret")]
        assert read(ensure(store, name, "IfNotPresent", logins)) == "one"
        assert modes == [0o600, 0o600]
        assert not [left for left in os.listdir(os.path.join(store.directory, "locks")) if left.startswith("auth-")]
    finally:
        server.stop()


@needs_tools
def test_a_mirror_is_asked_first(registry, tmp_path):
    registry.push(small_image(tmp_path), "library/mirrored:1")
    dead = f"127.0.0.1:{free_port()}"
    store = images.Images(str(tmp_path / "store"), mirrors={"docker.io": [dead, registry.host]})
    image = ensure(store, "mirrored:1", "IfNotPresent")
    assert read(image) == "one"
    assert store.list()[0].references == ("docker.io/library/mirrored:1",)


@needs_tools
def test_cancelling_a_pull_leaves_nothing(store, registry, tmp_path):
    name = registry.push(small_image(tmp_path), "small:1")

    async def cancelled():
        pull = asyncio.ensure_future(store.ensure(name, "IfNotPresent"))
        await asyncio.sleep(0.02)
        pull.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pull

    asyncio.run(cancelled())
    assert os.listdir(os.path.join(store.directory, "work")) == []
    assert read(ensure(store, name, "IfNotPresent")) == "one"


# ---- archives


@needs_tools
@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci"])
def test_loading_an_archive(store, tmp_path, form):
    path = tmp_path / ("folder" if form == "oci" else "a.tar")
    name = "example.org/small:1"
    subprocess.run(
        ["skopeo", "copy", "-q", "--insecure-policy", small_image(tmp_path), f"{form}:{path}:{name}"], check=True
    )
    loaded = asyncio.run(store.load(str(path)))
    assert [(image.reference, read(image)) for image in loaded] == [(name, "one")]
    assert ensure(store, name, "Never").source == "present"
    assert [image.reference for image in asyncio.run(store.load(str(path), "other:2"))] == ["other:2"]
    assert store.list()[0].references == ("docker.io/library/other:2", name)


@needs_tools
def test_loading_what_is_no_archive(store, tmp_path):
    (tmp_path / "text").write_text("nothing")
    for path, words in ((tmp_path / "absent", "there is no"), (tmp_path / "text", "no tar archive")):
        with pytest.raises(images.ImageError, match=words):
            asyncio.run(store.load(str(path)))


# ---- garbage


@needs_tools
def test_what_no_name_leads_to_is_removed(store, registry, tmp_path):
    name = registry.push(small_image(tmp_path), "small")
    old = ensure(store, name, "Always")
    registry.push(small_image(tmp_path, "two", "other"), "small")
    new = ensure(store, name, "Always")
    assert asyncio.run(store.remove_unused({old.digest})) == 0
    assert os.path.isdir(old.rootfs)
    assert asyncio.run(store.remove_unused(set())) > 0
    assert not os.path.exists(old.rootfs) and read(new) == "two"
    assert asyncio.run(store.remove_unused(set(), store.list()[0].references)) > 0
    assert store.list() == [] and not os.path.exists(new.rootfs)
    assert read(ensure(store, name, "IfNotPresent")) == "two"


@needs_tools
def test_images_are_collected_until_enough_is_free(store, registry, tmp_path, monkeypatch):
    """The longest unused first; one from an archive stays, since nobody could fetch it again."""
    archive = f"oci:{tmp_path / 'a'}:a"
    subprocess.run(["skopeo", "copy", "-q", "--insecure-policy", small_image(tmp_path), archive], check=True)
    loaded = asyncio.run(store.load(str(tmp_path / "a"), "example.org/loaded:1"))[0]
    pulled = {}
    for name in ("first", "second", "used"):
        reference = registry.push(small_image(tmp_path, name, name), name)
        pulled[name] = ensure(store, reference, "Always")
    in_use = [pulled["used"].digest]
    assert asyncio.run(store.collect(in_use, 1)) == 0  # All were asked for a moment ago.

    later = tasks.now() + collection.UNUSED_SECONDS_MIN + 1
    just_idle = later - collection.UNUSED_SECONDS_MIN
    os.utime(store._use(pulled["first"].digest), (just_idle, just_idle))
    monkeypatch.setattr(images.tasks, "now", lambda: later)
    assert asyncio.run(store.collect(in_use, 1)) > 0
    there = [name for name, image in pulled.items() if os.path.isdir(image.rootfs)]
    assert there == ["first", "used"]
    assert asyncio.run(store.collect(in_use, 1 << 60)) > 0
    assert not os.path.exists(pulled["first"].rootfs)
    assert read(pulled["used"]) == "used" and read(loaded) == "one"
    assert sorted(image.loaded for image in store.list()) == [False, True]
    assert read(ensure(store, pulled["second"].reference, "IfNotPresent")) == "second"


@needs_tools
def test_a_tree_that_somebody_has_mounted_is_kept(store, registry, tmp_path):
    name = registry.push(small_image(tmp_path), "small")
    image = ensure(store, name, "Always")
    mounted = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /mnt && echo ready && exec cat', image.rootfs],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert mounted.stdout.readline() == b"ready\n"
        asyncio.run(store.remove(name))
        asyncio.run(store.remove_unused(set()))
        assert os.path.isdir(image.rootfs)
    finally:
        mounted.kill()
        mounted.wait()
    assert asyncio.run(store.remove_unused(set())) > 0
    assert not os.path.exists(image.rootfs)


def test_what_a_killed_process_left_is_swept(store):
    left = os.path.join(store.directory, "work", "left")
    os.makedirs(os.path.join(left, "bundle"))
    images.Images(store.directory)
    assert not os.path.exists(left)


# ---- stand-ins


def test_stand_ins_need_no_network_and_ignore_the_policy(image_store):  # noqa: F811
    recipe_image(image_store, "nginx")
    for policy in ("Always", "IfNotPresent", "Never"):
        image = ensure(images.Images(image_store.directory), "gcr.io/google_containers/nginx-slim:0.8", policy)
        assert (image.reference, image.source) == ("gcr.io/google_containers/nginx-slim:0.8", "stand-in")
        assert image.command == ("nginx", "-g", "daemon off;")


def test_without_stand_ins_the_name_is_what_it_is(image_store):  # noqa: F811
    plain = images.Images(image_store.directory, stand_ins=False)
    with pytest.raises(images.ImageError) as caught:
        ensure(plain, "gcr.io/google_containers/nginx-slim:0.8", "Never")
    assert caught.value.reason == "ErrImageNeverPull"
    assert ensure(plain, "petset.local/debian", "Never").source == "built"
