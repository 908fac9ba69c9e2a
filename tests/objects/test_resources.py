from petset.objects import resources, schema


def test_every_row_is_found_by_kind_and_by_plural():
    for row in resources.TABLE:
        assert resources.by_kind(row.api_version, row.kind) is row
        assert resources.by_plural(row.group, row.version, row.plural) is row
        assert resources.of({"apiVersion": row.api_version, "kind": row.kind}) is row
    assert resources.by_kind("v1", "StatefulSet") is None
    assert resources.of({}) is None


def test_names_are_unique_for_kubectl():
    words = [word for row in resources.TABLE for word in (*{row.plural, row.singular}, *row.short_names)]
    assert len(words) == len({*words})


def test_every_kind_has_a_schema():
    for row in resources.TABLE:
        fields = schema.node_of(row).fields
        assert {"apiVersion", "kind", "metadata"} <= fields.keys(), row.kind
        assert ("status" in row.subresources) <= ("status" in fields), row.kind
        assert row.has_generation <= ("spec" in fields), row.kind


def test_paths_and_keys():
    pets, nodes = resources.PETSETS, resources.NODES
    assert pets.api_version == "apps/v1alpha1"
    assert pets.path() == "/apis/apps/v1alpha1/petsets"
    assert pets.path("default", "web", "scale") == "/apis/apps/v1alpha1/namespaces/default/petsets/web/scale"
    assert nodes.path(name="n1") == "/api/v1/nodes/n1"
    assert pets.key("default", "web") == "/apps/petsets/default/web"
    assert pets.key("default") == "/apps/petsets/default/"
    assert nodes.key("", "n1") == "/core/nodes/n1"


def test_what_kubectl_calls_them():
    assert resources.PETSETS.short_names == ()
    assert resources.STATEFULSETS.short_names == ("sts",)
    in_all = [row.plural for row in resources.TABLE if "all" in row.categories]
    assert in_all == ["pods", "services", "statefulsets", "petsets"]
