"""What a DELETE does to an object: remove it, mark it as being deleted, or nothing because it already is.

Pure: `decide` gets the object, the options and the time. Three things delay a removal: finalizers (also `orphan` and
`foregroundDeletion`, which the propagation policy asks for and the garbage controller takes away), a pod's grace
period while its node stops the containers, and a namespace's own finalizers. `is_finished` says when a marked
object may go, which is looked at after every update.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from petset.base import tasks, well_known
from petset.kinds import pod_phase
from petset.kinds.namespace import NAMESPACES
from petset.kinds.pod import PODS
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.objects.registry import Kind

POLICIES = ("Background", "Foreground", "Orphan")
GRACE_SECONDS_DEFAULT = 30
GRACE_SECONDS_MAX = 2**31


@dataclass(frozen=True, slots=True)
class Options:
    grace_seconds: int | None = None
    propagation: str = ""  # One of POLICIES, "" for the kind's default: dependents go in the background.
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False


AS_THE_KIND_HAS_IT = Options()


@dataclass(frozen=True, slots=True)
class Remove:
    """Take it out of the store."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Write this version; somebody finishes the deletion later."""

    obj: Object


@dataclass(frozen=True, slots=True)
class Nothing:
    """It is being deleted already, and no slower than asked."""


def decide(resource: Kind, obj: Object, options: Options, now: float) -> Remove | Mark | Nothing:
    """Raises ApiError 409 when a precondition does not hold."""
    check_preconditions(resource, obj, options)
    if not meta.is_deleting(obj):
        obj = resource.when_deleted(obj, tasks.rfc3339(now))
    finalizers = _finalizers(obj, options.propagation)
    grace = _grace_seconds(resource, obj, options)
    if not finalizers and not _namespace_finalizers(resource, obj) and grace == 0:
        return Remove()
    metadata = {key: value for key, value in obj["metadata"].items() if key != "finalizers"}
    if finalizers:
        metadata["finalizers"] = finalizers
    if not meta.is_deleting(obj):
        # In whole seconds: the next one, so that nobody who goes by it takes away a part of the grace.
        end = math.floor(now + grace) + 1 if grace else now
        metadata |= {"deletionTimestamp": tasks.rfc3339(end), "deletionGracePeriodSeconds": grace}
        if metadata.get("generation"):
            metadata["generation"] += 1
    elif (earlier := metadata.get("deletionGracePeriodSeconds") or 0) > grace:
        began = tasks.parse_rfc3339(metadata["deletionTimestamp"]) - earlier
        metadata |= {"deletionTimestamp": tasks.rfc3339(began + grace), "deletionGracePeriodSeconds": grace}
    marked: dict[str, Any] = {**obj, "metadata": metadata}
    if resource is NAMESPACES:
        marked = meta.changed(marked, ("status", "phase"), "Terminating")
    return Nothing() if marked == obj else Mark(marked)


def is_finished(resource: Kind, obj: Object) -> bool:
    """Whether nothing holds a marked object any more."""
    metadata = obj["metadata"]
    return (
        bool(metadata.get("deletionTimestamp"))
        and not metadata.get("finalizers")
        and not metadata.get("deletionGracePeriodSeconds")
        and not _namespace_finalizers(resource, obj)
    )


def _namespace_finalizers(resource: Kind, obj: Object) -> bool:
    return resource is NAMESPACES and bool(meta.get(obj, "spec", "finalizers"))


def check_preconditions(resource: Kind, obj: Object, options: Options) -> None:
    """Raises ApiError 409 when it is another object, or another version of it, than the options name."""
    name, revision = meta.name(obj), obj["metadata"].get("resourceVersion", "")
    if options.uid and options.uid != meta.uid(obj):
        raise errors.conflict(
            resource.plural,
            name,
            f"Precondition failed: UID in precondition: {options.uid[:100]}, UID in object meta: {meta.uid(obj)}",
            resource.group,
        )
    if options.resource_version and options.resource_version != revision:
        raise errors.stale_write(resource.plural, name, options.resource_version[:100], revision, resource.group)


def _finalizers(obj: Object, propagation: str) -> list[str]:
    present: list[str] = list(obj["metadata"].get("finalizers") or [])
    if not propagation:
        return present
    kept = [name for name in present if name not in _WAITS_WITH.values()]
    return [*kept, _WAITS_WITH[propagation]] if propagation in _WAITS_WITH else kept


_WAITS_WITH = {"Orphan": well_known.ORPHAN_FINALIZER, "Foreground": well_known.FOREGROUND_FINALIZER}


def _grace_seconds(resource: Kind, obj: Object, options: Options) -> int:
    """How long a pod's containers may take to stop; everything else goes at once."""
    if resource is not PODS:
        return 0
    if not meta.get(obj, "spec", "nodeName") or pod_phase.has_ended(obj):
        return 0
    if options.grace_seconds is not None:
        return options.grace_seconds
    if meta.is_deleting(obj) and "deletionGracePeriodSeconds" in obj["metadata"]:
        return obj["metadata"]["deletionGracePeriodSeconds"]  # A second delete does not change the first one's time.
    own = meta.get(obj, "spec", "terminationGracePeriodSeconds", default=GRACE_SECONDS_DEFAULT)
    return own if own >= 0 else 1


def read_options(body: Any, query: Mapping[str, list[str]]) -> Options:
    """DeleteOptions from the body and the query, the body first. Raises ApiError 400 or 422."""
    if body is None:
        body = {}
    if not meta.is_struct(body) or body.get("kind", "DeleteOptions") != "DeleteOptions":
        raise errors.bad_request("cannot delete: the body is not a DeleteOptions object; send that or none")
    grace: Any = body.get("gracePeriodSeconds")
    if grace is None and query.get("gracePeriodSeconds"):
        text = query["gracePeriodSeconds"][0]
        grace = int(text) if text.isascii() and text.lstrip("-").isdigit() and len(text) < 20 else text
    policy: Any = body.get("propagationPolicy") or query.get("propagationPolicy", [""])[0]
    orphan: Any = body.get("orphanDependents", query.get("orphanDependents", [None])[0])
    if orphan is not None and not policy:
        policy = "Orphan" if orphan in (True, "true", "1") else "Background"
    preconditions: Any = body.get("preconditions") or {}
    dry_run: Any = body.get("dryRun") or query.get("dryRun") or []
    wrong = _wrong(grace, policy, preconditions, dry_run)
    if wrong:
        raise errors.invalid("DeleteOptions", "", wrong, well_known.META_GROUP)
    return Options(
        None if grace is None else min(grace, GRACE_SECONDS_MAX),
        policy,
        preconditions.get("uid") or "",
        preconditions.get("resourceVersion") or "",
        bool(dry_run),
    )


def _wrong(grace: Any, policy: Any, preconditions: Any, dry_run: Any) -> list[errors.FieldError]:
    field = errors.FieldError
    wrong: list[errors.FieldError] = []
    if grace is not None and (isinstance(grace, bool) or not isinstance(grace, int) or grace < 0):
        wrong.append(field.invalid("gracePeriodSeconds", grace, "must be a whole number of seconds, 0 or more"))
    if policy and policy not in POLICIES:
        wrong.append(field.unsupported("propagationPolicy", policy, POLICIES))
    if not meta.is_struct(preconditions) or not all(
        isinstance(preconditions.get(key) or "", str) for key in ("uid", "resourceVersion")
    ):
        wrong.append(field.invalid("preconditions", preconditions, "uid and resourceVersion must be text"))
    if dry_run and dry_run != ["All"]:
        wrong.append(field.unsupported("dryRun", dry_run, ("All",)))
    return wrong
