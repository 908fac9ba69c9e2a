"""What the controller of PetSets keeps of a cluster that has others' objects, too: theirs by name only.

A real cluster has a hundred pods, claims, revisions and Services for each of a set's. The controller has to know that
they are there, since a name may be taken and an owner may let go, but nothing of what they say. Of its own objects, and
of those that nobody controls and a set may adopt, all is kept but who owns which field, which a server keeps itself.

Whoever is kept by name comes again as a whole with the change that makes him a set's. Pure.
"""

from __future__ import annotations

from petset.controllers.pets import translation
from petset.controllers.workloads import claiming
from petset.kinds import pet_names
from petset.kinds.controller_revision import CONTROLLERREVISIONS
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pet_set import PETSETS
from petset.kinds.pod import PODS
from petset.kinds.service import SERVICES
from petset.objects import meta
from petset.objects.meta import Object

PIECE = 500  # Objects of a list at once, as client-go asks for them.
NAMES = ("name", "namespace", "uid", "resourceVersion", "deletionTimestamp", "ownerReferences")
FIELD_OWNERS = ("metadata", "managedFields")


def kept(obj: Object) -> Object:
    return meta.without(obj, FIELD_OWNERS) if _counts(obj) else _named(obj)


def _counts(obj: Object) -> bool:
    """Whether what it says may count for a PetSet."""
    kind = obj["kind"]
    if kind in (PODS.kind, CONTROLLERREVISIONS.kind):
        owner = meta.controller_of(obj)
        return owner is None or claiming.is_of(PETSETS, owner)
    if kind == PERSISTENTVOLUMECLAIMS.kind:
        return bool(pet_names.parent(obj))
    return kind != SERVICES.kind or translation.published(obj) is not None


def _named(obj: Object) -> Object:
    given = obj["metadata"]
    metadata = {name: given[name] for name in NAMES if name in given}
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}
