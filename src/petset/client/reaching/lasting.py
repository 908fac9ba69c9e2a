"""A way to a cluster for a program that lives long: what it believes and who it is change under it, and it goes on.

Tokens, certificates and authorities are renewed in their files: kubelets renew a service account's token every hour,
tools a kubeconfig's certificate. The files are looked at before each request and read when one has changed. A new token
goes into the next request; with a new certificate or authority new connections are made, and what is under way on the
old ones (watches, above all) goes on to its end. Files that cannot be read yet leave what was.

Connections are the dialer's: as many as there are requests at once, kept and used again, and given up when the other
end has gone without a word. Nothing is sent twice here.
Follows: client-go's rest and transport; "Organizing Cluster Access Using kubeconfig Files" and "Accessing the
Kubernetes API from a Pod" of the Kubernetes documentation.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from petset.base import reasons, tasks
from petset.client.reaching import dialing, kubeconfig
from petset.net.dialer import Dialer
from petset.wire import http

log = logging.getLogger("petset.client")

Marks = tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """`read` says where a cluster is and as whom to ask, and which files say so. It raises OSError, ValueError."""

    read: Callable[[], tuple[kubeconfig.Target, tuple[Path, ...]]]


def of_kubeconfig(path: Path) -> Source:
    """Whom the current context of a kubeconfig names; files that it names are relative to it."""

    def read() -> tuple[kubeconfig.Target, tuple[Path, ...]]:
        files = [path]

        def beside(name: str) -> bytes:
            files.append(path.parent / name)
            return files[-1].read_bytes()

        target = kubeconfig.target_of(path.read_bytes(), beside)
        return target, tuple(files)

    return Source(read)


ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
HOST, PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"


def of_pod(environment: Mapping[str, str] = os.environ, account: Path = ACCOUNT) -> Source:
    """The cluster whose pod this process is in, as the pod's service account."""

    def read() -> tuple[kubeconfig.Target, tuple[Path, ...]]:
        host, port = environment.get(HOST, ""), environment.get(PORT, "")
        if not (host and port):
            raise ValueError(f"{HOST} and {PORT} do not say where the API is; run it in a pod, or name a kubeconfig")
        token, authority = account / "token", account / "ca.crt"
        said = token.read_text().strip()
        if not said:
            raise ValueError(f"{token} is empty")
        server = f"https://{f'[{host}]' if ':' in host else host}:{port}"
        return kubeconfig.Target(server, authority.read_bytes(), authorization=f"Bearer {said}"), (token, authority)

    return Source(read)


class Lasting:
    """A transport to the cluster that a source names, whatever is renewed."""

    def __init__(self, source: Source):
        """Raises OSError and ValueError where nothing can be begun with what the source says."""
        self._source = source
        self._target, self._files = source.read()
        self._marks = _marks(self._files)
        self._headers, self._dialer = _begun(self._target)
        self._former: dict[Dialer, None] = {}  # That have something under way.
        self._reading = False

    async def __aenter__(self) -> Lasting:
        return self

    async def __aexit__(self, *_: object) -> None:
        for dialer in (self._dialer, *self._former):
            await dialer.close()

    @property
    def server(self) -> str:
        return self._target.server

    async def send(self, request: http.Request) -> http.Response:
        """Raises ConnectionError."""
        if not self._reading and (marks := _marks(self._files)) != self._marks:
            await self._renew(marks)
        return await self._dialer.send(replace(request, headers=(*request.headers, *self._headers)))

    async def _renew(self, marks: Marks) -> None:
        self._reading = True  # The others go on with what was.
        try:
            target, files = await tasks.in_thread(self._source.read)
            self._marks, self._files = marks if files == self._files else _marks(files), files
            if target != self._target:
                self._take(target)
        except (OSError, ValueError) as error:
            self._marks = marks  # They are read again when they change again.
            log.warning("cannot read how %s is reached: %s; goes on as before", self.server, reasons.foreseen(error))
        finally:
            self._reading = False

    def _take(self, target: kubeconfig.Target) -> None:
        before, after = (replace(one, authorization="") for one in (self._target, target))
        headers, dialer = _begun(target)
        if before != after:
            self._dialer.retire()
            self._former = {one: None for one in (*self._former, self._dialer) if not one.is_empty}
            self._dialer = dialer
        self._target, self._headers = target, headers


def _begun(target: kubeconfig.Target) -> tuple[http.Headers, Dialer]:
    way = dialing.way(target)
    return way.headers, Dialer(way.url, way.context, address=way.address)


def _marks(files: tuple[Path, ...]) -> Marks:
    """What changes when a file is written anew or put in another's place; None where it is not there."""

    def mark(path: Path) -> tuple[int, int] | None:
        try:
            found = os.stat(path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino

    return tuple(map(mark, files))
