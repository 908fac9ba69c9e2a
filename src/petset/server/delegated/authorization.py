"""Whether a user may, of whom an extension server asks the cluster: SubjectAccessReviews, each kept for some seconds.

Two need not be asked about: system:masters may everything, and everybody may look at /healthz, /livez and /readyz. A
refusal is told as the cluster's own, with the reason that it gives. Where no answer comes the request is 503.
Follows: upstream's delegating authorizer for extension servers, with its times and its limit of what is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from petset.base import telemetry
from petset.client.client import Client
from petset.kinds.pet_set import PETSETS
from petset.kinds.reviews import SUBJECTACCESSREVIEWS
from petset.objects import meta
from petset.objects.meta import Object
from petset.server import health
from petset.server.access import auth, rbac, reviews
from petset.server.delegated.answers import Answers
from petset.wire import http

COUNTED = "apiserver_delegated_authz_request_total"
KEPT_CHARACTERS_MAX = 10_000  # Of a question; the answer to a longer one is not kept.
ALWAYS_ALLOWED = tuple(f"/{probe}" for probe in health.PROBES)

_Question = tuple[http.User, rbac.Attributes]


@dataclass(frozen=True, slots=True)
class _Decision:
    is_allowed: bool
    reason: str


class Authorizer:
    def __init__(self, client: Client, metrics: telemetry.Telemetry):
        self._client = client
        self._decisions = Answers(
            "cannot tell whether the user may",
            self._reviewed,
            lambda code: metrics.count(COUNTED, code),
            is_kept=lambda question: _size(question[1]) < KEPT_CHARACTERS_MAX,
        )

    async def catch_up(self, user: http.User) -> None:
        """There is nothing to be read before: each question is asked."""

    async def allowed(self, user: http.User, asked: rbac.Attributes) -> bool:
        return (await self._decided(user, asked)).is_allowed

    async def required(self, user: http.User, asked: rbac.Attributes) -> None:
        decision = await self._decided(user, asked)
        if not decision.is_allowed:
            raise auth.refused(user, asked, decision.reason)

    async def _decided(self, user: http.User, asked: rbac.Attributes) -> _Decision:
        """Raises ApiError 503."""
        if auth.is_master(user) or (asked.path in ALWAYS_ALLOWED and asked.verb == "get"):
            return _Decision(True, "")
        return await self._decisions.of((user, asked))

    async def _reviewed(self, question: _Question) -> _Decision:
        """Raises ApiError, OSError."""
        answer = await self._client.create(review(*question), SUBJECTACCESSREVIEWS)
        status = meta.part(answer, "status")
        reason: Any = status.get("reason")
        return _Decision(status.get("allowed") is True, reason if isinstance(reason, str) else "")


def _size(asked: rbac.Attributes) -> int:
    """Of what the user has chosen of it."""
    return len(asked.path) + len(asked.name) + len(asked.namespace) + len(asked.field_selector)


def review(user: http.User, asked: rbac.Attributes) -> Object:
    """The question as the cluster is asked it."""
    if asked.path:
        about: dict[str, Any] = {"nonResourceAttributes": {"path": asked.path, "verb": asked.verb}}
    else:
        version = PETSETS.version if asked.group == PETSETS.group else ""
        attributes = {
            "namespace": asked.namespace,
            "verb": asked.verb,
            "group": asked.group,
            "version": version,
            "resource": asked.resource,
            "subresource": asked.subresource,
            "name": asked.name,
        }
        about = {"resourceAttributes": {key: value for key, value in attributes.items() if value}}
    who, kind = reviews.user_info(user), SUBJECTACCESSREVIEWS
    spec = {"user": who.pop("username"), **who, **about}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {}, "spec": spec}
