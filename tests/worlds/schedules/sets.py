"""One schedule of a set: the real `petset.reconcile` over late caches, a scripted node, and a monkey, in any order.

The model is a dictionary of objects and a log of its changes. The controller sees each kind through a cache that is
some way behind, each its own way; what it decides is carried out one step at a time, while anything else happens in
between, and the steps meet the truth: a create of what is there, an update of what has moved on, a deletion of another
uid fail and end the plan. It may die between any two steps and come back with fresh caches. The node sees pods late
too; it starts a pod when no other of that name runs, and tells the API of an end only when it is true. The monkey
scales, deletes pods, lets them fail, makes them unready, and changes the template.

The laws are those of the whole worlds (tests/worlds/laws.py), held against the picture the decision was made on: order
up and down, no pet removed without a reason, no two live pets of one identity, no claim lost or shared; and when the
monkey rests, all is as the spec says within bounded time, and stays so.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from petset.client.informer import Change, Fact, Facts
from petset.client.views import Kept, KeptThing, View, indices_of
from petset.controllers import actions
from petset.controllers.pets import family as families
from petset.controllers.pets import petset
from petset.kinds.pod import PODS
from petset.objects import meta
from petset.objects.meta import Object
from petset.objects.registry import Kind

NOW = 1_470_000_000.0
STEPS_MIN, STEPS_MAX = 15, 45
ROUNDS_MAX = 80  # Until it settles.
REPLICAS_MAX = 4
BEGIN_SETTLED_SHARE = 0.5
NAME, SPACE = "web", "default"
KEY = f"{SPACE}/{NAME}"
KINDS = (families.STATEFULSET, families.PETSET)
IMAGES = ("a:1", "a:2", "a:3")
POD, CLAIM, REVISION = "Pod", "PersistentVolumeClaim", "ControllerRevision"
Cached = dict[str, Object]


class Broken(AssertionError):
    """A schedule that breaks a law."""


class Picture(View):
    """The caches as a view."""

    def __init__(self, cached: dict[str, Cached]):
        super().__init__()
        self.cached = cached

    def get(self, resource: Kind, namespace: str, name: str) -> Object | None:
        return self.cached[resource.kind].get(name)

    def list(self, resource: Kind, namespace: str = "") -> list[Object]:
        objects = self.cached[resource.kind]
        return [objects[name] for name in sorted(objects)]

    def by_index(self, resource: Kind, index: str, value: str) -> list[Object]:
        wanted = dict(indices_of(resource))[index]
        return [obj for obj in self.list(resource) if value in wanted(obj)]

    def follow(self, resource: Kind, index: str, value: str, change: Change) -> Callable[[], None]:
        for obj in self.by_index(resource, index, value):
            change(None, obj)
        return lambda: None

    def kept(self, make: Callable[..., KeptThing], key: str, *about: Any) -> KeptThing:
        return make(self, *about)

    def forget(self, make: Callable[..., Kept], key: str) -> None:
        return None

    def facts(self, resource: Kind, function: Callable[[Object], Fact]) -> Facts[Fact]:
        return Facts(function, {})


class Refused(Exception):
    """What the API answers to a step that does not fit."""


class Schedule:
    def __init__(self, chance: random.Random):
        self.chance = chance
        self.kind = chance.choice(KINDS)
        self.set_kind = self.kind.resource.kind
        names = (self.set_kind, POD, CLAIM, REVISION)
        self.truth: dict[str, Cached] = {name: {} for name in names}
        self.logs: dict[str, list[tuple[str, Object | None]]] = {name: [] for name in names}
        self.caches: dict[str, Cached] = {name: {} for name in names}
        self.read: dict[str, int] = dict.fromkeys(names, 0)  # How far each cache has come in its log.
        self.revision = self.uids = 0
        self.plan: list[actions.Action] = []
        self.written: dict[str, int] = {}  # What the caches must show before the next decision.
        self.node: Cached = {}  # The node's own late picture of the pods.
        self.node_read = 0
        self.running: dict[str, str] = {}  # name -> uid of what runs on the node.
        self.said: list[str] = []
        self.spared: dict[str, Object] = {}  # Claims that were there once.
        self.picture: dict[str, Cached] = {}  # On which the plan was made.
        self.put(self.a_set())

    # The API

    def a_strategy(self) -> dict[str, Any]:
        kind = self.chance.choice(("OnDelete", "OnDelete", "Recreate", *("RollingUpdate",) * 4))
        rolling = {"rollingUpdate": {"maxUnavailable": self.chance.choice((1, 1, 2, "50%"))}}
        return {"type": kind, **(rolling if kind == "RollingUpdate" else {})}

    def a_set(self) -> dict[str, Any]:
        chance = self.chance
        spec: dict[str, Any] = {
            "replicas": chance.randint(1, REPLICAS_MAX),
            "serviceName": NAME,
            "selector": {"matchLabels": {"app": NAME}},
            "podManagementPolicy": chance.choice(("OrderedReady", "OrderedReady", "Parallel")),
            "updateStrategy": self.a_strategy(),
            "template": {
                "metadata": {"labels": {"app": NAME}},
                "spec": {"containers": [{"name": "main", "image": IMAGES[0]}]},
            },
        }
        if chance.random() < 0.6:
            spec["volumeClaimTemplates"] = [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]
        if chance.random() < 0.15:
            spec["ordinals"] = {"start": 2}
        metadata = {"name": NAME, "namespace": SPACE, "generation": 1}
        return {"apiVersion": self.kind.resource.api_version, "kind": self.set_kind, "metadata": metadata, "spec": spec}

    def put(self, obj: Object) -> Object:
        """Write it as it is, with the next resourceVersion and, when it is new, a uid."""
        self.revision += 1
        metadata = {**obj["metadata"], "resourceVersion": str(self.revision)}
        if "uid" not in metadata:
            self.uids += 1
            metadata["uid"] = f"u{self.uids}"
        new = {**obj, "metadata": metadata}
        name = metadata["name"]
        self.truth[obj["kind"]][name] = new
        self.logs[obj["kind"]].append((name, new))
        return new

    def remove(self, kind: str, name: str) -> None:
        self.revision += 1
        del self.truth[kind][name]
        self.logs[kind].append((name, None))

    def delete_pod(self, pod: Object) -> None:
        """As the API does it: at once when no node has it, else marked until the node has stopped it."""
        if meta.is_deleting(pod):
            return
        if "nodeName" not in pod["spec"] or meta.get(pod, "status", "phase") in ("Failed", "Succeeded"):
            self.remove(POD, meta.name(pod))
        else:
            self.put(meta.changed(pod, ("metadata", "deletionTimestamp"), "2016-08-01T00:00:00Z"))

    def current(self, obj: Object) -> Object:
        found = self.truth[obj["kind"]].get(meta.name(obj))
        if found is None or meta.uid(found) != meta.uid(obj):
            raise Refused("not found")
        return found

    def carry_out(self, action: actions.Action) -> None:
        """One step of the plan, against the truth."""
        match action:
            case actions.Create(obj):
                if meta.name(obj) in self.truth[obj["kind"]]:
                    raise Refused("it exists")
                if obj["kind"] == POD:
                    self.may_create(obj)
                self.written[obj["kind"]] = len(self.logs[obj["kind"]]) + 1
                self.put(obj)
            case actions.Update(obj) | actions.UpdateStatus(obj):
                found = self.current(obj)
                if meta.revision(found) != meta.revision(obj):
                    raise Refused("it has moved on")
                if isinstance(action, actions.UpdateStatus):
                    obj = {**found, "status": obj["status"]}
                self.written[obj["kind"]] = len(self.logs[obj["kind"]]) + 1
                self.put(obj)
            case actions.Delete(obj):
                found = self.truth[obj["kind"]].get(meta.name(obj))
                if found is None:
                    return
                if meta.uid(found) != meta.uid(obj):
                    raise Refused("another uid")
                if obj["kind"] == CLAIM:
                    raise Broken(f"the claim {meta.name(obj)} is deleted by the controller")
                if obj["kind"] == POD:
                    self.may_delete(found)
                    self.delete_pod(found)
                else:
                    self.remove(obj["kind"], meta.name(obj))
                self.written[obj["kind"]] = len(self.logs[obj["kind"]])
            case actions.StillThere(obj):
                if meta.is_deleting(self.current(obj)):
                    raise Refused("it goes")
            case actions.Fail(why):
                raise Refused(why)
            case actions.EmitEvent() | actions.RequeueAfter():
                pass
            case _:
                raise Broken(f"a set's controller has no business with {action}")

    # Laws

    def seen_set(self) -> Object:
        return self.picture[self.set_kind][NAME]

    def may_create(self, pod: Object) -> None:
        set_, ordinal = self.seen_set(), number(pod)
        start = meta.get(set_, "spec", "ordinals", "start", default=0)
        if not start <= ordinal < start + set_["spec"]["replicas"]:
            raise Broken(f"{meta.name(pod)} is created beyond the range")
        for template in set_["spec"].get("volumeClaimTemplates", ()):
            claim = f"{meta.name(template)}-{meta.name(pod)}"
            volumes = {each["name"]: each for each in pod["spec"].get("volumes", ())}
            mounted = meta.get(volumes.get(meta.name(template)), "persistentVolumeClaim", "claimName")
            if mounted != claim or claim not in self.truth[CLAIM]:
                raise Broken(f"{meta.name(pod)} is created without its claim {claim}")
        if set_["spec"]["updateStrategy"]["type"] == "Recreate":
            own = [each for each in self.picture[POD].values() if meta.is_controlled_by(each, set_)]
            old = [meta.name(each) for each in own if is_of_another_template(set_, each)]
            if old:
                raise Broken(f"{meta.name(pod)} is created while {old} of an old template were there")
        if set_["spec"]["podManagementPolicy"] == "Parallel":
            return
        for below in range(start, ordinal):
            other = self.picture[POD].get(f"{NAME}-{below}")
            if other is None or not is_ready(other):
                raise Broken(f"{meta.name(pod)} is created while {NAME}-{below} was not seen ready")

    def may_delete(self, pod: Object) -> None:
        set_, ordinal = self.seen_set(), number(pod)
        start = meta.get(set_, "spec", "ordinals", "start", default=0)
        seen = self.picture[POD][meta.name(pod)]
        wanted = start <= ordinal < start + set_["spec"]["replicas"]
        is_old = is_of_another_template(set_, seen)
        if is_old and set_["spec"]["updateStrategy"]["type"] == "Recreate":
            return  # All of them go at once.
        if wanted:
            if not is_old and meta.get(seen, "status", "phase") not in ("Failed", "Succeeded"):
                raise Broken(f"{meta.name(pod)} is removed though it is wanted as it is")
        elif set_["spec"]["podManagementPolicy"] != "Parallel":
            own = [each for each in self.picture[POD].values() if meta.is_controlled_by(each, set_)]
            higher = [meta.name(each) for each in own if number(each) > ordinal]
            if higher:
                raise Broken(f"{meta.name(pod)} is removed before {higher}")

    def look(self) -> None:
        """What must hold after every step."""
        for name, claim in self.truth[CLAIM].items():
            before = self.spared.setdefault(name, claim)
            if meta.uid(before) != meta.uid(claim):
                raise Broken(f"the claim {name} was made anew")
        for name in self.spared:
            if name not in self.truth[CLAIM]:
                raise Broken(f"the claim {name} is lost")

    # Steps

    def run(self) -> None:
        if self.chance.random() < BEGIN_SETTLED_SHARE:
            self.settle()
            self.said.append("all is well")
        for _ in range(self.chance.randrange(STEPS_MIN, STEPS_MAX)):
            step = self.chance.choices(STEPS, WEIGHTS)[0]
            step(self)
            self.look()
        self.settle()

    def hear(self) -> None:
        """One cache comes some way nearer to the truth."""
        behind = [kind for kind, log in self.logs.items() if self.read[kind] < len(log)]
        if behind:
            kind = self.chance.choice(behind)
            self.read_on(kind, self.chance.randint(1, len(self.logs[kind]) - self.read[kind]))

    def read_on(self, kind: str, count: int) -> None:
        cache, start = self.caches[kind], self.read[kind]
        for name, obj in self.logs[kind][start : start + count]:
            if obj is None:
                cache.pop(name, None)
            else:
                cache[name] = obj
        self.read[kind] = start + count

    def decide(self) -> None:
        """The controller looks again, once its caches show what it wrote; or too early, as after a time-out."""
        if self.plan:
            self.act()
            return
        caught_up = all(self.read[kind] >= position for kind, position in self.written.items())
        if not caught_up and self.chance.random() < 0.9:
            return
        self.written = {}
        self.picture = {kind: dict(cache) for kind, cache in self.caches.items()}
        self.plan = list(actions.flat(petset.reconcile(self.kind, KEY, Picture(self.picture), NOW)))
        self.said.append(f"decides on {[f'{type(step).__name__} {name_of(step)}' for step in self.plan]}")

    def act(self) -> None:
        """The next step of the plan."""
        if not self.plan:
            self.decide()
            return
        action = self.plan.pop(0)
        try:
            self.carry_out(action)
        except Refused as why:
            self.said.append(f"{type(action).__name__} {name_of(action)}: {why}")
            self.plan = []
        else:
            self.said.append(f"{type(action).__name__} {name_of(action)}")

    def die(self) -> None:
        """The controller dies between two steps and comes back with what a list says."""
        self.plan, self.written = [], {}
        for kind, log in self.logs.items():
            self.read_on(kind, len(log) - self.read[kind])
        self.said.append("the controller dies")

    def node_hears(self) -> None:
        log = self.logs[POD]
        if self.node_read < len(log):
            upto = self.chance.randint(self.node_read + 1, len(log))
            for name, obj in log[self.node_read : upto]:
                if obj is None:
                    self.node.pop(name, None)
                else:
                    self.node[name] = obj
            self.node_read = upto

    def node_works(self) -> None:
        """Bind, start, report or stop one pod, as the node's picture has it."""
        waiting = [pod for pod in self.truth[POD].values() if "nodeName" not in pod["spec"]]
        if waiting and self.chance.random() < 0.5:
            self.put(meta.changed(self.chance.choice(waiting), ("spec", "nodeName"), "n1"))
            return
        names = sorted({**self.node, **self.running})
        if names:
            self.serve(self.chance.choice(names))

    def serve(self, name: str) -> None:
        pod, runs = self.node.get(name), self.running.get(name)
        if runs is not None and (pod is None or meta.uid(pod) != runs or meta.is_deleting(pod)):
            del self.running[name]  # Stopped; only then the API may hear of it.
            self.said.append(f"{name} {runs} stops")
            return
        if pod is None or "nodeName" not in pod["spec"]:
            return
        found = self.truth[POD].get(name)
        is_same = found is not None and meta.uid(found) == meta.uid(pod)
        if meta.is_deleting(pod):
            if is_same:
                self.said.append(f"{name} {meta.uid(pod)} is gone")
                self.remove(POD, name)
        elif meta.get(pod, "status", "phase") in ("Failed", "Succeeded"):
            pass
        elif runs is None:
            self.start(name, pod)
        elif is_same and found is not None and not is_ready(found) and not meta.is_deleting(found):
            self.report(found, "Running", ready=True)

    def start(self, name: str, pod: Object) -> None:
        """No two live pets of one identity: nothing of that name may run, and the API must not have let it go."""
        for claim in (each.get("persistentVolumeClaim") for each in pod["spec"].get("volumes", ())):
            if claim and claim["claimName"] not in self.truth[CLAIM]:
                raise Broken(f"{name} starts without {claim['claimName']}")
        self.running[name] = meta.uid(pod)
        self.said.append(f"{name} {meta.uid(pod)} runs")

    def report(self, pod: Object, phase: str, ready: bool) -> None:
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        self.put({**pod, "status": {"phase": phase, "conditions": conditions}})

    # The monkey

    def monkey(self) -> None:
        self.chance.choices(MONKEYS, MONKEY_WEIGHTS)[0](self)

    def scales(self) -> None:
        set_ = self.truth[self.set_kind][NAME]
        replicas = self.chance.randint(0, REPLICAS_MAX)
        self.said.append(f"scale to {replicas}")
        self.edit(meta.changed(set_, ("spec", "replicas"), replicas))

    def edits(self) -> None:
        set_ = self.truth[self.set_kind][NAME]
        image = self.chance.choice(IMAGES)
        self.said.append(f"image {image}")
        self.edit(meta.changed(set_, ("spec", "template", "spec", "containers"), [{"name": "main", "image": image}]))

    def edit(self, set_: Object) -> None:
        self.put(meta.changed(set_, ("metadata", "generation"), set_["metadata"]["generation"] + 1))

    def deletes(self) -> None:
        if pod := self.a_pod():
            self.said.append(f"the monkey deletes {meta.name(pod)}")
            self.delete_pod(pod)

    def fails(self) -> None:
        """A pod ends, and its node says so."""
        pod = self.a_pod()
        if pod and self.running.get(meta.name(pod)) == meta.uid(pod) and not meta.is_deleting(pod):
            del self.running[meta.name(pod)]
            self.said.append(f"{meta.name(pod)} fails")
            self.report(pod, "Failed", ready=False)

    def falters(self) -> None:
        pod = self.a_pod()
        if pod and is_ready(pod):
            self.said.append(f"{meta.name(pod)} is not ready")
            self.report(pod, "Running", ready=False)

    def orphans(self) -> None:
        """Somebody takes a pod's owner away."""
        pod = self.a_pod()
        if pod and pod["metadata"].get("ownerReferences") and not meta.is_deleting(pod):
            self.said.append(f"{meta.name(pod)} is nobody's")
            self.put(meta.without(pod, ("metadata", "ownerReferences")))

    def a_pod(self) -> Object | None:
        pods = self.truth[POD]
        return pods[self.chance.choice(sorted(pods))] if pods else None

    # The end

    def settle(self) -> None:
        """Nothing interferes any more: everybody hears and does all there is, until nobody has anything to do."""
        while self.plan:
            self.act()
        for _ in range(ROUNDS_MAX):
            before = self.revision, dict(self.running)
            self.all_hear()
            self.decide()
            while self.plan:
                self.act()
                self.look()
            for pod in [pod for pod in self.truth[POD].values() if "nodeName" not in pod["spec"]]:
                self.put(meta.changed(pod, ("spec", "nodeName"), "n1"))
            for _ in range(2):
                self.all_hear()
                for name in sorted({**self.node, **self.running}):
                    self.serve(name)
            if (self.revision, self.running) == before:
                break
        else:
            raise Broken("it never settles")
        self.is_as_wanted()

    def all_hear(self) -> None:
        for kind, log in self.logs.items():
            self.read_on(kind, len(log) - self.read[kind])
        self.node = dict(self.truth[POD])
        self.node_read = len(self.logs[POD])

    def is_as_wanted(self) -> None:
        set_ = self.truth[self.set_kind][NAME]
        start, replicas = meta.get(set_, "spec", "ordinals", "start", default=0), set_["spec"]["replicas"]
        wanted = [f"{NAME}-{i}" for i in range(start, start + replicas)]
        pods = self.truth[POD]
        if sorted(pods) != sorted(wanted):
            raise Broken(f"there are {sorted(pods)}, not {wanted}")
        if self.running != {name: meta.uid(pod) for name, pod in pods.items()}:
            raise Broken(f"there run {self.running}")
        status = set_.get("status", {})
        rolls = set_["spec"]["updateStrategy"]["type"] != "OnDelete"
        for name, pod in pods.items():
            if not is_ready(pod):
                raise Broken(f"{name} is not ready")
            if not meta.is_controlled_by(pod, set_):
                raise Broken(f"{name} is nobody's")
            if rolls and meta.labels(pod).get("controller-revision-hash") != status.get("updateRevision"):
                raise Broken(f"{name} is of an old revision")
        told = status.get("replicas"), status.get("readyReplicas", 0), status.get("observedGeneration")
        if told != (replicas, replicas, set_["metadata"]["generation"]):
            raise Broken(f"the status says {told}")


def is_ready(pod: Object) -> bool:
    return meta.get(pod, "status", "phase") == "Running" and meta.is_pod_ready(pod) and not meta.is_deleting(pod)


def is_of_another_template(set_: Object, pod: Object) -> bool:
    return pod["spec"]["containers"] != set_["spec"]["template"]["spec"]["containers"]


def number(pod: Object) -> int:
    return int(meta.name(pod).rpartition("-")[2])


def name_of(action: actions.Action) -> str:
    obj = getattr(action, "object", None)
    return meta.name(obj) if obj is not None else ""


Step = Callable[[Schedule], None]
STEPS: tuple[Step, ...] = (
    Schedule.hear,
    Schedule.decide,
    Schedule.act,
    Schedule.node_hears,
    Schedule.node_works,
    Schedule.monkey,
    Schedule.die,
)
WEIGHTS = (8, 6, 10, 5, 9, 4, 1)
MONKEYS: tuple[Step, ...] = (
    Schedule.scales,
    Schedule.edits,
    Schedule.deletes,
    Schedule.fails,
    Schedule.falters,
    Schedule.orphans,
)
MONKEY_WEIGHTS = (5, 2, 4, 3, 2, 1)
assert PODS.kind == POD


class Runner:
    def run(self, seed: int) -> str:
        """What was done, in order; raises Broken."""
        schedule = Schedule(random.Random(f"set {seed}"))
        try:
            schedule.run()
        except Broken as broken:
            raise Broken("\n".join([*schedule.said, str(broken)])) from None
        return "\n".join(schedule.said)
