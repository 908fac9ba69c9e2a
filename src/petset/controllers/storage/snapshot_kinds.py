"""Whether the kinds of snapshots are there, and objects of them; the class of snapshots of petset's own volumes.

They are custom resources as everywhere, made at the start where petset provisions (kinds/volume_snapshots.py), so that
whoever brings definitions of these names (a chart, a manifest) writes over them; those that are there are left as they
are.
"""

from __future__ import annotations

from petset.base import well_known
from petset.client.views import View
from petset.kinds.volume_snapshots import API_VERSION, CLASSES, CONTENTS, GROUP, SNAPSHOTS
from petset.objects.meta import Object
from petset.objects.registry import Kind, Kinds


def is_such(kind: Kind) -> bool:
    return kind.group == GROUP and kind.version == "v1" and kind.plural in (SNAPSHOTS, CONTENTS, CLASSES)


def of(kinds: Kinds, plural: str) -> Kind | None:
    """One of the three, while there is such a kind."""
    return kinds.at(GROUP, "v1", plural)


def find(view: View, plural: str, namespace: str, name: str) -> Object | None:
    """An object of one of the three, where it and its kind are there."""
    kind = of(view.kinds, plural)
    return view.get(kind, namespace, name) if kind is not None and name else None


def every(view: View, plural: str) -> list[Object]:
    kind = of(view.kinds, plural)
    return view.list(kind) if kind is not None else []


def standard_class() -> Object:
    """The class of snapshots of petset's own volumes."""
    return {
        "apiVersion": API_VERSION,
        "kind": "VolumeSnapshotClass",
        "metadata": {"name": "standard", "annotations": {well_known.DEFAULT_SNAPSHOT_CLASS_ANNOTATION: "true"}},
        "driver": well_known.HOST_PATH_PROVISIONER,
        "deletionPolicy": "Delete",
    }
