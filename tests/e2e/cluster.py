"""A petset of its own for the end-to-end tests: the real command, a state directory of its own, real kubectl.

`wait` polls a condition with a deadline; it is the only waiting there is. Whatever a test does, `destroy` stops the
instance by its own commands and asserts that nothing of it is left on the machine.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import websocket

from petset.base import state as states
from tests.kubectl import Kubectl

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
IMAGES = Path(os.environ.get("PETSET_TEST_IMAGES", ROOT / ".petset" / "test-images"))


def waited(condition: Callable[[], T], what: str, seconds: float, situation: Callable[[], str]) -> T:
    """The first true value of the condition; an exception of it counts as not yet. Fails with the situation."""
    deadline = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = condition()
        except (AssertionError, KeyError, IndexError, subprocess.TimeoutExpired) as error:
            last = error
        else:
            if last:
                return last
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds} s for {what}; last: {last}\n{situation()}")


class Cluster:
    def __init__(self, state: Path):
        self.state = state
        self.environment = {**os.environ, "PETSET_STATE": str(state), "PETSET_IMAGES": str(IMAGES)}
        self.environment.pop("KUBECONFIG", None)
        self.kubectl: Kubectl

    def petset(self, *args: str, check: bool = True, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "petset", *args],
            env={**self.environment, "PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert not check or done.returncode == 0, (
            f"petset {' '.join(args)}:\n{done.stdout}{done.stderr}\n{self.log_tail()}"
        )
        return done

    def log_tail(self) -> str:
        try:
            return (self.state / "petset.log").read_text()[-4000:]
        except FileNotFoundError:
            return ""

    def up(self, *flags: str) -> subprocess.CompletedProcess[str]:
        done = self.petset("up", "-d", *flags)
        self.kubectl = Kubectl(self.state / "kubeconfig", self.state / "kubectl-cache")
        return done

    def down(self) -> subprocess.CompletedProcess[str]:
        return self.petset("down")

    @property
    def process(self) -> int:
        return json.loads(self.petset("status", "-o", "json").stdout)["process"]

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """kill -9, or another signal, of petset itself; returns when it is gone."""
        process = self.process
        descriptor = os.pidfd_open(process)
        os.kill(process, number)
        self.wait(lambda: states.process_state(process) in ("", "Z"), "petset to be gone", 10)
        os.close(descriptor)

    def wait(self, condition: Callable[[], T], what: str, seconds: float = 60) -> T:
        """The first true value of the condition; an exception of it counts as not yet."""
        return waited(condition, what, seconds, self.situation)

    def situation(self) -> str:
        shown = self.kubectl.run("get", "pods,pvc,events", "-A", "-o", "wide")
        return shown.stdout + shown.stderr + self.log_tail()

    def pod(self, name: str, namespace: str = "default") -> dict:
        return self.kubectl.json("get", "pod", name, "-n", namespace)

    def is_ready(self, name: str, namespace: str = "default") -> bool:
        pod = self.pod(name, namespace)
        conditions = {c["type"]: c["status"] for c in pod["status"].get("conditions", [])}
        return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]

    def wait_ready(self, *names: str, seconds: float = 90, namespace: str = "default") -> None:
        for name in names:
            self.wait(lambda name=name: self.is_ready(name, namespace), f"{name} to be ready", seconds)

    def exec(self, pod: str, *command: str, container: str | None = None, stdin: str | None = None) -> str:
        where = ("-c", container) if container else ()
        interactive = ("-i",) if stdin is not None else ()
        return self.kubectl("exec", *interactive, pod, *where, "--", *command, stdin=stdin)

    def websocket(self, target: str, protocol: str) -> list[bytes]:
        """Every message that a WebSocket client of another make gets before the server closes."""
        config = json.loads(self.kubectl("config", "view", "--raw", "-o", "json"))
        server, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        files = {"ca": server["certificate-authority-data"]} | {
            name: user[f"client-{name}-data"] for name in ("certificate", "key")
        }
        with tempfile.TemporaryDirectory() as directory:
            paths = {name: Path(directory, name) for name in files}
            for name, path in paths.items():
                path.write_bytes(base64.b64decode(files[name]))
            tls = {"ca_certs": str(paths["ca"]), "certfile": str(paths["certificate"]), "keyfile": str(paths["key"])}
            address = server["server"].replace("https://", "wss://") + target
            socket = websocket.create_connection(address, sslopt=tls, subprotocols=[protocol], timeout=30)
            assert socket.getsubprotocol() == protocol
            messages: list[bytes] = []
            while True:
                opcode, data = socket.recv_data()
                if opcode == websocket.ABNF.OPCODE_CLOSE:
                    socket.close()
                    return messages
                messages.append(data)

    def destroy(self) -> None:
        self.petset("down", check=False)
