"""`petset.Cluster`: a cluster for a script, a notebook or a test, while a `with` lasts.

    with petset.Cluster(nodes=3) as cluster:
        cluster.apply("examples/redis")
        cluster.wait_for("petset/redis")

Simulated, which is what it is when nothing is said, it lives in a thread of this process, with its API on a port of
loopback, and is ready in a moment; with `simulate=False` it is `petset up` in a process of its own, with real
containers. Its state is in a directory of its own that goes with it, or in the one that is given, which stays.
What can be done with it are the verbs (verbs.py); `kubeconfig` is for every other client.
"""

from __future__ import annotations

import contextlib
import gc
import html
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, Self

from petset.base import networks, state, tasks
from petset.objects import errors, meta
from petset.testing import manifests, verbs
from petset.testing.failures import ClusterError, CommandFailed
from petset.testing.ways import LoopThread, Reached, Way

KUBECTL_SECONDS_MAX = 300.0
IN_MEMORY = "/dev/shm"  # Keys and a kubeconfig: nobody waits for a disk.
NODES_MAX = networks.SIMULATED_NODES_MAX

logging.getLogger("petset").addHandler(logging.NullHandler())  # Who wants to hear of it says so; pytest does.


class Cluster(verbs.Verbs):
    """A cluster that lives from `start` (or the `with`) to `stop`."""

    def __init__(
        self,
        *,
        simulate: bool = True,
        nodes: int = 1,
        state: str | os.PathLike[str] | None = None,
        node_monitor_grace_period: float = 0.0,
        capacity: Mapping[str, str] | None = None,
        own_process: bool = False,
        options: tuple[str, ...] = (),
    ):
        """`node_monitor_grace_period` are the seconds after which a silent node is taken for dead (0: as usual).

        `capacity` is what each simulated node has. `own_process` is for a simulated one that may be left running, too;
        `options` are more of those of `petset up`, for one in a process of its own.
        """
        super().__init__()
        self.simulate, self.nodes = simulate, nodes
        self.own_process = own_process or not simulate
        self._silence, self._capacity, self._options = node_monitor_grace_period, capacity, options
        self._given = Path(state).absolute() if state is not None else None
        self._directory: Path | None = None
        self._way: LoopThread | None = None
        self._goes_on = False
        if not 1 <= nodes <= NODES_MAX or bool(capacity if self.own_process else options):
            is_many = not 1 <= nodes <= NODES_MAX
            why = (
                f"{nodes} nodes are asked for; it may have 1 to {NODES_MAX}"
                if is_many
                else "it has no use for what it is given; capacity is for one in this process, options for its own"
            )
            raise ClusterError(f"cannot make a cluster: {why}")

    def start(self) -> Self:
        """Return when it is ready. Raises ClusterError."""
        if self._way is not None:
            raise ClusterError("cannot start the cluster: it runs already; stop it first, or use it")
        self._directory = self._given or Path(tempfile.mkdtemp(prefix="petset-", dir=self._place()))
        collects = gc.isenabled()
        gc.disable()  # What a start makes is there to stay, modules most of all.
        try:
            way = LoopThread(self._living(self._directory), f"petset {self._directory.name}", "start the cluster")
            way.start()
        except BaseException:
            self._clean_up()
            raise
        finally:
            if collects:
                gc.enable()
        self._way = way
        return self

    def _place(self) -> str | None:
        """Where a directory of its own is made: in memory, where nothing is to outlive the process; else as usual."""
        return IN_MEMORY if not self.own_process and os.access(IN_MEMORY, os.W_OK | os.X_OK) else None

    def stop(self) -> None:
        """Stop it. Its state goes with it, unless its directory was given."""
        if self._way is not None:
            self._way.stop()
            self._way = None
            self._clean_up()

    def leave_running(self) -> str:
        """`stop` leaves it as it is; how to reach it then, and how to end it. Raises ClusterError in this process."""
        reached: Any = self.way.reached
        if not self.own_process:
            raise ClusterError(
                "cannot leave the cluster running: it lives in this process; make it with own_process=True"
            )
        reached.goes_on = self._goes_on = True
        return f"export KUBECONFIG={self.kubeconfig}; when done: petset --state {self.directory} destroy --yes"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _living(self, directory: Path) -> Callable[[], contextlib.AbstractAsyncContextManager[Reached]]:
        if not self.own_process:
            from petset.testing import simulated

            is_kept = self._given is not None
            wanted = simulated.Wanted(directory, self.nodes, is_kept, self._silence, self._capacity)
            return lambda: simulated.living(wanted)
        from petset.testing import containers

        real = containers.Wanted(directory, self.nodes, self.simulate, self._silence, self._options)
        return lambda: containers.living(real)

    def _clean_up(self) -> None:
        if self._directory is not None and self._given is None and not self._goes_on:
            if not self.simulate and os.geteuid() != 0:  # What its containers wrote belongs to others.
                words = ["--state", str(self._directory), "destroy", "--yes"]
                subprocess.run([sys.executable, "-m", "petset", *words], capture_output=True, check=False)
            shutil.rmtree(self._directory, ignore_errors=True)
        self._directory = None

    @property
    def way(self) -> Way:
        if self._way is None:
            raise ClusterError("cannot ask the cluster: it is not running; use it in a `with`, or start it first")
        return self._way

    # For other clients

    @property
    def directory(self) -> Path:
        """The state directory, as `petset --state` takes it."""
        if self._directory is None:
            raise ClusterError("cannot tell where the cluster is: it is not running; start it first")
        return self._directory

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, for any client."""
        return state.State(self.directory).kubeconfig

    def kubectl(self, *words: str, stdin: Any = None, namespace: str | None = None, check: bool = True) -> str:
        """What kubectl says; `stdin` is text or objects. Raises CommandFailed unless `check` is off."""
        program = shutil.which("kubectl")
        if program is None:
            raise ClusterError("cannot run kubectl: there is none on PATH; use the verbs (apply, get, ...) instead")
        from petset.objects import documents

        text = stdin if stdin is None or isinstance(stdin, str) else None
        if stdin is not None and text is None:
            text = "---\n".join(documents.dump(obj).decode() for obj in manifests.read(stdin))
        command = [program, *words]
        if not any(word.startswith(("-n", "--namespace", "-A", "--all-namespaces")) for word in words):
            command[1:1] = [f"--namespace={self.namespace if namespace is None else namespace}"]
        done = subprocess.run(
            command, env=self.environment(), input=text, capture_output=True, text=True, check=False,
            timeout=KUBECTL_SECONDS_MAX,
        )  # fmt: skip
        if check and done.returncode:
            raise CommandFailed(["kubectl", *words], done.returncode, done.stdout, done.stderr)
        return done.stdout

    def environment(self) -> dict[str, str]:
        """This process's environment with KUBECONFIG set, for programs that are started."""
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig)}

    # Namespaces

    @contextlib.contextmanager
    def in_namespace(self, name: str = "", labels: Mapping[str, str] | None = None) -> Generator[Namespace]:
        """A `Namespace` of its own while the context lasts; by default of a name that nobody has."""
        made = self.make_namespace(name, labels)
        try:
            yield made
        finally:
            made.remove()

    def make_namespace(self, name: str = "", labels: Mapping[str, str] | None = None) -> Namespace:
        """A namespace that pods may be made in at once. One that is there already is taken as it is."""
        name = name or tasks.generated_name("test-")
        verbs.made_namespace(self, name, labels)
        return Namespace(self, name)

    # Nodes

    def stop_node(self, name: str) -> None:
        """It falls silent, as a machine that is switched off."""
        self._turn(name, "stopped")

    def partition_node(self, name: str) -> None:
        """It is cut off from the API and the other nodes, and goes on by what it knows."""
        self._turn(name, "partitioned")

    def start_node(self, name: str) -> None:
        """It is back, looks at what runs there, and catches up."""
        self._turn(name, "up")

    def _turn(self, name: str, to: str) -> None:
        reached: Any = self.way.reached
        try:
            self.way.run(reached.turn(name, to))
        except KeyError:
            known = ", ".join(self.list("nodes").names)
            raise ClusterError(f"cannot turn node {name} to {to}: there is no such node; there are {known}") from None

    # Looking at it

    def __repr__(self) -> str:
        if self._way is None:
            return "<petset.Cluster, not running>"
        kind = "simulated" if self.simulate else "real containers"
        try:
            sets = self.sets(all_namespaces=True)
        except (ClusterError, errors.ApiError, OSError) as error:
            return f"<petset.Cluster, {kind}: {error}>"
        nodes = self.list("nodes")
        ready = sum(meta.is_condition_true(node, "Ready") for node in nodes)
        return f"petset.Cluster, {kind}, {ready} of {len(nodes)} nodes ready, {self.directory}\n\n{sets!r}"

    def _repr_html_(self) -> str:
        if self._way is None:
            return f"<p>{html.escape(repr(self))}</p>"
        first, _, _ = repr(self).partition("\n")
        return f"<p>{html.escape(first)}</p>{self.sets(all_namespaces=True).html()}"


class Namespace(verbs.Verbs):
    """The verbs in one namespace of a cluster."""

    def __init__(self, cluster: Cluster, name: str):
        super().__init__(name)
        self.cluster, self.name = cluster, name

    @property
    def way(self) -> Way:
        return self.cluster.way

    @property
    def kubeconfig(self) -> Path:
        return self.cluster.kubeconfig

    def kubectl(self, *words: str, stdin: Any = None, check: bool = True) -> str:
        """kubectl in this namespace."""
        return self.cluster.kubectl(*words, stdin=stdin, namespace=self.name, check=check)

    def remove(self, wait: bool = False) -> None:
        """Delete it with all that is in it; `wait` until it is gone."""
        self.cluster.delete("namespace", self.name, missing_ok=True, grace_seconds=0, wait=wait)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"namespace {self.name}\n\n{self.sets()!r}"

    def _repr_html_(self) -> str:
        return f"<p>namespace {html.escape(self.name)}</p>{self.sets().html()}"
