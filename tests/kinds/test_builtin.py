from petset.kinds import builtin
from petset.kinds.node import NODES
from petset.kinds.pet_set import PETSETS
from petset.kinds.stateful_set import STATEFULSETS
from petset.objects import schema


def test_every_row_is_found_by_kind_and_by_plural():
    for row in builtin.KINDS:
        assert builtin.KINDS.named(row.api_version, row.kind) is row
        assert builtin.KINDS.at(row.group, row.version, row.plural) is row
        assert builtin.KINDS.of({"apiVersion": row.api_version, "kind": row.kind}) is row
    assert builtin.KINDS.named("v1", "StatefulSet") is None
    assert builtin.KINDS.of({}) is None


def test_names_are_unique_for_kubectl():
    # Versions of one kind share their names. What pods and nodes use is called by its kind, as upstream's is.
    kinds = [row for row in builtin.KINDS.each_once() if not row.steps_back]
    words = [word for row in kinds for word in (*{row.plural, row.singular}, *row.short_names)]
    assert len(words) == len({*words})


def test_every_kind_has_a_schema():
    for row in builtin.KINDS:
        fields = schema.node_of(row).fields
        assert {"apiVersion", "kind", "metadata"} <= fields.keys(), row.kind
        assert ("status" in row.subresources) <= ("status" in fields), row.kind
        assert row.has_generation <= ("spec" in fields), row.kind


def test_paths_and_keys():
    pets, nodes = PETSETS, NODES
    assert pets.api_version == "apps/v1alpha1"
    assert pets.path() == "/apis/apps/v1alpha1/petsets"
    assert pets.path("default", "web", "scale") == "/apis/apps/v1alpha1/namespaces/default/petsets/web/scale"
    assert nodes.path(name="n1") == "/api/v1/nodes/n1"
    assert pets.key("default", "web") == "/apps/petsets/default/web"
    assert pets.key("default") == "/apps/petsets/default/"
    assert nodes.key("", "n1") == "/core/nodes/n1"


def test_what_kubectl_calls_them():
    assert PETSETS.short_names == ()
    assert STATEFULSETS.short_names == ("sts",)
    in_all = [row.plural for row in builtin.KINDS if "all" in row.categories and row.stored_as is None]
    assert in_all == [
        "pods",
        "replicationcontrollers",
        "services",
        "daemonsets",
        "deployments",
        "replicasets",
        "statefulsets",
        "petsets",
        "cronjobs",
        "jobs",
        "horizontalpodautoscalers",
    ]
