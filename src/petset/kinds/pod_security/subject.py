"""What a control of the Pod Security Standards looks at, and what it says: small words that all controls share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from petset.kinds.pod_spec import pod_containers
from petset.objects import meta
from petset.objects.meta import Object


class Subject:
    """A pod, or what pods are made from: its annotations, its spec and all its containers."""

    __slots__ = ("annotations", "containers", "context", "spec")

    def __init__(self, pod: Object):
        metadata = meta.part(pod, "metadata")
        self.annotations: Mapping[str, str] = meta.part(metadata, "annotations")
        self.spec = meta.part(pod, "spec")
        self.context = meta.part(self.spec, "securityContext")
        self.containers = pod_containers.every(self.spec)

    @property
    def is_windows(self) -> bool:
        return meta.part(self.spec, "os").get("name") == "windows"

    @property
    def has_own_users(self) -> bool:
        """Whether its users are others than the node's."""
        return self.spec.get("hostUsers") is False


@dataclass(frozen=True, slots=True)
class Violation:
    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


Control = Callable[[Subject], "Violation | None"]


def security(container: Object) -> Object:
    return meta.part(container, "securityContext")


def names(containers: Iterable[Object], is_bad: Callable[[Object], Any]) -> list[str]:
    return [container["name"] for container in containers if is_bad(container)]


def quoted(items: Sequence[str]) -> str:
    return ", ".join(f'"{item}"' for item in items)


def sorted_once(items: Iterable[str]) -> list[str]:
    return sorted(dict.fromkeys(items))


def noun(singular: str, plural: str, items: Sequence[str]) -> str:
    return singular if len(items) == 1 else plural


def containers_named(bad: Sequence[str]) -> str:
    return f"{noun('container', 'containers', bad)} {quoted(bad)}"


def setters(by_pod: bool, bad: Sequence[str], *others: str) -> str:
    """pod and containers "a", "b": who says what must not be said; "" when nobody does."""
    return " and ".join([*(["pod"] if by_pod else []), *([containers_named(bad)] if bad else []), *others])
