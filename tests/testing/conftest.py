"""One simulated cluster for all of these tests, and a namespace for each."""

from __future__ import annotations

import pytest

import petset


@pytest.fixture(scope="module")
def one():
    with petset.Cluster(nodes=2) as cluster:
        yield cluster


@pytest.fixture
def space(one):
    with one.in_namespace() as namespace:
        yield namespace


def petset_of(name: str, replicas: int = 2, **spec):
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "serviceName": name,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "example/server:1"}]},
            },
            **spec,
        },
    }
