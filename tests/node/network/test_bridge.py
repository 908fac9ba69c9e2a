"""Plans, addresses, and a real bridge with real pods' namespaces on it."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from petset.base import networks
from petset.node import linux
from petset.node.network import addresses, bridge, wiring
from tests.node import machine


def test_an_address_is_kept_for_its_pet_and_never_shared():
    table = addresses.Addresses("10.0.0.0/29")  # .1 is the bridge; .2 to .6 are pods'.
    assert table.allocate("ns/web-0", "a") == "10.0.0.2"
    assert table.allocate("ns/web-0", "a") == "10.0.0.2"
    assert table.allocate("ns/web-1", "b") == "10.0.0.3"
    table.release("a")
    assert table.allocate("ns/other", "c") == "10.0.0.4"  # Not the one that web-0 may want back.
    assert table.allocate("ns/web-0", "d") == "10.0.0.2"
    assert table.allocate("ns/web-0", "e") == "10.0.0.5"  # The old web-0 still runs.


def test_when_all_are_remembered_the_longest_free_one_is_taken():
    table = addresses.Addresses("10.0.0.0/29")
    for number in range(5):
        table.allocate(f"ns/p{number}", f"u{number}")
    with pytest.raises(addresses.NoAddress, match="all 5 addresses"):
        table.allocate("ns/more", "more")
    for number in (3, 1):
        table.release(f"u{number}")
    assert table.allocate("ns/more", "more") == "10.0.0.5"
    assert table.allocate("ns/p1", "again") == "10.0.0.3"
    assert table.last["ns/more"] == "10.0.0.5" and "ns/p3" not in table.last


def test_what_is_held_is_found_again_at_a_start():
    table = addresses.Addresses("10.0.0.0/29")
    table.allocate("ns/web-0", "a")
    table.allocate("ns/web-1", "b")
    later = addresses.restore("10.0.0.0/29", table.record())
    later.hold("ns/web-0", "a", "10.0.0.2")
    assert later.allocate("ns/web-1", "new") == "10.0.0.3"
    assert later.allocate("ns/web-0", "new too") == "10.0.0.4"
    assert addresses.restore("10.9.0.0/29", table.record()).last == {}


ROUTES = """\
Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
vpn0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0
petset1\t0000800A\t00000000\t0001\t0\t0\t0\t00FCFFFF\t0\t0\t0
"""


def test_routes_say_what_is_used():
    assert [str(one) for one in networks.used_networks(ROUTES, but_for=("petset1",))] == ["192.0.2.0/24", "10.0.0.0/8"]
    assert "10.128.0.0/22" in [str(one) for one in networks.used_networks(ROUTES)]


def test_a_block_is_free_and_depends_on_the_start():
    ten = [ipaddress.IPv4Network("10.0.0.0/8")]
    assert str(networks.free_block([], 0)) == "10.128.0.0/22"
    assert str(networks.free_block([], 1)) == "10.128.4.0/22"
    assert str(networks.free_block([ipaddress.IPv4Network("10.128.0.0/24")], 0)) == "10.128.4.0/22"
    assert str(networks.free_block(ten, 0)) == "172.16.0.0/22"
    wide = [ipaddress.IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/15", "100.64.0.0/10")]
    assert str(networks.free_block(wide, 3)) == "10.128.12.0/22"  # All covered by wide routes: a narrow one wins.


def test_no_block_is_free(monkeypatch):
    monkeypatch.setattr(networks, "BLOCKS", ("10.0.0.0/21",))
    halves = [ipaddress.IPv4Network("10.0.0.0/22"), ipaddress.IPv4Network("10.0.4.0/22")]
    assert networks.free_block(halves[:1], 0) == halves[1]
    with pytest.raises(networks.NetworkError, match="every private network is in use"):
        networks.free_block(halves, 0)


def test_a_plan_s_names_fit_and_its_addresses_are_its_own():
    cluster = networks.ClusterPlan("0a1b2c", "10.128.4.0/22")
    assert (cluster.kubernetes_address, cluster.dns_address) == ("10.128.4.1", "10.128.4.10")
    assert networks.NodePlan(cluster, "10.128.0.0/22").gateway == "10.128.0.1"
    nodes = [networks.NodePlan(cluster, f"10.128.{number}.0/24", number) for number in range(networks.NODES_MAX)]
    names = [name for node in nodes for name in (node.bridge, node.veth_prefix, node.table, node.cgroup)]
    assert len(set(names)) == len(names) == 4 * networks.NODES_MAX
    for node in nodes:
        assert len(node.bridge) <= 15 and len(node.veth_prefix + "ffff") <= 15
        assert not any(other.veth_prefix.startswith(node.veth_prefix) for other in nodes if other != node)
    assert (nodes[0].bridge, nodes[0].veth_prefix, nodes[0].table) == ("petset0a1b2c", "ps0a1b2c-", "petset_0a1b2c")
    assert len({node.name("a" * 63) for node in nodes}) == len(nodes) and len(nodes[-1].name("a" * 63)) <= 63
    assert wiring.mac_address("10.1.2.3") == "0a:58:0a:01:02:03"


def test_a_missing_kernel_feature_is_explained():
    class NetlinkError(Exception):
        code = 95

    error = bridge._explained("make the bridge", NetlinkError())
    assert str(error) == "cannot make the bridge: this kernel lacks it; load the modules with `modprobe bridge veth`"


def test_a_firewall_that_drops_forwarded_packets_is_seen():
    chain = "table ip filter {{\n\tchain FORWARD {{\n\t\ttype filter hook forward priority filter; policy {};\n\t}}\n}}"
    assert bridge.drops_forwarded(chain.format("drop"))
    assert not bridge.drops_forwarded(chain.format("accept"))
    assert not bridge.drops_forwarded("")


@pytest.fixture
def reservations(tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "RESERVATIONS", tmp_path / "run")
    return tmp_path / "run"


def test_a_plan_is_remembered_and_two_instances_differ(tmp_path, reservations):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = networks.choose_networks(tmp_path / "one"), networks.choose_networks(tmp_path / "two")
    assert networks.choose_networks(tmp_path / "one") == one
    blocks = blocks_of(one, two)
    assert not any(a.overlaps(b) for i, a in enumerate(blocks) for b in blocks[i + 1 :])
    assert one.cluster.instance != two.cluster.instance
    assert networks.forget_reservation(one.nodes[0]) is False
    assert networks.forget_reservation(two.nodes[0]) is True


def blocks_of(*plans: networks.Plan) -> list[ipaddress.IPv4Network]:
    """All networks in them."""
    texts = [text for plan in plans for text in (plan.cluster.service_cidr, *(node.pod_cidr for node in plan.nodes))]
    return [ipaddress.IPv4Network(text) for text in texts]


def test_nodes_come_to_an_instance_and_keep_what_they_have(tmp_path, reservations):
    """One after the other; what was chosen stays, and only the network that somebody took meanwhile is another."""
    (tmp_path / "other").mkdir()
    plan = networks.choose_networks(tmp_path)
    for count in (1, 2, 5):
        more = networks.choose_networks(tmp_path, count)
        assert more.cluster == plan.cluster and more.nodes[: len(plan.nodes)] == plan.nodes
        assert len(more.nodes) == count
        blocks = blocks_of(more, networks.choose_networks(tmp_path / "other"))
        assert not any(a.overlaps(b) for i, a in enumerate(blocks) for b in blocks[i + 1 :])
        plan = more
    assert networks.choose_networks(tmp_path) == plan  # As many as there were.
    taken = {"instance": "taken", "pod_cidr": plan.nodes[1].pod_cidr, "service_cidr": "192.168.0.0/22"}
    (reservations / "taken.json").write_text(json.dumps({**taken, "state": str(tmp_path)}))
    moved = networks.choose_networks(tmp_path)
    assert [a == b for a, b in zip(plan.nodes, moved.nodes, strict=True)] == [True, False, True, True, True]
    assert moved.cluster == plan.cluster
    assert not any(block.overlaps(ipaddress.IPv4Network(taken["pod_cidr"])) for block in blocks_of(moved))
    fewer, lost = moved.parted(2)  # They are remembered until nothing of them is left.
    assert (len(fewer.nodes), [node.number for node in lost]) == (2, [2, 3, 4])
    networks.forget(lost)
    networks.remember(tmp_path, fewer)
    assert networks.choose_networks(tmp_path).nodes == moved.nodes[:2] and networks.is_reserved(plan.cluster)
    with pytest.raises(networks.NetworkError, match="cannot have 101 nodes"):
        networks.choose_networks(tmp_path, 101)


def test_a_state_directory_from_before_there_were_several_nodes_keeps_its_names_and_networks(tmp_path, reservations):
    instance = networks.choose_networks(tmp_path).cluster.instance
    old = {"instance": instance, "pod_cidr": "10.200.0.0/22", "service_cidr": "10.200.4.0/22"}
    (tmp_path / "network.json").write_text(json.dumps(old))
    plan = networks.choose_networks(tmp_path)
    [node] = plan.nodes
    assert (node.pod_cidr, plan.cluster.service_cidr) == ("10.200.0.0/22", "10.200.4.0/22")
    assert (node.bridge, node.table, node.cgroup) == (f"petset{instance}", f"petset_{instance}", f"/petset_{instance}")
    assert node.veth_prefix == f"ps{instance}-" and node.directory(tmp_path) == tmp_path
    assert networks.choose_networks(tmp_path, 2).nodes[0] == node
    for path in reservations.glob("*.json"):  # What a petset of that time reads of others' reservations.
        assert {"pod_cidr", "service_cidr", "state"} <= set(json.loads(path.read_text()))


@pytest.mark.parametrize(
    "damage",
    [{}, {"pod_cidrs": "x"}, {"pod_cidrs": [1.5]}, {"service_cidr": None}, {"pod_cidrs": {"a": 1}}, {"pod_cidr": []}],
)
def test_a_damaged_plan_is_made_anew(tmp_path, reservations, damage):
    plan = networks.choose_networks(tmp_path)
    record = {"instance": plan.cluster.instance, "service_cidr": "10.0.0.0/22"}
    (tmp_path / "network.json").write_text(json.dumps({**record, **damage}))
    assert networks.choose_networks(tmp_path) == plan


def test_a_copied_or_colliding_state_directory_gets_a_plan_of_its_own(tmp_path, reservations):
    (tmp_path / "one").mkdir()
    (tmp_path / "copy").mkdir()
    one = networks.choose_networks(tmp_path / "one")
    (tmp_path / "copy" / "network.json").write_bytes((tmp_path / "one" / "network.json").read_bytes())
    copy = networks.choose_networks(tmp_path / "copy")
    assert copy.cluster.instance != one.cluster.instance and copy.nodes[0].pod_cidr != one.nodes[0].pod_cidr


@machine.on_machine
async def test_pods_on_a_bridge(tmp_path):
    state = tmp_path / "s"
    state.mkdir()
    plan = networks.choose_networks(state).nodes[0]
    net = bridge.PodNetwork(plan, state)
    forwarding = Path(bridge.FORWARDING).read_text()
    try:
        assert await net.setup() == []
        assert await net.setup() == []  # Again after a crash.
        places, given = [], []
        for name in ("web-0", "web-1"):
            places.append(tmp_path / name)
            places[-1].mkdir()
            given.append(await net.join(places[-1], f"default/{name}", name, name, {"kernel.shmmni": "77"}))
            assert ipaddress.ip_address(given[-1]) in ipaddress.ip_network(plan.pod_cidr)
        assert inside(places[0], "hostname") == "web-0\n"
        assert inside(places[0], "cat", "/proc/sys/kernel/shmmni") == "77\n"
        assert f"default via {plan.gateway} dev eth0" in inside(places[0], "ip", "route")
        await net.leave(places[0], "web-0")
        assert await net.join(places[0], "default/web-0", "web-0-again", "web-0", {}) == given[0]
        run("ip", "link", "del", plan.bridge)
        assert await net.setup() == []  # Somebody took the bridge away, and the routes went with its address.
        assert [run("ip", "route", "get", address).split()[2][:9] for address in given] == [plan.veth_prefix] * 2
        (tmp_path / "bad").mkdir()
        with pytest.raises(bridge.NetworkError, match="cannot set sysctl"):
            await net.join(tmp_path / "bad", "default/bad", "bad", "bad", {"kernel.nothing": "1"})
        assert Path("/proc/sys/kernel/hostname").read_text().strip() not in ("web-0", "web-1", "bad")
    finally:
        for place, uid in ((tmp_path / "web-0", "web-0-again"), (tmp_path / "web-1", "web-1")):
            await net.leave(place, uid)
        await net.teardown()
        await net.close()
    assert Path(bridge.FORWARDING).read_text() == forwarding or any(networks.RESERVATIONS.glob("*.json"))
    assert linux.mount_points(str(tmp_path)) == []
    assert not Path("/sys/class/net", plan.bridge).exists()


@machine.on_machine
async def test_pods_of_two_instances_do_not_reach_each_other(tmp_path):
    async with contextlib.AsyncExitStack() as opened:
        one, two = [await opened.enter_async_context(on_bridge(tmp_path / name)) for name in ("one", "two")]
        # What listens: a pod of the second instance, and the host on the second's gateway and service address.
        services = [two.plan.gateway, two.plan.cluster.kubernetes_address, two.plan.cluster.dns_address]
        for address in (*services, one.plan.gateway, one.plan.cluster.kubernetes_address):
            opened.enter_context(echo(address, 7777))
        free = opened.enter_context(echo("0.0.0.0", 0))
        opened.enter_context(echo(two.address, 7777, within=two.place))
        opened.enter_context(echo(one.address, 7777, within=one.place))
        for address in (*services, two.address):
            assert not reaches(one, address), f"a pod of one reaches {address} of two"
        for address in (one.plan.gateway, one.plan.cluster.kubernetes_address, one.address):
            assert reaches(one, address) and not reaches(two, address)
            assert reaches(None, address), "the host reaches its pods and itself"
        for address in (*services, two.address):
            assert reaches(two, address) and reaches(None, address)
        # The host's own address is no instance's: what listens there is open to all pods.
        outside = run("ip", "-4", "-o", "addr", "show", "scope", "global").splitlines()
        elsewhere = [line.split()[3].partition("/")[0] for line in outside if networks.BRIDGE_PREFIX not in line]
        for address in elsewhere[:1]:
            assert reaches(one, address, free) and reaches(two, address, free)


@machine.on_machine
async def test_pods_share_no_network_and_none_pretends_to_be_another(tmp_path):
    async with on_bridge(tmp_path / "s") as one, another(one, "web-1") as two:
        assert inside(one.place, "ip", "-4", "-o", "addr", "show", "eth0").split()[3] == f"{one.address}/32"
        with echo(two.address, 7777, within=two.place):
            assert reaches(one, two.address)
            assert run("ip", "route", "get", two.address).split()[2] == f"{one.plan.veth_prefix}{last_of(two)}"
            stolen = "198.51.100.7"
            inside(one.place, "ip", "addr", "add", f"{stolen}/32", "dev", "lo")
            assert not reaches(one, two.address, source=stolen)
            inside(one.place, "ip", "addr", "add", f"{two.address}/32", "dev", "lo")
            with echo(one.plan.gateway, 7777):
                assert not reaches(one, one.plan.gateway, source=two.address)


@machine.on_machine
async def test_pods_that_an_older_petset_put_on_the_bridge_stay_there(tmp_path):
    async with on_bridge(tmp_path / "s") as new:
        plan, old = new.plan, Pod(new.plan, tmp_path / "old", f"{new.plan.gateway.rpartition('.')[0]}.77")
        old.place.mkdir()
        net = bridge.PodNetwork(plan, tmp_path / "s")
        veth, namespace = f"{plan.veth_prefix}{last_of(old)}", f"test{plan.cluster.instance}"
        steps = (
            f"ip netns add {namespace}",
            f"touch {old.place / 'net'}",
            f"mount --bind /run/netns/{namespace} {old.place / 'net'}",
            f"ip link add {veth} master {plan.bridge} up type veth peer name eth0 netns {namespace}",
            f"ip -n {namespace} addr add {old.address}/{plan.prefix_length} dev eth0",
            f"ip -n {namespace} link set eth0 up",
            f"ip -n {namespace} route add default via {plan.gateway}",
        )
        try:
            for step in steps:
                run(*step.split())
            for _ in range(2):
                assert await net.setup() == []
                assert Path(f"/proc/sys/net/ipv4/neigh/{plan.bridge}/proxy_delay").read_text() == "0\n"
                with echo(old.address, 7777, within=old.place), echo(new.address, 7777, within=new.place):
                    assert reaches(None, old.address) and reaches(None, new.address)
                    assert reaches(new, old.address) and reaches(old, new.address)
                run("ip", "link", "del", plan.bridge)
            assert await net.setup() == []
        finally:
            linux.unmount(str(old.place / "net"))
            run("ip", "netns", "del", namespace)
            await net.close()


@dataclass
class Pod:
    plan: networks.NodePlan
    place: Path
    address: str
    network: bridge.PodNetwork | None = None

    @property
    def net(self) -> bridge.PodNetwork:
        assert self.network is not None
        return self.network


@contextlib.asynccontextmanager
async def on_bridge(state: Path) -> AsyncIterator[Pod]:
    """An instance's network with one pod on it."""
    state.mkdir()
    plan = networks.choose_networks(state).nodes[0]
    net = bridge.PodNetwork(plan, state)
    place = state / "web-0"
    place.mkdir()
    try:
        assert await net.setup() == []
        yield Pod(plan, place, await net.join(place, "default/web-0", "web-0", "web-0", {}), net)
    finally:
        await net.leave(place, "web-0")
        await net.teardown()
        await net.close()


@contextlib.asynccontextmanager
async def another(beside: Pod, name: str) -> AsyncIterator[Pod]:
    """One more pod of the same node."""
    place = beside.place.parent / name
    place.mkdir()
    try:
        yield Pod(beside.plan, place, await beside.net.join(place, f"default/{name}", name, name, {}))
    finally:
        await beside.net.leave(place, name)


def last_of(pod: Pod) -> str:
    """What the name of its interface ends in."""
    return f"{int(ipaddress.ip_address(pod.address)) & 0xFFFF:04x}"


@contextlib.contextmanager
def echo(address: str, port: int, within: Path | None = None) -> Iterator[int]:
    """Somebody who accepts connections there, until the block is left; port 0 is a free one."""
    listen = f"s = socket.create_server(('{address}', {port})); print(s.getsockname()[1], flush=True)"
    program = f"import socket; {listen}; [s.accept() for _ in iter(int, 1)]"
    enter = ["nsenter", f"--net={within / 'net'}"] if within else []
    process = subprocess.Popen([*enter, sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


CONNECT_SECONDS_MAX = 1  # What is dropped never answers.


def reaches(pod: Pod | None, address: str, port: int = 7777, source: str = "") -> bool:
    """Whether a connection is made from inside the pod (None: from the host), from that address of it."""
    where = f"('{address}', {port}), {CONNECT_SECONDS_MAX}, ('{source}', 0)"
    program = f"import socket; socket.create_connection({where})"
    enter = ["nsenter", f"--net={pod.place / 'net'}"] if pod else []
    done = subprocess.run([*enter, sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0 or "TimeoutError" in done.stderr, done.stderr
    return done.returncode == 0


def inside(directory: Path, *command: str) -> str:
    """What a program prints in pinned namespaces."""
    enter = ["nsenter", *(f"--{kind}={directory / kind}" for kind in ("net", "uts", "ipc"))]
    return run(*enter, *command)


def run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
