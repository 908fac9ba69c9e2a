"""`authorizer` in expressions: questions about access, which somebody else answers.

    authorizer.group("apps").resource("deployments").namespace("a").check("create").allowed()

An evaluation is pure and may run beside the loop, so it asks nobody: `check` finds its answer among the `Decisions`
that the evaluation was begun with, or notes the question there and fails. Whoever evaluates answers what is open and
evaluates again. A value on the way to a check is a map that says what it is, as all of Kubernetes' types are here.
Follows: the authorizer library in "Common Expression Language in Kubernetes" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from petset.objects import names
from petset.objects.cel_functions import Function

QUESTIONS_MAX = 100  # Of one write's policies.

Value = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """May this account (`namespace:name`; "" for who makes the request) do this?"""

    account: str
    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""  # Then it is about no resource.
    field_selector: str = ""


class Undecided(ValueError):
    """The answer is not known yet."""


@dataclass(frozen=True, slots=True)
class Decision:
    is_allowed: bool
    reason: str = ""


class Decisions:
    """The answers that are known, and the questions that wait for one."""

    def __init__(self) -> None:
        self.known: dict[Question, Decision] = {}
        self.open: dict[Question, None] = {}

    def of(self, question: Question) -> Decision:
        """Raises Undecided."""
        found = self.known.get(question)
        if found is None:
            if len(self.known) + len(self.open) >= QUESTIONS_MAX:
                raise ValueError(f"more than {QUESTIONS_MAX} authorization checks in one request")
            self.open[question] = None
            raise Undecided("the authorization check is not decided yet")
        return found

    @contextmanager
    def asked(self) -> Generator[None]:
        """Evaluations within the block ask these."""
        before = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(before)


_CURRENT: ContextVar[Decisions | None] = ContextVar("decisions", default=None)


def value(group: str, resource: str, subresource: str, namespace: str, name: str) -> Value:
    """The variable `authorizer` of a request for this resource."""
    about = {"group": group, "resource": resource, "subresource": subresource, "namespace": namespace, "name": name}
    return {"authorizer": "", "requestResource": {"account": "", **about}}


def _part(given: Value, key: str) -> str:
    found = given.get(key)
    if not isinstance(found, str):
        raise ValueError(f"no such overload: it has no {key}")
    return found


def _account(given: Value, namespace: str, name: str) -> Value:
    _part(given, "authorizer")
    for text, rule, what in ((namespace, names.label, "namespace"), (name, names.subdomain, "name")):
        if rule(text):
            raise ValueError(f"Invalid service account {what}")
    return {"authorizer": f"{namespace}:{name}"}


def _path(given: Value, path: str) -> Value:
    if not path.strip():
        raise ValueError("path must not be empty")
    return {"account": _part(given, "authorizer"), "path": path}


def _group(given: Value, group: str) -> Value:
    return {"account": _part(given, "authorizer"), "group": group}


def _resource(given: Value, resource: str) -> Value:
    _part(given, "group")
    if not resource.strip():
        raise ValueError("resource must not be empty")
    return {**given, "resource": resource}


def _with(key: str) -> Callable[[Value, str], Value]:
    def narrowed(given: Value, text: str) -> Value:
        _part(given, "resource")
        return {**given, key: text}

    return narrowed


def _check(given: Value, verb: str) -> Value:
    account = _part(given, "account")
    if "path" in given:
        question = Question(account, verb.lower(), path=_part(given, "path"))
    else:
        _part(given, "resource")
        about = ("group", "resource", "subresource", "namespace", "name")
        texts = {key: _part(given, key) for key in about if key in given}
        question = Question(account, verb, **texts, field_selector=str(given.get("fieldSelector", "")))
    decisions = _CURRENT.get()
    if decisions is None:
        raise ValueError("nobody can be asked here")
    found = decisions.of(question)
    return {"decision": found.is_allowed, "reason": found.reason}


def _decided(given: Value) -> bool:
    found = given.get("decision")
    if not isinstance(found, bool):
        raise ValueError("no such overload: it is no decision")
    return found


def _reason(given: Value) -> str:
    _decided(given)
    return _part(given, "reason")


def _nothing(given: Value) -> str:
    _decided(given)
    return ""


def _never(given: Value) -> bool:
    _decided(given)
    return False


def _member(name: str, texts: int, result: str, function: Callable[..., Any]) -> Function:
    return Function(name, ("MAP", *("STRING",) * texts), result, function, True)


TABLE: Sequence[Function] = (
    _member("serviceAccount", 2, "MAP", _account),
    _member("path", 1, "MAP", _path),
    _member("group", 1, "MAP", _group),
    _member("resource", 1, "MAP", _resource),
    *(_member(key, 1, "MAP", _with(key)) for key in ("subresource", "namespace", "name", "fieldSelector")),
    _member("labelSelector", 1, "MAP", _with("labelSelector")),
    _member("check", 1, "MAP", _check),
    _member("allowed", 0, "BOOL", _decided),
    _member("errored", 0, "BOOL", _never),
    _member("error", 0, "STRING", _nothing),
    _member("reason", 0, "STRING", _reason),
)
