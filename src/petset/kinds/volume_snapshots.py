"""The kinds of snapshot.storage.k8s.io/v1 as CustomResourceDefinitions, which a petset that provisions brings.

Fields, columns and short names are those of the API's documentation; nothing more is checked than what the controller
of snapshots rests on. Their schemas are known to be well-formed (a test asks), so that a definition that has them is
not asked: to compile their rules would cost every first start the runtime of CEL, 25 MiB that nobody needs before the
first snapshot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from petset.base import well_known
from petset.kinds import persistent_volume_claim
from petset.objects.meta import Object

GROUP = persistent_volume_claim.SNAPSHOT_GROUP
API_VERSION = f"{GROUP}/v1"
SNAPSHOTS, CONTENTS, CLASSES = "volumesnapshots", "volumesnapshotcontents", "volumesnapshotclasses"


def brings(group: str, schema: Object) -> bool:
    """Whether a schema of a definition is one of these."""
    return group == GROUP and any(schema == schema_of(one) for one in definitions())


def schema_of(definition: Object) -> Object:
    """Of one of these, which have one version each."""
    return definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


_TEXT, _TRUTH, _BYTES = {"type": "string"}, {"type": "boolean"}, {"type": "integer", "format": "int64", "minimum": 0}
_TIME = {"type": "string", "format": "date-time"}
_QUANTITY = {
    "x-kubernetes-int-or-string": True,
    "anyOf": [{"type": "integer"}, {"type": "string"}],
}


def _map(properties: Object, required: Sequence[str] = (), rules: Sequence[Object] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        **({"required": list(required)} if required else {}),
        **({"x-kubernetes-validations": list(rules)} if rules else {}),
    }


_ERROR = _map({"message": _TEXT, "time": _TIME})
_POLICY = {"type": "string", "enum": ["Delete", "Retain"]}


def _one_of(first: str, second: str) -> Object:
    return {
        "rule": f"has(self.{first}) != has(self.{second})",
        "message": f"exactly one of {first} and {second} must be set",
    }


NOTHING: Object = {}
_UNCHANGED = {"rule": "self == oldSelf", "message": "is immutable"}


def definitions() -> list[Object]:
    """The three, as they are created."""
    snapshot = _map(
        {
            "source": _map(
                {"persistentVolumeClaimName": _TEXT, "volumeSnapshotContentName": _TEXT},
                rules=[_one_of("persistentVolumeClaimName", "volumeSnapshotContentName"), _UNCHANGED],
            ),
            "volumeSnapshotClassName": {"type": "string", "minLength": 1},
        },
        ["source"],
    )
    snapshot_status = _map(
        {
            "boundVolumeSnapshotContentName": _TEXT,
            "creationTime": _TIME,
            "readyToUse": _TRUTH,
            "restoreSize": _QUANTITY,
            "error": _ERROR,
            "volumeGroupSnapshotName": _TEXT,
        }
    )
    reference = _map(
        dict.fromkeys(("apiVersion", "kind", "namespace", "name", "uid", "resourceVersion", "fieldPath"), _TEXT)
    )
    content = _map(
        {
            "deletionPolicy": _POLICY,
            "driver": _TEXT,
            "source": _map(
                {"snapshotHandle": _TEXT, "volumeHandle": _TEXT},
                rules=[_one_of("snapshotHandle", "volumeHandle"), _UNCHANGED],
            ),
            "sourceVolumeMode": _TEXT,
            "volumeSnapshotClassName": _TEXT,
            "volumeSnapshotRef": reference,
        },
        ["deletionPolicy", "driver", "source", "volumeSnapshotRef"],
    )
    content_status = _map(
        {
            "snapshotHandle": _TEXT,
            "creationTime": {"type": "integer", "format": "int64"},
            "readyToUse": _TRUTH,
            "restoreSize": _BYTES,
            "error": _ERROR,
            "volumeGroupSnapshotHandle": _TEXT,
        }
    )
    class_ = {
        "driver": _TEXT,
        "deletionPolicy": _POLICY,
        "parameters": {"type": "object", "additionalProperties": _TEXT},
    }
    return [
        _definition(
            SNAPSHOTS,
            "VolumeSnapshot",
            ("vs",),
            _map({"spec": snapshot, "status": snapshot_status}, ["spec"]),
            (
                ("ReadyToUse", "boolean", ".status.readyToUse"),
                ("SourcePVC", "string", ".spec.source.persistentVolumeClaimName"),
                ("SourceSnapshotContent", "string", ".spec.source.volumeSnapshotContentName"),
                ("RestoreSize", "string", ".status.restoreSize"),
                ("SnapshotClass", "string", ".spec.volumeSnapshotClassName"),
                ("SnapshotContent", "string", ".status.boundVolumeSnapshotContentName"),
                ("CreationTime", "date", ".status.creationTime"),
            ),
            namespaced=True,
        ),
        _definition(
            CONTENTS,
            "VolumeSnapshotContent",
            ("vsc", "vscs"),
            _map({"spec": content, "status": content_status}, ["spec"]),
            (
                ("ReadyToUse", "boolean", ".status.readyToUse"),
                ("RestoreSize", "integer", ".status.restoreSize"),
                ("DeletionPolicy", "string", ".spec.deletionPolicy"),
                ("Driver", "string", ".spec.driver"),
                ("VolumeSnapshotClass", "string", ".spec.volumeSnapshotClassName"),
                ("VolumeSnapshot", "string", ".spec.volumeSnapshotRef.name"),
                ("VolumeSnapshotNamespace", "string", ".spec.volumeSnapshotRef.namespace"),
            ),
        ),
        _definition(
            CLASSES,
            "VolumeSnapshotClass",
            ("vsclass", "vsclasses"),
            _map(class_, ["driver", "deletionPolicy"]),
            (("Driver", "string", ".driver"), ("DeletionPolicy", "string", ".deletionPolicy")),
            has_status=False,
        ),
    ]


def _definition(
    plural: str,
    kind: str,
    short: Sequence[str],
    schema: Object,
    columns: Sequence[tuple[str, str, str]],
    *,
    namespaced: bool = False,
    has_status: bool = True,
) -> Object:
    age = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
    printed = [{"name": name, "type": type_, "jsonPath": path} for name, type_, path in columns]
    version: Object = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": [*printed, age],
        **({"subresources": {"status": NOTHING}} if has_status else {}),
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{GROUP}",
            # Names of k8s.io ask for the discussion they were approved in.
            "annotations": {
                well_known.API_APPROVED_ANNOTATION: "https://github.com/kubernetes-csi/external-snapshotter/pull/814"
            },
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if namespaced else "Cluster",
            "names": {
                "plural": plural,
                "singular": kind.lower(),
                "kind": kind,
                "listKind": f"{kind}List",
                "shortNames": list(short),
            },
            "versions": [version],
        },
    }
