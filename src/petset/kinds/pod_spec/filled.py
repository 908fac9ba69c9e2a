"""Defaults of pods and of pod templates: containers, probes, volumes.

A template gets what its pods get, but for two things that only a pod itself is given: enableServiceLinks, and
requests where a container names limits only. Each function takes a frozen tree and returns
it, or a new one that shares the rest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from petset.kinds.pod_spec import pod_containers
from petset.objects import meta
from petset.objects.filling import at, each, fill, fill_empty, within
from petset.objects.meta import Object
from petset.objects.registry import Default

TERMINATION_GRACE_SECONDS = 30

FILE_MODE = 0o644

TOKEN_SECONDS = 3600

_CONTAINER = {
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}

_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}

_SPEC = {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler"}


def template(obj: Object) -> Object:
    """A PodTemplateSpec."""
    return within(obj, "spec", spec)


def pod_spec(given: Object) -> Object:
    given = fill(given, {"enableServiceLinks": True})
    for field in pod_containers.OWN:
        given = at(given, field, lambda containers: each(containers, _requests))
    return spec(given)


def _requests(container: Object) -> Object:
    """What is limited and not requested is requested as limited."""
    limits = meta.get(container, "resources", "limits")
    if not limits:
        return container
    resources = container["resources"]
    requests = fill(meta.part(resources, "requests"), limits)
    return (
        container
        if requests is resources.get("requests")
        else meta.changed(container, ("resources", "requests"), requests)
    )


def spec(given: Object) -> Object:
    """A PodSpec's defaults, in a pod and in a template alike."""
    given = fill_empty(given, _SPEC)
    given = fill(given, {"terminationGracePeriodSeconds": TERMINATION_GRACE_SECONDS, "securityContext": {}})
    if given["terminationGracePeriodSeconds"] < 0:
        given = {**given, "terminationGracePeriodSeconds": 1}
    name = given.get("serviceAccountName") or given.get("serviceAccount")
    if name and (given.get("serviceAccountName"), given.get("serviceAccount")) != (name, name):
        given = {**given, "serviceAccountName": name, "serviceAccount": name}
    on_host = bool(given.get("hostNetwork"))
    for field in pod_containers.ALL:
        given = at(given, field, lambda containers: each(containers, lambda each_: _container(each_, on_host)))
    return at(given, "volumes", lambda volumes: each(volumes, _volume))


def pull_policy(image: str) -> str:
    """Always for a tag that moves (latest, or none and no digest), else IfNotPresent."""
    if "@" in image:
        return "IfNotPresent"
    tag = re.search(r":([^/:]+)\Z", image)
    return "Always" if tag is None or tag.group(1) == "latest" else "IfNotPresent"


def _container(given: Object, on_host: bool) -> Object:
    given = fill_empty(given, _CONTAINER)
    given = fill(given, {"resources": {}})
    if not given.get("imagePullPolicy"):
        given = {**given, "imagePullPolicy": pull_policy(given.get("image") or "")}
    given = at(given, "ports", lambda ports: each(ports, _port_on_host if on_host else _port))
    given = at(given, "env", lambda env: each(env, _variable))
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        given = at(given, probe, _probe)
    return at(given, "lifecycle", _lifecycle) if "lifecycle" in given else given


def _port(given: Object) -> Object:
    return fill_empty(given, {"protocol": "TCP"})


def _port_on_host(given: Object) -> Object:
    return fill_empty(given, {"protocol": "TCP", "hostPort": given.get("containerPort")})


def _variable(given: Object) -> Object:
    return at(given, "valueFrom", _source) if "valueFrom" in given else given


def _source(given: Object) -> Object:
    given = at(given, "fieldRef", lambda field: fill_empty(field, {"apiVersion": "v1"}))
    return at(given, "resourceFieldRef", lambda field: fill_empty(field, {"divisor": "0"}))


def _probe(given: Object) -> Object:
    return _handler(fill_empty(given, _PROBE))


def _lifecycle(given: Object) -> Object:
    return at(at(given, "postStart", _handler), "preStop", _handler)


def _handler(given: Object) -> Object:
    given = at(given, "httpGet", lambda get: fill_empty(get, {"path": "/", "scheme": "HTTP"}))
    return at(given, "grpc", lambda grpc: fill(grpc, {"service": ""}))


def _volume(given: Object) -> Object:
    if given.keys() <= {"name"}:
        return {**given, "emptyDir": {}}  # A volume without a source is an empty directory.
    source = next(key for key in given if key != "name")
    default = _VOLUMES.get(source)
    return at(given, source, default) if default else given


def _files(given: Object) -> Object:
    return fill(given, {"defaultMode": FILE_MODE})


def _downward(given: Object) -> Object:
    return at(_files(given), "items", lambda items: each(items, _source))


def _projected(given: Object) -> Object:
    def source(part: Object) -> Object:
        part = at(part, "serviceAccountToken", lambda token: fill_empty(token, {"expirationSeconds": TOKEN_SECONDS}))
        return at(part, "downwardAPI", lambda api: at(api, "items", lambda items: each(items, _source)))

    return at(_files(given), "sources", lambda sources: each(sources, source))


def _ephemeral(given: Object) -> Object:
    def claim(part: Object) -> Object:
        return at(part, "spec", lambda spec: fill_empty(spec, {"volumeMode": "Filesystem"}))

    return at(given, "volumeClaimTemplate", claim)


_VOLUMES: Mapping[str, Default] = {
    "hostPath": lambda source: fill(source, {"type": ""}),
    "secret": _files,
    "configMap": _files,
    "downwardAPI": _downward,
    "projected": _projected,
    "ephemeral": _ephemeral,
    "image": lambda source: fill_empty(source, {"pullPolicy": pull_policy(source.get("reference") or "")}),
}
