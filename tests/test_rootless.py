"""What going in depends on: each thing that a machine lacks is told with what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from petset import rootless
from petset.node import linux

FIT = rootless.Machine(
    user="ada",
    uid=1001,
    programs=frozenset(rootless.PROGRAMS),
    subuid="ada:100000:65536\n",
    subgid="root:1:1\n1001:100000:65536\n",
    user_namespaces_max=1000,
    are_restricted=False,
    has_tun=True,
)


def test_a_machine_that_has_all_lacks_nothing():
    assert rootless.lacks(FIT) == []
    assert rootless.closed_off(FIT) == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"programs": FIT.programs - {"newuidmap", "newgidmap"}},
            "newuidmap, newgidmap are not installed; install uidmap",
        ),
        ({"programs": FIT.programs - {"nsenter"}}, "nsenter are not installed; install util-linux"),
        (
            {"subuid": "bob:100000:65536\n"},
            "ada has not 65535 subordinate ids in /etc/subuid; as root: usermod --add-subuids",
        ),
        (
            {"subgid": "ada:100000:1000\n"},
            "ada has not 65535 subordinate ids in /etc/subgid; as root: usermod --add-subgids",
        ),
        ({"user_namespaces_max": 0}, "sysctl user.max_user_namespaces="),
        ({"are_restricted": True}, "only root may make user namespaces here"),
    ],
)
def test_what_is_missing_is_told_with_what_to_do(change, says):
    (said,) = rootless.lacks(replace(FIT, **change))
    assert says in said


def test_without_pasta_pods_run_and_are_closed_off():
    without = replace(FIT, programs=FIT.programs - {"pasta"})
    assert rootless.lacks(without) == []
    assert rootless.closed_off(without) == "pasta is not installed; install passt"
    assert "/dev/net/tun" in rootless.closed_off(replace(FIT, has_tun=False))


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("ada:100000:65536", 65536),
        ("1001:100000:65536", 65536),
        ("ada:1:10\nada:100:20\n", 20),
        ("adam:100000:65536\n10010:1:65536", 0),
        ("", 0),
        ("# nothing\nada\nada:x\nada:1:many\n", 0),
    ],
)
def test_subordinate_ids(text, most):
    assert rootless.ids(text, "ada", 1001) == most


def test_whether_capabilities_count_on_the_whole_machine():
    assert linux.is_first_user_namespace("         0          0 4294967295\n")
    assert not linux.is_first_user_namespace("         0       1001          1\n         1     100000      65535\n")
