"""Job: pods that run until so many of them have succeeded (batch/v1).

Unless it is told not to (manualSelector), a Job chooses its pods by labels of its own name and uid, which it writes
into its template when it is created. What its pods do once they end is for policies (batch/policies.py). Once there,
only how many run at a time, how long, and whether they run may change.
"""

from __future__ import annotations

from typing import Any

from petset.base import well_known
from petset.kinds.apps import workloads
from petset.kinds.batch import policies
from petset.kinds.pod_spec import filled, validation
from petset.objects import meta, names, selectors, tables
from petset.objects.errors import FieldError
from petset.objects.filling import at, fill, fill_empty, within
from petset.objects.meta import Object
from petset.objects.registry import STATUS, Kind
from petset.objects.validation import Errors, at_least, immutable, label_selector, listed, one_of

BACKOFF_LIMIT = 6
NO_LIMIT = 2**31 - 1
INDEXED_MAX = 100_000  # Pods at a time of a Job that numbers them.

_AMOUNTS = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
)


def defaults(obj: Object) -> Object:
    return within(obj, "spec", _spec)


def _spec(spec: Object) -> Object:
    if "completions" not in spec and "parallelism" not in spec:
        spec = {**spec, "completions": 1, "parallelism": 1}
    limit = NO_LIMIT if spec.get("backoffLimitPerIndex") is not None else BACKOFF_LIMIT
    spec = fill(spec, {"parallelism": 1, "backoffLimit": limit, "suspend": False, "manualSelector": False})
    replaced = "Failed" if spec.get("podFailurePolicy") is not None else "TerminatingOrFailed"
    spec = fill_empty(spec, {"completionMode": "NonIndexed", "podReplacementPolicy": replaced})
    return at(at(spec, "podFailurePolicy", policies.failure_defaults), "template", filled.template)


def _labels(name: str, uid: str) -> dict[str, str]:
    return {
        well_known.JOB_NAME_OLD_LABEL: name,
        well_known.JOB_UID_OLD_LABEL: uid,
        well_known.JOB_NAME_LABEL: name,
        well_known.JOB_UID_LABEL: uid,
    }


def prepare(new: Object, old: Object | None) -> Object:
    """A new Job is given its selector and its pods' labels; those of a user's own are left for validation."""
    if old is not None:
        return new
    new = {**new, "status": {}}
    spec = meta.part(new, "spec")
    if not spec.get("manualSelector") and "template" in spec:
        uid = meta.get(new, "metadata", "uid", default="")
        given = {**_labels(meta.get(new, "metadata", "name", default=""), uid), **_given(spec)}
        new = meta.changed(new, ("spec", "template", "metadata", "labels"), given)
        chosen = {well_known.JOB_UID_LABEL: uid, **meta.part(spec, "selector", "matchLabels")}
        new = meta.changed(new, ("spec", "selector", "matchLabels"), chosen)
    labels = _given(meta.part(new, "spec"))
    return within(new, "metadata", lambda metadata: fill_empty(metadata, {"labels": labels}) if labels else metadata)


def _given(spec: Object) -> Object:
    return meta.part(spec, "template", "metadata", "labels")


@listed
def validate(obj: Object) -> Errors:
    spec = meta.part(obj, "spec")
    yield from check(spec, "spec")
    selector = spec.get("selector")
    if selector is None:
        yield FieldError.required("spec.selector")
    else:
        yield from workloads.chosen(selector, spec)
        if not spec.get("manualSelector"):
            yield from _is_generated(obj, selector, _given(spec))
    if spec.get("completionMode") == "Indexed" and (last := (spec.get("completions") or 0) - 1) >= 0:
        hostname = f"{obj['metadata'].get('name') or ''}-{last}"
        if wrong := names.label(hostname):
            why = f"will not able to create pod with invalid DNS label {hostname!r}: {wrong}"
            yield FieldError.invalid("metadata.name", obj["metadata"].get("name"), why)
    counted = ("active", "succeeded", "failed", "ready", "terminating")
    yield from workloads.counters(meta.part(obj, "status"), counted)
    if meta.is_condition_true(obj, "Complete") and meta.is_condition_true(obj, "Failed"):
        conditions = [dict(one) for one in meta.parts(obj, "status", "conditions")]
        yield FieldError.invalid("status.conditions", conditions, "cannot set Complete=True and Failed=true conditions")


def _is_generated(obj: Object, selector: Object, given: Object) -> Errors:
    expected = _labels(meta.get(obj, "metadata", "name", default=""), meta.get(obj, "metadata", "uid", default=""))
    for key, value in expected.items():
        where = f"spec.template.metadata.labels[{key}]"
        if key not in given:
            yield FieldError.required(where, f"must be '{value}'")
        elif given[key] != value:
            yield FieldError.invalid(where, given[key], f"must be '{value}'")
    if not list(label_selector(selector, "")) and not selectors.from_object(selector).matches({**given, **expected}):
        yield FieldError.invalid("spec.selector", dict(selector), "`selector` not auto-generated")


def check(spec: Object, path: str) -> Errors:
    """A JobSpec, of a Job or of the template of a CronJob, but for its selector."""
    for field in _AMOUNTS:
        yield from at_least(spec.get(field), f"{path}.{field}")
    yield from validation.template(meta.part(spec, "template"), f"{path}.template")
    restart = meta.get(spec, "template", "spec", "restartPolicy", default="")
    where = f"{path}.template.spec.restartPolicy"
    if restart in ("", "Always"):
        yield FieldError.required(where, 'valid values: "OnFailure", "Never"')
    elif restart not in ("OnFailure", "Never"):
        yield FieldError.unsupported(where, restart, ("OnFailure", "Never"))
    elif spec.get("podFailurePolicy") is not None and restart != "Never":
        yield FieldError.invalid(where, restart, 'only "Never" is supported when podFailurePolicy is specified')
    if spec.get("completionMode"):
        yield from one_of(spec["completionMode"], f"{path}.completionMode", ("Indexed", "NonIndexed"))
    yield from _indexed(spec, path)
    if (managed := spec.get("managedBy")) is not None:
        if wrong := names.domain_path(managed):
            yield FieldError.invalid(f"{path}.managedBy", managed, wrong)
        if len(managed) > names.LABEL_CHARACTERS_MAX:
            yield FieldError.too_long(f"{path}.managedBy", names.LABEL_CHARACTERS_MAX)
    if policy := spec.get("podReplacementPolicy"):
        only_failed = spec.get("podFailurePolicy") is not None
        supported = ("Failed",) if only_failed else ("Failed", "TerminatingOrFailed")
        yield from one_of(policy, f"{path}.podReplacementPolicy", supported)
    yield from policies.failure(spec, path)
    yield from policies.success(spec, path)


def _indexed(spec: Object, path: str) -> Errors:
    indexed = spec.get("completionMode") == "Indexed"
    per_index, failed = spec.get("backoffLimitPerIndex"), spec.get("maxFailedIndexes")
    if not indexed:
        for field in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(field) is not None:
                yield FieldError.invalid(f"{path}.{field}", spec[field], "requires indexed completion mode")
    elif spec.get("completions") is None:
        yield FieldError.required(f"{path}.completions", "when completion mode is Indexed")
    elif (spec.get("parallelism") or 0) > INDEXED_MAX:
        why = f"must be less than or equal to {INDEXED_MAX} when completion mode is Indexed"
        yield FieldError.invalid(f"{path}.parallelism", spec["parallelism"], why)
    elif failed is not None and failed > spec["completions"]:
        yield FieldError.invalid(f"{path}.maxFailedIndexes", failed, "must be less than or equal to completions")
    if indexed and failed is not None and per_index is None:
        yield FieldError.required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified")


_FIXED = ("selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")
_DIRECTED = ("nodeSelector", "affinity", "tolerations", "schedulingGates")


@listed
def validate_update(new: Object, old: Object) -> Errors:
    wanted, given = meta.part(new, "spec"), meta.part(old, "spec")
    yield from immutable(wanted, given, "spec", *_FIXED)
    if not _is_elastic(wanted, given):
        yield from immutable(wanted, given, "spec", "completions")
    if _fixed_template(wanted, new, old) != _fixed_template(given, new, old):
        yield FieldError.invalid("spec.template", wanted.get("template"), "field is immutable")


def _is_elastic(wanted: Object, given: Object) -> bool:
    """A Job that numbers its pods may have more or fewer, as long as all of them run at once."""
    indexed = wanted.get("completionMode") == "Indexed" == given.get("completionMode")
    return indexed and wanted.get("completions") == wanted.get("parallelism")


def _fixed_template(spec: Object, new: Object, old: Object) -> Object:
    """What may not change of the template: where its pods run may, before a suspended Job ran for the first time."""
    template = meta.part(spec, "template")
    if not meta.get(old, "spec", "suspend") or meta.get(old, "status", "startTime"):
        return template
    metadata = {key: value for key, value in meta.part(template, "metadata").items() if key not in _LABELLED}
    pods = {key: value for key, value in meta.part(template, "spec").items() if key not in _DIRECTED}
    return {**template, "metadata": metadata, "spec": pods}


_LABELLED = ("labels", "annotations")


def state(obj: Object) -> str:
    """Complete, Failed, ..., as kubectl shows it."""
    for condition, shown in (("Complete", "Complete"), ("Failed", "Failed")):
        if meta.is_condition_true(obj, condition):
            return shown
    if meta.get(obj, "metadata", "deletionTimestamp"):
        return "Terminating"
    for condition in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if meta.is_condition_true(obj, condition):
            return condition
    return "Running"


def cells(obj: Object, now: float) -> list[Any]:
    spec, status = meta.part(obj, "spec"), meta.part(obj, "status")
    parallel = spec.get("parallelism") or 0
    most = spec["completions"] if spec.get("completions") is not None else f"1 of {parallel}" if parallel > 1 else 1
    duration, began = "", tables.seconds_of(status.get("startTime"))
    if began is not None:
        ended = tables.seconds_of(status.get("completionTime"))
        duration = tables.human_duration((now if ended is None else ended) - began)
    return [
        tables.name(obj),
        state(obj),
        f"{status.get('succeeded', 0)}/{most}",
        duration,
        tables.age(obj, now),
        *workloads.containers_and_images(obj),
        tables.selector(spec.get("selector")),
    ]


JOBS = Kind(
    "batch",
    "v1",
    "jobs",
    "Job",
    categories=("all",),
    subresources=STATUS,
    has_generation=True,
    default=defaults,
    prepare=prepare,
    validate=validate,
    validate_update=validate_update,
    fields={"status.successful": selectors.counts("status.succeeded")["status.succeeded"]},
    printer=tables.Printer(
        tables.columns("Name, Status, Completions, Duration, Age, +Containers, +Images, +Selector"), cells
    ),
)

KINDS = (JOBS,)
