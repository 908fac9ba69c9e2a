"""What a pod's ServiceAccount lets it refer to, and what a mirror pod may not refer to at all.

An account annotated with enforce-mountable-secrets gives the pods that run with it those Secrets only that it lists: in
volumes, variables of containers, and for pulling images. A mirror pod shows what a node runs from a file: the node
cannot wait for anything of the API, so it may name no account, no Secret and no token. Its spec is left as it is.
Follows: "Service Accounts" of the Kubernetes documentation, and the ServiceAccount admission controller's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Protocol

from petset.base import well_known
from petset.kinds.pod import PODS
from petset.kinds.pod_spec import sources
from petset.kinds.service_account import SERVICEACCOUNTS
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.server.writes import Write

# Which containers, as they are called.
_CONTAINERS = (
    ("initContainers", "init container"),
    ("containers", "container"),
    ("ephemeralContainers", "ephemeral container"),
)


class Context(Protocol):
    @property
    def write(self) -> Write: ...

    def find(self, resource: Kind, name: str, namespace: str = "") -> Object | None: ...


def of_a_pod(context: Context, pod: Object, old: Object | None) -> Callable[[], None] | None:
    """Of a new pod, and of one that gets ephemeral containers."""
    if old is not None and context.write.subresource != "ephemeralcontainers":
        return None
    if well_known.MIRROR_ANNOTATION in meta.annotations(pod):
        return functools.partial(_require_none, pod, _of_a_mirror(pod))
    name: str = meta.part(pod, "spec").get("serviceAccountName") or ""
    account = context.find(SERVICEACCOUNTS, name, meta.namespace(pod)) if name else None
    if account is None or not meta.truth(meta.annotations(account).get(well_known.MOUNTABLE_SECRETS_ANNOTATION, "")):
        return None
    return functools.partial(_require_none, pod, _beyond(pod, account))


def _require_none(pod: Object, wrong: Iterator[str]) -> None:
    """Raises ApiError 403."""
    for why in wrong:
        raise errors.forbidden(PODS.plural, meta.name(pod), why)


def _of_a_mirror(pod: Object) -> Iterator[str]:
    spec = meta.part(pod, "spec")
    if spec.get("serviceAccountName"):
        yield "a mirror pod may not reference service accounts"
    if any(reference.kind == "Secret" for reference in sources.of_pod(pod)):
        yield "a mirror pod may not reference secrets"
    for volume in meta.parts(spec, "volumes"):
        if any(one.get("serviceAccountToken") for one in meta.parts(volume, "projected", "sources")):
            yield "a mirror pod may not use ServiceAccountToken volume projections"


def _beyond(pod: Object, account: Object) -> Iterator[str]:
    """What a pod refers to that its account does not list."""
    spec, listed = meta.part(pod, "spec"), {one.get("name"): None for one in meta.parts(account, "secrets")}
    but = f"is not allowed because service account {meta.name(account)} does not reference that"
    for volume in meta.parts(spec, "volumes"):
        name = meta.part(volume, "secret").get("secretName")
        if name and name not in listed:
            yield f'volume with secret.secretName="{name}" {but} secret'
    for field, what in _CONTAINERS:
        for container in meta.parts(spec, field):
            for how, name in _secrets_of(container):
                if name not in listed:
                    yield f'{what} {container["name"]} with {how} referencing secret.secretName="{name}" {but} secret'
    pulled = {one.get("name"): None for one in meta.parts(account, "imagePullSecrets")}
    for index, one in enumerate(meta.parts(spec, "imagePullSecrets")):
        if one.get("name") not in pulled:
            yield f'imagePullSecrets[{index}].name="{one.get("name") or ""}" {but} imagePullSecret'


def _secrets_of(container: Object) -> Iterator[tuple[str, str]]:
    for variable in meta.parts(container, "env"):
        reference = meta.part(variable, "valueFrom").get("secretKeyRef")
        if reference is not None:
            yield f"envVar {variable['name']}", reference.get("name") or ""
    for given in meta.parts(container, "envFrom"):
        if given.get("secretRef") is not None:
            yield "envFrom", given["secretRef"].get("name") or ""
