"""What a start says of a state directory that it cannot use: one line, with the place and what to do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from petset.base import state
from petset.cli.asking import connection
from petset.objects import errors, meta
from petset.store import sqlite
from petset.wire import http
from tests.store.objects import config_map
from tests.store.test_recovery import objects, opened, work

START_SECONDS_MAX = 60
mounts = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")


@contextlib.contextmanager
def disk(at: Path, kilobytes: int) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(at)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(at)], check=True)


def fill_up(directory: Path) -> None:
    with contextlib.suppress(OSError), open(directory / "ballast", "wb", buffering=0) as ballast:
        while True:
            ballast.write(b"x" * 4096)


def refused(directory: Path) -> str:
    """What `petset up` says that cannot start there: one line."""
    command = [sys.executable, "-m", "petset", "--state", str(directory), "up", "--simulate"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS_MAX)
    assert done.returncode == 1, done
    assert done.stderr.startswith("petset: cannot ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@contextlib.contextmanager
def running(directory: Path, *options: str) -> Iterator[None]:
    """`petset up --simulate` until its node is ready, and down again."""
    command = [sys.executable, "-m", "petset", "--state", str(directory), "up", "--simulate", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert any(line.startswith("node") for line in process.stdout)
            yield
        finally:
            process.terminate()


@mounts
@pytest.mark.parametrize("kilobytes", [4, 8, 16, 32, 48, 64, 80, 96, 112, 128, 192, 240, 256])
def test_a_start_on_a_full_disk_names_its_place(tmp_path: Path, kilobytes: int) -> None:
    with disk(tmp_path, kilobytes):
        assert str(tmp_path) in refused(tmp_path)


@mounts
def test_a_start_with_data_on_a_full_disk_names_its_place_and_loses_nothing(tmp_path: Path) -> None:
    async def fill() -> None:
        store = await sqlite.SqliteStore.open(tmp_path / "store.db")
        await work(store, 0, 20)
        await store.close()

    with disk(tmp_path, 2048):
        asyncio.run(fill())
        before = objects(opened(tmp_path))
        fill_up(tmp_path)
        said = refused(tmp_path)
        assert str(tmp_path) in said
        assert "backup" not in said
        (tmp_path / "ballast").unlink()
        assert objects(opened(tmp_path)) == before


def named(name: str, text: str = "") -> Any:
    return meta.changed(config_map(name, text), ("metadata", "namespace"), "default")


async def readiness(directory: Path) -> None:
    instance = state.State(directory)
    async with connection.connect(instance) as connected:
        client = connected.client
        assert b"[+]etcd ok" in await client.raw("/readyz?verbose")
        fill_up(directory)
        with pytest.raises(errors.ApiError, match="cannot write"):
            for number in range(100):
                await client.create(named(f"c{number}", "x" * 100_000))
        with pytest.raises(errors.ApiError, match=f"\\[-\\]etcd failed: cannot write to {directory}/store.db"):
            await client.raw("/readyz")
        (directory / "ballast").unlink()
        await client.create(named("after"))
        assert await client.raw("/readyz") == b"ok"


@mounts
def test_readiness_tells_that_writes_fail(tmp_path: Path) -> None:
    with disk(tmp_path, 4096), running(tmp_path):
        asyncio.run(readiness(tmp_path))


def test_a_start_that_lacks_writes_is_refused_until_that_is_accepted(tmp_path: Path) -> None:
    async def fill() -> None:
        store = await sqlite.SqliteStore.open(tmp_path / "store.db")
        await work(store, 0, 20)
        await store.close()

    asyncio.run(fill())
    (tmp_path / "store.db").unlink()
    said = refused(tmp_path)
    assert said == refused(tmp_path)
    assert "the last 22 of 22 acknowledged writes are missing; restore it from a backup" in said
    with running(tmp_path, "--accept-older"):
        pass
    with running(tmp_path):
        pass


def test_a_cluster_without_pet_sets_has_neither_the_kind_nor_the_api_service(tmp_path: Path) -> None:
    async def look() -> list[int]:
        async with connection.connect(state.State(tmp_path)) as connected:
            paths = (
                "/apis/apps/v1",
                "/apis/apps/v1alpha1",
                "/apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.apps",
            )
            return [(await connected.dialer.send(http.Request("GET", path))).code for path in paths]

    with running(tmp_path, "--runtime-config=apps/v1alpha1=false"):
        assert asyncio.run(look()) == [200, 404, 404]
        told = subprocess.run(
            [sys.executable, "-m", "petset", "--state", str(tmp_path), "status"], capture_output=True, text=True
        )
        assert told.returncode == 0 and "answers" in told.stdout, told


def test_what_cannot_be_turned_off_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "petset", "--state", str(tmp_path), "up", "--runtime-config=apps/v1=false"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS_MAX)
    assert done.returncode == 2 and "'apps/v1' cannot be turned on or off; apps/v1alpha1 can" in done.stderr


@mounts
def test_a_private_file_that_does_not_fit_leaves_the_one_before(tmp_path: Path) -> None:
    with disk(tmp_path, 16):
        state.write_private(tmp_path / "key", b"before")
        with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}/key'"):
            state.write_private(tmp_path / "key", b"x" * 100_000)
        assert (tmp_path / "key").read_bytes() == b"before"
        assert [path.name for path in tmp_path.iterdir()] == ["key"]
