"""The certificates of one pod: a key made here, a PodCertificateRequest, and what its signer has answered.

`credential` gives what there is for a projection, asking a signer for it the first time and again when the certificate
is to be refreshed; until one is there it raises ConfigError, and a change of the request has the pod looked at again.
A key never leaves the node, and is forgotten with the pod or with petset: then another is made.
Follows: KEP-4317.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from petset.base import certificates, tasks
from petset.client.client import Client
from petset.kinds import pod_certificate_request as requests
from petset.kinds.node import NODES
from petset.kinds.pod_certificate_request import PODCERTIFICATEREQUESTS
from petset.kinds.service_account import SERVICEACCOUNTS
from petset.node.environment import CertificateWanted, ConfigError, Credential
from petset.node.pods import references
from petset.objects import meta
from petset.objects.meta import Object

RETRY_SECONDS = 60.0  # After a signer refused to renew.


@dataclass(slots=True)
class _Held:
    credential: Credential | None = None
    refresh_at: float = 0.0
    request: str = ""  # The name of one that waits for its signer,
    key: str = ""  # and the key it is for, in PEM.


class PodCertificates:
    def __init__(self, client: Client, watched: references.References, uid: str):
        self._client, self._watched, self._uid = client, watched, uid
        self._held: dict[CertificateWanted, _Held] = {}

    async def credential(self, pod: Object, wanted: CertificateWanted) -> Credential:
        """Raises ConfigError while there is none, ApiError, OSError."""
        held = self._held.setdefault(wanted, _Held())
        if not held.request and held.refresh_at <= tasks.now():
            await self._ask(pod, wanted, held)
        if held.request:
            await self._look(pod, held)
        if held.credential is None:
            raise ConfigError(f"waiting for signer {wanted.signer} to answer PodCertificateRequest {held.request}")
        return held.credential

    def due_at(self) -> float | None:
        """When the next certificate is to be refreshed."""
        due = [held.refresh_at for held in self._held.values() if held.credential is not None and not held.request]
        return min(due, default=None)

    def postpone(self, until: float) -> None:
        for held in self._held.values():
            held.refresh_at = max(held.refresh_at, until)

    async def _ask(self, pod: Object, wanted: CertificateWanted, held: _Held) -> None:
        key, request = await tasks.in_thread(certificates.key_and_empty_request, wanted.key_type)
        spec, namespace = pod["spec"], meta.namespace(pod)
        account = spec.get("serviceAccountName") or "default"
        told: Object = {
            "apiVersion": PODCERTIFICATEREQUESTS.api_version,
            "kind": PODCERTIFICATEREQUESTS.kind,
            "metadata": {
                "generateName": f"req-{meta.name(pod)[:40]}-",
                "namespace": namespace,
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Pod", "name": meta.name(pod), "uid": meta.uid(pod)},
                ],
            },
            "spec": {
                "signerName": wanted.signer,
                "podName": meta.name(pod),
                "podUID": meta.uid(pod),
                "serviceAccountName": account,
                "serviceAccountUID": meta.uid(await self._client.get(SERVICEACCOUNTS, account, namespace)),
                "nodeName": spec["nodeName"],
                "nodeUID": meta.uid(await self._client.get(NODES, spec["nodeName"])),
                "maxExpirationSeconds": wanted.seconds,
                "stubPKCS10Request": base64.b64encode(request).decode(),
                **({"unverifiedUserAnnotations": dict(wanted.annotations)} if wanted.annotations else {}),
            },
        }
        made = await self._client.create(told, PODCERTIFICATEREQUESTS)
        held.request, held.key = meta.name(made), key

    async def _look(self, pod: Object, held: _Held) -> None:
        found = await self._watched.request(self._uid, meta.namespace(pod), held.request)
        end = requests.ended(found) if found is not None else "gone"
        if not end:
            return
        self._watched.leave_request(self._uid, meta.namespace(pod), held.request)
        name, held.request = held.request, ""
        if end == "Issued":
            assert found is not None
            status = found["status"]
            held.credential = Credential(held.key, status["certificateChain"])
            held.refresh_at = tasks.parse_rfc3339(status["beginRefreshAt"])
            return
        held.refresh_at = tasks.now() + RETRY_SECONDS
        if held.credential is None:
            why = (meta.condition(found or {}, end) or {}).get("message") or ""
            held.refresh_at = 0.0
            raise ConfigError(f"PodCertificateRequest {name} is {end.lower()}{f': {why[:200]}' if why else ''}")
