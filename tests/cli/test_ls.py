"""The rows of `petset ls`, `top` and `events`, of objects; and how a table is printed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from petset.cli import events, ls, top
from petset.cli.asking import sets
from petset.cli.showing import printing
from petset.objects import documents
from petset.objects.meta import Object

NOW = 1470182410.0  # 2016-08-03T00:00:10Z


def pod(name: str, **status: Any) -> Object:
    metadata = {"name": name, "namespace": "default", "creationTimestamp": "2016-08-03T00:00:00Z"}
    return {"metadata": {**metadata, "labels": {"controller-revision-hash": "web-1"}}, "spec": {}, "status": status}


OWNER = {"metadata": {"name": "web", "namespace": "default"}, "spec": {"replicas": 2, "serviceName": "nginx"}}
FAMILY = sets.Family(OWNER, [pod("web-0", podIP="10.0.0.2", containerStatuses=[{"restartCount": 3}])], [])


def test_a_row_a_pet_also_of_one_that_is_not_made() -> None:
    first, second = ls.rows(FAMILY, NOW)
    assert (first["restarts"], first["revision"], first["age"], first["address"]) == (3, "web-1", "10s", "10.0.0.2")
    assert (second["phase"], second["ready"], second["age"], second["restarts"]) == ("not yet created", False, None, 0)


def test_a_set_without_a_service_has_pets_without_names_in_dns() -> None:
    owner = {**OWNER, "spec": {"replicas": 1}}
    [row] = ls.rows(sets.Family(owner, FAMILY.pods, []), NOW)
    assert (row["ordinal"], row["name"], row["address"]) == (0, "", "10.0.0.2")


def test_what_a_pet_uses_is_the_sum_of_its_containers() -> None:
    usage = [{"usage": {"cpu": "250m", "memory": "3Mi"}}, {"usage": {"cpu": "1", "memory": "1Mi"}}]
    [row] = top.rows(FAMILY, {"default/web-0": {"containers": usage}})
    assert (row["cpu"], row["memory"]) == ("1250m", "4Mi")
    [row] = top.rows(FAMILY, {})
    assert (row["cpu"], row["memory"]) == (None, None)


@pytest.mark.parametrize(
    ("kind", "name", "is_about"),
    [
        ("PetSet", "web", True),
        ("Pod", "web-0", True),
        ("Pod", "web-12", True),
        ("PersistentVolumeClaim", "www-web-0", True),
        ("ReplicaSet", "web-68b9dd59d6", True),
        ("Pod", "web-68b9dd59d6-abcde", True),
        ("Pod", "web-api-0", False),
        ("StatefulSet", "web-api", False),
        ("PersistentVolumeClaim", "www-web-api-0", False),
        ("Node", "vm", False),
    ],
)
def test_what_is_about_a_set(kind: str, name: str, is_about: bool) -> None:
    assert events.is_about({"involvedObject": {"kind": kind, "name": name}}, "web") is is_about


def test_a_row_that_comes_alone_is_a_line_or_a_document() -> None:
    row = {"age": "1s", "message": "- é", "extra": True}
    assert printing.line("table", ("age", "message"), row) == "1s  - é"
    assert json.loads(printing.line("json", ("age",), row)) == row
    first, second = printing.line("yaml", ("age",), row), printing.line("yaml", ("age",), row)
    assert list(documents.load_all(f"{first}\n{second}\n".encode())) == [row, row]


def test_events_are_told_the_newest_last_and_on_one_line() -> None:
    def event(name: str, last: str, message: str) -> Object:
        return {
            "metadata": {},
            "involvedObject": {"kind": "Pod", "name": name},
            "lastTimestamp": last,
            "message": message,
        }

    found = events.rows([event("b", "2016-08-03T00:00:09Z", "x\ny"), event("a", "2016-08-03T00:00:01Z", "z")], "", NOW)
    assert [(row["object"], row["age"], row["message"]) for row in found] == [
        ("Pod/a", "9s", "z"),
        ("Pod/b", "1s", "x y"),
    ]


def test_a_table_is_as_wide_as_what_is_in_it() -> None:
    found: list[printing.Row] = [
        {"name": "a", "ready": True, "volume": ""},
        {"name": "long", "ready": False, "volume": 1},
    ]
    assert printing.table(("name", "ready", "volume"), found) == [
        "NAME  READY  VOLUME",
        "a     yes    -",
        "long  no     1",
    ]


@pytest.mark.parametrize("output", printing.FORMATS)
def test_rows_are_printed_in_each_form(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    printing.rows(output, ("name",), [{"name": "ä", "more": 1}])
    assert (
        capsys.readouterr().out
        == {
            "table": "NAME\nä\n",
            "json": '[\n  {\n    "name": "ä",\n    "more": 1\n  }\n]\n',
            "yaml": "- name: ä\n  more: 1\n",
        }[output]
    )
