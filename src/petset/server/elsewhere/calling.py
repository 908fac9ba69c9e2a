"""A question to a webhook and its answer: where it is, how it is told from others, and what it may take.

A webhook is at a URL, or behind a Service: then one of the Service's ready addresses is dialled, and the certificate
must be of NAME.NAMESPACE.svc. What it presents must be of its caBundle, or of what this machine trusts. Each call has
a connection of its own, at most CALLS_AT_ONCE_MAX a webhook, its answer has a limit, and all of it, waiting for its
turn too, is over within the webhook's seconds. Whatever goes wrong is a NoAnswer.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import ssl
import weakref
from dataclasses import dataclass
from urllib.parse import urlsplit

from petset.base import pki
from petset.kinds.client_config import SERVICE_PORT_DEFAULT
from petset.net import dialer
from petset.objects import meta
from petset.objects.meta import Object
from petset.server.elsewhere import service_targets
from petset.server.elsewhere.service_targets import Targets
from petset.wire import http

CALLS_AT_ONCE_MAX = 64  # Of a webhook.
ANSWER_BYTES_MAX = 3 << 20
AUTHORITIES_KEPT_MAX = 64
WHY_CHARACTERS_MAX = 500

_HEADERS: http.Headers = (
    ("content-type", "application/json"),
    ("accept", "application/json"),
    ("user-agent", "petset"),
    ("connection", "close"),
)


class NoAnswer(Exception):
    """Why a webhook gave none."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a webhook is asked: `address` where the URL does not say it."""

    base_url: str
    path: str
    address: tuple[str, int] | None = None


class Caller:
    """Of webhooks that are told apart by the objects that stand for them here."""

    def __init__(self, targets: Targets):
        self._targets = targets
        self._turns: weakref.WeakKeyDictionary[object, asyncio.Semaphore] = weakref.WeakKeyDictionary()

    async def call(
        self, webhook: object, client: Object, seconds: int, body: bytes, answer_bytes_max: int = ANSWER_BYTES_MAX
    ) -> bytes:
        """The answer's body; `client` is a clientConfig. Raises NoAnswer."""
        turns = self._turns.setdefault(webhook, asyncio.Semaphore(CALLS_AT_ONCE_MAX))
        place = await place_of(self._targets, client)
        target = f"{place.path}?timeout={seconds}s"
        request = http.Request("POST", target, _HEADERS, body)
        try:
            async with asyncio.timeout(seconds), turns:
                return await _exchange(place, client, float(seconds), request, answer_bytes_max)
        except TimeoutError:
            why = "context deadline exceeded"
        except (OSError, ValueError) as error:
            why = str(error)[:WHY_CHARACTERS_MAX]
        raise NoAnswer(f'Post "{place.base_url}{target}": {why}')


async def _exchange(
    place: Place, client: Object, seconds: float, request: http.Request, answer_bytes_max: int
) -> bytes:
    """Raises NoAnswer, OSError, ValueError."""
    async with dialer.Dialer(
        place.base_url,
        authority(client.get("caBundle") or ""),
        connect_seconds_max=seconds,
        answer_seconds_max=seconds,
        whole_bytes_max=answer_bytes_max,
        address=place.address,
    ) as dialing:
        answer = await dialing.send(request)
        return _good(answer.code, await whole(answer, answer_bytes_max))


async def whole(answer: http.Response, bytes_max: int) -> bytes:
    """The body of an answer. Raises OSError for more than that."""
    if isinstance(answer.body, bytes):
        return answer.body
    parts: list[bytes] = []
    size = 0
    async for part in answer.body:
        size += len(part)
        if size > bytes_max:
            break
        parts.append(part)
    if size > bytes_max:
        raise OSError(f"the answer is longer than {bytes_max} bytes")
    return b"".join(parts)


def _good(code: int, body: bytes) -> bytes:
    """Raises NoAnswer for an answer that is no success."""
    if 200 <= code <= 206:
        return body
    if code == 404:
        raise NoAnswer("the server could not find the requested resource")
    said = body[:WHY_CHARACTERS_MAX].decode(errors="replace").strip() or "unknown"
    if code >= 500:
        raise NoAnswer(f'an error on the server ("{said}") has prevented the request from succeeding')
    raise NoAnswer(f'the server rejected our request for an unknown reason ({code}: "{said}")')


@functools.lru_cache(AUTHORITIES_KEPT_MAX)
def authority(bundle: str) -> ssl.SSLContext:
    """Whom to trust: those of a caBundle (base64 of PEM), without one whom this machine trusts. Raises OSError."""
    if not bundle:
        return ssl.create_default_context()
    try:
        return pki.client_context(base64.b64decode(bundle).decode())
    except (ValueError, ssl.SSLError) as error:
        raise OSError(f"unable to load root certificates: {error}") from None


# -- where it is --------------------------------------------------------------------------------------------------


async def place_of(targets: Targets, client: Object) -> Place:
    """Of a clientConfig, as the cluster is now. Raises NoAnswer."""
    service = client.get("service")
    if service is None:
        parts = urlsplit(str(client["url"]))
        return Place(f"https://{parts.netloc}", parts.path or "/")
    namespace, name, port = service["namespace"], service["name"], service.get("port", SERVICE_PORT_DEFAULT)
    path = "/" + (service.get("path") or "").removeprefix("/")
    url = f"https://{name}.{namespace}.svc:{port}"
    return Place(url, path, await _address(targets, namespace, name, port))


async def _address(targets: Targets, namespace: str, name: str, port: int) -> tuple[str, int]:
    """One of the addresses that are ready. Raises NoAnswer."""
    service = targets.service(namespace, name)
    if service is None:
        raise NoAnswer(f'service "{name}" not found')
    spec = meta.part(service, "spec")
    if spec.get("type") == "ExternalName":
        return spec["externalName"], port
    try:
        named = service_targets.port_name(service, port)
        return service_targets.chosen(service, await targets.slices(namespace, name), named)
    except service_targets.NoTarget as error:
        raise NoAnswer(str(error)) from None
