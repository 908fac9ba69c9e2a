"""A registry on loopback with the images that the suites' pods name, and skopeo's configuration that finds them there.

Pods pull by the names they were written with, whatever their pull policy says: the public registries are mirrored by
this one. pause and busybox are made of this machine's busybox, the others are recipes of images/.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from petset.node.images import images
from tests import images_fixture
from tests.registry import Registry

BUSYBOX = "/bin/busybox"
# Names in the registry: the program that makes the image, as it is called below.
BUSYBOXES = {
    "library/busybox": ("latest", "1", "stable"),
    "library/alpine": ("latest",),
    "google_containers/pause": ("latest",),
    "google-containers/pause": ("latest", "2.0"),
    "pause": ("latest", "3.10"),
}
# Recipe -> names in the registry.
RECIPES = {
    "nginx": tuple(f"library/nginx:{tag}" for tag in ("latest", "stable", "1.14.2", "1.15.4", "1.7.9")),
    "debian": ("library/ubuntu:latest", "library/debian:latest"),
}
PUBLIC = ("docker.io", "gcr.io", "registry.k8s.io", "k8s.gcr.io", "quay.io")


class Mirror:
    """`environment`: what a petset needs to pull from here. Images of recipes are made in `store`."""

    def __init__(
        self,
        folder: Path,
        store: images.Images | None = None,
        recipes: Mapping[str, Sequence[str]] = RECIPES,
        busyboxes: Mapping[str, Sequence[str]] = BUSYBOXES,
    ):
        folder.mkdir(parents=True, exist_ok=True)
        self.registry = Registry(folder)
        self._fill(folder, store or images.Images(images_fixture.store_directory()), recipes, busyboxes)
        configuration = folder / "home" / ".config" / "containers" / "registries.conf"
        configuration.parent.mkdir(parents=True)
        configuration.write_text(
            "\n".join(
                f'[[registry]]\nprefix = "{name}"\nlocation = "{name}"\n'
                f'[[registry.mirror]]\nlocation = "{self.registry.host}"\ninsecure = true\n'
                for name in PUBLIC
            )
        )
        self.environment = {"HOME": str(folder / "home")}  # skopeo has no other way that Debian's version knows.

    def _fill(
        self,
        folder: Path,
        store: images.Images,
        recipes: Mapping[str, Sequence[str]],
        busyboxes: Mapping[str, Sequence[str]],
    ) -> None:
        source = _busybox(folder / "busybox")
        for name, tags in busyboxes.items():
            for tag in tags:
                self.registry.push(source, f"{name}:{tag}")
        for recipe, names in recipes.items():
            digest = images_fixture.recipe_image(store, recipe).digest
            for name in names:
                self._push_recipe(store, digest, name, folder)

    def _push_recipe(self, store: images.Images, digest: str, name: str, folder: Path) -> None:
        aside = folder / digest.removeprefix("sha256:")[:12]
        if not aside.exists():
            _layout_of(Path(store.directory, "layout"), digest, aside)
        self.registry.push(f"oci:{aside}:it", name)

    def stop(self) -> None:
        self.registry.stop()


def _layout_of(layout: Path, digest: str, target: Path) -> None:
    """An OCI layout with one image of another, called "it"; blobs are shared."""
    target.mkdir()
    (target / "blobs").symlink_to(layout / "blobs")
    shutil.copy(layout / "oci-layout", target)
    blob = layout / "blobs" / digest.replace(":", "/")
    (target / "index.json").write_text(
        '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",'
        f'"digest":"{digest}","size":{blob.stat().st_size},'
        '"annotations":{"org.opencontainers.image.ref.name":"it"}}]}'
    )


def _busybox(folder: Path) -> str:
    """skopeo's name of an image with busybox under all its names, which does nothing until it is told to stop."""
    layout, bundle = folder / "layout", folder / "bundle"
    folder.mkdir()

    def umoci(*words: str) -> None:
        subprocess.run(["umoci", *words], check=True, capture_output=True)

    umoci("init", "--layout", str(layout))
    umoci("new", "--image", f"{layout}:it")
    umoci("unpack", "--image", f"{layout}:it", str(bundle))
    programs = bundle / "rootfs" / "bin"
    for path in ("bin", "tmp", "etc", "usr/bin", "usr/sbin", "sbin", "root", "var"):
        (bundle / "rootfs" / path).mkdir(parents=True, exist_ok=True)
    shutil.copy(BUSYBOX, programs / "busybox")
    for name in subprocess.run([BUSYBOX, "--list"], check=True, capture_output=True, text=True).stdout.split():
        if name != "busybox":
            (programs / name).symlink_to("busybox")
    (bundle / "rootfs" / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    os.chmod(bundle / "rootfs" / "tmp", 0o1777)
    umoci("repack", "--image", f"{layout}:it", str(bundle))
    # A client that looks for a pod which is stopping has a second to see it.
    wait = "trap 'sleep 1; exit 0' TERM INT; while :; do sleep 3600 & wait $!; done"
    umoci(
        "config", "--image", f"{layout}:it", "--config.env=PATH=/bin:/sbin:/usr/bin:/usr/sbin",
        "--config.cmd=sh", "--config.cmd=-c", f"--config.cmd={wait}",
    )  # fmt: skip
    return f"oci:{layout}:it"
