"""Keeps the pair that a replica serves with: in a Secret of the cluster, in files, and believed by the APIService.

Every replica runs one. It follows the Secret and the APIService, takes the step that pair.py decides with the version
that it has seen, and looks again: of many that take it at once one goes through, and the others see what he has made.
What the Secret holds is written to the directory as `tls.crt` and `tls.key`, where the listener finds it; until it has
been read there is a pair of the replica's own, so that it answers probes from its first moment. Nothing polls.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import logging
from pathlib import Path

from petset.base import pki, state, tasks, well_known
from petset.client.client import Client
from petset.client.informer import Informer
from petset.kinds.api_service import APISERVICES
from petset.kinds.secret import SECRETS
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.serving import pair

log = logging.getLogger("petset.serving")

AGAIN_SECONDS_MAX = 30.0
WAIT_SECONDS_MAX = 3600.0  # Clocks are set; a loop's timers do not hear of it.


class Keeper:
    def __init__(self, client: Client, directory: Path, namespace: str, secret: str, service: str, api_service: str):
        """Raises OSError where the directory cannot be written."""
        self._client = client
        self._namespace, self._name, self._api_service = namespace, secret, api_service
        self._hosts = pair.hosts_of(service, namespace)
        self._changed = asyncio.Event()
        self._secrets = self._followed(SECRETS, secret, namespace)
        self._api_services = self._followed(APISERVICES, api_service)
        self.issued = pki.Issued(directory / "tls.crt", directory / "tls.key")
        self.trouble = f"the pair in Secret {namespace}/{secret} has not been read yet"  # "": it is served with.
        self._written: pki.Pair | None = None
        self._write(pair.begun(self._hosts).pair)

    def _followed(self, kind: Kind, name: str, namespace: str = "") -> Informer:
        found = Informer(self._client, kind, namespace=namespace, field_selector=f"metadata.name={name}")
        found.on_change(lambda old, new: self._changed.set())
        return found

    async def keep(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            tasks.spawn(group, self._secrets.run(), "the Secret of the pair")
            tasks.spawn(group, self._api_services.run(), "the APIService")
            await self._secrets.synced.wait()
            await self._api_services.synced.wait()
            backoff = tasks.Backoff(most=AGAIN_SECONDS_MAX)
            while True:
                self._changed.clear()
                seconds = await self._look(backoff)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(seconds, WAIT_SECONDS_MAX)):
                        await self._changed.wait()

    async def _look(self, backoff: tasks.Backoff) -> float:
        """Take the next step; for how long there is no other, unless something changes."""
        secret = self._secrets.get(self._namespace, self._name)
        kept = await tasks.in_thread(pair.read, secret)
        if kept is not None:
            await tasks.in_thread(self._write, kept.pair)
            self.trouble = ""
        api_service = self._api_services.get("", self._api_service)
        step = await tasks.in_thread(pair.decided, kept, _believed(api_service), self._hosts, tasks.now())
        if isinstance(step, pair.Wait):
            backoff.reset()
            return max(1.0, step.until - tasks.now())
        try:
            if isinstance(step, pair.Write):
                await self._keep(step, secret)
            elif api_service is not None:
                await self._tell(step, api_service)
        except (errors.ApiError, OSError) as error:
            if not (isinstance(error, errors.ApiError) and error.code == 409):  # Somebody was quicker.
                log.warning("cannot keep the pair that is served with: %s", error)
        return backoff.next()  # What was done comes by the watch.

    async def _keep(self, step: pair.Write, secret: Object | None) -> None:
        log.info("Secret %s/%s: %s", self._namespace, self._name, "a new pair" if step.is_new else "renewed")
        data = pair.data_of(step.kept)
        if secret is None:
            metadata = {"name": self._name, "namespace": self._namespace}
            made = {
                "apiVersion": "v1",
                "kind": "Secret",
                "type": well_known.TLS_SECRET,
                "metadata": metadata,
                "data": data,
            }
            await self._client.create(made)
        else:
            await self._client.update({**secret, "data": data})

    async def _tell(self, step: pair.Tell, api_service: Object) -> None:
        log.info("APIService %s is told whom to believe", self._api_service)
        revision = {"resourceVersion": api_service["metadata"]["resourceVersion"]}
        spec = {"caBundle": base64.b64encode(step.bundle).decode(), "insecureSkipTLSVerify": None}
        await self._client.patch(APISERVICES, self._api_service, "", {"metadata": revision, "spec": spec})

    def _write(self, served: pki.Pair) -> None:
        """The key first: a certificate is never there without its key."""
        if served != self._written:
            state.write_private(self.issued.key, served.key)
            state.write_private(self.issued.certificate, served.certificate)
            self._written = served


def _believed(api_service: Object | None) -> bytes | None:
    """Its caBundle; None where there is no APIService."""
    if api_service is None:
        return None
    given: object = meta.part(api_service, "spec").get("caBundle") or ""
    try:
        return base64.b64decode(given, validate=True) if isinstance(given, str) else b""
    except binascii.Error:
        return b""
