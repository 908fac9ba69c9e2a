"""What a new pod is given: 2016's annotations as fields, its service account's token, tolerations.

Manifests of 2016 say in annotations what later became fields: init containers as JSON text, hostname and subdomain.
They are copied to the fields here, once, so that validation sees them and the node knows fields only. A service
account brings its image pull secrets and, unless switched off, a projected volume with token, CA and namespace at
the path where every client library looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from petset.base import tasks, well_known
from petset.kinds.pod import PODS
from petset.kinds.pod_spec import init_annotations, pod_containers
from petset.kinds.service_account import SERVICEACCOUNTS
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.server.writes import Write

HOSTNAME, SUBDOMAIN = well_known.HOSTNAME_ANNOTATION, well_known.SUBDOMAIN_ANNOTATION
TOKEN_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN_SECONDS = 3607
ROOT_CA_CONFIGMAP = "kube-root-ca.crt"
TOLERATION_SECONDS = 300
TOLERATED = (well_known.NOT_READY_TAINT, well_known.UNREACHABLE_TAINT)


class Context(Protocol):
    @property
    def write(self) -> Write: ...

    def find(self, resource: Kind, name: str, namespace: str = "") -> Object | None: ...

    def all(self, resource: Kind) -> Sequence[Object]: ...


def annotations_of_2016(context: Context, pod: Object, old: Object | None) -> Object:
    given, spec = meta.annotations(pod), dict(pod.get("spec") or {})
    for annotation, field in ((HOSTNAME, "hostname"), (SUBDOMAIN, "subdomain")):
        if given.get(annotation) and not spec.get(field):
            spec[field] = given[annotation]
    try:
        if containers := init_annotations.containers(pod):
            spec["initContainers"] = containers
    except init_annotations.Unreadable as error:
        raise errors.invalid("Pod", meta.name(pod), error.wrong) from None
    if spec == pod.get("spec"):
        return pod
    return PODS.default({**pod, "spec": spec})


def template_annotations_of_2016(context: Context, obj: Object, old: Object | None) -> Object:
    """A set each of whose pods would be refused is refused itself."""
    template = meta.get(obj, "spec", "template", default={})
    if old is not None and template == meta.get(old, "spec", "template", default={}):
        return obj
    try:
        init_annotations.containers(template)
    except init_annotations.Unreadable as error:
        wrong = [replace(one, field=f"spec.template.{one.field}") for one in error.wrong]
        raise errors.invalid(obj["kind"], meta.name(obj), wrong, context.write.resource.group) from None
    return obj


def service_account(context: Context, pod: Object, old: Object | None) -> Object:
    if well_known.MIRROR_ANNOTATION in meta.annotations(pod):
        return pod  # It is what a node runs already; what it may say is looked at later (namespaces/accounts.py).
    spec, space = dict(meta.part(pod, "spec")), meta.namespace(pod)
    name: str = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    account = context.find(SERVICEACCOUNTS, name, space)
    if account is None:
        raise errors.forbidden(
            "pods",
            meta.name(pod),
            f'error looking up service account {space}/{name}: serviceaccount "{name}" not found',
        )
    spec |= {"serviceAccountName": name, "serviceAccount": name}
    if account.get("imagePullSecrets") and not spec.get("imagePullSecrets"):
        spec["imagePullSecrets"] = account["imagePullSecrets"]
    wanted = spec.get("automountServiceAccountToken", account.get("automountServiceAccountToken"))
    return {**pod, "spec": spec if wanted is False else _with_token(spec)}


def _with_token(spec: Object) -> Object:
    """Every container that mounts nothing at the token's directory mounts the projected token there."""
    volume = next(
        (item["name"] for item in meta.parts(spec, "volumes") if item.get("name", "").startswith("kube-api-access-")),
        "",
    )
    name = volume or f"kube-api-access-{tasks.name_suffix()}"
    mount = {"name": name, "readOnly": True, "mountPath": TOKEN_DIRECTORY}
    changed: dict[str, Any] = {}
    for field in pod_containers.ALL:
        containers = meta.parts(spec, field)
        mounted = [_with_mount(container, mount) for container in containers]
        if mounted != list(containers):
            changed[field] = mounted
    if changed and not volume:
        changed["volumes"] = [*meta.parts(spec, "volumes"), _token_volume(name)]
    return {**spec, **changed}


def _with_mount(container: Object, mount: Object) -> Object:
    mounts = meta.parts(container, "volumeMounts")
    if any(item.get("mountPath") == TOKEN_DIRECTORY for item in mounts):
        return container
    return {**container, "volumeMounts": [*mounts, mount]}


def _token_volume(name: str) -> dict[str, Any]:
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": ROOT_CA_CONFIGMAP, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [namespace]}},
    ]
    return {"name": name, "projected": {"sources": sources, "defaultMode": 0o644}}


def tolerations(context: Context, pod: Object, old: Object | None) -> Object:
    """Those that every pod has, also after an update that gives it a list without them."""
    if context.write.subresource:
        return pod
    present = meta.get(pod, "spec", "tolerations", default=[])
    added = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATION_SECONDS}
        for key in TOLERATED
        if not any(_speaks_of(toleration, key) for toleration in present)
    ]
    return meta.changed(pod, ("spec", "tolerations"), [*present, *added]) if added else pod


def _speaks_of(toleration: Object, key: str) -> bool:
    """Whether the pod says itself what becomes of it under this taint, for whatever value."""
    return toleration.get("key", "") in ("", key) and toleration.get("effect", "") in ("", "NoExecute")
