"""StoredPetSet (petset.dev/v1): a PetSet as a cluster keeps it for an API server of ours that has no disk.

All are in one namespace, which is the server's, and are named `<namespace>.<name>`: no namespace's name has a dot, so
no two PetSets meet. The whole PetSet is `spec.object`, opaque to the cluster (an atomic map that nothing is pruned
from); its resourceVersion is not in it, since it is that of the StoredPetSet. `spec.write` names the write that made
this version, so that who has lost the answer to a write can tell whether it went through. A label says the namespace,
to select by. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from petset.kinds.pet_set import PETSETS
from petset.objects import meta
from petset.objects.meta import Object
from petset.objects.registry import Kind

STORED_PETSETS = Kind("petset.dev", "v1", "storedpetsets", "StoredPetSet")  # No built-in kind: a cluster is taught it.
NAMESPACE_LABEL = "petset.dev/namespace"
_ROOT = PETSETS.key()


def definition() -> Object:
    """The CustomResourceDefinition."""
    kind = STORED_PETSETS
    kept = {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "x-kubernetes-map-type": "atomic"}
    spec = {
        "type": "object",
        "description": "What petset keeps here; it is changed through PetSets (apps/v1alpha1) only.",
        "required": ["object", "write"],
        "properties": {
            "object": {**kept, "description": "The PetSet, but for its resourceVersion, which is this object's."},
            "write": {"type": "string", "maxLength": 64, "description": "The write that made this version."},
        },
    }
    columns = (
        ("Namespace", "string", ".spec.object.metadata.namespace"),
        ("PetSet", "string", ".spec.object.metadata.name"),
        ("Desired", "integer", ".spec.object.spec.replicas"),
        ("Age", "date", ".metadata.creationTimestamp"),
    )
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {
            "group": kind.group,
            "scope": "Namespaced",
            "names": {
                "plural": kind.plural,
                "singular": kind.singular,
                "kind": kind.kind,
                "listKind": kind.list_kind,
            },
            "versions": [
                {
                    "name": kind.version,
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {"spec": spec}}
                    },
                    "additionalPrinterColumns": [
                        {"name": name, "type": type_, "jsonPath": path} for name, type_, path in columns
                    ],
                }
            ],
        },
    }


def name_of(key: str) -> str:
    """The name of the StoredPetSet with the PetSet at a store's key."""
    namespace, _, name = key.removeprefix(_ROOT).partition("/")
    return f"{namespace}.{name}"


def key_of(name: str) -> str:
    """The store's key of the PetSet that the StoredPetSet of this name is to keep."""
    namespace, _, rest = name.partition(".")
    return PETSETS.key(namespace, rest)


@dataclass(frozen=True, slots=True)
class Place:
    """What a store's prefix is about: one StoredPetSet, those of a namespace, or all."""

    name: str = ""
    namespace: str = ""

    @property
    def label_selector(self) -> str:
        return f"{NAMESPACE_LABEL}={self.namespace}" if self.namespace else ""


def place(prefix: str) -> Place | None:
    """None for a prefix under which there are no PetSets."""
    if _ROOT.startswith(prefix):
        return Place()
    if not prefix.startswith(_ROOT):
        return None
    namespace, slash, name = prefix.removeprefix(_ROOT).partition("/")
    if not slash:
        return Place()
    return Place(namespace=namespace) if not name else Place(f"{namespace}.{name}")


def is_key(key: str) -> bool:
    """Whether it is one PetSet's."""
    found = place(key)
    return found is not None and bool(found.name)


def created(obj: Object, home: str, write: str) -> Object:
    """The StoredPetSet that keeps a new PetSet in the namespace `home`."""
    namespace = meta.namespace(obj)
    return {
        "apiVersion": STORED_PETSETS.api_version,
        "kind": STORED_PETSETS.kind,
        "metadata": {
            "name": name_of(PETSETS.key(namespace, meta.name(obj))),
            "namespace": home,
            "labels": {NAMESPACE_LABEL: namespace},
        },
        "spec": _spec(obj, write),
    }


def replaced(obj: Object, expected: int, write: str) -> list[Object]:
    """The JSON patch that puts a PetSet in the place of the version with this revision, and of no other.

    What others have written of the StoredPetSet's own metadata stays.
    """
    return [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": str(expected)},
        {"op": "replace", "path": "/spec", "value": _spec(obj, write)},
    ]


def _spec(obj: Object, write: str) -> Object:
    return {"object": meta.without(obj, ("metadata", "resourceVersion")), "write": write}


@dataclass(frozen=True, slots=True)
class Kept:
    """What a StoredPetSet says."""

    key: str  # The store's, of the PetSet.
    revision: int
    write: str
    obj: Object  # The PetSet, with its resourceVersion.


def read(stored: Any) -> Kept | None:
    """None for one that holds no PetSet under the name it would have: whoever made that, it is not petset."""
    spec: Any = stored.get("spec") if meta.is_struct(stored) else None
    obj: Any = spec.get("object") if meta.is_struct(spec) else None
    metadata: Any = obj.get("metadata") if meta.is_struct(obj) else None
    if not meta.is_struct(metadata) or (obj.get("apiVersion"), obj.get("kind")) != (PETSETS.api_version, PETSETS.kind):
        return None
    if not all(isinstance(metadata.get(key), str) and metadata[key] for key in ("name", "namespace", "uid")):
        return None
    key = PETSETS.key(metadata["namespace"], metadata["name"])
    revision = stored["metadata"]["resourceVersion"]
    if meta.name(stored) != name_of(key):
        return None
    tree = {**obj, "metadata": {**metadata, "resourceVersion": revision}}
    return Kept(key, int(revision), str(spec.get("write")), tree)
