"""Small objects for the store's tests."""

from __future__ import annotations

from typing import Any


def config_map(name: str, value: str = "") -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}}


def value(obj: Any) -> str:
    return obj["data"]["value"]


def key(name: str, namespace: str = "default") -> str:
    return f"/core/configmaps/{namespace}/{name}"
