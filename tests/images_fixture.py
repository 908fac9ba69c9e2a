"""The image store that tests share, so that recipes are built once and not by every suite.

`from tests.images_fixture import image_store, run_in`; `image_store` is a session fixture: an Images on the directory
PETSET_TEST_IMAGES, or .petset/test-images in the checkout. Recipes are built when a test first asks for them.
`run_in(image, script)` runs a shell script in a throw-away copy of an image, in namespaces of its own.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from petset.node.images import images
from petset.node.runtime import Image

CHECKOUT = Path(__file__).resolve().parent.parent
TOOLS = ("skopeo", "umoci", "mmdebstrap", "unshare")


def store_directory() -> str:
    return os.environ.get("PETSET_TEST_IMAGES") or str(CHECKOUT / ".petset" / "test-images")


def can_build() -> bool:
    return os.geteuid() == 0 and all(shutil.which(tool) for tool in TOOLS)


needs_builds = pytest.mark.skipif(not can_build(), reason="needs root and " + ", ".join(TOOLS))


@pytest.fixture(scope="session")
def image_store() -> images.Images:
    """The shared store; skips where images cannot be built."""
    if not can_build():
        pytest.skip("building images needs root and " + ", ".join(TOOLS))
    return images.Images(store_directory())


def recipe_image(store: images.Images, recipe: str) -> Image:
    """The image of a recipe, built when it is not there yet; for tests outside an event loop."""
    fresh = images.Images(store.directory, recipes=store.recipes.folder)
    return asyncio.run(fresh.ensure(f"{images.OWN_REGISTRY}/{recipe}", "IfNotPresent"))


# $1 rootfs, $2 host name, $3 script; further arguments are copied files: target=source. The overlay's upper layer is
# a tmpfs of this mount namespace, so nothing is left.
_RUN_IN = """
rootfs=$1 name=$2 script=$3; shift 3
ip link set lo up
hostname "$name"
t=/mnt; mount -t tmpfs tmpfs $t; mkdir $t/upper $t/work $t/root; r=$t/root
mount -t overlay overlay -o "lowerdir=$rootfs,upperdir=$t/upper,workdir=$t/work" $r
mount -t proc proc $r/proc
mount --rbind /dev $r/dev
mount -t tmpfs tmpfs $r/run
for file in "$@"; do mkdir -p "$r/$(dirname "${file%%=*}")"; cp "${file#*=}" "$r/${file%%=*}"; done
[ -z "${BESIDE:-}" ] || { sh -c "$BESIDE" & until [ -e /mnt/ready ]; do sleep 0.02; done; }
chroot $r /bin/bash -c "$script"
"""


def run_in(
    image: Image,
    script: str,
    *,
    hostname: str = "pet-0",
    files: dict[str, str] | None = None,
    beside: str = "",
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run a bash script in a throw-away copy of an image, without a network but loopback.

    `files`: {path in the image: path on the host}. `beside`: a shell command run outside the image in the same network
    namespace (a server); it must create /mnt/ready when it is ready.
    """
    copies = [f"{target}={source}" for target, source in (files or {}).items()]
    return subprocess.run(
        ["unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child",
         "sh", "-eu", "-c", _RUN_IN, "run-in", image.rootfs, hostname, script, *copies],
        env=dict(line.split("=", 1) for line in image.env) | {"BESIDE": beside, "HOME": "/root"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
    )  # fmt: skip
