"""What a pod asks of its node."""

from __future__ import annotations

from typing import Any

import pytest

from petset.kinds import requests
from petset.kinds.requests import HostPort
from petset.objects.meta import Object


def test_requests_are_containers_together_or_the_largest_init_container() -> None:
    def container(cpu: str, **more: Any) -> Object:
        return {"name": cpu, "resources": {"requests": {"cpu": cpu}}, **more}

    spec = {"containers": [container("100m"), container("200m")], "initContainers": [container("250m")]}
    assert requests.of({"spec": spec}) == {"cpu": 300}
    spec["initContainers"] = [container("500m")]
    assert requests.of({"spec": spec}) == {"cpu": 500}
    spec["initContainers"] = [container("50m", restartPolicy="Always"), container("400m")]
    assert requests.of({"spec": spec}) == {"cpu": 450}
    limits = {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}}}], "overhead": {"cpu": "10m"}}
    assert requests.of({"spec": limits}) == {"cpu": 1010}


def test_host_ports_are_those_of_containers_and_sidecars() -> None:
    def listening(number: int, host: int = 0, **more: Any) -> Object:
        return {
            "name": f"c{number}",
            "ports": [{"containerPort": number, **({"hostPort": host} if host else {})}],
            **more,
        }

    spec = {
        "containers": [listening(80, 8080), listening(81)],
        "initContainers": [listening(82, 8082, restartPolicy="Always"), listening(83, 8083)],
    }
    assert requests.host_ports({"spec": spec}) == [
        HostPort("TCP", "0.0.0.0", 8080, 80),
        HostPort("TCP", "0.0.0.0", 8082, 82),
    ]
    on_host = {"hostNetwork": True, "containers": [listening(81)]}
    assert requests.host_ports({"spec": on_host}) == [HostPort("TCP", "0.0.0.0", 81, 81)]


@pytest.mark.parametrize(
    ("one", "other", "collide"),
    [
        (("TCP", "0.0.0.0", 1), ("TCP", "0.0.0.0", 1), True),
        (("TCP", "0.0.0.0", 1), ("TCP", "127.0.0.1", 1), True),
        (("TCP", "10.0.0.1", 1), ("TCP", "127.0.0.1", 1), False),
        (("TCP", "0.0.0.0", 1), ("UDP", "0.0.0.0", 1), False),
        (("TCP", "0.0.0.0", 1), ("TCP", "0.0.0.0", 2), False),
    ],
)
def test_ports_collide_by_protocol_address_and_number(one: Any, other: Any, collide: bool) -> None:
    assert HostPort(*one, 80).collides(HostPort(*other, 81)) is collide
    assert HostPort(*other, 81).collides(HostPort(*one, 80)) is collide
