"""The petset that is tortured: a real process that runs no containers, in a small disk of its own where that can be.

The disk is a tmpfs of a few megabytes, mounted in a mount namespace of this program alone, so that it can be filled to
the last byte without anybody else noticing. `durable` reads what a stop left in the file, from copies: reading it in
place would repair and fold the log before petset's own start has to.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from petset.base import pki, state
from petset.client.reaching import kubeconfig
from petset.net.dialer import Dialer
from tests.torture.history import Value, Version

ROOT = Path(__file__).resolve().parents[2]
DISK_BYTES = 48 << 20
PORTS = range(20_000, 30_000)
READY_SECONDS_MAX = 120
STOP_SECONDS_MAX = 120
ANSWER_SECONDS_MAX = 20.0
TRACEBACK_LINES_TOLD = 60
IN_A_NAMESPACE = "TORTURE_HAS_A_MOUNT_NAMESPACE"


BEGINS_A_LINE_OF_THE_LOG = re.compile(r"^(?=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)", re.M)


def tracebacks_in(log: str) -> list[str]:
    """The log's entries that have a traceback, whole unless they are very long; of those that end alike, the first."""
    found: dict[str, str] = {}
    for entry in BEGINS_A_LINE_OF_THE_LOG.split(log):
        _, mark, trace = entry.partition("Traceback (most recent call last)")
        if mark:
            lines = entry.rstrip().splitlines()
            if len(lines) > TRACEBACK_LINES_TOLD:
                lines[10 : 10 - TRACEBACK_LINES_TOLD] = [f"  ... {len(lines) - TRACEBACK_LINES_TOLD} lines ..."]
            found.setdefault(trace, "\n".join(lines))
    return list(found.values())


@dataclass
class Instance:
    directory: Path
    has_own_disk: bool
    port: int  # Its own: a start after a kill must not find the port taken by another petset of this machine.
    process: asyncio.subprocess.Process | None = None
    starts: int = 0
    longest_start_seconds: float = 0.0
    said: list[str] = field(default_factory=list)  # Why a start failed.

    @property
    def state(self) -> state.State:
        return state.State(self.directory)

    @property
    def log(self) -> Path:
        return self.directory.parent / "petset.stderr"

    async def spawn(self) -> None:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "petset", "--state", str(self.directory), "up", "--simulate", f"--api-port={self.port}"),
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(),
                cwd="/",
            )

    async def start(self) -> bool:
        """Run it until its node is ready; False when it ended instead."""
        began = time.monotonic()
        await self.spawn()
        assert self.process is not None and self.process.stdout is not None
        async with asyncio.timeout(READY_SECONDS_MAX):
            async for line in self.process.stdout:
                if line.startswith(b"node"):
                    self.starts += 1
                    self.longest_start_seconds = max(self.longest_start_seconds, time.monotonic() - began)
                    return True
            await self.process.wait()
        self.said.append(self.log.read_text(errors="replace").strip().rpartition("\n")[2])
        return False

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.returncode is None

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def kill(self) -> None:
        self.signal(signal.SIGKILL)
        await self.gone()

    async def gone(self) -> int:
        assert self.process is not None
        async with asyncio.timeout(STOP_SECONDS_MAX):
            return await self.process.wait()

    async def stop(self) -> int:
        """What `petset down` does; the exit code."""
        self.signal(signal.SIGTERM)
        return await self.gone()

    def tls(self) -> ssl.SSLContext:
        found = kubeconfig.parse(self.state.kubeconfig.read_bytes())
        with tempfile.TemporaryDirectory() as directory:
            issued = pki.Issued(Path(directory, "certificate"), Path(directory, "key"))
            issued.certificate.write_bytes(found.certificate_pem)
            issued.key.write_bytes(found.key_pem)
            return pki.client_context(found.ca_pem.decode(), issued)

    def dialer(self, port: int = 0, answer_seconds_max: float = ANSWER_SECONDS_MAX) -> Dialer:
        """A client's connections, straight or through a proxy's port."""
        return Dialer(f"https://127.0.0.1:{port or self.port}", self.tls(), answer_seconds_max=answer_seconds_max)

    def memory_bytes(self) -> int:
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    def worked_seconds(self) -> float:
        """How long its event loop's thread has been running on a processor."""
        assert self.process is not None
        pid = self.process.pid
        with contextlib.suppress(OSError):
            return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9
        return 0.0

    def tracebacks(self) -> list[str]:
        """Every different traceback in what it said, with what it was about: there should be none."""
        return tracebacks_in(self.log.read_text(errors="replace")) if self.log.exists() else []

    def keep_log(self, path: Path) -> None:
        """What it said would go with its directory."""
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.log, path)

    async def wrong_at_the_end(self) -> list[str]:
        """Stop it; what is wrong about how it lived and ended."""
        wrong = []
        if not self.is_running:
            wrong.append("petset has ended")
        elif code := await self.stop():
            wrong.append(f"SIGTERM ended with exit code {code}")
        return self.tracebacks() + wrong

    # The disk

    @contextlib.contextmanager
    def full_disk(self) -> Iterator[None]:
        """Not a page is free on the disk."""
        ballast = self.directory / "ballast"
        block = b"\0" * (64 << 10)
        try:
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                while file.write(block) == len(block):
                    pass
            yield
        finally:
            ballast.unlink(missing_ok=True)

    def durable(self, prefix: str) -> tuple[int, list[Version], list[Version]]:
        """(the revision, what is there under the prefix, older versions and deletions that the file still has)."""
        with tempfile.TemporaryDirectory() as copies:
            for path in (self.state.database, *self.directory.glob(self.state.database.name + "-wal")):
                shutil.copy(path, copies)
            with contextlib.closing(sqlite3.connect(Path(copies) / self.state.database.name)) as reader:
                (revision,) = reader.execute("SELECT coalesce(max(revision), 0) FROM changes").fetchone()
                rows = reader.execute(
                    "SELECT revision, key, deleted, value FROM changes WHERE substr(key, 1, ?) = ? ORDER BY revision",
                    (len(prefix), prefix),
                ).fetchall()
        newest: dict[str, Version] = {}
        also: list[Version] = []
        for number, key, deleted, value in rows:
            version = Version(key[len(prefix) :], number, None) if deleted else seen(json.loads(value))
            if version is None:
                continue
            if version.key in newest:
                also.append(newest.pop(version.key))
            newest[version.key] = version
        also += [version for version in newest.values() if version.value is None]
        return revision, [version for version in newest.values() if version.value is not None], also


def environment() -> dict[str, str]:
    """Bytecode is kept, as everywhere by default: compiling all of petset at every start is nobody's start."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(ROOT / "src")}


def seen(obj: dict) -> Version | None:
    """An object of the torture's own as a version; None for one that somebody else keeps there."""
    metadata = obj["metadata"]
    if "by" not in (obj.get("data") or {}):
        return None
    value: Value = {name: short(text) for name, text in obj["data"].items()}
    color = {"color": metadata["labels"]["color"]} if metadata.get("labels") else {}
    return Version(metadata["name"], int(metadata["resourceVersion"]), {**value, **color}, metadata["uid"])


def short(text: str) -> str:
    """Padding by its length."""
    return f"{len(text)} bytes" if len(text) > 100 and text.strip("x") == "" else text


@contextlib.contextmanager
def made() -> Iterator[Instance]:
    """An instance in a directory that goes with it; nothing runs yet."""
    place = Path(tempfile.mkdtemp(prefix="petset-torture-", dir="/tmp"))
    directory = place / "state"
    directory.mkdir()
    own_disk = bool(os.environ.get(IN_A_NAMESPACE)) and mounted(directory)
    instance = Instance(directory, own_disk, free_port())
    try:
        yield instance
    finally:
        if instance.is_running:
            instance.signal(signal.SIGKILL)
        if own_disk:
            subprocess.run(["umount", "--lazy", str(directory)], check=False)
        shutil.rmtree(place, ignore_errors=True)


def free_port() -> int:
    """A port that is free now, outside of those that petsets and clients' connections choose from."""
    first = PORTS.start + os.getpid() * 7 % len(PORTS)
    for port in (*range(first, PORTS.stop), *range(PORTS.start, first)):
        with contextlib.suppress(OSError), contextlib.closing(socket.socket()) as tried:
            tried.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("there is no free port")


def mounted(directory: Path) -> bool:
    options = f"size={DISK_BYTES},mode=0700"
    return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "torture", str(directory)]).returncode == 0


def enter_a_mount_namespace() -> None:
    """Run this very command again where a mount is nobody else's business; return when that cannot be."""
    if os.environ.get(IN_A_NAMESPACE) or os.geteuid() != 0 or shutil.which("unshare") is None:
        return
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0:
        environment = {**os.environ, IN_A_NAMESPACE: "1"}
        command = ["unshare", "--mount", sys.executable, "-m", "tests.torture", *sys.argv[1:]]
        os.execvpe(command[0], command, environment)
