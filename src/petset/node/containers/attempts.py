"""One attempt of one container on this machine, by blocking steps: make, start, look at its end, take away.

`start` makes the attempt's directory, writes the OCI bundle, mounts the image's root file system under a writable
layer of the attempt's own (overlayfs), has its volumes put in place (mounting.py), lets conmon create the container,
and starts it. conmon is then its parent: it writes the log, keeps the exit code in a file, and outlives petset. `end`
reads what it left; `clean` gives back everything but the directory; `remove` that too.

Called from worker threads; each step may be repeated after a crash, and `start` undoes what it did when it fails.
Follows: conmon(8), crun(1), the kernel's overlayfs documentation.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import select
import shutil
import signal
import subprocess
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from petset.base import tasks
from petset.node import linux, paths
from petset.node.containers import cgroups, host, logs, mounting, records
from petset.node.containers.records import ContainerRecord
from petset.node.linux import Process
from petset.node.runtime import Mount, RuntimeError_
from petset.node.user_namespaces import Users
from petset.objects import encoding

CREATE_SECONDS_MAX = 60.0
RUNTIME_SECONDS_MAX = 30.0
KILLED_SECONDS_MAX = 10.0
TERMINATION_MESSAGE_BYTES_MAX = 4096
FALLBACK_MESSAGE_BYTES_MAX, FALLBACK_MESSAGE_LINES_MAX = 2048, 80
VOLUMES = "volumes"  # The attempt's directory of places for its mounts.
EXIT_CODE_LOST = 255  # As other runtimes say it when nobody saw the end.
EXIT_CODE_KILLED = 137


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs, and where they keep their own state."""

    runtime: str  # crun or runc
    conmon: str
    root: str  # The runtime's directory of containers.
    groups: cgroups.Cgroups
    supervisors: str  # The cgroup of the conmons.
    hidden: str = ""  # A mount that must not be there when a container is created.

    @property
    def flags(self) -> tuple[str, ...]:
        """Of every command of the runtime's. Where there are no cgroups crun is told to make none."""
        none = self.groups.version == "none" and self.runtime.endswith("/crun")
        return (f"--root={self.root}", *(("--cgroup-manager=disabled",) if none else ()))

    def of(self, record: ContainerRecord) -> Tools:
        """With the runtime that the container is under, which keeps its state apart from another's."""
        path = host.runtimes().get(record.handler, "") if record.handler else ""
        if not path or path == self.runtime:
            return self
        hidden = cgroups.hidden_at_creation(path, self.groups)
        return replace(self, runtime=path, root=f"{self.root}-{record.handler}", hidden=hidden)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A runtime command to its end; its status is for the caller to judge."""
        return subprocess.run(
            [self.runtime, *self.flags, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=RUNTIME_SECONDS_MAX,
            env=_environment(),
            check=False,
        )

    def run_detached(self, *arguments: str, entering: Sequence[str], said: Path) -> bool:
        """One whose process stays and keeps what it writes to open: `said` is a file. Whether it ended well."""
        with open(said, "wb") as file:
            done = subprocess.run(
                [*entering, self.runtime, *self.flags, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
                timeout=RUNTIME_SECONDS_MAX,
                env=_environment(),
                check=False,
            )
        return done.returncode == 0


def tools(root: Path, cgroup: str) -> Tools:
    """Those of this machine; `root` is where the OCI runtime keeps its state. Raises RuntimeError_."""
    runtime, conmon = host.find_runtime(), shutil.which("conmon")
    if not runtime or not conmon:
        raise RuntimeError_("RuntimeNotReady", host.check() or "cannot run containers: conmon is not installed")
    groups = cgroups.detect()
    root.mkdir(parents=True, exist_ok=True)
    hidden = cgroups.hidden_at_creation(runtime, groups)
    return Tools(runtime, conmon, str(root), groups, f"{cgroup}/supervisors", hidden)


def start(
    tools: Tools,
    directory: Path,
    record: ContainerRecord,
    config: dict[str, Any],
    lower: str,
    mounts: Sequence[Mount] = (),
    users: Users | None = None,
    shown: Sequence[Path] = (),
) -> ContainerRecord:
    """The container running, with its pod's own `users` where it has some: mounting.py says what is `shown` to those.

    Raises RuntimeError_, and nothing is left then.
    """
    tools = tools.of(record)
    try:
        for name in ("rootfs", "upper", "work", "exit", "persist"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        (directory / "termination-log").touch(mode=0o666)
        os.chmod(directory / "termination-log", 0o666)  # Whoever the container runs as may write it.
        if users is not None:
            for name in ("upper", "termination-log"):
                os.chown(directory / name, users.first, users.first)
        (directory / "config.json").write_bytes(encoding.dumps(config))
        records.write(directory, record)
        with _lower(directory, lower, users) as below:
            _mount_rootfs(directory, below)
        with mounting.prepared(directory / VOLUMES, mounts, tools.hidden, users, shown) as entering:
            record = _create(tools, directory, record, entering)
        records.write(directory, record)
        done = tools.run("start", record.id)
        if done.returncode != 0:
            raise RuntimeError_("RunContainerError", f"cannot start the container: {_reason(done.stderr)}")
        record = replace(record, state="running", started_at=tasks.now())
        records.write(directory, record)
        return record
    except BaseException as error:
        with tasks.best_effort("clean up container", record.name):
            destroy(tools, directory, record)
            remove(directory, record)
        if isinstance(error, OSError):
            raise RuntimeError_("CreateContainerError", f"cannot create the container: {error}") from error
        raise


@contextlib.contextmanager
def _lower(directory: Path, lower: str, users: Users | None) -> Generator[str]:
    """Where an image's tree is, whose files belong to the pod's own users; as long as the block lasts."""
    if users is None:
        yield lower
        return
    target = directory / "lower"
    target.mkdir(exist_ok=True)
    with paths.opened(lower) as root:
        with mounting.cloned(root, lower, "/", users) as tree:
            linux.attach(tree, str(target))
    try:
        yield str(target)
    finally:
        linux.unmount(str(target))  # An overlay keeps what it was made of.


def _mount_rootfs(directory: Path, lower: str) -> None:
    """`volatile`: the layer goes with the container, so nobody needs it to survive a crash of the machine."""
    upper, work = (_escaped(str(directory / name)) for name in ("upper", "work"))
    layers = f"lowerdir={_escaped(lower)},upperdir={upper},workdir={work}"
    target = str(directory / "rootfs")
    for options in (f"{layers},volatile", layers):
        try:
            linux.mount("overlay", target, "overlay", 0, options)
            return
        except OSError as error:
            if error.errno != errno.EINVAL or options == layers:
                raise RuntimeError_("CreateContainerError", _overlay_refused(directory, error)) from error


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace(",", "\\,").replace(":", "\\:")


def _overlay_refused(directory: Path, error: OSError) -> str:
    advice = {
        errno.ENODEV: "this kernel has no overlayfs; load it with `modprobe overlay`",
        errno.EPERM: "it needs CAP_SYS_ADMIN; run petset as root",
        errno.EINVAL: "its file system cannot hold an overlay's upper layer (it may be an overlay itself); "
        "put the state directory elsewhere with --state",
    }.get(error.errno or 0, error.strerror or str(error))
    return f"cannot mount the root file system in {directory}: {advice}"


def _create(tools: Tools, directory: Path, record: ContainerRecord, entering: Sequence[str]) -> ContainerRecord:
    """Let conmon create the container; it answers with the pid, or the runtime's complaint, on a pipe."""
    reading, writing = os.pipe()
    giving = ("sh", "-c", _GIVE_STREAMS, f"{record.users}:{record.users}") if record.users else ()
    creator = [*entering, *giving, tools.runtime, *tools.flags]
    arguments = [
        tools.conmon,
        "--api-version=1",
        f"--cid={record.id}",
        f"--cuuid={record.id}",
        f"--name={record.name}",
        f"--runtime={creator[0]}",
        *(f"--runtime-arg={argument}" for argument in creator[1:]),
        f"--bundle={directory}",
        f"--container-pidfile={directory}/pid",
        f"--conmon-pidfile={directory}/conmon.pid",
        # Relative, since conmon takes a colon for the end of the path.
        f"--log-path=k8s-file:{os.path.relpath(record.log_path, directory)}",
        f"--log-size-max={logs.LOG_BYTES_MAX}",
        f"--exit-dir={directory}/exit",
        f"--persist-dir={directory}/persist",
        "--full-attach",
        "--no-sync-log",
        "--log-level=error",
        *(["--terminal"] if record.tty else []),
        *(["--stdin"] if record.stdin else []),
        *(["--leave-stdin-open"] if record.stdin and not record.stdin_once else []),
    ]
    try:
        with open(directory / "conmon.log", "wb") as complaints:  # No pipe: the conmon that stays may keep it open.
            subprocess.run(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                pass_fds=[writing],
                start_new_session=True,
                env={**_environment(), "_OCI_SYNCPIPE": str(writing)},
                timeout=CREATE_SECONDS_MAX,
                cwd=directory,
                check=False,
            )
        os.close(writing)
        writing = -1
        answer = _answer(reading)
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)
    if answer is None:
        complaint = (directory / "conmon.log").read_text(errors="replace").strip() or "conmon gave no answer"
        raise RuntimeError_("CreateContainerError", f"cannot create the container: {complaint}")
    pid = int(answer.get("data", answer.get("pid", -1)))
    if pid <= 0:
        reason = _reason(str(answer.get("message", "")))
        kind = "RunContainerError" if _EXEC_FAILED.search(reason) else "CreateContainerError"
        raise RuntimeError_(kind, f"cannot create the container: {reason}")
    supervisor = int((directory / "conmon.pid").read_text())
    cgroups.place_supervisor(tools.groups, tools.supervisors, supervisor)
    return replace(record, conmon=linux.process(supervisor) or Process(supervisor, 0), process=linux.process(pid))


# Conmon's pipes are given to the pod's own root, so that /dev/stdout can be opened inside: the OCI runtime, which gives
# them to the container's user, does it when it may no more.
_GIVE_STREAMS = 'for n in 0 1 2; do [ ! -p /proc/self/fd/$n ] || chown "$0" /proc/self/fd/$n; done; exec "$@"'


def _answer(descriptor: int) -> dict[str, Any] | None:
    """One line of JSON from conmon; None when it closed the pipe without."""
    received = b""
    while b"\n" not in received:
        if not select.select([descriptor], [], [], CREATE_SECONDS_MAX)[0]:
            raise RuntimeError_(
                "CreateContainerError", f"cannot create the container: no answer within {CREATE_SECONDS_MAX:.0f} s"
            )
        chunk = os.read(descriptor, 65536)
        if not chunk:
            return None
        received += chunk
    return json.loads(received.split(b"\n")[0])


# crun says: executable file `x` not found, open executable: ...; runc: ... container process: exec: "x": ...
_EXEC_FAILED = re.compile(r"executable|process: exec: ")
_RUNC_MESSAGE = re.compile(r'msg=("(?:[^"\\]|\\.)*")')


def _reason(text: str) -> str:
    """The runtime's last words; runc wraps them into time, level and msg."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "the OCI runtime gave no reason"
    wrapped = _RUNC_MESSAGE.search(lines[-1])
    return json.loads(wrapped[1]) if wrapped else lines[-1]


def _environment() -> dict[str, str]:
    """Times in the log are UTC, arguments UTF-8; nothing else of petset's own environment goes on."""
    return {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "TZ": "UTC", "LC_ALL": "C.UTF-8"}


def resize(tools: Tools, directory: Path, record: ContainerRecord, amounts: dict[str, Any]) -> ContainerRecord:
    """Other limits for a container that runs, as `resources` of an OCI configuration. Raises RuntimeError_."""
    tools, file = tools.of(record), directory / "resources.json"
    file.write_bytes(encoding.dumps(amounts))
    done = tools.run("update", f"--resources={file}", record.id)
    if done.returncode != 0:
        raise RuntimeError_("ResizeError", f"cannot resize the container: {_reason(done.stderr)}")
    records.write(directory, record)
    return record


# ---- the end


def end(tools: Tools, directory: Path, record: ContainerRecord) -> ContainerRecord | None:
    """The record of an attempt whose conmon has ended; None when conmon left no exit code. Reads a few small files."""
    path = directory / "exit" / record.id
    try:
        code, finished = int(path.read_text()), path.stat().st_mtime
    except (FileNotFoundError, ValueError):
        return None
    return _ended(tools, directory, record, code, finished)


def abandon(tools: Tools, directory: Path, record: ContainerRecord, code: int) -> ContainerRecord:
    """The record of an attempt that lost its conmon: what is left of it is killed."""
    if record.process is not None:
        kill_and_wait(record.process)
    return _ended(tools, directory, record, code, tasks.now())


def lost(directory: Path, record: ContainerRecord) -> ContainerRecord:
    """The record of an attempt that ended with the machine, nobody knows how."""
    ended = record.ended(EXIT_CODE_LOST, tasks.now(), False, "")
    records.write(directory, ended)
    return ended


def has_started(tools: Tools, record: ContainerRecord) -> bool:
    """Whether a created container was started before petset could write it down."""
    with contextlib.suppress(ValueError):
        return json.loads(tools.of(record).run("state", record.id).stdout).get("status") == "running"
    return False


def _ended(tools: Tools, directory: Path, record: ContainerRecord, code: int, finished: float) -> ContainerRecord:
    killed = (directory / "persist" / "oom").exists() or cgroups.oom_kills(tools.groups, record.group) > 0
    message = b""
    with contextlib.suppress(OSError):
        with paths.regular(directory / "termination-log") as file:
            message = file.read(TERMINATION_MESSAGE_BYTES_MAX)
    if not message and record.termination_policy == "FallbackToLogsOnError" and code != 0:
        message = logs.last_output(record.log_path, FALLBACK_MESSAGE_LINES_MAX, FALLBACK_MESSAGE_BYTES_MAX)
    ended = record.ended(code, finished, killed, message.decode(errors="replace"))
    records.write(directory, ended)
    return ended


def clean(tools: Tools, directory: Path, record: ContainerRecord) -> None:
    """Give back cgroup, mount, layer and the runtime's own state of an attempt that has ended; logs and record stay."""
    tools = tools.of(record)
    if os.path.isdir(os.path.join(tools.root, record.id)):
        tools.run("delete", "--force", record.id)
        shutil.rmtree(os.path.join(tools.root, record.id), ignore_errors=True)
    cgroups.remove(tools.groups, record.group)
    linux.unmount(str(directory / "rootfs"))
    for name in ("upper", "work"):  # Nobody can come to what it wrote there any more.
        paths.remove_tree(directory / name)


def destroy(tools: Tools, directory: Path, record: ContainerRecord) -> None:
    """End whatever an interrupted or failed start has left, and clean."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        pid = int((directory / "conmon.pid").read_text())
        supervisor = linux.process(pid)
        if supervisor is not None and _is_conmon_of(pid, directory):
            kill_and_wait(supervisor)
        linux.reap(pid)
    if record.process is not None:
        kill_and_wait(record.process)
    clean(tools, directory, record)


def _is_conmon_of(pid: int, directory: Path) -> bool:
    """After a reboot the number may be anybody's."""
    try:
        return os.fsencode(f"--bundle={directory}") in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def kept(directory: Path, record: ContainerRecord) -> list[Path]:
    """What grows with what a container writes: its layer, its logs, its last words."""
    return [directory / "upper", directory / "termination-log", *logs.files(record.log_path)]


def log_bytes(record: ContainerRecord) -> int:
    return sum(path.stat().st_size for path in logs.files(record.log_path) if path.exists())


def remove(directory: Path, record: ContainerRecord) -> None:
    """Delete the attempt's directory and its logs. It must be clean."""
    for path in [*logs.files(record.log_path), Path(f"{record.log_path}.0")]:
        path.unlink(missing_ok=True)
    unmount_and_remove(directory)


def remove_pod(directory: Path) -> None:
    """What is left of a pod; what others keep in its directory stays."""
    for name in ("containers", "sandbox"):
        unmount_and_remove(directory / name)
    with contextlib.suppress(OSError):
        directory.rmdir()


def unmount_and_remove(directory: Path) -> None:
    """Delete a directory, never what is mounted in it."""
    for target in linux.mount_points(str(directory)):
        linux.unmount(target)
    paths.remove_tree(directory)


# ---- signals


def send(process: Process, number: int) -> bool:
    """Signal exactly this process; whether it was still there."""
    descriptor = process.pidfd()
    if descriptor is None:
        return False
    try:
        signal.pidfd_send_signal(descriptor, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)


def kill_and_wait(process: Process) -> None:
    descriptor = process.pidfd()
    if descriptor is None:
        return
    try:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        if not select.select([descriptor], [], [], KILLED_SECONDS_MAX)[0]:
            raise OSError(errno.EBUSY, f"process {process.pid} does not end after SIGKILL")
        linux.reap(process.pid)
    finally:
        os.close(descriptor)


def stop_signal(wanted: Sequence[str]) -> str:
    """The first signal given by name or number that exists; SIGTERM otherwise."""
    return next((text for text in wanted if text and signal_number(text)), "SIGTERM")


def signal_number(text: str) -> int:
    """Of 15, TERM, SIGTERM, SIGRTMIN+3 or SIGRTMAX-3; 0 when there is no such signal."""
    sign = "-" if "-" in text else "+"
    name, _, more = text.upper().partition(sign)
    if name.isdigit():
        number = int(name)
    else:
        found = getattr(signal, name if name.startswith("SIG") else f"SIG{name}", 0)
        number = int(found) if isinstance(found, int) and not name.startswith("SIG_") else 0
    number += int(f"{sign}{more}") if more.isdigit() else 0
    return number if number in [int(one) for one in signal.valid_signals()] else 0
