"""Three ways to say a change: JSON patch (RFC 6902), merge patch (RFC 7386), strategic merge patch (built-in kinds).

All are pure: the object is not touched, the result shares what the patch did not name. A patch that is malformed is
a 400, a JSON patch that does not fit the object a 422, as upstream answers. A strategic patch merges a list's
elements by the merge key that the schema names (containers by name, ports by port) and understands the directives
$patch, $retainKeys, $setElementOrder/<list> and $deleteFromPrimitiveList/<list>, which kubectl apply and edit send.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from petset.objects import encoding, errors, schema
from petset.objects.meta import Json, Object
from petset.objects.registry import Kind

OPERATIONS_MAX = 10_000
COPIED_BYTES_MAX = 3 * 1024 * 1024  # Copies may double an object with each operation; this ends it.


# -- JSON patch ---------------------------------------------------------------------------------------------------


class _Refused(Exception):
    """Why one operation does not apply to this object."""


class TestFailed(errors.ApiError):
    """A JSON patch's test found another value."""

    __test__ = False  # For pytest.


def json_patch(obj: Object, operations: Json) -> Object:
    """RFC 6902; raises ApiError 400 for a malformed patch, 413 for one too long, 422 for one that does not apply."""
    if not isinstance(operations, list):
        raise errors.bad_request("cannot apply the JSON patch: it must be a list of operations")
    if len(operations) > OPERATIONS_MAX:
        raise errors.too_large(
            f"cannot apply the JSON patch: at most {OPERATIONS_MAX} operations are allowed, it has {len(operations)}"
        )
    draft = _Draft(obj)
    for index, operation in enumerate(operations):
        name, path, argument = _operation(index, operation)
        try:
            draft.apply(name, path, argument)
        except _Refused as refused:
            made = TestFailed if name == "test" else errors.ApiError
            raise made(422, "Invalid", _does_not_apply(index, operation, str(refused))) from None
    tree = draft.tree
    if not isinstance(tree, dict):
        raise errors.bad_request("cannot apply the JSON patch: its result is not an object")
    try:
        encoding.refuse_deep(tree)
    except ValueError as error:
        raise errors.bad_request(f"cannot apply the JSON patch: its result is {error}") from None
    return tree


class _Draft:
    """The object on its way from operation to operation.

    What an operation changes is copied once and is the draft's own from then on, so that ten thousand additions to one
    list copy it once. Nothing is shared between two places of the draft: a copy is a copy through and through.
    """

    def __init__(self, obj: Object):
        self.tree: Object | Json = obj
        self._own: dict[int, Any] = {}  # By identity, and kept alive, so that no identity comes again.
        self._copied_bytes = 0

    def apply(self, name: str, path: list[str], argument: Any) -> None:
        """One operation; `argument` is its value, or the path it takes from. Raises _Refused."""
        match name:
            case "add":
                self._add(path, argument)
            case "remove":
                self._remove(path)
            case "replace":
                self._replace(path, argument)
            case "copy":
                self._add(path, self._copy(_at(self.tree, argument)))
            case "move":
                if path[: len(argument)] == argument and path != argument:
                    raise _Refused("a value cannot be moved into itself")
                value = _at(self.tree, argument)
                self._remove(argument)
                self._add(path, value)
            case _:  # test
                if not equal(_at(self.tree, path), argument):
                    raise _Refused(f"the value there is not {encoding.dumps(argument).decode()[:200]}")

    def _copy(self, value: Any) -> Any:
        try:
            data = encoding.dumps(value)
        except TypeError:  # orjson's word for nesting beyond its limit.
            raise _Refused("the value is nested too deeply") from None
        self._copied_bytes += len(data)
        if self._copied_bytes > COPIED_BYTES_MAX:
            raise _Refused(f"more than {COPIED_BYTES_MAX} bytes are copied")
        return encoding.loads_answer(data)

    def _owned(self, node: Object | Json) -> Any:
        """The node itself when it is the draft's own, else a copy that is."""
        if id(node) in self._own or not isinstance(node, (dict, list)):
            return node
        copy = node.copy()
        self._own[id(copy)] = copy
        return copy

    def _parent(self, path: Sequence[str]) -> Any:
        """What holds the path's end, ready to be changed."""
        node = self.tree = self._owned(self.tree)
        for token in path[:-1]:
            child = self._owned(_child(node, token))
            node[token if isinstance(node, dict) else int(token)] = child
            node = child
        return node

    def _add(self, path: Sequence[str], value: Any) -> None:
        if not path:
            self.tree = value
            return
        parent: Json = self._parent(path)
        token = path[-1]
        if isinstance(parent, dict):
            parent[token] = value
        elif isinstance(parent, list):
            parent.insert(len(parent) if token == "-" else _index(parent, token, len(parent)), value)
        else:
            raise _Refused(f'"{token}" has no parent that is an object or a list')

    def _remove(self, path: Sequence[str]) -> None:
        if not path:
            raise _Refused("the whole object cannot be removed")
        parent, token = self._parent(path), path[-1]
        _child(parent, token)
        del parent[token if isinstance(parent, dict) else int(token)]

    def _replace(self, path: Sequence[str], value: Any) -> None:
        if not path:
            self.tree = value
            return
        parent, token = self._parent(path), path[-1]
        _child(parent, token)
        parent[token if isinstance(parent, dict) else int(token)] = value


def _does_not_apply(index: int, operation: Json, why: str) -> str:
    assert isinstance(operation, dict)  # It is well formed.
    return f'cannot apply the JSON patch: operation {index} ({operation["op"]} "{operation["path"]}"): {why}'


def _operation(index: int, operation: Json) -> tuple[str, list[str], Any]:
    """(name, path, value or from's path) of a well-formed operation."""

    def malformed(why: str) -> errors.ApiError:
        return errors.bad_request(f"cannot apply the JSON patch: operation {index} {why}")

    if not isinstance(operation, dict):
        raise malformed("is not an object")
    name = operation.get("op")
    if name not in ("add", "remove", "replace", "move", "copy", "test"):
        raise malformed('needs an "op" that is add, remove, replace, move, copy or test')
    paths: dict[str, list[str]] = {}
    for field in ("path", "from") if name in ("move", "copy") else ("path",):
        pointer = operation.get(field)
        if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
            raise malformed(f'needs a "{field}" that is empty or begins with "/"')
        if re.search(r"~(?![01])", pointer):
            raise malformed(f'has a "{field}" with a "~" that is neither ~0 nor ~1')
        paths[field] = _tokens(pointer)
    if name in ("add", "replace", "test"):
        if "value" not in operation:
            raise malformed('needs a "value"')
        return name, paths["path"], operation["value"]
    return name, paths["path"], paths.get("from")


def _tokens(pointer: str) -> list[str]:
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


_INDEX = re.compile(r"^(?:0|[1-9][0-9]{0,8})\Z", re.ASCII)


def _index(items: Sequence[Any], token: str, most: int) -> int:
    if not _INDEX.match(token):
        raise _Refused(f'"{token}" is not an index of a list')
    if int(token) > most:
        raise _Refused(f"index {token} is beyond the list of {len(items)}")
    return int(token)


def _at(tree: Any, path: Sequence[str]) -> Any:
    for token in path:
        tree = _child(tree, token)
    return tree


def _child(tree: Object | Json, token: str) -> Any:
    if isinstance(tree, dict):
        if token not in tree:
            raise _Refused(f'there is no "{token}"')
        return tree[token]
    if isinstance(tree, list):
        return tree[_index(tree, token, len(tree) - 1)]
    raise _Refused(f'there is no "{token}": its parent is neither an object nor a list')


def equal(a: Json, b: Json) -> bool:
    """Equal as JSON: 1 is 1.0 but not true."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(value, b[key]) for key, value in a.items())
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(equal(left, right) for left, right in zip(a, b))
    return a == b


# -- merge patch --------------------------------------------------------------------------------------------------


def merge_patch(obj: Object, patch: Json) -> Object:
    """RFC 7386: nulls remove, objects merge, everything else replaces; raises ApiError 400 when it is no object."""
    if not isinstance(patch, dict):
        raise errors.bad_request("cannot apply the merge patch: it must be an object")
    return _merged(obj, patch)


def _merged(target: Object | Json, patch: Mapping[str, Json]) -> dict[str, Any]:
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = _merged(result.get(key), value)
        else:
            result[key] = value
    return result


# -- strategic merge patch ----------------------------------------------------------------------------------------

_ORDER = "$setElementOrder/"
_DELETE = "$deleteFromPrimitiveList/"


def strategic_merge(obj: Object, patch: Json, resource: Kind) -> Object:
    """Kubernetes' strategic merge patch, with the merge keys of the resource's schema; raises ApiError 400."""
    if not isinstance(patch, dict):
        raise _bad("it must be an object")
    result = _strategic(dict(obj), patch, schema.node_of(resource), "")
    return result if result is not None else {}


def _bad(why: str) -> errors.ApiError:
    return errors.bad_request(f"cannot apply the strategic merge patch: {why}")


def _strategic(target: Object, patch: Mapping[str, Json], node: schema.Node | None, path: str) -> Any:
    """The merged map."""
    directive = patch.get("$patch")
    if directive == "replace":
        return _stripped({key: value for key, value in patch.items() if key != "$patch"})
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise _bad(f"{path or 'the object'}: $patch must be merge, replace or delete")
    result = _retained(dict(target), patch, path)
    listed: dict[str, None] = {}  # The lists that the patch speaks of, in its order.
    for key, value in patch.items():
        if key in ("$patch", "$retainKeys"):
            continue
        where = f"{path}.{key}" if path else key
        field = node.child(key) if node else None
        if key.startswith((_ORDER, _DELETE)):
            if not isinstance(value, list):
                raise _bad(f"{where} must be a list")
            listed[key.partition("/")[2]] = None
        elif value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            old = result.get(key)
            if field is not None and "replace" in field.strategies:
                result[key] = _stripped(value)
            elif value.get("$patch") == "delete":
                result.pop(key, None)
            else:
                result[key] = _strategic(old if isinstance(old, dict) else {}, value, field, where)
        elif isinstance(value, list) and field is not None and "merge" in field.strategies:
            listed[key] = None
        else:
            result[key] = _stripped(value)
    for key in listed:
        field = node.child(key) if node else None
        if field is None or "merge" not in field.strategies:
            continue  # An atomic list was replaced as a whole; its order is the patch's.
        merged = _list_of(key, result, patch, field, f"{path}.{key}" if path else key)
        if merged is None:
            result.pop(key, None)
        else:
            result[key] = merged
    return result


def _retained(target: dict[str, Any], patch: Mapping[str, Json], path: str) -> dict[str, Json]:
    """What $retainKeys leaves of the target (unions change their member with it)."""
    keys = patch.get("$retainKeys")
    if keys is None:
        return target
    if not isinstance(keys, list) or any(not isinstance(key, str) for key in keys):
        raise _bad(f"{path}.$retainKeys must be a list of field names")
    retained = dict.fromkeys(keys)
    for key, value in patch.items():
        if not key.startswith("$") and value is not None and key not in retained:
            raise _bad(f"{path}.{key} is set but not among $retainKeys")
    return {key: value for key, value in target.items() if key in retained}


def _stripped(value: Json) -> Any:
    """A new value without directives and nulls."""
    if isinstance(value, dict):
        if value.get("$patch") == "delete":
            return {}
        return {key: _stripped(inner) for key, inner in value.items() if inner is not None and not key.startswith("$")}
    if isinstance(value, list):
        return [
            _stripped(inner)
            for inner in value
            if not (isinstance(inner, dict) and inner.get("$patch") in ("delete", "replace"))
        ]
    return value


def _list_of(
    key: str, target: Mapping[str, Json], patch: Mapping[str, Json], field: schema.Node | None, where: str
) -> list[Any] | None:
    """The list after its elements were merged, deleted and ordered; None when there was none and there is none."""
    old = target.get(key)
    original: list[Any] = old if isinstance(old, list) else []
    changes = patch.get(key)
    if changes is None and key in patch:
        return None
    if old is None and changes is None:
        return None
    changes = changes if isinstance(changes, list) else []
    deleted, order = patch.get(_DELETE + key), patch.get(_ORDER + key)
    merge_key = field.merge_key if field else ""
    if merge_key:
        result = _merged_elements(original, changes, field, merge_key, where)
    else:
        kept = {_identity(value): value for value in (*original, *changes)}  # Each once, where it first stood.
        for value in deleted if isinstance(deleted, list) else ():
            kept.pop(_identity(value), None)
        result = list(kept.values())
    own = [change for change in changes if not (merge_key and isinstance(change, dict) and "$patch" in change)]
    if isinstance(order, list):
        _check_order(own, order, merge_key, where)
    return _ordered(result, original, order if isinstance(order, list) else own, merge_key)


def _identity(value: Any) -> Any:
    """What two equal values of JSON share, so that an element is found by a look-up."""
    return value if isinstance(value, str) else encoding.dumps(value)


def _merged_elements(
    original: list[Any], changes: list[Any], field: schema.Node | None, merge_key: str, where: str
) -> list[Any]:
    for change in changes:
        if not isinstance(change, dict):
            raise _bad(f"{where} must hold objects, each with {merge_key!r}")
    if any(change.get("$patch") == "replace" for change in changes):
        return _stripped(changes)
    result: list[Any] = list(original)
    places: dict[Any, list[int]] = {}
    for index, item in enumerate(original):
        if isinstance(item, dict) and merge_key in item:
            places.setdefault(_identity(item[merge_key]), []).append(index)
    for change in changes:
        if change.get(merge_key) is None:
            raise _bad(f"{where} has an element without its merge key {merge_key!r}")
        key, item_node = _identity(change[merge_key]), field.item if field else None
        if change.get("$patch") == "delete":
            for index in places.pop(key, ()):
                result[index] = _GONE
        elif key in places:
            index = places[key][0]
            result[index] = _strategic(result[index], change, item_node, where)
        else:
            places[key] = [len(result)]
            result.append(_strategic({}, change, item_node, where))
    return [item for item in result if item is not _GONE]


_GONE = object()


def _key_of(item: Any, merge_key: str) -> Any:
    """What tells an element of a list from the others; None for one without its merge key."""
    if not merge_key:
        return _identity(item)
    return _identity(item[merge_key]) if isinstance(item, dict) and merge_key in item else None


def _check_order(own: list[Any], order: list[Any], merge_key: str, where: str) -> None:
    """The patch's elements are among those that it orders, and stand in that order."""
    keys = [_key_of(item, merge_key) for item in order]
    if None in keys:
        raise _bad(f"{_ORDER}{where} has an element without its merge key {merge_key!r}")
    following = iter(keys)
    if not all(_key_of(item, merge_key) in following for item in own):
        raise _bad(f"the order of {where} does not match that of {_ORDER}{where}")


def _ordered(result: list[Any], original: list[Any], order: list[Any], merge_key: str) -> list[Any]:
    """The elements that the patch orders, in its order, among those that only the server has, in theirs.

    An element that only the server has stays before one of the patch's that it stood before; it follows new ones.
    """
    wanted = {_key_of(item, merge_key): index for index, item in enumerate(order)}
    before = {_key_of(item, merge_key): index for index, item in reversed(list(enumerate(original)))}
    known = [(_key_of(item, merge_key), item) for item in result]
    named = deque(sorted((pair for pair in known if pair[0] in wanted), key=lambda pair: wanted[pair[0]]))
    others = deque(pair for pair in known if pair[0] not in wanted)
    merged: list[Any] = []
    while named and others:
        first, other = before.get(named[0][0]), before.get(others[0][0])
        stays_before = first is not None and other is not None and other < first
        merged.append((others if stays_before else named).popleft())
    return [item for _, item in (*merged, *named, *others)]
