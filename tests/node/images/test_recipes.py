"""Recipes: what a recipe.yaml may say, which names they stand in for, and builds on the real base image."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from petset.node.images import building, image_names, images, locks, recipes
from petset.node.runtime import Image
from tests.images_fixture import CHECKOUT, image_store, recipe_image, run_in  # noqa: F401

OURS = recipes.Recipes(str(CHECKOUT / "images"))


def test_a_recipe_is_read():
    recipe = recipes.parse(
        "web", "/f", "from: debian\npackages: [a, b]\ncommand: [x]\nstop-signal: SIGQUIT\nports: [80/tcp]"
    )
    assert recipe == recipes.Recipe(
        "web", "/f", "debian", packages=("a", "b"), command=("x",), stop_signal="SIGQUIT", ports=("80/tcp",)
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("packages: [a]", 'has no "from"'),
        ("from: a\nfoo: 1", 'unknown field "foo"'),
        ("a: [", "not YAML"),
        ("- from: a", 'has no "from"'),
        ("from: a\npackages: b", '"packages" must be a list'),
        ("from: a\nuser: [b]", '"user" must be a text'),
    ],
)
def test_a_wrong_recipe_is_refused(text, words):
    with pytest.raises(recipes.RecipeError, match=words):
        recipes.parse("web", "/f", text)


@pytest.mark.parametrize("name", OURS.names())
def test_every_recipe_of_ours_can_be_read_and_its_parent_exists(name):
    recipe = OURS.recipe(name)
    assert recipe.parent == recipes.BASE or recipe.parent in OURS.names()


def test_every_stand_in_is_a_recipe():
    assert {recipe for _, recipe in OURS.stand_ins} <= set(OURS.names())


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("gcr.io/google_containers/nginx-slim:0.8", "nginx"),
        ("registry.k8s.io/nginx-slim:0.27", "nginx"),
        ("k8s.gcr.io/nginx-slim", "nginx"),
        ("gcr.io/google_containers/redis-install-3.2.0:e2e", "redis-install"),
        ("gcr.io/google_containers/redis-install:0.1", "redis-install"),
        ("registry.k8s.io/e2e-test-images/pets/redis-installer:1.5", "redis-install"),
        ("debian:jessie", "debian"),
        ("docker.io/library/debian:8.11", "debian"),
        ("debian:bookworm", None),
        ("debian", None),
        ("nginx:1.27", None),
        ("redis:7", None),
        ("example.org/debian:jessie", None),
    ],
)
def test_names_of_2016_and_their_successors_have_stand_ins(name, recipe):
    assert OURS.stand_in(str(image_names.parse_reference(name))) == recipe


def test_the_key_depends_on_recipe_files_modes_and_parent(tmp_path):
    folder = tmp_path / "x"
    (folder / "files").mkdir(parents=True)
    (folder / "recipe.yaml").write_text("from: debian\n")
    (folder / "files/a").write_text("a")
    catalogue = recipes.Recipes(str(tmp_path))

    def key(parent: str = "p") -> str:
        return catalogue.key(catalogue.recipe("x"), parent)

    first = key()
    keys = {first, key("q")}
    (folder / "files/a").chmod(0o755)
    keys.add(key())
    (folder / "files/a").write_text("b")
    keys.add(key())
    (folder / "recipe.yaml").write_text("from: debian\nrun: ['true']\n")
    keys.add(key())
    assert (
        len(keys) == 5
        and first
        == (
            (folder / "files/a").write_text("a"),
            (folder / "files/a").chmod(0o644),
            (folder / "recipe.yaml").write_text("from: debian\n"),
            key(),
        )[-1]
    )


def test_the_configuration_of_an_image():
    recipe = recipes.Recipe("x", "/f", "debian", entrypoint=(), command=("a", "b c"), env=("A=1,2",), user="7")
    assert building.config_arguments(recipe) == [
        "--clear=config.entrypoint", "--clear=config.cmd", "--config.cmd=a", "--config.cmd=b c", "--config.env=A=1,2",
        "--config.user=7",
    ]  # fmt: skip


# ---- real builds, on a copy of the shared store


@pytest.fixture
def workshop(image_store, tmp_path):  # noqa: F811
    """A store that has debian already, with a folder of recipes of its own; workshop.add(name, recipe, files)."""
    recipe_image(image_store, "debian")
    directory = tmp_path / "store"
    asyncio.run(_copied(image_store.directory, directory))
    folder = tmp_path / "recipes"
    shutil.copytree(CHECKOUT / "images/debian", folder / "debian")
    return Workshop(images.Images(str(directory), recipes=str(folder)), folder)


async def _copied(store: str, target: Path) -> None:
    """Link what a store has into another place, while nobody adds to it: other tests build in the shared store."""
    async with contextlib.AsyncExitStack() as held:
        for lock in ("build", "blobs", "index"):
            await held.enter_async_context(locks.held(os.path.join(store, "locks", f"{lock}.fifo")))
        target.mkdir()
        linked = [os.path.join(store, folder) for folder in ("layout", "rootfs", "used")]
        await asyncio.to_thread(subprocess.run, ["cp", "-al", "--", *linked, str(target)], check=True)
        # Lists of packages may be rewritten in place.
        copied = os.path.join(store, "packages")
        await asyncio.to_thread(subprocess.run, ["cp", "-a", "--", copied, str(target)], check=True)


class Workshop:
    def __init__(self, store: images.Images, folder: Path):
        self.store = store
        self.folder = folder
        self.said: list[str] = []

    def add(self, name: str, recipe: str, files: dict[str, str] | None = None) -> None:
        (self.folder / name).mkdir(exist_ok=True)
        (self.folder / name / "recipe.yaml").write_text(recipe)
        for path, content in (files or {}).items():
            target = self.folder / name / "files" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)

    def build(self, name: str) -> Image:
        self.said.clear()
        return asyncio.run(self.store.build(name, self.said.append))

    def left(self) -> list[str]:
        return os.listdir(os.path.join(self.store.directory, "work"))


def test_the_base_is_small_and_has_what_scripts_need(image_store):  # noqa: F811
    debian = recipe_image(image_store, "debian")
    assert debian.size_bytes < 30e6
    done = run_in(
        debian,
        "perl -MSocket -MPOSIX -e 1 && echo a | sed s/a/b/ | grep b && hostname && timeout 1 true && command -v getent",
    )
    assert done.returncode == 0 and done.stdout.split()[:2] == ["b", "pet-0"], done.stderr
    for absent in ("etc/machine-id", "etc/resolv.conf", "etc/apt/sources.list", "etc/apt/apt.conf.d/99mmdebstrap"):
        assert not os.path.exists(os.path.join(debian.rootfs, absent)), absent
    assert os.path.islink(os.path.join(debian.rootfs, "lib"))


def test_a_recipe_is_built_once_and_again_when_it_changes(workshop):
    workshop.add(
        "small", "from: debian\nrun: ['echo $(hostname) > /made', 'chown 7 /made']\ncommand: [cat]", {"etc/a": "1"}
    )
    first = workshop.build("small")
    assert workshop.said and first.source == "built" and first.command == ("cat",)
    assert os.stat(os.path.join(first.rootfs, "made")).st_uid == 7
    assert (Path(first.rootfs) / "etc/a").read_text() == "1"
    assert os.stat(os.path.join(first.rootfs, "etc/a")).st_mtime <= building.SOURCE_DATE_EPOCH
    assert workshop.build("small") == first and not workshop.said
    workshop.add(
        "small", "from: debian\nrun: ['echo $(hostname) > /made', 'chown 7 /made']\ncommand: [cat]", {"etc/a": "2"}
    )
    assert workshop.build("small").digest != first.digest
    assert not workshop.left()


def test_a_build_is_reproducible_and_its_tree_is_what_was_packed(workshop):
    workshop.add("small", "from: debian\nunpack: [hello]\nrun: [date > /tmp/a]")
    first = workshop.build("small")
    asyncio.run(workshop.store.remove("petset.local/small"))
    shutil.rmtree(first.rootfs)
    second = workshop.build("small")
    assert second.digest == first.digest
    packed = tree(second.rootfs)
    shutil.rmtree(second.rootfs)
    assert tree(workshop.build("small").rootfs) == packed


def tree(root: str) -> str:
    find = ["find", ".", "-printf", "%p %m %U %G %y %s %T@ %l\\n"]
    lines = subprocess.run(find, cwd=root, check=True, capture_output=True, text=True).stdout.splitlines()
    return "\n".join(sorted(line for line in lines if line.split()[4] != "d"))


def test_nothing_in_a_step_reaches_the_host_or_the_network(workshop):
    workshop.add(
        "small", "from: debian\nrun:\n - test $$ -lt 50\n - '! getent hosts localhost.invalid'\n - sleep 1000 &"
    )
    workshop.build("small")
    with open("/proc/self/mountinfo") as file:
        assert workshop.store.directory not in file.read()


def test_a_package_that_cannot_be_had_is_named(workshop):
    for field in ("packages", "unpack"):
        workshop.add("small", f"from: debian\n{field}: [no-such-package]")
        with pytest.raises(images.ImageError, match="no package no-such-package"):
            workshop.build("small")
        assert not workshop.left()


def test_a_step_that_fails_says_why(workshop):
    workshop.add("small", "from: debian\nrun: ['echo the reason >&2; exit 3']")
    with pytest.raises(images.ImageError, match=r'cannot build image "small": .*the reason'):
        workshop.build("small")
    assert not workshop.left()


def test_an_unknown_parent_is_named(workshop):
    workshop.add("small", "from: nothing")
    with pytest.raises(images.ImageError, match=r'"nothing": no recipe of that name .*the recipes are debian, small'):
        workshop.build("small")


BUILD = """
import asyncio, sys
from petset.node import images
store = images.Images(sys.argv[1], recipes=sys.argv[2])
asyncio.run(store.build("small", lambda line: print(line, flush=True)))
"""


def test_a_build_that_is_killed_leaves_nothing(workshop):
    workshop.add("small", "from: debian\nrun: ['echo half > /half', 'sleep 4321']")
    directory = workshop.store.directory
    builder = subprocess.Popen(
        [sys.executable, "-c", BUILD, directory, str(workshop.folder)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(CHECKOUT / "src")},
    )  # fmt: skip
    for line in builder.stdout:
        if "setting up" in line:
            break
    for _ in range(100):
        if running(directory):
            break
        subprocess.run(["sleep", "0.05"], check=True)
    builder.send_signal(signal.SIGKILL)
    builder.wait()
    for _ in range(100):
        if not running(directory):
            break
        subprocess.run(["sleep", "0.05"], check=True)
    assert running(directory) == []
    again = images.Images(directory, recipes=str(workshop.folder))
    assert not workshop.left()
    assert not [image for image in again.list() if image.recipe == "small"]
    workshop.add("small", "from: debian\nrun: ['echo whole > /whole']")
    assert not os.path.exists(os.path.join(workshop.build("small").rootfs, "half"))


def running(directory: str) -> list[str]:
    """Processes whose root is below a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "root").startswith(directory):
                found.append(process.name)
        except OSError:
            pass
    return found


def test_cancelling_a_build_leaves_nothing(workshop):
    workshop.add("small", "from: debian\nrun: ['sleep 4321']")

    async def cancelled() -> None:
        build = asyncio.ensure_future(workshop.store.build("small", workshop.said.append))
        while not any("setting up" in line for line in workshop.said):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        build.cancel()
        with pytest.raises(asyncio.CancelledError):
            await build

    asyncio.run(cancelled())
    assert not workshop.left() and running(workshop.store.directory) == []


def test_included_files_are_part_of_the_recipe(tmp_path):
    (tmp_path / "web").mkdir()
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "tool").write_text("one")
    (tmp_path / "web" / "recipe.yaml").write_text("from: debian\ninclude: [shared]\n")
    ours = recipes.Recipes(str(tmp_path))
    before = ours.key(ours.recipe("web"), "sha256:parent")
    (tmp_path / "shared" / "tool").write_text("two")
    assert ours.key(ours.recipe("web"), "sha256:parent") != before
    (tmp_path / "web" / "recipe.yaml").write_text("from: debian\ninclude: [nowhere]\n")
    with pytest.raises(recipes.RecipeError, match="no folder nowhere to include"):
        ours.key(ours.recipe("web"), "sha256:parent")
