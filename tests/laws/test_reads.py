"""Laws of reads: pages together are one list, and a watch from a list leads to every later one.

A history is a row of random writes of a few ConfigMaps. At every step of it somebody reads, in whatever form.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.conftest import Server, configmap

MAPS = "/api/v1/namespaces/default/configmaps"
NAMES = ("a", "b", "c", "d", "e")
WRITES = st.tuples(st.sampled_from(["put", "delete"]), st.sampled_from(NAMES), st.sampled_from(["", "x", "y"]))
HISTORY = st.lists(WRITES, max_size=12)
SELECTORS = st.sampled_from(
    ["", "labelSelector=app%3Dx", "labelSelector=app!%3Dx", "labelSelector=app", "fieldSelector=metadata.name%3Da"]
)


def write(server: Server, kind: str, name: str, label: str) -> None:
    """The object made, changed or removed, whichever it can be."""
    obj = configmap(name, {"app": label} if label else None, k=label)
    if kind == "delete":
        server("DELETE", f"{MAPS}/{name}")
    elif server("PUT", f"{MAPS}/{name}", obj).code == 404:
        server.ok("POST", MAPS, obj)


def by_name(items: list[Any]) -> dict[str, Any]:
    return {item["metadata"]["name"]: item for item in items}


def listed(server: Server, selector: str, **more: Any) -> Any:
    return server.get(f"{MAPS}?{selector}&" + "&".join(f"{key}={value}" for key, value in more.items()))


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.close()


@settings(max_examples=60)
@given(before=HISTORY, between=HISTORY, selector=SELECTORS, limit=st.integers(1, 4))
def test_pages_are_the_list_of_their_beginning_whatever_happens_between(server, before, between, selector, limit):
    for each in before:
        write(server, *each)
    whole = listed(server, selector)
    page = listed(server, selector, limit=limit)
    items, revision = page["items"], page["metadata"]["resourceVersion"]
    meanwhile = iter(between)
    while token := page["metadata"].get("continue"):
        assert len(page["items"]) == limit
        if each := next(meanwhile, None):
            write(server, *each)
        page = listed(server, selector, limit=limit, **{"continue": token})
        assert page["metadata"]["resourceVersion"] == revision
        items = items + page["items"]
    assert items == whole["items"]


@settings(max_examples=60)
@given(before=HISTORY, after=HISTORY, selector=SELECTORS)
def test_a_watch_from_a_list_leads_to_every_later_list(server, before, after, selector):
    for each in before:
        write(server, *each)
    first = listed(server, selector)
    seen, revision = by_name(first["items"]), int(first["metadata"]["resourceVersion"])
    watch = server.watch(f"{MAPS}?watch=1&{selector}&resourceVersion={revision}")
    for each in after:
        write(server, *each)
    final = by_name(listed(server, selector)["items"])
    while by_revision(seen) != by_revision(final):
        event = watch.next()
        obj = event["object"]
        name, now = obj["metadata"]["name"], int(obj["metadata"]["resourceVersion"])
        assert now > revision, "revisions go up"
        revision = now
        assert (event["type"] == "ADDED") == (name not in seen)
        if event["type"] == "DELETED":
            del seen[name]
        else:
            seen[name] = {
                key: value for key, value in obj.items() if key not in ("apiVersion", "kind")
            }  # As in a list.
    assert seen == final
    watch.close()


def by_revision(objects: dict[str, Any]) -> dict[str, str]:
    return {name: obj["metadata"]["resourceVersion"] for name, obj in objects.items()}
