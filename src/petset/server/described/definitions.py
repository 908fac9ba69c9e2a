"""Types as OpenAPI v3 schemas: the components of a document, each made when it is first referred to.

`Components` is handed the types that a document's operations speak of and yields them and all that is inside of them,
one at a time, so that no document is ever whole in memory as a tree. Properties, formats, merge keys and list types
come from the schema nodes, enumerations and defaults from schema_values.json, descriptions from the schema package's
text (a PetSet's are this house's own), a custom kind's schema from the kind. Components are named as upstream names
them: io.k8s.api.core.v1.Pod.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from petset.kinds import reviews
from petset.objects import package_data, registry, schema_nodes, schema_texts
from petset.objects.meta import Object
from petset.objects.registry import Kind, Kinds
from petset.objects.schema_nodes import Node
from petset.server.described import discovery, pet_set_texts

REFERENCE = "#/components/schemas/"

_PACKAGES = {
    "meta_v1": "io.k8s.apimachinery.pkg.apis.meta.v1",
    "apiextensions_v1": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1",
    "apiregistration_v1": "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1",
    "metrics_v1beta1": "io.k8s.metrics.pkg.apis.metrics.v1beta1",
}
_META = _PACKAGES["meta_v1"]
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
PATCH = f"{_META}.Patch"
VERSION_INFO = "io.k8s.apimachinery.pkg.version.Info"

# Types that are a value and no struct, which the schema package has no text of.
_VALUES: Mapping[str, Object] = {
    QUANTITY: {
        "description": "An amount: a decimal number with an optional suffix (m, k, M, G, Ki, Mi, Gi, ...).",
        "oneOf": [{"type": "string"}, {"type": "number"}],
    },
    INT_OR_STRING: {
        "description": "A whole number, or a text such as a port's name or a percentage.",
        "format": "int-or-string",
        "oneOf": [{"type": "integer"}, {"type": "string"}],
    },
    f"{_META}.Time": {
        "description": "A moment in the form of RFC 3339, in whole seconds.",
        "format": "date-time",
        "type": "string",
    },
    f"{_META}.MicroTime": {
        "description": "A moment in the form of RFC 3339, in microseconds.",
        "format": "date-time",
        "type": "string",
    },
    PATCH: {"description": "A change, in the form that the Content-Type says.", "type": "object"},
    VERSION_INFO: {
        "description": "Which release of what the server is, and the version of Kubernetes that it serves.",
        "type": "object",
        "required": list(discovery.VERSION_FIELDS),
        "properties": {name: {"type": "string"} for name in discovery.VERSION_FIELDS},
    },
}
_SCALARS: Mapping[str, Object] = {
    "string": {"type": "string"},
    "bool": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "float": {"type": "number", "format": "double"},
    "byte": {"type": "string", "format": "byte"},
    "object": {"type": "object"},
    "any": {"description": "Any value."},  # kubectl explains nothing of what says nothing.
}
_NAMED_SCALARS: Mapping[str, str] = {
    "Quantity": QUANTITY,
    "IntOrString": INT_OR_STRING,
    "Time": f"{_META}.Time",
    "MicroTime": f"{_META}.MicroTime",
}
_INSIDE = ("items", "additionalProperties")  # Where the values of what is inside of a type stand.


def component(type_name: str) -> str:
    """core_v1.Pod -> io.k8s.api.core.v1.Pod."""
    module, _, name = type_name.partition(".")
    return f"{_PACKAGES.get(module) or 'io.k8s.api.' + module.replace('_', '.')}.{name}"


def component_of(kind: Kind) -> str:
    """The component of a kind's objects; a custom kind's is named after its group, backwards."""
    if not is_custom(kind):
        return component(kind.type_name)
    return ".".join([*reversed(kind.group.split(".")), kind.version, kind.kind])


def is_custom(kind: Kind) -> bool:
    if kind.custom is not None:
        return True
    return not schema_nodes.source(*kind.type_name.split(".")) and kind.type_name not in pet_set_texts.TEXTS


@dataclass(slots=True)
class Components:
    """Schemas by name, made as they are referred to. `kinds` are those whose components say that they are.

    Version 2 has no defaults of built-in types, as upstream prunes them there.
    """

    kinds: Kinds
    has_defaults: bool = True
    _seen: dict[str, None] = field(default_factory=dict[str, None])
    _waiting: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])  # (component, type)

    def refer(self, type_name: str) -> Object:
        """A reference to a type: meta_v1.Status."""
        return self._refer(component(type_name), type_name)

    def refer_named(self, group: str, version: str, kind: str) -> Object:
        """A reference to what is no kind of its own: autoscaling, v1, Scale."""
        return self.refer(registry.type_name(group, version, kind))

    def refer_kind(self, kind: Kind) -> Object:
        return self._refer(component_of(kind), kind.type_name)

    def refer_value(self, name: str) -> Object:
        """A reference to one of the types that are a value: PATCH."""
        return self._refer(name, "")

    def refer_list(self, kind: Kind) -> Object:
        """A reference to the list of a kind's objects."""
        return self._refer(component_of(kind) + "List", kind.type_name + "List")

    def _refer(self, name: str, type_name: str) -> Object:
        if name not in self._seen:
            self._seen[name] = None
            self._waiting.append((name, type_name))
        return {"$ref": REFERENCE + name}

    def own_schema(self, kind: Kind) -> Object | None:
        """What a custom kind's definition says of it; None of a built-in kind."""
        return self._custom(kind) if is_custom(kind) else None

    def made(self) -> Iterator[tuple[str, Object]]:
        """(name, schema) of all that was referred to and of what these refer to, until there is no more."""
        owners = {component_of(kind): kind for kind in self.kinds}
        while self._waiting:
            name, type_name = self._waiting.pop()
            kind, listed = owners.get(name), owners.get(name.removesuffix("List"))
            if name in _VALUES:
                schema = _VALUES[name]
            elif kind is not None and is_custom(kind):
                schema = self._custom(kind)
            elif kind is None and listed is not None and not schema_nodes.source(*type_name.split(".")):
                schema = self._list(listed)
            else:
                schema = self._struct(type_name)
            yield name, {**schema, **_told(type_name, kind, listed if kind is None else None)}

    def _struct(self, type_name: str) -> dict[str, Any]:
        node = _named(type_name)
        texts = pet_set_texts.TEXTS.get(type_name) or schema_texts.of(*type_name.split("."))
        values = package_data.facts("schema_values.json").get(_valued(type_name), {})
        properties = {
            key: self._property(inner, texts.fields.get(key, ""), values.get(key, {}))
            for key, inner in node.fields.items()
        }
        return {
            **({"description": texts.type} if texts.type else {}),
            "type": "object",
            **({"properties": properties} if properties else {}),
            **({"required": sorted(node.required)} if node.required else {}),
            **({"x-kubernetes-map-type": "atomic"} if node.is_atomic else {}),
        }

    def _property(self, node: Node, text: str, values: Object) -> dict[str, Any]:
        schema = self._valued(self._value(node), values)
        about: dict[str, Any] = {"description": text} if text else {}
        if "$ref" in schema and about:  # Nothing may stand beside a reference.
            schema = {"allOf": [schema]}
        if node.strategies:
            about["x-kubernetes-patch-strategy"] = ",".join(node.strategies)
        if node.merge_key:
            about["x-kubernetes-patch-merge-key"] = node.merge_key
        if node.is_atomic != (node.kind == "struct" and _named(node.type_name).is_atomic):  # Other than its type is.
            about["x-kubernetes-map-type"] = "atomic" if node.is_atomic else "granular"
        if node.list_keys:
            about["x-kubernetes-list-map-keys"] = list(node.list_keys)
        if node.list_type:
            about["x-kubernetes-list-type"] = node.list_type
        return {**schema, **about}

    def _valued(self, schema: Object, values: Object) -> Object:
        """A schema with the values that a type's data says of it and of what is inside."""
        if not values:
            return schema
        own = {
            key: values[key] for key in ("enum", "default") if key in values and (self.has_defaults or key == "enum")
        }
        if "$ref" in schema and own:
            return {"allOf": [schema], **own}
        inside = {key: self._valued(schema[key], values[key]) for key in _INSIDE if key in values and key in schema}
        return {**schema, **inside, **own}

    def _value(self, node: Node) -> Object:
        match node.kind:
            case "struct":  # One without a name of its own takes other values, too: a schema or a bool.
                return self.refer(node.type_name) if node.type_name else _SCALARS["any"]
            case "list" if node.item is not None:
                return {"type": "array", "items": self._value(node.item)}
            case "map" if node.item is not None:
                return {"type": "object", "additionalProperties": self._value(node.item)}
            case scalar if scalar in _NAMED_SCALARS:
                return self.refer_value(_NAMED_SCALARS[scalar])
            case scalar:
                return _SCALARS[scalar]

    def _custom(self, kind: Kind) -> Object:
        """A custom kind's own schema, with what every object has."""
        if kind.custom is None:
            return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        texts = schema_texts.of("core_v1", "Pod").fields  # What is true of every kind.
        own = {key: {"description": texts[key], "type": "string"} for key in ("apiVersion", "kind")}
        metadata = {"description": texts["metadata"], "allOf": [self.refer("meta_v1.ObjectMeta")]}
        schema = kind.custom.schema
        return {**schema, "properties": {**schema.get("properties", {}), **own, "metadata": metadata}}

    def _list(self, kind: Kind) -> Object:
        texts = schema_texts.of("core_v1", "PodList").fields  # What is true of every list.
        own = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}
        return {
            "description": f"{kind.list_kind} is a list of {kind.kind}",
            "type": "object",
            "required": ["items"],
            "properties": {
                **{key: {"description": texts[key], **value} for key, value in own.items()},
                "items": {
                    "description": f"The {kind.plural} of the list.",
                    "type": "array",
                    "items": self.refer_kind(kind),
                },
                "metadata": {"description": texts["metadata"], "allOf": [self.refer("meta_v1.ListMeta")]},
            },
        }


def _valued(type_name: str) -> str:
    """The type whose enumerations and defaults a type has: a PetSet's are a StatefulSet's."""
    return type_name.replace("apps_v1alpha1.PetSet", "apps_v1.StatefulSet")


def _named(type_name: str) -> Node:
    module, _, name = type_name.partition(".")
    return schema_nodes.struct(module, name)


def _told(type_name: str, kind: Kind | None, listed: Kind | None) -> Object:
    """Which group, version and kind a component is."""
    if kind is not None:
        return gvk_list([(kind.group, kind.version, kind.kind)])
    if listed is not None:
        return gvk_list([(listed.group, listed.version, listed.list_kind)])
    if type_name in _ANSWERS:
        return gvk_list([_ANSWERS[type_name]])
    return {}


# Types that are sent and answered and are no kind of their own.
_ANSWERS: Mapping[str, tuple[str, str, str]] = {
    "meta_v1.Status": ("", "v1", "Status"),
    "meta_v1.APIGroup": ("", "v1", "APIGroup"),
    "meta_v1.APIGroupList": ("", "v1", "APIGroupList"),
    "meta_v1.APIResourceList": ("", "v1", "APIResourceList"),
    "meta_v1.APIVersions": ("", "v1", "APIVersions"),
    "meta_v1.DeleteOptions": ("", "v1", "DeleteOptions"),
    "core_v1.Binding": ("", "v1", "Binding"),
    "autoscaling_v1.Scale": ("autoscaling", "v1", "Scale"),
    "policy_v1.Eviction": ("policy", "v1", "Eviction"),
    "authentication_v1.TokenRequest": (reviews.AUTHENTICATION_GROUP, "v1", "TokenRequest"),
}


def gvk(group: str, version: str, kind: str) -> Object:
    return {"group": group, "kind": kind, "version": version}


def gvk_list(found: Iterable[tuple[str, str, str]]) -> Object:
    return {"x-kubernetes-group-version-kind": [gvk(*one) for one in found]}
