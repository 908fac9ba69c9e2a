"""Real containers on this machine, through the runtime's interface; each test's instance leaves nothing behind."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from petset.node import linux
from petset.node.containers import attempts, cgroups, records, sandboxes
from petset.node.runtime import Mount, RuntimeError_
from petset.wire.streaming import ExecOptions
from tests import waiting
from tests.node import machine

FOREVER = ("sleep", "1000")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return machine.rootfs(tmp_path_factory.mktemp("image"))


@machine.on_machine
async def test_a_pod_s_life(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        sandbox, _ = here.runtime.observe()["uid-web-0"]
        assert sandbox is not None and sandbox.alive
        assert await here.runtime.create_sandbox(pod, "", "") == sandbox  # Again after a crash: the same.

        said = await here.output(
            pod, "sh", "-c", "hostname; cat /etc/hosts /etc/resolv.conf /etc/hostname; id", name="init"
        )
        assert said == (
            f"web-0\n127.0.0.1\tlocalhost\n{sandbox.ip}\tweb-0.nginx.default.svc.cluster.local\tweb-0\n"
            f"{machine.RESOLV}web-0\nuid=0(root) gid=0(root) groups=0(root)\n"
        )
        container = await here.run(
            pod, "sh", "-c", "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done"
        )
        assert (container.state, container.attempt, container.image) == ("running", 0, "busybox")
        assert await here.run(pod, *FOREVER) == container  # The same attempt again is the same container.
        await waiting.until(lambda: _text(here) == "up\n")
        await here.runtime.stop_container("uid-web-0", "main", 10)
        ended = here.seen(container)
        assert (ended.state, ended.exit_code, ended.oom_killed) == ("exited", 3, False)
        assert container.started_at <= ended.finished_at
        assert await here.log(pod) == "up\nbye\n"

        again = await here.run(pod, *FOREVER, attempt=1)
        assert again.id != container.id
        await here.runtime.remove_container("uid-web-0", "main", 0)
        assert [one.attempt for one in here.runtime.observe()["uid-web-0"][1] if one.name == "main"] == [1]
        await here.runtime.remove_sandbox("uid-web-0")
        assert here.runtime.observe() == {}
        assert not (here.state / "pods" / "uid-web-0").exists()
        assert (await here.runtime.create_sandbox(pod, "", "")).ip == sandbox.ip  # A pet gets its address back.


def _text(here: machine.Machine, name: str = "main") -> str:
    """The log so far."""
    found = here.runtime._find("uid-web-0", name, False)
    assert found is not None
    return "".join(line.split(" ", 3)[3] + "\n" for line in Path(found.record.log_path).read_text().splitlines())


@machine.on_machine
async def test_what_a_container_sees_of_the_machine(tmp_path, root):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "key").write_text("kept")
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        script = """
            echo $$ /proc/[0-9]*; ls /sys/class/net; grep -c ' / overlay' /proc/mounts
            cat /data/key; touch /data/no 2>&1; touch /written && echo written; pwd; echo $A $PATH
            touch /sys/x 2>&1; df /dev/shm | tail -1 | awk '{print $2}'; ls -d /dev/mqueue /dev/pts
            ls /sys/firmware | wc -l; echo 1 > /proc/sys/kernel/printk
        """
        said = await here.output(
            pod,
            "sh",
            "-c",
            script,
            mounts=[Mount(str(tmp_path / "data"), "/data", read_only=True)],
            env=[("A", "b")],
            working_dir="/made/for/it",
        )
        assert said.splitlines() == [
            "1 /proc/1",
            "eth0",
            "lo",
            "1",
            "kepttouch: /data/no: Read-only file system",
            "written",
            "/made/for/it",
            "b /bin",
            "touch: /sys/x: Read-only file system",
            "65536",
            "/dev/mqueue",
            "/dev/pts",
            "0",
            "sh: can't create /proc/sys/kernel/printk: Read-only file system",
        ]
        assert not (root / "written").exists() and not (root / "made").exists()


@machine.on_machine
async def test_containers_of_a_pod_share_network_ipc_and_shm_but_not_processes(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod, other = await here.sandbox("web-0"), await here.sandbox("web-1")
        await here.run(pod, "sh", "-c", "echo shared > /dev/shm/x; nc -l -p 8080 -e echo hello; sleep 1000")
        said = await here.output(
            pod,
            "sh",
            "-c",
            "until cat /dev/shm/x; do sleep 0.02; done 2>/dev/null;"
            "until nc 127.0.0.1 8080; do sleep 0.02; done 2>/dev/null; echo /proc/[0-9]*",
            name="side",
        )
        assert said == "shared\nhello\n/proc/1\n"
        ip = here.runtime.observe()["uid-web-1"][0].ip
        await here.run(other, "nc", "-l", "-p", "80", "-e", "hostname")
        script = f"until nc {ip} 80; do sleep 0.02; done 2>/dev/null"
        assert await here.output(pod, "sh", "-c", script, name="client") == "web-1\n"


@machine.on_machine
async def test_limits_are_real(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        limits = {"resources": {"limits": {"memory": "16Mi", "cpu": "500m"}}}
        eater = await here.run_to_end(pod, "sh", "-c", "x=a; while :; do x=$x$x; done", container=limits, name="eater")
        assert (here.seen(eater).exit_code, here.seen(eater).oom_killed) == (137, True)
        here.runtime._pids_max = 20
        script = "for i in $(seq 40); do sleep 5 & done; echo all"
        crowd = await here.run_to_end(pod, "sh", "-c", script, name="crowd")
        assert crowd.exit_code != 0 and not crowd.oom_killed
        assert "can't fork" in await here.log(pod, "crowd")


@machine.on_machine
async def test_a_pod_s_limits_are_real(tmp_path, root):
    """Of all its containers together: none of them has one of its own."""
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox(resources={"limits": {"memory": "16Mi", "cpu": "500m"}})
        await here.run(pod, *FOREVER, name="stays")
        eater = await here.run_to_end(pod, "sh", "-c", "x=a; while :; do x=$x$x; done", name="eater")
        assert (here.seen(eater).exit_code, here.seen(eater).oom_killed) == (137, True)


# A shell ends at the first fork that is refused; awk goes on trying.
BOMB = """
    for i in 1 2 3 4; do awk 'BEGIN { while (1) system("sleep 1000 &") }' 2>/dev/null & done
    exec sleep 1000
"""


@machine.on_machine
async def test_a_fork_bomb_in_one_pod_stops_no_other(tmp_path, root):
    """It is bounded by its limit and weighed by its pod's requests; all else goes on, and can be taken away."""
    async with machine.running(tmp_path / "s", root) as here:
        calm, angry = await here.sandbox("calm", containers=[wants_cpu("500m")]), await here.sandbox("angry")
        here.runtime._pids_max = 64
        await here.run(calm, *FOREVER)
        bomb = await here.run(angry, "sh", "-c", BOMB)
        group = f"{here.plan.cgroup}/poduid-angry/{bomb.id}"
        await waiting.until(lambda: refused_forks(group) > 100)
        assert [weight(f"{here.plan.cgroup}/poduid-{name}") for name in ("calm", "angry")] == [512, 2]

        assert await here.exec(calm, "echo", "still here") == "still here\n"
        assert await here.output(calm, "echo", "another", name="another") == "another\n"
        await here.runtime.remove_sandbox("uid-calm")
        assert here.seen(bomb).state == "running" and refused_forks(group) > 100
        await here.runtime.stop_container("uid-angry", "main", 0)
        await here.runtime.remove_sandbox("uid-angry")


def wants_cpu(amount: str) -> dict[str, Any]:
    return {"name": "main", "image": "busybox", "resources": {"requests": {"cpu": amount}}}


def refused_forks(group: str) -> int:
    """How often the kernel refused a process of a group for its limit."""
    found = cgroups.detect()
    place = found.hierarchies["unified" if found.version == "v2" else "pids"]
    events = dict(line.split() for line in Path(f"{place}{group}/pids.events").read_text().splitlines())
    return int(events["max"])


def weight(group: str) -> int:
    """A group's CPU shares, translated back from version 2's weight as exactly as that can be."""
    found = cgroups.detect()
    if found.version != "v2":
        return int(Path(f"{found.hierarchies['cpu']}{group}/cpu.shares").read_text())
    value = int(Path(f"{found.hierarchies['unified']}{group}/cpu.weight").read_text())
    return next(shares for shares in (2, 512) if cgroups.weight_of(shares) == value)


@machine.on_machine
async def test_security_is_real(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox(securityContext={"fsGroup": 77})
        script = "id; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; touch /x 2>&1"
        hard = {
            "securityContext": {
                "runAsUser": 999,
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            }
        }
        assert (await here.output(pod, "sh", "-c", script, container=hard)).splitlines() == [
            "uid=999(redis) gid=998(redis) groups=77,998(redis),1500(extra)",
            "CapEff:\t0000000000000000",
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
            "touch: /x: Read-only file system",
        ]
        soft = await here.output(pod, "sh", "-c", script, name="soft")
        assert "CapEff:\t00000000a80425fb" in soft and "Seccomp:\t0" in soft
        privileged = {"securityContext": {"privileged": True}}
        said = await here.output(
            pod, "sh", "-c", "ls /dev | wc -l; touch /x && echo ok", container=privileged, name="lord"
        )
        assert int(said.split()[0]) > 20 and said.endswith("ok\n")
        _, warnings = await here.runtime.start_container(
            machine.config(
                pod,
                "true",
                root=root,
                name="lacking",
                container={"securityContext": {"capabilities": {"add": ["CAP_NEVER_HEARD_OF"]}}},
            )
        )
        assert [warning.reason for warning in warnings] == ["CapabilityNotGranted"]


@machine.on_machine
async def test_starts_that_fail_say_why_and_leave_nothing(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        for changes, reason, message in (
            ({"command": ("nosuch",)}, "RunContainerError", "nosuch"),
            ({"command": ("/etc/passwd",)}, "RunContainerError", "ermission denied"),
            ({"command": ()}, "CreateContainerConfigError", "no command"),
            (
                {"container": {"securityContext": {"runAsNonRoot": True}}},
                "CreateContainerConfigError",
                "will run as root",
            ),
            ({"mounts": [Mount("/does/not/exist", "/x")]}, "CreateContainerError", "/does/not/exist"),
        ):
            command = changes.pop("command", ("true",))
            with pytest.raises(RuntimeError_, match=message) as raised:
                await here.run(pod, *command, **changes)
            assert raised.value.reason == reason
            assert not (here.state / "pods" / "uid-web-0" / "containers" / "main" / "0").exists()
            assert here.runtime.observe()["uid-web-0"][1] == []
        assert (await here.run_to_end(pod, "true")).exit_code == 0  # The same attempt, now that it is right.
        with pytest.raises(RuntimeError_, match="has no sandbox"):
            await here.run(machine.pod("unknown"), "true")
        with pytest.raises(RuntimeError_, match="it would change the node"):
            await here.sandbox("bad", securityContext={"sysctls": [{"name": "kernel.hostname", "value": "x"}]})


@machine.on_machine
async def test_termination_messages(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        script = "echo because > /tmp/why; exit 7"
        ended = await here.run_to_end(pod, "sh", "-c", script, name="a", termination_message_path="/tmp/why")
        assert (ended.exit_code, ended.message) == (7, "because\n")
        fallback = {"terminationMessagePolicy": "FallbackToLogsOnError"}
        ended = await here.run_to_end(pod, "sh", "-c", "seq 100; exit 1", name="b", container=fallback)
        assert ended.message.splitlines() == [str(number) for number in range(21, 101)]
        ended = await here.run_to_end(pod, "sh", "-c", "echo fine", name="c", container=fallback)
        assert (ended.exit_code, ended.message) == (0, "")


@machine.on_machine
async def test_stop_kills_after_the_grace_and_takes_the_image_s_signal(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        deaf = await here.run(pod, *FOREVER, name="deaf")  # PID 1 without a handler ignores SIGTERM.
        await here.runtime.stop_container("uid-web-0", "deaf", 0.1)
        assert here.seen(deaf).exit_code == 137
        script = "trap 'exit 5' QUIT; echo up; while :; do sleep 0.02; done"
        asked = await here.run(pod, "sh", "-c", script, name="asked", image={"stop_signal": "SIGQUIT"})
        await waiting.until(lambda: _text(here, "asked") == "up\n")
        await here.runtime.stop_container("uid-web-0", "asked", 10)
        assert here.seen(asked).exit_code == 5


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("", ""), ("SIGTERM", 15)),
        (("", "SIGQUIT"), ("SIGQUIT", 3)),
        (("USR1", "SIGQUIT"), ("USR1", 10)),
        (("", "9"), ("9", 9)),
        (("", "SIGRTMIN+3"), ("SIGRTMIN+3", 37)),
        (("SIGRTMAX-1", ""), ("SIGRTMAX-1", 63)),
        (("SIGCLD", ""), ("SIGCLD", 17)),
        (("", "nonsense"), ("SIGTERM", 15)),
    ],
)
def test_stop_signals(texts, expected):
    found = attempts.stop_signal(texts)
    assert (found, attempts.signal_number(found)) == expected


@machine.on_machine
async def test_the_logs_of_attempts_before_the_latest_make_room(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        for attempt in range(3):
            await here.run_to_end(pod, "sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; echo", attempt=attempt)
        await here.run(pod, *FOREVER, name="stays")
        assert await here.runtime.collect(1, logs=False) == 0
        assert await here.runtime.collect(1, logs=True) > 2 * 100_000
        kept = [(one.name, one.attempt) for one in here.runtime.observe_pod("uid-web-0")[1]]
        assert kept == [("main", 2), ("stays", 0)]
        assert len(await here.log(pod)) == 100_001

        (here.state / "pods" / "stale" / "containers" / "main").mkdir(parents=True)  # Of a pod half taken away.
        await here.restart()
        assert not (here.state / "pods" / "stale").exists() and list(here.runtime.observe()) == ["uid-web-0"]


@machine.on_machine
async def test_a_restart_adopts_what_runs_and_learns_what_ended(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox("web-0")
        await here.sandbox("web-1")
        stays = await here.run(pod, *FOREVER, name="stays")
        ends = await here.run(pod, "sh", "-c", "until test -e /dev/shm/go; do sleep 0.01; done; exit 9", name="ends")
        later = await here.run(
            pod, "sh", "-c", "until test -e /dev/shm/later; do sleep 0.01; done; exit 8", name="later"
        )
        before = {uid: sandbox for uid, (sandbox, _) in here.runtime.observe().items()}
        await here.runtime.close()
        shm = here.state / "pods" / "uid-web-0" / "sandbox" / "shm"
        (shm / "go").touch()
        supervisor = here.runtime._pods["uid-web-0"].containers[("ends", 0)].conmon
        await waiting.until(lambda: not supervisor.alive())  # Nobody is told: petset is away.
        await here.restart()
        assert {uid: sandbox for uid, (sandbox, _) in here.runtime.observe().items()} == before
        assert here.seen(stays) == stays
        assert (here.seen(ends).state, here.seen(ends).exit_code) == ("exited", 9)
        (shm / "later").touch()
        await here.until(lambda: here.seen(later).exit_code == 8)
        session = await here.runtime.streams.exec("uid-web-0", "stays", ExecOptions(("hostname",)))
        assert [piece async for piece in session.output()] == [(1, b"web-0\n")]
        await session.close()
        third = await here.sandbox("web-2")
        assert here.runtime.observe()[third["metadata"]["uid"]][0].ip not in [one.ip for one in before.values()]
        await here.runtime.stop_container("uid-web-0", "stays", 0)
        assert here.seen(stays).exit_code == 137


@machine.on_machine
async def test_a_container_that_loses_its_supervisor_is_ended(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        container = await here.run(pod, *FOREVER)
        record = here.runtime._pods["uid-web-0"].containers[("main", 0)]
        os.kill(record.conmon.pid, signal.SIGKILL)
        await here.until(lambda: here.seen(container).state == "exited")
        assert here.seen(container).exit_code == 137
        assert linux.process(record.process.pid) is None


@machine.on_machine
async def test_after_a_reboot_nothing_is_alive_and_the_pod_is_made_anew(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        container = await here.run(pod, *FOREVER)
        await here.runtime.shut_down()
        assert linux.mount_points(str(here.state)) == []
        directory = here.state / "pods" / "uid-web-0"
        record = records.read_container(directory / "containers" / "main" / "0")
        assert record is not None and record.state == "exited"
        unclean = dataclasses.replace(record, state="running", boot_id="of another boot", exit_code=None)
        records.write(directory / "containers" / "main" / "0", unclean)
        await here.restart()
        sandbox, there = here.runtime.observe()["uid-web-0"]
        assert sandbox is not None and not sandbox.alive
        assert [(one.state, one.id) for one in there] == [("exited", container.id)]
        with pytest.raises(RuntimeError_, match="has no sandbox"):
            await here.run(pod, *FOREVER, attempt=1)
        anew = await here.runtime.create_sandbox(pod, "", "")
        assert (anew.alive, anew.attempt, anew.ip) == (True, 1, sandbox.ip)
        assert (await here.run(pod, *FOREVER, attempt=1)).state == "running"


@machine.on_machine
async def test_an_interrupted_start_is_finished_or_undone(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        container = await here.run(pod, *FOREVER)
        place = here.state / "pods" / "uid-web-0" / "containers" / "main" / "0"
        record = records.read_container(place)
        assert record is not None
        # Killed after `crun start`, before it was written down: the container is adopted.
        records.write(place, dataclasses.replace(record, state="created", started_at=0.0))
        await here.restart()
        assert here.seen(container).state == "running"
        # Killed before conmon answered: what there is of it goes.
        await here.runtime.close()
        records.write(place, dataclasses.replace(record, state="created", conmon=None, process=None))
        await here.restart()
        assert here.runtime.observe()["uid-web-0"][1] == []
        assert not place.exists() and linux.process(record.process.pid) is None
        assert (await here.run(pod, "true")).id == container.id


@machine.on_machine
async def test_a_start_whose_caller_is_cancelled_is_remembered(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(here.run(pod, *FOREVER))
            await asyncio.sleep(0)
            starting.cancel()
        await here.until(lambda: here.runtime.observe()["uid-web-0"][1])
        assert here.runtime.observe()["uid-web-0"][1][0].state == "running"


@machine.on_machine
async def test_a_pod_on_the_host_s_network(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox("guest", hostNetwork=True)
        sandbox, _ = here.runtime.observe()["uid-guest"]
        assert sandbox is not None and sandbox.ip == here.plan.gateway
        said = await here.output(pod, "sh", "-c", "hostname; ls /sys/class/net")
        assert said.splitlines()[0] == os.uname().nodename and here.plan.bridge in said


@machine.on_machine
async def test_a_long_state_path_works(tmp_path, root):
    """A Unix socket's path may have 107 bytes; a state directory more."""
    async with machine.running(tmp_path / ("long" * 30) / "s", root) as here:
        pod = await here.sandbox()
        await here.run(pod, "cat", container={"stdin": True})
        session = await here.runtime.streams.attach("uid-web-0", "main", ExecOptions((), stdin=True))
        await session.write(b"ping\n")
        async for channel, data in session.output():
            assert (channel, data) == (1, b"ping\n")
            break
        await session.close()
        shell = await here.runtime.streams.exec("uid-web-0", "main", ExecOptions(("tty",), tty=True))
        assert b"".join([data async for _, data in shell.output()]) == b"/dev/pts/0\r\n"
        await shell.close()


@machine.on_machine
async def test_a_state_path_may_have_any_characters(tmp_path, root):
    async with machine.running(tmp_path / "a:b,c\\d e'f\"ü" / "s", root) as here:
        pod = await here.sandbox()
        assert await here.output(pod, "sh", "-c", "echo x > /y; cat /y") == "x\n"


@machine.on_machine
async def test_a_sandbox_that_was_never_finished_is_cleared_away(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        (here.state / "pods" / "uid-web-0" / "sandbox" / "record.json").unlink()
        await here.restart()
        assert here.runtime.observe() == {} and linux.mount_points(str(here.state)) == []
        assert (await here.runtime.create_sandbox(pod, "", "")).alive


@machine.on_machine
async def test_nothing_is_left_by_many_short_containers(tmp_path, root):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        for attempt in range(5):
            ended = await here.run_to_end(pod, "sh", "-c", f"sleep 100 & exit {attempt}", attempt=attempt)
            assert ended.exit_code == attempt
        oci = here.state / "oci"
        await waiting.until(lambda: not any(oci.iterdir()))
        assert json.loads((here.state / "network.json").read_text())["instance"] == here.plan.cluster.instance


@machine.on_machine
async def test_making_a_sandbox_holds_up_nobody(tmp_path, root, monkeypatch):
    """What blocks (directories, a mount, files) is done in a worker's thread."""
    where: list[tuple[str, bool]] = []
    for name in ("make", "write_down"):
        real = getattr(sandboxes, name)

        def noting(*given: Any, real: Any = real, name: str = name) -> None:
            where.append((name, threading.current_thread() is threading.main_thread()))
            real(*given)

        monkeypatch.setattr(sandboxes, name, noting)
    async with machine.running(tmp_path / "s", root) as here:
        await here.sandbox()
    assert where == [("make", False), ("write_down", False)]


class Held:
    """A blocking step that begins when it is called, and ends, or fails, when it is told to or the block is left."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: Any, name: str):
        self._step, self._begun, self._told = getattr(module, name), threading.Event(), threading.Event()
        self._error: OSError | None = None
        monkeypatch.setattr(module, name, self)

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        self._told.set()

    def __call__(self, *given: Any) -> Any:
        self._begun.set()
        self._told.wait()
        error, self._error = self._error, None
        if error is not None:
            raise error
        return self._step(*given)

    async def begun(self) -> None:
        await asyncio.to_thread(self._begun.wait)

    def go_on(self, error: OSError | None = None) -> None:
        self._error = error
        self._told.set()


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def waits(task: asyncio.Task[Any]) -> bool:
    """Whether it does so after all that can happen at once has happened."""
    for _ in range(10):
        await asyncio.sleep(0)
    return not task.done()


@machine.on_machine
@pytest.mark.parametrize("failure", [None, OSError(28, "No space left on device")])
async def test_a_sandbox_is_there_when_its_record_is(tmp_path, root, monkeypatch, failure):
    """Whoever asks while it is written waits for that; what failed after its caller had left is made anew."""
    async with machine.running(tmp_path / "s", root) as here:
        with Held(monkeypatch, sandboxes, "write_down") as held:
            first = asyncio.create_task(here.sandbox())
            await held.begun()
            assert here.runtime.observe() == {}
            second = asyncio.create_task(here.sandbox())
            assert await waits(second)
            await cancelled(first)
            held.go_on(failure)
        await second
        sandbox, _ = here.runtime.observe_pod("uid-web-0")
        record = records.read_sandbox(here.state / "pods" / "uid-web-0" / "sandbox")
        assert record is not None and record.seen(True) == sandbox


@machine.on_machine
async def test_a_write_that_fails_after_its_caller_has_left_leaves_no_sandbox(tmp_path, root, monkeypatch):
    async with machine.running(tmp_path / "s", root) as here:
        with Held(monkeypatch, sandboxes, "write_down") as held:
            making = asyncio.create_task(here.sandbox())
            await held.begun()
            await cancelled(making)
            held.go_on(OSError(28, "No space left on device"))
        await here.runtime.stop_sandbox("uid-web-0")  # Waits until it is known.
        assert here.runtime.observe() == {}


@machine.on_machine
async def test_a_container_is_gone_when_its_directory_is_though_nobody_waits(tmp_path, root, monkeypatch):
    async with machine.running(tmp_path / "s", root) as here:
        pod = await here.sandbox()
        await here.run_to_end(pod, "true")
        with Held(monkeypatch, attempts, "remove") as held:
            removing = asyncio.create_task(here.runtime.remove_container("uid-web-0", "main", 0))
            await held.begun()
            await cancelled(removing)
        await here.until(lambda: not here.runtime.observe_pod("uid-web-0")[1])


@machine.on_machine
async def test_letting_a_sandbox_go_holds_up_nobody_and_is_remembered(tmp_path, root, monkeypatch):
    async with machine.running(tmp_path / "s", root) as here:
        await here.sandbox()
        with Held(monkeypatch, sandboxes, "let_go") as held:
            stopping = asyncio.create_task(here.runtime.stop_sandbox("uid-web-0"))
            await held.begun()
            await cancelled(stopping)
            assert here.runtime.observe_pod("uid-web-0")[0].alive  # Its record says so.
        await here.until(lambda: not here.runtime.observe_pod("uid-web-0")[0].alive)
