"""Clusters that are a list of objects: what a GET of one answers, for cases that say what is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from petset.kinds import builtin
from petset.objects import encoding, meta, selectors
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.why import why
from petset.why.finding import Finding
from petset.why.picture import PAGE_OBJECTS_MAX, Answer, Picture, Unread

ROUNDS_MAX = 60


class Fake:
    def __init__(
        self,
        objects: Sequence[Object],
        logs: Mapping[str, str],
        is_petset: bool,
        refused: Sequence[str] = (),
        page_objects: int = PAGE_OBJECTS_MAX,
    ):
        self.objects = [whole(obj) for obj in objects]
        self.logs, self.is_petset, self.refused, self.page_objects = logs, is_petset, refused, page_objects
        self.asked: list[str] = []

    def told(self, kind: Kind, name: str, namespace: str) -> Finding:
        picture = Picture()
        for _ in range(ROUNDS_MAX):
            found = why.of(kind, name, namespace, picture)
            if not picture.wanted:
                return found
            for target in picture.wanted:
                assert target not in picture.answers
                picture.answers[target] = self.answer(target)
            picture.wanted.clear()
        raise AssertionError(f"still wants {list(picture.wanted)}")

    def answer(self, target: str) -> Answer:
        self.asked.append(target)
        path, _, text = target.partition("?")
        query = dict(parse_qsl(text))
        if path == "/version":
            return encoding.dumps({"gitVersion": "v1.37.0+petset-1" if self.is_petset else "v1.37.0"})
        if path.endswith("/log"):
            pod = path.split("/")[-2]
            log = self.logs.get(f"{pod}/{query['container']}")
            return Unread(404, "no log") if log is None else log.encode()
        for kind in builtin.KINDS:
            if kind.plural in self.refused and f"/{kind.plural}" in path:
                return Unread(403, f"{kind.plural} is forbidden")
        for kind in builtin.KINDS:
            for obj in self.objects:
                if is_a(obj, kind) and kind.path(meta.namespace(obj), meta.name(obj)) == path:
                    return encoding.dumps(obj)
        if text:
            found = [obj for obj in self.objects if self.is_chosen(obj, path, query)]
            begin = int(query.get("continue", 0))
            end = begin + self.page_objects
            more = {"continue": str(end)} if end < len(found) else {}
            return encoding.dumps({"metadata": more, "items": found[begin:end]})
        return Unread(404, "not found")

    def is_chosen(self, obj: Object, path: str, query: Mapping[str, str]) -> bool:
        kind = next(kind for kind in builtin.KINDS if is_a(obj, kind))
        if path not in (kind.path(meta.namespace(obj)), kind.path()):
            return False
        if not selectors.parse_labels(query.get("labelSelector", "")).matches(meta.labels(obj)):
            return False
        return kind.field_selector(query.get("fieldSelector", "")).matches(obj)


def is_a(obj: Object, kind: Kind) -> bool:
    return (obj["apiVersion"], obj["kind"]) == (kind.api_version, kind.kind)


def kind_of(name: str) -> Kind:
    return next(kind for kind in builtin.KINDS if kind.kind == name)


def whole(given: Object) -> dict[str, Any]:
    """An object of {kind, name, of: owner, labels, ..., spec, status}, or of {event, about, says}, as in cases."""
    if "event" in given:
        return event(given)
    kind = kind_of(given["kind"])
    metadata: dict[str, Any] = {
        "name": given["name"],
        "uid": f"{given['kind']}-{given['name']}",
        "creationTimestamp": "2016-08-03T00:00:00Z",
        **({"namespace": "default"} if kind.namespaced else {}),
        **{key: given[key] for key in ("labels", "annotations", "finalizers") if key in given},
    }
    if given.get("deleting"):
        metadata["deletionTimestamp"] = "2016-08-03T00:10:00Z"
        metadata["deletionGracePeriodSeconds"] = 30
    if "of" in given:
        owner, _, name = given["of"].partition("/")
        metadata["ownerReferences"] = [
            {"kind": owner, "name": name, "uid": f"{owner}-{name}", "controller": True, "apiVersion": "v1"}
        ]
    own = ("name", "labels", "annotations", "finalizers", "deleting", "of")
    rest = {key: value for key, value in given.items() if key not in own}
    return {"apiVersion": kind.api_version, **rest, "metadata": metadata}


def event(given: Object) -> dict[str, Any]:
    kind, _, name = given["about"].partition("/")
    moment = f"2016-08-03T00:00:{given.get('at', 1):02d}Z"
    field = {"fieldPath": f"spec.containers{{{given['container']}}}"} if "container" in given else {}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.{given['event']}.{given.get('at', 1)}", "namespace": "default"},
        "involvedObject": {"kind": kind, "name": name, "uid": f"{kind}-{name}", **field},
        "reason": given["event"],
        "type": given.get("type", "Warning"),
        "message": given["says"],
        "count": given.get("count", 1),
        "lastTimestamp": moment,
    }
