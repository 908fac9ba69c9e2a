"""Service-account tokens: signed JSON Web Tokens that name an account and, when bound, the pod that holds them.

`issue` signs claims in upstream's form (`kubernetes.io` with namespace, serviceaccount, pod); `verify` checks the
signature, the times, the issuer and the audience and gives the claims back. Whether the account and the pod still
exist with those uids is the caller's question, since only live objects can answer it.
RFC 7519 with HS256: the API server is the only one that issues and the only one that verifies, so one secret key
that never leaves the state directory is enough, and verifying costs microseconds.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from petset.objects import encoding
from petset.server import users

DEFAULT_ISSUER = "https://kubernetes.default.svc.cluster.local"
TOKEN_BYTES_MAX = 8192
TOKEN_SECONDS_MIN = 600
TOKEN_SECONDS_DEFAULT = 3600
TOKEN_SECONDS_MAX = 365 * 24 * 3600
CLOCK_SKEW_SECONDS_MAX = 10
KEY_BYTES_MIN = 32


class InvalidToken(Exception):
    """Not a token of this instance, or out of its time; the message says which, for the log."""


@dataclass(frozen=True, slots=True)
class Claims:
    namespace: str
    account_name: str
    account_uid: str
    pod_name: str
    pod_uid: str
    node_name: str
    node_uid: str
    identifier: str
    audiences: tuple[str, ...]
    expires: float

    @property
    def subject(self) -> str:
        return users.of_service_account(self.namespace, self.account_name)


class Tokens:
    def __init__(self, key: bytes, issuer: str = DEFAULT_ISSUER):
        if len(key) < KEY_BYTES_MIN:
            raise ValueError(f"cannot sign tokens: the key has {len(key)} bytes; give it {KEY_BYTES_MIN} or more")
        self.issuer = issuer
        self._key = key

    def issue(self, claims: Claims, issued: float) -> str:
        bound: dict[str, Any] = {
            "namespace": claims.namespace,
            "serviceaccount": {"name": claims.account_name, "uid": claims.account_uid},
        }
        if claims.pod_name:
            bound["pod"] = {"name": claims.pod_name, "uid": claims.pod_uid}
        if claims.node_name:
            bound["node"] = {"name": claims.node_name, "uid": claims.node_uid}
        payload = {
            "aud": list(claims.audiences),
            "exp": int(claims.expires),
            "iat": int(issued),
            "iss": self.issuer,
            "jti": claims.identifier,
            "kubernetes.io": bound,
            "nbf": int(issued),
            "sub": claims.subject,
        }
        signed = f"{_HEADER}.{_encoded(encoding.dumps(payload))}"
        return f"{signed}.{_encoded(self._signature(signed))}"

    def verify(self, token: str, audiences: Sequence[str], now: float) -> Claims:
        """The claims of a good token for one of the audiences. Raises InvalidToken."""
        if len(token) > TOKEN_BYTES_MAX:
            raise InvalidToken("it is too long")
        signed, _, signature = token.rpartition(".")
        if not hmac.compare_digest(_encoded(self._signature(signed)).encode(), signature.encode("utf-8", "replace")):
            raise InvalidToken("its signature is not of this instance")
        header, _, payload = signed.partition(".")
        if header != _HEADER:
            raise InvalidToken("its header is not of this instance")
        claims = self._claims(encoding.loads(_decoded(payload)), now)
        if not any(audience in claims.audiences for audience in audiences):
            raise InvalidToken(f"it is for {', '.join(claims.audiences)}")
        return claims

    def _claims(self, payload: Mapping[str, Any], now: float) -> Claims:
        if payload["iss"] != self.issuer:
            raise InvalidToken("another issuer made it")
        if now >= payload["exp"]:
            raise InvalidToken("it has expired")
        if now < payload["nbf"] - CLOCK_SKEW_SECONDS_MAX:
            raise InvalidToken("it is not valid yet")
        bound = payload["kubernetes.io"]
        pod, node = bound.get("pod", {}), bound.get("node", {})
        return Claims(
            namespace=bound["namespace"],
            account_name=bound["serviceaccount"]["name"],
            account_uid=bound["serviceaccount"]["uid"],
            pod_name=pod.get("name", ""),
            pod_uid=pod.get("uid", ""),
            node_name=node.get("name", ""),
            node_uid=node.get("uid", ""),
            identifier=payload["jti"],
            audiences=tuple(payload["aud"]),
            expires=float(payload["exp"]),
        )

    def _signature(self, signed: str) -> bytes:
        return hmac.digest(self._key, signed.encode("utf-8", "replace"), hashlib.sha256)


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise InvalidToken("it is not base64") from None


_HEADER = _encoded(b'{"alg":"HS256","typ":"JWT"}')
