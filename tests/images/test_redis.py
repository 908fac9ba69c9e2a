"""The redis installer and on-start.sh, with real redis servers in the bare debian image.

All pets of a test live in one throw-away copy of debian, with one name and one loopback address each.
"""

from __future__ import annotations

import os

import pytest

from tests.images_fixture import image_store, recipe_image, run_in  # noqa: F401

ZONE = "redis.default.svc.cluster.local"

# boot N "peers": what a pet's init container and then its main container do; the former roles are forgotten.
PETS = f"""
set -u
for i in 0 1 2 10; do echo "127.0.1.$((i + 1)) rd-$i.{ZONE} rd-$i" >> /etc/hosts; done
names() {{ for i in "$@"; do echo "rd-$i.{ZONE}"; done; }}
prepare() {{
  mkdir -p /pets/$1/data; cp /opt/redis/redis.conf /pets/$1/redis.conf
  names $2 | REDIS_CONF=/pets/$1/redis.conf unshare --uts sh -c "hostname rd-$1; exec /opt/on-start.sh"
}}
serve() {{
  sed -i "s/ 127.0.0.1$//; s,^dir .*,dir /pets/$1/data," /pets/$1/redis.conf
  /opt/redis/redis-server /pets/$1/redis.conf > /pets/$1/log 2>&1 & echo $! > /pets/$1/pid
  until [ "$(ask $1 ping)" = PONG ]; do sleep 0.05; done
}}
boot() {{ prepare $1 "$2" && serve $1; }}
stop() {{ kill -9 $(cat /pets/$1/pid); wait $(cat /pets/$1/pid) 2>/dev/null; }}
ask() {{ local pet=$1; shift; /opt/redis/redis-cli -h rd-$pet.{ZONE} "$@" 2>/dev/null; }}
role() {{ ask $1 info replication | tr -d '\\r' | sed -n 's/^role://p; s/^master_host://p' | tr '\\n' ' '; echo; }}
synced() {{ until ask $1 info replication | grep -q master_link_status:up; do sleep 0.05; done; }}
"""


@pytest.fixture(scope="module")
def pets(image_store):  # noqa: F811
    """pets(script) -> its standard output, with redis installed as the install container does it."""
    debian = recipe_image(image_store, "debian")
    installer = recipe_image(image_store, "redis-install").rootfs
    copied = os.path.join(installer, "usr/lib/redis-install")
    files = {f"/opt/redis/{name}": os.path.join(copied, name) for name in os.listdir(copied)}
    files["/opt/on-start.sh"] = os.path.join(installer, "on-start.sh")

    def run(script: str) -> str:
        done = run_in(debian, PETS + script, files=files)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    return run


def test_what_is_installed_runs_in_the_bare_image(pets):
    missing = pets(
        "ldd /opt/redis/redis-server /opt/redis/redis-cli /opt/redis/redis-benchmark | grep 'not found' || true"
    )
    assert missing == ""
    assert "Redis server" in pets("/opt/redis/redis-server --version")


def test_install_puts_it_where_the_arguments_say(image_store):  # noqa: F811
    installer = recipe_image(image_store, "redis-install")
    done = run_in(
        installer, "/install.sh --install-into=/a --work-dir=/b --version=3.2.0; /a/redis/redis-cli -v; ls /b"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-2:] == ["on-start.sh", "peer-finder"]
    assert run_in(installer, "/install.sh --to=/a").returncode == 1


def test_the_first_pet_is_the_master_and_the_others_follow_it(pets):
    out = pets(
        "boot 0 0; boot 1 '0 1'; boot 2 '0 1 2'; ask 0 set k v; until ask 2 get k | grep v; do sleep 0.05; done; "
        "role 0; role 1; role 2"
    )
    assert out.splitlines()[3:] == ["OK", "v", "master ", f"slave rd-0.{ZONE} ", f"slave rd-0.{ZONE} "]


def test_a_master_that_was_deleted_comes_back_as_the_master_with_its_data(pets):
    out = pets("boot 0 0; boot 1 '0 1'; ask 0 set k v; synced 1; stop 0; boot 0 '0 1'; role 0; synced 1; ask 1 get k")
    assert out.splitlines()[3:] == [f"rd-0.{ZONE} is the master", "master ", "v"]


def test_a_master_that_was_replaced_comes_back_as_a_replica(pets):
    out = pets(
        "boot 0 0; boot 1 '0 1'; boot 2 '0 1 2'; synced 1; stop 0; ask 1 slaveof no one; "
        f"ask 2 slaveof rd-1.{ZONE} 6379; synced 2; boot 0 '0 1 2'; role 0"
    )
    assert out.splitlines()[-1] == f"slave rd-1.{ZONE} "


def test_a_replica_follows_the_absent_master_that_the_others_follow(pets):
    out = pets("boot 0 0; boot 1 '0 1'; boot 2 '0 1 2'; synced 2; stop 0; stop 2; boot 2 '1 2'")
    assert out.splitlines()[-1] == f"rd-2.{ZONE} follows rd-0.{ZONE}"


def test_after_a_reboot_all_start_at_once_and_agree(pets):
    out = pets("prepare 2 2; prepare 1 '1 2'; prepare 0 '0 1 2'")
    assert out.splitlines() == [
        f"rd-2.{ZONE} follows rd-0.{ZONE}", f"rd-1.{ZONE} follows rd-0.{ZONE}", f"rd-0.{ZONE} is the master",
    ]  # fmt: skip


def test_a_server_killed_in_place_comes_back_in_its_role_with_its_data(pets):
    out = pets("boot 0 0; boot 1 '0 1'; ask 0 set k v; stop 0; serve 0; stop 1; serve 1; synced 1; ask 1 get k; role 1")
    assert out.splitlines()[-2:] == ["v", f"slave rd-0.{ZONE} "]


def test_a_name_that_contains_another_is_another_pet(pets):
    """The script of 2016 compared substrings: rd-1 took rd-10's line for its own."""
    out = pets(
        "boot 0 0; prepare 1 '10 0 1'; prepare 10 '1 10 0'; grep '^bind rd' /pets/1/redis.conf /pets/10/redis.conf -h"
    )
    assert [line for line in out.splitlines() if line.startswith("bind")] == [
        f"bind rd-1.{ZONE} 127.0.0.1", f"bind rd-10.{ZONE} 127.0.0.1",
    ]  # fmt: skip


def test_on_start_may_run_again(pets):
    out = pets(
        "prepare 0 0; cp /pets/0/redis.conf /once; hostname rd-0; "
        "names 0 | REDIS_CONF=/pets/0/redis.conf /opt/on-start.sh; "
        "cmp /once /pets/0/redis.conf && echo same"
    )
    assert out.splitlines()[-1] == "same"


def test_a_pet_that_is_not_among_its_peers_is_told_so(pets):
    out = pets("prepare 5 '0 1' 2>&1; echo $?")
    assert "cannot give rd-5 a role in redis" in out and out.splitlines()[-1] == "1"
