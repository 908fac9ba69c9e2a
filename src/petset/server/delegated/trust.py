"""By what an extension server knows who asks: the cluster's ConfigMap extension-apiserver-authentication, read. Pure.

It names the authority of clients and that of front proxies, the names that front proxies' certificates have, and the
headers in which they tell for whom they ask. `Certificates` judges by them a certificate that TLS has found good. One
that both authorities have signed is a front proxy's, as upstream asks about that first. Only what an authority of the
ConfigMap has signed itself is known: TLS tells nothing of those that are between.
Follows: "Configure the Aggregation Layer" of the Kubernetes documentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from petset.base.certificates import Authorities, read_certificate
from petset.objects import encoding, meta
from petset.objects.meta import Object
from petset.server.access import front_proxy
from petset.wire import http

NAMESPACE, NAME = "kube-system", "extension-apiserver-authentication"
AUTHORITIES_MAX = 100  # Of each sort.
KEPT_MAX = 4096  # Certificates, whose judgement is known.


class CannotTrust(Exception):
    """What is wrong with the ConfigMap, in a line."""


@dataclass(frozen=True, slots=True)
class Trust:
    clients_pem: str = ""  # Of the authorities of clients, and of front proxies.
    proxies_pem: str = ""
    allowed: tuple[str, ...] = ()  # Common names of front proxies; none: any.
    told: front_proxy.Told = front_proxy.OWN

    @property
    def authorities_pem(self) -> str:
        """Of both sorts; "" where the cluster knows nobody by a certificate."""
        return "\n".join(filter(None, (self.clients_pem, self.proxies_pem)))


def read(config_map: Object | None) -> Trust:
    """Raises CannotTrust."""
    if config_map is None:
        raise CannotTrust(f"ConfigMap {NAMESPACE}/{NAME} is missing")
    data = meta.part(config_map, "data")
    proxies = _authorities(data, "requestheader-client-ca-file")
    told = front_proxy.Told(
        _headers(data, "requestheader-username-headers"),
        _headers(data, "requestheader-uid-headers"),
        _headers(data, "requestheader-group-headers"),
        _headers(data, "requestheader-extra-headers-prefix"),
    )
    if proxies and not told.users:
        raise CannotTrust(f"ConfigMap {NAMESPACE}/{NAME} names no requestheader-username-headers")
    clients = _authorities(data, "client-ca-file")
    return Trust(clients, proxies, _listed(data, "requestheader-allowed-names"), told)


def _headers(data: Object, key: str) -> tuple[str, ...]:
    return tuple(name.lower() for name in _listed(data, key))


def _listed(data: Object, key: str) -> tuple[str, ...]:
    text: Any = data.get(key) or "[]"
    try:
        found: Any = encoding.loads(text.encode()) if isinstance(text, str) else None
    except ValueError:
        found = None
    if found is not None and not meta.is_texts(found):
        found = None
    if found is None:
        raise CannotTrust(f"{key} of ConfigMap {NAMESPACE}/{NAME} is no list of texts in JSON")
    return tuple(found)


def _authorities(data: Object, key: str) -> str:
    """The certificates of authorities in a bundle. Raises CannotTrust where it is none."""
    text: Any = data.get(key) or ""
    found = Authorities(text if isinstance(text, str) else "")
    if len(found) > AUTHORITIES_MAX or (text and not found):
        why = f"is no bundle of 1 to {AUTHORITIES_MAX} authorities' certificates"
        raise CannotTrust(f"{key} of ConfigMap {NAMESPACE}/{NAME} {why}")
    return found.pem


@dataclass(frozen=True, slots=True)
class Shown:
    """Whom a certificate names: a front proxy by its common name, or a user; neither: nobody that is known here."""

    front_proxy: str | None = None
    user: http.User | None = None
    not_after: float = 0.0  # Seconds since 1970.


class Certificates:
    """Judges certificates by one `Trust`; each once."""

    def __init__(self, trust: Trust):
        self.trust = trust
        self._clients, self._proxies = Authorities(trust.clients_pem), Authorities(trust.proxies_pem)
        self._known: dict[bytes, Shown] = {}

    def shown(self, der: bytes) -> Shown:
        found = self._known.get(der)
        if found is None:
            if len(self._known) >= KEPT_MAX:
                self._known.clear()
            found = self._known[der] = self._judged(der)
        return found

    def _judged(self, der: bytes) -> Shown:
        try:
            certificate = read_certificate(der)
        except ValueError:
            return Shown()
        name, ends = certificate.common_name, certificate.not_after
        if self._proxies.have_signed(certificate):
            return Shown(front_proxy=name, not_after=ends)
        if name and self._clients.have_signed(certificate):
            return Shown(user=http.User(name, certificate.organizations), not_after=ends)
        return Shown(not_after=ends)
