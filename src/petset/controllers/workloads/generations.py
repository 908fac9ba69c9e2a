"""The ReplicaSets of one Deployment: one for each template it has had, the newest of which carries its revision.

The set of the present template is found by comparing templates, the label of their hash apart. A new one is named by
the hash of its template; where the name is taken by anything else the Deployment's collision count grows and the hash
with it. What a person needs to go back stands in annotations: the revision, earlier ones of the same template, and
the Deployment's own annotations (the cause of a change among them).
Follows: "Deployments" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from petset.base import well_known
from petset.client.views import View
from petset.controllers.workloads import revisions
from petset.kinds.apps.replica_set import REPLICASETS
from petset.objects import meta
from petset.objects.meta import Object

HASH = well_known.POD_TEMPLATE_HASH_LABEL
REVISION, HISTORY = well_known.DEPLOYMENT_REVISION_ANNOTATION, well_known.DEPLOYMENT_HISTORY_ANNOTATION
WANTED, MOST = well_known.DEPLOYMENT_WANTED_ANNOTATION, well_known.DEPLOYMENT_MOST_ANNOTATION
NOT_COPIED = (well_known.LAST_APPLIED_ANNOTATION, REVISION, HISTORY, WANTED, MOST)
HISTORY_CHARACTERS_MAX = 2000
REVISION_DIGITS_MAX = 19
REVISION_MAX = 2**63 - 2  # A next one fits into 64 bits.
NAME_CHARACTERS_MAX = 242  # Of the Deployment's in a set's: with a hash it is a name yet.


@dataclass(frozen=True, slots=True)
class Generations:
    """A Deployment's sets: that of its present template, if there is one, and the others, oldest first."""

    new: Object | None
    old: Sequence[Object]

    @property
    def all(self) -> list[Object]:
        return [*self.old, *([self.new] if self.new is not None else [])]


def size(set_: Object) -> int:
    """How many pods it shall have."""
    return meta.get(set_, "spec", "replicas", default=1)


def available(set_: Object) -> int:
    """How many of those that it shall have are available as far as it says: its status may be older than its spec."""
    return min(meta.part(set_, "status").get("availableReplicas", 0), size(set_))


def held(set_: Object) -> int | None:
    """How many active pods it may have, those that are still to go included; None while that is not told."""
    status = meta.part(set_, "status")
    if status.get("observedGeneration", 0) < meta.get(set_, "metadata", "generation", default=0):
        return None
    return max(size(set_), status.get("replicas", 0))


def of(deployment: Object, sets: Sequence[Object], view: View) -> Generations:
    template = meta.part(deployment, "spec", "template")
    in_order = sorted(sets, key=meta.by_age)
    bare = view.facts(REPLICASETS, bare_template)
    new = next((one for one in in_order if bare.of(one) == template), None)
    return Generations(new, [one for one in in_order if one is not new])


def bare_template(set_: Object) -> Object:
    """The template as the Deployment had it."""
    return meta.without(meta.part(set_, "spec", "template"), ("metadata", "labels", HASH))


def revision(set_: Object) -> int:
    """The number its annotation gives; 0 when it gives none."""
    number = meta.annotated_number(set_, REVISION, REVISION_DIGITS_MAX) or 0
    return number if number <= REVISION_MAX else 0


def next_revision(generations: Generations) -> int:
    return max((revision(one) for one in generations.old), default=0) + 1


def newest_revision(generations: Generations) -> int:
    """What the Deployment says its revision is."""
    number = next_revision(generations)
    return max(number, revision(generations.new)) if generations.new is not None else number


def made(deployment: Object, generations: Generations, replicas: int, most: int, view: View) -> tuple[Object, int]:
    """(a new set for the present template, the collision count it is named by)."""
    template = meta.part(deployment, "spec", "template")
    text = revisions.encoded(template)
    said = meta.get(deployment, "status", "collisionCount")
    collisions: int = said or 0
    while True:
        hash_ = revisions.hash_of(text, collisions or None)
        name = f"{meta.name(deployment)[:NAME_CHARACTERS_MAX]}-{hash_}"
        if view.get(REPLICASETS, meta.namespace(deployment), name) is None:
            break
        collisions += 1
    labels = {**meta.part(template, "metadata", "labels"), HASH: hash_}
    selector = meta.part(deployment, "spec", "selector")
    number = next_revision(generations)
    set_ = {
        "apiVersion": REPLICASETS.api_version,
        "kind": REPLICASETS.kind,
        "metadata": {
            "name": name,
            "namespace": meta.namespace(deployment),
            "labels": labels,
            "annotations": {**_copied(deployment), REVISION: str(number), **sizes(deployment, most)},
            "ownerReferences": [meta.owner_reference(deployment)],
        },
        "spec": {
            "replicas": replicas,
            "minReadySeconds": meta.get(deployment, "spec", "minReadySeconds", default=0),
            "selector": {**selector, "matchLabels": {**meta.part(selector, "matchLabels"), HASH: hash_}},
            "template": meta.changed(template, ("metadata", "labels"), labels),
        },
    }
    return set_, collisions


def sizes(deployment: Object, most: int) -> dict[str, str]:
    """What a set remembers of the Deployment's size, so that a change of it is told from one of the template."""
    return {WANTED: str(size(deployment)), MOST: str(most)}


def described(deployment: Object, generations: Generations) -> Object | None:
    """The set of the present template with what it must say of its Deployment; itself when it does."""
    new = generations.new
    if new is None:
        return None
    annotations = {**meta.annotations(new), **_copied(deployment)}
    number, had = next_revision(generations), revision(new)
    if had < number:
        annotations[REVISION] = str(number)
        if had:
            history = [*filter(None, annotations.get(HISTORY, "").split(",")), str(had)]
            while len(",".join(history)) > HISTORY_CHARACTERS_MAX:
                history = history[1:]
            annotations[HISTORY] = ",".join(history)
    seconds = meta.get(deployment, "spec", "minReadySeconds", default=0)
    if annotations != meta.annotations(new):
        new = meta.changed(new, ("metadata", "annotations"), annotations)
    if meta.get(new, "spec", "minReadySeconds", default=0) != seconds:
        new = meta.changed(new, ("spec", "minReadySeconds"), seconds)
    return new


def _copied(deployment: Object) -> dict[str, Any]:
    return {key: text for key, text in meta.annotations(deployment).items() if key not in NOT_COPIED}
