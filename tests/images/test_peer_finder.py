"""peer-finder as pets run it: in the bare debian image, against a DNS server in the same network namespace."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from tests.images_fixture import CHECKOUT, image_store, recipe_image, run_in  # noqa: F401

PEER_FINDER = CHECKOUT / "images/shared/peer-finder/peer-finder"
SERVER = Path(__file__).parent / "dns_server.py"
RESOLV = "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 127.0.0.1\noptions ndots:5\n"
ZONE = "redis.default.svc.cluster.local"


def pets(*names: str) -> list[str]:
    return [f"{name}.{ZONE}" for name in names]


@pytest.fixture
def find(image_store, tmp_path):  # noqa: F811
    """find(names, arguments, ...) -> (status, standard output, standard error, queries)."""
    debian = recipe_image(image_store, "debian")

    def run(names, arguments, *, host="rd-1", resolv=RESOLV, env="POD_NAMESPACE=default", script="cat", seconds=10):
        answers = tmp_path / "answers.json"
        answers.write_text(json.dumps(names))
        (tmp_path / "resolv.conf").write_text(resolv)
        (tmp_path / "script").write_text(f"#!/bin/bash\n{script}\n")
        done = run_in(
            debian,
            f"chmod 755 /script; {env} timeout {seconds} /peer-finder {arguments}",
            hostname=host,
            files={
                "/peer-finder": str(PEER_FINDER),
                "/script": str(tmp_path / "script"),
                "/etc/resolv.conf": str(tmp_path / "resolv.conf"),
            },
            beside=f"exec {shlex.quote(sys.executable)} {shlex.quote(str(SERVER))} {shlex.quote(str(answers))}",
        )
        log = tmp_path / "queries.log"
        return done.returncode, done.stdout, done.stderr, log.read_text().splitlines() if log.exists() else []

    return run


def test_the_arguments_of_2016_with_their_literal_quotes(find):
    names = {ZONE: {"steps": [pets("rd-2", "rd-0", "rd-1")]}}
    status, out, err, asked = find(names, """'-on-start="/script"' -service=redis""")
    assert (status, out) == (0, "\n".join(pets("rd-0", "rd-1", "rd-2")) + "\n"), err
    assert asked == [f"{ZONE} SRV udp edns=1232"]


@pytest.mark.parametrize(
    "arguments", ["-on-start /script -service redis", "--on-start=/script --service=redis -ns=default"]
)
def test_flags_in_the_other_forms(find, arguments):
    status, out, err, _ = find({ZONE: {"steps": [pets("rd-1")]}}, arguments)
    assert (status, out) == (0, f"rd-1.{ZONE}\n"), err


def test_it_waits_until_its_own_name_is_among_the_peers(find):
    names = {ZONE: {"steps": [[], pets("rd-0"), pets("rd-0", "rd-10"), pets("rd-0", "rd-1")]}}
    status, out, err, _ = find(names, "-on-start=/script -service=redis")
    assert (status, out) == (0, "\n".join(pets("rd-0", "rd-1")) + "\n"), err


def test_on_change_runs_on_each_change_only(find):
    names = {ZONE: {"steps": [pets("rd-1"), pets("rd-1"), pets("rd-0", "rd-1")]}}
    arguments = "-on-start='sed s/^/start:/' -on-change='sed s/^/change:/' -service=redis"
    status, out, _, _ = find(names, arguments, seconds=5)
    assert status == 124  # It never ends by itself.
    assert out.split() == [f"start:rd-1.{ZONE}", f"change:rd-0.{ZONE}", f"change:rd-1.{ZONE}"]


def test_without_on_start_on_change_runs_at_the_start(find):
    status, out, _, _ = find({ZONE: {"steps": [pets("rd-1")]}}, "-on-change=/script -service=redis", seconds=3)
    assert (status, out) == (124, f"rd-1.{ZONE}\n")


def test_a_truncated_answer_is_asked_again_by_tcp(find):
    everybody = pets(*(f"rd-{n}" for n in range(120)))
    status, out, err, asked = find({ZONE: {"steps": [everybody], "truncate": True}}, "-on-start=/script -service=redis")
    assert (status, sorted(out.split())) == (0, sorted(everybody)), err
    assert [line.split()[2] for line in asked] == ["udp", "tcp"]


def test_the_search_list_is_gone_through_and_the_name_itself_comes_last(find):
    status, _, _, asked = find({}, "-on-start=/script -service=redis", seconds=0.5)
    assert status == 124
    names = ["redis.default.svc.cluster.local", "redis.svc.cluster.local", "redis.cluster.local", "redis"]
    assert [line.split()[0] for line in asked[:4]] == names


def test_a_dead_server_is_passed_over(find):
    resolv = RESOLV.replace("nameserver", "nameserver 127.0.0.9\nnameserver")
    status, out, err, _ = find({ZONE: {"steps": [pets("rd-1")]}}, "-on-start=/script -service=redis", resolv=resolv)
    assert (status, out) == (0, f"rd-1.{ZONE}\n"), err


def test_domain_from_the_flag_and_namespace_from_resolv_conf(find):
    names = {"redis.shop.svc.example.org": {"steps": [["rd-1.redis.shop.svc.example.org"]]}}
    resolv = "nameserver 127.0.0.1\nsearch shop.svc.example.org svc.example.org\n"
    status, out, err, _ = find(names, "-on-start=/script -service=redis", resolv=resolv, env="A=")
    assert (status, out) == (0, "rd-1.redis.shop.svc.example.org\n"), err
    status, out, err, _ = find(
        names, "-on-start=/script -service=redis -ns=shop -domain=example.org", resolv=resolv, env="A="
    )
    assert status == 0, err


def test_a_failing_script_ends_it_with_1(find):
    status, _, err, _ = find({ZONE: {"steps": [pets("rd-1")]}}, "-on-start=/script -service=redis", script="exit 3")
    assert status == 1
    assert "/script failed with status 3" in err


def test_missing_arguments_end_it_with_1_and_unknown_flags_with_2(find):
    status, _, err, _ = find({}, "-service=redis")
    assert status == 1 and "cannot find peers: " in err
    assert find({}, "-verbose -service=redis")[0] == 2


def test_names_that_are_no_host_names_never_reach_the_shell(find):
    names = {ZONE: {"steps": [[*pets("rd-1"), f"'\\;touch$IFS/x\\;'.{ZONE}"]]}}
    status, out, err, _ = find(names, "-on-start=/script -service=redis", script="cat; ls /x")
    assert out == f"rd-1.{ZONE}\n" and status == 1, err
