"""Users and groups whose names mean something: nodes, service accounts, administrators, everybody.

A name is read as a whole and by one function here, never searched: `evilsystem:node:n1` is a user like any other.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote

from petset.objects import names
from petset.wire import http

MASTERS = "system:masters"  # May everything.
NODES = "system:nodes"
AUTHENTICATED, UNAUTHENTICATED = "system:authenticated", "system:unauthenticated"
SERVICE_ACCOUNTS = "system:serviceaccounts"
ANONYMOUS = http.User("system:anonymous", (UNAUTHENTICATED,))
ADMINISTRATOR = http.User("petset-admin", (MASTERS,))  # Of the instance: its kubeconfig, and its dashboard.
SERVER = http.User("system:apiserver", (MASTERS,))  # The server itself: what it writes unasked.

_NODE = "system:node:"
_SERVICE_ACCOUNT = "system:serviceaccount:"


def extras_in(request: http.Request, prefix: str) -> list[tuple[str, str]]:
    """(key, value) of the headers that begin so and end with a key, percent-encoded."""
    return [(unquote(key.removeprefix(prefix)), value) for key, value in request.headers if key.startswith(prefix)]


def extra_of(extras: Iterable[tuple[str, str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """A user's extra: all values of each key."""
    found: dict[str, tuple[str, ...]] = {}
    for key, value in extras:
        found[key] = (*found.get(key, ()), value)
    return tuple(found.items())


def with_everybody(user: http.User) -> http.User:
    """Somebody who is known is in the group of all who are; in that or the other one he may be already."""
    if user.name == ANONYMOUS.name or AUTHENTICATED in user.groups or UNAUTHENTICATED in user.groups:
        return user
    return http.User(user.name, (*user.groups, AUTHENTICATED), user.uid, user.extra)


def node_name(user: http.User) -> str:
    """The node a user is, "" for other users."""
    return user.name.removeprefix(_NODE) if user.name.startswith(_NODE) else ""


def of_node(name: str) -> http.User:
    return http.User(f"{_NODE}{name}", (NODES,))


def of_service_account(namespace: str, name: str) -> str:
    """The user name of a service account."""
    return f"{_SERVICE_ACCOUNT}{namespace}:{name}"


def service_account(user_name: str) -> tuple[str, str] | None:
    """(namespace, name) of the service account a user name is, None for other users."""
    if not user_name.startswith(_SERVICE_ACCOUNT):
        return None
    namespace, _, name = user_name.removeprefix(_SERVICE_ACCOUNT).partition(":")
    return None if names.label(namespace) or names.subdomain(name) else (namespace, name)


def service_account_groups(namespace: str) -> tuple[str, str]:
    """The groups every service account of a namespace is in."""
    return SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{namespace}"
