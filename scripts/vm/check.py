"""What petset does on a Debian 12 that really boots: run by systemd in it, once before and once after a reboot.

It uses only what a user has: make, the petset command, kubectl. Every line that begins with "vm: " is what it saw; the
last of them is "vm: passed" when all was as it should be. Then the machine switches itself off.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PETSET = ".venv/bin/petset"
STATE = Path(".petset").absolute()
REBOOTED = Path("/srv/rebooted")  # Holds what the pets should remember.
PETS = ("rd-0", "rd-1", "rd-2")
SECONDS_MAX = 600
MEMORY_BYTES, CPU_QUOTA_MICROSECONDS = 64 << 20, 20_000


def say(line: str) -> None:
    print(f"\nvm: {line}", flush=True)


def run(*command: str, check: bool = True) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def kubectl(*words: str, check: bool = True) -> str:
    return run("kubectl", "--kubeconfig", str(STATE / "kubeconfig"), *words, check=check)


def pod(name: str) -> dict:
    return json.loads(kubectl("get", "pod", name, "-o", "json"))


def until(what: str, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = condition()
        except (AssertionError, KeyError, IndexError) as error:
            last = error
        else:
            if last:
                return
        time.sleep(0.5)
    raise AssertionError(
        f"waited {SECONDS_MAX} s for {what}; last: {last}\n{kubectl('get', 'pods,events', check=False)}"
    )


def is_ready(name: str) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod(name)["status"]["conditions"])


def containers() -> dict[str, str]:
    """The containers that run, by pet."""
    return {name: pod(name)["status"]["containerStatuses"][0]["containerID"] for name in PETS}


def redis(pet: str, *words: str) -> str:
    return kubectl("exec", pet, "-c", "redis", "--", "/opt/redis/redis-cli", "-h", f"{pet}.redis", *words).strip()


def master() -> str:
    roles = {pet: redis(pet, "role") for pet in PETS}
    masters = [pet for pet, role in roles.items() if role.startswith("master\n")]
    assert len(masters) == 1, roles
    return masters[0]


def volumes() -> dict[str, str]:
    claims = json.loads(kubectl("get", "pvc", "-o", "json"))["items"]
    return {claim["metadata"]["name"]: claim["spec"]["volumeName"] for claim in claims}


# Before the reboot


def it_is_the_machine_that_was_asked_for() -> str:
    kind = run("stat", "--file-system", "--format=%T", "/sys/fs/cgroup").strip()
    v1 = "systemd.unified_cgroup_hierarchy=0" in Path("/proc/cmdline").read_text()
    assert kind == ("tmpfs" if v1 else "cgroup2fs"), kind
    assert "cgroup2" not in Path("/proc/mounts").read_text() or not v1
    os_release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines())
    return f"{os_release['PRETTY_NAME']}, Linux {platform.release()}, Python {platform.python_version()}, {kind}"


def demo() -> str:
    began = time.monotonic()
    said = run("make", "demo")
    assert said.count("✓") == 4, said
    return f"make demo: 4 proofs in {time.monotonic() - began:.0f} s"


def limits() -> str:
    resources = {"limits": {"memory": "64Mi", "cpu": "200m"}}
    start_pod("limited", ["sleep", "infinity"], resources)
    until("the limited pod", lambda: is_ready("limited"))
    found = []
    for file, wanted in (
        ("memory.max", str(MEMORY_BYTES)),
        ("memory.limit_in_bytes", str(MEMORY_BYTES)),
        ("cpu.max", f"{CPU_QUOTA_MICROSECONDS} 100000"),
        ("cpu.cfs_quota_us", str(CPU_QUOTA_MICROSECONDS)),
    ):
        paths = [path for path in Path("/sys/fs/cgroup").rglob(file) if "petset_" in str(path)]
        found += [f"{file} {wanted}" for path in paths if path.read_text().strip() == wanted][:1]
    assert len(found) == 2, found
    kubectl("delete", "pod", "limited")
    return ", ".join(found)


def too_much_memory() -> str:
    start_pod("greedy", ["tail", "/dev/zero"], {"limits": {"memory": "64Mi"}})
    until("the greedy pod to end", lambda: pod("greedy")["status"]["phase"] == "Failed")
    ended = pod("greedy")["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137), ended
    kubectl("delete", "pod", "greedy")
    return "OOMKilled, exit code 137"


def start_pod(name: str, command: list[str], resources: dict) -> None:
    container = {"name": "main", "image": "debian:jessie", "command": command, "resources": resources}
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container]}
    manifest = Path("/tmp/pod.json")
    manifest.write_text(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}))
    kubectl("create", "-f", str(manifest))


def kill() -> str:
    before, value = containers(), redis(master(), "get", "petset:demo")
    process = json.loads(run(PETSET, "status", "-o", "json"))["process"]
    os.kill(process, signal.SIGKILL)
    until("petset to be gone", lambda: not Path(f"/proc/{process}").exists())
    run(PETSET, "up", "-d")
    until("the pets", lambda: all(map(is_ready, PETS)))
    assert containers() == before, (before, containers())
    assert redis(master(), "get", "petset:demo") == value
    return "petset killed and started: the same containers, the same data"


def down() -> str:
    run(PETSET, "down")
    left = {
        "processes": [p for p in Path("/proc").glob("[0-9]*") if is_petsets(p)],
        "mounts": [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(STATE) in line],
        "interfaces": list(Path("/sys/class/net").glob("petset*")),
        "tables": [line for line in run("nft", "list", "tables").splitlines() if "petset" in line],
        "cgroups": list(Path("/sys/fs/cgroup").glob("**/petset_*")),
    }
    assert not any(left.values()), left
    return "nothing left: no process, mount, interface, nftables table or cgroup"


def is_petsets(process: Path) -> bool:
    try:
        return str(STATE).encode() in (process / "cmdline").read_bytes()
    except OSError:
        return False


def before_the_reboot() -> str:
    run(PETSET, "up", "-d")
    until("the pets", lambda: all(map(is_ready, PETS)))
    redis(master(), "set", "petset:reboot", "written before")
    REBOOTED.write_text(json.dumps(volumes()))
    os.sync()
    return "the pets run and hold a key"


# After it


def after_the_reboot() -> str:
    run(PETSET, "up", "-d")
    until("the pets", lambda: all(map(is_ready, PETS)))
    assert volumes() == json.loads(REBOOTED.read_text())
    until("the key on all pets", lambda: {redis(pet, "get", "petset:reboot") for pet in PETS} == {"written before"})
    restarts = [pod(name)["status"]["containerStatuses"][0]["restartCount"] for name in PETS]
    assert min(restarts) >= 1, restarts
    return f"the pets are back with their volumes and their data (restarts: {restarts})"


BEFORE = (
    it_is_the_machine_that_was_asked_for,
    demo,
    demo,
    limits,
    too_much_memory,
    kill,
    down,
    before_the_reboot,
)
AFTER = (it_is_the_machine_that_was_asked_for, after_the_reboot, down)


def main() -> None:
    again = REBOOTED.exists()
    try:
        for step in AFTER if again else BEFORE:
            say(f"{step.__name__.replace('_', ' ')}: {step()}")
    except BaseException as error:
        say(f"failed: {step.__name__.replace('_', ' ')}: {type(error).__name__}: {error}")
        print(run(PETSET, "logs", "--tail", "100", check=False), flush=True)
        run("systemctl", "poweroff", "--no-block")
        sys.exit(1)
    if again:
        say("passed")
    run("systemctl", "poweroff" if again else "reboot", "--no-block")


if __name__ == "__main__":
    main()
