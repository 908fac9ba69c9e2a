"""How a node shows itself to a registry: the logins that a pod's pull secrets hold.

A pull secret becomes a `RegistryLogin` once, in `from_secret`, and is that all the way from the API to the registry.
`credentials` chooses, for one image, what to try: the most specific address first, then the order of the pod's secrets.
An address is a host with perhaps a port and the beginning of a path; `*`, `?` and `[...]` stand for a part of one label
of its host. Follows: the page "Images" of the Kubernetes documentation, on the interpretation of config.json.
"""

from __future__ import annotations

import base64
import fnmatch
import json
import re
from collections.abc import Iterable
from typing import Any

from petset.node.environment import ConfigError, Source
from petset.node.images.image_names import DEFAULT_REGISTRY, Reference
from petset.node.runtime import Credential, RegistryLogin
from petset.objects import encoding

# Where each type of secret keeps its text, and how the logins are found in it.
_KEYS = {".dockerconfigjson": "auths", ".dockercfg": ""}


class NotALogin(Exception):
    """A secret that is no pull secret; the message says what it lacks."""


def from_secret(secret: Source) -> RegistryLogin:
    """Raises NotALogin."""
    what = f"secret {secret.name} holds no registry logins"
    try:
        for key, inside in _KEYS.items():
            if (text := secret.entry(key)) is not None:
                tree = encoding.loads(text)
                entries = tree[inside] if inside else tree
                found = {_address(address): _credential(entry) for address, entry in entries.items()}
                return RegistryLogin(secret.name, found)
    except (ConfigError, AttributeError, KeyError, TypeError, ValueError):
        raise NotALogin(f"{what}: it is not what docker login writes") from None
    raise NotALogin(f"{what}: it has no key {' or '.join(_KEYS)}")


def _address(text: str) -> str:
    """Without the scheme, and without the version that docker login once wrote behind it."""
    host, slash, path = re.sub(r"^https?://|/(v[12]/?)?$", "", text).partition("/")
    return (DEFAULT_REGISTRY if host in ("index.docker.io", "registry-1.docker.io") else host) + slash + path


def _credential(entry: Any) -> Credential:
    if entry.get("auth"):
        user, colon, password = base64.b64decode(entry["auth"]).decode().partition(":")
        if not colon:
            raise ValueError("auth is not user:password")
        return Credential(user, password.rstrip("\0"))
    return Credential(str(entry["username"]), str(entry["password"]))


def credentials(logins: Iterable[RegistryLogin], image: Reference) -> list[Credential]:
    """What to try for an image, in this order; [] to ask as nobody."""
    found = [
        (address, credential)
        for login in logins
        for address, credential in login.credentials.items()
        if _matches(address, image)
    ]
    found.sort(key=lambda one: -len(one[0]))
    return list(dict.fromkeys(credential for _, credential in found))


def _matches(address: str, image: Reference) -> bool:
    host, _, path = address.partition("/")
    (name, port), (wanted, wanted_port) = _name_and_port(host), _name_and_port(image.registry)
    labels, wanted_labels = name.split("."), wanted.split(".")
    return (
        (port == wanted_port and image.repository.startswith(path))
        and (name == wanted or len(labels) == len(wanted_labels))
        and (name == wanted or all(map(fnmatch.fnmatchcase, wanted_labels, labels)))
    )


def _name_and_port(host: str) -> tuple[str, str]:
    found = re.fullmatch(r"(.*?)(?::([0-9]*))?", host)  # An IPv6 address has colons within its brackets.
    assert found is not None
    return found[1], found[2] or ""


def authfile(registry: str, credential: Credential) -> str:
    """The file that skopeo takes for one login."""
    return json.dumps({"auths": {registry: {"auth": credential.encoded()}}})
