import pytest

from petset.kinds import builtin
from petset.kinds.config_map import CONFIGMAPS
from petset.kinds.controller_revision import CONTROLLERREVISIONS
from petset.kinds.lease import LEASES
from petset.kinds.pet_set import PETSETS
from petset.kinds.pod import PODS
from petset.kinds.secret import SECRETS
from petset.kinds.stateful_set import STATEFULSETS
from petset.objects import documents, errors, schema, schema_limits, schema_nodes


def pod(**spec):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a"},
        "spec": {"containers": [{"name": "main", "image": "redis"}], **spec},
    }


def refusal(obj, resource=PODS, **options):
    with pytest.raises(errors.ApiError) as caught:
        schema.check(obj, resource, **options)
    assert caught.value.code == 400
    return caught.value.message


def test_an_object_that_is_as_stored_comes_back_itself():
    obj = pod(nodeSelector={"a": "b"}, terminationGracePeriodSeconds=0)
    read, told, missing = schema.check(obj, PODS)
    assert read is obj
    assert (told, missing) == ([], [])


def test_unknown_fields_are_dropped_and_told_where_they_were():
    obj = pod(foo=1)
    obj["spec"]["containers"][0]["bar"] = {"x": [1]}
    obj["metadata"]["baz"] = None
    read, told, _ = schema.check(obj, PODS)
    assert read == pod()
    assert told == [
        'unknown field "metadata.baz"',
        'unknown field "spec.containers[0].bar"',
        'unknown field "spec.foo"',
    ]


def test_strict_refuses_them_in_the_words_kubectl_shows():
    obj = {"apiVersion": "apps/v1", "kind": "StatefulSet", "spec": {"foo": 1, "selector": {}, "template": {}}}
    assert refusal(obj, STATEFULSETS, strict=True) == (
        'StatefulSet in version "v1" cannot be handled as a StatefulSet: '
        'strict decoding error: unknown field "spec.foo"'
    )
    assert refusal(pod(a=1), strict=True, duplicates=["spec.b"]).endswith(
        'strict decoding error: unknown field "spec.a", duplicate field "spec.b"'
    )


def test_only_so_many_unknown_fields_are_told():
    _, told, _ = schema.check(pod(**{f"x{i}": 1 for i in range(500)}), PODS)
    assert len(told) == schema.UNKNOWN_FIELDS_TOLD_MAX


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (
            {"terminationGracePeriodSeconds": "3"},
            "json: cannot unmarshal string into Go struct field "
            "PodSpec.spec.terminationGracePeriodSeconds of type int64",
        ),
        (
            {"hostNetwork": 1},
            "json: cannot unmarshal number into Go struct field PodSpec.spec.hostNetwork of type bool",
        ),
        (
            {"containers": {}},
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            {"containers": [{"name": 1}]},
            "json: cannot unmarshal number into Go struct field Container.spec.containers[0].name of type string",
        ),
        (
            {"nodeSelector": {"a": 1}},
            "json: cannot unmarshal number into Go struct field PodSpec.spec.nodeSelector.a of type string",
        ),
        (
            {"containers": [{"name": "a", "ports": [{"containerPort": 80.5}]}]},
            "json: cannot unmarshal number 80.5 into Go struct field "
            "ContainerPort.spec.containers[0].ports[0].containerPort of type int32",
        ),
        (
            {"containers": [{"name": "a", "ports": [{"containerPort": 2**40}]}]},
            f"json: cannot unmarshal number {2**40} into Go struct field "
            "ContainerPort.spec.containers[0].ports[0].containerPort of type int32",
        ),
        (
            {"volumes": "x"},
            "json: cannot unmarshal string into Go struct field PodSpec.spec.volumes of type []v1.Volume",
        ),
        (
            {"containers": [{"name": "a", "resources": {"limits": {"cpu": "1x"}}}]},
            "spec.containers[0].resources.limits.cpu: quantities must match the regular expression "
            "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
    ],
)
def test_a_wrong_type_is_named_with_its_path(spec, why):
    assert refusal(pod(**spec)) == f'Pod in version "v1" cannot be handled as a Pod: {why}'


@pytest.mark.parametrize("obj", [None, [], "x", 1, True])
def test_what_is_no_object(obj):
    assert "into Go value of type v1.Pod" in refusal(obj)


@pytest.mark.parametrize(
    "obj",
    [
        {"apiVersion": "v1", "kind": "Service"},
        {"apiVersion": "v2", "kind": "Pod"},
        {"apiVersion": "v1"},
        {"apiVersion": "apps/v1", "kind": "PetSet"},
        {"apiVersion": 1, "kind": {}},
    ],
)
def test_another_kind_is_refused(obj):
    refusal(obj)


def test_missing_kind_and_version_are_those_of_the_resource():
    read, _, _ = schema.check({"metadata": {"name": "a"}}, CONFIGMAPS)
    assert (read["apiVersion"], read["kind"]) == ("v1", "ConfigMap")


def test_nulls_are_fields_that_were_not_given():
    obj = pod(nodeSelector=None, containers=[{"name": "a", "args": [None, "x"], "env": None}], volumes=[None])
    obj["metadata"] = {"name": "a", "creationTimestamp": None, "labels": {"a": None}}
    read, told, _ = schema.check(obj, PODS)
    assert told == []
    assert read["spec"] == {"containers": [{"name": "a", "args": ["", "x"]}], "volumes": [{}]}
    assert read["metadata"] == {"name": "a", "labels": {"a": ""}}


def test_values_take_their_canonical_form():
    obj = pod(containers=[{"name": "a", "resources": {"limits": {"cpu": 1, "memory": "1024Mi", "x/y": 0.5}}}])
    obj["metadata"]["creationTimestamp"] = "2016-08-03T02:00:00.5+02:00"
    read, _, _ = schema.check(obj, PODS)
    assert read["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "1", "memory": "1Gi", "x/y": "500m"}
    assert read["metadata"]["creationTimestamp"] == "2016-08-03T00:00:00Z"
    secret, _, _ = schema.check({"data": {"a": "YQ=\n="}}, SECRETS)
    assert secret["data"] == {"a": "YQ=="}


@pytest.mark.parametrize(
    "text", ["", "x", "2016-13-01T00:00:00Z", "2016-08-03", "2016-08-03T00:00:00", 1, "2016-08-03T25:00:00Z"]
)
def test_what_is_no_time(text):
    assert "metadata.creationTimestamp" in refusal({"metadata": {"creationTimestamp": text}}, CONFIGMAPS)


@pytest.mark.parametrize("text", ["a", "YQ", "Y===", "é", "YQ==YQ=="])
def test_what_is_no_base64(text):
    assert "data.a" in refusal({"data": {"a": text}}, SECRETS)


def test_micro_times_keep_their_microseconds():
    lease = {"spec": {"renewTime": "2016-08-03T00:00:00.123456789Z"}}
    assert schema.check(lease, LEASES)[0]["spec"] == {"renewTime": "2016-08-03T00:00:00.123456Z"}


def test_missing_required_fields_are_told_with_their_paths():
    obj = pod(containers=[{}], volumes=[{"hostPath": {}, "name": "a"}])
    _, _, missing = schema.check(obj, PODS)
    assert [error.field for error in missing] == ["spec.containers[0].name", "spec.volumes[0].hostPath.path"]
    assert all(error.reason == "FieldValueRequired" for error in missing)
    _, _, missing = schema.check({}, STATEFULSETS)
    assert [error.field for error in missing] == ["spec"]
    _, _, missing = schema.check({"spec": {}}, STATEFULSETS)
    assert [error.field for error in missing] == ["spec.selector", "spec.template"]


def test_what_a_status_lacks_is_empty():
    """As upstream's: its fields hold their zero, so that whoever reads a list of it finds each element's name."""
    obj = {**pod(), "status": {"containerStatuses": [{"name": "main"}, {}], "conditions": [{"status": "True"}]}}
    read, _, wrong = schema.check(obj, PODS)
    empty = {"name": "", "image": "", "imageID": "", "ready": False, "restartCount": 0}
    assert read["status"]["containerStatuses"] == [{**empty, "name": "main"}, empty]
    assert read["status"]["conditions"] == [{"type": "", "status": "True"}]
    assert wrong == []
    assert schema.check(read, PODS)[0] is read


def test_a_petset_is_a_stateful_set_whose_selector_may_be_missing():
    obj = {"apiVersion": "apps/v1alpha1", "kind": "PetSet", "spec": {"template": {}, "serviceName": "x", "odd": 1}}
    _, told, missing = schema.check(obj, PETSETS)
    assert (told, missing) == (['unknown field "spec.odd"'], [])
    sets, pets = (schema.node_of(row) for row in (STATEFULSETS, PETSETS))
    assert set(sets.fields) == set(pets.fields)
    assert set(sets.fields["spec"].fields) == set(pets.fields["spec"].fields)


def test_free_form_data_is_kept_as_it_is():
    data = {"spec": {"template": {"$patch": "replace", "x": None}}}
    obj = {"data": data, "revision": 1, "metadata": {"managedFields": [{"fieldsV1": {"f:a": {".": {}}}}]}}
    read, told, missing = schema.check(obj, CONTROLLERREVISIONS)
    assert (told, missing) == ([], [])
    assert read["data"] == data


def test_bodies_that_are_no_resources_can_be_read_too():
    options = {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "gracePeriodSeconds": 0,
        "preconditions": {"uid": "1"},
        "x": 1,
    }
    read, told, _ = schema.check_as(options, "meta_v1.DeleteOptions", "v1", "DeleteOptions")
    assert told == ['unknown field "x"']
    assert read["gracePeriodSeconds"] == 0
    scale = {"spec": {"replicas": "3"}}
    with pytest.raises(errors.ApiError):
        schema.check_as(scale, "autoscaling_v1.Scale", "autoscaling/v1", "Scale")


def test_names_that_python_cannot_spell():
    assert "continue" in schema.node("meta_v1.ListMeta").fields
    assert "$ref" in schema.node("apiextensions_v1.JSONSchemaProps").fields


def test_lists_know_how_they_are_merged():
    spec = schema.node_of(PODS).fields["spec"]
    assert (spec.fields["containers"].merge_key, spec.fields["containers"].strategies) == ("name", ("merge",))
    assert spec.fields["volumes"].strategies == ("merge", "retainKeys")
    assert spec.fields["tolerations"].merge_key == ""
    assert spec.fields["containers"].item.fields["ports"].list_keys == ("containerPort", "protocol")
    metadata = schema.node_of(PETSETS).fields["metadata"]
    assert metadata.fields["finalizers"].strategies == ("merge",)
    assert metadata.fields["ownerReferences"].merge_key == "uid"


MANIFEST = """
apiVersion: apps/v1alpha1
kind: PetSet
metadata: {name: web}
spec:
  serviceName: "nginx"
  replicas: 2
  template:
    metadata:
      labels: {app: nginx}
      annotations: {pod.alpha.kubernetes.io/initialized: "true"}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: nginx
        image: nginx-slim:0.8
        ports: [{containerPort: 80, name: web}]
        volumeMounts: [{name: www, mountPath: /usr/share/nginx/html}]
  volumeClaimTemplates:
  - metadata: {name: www, annotations: {volume.alpha.kubernetes.io/storage-class: anything}}
    spec:
      accessModes: ["ReadWriteOnce"]
      resources: {requests: {storage: 1Gi}}
"""


def test_a_manifest_of_2016_is_read_strictly_and_found_valid():
    (obj,) = documents.load_all(MANIFEST)
    read, told, missing = schema.check(obj, PETSETS, strict=True)
    assert (told, missing) == ([], [])
    assert PETSETS.validate(PETSETS.default(read)) == []


def test_every_list_has_a_maximum_and_more_is_an_error_with_its_path():
    for (struct, field), most in schema_limits.ITEMS_MAX.items():
        assert schema.node(struct).fields[field].items_max == most, (struct, field)
    seen: dict[int, None] = {}

    def look(node: schema_nodes.Node) -> None:
        if id(node) in seen:
            return
        seen[id(node)] = None
        if node.kind in ("list", "map"):
            assert node.items_max > 0 and node.item is not None, node.name
            look(node.item)
        for field in node.fields.values():
            look(field)

    for resource in builtin.KINDS:
        look(schema.node_of(resource))
    many = {"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": dict.fromkeys(map(str, range(1001)), "v")}}
    containers = [{"name": "c", "ports": [{"containerPort": 1}] * 10_001}, *[{"name": "c"}] * 199]
    _, _, wrong = schema.check({**many, "spec": {"containers": containers}}, PODS)
    assert [(error.field, error.reason) for error in wrong] == [
        ("metadata.labels", "FieldValueTooMany"),
        ("spec.containers[0].ports", "FieldValueTooMany"),
    ]
    _, _, wrong = schema.check({**many, "metadata": {}, "spec": {"containers": [{}] * 201}}, PODS)
    assert [str(error.message) for error in wrong] == ["Too many: 201: must have at most 200 items"]


def test_the_values_of_a_map_may_be_times():
    node = schema.node("policy_v1.PodDisruptionBudgetStatus").fields["disruptedPods"]
    assert node.ok({"pod": "2016-08-03T00:00:00Z"})
    assert not node.ok({"pod": 1}) and not node.ok({"pod": "soon"})
