"""The installers of the other services, with real servers: three pets in one throw-away copy of an image.

`make test-services` runs these; they need their images built (Java, ZooKeeper, MariaDB, Cassandra).
"""

from __future__ import annotations

import pytest

from tests.images_fixture import CHECKOUT, image_store, recipe_image, run_in  # noqa: F401

pytestmark = pytest.mark.services

IMAGES = CHECKOUT / "images"
HOSTS = 'for i in 0 1 2; do echo "127.0.1.$((i + 1)) pet-$i.pets pet-$i" >> /etc/hosts; done\n'


# One machine's ports are shared here, so each pet's client port gets an address (in a pod it has its own network).
ZOOKEEPER = f"""
set -u
{HOSTS}
start() {{
  mkdir -p /p/$1
  rm -rf /p/$1/zookeeper; /install.sh --install-into=/p/$1 --work-dir=/p/$1/w > /dev/null
  sed -i "/^quorumListenOnAllIPs/d; s/;2181\\"/;pet-$1.pets:2181\\"/" /p/$1/w/on-start.sh
  export ZOO_HOME=/p/$1/zookeeper ZOO_DATA=/p/$1/d
  printf '%s\\n' $2 | unshare --uts sh -c "hostname pet-$1; exec /p/$1/w/on-start.sh"
  /p/$1/zookeeper/bin/zkServer.sh start-foreground > /p/$1/log 2>&1 & echo $! > /p/$1/pid
}}
mode() {{
  timeout 2 bash -c "exec 3<> /dev/tcp/pet-$1.pets/2181 && printf srvr >&3 && cat <&3" 2> /dev/null | grep Mode
}}
serving() {{ until mode $1; do sleep 0.1; done; }}
cli() {{ /p/0/zookeeper/bin/zkCli.sh -server pet-$1.pets:2181 "${{@:2}}" 2>&1; }}
start 0 pet-0.pets; serving 0
start 1 'pet-0.pets pet-1.pets'; serving 1
start 2 'pet-0.pets pet-1.pets pet-2.pets'; serving 2
cli 0 create /a data | grep Created
cli 2 get /a | grep data
cli 2 config | grep -c participant
kill -9 $(cat /p/1/pid); start 1 'pet-0.pets pet-1.pets pet-2.pets'; serving 1
cli 1 get /a | grep data
"""


def test_zookeeper_pets_join_one_by_one_and_come_back(image_store):  # noqa: F811
    done = run_in(recipe_image(image_store, "zookeeper-install"), ZOOKEEPER, timeout=150)
    said = [line for line in done.stdout.splitlines() if not line.startswith("Mode")]
    assert said == [
        "pet-0.pets is an ensemble of one",
        "pet-1.pets joined the ensemble by pet-0.pets",
        "pet-2.pets joined the ensemble by pet-0.pets",
        "Created /a",
        "data",
        "3",
        "pet-1.pets is a member already",
        "data",
    ], done.stdout + done.stderr


GALERA = f"""
set -u
{HOSTS}
prepare() {{
  mkdir -p /p/$1/lib /p/$1/run; cp /my-galera.cnf /p/$1/
  printf '%s\\n' $2 | GALERA_CONF=/p/$1/my-galera.cnf unshare --uts sh -c "hostname pet-$1; exec /on-start.sh"
}}
serve() {{
  a=127.0.1.$(($1 + 1))
  unshare --mount bash -c "mount --bind /p/$1/lib /var/lib; mount --bind /p/$1/run /run
    exec /galera.sh --defaults-file=/p/$1/my-galera.cnf --user=root --bind-address=$a --wsrep-node-address=$a \\
    --wsrep-sst-receive-address=$a:4444 \\
    --wsrep-provider-options='gmcast.listen_addr=tcp://$a:4567;ist.recv_addr=$a:4568'" \\
    > /p/$1/log 2>&1 &
  until ask $1 'select 1' > /dev/null 2>&1; do sleep 0.2; done
}}
ask() {{ mysql -u root -N -h pet-$1.pets -e "$2"; }}
prepare 0 pet-0.pets; serve 0
prepare 1 'pet-0.pets pet-1.pets'; serve 1
prepare 2 'pet-0.pets pet-1.pets pet-2.pets'; serve 2
ask 0 'create database d; create table d.t (i int primary key); insert into d.t values (7)'
ask 2 'select i from d.t; show status like "wsrep_cluster_size"'
pkill -9 mariadbd; sleep 1
prepare 0 'pet-0.pets pet-1.pets pet-2.pets'; serve 0
prepare 1 'pet-0.pets pet-1.pets pet-2.pets'; serve 1
ask 1 'select i from d.t; show status like "wsrep_cluster_size"'
"""


def test_galera_pets_form_a_cluster_and_survive_a_crash_of_all(image_store):  # noqa: F811
    files = {f"/{name}": str(IMAGES / "galera-install/files" / name) for name in ("on-start.sh", "my-galera.cnf")}
    done = run_in(
        recipe_image(image_store, "mariadb-galera"),
        GALERA,
        files={**files, "/usr/bin/mount": "/usr/bin/mount"},
        timeout=150,
    )
    answers = [line for line in done.stdout.splitlines() if "joins" not in line]
    assert answers == ["7", "wsrep_cluster_size\t3", "7", "wsrep_cluster_size\t2"], done.stdout + done.stderr


CASSANDRA = f"""
{HOSTS}
export POD_IP=127.0.1.1 CASSANDRA_SEEDS=pet-0.pets
/run.sh > /log 2>&1 &
for _ in $(seq 240); do /ready-probe.sh 2> /dev/null && break; sleep 0.5; done
nodetool status | grep -o '^UN *127.0.1.1'
nodetool drain; tail -n 1 /log | grep -o DRAINED
"""


def test_cassandra_starts_and_is_drained(image_store):  # noqa: F811
    done = run_in(recipe_image(image_store, "cassandra"), CASSANDRA, timeout=180)
    assert done.stdout.split() == ["UN", "127.0.1.1", "DRAINED"], done.stdout + done.stderr
