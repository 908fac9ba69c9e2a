"""What clients learn about the server before they ask for anything."""

from __future__ import annotations

from petset.kinds import builtin
from petset.server.custom import kinds as custom
from petset.server.described import discovery
from petset.wire import http
from tests.server.conftest import Server

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"


def test_aggregated_discovery_lists_every_kind_with_its_subresources(server):
    for version in ("v2", "v2beta1"):
        accept = {"accept": f"{AGGREGATED.format(version)},application/json"}
        found = []
        for path in ("/api", "/apis"):
            answer = server("GET", path, headers=accept)
            assert answer.headers["content-type"] == AGGREGATED.format(version)
            assert answer.body["apiVersion"] == f"apidiscovery.k8s.io/{version}"
            found += [
                (group["metadata"]["name"], version["version"], row["resource"])
                for group in answer.body["items"]
                for version in group["versions"]
                for row in version["resources"]
            ]
        assert sorted(found) == sorted((row.group, row.version, row.plural) for row in builtin.KINDS)


def test_scale_is_a_scale_of_autoscaling(server):
    plain = server.get("/apis/apps/v1alpha1")["resources"]
    scale = next(row for row in plain if row["name"] == "petsets/scale")
    assert (scale["group"], scale["version"], scale["kind"]) == ("autoscaling", "v1", "Scale")
    apps = next(
        group
        for group in server.get("/apis", headers={"accept": AGGREGATED.format("v2")})["items"]
        if group["metadata"]["name"] == "apps"
    )
    assert [version["version"] for version in apps["versions"]] == ["v1", "v1alpha1"]
    petsets = apps["versions"][1]["resources"][0]
    kinds = {row["subresource"]: row["responseKind"] for row in petsets["subresources"]}
    assert kinds["scale"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert kinds["status"] == {"group": "apps", "version": "v1alpha1", "kind": "PetSet"}


def test_a_kind_says_in_which_version_it_is_stored(server):
    def hash_of(path: str, name: str) -> str | None:
        return next(row for row in server.get(path)["resources"] if row["name"] == name).get("storageVersionHash")

    assert hash_of("/api/v1", "pods") == "xPOwRZ+Yhw8="  # As upstream's servers say.
    assert hash_of("/api/v1", "events") == hash_of("/apis/events.k8s.io/v1", "events") == "r2yiGXH7wu8="
    assert hash_of("/apis/authentication.k8s.io/v1", "tokenreviews") is None
    assert hash_of("/api/v1", "pods/status") is None


def test_every_name_and_kind_of_discovery_is_whole(server):
    for path in ("/api", "/apis"):
        for group in server.get(path, headers={"accept": AGGREGATED.format("v2")})["items"]:
            for version in group["versions"]:
                root = f"/apis/{group['metadata']['name']}" if group["metadata"].get("name") else "/api"
                listed = {row["name"]: row for row in server.get(f"{root}/{version['version']}")["resources"]}
                for row in version["resources"]:
                    plain = listed.pop(row["resource"])
                    assert row["singularResource"] == plain["singularName"] != ""
                    assert (row["responseKind"]["kind"], row["verbs"]) == (plain["kind"], plain["verbs"])
                    assert row.get("shortNames") == plain.get("shortNames")
                    assert row.get("categories") == plain.get("categories")
                    for sub in row.get("subresources", ()):
                        named = listed.pop(f"{row['resource']}/{sub['subresource']}")
                        kind, own = sub["responseKind"], row["responseKind"]
                        assert (kind["kind"], sub["verbs"]) == (named["kind"], named["verbs"])
                        group_version = named.get("group", own["group"]), named.get("version", own["version"])
                        assert (kind["group"], kind["version"]) == group_version
                assert listed == {}


def test_plain_discovery(server):
    assert server.get("/api")["versions"] == ["v1"]
    groups = server.get("/apis")["groups"]
    assert next(group for group in groups if group["name"] == "apps")["preferredVersion"]["version"] == "v1"
    pods = next(row for row in server.get("/api/v1")["resources"] if row["name"] == "pods")
    assert pods["shortNames"] == ["po"] and "watch" in pods["verbs"]
    assert server.get("/apis/apps")["name"] == "apps"
    assert server("GET", "/apis/nothing").code == server("GET", "/apis/apps/v9").code == 404


def test_openapi_says_that_fields_are_validated(server):
    paths = server.get("/openapi/v3")["paths"]
    assert {"api/v1", "apis/apps/v1", "apis/apps/v1alpha1"} <= set(paths)
    url = paths["apis/apps/v1alpha1"]["serverRelativeURL"]
    answer = server("GET", url)
    patch = answer.body["paths"]["/apis/apps/v1alpha1/namespaces/{namespace}/petsets/{name}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {"group": "apps", "kind": "PetSet", "version": "v1alpha1"}
    assert "fieldValidation" in [parameter["name"] for parameter in patch["parameters"]]
    unchanged = server.send(
        http.Request("GET", url, (("if-none-match", answer.headers["etag"]),), user=http.User("a", ("system:masters",)))
    )
    assert unchanged.code == 304


def test_health(server):
    assert server.get("/readyz") == b"ok"
    assert server.get("/readyz?verbose").decode().splitlines()[0] == "[+]ping ok"
    assert server.get("/livez/ping") == b"ok" and server("GET", "/livez/x").code == 404
    sick = Server(checks={"etcd": lambda: "the disk is full"})
    answer = sick("GET", "/readyz")
    assert answer.code == 500 and b"[-]etcd failed: the disk is full" in answer.body
    assert sick("GET", "/livez").code == 200
    for path in ("/healthz", "/healthz/etcd", "/livez/etcd", "/readyz/etcd"):
        assert sick("GET", path).code == 500, path
    for path in ("/healthz/ping", "/readyz?exclude=etcd", "/healthz?exclude=etcd&exclude=ping"):
        assert sick("GET", path).body == b"ok", path
    sick.close()


def test_each_check_has_a_path_and_may_be_left_out(server):
    hook = "poststarthook/rbac/bootstrap-roles"
    assert server.get(f"/readyz/{hook}") == b"ok"
    assert server.get("/livez?verbose").decode().splitlines() == [
        "[+]ping ok",
        f"[+]{hook} ok",
        "livez check passed",
    ]
    said = server.get(f"/readyz?verbose&exclude={hook}&exclude=x").decode().splitlines()
    assert said == [
        "[+]ping ok",
        f"[+]{hook} excluded: ok",
        "[+]shutdown ok",
        'warn: some health checks cannot be excluded: no matches for "x"',
        "readyz check passed",
    ]
    assert server("GET", "/readyz/poststarthook").code == 404


def test_who_is_about_to_stop_is_not_ready_but_lives(server):
    server.plane.stop_soon()
    answer = server("GET", "/readyz")
    assert answer.code == 500 and b"[-]shutdown failed: process is shutting down" in answer.body
    for path in ("/livez", "/healthz", "/api/v1/namespaces", "/readyz?exclude=shutdown"):
        assert server("GET", path).code == 200, path


def test_groups_of_custom_kinds_are_in_the_order_of_their_names():
    """Whoever was made first: by that order a short name that two have means the same one always."""
    kinds, names = builtin.KINDS, {"plural": "foos", "singular": "foo", "kind": "Foo", "listKind": "FooList"}
    for group in ("test.com", "bar.com"):
        version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
        spec = {"group": group, "scope": "Namespaced", "names": names, "versions": [version]}
        definition = {"metadata": {"name": f"foos.{group}"}, "spec": spec, "status": {"acceptedNames": names}}
        for kind in custom.of(definition):
            kinds = kinds.with_kind(kind)
    own = list(discovery.groups(builtin.KINDS))
    assert list(discovery.groups(kinds)) == [*own, "bar.com", "test.com"]
