"""A server that follows its CustomResourceDefinitions, and a definition to begin with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.server.conftest import Server

GROUP = "stable.example.com"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAME = f"crontabs.{GROUP}"
CRONTABS = f"/apis/{GROUP}/v1/namespaces/default/crontabs"
TURNS_MAX = 2000


def schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}


CRON = {
    "cronSpec": {"type": "string", "pattern": r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$"},
    "image": {"type": "string", "default": "cron:1"},
    "replicas": {"type": "integer", "minimum": 0, "maximum": 10, "default": 1},
}


def version(name: str = "v1", storage: bool = True, **more: Any) -> dict[str, Any]:
    return {"name": name, "served": True, "storage": storage, "schema": {"openAPIV3Schema": schema(**CRON)}, **more}


def definition(*versions: Any, plural: str = "crontabs", kind: str = "CronTab", **spec: Any) -> dict[str, Any]:
    names = {"plural": plural, "kind": kind, "shortNames": [plural[:2]], **spec.pop("names", {})}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": names,
            "versions": list(versions or [version()]),
            **spec,
        },
    }


def with_schema(root: Any, **more: Any) -> dict[str, Any]:
    return definition(version(schema={"openAPIV3Schema": root}, **more))


def crontab(name: str, api_version: str = f"{GROUP}/v1", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": "CronTab", "metadata": {"name": name}, "spec": spec}


class Custom(Server):
    """A Server whose custom kinds are kept."""

    def __init__(self) -> None:
        super().__init__()
        self._keeping = self.loop.create_task(self.plane.definitions.keep())

    def until(self, condition: Callable[[], Any]) -> Any:
        """What the condition finds, after as many turns of the loop as that takes."""
        for _ in range(TURNS_MAX):
            if found := condition():
                return found
            assert not self._keeping.done(), self._keeping.exception()
            self.run(asyncio.sleep(0))
        raise AssertionError("it does not come")

    def stored(self, name: str = NAME) -> Any:
        entry = self.store.get(f"/apiextensions.k8s.io/customresourcedefinitions/{name}")
        return entry.object if entry else None

    def condition(self, type_: str, name: str = NAME) -> Any:
        found = [one for one in self.stored(name)["status"].get("conditions", ()) if one["type"] == type_]
        return (found[0]["status"], found[0]["reason"]) if found else None

    def define(self, crd: Any) -> None:
        """Create it and wait until it is established."""
        self.ok("POST", CRDS, crd)
        name = crd["metadata"]["name"]
        self.until(lambda: self.condition("Established", name) == ("True", "InitialNamesAccepted"))

    def close(self) -> None:
        self._keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            self.run(self._keeping)
        super().close()


@pytest.fixture
def custom() -> Iterator[Custom]:
    server = Custom()
    yield server
    server.close()
