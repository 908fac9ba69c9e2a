"""The set controller's decisions: the cases of tests/cases/petset, and the laws of ordering."""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
from hypothesis import strategies

from petset.controllers import actions
from petset.controllers.pets import identity, petset
from petset.controllers.workloads import revisions
from petset.kinds import pet_names
from petset.objects import encoding, meta
from tests import case_files
from tests.controllers import sets


@pytest.mark.parametrize("case", case_files.cases("petset"))
def test_case(case: dict[str, Any]) -> None:
    steps = sets.reconciled(case["given"])
    if "then" in case:
        assert sets.told(steps) == case["then"]
    if "status" in case:
        said = sets.status_of(steps)
        assert {field: said.get(field) for field in case["status"]} == case["status"]


# Identity


def test_a_pets_pod_carries_its_identity() -> None:
    set_ = sets.set_of("PetSet", claims=["www"])
    template = set_["spec"]["template"]
    volumes = [{"name": "www", "emptyDir": {}}, {"name": "work", "emptyDir": {}}]
    template = meta.changed(template, ("spec", "volumes"), volumes)
    pod = identity.pod_for(set_, 3, template, "web-abc")
    assert pod["metadata"]["name"] == pod["spec"]["hostname"] == "web-3"
    assert pod["spec"]["subdomain"] == "nginx"
    assert pod["metadata"]["labels"] == {
        "app": "web",
        "statefulset.kubernetes.io/pod-name": "web-3",
        "apps.kubernetes.io/pod-index": "3",
        "controller-revision-hash": "web-abc",
    }
    assert pod["metadata"]["annotations"] == {
        "pod.beta.kubernetes.io/hostname": "web-3",
        "pod.beta.kubernetes.io/subdomain": "nginx",
    }
    assert pod["metadata"]["ownerReferences"][0]["controller"] is True
    assert pod["spec"]["volumes"] == [
        {"name": "www", "persistentVolumeClaim": {"claimName": "www-web-3"}},
        {"name": "work", "emptyDir": {}},
    ]


# Revisions

GOLDEN_TEMPLATE = {
    "metadata": {"labels": {"app": "foo"}, "annotations": {"test": "value"}},
    "spec": {
        "containers": [
            {
                "name": "test",
                "image": "test",
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "imagePullPolicy": "Always",
            }
        ],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
    },
}


@pytest.mark.parametrize(
    ("collisions", "metadata", "expected"),
    [
        (0, {}, "776999688b"),  # As Kubernetes 1.34 names it.
        (0, {"creationTimestamp": None}, "c77f6d978"),  # As 1.33 did.
        (None, {}, "6855cb9558"),
    ],
)
def test_the_hash_is_upstreams(collisions: int | None, metadata: dict[str, Any], expected: str) -> None:
    template = {**GOLDEN_TEMPLATE, "metadata": {**GOLDEN_TEMPLATE["metadata"], **metadata}}
    data = revisions.encoded(revisions.data_of({"spec": {"template": template}}))
    assert revisions.hash_of(data, collisions) == expected


def test_the_data_is_escaped_as_go_escapes_it() -> None:
    assert revisions.encoded({"a": "<&>\u2028é"}) == '{"a":"\\u003c\\u0026\\u003e\\u2028é"}'.encode()
    assert encoding.loads(revisions.encoded({"a": "<&>"})) == {"a": "<&>"}


def test_a_taken_name_makes_the_collision_count_grow() -> None:
    set_ = sets.set_of()
    taken = sets.revision_of(set_, 1, None)
    taken = {**taken, "data": {"spec": {"template": {}}}}
    other = {"apiVersion": "v1", "kind": "Other", "name": "other", "uid": "other", "controller": True}
    taken = meta.changed(taken, ("metadata", "ownerReferences"), [other])
    history = revisions.history(set_, [taken], [])
    assert history.collisions == 1
    assert meta.name(history.update) != meta.name(taken)
    assert history.steps == (actions.Create(history.update),)


def test_rolling_back_gives_an_old_revision_a_new_number() -> None:
    set_ = sets.set_of()
    old, new = sets.revision_of(set_, 1, set_), sets.revision_of(sets.with_image(set_, "nginx:3"), 2, set_)
    history = revisions.history(set_, [old, new], [])
    assert meta.name(history.update) == meta.name(old)
    assert history.update["revision"] == 3
    assert history.steps == (actions.Update(history.update),)


def test_old_revisions_are_forgotten_beyond_the_limit_but_not_live_ones() -> None:
    set_ = sets.set_of(historyLimit=1)
    known = [sets.revision_of(sets.with_image(set_, f"nginx:{10 + i}"), i, set_) for i in range(1, 5)]
    newest = sets.revision_of(set_, 5, set_)
    pod = sets.pod_of(set_, known[0], {"ordinal": 0})
    history = revisions.history(set_, [*known, newest], [revisions.revision_name(pod)])
    assert [step.object["revision"] for step in history.forget] == [2, 3]  # type: ignore[union-attr]


# Laws


pods = strategies.fixed_dictionaries(
    {
        "ordinal": strategies.integers(0, 7),
        "phase": strategies.sampled_from(["Pending", "Running", "Running", "Running", "Failed", "Succeeded"]),
        "ready": strategies.booleans(),
        "deleting": strategies.booleans(),
        "old": strategies.booleans(),
    }
)
given = strategies.fixed_dictionaries(
    {
        "statefulset": strategies.fixed_dictionaries(
            {
                "replicas": strategies.integers(0, 6),
                "start": strategies.integers(0, 2),
                "partition": strategies.integers(0, 4),
                "claims": strategies.sampled_from([[], ["www"]]),
            }
        ),
        "pods": strategies.lists(pods, max_size=8, unique_by=lambda pod: pod["ordinal"]),
        "updating": strategies.booleans(),
    }
)


@hypothesis.given(given)
@hypothesis.settings(max_examples=300)
def test_laws_of_the_ordered_policy(given: dict[str, Any]) -> None:
    kind, set_, view = sets.world_of(given)
    steps = petset.reconcile(kind, meta.key(set_), view, sets.NOW)
    by_ordinal = {pod["ordinal"]: pod for pod in given["pods"]}
    start, size = given["statefulset"]["start"], given["statefulset"]["replicas"]
    wanted = range(start, start + size)

    def healthy(i: int) -> bool:
        pod = by_ordinal.get(i)
        return pod is not None and pod["phase"] == "Running" and pod["ready"] and not pod["deleting"]

    created = [
        pet_names.ordinal(s.object) for s in steps if isinstance(s, actions.Create) and s.object["kind"] == "Pod"
    ]
    deleted = [
        pet_names.ordinal(s.object) for s in steps if isinstance(s, actions.Delete) and s.object["kind"] == "Pod"
    ]
    assert len(created) + len(deleted) <= 1, "one pet at a time"
    for i in created:
        assert i in wanted and i not in by_ordinal
        assert all(healthy(lower) for lower in wanted if lower < i), "those below are ready first"
    for i in deleted:
        pod = by_ordinal[i]
        assert not pod["deleting"]
        surplus = [other for other in by_ordinal if other not in wanted]
        if i in surplus:
            assert i == max(surplus), "the highest goes first"
            assert all(healthy(lower) for lower in wanted), "filling comes before shrinking"
        elif pod["phase"] not in ("Failed", "Succeeded"):
            assert not surplus, "scaling comes before updating"
            assert i >= start + given["statefulset"]["partition"]
            assert pod["old"], "only an old pet is replaced"
            assert all(healthy(other) for other in wanted), "one at a time"
    assert not [s for s in steps if isinstance(s, actions.Delete) and s.object["kind"] == "PersistentVolumeClaim"]


@hypothesis.given(given)
@hypothesis.settings(max_examples=100)
def test_the_status_adds_up(given: dict[str, Any]) -> None:
    status = sets.status_of(sets.reconciled(given))
    assert status["replicas"] == len(given["pods"])
    assert status["availableReplicas"] <= status.get("readyReplicas", 0) <= status["replicas"]
    assert status.get("updatedReplicas", 0) <= status["replicas"]


def test_the_owners_of_a_claim():
    """Of the set, beside others that do not control it; what another controls is left alone."""
    set_ = sets.set_of(claims=["www"], retention={"whenDeleted": "Delete", "whenScaled": "Retain"})
    other = {"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": "uid of other"}
    ours = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "name": "web",
        "uid": "uid of web",
        "controller": True,
        "blockOwnerDeletion": True,
    }
    for before, after in (
        ([], [ours]),
        ([other], [other, ours]),
        ([ours, other], [ours, other]),
        ([{**ours, "controller": False}, other], [other, ours]),
        ([{**other, "controller": True}], [{**other, "controller": True}]),
    ):
        claim = meta.changed(sets.claim_of(set_, {"name": "www-web-0"}), ("metadata", "ownerReferences"), before)
        owned = identity.with_claim_owner(set_, None, claim, condemned=False)
        assert owned["metadata"]["ownerReferences"] == after
        assert identity.with_claim_owner(set_, None, owned, condemned=False) == owned
