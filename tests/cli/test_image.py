"""`petset image ls|tag|rm|prune`: names come and go, and what somebody runs on stays, with who it is."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path

import pytest
import yaml

from petset.base import state
from petset.cli import image as command
from petset.cli import main
from petset.node.images import images

NAME = "docker.io/library/small:1"


@pytest.fixture
def instance(tmp_path, monkeypatch) -> state.State:
    monkeypatch.delenv("PETSET_IMAGES", raising=False)
    made = state.State(tmp_path / "state")
    made.create()
    return made


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def put(instance: state.State, *names: str, word: str = "one") -> str:
    """An image of no layers under these names, as a pull leaves it; its digest."""
    store = images.Images(str(instance.images))

    def blob(content: bytes) -> dict[str, object]:
        (Path(store._layout.blob(digest_of(content)))).write_bytes(content)
        return {"digest": digest_of(content), "size": len(content)}

    config = blob(json.dumps({"config": {"Cmd": [word]}}).encode())
    manifest = blob(json.dumps({"schemaVersion": 2, "config": config, "layers": []}).encode())
    index = Path(store._layout.directory) / "index.json"
    found = json.loads(index.read_text())["manifests"] if index.exists() else []
    for name in names:
        notes = {images.layout.REF_NAME: name, images.ADDED: "2026-01-01T00:00:00Z"}
        found.append({**manifest, "annotations": notes})
    index.write_text(json.dumps({"schemaVersion": 2, "manifests": found}))
    tree = Path(store._rootfs(str(manifest["digest"])))
    tree.mkdir()
    (tree / "file").write_bytes(b"x" * 1000)
    return str(manifest["digest"])


def petset(instance: state.State, *words: str) -> int:
    return main.main(["--state", str(instance.directory), "image", *words])


def names(instance: state.State) -> list[str]:
    return [name for image in images.Images(str(instance.images)).list() for name in image.references]


def trees(instance: state.State) -> list[str]:
    return [path.name for path in (instance.images / "rootfs").iterdir()]


@pytest.fixture
def used(monkeypatch):
    """What pods run on, by digest."""
    users: dict[str, list[str]] = {}

    async def of(store, instance):
        return users

    monkeypatch.setattr(command, "_users", of)
    return users


def test_a_name_more_and_a_name_less(instance, capsys, used):
    digest = put(instance, NAME)
    assert petset(instance, "tag", "small:1", "mine:2") == 0
    assert sorted(names(instance)) == ["docker.io/library/mine:2", NAME]
    assert petset(instance, "rm", "small:1") == 0
    assert names(instance) == ["docker.io/library/mine:2"] and trees(instance) == [digest[7:]]
    capsys.readouterr()
    assert petset(instance, "rm", "mine:2") == 0
    assert names(instance) == [] and trees(instance) == []
    assert capsys.readouterr().out.splitlines()[0] == "docker.io/library/mine:2: removed"


def refused(capsys, instance: state.State, *words: str) -> str:
    assert petset(instance, *words) == 1
    said = capsys.readouterr().err
    assert said.startswith("petset: cannot ") and said.count("\n") == 1 and ";" in said
    return said


def test_what_a_pod_runs_on_stays_and_the_pod_is_named(instance, capsys, used):
    digest = put(instance, NAME)
    used[digest] = ["pod default/web-0"]
    assert "it is in use by pod default/web-0; delete that first" in refused(capsys, instance, "rm", "small:1")
    assert names(instance) == [NAME] and trees(instance) == [digest[7:]]
    assert petset(instance, "tag", "small:1", "other:1") == 0
    assert petset(instance, "rm", "other:1") == 0, "another name leads to it"
    assert names(instance) == [NAME]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("rm", "none:1"), "there is no image of that name"),
        (("tag", "none:1", "new:1"), "there is no image of that name"),
        (("tag", "small:1", "petset.local/redis"), "are those of recipes"),
        (("tag", "small:1", "No Name"), "a name has no spaces"),
        (("prune", "--all"), "say it with --yes"),
    ],
)
def test_what_cannot_be_done(instance, capsys, used, words, said, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    put(instance, NAME)
    assert said in refused(capsys, instance, *words)
    assert names(instance) == [NAME]


def test_prune_takes_what_no_name_leads_to(instance, capsys, used):
    kept, running = put(instance, NAME), put(instance, word="two")
    put(instance, word="three")
    used[running] = ["pod default/web-0"]
    assert petset(instance, "prune") == 0
    assert sorted(trees(instance)) == sorted([kept[7:], running[7:]]) and names(instance) == [NAME]


def test_prune_all_takes_what_nobody_runs_on(instance, capsys, used):
    put(instance, NAME)
    running = put(instance, "docker.io/library/busy:1", word="two")
    used[running] = ["pod default/web-0"]
    assert petset(instance, "prune", "--all", "--yes") == 0
    assert names(instance) == ["docker.io/library/busy:1"] and trees(instance) == [running[7:]]


def test_the_list_is_a_table_json_and_yaml(instance, capsys):
    digest = put(instance, NAME)
    assert petset(instance, "ls") == 0
    heading, line = capsys.readouterr().out.splitlines()
    assert heading.split() == ["NAME", "SIZE", "DIGEST", "ORIGIN"]
    assert line.split() == [NAME, "0.0", "MB", digest[7:19], "registry"]
    for output, read in (("json", json.loads), ("yaml", yaml.safe_load)):
        assert petset(instance, "ls", "-o", output) == 0
        [told] = read(capsys.readouterr().out)
        assert (told["digest"], told["names"], told["origin"]) == (digest, [NAME], "registry")
        assert set(told) == {"digest", "names", "sizeBytes", "added", "origin"}


def test_the_digests_of_a_pod():
    status = {
        "phase": "Running",
        "initContainerStatuses": [{"imageID": "docker.io/library/a@sha256:1"}],
        "containerStatuses": [{"imageID": "b@sha256:2"}, {"imageID": "sha256:2"}, {"imageID": ""}, {}],
    }
    assert command._digests({"status": status}) == ["sha256:1", "sha256:2"]
    assert command._digests({"status": {**status, "phase": "Succeeded"}}) == []
    assert command._digests({}) == []


def test_nobody_runs_where_nothing_runs(instance):
    store = images.Images(str(instance.images))
    assert asyncio.run(command._users(store, instance)) == {}


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_status_in_forms_for_programs(instance, capsys, output):
    assert main.main(["--state", str(instance.directory), "status", "-o", output]) == 3
    read = {"json": json.loads, "yaml": yaml.safe_load}[output]
    assert read(capsys.readouterr().out) == {"running": False, "state": str(instance.directory)}
