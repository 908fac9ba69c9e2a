"""HorizontalPodAutoscaler: the cases of tests/cases/autoscalers, laws of what is followed, and what is remembered."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petset.base import tasks
from petset.client.views import Snapshot
from petset.controllers import actions
from petset.controllers.autoscaling import autoscaler, looking, pace
from petset.controllers.autoscaling.pace import History
from petset.kinds import builtin
from petset.kinds import horizontal_pod_autoscaler as kind
from petset.objects import meta
from tests import case_files

NOW = 1_000_000.0
WINDOW_SECONDS = 15


def scaler(spec: Any, **status: Any) -> Any:
    """For 80% of the CPU of a Deployment, of one to ten pods, unless it says otherwise."""
    whole = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "maxReplicas": 10}
    return kind.defaults(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web", "namespace": "default", "uid": "u", "generation": 3, "resourceVersion": "1"},
            "spec": {**whole, **spec},
            **({"status": status} if status else {}),
        }
    )


def pod_of(given: Any, name: str) -> Any:
    """Of one container c that requests 100m, and one beside it where that uses something."""
    request = given.get("request", "100m")
    requests = {} if request == "none" else {"cpu": request, "memory": "100Mi"}
    containers = [{"name": "c", "resources": {"requests": requests}}]
    if "beside" in given:
        containers.append({"name": "beside", "resources": {"requests": requests}})
    started = NOW - given.get("started", 3600)
    ready = {
        "type": "Ready",
        "status": str(given.get("ready", True)),
        "lastTransitionTime": tasks.rfc3339(NOW - given.get("ready_since", min(3600, given.get("started", 3600)))),
    }
    whole = {"resources": {"requests": {"cpu": given["whole"]}}} if "whole" in given else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": {"app": "web"},
            **({"deletionTimestamp": tasks.rfc3339(NOW)} if given.get("deleting") else {}),
        },
        "spec": {"containers": containers, **whole},
        "status": {
            "phase": given.get("phase", "Running"),
            "startTime": tasks.rfc3339(started),
            "conditions": [ready],
        },
    }


def metrics_of(given: Any, name: str) -> list[Any]:
    if "uses" not in given and "memory" not in given:
        return []
    usage = {"cpu": str(given.get("uses", 0)), "memory": str(given.get("memory", 0))}
    containers = [{"name": "c", "usage": usage}]
    if "beside" in given:
        containers.append({"name": "beside", "usage": {"cpu": str(given["beside"]), "memory": "0"}})
    moment, window = tasks.rfc3339(NOW), f"{WINDOW_SECONDS}s"
    return [{"metadata": {"name": name}, "timestamp": moment, "window": window, "containers": containers}]


def values_of(given: Any) -> Any:
    """Of another API: why there are none; or an amount, or one for each pod by its name."""
    if isinstance(given, str) and not given[0].isdecimal():
        return given
    about = {"timestamp": tasks.rfc3339(NOW), "windowSeconds": 60}
    if isinstance(given, dict):
        return [
            {"describedObject": {"kind": "Pod", "name": name}, "value": str(v), **about} for name, v in given.items()
        ]
    return [{"value": str(one), **about} for one in (given if isinstance(given, list) else [given])]


def scale_of(replicas: int, selector: str = "app=web") -> Any:
    return {"spec": {"replicas": replicas}, "status": {"selector": selector, "replicas": replicas}}


TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"}}


def changes(entries: Sequence[Sequence[int]]) -> tuple[tuple[float, int], ...]:
    return tuple((NOW - ago, number) for ago, number in entries)


def told(steps: Sequence[actions.Action]) -> list[str]:
    """Each event that is recorded if all goes well."""
    found: list[str] = []
    for step in actions.flat(steps):
        event = step if isinstance(step, actions.EmitEvent) else getattr(step, "on_success", None)
        if event is not None:
            found.append(f"{event.reason} {event.message}")
    return found


def status_of(steps: Sequence[actions.Action]) -> Any:
    """The last that is written if all goes well."""
    return next(
        (step.object["status"] for step in reversed([*actions.flat(steps)]) if isinstance(step, actions.UpdateStatus)),
        {},
    )


def size_of(steps: Sequence[actions.Action]) -> int | None:
    """What the target is brought to."""
    return next(
        (step.patch["spec"]["replicas"] for step in actions.flat(steps) if isinstance(step, actions.Patch)), None
    )  # type: ignore[call-overload]


@pytest.mark.parametrize("case", case_files.cases("autoscalers"))
def test_case(case: dict[str, Any]) -> None:
    before, then = case["given"], case["then"]
    at_zero = {"type": "ScaledToZero", "status": "True", "reason": "ScaledToZero", "message": ""}
    about = scaler(before.get("spec", {}), **({"conditions": [at_zero]} if before.get("zero") else {}))
    names = [f"p{index}" for index in range(len(before["pods"]))]
    pods = [pod_of(one, name) for one, name in zip(before["pods"], names, strict=True)]
    measured = [one for given_, name in zip(before["pods"], names, strict=True) for one in metrics_of(given_, name)]
    history = History(
        changes(before.get("wishes", ())), changes(before.get("ups", ())), changes(before.get("downs", ()))
    )
    if "failed" in before:
        found: looking.Found | str = before["failed"]
    else:
        scale = scale_of(before["replicas"], before.get("selector", "app=web"))
        values = dict(enumerate(map(values_of, before.get("values", ()))))
        found = looking.Found(TARGET, scale, before.get("unavailable", measured), values)
        assert autoscaler.needs_pods(about, scale) == then.get("asks", True)
    steps, after = autoscaler.decided(about, found, pods, before.get("others", ()), history, NOW)
    status = status_of(steps)
    if "size" in then:
        assert (size_of(steps) if size_of(steps) is not None else before["replicas"]) == then["size"]
        assert status["currentReplicas"] == before["replicas"]
        assert status["observedGeneration"] == 3
        is_changed = then["size"] != before["replicas"]
        assert ("lastScaleTime" in status) == is_changed == (after.changing is not None)
    if "event" in then:
        assert told(steps)[-1] == then["event"]
    current = [
        next(iter(one.values()))
        for one in ({k: v for k, v in m.items() if k != "type"} for m in status.get("currentMetrics", ()))
        if one
    ]
    if "percent" in then:
        assert current[0]["current"]["averageUtilization"] == then["percent"]
    if "current" in then:
        assert current[0]["current"]["averageValue"] == then["current"]
    if "status" in then:
        assert current[0] == then["status"]
    if "because" in then:
        assert [one["message"] for one in status["conditions"] if one["type"] == "ScalingActive"] == [then["because"]]
    if "reasons" in case:
        reasons = {one["type"]: one["reason"] for one in status["conditions"]}
        reasons.pop("ScaledToZero", None)
        assert reasons == case["reasons"]
    again = autoscaler.decided({**about, "status": status}, found, pods, before.get("others", ()), history, NOW)[0]
    if size_of(steps) is None:
        assert not any(isinstance(step, actions.UpdateStatus) for step in actions.flat(again))  # Nothing new to say.


SIZES = st.integers(1, 60)
RULES = st.fixed_dictionaries(
    {
        "stabilizationWindowSeconds": st.sampled_from((0, 60, 300)),
        "selectPolicy": st.sampled_from(("Max", "Min", "Disabled")),
        "policies": st.lists(
            st.fixed_dictionaries(
                {
                    "type": st.sampled_from(("Pods", "Percent")),
                    "value": st.integers(1, 200),
                    "periodSeconds": st.sampled_from((15, 60, 600)),
                }
            ),
            min_size=1,
            max_size=3,
        ),
    }
)
ENTRIES = st.lists(st.tuples(st.integers(0, 900), SIZES), max_size=6).map(lambda some: tuple(changes(some)))


@given(
    st.one_of(st.just({}), st.fixed_dictionaries({"scaleUp": RULES, "scaleDown": RULES})),
    SIZES,
    SIZES,
    ENTRIES,
    ENTRIES,
    ENTRIES,
)
@settings(max_examples=150, deadline=None)
def test_what_is_followed_stays_in_its_bounds_and_direction(
    behavior: Any, current: int, wish: int, wishes: Any, ups: Any, downs: Any
) -> None:
    least, most = 2, 40
    hypothesised = min(max(current, least), most)
    spec = {"maxReplicas": most, **({"behavior": behavior} if behavior else {})}
    history = History(wishes, ups, downs)
    found = pace.followed(spec, history, hypothesised, wish, least, NOW)
    assert least <= found.replicas <= most
    lowest = min([wish, *(number for _, number in wishes)])
    highest = max([wish, *(number for _, number in wishes)])
    assert min(hypothesised, lowest) <= max(found.replicas, least) and found.replicas <= max(
        hypothesised, highest, least
    )
    if behavior and behavior["scaleUp"]["selectPolicy"] == "Disabled":
        assert found.replicas <= hypothesised
    if behavior and behavior["scaleDown"]["selectPolicy"] == "Disabled":
        assert found.replicas >= hypothesised


@given(st.integers(1, 30), st.integers(1, 30), st.floats(0.92, 1.08), st.integers(1, 400))
@settings(max_examples=100, deadline=None)
def test_inside_the_tolerance_nothing_ever_moves(replicas: int, pods: int, factor: float, target: int) -> None:
    """However many pods there are: of a load that they can just bear, they stay as many."""
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": {"averageValue": f"{target * 10}m"}}}
    about = scaler({"metrics": [metric], "maxReplicas": 100})
    given_ = {"uses": f"{round(target * 10 * factor)}m"}
    some = [pod_of(given_, f"p{index}") for index in range(pods)]
    measured = [one for pod in some for one in metrics_of(given_, meta.name(pod))]
    found = looking.Found(TARGET, scale_of(replicas), measured)
    steps, _ = autoscaler.decided(about, found, some, (), History(), NOW)
    assert size_of(steps) is None


def test_a_change_counts_once_it_is_seen() -> None:
    history = History(changing=(NOW - 15, 3, 5))
    assert history.seen(5, NOW).ups == ((NOW - 15, 2),)
    assert history.seen(3, NOW).ups == ()
    assert History(changing=(NOW - 15, 5, 3)).seen(3, NOW).downs == ((NOW - 15, 2),)
    assert history.seen(5, NOW).seen(5, NOW).ups == ((NOW - 15, 2),)


def test_what_is_remembered_has_an_end() -> None:
    history = History()
    for number in itertools.islice(itertools.count(), 2000):
        history = history.seen(3, NOW + number * autoscaler.LOOK_SECONDS).wished(
            3, NOW + number * autoscaler.LOOK_SECONDS
        )
    assert len(history.wishes) <= pace.KEPT_SECONDS / autoscaler.LOOK_SECONDS + 2


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ({"apiVersion": "apps/v1", "kind": "Deployment"}, "deployments"),
        ({"apiVersion": "apps/v1beta9", "kind": "StatefulSet"}, "statefulsets"),  # The version does not matter.
        ({"apiVersion": "apps/v1alpha1", "kind": "PetSet"}, "petsets"),
        ({"apiVersion": "v1", "kind": "ReplicationController"}, "replicationcontrollers"),
        ({"apiVersion": "apps/v1", "kind": "Boat"}, 'no matches for kind "Boat" in group "apps"'),
        ({"apiVersion": "a/b/c", "kind": "Boat"}, "unexpected GroupVersion string: a/b/c"),
    ],
)
def test_whom_a_reference_means(reference: Any, found: str) -> None:
    try:
        assert looking.targets(reference, builtin.KINDS)[0].plural == found
    except looking.Failed as failed:
        assert str(failed) == found


@pytest.mark.parametrize(
    "nonsense",
    [
        {},
        {"containers": "x"},
        {"containers": [{"name": "c"}]},
        {"containers": [{"name": "c", "usage": {"cpu": 5}}], "timestamp": 5, "window": "x"},
        {"containers": [{"name": "c", "usage": {"cpu": "x"}}], "timestamp": "x", "window": "1s"},
        {"containers": [{"name": "c", "usage": {"cpu": "1"}}], "timestamp": tasks.rfc3339(NOW), "window": "1s" * 999},
    ],
)
def test_what_a_stranger_says_that_makes_no_sense_counts_as_unknown(nonsense: Any) -> None:
    found = looking.Found(TARGET, scale_of(1), [{"metadata": {"name": "p0"}, **nonsense}])
    steps, _ = autoscaler.decided(scaler({}), found, [pod_of({}, "p0")], (), History(), NOW)
    assert size_of(steps) is None
    assert told(steps)[0].startswith("FailedGetResourceMetric failed to get cpu utilization")


def test_one_that_is_gone_is_forgotten() -> None:
    many = autoscaler.Autoscalers()
    view = Snapshot([scaler({})])
    later, look = many.reconcile("default/web", view, NOW)
    assert later == actions.RequeueAfter(15.0)
    look.then(looking.Found(TARGET, scale_of(1), ()), NOW)
    assert many._histories  # type: ignore[reportPrivateUsage]
    assert many.reconcile("default/web", Snapshot([]), NOW) == []
    assert many._histories == {} and many._selectors == {}  # type: ignore[reportPrivateUsage]
