"""What a pod's sandbox is to be: its host name, the OCI runtime of its RuntimeClass; and what no sandbox here can be.

Follows: "Runtime Class" and "User Namespaces" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Sequence

from petset.client.client import Client
from petset.kinds.runtime_class import RUNTIMECLASSES
from petset.node.network import names
from petset.node.runtime import Runtime, RuntimeError_
from petset.objects import errors
from petset.objects.meta import Object

FAILED = "FailedCreatePodSandBox"


def require_offered(pod: Object, runtime: Runtime, handler: str) -> None:
    """Raises RuntimeError_ for what must not be replaced by less."""
    if pod["spec"].get("hostUsers") is False and (why := runtime.lacks_users(handler)):
        raise RuntimeError_(FAILED, f"hostUsers is false and there are no users of its own here: {why}")


def hostname(pod: Object, cluster_domain: str) -> str:
    """As the kernel is to have it. Raises RuntimeError_."""
    try:
        return names.kernel_name(pod, cluster_domain)
    except names.NameTooLong as error:
        raise RuntimeError_(FAILED, str(error)) from None


async def handler(client: Client, pod: Object, offered: Sequence[str]) -> str:
    """The runtime that the pod's class names; "" without a class. Raises RuntimeError_, ApiError, OSError."""
    name = pod["spec"].get("runtimeClassName")
    if not name:
        return ""
    try:
        found: str = (await client.get(RUNTIMECLASSES, name)).get("handler", "")
    except errors.ApiError as error:
        if error.code != 404:
            raise
        raise RuntimeError_(FAILED, f'RuntimeClass "{name}" not found') from None
    if found not in offered:
        has = ", ".join(offered)
        raise RuntimeError_(FAILED, f'no runtime for "{found}" is configured: this node has {has}')
    return found
