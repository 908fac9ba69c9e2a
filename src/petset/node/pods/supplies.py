"""What one pod needs from the API before its containers start: ConfigMaps, Secrets, claims, tokens; and its volumes.

`prepare` fetches all of it and has the volumes made; called again it brings payload volumes up to date, which the
worker does when something they show has changed or a token is due. `facts` is what a container's environment asks.

Invariants: a token is asked for again when TOKEN_REFRESH_SHARE of its time is over, and not before; what the volumes
refer to is watched until `release`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from petset.base import tasks
from petset.client.client import Client
from petset.client.informer import Cache
from petset.kinds.persistent_volume import PERSISTENTVOLUMES
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pod_spec import claims as pod_claims
from petset.kinds.pod_spec import sources
from petset.kinds.pod_spec.sources import Reference, SourceKind
from petset.kinds.reviews import TOKENREVIEWS
from petset.kinds.service_account import SERVICEACCOUNTS
from petset.node.environment import Credential, Facts, Source
from petset.node.images import registry_logins
from petset.node.images.registry_logins import NotALogin, RegistryLogin
from petset.node.pods import pod_certificates, references
from petset.node.runtime import Image
from petset.node.volumes import payloads, volumes
from petset.node.volumes.claims import Claimed
from petset.node.volumes.payloads import TokenWanted
from petset.objects import meta
from petset.objects.meta import Object

TOKEN_REFRESH_SHARE = 0.8
TOKEN_RETRY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Sources:
    """Where supplies come from; shared by all pods of a node."""

    client: Client
    references: references.References
    volumes: volumes.Volumes
    services: Cache
    api_service: Object
    host_ip: str
    allocatable: Mapping[str, str]


class Supplies:
    def __init__(self, sources: Sources, uid: str):
        self._sources, self._uid = sources, uid
        self._tokens: dict[TokenWanted, tuple[str, float]] = {}  # Token, and when to ask for the next.
        self._certificates = pod_certificates.PodCertificates(sources.client, sources.references, uid)
        self._images: Mapping[str, Image] = {}
        self.mounted: Mapping[str, volumes.Mounted] | None = None  # None until all volumes are there.

    async def prepare(self, pod: Object, images: Mapping[str, Image] | None = None) -> None:
        """Make the volumes, or bring them up to date; `images` are those that volumes are, by volume.

        Raises VolumeError, ConfigError, ApiError, OSError.
        """
        if images is not None:
            self._images = images
        wanted = pod["spec"].get("volumes") or ()
        if not wanted:
            self.mounted = {}
            return
        refers = sources.of_volumes(wanted)
        self._sources.references.hold(self._uid, meta.namespace(pod), refers)
        facts = await self.facts(pod, refers)
        if payloads.asks_for_bundles(wanted):
            facts = replace(facts, bundles=await self._sources.references.bundles(self._uid))
        claims: dict[str, Claimed] = {}
        for name in dict.fromkeys(pod_claims.names(pod)):
            bound = await self._claimed(pod, name)
            if bound is not None:
                claims[name] = bound
        on_disk = self._sources.volumes.on_disk
        tokens = {one: await self._token(pod, one) if on_disk else "" for one in payloads.tokens(wanted)}
        if certificates := payloads.certificates_wanted(wanted):
            ask = self._certificates.credential
            credentials = {one: await ask(pod, one) if on_disk else Credential() for one in certificates}
            facts = replace(facts, credentials=credentials)
        self.mounted = await self._sources.volumes.prepare(pod, facts, claims, tokens, self._images)

    def due_at(self) -> float | None:
        """When the next token or certificate must be asked for."""
        due = [at for _, at in self._tokens.values()]
        due += filter(None, [self._certificates.due_at()])
        return min(due, default=None)

    def postpone(self) -> None:
        """Refreshing failed: ask for what is due a little later."""
        later = tasks.now() + TOKEN_RETRY_SECONDS
        self._tokens = {key: (token, max(at, later)) for key, (token, at) in self._tokens.items()}
        self._certificates.postpone(later)

    def release(self) -> None:
        self._sources.references.release(self._uid)

    async def usage(self, pod: Object) -> Mapping[str, int]:
        """Bytes of each of its emptyDirs."""
        return await self._sources.volumes.usage(pod)

    async def remove(self) -> None:
        await self._sources.volumes.remove(self._uid)
        self.mounted = None
        self.release()

    async def facts(self, pod: Object, refers: Sequence[Reference], ip: str = "") -> Facts:
        namespace = meta.namespace(pod)
        found: dict[tuple[SourceKind, str], Source] = {}
        for reference in refers:
            one = await self._sources.references.get(namespace, reference)
            if one is not None:
                found[(reference.kind, reference.name)] = one
        services = [self._sources.api_service]
        services += [one for one in self._sources.services.list(namespace) if meta.name(one) != "kubernetes"]
        return Facts(pod, ip, self._sources.host_ip, self._sources.allocatable, services, found)

    async def env_files(self, container: Object) -> dict[tuple[str, str], str]:
        """The files of variables that a container refers to, by volume and path, where they are. Raises OSError."""
        refs = [meta.part(one, "valueFrom", "fileKeyRef") for one in meta.parts(container, "env")]
        wanted = dict.fromkeys((ref["volumeName"], ref["path"]) for ref in refs if ref)
        found: dict[tuple[str, str], str] = {}
        for volume, path in wanted:
            mounted = (self.mounted or {}).get(volume)
            text = await tasks.in_thread(volumes.text_beneath, mounted.path, path) if mounted is not None else None
            if text is not None:
                found[volume, path] = text
        return found

    async def registry_logins(self, pod: Object) -> tuple[list[RegistryLogin], list[str]]:
        """The logins of the pod's pull secrets, and what is wrong with those that hold none."""
        found: list[RegistryLogin] = []
        troubles: list[str] = []
        for reference in sources.of_pull_secrets(pod):
            secret = await self._sources.references.get(meta.namespace(pod), reference)
            try:
                if secret is None:
                    raise NotALogin(f"there is no secret {reference.name}")
                found.append(registry_logins.from_secret(secret))
            except NotALogin as error:
                troubles.append(f"cannot use a pull secret: {error}; an image that needs it will not be pulled")
        return found, troubles

    async def _claimed(self, pod: Object, name: str) -> Claimed | None:
        client = self._sources.client
        claim = await client.get(PERSISTENTVOLUMECLAIMS, name, meta.namespace(pod))
        volume = meta.get(claim, "spec", "volumeName")
        if not volume:
            return None
        return Claimed(claim, await client.get(PERSISTENTVOLUMES, volume))

    async def _token(self, pod: Object, wanted: TokenWanted) -> str:
        known = self._tokens.get(wanted)
        if known is not None and known[1] > tasks.now():
            return known[0]
        request = token_request(pod, wanted)
        account = pod["spec"].get("serviceAccountName") or "default"
        answer = await self._sources.client.create(request, SERVICEACCOUNTS, "token", account)
        token, now = answer["status"]["token"], tasks.now()
        expires = meta.get(answer, "status", "expirationTimestamp")
        seconds = tasks.parse_rfc3339(expires) - now if expires else wanted.seconds
        self._tokens[wanted] = (token, now + max(1.0, seconds * TOKEN_REFRESH_SHARE))
        return token


def token_request(pod: Object, wanted: TokenWanted) -> Object:
    """A token for the pod's service account that dies with the pod."""
    return {
        "apiVersion": TOKENREVIEWS.api_version,
        "kind": "TokenRequest",
        "metadata": {"namespace": meta.namespace(pod)},
        "spec": {
            "audiences": [wanted.audience] if wanted.audience else [],
            "expirationSeconds": wanted.seconds,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": meta.name(pod), "uid": meta.uid(pod)},
        },
    }
