"""pytest's fixtures of petset: a cluster for the session, a namespace for each test, virtual time, and what goes wrong.

This module is imported in every run of pytest where petset is installed, so it imports nothing until a test asks for a
fixture. `petset_cluster`, `petset_namespace`, `petset_clock` and `petset_faults` are always there; `cluster`,
`namespace`, `clock` and `faults` are the same by shorter names, where no other plugin has fixtures of those
(a project's own fixtures win in any case, as pytest has it). A test that fails gets a section in its report with the
objects, events and logs of what it used (report.py).
"""

from __future__ import annotations

import types
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from petset.testing.clusters import Cluster, Namespace
    from petset.testing.faults import Faults
    from petset.testing.virtual import Clock

FAILED = pytest.StashKey[bool]()  # Of a test.
KEPT = pytest.StashKey[list[str]]()  # Of the session: how to reach what is kept.

# (option, ini and its type, what it is for): the option wins.
SETTINGS: tuple[tuple[str, str, Any, Any, str], ...] = (
    ("--petset-real", "petset_real", "bool", False, "real containers instead of simulated ones"),
    ("--petset-nodes", "petset_nodes", "string", "1", "how many nodes the cluster has (default 1)"),
    (
        "--petset-keep-on-failure",
        "petset_keep_on_failure",
        "bool",
        False,
        "keep cluster and namespaces of failed tests",
    ),
    ("--petset-seed", "petset_seed", "string", "0", "where chance begins for `clock` and `faults` (default 0)"),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("petset", "petset: Kubernetes for tests")
    for option, ini, type_, default, text in SETTINGS:
        if type_ == "bool":
            group.addoption(option, action="store_true", default=None, help=text)
        else:
            group.addoption(option, default=None, help=text)
        parser.addini(ini, text, type=type_, default=default)
    parser.addini("petset_options", "more options of `petset up`, with --petset-real", type="args", default=[])


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "petset_real: needs real containers; skipped where they are simulated")


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """The shorter names that nobody else has."""
    plugins = session.config.pluginmanager
    taken = [name for name in SHORT if any(_is_fixture(getattr(one, name, None)) for one in plugins.get_plugins())]
    short = types.ModuleType("petset.testing.short_names")
    for name, fixture in SHORT.items():
        if name not in taken:
            setattr(short, name, fixture)
    plugins.register(short, short.__name__)


def _is_fixture(found: object) -> bool:
    return type(found) is type(petset_cluster)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("petset_real") and not setting(item.config, "petset_real"):
        pytest.skip("it needs real containers: run it with --petset-real")


def setting(config: pytest.Config, ini: str) -> Any:
    """What the command line says, else the ini file."""
    given: Any = config.getoption(f"--{ini.replace('_', '-')}")
    return config.getini(ini) if given is None else given


def number(config: pytest.Config, ini: str, least: int) -> int:
    """Raises pytest.UsageError."""
    text = str(setting(config, ini))
    if not text.isascii() or not text.isdecimal() or int(text) < least:
        raise pytest.UsageError(f"cannot take --{ini.replace('_', '-')} {text}: it is no number from {least} on")
    return int(text)


# -- Fixtures


@pytest.fixture(scope="session")
def petset_cluster(request: pytest.FixtureRequest) -> Generator[Cluster]:
    """The session's cluster: `petset.Cluster`."""
    import petset

    config = request.config
    keeps = bool(setting(config, "petset_keep_on_failure"))
    is_real = bool(setting(config, "petset_real"))
    options = tuple(config.getini("petset_options")) if is_real else ()
    nodes = number(config, "petset_nodes", 1)
    cluster = petset.Cluster(simulate=not is_real, nodes=nodes, own_process=keeps, options=options)
    with cluster:
        yield cluster
        if keeps and request.session.testsfailed:
            config.stash.setdefault(KEPT, list[str]()).append(cluster.leave_running())


@pytest.fixture
def petset_namespace(petset_cluster: Cluster, request: pytest.FixtureRequest) -> Generator[Namespace]:
    """A namespace of the test's own, deleted when it is over."""
    from petset.testing import naming

    namespace = petset_cluster.make_namespace(naming.of_test(request.node.name))
    yield namespace
    if not (request.node.stash.get(FAILED, False) and setting(request.config, "petset_keep_on_failure")):
        namespace.remove()


@pytest.fixture
def petset_kubeconfig(petset_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> str:
    """The path of a kubeconfig, which KUBECONFIG names during the test."""
    path = str(petset_cluster.kubeconfig)
    monkeypatch.setenv("KUBECONFIG", path)
    return path


@pytest.fixture(scope="session")
def _cluster(petset_cluster: Cluster) -> Cluster:
    """petset_cluster: the session's `petset.Cluster`."""
    return petset_cluster


@pytest.fixture
def _namespace(petset_namespace: Namespace) -> Namespace:
    """petset_namespace: a namespace of the test's own, deleted when it is over."""
    return petset_namespace


@pytest.fixture
def petset_clock(request: pytest.FixtureRequest) -> Generator[Clock]:
    """Virtual time, and a simulated cluster in it, of the test's own."""
    from petset.testing import virtual

    nodes, seed = number(request.config, "petset_nodes", 1), number(request.config, "petset_seed", 0)
    with virtual.Clock(seed, nodes) as clock:
        yield clock


@pytest.fixture
def petset_faults(petset_clock: Clock) -> Faults:
    """What goes wrong in the clock's cluster, as the test says."""
    from petset.testing import faults

    return faults.Faults(petset_clock)


@pytest.fixture
def _clock(petset_clock: Clock) -> Clock:
    """petset_clock: virtual time, and a simulated cluster in it, of the test's own."""
    return petset_clock


@pytest.fixture
def _faults(petset_faults: Faults) -> Faults:
    """petset_faults: what goes wrong in the clock's cluster, as the test says."""
    return petset_faults


SHORT: dict[str, Any] = {"cluster": _cluster, "namespace": _namespace, "clock": _clock, "faults": _faults}


# -- What a failed test's report shows


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    if report.failed and report.when in ("setup", "call"):
        used: dict[str, Any] = getattr(item, "funcargs", {})
        named = [name for name in used if name in ("petset_cluster", "petset_namespace", "petset_clock")]
        if named:
            from petset.testing import report as reports

            found = [used[name].cluster if name == "petset_clock" else used[name] for name in named]
            report.sections += reports.sections(found)
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    kept = config.stash.get(KEPT, list[str]())
    for line in kept:
        terminalreporter.write_line(f"petset: kept for you: {line}")
