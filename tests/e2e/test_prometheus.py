"""Prometheus reads the metrics of a petset and, through the API, of its node. Debian's cannot find nodes by itself."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from petset.base import pki
from tests.e2e.cluster import Cluster
from tests.registry import free_port

pytestmark = pytest.mark.services
RIGHTS = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: prometheus}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: prometheus}
rules:
- {apiGroups: [""], resources: [nodes/proxy], verbs: [get]}
- {nonResourceURLs: [/metrics], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: prometheus}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: prometheus}
subjects: [{kind: ServiceAccount, name: prometheus, namespace: default}]
"""


def config(server: str, node: str, directory: Path) -> str:
    way: dict[str, Any] = {
        "scheme": "https",
        "tls_config": {"ca_file": str(directory / "ca.crt")},
        "authorization": {"credentials_file": str(directory / "token")},
        "static_configs": [{"targets": [urllib.parse.urlsplit(server).netloc]}],
    }
    of_node = {"job_name": "nodes", "metrics_path": f"/api/v1/nodes/{node}/proxy/metrics", **way}
    return json.dumps(
        {"global": {"scrape_interval": "1s"}, "scrape_configs": [{"job_name": "apiserver", **way}, of_node]}
    )


@pytest.fixture(scope="module")
def petset(make_cluster: Callable[[], Cluster], tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    cluster = make_cluster()
    cluster.up("--simulate")
    cluster.kubectl("apply", "-f", "-", stdin=RIGHTS)
    return cluster


@pytest.fixture(scope="module")
def asked(petset: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], list[dict[str, Any]]]]:
    """What Prometheus answers to a query."""
    directory = tmp_path_factory.mktemp("prometheus")
    (directory / "token").write_text(petset.kubectl("create", "token", "prometheus"))
    (directory / "ca.crt").write_text(pki.authority(petset.state / "pki").certificate_pem)
    server = petset.kubectl("config", "view", "-o", "jsonpath={.clusters[0].cluster.server}")
    node = petset.kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    (directory / "prometheus.json").write_text(config(server, node, directory))
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={directory}/prometheus.json",
        f"--storage.tsdb.path={directory}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with open(directory / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)

    def ask(query: str) -> list[dict[str, Any]]:
        words = urllib.parse.urlencode({"query": query})
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{words}", timeout=10) as answer:
                return json.loads(answer.read())["data"]["result"]
        except OSError as error:
            raise AssertionError(f"{error}\n{(directory / 'log').read_text()[-2000:]}") from None

    yield ask
    process.terminate()
    process.wait(30)


def test_it_reads_the_server_and_the_node(petset: Cluster, asked: Callable[[str], list[Any]]) -> None:
    def jobs() -> list[str]:
        return sorted(one["metric"]["job"] for one in asked("up == 1"))

    petset.wait(lambda: jobs() == ["apiserver", "nodes"], "both to be read", 60)
    assert asked('apiserver_request_total{verb="LIST"}')
    assert asked("histogram_quantile(0.99, sum by (le) (apiserver_request_duration_seconds_bucket))")


def test_every_metric_has_the_form_that_promtool_knows(petset: Cluster) -> None:
    text = petset.kubectl("get", "--raw", "/metrics")
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, 3), done.stderr  # 3: it would have named one otherwise; names are Kubernetes' own.
