"""Reading and changing frozen JSON trees, and what every object has in common: names, owners, conditions.

An object is a plain dict that nobody mutates after it was decoded. A change makes a new tree that shares
everything else: `changed(pod, ("status", "phase"), "Running")`. Paths are tuples of keys; lists are replaced whole.

What is inside an `Object` is Any until somebody says what it is. `part`, `parts` and `texts` say it where they read:
a struct, a list of structs, a list of texts, each empty where it is missing. They trust the schema, which every stored
object passed. `get` trusts nothing, and its caller says the type. Who walks values of any shape calls them `Json`,
which isinstance takes apart.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeGuard, cast

Object = Mapping[str, Any]
Json: TypeAlias = "dict[str, Json] | list[Json] | str | float | bool | None"


def changed(tree: Object, path: Sequence[str], value: Any) -> dict[str, Any]:
    """The same tree with one leaf replaced; nothing is mutated, the rest is shared."""
    head, *rest = path
    return {**tree, head: changed(tree.get(head) or {}, rest, value) if rest else value}


def without(tree: Object, path: Sequence[str]) -> dict[str, Any]:
    """The same tree with one leaf removed; the tree itself when it was not there."""
    head, *rest = path
    if head not in tree:
        return dict(tree)
    if not rest:
        return {key: value for key, value in tree.items() if key != head}
    inner: Json = tree[head]
    return {**tree, head: without(inner, rest)} if isinstance(inner, dict) else dict(tree)


def get(tree: Object | None, *path: str, default: Any = None) -> Any:
    """The value at a path, or the default where any step is missing or null."""
    value: Object | Json = tree
    for step in path:
        if not isinstance(value, dict):
            return default
        value = value.get(step)
    return default if value is None else value


def is_struct(value: Any) -> TypeGuard[dict[str, Any]]:
    """Of what strangers send: whether it is an object of JSON."""
    return isinstance(value, dict)


def is_list(value: Any) -> TypeGuard[list[Any]]:
    """Of what strangers send: whether it is a list."""
    return isinstance(value, list)


def is_texts(value: Any) -> TypeGuard[list[str]]:
    """Of what strangers send: whether it is a list of texts."""
    return isinstance(value, list) and all(isinstance(item, str) for item in cast("list[Any]", value))


def part(tree: Object, *path: str) -> Object:
    """The struct or map at a path; an empty one where any step is missing or null."""
    for step in path:
        tree = tree.get(step) or {}
    return tree


def parts(tree: Object, key: str, *path: str) -> Sequence[Object]:
    """The list of structs at a path; an empty one where any step is missing or null."""
    for step in path:
        tree = tree.get(key) or {}
        key = step
    return tree.get(key) or ()


def texts(tree: Object, key: str, *path: str) -> Sequence[str]:
    """The list of texts at a path; an empty one where any step is missing or null."""
    for step in path:
        tree = tree.get(key) or {}
        key = step
    return tree.get(key) or ()


def name(obj: Object) -> str:
    return obj["metadata"]["name"]


def namespace(obj: Object) -> str:
    """The namespace, "" for cluster-scoped objects."""
    return obj["metadata"].get("namespace") or ""


def uid(obj: Object) -> str:
    return obj["metadata"].get("uid", "")


def truth(text: str) -> bool | None:
    """What a text says as Go's ParseBool reads it; None when it says neither."""
    return True if text in _TRUE else False if text in _FALSE else None


_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")


def labels(obj: Object) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or {}


def annotations(obj: Object) -> Mapping[str, str]:
    return obj["metadata"].get("annotations") or {}


def finalizers(obj: Object) -> Sequence[str]:
    return obj["metadata"].get("finalizers") or ()


def with_finalizers(obj: Object, *added: str) -> dict[str, Any]:
    """With these, too, behind those that it has."""
    return changed(obj, ("metadata", "finalizers"), list(dict.fromkeys([*finalizers(obj), *added])))


def without_finalizers(obj: Object, *removed: str) -> dict[str, Any]:
    return changed(obj, ("metadata", "finalizers"), [one for one in finalizers(obj) if one not in removed])


def revision(obj: Object) -> int:
    """metadata.resourceVersion as the store's revision; 0 when absent."""
    return int(obj["metadata"].get("resourceVersion") or 0)


def is_deleting(obj: Object) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def key(obj: Object) -> str:
    """namespace/name, or the name alone for cluster-scoped objects: the key of a controller's queue."""
    space = namespace(obj)
    return f"{space}/{name(obj)}" if space else name(obj)


def by_age(obj: Object) -> tuple[str, str]:
    """To sort by: the oldest first, by name those that were made in one second."""
    return obj["metadata"].get("creationTimestamp") or "", name(obj)


def annotated_number(obj: Object, annotation: str, digits_max: int = 10) -> int | None:
    """The number from 0 on that an annotation gives; None when it gives none, or one of more digits."""
    text = annotations(obj).get(annotation, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= digits_max else None


def split_key(text: str) -> tuple[str, str]:
    """(namespace, name) of a queue key."""
    space, _, rest = text.rpartition("/")
    return space, rest


def controller_of(obj: Object) -> Object | None:
    """The owner reference that is the controller, if any."""
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            return owner
    return None


def controller_uid(obj: Object) -> str:
    """The uid of the owner that is the controller, "" when there is none."""
    controller = controller_of(obj)
    return controller.get("uid", "") if controller is not None else ""


def is_controlled_by(obj: Object, owner: Object) -> bool:
    reference = controller_of(obj)
    return reference is not None and reference.get("uid") == uid(owner)


def owner_reference(owner: Object, controller: bool = True, block: bool = True) -> dict[str, Any]:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name(owner),
        "uid": uid(owner),
        **({"controller": True} if controller else {}),
        **({"blockOwnerDeletion": True} if block else {}),
    }


def object_reference(obj: Object) -> dict[str, Any]:
    """A core/v1 ObjectReference to it, as events carry."""
    space = namespace(obj)
    return {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "name": name(obj),
        **({"namespace": space} if space else {}),
        "uid": uid(obj),
        **({"resourceVersion": obj["metadata"]["resourceVersion"]} if "resourceVersion" in obj["metadata"] else {}),
    }


def condition(obj: Object, type_: str) -> Object | None:
    for item in get(obj, "status", "conditions", default=()):
        if item.get("type") == type_:
            return item
    return None


def is_condition_true(obj: Object, type_: str) -> bool:
    found = condition(obj, type_)
    return found is not None and found.get("status") == "True"


def with_condition(conditions: Iterable[Object], new: Object) -> list[Object]:
    """The list with this condition set; lastTransitionTime is kept when the status did not change."""
    result: list[Object] = []
    seen = False
    for old in conditions:
        if old.get("type") != new["type"]:
            result.append(old)
            continue
        seen = True
        if old.get("status") == new.get("status") and "lastTransitionTime" in old:
            new = {**new, "lastTransitionTime": old["lastTransitionTime"]}
        result.append(new)
    return result if seen else [*result, new]


def is_pod_ready(pod: Object) -> bool:
    return is_condition_true(pod, "Ready")
