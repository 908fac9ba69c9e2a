import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.kinds.pet_set import PETSETS
from petset.kinds.pod import PODS
from petset.kinds.service import SERVICES
from petset.kinds.stateful_set import STATEFULSETS
from petset.objects import encoding, errors, patch

# -- JSON patch ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "operations", "result"),
    [
        ({"a": 1}, [], {"a": 1}),
        ({"a": 1}, [{"op": "add", "path": "/b", "value": 2}], {"a": 1, "b": 2}),
        ({"a": 1}, [{"op": "add", "path": "/a", "value": None}], {"a": None}),
        ({"a": [1, 3]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2, 3]}),
        ({"a": [1]}, [{"op": "add", "path": "/a/-", "value": [2]}], {"a": [1, [2]]}),
        ({"a": [1]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2]}),
        ({"a": 1, "b": 2}, [{"op": "remove", "path": "/a"}], {"b": 2}),
        ({"a": [1, 2, 3]}, [{"op": "remove", "path": "/a/1"}], {"a": [1, 3]}),
        ({"a": {"b": 1}}, [{"op": "replace", "path": "/a/b", "value": 2}], {"a": {"b": 2}}),
        ({"a": [{"b": 1}]}, [{"op": "replace", "path": "/a/0/b", "value": 2}], {"a": [{"b": 2}]}),
        ({"a": 1}, [{"op": "replace", "path": "", "value": {"c": 1}}], {"c": 1}),
        ({"a": {"x": 1}, "b": {}}, [{"op": "move", "from": "/a/x", "path": "/b/x"}], {"a": {}, "b": {"x": 1}}),
        ({"a": [1, 2, 3]}, [{"op": "move", "from": "/a/0", "path": "/a/2"}], {"a": [2, 3, 1]}),
        ({"a": 1}, [{"op": "move", "from": "/a", "path": "/a"}], {"a": 1}),
        ({"a": {"x": 1}}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": {"x": 1}, "b": {"x": 1}}),
        ({"a": 1.0}, [{"op": "test", "path": "/a", "value": 1}], {"a": 1.0}),
        ({"a": {"b": [1]}}, [{"op": "test", "path": "/a", "value": {"b": [1]}}], {"a": {"b": [1]}}),
        (
            {"a/b": 1, "~": 2},
            [{"op": "test", "path": "/a~1b", "value": 1}, {"op": "remove", "path": "/~0"}],
            {"a/b": 1},
        ),
        ({"": 1}, [{"op": "replace", "path": "/", "value": 2}], {"": 2}),
        ({"~1": 1}, [{"op": "remove", "path": "/~01"}], {}),
        ({"a": 1}, [{"op": "add", "path": "/b", "value": 2, "unknown": True}], {"a": 1, "b": 2}),
    ],
)
def test_json_patch(document, operations, result):
    before = encoding.dumps(document)
    assert patch.json_patch(document, operations) == result
    assert encoding.dumps(document) == before


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/x"},
        {"op": "remove", "path": ""},
        {"op": "replace", "path": "/x", "value": 1},
        {"op": "add", "path": "/x/y", "value": 1},
        {"op": "add", "path": "/s/y", "value": 1},
        {"op": "add", "path": "/a/4", "value": 1},
        {"op": "add", "path": "/a/-1", "value": 1},
        {"op": "add", "path": "/a/01", "value": 1},
        {"op": "add", "path": "/a/x", "value": 1},
        {"op": "remove", "path": "/a/-"},
        {"op": "remove", "path": "/a/3"},
        {"op": "move", "from": "/m", "path": "/m/inner"},
        {"op": "move", "from": "/x", "path": "/y"},
        {"op": "copy", "from": "/x", "path": "/y"},
        {"op": "test", "path": "/s", "value": "other"},
        {"op": "test", "path": "/a/0", "value": True},
        {"op": "test", "path": "/none", "value": None},
    ],
)
def test_a_json_patch_that_does_not_fit_is_422_and_says_which_operation(operation):
    document = {"a": [1, 2, 3], "s": "text", "m": {"inner": {}}}
    with pytest.raises(errors.ApiError) as caught:
        patch.json_patch(document, [{"op": "test", "path": "/s", "value": "text"}, operation])
    assert caught.value.code == 422
    assert "operation 1" in caught.value.message


@pytest.mark.parametrize(
    "operations",
    [
        {},
        None,
        "x",
        [1],
        [{}],
        [{"op": "add"}],
        [{"op": "add", "path": "/a"}],
        [{"op": "add", "path": "a", "value": 1}],
        [{"op": "add", "path": 1, "value": 1}],
        [{"op": "add", "path": "/~2", "value": 1}],
        [{"op": "spam", "path": "/a"}],
        [{"op": "move", "path": "/a"}],
        [{"op": "copy", "from": "a", "path": "/a"}],
        [{"op": ["add"], "path": "/a"}],
        [{"op": "replace", "path": "", "value": 1}],
    ],
)
def test_a_malformed_json_patch_is_a_bad_request(operations):
    with pytest.raises(errors.ApiError) as caught:
        patch.json_patch({"a": 1}, operations)
    assert caught.value.code == 400


def test_copies_cannot_double_an_object_for_ever():
    doubling = [{"op": "copy", "from": "/a", "path": f"/a/{i}"} for i in range(64)]
    with pytest.raises(errors.ApiError) as caught:
        patch.json_patch({"a": {"x": "y" * 100}}, doubling)
    assert caught.value.code == 422


def test_operations_cannot_nest_an_object_for_ever():
    deeper = [{"op": "add", "path": "/a" * (i + 1), "value": {}} for i in range(encoding.NESTING_LEVELS_MAX + 1)]
    with pytest.raises(errors.ApiError) as caught:
        patch.json_patch({}, deeper)
    assert caught.value.code == 400


def test_too_many_operations():
    with pytest.raises(errors.ApiError) as caught:
        patch.json_patch({}, [{"op": "test", "path": "", "value": {}}] * (patch.OPERATIONS_MAX + 1))
    assert caught.value.code == 413


# -- merge patch --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "change", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"a": "foo"}, {"a": {"x": 1}}, {"a": {"x": 1}}),
    ],
)
def test_merge_patch(document, change, result):
    assert patch.merge_patch(document, change) == result


@pytest.mark.parametrize("change", [None, [], "x", 1])
def test_a_merge_patch_must_be_an_object(change):
    with pytest.raises(errors.ApiError) as caught:
        patch.merge_patch({}, change)
    assert caught.value.code == 400


LEAVES = st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=2)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc/~"), inner, max_size=3),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(st.sampled_from("abc/~"), TREES, max_size=4)


def without_nulls(tree):
    if isinstance(tree, dict):
        return {key: without_nulls(value) for key, value in tree.items() if value is not None}
    return tree


@given(DOCUMENTS, DOCUMENTS)
def test_a_merge_patch_applied_twice_is_applied_once(document, change):
    once = patch.merge_patch(document, change)
    assert patch.merge_patch(once, change) == once


@given(DOCUMENTS, DOCUMENTS)
def test_the_merge_patch_of_two_objects_leads_from_one_to_the_other(a, b):
    a, b = without_nulls(a), without_nulls(b)
    assert patch.merge_patch(a, difference(a, b)) == b


def difference(a, b):
    """The merge patch from a to b."""
    gone = {key: None for key in a if key not in b}
    changed = {}
    for key, value in b.items():
        if isinstance(value, dict) and isinstance(a.get(key), dict):
            changed[key] = difference(a[key], value)
        elif key not in a or not patch.equal(a[key], value):
            changed[key] = value
    return {**gone, **changed}


@given(DOCUMENTS, DOCUMENTS)
def test_adding_then_testing_then_removing_leaves_the_object(document, other):
    operations = [
        {"op": "add", "path": "/new", "value": other},
        {"op": "test", "path": "/new", "value": other},
        {"op": "copy", "from": "/new", "path": "/copied"},
        {"op": "move", "from": "/copied", "path": "/moved"},
        {"op": "test", "path": "/moved", "value": other},
        {"op": "remove", "path": "/moved"},
        {"op": "remove", "path": "/new"},
    ]
    assert patch.equal(patch.json_patch(document, operations), document)


@given(TREES, TREES)
def test_equality_is_that_of_json(a, b):
    assert patch.equal(a, a)
    assert patch.equal(a, b) == (encoding.dumps_sorted(a) == encoding.dumps_sorted(b))


# -- strategic merge patch ----------------------------------------------------------------------------------------

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "a", "finalizers": ["x/a", "x/b"], "labels": {"app": "web", "tier": "front"}},
    "spec": {
        "containers": [
            {
                "name": "main",
                "image": "redis:1",
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "args": ["x", "y"],
            },
            {"name": "side", "image": "busybox"},
        ],
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "volumes": [{"name": "data", "emptyDir": {}}],
    },
}


def pod(change):
    return patch.strategic_merge(POD, change, PODS)


def main(result):
    return next(container for container in result["spec"]["containers"] if container["name"] == "main")


def test_containers_merge_by_name_and_keep_their_place():
    result = pod({"spec": {"containers": [{"name": "main", "image": "redis:2"}, {"name": "new", "image": "n"}]}})
    assert [c["name"] for c in result["spec"]["containers"]] == ["main", "new", "side"]
    assert main(result)["image"] == "redis:2"
    assert main(result)["args"] == ["x", "y"]


def test_environment_and_ports_merge_by_their_keys():
    result = pod(
        {
            "spec": {
                "containers": [
                    {
                        "name": "main",
                        "env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}],
                        "ports": [{"containerPort": 80, "name": "web"}, {"containerPort": 81}],
                    }
                ]
            }
        }
    )
    assert main(result)["env"] == [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "3"},
        {"name": "C", "value": "4"},
    ]
    assert main(result)["ports"] == [{"containerPort": 80, "protocol": "TCP", "name": "web"}, {"containerPort": 81}]


def test_elements_are_deleted_by_a_directive():
    result = pod({"spec": {"containers": [{"name": "side", "$patch": "delete"}]}})
    assert [c["name"] for c in result["spec"]["containers"]] == ["main"]


def test_lists_and_maps_are_replaced_by_a_directive():
    replaced = pod({"spec": {"containers": [{"$patch": "replace"}, {"name": "only", "image": "o"}]}})
    assert replaced["spec"]["containers"] == [{"name": "only", "image": "o"}]
    assert pod({"metadata": {"labels": {"$patch": "replace", "new": "x"}}})["metadata"]["labels"] == {"new": "x"}


def test_maps_are_deleted_by_a_directive_and_fields_by_null():
    assert "labels" not in pod({"metadata": {"labels": {"$patch": "delete"}}})["metadata"]
    assert pod({"metadata": {"labels": {"tier": None}}})["metadata"]["labels"] == {"app": "web"}
    assert "volumes" not in pod({"spec": {"volumes": None}})["spec"]


def test_atomic_lists_are_replaced():
    result = pod({"spec": {"tolerations": [{"key": "b"}], "containers": [{"name": "main", "args": ["z"]}]}})
    assert result["spec"]["tolerations"] == [{"key": "b"}]
    assert main(result)["args"] == ["z"]


def test_a_volume_changes_its_source_with_retain_keys():
    change = {"name": "data", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}}
    assert pod({"spec": {"volumes": [change]}})["spec"]["volumes"] == [{"name": "data", "configMap": {"name": "c"}}]


def test_finalizers_are_a_set_to_add_to_and_delete_from():
    assert pod({"metadata": {"finalizers": ["x/b", "x/c"]}})["metadata"]["finalizers"] == ["x/a", "x/b", "x/c"]
    gone = pod({"metadata": {"$deleteFromPrimitiveList/finalizers": ["x/a"]}})
    assert gone["metadata"]["finalizers"] == ["x/b"]
    both = pod({"metadata": {"$deleteFromPrimitiveList/finalizers": ["x/a"], "finalizers": ["x/d"]}})
    assert both["metadata"]["finalizers"] == ["x/d", "x/b"]


def test_owner_references_merge_by_uid():
    first = patch.strategic_merge(POD, {"metadata": {"ownerReferences": [{"uid": "1", "name": "a"}]}}, PODS)
    both = patch.strategic_merge(
        first,
        {"metadata": {"ownerReferences": [{"uid": "2", "name": "b"}, {"uid": "1", "controller": True}]}},
        PODS,
    )
    assert both["metadata"]["ownerReferences"] == [
        {"uid": "2", "name": "b"},
        {"uid": "1", "name": "a", "controller": True},
    ]


def test_the_order_of_elements_is_set():
    change = {
        "spec": {
            "$setElementOrder/containers": [{"name": "new"}, {"name": "side"}, {"name": "main"}],
            "containers": [{"name": "new", "image": "n"}],
        }
    }
    assert [c["name"] for c in pod(change)["spec"]["containers"]] == ["new", "side", "main"]


@pytest.mark.parametrize(
    ("there", "sent", "order", "result"),
    [
        ("AB", "N", None, "NAB"),
        ("AB", "BN", None, "ABN"),
        ("AB", "NB", None, "NAB"),
        ("AB", "NA", None, "NAB"),
        ("ABC", "CA", None, "BCA"),
        ("AB", "", None, "AB"),
        ("ABCD", "", "DB", "ACDB"),
        ("ABCD", "", "BD", "ABCD"),
        ("AB", "N", "NB", "NAB"),
        ("AB", "N", "N", "NAB"),
        ("AB", "N", "BAN", "BAN"),
        ("", "NM", "NM", "NM"),
    ],
)
def test_what_only_the_server_has_follows_what_is_new(there, sent, order, result):
    """It stays before an element that the patch orders and that stood after it."""
    main = {"name": "main", "env": [{"name": name} for name in there]}
    change = {"name": "main", "env": [{"name": name} for name in sent]}
    if order is not None:
        change["$setElementOrder/env"] = [{"name": name} for name in order]
    merged = patch.strategic_merge({"spec": {"containers": [main]}}, {"spec": {"containers": [change]}}, PODS)
    assert "".join(one["name"] for one in merged["spec"]["containers"][0]["env"]) == result


def test_a_new_container_is_the_first_of_a_set():
    obj = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "nginx"}]}}}}
    change = {"spec": {"template": {"spec": {"containers": [{"name": "added", "image": "pause"}]}}}}
    merged = patch.strategic_merge(obj, change, STATEFULSETS)
    assert [one["name"] for one in merged["spec"]["template"]["spec"]["containers"]] == ["added", "web"]


def test_service_ports_merge_by_port():
    service = {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80, "name": "web"}]}}
    change = {"spec": {"ports": [{"port": 80, "targetPort": 8080}, {"port": 81, "name": "other"}]}}
    assert patch.strategic_merge(service, change, SERVICES)["spec"]["ports"] == [
        {"port": 80, "name": "web", "targetPort": 8080},
        {"port": 81, "name": "other"},
    ]


@pytest.mark.parametrize("resource", [PETSETS, STATEFULSETS])
def test_sets_merge_their_templates_and_take_a_revision_back(resource):
    obj = {"spec": {"replicas": 3, "template": {"metadata": {"labels": {"a": "b"}}, "spec": POD["spec"]}}}
    change = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "redis:2"}]}}}}
    result = patch.strategic_merge(obj, change, resource)
    assert [c["image"] for c in result["spec"]["template"]["spec"]["containers"]] == ["redis:2", "busybox"]
    rollback = {"spec": {"template": {"$patch": "replace", "metadata": {}, "spec": {"containers": [{"name": "x"}]}}}}
    assert patch.strategic_merge(result, rollback, resource)["spec"] == {
        "replicas": 3,
        "template": {"metadata": {}, "spec": {"containers": [{"name": "x"}]}},
    }


def test_directives_never_stay_where_there_was_nothing():
    change = {
        "spec": {
            "initContainers": [{"name": "gone", "$patch": "delete"}, {"name": "kept", "image": "i"}],
            "affinity": {"nodeAffinity": {"$patch": "replace", "x": 1}, "podAffinity": None},
            "$setElementOrder/initContainers": [{"name": "kept"}],
        }
    }
    result = patch.strategic_merge({"spec": {}}, change, PODS)
    assert result["spec"] == {
        "initContainers": [{"name": "kept", "image": "i"}],
        "affinity": {"nodeAffinity": {"x": 1}},
    }


@pytest.mark.parametrize(
    "change",
    [
        None,
        [],
        {"$patch": "x"},
        {"spec": {"containers": [{"image": "no name"}]}},
        {"spec": {"containers": ["x"]}},
        {"spec": {"$setElementOrder/containers": {}}},
        {"spec": {"$setElementOrder/containers": [{"image": "x"}]}},
        {"spec": {"$setElementOrder/containers": [{"name": "main"}], "containers": [{"name": "new"}]}},
        {
            "spec": {
                "$setElementOrder/containers": [{"name": "main"}, {"name": "side"}],
                "containers": [{"name": "side"}, {"name": "main"}],
            }
        },
        {"metadata": {"$deleteFromPrimitiveList/finalizers": "x"}},
        {"spec": {"volumes": [{"name": "data", "$retainKeys": "x"}]}},
        {"spec": {"volumes": [{"name": "data", "$retainKeys": ["name"], "configMap": {}}]}},
    ],
)
def test_a_malformed_strategic_patch_is_a_bad_request(change):
    with pytest.raises(errors.ApiError) as caught:
        pod(change)
    assert caught.value.code == 400


def test_an_empty_patch_changes_nothing():
    assert pod({}) == POD
    assert pod({"spec": {}, "metadata": {"labels": {}}}) == POD
