"""A running instance is backed up and restored beside itself: the same pets, with their data, in two places at once."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.test_redis import PETS, cli

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "redis" / "redis.yaml"


def test_a_restored_pet_has_its_name_and_its_data(make_cluster, tmp_path):
    old = make_cluster()
    old.up()
    old.kubectl("apply", "-f", str(EXAMPLE))
    old.wait_ready(*PETS, seconds=120)
    assert cli(old, "rd-0", "set", "kept:by", "backup") == "OK"
    assert cli(old, "rd-0", "save") == "OK"
    file = tmp_path / "file"
    said = old.petset("backup", str(file))
    assert "keys and volumes" in said.stdout

    assert cli(old, "rd-0", "set", "kept:by", "something later") == "OK"
    new = make_cluster()
    new.state.rmdir()
    new.petset("restore", str(file))
    new.up()
    new.wait_ready(*PETS, seconds=120)
    assert cli(new, "rd-0", "get", "kept:by") == "backup"
    assert cli(old, "rd-0", "get", "kept:by") == "something later"
    for pet in PETS:
        before, after = old.pod(pet), new.pod(pet)
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        claim = old.kubectl.json("get", "pvc", f"datadir-{pet}")["spec"]["volumeName"]
        assert new.kubectl.json("get", "pvc", f"datadir-{pet}")["spec"]["volumeName"] == claim
        path = new.kubectl.json("get", "pv", claim)["spec"]["hostPath"]["path"]
        assert path == str(new.state / "volumes" / claim)

    # It goes on as any set does: another pet, a new claim, and the provisioner removes what is its own.
    new.kubectl("scale", "petset", "rd", "--replicas=2")
    new.wait(lambda: new.kubectl.run("get", "pod", "rd-2").returncode != 0, "rd-2 to go")
    new.kubectl("delete", "pvc", "datadir-rd-2")
    new.wait(lambda: len(list((new.state / "volumes").iterdir())) == 2, "the volume to be removed")
    assert len(list((old.state / "volumes").iterdir())) == 3
