"""Images put into a registry: a real one on loopback, open, with a password, or not there; and what they are called."""

from __future__ import annotations

import asyncio
import os

import pytest

from petset import __version__
from petset.base import state
from petset.cli import main
from petset.controllers.pets import translation
from petset.node.images import images, pushing, recipes, registry_logins, sources
from petset.node.images.image_names import parse_reference
from petset.node.runtime import Credential, Image
from tests.node.images.test_images import needs_tools, read, small_image
from tests.registry import USER_PET_PASSWORD_SECRET, Registry

NAME = "mine:1"


@pytest.fixture
def store(tmp_path):
    """With one small image."""
    made = images.Images(str(tmp_path / "store"))
    asyncio.run(made.load(small_image(tmp_path).removeprefix("oci:").partition(":")[0], NAME))
    return made


def registry_in(tmp_path, **options) -> Registry:
    folder = tmp_path / "registry"
    folder.mkdir()
    return Registry(folder, **options)


@pytest.fixture
def registry(tmp_path):
    server = registry_in(tmp_path)
    yield server
    server.stop()


def push(store, to: str, name: str = NAME, **options) -> Image:
    said: list[str] = []
    pushed = asyncio.run(store.push(name, parse_reference(to), progress=said.append, **options))
    assert any("Copying blob" in line for line in said), "how far it is"
    return pushed


@needs_tools
def test_an_image_is_pushed_and_is_the_same_for_who_pulls_it(registry, store, tmp_path):
    pushed = push(store, f"{registry.host}/team/mine:2")
    assert pushed.reference == f"{registry.host}/team/mine:2"
    other = images.Images(str(tmp_path / "other"))
    assert read(asyncio.run(other.ensure(pushed.reference, "IfNotPresent"))) == "one"
    assert push(store, f"{registry.host}/team/mine:2").digest == pushed.digest, "what is there already is no failure"


@needs_tools
def test_why_an_image_cannot_be_pushed_is_one_line_with_what_to_do(store, tmp_path):
    server = registry_in(tmp_path, password=USER_PET_PASSWORD_SECRET)
    try:
        with pytest.raises(images.AccessRefused) as refused:
            push(store, f"{server.host}/mine:1")
    finally:
        server.stop()
    with pytest.raises(images.ImageError) as dead:
        push(store, f"{server.host}/mine:1")
    with pytest.raises(images.ImageError) as absent:
        push(store, f"{server.host}/none:1", "none:1")
    begin = f"cannot push {server.host}/mine:1: {server.host}: "
    assert refused.value.message.startswith(f"{begin}the registry refuses it without other credentials (")
    assert refused.value.message.endswith(f"; log in with skopeo login {server.host}")
    assert dead.value.message == f"{begin}nothing answers there (connection refused); check its name and that it runs"
    assert absent.value.message == "cannot push none:1: there is no image of that name; see petset image ls"
    assert not any("\n" in one.value.message for one in (refused, dead, absent))


@needs_tools
def test_the_machines_own_login_opens_a_registry(store, tmp_path, monkeypatch):
    server = registry_in(tmp_path, password=USER_PET_PASSWORD_SECRET)
    try:
        file = tmp_path / "auth.json"
        file.write_text(registry_logins.authfile(server.host, Credential("pet", "secret")))
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(file))
        assert push(store, f"{server.host}/mine:1").digest.startswith("sha256:")
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            'level=fatal msg="pinging \\"r.example\\": server gave HTTP response to HTTPS client"',
            "the registry speaks plain HTTP; say --tls-verify=false if that is meant",
        ),
        (
            "x509: certificate signed by unknown authority",
            "its certificate is not trusted; install its CA on this machine",
        ),
        (
            "lookup r.example: no such host",
            "the registry's name is not known to DNS; check its name and that it runs",
        ),
        ("is not installed", "skopeo is not installed; install the package skopeo"),
    ],
)
def test_skopeos_words_of_a_push_become_a_sentence(said, expected):
    begin = "cannot push r.example/x:1: "
    assert sources.push_failure("r.example/x:1", "r.example", said) == f"{begin}r.example: {expected}"
    assert sources.push_failure("r.example/x:1", "r.example", "new") == f"{begin}new; see the registry's answer"


# -- What they are called there


def test_every_name_that_a_recipe_stands_in_for_leads_to_its_image_in_the_registry():
    own = recipes.Recipes(recipes.default_folder())
    names = translation.images_of(pushing.image_map("r.example:5000/pets/", own.stand_ins))
    tag = __version__
    for image, recipe in {
        "gcr.io/google_containers/nginx-slim:0.8": "nginx",
        "gcr.io/google_containers/redis-install-3.2.0:e2e": "redis-install",
        "debian:jessie": "debian",
        "docker.io/debian:jessie": "debian",
        "docker.io/library/debian:jessie": "debian",
        "java:openjdk-8-jre": "java",
        "erkules/galera:basic": "mariadb-galera",
    }.items():
        assert own.stand_in(str(parse_reference(image))) == recipe, "as the embedded one has it"
        assert names.renamed(image) == f"r.example:5000/pets/{recipe}:{tag}"
    assert names.renamed("registry.example/own:1") == "registry.example/own:1"


# -- The command


@pytest.fixture
def instance(tmp_path, monkeypatch) -> state.State:
    monkeypatch.delenv("PETSET_IMAGES", raising=False)
    made = state.State(tmp_path / "state")
    made.create()
    return made


def petset(instance: state.State, *words: str) -> int:
    return main.main(["--state", str(instance.directory), "image", "push", *words])


@needs_tools
def test_the_command_builds_and_pushes_the_stand_ins(instance, registry, tmp_path, capsys, monkeypatch):
    built: list[str] = []

    async def build(self, name, progress):
        """Instead of a distribution's packages: a small image under the recipe's name."""
        built.append(name)
        progress("built")
        [made] = await self.load(small_image(tmp_path, tag=name).removesuffix(f":{name}").removeprefix("oci:"), "x:1")
        entry = self._layout.entry("docker.io/library/x:1")
        own = f"{images.OWN_REGISTRY}/{name}:latest"
        await self._name(own, entry.noted({images.layout.REF_NAME: own}))
        return made

    monkeypatch.setattr(images.Images, "build", build)
    assert petset(instance, f"{registry.host}/pets", "redis") == 0
    said = capsys.readouterr()
    assert built == ["redis"] and said.err == "", "no terminal is there to show how far it is"
    assert said.out.startswith(f"{registry.host}/pets/redis:{__version__}: ") and "sha256:" in said.out
    other = images.Images(str(tmp_path / "other"))
    name = f"{registry.host}/pets/redis:{__version__}"
    assert os.path.isdir(asyncio.run(other.ensure(name, "IfNotPresent")).rootfs)


def test_the_command_only_says_what_is_what(instance, capsys):
    assert petset(instance, "r.example", "nginx", "--map") == 0
    said = capsys.readouterr().out.splitlines()
    assert f"gcr.io/google_containers/nginx-slim:*=r.example/nginx:{__version__}" in said
    assert all(line.endswith(f"=r.example/nginx:{__version__}") for line in said)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("r.example", "none"), 'cannot push "none": there is no recipe of that name; the recipes are '),
        (("http://r.example",), "a name has no scheme"),
        (("r example",), "a name has no spaces"),
    ],
)
def test_what_cannot_be_pushed(instance, capsys, words, why):
    assert petset(instance, *words) == 1
    said = capsys.readouterr().err
    assert said.startswith("petset: cannot ") and said.count("\n") == 1 and ";" in said and why in said
