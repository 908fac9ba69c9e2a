"""The certificate that replicas serve with, and its authority, in a Secret of theirs; what is to be done about them.

The Secret is of the type for TLS: `tls.crt` and `tls.key` are the pair, `ca.crt` the authorities that are to be
believed, the newest last, and `ca.key` the newest one's key. The APIService's caBundle is to be `ca.crt`. `decided`
says the next step; every replica takes it, with the version that it has seen, so that of many one goes through.

No step leaves anybody in the cold: an authority is believed (caBundle) before anything that it has signed is served,
and stays believed until it ends, which is after all that it has signed. Pure but for the clock and chance of the keys.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from petset.base import certificates, pki
from petset.objects import meta
from petset.objects.meta import Object

DAY_SECONDS = 86400.0
PAIR_SECONDS = 90 * DAY_SECONDS
RENEW_SECONDS = 30 * DAY_SECONDS  # So long before its end a pair is made anew.
AUTHORITY_SECONDS = 3650 * DAY_SECONDS
SUCCEED_SECONDS = 2 * PAIR_SECONDS  # So long before its end an authority has a successor.
AUTHORITY, SERVER = "petset-serving-ca", "petset-serving"

SECRET_BYTES_MAX = 64 << 10  # Of each of its parts: whoever wrote more, it is none of petset's.


@dataclass(frozen=True, slots=True)
class Kept:
    """What the Secret holds."""

    pair: pki.Pair
    authorities: tuple[bytes, ...]  # Certificates, the newest last.
    authority_key: bytes

    @property
    def bundle(self) -> bytes:
        return b"".join(self.authorities)

    @property
    def newest(self) -> pki.Pair:
        return pki.Pair(self.authorities[-1], self.authority_key)


@dataclass(frozen=True, slots=True)
class Write:
    """The Secret is to hold this; `is_new` where what it holds, if it is there, is of no use."""

    kept: Kept
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class Tell:
    """The APIService is to believe the authorities."""

    bundle: bytes


@dataclass(frozen=True, slots=True)
class Wait:
    """There is nothing to do until this time (seconds since 1970), unless somebody changes something."""

    until: float


Step = Write | Tell | Wait


def read(secret: Object | None) -> Kept | None:
    """None where there is none that could be used."""
    if secret is None:
        return None
    data = meta.part(secret, "data")
    try:
        crt, key, ca, ca_key = (_decoded(data.get(name)) for name in ("tls.crt", "tls.key", "ca.crt", "ca.key"))
        authorities, wrong = certificates.trust_anchors(ca)
        if wrong or not authorities:
            return None
        kept = Kept(pki.Pair(crt, key), tuple(authorities), ca_key)
        served = certificates.read_served(kept.pair, kept.authorities)
        _, has_key = certificates.read_authority(kept.newest)
    except ValueError:
        return None
    return kept if served.has_key and has_key else None


def _decoded(value: object) -> bytes:
    """Raises ValueError."""
    if not isinstance(value, str) or len(value) > SECRET_BYTES_MAX:
        raise ValueError("it is missing, or too long")
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def data_of(kept: Kept) -> dict[str, str]:
    """The Secret's."""
    parts = {
        "tls.crt": kept.pair.certificate,
        "tls.key": kept.pair.key,
        "ca.crt": kept.bundle,
        "ca.key": kept.authority_key,
    }
    return {name: base64.b64encode(part).decode() for name, part in parts.items()}


def decided(kept: Kept | None, believed: bytes | None, hosts: Sequence[str], now: float) -> Step:
    """The next step; `believed` is the APIService's caBundle, None where there is no APIService."""
    if kept is None:
        return Write(begun(hosts), is_new=True)
    ends = [certificates.read_authority(pki.Pair(one, kept.authority_key))[0] for one in kept.authorities]
    if ends[-1] <= now:
        return Write(begun(hosts), is_new=True)
    if ends[-1] - now < SUCCEED_SECONDS:
        following = pki.new_authority(AUTHORITY, AUTHORITY_SECONDS)
        return Write(Kept(kept.pair, (*kept.authorities, following.certificate), following.key))
    served = certificates.read_served(kept.pair, kept.authorities)
    staying = tuple(one for one, end in zip(kept.authorities, ends, strict=True) if end > now)
    if len(staying) < len(ends):
        return Write(Kept(kept.pair, staying, kept.authority_key))
    if believed is not None and believed != kept.bundle:
        return Tell(kept.bundle)
    is_current = served.signed_by == len(ends) - 1 and sorted(served.hosts) == sorted(hosts)
    if not is_current or served.not_after - now < RENEW_SECONDS:
        return Write(Kept(_pair(kept.newest, hosts), kept.authorities, kept.authority_key))
    return Wait(min(served.not_after - RENEW_SECONDS, ends[-1] - SUCCEED_SECONDS, *ends))


def begun(hosts: Sequence[str]) -> Kept:
    """A new authority, and a pair of it."""
    authority = pki.new_authority(AUTHORITY, AUTHORITY_SECONDS)
    return Kept(_pair(authority, hosts), (authority.certificate,), authority.key)


def _pair(authority: pki.Pair, hosts: Sequence[str]) -> pki.Pair:
    return pki.new_server(authority, SERVER, hosts, PAIR_SECONDS)


def hosts_of(service: str, namespace: str, domain: str = "cluster.local") -> list[str]:
    """The names by which a cluster reaches a Service; the API server asks for the one that ends with svc."""
    within = f"{service}.{namespace}"
    return [service, within, f"{within}.svc", f"{within}.svc.{domain}", "localhost"]
