"""Why, asked of the API: with the rights of who asks, and of nothing that he may not read."""

from __future__ import annotations

from typing import Any

import pytest

from petset.wire import http
from tests.server.conftest import JANE, Server, petset, pod

PODS = "/petset/why/api/v1/namespaces/default/pods"


def grant(server: Server, **resources: str) -> None:
    """To jane: verbs by resource, as `pods="get list"`."""
    rules = [{"apiGroups": ["*"], "resources": [of], "verbs": verbs.split()} for of, verbs in resources.items()]
    role: dict[str, Any] = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r"}}
    server.create({**role, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
    subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}]
    server.create({**role, "kind": "RoleBinding", "roleRef": reference, "subjects": subjects})


def pending(server: Server) -> None:
    server.create(pod("p", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "gone"}}]))


def test_an_object_is_told_of_in_lines_and_as_a_tree(server: Server) -> None:
    pending(server)
    told = server.get(f"{PODS}/p")
    assert told["lines"] == [
        "Pod default/p is on no node: it waits for its volumes.",
        "  PersistentVolumeClaim default/gone: there is no such claim.",
        "To mend it: create the claim gone, or correct the pod's spec.volumes.",
    ]
    assert (told["about"], told["state"]) == ("Pod default/p", "held")
    assert told["because"][0]["about"] == "PersistentVolumeClaim default/gone"


def test_whose_pod_it_would_be_is_told_of_one_that_is_not_there(server: Server) -> None:
    server.create(petset("web"))
    told = server.get(f"{PODS}/web-1")
    assert told["says"] == "is not there yet; PetSet web makes it"


def test_who_may_not_get_the_object_may_not_ask(server: Server) -> None:
    pending(server)
    answer = server("GET", f"{PODS}/p", user=JANE)
    assert answer.code == 403 and 'cannot get resource "pods"' in answer.message


def test_what_he_may_not_read_is_not_in_the_answer(server: Server) -> None:
    pending(server)
    grant(server, pods="get")
    told = server.get(f"{PODS}/p", user=JANE)
    assert told["lines"] == ["Pod default/p is on no node yet: the scheduler has not looked at it."]
    asked = server.get(f"{PODS}/p", headers={"impersonate-user": "jane"})
    assert asked == told, "nor of whom he says he is"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/api/v1",
        "/api/v1/namespaces/default/pods",
        "/api/v1/namespaces/default/pods/p/log",
        "/api/v1/namespaces/default/pods/p/proxy",
        "/api/v1/namespaces/default/ships/p",
        "/version",
        "/petset/why/api/v1/namespaces/default/pods/p",
    ],
)
def test_only_objects_are_asked_about(server: Server, path: str) -> None:
    pending(server)
    assert server("GET", f"/petset/why{path}").code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_it_is_only_read(server: Server, method: str) -> None:
    pending(server)
    assert server(method, f"{PODS}/p", {}).code == 405
    assert server("GET", "/api/v1/namespaces/default/pods/p").code == 200


def test_the_reads_take_no_place_in_flow_control(server: Server) -> None:
    """Else those who hold one each would wait for another one of each other."""
    pending(server)
    entered: list[http.Request] = []
    original = server.api.flow.entered

    def counted(request: http.Request, user: http.User) -> Any:
        entered.append(request)
        return original(request, user)

    server.api.flow.entered = counted  # type: ignore[method-assign]
    server.get(f"{PODS}/p")
    assert len(entered) == 1
