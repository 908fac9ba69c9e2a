"""A redis set's nine containers run by hand: what the same containers cost when nobody keeps a cluster around them.

`Hand` makes a bridge and a DNS responder that knows the pets started so far; `start` gives one pet a network namespace,
its directories and then its containers, one after another as the manifest has them, with the OCI runtime called
directly: no supervisor, no log, no API, no record of anything. Closing it ends and removes all of that again; how a
thing is removed is known before it is made, so a failure leaves nothing either.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from petset.node import environment, linux
from petset.node.containers import bundle, cgroups, host, mounting
from petset.node.runtime import Image
from petset.objects import meta
from petset.objects.meta import Object
from petset.wire import dns

NETWORK = "198.18.7."  # Of the range set aside for benchmarks (RFC 2544).
GATEWAY = NETWORK + "1"
SERVICE = "redis.default.svc.cluster.local"
PORT = 6379
POLL_SECONDS = 0.01
READY_SECONDS_MAX = 60.0


class Hand:
    def __init__(self, template: Object, images: dict[str, Image]):
        self._template, self._images = template, images
        self._opened = contextlib.ExitStack()
        self._name = f"psb{os.getpid()}"  # Of the bridge, and the beginning of everything else's.
        self._addresses: dict[str, str] = {}  # Of the pets started so far, by their name in DNS.
        self._groups = cgroups.detect()
        self._runtime = host.find_runtime()

    def __enter__(self) -> Hand:
        try:
            self._directory = Path(tempfile.mkdtemp(prefix="petset-bench-", dir="/tmp"))
            self._opened.callback(shutil.rmtree, self._directory)
            self._opened.callback(cgroups.remove, self._groups, f"/{self._name}")
            self._opened.callback(_ip, f"link del {self._name}", check=False)
            _ip(f"link add {self._name} type bridge", f"addr add {GATEWAY}/24 dev {self._name}")
            _ip(f"link set {self._name} up")
            responder = self._opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            responder.bind((GATEWAY, 53))
            thread = threading.Thread(target=self._answer, args=(responder,), daemon=True)
            thread.start()
            self._opened.callback(thread.join, 1.0)
            self._opened.callback(_wake, responder)
        except BaseException:
            self._opened.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def start(self, ordinal: int) -> None:
        """One pet from nothing to its answer to PING."""
        pet, namespace, address = self._placed(ordinal)
        for container in self._template["spec"]["initContainers"]:
            self._run(pet, namespace, container)
        for container in self._template["spec"]["containers"]:
            self._run(pet, namespace, container, "--detach")
        _wait_for_pong(address)

    def finish(self, ordinal: int) -> None:
        """One pod from nothing to the end of its containers."""
        pet, namespace, _ = self._placed(ordinal)
        for container in self._template["spec"]["containers"]:
            self._run(pet, namespace, container)

    def _placed(self, ordinal: int) -> tuple[str, str, str]:
        """The network and the folders of a pod: (its name, its network namespace, its address)."""
        pet = f"rd-{ordinal}"
        address, namespace = f"{NETWORK}{10 + ordinal}", f"{self._name}-{ordinal}"
        self._opened.callback(_ip, f"netns del {namespace}", check=False)
        _ip(f"netns add {namespace}", f"link add {self._name}v{ordinal} type veth peer name eth0 netns {namespace}")
        _ip(f"link set {self._name}v{ordinal} master {self._name} up")
        inside = (f"addr add {address}/24 dev eth0", "link set eth0 up", f"route add default via {GATEWAY}")
        _ip("link set lo up", *inside, namespace=namespace)
        self._addresses[f"{pet}.{SERVICE}"] = address
        own = self._directory / pet
        for volume in ("opt", "workdir", "datadir"):
            (own / volume).mkdir(parents=True)
        (own / "hosts").write_text(f"127.0.0.1 localhost\n{address} {pet}.{SERVICE} {pet}\n")
        domain = SERVICE.partition(".")[2]
        (own / "resolv.conf").write_text(
            f"nameserver {GATEWAY}\nsearch {domain} svc.cluster.local cluster.local\noptions ndots:5\n"
        )
        return pet, namespace, address

    def _run(self, pet: str, namespace: str, container: Object, *options: str) -> None:
        image = self._images[container["image"]]
        own = self._directory / pet
        place = own / container["name"]
        for part in ("rootfs", "upper", "work"):
            (place / part).mkdir(parents=True)
        rootfs, name = str(place / "rootfs"), f"{self._name}-{pet}-{container['name']}"
        group = f"/{self._name}/{name}"
        self._opened.callback(linux.unmount, rootfs)
        layers = f"lowerdir={image.rootfs},upperdir={place}/upper,workdir={place}/work"
        linux.mount("overlay", rootfs, "overlay", 0, layers)
        command = [*(container.get("command") or image.entrypoint), *(container.get("args") or image.command)]
        mounts = [
            _bind(str(own / mount["name"]), mount["mountPath"]) for mount in meta.parts(container, "volumeMounts")
        ]
        config = _config(pet, namespace, group, rootfs, command, own, mounts)
        (place / "config.json").write_text(json.dumps(config))
        root = f"--root={self._directory}/runtime"
        self._opened.callback(
            subprocess.run, [self._runtime, root, "delete", "--force", name], check=False, capture_output=True
        )
        hidden = cgroups.hidden_at_creation(self._runtime, self._groups)
        with open(place / "output", "wb") as output, mounting.prepared(place / "volumes", (), hidden) as entering:
            subprocess.run(
                [*entering, self._runtime, root, "run", *options, f"--bundle={place}", name],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=True,
                timeout=READY_SECONDS_MAX,
            )

    def _answer(self, responder: socket.socket) -> None:
        """A and SRV records of the pets started so far, until the empty packet."""
        while True:
            data, sender = responder.recvfrom(4096)
            if not data:
                return
            with contextlib.suppress(dns.Dropped, dns.Refused):
                query = dns.parse_query(data)
                records = self._records(query)
                known = records or query.name in self._addresses or query.name == SERVICE
                code = dns.NOERROR if known else dns.NXDOMAIN
                responder.sendto(dns.response(query, code, records), sender)

    def _records(self, query: dns.Query) -> list[dns.Record]:
        found = dict(self._addresses)
        if query.type == dns.SRV and query.name == SERVICE:
            return [dns.Record(SERVICE, dns.SRV, 5, dns.Srv(10, 33, 0, name)) for name in found]
        if query.type == dns.A:
            names = list(found) if query.name == SERVICE else [query.name] if query.name in found else []
            return [dns.Record(query.name, dns.A, 5, socket.inet_aton(found[name])) for name in names]
        return []


def _config(
    pet: str, namespace: str, group: str, rootfs: str, command: list[str], own: Path, mounts: list[Object]
) -> Object:
    """The least that these containers need of an OCI configuration."""
    capabilities = list(bundle.DEFAULT_CAPABILITIES)
    files = [_bind(str(own / name), f"/etc/{name}") for name in ("hosts", "resolv.conf")]
    system = [
        _special("/proc", "proc"),
        _special("/dev", "tmpfs", "nosuid", "mode=755", "size=65536k"),
        _special("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"),
        _special("/dev/shm", "tmpfs", "nosuid", "nodev", "noexec"),
        _special("/sys", "sysfs", "nosuid", "noexec", "nodev", "ro"),
    ]
    kinds = [{"type": kind} for kind in ("mount", "pid", "uts", "ipc")]
    return {
        "ociVersion": "1.0.0",
        "hostname": pet,
        "root": {"path": rootfs},
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": command,
            "env": [f"PATH={environment.PATH_DEFAULT}", "POD_NAMESPACE=default", f"HOSTNAME={pet}"],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
        },
        "mounts": [*system, *files, *mounts],
        "linux": {
            "cgroupsPath": group,
            "namespaces": [*kinds, {"type": "network", "path": f"/run/netns/{namespace}"}],
        },
    }


def _special(target: str, kind: str, *options: str) -> Object:
    return {"destination": target, "type": kind, "source": kind, "options": list(options)}


def _bind(source: str, target: str) -> Object:
    return {"destination": target, "type": "bind", "source": source, "options": ["rbind", "rprivate"]}


def _ip(*commands: str, namespace: str = "", check: bool = True) -> None:
    inside = ["-n", namespace] if namespace else []
    subprocess.run(
        ["ip", *inside, "-batch", "-"],
        input="\n".join(commands) + "\n",
        text=True,
        check=check,
        capture_output=not check,
    )


def _wake(responder: socket.socket) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.sendto(b"", responder.getsockname())


def _wait_for_pong(address: str) -> None:
    until = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection((address, PORT), timeout=1.0) as connection:
            connection.sendall(b"PING\r\n")
            if connection.recv(64).startswith(b"+PONG"):
                return
        time.sleep(POLL_SECONDS)
    raise TimeoutError(f"redis at {address} did not answer within {READY_SECONDS_MAX:.0f} s")
