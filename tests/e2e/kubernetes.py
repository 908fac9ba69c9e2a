"""A real Kubernetes for the tests, of its own programs: etcd, kube-apiserver, kube-controller-manager, kube-scheduler.

PETSET_KUBERNETES names the directory that has them. They run on loopback, in a directory of the test's, as long as the
block does. There is no kubelet among them: the one node is a simulated one of petset's own (joined.py).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from petset.base import pki
from petset.client.reaching import kubeconfig
from tests.e2e.cluster import ROOT, T, waited
from tests.kubectl import Kubectl

VARIABLE = "PETSET_KUBERNETES"
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
START_SECONDS_MAX = 120
STOP_SECONDS_MAX = 20
HOST = "127.0.0.1"
SERVICE_CIDR = "10.96.0.0/16"
CLASS = """
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: standard
  annotations:
    storageclass.kubernetes.io/is-default-class: "true"
provisioner: kubernetes.io/host-path
"""


def directory() -> Path | None:
    """Where the programs are; None: the variable names nowhere. Fails for a directory that lacks some."""
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    lacking = [name for name in PROGRAMS if not os.access(Path(named, name), os.X_OK)]
    assert not lacking, f"{VARIABLE} names {named}, which has no {', '.join(lacking)}"
    return Path(named)


class Kubernetes:
    """One that runs: its own kubectl, and kubeconfigs for whoever is to be somebody there."""

    def __init__(self, folder: Path, port: int, authority: pki.Authority):
        self.folder, self.server = folder, f"https://{HOST}:{port}"
        self._authority = authority
        self.state = folder  # Where the administrator's kubeconfig is, as of an instance.
        self.kubeconfig = self.access("admin", ("system:masters",)).rename(folder / "kubeconfig")
        self.kubectl = Kubectl(self.kubeconfig, folder / "kubectl-cache")

    def access(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig of this user."""
        path = self.folder / f"{user.replace(':', '-')}.kubeconfig"
        issued = self._authority.client(user.replace(":", "-"), user, groups)
        access = kubeconfig.Access(
            self.server,
            self._authority.certificate_pem.encode(),
            issued.certificate_pem().encode(),
            issued.key_pem().encode(),
        )
        path.write_bytes(kubeconfig.render(access, "kubernetes"))
        path.chmod(0o600)
        return path

    def wait(self, condition: Callable[[], T], what: str, seconds: float = 60) -> T:
        """As Cluster has it."""
        return waited(condition, what, seconds, self.situation)

    def situation(self) -> str:
        shown = self.kubectl.run("get", "pods,pvc,events", "-A", "-o", "wide")
        return shown.stdout + shown.stderr


@contextlib.contextmanager
def running(folder: Path, programs: Path, *flags: str) -> Generator[Kubernetes]:
    """The four of them, until the block is left; the flags are kube-apiserver's; what they say is in the folder."""
    keys = folder / "pki"
    keys.mkdir(parents=True)
    authority = pki.authority(keys)
    front_proxies = pki.authority(keys, "front-proxy-ca", "front-proxy-ca")
    serving = authority.server(
        "kube-apiserver", (HOST, "localhost", "kubernetes", "kubernetes.default.svc", "10.96.0.1")
    )
    front_proxy = front_proxies.client("front-proxy", "front-proxy-client")
    accounts = authority.client("accounts", "accounts")  # Its key signs tokens.
    etcd, peer, api = _free_ports(3)
    store = f"http://{HOST}:{etcd}"
    with contextlib.ExitStack() as stack:

        def run(name: str, *flags: str) -> subprocess.Popen[bytes]:
            return stack.enter_context(_program(folder, name, (str(programs / name), *flags)))

        run(
            "etcd",
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls={store}",
            f"--advertise-client-urls={store}",
            f"--listen-peer-urls=http://{HOST}:{peer}",
            f"--initial-advertise-peer-urls=http://{HOST}:{peer}",
            f"--initial-cluster=default=http://{HOST}:{peer}",
            "--unsafe-no-fsync",
        )
        server = run(
            "kube-apiserver",
            f"--etcd-servers={store}",
            f"--bind-address={HOST}",
            f"--secure-port={api}",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            f"--client-ca-file={authority.issued.certificate}",
            f"--requestheader-client-ca-file={front_proxies.issued.certificate}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={front_proxy.certificate}",
            f"--proxy-client-key-file={front_proxy.key}",
            f"--service-account-issuer=https://{HOST}:{api}",
            f"--service-account-key-file={accounts.certificate}",
            f"--service-account-signing-key-file={accounts.key}",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
            *flags,
        )
        there = Kubernetes(folder, api, authority)
        _until(lambda: there.kubectl.run("get", "--raw", "/readyz").stdout == "ok", "kube-apiserver", server, folder)
        for name, user, flags in (
            (
                "kube-controller-manager",
                "system:kube-controller-manager",
                (
                    f"--service-account-private-key-file={accounts.key}",
                    f"--root-ca-file={authority.issued.certificate}",
                    "--use-service-account-credentials=true",
                    "--namespace-sync-period=5s",
                    "--enable-hostpath-provisioner=true",
                ),
            ),
            ("kube-scheduler", "system:kube-scheduler", ()),
        ):
            access = there.access(user)
            run(
                name,
                f"--kubeconfig={access}",
                f"--authentication-kubeconfig={access}",
                f"--authorization-kubeconfig={access}",
                f"--bind-address={HOST}",
                "--secure-port=0",
                *flags,
            )
        there.kubectl("create", "-f", "-", stdin=CLASS)
        name = "node-0"
        joined = (sys.executable, "-m", "tests.e2e.joined", str(there.kubeconfig), name)
        stack.enter_context(_program(folder, name, joined, cwd=ROOT))
        there.kubectl("wait", "--for=create", f"node/{name}", "--timeout=60s")
        there.kubectl("wait", "--for=condition=Ready", f"node/{name}", "--timeout=60s")
        yield there


@contextlib.contextmanager
def _program(
    folder: Path, name: str, command: Sequence[str], cwd: Path | None = None
) -> Generator[subprocess.Popen[bytes]]:
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=cwd or folder)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_ports(many: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(many)]
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]


def _until(is_so, name: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while not is_so():
        said = (folder / f"{name}.log").read_text(errors="replace")[-3000:]
        assert process.poll() is None, f"{name} has ended:\n{said}"
        assert time.monotonic() < deadline, f"{name} is not ready after {START_SECONDS_MAX} s:\n{said}"
        time.sleep(0.2)
