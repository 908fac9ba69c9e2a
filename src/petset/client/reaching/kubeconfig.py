"""Kubeconfigs: one with everything inline, written for the instance's administrator and read back by petset's own
commands; and any that names another server (`target_of`), as upstream's flags take them for webhooks.

The first is written at each start, before anybody is served: without what reads YAML, which takes longer to import.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from petset.objects import meta

_PLAIN = re.compile(r"(petset|/)[A-Za-z0-9/._-]*")
EXTENSION = "petset"  # Says in a cluster's entry which state directory it is about.


def context(instance_name: str) -> str:
    """`petset` for the default instance, `petset-<name>` for the others."""
    return f"petset-{instance_name}" if instance_name else "petset"


@dataclass(frozen=True, slots=True)
class Access:
    """Where a cluster answers and as whom: a base URL and PEM bytes."""

    server: str
    ca_pem: bytes
    certificate_pem: bytes
    key_pem: bytes

    @property
    def target(self) -> Target:
        return Target(self.server, self.ca_pem, certificate_pem=self.certificate_pem, key_pem=self.key_pem)


def render(access: Access, name: str = "petset", state: str = "") -> bytes:
    """The YAML text of a kubeconfig with one cluster, user and context, all of that name."""
    name, state = _scalar(name), _scalar(state)
    return f"""apiVersion: v1
kind: Config
clusters:
- name: {name}
  cluster:
    server: {access.server}
    certificate-authority-data: {b64encode(access.ca_pem).decode()}
    extensions:
    - name: {EXTENSION}
      extension:
        state: {state}
users:
- name: {name}
  user:
    client-certificate-data: {b64encode(access.certificate_pem).decode()}
    client-key-data: {b64encode(access.key_pem).decode()}
contexts:
- name: {name}
  context:
    cluster: {name}
    user: {name}
current-context: {name}
""".encode()


def _scalar(text: str) -> str:
    """A name or a path as YAML; what is not plain for certain in quotes, as JSON has them."""
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def state_of(cluster_entry: Mapping[str, Any]) -> str:
    """The state directory that a cluster's entry is about; "" when it does not say."""
    extensions = meta.get(cluster_entry, "cluster", "extensions")
    found = cast(list[Any], extensions if isinstance(extensions, list) else [])  # Anybody may have written it.
    ours = next((one for one in found if meta.get(one, "name") == EXTENSION), None)
    return str(meta.get(ours, "extension", "state", default=""))


def parse(text: bytes) -> Access:
    """The access in a kubeconfig that `render` wrote. Raises ValueError."""
    from petset.objects import documents

    config = documents.load(text)
    try:
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        pems = (
            cluster["certificate-authority-data"],
            user["client-certificate-data"],
            user["client-key-data"],
        )
        if not all(pems):
            raise ValueError("it has an empty certificate or key")
        return Access(cluster["server"], *map(b64decode, pems))
    except (KeyError, IndexError, TypeError):
        raise ValueError("it is not a kubeconfig of this instance") from None


@dataclass(frozen=True, slots=True)
class Target:
    """Another server, and as whom it is asked: PEM bytes, b"" where nothing is said."""

    server: str
    ca_pem: bytes = b""
    trusts_anybody: bool = False
    server_name: str = ""  # Whom its certificate must name, where that is not the server's host.
    certificate_pem: bytes = b""
    key_pem: bytes = field(default=b"", repr=False)
    authorization: str = field(default="", repr=False)  # The header's value.


_ELSEWHERE = ("exec", "auth-provider", "as", "as-groups", "as-uid", "as-user-extra")  # What is not done here.


def target_of(text: bytes, read: Callable[[str], bytes]) -> Target:
    """Whom the current context of a kubeconfig names. `read` reads a file that it names. Raises ValueError, OSError."""
    from petset.objects import documents

    config = documents.load(text)
    if not meta.is_struct(config) or config.get("kind", "Config") != "Config":
        raise ValueError("it is no kubeconfig")
    current = config.get("current-context") or ""
    context = _entry(config, "contexts", "context", current) if current else _only(config)
    cluster = _entry(config, "clusters", "cluster", _text(context, "cluster"))
    user = _entry(config, "users", "user", name) if (name := _text(context, "user")) else meta.part(config, "")
    if wrong := [name for name in _ELSEWHERE if user.get(name)]:
        raise ValueError(f"it has {wrong[0]} in its user, which is not done here; use a certificate or a token")
    if not _text(cluster, "server"):
        raise ValueError("its cluster has no server")
    if bool(user.get("client-certificate-data") or user.get("client-certificate")) != bool(
        user.get("client-key-data") or user.get("client-key")
    ):
        raise ValueError("its user has one of a certificate and a key")
    return Target(
        _text(cluster, "server"),
        _bytes(cluster, "certificate-authority", read),
        bool(cluster.get("insecure-skip-tls-verify")),
        _text(cluster, "tls-server-name"),
        _bytes(user, "client-certificate", read),
        _bytes(user, "client-key", read),
        _authorization(user, read),
    )


def _only(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without a current context: the only cluster and the only user there are."""
    clusters, users = meta.parts(config, "clusters"), meta.parts(config, "users")
    if len(clusters) != 1 or len(users) > 1:
        raise ValueError("it has no current-context")
    return {"cluster": clusters[0].get("name"), "user": users[0].get("name") if users else ""}


def _entry(config: Mapping[str, Any], of: str, what: str, name: str) -> Mapping[str, Any]:
    for entry in meta.parts(config, of):
        if entry.get("name") == name:
            return meta.part(entry, what)
    raise ValueError(f"it has no {what} {name!r}")


def _text(entry: Mapping[str, Any], key: str) -> str:
    found = entry.get(key) or ""
    if not isinstance(found, str):
        raise ValueError(f"its {key} is no text")
    return found


def _bytes(entry: Mapping[str, Any], key: str, read: Callable[[str], bytes]) -> bytes:
    """What it has inline, else in a file."""
    if inline := _text(entry, f"{key}-data"):
        return b64decode(inline, validate=True)
    return read(path) if (path := _text(entry, key)) else b""


def _authorization(user: Mapping[str, Any], read: Callable[[str], bytes]) -> str:
    token = _text(user, "token")
    if not token and (path := _text(user, "tokenFile")):
        token = read(path).decode().strip()
    if token:
        return f"Bearer {token}"
    if name := _text(user, "username"):
        both = f"{name}:{_text(user, 'password')}"
        return f"Basic {b64encode(both.encode()).decode()}"
    return ""
