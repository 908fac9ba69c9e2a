"""Questions about access, answered in their status: who am I, may I, what may I, whose token is this.

`kubectl auth whoami`, `auth can-i` and `auth can-i --list` ask these. Nothing is stored; the answers come from the
same authenticator and authorizer as every request's, so they cannot differ from what will happen.
"""

from __future__ import annotations

from typing import Any

from petset.objects import errors, meta
from petset.objects.errors import FieldError
from petset.objects.meta import Object
from petset.server import answers, decoding, writes
from petset.server.access import auth, rbac, users
from petset.server.routes import Call
from petset.wire import http


class Reviews:
    def __init__(self, authenticator: auth.Authenticator, authorizer: auth.Authorizer):
        self._authenticator, self._authorizer = authenticator, authorizer

    async def self_access(self, call: Call) -> http.Response:
        review = await _asked(call)
        return await self._decided(call, review, call.user)

    async def access(self, call: Call) -> http.Response:
        review = await _asked(call)
        spec = review["spec"]
        groups = meta.texts(spec, "groups")
        if not (spec.get("user") or groups):
            wrong = FieldError.invalid(
                "spec.user", spec.get("user", ""), "at least one of user or group must be specified"
            )
            raise errors.invalid(call.resource.kind, "", [wrong], call.resource.group)
        return await self._decided(call, review, http.User(str(spec.get("user", "")), tuple(map(str, groups))))

    async def _decided(self, call: Call, review: Object, user: http.User) -> http.Response:
        await self._authorizer.catch_up(user)
        allowed = self._authorizer.allows(user, _attributes(call, review["spec"]))
        return answers.tree(call, {**review, "status": {"allowed": allowed}}, 201)

    async def self_rules(self, call: Call) -> http.Response:
        review = await _asked(call)
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
        review = await _asked(call)
        return answers.tree(call, {**review, "status": {"userInfo": user_info(call.user)}}, 201)

    async def token(self, call: Call) -> http.Response:
        review = await _asked(call)
        spec = review["spec"]
        audiences: Any = spec.get("audiences") or [self._authenticator.issuer.issuer]
        if not meta.is_texts(audiences):
            raise errors.bad_request("cannot review the token: spec.audiences is not a list of texts")
        status: dict[str, Any]
        try:
            user, good_for = self._authenticator.token_review(str(spec.get("token", "")), tuple(audiences))
            status = {"authenticated": True, "user": user_info(user), "audiences": list(good_for)}
        except errors.ApiError:
            status = {"error": "the token is not valid, or its account or what it is bound to is gone"}
        return answers.tree(call, {**review, "status": status}, 201)


async def _asked(call: Call) -> dict[str, Any]:
    """The review in the body, its metadata without what the server would set. Raises ApiError, also 406."""
    answers.require_json(call)
    obj, missing = await decoding.posted(call, writes.of(call))
    missing = [error for error in missing if not error.field.startswith("status")]
    if missing:
        raise errors.invalid(call.resource.kind, "", missing, call.resource.group)
    return {**obj, "metadata": {"creationTimestamp": None}, "spec": obj.get("spec") or {}}


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
    return rbac.Attributes(
        verb=_text(resource, "verb"),
        group=_text(resource, "group"),
        resource=_text(resource, "resource"),
        subresource=_text(resource, "subresource"),
        namespace=_text(resource, "namespace"),
        name=_text(resource, "name"),
    )


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
