"""Service-account tokens: signed JSON Web Tokens that name an account and, when bound, the object that they die with.

`issue` signs claims in upstream's form (`kubernetes.io` with namespace, serviceaccount, and pod, secret or node);
`verify` checks the signature, the times, the issuer and the audience and gives the claims back. Whether the objects
still exist with those uids is the caller's question, since only live objects can answer it.
RFC 7519 with ES256, so that others can verify a token too: `discovery` and `key_set` tell them how (OpenID Connect
Discovery 1.0, RFC 7517). A token of a state directory from before is HS256 and stays good until it expires.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from petset.base import pki, tasks
from petset.objects import encoding
from petset.objects.meta import Object
from petset.server.access import users

ALGORITHM, FORMER_ALGORITHM = "ES256", "HS256"
DEFAULT_ISSUER = "https://kubernetes.default.svc.cluster.local"
TOKEN_BYTES_MAX = 8192
TOKEN_SECONDS_MIN = 600
TOKEN_SECONDS_DEFAULT = 3600
TOKEN_SECONDS_MAX = 365 * 24 * 3600  # Who asks for more gets this, up to what is no duration any more.
TOKEN_SECONDS_ASKED_MAX = 2**32
CLOCK_SKEW_SECONDS_MAX = 10
VERIFIED_TOKENS_MAX = 2_000
KEY_SET_PATH = "/openid/v1/jwks"
DISCOVERY_PATH = "/.well-known/openid-configuration"


class InvalidToken(Exception):
    """Not a token of this instance, or out of its time; the message says which, for the log."""


@dataclass(frozen=True, slots=True)
class Bound:
    """An object a token names by name and uid."""

    name: str = ""
    uid: str = ""

    def __bool__(self) -> bool:
        return bool(self.name)


NOTHING = Bound()


@dataclass(frozen=True, slots=True)
class Claims:
    namespace: str
    account: Bound
    identifier: str
    audiences: tuple[str, ...]
    expires: float
    pod: Bound = NOTHING
    secret: Bound = NOTHING
    node: Bound = NOTHING  # The one it is bound to, or that of the pod it is bound to.

    @property
    def subject(self) -> str:
        return users.of_service_account(self.namespace, self.account.name)


class Tokens:
    def __init__(self, key: pki.SigningKey, issuer: str = DEFAULT_ISSUER, former_secret: bytes = b""):
        self.issuer = issuer
        self._key, self._former_secret = key, former_secret
        self.is_away = True  # The key is still to be loaded, which only the first token is worth.
        self._verified: dict[bytes, None] = {}  # Digests of signed texts whose signature was found good.

    async def ready(self) -> None:
        """To be awaited before tokens are issued or verified, so that the loop does not wait for the key."""
        if self.is_away:
            await tasks.in_thread(self._key.load)
            self.is_away = False

    def issue(self, claims: Claims, issued: float) -> str:
        objects = {"serviceaccount": claims.account, "pod": claims.pod, "secret": claims.secret, "node": claims.node}
        payload = {
            "aud": list(claims.audiences),
            "exp": int(claims.expires),
            "iat": int(issued),
            "iss": self.issuer,
            "jti": claims.identifier,
            "kubernetes.io": {
                "namespace": claims.namespace,
                **{name: {"name": bound.name, "uid": bound.uid} for name, bound in objects.items() if bound},
            },
            "nbf": int(issued),
            "sub": claims.subject,
        }
        header = {"alg": ALGORITHM, "kid": self._key_identifier, "typ": "JWT"}
        signed = f"{_encoded(encoding.dumps(header))}.{_encoded(encoding.dumps(payload))}"
        return f"{signed}.{_encoded(self._key.sign(signed.encode()))}"

    def verify(self, token: str, audiences: Sequence[str], now: float) -> Claims:
        """The claims of a good token for one of the audiences. Raises InvalidToken."""
        if len(token) > TOKEN_BYTES_MAX or not token.isascii():
            raise InvalidToken("it is too long, or no token")
        self._check_signature(token)
        _, payload, _ = token.split(".")
        claims = self._claims(encoding.loads(_decoded(payload)), now)
        if not any(audience in claims.audiences for audience in audiences):
            raise InvalidToken(f"it is for {', '.join(claims.audiences)}")
        return claims

    def _check_signature(self, token: str) -> None:
        """Verifying costs more than all else of a small request, and clients send the same token again and again."""
        digest = hashlib.sha256(token.encode()).digest()
        if digest in self._verified:
            return
        if token.count(".") != 2:
            raise InvalidToken("it has no three parts")
        signed, _, signature = token.rpartition(".")
        algorithm = _algorithm(signed.partition(".")[0])
        if algorithm == ALGORITHM:
            good = self._key.is_signature(_decoded(signature), signed.encode())
        elif algorithm == FORMER_ALGORITHM and self._former_secret:
            good = hmac.compare_digest(
                hmac.digest(self._former_secret, signed.encode(), hashlib.sha256), _decoded(signature)
            )
        else:
            raise InvalidToken("its header is not of this instance")
        if not good:
            raise InvalidToken("its signature is not of this instance")
        if len(self._verified) >= VERIFIED_TOKENS_MAX:
            self._verified.clear()
        self._verified[digest] = None

    @property
    def _key_identifier(self) -> str:
        return _encoded(self._key.identifier)

    def discovery(self) -> Object:
        """How others find the keys that verify these tokens."""
        return {
            "issuer": self.issuer,
            "jwks_uri": f"{self.issuer}{KEY_SET_PATH}",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
        }

    def key_set(self) -> Object:
        x, y = self._key.coordinates
        key = {"use": "sig", "kty": "EC", "kid": self._key_identifier, "crv": "P-256", "alg": ALGORITHM}
        return {"keys": [{**key, "x": _encoded(x), "y": _encoded(y)}]}

    def _claims(self, payload: Mapping[str, Any], now: float) -> Claims:
        if payload["iss"] != self.issuer:
            raise InvalidToken("another issuer made it")
        if now >= payload["exp"]:
            raise InvalidToken("it has expired")
        if now < payload["nbf"] - CLOCK_SKEW_SECONDS_MAX:
            raise InvalidToken("it is not valid yet")
        bound = payload["kubernetes.io"]
        return Claims(
            namespace=bound["namespace"],
            account=_bound(bound["serviceaccount"]),
            identifier=payload["jti"],
            audiences=tuple(payload["aud"]),
            expires=float(payload["exp"]),
            pod=_bound(bound.get("pod")),
            secret=_bound(bound.get("secret")),
            node=_bound(bound.get("node")),
        )


def _algorithm(header: str) -> str:
    try:
        read = encoding.loads(_decoded(header))
        return str(read["alg"])
    except (ValueError, KeyError, TypeError):
        raise InvalidToken("its header is none") from None


def _bound(given: Mapping[str, str] | None) -> Bound:
    return Bound(given["name"], given["uid"]) if given else NOTHING


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise InvalidToken("it is not base64") from None
