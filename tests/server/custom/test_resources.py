"""Objects of custom kinds: what of them is stored, refused, filled in and told, by the schema of their kind."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.conftest import configmap
from tests.server.custom.conftest import CRDS, CRONTABS, GROUP, NAME, Custom, crontab, definition, with_schema

MERGE = "application/merge-patch+json"


def refused(answer: Any) -> dict[str, str]:
    assert answer.code == 422, answer
    return {cause["field"]: cause["message"] for cause in answer.body["details"]["causes"]}


@pytest.mark.parametrize(
    "property, value, message",
    [
        ({"type": "integer"}, "x", 'Invalid value: "string": spec.a in body must be of type integer: "string"'),
        ({"type": "string"}, None, None),
        ({"type": "string", "nullable": True}, None, None),
        ({"type": "number"}, 1, None),
        ({"type": "integer"}, True, 'Invalid value: "boolean": spec.a in body must be of type integer: "boolean"'),
        ({"x-kubernetes-int-or-string": True}, "50%", None),
        ({"x-kubernetes-int-or-string": True}, [], 'Invalid value: "array": spec.a in body must be of type '
         'integer,string: "array"'),
        ({"type": "string", "enum": ["a", "b"]}, "c", 'Unsupported value: "c": supported values: "a", "b"'),
        ({"type": "string", "pattern": "^a+$"}, "b", 'Invalid value: "b": spec.a in body should match \'^a+$\''),
        ({"type": "integer", "maximum": 5}, 6, "Invalid value: 6: spec.a in body should be less than or equal to 5"),
        ({"type": "integer", "minimum": 5, "exclusiveMinimum": True}, 5,
         "Invalid value: 5: spec.a in body should be greater than 5"),
        ({"type": "integer", "multipleOf": 3}, 7, "Invalid value: 7: spec.a in body should be a multiple of 3"),
        ({"type": "string", "maxLength": 2}, "abc", "Too long: may not be more than 2 bytes"),
        ({"type": "string", "minLength": 2}, "a", 'Invalid value: "a": spec.a in body should be at least 2 chars long'),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 1}, ["a", "b"],
         "Too many: 2: must have at most 1 items"),
        ({"type": "array", "items": {"type": "string"}, "minItems": 1}, [],
         "Invalid value: 0: spec.a in body should have at least 1 items"),
        ({"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 1}, {"a": "1", "b": "2"},
         "Too many: 2: must have at most 1 items"),
        ({"type": "string", "format": "date-time"}, "now",
         'Invalid value: "now": spec.a in body must be of type date-time: "now"'),
        ({"type": "string", "format": "ipv4"}, "10.0.0.1", None),
        ({"type": "string", "format": "unknown"}, "x", None),
    ],
)  # fmt: skip
def test_a_value_is_held_against_its_schema(custom: Custom, property: Any, value: Any, message: str | None) -> None:
    custom.define(
        with_schema({"type": "object", "properties": {"spec": {"type": "object", "properties": {"a": property}}}})
    )
    answer = custom("POST", CRONTABS, crontab("a", a=value))
    if message is None:
        assert answer.code == 201, answer
    else:
        assert refused(answer)["spec.a"] == message


def test_what_is_in_a_list_and_a_map_has_its_path(custom: Custom) -> None:
    item = {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}, "n": {"type": "integer"}}}
    spec = {
        "l": {"type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]},
        "s": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "m": {"type": "object", "additionalProperties": {"type": "integer"}},
    }
    custom.define(with_schema({"type": "object", "properties": {"spec": {"type": "object", "properties": spec}}}))
    wrong = crontab("a", l=[{"k": "x"}, {"n": "y"}, {"k": "x"}], s=["a", "b", "a"], m={"x": "1"})
    assert refused(custom("POST", CRONTABS, wrong)) == {
        "spec.l[1].k": "Required value",
        "spec.l[1].n": 'Invalid value: "string": spec.l[1].n in body must be of type integer: "string"',
        "spec.l[2]": 'Duplicate value: {"k":"x"}',
        "spec.s[2]": 'Duplicate value: "a"',
        "spec.m.x": 'Invalid value: "string": spec.m.x in body must be of type integer: "string"',
    }


def test_alternatives(custom: Custom) -> None:
    root = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
                "not": {"properties": {"a": {"minimum": 10}}, "required": ["a"]},
            }
        },
    }
    custom.define(with_schema(root))
    assert custom("POST", CRONTABS, crontab("a", a=1)).code == 201
    found = refused(custom("POST", CRONTABS, crontab("b", a=1, b=1)))
    assert '"spec" must validate one and only one schema (oneOf). Found 2 valid alternatives' in found["<nil>"]
    found = refused(custom("POST", CRONTABS, crontab("c", a=11)))
    assert '"spec" must not validate the schema (not)' in found["<nil>"]


def test_unknown_fields_are_dropped_warned_of_or_refused(custom: Custom) -> None:
    custom.define(definition())
    odd = crontab("a", other=1)
    odd["metadata"]["odd"] = "x"
    odd["more"] = {}
    answer = custom("POST", f"{CRONTABS}?fieldValidation=Strict", odd)
    assert answer.code == 400
    for path in ("metadata.odd", "more", "spec.other"):
        assert f'unknown field "{path}"' in answer.message
    answer = custom("POST", CRONTABS, odd)
    assert answer.code == 201 and 'unknown field \\"spec.other\\"' in answer.headers["warning"]
    assert "more" not in answer.body and "other" not in answer.body["spec"] and "odd" not in answer.body["metadata"]
    assert "warning" not in custom("PUT", f"{CRONTABS}/a?fieldValidation=Ignore", {**answer.body, "more": 1}).headers


def test_what_is_preserved_and_what_is_embedded(custom: Custom) -> None:
    embedded = {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"n": {
        "type": "object", "properties": {"a": {"type": "integer"}}}}}  # fmt: skip
    spec = {"type": "object", "properties": {"any": anything, "template": embedded}}
    custom.define(with_schema({"type": "object", "properties": {"spec": spec}}))
    inner = configmap("inner", a="b")
    made = custom.ok("POST", CRONTABS, crontab("a", any={"x": {"y": 1}, "n": {"a": 1, "b": 2}}, template=inner))
    assert made["spec"] == {"any": {"x": {"y": 1}, "n": {"a": 1}}, "template": inner}


def test_a_patch_is_json_or_merge(custom: Custom) -> None:
    custom.define(definition())
    custom.ok("POST", CRONTABS, crontab("a"))
    made = custom.ok("PATCH", f"{CRONTABS}/a", {"spec": {"replicas": 3}}, kind=MERGE)
    assert made["spec"]["replicas"] == 3 and made["metadata"]["generation"] == 2
    operations = [{"op": "replace", "path": "/spec/image", "value": "b"}]
    assert custom.ok("PATCH", f"{CRONTABS}/a", operations, kind="application/json-patch+json")["spec"]["image"] == "b"
    strategic = "application/strategic-merge-patch+json"
    assert custom("PATCH", f"{CRONTABS}/a", {"spec": {"replicas": 4}}, kind=strategic).code == 415
    assert "spec.replicas" in refused(custom("PATCH", f"{CRONTABS}/a", {"spec": {"replicas": 40}}, kind=MERGE))


def test_an_update_says_what_it_was_made_from(custom: Custom) -> None:
    custom.define(definition())
    custom.ok("POST", CRONTABS, crontab("a"))
    assert "metadata.resourceVersion" in refused(custom("PUT", f"{CRONTABS}/a", crontab("a")))


def test_what_was_valid_once_may_stay_while_the_rest_changes(custom: Custom) -> None:
    custom.define(definition())
    custom.ok("POST", CRONTABS, crontab("a", replicas=9))
    crd = custom.get(f"{CRDS}/{NAME}")
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["replicas"][
        "maximum"
    ] = 3
    custom.ok("PUT", f"{CRDS}/{NAME}", crd)
    custom.until(lambda: custom("POST", CRONTABS, crontab("b", replicas=9)).code == 422)
    assert custom.ok("PATCH", f"{CRONTABS}/a", {"spec": {"image": "other"}}, kind=MERGE)["spec"]["replicas"] == 9
    assert "spec.replicas" in refused(custom("PATCH", f"{CRONTABS}/a", {"spec": {"replicas": 8}}, kind=MERGE))


RULES = [
    {"rule": "self.least <= self.most", "message": "least is more than most"},
    {"rule": "self.most < 100", "messageExpression": "'most is %d'.format([self.most])", "fieldPath": ".most"},
    {"rule": "self.least == oldSelf.least", "reason": "FieldValueForbidden", "message": "least is for ever"},
    {"rule": "oldSelf.hasValue() || self.most > 1", "optionalOldSelf": True, "message": "begins with more than 1"},
]


def with_rules(*rules: Any) -> dict[str, Any]:
    spec = {
        "type": "object",
        "properties": {"least": {"type": "integer"}, "most": {"type": "integer"}, "my-ratio": {"type": "number"}},
        "x-kubernetes-validations": list(rules),
    }
    return with_schema({"type": "object", "properties": {"spec": spec}})


def test_rules_hold_of_values_and_of_changes(custom: Custom) -> None:
    custom.define(with_rules(*RULES))
    assert refused(custom("POST", CRONTABS, crontab("a", least=3, most=2)))["spec"] == (
        "Invalid value: least is more than most"
    )
    assert (
        refused(custom("POST", CRONTABS, crontab("a", least=1, most=200)))["spec.most"] == "Invalid value: most is 200"
    )
    assert "begins with more" in refused(custom("POST", CRONTABS, crontab("a", least=0, most=1)))["spec"]
    custom.ok("POST", CRONTABS, crontab("a", least=0, most=2))
    custom.ok("PATCH", f"{CRONTABS}/a", {"spec": {"most": 1}}, kind=MERGE)
    answer = custom("PATCH", f"{CRONTABS}/a", {"spec": {"least": 1}}, kind=MERGE)
    assert refused(answer)["spec"] == "Forbidden: least is for ever"
    assert answer.body["details"]["causes"][0]["reason"] == "FieldValueForbidden"


def test_rules_see_numbers_and_names_as_their_schema_has_them(custom: Custom) -> None:
    custom.define(with_rules({"rule": "self.my__dash__ratio / 2.0 < 1.0"}))
    assert custom("POST", CRONTABS, crontab("a", **{"my-ratio": 1})).code == 201
    answer = custom("POST", CRONTABS, crontab("b", **{"my-ratio": 2}))
    assert refused(answer)["spec"] == "Invalid value: failed rule: self.my__dash__ratio / 2.0 < 1.0"


def test_a_rule_without_a_value_is_refused_and_one_without_an_end_too(custom: Custom) -> None:
    many = {"type": "array", "maxItems": 500, "items": {"type": "integer"}, "x-kubernetes-validations": [
        {"rule": "self.all(x, self.all(y, x + y >= 0))"}]}  # fmt: skip
    custom.define(
        with_schema({"type": "object", "properties": {"spec": {"type": "object", "properties": {"l": many}}}})
    )
    assert custom("POST", CRONTABS, crontab("a", l=[1, 2])).code == 201
    assert "budget" in refused(custom("POST", CRONTABS, crontab("b", l=list(range(500)))))["spec.l"]


def test_a_cluster_wide_kind(custom: Custom) -> None:
    custom.define(definition(scope="Cluster"))
    custom.ok("POST", f"/apis/{GROUP}/v1/crontabs", crontab("a"))
    assert custom.get(f"/apis/{GROUP}/v1/crontabs/a")["metadata"].get("namespace") is None
