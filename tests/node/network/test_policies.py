"""NetworkPolicies: what the rules are (cases/network_policies/rules.yaml), and which packets pass by them."""

from __future__ import annotations

import pathlib
import random
import socket
from typing import Any

import pytest
import yaml

from petset import cluster
from petset.kinds.networking.network_policy import NETWORKPOLICIES
from petset.kinds.pod import PODS
from petset.node.network import nftables, policies, policing
from petset.objects.meta import Object
from tests.node import machine
from tests.node.network import test_services
from tests.node.network.test_services import HOST, SILENCE_SECONDS, an_instance, listed

CASES = yaml.safe_load((pathlib.Path(__file__).parents[2] / "cases/network_policies/rules.yaml").read_text())


def pod(name: str, address: str, namespace: str = "default", app: str = "", **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "busybox", "ports": spec.pop("ports", [])}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}", "labels": {"app": app or name}},
        "spec": {"containers": [container], **spec},
        "status": {"podIP": address, "phase": "Running"},
    }


def named(name: str, number: int) -> list[dict[str, Any]]:
    return [{"name": name, "containerPort": number, "protocol": "TCP"}]


ENDED = pod("ended", "10.0.0.4", app="web")
PODS_THERE = (
    pod("web", "10.0.0.1", ports=named("http", 8080)),
    pod("db", "10.0.0.2", ports=named("sql", 5432)),
    pod("tool", "10.0.0.3", "ops", ports=named("http", 9090)),
    {**ENDED, "status": {**ENDED["status"], "phase": "Succeeded"}},
    pod("host", "10.0.0.5", app="web", hostNetwork=True),
)
NAMESPACES_THERE = {"default": {}, "ops": {"team": "ops"}}


def policy(name: str = "one", **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_what_a_policy_is(case: dict[str, Any]):
    read = policies.read(policy(**case["spec"]))
    marks = {chain.removeprefix("p_"): direction for direction, chain in read.chains.items()}

    def plain(text: str) -> str:
        for mark, direction in marks.items():
            text = text.replace(mark, direction)
        return text

    rules = {direction: [plain(rule) for rule in read.part.chains[chain]] for direction, chain in read.chains.items()}
    assert rules == {direction: case[direction] for direction in ("ingress", "egress") if direction in case}
    members: dict[str, list[str]] = {}
    for one in PODS_THERE:
        for name, key in policies.pod_part(one, NAMESPACES_THERE, {"default/one": read}).elements:
            members.setdefault(plain(name), []).append(key)
    selected = {direction: members.pop(direction) for direction in ("ingress", "egress") if direction in members}
    assert members == case.get("members", {})
    assert selected == case.get("selected", selected)
    assert sorted(map(plain, read.part.sets)) == sorted(members)


def test_a_pod_asks_all_that_select_it():
    some = [policies.read(policy(name, podSelector={}, policyTypes=["Ingress"])) for name in ("a", "b")]
    part = policies.pod_part(PODS_THERE[0], NAMESPACES_THERE, dict(zip("ab", some, strict=True)))
    [rules] = part.chains.values()
    asked = [f"jump {one.chains['ingress']}" for one in some]
    assert rules == ("ip saddr 10.0.0.1 accept", *asked, "drop")


@machine.needs_machine
def test_changes_of_policies_and_pods_lead_to_what_would_be_made_anew():
    chance = random.Random(3)
    plan = test_services.ClusterPlan("c0ffef", "10.128.8.0/22")
    table, read = policies.table(plan), dict[str, policies.Policy]()
    there: list[Object] = []

    def put(into: Any) -> None:
        for number in range(4):
            one = read.get(f"p{number}")
            into.put(f"policy p{number}", *((one.part,) if one else ()))
        for one in PODS_THERE:
            now = one if one in there else None
            into.put(f"pod {one['metadata']['name']}", policies.pod_part(now, NAMESPACES_THERE, read))

    try:
        assert nftables.apply(table.whole()) == ""
        table.done()
        for _ in range(20):
            name = f"p{chance.randrange(4)}"
            read.pop(name, None)
            if chance.random() < 0.7:
                read[name] = policies.read(policy(name, **chance.choice(CASES)["spec"]))
            there = chance.sample(PODS_THERE, chance.randrange(len(PODS_THERE)))
            put(table)
            if script := table.changes():
                assert nftables.apply(script) == "", script
            table.done()
        in_force, anew = listed(table.name), policies.table(plan)
        put(anew)
        assert nftables.apply(anew.whole()) == ""
        assert in_force == listed(table.name)
    finally:
        nftables.remove(table.name)


@machine.on_machine
async def test_which_packets_pass(tmp_path: pathlib.Path):
    async with an_instance(tmp_path / "s") as here:
        web, db = await here.serving("web"), await here.serving("db")
        far = await here.serving("far", node=1)
        for one in (web, db, far):
            made = await here.client.create({**pod(one.name, ""), "status": {}})
            status = {"podIP": one.address, "phase": "Running"}
            await here.client.update({**made, "status": status}, "status")
        address = await here.create("db", 50, db)
        await web.reaches(address, 80, "db")
        async with cluster.together(("policies", policing.run(here.client, here.plan.cluster))):
            assert web.asks(db.address, 8080) == f"db {web.address}"
            with web.opens(socket.SOCK_STREAM) as before:
                before.connect((db.address, 8080))
                await here.client.create(policy("deny", podSelector={}, policyTypes=["Ingress"]))
                await web.reaches(db.address, 8080, "silence")
                before.send(b"?")
                assert before.recv(100).startswith(b"db")  # What is established goes on.
            assert web.asks(address, 80, seconds=SILENCE_SECONDS) == "silence"
            assert far.asks(db.address, 8080, seconds=SILENCE_SECONDS) == "silence"
            assert HOST.asks(db.address, 8080).startswith("db ") and db.asks(db.address, 8080).startswith("db ")
            let_in = [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": 8080}]}]
            selected = {"matchLabels": {"app": "db"}}
            await here.client.create(policy("let", podSelector=selected, policyTypes=["Ingress"], ingress=let_in))
            await web.reaches(db.address, 8080, "db")
            assert web.asks(address, 80) == f"db {web.address}"  # By its Service, too.
            assert far.asks(db.address, 8080, seconds=SILENCE_SECONDS) == "silence"
            # A pod that gets the label is let in; one that must send nothing out is not.
            there = await here.client.get(PODS, "far", "default")
            await here.client.update({**there, "metadata": {**there["metadata"], "labels": {"app": "web"}}})
            await far.reaches(db.address, 8080, "db")
            out = policy("out", podSelector={"matchLabels": {"app": "web"}}, policyTypes=["Egress"])
            await here.client.create(out)
            await far.reaches(db.address, 8080, "silence")
            for name in ("out", "let", "deny"):
                await here.client.delete(NETWORKPOLICIES, name, "default")
            await far.reaches(web.address, 8080, "web")
