"""Commands against a cluster that is nobody's here: by a kubeconfig alone, over HTTPS, as a user of few rights.

What he may see is told, what he may not is said in a line, and nothing but GETs is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from petset.cli import main, plugin
from petset.objects import documents
from tests.cli.test_start import running
from tests.kubectl import Kubectl

SET = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {"name": "web"},
    "spec": {
        "serviceName": "web",
        "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "nginx"}]},
        },
    },
}
RIGHTS = {
    "few": "statefulsets.apps,services",
    "many": "petsets.apps,statefulsets.apps,services,pods,persistentvolumeclaims,events",
}


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Kubeconfigs by how much their users may: read a few kinds, or all that is needed; one is nobody's."""
    directory = tmp_path_factory.mktemp("foreign")
    with running(directory / "state"):
        own = directory / "state" / "kubeconfig"
        kubectl = Kubectl(own, directory / "cache")
        kubectl("create", "-f", "-", stdin=json.dumps(SET))
        kubectl("wait", "--for=jsonpath={.status.readyReplicas}=1", "statefulset/web", "--timeout=60s")
        files = {"nobody": _as(own, "none", directory / "nobody")}
        for name, kinds in RIGHTS.items():
            kubectl("create", "serviceaccount", name)
            kubectl("create", "role", name, "--verb=get,list", f"--resource={kinds}")
            kubectl("create", "rolebinding", name, f"--role={name}", f"--serviceaccount=default:{name}")
            files[name] = _as(own, kubectl("create", "token", name).strip(), directory / name)
        yield files


def _as(own: Path, token: str, to: Path) -> Path:
    config: Any = documents.load(own.read_bytes())
    users = [{**one, "user": {"token": token}} for one in config["users"]]
    to.write_bytes(documents.dump({**config, "users": users}))
    assert config["clusters"][0]["cluster"]["server"].startswith("https://")
    return to


@pytest.fixture
def asked(foreign: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """`kubectl petset WORDS` as one of them: (exit code, standard output, standard error)."""

    def ask(who: str, *words: str) -> tuple[int, str, str]:
        monkeypatch.setenv("KUBECONFIG", str(foreign[who]))
        monkeypatch.setattr("sys.argv", ["kubectl-petset", *words])
        code = plugin.main()
        said = capsys.readouterr()
        return code, said.out, said.err

    return ask


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("ls",), "petsets.apps"),
        (("top",), "petsets.apps"),
        (("events",), "events"),
        (("events", "-f"), "events"),
        (("snapshot", "ls"), "volumesnapshots.snapshot.storage.k8s.io"),
        (("snapshot", "take", "web"), "petsets.apps"),
        (("snapshot", "rm", "x"), "volumesnapshots.snapshot.storage.k8s.io"),
        (("snapshot", "revert", "x", "--yes"), "volumesnapshots.snapshot.storage.k8s.io"),
    ],
)
def test_what_is_forbidden_is_said_in_a_line(asked, words: tuple[str, ...], kind: str) -> None:
    code, out, err = asked("few", *words)
    assert (code, out) == (1, ""), err
    assert err.startswith("petset: cannot ") and err.count("\n") == 1 and "defect" not in err, err
    assert f'{kind} is forbidden: User "system:serviceaccount:default:few"' in err and "; ask as a user who may" in err


def test_of_what_may_not_be_read_nothing_is_said_but_that(asked) -> None:
    code, out, _ = asked("few", "why", "statefulset/web")
    assert code == 3 and out.startswith("StatefulSet default/web cannot be looked into: pods is forbidden"), out
    assert "not there" not in out
    assert "cannot be read: pods" in asked("few", "why", "pod/web-0")[1]
    assert asked("few", "why", "node/vm")[0] == 3


def test_who_may_read_is_told_all(asked) -> None:
    code, out, _ = asked("many", "why", "web")
    assert code == 3 and out.startswith("StatefulSet default/web: 1 of 1 pets are ready, but they have no names in DNS")
    code, out, err = asked("many", "ls", "-o", "json")
    assert code == 0 and [row["name"] for row in json.loads(out)] == ["web-0.web.default.svc.cluster.local"], err
    code, out, _ = asked("many", "events", "web", "-o", "json")
    assert code == 0 and any(row["reason"] == "SuccessfulCreate" for row in json.loads(out))


def test_who_is_nobody_there_is_told_so(asked) -> None:
    for words in (("ls",), ("events",), ("top",), ("why", "web")):
        code, _, err = asked("nobody", *words)
        assert code == 1 and err.startswith("petset: cannot ") and "--context or --kubeconfig" in err, err


def test_the_plugin_has_what_any_cluster_can_be_asked() -> None:
    for command in main.OF_ANY_CLUSTER:
        assert main.parser(command, of_kubectl=True).below[command]
