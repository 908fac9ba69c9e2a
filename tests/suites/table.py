"""Which suites there are, where each comes from, and what of it asks a cluster."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PythonSuite:
    """`package` as in sources.txt; `tests` are paths in its source archive."""

    name: str
    package: str
    tests: tuple[str, ...]
    options: tuple[str, ...] = ()  # of pytest
    containers: bool = True  # False: pods that are simulated are enough.
    kind: bool = False  # It finds its cluster by pytest-kind.


@dataclass(frozen=True, slots=True)
class GoSuite:
    """`packages` are folders of the module; `checksum` is the module's, as go.sum has it."""

    name: str
    module: str
    version: str
    checksum: str
    packages: tuple[str, ...]
    containers: bool = False


@dataclass(frozen=True, slots=True)
class ProgramSuite:
    """Tests of our own, of a program built from Go modules: `program` is its package, as go.mod beside this file has
    it, and `tests` a folder beside this file."""

    name: str
    program: str
    tests: str
    containers: bool = True


@dataclass(frozen=True, slots=True)
class ShellSuite:
    """Shell functions of a Go module, of the version that fits the kubectl on PATH."""

    name: str
    module: str
    version: str
    checksum: str  # Of the go command, as in a go.sum.
    left_out: tuple[str, ...]  # Functions that do not end, or end by chance.
    containers: bool = False


@dataclass(frozen=True, slots=True)
class OwnSuite:
    """Tests of an example project that bring their cluster themselves; `tests` is a folder of the checkout."""

    name: str
    tests: str


Suite = PythonSuite | GoSuite | ProgramSuite | ShellSuite | OwnSuite

SUITES: tuple[Suite, ...] = (
    PythonSuite(
        "kubernetes",
        "kubernetes",
        (
            "kubernetes/dynamic/test_client.py",
            "kubernetes/dynamic/test_discovery.py",
            "kubernetes/aio/dynamic/client_test.py",
            "kubernetes/aio/dynamic/discovery_test.py",
        ),
        ("-p", "e2e_configuration"),
        containers=False,
    ),
    PythonSuite(
        "kubernetes_asyncio",
        "kubernetes_asyncio",
        ("kubernetes_asyncio/dynamic/client_test.py", "kubernetes_asyncio/dynamic/discovery_test.py"),
        ("-p", "e2e_configuration"),
        containers=False,
    ),
    PythonSuite("kr8s", "kr8s", ("kr8s/tests",), ("--keep-cluster",), kind=True),
    PythonSuite(
        "kopf",
        "kopf",
        ("tests/e2e", "examples"),
        # What its HTTP client leaves to the garbage collector fails whichever test runs then.
        ("--only-e2e", "-W", "ignore::ResourceWarning", "-W", "ignore::pytest.PytestUnraisableExceptionWarning"),
        containers=False,
    ),
    GoSuite(
        "controller-runtime",
        "sigs.k8s.io/controller-runtime",
        "v0.25.2",
        "h1:bEkK3PVOIVK9X8QWLGVhJgmFc++47vfT6wakSzAOLsQ=",
        ("pkg/client", "pkg/cache", "pkg/builder", "pkg/controller", "pkg/controller/controllerutil", "pkg/manager"),
    ),
    ProgramSuite("helm", "helm.sh/helm/v3/cmd/helm", "helm"),
    ProgramSuite("operator", "./operator", "operator", containers=False),
    OwnSuite("testing", "examples/testing"),
    ShellSuite(
        "kubectl",
        "k8s.io/kubernetes",
        "v1.32.4",
        "h1:fRZeSjwVE+dMMSS7Qi6LxOOKpVL+1CPAT/b1Cuo4kns=",
        left_out=(
            "run_kubectl_local_proxy_tests",  # Once it has asked for /metrics in vain it waits for its proxy for ever.
            "run_kubectl_request_timeout_tests",  # Two of kubectl's timers end at once, and it knows one's words.
        ),
    ),
)
