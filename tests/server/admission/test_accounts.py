"""What a ServiceAccount lets its pods refer to, and what mirror pods may not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.conftest import Server, pod

PODS = "/api/v1/namespaces/default/pods"
ENFORCED = {"kubernetes.io/enforce-mountable-secrets": "true"}


def account(name: str, **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, "annotations": ENFORCED}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, **fields}


def container(**fields: Any) -> dict[str, Any]:
    return {"name": "c", "image": "i", **fields}


def variable(secret: str) -> dict[str, Any]:
    return {"env": [{"name": "V", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}}]}


def of_all(name: str) -> dict[str, Any]:
    """A pod that refers to a Secret in every way."""
    return {
        "volumes": [{"name": "v", "secret": {"secretName": name}}],
        "containers": [container(**variable(name), envFrom=[{"secretRef": {"name": name}}])],
        "imagePullSecrets": [{"name": name}],
    }


def test_a_pod_may_refer_to_what_its_account_lists(server: Server) -> None:
    server.create(account("a", secrets=[{"name": "own"}], imagePullSecrets=[{"name": "own"}]))
    server.create(pod("p", serviceAccountName="a", **of_all("own")))
    server.create(pod("q", **of_all("other")))  # The default account says nothing.


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}, 'volume with secret.secretName="s"'),
        ({"containers": [container(**variable("s"))]}, 'container c with envVar V referencing secret.secretName="s"'),
        (
            {"initContainers": [{**container(**variable("s")), "name": "d"}]},
            'init container d with envVar V referencing secret.secretName="s"',
        ),
        (
            {"containers": [container(envFrom=[{"secretRef": {"name": "s"}}])]},
            'container c with envFrom referencing secret.secretName="s"',
        ),
    ],
)
def test_and_to_no_other_secret(server: Server, spec: dict[str, Any], why: str) -> None:
    server.create(account("a", secrets=[{"name": "own"}]))
    refused = server("POST", PODS, pod("p", serviceAccountName="a", **spec))
    told = f"{why} is not allowed because service account a does not reference that secret"
    assert refused.code == 403 and refused.message == f'pods "p" is forbidden: {told}'


def test_nor_pull_with_another(server: Server) -> None:
    server.create(account("a", secrets=[{"name": "s"}], imagePullSecrets=[{"name": "own"}]))
    refused = server("POST", PODS, pod("p", serviceAccountName="a", imagePullSecrets=[{"name": "s"}]))
    why = (
        'imagePullSecrets[0].name="s" is not allowed because service account a does not reference that imagePullSecret'
    )
    assert refused.code == 403 and refused.message.endswith(why)


def mirror(**spec: Any) -> dict[str, Any]:
    made = pod("m", **spec)
    return {**made, "metadata": {"name": "m", "annotations": {"kubernetes.io/config.mirror": "x"}}}


def test_a_mirror_pod_stays_as_it_is(server: Server) -> None:
    made = server.create(mirror())
    assert "serviceAccountName" not in made["spec"] and "volumes" not in made["spec"]
    assert "volumeMounts" not in made["spec"]["containers"][0]


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"serviceAccountName": "default"}, "service accounts"),
        ({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}, "secrets"),
        ({"imagePullSecrets": [{"name": "s"}]}, "secrets"),
        ({"containers": [container(**variable("s"))]}, "secrets"),
    ],
)
def test_and_refers_to_nothing_that_is_secret(server: Server, spec: dict[str, Any], why: str) -> None:
    refused = server("POST", PODS, mirror(**spec))
    assert refused.code == 403
    assert refused.message == f'pods "m" is forbidden: a mirror pod may not reference {why}'
    token = {"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}
    refused = server("POST", PODS, mirror(volumes=[token]))
    assert refused.message.endswith("a mirror pod may not use ServiceAccountToken volume projections")
