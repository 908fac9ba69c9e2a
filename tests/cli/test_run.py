"""`petset run`: what it applies and waits for, its exit codes, and what --rm takes away and what it leaves."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from petset.base import state
from petset.cli import main
from petset.cli.asking import connection
from petset.cli.failures import CommandError
from petset.cli.given import manifests
from petset.cli.showing import reaching
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.kinds.pet_set import PETSETS
from petset.kinds.pod import PODS
from petset.kinds.service import SERVICES
from petset.objects import meta
from tests.cli.test_start import running

NGINX = str(Path(__file__).resolve().parents[2] / "examples" / "nginx" / "nginx.yaml")
NEVER = """
apiVersion: v1
kind: Pod
metadata: {name: never}
spec: {nodeSelector: {disk: ssd}, containers: [{name: c, image: i}]}
"""
SHIPS = """
apiVersion: example.com/v1
kind: Ship
metadata: {name: ann}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ships.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Ship, plural: ships}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
"""


def there(directory: Path) -> list[str]:
    async def names() -> list[str]:
        async with connection.connect(state.State(directory)) as connected:
            lists = [
                await connected.client.list(kind, "default")
                for kind in (SERVICES, PETSETS, PODS, PERSISTENTVOLUMECLAIMS)
            ]
        return [meta.name(obj) for found, _ in lists for obj in found if meta.name(obj) != "kubernetes"]

    return asyncio.run(names())


def test_a_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    at = tmp_path / "state"

    def ran(*words: str) -> tuple[int, str]:
        code = main.main(["--state", str(at), "run", *words])
        out, err = capfd.readouterr()
        return code, out + err

    file = tmp_path / "never.yaml"
    file.write_text(NEVER)
    ships = tmp_path / "ships.yaml"
    ships.write_text(SHIPS)
    with running(at):
        capfd.readouterr()
        code, said = ran(str(file), "--timeout", "3s", "--rm")
        assert code == 3 and " has not the label disk=ssd." in said, said
        assert there(at) == []
        code, said = ran(NGINX, "--rm", "--then", "sh", "-c", "test -f $KUBECONFIG && exit 7")
        assert code == 7 and "petset.apps/web created" in said and "1     " in said
        assert "taken away again, with its claims" in said and there(at) == []
        code, said = ran(str(ships), "--rm")
        assert code == 0 and "ship.example.com/ann created" in said, "also of a kind that comes with it"
        code, said = ran(NGINX)
        assert code == 0 and there(at) == ["nginx", "web", "web-0", "web-1", "www-web-0", "www-web-1"]
        code, said = ran(NGINX, "--rm")
        assert code == 0 and "stays, since it was there before: service/nginx, petset.apps/web" in said
        assert len(there(at)) == 6
        file.write_text(NEVER.replace("never", "Never"))
        code, said = ran(str(file))
        assert code == 4 and "petset: cannot apply Pod Never: " in said
        file.write_text(NEVER.replace("kind: Pod", "kind: Yacht"))
        code, said = ran(str(file))
        assert code == 4 and "the cluster has no kind Yacht in v1" in said


def test_a_cluster_that_a_run_started_goes_with_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = main.main(["--state", str(tmp_path / "state"), "run", NGINX, "--rm", "--simulate"])
    out, _ = capfd.readouterr()
    assert code == 0 and out.splitlines()[-1] == f"stopped; the data stays in {tmp_path}/state"
    assert state.State(tmp_path / "state").running_process() is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "No such file"),
        ("a: [", "cannot read"),
        ("kind: Pod", "lacks apiVersion or kind"),
        ("{kind: Pod, apiVersion: v1}", "a Pod in it has no metadata.name"),
        ("", "there is no object in it"),
    ],
)
def test_manifests_that_are_none_are_told_of_in_one_line(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "m.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(CommandError) as refused:
        manifests.read([str(file)])
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_manifests_of_directories_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def named(kind: str, name: str) -> str:
        return f"{{apiVersion: v1, kind: {kind}, metadata: {{name: {name}}}}}"

    (tmp_path / "b.yaml").write_text(named("Pod", "b"))
    (tmp_path / "a.json").write_text('{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}')
    (tmp_path / "c.txt").write_text("not read")
    (tmp_path / "d.yml").write_text(named("Namespace", "d"))
    items = f"{{apiVersion: v1, kind: List, items: [{named('Pod', 'e')}, {named('Pod', 'f')}]}}"
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(items.encode())))
    assert [meta.name(obj) for obj in manifests.read([str(tmp_path), "-"])] == ["d", "a", "b", "e", "f"]


def test_how_it_is_reached() -> None:
    service = {"metadata": {"name": "web", "namespace": "default"}}
    ports = [{"port": 80, "nodePort": 30080}, {"port": 443}]
    assert reaching.of_service({**service, "spec": {"clusterIP": "10.0.0.9", "ports": ports}}, "192.0.2.1") == [
        "web.default.svc.cluster.local: 10.0.0.9, port 80, 443",
        "web.default.svc.cluster.local: 192.0.2.1:30080 from outside",
    ]
    assert reaching.of_service({**service, "spec": {"clusterIP": "None"}}, "") == [
        "web.default.svc.cluster.local: its pets as <pet>.web.default.svc.cluster.local"
    ]
    container = {"ports": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81}]}
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [container]}, "status": {"hostIP": "192.0.2.1"}}
    assert reaching.of_pod(pod) == ["p: 192.0.2.1:8080 from outside"]
