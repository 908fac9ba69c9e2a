"""`petset doctor`: whatever may be wrong with a machine is found and has something to do; this machine is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from petset import up
from petset.base import networks
from petset.cli import main
from petset.cli.machine import findings, looking
from petset.node import linux

GOOD = findings.Picture(
    is_root=True,
    kernel="6.1.0",
    cgroups="v2",
    controllers=("cpu", "cpuset", "io", "memory", "pids"),
    programs={"crun": "1.8", "runc": "", "conmon": "2.1", "nft": "1.0", "mmdebstrap": "1.3"},
    seccomp=True,
    links={"bridge": "", "veth": "", "tun": ""},
    nft="",
    directory="/var/lib",
    file_system="ext4",
    free_bytes=50 << 30,
    total_bytes=100 << 30,
    fsync_seconds=0.002,
    overlay="",
    ports_free=100,
    clock=findings.RELEASED + 1e6,
    clock_synchronized=True,
    open_files_max=1 << 20,
    processes_max=1 << 22,
    capabilities=(*findings.CAPABILITIES, *findings.CAPABILITIES_WISHED),
    resolvers={"192.0.2.1": True},
)
NOT_ROOT = replace(GOOD, is_root=False, links=None, nft=None, overlay=None, capabilities=())


def test_a_good_machine_has_nothing_to_mend():
    found = findings.findings(GOOD)
    assert findings.worst(found) == findings.OK and not any(one.to_do for one in found)
    assert {one.area for one in found} >= {
        *("user", "kernel", "cgroups", "capabilities", "limits", "runtime", "conmon", "nft", "network"),
        *("disk", "ports", "clock", "dns"),
    }


@pytest.mark.parametrize(
    ("area", "state", "wrong"),
    [
        ("kernel", "fail", {"openat2": "Function not implemented"}),
        ("cgroups", "fail", {"cgroups": "none", "controllers": ()}),
        ("cgroups", "fail", {"controllers": ("cpu", "pids")}),
        ("runtime", "fail", {"programs": {**GOOD.programs, "crun": ""}}),
        ("conmon", "fail", {"programs": {**GOOD.programs, "conmon": ""}}),
        ("mmdebstrap", "warn", {"programs": {**GOOD.programs, "mmdebstrap": ""}}),
        ("seccomp", "warn", {"seccomp": False}),
        ("network", "fail", {"links": {"bridge": "Operation not supported", "veth": ""}}),
        ("network", "warn", {"links": {"bridge": "", "veth": "", "tun": "there is none"}}),
        ("network", "fail", {"nft": "Protocol not supported"}),
        ("disk", "fail", {"free_bytes": 100 << 20}),
        ("disk", "warn", {"free_bytes": 2 << 30}),
        ("disk", "warn", {"fsync_seconds": 0.05}),
        ("disk", "fail", {"overlay": "Invalid argument"}),
        ("ports", "fail", {"ports_free": 0}),
        ("ports", "warn", {"port_taken": 6443}),
        ("clock", "fail", {"clock": 1000.0}),
        ("clock", "fail", {"certificate_starts": GOOD.clock + 1}),
        ("clock", "warn", {"clock_synchronized": False}),
        ("limits", "fail", {"open_files_max": 1024}),
        ("limits", "warn", {"open_files_max": 20000}),
        ("limits", "warn", {"memlock_bytes_max": 8 << 20}),
        ("limits", "warn", {"processes_max": 4096}),
        ("limits", "warn", {"inotify_instances_max": 128}),
        ("capabilities", "fail", {"capabilities": ("CAP_CHOWN",)}),
        ("capabilities", "warn", {"capabilities": findings.CAPABILITIES}),
        ("dns", "warn", {"resolvers": {}}),
        ("dns", "warn", {"resolvers": {"192.0.2.1": False}}),
        ("dns", "warn", {"resolvers": {"192.0.2.1": False, "192.0.2.2": True}}),
    ],
)
def test_what_is_wrong_is_found_alone_and_has_something_to_do(area, state, wrong):
    [found] = [one for one in findings.findings(replace(GOOD, **wrong)) if one.state != findings.OK]
    assert (found.area, found.state) == (area, state) and found.to_do and found.found


@pytest.mark.parametrize(
    "fine",
    [
        {"cgroups": "hybrid"},
        {"programs": {**GOOD.programs, "crun": "", "runc": "1.1"}},
        {"ports_free": 0, "runs": True},
        {"clock_synchronized": None},
    ],
)
def test_what_is_no_trouble(fine):
    assert findings.worst(findings.findings(replace(GOOD, **fine))) == findings.OK


def test_who_is_not_root_misses_only_containers():
    found = findings.findings(replace(NOT_ROOT, programs=dict.fromkeys(GOOD.programs, "")))
    assert findings.worst(found) == findings.WARN


def test_this_machine_is_told_and_left_as_it_was(tmp_path: Path, capsys):
    """In a network namespace of the test's own, where there is one: others make links meanwhile."""
    own = linux.in_namespaces(("net",)) if os.geteuid() == 0 else contextlib.nullcontext()
    with own:
        code = main.main(["--state", str(tmp_path / "state"), "doctor", "-o", "json"])
        links = Path("/proc/thread-self/net/dev").read_text().splitlines()[2:]
    told = json.loads(capsys.readouterr().out)
    assert code == (3 if told["state"] == "fail" else 0)
    by_area = {one["area"] for one in told["findings"]}
    assert {"user", "kernel", "cgroups", "limits", "runtime", "disk", "ports", "clock", "dns"} <= by_area
    assert all(one["to_do"] for one in told["findings"] if one["state"] != "ok")
    assert list(tmp_path.iterdir()) == []
    assert os.geteuid() != 0 or [line.split(":")[0].strip() for line in links] == ["lo"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs containers")
def test_a_machine_that_runs_containers_has_what_they_need(tmp_path: Path, capsys):
    main.main(["--state", str(tmp_path / "state"), "doctor"])
    said = capsys.readouterr().out.splitlines()
    for area in ("kernel", "runtime", "conmon", "network"):
        assert any(line.split()[:2] == ["ok", area] for line in said), said
        assert not any(line.split()[:2] == ["fail", area] for line in said), said


def test_a_resolver_that_answers():
    """It is asked for something that any resolver understands."""
    import dns.message

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        resolver.bind(("127.0.0.1", 0))
        resolver.settimeout(30)

        def answer() -> None:
            asked, sender = resolver.recvfrom(4096)
            query = dns.message.from_wire(asked)
            if str(query.question[0]) == ". IN NS":
                resolver.sendto(dns.message.make_response(query).to_wire(), sender)

        thread = threading.Thread(target=answer)
        thread.start()
        assert asyncio.run(looking._answers(f"127.0.0.1#{resolver.getsockname()[1]}"))
        thread.join()


def test_a_resolver_that_is_not_there():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    assert not asyncio.run(looking._answers(f"127.0.0.1#{port}"))


def test_a_port_that_somebody_has_is_not_free():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not up.is_free(port)
    assert up.is_free(port)


def test_instances_are_those_with_a_place_on_the_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "RESERVATIONS", tmp_path)
    (tmp_path / "a-1.json").write_text('{"state": "/srv/a"}')
    (tmp_path / "a-2.json").write_text('{"state": "/srv/a"}')
    (tmp_path / "b-1.json").write_text("noise")
    assert networks.instances() == ["/srv/a"]


def test_who_is_not_root_is_told_what_containers_would_take():
    def told(**seen):
        return [(one.state, one.found) for one in findings.findings(replace(NOT_ROOT, **seen)) if one.area == "user"]

    assert told() == [("ok", "not root: containers run in a user namespace, and their limits do not hold")]
    assert told(
        rootless_lacks=("ada has no subordinate ids; as root: usermod", "newuidmap is missing; install uidmap")
    ) == [
        ("warn", "not root, and ada has no subordinate ids: only simulated clusters run"),
        ("warn", "not root, and newuidmap is missing: only simulated clusters run"),
    ]
    assert told(closed_off="pasta is not installed; install passt")[1:] == [
        ("warn", "pods reach nothing outside of this machine: pasta is not installed")
    ]
