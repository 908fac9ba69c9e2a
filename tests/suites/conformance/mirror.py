"""The images that the specs name, in a registry on loopback that stands for the public ones."""

from __future__ import annotations

from pathlib import Path

from petset.node.images import images, recipes
from tests import images_fixture
from tests.suites import images as suite_images
from tests.suites.conformance import programs

OF_SUITE = "e2e-test-images"
# Recipe -> names in the registry, in the versions that v1.37 asks for (`e2e.test --list-images`).
RECIPES = {
    "conformance-agnhost": (f"{OF_SUITE}/agnhost:2.66.1", f"{OF_SUITE}/agnhost:2.55"),
    "conformance-busybox": (f"{OF_SUITE}/busybox:1.37.0-2",),
    "conformance-dns": (f"{OF_SUITE}/glibc-dns-testing:2.1.1",),
    "conformance-kitten": (f"{OF_SUITE}/kitten:1.8",),
    "conformance-nautilus": (f"{OF_SUITE}/nautilus:1.8",),
    "conformance-nonewprivs": (f"{OF_SUITE}/nonewprivs:1.4",),
    "conformance-nonroot": (f"{OF_SUITE}/nonroot:1.5",),
    "conformance-perl": (f"{OF_SUITE}/perl:5.26",),
    "conformance-regression-issue-74839": (f"{OF_SUITE}/regression-issue-74839:1.5",),
    "conformance-sample-apiserver": (f"{OF_SUITE}/sample-apiserver:1.29.2",),
    "conformance-etcd": ("etcd:3.7.0-0",),
    "debian": (f"{OF_SUITE}/ipc-utils:1.4",),
    "nginx": (f"{OF_SUITE}/nginx:1.27.0-2", f"{OF_SUITE}/nginx:1.28.0-2"),
}
BUSYBOXES = {"pause": ("3.10.2",)}


def filled(folder: Path, built: programs.Programs, work: Path) -> suite_images.Mirror:
    """`work` is kept from run to run, `folder` is the registry's own."""
    folders = programs.recipes(built, Path(recipes.default_folder()), work / "recipes")
    store = images.Images(images_fixture.store_directory(), recipes=folders)
    return suite_images.Mirror(folder, store, RECIPES, BUSYBOXES)
