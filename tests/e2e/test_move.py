"""`petset move`: a set goes to another cluster with its data, whose mover is killed again and again, and comes back."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from petset.cli.moving import record
from tests.e2e.cluster import ROOT, Cluster

NGINX = str(Path(__file__).parent / "manifests" / "nginx.yaml")
PLACE = "/usr/share/nginx/html"
# What a copy can lose: owners, modes, links, spaces in names, empty directories, empty and large files.
FILL = f"""set -e; cd {PLACE}
echo "$(hostname) was here" >index.html
mkdir -p 'with space/empty' deep/er; chmod 700 deep; : >deep/er/nothing
head -c 3000000 /dev/urandom >deep/large; chown 33:44 deep/large; chmod 640 deep/large
ln -s ../index.html deep/link; ln -s nowhere 'with space/broken'
"""
SEEN = (
    f"cd {PLACE} && find . | sort | xargs -d '\\n' stat -c '%F %a %u %g %N' && "
    "find . -type f | sort | xargs -d '\\n' sha256sum"
)


@pytest.fixture(scope="module")
def both(make_cluster, tmp_path_factory) -> tuple[Cluster, Cluster, Path]:
    """Two instances, and a kubeconfig with the second as context `there`."""
    here, there = make_cluster(), make_cluster()
    for one in (here, there):
        one.up()
    config = json.loads(there.kubectl("config", "view", "--raw", "-o", "json"))
    for section in ("clusters", "users", "contexts"):
        config[section][0]["name"] = "there"
    config["contexts"][0]["context"].update(cluster="there", user="there")
    path = tmp_path_factory.mktemp("move") / "kubeconfig"
    path.write_text(json.dumps({**config, "current-context": "there"}))
    path.chmod(0o600)
    return here, there, path


def moving(here: Cluster, config: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "petset", "move", "web", *words, "--kubeconfig", str(config), "--timeout", "90s"]
    environment = {**here.environment, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def live(cluster: Cluster) -> set[str]:
    """Pets of the set that there are."""
    pods = cluster.kubectl.json("get", "pods")["items"]
    names = {pod["metadata"]["name"] for pod in pods if not record.is_gate(pod)}
    return {name for name in names if name.removeprefix("web-").isdecimal()}


def test_a_set_goes_there_whoever_is_killed_and_comes_back(both) -> None:
    here, there, config = both
    here.kubectl("create", "-f", NGINX)
    here.wait_ready("web-0", "web-1", seconds=600)
    for pet in ("web-0", "web-1"):
        here.exec(pet, "sh", "-c", FILL)
    held = {pet: here.exec(pet, "sh", "-c", SEEN) for pet in ("web-0", "web-1")}

    foretold = moving(here, config, "--to", "there", "--dry-run").communicate(timeout=60)[0].splitlines()
    assert len(foretold) == 18 and live(here) == {"web-0", "web-1"}, foretold

    lines = 0
    while True:  # Killed after one line, after two, ...: in the end before nothing.
        lines += 1
        mover = moving(here, config, "--to", "there")
        assert mover.stderr is not None and mover.stdout is not None
        said = [line for line, _ in zip(mover.stderr, range(lines), strict=False)]
        if len(said) < lines:
            assert mover.wait(60) == 0, said
            break
        mover.send_signal(signal.SIGKILL)
        mover.communicate(timeout=60)
        assert not live(here) & live(there)
        assert lines < 40, said
    assert "pets are in there, namespace default" in mover.stdout.read()
    there.wait_ready("web-0", "web-1")
    assert live(here) == set() and live(there) == {"web-0", "web-1"}
    for pet in ("web-0", "web-1"):
        assert there.exec(pet, "sh", "-c", SEEN) == held[pet]
    moved = there.kubectl.json("get", "petset,pvc,service")["items"]
    assert "petset.local" not in json.dumps([one for one in moved if one["metadata"]["name"] != "kubernetes"])
    assert not [one for one in there.kubectl.json("get", "pods")["items"] if one["metadata"]["name"].count("-mover-")]

    # Whoever applies the old manifest gets no second pet of an identity.
    here.kubectl("scale", "petset", "web", "--replicas=2")
    here.wait(lambda: here.kubectl.json("get", "pods")["items"], "gates")
    assert live(here) == set()
    here.kubectl("scale", "petset", "web", "--replicas=0")
    code, said = done(moving(here, config, "--to", "there"))
    assert (code, said) == (0, "web: all its pets are in there, namespace default\n")

    # And back, with what was written there.
    there.exec("web-1", "sh", "-c", f"echo more >>{PLACE}/index.html; rm {PLACE}/deep/large")
    held["web-1"] = there.exec("web-1", "sh", "-c", SEEN)
    code, said = done(moving(here, config, "--from", "there"))
    assert code == 0, said
    here.wait_ready("web-0", "web-1")
    assert live(there) == set() and {pet: here.exec(pet, "sh", "-c", SEEN) for pet in held} == held


def done(mover: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = mover.communicate(timeout=180)
    return mover.returncode, out + err
