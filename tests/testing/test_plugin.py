"""The pytest plugin, by runs of pytest on small test files of their own, and its fixtures in this one."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

import petset
from petset.testing import naming
from tests.test_idle import ENVIRONMENT, imported
from tests.testing.conftest import petset_of

SET = repr(petset_of("web"))


class Runs:
    """pytest on a file, with the plugin as it is installed."""

    def __init__(self, directory):
        self.directory = directory

    def __call__(
        self, source: str, *options: str, conftest: str = "", ini: str = ""
    ) -> subprocess.CompletedProcess[str]:
        (self.directory / "test_it.py").write_text(source)
        (self.directory / "conftest.py").write_text(LOADING + conftest)
        (self.directory / "pytest.ini").write_text(f"[pytest]\n{ini}")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "test_it.py"]
        environment = {key: value for key, value in ENVIRONMENT.items() if key not in ("PYTEST_ADDOPTS", "KUBECONFIG")}
        return subprocess.run(
            command, cwd=self.directory, env=environment, capture_output=True, text=True, check=False, timeout=120
        )


LOADING = """
from petset.testing import plugin

def pytest_addoption(pluginmanager):
    if not pluginmanager.hasplugin("petset"):
        pluginmanager.register(plugin, "petset")
"""


@pytest.fixture
def run(tmp_path):
    return Runs(tmp_path)


def test_the_fixtures_are_those_of_a_cluster(cluster, namespace, petset_cluster, petset_kubeconfig):
    assert cluster is petset_cluster and os.environ["KUBECONFIG"] == str(cluster.kubeconfig) == petset_kubeconfig
    namespace.apply(petset_of("web"))
    namespace.wait_for("sts/web")
    assert namespace.name in cluster.list("namespaces").names
    assert namespace.name.startswith("the-fixtures-are-those-of-a-cluster-")


def test_a_failure_shows_what_was_there(run):
    done = run(
        f"""
        def test_it(namespace):
            namespace.apply({SET})
            namespace.wait_for("sts/web")
            namespace.patch("sts/web", {{"spec": {{"template": {{"spec": {{"nodeSelector": {{"no": "where"}}}}}}}}}})
            namespace.wait_for("pod/web-1", "condition=PodScheduled=False")
            assert not "what was hoped for"
        """.replace("\n        ", "\n")
    )
    assert done.returncode == 1, done.stdout + done.stderr
    said = done.stdout
    assert re.search(r"-+ petset: namespace it-\w{5} -+", said)
    assert "StatefulSet it-" in said and "1 of 2 ready" in said
    assert "FailedScheduling" in said and "events:" in said
    assert said.index("web-1   0/1") < said.index("web-0   1/1")


def test_what_a_report_shows_is_bounded(run):
    done = run(
        """
        import json
        def test_it(namespace):
            for number in range(30):
                namespace.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"s{number}"},
                                  "spec": {"ports": [{"port": 80}]}})
                namespace.create({"apiVersion": "v1", "kind": "Event", "metadata": {"name": f"e{number}"},
                                  "involvedObject": {"kind": "Service", "namespace": namespace.name, "name": "s"},
                                  "reason": "Many", "message": "x" * 900, "type": "Warning"})
            assert False
        """.replace("\n        ", "\n")
    )
    said = done.stdout[done.stdout.index("petset: namespace") :]
    assert "... and 10 more" in said and "characters in all" in said and len(said) < 20_000


def test_a_namespace_goes_with_its_test_and_a_cluster_with_the_session(run):
    done = run(
        """
        names = []
        def test_one(namespace):
            names.append(namespace.name)
        def test_two(namespace, cluster):
            cluster.wait_for(f"namespace/{names[0]}", "delete")
            print("directory", cluster.directory)
        """.replace("\n        ", "\n"),
        "-s",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [directory] = re.findall(r"directory (\S+)", done.stdout)
    assert not os.path.exists(directory)


def test_options_say_how_many_nodes_and_the_ini_file_too(run):
    source = "def test_it(cluster): assert cluster.list('nodes').names == ['node-0', 'node-1', 'node-2']"
    assert run(source, "--petset-nodes=3").returncode == 0
    assert run(source, ini="petset_nodes = 3\n").returncode == 0
    done = run(source, "--petset-nodes=many")
    assert "cannot take --petset-nodes many: it is no number from 1 on" in done.stdout + done.stderr


def test_what_needs_real_containers_is_skipped_where_there_are_none(run):
    done = run("import pytest\n@pytest.mark.petset_real\ndef test_it(cluster): pass", "-rs", "--strict-markers")
    assert "1 skipped" in done.stdout and "run it with --petset-real" in done.stdout


def test_a_projects_own_fixtures_and_other_plugins_come_first(run):
    own = "import pytest\n@pytest.fixture\ndef cluster(): return 'mine'\n"
    source = "def test_it(cluster, petset_cluster): assert cluster == 'mine' and petset_cluster.list('nodes')"
    assert run(source, conftest=own).returncode == 0
    other = """
import sys, types, pytest
theirs = types.ModuleType("theirs")
@pytest.fixture
def cluster(): return "theirs"
theirs.cluster = cluster
def pytest_configure(config): config.pluginmanager.register(theirs, "theirs")
"""
    done = run(
        source.replace("mine", "theirs"),
        conftest=other.replace("theirs.cluster = cluster", "theirs.cluster = cluster\ndel cluster"),
    )
    assert done.returncode == 0, done.stdout


def test_what_failed_can_be_kept(run):
    done = run(f"def test_it(namespace):\n namespace.apply({SET})\n assert False", "--petset-keep-on-failure")
    [line] = re.findall(
        r"petset: kept for you: export KUBECONFIG=(\S+); when done: petset --state (\S+) destroy --yes", done.stdout
    )
    kubeconfig, directory = line
    try:
        said = subprocess.run(
            ["kubectl", "get", "sts", "-A", "--kubeconfig", kubeconfig], capture_output=True, text=True, check=True
        ).stdout
        assert re.search(r"it-\w{5}\s+web", said)
    finally:
        words = ["--state", directory, "destroy", "--yes"]
        subprocess.run([sys.executable, "-m", "petset", *words], env=ENVIRONMENT, capture_output=True, check=True)
    assert not os.path.exists(directory)


def test_the_plugin_imports_nothing_of_petset_until_it_is_asked():
    found = [name for name in imported("import petset.testing.plugin") if name.startswith("petset")]
    assert found == ["petset", "petset.testing", "petset.testing.plugin"]


@pytest.mark.parametrize(
    ("test", "stem"),
    [
        ("test_a_set", "a-set"),
        ("test_it[a/B-1]", "it-a-b-1"),
        ("test_" + "x" * 90, "x" * 40),
        ("test_é", "test"),
        ("_", "test"),
    ],
)
def test_a_namespace_is_named_after_its_test(test, stem):
    name = naming.of_test(test)
    assert name.startswith(f"{stem}-") and len(name) <= 63 and re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name)


def test_a_cluster_of_its_own_process_is_left_only_when_it_is_told(tmp_path):
    with petset.Cluster(own_process=True) as one:
        one.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})
        [node] = one.list("nodes").names
        one.partition_node(node)
        one.start_node(node)
        with pytest.raises(petset.ClusterError, match=f"there are {node}"):
            one.stop_node("nobody")
        directory = one.directory
    assert not directory.exists()
    with petset.Cluster() as here, pytest.raises(petset.ClusterError, match="own_process=True"):
        here.leave_running()
    with pytest.raises(petset.ClusterError, match="cannot run petset: it says: cannot understand the command"):
        petset.Cluster(own_process=True, options=("--nonsense",)).start()
