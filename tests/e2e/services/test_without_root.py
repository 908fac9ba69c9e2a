"""The same pets for a user who is not root: nobody, who was given subordinate ids."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from petset.base import state as states
from tests.e2e.cluster import ROOT

pytestmark = pytest.mark.services
COMMAND_SECONDS_MAX = 300
IDS = "nobody:200000:65536\n"


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited for too long"
        time.sleep(0.1)


@contextlib.contextmanager
def subordinate_ids(file: Path) -> Iterator[None]:
    before = file.read_text() if file.exists() else None
    if "nobody:" not in (before or ""):
        file.write_text((before or "") + IDS)
    try:
        yield
    finally:
        file.write_text(before) if before is not None else file.unlink()


@contextlib.contextmanager
def openable(device: Path) -> Iterator[None]:
    """As distributions have it; a machine without udev may not."""
    mode = device.stat().st_mode & 0o7777
    device.chmod(0o666)
    try:
        yield
    finally:
        device.chmod(mode)


@contextlib.contextmanager
def shown(source: Path, target: Path) -> Iterator[Path]:
    """A folder where nobody may not look, at a place where he may."""
    target.mkdir()
    subprocess.run(["mount", "--bind", source, target], check=True)
    try:
        yield target
    finally:
        subprocess.run(["umount", "--lazy", target], check=True)
        target.rmdir()


class Nobody:
    """Commands as nobody, with an instance of his."""

    def __init__(self, home: Path, sources: Path, environment: Path):
        self.home, self.state = home, home / "state"
        self._python = environment / "bin" / "python"
        self._sources = sources
        self._environment = {
            "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(home),
            "PYTHONPATH": str(sources),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PETSET_STATE": str(self.state),
            "KUBECONFIG": str(self.state / "kubeconfig"),
            "KUBECACHEDIR": str(home / "cache"),
        }
        if shutil.which("kubectl"):
            self._environment["PATH"] += f":{os.path.dirname(shutil.which('kubectl') or '')}"

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        identity = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--")
        done = subprocess.run(
            [*identity, *command],
            env=self._environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
        )
        assert not check or done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}\n{self.log()}"
        return done

    def petset(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run(str(self._python), "-m", "petset", *words, check=check)

    def python(self, code: str) -> str:
        return self.run(str(self._python), "-c", code).stdout

    def kubectl(self, *words: str) -> str:
        return self.run("kubectl", *words).stdout

    def log(self) -> str:
        with contextlib.suppress(OSError):
            return (self.state / "petset.log").read_text()[-3000:]
        return ""

    def processes(self) -> list[str]:
        """What runs below the state directory, or keeps its namespaces."""
        found = subprocess.run(["ps", "-u", "nobody", "-o", "stat=,args="], capture_output=True, text=True).stdout
        return [line for line in found.splitlines() if not line.startswith("Z")]


@pytest.fixture(scope="module")
def nobody() -> Iterator[Nobody]:
    with contextlib.ExitStack() as kept:
        for file in ("/etc/subuid", "/etc/subgid"):
            kept.enter_context(subordinate_ids(Path(file)))
        kept.enter_context(openable(Path("/dev/net/tun")))
        place = Path(tempfile.mkdtemp(prefix="petset-nobody-", dir="/tmp"))
        kept.callback(shutil.rmtree, place)
        place.chmod(0o755)
        checkout = kept.enter_context(shown(ROOT, place / "checkout"))
        environment = kept.enter_context(shown(Path(sys.prefix), place / "environment"))
        home = place / "home"
        home.mkdir()
        shutil.chown(home, "nobody", "nogroup")
        user = Nobody(home, checkout / "src", environment)
        yield user
        user.petset("destroy", "--yes", check=False)


@pytest.fixture(scope="module")
def pets(nobody) -> Nobody:
    """The post's two web servers, ready."""
    nobody.petset("image", "build", "debian", "nginx")
    said = nobody.petset("up", "-d").stdout
    assert "answers" in said and "ready" in said and "reach nothing" not in said
    nobody.kubectl("create", "-f", str(ROOT / "tests" / "e2e" / "manifests" / "nginx.yaml"))
    nobody.kubectl("wait", "--for=create", "pod/web-1", "--timeout=60s")
    nobody.kubectl("wait", "--for=condition=Ready", "pod/web-0", "pod/web-1", "--timeout=60s")
    return nobody


ASK = "exec 3<>/dev/tcp/web-0.nginx/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; tail -n 1 <&3"


def test_pets_have_names_and_volumes(pets):
    pets.kubectl("exec", "web-0", "--", "sh", "-c", "echo a page > /usr/share/nginx/html/index.html")
    assert pets.kubectl("exec", "web-1", "--", "bash", "-c", ASK) == "a page\n"
    assert (pets.state / "petset.log").owner() == "nobody"


def test_kubectl_reaches_it_from_the_host(pets):
    assert pets.kubectl("get", "--raw", "/api/v1/namespaces/default/pods/web-0/proxy/") == "a page\n"
    assert "a page" not in pets.kubectl("logs", "web-0")


def page(port: int) -> str:
    """What the host's loopback answers at a port."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        return answer.read().decode()


def test_ports_of_nodes_and_of_pods_are_reached_on_the_hosts_loopback(pets):
    pets.kubectl("expose", "pod", "web-0", "--name=outside", "--type=NodePort", "--port=80")
    port = int(pets.kubectl("get", "service", "outside", "-o", "jsonpath={.spec.ports[0].nodePort}"))

    def is_served(port: int) -> bool:
        with contextlib.suppress(OSError):
            return page(port) == "a page\n"
        return False

    until(lambda: is_served(port), 60)
    pets.kubectl("delete", "service", "outside")
    until(lambda: not is_served(port))
    image = "gcr.io/google_containers/nginx-slim:0.8"
    container = {"name": "c", "image": image, "ports": [{"containerPort": 80, "hostPort": port}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "hosting"}, "spec": {"containers": [container]}}
    (pets.home / "hosting.json").write_text(json.dumps(pod))
    pets.kubectl("create", "-f", "hosting.json")
    pets.kubectl("wait", "--for=condition=Ready", "pod/hosting", "--timeout=60s")

    def answers() -> bool:
        with contextlib.suppress(OSError):
            return "nginx" in page(port).lower() or bool(page(port))
        return False

    until(answers, 60)
    pets.kubectl("delete", "pod", "hosting", "--grace-period=0", "--force")


def test_a_pod_with_limits_runs_without_them_and_says_so(pets):
    limits = {"memory": "64Mi", "cpu": "100m"}
    image = "gcr.io/google_containers/nginx-slim:0.8"
    container = {"name": "limited", "image": image, "resources": {"limits": limits}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "limited"}, "spec": {"containers": [container]}}
    (pets.home / "limited.json").write_text(json.dumps(pod))
    pets.kubectl("create", "-f", "limited.json")
    pets.kubectl("wait", "--for=condition=Ready", "pod/limited", "--timeout=60s")
    told = pets.kubectl("get", "events", "--field-selector=type=Warning,involvedObject.name=limited")
    assert "memory" in told and "cpu" in told.lower()
    pets.kubectl("delete", "pod", "limited", "--grace-period=0", "--force")


def test_the_pods_outlive_petset_and_are_adopted(pets):
    before = pets.kubectl("get", "pod", "web-0", "-o", "jsonpath={.status.containerStatuses[0].containerID}")
    process = json.loads(pets.petset("status", "-o", "json").stdout)["process"]
    os.kill(process, signal.SIGKILL)
    until(lambda: states.process_state(process) in ("", "Z"))
    pets.petset("up", "-d")
    pets.kubectl("wait", "--for=condition=Ready", "pod/web-0", "--timeout=60s")
    after = pets.kubectl("get", "pod", "web-0", "-o", "jsonpath={.status.containerStatuses[0].containerID}")
    assert after == before
    assert pets.kubectl("exec", "web-1", "--", "bash", "-c", ASK) == "a page\n"


def test_down_ends_everything_and_up_brings_it_back(pets):
    assert "stopped" in pets.petset("down").stdout
    until(
        lambda: not any(word in line for word in ("conmon", "pasta", "sleep", "lending") for line in pets.processes())
    )
    pets.petset("up", "-d")
    pets.kubectl("wait", "--for=condition=Ready", "pod/web-0", "pod/web-1", "--timeout=60s")
    assert pets.kubectl("exec", "web-0", "--", "cat", "/usr/share/nginx/html/index.html") == "a page\n"


def test_destroy_deletes_what_other_ids_own(pets):
    pets.kubectl("exec", "web-0", "--", "chown", "33", "/usr/share/nginx/html/index.html")
    assert pets.petset("destroy", "--yes").stdout == "destroyed\n"
    assert not pets.state.exists()


def test_what_is_missing_is_one_line(nobody):
    text = Path("/etc/subuid").read_text()
    Path("/etc/subuid").write_text(text.replace(IDS, ""))
    try:
        done = nobody.petset("up", check=False)
    finally:
        Path("/etc/subuid").write_text(text)
    assert done.returncode == 1
    assert done.stderr.startswith("petset: cannot run containers without root: nobody has not 65535 subordinate ids")
    assert "usermod --add-subuids" in done.stderr and done.stderr.count("\n") == 1


PYTHON = """
import os, petset
os.environ["PETSET_IMAGES"] = os.path.join(os.environ["HOME"], "images")
with petset.Cluster(simulate=False) as cluster:
    [node] = cluster.list("nodes")
    cluster.wait_for(node)
    directory = cluster.directory
print("left" if directory.exists() else "gone")
"""


def test_python_has_a_cluster_of_its_own_that_goes(nobody):
    assert nobody.python(PYTHON) == "gone\n"
