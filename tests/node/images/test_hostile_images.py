"""Images made to harm the machine that unpacks them: refused with a sentence, or harmless, and nothing is left."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from petset.node.images import images, layers
from petset.node.runtime import Image, ImageError
from tests.node.hostile_images import BLOCK_DEVICE, DIRECTORY, HARD_LINK, SYMLINK, entry, layer, layout

needs_tools = pytest.mark.skipif(
    os.geteuid() != 0 or not all(shutil.which(tool) for tool in ("skopeo", "umoci")),
    reason="needs root, skopeo and umoci",
)


@pytest.fixture
def store(tmp_path: Path) -> images.Images:
    return images.Images(str(tmp_path / "store"), unpacked_bytes_max=64 << 20, entries_max=2000)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Next to the store, with a file that no image may read, change, or add to."""
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    (outside / "secret").write_text("the host's")
    return outside


def load(store: images.Images, path: str) -> Image:
    return asyncio.run(store.load(path))[0]


def is_clean(store: images.Images) -> bool:
    """Whether nothing half-done is left: neither work, nor trees or names of images that were refused."""
    return [os.listdir(os.path.join(store.directory, folder)) for folder in ("work", "rootfs")] == [[], []] and (
        store.list() == []
    )


def up_to(place: Path) -> str:
    """A path that goes up from anywhere, then down to a place."""
    return "../" * 40 + str(place).lstrip("/")


# What each image tries, by layers; what comes of it is either refused or harmless.
PATHS: dict[str, Any] = {
    "up": lambda out: [layer(entry(f"{up_to(out)}/made", data=b"x"))],
    "absolute": lambda out: [layer(entry(f"{out}/made", data=b"x"))],
    "through a link": lambda out: [layer(entry("d", SYMLINK, str(out)), entry("d/made", data=b"x"))],
    "through a link that goes up": lambda out: [layer(entry("d", SYMLINK, up_to(out)), entry("d/made", data=b"x"))],
    "through a link of the layer below": lambda out: [
        layer(entry("d", SYMLINK, str(out))),
        layer(entry("d/made", data=b"x")),
    ],
    "over what a link leads to": lambda out: [
        layer(entry("f", SYMLINK, f"{out}/secret")),
        layer(entry("f", data=b"changed")),
    ],
    "the mode of what a link leads to": lambda out: [
        layer(entry("d", SYMLINK, str(out))),
        layer(entry("d", DIRECTORY, mode=0o777), entry("d/made", data=b"x")),
    ],
    "a hard link to what a link leads to": lambda out: [
        layer(entry("f", SYMLINK, f"{out}/secret"), entry("h", HARD_LINK, "f")),
        layer(entry("h", data=b"changed")),
    ],
    "a removal through a link": lambda out: [layer(entry("d", SYMLINK, str(out))), layer(entry("d/.wh.secret"))],
    "an emptying through a link": lambda out: [layer(entry("d", SYMLINK, str(out))), layer(entry("d/.wh..wh..opq"))],
    "an attribute of overlayfs": lambda out: [
        layer(entry("f", data=b"x", pax_headers={"SCHILY.xattr.trusted.overlay.redirect": str(out)}))
    ],
}
REFUSED: dict[str, Any] = {
    "a hard link outside": lambda out: [layer(entry("h", HARD_LINK, f"{out}/secret"))],
    "a hard link up": lambda out: [layer(entry("h", HARD_LINK, f"{up_to(out)}/secret"))],
    "a hard link through a link": lambda out: [
        layer(entry("d", SYMLINK, str(out)), entry("h", HARD_LINK, "d/secret")),
    ],
    "a removal of the root": lambda out: [layer(entry(".wh.."))],
    "a removal of what is above the root": lambda out: [layer(entry(".wh..."))],
    "a removal of the root from below": lambda out: [layer(entry("d/.wh..."))],
    "a root that is a link": lambda out: [layer(entry(".", SYMLINK, str(out)), entry("made", data=b"x"))],
}


@needs_tools
@pytest.mark.parametrize("name", [*PATHS, *REFUSED])
def test_no_path_of_a_layer_leads_out_of_its_tree(store, tmp_path, outside, name):
    made = layout(tmp_path / "l", *{**PATHS, **REFUSED}[name](outside))
    folders = sorted(os.listdir(store.directory))
    if name in REFUSED:
        with pytest.raises(ImageError, match=r"cannot unpack image sha256:.*; it is not used"):
            load(store, made)
        assert is_clean(store)
    else:
        tree = Path(load(store, made).rootfs)
        for directory, _, files in os.walk(tree):  # A tree of its own, that shares no file with anybody.
            for file in files:
                status = os.lstat(os.path.join(directory, file))
                assert stat.S_ISLNK(status.st_mode) or status.st_ino != (outside / "secret").stat().st_ino
    assert os.listdir(outside) == ["secret"] and (outside / "secret").read_text() == "the host's"
    assert stat.S_IMODE(outside.stat().st_mode) == 0o700
    assert sorted(os.listdir(tmp_path)) == ["l", "outside", "store"]
    assert sorted(os.listdir(store.directory)) == folders


@needs_tools
def test_a_device_of_an_image_is_out_of_reach_of_the_machine_s_users(store, tmp_path):
    """What a container makes of it: test_mounting.py."""
    image = load(store, layout(tmp_path / "l", layer(entry("disk", BLOCK_DEVICE, mode=0o666, devmajor=254))))
    assert stat.S_ISBLK(os.stat(f"{image.rootfs}/disk").st_mode)
    assert stat.S_IMODE(os.stat(os.path.dirname(image.rootfs)).st_mode) == 0o700
    os.chmod(tmp_path, 0o755)
    as_nobody = ["setpriv", "--reuid=65534", "--clear-groups", "test", "-e", f"{image.rootfs}/disk"]
    assert subprocess.run(as_nobody).returncode == 1


# ---- size


def zeros(number: int) -> bytes:
    return layer(entry("zeros", data=bytes(number)))


@needs_tools
@pytest.mark.parametrize(
    ("hostile", "why"),
    [
        ([zeros(65 << 20)], "it unpacks to more than 67108864 bytes"),
        ([zeros(40 << 20), zeros(40 << 20)], "it unpacks to more than 67108864 bytes"),
        ([layer(*(entry(f"f{number}") for number in range(2001)))], "it has more than 2000 files"),
        ([layer(entry("f", pax_headers={"GNU.sparse.realsize": str(10 << 30)}))], "more than 67108864 bytes"),
        ([b"no tar" * 1000], "no tar archive, or is damaged"),
    ],
)
def test_an_image_that_grows_too_large_is_refused_before_it_is_unpacked(store, tmp_path, monkeypatch, hostile, why):
    programs: list[str] = []
    run = images.programs.run

    async def watched(argv, **options):
        programs.append(argv[0])
        return await run(argv, **options)

    monkeypatch.setattr(images.programs, "run", watched)
    with pytest.raises(ImageError, match=f"cannot unpack image sha256:.*{why}; it is not used"):
        load(store, layout(tmp_path / "l", *hostile))
    assert programs == ["skopeo"]
    assert is_clean(store)


@needs_tools
def test_the_largest_image_that_may_be_is_unpacked(store, tmp_path):
    whole = zeros(10 << 20)
    store.unpacked_bytes_max, store.entries_max = len(whole), 1
    image = load(store, layout(tmp_path / "l", whole))
    assert os.stat(f"{image.rootfs}/zeros").st_size == 10 << 20


@needs_tools
def test_no_image_takes_more_than_its_share_of_the_disk(store, tmp_path, monkeypatch):
    monkeypatch.setattr(layers, "free", lambda directory: (20 << 20, 1000))
    with pytest.raises(ImageError, match="more than 10485760 bytes"):
        load(store, layout(tmp_path / "bytes", zeros(11 << 20)))
    with pytest.raises(ImageError, match="more than 500 files"):
        load(store, layout(tmp_path / "files", layer(*(entry(f"f{number}") for number in range(501)))))


@needs_tools
def test_a_blob_that_is_larger_than_the_disk_takes_is_not_fetched(store, tmp_path, monkeypatch):
    monkeypatch.setattr(layers, "free", lambda directory: (2 << 20, 1000))
    with pytest.raises(ImageError, match=r"it is larger than this machine takes; make room"):
        load(store, layout(tmp_path / "l", layer(entry("random", data=os.urandom(3 << 20)))))
    assert is_clean(store)


@needs_tools
def test_a_very_deep_tree_is_unpacked_and_removed(store, tmp_path):
    deep = [entry("d/" * depth, DIRECTORY) for depth in range(1, 1200, 10)]
    image = load(store, layout(tmp_path / "l", layer(*deep)))
    asyncio.run(store.remove("example.org/hostile:1"))
    assert asyncio.run(store.remove_unused(set())) > 0
    assert not os.path.exists(image.rootfs) and is_clean(store)


# ---- documents


@needs_tools
@pytest.mark.parametrize(
    "config",
    [
        {"Cmd": "not a list"},
        {"Cmd": [1]},
        {"Entrypoint": {"a": 1}},
        {"Env": [["A=b"]]},
        {"WorkingDir": 3},
        {"User": ["root"]},
        "no object",
    ],
)
def test_a_configuration_that_is_malformed_is_refused(store, tmp_path, config):
    with pytest.raises(ImageError, match=r"malformed|cannot load image"):
        load(store, layout(tmp_path / "l", layer(entry("f")), config=config))
    assert is_clean(store)


@needs_tools
@pytest.mark.parametrize("digest", ["sha256:../../../../etc/passwd", "sha256:", "x", "sha256:" + "0" * 64])
def test_a_digest_that_leads_elsewhere_is_refused(store, tmp_path, digest):
    made = layout(tmp_path / "l", layer(entry("f")), change=lambda manifest: manifest["config"].update(digest=digest))
    with pytest.raises(ImageError, match="cannot "):
        load(store, made)
    assert is_clean(store)
    with pytest.raises((ImageError, FileNotFoundError)):
        store._layout.manifest(digest)


@needs_tools
def test_a_layer_that_is_not_compressed_as_it_says_is_refused(store, tmp_path):
    with pytest.raises(ImageError, match="cannot "):
        load(
            store, layout(tmp_path / "l", layer(entry("f")), compress=lambda data: gzip.compress(data)[:-9] + b"x" * 9)
        )
    assert is_clean(store)


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("index", "why"),
    [
        (DEEP, "no image archive"),
        ("[]", "malformed"),
        ('{"manifests": 3}', "malformed"),
        ('{"manifests": [3]}', "malformed"),
        ('{"manifests": [{"annotations": {"org.opencontainers.image.ref.name": 3}}]}', "malformed"),
        ("{}", "malformed"),
        ("\0", "no image archive"),
    ],
)
def test_an_index_that_is_malformed_is_refused(store, tmp_path, index, why):
    folder, archive = tmp_path / "l", tmp_path / "a.tar"
    folder.mkdir()
    (folder / "index.json").write_text(index)
    archive.write_bytes(layer(entry("index.json", data=index.encode())))
    for path in (folder, archive):
        with pytest.raises(ImageError, match=why):
            load(store, str(path))


MALFORMED = {
    "a manifest nested too deeply": layer(entry("manifest.json", data=DEEP.encode())),
    "a manifest that is a number": layer(entry("manifest.json", data=b"3")),
    "a tag that is a number": layer(entry("manifest.json", data=json.dumps([{"RepoTags": 3}]).encode())),
    "a link out": layer(entry("manifest.json", SYMLINK, "/etc/passwd")),
    "a hard link to nothing": layer(entry("manifest.json", HARD_LINK, "nowhere")),
    "gzip cut off": gzip.compress(layer(entry("manifest.json", data=b"[]")), mtime=0)[:40],
    "gzip that is none": b"\x1f\x8b" + b"x" * 100,
    "xz that is none": b"\xfd7zXZ\x00" + b"x" * 100,
    "nothing": b"",
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_an_archive_that_is_malformed_is_refused(store, tmp_path, content):
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(ImageError, match=r"cannot load .*; make one with docker save"):
        load(store, str(tmp_path / "a.tar"))
