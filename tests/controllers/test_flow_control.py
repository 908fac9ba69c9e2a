"""What every cluster has for flow control is kept, and a schema without its level says so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from petset.client.views import Snapshot
from petset.controllers import actions, flow_control
from petset.kinds.flowcontrol import every_cluster
from petset.kinds.flowcontrol.flow_schema import FLOWSCHEMAS
from petset.kinds.flowcontrol.priority_level import PRIORITYLEVELCONFIGURATIONS
from petset.objects import meta
from petset.objects.meta import Object
from tests.controllers.cluster import running

AUTO = "apf.kubernetes.io/autoupdate-spec"


def stored(plural: str, name: str, says: str | None = "true", generation: int = 1, **spec: Any) -> Object:
    obj = every_cluster.OBJECTS[plural, name]
    metadata = {"name": name, "uid": name, "resourceVersion": "1", "generation": generation}
    annotations = {"annotations": {AUTO: says, "own": "kept"} if says is not None else {"own": "kept"}}
    return {**obj, "metadata": {**metadata, **annotations}, "spec": {**obj["spec"], **spec}}


@pytest.mark.parametrize(
    ("present", "follows", "says"),
    [
        (stored("flowschemas", "probes", matchingPrecedence=7), True, "true"),
        (stored("flowschemas", "probes", "T", matchingPrecedence=7), True, "T"),
        (stored("flowschemas", "probes", "false", matchingPrecedence=7), False, "false"),
        (stored("flowschemas", "probes", None, 1, matchingPrecedence=7), True, "true"),
        (stored("flowschemas", "probes", None, 2, matchingPrecedence=7), False, "false"),
        (stored("flowschemas", "probes", "perhaps", 2, matchingPrecedence=7), False, "false"),
        (stored("flowschemas", "catch-all", "false", 2, matchingPrecedence=7), True, "true"),
        (stored("prioritylevelconfigurations", "exempt", "false", 2), True, "true"),
    ],
)
def test_who_is_kept_as_they_are(present: Object, follows: bool, says: str) -> None:
    kind = FLOWSCHEMAS if present["kind"] == "FlowSchema" else PRIORITYLEVELCONFIGURATIONS
    wanted = every_cluster.OBJECTS[kind.plural, meta.name(present)]
    new = every_cluster.revised(present, wanted)
    assert new["spec"] == (wanted if follows else present)["spec"]
    assert new["metadata"]["annotations"] == {AUTO: says, "own": "kept"}
    assert every_cluster.revised(new, wanted) == new
    steps = flow_control.reconcile(f"{kind.plural}/{meta.name(present)}", Snapshot((present,)), 0.0)
    assert (actions.Update(new) in steps) == (new != present)


def test_what_an_administrator_gives_to_exempt_stays() -> None:
    present = stored(
        "prioritylevelconfigurations", "exempt", exempt={"nominalConcurrencyShares": 9, "lendablePercent": 3}
    )
    assert every_cluster.revised(present, every_cluster.OBJECTS["prioritylevelconfigurations", "exempt"]) == present


def test_what_is_missing_is_made_and_what_is_left_over_goes() -> None:
    wanted = every_cluster.OBJECTS["flowschemas", "probes"]
    assert flow_control.reconcile("flowschemas/probes", Snapshot(()), 0.0) == [actions.Create(wanted)]
    assert flow_control.reconcile("flowschemas/other", Snapshot(()), 0.0) == []
    old = meta.changed(stored("flowschemas", "probes"), ("metadata", "name"), "old")
    assert flow_control.reconcile("flowschemas/old", Snapshot((old,)), 0.0) == [actions.Delete(old, at_revision=True)]
    own = meta.changed(old, ("metadata", "annotations"), {})
    assert not any(
        isinstance(step, actions.Delete) for step in flow_control.reconcile("flowschemas/old", Snapshot((own,)), 0.0)
    )


def test_over_a_server() -> None:
    async def main() -> None:
        async with running() as it:

            def dangling(name: str) -> str:
                found = it.get(FLOWSCHEMAS, name)
                condition = meta.condition(found, "Dangling") if found is not None else None
                return f"{condition['status']} {condition['reason']}" if condition is not None else ""

            await it.until(lambda: all(dangling(meta.name(one)) == "False Found" for one in it.all(FLOWSCHEMAS)))
            for kind, name in ((FLOWSCHEMAS, "probes"), (PRIORITYLEVELCONFIGURATIONS, "system")):
                gone = it.get(kind, name)
                await it.client.delete(kind, name)
                await it.until(
                    lambda kind=kind, name=name, gone=gone: (
                        (it.get(kind, name) or gone)["metadata"]["uid"] != gone["metadata"]["uid"]
                    )
                )
            spec = {
                "priorityLevelConfiguration": {"name": "later"},
                "rules": every_cluster.OBJECTS["flowschemas", "global-default"]["spec"]["rules"],
            }
            made = {"apiVersion": FLOWSCHEMAS.api_version, "kind": "FlowSchema", "metadata": {"name": "mine"}}
            await it.create({**made, "spec": spec})
            await it.until(lambda: dangling("mine") == "True NotFound")
            level = every_cluster.OBJECTS["prioritylevelconfigurations", "system"]
            await it.create({**level, "metadata": {"name": "later"}})
            await it.until(lambda: dangling("mine") == "False Found")
            await it.client.delete(PRIORITYLEVELCONFIGURATIONS, "later")
            await it.until(lambda: dangling("mine") == "True NotFound")

    asyncio.run(main())
