"""A kubeconfig with everything inline: written for the instance's administrator, read back by petset's own commands."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from petset.objects import documents, meta

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


def render(access: Access, name: str = "petset", state: str = "") -> bytes:
    """The YAML text of a kubeconfig with one cluster, user and context, all of that name."""
    cluster = {
        "server": access.server,
        "certificate-authority-data": b64encode(access.ca_pem).decode(),
        "extensions": [{"name": EXTENSION, "extension": {"state": state}}],
    }
    user = {
        "client-certificate-data": b64encode(access.certificate_pem).decode(),
        "client-key-data": b64encode(access.key_pem).decode(),
    }
    return documents.dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }
    )


def state_of(cluster_entry: Mapping[str, Any]) -> str:
    """The state directory that a cluster's entry is about; "" when it does not say."""
    extensions = meta.get(cluster_entry, "cluster", "extensions")
    found = cast(list[Any], extensions if isinstance(extensions, list) else [])  # Anybody may have written it.
    ours = next((one for one in found if meta.get(one, "name") == EXTENSION), None)
    return str(meta.get(ours, "extension", "state", default=""))


def parse(text: bytes) -> Access:
    """The access in a kubeconfig that `render` wrote. Raises ValueError."""
    config = documents.load(text)
    try:
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        return Access(
            cluster["server"],
            b64decode(cluster["certificate-authority-data"]),
            b64decode(user["client-certificate-data"]),
            b64decode(user["client-key-data"]),
        )
    except (KeyError, IndexError, TypeError):
        raise ValueError("it is not a kubeconfig of this instance") from None
