"""A real image registry on loopback, for the tests of pulling."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
from typing import Any

USER_PET_PASSWORD_SECRET = "pet:$2b$05$UuM6H1eq4CJJzBnrYOgwm.8iSbF/jYv1I0vEPtjJVzLobXav2vlT6"


def pull_secret(name: str, auths: Any, key: str = ".dockerconfigjson") -> dict[str, Any]:
    """A Secret as `kubectl create secret docker-registry` makes it, or of the older form (.dockercfg)."""
    tree = {"auths": auths} if key == ".dockerconfigjson" else auths
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "type": f"kubernetes.io/{key[1:]}",
        "data": {key: base64.b64encode(json.dumps(tree).encode()).decode()},
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Registry:
    """A docker-registry on loopback, with one small image in it."""

    def __init__(self, folder, *, password: str = ""):
        self.host = f"127.0.0.1:{free_port()}"
        self.folder = folder
        auth = ""
        if password:
            users = folder / "htpasswd"
            users.write_text(password + "\n")
            auth = f"auth: {{htpasswd: {{realm: test, path: {users}}}}}\n"
        config = folder / "registry.yml"
        config.write_text(
            f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n"
            f"http: {{addr: '{self.host}'}}\n{auth}"
        )
        self.log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            ["docker-registry", "serve", str(config)],
            stdout=self.log,
            stderr=self.log,
            env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
        )
        for _ in range(200):
            with socket.socket() as probe:
                host, port = self.host.split(":")
                if probe.connect_ex((host, int(port))) == 0:
                    return
            subprocess.run(["sleep", "0.05"], check=True)
        raise AssertionError((folder / "log").read_text())

    def push(self, source: str, name: str, *options: str) -> str:
        subprocess.run(
            [
                "skopeo",
                "copy",
                "-q",
                "--insecure-policy",
                "--dest-tls-verify=false",
                *options,
                source,
                f"docker://{self.host}/{name}",
            ],
            check=True,
        )
        return f"{self.host}/{name}"

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.log.close()
