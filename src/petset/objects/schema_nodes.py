"""Types as nodes: what values a type takes, and what is inside it; built from the schema package's text when met.

Types, properties and required fields are read as text from the files of the lightkube-models package (one class at a
time, when it is first met; nothing is imported from there), formats, value types and merge keys from facts.json.
`struct("core_v1", "Pod")` gives a type's node. `Node.ok` is the hot path of every write: is this value already exactly
as it would be stored? Whoever wants more (schema.py to read, patch.py to merge) walks the nodes' fields and items.
"""

from __future__ import annotations

import ast
import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from petset.objects import package_data, quantity, schema_limits
from petset.objects.meta import Json
from petset.objects.remembered import remembered

# Fields that the schema calls required and the API server does not: it fills them, or their absence means empty.
_NOT_REQUIRED = frozenset(
    {
        ("discovery_v1.EndpointSlice", "endpoints"),
        ("rbac_v1.Role", "rules"),
        ("rbac_v1.ClusterRole", "rules"),
        ("apps_v1.ControllerRevision", "revision"),
        ("apps_v1alpha1.PetSetSpec", "selector"),
        ("core_v1.Event", "metadata"),
        ("core_v1.Event", "involvedObject"),
        ("core_v1.HTTPHeader", "value"),
        ("core_v1.NodeSelector", "nodeSelectorTerms"),
        ("storage_v1.CSINodeSpec", "drivers"),
        ("meta_v1.GroupResource", "group"),
        ("authorization_v1.SelfSubjectAccessReview", "spec"),
        ("authorization_v1.SubjectAccessReview", "spec"),
        ("authentication_v1.TokenReview", "spec"),
        ("authentication_v1.TokenRequestSpec", "audiences"),
    }
)


Fields = tuple[Mapping[str, "Node"], frozenset[str]]  # A struct's, by their JSON names; and which are required.
Load = Callable[[], Fields]


class Node:
    """A type: what values it takes (`ok`), and for structs, lists and maps what is inside."""

    __slots__ = (
        "_fields", "_load", "exact", "is_atomic", "item", "items_max", "key_defaults", "kind", "list_keys",
        "list_type", "merge_key", "name", "ok", "strategies", "type_name",
    )  # fmt: skip

    def __init__(
        self,
        kind: str,
        name: str,
        ok: Callable[[Any], bool],
        item: Node | None = None,
        load: Load | None = None,
        exact: type | None = None,
    ):
        self.kind = kind  # struct, list, map, or a scalar's type.
        self.name = name  # As the API server's messages call it: v1.PodSpec, []string, int32.
        self.ok = ok  # True when the value is exactly as it would be stored.
        self.exact = exact  # Every value of this class is ok: known without a call, as it is of most values.
        self.item = item  # Of lists and maps ...
        self.items_max = 0  # ... and how many they may have.
        self.merge_key = ""  # Strategic merge patches identify a list's elements by it ...
        self.strategies: tuple[str, ...] = ()  # ... where "merge" is among the strategies.
        self.is_atomic = False  # Of a struct or a map: owned as a whole (typed_fields.py).
        self.list_type = ""  # atomic, set or map; "" is atomic.
        self.list_keys: tuple[str, ...] = ()
        self.key_defaults: Mapping[str, Any] = {}  # What an element has of them that does not say them.
        self.type_name = ""  # Where its type stands: core_v1.PodSpec; "" where it has no name of its own.
        self._fields: Fields | None = None
        self._load = load

    @property
    def fields(self) -> Mapping[str, Node]:
        """A struct's properties by their JSON names; empty for everything else."""
        return (self._fields or self.loaded())[0]

    @property
    def required(self) -> frozenset[str]:
        return (self._fields or self.loaded())[1]

    def loaded(self) -> Fields:
        if self._fields is None:
            self._fields = self._load() if self._load else ({}, frozenset())
        return self._fields

    def child(self, key: str) -> Node | None:
        """The node of a struct's field or a map's values."""
        return self.item if self.kind == "map" else (self._fields or self.loaded())[0].get(key)


def _is_struct(node: Node) -> Callable[[Any], bool]:
    def first(value: Json) -> bool:
        fields, required = node.loaded()
        # The one hot loop: plain dictionary look-ups and one call a field.
        look = fields.get

        def ok(value: Json) -> bool:
            if type(value) is not dict:
                return False
            for key, inner in value.items():
                field = look(key)
                if field is None or (type(inner) is not field.exact and not field.ok(inner)):
                    return False
            return not required or required <= value.keys()

        node.ok = ok
        return ok(value)

    return first


def _is_list(item: Node, most: int) -> Callable[[Any], bool]:
    exact = frozenset((item.exact,))

    def ok(value: Json) -> bool:
        if type(value) is not list or len(value) > most:
            return False
        if exact.issuperset(map(type, value)):
            return True
        for inner in value:  # noqa: SIM110 (a loop is a third quicker than all() over a generator)
            if not item.ok(inner):
                return False
        return True

    return ok


def _is_map(item: Node, most: int) -> Callable[[Any], bool]:
    exact = frozenset((item.exact,))

    def ok(value: Json) -> bool:
        if type(value) is not dict or len(value) > most:
            return False
        if exact.issuperset(map(type, value.values())):
            return True
        for inner in value.values():  # noqa: SIM110
            if not item.ok(inner):
                return False
        return True

    return ok


def _is_quantity(value: Json) -> bool:
    try:
        return type(value) is str and quantity.canonical(value) == value
    except ValueError:
        return False


def _is_bytes(value: Json) -> bool:
    return type(value) is str and bytes_text(value) == value


_RFC3339 = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(\d{1,9}))?(?:Z|[+-]\d\d:\d\d)\Z", re.ASCII)


@remembered(2048)
def time_text(text: str) -> str | None:
    """2016-08-03T00:00:00Z, whole seconds in UTC; None for what is not a time."""
    return _utc(text, "seconds")


@remembered(2048)
def micro_time_text(text: str) -> str | None:
    return _utc(text, "microseconds")


def _utc(text: str, precision: str) -> str | None:
    match = _RFC3339.match(text)
    if match is None:
        return None
    if fraction := match.group(1):
        text = text.replace("." + fraction, "." + f"{fraction:0<6.6}")  # Python reads six digits, others write nine.
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment.replace(tzinfo=None).isoformat(timespec=precision) + "Z"


def bytes_text(text: str) -> str | None:
    """The same bytes in canonical base64; None for what is not base64."""
    try:
        return base64.b64encode(base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)).decode()
    except (binascii.Error, ValueError):
        return None


_ANY = Node("any", "interface {}", lambda value: True)
_OBJECT = Node("object", "map[string]interface {}", lambda value: type(value) is dict, exact=dict)
_SCALARS: Mapping[str, Node] = {
    "string": Node("string", "string", lambda value: type(value) is str, exact=str),
    "bool": Node("bool", "bool", lambda value: type(value) is bool, exact=bool),
    "int32": Node("int32", "int32", lambda value: type(value) is int and -(2**31) <= value < 2**31),
    "int64": Node("int64", "int64", lambda value: type(value) is int and -(2**63) <= value < 2**63),
    "float": Node("float", "float64", lambda value: type(value) is int or type(value) is float),
    "byte": Node("byte", "[]uint8", _is_bytes),
    "Quantity": Node("Quantity", "resource.Quantity", _is_quantity),
    "Time": Node("Time", "v1.Time", lambda value: type(value) is str and time_text(value) == value),
    "MicroTime": Node(
        "MicroTime", "v1.MicroTime", lambda value: type(value) is str and micro_time_text(value) == value
    ),
    "IntOrString": Node(
        "IntOrString",
        "intstr.IntOrString",
        lambda value: type(value) is str or (type(value) is int and -(2**31) <= value < 2**31),
    ),
}
ZERO = {"string": "", "bool": False, "int32": 0, "int64": 0, "float": 0, "byte": "", "Quantity": "0", "IntOrString": 0}


# -- building nodes out of the package's text ---------------------------------------------------------------------


@cache
def _places(module: str) -> Mapping[str, tuple[int, int]]:
    """Where each class of a module begins and ends, so that only those that are met are parsed."""
    text = package_data.schema_text(module)
    starts = [(match.group(1), match.start()) for match in re.finditer(r"^class (\w+)\(", text, re.M)]
    ends = [start for _, start in starts[1:]] + [len(text)]
    return {name: (start, end) for (name, start), end in zip(starts, ends)}


@cache
def struct(module: str, name: str) -> Node:
    version = module.partition("_")[2]
    node = Node("struct", f"{version}.{name}", lambda value: False, load=lambda: _fields(module, name))
    node.ok = _is_struct(node)
    node.is_atomic = package_data.facts("facts.json").get(f"{module}.{name}", {}).get("") == "map=atomic"
    node.type_name = f"{module}.{name}"
    return node


def source(module: str, name: str) -> str:
    """The text of a class of the package, "" when there is none."""
    place = _places(module).get(name) if package_data.has_schema(module) else None
    if place is None:
        return ""
    text = package_data.schema_text(module)[slice(*place)]
    return text.rpartition("\n@dataclass")[0] or text


def _fields(module: str, name: str) -> Fields:
    if module == "apps_v1alpha1":
        return _petset_fields(name)
    body = ast.parse(source(module, name)).body[0]
    assert isinstance(body, ast.ClassDef)
    facts = package_data.facts("facts.json").get(f"{module}.{name}", {})
    fields: dict[str, Node] = {}
    required: list[str] = []
    for line in body.body:
        if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name):
            continue
        annotation = str(ast.literal_eval(line.annotation))
        json_name = _json_name(line) or line.target.id
        most = schema_limits.ITEMS_MAX.get((f"{module}.{name}", json_name), 0)
        fields[json_name] = _of_annotation(module, annotation, facts.get(json_name, "").split(), most)
        optional = annotation.startswith("Optional[")
        if not optional and (f"{module}.{name}", json_name) not in _NOT_REQUIRED:
            required.append(json_name)
    return fields, frozenset(required)


def _json_name(line: ast.AnnAssign) -> str:
    """The JSON name in `field(metadata={"json": "continue"}, ...)`: names that Python cannot spell."""
    if isinstance(line.value, ast.Call):
        for keyword in line.value.keywords:
            if keyword.arg == "metadata":
                return ast.literal_eval(keyword.value).get("json", "")
    return ""


def _petset_fields(name: str) -> Fields:
    """A PetSet is a StatefulSet whose selector may be left to its labels."""
    fields, required = _fields("apps_v1", name.replace("PetSet", "StatefulSet"))
    if name == "PetSet":
        own = {part: struct("apps_v1alpha1", f"PetSet{part.capitalize()}") for part in ("spec", "status")}
        fields = {**fields, **own}
    lenient = [field for field in required if (f"apps_v1alpha1.{name}", field) in _NOT_REQUIRED]
    return fields, required.difference(lenient)


def _of_annotation(module: str, annotation: str, fact: Sequence[str], most: int = 0) -> Node:
    if annotation.startswith("Optional["):
        annotation = annotation[9:-1]
    said: dict[str, str] = {}
    for word in fact:
        key, _, value = word.partition("=")
        said[key] = value
    if annotation.startswith("List["):
        item = _of_annotation(module, annotation[5:-1], [word for word in fact if "=" not in word])
        node = _list(item, most)
        node.list_type, _, keys = said.get("list", "").partition(":")
        node.list_keys = tuple(keys.split(",")) if keys else ()
        if "protocol" in node.list_keys:  # Of ports: the one key that has a default, which the facts do not tell.
            node.key_defaults = {"protocol": "TCP"}
    elif annotation.startswith("Dict["):
        node = _map(_of_annotation(module, annotation[5:-1], ()), most)
    elif annotation in ("dict", "Dict"):
        if "values" not in said:
            return _OBJECT
        node = _map(_value(said["values"]), most)
    else:
        node = _named(module, annotation, said)
    if "map" in said:
        node = _copy(node)
        node.is_atomic = said["map"] == "atomic"
    if "patch" in said:
        strategies, _, key = said["patch"].partition(":")
        if node.kind != "list":  # Structs are shared; this field's strategies are its own.
            node = _copy(node)
        node.strategies, node.merge_key = tuple(strategies.split(",")), key
    return node


def _copy(node: Node) -> Node:
    load = node.loaded if node.kind == "struct" else None
    copy = Node(node.kind, node.name, node.ok, node.item, load, node.exact)
    copy.items_max, copy.is_atomic, copy.type_name = node.items_max, node.is_atomic, node.type_name
    if node.kind == "struct":
        copy.ok = _is_struct(copy)
    return copy


def _list(item: Node, most: int = 0) -> Node:
    most = most or schema_limits.LIST_ITEMS_MAX
    node = Node("list", f"[]{item.name}", _is_list(item, most), item)
    node.items_max = most
    return node


def _map(item: Node, most: int = 0) -> Node:
    most = most or schema_limits.MAP_ENTRIES_MAX
    node = Node("map", f"map[string]{item.name}", _is_map(item, most), item)
    node.items_max = most
    return node


def _value(word: str) -> Node:
    """The type of a map's values, as the facts name it."""
    if word.startswith("[]"):
        return _list(_value(word[2:]))
    if word in _SCALARS:
        return _SCALARS[word]
    if "." in word:
        module, _, name = word.partition(".")
        if name in _SCALARS:  # meta_v1.Time
            return _SCALARS[name]
        return struct(module, name) if name in _places(module) else _ANY
    return {"boolean": _SCALARS["bool"], "integer": _SCALARS["int64"]}.get(word, _ANY)


def _named(module: str, annotation: str, said: Mapping[str, str]) -> Node:
    match annotation:
        case "str":
            return _SCALARS["byte" if "byte" in said else "string"]
        case "int":
            return _SCALARS["int32" if "int32" in said else "int64"]
        case "bool":
            return _SCALARS["bool"]
        case "float":
            return _SCALARS["float"]
        case _:
            return _struct_or_any(module, annotation)


def _struct_or_any(module: str, annotation: str) -> Node:
    where, _, name = annotation.rpartition(".")
    if name in ("Quantity", "Time", "MicroTime", "IntOrString"):
        return _SCALARS[name]
    if name == "RawExtension":
        return _ANY
    if name in ("JSONSchemaPropsOrBool", "JSONSchemaPropsOrArray"):  # A list of schemas is nowhere allowed.
        return _schema_or_bool(name == "JSONSchemaPropsOrBool")
    where = where or module
    if name in _places(where):
        return struct(where, name)
    alias = re.search(rf"^{name} = (\w+)", package_data.schema_text(where), re.M)
    return _OBJECT if alias and alias.group(1) == "Dict" else _ANY


def _schema_or_bool(takes_bool: bool) -> Node:
    """The schema of what is in a list or a map; of a map it may be a bool, too."""
    schema = struct("apiextensions_v1", "JSONSchemaProps")
    if not takes_bool:
        return schema
    either = Node("struct", schema.name, lambda value: type(value) is bool or schema.ok(value), load=schema.loaded)
    either.type_name = schema.type_name
    return either
