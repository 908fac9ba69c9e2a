"""What a KubeSchedulerConfiguration comes to, and what of it is refused; the cases are in tests/cases/scheduling."""

from __future__ import annotations

import pytest

from petset.client.views import Snapshot
from petset.objects import meta
from petset.scheduler import policy, profiles
from tests.scheduler import short

HEAD = f"apiVersion: {profiles.API_VERSION}\nkind: {profiles.KIND}\n"


def test_a_file_without_profiles_has_the_usual_one() -> None:
    assert profiles.read(HEAD.encode()) == profiles.DEFAULT


def test_weights_are_those_of_the_file() -> None:
    score = "{disabled: [{name: ImageLocality}], enabled: [{name: NodeAffinity, weight: 9}]}"
    text = f"{HEAD}profiles: [{{plugins: {{score: {score}}}}}]"
    profile = profiles.read(text.encode())["default-scheduler"]
    assert profile.weights["NodeAffinity"] == 9 and "ImageLocality" not in profile.weights
    assert profile.weights["TaintToleration"] == 3


def test_pods_of_no_profile_are_left_to_others() -> None:
    named = profiles.read((HEAD + "profiles: [{schedulerName: mine}]").encode())
    pods = [short.pod({"name": name, "spec": {"schedulerName": name}}) for name in ("mine", "default-scheduler", "x")]
    decisions = policy.place(Snapshot([short.node("n1", {}), *pods]), profiles=named)
    assert [meta.name(decision.pod) for decision in decisions] == ["mine"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [", "while parsing"),
        ("", f"it is not one {profiles.KIND}"),
        ("kind: Other", f"it is not a {profiles.KIND} of {profiles.API_VERSION}"),
        (HEAD + "parallelism: 3", "parallelism: is not offered"),
        (HEAD + "profiles: 1", "profiles: must be a list of objects"),
        (HEAD + "profiles: [{}, {}]", 'profiles[1].schedulerName: "default-scheduler" is there twice'),
        (HEAD + "profiles: [{schedulerName: 1}]", "profiles[0].schedulerName: must be a text"),
        (HEAD + "profiles: [{plugins: {bind: {}}}]", "profiles[0].plugins.bind: is not offered"),
        (
            HEAD + "profiles: [{plugins: {score: {enabled: [{name: X}]}}}]",
            "score.enabled[0].name: there is no such plugin",
        ),
        (
            HEAD + "profiles: [{plugins: {score: {enabled: [{name: NodeAffinity, weight: -1}]}}}]",
            "profiles[0].plugins.score.enabled[0].weight: must be a whole number above 0",
        ),
        (
            HEAD + "profiles: [{pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: {type: X}}}]}]",
            "scoringStrategy.type: must be LeastAllocated or MostAllocated",
        ),
        (HEAD + "profiles: [{pluginConfig: [{name: Other}]}]", "profiles[0].pluginConfig[0].name: arguments are taken"),
        (
            HEAD + "profiles: [{pluginConfig: [{name: NodeAffinity, args: {addedAffinity: {x: 1}}}]}]",
            "profiles[0].pluginConfig[0].args.addedAffinity: must be a NodeAffinity",
        ),
    ],
)
def test_what_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError) as refused:
        profiles.read(text.encode())
    assert why in str(refused.value) and "\n" not in str(refused.value)
