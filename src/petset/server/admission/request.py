"""One write that others are asked about: what it is, as webhooks are told it and as expressions see it.

Both speak of the same request: its attributes (`about`), the labels of its namespace (`space`), its objects in the
version that was asked for (`told`). Expressions may also ask whether somebody may do something: they are evaluated,
what they asked is answered by the authorizer, and they are evaluated again (`decided`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from petset.base import well_known
from petset.kinds.namespace import NAMESPACES
from petset.objects import errors, meta
from petset.objects.expressions import authorizer
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.server import conversion, weight, writes
from petset.server.access import auth, rbac, reviews, users
from petset.server.admission.matching import Asked
from petset.server.writes import Write
from petset.store import store as stores
from petset.wire import http

T = TypeVar("T")

META_VERSION = f"{well_known.META_GROUP}/v1"
ROUNDS_MAX = 20  # Of questions that follow from the answers of others.


class Request:
    def __init__(self, store: stores.Store, authorizer_of: auth.Authorizer, write: Write, asked: Asked):
        self.store, self.write, self.asked = store, write, asked
        self.kind = asked.shown or write.resource  # Of the object.
        self.size = write.size  # How many bytes it has, nearly.
        self._authorizer = authorizer_of
        self._decisions = authorizer.Decisions()

    def namespace_of(self, obj: Object) -> str:
        """The namespace that the object is in, or is."""
        return meta.name(obj) if self.kind.key() == NAMESPACES.key() else self.write.namespace

    def name_of(self, obj: Object) -> str:
        """What the object is called, or what it is about."""
        return self.write.name if self.asked.shown is not None else meta.name(obj)

    def space(self, new: Object | None, old: Object | None) -> Mapping[str, str] | None:
        """The labels of the namespace that the object is in, or is."""
        if self.write.resource.key() == NAMESPACES.key():
            obj = new if new is not None else old
            return labels(obj)
        found = self.namespace_object()
        return meta.labels(found) if found is not None else None if not self.write.resource.namespaced else {}

    def namespace_object(self) -> Object | None:
        """The namespace that the object is in; None where it is in none."""
        if not self.write.resource.namespaced:
            return None
        found = self.store.get(NAMESPACES.key("", self.write.namespace))
        return found.object if found is not None else None

    async def told(self, kind: Kind, obj: Object | None) -> Object | None:
        """An object in the version of this kind."""
        if obj is None or self.asked.shown is not None:
            return obj
        return await conversion.between(self.write.resource, kind, obj)

    async def written(self, kind: Kind, obj: Object) -> Object:
        """The other way round."""
        return obj if self.asked.shown is not None else await conversion.between(kind, self.write.resource, obj)

    def about(self, kind: Kind, name: str) -> Object:
        """An AdmissionRequest without its uid and its objects, told in this kind's version."""
        asked, user = self.asked, self.write.user
        of_subresource = {"subResource": asked.subresource} if asked.subresource else {}
        asked_for = {"requestSubResource": asked.subresource} if asked.subresource else {}
        namespace = name if self.write.resource.key() == NAMESPACES.key() else self.write.namespace
        return {
            "kind": _kind(asked.shown or kind),
            "resource": _resource(kind),
            **of_subresource,
            "requestKind": _kind(self.kind),
            "requestResource": _resource(asked.resource),
            **asked_for,
            **({"name": name} if name else {}),
            **({"namespace": namespace} if namespace else {}),
            "operation": asked.operation,
            "userInfo": reviews.user_info(user),
            "dryRun": self.write.dry_run,
            "options": options_of(self.write),
        }

    def authorizer_value(self, name: str) -> Mapping[str, Any]:
        resource = self.write.resource
        return authorizer.value(resource.group, resource.plural, self.asked.subresource, self.write.namespace, name)

    async def decided(self, is_heavy: bool, work: Callable[[], T]) -> T:
        """What pure work comes to when all that it asks of the authorizer is answered."""
        decisions = self._decisions

        def asking() -> T:
            with decisions.asked():
                return work()

        size = self.size if not is_heavy else weight.LOOP_BYTES_MAX + 1
        for _ in range(ROUNDS_MAX):
            found = await self.write.work.beside(size, asking)
            if not decisions.open:
                return found
            for question in list(decisions.open):
                decisions.known[question] = await self._decision(question)
            decisions.open.clear()
        raise errors.forbidden(self.write.resource.plural, self.write.name, "a policy asks for access again and again")

    async def _decision(self, question: authorizer.Question) -> authorizer.Decision:
        user = self.write.user
        if question.account:
            space, _, name = question.account.partition(":")
            groups = (*users.service_account_groups(space), users.AUTHENTICATED)
            user = http.User(users.of_service_account(space, name), groups)
        await self._authorizer.catch_up(user)
        asked = rbac.Attributes(
            question.verb,
            question.group,
            question.resource,
            question.subresource,
            question.namespace,
            question.name,
            question.path,
            question.field_selector,
        )
        allowed = self._authorizer.allows(user, asked)
        return authorizer.Decision(allowed, self._authorizer.reason(user, asked, allowed))


def _kind(kind: Kind) -> Object:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _resource(kind: Kind) -> Object:
    return {"group": kind.group, "version": kind.version, "resource": kind.plural}


def labels(obj: Object | None) -> Mapping[str, str]:
    """Also of what has no metadata."""
    return meta.part(obj, "metadata", "labels") if obj is not None else {}


def options_of(write: Write) -> Object | None:
    """The options of the request, as others are told them."""
    if write.operation == writes.CONNECT:
        return None
    dry = {"dryRun": ["All"]} if write.dry_run else {}
    if write.operation == writes.DELETE:
        given = write.options
        conditions = {"uid": given.uid, "resourceVersion": given.resource_version}
        preconditions = {key: value for key, value in conditions.items() if value}
        return {
            "kind": "DeleteOptions",
            "apiVersion": META_VERSION,
            **({"gracePeriodSeconds": given.grace_seconds} if given.grace_seconds is not None else {}),
            **({"propagationPolicy": given.propagation} if given.propagation else {}),
            **({"preconditions": preconditions} if preconditions else {}),
            **dry,
        }
    return {
        "kind": writes.OPTIONS[write.operation],
        "apiVersion": META_VERSION,
        "fieldManager": write.field_manager,
        "fieldValidation": write.field_validation,
        **({"force": True} if write.force else {}),
        **dry,
    }
