"""What the expressions of admission speak of, as types: objects of a kind, the request, its namespace, who may do what.

When a policy is written the kinds of its objects are not known, so they are of any type (`UNKNOWN`). Afterwards
`of_kind` gives those of each kind that it matches, built in or custom: `status.typeChecking` says what does not hold.
Follows: "Type checking" of ValidatingAdmissionPolicy in the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from petset.objects import schema
from petset.objects.expressions import types
from petset.objects.expressions.types import BOOL, DYN, INT, STRING, Type
from petset.objects.registry import Kind
from petset.objects.schema_nodes import Node
from petset.objects.structural import declared

Types = Mapping[str, Type]  # By variable.

_SCALARS = {
    "string": STRING,
    "bool": BOOL,
    "int32": INT,
    "int64": INT,
    "float": types.DOUBLE,
}
_NO_FIELDS: Mapping[str, Type] = {}


class _Fields(Mapping[str, Type]):
    """A struct's, made when they are asked for: types may be within themselves."""

    def __init__(self, node: Node):
        self._node = node

    def __getitem__(self, name: str) -> Type:
        return _of_node(self._node.fields[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._node.fields)

    def __len__(self) -> int:
        return len(self._node.fields)


@cache
def _struct(name: str) -> Type:
    return Type(types.OBJECT, fields=_Fields(schema.node(name)))


def _of_node(node: Node) -> Type:
    match node.kind:
        case "struct":
            return _struct(node.type_name) if node.type_name else Type(types.OBJECT, fields=_Fields(node))
        case "list" if node.item is not None:
            return types.list_of(_of_node(node.item))
        case "map" if node.item is not None:
            return types.map_of(STRING, _of_node(node.item))
        case scalar:
            return _SCALARS.get(scalar, DYN)


def of_kind(kind: Kind) -> Type:
    """An object of a kind."""
    if kind.custom is None:
        return _struct(kind.type_name)
    found = declared.Declared(kind.custom.schema).type(kind.custom.schema)
    fields = (found.fields if found is not None else None) or _NO_FIELDS
    return Type(types.OBJECT, fields={**fields, "metadata": _struct("meta_v1.ObjectMeta")})


def _object(**fields: Type) -> Type:
    return Type(types.OBJECT, fields=fields)


_KIND = _object(group=STRING, version=STRING, kind=STRING)
_RESOURCE = _object(group=STRING, version=STRING, resource=STRING)
_USER = _object(
    username=STRING,
    uid=STRING,
    groups=types.list_of(STRING),
    extra=types.map_of(STRING, types.list_of(STRING)),
)
REQUEST = _object(
    kind=_KIND,
    resource=_RESOURCE,
    subResource=STRING,
    requestKind=_KIND,
    requestResource=_RESOURCE,
    requestSubResource=STRING,
    name=STRING,
    namespace=STRING,
    operation=STRING,
    userInfo=_USER,
    dryRun=BOOL,
    options=DYN,
)
AUTHORIZER = Type(
    "kubernetes.authorization.Authorizer",
    fields={"requestResource": Type("kubernetes.authorization.ResourceCheck")},
)


@cache
def _namespace() -> Type:
    """What a policy may know of the request's namespace."""
    fields = schema.node("core_v1.Namespace").fields
    return _object(**{name: _of_node(fields[name]) for name in ("metadata", "spec", "status")})


@cache
def anything() -> Types:
    """What one may speak of whose objects may be of any kind; one value, so that variables are typed once by it."""
    return given()


def given(object_: Type = DYN, params: Type = DYN) -> Types:
    """What an expression may speak of, but for the policy's variables."""
    return {
        "object": object_,
        "oldObject": object_,
        "params": params,
        "request": REQUEST,
        "namespaceObject": _namespace(),
        "authorizer": AUTHORIZER,
    }
