"""A path or a kind that is not there: the Status says so in words that help."""

from __future__ import annotations

import pytest

SETS = "/apis/apps/v1/namespaces/default/statefulsets"


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/apis/apps/v1/namespaces/n/statefulset", "petset has no statefulset in apps/v1; did you mean statefulsets?"),
        ("/apis/apps/v1/StatefulSets", "petset has no StatefulSets in apps/v1; did you mean statefulsets?"),
        ("/apis/apps/v2/statefulsets", "petset has no statefulsets in apps/v2; did you mean statefulsets of apps/v1?"),
        ("/apis/apps/v1/petset", "petset has no petset in apps/v1; did you mean petsets of apps/v1alpha1?"),
        ("/apis/apps/v1/boats", "petset has no boats in apps/v1"),
        ("/apis/widgets.example.com/v1/widgets", "petset has no widgets in widgets.example.com/v1"),
        ("/api/v1/namespaces/default/pods/p/logs", "petset has no logs of pods; did you mean log?"),
        ("/readz", "petset has no path /readz; did you mean /readyz?"),
        ("/nothing/at/all", "petset has no path /nothing/at/all"),
        ("/apis/apps/v1/" + "x" * 5000, "petset has no " + "x" * 63 + "... in apps/v1"),
    ],
)
def test_what_is_not_there_is_named_with_the_nearest_name(server, path, why):
    answer = server("GET", path)
    assert (answer.code, answer.body["reason"]) == (404, "NotFound")
    assert answer.message == f"the server could not find the requested resource: {why}"


def test_details_are_there_and_name_no_object(server):
    """Clients read details.name of any NotFound, to tell a missing object from a missing kind."""
    for method, path in (("PATCH", f"{SETS}/web/unknown"), ("GET", "/unknown"), ("POST", "/api/v1/unknown")):
        details = server(method, path, {}).body["details"]
        assert "name" not in details
    assert server("GET", f"{SETS}/web").body["details"] == {"name": "web", "group": "apps", "kind": "statefulsets"}
