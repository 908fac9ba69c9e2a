"""What must hold at every moment, seen from the store's own order of changes and from inside the nodes.

`Laws.saw` is called with every change as it becomes visible, `starts` and `stopped` by the nodes' runtimes: nothing
here rests on a watch that could be late. What the monkey did on purpose is told first (`excused`), so that a law is
about what the program did by itself. The controllers decide on copies that are late by design; where a law is about
what they could know, it looks back as long as the weather may have kept things from them (`stale_seconds`).

The laws: pet i is created only when all pets below it were ready; surplus pets go from the highest down; no pet goes
without a reason; nothing is written over that the writer has not read; a claim goes only when the monkey deleted it
and nobody uses it, a volume only with its claim; a claim's volume never changes and is no other claim's; a pet mounts
its own claims; no two sandboxes of one namespace/name run at once, and no two of them on one directory; nothing comes
for which a quota has no room (bounds.py); no Job counts a pod twice, or one that has not ended (counts.py);
Deployments keep within their bounds (rollouts.py); no eviction breaks a disruption budget (evictions.py); of replicas
of one controller none writes but the one that holds the Lease.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from petset.controllers import replica
from petset.kinds import pod_phase
from petset.objects import encoding, meta
from petset.objects.meta import Object
from petset.store import store
from petset.wire import http
from petset.world import bounds, counts, evictions, rollouts

STALE_SECONDS_MIN = 5.0  # How old a program's picture may be in good weather.
SERVER_ABSENCE_SECONDS = 60.0  # By how much, and for how long, the server's death makes it older.
TRACE_LINES_MAX = 400

PODS, CLAIMS, VOLUMES, LEASES = (
    "/core/pods/",
    "/core/persistentvolumeclaims/",
    "/core/persistentvolumes/",
    "/coordination.k8s.io/leases/",
)
QUOTAS = "/core/resourcequotas/"
NODES, REVISIONS = "/core/nodes/", "/apps/controllerrevisions/"
MEDDLED = "world/meddled"  # An annotation with a number that only grows, written by somebody else in between.
SETS = ("/apps/statefulsets/", "/apps/petsets/")
ALL_MAY_WRITE = re.compile(r"/(leases|events)(/|\?|$)")
NUMBERED_BY_NONE = ("ReplicaSet", "ReplicationController", "DaemonSet")  # Whose pods are no pets.


class Broken(AssertionError):
    """A law does not hold."""


@dataclass(frozen=True, slots=True)
class Running:
    """A pod's sandbox or container that runs on a node."""

    node: str
    uid: str
    directories: tuple[str, ...]


class Laws:
    def __init__(self, clock: Callable[[], float], machines: Callable[[], Iterable[tuple[str, Running]]]):
        self._clock, self._machines = clock, machines
        self.objects: dict[str, Object] = {}
        self.trace: deque[str] = deque(maxlen=TRACE_LINES_MAX)
        self.digest = hashlib.blake2b(digest_size=16)  # Of the whole trace, for comparing runs.
        self.broken: list[str] = []
        self.writes = 0  # Of anything but leases.
        self.weather_seconds = 0.0  # How late the weather may make what the programs see.
        self.server_died_at = -1e9
        self._ready_until: dict[str, float] = {}  # By pod's key: when it was last seen ready and staying.
        self._created_at: dict[str, float] = {}
        self._wanted: dict[str, deque[tuple[float, int]]] = {}  # By set's key: (until when, replicas before).
        self._edited_at: dict[str, float] = {}  # By set's key: when its template was last changed.
        self._evicted_at: dict[str, float] = {}  # By node: when it was last seen to send pods away.
        self._cascaded: dict[str, None] = {}
        self._excused: dict[str, str] = {}  # uid -> what the monkey did to it
        self._is_bounded = False  # There was a quota.
        self.replicas: tuple[str, ...] = ()
        self.counts = counts.Counts()
        self._rollouts = rollouts.Rollouts()
        self.evictions = evictions.Evictions()
        self.also: Callable[[str, Object | None, Object], Iterable[str]] = lambda key, old, obj: ()  # The disk's.
        self._unprotected: dict[str, None] = {}  # uids of pods whose own grace is 0: gone from the API while they run.

    @property
    def holder(self) -> str:
        """Who holds the Lease of the replicas."""
        lease = self.objects.get(f"{LEASES}default/{replica.LEASE}")
        return meta.get(lease, "spec", "holderIdentity", default="") or ""

    # Told by the world

    def note(self, text: str) -> None:
        """One line of the trace."""
        line = f"{self._clock():10.3f}  {text}"
        self.trace.append(line)
        self.digest.update(line.encode())

    def excused(self, uid: str, what: str) -> None:
        self._excused[uid] = what

    def cascades(self, uid: str) -> None:
        """The set with this uid is deleted with all that is its own."""
        self._cascaded[uid] = None

    def breaks(self, law: str) -> None:
        self.broken.append(f"{self._clock():.3f}: {law}")
        self.note(f"BROKEN  {law}")

    def asked(self, who: str, request: http.Request) -> None:
        """A program sends a request: what it deletes it must have seen, and name by its uid.

        Of several replicas of a controller only the one that holds the Lease sends writes.
        """
        acts = who in self.replicas and request.method != "GET" and not ALL_MAY_WRITE.search(request.target)
        if acts and not self.holder.startswith(f"{who}_"):
            self.breaks(f"{who} writes {request.target} and {self.holder or 'nobody'} holds the lease")
        if request.method == "DELETE" and "/pods/" in request.target:
            options: Object = encoding.loads(request.body) if request.body else {}
            if not meta.get(options, "preconditions", "uid"):
                self.breaks(f"{who} deletes {request.target} without saying which")

    def saw(self, change: store.Change) -> None:
        key, now, obj = change.entry.key, self._clock(), change.entry.object
        old = self.objects.get(key)
        if change.type == "DELETED":
            self.objects.pop(key, None)
        else:
            self.objects[key] = obj
        if not key.startswith(LEASES):
            self.writes += 1
            self.note(f"{change.type:9}{key} {shown(key, obj)}")
        gone = change.type == "DELETED"
        if old is not None and not gone:
            self._keeps_what_others_wrote(key, old, obj)
        for wrong in self.counts.saw(key, old, obj):
            self.breaks(wrong)
        self._rollouts.saw(self.objects, key, old, obj, gone, now)
        self.evictions.saw(key, old, obj, gone, now)
        for wrong in self.evictions.broken_by(self.objects, key, old, obj, now, self.stale_seconds):
            self.breaks(wrong)
        for wrong in self.also(key, old, obj) if not gone else ():
            self.breaks(wrong)
        self._is_bounded = self._is_bounded or key.startswith(QUOTAS)
        if self._is_bounded and old is None and not gone:
            for wrong in bounds.broken_by(self.objects, key):
                self.breaks(wrong)
        if key.startswith(PODS):
            self._saw_pod(key, old, obj, gone, now)
        elif key.startswith(SETS):
            self._saw_set(key, old, obj, gone, now)
        elif key.startswith(CLAIMS):
            self._saw_claim(key, old, obj, gone, now)
        elif key.startswith(NODES) and any(is_evicting(node) for node in (old, obj) if node):
            self._evicted_at[meta.name(obj)] = now
        elif key.startswith(VOLUMES) and gone:
            self._saw_volume_go(obj)

    def _keeps_what_others_wrote(self, key: str, old: Object, new: Object) -> None:
        """Who writes an object has read what somebody else wrote there just before."""
        before, after = (int(meta.annotations(obj).get(MEDDLED, "0")) for obj in (old, new))
        if after < before and not key.startswith((REVISIONS, rollouts.SETS)):  # Those carry their owner's.
            self.breaks(f"{key} was written over: what somebody else wrote is lost")

    @property
    def stale_seconds(self) -> float:
        absence = SERVER_ABSENCE_SECONDS if self._clock() - self.server_died_at < SERVER_ABSENCE_SECONDS else 0.0
        return STALE_SECONDS_MIN + self.weather_seconds + absence

    # Order

    def _saw_pod(self, key: str, old: Object | None, pod: Object, gone: bool, now: float) -> None:
        if old is not None and is_ready(old):
            self._ready_until[key] = now
        if (meta.controller_of(pod) or {}).get("kind") in NUMBERED_BY_NONE:
            for wrong in self._rollouts.broken_by(self.objects, old, pod, now, self.stale_seconds):
                self.breaks(wrong)
            return
        if meta.controller_of(pod) and meta.controller_uid(pod) != meta.controller_uid(old or {"metadata": {}}):
            set_ = self._family(pod)[1]
            if set_ is None or meta.is_deleting(set_):
                # The request was under way when its set was deleted: nobody can know better.
                self.excused(meta.uid(pod), "created or adopted when its set was just going")
        if old is None:
            self._created_at[key] = now
            if pod["spec"].get("terminationGracePeriodSeconds") == 0:
                self._unprotected[meta.uid(pod)] = None
            self._ready_until.pop(key, None)
            self._starts_in_order(key, pod, now)
            self._mounts_its_own(pod)
        if (gone or meta.is_deleting(pod)) and not (old is not None and meta.is_deleting(old)):
            self._goes_for_a_reason(pod, now)
            self._stops_in_order(pod, now)

    def _starts_in_order(self, key: str, pod: Object, now: float) -> None:
        _, set_, ordinal = self._family(pod)
        if set_ is None or not is_ordered(set_):
            return
        for below in range(first_ordinal(set_), ordinal):
            other = f"{PODS}{meta.namespace(pod)}/{meta.name(set_)}-{below}"
            there = self.objects.get(other)
            if there is not None and is_ready(there):
                continue
            if now - self._ready_until.get(other, -1e9) > self.stale_seconds:
                self.breaks(f"{key} was created while {other} was not ready ({'there' if there else 'absent'})")

    def _goes_for_a_reason(self, pod: Object, now: float) -> None:
        """A pod that runs well is removed only when it is surplus, of an old revision, evicted, or its set deleted."""
        owner = meta.controller_uid(pod)
        node = meta.get(pod, "spec", "nodeName", default="")
        is_evicting_now = is_evicting(self.objects.get(f"{NODES}{node}") or {})
        evicted = is_evicting_now or now - self._evicted_at.get(node, -1e9) <= self.stale_seconds
        if meta.uid(pod) in self._excused or owner in self._cascaded or evicted:
            return
        set_key, set_, ordinal = self._family(pod)
        if set_ is None:
            self.breaks(f"{meta.key(pod)} was removed, and nobody had reason to")
            return
        end = first_ordinal(set_) + self._fewest_wanted(set_key, now)
        is_old = meta.labels(pod).get("controller-revision-hash") != meta.get(set_, "status", "updateRevision")
        edited = now - self._edited_at.get(set_key, -1e9) <= self.stale_seconds
        has_ended = pod_phase.has_ended(pod)
        if not (ordinal >= end or is_old or edited or has_ended):
            self.breaks(f"{meta.key(pod)} was removed though it is wanted as it is")

    def _stops_in_order(self, pod: Object, now: float) -> None:
        if meta.uid(pod) in self._excused:
            return
        set_key, set_, ordinal = self._family(pod)
        if set_ is None or meta.is_deleting(set_) or not is_ordered(set_):
            return
        if ordinal < first_ordinal(set_) + meta.get(set_, "spec", "replicas", default=1):
            return  # Replaced, not surplus.
        newest = meta.get(set_, "status", "updateRevision", default="")
        is_replaced = meta.labels(pod).get("controller-revision-hash") != newest or not is_running(pod)
        if is_replaced and meta.get(set_, "spec", "updateStrategy", "type") == "Recreate":
            return  # All go at once.
        if is_replaced and ordinal < first_ordinal(set_) + self._most_wanted(set_key, now):
            return  # Replaced by a controller that does not know yet that it is surplus.
        prefix = f"{PODS}{meta.namespace(pod)}/{meta.name(set_)}-"
        for key, other in self.objects.items():
            number = key[len(prefix) :]
            if key.startswith(prefix) and number.isdigit() and int(number) > ordinal:
                settled = now - self._created_at.get(key, now) > self.stale_seconds
                if settled and meta.controller_uid(other) == meta.uid(set_):
                    self.breaks(f"{meta.key(pod)} was removed while {key} was still there")

    def _saw_set(self, key: str, old: Object | None, set_: Object, gone: bool, now: float) -> None:
        before = meta.get(old, "spec", "replicas", default=1)
        if old is not None and before != meta.get(set_, "spec", "replicas", default=1):
            self._wanted.setdefault(key, deque(maxlen=20)).append((now, before))
        if old is not None and old["spec"].get("template") != set_["spec"].get("template"):
            self._edited_at[key] = now

    def _most_wanted(self, set_key: str, now: float) -> int:
        """The largest number of replicas the controller may still believe in: below it nothing is surplus."""
        return max(self._beliefs(set_key, now))

    def _fewest_wanted(self, set_key: str, now: float) -> int:
        return min(self._beliefs(set_key, now))

    def _beliefs(self, set_key: str, now: float) -> list[int]:
        current = meta.get(self.objects.get(set_key), "spec", "replicas", default=1)
        past = [count for until, count in self._wanted.get(set_key, ()) if now - until <= self.stale_seconds]
        return [current, *past]

    def _family(self, pod: Object) -> tuple[str, Object | None, int]:
        """(key, set, ordinal) of the set that controls the pod and still is what it was then."""
        owner = meta.controller_of(pod)
        stem, _, number = meta.name(pod).rpartition("-")
        if owner is None or not number.isdigit():
            return "", None, -1
        for prefix in SETS:
            key = f"{prefix}{meta.namespace(pod)}/{owner['name']}"
            set_ = self.objects.get(key)
            if set_ is not None and meta.uid(set_) == owner["uid"] and meta.name(set_) == stem:
                return key, set_, int(number)
        return "", None, -1

    # Volumes

    def _mounts_its_own(self, pod: Object) -> None:
        _, set_, _ = self._family(pod)
        if set_ is None:
            return
        for template in meta.get(set_, "spec", "volumeClaimTemplates", default=()):
            own = f"{meta.name(template)}-{meta.name(pod)}"
            volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
            mounted = meta.get(volumes.get(meta.name(template)), "persistentVolumeClaim", "claimName")
            if mounted != own:
                self.breaks(f"{meta.key(pod)} mounts {mounted}, not its own {own}")

    def _saw_claim(self, key: str, old: Object | None, claim: Object, gone: bool, now: float) -> None:
        if gone:
            self._goes_when_nobody_uses_it(key, claim, now)
        lost = gone or (meta.is_deleting(claim) and not meta.is_deleting(old or claim))
        if lost and meta.uid(claim) not in self._excused:
            self.breaks(f"{key} is lost: nobody asked for its deletion")
        before = meta.get(old, "spec", "volumeName", default="")
        after = meta.get(claim, "spec", "volumeName", default="")
        if before and before != after:
            self.breaks(f"{key} had the volume {before} and now has {after or 'none'}")
        if after and not before:
            for other_key, other in self.objects.items():
                if other_key.startswith(CLAIMS) and other_key != key and other["spec"].get("volumeName") == after:
                    self.breaks(f"{key} got the volume {after}, which is {other_key}'s")

    def _goes_when_nobody_uses_it(self, key: str, claim: Object, now: float) -> None:
        for pod_key, pod in self.objects.items():
            if not pod_key.startswith(PODS) or not meta.get(pod, "spec", "nodeName"):
                continue
            volumes = [
                meta.get(each, "persistentVolumeClaim", "claimName") for each in pod["spec"].get("volumes") or ()
            ]
            has_ended = pod_phase.has_ended(pod)
            is_known = now - self._created_at[pod_key] > self.stale_seconds
            if meta.name(claim) in volumes and is_known and not has_ended:
                self.breaks(f"{key} went while {pod_key} uses it")

    def _saw_volume_go(self, volume: Object) -> None:
        reference = meta.get(volume, "spec", "claimRef", default={})
        claim = self.objects.get(f"{CLAIMS}{reference.get('namespace')}/{reference.get('name')}")
        if claim is not None and meta.uid(claim) == reference.get("uid"):
            self.breaks(f"volume {meta.name(volume)} went while its claim {meta.key(claim)} is there")

    def directory_removed(self, path: str) -> None:
        """The provisioner removed a volume's directory."""
        self.note(f"REMOVED  {path.rpartition('/')[2]}")
        for key, volume in self.objects.items():
            if key.startswith(VOLUMES) and meta.get(volume, "spec", "hostPath", "path") == path:
                reference = meta.get(volume, "spec", "claimRef", default={})
                claim = self.objects.get(f"{CLAIMS}{reference.get('namespace')}/{reference.get('name')}")
                if claim is not None and meta.uid(claim) == reference.get("uid"):
                    self.breaks(f"the data of {meta.key(claim)} was removed")
        for identity, running in self._machines():
            if path in running.directories and not self._may_run_on(running.uid):
                self.breaks(f"the data in {path} was removed under the running {identity}")

    # Nodes

    def starts(self, identity: str, new: Running) -> None:
        """Something of a pod has begun to run on a node."""
        self.note(f"RUNS     {identity} {new.uid[:8]} on {new.node}")
        for other_identity, other in self._machines():
            if other.uid == new.uid:
                continue
            # Whoever deletes a pod by force gives this up, but only between nodes: one node knows better. It may be the
            # one that starts, when its node was just about to.
            is_given_up = self._may_run_on(other.uid) or (
                self._may_run_on(new.uid) and self._is_gone(identity, new.uid)
            )
            if other_identity == identity and (other.node == new.node or not is_given_up):
                self.breaks(f"two of {identity} run: {other.uid} on {other.node} and {new.uid} on {new.node}")
            shared = [path for path in new.directories if path in other.directories]
            if shared and other_identity != identity:
                self.breaks(f"{identity} and {other_identity} share {', '.join(shared)}")

    def _is_gone(self, identity: str, uid: str) -> bool:
        """Whether the API has no pod with this uid any more."""
        there = self.objects.get(f"{PODS}{identity}")
        return there is None or meta.uid(there) != uid

    def _may_run_on(self, uid: str) -> bool:
        """Whether the API has let go of a pod before its node has: by force, or because its own grace is 0."""
        return uid in self._excused or uid in self._unprotected

    def running(self) -> dict[str, list[str]]:
        """The uids that run of each identity."""
        found: dict[str, list[str]] = {}
        for identity, running in self._machines():
            found.setdefault(identity, []).append(running.uid)
        return found


def is_ready(pod: Object) -> bool:
    return meta.get(pod, "status", "phase") == "Running" and meta.is_pod_ready(pod) and not meta.is_deleting(pod)


def is_running(pod: Object) -> bool:
    return meta.get(pod, "status", "phase") == "Running"


def is_evicting(node: Object) -> bool:
    return any(taint.get("effect") == "NoExecute" for taint in meta.get(node, "spec", "taints", default=()))


def is_ordered(set_: Object) -> bool:
    return meta.get(set_, "spec", "podManagementPolicy", default="OrderedReady") == "OrderedReady"


def first_ordinal(set_: Object) -> int:
    return meta.get(set_, "spec", "ordinals", "start", default=0)


def shown(key: str, obj: Object) -> str:
    """What of an object matters in a trace."""
    parts = [f"r{obj['metadata'].get('resourceVersion')}"]
    if meta.is_deleting(obj):
        parts.append("deleting")
    if key.startswith(PODS):
        parts.append(meta.uid(obj)[:8])
        parts.append(meta.get(obj, "spec", "nodeName", default="nowhere"))
        parts.append(meta.get(obj, "status", "phase", default="") + ("+ready" if meta.is_pod_ready(obj) else ""))
    elif key.startswith((*SETS, rollouts.SETS, rollouts.DEPLOYMENTS)):
        status: Object = obj.get("status") or {}
        parts.append(f"wants {meta.get(obj, 'spec', 'replicas')}")
        parts.append(f"has {status.get('replicas', 0)}, ready {status.get('readyReplicas', 0)}")
    elif key.startswith("/core/events/"):
        parts.append(f"{obj.get('reason')} x{obj.get('count')}: {str(obj.get('message'))[:100]}")
    elif key.startswith((CLAIMS, VOLUMES)):
        parts.append(meta.get(obj, "status", "phase", default=""))
    return " ".join(parts)
