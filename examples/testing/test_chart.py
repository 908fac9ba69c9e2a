"""The chart in chart/, by helm itself."""

import shutil
import subprocess
from pathlib import Path

import pytest

CHART = Path(__file__).parent / "chart"
HELM = shutil.which("helm")

pytestmark = pytest.mark.skipif(HELM is None, reason="there is no helm on PATH")


@pytest.fixture
def helm(cluster, namespace, tmp_path):
    def run(*words: str) -> str:
        environment = {**cluster.environment(), "HOME": str(tmp_path)}
        command = [HELM, f"--namespace={namespace}", *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    return run


def test_install_upgrade_and_uninstall(helm, namespace):
    helm("install", "web", str(CHART), "--wait", "--timeout=60s")
    assert namespace.list("pods").names == ["web-0", "web-1"]
    helm("upgrade", "web", str(CHART), "--set", "replicas=3", "--wait", "--timeout=60s")
    assert namespace.wait_for("statefulset/web")["status"]["readyReplicas"] == 3
    helm("uninstall", "web", "--wait")
    namespace.wait_for("statefulset/web", "delete")
