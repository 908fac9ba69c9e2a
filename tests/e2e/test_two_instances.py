"""Two instances side by side: other names, other networks, other ports, and neither notices the other."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.e2e.leftovers import leftovers, plan_of

NGINX = str(Path(__file__).parent / "manifests" / "nginx.yaml")


def test_two_instances_side_by_side(make_cluster):
    both = [make_cluster(), make_cluster()]
    with ThreadPoolExecutor(2) as threads:  # At the same moment: their choices must differ all the same.
        list(threads.map(lambda one: one.up(), both))
    plans = [plan_of(one.state) for one in both]
    assert len({plan.bridge for plan in plans}) == len({plan.pod_cidr for plan in plans}) == 2
    for one in both:
        one.kubectl("create", "-f", NGINX)
    for one in both:
        one.wait_ready("web-0", "web-1")
    _are_closed_to_each_other(both, plans)
    both[0].down()
    assert leftovers(both[0].state) == []
    assert both[1].is_ready("web-0")
    address = both[1].pod("web-1")["status"]["podIP"]
    assert both[1].exec("web-0", "getent", "ahostsv4", "web-1.nginx").split()[0] == address


def _are_closed_to_each_other(both, plans) -> None:
    """A pod reaches the API, DNS and pods of its own instance, and none of another's."""
    for own, other, plan, its in ((both[0], both[1], *plans), (both[1], both[0], *reversed(plans))):
        for cluster, theirs, expected in ((own, plan, True), (other, its, False)):
            places = (
                (theirs.cluster.kubernetes_address, 443),
                (theirs.gateway, json.loads((cluster.state / "instance.json").read_text())["api_port"]),
                (theirs.cluster.dns_address, 53),
                (cluster.pod("web-1")["status"]["podIP"], 80),
            )
            for address, port in places:
                connect = f"timeout 2 bash -c '</dev/tcp/{address}/{port}' && echo open || echo closed"
                said = own.exec("web-0", "bash", "-c", connect).split()[-1]
                assert said == ("open" if expected else "closed"), (address, port)
