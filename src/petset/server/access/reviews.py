"""Questions about access, answered in their status: who am I, may I, what may I, whose token is this.

`kubectl auth whoami`, `auth can-i` and `auth can-i --list` ask these. Nothing is stored; the answers come from the
same authenticator and authorizer as every request's, so they cannot differ from what will happen.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from petset.objects import errors, meta, names, validation
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.server import answers, decoding, writes
from petset.server.access import auth, rbac, users
from petset.server.routes import Call
from petset.server.writes import Write
from petset.wire import http

Reviewed = Callable[[Write, Object], Awaitable[Object]]  # What admission makes of a question.


class Reviews:
    def __init__(self, authenticator: auth.Authenticator, authorizer: auth.Authorizer, reviewed: Reviewed):
        self._authenticator, self._authorizer, self._reviewed = authenticator, authorizer, reviewed

    async def _asked(self, call: Call) -> dict[str, Any]:
        """The review in the body, its metadata without what the server would set. Raises ApiError, also 406."""
        answers.require_json(call)
        write = writes.of(call)
        obj, missing = await decoding.posted(call, write)
        missing = [error for error in missing if not error.field.startswith("status")]
        if missing:
            raise errors.invalid(call.resource.kind, "", missing, call.resource.group)
        space = obj["metadata"].get("namespace")
        if space and space != call.route.namespace:
            raise errors.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        obj = await self._reviewed(write, obj)
        return {**obj, "metadata": {"creationTimestamp": None}, "spec": obj.get("spec") or {}}

    async def self_access(self, call: Call) -> http.Response:
        review = await self._asked(call)
        return await self._decided(call, review, call.user)

    async def access(self, call: Call) -> http.Response:
        review = await self._asked(call)
        return await self._decided(call, review, _subject(call, review["spec"]))

    async def local_access(self, call: Call) -> http.Response:
        """As `access`, about one namespace only: whoever may ask there need not be allowed to ask anywhere else."""
        review = await self._asked(call)
        spec, space = review["spec"], call.route.namespace
        wrong: list[FieldError] = []
        if spec.get("nonResourceAttributes"):
            why = "disallowed on this kind of request"
            wrong.append(FieldError.invalid("spec.nonResourceAttributes", spec["nonResourceAttributes"], why))
        asked = spec.get("resourceAttributes")
        if asked and _text(asked, "namespace") != space:
            why = "must match metadata.namespace"
            wrong.append(FieldError.invalid("spec.resourceAttributes.namespace", _text(asked, "namespace"), why))
        if wrong:
            raise errors.invalid(call.resource.kind, "", wrong, call.resource.group)
        review["metadata"]["namespace"] = space
        return await self._decided(call, review, _subject(call, spec))

    async def _decided(self, call: Call, review: Object, user: http.User) -> http.Response:
        await self._authorizer.catch_up(user)
        asked = _attributes(call, review["spec"])
        allowed = self._authorizer.allows(user, asked)
        reason = self._authorizer.reason(user, asked, allowed)
        status = {"allowed": allowed, **({"reason": reason} if reason else {})}
        return answers.tree(call, {**review, "status": status}, 201)

    async def self_rules(self, call: Call) -> http.Response:
        review = await self._asked(call)
        space = review["spec"].get("namespace")
        if not isinstance(space, str) or not space:
            raise errors.bad_request("no namespace on request")
        if users.MASTERS in call.user.groups:
            rules: tuple[rbac.Rule, ...] = (rbac.Rule(("*",), ("*",), ("*",)), rbac.Rule(("*",), paths=("*",)))
        else:
            await self._authorizer.catch_up(call.user)
            rules = self._authorizer.rbac.rules(call.user, space)
        status = {
            "resourceRules": [_resource_rule(rule) for rule in rules if rule.resources],
            "nonResourceRules": [
                {"verbs": list(rule.verbs), "nonResourceURLs": list(rule.paths)} for rule in rules if rule.paths
            ],
            "incomplete": False,
        }
        return answers.tree(call, {**review, "status": status}, 201)

    async def self_review(self, call: Call) -> http.Response:
        review = await self._asked(call)
        return answers.tree(call, {**review, "status": {"userInfo": user_info(call.user)}}, 201)

    async def token(self, call: Call) -> http.Response:
        review = await self._asked(call)
        spec = review["spec"]
        audiences: Any = spec.get("audiences") or [self._authenticator.issuer.issuer]
        if not meta.is_texts(audiences):
            raise errors.bad_request("cannot review the token: spec.audiences is not a list of texts")
        status: dict[str, Any]
        await self._authenticator.issuer.ready()
        try:
            user, good_for = self._authenticator.token_review(str(spec.get("token", "")), tuple(audiences))
            status = {"authenticated": True, "user": user_info(user), "audiences": list(good_for)}
        except errors.ApiError:
            status = {"error": "the token is not valid, or its account or what it is bound to is gone"}
        return answers.tree(call, {**review, "status": status}, 201)


def _subject(call: Call, spec: Object) -> http.User:
    """Whom a review asks about. Raises ApiError 422."""
    user = user_of(spec, "user")
    if not (user.name or user.groups):
        wrong = FieldError.invalid("spec.user", spec.get("user", ""), "at least one of user or group must be specified")
        raise errors.invalid(call.resource.kind, "", [wrong], call.resource.group)
    return user


def _attributes(call: Call, spec: Object) -> rbac.Attributes:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if bool(resource) == bool(path):
        wrong = FieldError.invalid(
            "spec.resourceAttributes",
            resource,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )
        raise errors.invalid(call.resource.kind, "", [wrong], call.resource.group)
    if path:
        return rbac.Attributes(str(path.get("verb", "")), path=str(path.get("path", "")) or "/")
    asked = meta.part(spec, "resourceAttributes")
    wrong = [*_wrong_selector(asked, "fieldSelector"), *_wrong_selector(asked, "labelSelector")]
    if wrong:
        raise errors.invalid(call.resource.kind, "", wrong, call.resource.group)
    return rbac.Attributes(
        verb=_text(resource, "verb"),
        group=_text(resource, "group"),
        resource=_text(resource, "resource"),
        subresource=_text(resource, "subresource"),
        namespace=_text(resource, "namespace"),
        name=_text(resource, "name"),
        field_selector=_field_selector(meta.part(asked, "fieldSelector")),
    )


def _wrong_selector(attributes: Object, field: str) -> list[FieldError]:
    """Operators that are not known are no fault: a newer client may know more (KEP-4601)."""
    if attributes.get(field) is None:
        return []
    selector, path = meta.part(attributes, field), f"spec.resourceAttributes.{field}"
    raw, requirements = _text(selector, "rawSelector"), meta.parts(selector, "requirements")
    wrong: list[FieldError] = []
    if raw and requirements:
        why = "may not specified at the same time as requirements"
        wrong.append(FieldError.invalid(f"{path}.rawSelector", raw, why))
    if not raw and not requirements:
        why = f"when {path} is specified, requirements or rawSelector is required"
        wrong.append(FieldError.required(f"{path}.requirements", why))
    for index, requirement in enumerate(requirements):
        where, key = f"{path}.requirements[{index}]", _text(requirement, "key")
        if field == "fieldSelector" and not key:
            wrong.append(FieldError.required(f"{where}.key", "must be specified"))
        elif field == "labelSelector" and (why := names.qualified(key)):
            wrong.append(FieldError.invalid(f"{where}.key", key, why))
        values = meta.texts(requirement, "values")
        wrong += validation.requirement_values(_text(requirement, "operator"), values, where)
    return wrong


def _field_selector(selector: Object) -> str:
    """As a list's parameter says it. What one value cannot say narrows nothing, which allows no more than it should."""
    if raw := _text(selector, "rawSelector"):
        return raw
    terms: list[str] = []
    for requirement in meta.parts(selector, "requirements"):
        values, sign = meta.texts(requirement, "values"), _SIGNS.get(_text(requirement, "operator"))
        if sign is not None and len(values) == 1 and not set(values[0]) & set(",=\\"):
            terms.append(f"{_text(requirement, 'key')}{sign}{values[0]}")
    return ",".join(terms)


_SIGNS = {"In": "=", "NotIn": "!="}


def _text(attributes: Any, field: str) -> str:
    value = meta.get(attributes, field, default="")
    return value if isinstance(value, str) else ""


def _resource_rule(rule: rbac.Rule) -> dict[str, Any]:
    return {
        "verbs": list(rule.verbs),
        "apiGroups": list(rule.groups),
        "resources": list(rule.resources),
        **({"resourceNames": list(rule.names)} if rule.names else {}),
    }


def user_info(user: http.User) -> dict[str, Any]:
    return {
        "username": user.name,
        **({"uid": user.uid} if user.uid else {}),
        "groups": list(user.groups),
        **({"extra": {key: list(values) for key, values in user.extra}} if user.extra else {}),
    }


def user_of(info: Object, named: str = "username") -> http.User:
    """The other way round; `named` is the field of the name."""
    groups = tuple(map(str, meta.texts(info, "groups")))
    extra = tuple((key, tuple(map(str, values))) for key, values in meta.part(info, "extra").items())
    return http.User(_text(info, named), groups, _text(info, "uid"), extra)
