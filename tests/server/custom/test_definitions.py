"""A definition's life: it is checked, gets its names, is served, changes, and goes with its objects."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from petset.kinds import volume_snapshots
from petset.objects import meta
from petset.objects.structural import wellformed
from petset.server.custom import naming
from tests.server.conftest import Server
from tests.server.custom.conftest import CRDS, CRONTABS, GROUP, NAME, Custom, crontab, definition, version, with_schema

TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}


def test_it_is_served_from_when_it_is_established(custom: Custom) -> None:
    made = custom.ok("POST", CRDS, definition())
    assert made["spec"]["names"]["listKind"] == "CronTabList" and made["spec"]["names"]["singular"] == "crontab"
    assert made["status"]["storedVersions"] == ["v1"]
    custom.until(lambda: custom.condition("Established") == ("True", "InitialNamesAccepted"))
    assert custom.condition("NamesAccepted") == ("True", "NoConflicts")
    assert custom.get(CRDS + "/" + NAME)["status"]["acceptedNames"]["plural"] == "crontabs"
    made = custom.ok("POST", CRONTABS, crontab("a"))
    assert made["spec"] == {"image": "cron:1", "replicas": 1} and made["metadata"]["generation"] == 1
    resources = custom.get(f"/apis/{GROUP}/v1")["resources"]
    assert [(one["name"], one["singularName"], one["shortNames"]) for one in resources] == [
        ("crontabs", "crontab", ["cr"])
    ]
    assert custom.get(CRONTABS)["kind"] == "CronTabList"


def test_a_definition_is_compared_with_those_of_its_group(custom: Custom, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []
    taken = naming.taken

    def counting(group: str, kinds: Any, others: Any) -> Any:
        compared.append(len(others))
        return taken(group, kinds, others)

    monkeypatch.setattr(naming, "taken", counting)
    for number in range(5):
        other = definition(group=f"g{number}.example.com")
        custom.define({**other, "metadata": {"name": f"crontabs.g{number}.example.com"}})
    custom.define(definition())
    custom.define(definition(plural="backups", kind="Backup"))
    assert max(compared) == 1


def test_a_restart_serves_them_before_anything_else(custom: Custom) -> None:
    custom.define(definition())
    custom.ok("POST", CRONTABS, crontab("a"))
    again = Server()
    for key in ("/apiextensions.k8s.io/customresourcedefinitions/", f"/{GROUP}/crontabs/"):
        for entry in custom.store.list(key)[1]:
            again.run(again.store.put(entry.key, entry.object, None))
    assert again("GET", CRONTABS).code == 404
    again.run(again.plane.begin())
    assert [one["metadata"]["name"] for one in again.get(CRONTABS)["items"]] == ["a"]
    again.close()


@pytest.mark.parametrize(
    "change, field, reason",
    [
        (lambda crd: crd["metadata"].update(name="other"), "metadata.name", "FieldValueInvalid"),
        (lambda crd: crd["spec"].update(group="dotless"), "spec.group", "FieldValueInvalid"),
        (lambda crd: crd["spec"].update(scope="World"), "spec.scope", "FieldValueNotSupported"),
        (lambda crd: crd["spec"]["names"].update(kind="Cron Tab"), "spec.names.kind", "FieldValueInvalid"),
        (lambda crd: crd["spec"]["names"].update(listKind="CronTab"), "spec.names.listKind", "FieldValueInvalid"),
        (lambda crd: crd["spec"]["versions"][0].update(storage=False), "spec.versions", "FieldValueInvalid"),
        (lambda crd: crd["spec"]["versions"].append(version("v2")), "spec.versions", "FieldValueInvalid"),
        (lambda crd: crd["spec"]["versions"][0].update(name="1"), "spec.versions[0].name", "FieldValueInvalid"),
        (
            lambda crd: crd["spec"]["versions"][0].pop("schema"),
            "spec.versions[0].schema.openAPIV3Schema",
            "FieldValueRequired",
        ),
        (lambda crd: crd["spec"].update(preserveUnknownFields=True), "spec.preserveUnknownFields", "FieldValueInvalid"),
        (
            lambda crd: crd["spec"].update(conversion={"strategy": "Webhook"}),
            "spec.conversion.webhookClientConfig",
            "FieldValueRequired",
        ),
        (
            lambda crd: crd["spec"]["versions"][0].update(
                additionalPrinterColumns=[{"name": "a", "type": "text", "jsonPath": ".a"}]
            ),
            "spec.versions[0].additionalPrinterColumns[0].type",
            "FieldValueInvalid",
        ),
        (
            lambda crd: crd["spec"]["versions"][0].update(selectableFields=[{"jsonPath": ".spec.none"}]),
            "spec.versions[0].selectableFields[0].jsonPath",
            "FieldValueInvalid",
        ),
        (
            lambda crd: crd["spec"]["versions"][0].update(
                subresources={"scale": {"specReplicasPath": ".status.n", "statusReplicasPath": ".status.n"}}
            ),
            "spec.versions[0].subresources.scale.specReplicasPath",
            "FieldValueInvalid",
        ),
    ],
)
def test_what_a_definition_may_not_say(custom: Custom, change: Any, field: str, reason: str) -> None:
    crd = copy.deepcopy(definition())
    change(crd)
    answer = custom("POST", CRDS, crd)
    assert answer.code == 422, answer
    causes = [(cause["field"], cause["reason"]) for cause in answer.body["details"]["causes"]]
    assert (field, reason) in causes


SPEC = "spec.versions[0].schema.openAPIV3Schema"


def ruled(rule: str, **more: Any) -> dict[str, Any]:
    properties = {
        "a": {"type": "integer"},
        "any": {"x-kubernetes-int-or-string": True},
        "text": {"type": "string"},
        "texts": {"type": "array", "items": {"type": "string"}},
    }
    return {"type": "object", "properties": properties, "x-kubernetes-validations": [{"rule": rule, **more}]}


@pytest.mark.parametrize(
    "root, field, message",
    [
        ({"properties": {}}, "type", "Required value: must not be empty at the root"),
        ({"type": "string"}, "type", 'Invalid value: "string": must be object at the root'),
        ({"type": "object", "properties": {"a": {}}}, "properties[a].type",
         "Required value: must not be empty for specified object fields"),
        ({"type": "object", "properties": {"a": {"type": "array"}}}, "properties[a].items",
         "Required value: must be specified"),
        ({"type": "object", "properties": {"a": {"type": "object", "x": 1, "anyOf": [{"type": "string"}]}}},
         "properties[a].anyOf[0].type", "Forbidden: must be empty to be structural"),
        ({"type": "object", "anyOf": [{"required": ["b"], "properties": {"b": {"minimum": 1}}}]}, "properties[b]",
         f"Required value: because it is defined in {SPEC}.anyOf[0].properties[b]"),
        ({"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}, "properties[a].pattern",
         'Invalid value: "(": must be a valid regular expression, but isn\'t: error parsing regexp: missing ): ('),
        ({"type": "object", "properties": {"a": {"type": "integer", "default": "x"}}}, "properties[a].default",
         f'Invalid value: "string": {SPEC}.properties[a].default in body must be of type integer: "string"'),
        ({"type": "object", "properties": {"a": {"type": "object", "default": {"b": 1}}}}, "properties[a].default",
         'Invalid value: {"b":1}: must not have unknown fields'),
        ({"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True, "items": {"type": "string"}}}},
         "properties[a].uniqueItems",
         "Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic"),
        ({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {
            "type": "object"}}}}}, "properties[metadata]", "Forbidden: must not specify anything other than name and "
         "generateName, but metadata is implicitly specified"),
        ({"type": "object", "properties": {"a": {"type": "array", "x-kubernetes-list-type": "map", "items": {
            "type": "object", "properties": {"k": {"type": "string"}}}, "x-kubernetes-list-map-keys": ["k"]}}},
         "properties[a].items.properties[k].default", "Required value: this property is in x-kubernetes-list-map-keys,"
         " so it must have a default or be a required property"),
        ({"type": "object", "x-kubernetes-validations": [{"rule": "self.a >"}]}, "x-kubernetes-validations[0].rule",
         "compilation failed"),
        ({"type": "object", "x-kubernetes-validations": [{"rule": "size(self.a)"}]}, "x-kubernetes-validations[0].rule",
         "cel expression must evaluate to a bool"),
        (ruled("self.b == 1"), "x-kubernetes-validations[0].rule",
         "compilation failed: ERROR: <input>:1:5: undefined field 'b'\n | self.b == 1\n | ....^"),
        (ruled("self.a == 'x'"), "x-kubernetes-validations[0].rule",
         "found no matching overload for '_==_' applied to '(int, string)'"),
        (ruled("self.any"), "x-kubernetes-validations[0].rule", "cel expression must evaluate to a bool"),
        (ruled("oldSelf.?b.hasValue()", optionalOldSelf=True), "x-kubernetes-validations[0].rule",
         "ERROR: <input>:1:8: undefined field 'b'\n | oldSelf.?b.hasValue()\n | .......^"),
        (ruled("true", messageExpression="self.a"), "x-kubernetes-validations[0].messageExpression",
         "messageExpression must evaluate to a string"),
        (ruled("true", messageExpression="self.b"), "x-kubernetes-validations[0].messageExpression",
         "messageExpression compilation failed: ERROR: <input>:1:5: undefined field 'b'"),
        (ruled("true", fieldPath=".b"), "x-kubernetes-validations[0].fieldPath", "must be a valid path"),
        (ruled("self.texts.all(x, self.texts.all(y, x != y))"), "x-kubernetes-validations[0].rule",
         "Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule"),
        (ruled("true", messageExpression="self.text + string(self.a)"), "x-kubernetes-validations[0].messageExpression",
         "Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"),
        (ruled("self.texts.all(x, self.texts.all(y, x != y))"), "",
         "Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by"),
        ({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string",
            "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}}}},
         "properties[a].items.x-kubernetes-validations[0].rule", "oldSelf cannot be used on the uncorrelatable"),
        ({"type": "object", "x-kubernetes-validations": [{"rule": "true", "optionalOldSelf": True}]},
         "x-kubernetes-validations[0].optionalOldSelf", "may not be set if oldSelf is not used in rule"),
        ({"type": "object", "x-kubernetes-validations": [{"rule": "true", "reason": "Odd"}]},
         "x-kubernetes-validations[0].reason", "Unsupported value"),
    ],
)  # fmt: skip
def test_what_a_schema_may_not_say(custom: Custom, root: Any, field: str, message: str) -> None:
    answer = custom("POST", CRDS, with_schema(root))
    assert answer.code == 422, answer
    found = [(cause["field"], cause["message"]) for cause in answer.body["details"]["causes"]]
    assert any(where == f"{SPEC}.{field}".rstrip(".") and message in told for where, told in found), found


def test_what_is_stored_is_not_held_against_its_types_again(custom: Custom) -> None:
    """A definition of an earlier time may be labelled; a new schema of it has to hold."""
    custom.define(with_schema(ruled("self.a == 1")))
    crd = custom.get(f"{CRDS}/{NAME}")
    broken = ruled("self.b == 1")
    assert not [*wellformed.schema(broken, "", is_new=False)] and [*wellformed.schema(broken, "")]
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = broken
    assert custom("PUT", f"{CRDS}/{NAME}", crd).code == 422


@pytest.mark.parametrize("definition", volume_snapshots.definitions(), ids=meta.name)
def test_the_schemas_that_petset_brings_are_well_formed(definition: Any) -> None:
    """So that they are not asked at each first start."""
    schema = volume_snapshots.schema_of(definition)
    assert volume_snapshots.brings(volume_snapshots.GROUP, schema) and not volume_snapshots.brings(GROUP, schema)
    assert [*wellformed.schema(schema, "")] == []


def test_a_schema_beyond_the_limits_is_refused(custom: Custom) -> None:
    deep: Any = {"type": "string"}
    for _ in range(80):
        deep = {"type": "object", "properties": {"a": deep}}
    assert custom("POST", CRDS, with_schema(deep)).code == 400
    wide = {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(60_000)}}
    assert custom("POST", CRDS, with_schema(wide)).code in (400, 413, 422)


def test_who_comes_second_does_not_get_the_name_until_it_is_free(custom: Custom) -> None:
    custom.define(definition())
    second = definition(plural="crons", kind="CronTab")
    custom.ok("POST", CRDS, second)
    name = f"crons.{GROUP}"
    custom.until(lambda: custom.condition("NamesAccepted", name))
    assert custom.condition("NamesAccepted", name) == ("False", "ListKindConflict")
    assert custom.condition("Established", name) == ("False", "NotAccepted")
    assert custom("GET", f"/apis/{GROUP}/v1/namespaces/default/crons").code == 404
    custom.ok("DELETE", f"{CRDS}/{NAME}")
    custom.until(lambda: custom.condition("Established", name) == ("True", "InitialNamesAccepted"))
    assert custom("GET", f"/apis/{GROUP}/v1/namespaces/default/crons").code == 200


def test_a_built_in_kinds_place_is_not_given_away(custom: Custom) -> None:
    crd = definition(plural="leases", kind="Lease")
    crd["spec"]["group"] = "coordination.k8s.io"
    crd["metadata"] = {"name": "leases.coordination.k8s.io"}
    assert custom("POST", CRDS, crd).code == 422  # Without approval.
    crd["metadata"]["annotations"] = {"api-approved.kubernetes.io": "unapproved, for a test"}
    custom.ok("POST", CRDS, crd)
    custom.until(lambda: custom.condition("NamesAccepted", "leases.coordination.k8s.io"))
    assert custom.condition("Established", "leases.coordination.k8s.io") == ("False", "NotAccepted")
    assert custom.get("/apis/coordination.k8s.io/v1/leases")["kind"] == "LeaseList"


def test_deleting_it_empties_it_first(custom: Custom) -> None:
    custom.define(definition())
    custom.ok("POST", CRONTABS, crontab("a"))
    held = crontab("held")
    held["metadata"]["finalizers"] = ["example.com/mine"]
    custom.ok("POST", CRONTABS, held)
    custom.ok("DELETE", f"{CRDS}/{NAME}")
    assert custom.condition("Terminating") == ("True", "InstanceDeletionPending")
    custom.until(lambda: custom("GET", f"{CRONTABS}/a").code == 404)
    assert custom("POST", CRONTABS, crontab("b")).code == 405
    merge = "application/merge-patch+json"
    custom.ok("PATCH", f"{CRONTABS}/held", {"metadata": {"finalizers": None}}, kind=merge)
    custom.until(lambda: custom.stored() is None)
    custom.until(lambda: custom("GET", CRONTABS).code == 404)
    custom.define(definition())
    assert custom.get(CRONTABS)["items"] == []


def test_a_change_of_the_schema_counts_from_the_next_request_on(custom: Custom) -> None:
    custom.define(definition())
    custom.ok("POST", CRONTABS, crontab("old", cronSpec="* * * * *"))
    crd = custom.get(f"{CRDS}/{NAME}")
    properties = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    properties["zone"] = {"type": "string", "default": "here"}
    custom.ok("PUT", f"{CRDS}/{NAME}", crd)
    custom.until(lambda: custom.get(f"{CRONTABS}/old")["spec"].get("zone"))
    assert custom.get(CRONTABS)["items"][0]["spec"]["zone"] == "here", "defaults are filled in where they are read, too"
    assert custom.ok("POST", CRONTABS, crontab("new", zone="there"))["spec"]["zone"] == "there"


def test_what_made_it_known_cannot_be_changed(custom: Custom) -> None:
    custom.define(definition())
    crd = custom.get(f"{CRDS}/{NAME}")
    crd["spec"]["scope"] = "Cluster"
    crd["spec"]["names"]["kind"] = "Other"
    answer = custom("PUT", f"{CRDS}/{NAME}", crd)
    assert {cause["field"] for cause in answer.body["details"]["causes"]} >= {"spec.scope", "spec.names.kind"}


def test_versions_share_their_objects_and_the_storage_version_may_change(custom: Custom) -> None:
    custom.define(definition(version("v1"), version("v2", storage=False)))
    custom.ok("POST", CRONTABS, crontab("a"))
    second = CRONTABS.replace("/v1/", "/v2/")
    assert custom.get(f"{second}/a")["apiVersion"] == f"{GROUP}/v2"
    custom.ok("POST", second, crontab("b", f"{GROUP}/v2"))
    assert [one["apiVersion"] for one in custom.get(CRONTABS)["items"]] == [f"{GROUP}/v1"] * 2
    crd = custom.get(f"{CRDS}/{NAME}")
    crd["spec"]["versions"][0]["storage"], crd["spec"]["versions"][1]["storage"] = False, True
    assert custom.ok("PUT", f"{CRDS}/{NAME}", crd)["status"]["storedVersions"] == ["v1", "v2"]
    custom.until(lambda: custom.kinds.now.at(GROUP, "v1", "crontabs").stored_as.version == "v2")
    for path, shown in ((CRONTABS, f"{GROUP}/v1"), (second, f"{GROUP}/v2")):
        assert {one["apiVersion"] for one in custom.get(path)["items"]} == {shown}
    crd = custom.get(f"{CRDS}/{NAME}")
    del crd["spec"]["versions"][0]
    assert "status.storedVersions[0]" in custom("PUT", f"{CRDS}/{NAME}", crd).message


def test_a_watch_goes_on_while_its_definition_is_only_labelled(custom: Custom) -> None:
    custom.define(definition())
    watch = custom.watch(f"{CRONTABS}?watch=1")
    merge = "application/merge-patch+json"
    custom.ok("PATCH", f"{CRDS}/{NAME}", {"metadata": {"labels": {"a": "b"}}}, kind=merge)
    custom.ok("POST", CRONTABS, crontab("a"))
    assert watch.take(1) == [("ADDED", "a")]
    watch.close()


def test_a_deprecated_version_warns(custom: Custom) -> None:
    custom.define(definition(version(deprecated=True)))
    told = custom("POST", CRONTABS, crontab("a")).headers["warning"]
    assert "stable.example.com/v1 CronTab is deprecated" in told


def test_subresources_columns_and_selectable_fields(custom: Custom) -> None:
    columns = [
        {"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"},
        {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas", "priority": 1},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]
    scale = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
             "labelSelectorPath": ".status.selector"}  # fmt: skip
    root = definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    status = {"type": "object", "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}}}
    root = {**root, "properties": {**root["properties"], "status": status}}
    custom.define(
        with_schema(
            root,
            subresources={"status": {}, "scale": scale},
            additionalPrinterColumns=columns,
            selectableFields=[{"jsonPath": ".spec.image"}],
        )
    )
    made = custom.ok("POST", CRONTABS, {**crontab("a", cronSpec="* * * * *"), "status": {"replicas": 5}})
    assert "status" not in made and made["metadata"]["generation"] == 1
    made["status"] = {"replicas": 3, "selector": "a=b"}
    made["metadata"]["labels"] = {"not": "kept"}
    told = custom.ok("PUT", f"{CRONTABS}/a/status", made)
    assert told["status"]["replicas"] == 3 and "labels" not in told["metadata"] and told["metadata"]["generation"] == 1
    shown = custom.get(f"{CRONTABS}/a/scale")
    assert (shown["spec"], shown["status"]) == ({"replicas": 1}, {"replicas": 3, "selector": "a=b"})
    shown["spec"]["replicas"] = 4
    assert custom.ok("PUT", f"{CRONTABS}/a/scale", shown)["spec"]["replicas"] == 4
    assert custom.get(f"{CRONTABS}/a")["metadata"]["generation"] == 2
    table = custom.get(CRONTABS, headers=TABLE)
    assert [(one["name"], one["priority"]) for one in table["columnDefinitions"]] == [
        ("Name", 0), ("Spec", 0), ("Replicas", 1), ("Age", 0)
    ]  # fmt: skip
    assert table["rows"][0]["cells"][:3] == ["a", "* * * * *", 4]
    assert [
        one["metadata"]["name"] for one in custom.get(f"{CRONTABS}?fieldSelector=spec.image%3Dcron:1")["items"]
    ] == ["a"]
    assert custom.get(f"{CRONTABS}?fieldSelector=spec.image%3Dother")["items"] == []
    assert custom("GET", f"{CRONTABS}?fieldSelector=spec.replicas%3D1").code == 400
