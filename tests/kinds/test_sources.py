"""The ConfigMaps and Secrets of a pod: what its node fetches is what the node may read."""

from __future__ import annotations

import pytest

from petset.kinds.pod_spec import sources
from petset.kinds.pod_spec.sources import Reference

CONTAINER = {
    "name": "c",
    "env": [
        {"name": "A", "value": "plain"},
        {"name": "L", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "level"}}},
        {"name": "T", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
        {"name": "O", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "none", "optional": True}}},
        {"name": "I", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ],
    "envFrom": [{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "no", "optional": True}}],
}
OF_CONTAINER = [
    Reference("ConfigMap", "settings"),
    Reference("Secret", "no", True),
    Reference("Secret", "keys"),
    Reference("Secret", "keys", True),
]
VOLUMES = [
    {"name": "a", "emptyDir": {}},
    {"name": "b", "secret": {"secretName": "s", "optional": True}},
    {"name": "c", "configMap": {"name": "m"}},
    {
        "name": "d",
        "projected": {"sources": [{"secret": {"name": "p"}}, {"configMap": {"name": "m"}}, {"downwardAPI": {}}]},
    },
    {"name": "e", "secret": None},
]
OF_VOLUMES = [Reference("Secret", "s", True), Reference("ConfigMap", "m"), Reference("Secret", "p")]


def test_of_a_container_and_of_volumes_each_once():
    assert sources.of_container(CONTAINER) == OF_CONTAINER
    assert sources.of_volumes(VOLUMES) == OF_VOLUMES
    assert sources.of_container({"name": "c"}) == sources.of_volumes([]) == []


@pytest.mark.parametrize("field", ["initContainers", "containers", "ephemeralContainers"])
def test_of_a_pod(field):
    pod = {"spec": {field: [CONTAINER], "volumes": VOLUMES, "imagePullSecrets": [{"name": "login"}]}}
    assert list(sources.of_pod(pod)) == [Reference("Secret", "login"), *OF_VOLUMES, *OF_CONTAINER]
    assert list(sources.of_pod({"spec": {}})) == []
