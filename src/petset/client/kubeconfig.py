"""A kubeconfig with everything inline: written for the instance's administrator, read back by petset's own commands."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass

from petset.objects import documents

CONTEXT = "petset"


@dataclass(frozen=True, slots=True)
class Access:
    """Where a cluster answers and as whom: a base URL and PEM bytes."""

    server: str
    ca_pem: bytes
    certificate_pem: bytes
    key_pem: bytes


def render(access: Access) -> bytes:
    """The YAML text of a kubeconfig with one cluster, user and context, all named `petset`."""
    cluster = {"server": access.server, "certificate-authority-data": b64encode(access.ca_pem).decode()}
    user = {
        "client-certificate-data": b64encode(access.certificate_pem).decode(),
        "client-key-data": b64encode(access.key_pem).decode(),
    }
    return documents.dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": CONTEXT, "cluster": cluster}],
            "users": [{"name": CONTEXT, "user": user}],
            "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT}}],
            "current-context": CONTEXT,
        }
    )


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
