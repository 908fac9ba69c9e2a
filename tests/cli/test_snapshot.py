"""`petset snapshot`: what is taken as one and listed, and the claims that begin with what was taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from petset.cli import main, snapshot
from petset.cli.failures import CommandError
from petset.objects import meta
from tests.cli.test_run import NGINX, there
from tests.cli.test_start import running

OWNER: dict[str, Any] = {
    "metadata": {"name": "my-web", "namespace": "default"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "volumeClaimTemplates": [
            {"metadata": {"name": "www"}, "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "standard"}},
            {"metadata": {"name": "log"}, "spec": {"accessModes": ["ReadWriteMany"]}},
        ],
    },
}


def taken(claim: str, called: str = "then", ready: bool = True) -> dict[str, Any]:
    one = snapshot.snapshot_of({"metadata": {"name": claim, "namespace": "default"}}, called, "my-web", None)
    metadata = {**one["metadata"], "creationTimestamp": f"2016-08-03T00:00:0{len(called)}Z"}
    return {**one, "metadata": metadata, "status": {"readyToUse": ready, "restoreSize": "1Gi"}}


def test_all_claims_of_all_pets_are_taken() -> None:
    assert snapshot.claim_names(OWNER) == ["www-my-web-0", "log-my-web-0", "www-my-web-1", "log-my-web-1"]


def test_what_was_taken_as_one_is_a_row() -> None:
    found = [taken("www-my-web-0"), taken("www-my-web-1"), taken("www-my-web-0", "later", ready=False)]
    assert [(row["name"], row["volumes"], row["ready"], row["size"]) for row in snapshot.rows(found, 1470182410.0)] == [
        ("then", 2, True, "1Gi"),
        ("later", 1, False, "1Gi"),
    ]


def test_a_claim_comes_back_as_it_is_or_as_its_template_has_it() -> None:
    claim = {
        "metadata": {
            "name": "www-my-web-0",
            "namespace": "default",
            "labels": {"app": "web", "own": "label"},
            "annotations": {
                "volume.alpha.kubernetes.io/storage-class": "any",
                "pv.kubernetes.io/bind-completed": "yes",
            },
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "volumeName": "pvc-1",
            "resources": {"requests": {"storage": "2Gi"}},
        },
    }
    first, second = snapshot.reverted_claims(OWNER, [claim], [taken("www-my-web-0"), taken("log-my-web-1")])
    source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "then-www-my-web-0"}
    assert first["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "2Gi"}},
        "dataSource": source,
    }
    assert meta.annotations(first) == {"volume.alpha.kubernetes.io/storage-class": "any"}
    assert meta.labels(first) == {"app": "web", "own": "label"}
    assert second["spec"]["accessModes"] == ["ReadWriteMany"] and meta.labels(second) == {"app": "web"}
    with pytest.raises(CommandError, match="no claim template any more that makes old-my-web-0"):
        snapshot.reverted_claims(OWNER, [], [taken("old-my-web-0")])


def test_a_set_is_taken_and_put_back(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    at = tmp_path / "state"

    def ran(*words: str) -> tuple[int, str]:
        code = main.main(["--state", str(at), *words])
        out, err = capfd.readouterr()
        return code, out + err

    with running(at):
        capfd.readouterr()
        code, said = ran("snapshot", "take", "web")
        assert code == 1 and "there is no set web" in said
        assert ran("run", NGINX)[0] == 0
        assert ran("snapshot", "ls") == (0, "there are no snapshots; `petset snapshot take SET` takes one\n")
        code, said = ran("snapshot", "take", "web", "--name", "one")
        assert (code, said) == (0, "one: 2 volumes of web; put them back with `petset snapshot revert one`\n")
        code, said = ran("snapshot", "take", "web", "--name", "one")
        assert code == 1 and "a snapshot one is there already" in said
        code, said = ran("snapshot", "revert", "one")
        assert code == 1 and "say it with --yes" in said
        code, said = ran("snapshot", "revert", "one", "--yes")
        assert (code, said) == (0, "web: 2 volumes are as in one, and 2 pets come back\n")
        assert ran("run", NGINX)[0] == 0, "all get ready again"
        assert there(at) == ["nginx", "web", "web-0", "web-1", "www-web-0", "www-web-1"]
        assert ran("snapshot", "rm", "one") == (0, "one: deleted, 2 volumes\n")
        code, said = ran("snapshot", "revert", "one", "--yes")
        assert code == 1 and "there is no snapshot one" in said
        code, said = ran("snapshot", "take", "web", "--name", "two", "--class", "no-such", "--timeout", "1s")
        assert code == 1 and "cannot take web: " in said and "nothing was kept" in said
        assert "there are no snapshots" in ran("snapshot", "ls")[1]


def test_nothing_is_made_of_a_snapshot_that_is_being_deleted() -> None:
    going = {"metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    staying = {"metadata": {"name": "b"}}
    assert snapshot.to_have([going, staying]) == [staying]
